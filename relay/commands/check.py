"""`relay check`: prints the readiness checks."""

import argparse
import asyncio
import sys
from typing import Final

from relay.commands import console, mode
from relay.commands.endings import NO, OK
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

Asks the database, and never calls Stripe.
exit status: 0 ready, 1 not ready, 2 settings missing or wrong
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print what /readyz would answer")


def run(arguments: argparse.Namespace) -> int:
    """Print each check, and return whether all are ok as the exit status. Raises SettingsError."""
    checks = asyncio.run(_checks(Settings.of_process()))
    ready = all(check.ok for check in checks)
    if arguments.json:
        console.write_json({"ready": ready, "checks": [check.as_dict() for check in checks]})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            word = ("warn" if check.is_doubtful else "ok  ") if check.ok else "FAIL"
            sys.stdout.write(f"{word}  {check.name:<{width}}  {check.detail}\n")
    return OK if ready else NO


async def _checks(settings: Settings) -> list[Check]:
    async with connect(settings) as clients:
        readiness = Readiness(settings, Metrics(), clients.data_api)
        checks = [check for check in await readiness.checks() if check.name != "serving"]
        return [*checks, await mode.check(settings, clients.records)]
