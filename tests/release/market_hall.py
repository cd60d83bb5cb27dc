"""The worked example, adopted as its README says, with a relay in front of it and people who buy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from local_stack import supabase_cli
from local_stack.binaries import find_bin_dir
from local_stack.stack import Stack
from testkit.database import Connection, Database, Row, scalar
from testkit.invariants import broken_invariants
from testkit.relay_process import RelayProcess
from testkit.snapshot import changed_tables, snapshot
from testkit.stripe_events import Answer, completed, deliver, encode

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "market_hall"
BINDING = EXAMPLE / "adoption" / "invariants.sql"
ANA = UUID("00000000-0000-4000-8000-00000000000a")


@dataclass(frozen=True, slots=True)
class MarketHall:
    """The adopted hall with a relay in front of it, and what the README's commands have said."""

    stack: Stack
    relay: RelayProcess
    database: Database
    superuser: Connection
    service: Connection
    said: tuple[str, ...]
    before: dict[str, list[Row]]

    def call(self, function: LiteralString, basket: int, connection: Connection | None = None) -> Row:
        """What the shop's server is answered."""
        answer: Row = scalar(connection or self.service, f"select public.{function}(%s)", basket)
        return answer

    def basket(self, lines: dict[str, int], *, buyer: UUID = ANA, currency: str = "EUR") -> int:
        """What the buyer puts together, as the Data API would."""
        with self.database.act_as("authenticated", user_id=buyer) as session:
            basket: int = scalar(session, "insert into public.baskets (currency) values (%s) returning id", currency)
            for number, quantity in lines.items():
                session.execute(PUT, [basket, quantity, number])
            return basket

    def pay(self, checkout: Row, **session: Any) -> tuple[Answer, bytes]:
        """The buyer pays what Stripe was told to charge; `session` changes what Stripe says of it."""
        told = {"amount_total": checkout["amount_minor"], "currency": checkout["currency"]}
        body = encode(completed(checkout["order_group_id"], **{**told, **session}))
        return self.send(body), body

    def send(self, body: bytes) -> Answer:
        return deliver(self.relay.webhook_url, body, secret=self.stack.stripe_webhook_secret)

    def is_paid(self, basket: int) -> bool:
        paid: bool = scalar(self.service, "select b.paid_at is not null from public.baskets as b where id = %s", basket)
        return paid

    def changed_by(self, act: Callable[[], Any]) -> list[str]:
        """The tables in which it wrote any row."""
        before = snapshot(self.stack.dsn())
        act()
        return changed_tables(before, snapshot(self.stack.dsn()))

    def broken(self) -> list[Row]:
        """The invariants that do not hold, of the order groups and of the binding."""
        return broken_invariants(self.superuser) + self.broken_binding()

    def broken_binding(self) -> list[Row]:
        """Those of the binding alone."""
        return self.superuser.execute(BINDING.read_bytes()).fetchall()


PUT: LiteralString = """
insert into public.basket_lines (basket_id, article_id, quantity)
select %s, a.id, %s from public.articles as a where a.number = %s
"""


def blocks() -> list[str]:
    """The README's commands, a step each."""
    return re.findall(r"^```sh\n(.*?)^```", (EXAMPLE / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def run(script: str, home: Path, **settings: str) -> str:
    """As in a terminal that has just been opened in `home`. What it says; an error ends it and the test."""
    programs = home / "programs"
    if not programs.exists():
        programs.mkdir()
        (programs / "supabase").symlink_to(supabase_cli.cli_path())
    path = [str(programs), str(Path(sys.executable).parent), str(find_bin_dir()), os.environ["PATH"]]
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=home,
        env={
            "PATH": os.pathsep.join(path),
            "HOME": str(home),
            "TMPDIR": str(home),
            "SUPABASE_TELEMETRY_DISABLED": "1",
            "DO_NOT_TRACK": "1",
            **settings,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def open_hall(home: Path) -> Iterator[MarketHall]:
    """The README in the folder `home`, step by step; the Data API and the relay start before its last one."""
    (home / "examples").symlink_to(ROOT / "examples")
    first, *middle, last = blocks()
    said: list[str] = []
    before: dict[str, list[Row]] = {}

    def adopt(dsn: str) -> str:
        said.append(run(first, home, DATABASE_URL=dsn))
        with psycopg.connect(dsn, row_factory=dict_row) as owner:
            before["shelf"] = owner.execute("select * from public.shelf order by article_id").fetchall()
            before["baskets"] = owner.execute("select id, paid_at from public.baskets order by id").fetchall()
        said.extend(run(step, home / "market_hall", DATABASE_URL=dsn) for step in middle)
        return said[-1]

    with ExitStack() as parts:
        stack = parts.enter_context(Stack(migrate=adopt))
        said.append(run(last, home / "market_hall", **stack.env()))
        relay = RelayProcess(env=stack.env(), log=stack.postgres.home / "relay.log")
        parts.callback(relay.stop)
        relay.start()
        server = stack.postgres
        database = Database("postgres", server.host, server.port, server.password)
        superuser = parts.enter_context(database.connect())
        service = parts.enter_context(database.act_as("service_role"))
        yield MarketHall(stack, relay, database, superuser, service, tuple(said), before)
