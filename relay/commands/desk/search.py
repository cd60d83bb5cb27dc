"""Finds exceptions and order groups by any id that an operator may hold."""

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Final

from relay.commands import answers
from relay.commands.desk.listing import PAGE
from relay.commands.exception_rows import FUNCTION, ListedException, fetch_one, number_of, without_metadata
from relay.data_api.records import Condition, Records

LONGEST: Final = 255  # characters, as the database allows an id
_GROUP_COLUMNS: Final = ("stripe_webhook_event_id", "stripe_checkout_session_id", "stripe_payment_intent_id")


@dataclass(slots=True)
class Found:
    """What bears the id: order groups, and the first PAGE exceptions."""

    groups: list[str] = field(default_factory=list)
    exceptions: list[ListedException] = field(default_factory=list)


async def search(records: Records, text: str) -> Found:
    """Look for an exception's number, an order group, an order, an event, a session, a payment intent. Raises NoVerdict
    or Declined.
    """
    text = text.strip()
    if not text or len(text) > LONGEST or not text.isprintable():
        return Found()
    if (number := number_of(text)) is not None:
        row = await fetch_one(records, number)
        return Found([], [] if row is None else [without_metadata(row)])
    try:
        return await _by_uuid(records, str(uuid.UUID(text)))
    except ValueError:
        return await _by_stripe_id(records, text)


async def _by_uuid(records: Records, id_: str) -> Found:
    groups, orders, exceptions = await asyncio.gather(
        _groups(records, ("id", "eq", id_)),
        records.some("orders", "order_group_id", ("id", "eq", id_), order=[("id", False)], limit=1),
        _exceptions(records, {}, ("order_group_id", "eq", id_)),
    )
    return Found([*groups, *(str(order["order_group_id"]) for order in orders)], exceptions)


async def _by_stripe_id(records: Records, id_: str) -> Found:
    by_event, by_session, by_intent, *groups = await asyncio.gather(
        _exceptions(records, {"p_event": id_}),
        _exceptions(records, {"p_sessions": [id_]}),
        _exceptions(records, {}, ("payment_intent_id", "eq", id_)),
        *(_groups(records, (column, "eq", id_)) for column in _GROUP_COLUMNS),
    )
    rows = {row["id"]: row for row in (*by_event, *by_session, *by_intent)}
    return Found(list(dict.fromkeys(id_ for found in groups for id_ in found)), list(rows.values()))


async def _groups(records: Records, condition: Condition) -> list[str]:
    rows = await records.some("order_groups", "id", condition, order=[("id", False)], limit=PAGE)
    return [str(row["id"]) for row in rows]


async def _exceptions(records: Records, parameters: dict[str, object], *conditions: Condition) -> list[ListedException]:
    rows = await records.some(
        FUNCTION, "*", *conditions, order=[("id", False)], limit=PAGE, parameters={"p_status": "all"} | parameters
    )
    read: list[ListedException] = without_metadata(answers.read(list[ListedException], rows, of=FUNCTION))
    return read
