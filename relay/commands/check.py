"""`relay check`: prints the readiness checks."""

import argparse
import asyncio
from typing import Final

from relay.commands import check_lines, other_mode
from relay.config import Settings
from relay.data_api.records import connect
from relay.metrics import Metrics
from relay.server.readiness import Check, Readiness

NAME: Final = "check"
HELP: Final = "tell whether the relay could reconcile with these settings"
EPILOG: Final = """\
examples:
  relay check
  relay check --json | jq '.checks[] | select(.ok | not)'
  relay check --stripe       # also whether Stripe sends what the relay needs

Asks the database. Stripe is called with --stripe alone: a relay is as ready while Stripe's API is down. `warn` is
worth a look, and no reason to stop.
exit status: 0 ready, 1 not ready, 2 settings missing or wrong
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--stripe", action="store_true", help="include what `relay endpoint check` tells")
    parser.add_argument("--json", action="store_true", help="print what /readyz would answer")


def run(arguments: argparse.Namespace) -> int:
    """Print each check, and return whether all are ok as the exit status. Raises SettingsError."""
    found = asyncio.run(_checks(Settings.of_process(), stripe=arguments.stripe))
    return check_lines.show(found, as_json=arguments.json)


async def _checks(settings: Settings, *, stripe: bool) -> list[Check]:
    async with connect(settings) as clients:
        readiness = Readiness(settings, Metrics(), clients.data_api)
        found = [check for check in await readiness.checks() if check.name != "serving"]
        found.append(await other_mode.check(settings, clients.records))
    if stripe:
        from relay.commands import stripe_endpoints  # imported here: the SDK takes half a second to load

        has_lifecycle = bool(settings.stripe_lifecycle_webhook_secrets)
        return found + await stripe_endpoints.checks(settings, has_lifecycle=has_lifecycle)
    return found
