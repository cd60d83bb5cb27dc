"""`relay expire`: ends checkouts that nobody finished, at Stripe first and then in the database."""

import argparse
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

from relay.commands import console, output, terminal, window
from relay.commands.endings import INTERRUPTED, NO, OK, CommandError
from relay.commands.expire.expiry import Expiry
from relay.commands.expire.findings import Findings
from relay.commands.progress import Bar
from relay.commands.stripe_api import StripeApi, StripeUnavailable
from relay.config import Settings
from relay.data_api.records import Clients
from relay.server.webhook import rules_of

NAME: Final = "expire"
HELP: Final = "end checkouts that nobody finished: expire the open session at Stripe, then cancel the order group"
EPILOG: Final = """\
examples:
  relay expire
  relay expire --older-than 24h --dry-run
  relay expire --older-than 24h --json

An order group is due when its expires_at has passed, or when it is older than --older-than; one that awaits funds never
is. A group whose session is complete at Stripe is left alone: its money has come (`relay sweep` applies it) or is under
way. It is ended where the payment was set aside and its exception is resolved. Running it again continues an
interrupted run, and it may run beside live deliveries.
exit status: 0 nothing is due any more, 1 something is left, 2 could not run, 130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--older-than",
        type=window.duration,
        metavar="AGE",
        help="also end order groups of this age (90m, 24h, 7d) whose expires_at has not passed or is not set",
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing, and say what would be done")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Expire and print. Raises SettingsError or CommandError."""
    bar = Bar(sys.stderr)

    async def work(settings: Settings, clients: Clients) -> int:
        try:
            async with StripeApi.connect(settings) as stripe:
                findings = await Expiry(
                    stripe,
                    clients.records,
                    rules=rules_of(settings),
                    now=datetime.now(UTC),
                    older_than=arguments.older_than,
                    dry_run=arguments.dry_run,
                    progress=bar.show,
                ).run()
        finally:
            bar.clear()
        if arguments.json:
            console.write_json(as_dict(findings))
        else:
            output.show(_tell(findings, dry_run=arguments.dry_run))
        is_left = findings.left or findings.failed or (arguments.dry_run and findings.expired)
        return NO if is_left else OK

    try:
        return console.run(work)
    except StripeUnavailable as error:
        raise CommandError(str(error)) from None
    except KeyboardInterrupt:
        raise CommandError("interrupted; what was ended stays so, run it again for the rest", INTERRUPTED) from None


def as_dict(findings: Findings) -> dict[str, object]:
    """The findings as --json prints them (docs/contract.md)."""
    lists = {"left": findings.left, "failed": findings.failed}
    return {
        "expired": findings.expired,
        "sessions_expired": findings.sessions_expired,
        "settled": findings.settled,
        **{name: [asdict(one) for one in sorted(found, key=lambda one: one.place)] for name, found in lists.items()},
    }


def _tell(findings: Findings, *, dry_run: bool) -> str:
    would_be = "would be " if dry_run else ""
    parts = [
        "nothing was written\n\n" if dry_run else "",
        terminal.facts(
            [
                (f"order groups that {would_be or 'were '}cancelled", findings.expired),
                (f"sessions that {would_be or 'were '}expired", findings.sessions_expired),
                ("order groups settled meanwhile", findings.settled),
                ("left, complete at Stripe", len(findings.left)),
                ("failed", len(findings.failed)),
            ]
        ),
    ]
    rows = [
        (what, one.reason, one.checkout_session_id, one.order_group_id)
        for what, found in (("left", findings.left), ("failed", findings.failed))
        for one in sorted(found, key=lambda one: one.place)
    ]
    if rows:
        parts.append("\n" + console.fit_table(("what", "reason", "checkout session", "order group"), rows))
        parts.append("\n`relay sweep` applies what was paid, and `relay explain` tells more; see docs/operations.md.\n")
    return "".join(parts)
