"""`relay sweep`: finds payments that Stripe has and the database does not know, and the reverse."""

import argparse
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from relay.commands import console, output, sweep_lists, terminal, window
from relay.commands.endings import INTERRUPTED, NO, OK, CommandError
from relay.commands.progress import Bar
from relay.commands.stripe_api import StripeApi, StripeUnavailable
from relay.commands.sweep.findings import Findings, ReversalFindings
from relay.commands.sweep.sweep import Sweep
from relay.commands.sweep_lists import REVERSAL_LISTS, SWEEP_LISTS, Difference
from relay.config import Settings
from relay.core.currency import format_amount
from relay.data_api.records import Clients
from relay.server.webhook import rules_of

NAME: Final = "sweep"
HELP: Final = "reconcile paid sessions, refunds and disputes that the database does not know, and report the reverse"
EPILOG: Final = """\
examples:
  relay sweep --since 72h
  relay sweep --since 72h --dry-run
  relay sweep --since 2026-11-01 --until 2026-11-08T00:00:00+01:00 --json > sweep.json

Reads the complete Checkout Sessions that were created in the window, and those that were paid in it according to an
event. Paid sessions are reconciled by the webhook's own rules. Refunds and disputes that were created in the window are
recorded before that, where their payment is known or among these sessions. What the database knows is left alone, so a
second sweep changes nothing, and running an interrupted sweep again continues it. A sweep may run beside live
deliveries.
exit status: 0 no drift left, 1 drift or rejections, 2 could not run, 130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    window.add_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="write nothing, and say what would be done")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Sweep and print. Raises SettingsError or CommandError."""
    since, until = window.bounds(arguments)
    bar = Bar(sys.stderr)

    async def work(settings: Settings, clients: Clients) -> int:
        try:
            async with StripeApi.connect(settings) as stripe:
                findings = await Sweep(
                    stripe,
                    clients,
                    rules=rules_of(settings),
                    since=since,
                    until=until,
                    dry_run=arguments.dry_run,
                    progress=bar.show,
                ).run()
        finally:
            bar.clear()
        told = _about(since, until, dry_run=arguments.dry_run) | as_dict(findings)
        if arguments.json:
            console.write_json(told)
        else:
            left = sweep_lists.for_a_person(told)
            output.show(_tell(findings, left, since, until, dry_run=arguments.dry_run))
        return NO if sweep_lists.differences(told) else OK

    try:
        return console.run(work)
    except StripeUnavailable as error:
        raise CommandError(str(error)) from None
    except KeyboardInterrupt:
        raise CommandError("interrupted; what was applied stays, run it again for the rest", INTERRUPTED) from None


def _about(since: datetime, until: datetime, *, dry_run: bool) -> dict[str, Any]:
    """Which window was swept, and when."""
    times = {"since": since, "until": until, "finished_at": datetime.now(UTC)}
    return {name: time.isoformat(timespec="seconds") for name, time in times.items()} | {"dry_run": dry_run}


def as_dict(findings: Findings) -> dict[str, Any]:
    """The findings as --json prints them (docs/contract.md)."""
    lists = {name: [asdict(one) for one in found] for name, found in findings.lists.items()}
    return {
        "known": findings.known,
        "applied": findings.applied,
        "simulated": findings.simulated,
        "applied_now": [asdict(one) for one in sorted(findings.applied_now, key=lambda one: one.place)],
        **lists,
        **{f"{kind}s": _reversals_as_dict(found) for kind, found in findings.reversals.items()},
    }


def _reversals_as_dict(findings: ReversalFindings) -> dict[str, Any]:
    counts = {"known": findings.known, "recorded": findings.recorded, "ignored": findings.ignored}
    return counts | {name: [asdict(one) for one in found] for name, found in findings.lists.items()}


def _tell(findings: Findings, left: list[Difference], since: datetime, until: datetime, *, dry_run: bool) -> str:
    title = f"{terminal.when(since.isoformat())} to {terminal.when(until.isoformat())}"
    counts = [
        ("known", findings.known),
        ("would be applied" if dry_run else "applied now", findings.applied),
        *([("paid by relay simulate", findings.simulated)] if findings.simulated else []),
        *((SWEEP_LISTS[name], len(found)) for name, found in findings.lists.items()),
        *(
            (f"{kind}s", _count(found, dry_run=dry_run))
            for kind, found in findings.reversals.items()
            if found != ReversalFindings()
        ),
    ]
    parts = [f"{title}{', nothing was written' if dry_run else ''}\n\n", terminal.facts(counts)]
    if findings.applied_now:
        applied = [
            (format_amount(one.amount, one.currency), one.checkout_session_id, one.order_group_id)
            for one in sorted(findings.applied_now, key=lambda one: one.place)
        ]
        parts.append("\n" + console.fit_table((counts[1][0], "checkout session", "order group"), applied))
    sessions = [(one.what, one.reason, one.id, one.order_group_id) for one in left if one.kind == "session"]
    reversals = [
        (one.what, one.reason, one.id, one.payment_intent_id, one.order_group_id)
        for one in left
        if one.kind != "session"
    ]
    if reversals:
        parts.append("\n" + console.fit_table(("what", "reason", "id", "payment intent", "order group"), reversals))
    if sessions:
        parts.append("\n" + console.fit_table(("what", "reason", "checkout session", "order group"), sessions))
    if left:
        parts.append("\n`relay exceptions list` and `relay explain` tell more; docs/operations.md says what to do.\n")
    return "".join(parts)


def _count(findings: ReversalFindings, *, dry_run: bool) -> str:
    told = [
        (findings.known, "known"),
        (findings.recorded, "would be recorded" if dry_run else "recorded now"),
        *((len(found), REVERSAL_LISTS[name]) for name, found in findings.lists.items()),
        (findings.ignored, "of other payments"),
    ]
    return ", ".join(f"{count} {what}" for count, what in told if count)
