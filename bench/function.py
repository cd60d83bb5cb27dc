"""The function alone, under pgbench: floor, batches, replays, hot rows, items, history, and what each guard costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, LiteralString

import psycopg

from bench.shop import ITEMS_IN_EACH, ORDERS, RECORDED, SQL, script
from local_stack.stack import Stack

CLIENTS = (1, 8, 32)
BATCHES = (8, 32)  # payments in one call
HISTORY_CLIENTS = 8
FASTEST = 12_000  # payments a second; four times what the faster kept run took
REPLAYED = 1_000
WARM_UP_SECONDS = 1
ITEMS = (1, 10, 100, 1_000, 5_000)
EACH_ITEMS = 9
TPS = re.compile(r"tps = ([0-9.]+)")
# What stands between a payment and a wrong row, and how to take it away. Privileges and policies cost a payment nothing
# measurable: they are looked up once a statement.
GUARDS: dict[str, LiteralString] = {
    "none taken away": "select 1",
    "settled groups and orders stay as they are (triggers)": """
        drop trigger order_groups_stay_settled on public.order_groups;
        drop trigger orders_record_changes on public.orders;
        drop trigger orders_refund_as_owner on public.orders""",
    "ledger rows point at products and items (foreign keys)": """
        alter table public.inventory_ledger drop constraint inventory_ledger_product_id_fkey;
        alter table public.inventory_ledger drop constraint inventory_ledger_order_item_id_fkey""",
    "one commit for each item (unique index)": "drop index public.inventory_ledger_order_commit_order_item_id_key",
    "one applied event for each group, payment intent and session (unique indexes)": """
        drop index payments.stripe_events_applied_order_group_id_key;
        drop index payments.stripe_events_applied_payment_intent_id_key;
        drop index payments.stripe_events_applied_checkout_session_id_key""",
    "an event pays one group (unique index)": """
        alter table public.order_groups drop constraint order_groups_stripe_webhook_event_id_key""",
    "a payment and what comes back of it take turns (advisory lock)": """
        create or replace function payments.lock_payment_intent(p_payment_intent_id text)
        returns void language plpgsql volatile set search_path = '' as $$begin end$$""",
}


def of_clients(count: int) -> str:
    """For labels."""
    return f"{count} client{'' if count == 1 else 's'}"


@dataclass(slots=True)
class Bench:
    """pgbench against one database; `paid` counts the groups that are paid."""

    stack: Stack
    dbname: str
    seconds: int
    rates: dict[str, list[float]] = field(default_factory=dict)

    def dsn(self) -> str:
        """As the superuser, who becomes service_role in `run`."""
        return self.stack.dsn(dbname=self.dbname)

    def execute(self, statement: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """One statement, and its rows."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def pay(self, count: int) -> None:
        """So many payments, so that no session plans for an empty ledger and reads it from end to end ever after."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            for _ in range(count):
                connection.execute(script("new.sql"))

    def run(
        self, label: str, file: str, clients: int, *, role: str = "service_role", size: int = 1, **variables: int
    ) -> float:
        """Payments a second, once warm; `size` of them are one transaction."""
        variables["size"] = size
        self._pgbench(label, file, clients, WARM_UP_SECONDS, role, variables)
        rate = self._pgbench(label, file, clients, self.seconds, role, variables) * size
        self.rates.setdefault(label, []).append(rate)
        sys.stderr.write(f"bench: {label}: {rate:,.0f} a second\n")
        return rate

    def _pgbench(
        self, label: str, file: str, clients: int, seconds: int, role: str, variables: Mapping[str, int]
    ) -> float:
        options = [f"--define={name}={value}" for name, value in variables.items()]
        done = subprocess.run(
            [
                str(self.stack.postgres.bin_dir / "pgbench"),
                *("--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--jobs={min(clients, 2)}"),
                *(f"--time={seconds}", f"--file={SQL / file}", *options, self.dsn()),
            ],
            env={**os.environ, "PGOPTIONS": f"-c role={role} -c statement_timeout=0"},
            capture_output=True,
            text=True,
            check=False,
        )
        found = TPS.search(done.stdout)
        if done.returncode != 0 or found is None or "ERROR" in done.stderr:
            raise SystemExit(f"bench: pgbench failed at {label}:\n{done.stderr[-2000:]}")
        return float(found[1])


def measure(rounds: int, seconds: int, history: int) -> dict[str, Any]:
    """Everything, on a stack of its own."""
    groups = FASTEST * (WARM_UP_SECONDS + seconds) * len(BATCHES)  # a clone's batches take the most
    with Stack() as stack:
        # Clones must not find their source in use.
        stack.gateway.stop()
        stack.postgrest.stop()
        with psycopg.connect(stack.dsn(), autocommit=True) as connection:
            # It would wake up in somebody's round.
            connection.execute("alter system set autovacuum = off")
            connection.execute("select pg_reload_conf()")
        stocked = _clone(stack, "postgres", "stocked", seconds)
        stocked.execute(script("shop.sql"))
        stocked.execute("select count(*) from bench.make_groups(%s, %s, %s)", groups, ORDERS, ITEMS_IN_EACH)
        stocked.execute("select bench.record_events(%s)", RECORDED)
        stocked.pay(RECORDED)
        stocked.execute(script("floor.sql"))
        stocked.execute(script("stock_floor.sql"))
        stocked.execute("vacuum analyze")
        return {
            "tps": _against_the_floor(stack, rounds, seconds),
            "items_us": _items(stack),
            "guards_tps": _guards(stack, rounds, seconds),
            "history_tps": _history(stack, rounds, seconds, history),
        }


def _clone(stack: Stack, template: str, name: str, seconds: int) -> Bench:
    with psycopg.connect(stack.dsn(dbname="template1"), autocommit=True) as connection:
        connection.execute(f"drop database if exists {name}".encode())
        connection.execute(f"create database {name} template {template} strategy file_copy".encode())
    return Bench(stack, name, seconds)


def _against_the_floor(stack: Stack, rounds: int, seconds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for clients in CLIENTS:
            count = of_clients(clients)
            bench = _clone(stack, "stocked", "measured", seconds)
            bench.rates = found
            bench.run(f"floor, {count}", "floor_new.sql", clients, role="supabase_admin")
            bench = _clone(stack, "stocked", "measured", seconds)
            bench.rates = found
            bench.run(f"new, {count}", "new.sql", clients)
            bench.run(f"replay, {count}", "replay.sql", clients, paid=REPLAYED)
            bench.run(f"hot replay, {count}", "hot_replay.sql", clients)
            bench = _clone(stack, "stocked", "measured", seconds)
            bench.rates = found
            for size in BATCHES:
                bench.run(f"new by {size}, {count}", "new_batch.sql", clients, size=size)
    return found


def _items(stack: Stack) -> dict[str, dict[str, float]]:
    """Microseconds of one payment by its number of items, on a warm connection, and of the same at the floor."""
    bench = _clone(stack, "stocked", "measured", 1)
    found: dict[str, dict[str, float]] = {"function": {}, "floor": {}}
    statements: dict[str, LiteralString] = {
        "function": script("pay_one.sql"),
        "floor": "select bench.pay_at_the_floor(%s)",
    }
    with psycopg.connect(bench.dsn(), autocommit=True) as connection:
        for items in ITEMS:
            made = "select bench.number_of(id) from bench.make_groups(%s, 1, %s) as id"
            numbers = [row[0] for row in connection.execute(made, (EACH_ITEMS, items))]
            connection.execute(script("stock_floor.sql"))
            connection.execute("vacuum analyze")
            for name, statement in statements.items():
                took = []
                for number in numbers:
                    started = time.perf_counter()
                    connection.execute(statement, (number,), prepare=True)
                    took.append((time.perf_counter() - started) * 1e6)
                found[name][str(items)] = median(took)
            sys.stderr.write(f"bench: a payment of {items:,} items: {found['function'][str(items)]:,.0f} us\n")
    return found


def _guards(stack: Stack, rounds: int, seconds: int) -> dict[str, list[float]]:
    """New events a second with one guard taken away, in turns."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for guard, removal in GUARDS.items():
            bench = _clone(stack, "stocked", "measured", seconds)
            bench.execute(removal)
            bench.rates = found
            bench.run(guard, "new.sql", 1)
    return found


def _history(stack: Stack, rounds: int, seconds: int, most: int) -> dict[str, dict[str, float]]:
    """Rates at a thousand recorded events, and at ten times as many up to `most`."""
    found: dict[str, dict[str, float]] = {}
    recorded = 1_000
    while recorded <= most:
        # A database of its own for each size, so that each has as many pending groups before it.
        bench = _clone(stack, "stocked", "measured", seconds)
        bench.execute("select bench.record_events(%s)", recorded)
        bench.execute("vacuum analyze")
        for _ in range(rounds):
            bench.run("new", "new.sql", HISTORY_CLIENTS)
            bench.run("replay", "replay_recorded.sql", HISTORY_CLIENTS, recorded=recorded)
        found[str(recorded)] = {name: median(rates) for name, rates in bench.rates.items()}
        recorded *= 10
    return found
