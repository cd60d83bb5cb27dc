"""The options `--since` and `--until`, which name a window of time, and durations."""

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
# Stripe, Postgres and Python all accept times in these bounds. No payment lies outside.
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_LONGEST: Final = timedelta(days=3660)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--since` and `--until` to a command."""
    parser.add_argument("--since", required=True, type=instant, metavar="WHEN", help=HELP)
    parser.add_argument("--until", type=instant, metavar="WHEN", help="the end, in the same form; default: now")


def bounds(arguments: argparse.Namespace) -> tuple[datetime, datetime]:
    """The beginning and the end of the window. Raises CommandError where it is empty."""
    since, until = arguments.since, arguments.until or datetime.now(UTC)
    if since >= until:
        begin, end = when(since.isoformat()), when(until.isoformat())
        raise CommandError(f"--since must lie before --until, and {begin} does not lie before {end}")
    return since, until


def duration(text: str) -> timedelta:
    """Read a duration from an argument. Raises argparse.ArgumentTypeError."""
    match = _DURATION.fullmatch(text.strip())
    found = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < found <= _LONGEST:
        raise ArgumentTypeError("must be a duration of at most 10 years (90m, 24h, 7d)")
    return found


def instant(text: str, *, now: datetime | None = None) -> datetime:
    """Read a time from an argument, as UTC. Raises argparse.ArgumentTypeError."""
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
