"""`make demo`: one payment from Stripe's webhook to paid orders, on real parts, and four events that must not pay."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import psycopg

from demo.screen import Report
from demo.steps import Play, expect_group, set_the_stage, show_group, show_stock
from local_stack.__main__ import psql_command
from local_stack.errors import StackError
from local_stack.keys import write_private
from local_stack.signals import signals_as_interrupt, wait_for_interrupt
from local_stack.stack import Stack
from testkit.relay_process import RelayProcess
from testkit.stripe_events import completed, encode, unrelated_event

INTERRUPTED = 130  # what a shell reports for Ctrl-C


def payment(play: Play) -> bytes:
    """The event that pays."""
    play.report.step(
        "1. Stripe says that the buyer has paid",
        """A signed checkout.session.completed for exactly the group's total. The relay verifies it and
        makes one call; the database locks the group, compares the amount, marks the group and its orders
        paid and takes the stock, all in one transaction.""",
    )
    event = completed(play.group_id, amount_total=play.amount_minor)
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
    body = encode(completed(play.other_group_id, amount_total=play.other_amount_minor - 1))
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
    send = [sys.executable, "-m", "demo.send", "--env-file", str(env_file)]
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
