"""Verified text -> a Stripe event, or a refusal. Sans-I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Never

from relay.core.errors import MalformedEvent

LONGEST_ID: Final = 255  # Stripe's own limit for its ids, and the database's for those and for types
_LONGEST_INTEGER: Final = 30  # digits; Python refuses to read integers of more than 4300


@dataclass(frozen=True, slots=True)
class Event:
    """A verified Stripe event: its id and type are usable text, the rest has not been looked at."""

    id: str
    type: str
    body: Mapping[str, Any]


def read_event(text: str) -> Event:
    """Parse a verified body. Raises MalformedEvent where it is not a Stripe event."""
    try:
        body = _parse(text)
    except (ValueError, RecursionError):
        raise MalformedEvent from None
    if not isinstance(body, dict):
        raise MalformedEvent
    event_type = body.get("type")
    if not isinstance(event_type, str) or len(event_type) > LONGEST_ID:
        raise MalformedEvent
    return Event(usable_id(body.get("id")), event_type, body)


def usable_id(value: object) -> str:
    """An id that can be stored, logged, and compared with what comes back. Raises MalformedEvent.

    Neither blanks nor control characters: the database trims, and half a surrogate pair cannot be sent.
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


# NaN and Infinity are not JSON. Decoders are built once: json.loads builds one per call for such options.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_DECODER_OF_HUGE_INTEGERS = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_bounded_int)


def _parse(text: str) -> object:
    """JSON, strictly. Raises ValueError or RecursionError."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Either NaN/Infinity, which fails again, or an integer that Python will not read. The latter is JSON,
        # and no amount either: read it as null. Done on this path only, a parse_int hook slows every event
        # down.
        return _DECODER_OF_HUGE_INTEGERS.decode(text)
