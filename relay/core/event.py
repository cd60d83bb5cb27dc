"""Reads a Stripe event from a verified body, or refuses it. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Never

from relay.core.errors import MalformedEvent

# A thin event names the id of its object and does not carry the object: https://docs.stripe.com/event-destinations#thin-events
THIN_EVENT: Final = "v2.core.event"
LONGEST_ID: Final = 255  # characters: Stripe's limit for its ids, and the database's for ids and types
_LONGEST_INTEGER: Final = 30  # digits; by itself Python reads up to 4300


@dataclass(frozen=True, slots=True)
class Event:
    """A verified Stripe event. Its id and type have been checked, the rest of its body has not."""

    id: str
    type: str
    body: Mapping[str, Any]


def read_event(text: str) -> Event:
    """Read an event from a verified body. Raises MalformedEvent where that is no Stripe event."""
    try:
        body = _parse(text)
    except (ValueError, RecursionError):
        raise MalformedEvent from None
    if not isinstance(body, dict):
        raise MalformedEvent
    if body.get("object", "event") not in ("event", THIN_EVENT):
        raise MalformedEvent
    event_type = body.get("type")
    if not isinstance(event_type, str) or len(event_type) > LONGEST_ID:
        raise MalformedEvent
    return Event(usable_id(body.get("id")), event_type, body)


def usable_id(value: object) -> str:
    """The value, where it is an id that can be stored, logged, and compared with the answer. Raises MalformedEvent.

    An id holds no blanks, because the database trims, and only printable characters: half a surrogate pair cannot be
    sent.
    """
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID:
        raise MalformedEvent
    if not value.isprintable() or " " in value:
        raise MalformedEvent
    return value


def _refuse_constant(name: str) -> Never:
    raise ValueError(name)


def _bounded_int(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else None


# NaN and Infinity are not JSON. The decoders are built once; json.loads with such options builds one per call.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_DECODER_OF_HUGE_INTEGERS = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_bounded_int)


def _parse(text: str) -> object:
    """JSON, strictly. Raises ValueError or RecursionError."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # The text holds NaN or Infinity, which fails again below, or an integer too long for Python. Such an integer is
        # valid JSON but no amount, so it is read as null. Only this path does so, because a parse_int hook slows down
        # every event.
        return _DECODER_OF_HUGE_INTEGERS.decode(text)
