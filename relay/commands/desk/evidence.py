"""What was expected beside what came, line by line. No I/O."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from relay.commands import terminal
from relay.commands.exception_rows import ExceptionRow, evidence
from relay.core.currency import code_of, format_amount, read_amount, to_major

# What stands in one line: its label, its keys in what was expected (an order group, or the former event), and in what
# came.
_PAIRS: Final = (
    ("currency", ("currency",), "currency"),
    ("payment intent", ("paid_by_payment_intent_id", "payment_intent_id"), "payment_intent_id"),
    ("checkout session", ("paid_by_checkout_session_id", "checkout_session_id"), "checkout_session_id"),
    ("order group", ("order_group_id",), "order_group_id"),
)
_AMOUNTS: Final = ("total_amount", "amount")
_MINOR: Final = re.compile(r"[0-9]{1,19}")
# A dispute may be about a part of its payment.
_OF_ANY_AMOUNT: Final = frozenset({"payment_disputed"})
_LABELS: Final = {
    "orders_total": "sum of the orders",
    "order_group_status": "order group is",
    "orders": "orders",
    "items": "items",
    "paid_by_event_id": "paid by event",
    "amount_minor": "amount in minor units",
    "event_type": "event type",
    "event_created_at": "event made at",
    "livemode": "live mode",
    "source": "source",
    "account": "account",
}
# What differs in these lines is what the rule is about; the others differ by their nature.
_COMPARED: Final = frozenset({"amount", "currency"})
# Of what only one side says, these matter to every reason.
_SHOWN: Final = frozenset({"order_group_status", "paid_by_event_id"})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the comparison; None where a side says nothing."""

    label: str
    expected: str | None
    received: str | None
    differs: bool = False
    remark: str = ""
    is_minor: bool = False
    """Whether it stands with the rest, behind what the rule compares."""


def compare(row: ExceptionRow) -> list[Line]:
    """The lines, money first."""
    expected, received = evidence(row, "expected"), evidence(row, "received")
    lines = [_money(expected, received, is_compared=row["reason"] not in _OF_ANY_AMOUNT)]
    seen = {"currency", *_AMOUNTS}
    for label, theirs, ours in _PAIRS:
        left = next((expected[key] for key in theirs if expected.get(key) is not None), None)
        right = received.get(ours)
        seen |= {*theirs, ours}
        differs = label in _COMPARED and None not in (left, right) and left != right
        lines.append(Line(label, _text(left), _text(right), differs, is_minor=label not in _COMPARED and left is None))
    rest = [name for name in (*_LABELS, *sorted({*expected, *received} - _LABELS.keys())) if name not in seen]
    for name in rest:
        left, right = expected.get(name), received.get(name)
        if name == "orders_total" and left is not None:
            total = expected.get("total_amount")
            told = format_amount(left, expected.get("currency"))
            differs = read_amount(left) != read_amount(total)
            lines.append(Line(_LABELS[name], told, None, differs, is_minor=not differs))
        else:
            label = _LABELS.get(name, name.replace("_", " "))
            is_minor = name not in _SHOWN or left is None
            lines.append(Line(label, _text(left, name), _text(right, name), is_minor=is_minor))
    return [line for line in lines if (line.expected, line.received) != (None, None)]


def _money(expected: Mapping[str, object], received: Mapping[str, object], *, is_compared: bool) -> Line:
    """The amounts, and by how much they differ where that can be said."""
    left, right = _amount(expected), _amount(received)
    texts = [
        None if amount is None else format_amount(amount, part.get("currency"))
        for amount, part in ((left, expected), (right, received))
    ]
    one, other = read_amount(left), read_amount(right)
    if one is None or other is None:
        return Line("amount", texts[0], texts[1], is_compared and bool(expected) and texts[0] != texts[1])
    remark = ""
    if one != other and expected.get("currency") == received.get("currency"):
        remark = f"{format_amount(abs(other - one), received.get('currency'))} {_direction(other - one)}"
    return Line("amount", texts[0], texts[1], is_compared and one != other, remark)


def _amount(part: Mapping[str, object]) -> object:
    """In major units; of a payment that a refund is compared with, only the minor units are on record."""
    told = next((part[name] for name in _AMOUNTS if part.get(name) is not None), None)
    minor = part.get("amount_minor")
    if told is None and isinstance(minor, str) and _MINOR.fullmatch(minor):
        return to_major(int(minor), code_of(part.get("currency")))
    return told


def _direction(difference: Decimal) -> str:
    return "more than expected" if difference > 0 else "less than expected"


def _text(value: object, name: str = "") -> str | None:
    """A value of the evidence for people; what has parts as JSON."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_at"):
        return terminal.when(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
