"""Formats text for a terminal: aligned, and without control characters. No I/O.

Strangers may have written what the database holds (ids, metadata, notes). None of it may move the terminal's cursor or
change its colours.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.cells import cell_len

_GAP: Final = "  "
_FOLD: Final = "    "
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def clean(value: object) -> str:
    """The value as one printable line; a dash where it is None or empty."""
    if value is None or value == "":
        return "-"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))


def table(header: Sequence[str], rows: Sequence[Sequence[object]], *, columns: int | None = None) -> str:
    """The rows below their header; each column is as wide as its widest value, and each line ends with a line feed.

    `columns` is the terminal's width. Table columns that do not fit continue on the next line, indented, because an id
    that the terminal breaks is hard to read and to copy.
    """
    lines = [[clean(value) for value in row] for row in (header, *rows)]
    widths = [max(cell_len(line[place]) for line in lines) for place in range(len(header))]
    parts = _fold(widths, columns)
    return "".join(
        (_FOLD if part.start else "") + _GAP.join(map(_padded, line[part], widths[part])).rstrip() + "\n"
        for line in lines
        for part in parts
    )


def _padded(value: str, width: int) -> str:
    """The value with blanks up to a width in cells: Chinese characters take two each, some others none."""
    return value + " " * (width - cell_len(value))


def _fold(widths: Sequence[int], columns: int | None) -> list[slice]:
    """Which table columns stand together in one line."""
    starts, used = [0], 0
    for place, width in enumerate(widths):
        if columns is not None and place and used + width > columns:
            starts.append(place)
            used = len(_FOLD)
        used += width + len(_GAP)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(widths)], strict=True)]


def facts(pairs: Sequence[tuple[str, object]], *, indent: str = "") -> str:
    """One line per pair: the name, and the value in an aligned column."""
    width = max((len(name) for name, _ in pairs), default=0)
    return "".join(f"{indent}{name:<{width}}  {clean(value)}\n" for name, value in pairs)


def counted(number: int, noun: str) -> str:
    """(1, "fault") -> "1 fault", (1200, "fault") -> "1,200 faults"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def age(since: str, now: datetime) -> str:
    """The time since then in its two largest units: "3d 4h"; a question mark where `since` is no ISO 8601 time."""
    began = read_instant(since)
    if began is None:
        return "?"
    seconds = max(0, int((now - began).total_seconds()))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def when(instant: object) -> str:
    """An ISO 8601 time in UTC, to the second. Other text, such as Postgres' `infinity`, is returned as it came."""
    read = read_instant(instant)
    return clean(instant) if read is None else read.strftime("%Y-%m-%d %H:%M:%S UTC")


def read_instant(text: object) -> datetime | None:
    """The time in UTC; None where Python has no such time, as for Postgres's infinity and the years before Christ."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
