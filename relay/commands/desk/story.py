"""The steps of an order group's story, for a page. No I/O.

A kind of step that this release does not know is shown with all that it says.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from typing_extensions import TypedDict

from relay.commands import terminal
from relay.core.currency import format_amount


class Story(TypedDict):
    """What `explain_order_group` returns, as far as the pages name it."""

    order_group_id: str
    verdict: str
    order_group: dict[str, Any] | None
    orders: list[dict[str, Any]]
    timeline: list[dict[str, Any]]


_QUIET: Final = frozenset(
    {"at", "kind", "rule", "details", "order_group_id", "amount", "currency", "amount_minor", "event_created_at"}
)
_STOCK: Final = "inventory_ledger"
_NUMBERS: Final = frozenset({"exception_id"})


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened: when, what, why, and what else is known of it."""

    at: str
    title: str
    rule: str
    exception: int | None
    facts: list[tuple[str, str]]


def steps(story: Mapping[str, Any]) -> list[Step]:
    """The timeline, oldest first."""
    titles = {
        item.get("product_id"): f"{item.get('sku') or ''} {item.get('title') or ''}".strip()
        for order in _dicts(story.get("orders"))
        for item in _dicts(order.get("items"))
    }
    told: list[Step] = []
    for is_stock, group in groupby(_dicts(story.get("timeline")), key=lambda entry: entry.get("kind") == _STOCK):
        entries = list(group)
        told += [_stock(entries, titles)] if is_stock and len(entries) > 1 else [_step(one, titles) for one in entries]
    return told


def _stock(entries: Sequence[Mapping[str, Any]], titles: Mapping[Any, str]) -> Step:
    """Stock entries that follow one another as one step; an order group may have a thousand."""
    facts = [(terminal.when(entry.get("at")), _title(entry, titles)) for entry in entries]
    return replace(_step(entries[0], titles), title=f"stock: {len(entries):,} entries", facts=facts)


def _step(entry: Mapping[str, Any], titles: Mapping[Any, str]) -> Step:
    number = entry.get("exception_id")
    told = [
        (name.replace("_", " "), _text(value))
        for name, value in entry.items()
        if name not in _QUIET | _NUMBERS and value is not None
    ]
    return Step(
        at=str(entry.get("at")),
        title=_title(entry, titles),
        rule=str(entry.get("rule") or ""),
        exception=number if type(number) is int else None,
        facts=told,
    )


def _title(entry: Mapping[str, Any], titles: Mapping[Any, str]) -> str:
    kind = str(entry.get("kind"))
    money = f": {format_amount(entry['amount'], entry.get('currency'))}" if entry.get("amount") is not None else ""
    match kind:
        case "stripe_event":
            return f"{_words(entry.get('outcome'))}{money}"
        case "payment_exception":
            state = _words(entry.get("resolution") or entry.get("status"))
            return f"{_words(entry.get('reason'))}, {state}"
        case "status_change":
            what = "order group" if entry.get("order_id") is None else "order"
            return f"{what}: {_words(entry.get('from_status'))} to {_words(entry.get('to_status'))}"
        case "inventory_ledger":  # _STOCK
            pieces = entry.get("quantity_delta")
            signed = f"{pieces:+d}" if type(pieces) is int else str(pieces)
            return f"stock: {signed} of {titles.get(entry.get('product_id')) or entry.get('product_id')}"
    return _words(kind) + money


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _words(name: Any) -> str:
    return str(name).replace("_", " ")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
