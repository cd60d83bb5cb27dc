"""A router before two shards: three PostgreSQL servers of Debian's, and the Data API before the router."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local_stack import platform, supabase_cli
from local_stack.errors import PartMissingError
from local_stack.postgres import Postgres
from local_stack.stack import Stack
from testkit.database import SUPERUSER, Connection, Database, Row, scalar
from testkit.payments import Payment, reconcile, reconcile_together
from testkit.shop import OrderGroup, Shop, open_shop

# Both ways to send one payment.
SEND: dict[str, Callable[[Connection, Payment], Row]] = {
    "alone": reconcile,
    "together": lambda service, payment: reconcile_together(service, [payment])[0],
}
# What the relay tells as database_unavailable: an old session that was ended, and a new one that finds nobody.
NO_ANSWER = (psycopg.errors.AdminShutdown, psycopg.errors.ConnectionFailure)

# What each shard has for itself, in the order in which one refers to the other.
COMMON = ("auth.users", "public.sellers", "public.seller_members", "public.products")
PARTS = Path(__file__).resolve().parent.parent / "deploy" / "shards"
ROUTER = "relay_router"
LOGIN = """
create role {name} login noinherit password {password};
grant service_role to {name};
alter role {name} set role = 'service_role';
alter role {name} set statement_timeout = '60s'
"""


class Cluster:
    """A context manager, ready when entered. `stack` is the router's, as one database's would be; `shards` are the
    databases behind it, `servers` their servers. Raises StackError with the remedy where a part is missing or fails.
    """

    def __init__(self, shards: int = 2) -> None:
        self._number = shards
        self._exit = ExitStack()
        self.servers: list[Postgres] = []
        self.shards: list[Database] = []
        self.stack: Stack

    def __enter__(self) -> Self:
        if "LOCAL_STACK_PG_BIN" not in os.environ:
            raise PartMissingError("PL/Proxy comes with `make real-parts`, and `make shards` runs with it")
        with ExitStack() as parts:
            for number in range(self._number):
                server = parts.enter_context(Postgres())
                self.servers.append(server)
                password = self.servers[0].password
                self.shards.append(_shard(server, number=number, of=self._number, router_password=password))
            self.stack = parts.enter_context(Stack(migrate=self._install))
            self.router = Database("postgres", "127.0.0.1", self.stack.postgres.port, self.stack.postgres.password)
            self._exit = parts.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def shards_of(self, keys: Iterable[str]) -> list[int]:
        """Where what has these keys lies, by the shards' numbers."""
        with self.router.connect() as router:
            places = scalar(router, "select array_agg(shards.place(k)) from unnest(%s::text[]) as k", list(keys))
        return [place % self._number for place in places or []]

    def open_shops(self, *, sellers: int = 2, products: int = 3) -> list[Shop]:
        """One shop, which each shard knows: sellers, products and users have the same ids everywhere."""
        with self.shards[0].connect() as superuser:
            service = self._exit.enter_context(self.shards[0].act_as("service_role"))
            shop = open_shop(superuser, service, sellers=sellers, products=products)
            rows = {table: superuser.execute(f"select * from {table}".encode()).fetchall() for table in COMMON}
        shops = [shop]
        for shard in self.shards[1:]:
            with shard.connect() as superuser:
                for table, known in rows.items():
                    superuser.execute(
                        f"insert into {table} select * from jsonb_populate_recordset(null::{table}, %s)".encode(),
                        [json.dumps(known, default=str)],
                    )
            shops.append(replace(shop, service=self._exit.enter_context(shard.act_as("service_role"))))
        return shops

    def _install(self, url: str) -> str:
        addresses = [
            make_conninfo(host=shard.host, port=shard.port, dbname=shard.name, sslmode="disable")
            for shard in self.shards
        ]
        with psycopg.connect(url, user=SUPERUSER, autocommit=True) as superuser:
            for part in ("router.sql", "router_reading.sql"):
                superuser.execute((PARTS / part).read_bytes())
            superuser.execute("select shards.connect(%s, %s, %s)", [addresses, ROUTER, self.shards[0].password])
        return ""


