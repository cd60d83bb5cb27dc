"""Aligned text for terminals. Pure, no I/O.

What comes out of the database may have been written by a stranger (ids, metadata, notes); nothing of it may move a
terminal's cursor or colour its lines.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

_GAP: Final = "  "
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def clean(value: object) -> str:
    """One printable line; a dash for nothing."""
    if value is None or value == "":
        return "-"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their widest value, closed by a line feed."""
    lines = [[clean(value) for value in row] for row in (header, *rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    return "".join(
        _GAP.join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )


def facts(pairs: Sequence[tuple[str, object]], *, indent: str = "") -> str:
    """Names and values below each other."""
    width = max((len(name) for name, _ in pairs), default=0)
    return "".join(f"{indent}{name:<{width}}  {clean(value)}\n" for name, value in pairs)


def age(since: str, now: datetime) -> str:
    """How long ago, in its two largest units: "3d 4h". `since` is ISO 8601."""
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def when(instant: str | None) -> str:
    """An instant in UTC, to the second."""
    if instant is None:
        return "-"
    return datetime.fromisoformat(instant).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
