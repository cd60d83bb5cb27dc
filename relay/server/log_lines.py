"""The form of log lines: JSON for programs, and a short line for a person who watches `relay serve` at a terminal."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from relay.core.outcomes import Outcome, Reason

if TYPE_CHECKING:
    from rich.console import Console

_LONGEST_FIELD: Final = 255
# The colours of the terminal's own theme. What is well needs none but the payment.
_STYLES: Final = {"error": "bold red", "warning": "yellow"}
_APPLIED: Final = "green"


@dataclass(slots=True)
class Delivery:
    """One POST, and what is known about it so far. The ids are set only after the signature was verified."""

    event_id: str | None = None
    event_type: str | None = None
    order_group_id: str | None = None
    checkout_session_id: str | None = None
    is_lifecycle: bool = False
    """Whether it came to the lifecycle route."""
    note: str = ""
    """A note for the operator: fixed words, codes and class names only."""


NO_DELIVERY: Final = Delivery()


@dataclass(frozen=True, slots=True)
class Entry:
    """What one line tells. `at` is in seconds since 1970."""

    at: float
    level: str
    message: str
    about: Delivery
    outcome: Outcome | None = None
    reason: Reason | None = None
    status: int | None = None
    duration_ms: float | None = None


Form = Callable[[Entry], bytes]


def as_json(entry: Entry) -> bytes:
    """The fields that docs/contract.md lists, and no others."""
    about = entry.about
    line = json.dumps(
        {
            "time": datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds"),
            "level": entry.level,
            "message": entry.message,
            "event_id": _short(about.event_id),
            "event_type": _short(about.event_type),
            "order_group_id": about.order_group_id,
            "checkout_session_id": _short(about.checkout_session_id),
            "outcome": entry.outcome,
            "reason": entry.reason,
            "status": entry.status,
            "duration_ms": entry.duration_ms,
        }
    )
    return f"{line}\n".encode()


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST_FIELD else text[:_LONGEST_FIELD]


def for_terminal() -> Form:
    """Lines for the terminal that is stdout, in its colours. NO_COLOR and TERM=dumb are respected."""
    from rich.console import Console  # imported here: only a terminal needs it

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    encoding = sys.stdout.encoding or "utf-8"
    return lambda entry: _coloured(console, entry).encode(encoding, "replace")


def _coloured(console: "Console", entry: Entry) -> str:
    style = _STYLES.get(entry.level) or (_APPLIED if entry.outcome is Outcome.APPLIED else "")
    with console.capture() as captured:
        console.print(as_text(entry), style=style, soft_wrap=True)
    return captured.get()


def as_text(entry: Entry) -> str:
    """The line in words, in local time: "12:00:00  500 rejected amount_mismatch  evt_1  12 ms". `relay explain` takes
    the event's id. Control characters do not get through.
    """
    parts = [datetime.fromtimestamp(entry.at).astimezone().strftime("%H:%M:%S")]
    if entry.outcome is None:
        parts.append(entry.message)
    else:
        parts.append(" ".join(filter(None, (str(entry.status), entry.outcome, entry.reason))))
        parts += filter(None, (_short(entry.about.event_id), entry.message.partition(": ")[2]))
        if entry.outcome is Outcome.IGNORED:
            parts += filter(None, [_short(entry.about.event_type)])
        parts.append(f"{entry.duration_ms:.0f} ms")
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in "  ".join(parts))
