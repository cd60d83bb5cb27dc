"""Reads what the sweep needs to know about refunds and disputes: those on record, and whose payments are known."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from typing_extensions import TypedDict

from relay.commands import answers
from relay.commands.exception_rows import FUNCTION as LIST_EXCEPTIONS
from relay.core.lifecycle import Kind, Reversal
from relay.data_api.connection import with_retries
from relay.data_api.records import Records

FUNCTION: Final = "list_refunds_and_disputes"
# Ids in one request's address, which proxies limit to some 8 KiB.
AT_ONCE: Final = 100


class _Row(TypedDict):
    id: str
    kind: Literal["refund", "dispute"]
    payment_intent_id: str
    order_group_id: str | None
    amount_minor: int
    currency: str
    status: str


@dataclass(frozen=True, slots=True)
class OnRecord:
    """A refund or a dispute that the database has recorded."""

    kind: Kind
    id: str
    payment_intent_id: str
    order_group_id: str | None
    amount_minor: int
    """In minor units."""
    currency: str
    status: str

    def says(self, reversal: Reversal) -> bool:
        """Whether there is nothing to record: Stripe says the same."""
        return (self.payment_intent_id, self.amount_minor, self.currency, self.status) == (
            reversal.payment_intent_id,
            reversal.amount_minor,
            reversal.currency,
            reversal.status,
        )


async def on_record(records: Records, since: datetime, until: datetime) -> dict[str, OnRecord]:
    """The refunds and disputes on record that were created in the window, by id. Raises NoVerdict or Declined."""
    window = {"p_since": since.isoformat(), "p_until": until.isoformat()}
    columns = ",".join(_Row.__annotations__)
    rows = await with_retries(lambda: records.rows(FUNCTION, columns, parameters=window))
    return {row["id"]: OnRecord(**row) for row in answers.read(list[_Row], rows, of=FUNCTION)}


async def known_payments(records: Records, payment_intent_ids: Iterable[str]) -> set[str]:
    """Those of the payment intents that have paid an order group, or were set aside as an exception, open or resolved.
    Raises NoVerdict or Declined.
    """
    found: set[str] = set()
    wanted = sorted(payment_intent_ids)
    for start in range(0, len(wanted), AT_ONCE):
        some = f"({','.join(map(_quoted, wanted[start : start + AT_ONCE]))})"
        found |= await _named(records, "order_groups", "stripe_payment_intent_id", some)
        found |= await _named(records, LIST_EXCEPTIONS, "payment_intent_id", some, parameters={"p_status": "all"})
    return found


async def _named(
    records: Records, source: str, column: str, some: str, parameters: dict[str, object] | None = None
) -> set[str]:
    rows = await with_retries(lambda: records.rows(source, f"id,{column}", (column, "in", some), parameters=parameters))
    return {row[column] for row in rows}


def _quoted(value: str) -> str:
    """https://docs.postgrest.org/en/v12/references/api/url_grammar.html#reserved-characters"""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
