"""What the database knows about payments, read through the Data API. All methods raise NoVerdict or Declined."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from relay.commands.exception_rows import FUNCTION as LIST_EXCEPTIONS
from relay.commands.sweep.forecast import Group, Order
from relay.core.checkout import Payment
from relay.data_api.connection import patiently
from relay.data_api.records import Condition, Records, Row

# 50 session ids of 66 characters stay well below the 8 KiB that proxies allow an address.
BATCH: Final = 50
_GROUP: Final = "id,status,currency,total_amount::text,stripe_checkout_session_id,stripe_payment_intent_id"
_ORDERS: Final = "orders(status,total_amount::text,order_items(id))"


@dataclass(frozen=True, slots=True)
class PastTrouble:
    """An exception, as far as it decides what is to be done about its session."""

    event_id: str
    event_type: str
    event_created: int | None
    """Seconds since 1970."""
    reason: str
    is_open: bool
    by_operator: bool
    """An operator's word closed it, and that is final."""


class Books:
    """Groups and exceptions, many at once."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def groups(self, ids: Iterable[str]) -> dict[str, Group]:
        """The groups of these ids that exist."""
        rows = await self._in_batches("order_groups", "id", ids)
        return {row["id"]: _group(row) for row in rows}

    async def groups_of_sessions(self, session_ids: Iterable[str]) -> dict[str, Group]:
        """The groups that these sessions have paid, by session."""
        rows = await self._in_batches("order_groups", "stripe_checkout_session_id", session_ids)
        return {row["stripe_checkout_session_id"]: _group(row) for row in rows}

    async def troubles(self, session_ids: Iterable[str]) -> dict[str, list[PastTrouble]]:
        """The exceptions of these sessions, open and closed."""
        found: dict[str, list[PastTrouble]] = {}
        for batch in _batches(session_ids):
            condition = ("checkout_session_id", "in", _listed(batch))
            for row in await self._rows(LIST_EXCEPTIONS, "*", condition, parameters={"p_status": "all"}):
                found.setdefault(row["checkout_session_id"], []).append(_trouble(row))
        return found

    async def orders(self, group_id: str) -> list[Order]:
        """The child orders of a group."""
        rows = await self._rows("order_groups", f"id,{_ORDERS}", ("id", "eq", group_id))
        return [
            Order(order["status"], Decimal(order["total_amount"]), len(order["order_items"]))
            for row in rows
            for order in row["orders"]
        ]

    async def is_used_elsewhere(self, payment: Payment) -> bool:
        """Whether the payment's session or intent has paid a group other than the one that it names."""
        ids: list[Condition] = [("stripe_checkout_session_id", "eq", payment.session_id)]
        if payment.payment_intent_id:
            ids.append(("stripe_payment_intent_id", "eq", payment.payment_intent_id))
        for condition in ids:
            rows = await self._rows("order_groups", "id", condition)
            if any(row["id"] != payment.order_group_id for row in rows):
                return True
        return False

    async def paid_between(self, since: datetime, until: datetime) -> list[Group]:
        """The groups that were paid here in the window."""
        window = (("paid_at", "gte", since.isoformat()), ("paid_at", "lte", until.isoformat()))
        return [_group(row) for row in await self._rows("order_groups", _GROUP, *window)]

    async def _in_batches(self, table: str, column: str, values: Iterable[str]) -> list[Row]:
        found: list[Row] = []
        for batch in _batches(values):
            found += await self._rows(table, _GROUP, (column, "in", _listed(batch)))
        return found

    async def _rows(
        self, source: str, columns: str, *conditions: Condition, parameters: Mapping[str, object] | None = None
    ) -> list[Row]:
        """Reading may be done again: a moment without the database shall not end a sweep of an hour."""
        return await patiently(lambda: self._records.rows(source, columns, *conditions, parameters=parameters))


def _batches(values: Iterable[str]) -> Iterator[list[str]]:
    all_of_them = list(dict.fromkeys(values))
    for start in range(0, len(all_of_them), BATCH):
        yield all_of_them[start : start + BATCH]


def _listed(values: Iterable[str]) -> str:
    """A list in PostgREST's words; quoted, so that no id can be read as more than an id."""
    return f"({','.join(json.dumps(value, ensure_ascii=False) for value in values)})"


def _group(row: Row) -> Group:
    return Group(
        id=row["id"],
        status=row["status"],
        currency=row["currency"],
        total_amount=Decimal(row["total_amount"]),
        session_id=row["stripe_checkout_session_id"],
        payment_intent_id=row["stripe_payment_intent_id"],
    )


def _trouble(row: Row) -> PastTrouble:
    received = row["details"].get("received") or {}
    created = received.get("event_created_at")
    return PastTrouble(
        event_id=row["stripe_event_id"],
        event_type=received.get("event_type") or "checkout.session.completed",
        event_created=int(datetime.fromisoformat(created).timestamp()) if created else None,
        reason=row["reason"],
        is_open=row["status"] == "open",
        by_operator=row["status"] == "resolved" and row["resolution"] != "reconciled",
    )
