"""`make demo`: one payment from Stripe's webhook to paid orders, on real parts, and four events that must not pay."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg

from local_stack.__main__ import psql_command
from local_stack.errors import StackError
from local_stack.keys import write_private
from local_stack.relay_process import RelayProcess
from local_stack.report import Report
from local_stack.shop import Item, Shop
from local_stack.signals import signals_as_interrupt, wait_for_interrupt
from local_stack.snapshot import changed_tables, snapshot
from local_stack.stack import Stack
from local_stack.stripe_events import Answer, checkout_completed, deliver, encode, sign, unrelated_event

INTERRUPTED = 130  # what a shell reports for Ctrl-C
KEYS_OF_AN_ANSWER = ["event_id", "order_group_id", "outcome", "reason", "received"]


@dataclass(frozen=True, slots=True)
class Play:
    """The stage: what runs, and what is for sale."""

    stack: Stack
    relay: RelayProcess
    report: Report
    group_id: str
    amount_minor: int
    items: Sequence[Item]
    other_group_id: str
    other_amount_minor: int

    def deliver(self, body: bytes, *, signed: bytes | None = None) -> Answer:
        """Send the body, with the signature of `signed` where that is another one."""
        secret = self.stack.stripe_webhook_secret
        return deliver(self.relay.webhook_url, body, sign(body if signed is None else signed, secret))

    def expect_answer(
        self, answer: Answer, *, status: int, outcome: str, reason: str | None, group_id: str | None
    ) -> None:
        """Compare the whole answer."""
        self.report.expect(
            "The answer",
            [
                ("status", status, answer.status),
                ("outcome", outcome, answer.body.get("outcome")),
                ("reason", reason, answer.body.get("reason")),
                ("received", outcome != "refused", answer.body.get("received")),
                ("order group", group_id, answer.body.get("order_group_id")),
                ("keys", " ".join(KEYS_OF_AN_ANSWER), " ".join(sorted(answer.body))),
            ],
        )

    def state(self) -> dict[str, list[tuple[str, str]]]:
        """Every row of the project with the transaction that wrote it."""
        return snapshot(self.stack.dsn())

    def expect_changes(self, before: dict[str, list[tuple[str, str]]], tables: Sequence[str]) -> None:
        """Which tables a delivery changed, judged by content and by `xmin` of every row."""
        changed = ", ".join(changed_tables(before, self.state())) or "none"
        self.report.expect("The database", [("tables changed", ", ".join(tables) or "none", changed)])


def set_the_stage(stack: Stack, relay: RelayProcess, report: Report) -> Play:
    """Two sellers, five products with stock, a buyer, and two pending order groups."""
    report.step(
        "A shop",
        """Written over the Data API as service_role, as a shop's server would: two sellers, five products
        with a receipt of stock each, a buyer, and a pending order group with one order per seller.""",
    )
    shop = Shop(stack)
    buyer = shop.buyer("ada@example.com")
    pottery, press = shop.seller("Potter & Daughters"), shop.seller("Letter Press")
    items = [
        Item(shop.product(pottery, "MUG", "Mug", "12.50", stock=40), 2),
        Item(shop.product(pottery, "BOWL", "Bowl", "19.90", stock=25), 1),
        Item(shop.product(pottery, "CUP", "Espresso cup", "9.95", stock=60), 3),
        Item(shop.product(press, "PRINT", "Print", "18.00", stock=10), 1),
        Item(shop.product(press, "CARD", "Postcard", "1.20", stock=500), 4),
    ]
    group_id, total = shop.pending_group(buyer, items)
    other_group_id, other_total = shop.pending_group(buyer, [Item(items[3].product, 1)])
    play = Play(stack, relay, report, group_id, int(total * 100), items, other_group_id, int(other_total * 100))
    show_group(play, group_id)
    return play


def show_group(play: Play, group_id: str) -> None:
    """Tables of the group and its orders."""
    with psycopg.connect(play.stack.dsn()) as connection:
        groups = connection.execute(
            "select id, status, total_amount || ' ' || currency, stripe_webhook_event_id, stripe_payment_intent_id"
            " from public.order_groups where id = %s",
            (group_id,),
        ).fetchall()
        orders = connection.execute(
            "select s.name, o.status, o.total_amount, count(i.id), sum(i.quantity), o.paid_at is not null"
            " from public.orders o join public.sellers s on s.id = o.seller_id"
            " join public.order_items i on i.order_id = o.id"
            " where o.order_group_id = %s group by s.name, o.id order by s.name",
            (group_id,),
        ).fetchall()
    fields = ("id", "status", "total", "paid by event", "payment intent")
    play.report.table("The order group", ("field", "value"), list(zip(fields, groups[0], strict=True)))
    play.report.table("Its orders", ("seller", "status", "total", "items", "pieces", "paid_at set"), orders)


def show_stock(play: Play) -> None:
    """The ledger and what is on hand, compared with what was received and bought."""
    bought = {item.product.id: item for item in play.items}
    with psycopg.connect(play.stack.dsn()) as connection:
        ledger = connection.execute(
            "select p.name, l.entry_type, l.quantity_delta, l.stripe_webhook_event_id"
            " from public.inventory_ledger l join public.products p on p.id = l.product_id order by l.id"
        ).fetchall()
        levels = connection.execute("select product_id::text, on_hand from public.inventory_levels").fetchall()
        commits = connection.execute(
            "select count(*), count(distinct order_item_id) from public.inventory_ledger"
            " where entry_type = 'order_commit'"
        ).fetchone()
    play.report.table(
        "The ledger: append-only, what is on hand is its sum", ("product", "entry", "+/-", "event"), ledger
    )
    on_hand = {str(product): int(level) for product, level in levels}
    expectations = [
        (item.product.name, item.product.stock - item.quantity, on_hand.get(product_id))
        for product_id, item in bought.items()
    ]
    play.report.expect("Stock on hand", expectations)
    play.report.expect("Ledger", [("commits, items committed", (len(bought), len(bought)), commits)])


def expect_group(play: Play, group_id: str, *, status: str, event_id: str | None) -> None:
    """The group's and its orders' status, and the event that paid them."""
    with psycopg.connect(play.stack.dsn()) as connection:
        row = connection.execute(
            "select g.status, g.stripe_webhook_event_id, string_agg(distinct o.status, ' ')"
            " from public.order_groups g join public.orders o on o.order_group_id = g.id"
            " where g.id = %s group by g.id",
            (group_id,),
        ).fetchone()
    assert row is not None  # noqa: S101
    play.report.expect(
        "The order group",
        [("group", status, row[0]), ("its orders", status, row[2]), ("event", event_id, row[1])],
    )


def payment(play: Play) -> bytes:
    """The event that pays."""
    play.report.step(
        "1. Stripe says that the buyer has paid",
        """A signed checkout.session.completed for exactly the group's total. The relay verifies it and
        makes one call; the database locks the group, compares the amount, marks the group and its orders
        paid and takes the stock, all in one transaction.""",
    )
    event = checkout_completed(order_group_id=play.group_id, amount_minor=play.amount_minor)
    body = encode(event)
    answer = play.deliver(body)
    play.expect_answer(answer, status=200, outcome="applied", reason=None, group_id=play.group_id)
    show_group(play, play.group_id)
    expect_group(play, play.group_id, status="paid", event_id=event["id"])
    show_stock(play)
    return body


def replay(play: Play, body: bytes) -> None:
    """The same event again."""
    play.report.step(
        "2. Stripe sends the same event again",
        """It does so whenever an answer got lost. The event id is known, so nothing is written: every row
        of every table still carries the transaction number (xmin) that it had before.""",
    )
    before = play.state()
    answer = play.deliver(body)
    play.expect_answer(answer, status=200, outcome="replayed", reason=None, group_id=play.group_id)
    play.expect_changes(before, [])


def wrong_amount(play: Play) -> None:
    """An event whose amount does not fit."""
    play.report.step(
        "3. A payment of the wrong amount",
        """Another pending group, paid one cent short. The answer is a 500, so that Stripe shows it as failed
        and tries again; nothing is marked paid, and one row in payments.exceptions tells an operator.""",
    )
    before = play.state()
    body = encode(checkout_completed(order_group_id=play.other_group_id, amount_minor=play.other_amount_minor - 1))
    answer = play.deliver(body)
    play.expect_answer(answer, status=500, outcome="rejected", reason="amount_mismatch", group_id=play.other_group_id)
    play.expect_changes(before, ["payments.exceptions"])
    expect_group(play, play.other_group_id, status="pending", event_id=None)
    with psycopg.connect(play.stack.dsn()) as connection:
        exceptions = connection.execute(
            "select order_group_id::text, reason, status, attempts from payments.exceptions order by id"
        ).fetchall()
    play.report.table("payments.exceptions", ("order group", "reason", "status", "attempts"), exceptions)
    wanted = [(play.other_group_id, "amount_mismatch", "open", 1)]
    play.report.expect("The exception", [("rows", 1, len(exceptions)), ("as in the table", True, exceptions == wanted)])


def tampered(play: Play, genuine: bytes) -> None:
    """A body that is not the one that was signed."""
    play.report.step(
        "4. Somebody tampers with the body",
        """The first event with the second group's id in place of its own, under the signature of the
        original. The relay refuses it before it looks inside.""",
    )
    before = play.state()
    forged = genuine.replace(play.group_id.encode(), play.other_group_id.encode())
    answer = play.deliver(forged, signed=genuine)
    play.expect_answer(answer, status=400, outcome="refused", reason="invalid_signature", group_id=None)
    play.expect_changes(before, [])


def unrelated(play: Play) -> None:
    """An event of another type."""
    play.report.step(
        "5. An event about something else",
        """Signed and genuine, but no checkout: Stripe gets its 200 and the database is not even asked.""",
    )
    before = play.state()
    answer = play.deliver(encode(unrelated_event()))
    play.expect_answer(answer, status=200, outcome="ignored", reason="event_type", group_id=None)
    play.expect_changes(before, [])


def how_to_go_on(play: Play) -> None:
    """Commands to copy while everything runs."""
    env_file = play.stack.postgres.home / "relay.env"
    settings = {**play.stack.env(), "RELAY_WEBHOOK_URL": play.relay.webhook_url}
    write_private(env_file, "".join(f"{name}={value}\n" for name, value in settings.items()))
    send = [sys.executable, "-m", "local_stack.send", "--env-file", str(env_file)]
    good = [*send, "--group", play.other_group_id, "--amount", str(play.other_amount_minor)]
    play.report.step("It is still running", "Copy these into another terminal; Ctrl-C here stops everything.")
    for what, command in (
        ("Pay the second group, this time in full (twice: the second one is a replay)", [*good, "--times", "2"]),
        ("Pay a group that nobody knows", [*send, "--group", "00000000-0000-4000-8000-000000000000", "--amount", "1"]),
        ("Ask the relay how it feels", ["curl", "-s", f"{play.relay.url}/readyz"]),
        ("Follow its log", ["tail", "-f", str(play.relay.log)]),
    ):
        play.report.line(f"\n# {what}\n{shlex.join(command)}")
    play.report.line(f"\n# Look into the database\n{psql_command(play.stack)}\n")


def run(report: Report, *, keep: bool) -> int:
    """The whole play; the exit status is 0 only where everything was as promised."""
    with ExitStack() as exit_stack:
        report.step(
            "The parts",
            """Starting PostgreSQL 17 with the surface of a Supabase project, applying the migrations with
            the Supabase CLI, then PostgREST, the gateway and the relay.""",
        )
        stack = exit_stack.enter_context(Stack())
        relay = RelayProcess(env=stack.env(), log=stack.postgres.home / "relay.log")
        exit_stack.callback(relay.stop)
        relay.start()
        report.table(
            "Running",
            ("part", "where"),
            [
                ("PostgreSQL", f"{stack.postgres.host}:{stack.postgres.port}"),
                ("Data API (SUPABASE_URL)", stack.url),
                ("relay", relay.webhook_url),
            ],
        )
        play = set_the_stage(stack, relay, report)
        body = payment(play)
        replay(play, body)
        wrong_amount(play)
        tampered(play, body)
        unrelated(play)
        status = report.verdict()
        if keep:
            how_to_go_on(play)
            try:
                wait_for_interrupt()
            except KeyboardInterrupt:
                report.line("\nStopped.")
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """0: as promised; 1: not; 2: a part is missing or did not start; 130: interrupted."""
    parser = argparse.ArgumentParser(prog="python -m local_stack.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    options = parser.parse_args(arguments)
    try:
        with signals_as_interrupt():
            return run(Report(), keep=options.keep)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED
    except StackError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
