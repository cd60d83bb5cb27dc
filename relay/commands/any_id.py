"""Finds what an id is about, whatever kind of id it is, for every command that takes any."""

import uuid
from typing import Final

from typing_extensions import TypedDict

from relay.commands import answers, stories
from relay.core.currency import format_amount
from relay.data_api.records import Records

FUNCTION: Final = "find_order_groups"
NOBODYS: Final = "The payment belongs to no order group: it names none, or none that exists here."


class Found(TypedDict):
    """What `find_order_groups` returns."""

    order_groups: list[str]
    exceptions: list[int]
    refunds: list[stories.Refund]
    disputes: list[stories.Dispute]


async def find(records: Records, id_: str) -> Found:
    """Ask the database. Raises NoVerdict or Declined."""
    return answers.read(Found, await records.call(FUNCTION, {"p_id": id_}), of=FUNCTION)


def uuid_of(text: str) -> str | None:
    """The id of an order group, order or item, as the database writes it; None where the text is none."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def reversals(found: Found, id_: str) -> list[str]:
    """The refund or dispute that has this id, and those that no order group's story tells, each in words."""
    is_nobodys = not found["order_groups"]
    parts = [
        *(("refund", one["refund_id"], _money_back(one)) for one in found["refunds"]),
        *(("dispute", one["dispute_id"], _money_back(one)) for one in found["disputes"]),
    ]
    return [f"{kind} {named}: {told}" for kind, named, told in parts if is_nobodys or named == id_]


def _money_back(one: stories.Back) -> str:
    why = f" ({one['reason']})" if one["reason"] else ""
    return f"{one['status']}, {format_amount(one['amount'], one['currency'])} of {one['payment_intent_id']}{why}"
