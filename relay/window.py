"""A window of time, as `--since` and `--until` name it. Pure, no I/O."""

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import Final

HELP: Final = "a duration before now (90m, 72h, 30d) or an ISO 8601 time (UTC where it names no zone)"
_DURATION = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def instant(text: str, *, now: datetime | None = None) -> datetime:
    """Read an argument of the command line. Raises argparse.ArgumentTypeError."""
    if match := _DURATION.fullmatch(text.strip()):
        try:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        except OverflowError:
            raise argparse.ArgumentTypeError("goes back too far") from None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {HELP}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
