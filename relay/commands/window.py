"""A window of time, as `--since` and `--until` name it: the arguments, and what they mean now."""

import argparse
import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import Final

from relay.commands.endings import CommandError
from relay.commands.terminal import when

HELP: Final = "a duration before now (90m, 72h, 30d) or an ISO 8601 time (UTC where it names no zone)"
_DURATION = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# What Stripe, Postgres and Python all can tell in one way. No payment lies outside.
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--since` and `--until`."""
    parser.add_argument("--since", required=True, type=instant, metavar="WHEN", help=HELP)
    parser.add_argument("--until", type=instant, metavar="WHEN", help="the same; default: now")


def bounds(arguments: argparse.Namespace) -> tuple[datetime, datetime]:
    """Where the window begins and ends. Raises CommandError."""
    since, until = arguments.since, arguments.until or datetime.now(UTC)
    if since >= until:
        begin, end = when(since.isoformat()), when(until.isoformat())
        raise CommandError(f"--since must lie before --until, and {begin} does not lie before {end}")
    return since, until


def instant(text: str, *, now: datetime | None = None) -> datetime:
    """Read an argument of the command line. Raises argparse.ArgumentTypeError."""
    try:
        if match := _DURATION.fullmatch(text.strip()):
            found = (now or datetime.now(UTC)) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        else:
            found = datetime.fromisoformat(text.strip())
    except OverflowError:
        raise ArgumentTypeError("goes back too far") from None
    except ValueError:
        raise ArgumentTypeError(f"must be {HELP}") from None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if not _EARLIEST <= found <= _LATEST:
        raise ArgumentTypeError(f"must lie between {_EARLIEST:%Y} and {_LATEST:%Y}")
    return found.astimezone(UTC)