def _shard(server: Postgres, *, number: int, of: int, router_password: str) -> Database:
    """A project like any other, and what makes it a shard."""
    database = Database("postgres", server.host, server.port, server.password)
    platform.install(database.dsn(SUPERUSER), password=server.password)
    supabase_cli.db_push(database.url("postgres"))
    with database.connect() as superuser:
        superuser.execute(sql.SQL(LOGIN).format(name=sql.Identifier(ROUTER), password=sql.Literal(router_password)))
    with database.connect("postgres") as owner:
        owner.execute((PARTS / "shard.sql").read_bytes())
        owner.execute("select shards.become(%s, %s)", [number, of])
    return database


def group_on(
    cluster: Cluster, shops: list[Shop], service: Connection, number: int, currency: str = "USD"
) -> OrderGroup:
    """A pending group of that shard, made through the router."""
    seller = shops[0].sellers[0]
    group_id = next(made for made in iter(uuid4, None) if cluster.shards_of([str(made)]) == [number])
    orders = [
        {
            "seller_id": str(seller.id),
            "total_amount": "12.50",
            "items": [{"product_id": str(seller.product_ids[0]), "quantity": 2, "unit_amount": "6.25"}],
        }
    ]
    made = scalar(
        service,
        "select public.create_order_group(%s, %s, %s, %s)",
        group_id,
        shops[0].buyer_id,
        currency,
        json.dumps(orders),
    )
    assert made["outcome"] == "created"
    return OrderGroup(
        id=group_id,
        buyer_id=shops[0].buyer_id,
        currency=currency,
        total_amount=Decimal(made["total_amount"]),
        order_ids=(),
        item_ids=(),
    )


def id_on(cluster: Cluster, number: int, prefix: str) -> str:
    """One of Stripe's ids whose claim lies on that shard."""
    return next(id_ for id_ in (f"{prefix}_{uuid4().hex}" for _ in count()) if cluster.shards_of([id_]) == [number])


def all_on(cluster: Cluster, payment: Payment, number: int) -> Payment:
    """The payment, with all of its claims on one shard."""
    return payment.but(
        event_id=id_on(cluster, number, "evt"),
        checkout_session_id=id_on(cluster, number, "cs_test"),
        payment_intent_id=id_on(cluster, number, "pi"),
    )


def brief(verdict: Row) -> tuple[str, str | None]:
    """Its outcome and its reason."""
    return verdict["outcome"], verdict["reason"]


def ids_of(payment: Payment) -> set[str | None]:
    """What has to be claimed for it."""
    return {payment.event_id, payment.checkout_session_id, payment.payment_intent_id}


def rows_of_shards(cluster: Cluster, query: str, *values: Any) -> list[list[Row]]:
    """What the superuser reads on each shard."""
    found = []
    for shard in cluster.shards:
        with shard.connect() as superuser:
            found.append(superuser.execute(query.encode(), values).fetchall())
    return found


@contextmanager
def away(server: Postgres) -> Iterator[None]:
    """A shard is stopped, its sessions ended, and is there again afterwards."""
    server.halt()
    try:
        yield
    finally:
        server.start()


def until_waiting(observer: Connection, sessions: int, call: Any) -> None:
    """Until so many of the router's sessions wait on this shard."""
    while not call.done():
        waiting = scalar(
            observer,
            "select count(*) from pg_stat_activity where usename = 'relay_router' and pg_blocking_pids(pid) <> '{}'",
        )
        if waiting >= sessions:
            return
    raise AssertionError(f"it did not wait: {call.result()}")


def waiting(owner: Connection) -> set[str]:
    """Sweeps the claims. Returns: those that no payment has followed, and that stay."""
    rows = owner.execute("select id from shards.sweep_claims(clock_timestamp()) where state = 'waiting'").fetchall()
    return {row["id"] for row in rows}


def age(cluster: Cluster, order_group_id: UUID, interval: str) -> None:
    """The claims of that group become so much older."""
    for shard in cluster.shards:
        with shard.connect() as superuser:
            superuser.execute(
                "update shards.claims set claimed_at = claimed_at - %s::interval where order_group_id = %s",
                [interval, order_group_id],
            )
