"""What the pages of several commands share: Jinja's environment, which escapes every value, and its filters.

Strangers may have written what a page shows (names, ids, notes). None of it may be markup, and none may reorder or hide
the text around it.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from relay.commands import terminal

_LINES: Final = frozenset("\n\t")


def environment(folder: Path, *, now: datetime | None = None) -> Environment:
    """The environment of a folder of templates; ages are those at `now`, or at the time of asking."""
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["when"] = terminal.when
    made.filters["words"] = lambda name: str(name).replace("_", " ")
    made.filters["counted"] = terminal.counted
    made.filters["age"] = lambda since: terminal.age(since, now or datetime.now().astimezone())
    return made


def printable(value: Any) -> Any:
    """Text whose control and direction characters are shown as replacement characters; other values as they are."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(one if one.isprintable() or one in _LINES else "\N{REPLACEMENT CHARACTER}" for one in value)
