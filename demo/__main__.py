"""`make demo`: one payment from Stripe's webhook to paid orders, on real parts, and four events that must not pay."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import psycopg

from demo.screen import Report
from demo.steps import Demo, expect_group, open_demo, show_group, show_stock
from local_stack.__main__ import env_lines, psql_command
from local_stack.errors import StackError
from local_stack.keys import write_private
from local_stack.signals import signals_as_interrupt, wait_for_interrupt
from local_stack.stack import Stack
from testkit.relay_process import RelayProcess
from testkit.stripe_events import completed, encode, unrelated_event

INTERRUPTED = 130  # what a shell reports for Ctrl-C


def payment(demo: Demo) -> bytes:
    """The event that pays."""
    demo.report.step(
        "1. Stripe says that the buyer has paid",
        """A signed checkout.session.completed for exactly the group's total. The relay verifies it and
        makes one call; the database locks the group, compares the amount, marks the group and its orders
        paid and takes the stock, all in one transaction.""",
    )
    event = completed(demo.group_id, amount_total=demo.amount_minor)
    body = encode(event)
    answer = demo.deliver(body)
    demo.expect_answer(answer, status=200, outcome="applied", reason=None, group_id=demo.group_id)
    show_group(demo, demo.group_id)
    expect_group(demo, demo.group_id, status="paid", event_id=event["id"])
    show_stock(demo)
    return body


def replay(demo: Demo, body: bytes) -> None:
    """The same event again."""
    demo.report.step(
        "2. Stripe sends the same event again",
        """It does so whenever an answer got lost. The event id is known, so nothing is written: every row
        of every table still carries the transaction number (xmin) that it had before.""",
    )
    before = demo.state()
    answer = demo.deliver(body)
    demo.expect_answer(answer, status=200, outcome="replayed", reason=None, group_id=demo.group_id)
    demo.expect_changes(before, [])


def wrong_amount(demo: Demo) -> None:
    """An event whose amount does not fit."""
    demo.report.step(
        "3. A payment of the wrong amount",
        """Another pending group, paid one cent short. The answer is a 500, so that Stripe shows it as failed
        and tries again; nothing is marked paid, and one row in payments.exceptions tells an operator.""",
    )
    before = demo.state()
    body = encode(completed(demo.other_group_id, amount_total=demo.other_amount_minor - 1))
    answer = demo.deliver(body)
    demo.expect_answer(answer, status=500, outcome="rejected", reason="amount_mismatch", group_id=demo.other_group_id)
    demo.expect_changes(before, ["payments.exceptions"])
    expect_group(demo, demo.other_group_id, status="pending", event_id=None)
    with psycopg.connect(demo.stack.dsn()) as connection:
        exceptions = connection.execute(
            "select order_group_id::text, reason, status, attempts from payments.exceptions order by id"
        ).fetchall()
    demo.report.table("payments.exceptions", ("order group", "reason", "status", "attempts"), exceptions)
    wanted = [(demo.other_group_id, "amount_mismatch", "open", 1)]
    demo.report.expect("The exception", [("rows", 1, len(exceptions)), ("as in the table", True, exceptions == wanted)])


def tampered(demo: Demo, genuine: bytes) -> None:
    """A body that is not the one that was signed."""
    demo.report.step(
        "4. Somebody tampers with the body",
        """The first event with the second group's id in place of its own, under the signature of the
        original. The relay refuses it before it looks inside.""",
    )
    before = demo.state()
    forged = genuine.replace(demo.group_id.encode(), demo.other_group_id.encode())
    answer = demo.deliver(forged, signed=genuine)
    demo.expect_answer(answer, status=400, outcome="refused", reason="invalid_signature", group_id=None)
    demo.expect_changes(before, [])


def unrelated(demo: Demo) -> None:
    """An event of another type."""
    demo.report.step(
        "5. An event about something else",
        """Signed and genuine, but no checkout: Stripe gets its 200 and the database is not even asked.""",
    )
    before = demo.state()
    answer = demo.deliver(encode(unrelated_event()))
    demo.expect_answer(answer, status=200, outcome="ignored", reason="event_type", group_id=None)
    demo.expect_changes(before, [])


def how_to_go_on(demo: Demo) -> None:
    """Commands to copy while everything runs."""
    env_file = demo.stack.postgres.home / "relay.env"
    settings = {**demo.stack.env(), "RELAY_WEBHOOK_URL": demo.relay.webhook_url}
    write_private(env_file, env_lines(settings))
    send = [sys.executable, "-m", "demo.send", "--env-file", str(env_file)]
    good = [*send, "--group", demo.other_group_id, "--amount", str(demo.other_amount_minor)]
    demo.report.step("It is still running", "Copy these into another terminal; Ctrl-C here stops everything.")
    for what, command in (
        ("Pay the second group, this time in full (twice: the second one is a replay)", [*good, "--times", "2"]),
        ("Pay a group that nobody knows", [*send, "--group", "00000000-0000-4000-8000-000000000000", "--amount", "1"]),
        ("Ask the relay whether it is ready", ["curl", "-s", f"{demo.relay.url}/readyz"]),
        ("Follow its log", ["tail", "-f", str(demo.relay.log)]),
    ):
        demo.report.line(f"\n# {what}\n{shlex.join(command)}")
    demo.report.line(f"\n# Look into the database\n{psql_command(demo.stack)}\n")


def run(report: Report, *, keep: bool) -> int:
    """The whole demo; the exit status is 0 only where everything was as promised."""
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
        demo = open_demo(stack, relay, report)
        body = payment(demo)
        replay(demo, body)
        wrong_amount(demo)
        tampered(demo, body)
        unrelated(demo)
        status = report.verdict()
        if status == 0 and not keep:
            report.line('Next: `make shop` to click through; README.md, "Put it on your project".')
        if keep:
            how_to_go_on(demo)
            try:
                wait_for_interrupt()
            except KeyboardInterrupt:
                report.line("\nStopped.")
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """0: as promised; 1: not; 2: a part is missing or did not start; 130: interrupted."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
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
