"""Reads payment exceptions with `list_payment_exceptions`, for every command that needs them."""

from typing import Any, Final

from typing_extensions import TypedDict

from relay.commands import answers
from relay.data_api.records import Condition, Records

FUNCTION: Final = "list_payment_exceptions"
# Keys of session metadata, which the shop sets and which may hold personal data of buyers.
_PRIVATE: Final = frozenset({"session_metadata", "stripe_session_metadata"})


class ExceptionRow(TypedDict):
    """One payment exception: a payment that needs a person's decision, or needed one."""

    id: int
    status: str
    reason: str
    attempts: int
    first_seen_at: str
    last_seen_at: str
    order_group_id: str | None
    stripe_event_id: str
    checkout_session_id: str | None
    payment_intent_id: str | None
    resolution: str | None
    resolved_by: str | None
    resolved_at: str | None
    note: str | None
    details: Any
    """The evidence (jsonb): what the event held, and what the database expected."""


async def fetch(records: Records, *conditions: Condition, status: str = "all") -> list[ExceptionRow]:
    """The exceptions that meet the conditions, oldest first. Raises NoVerdict or Declined."""
    rows = await records.rows(FUNCTION, "*", *conditions, parameters={"p_status": status})
    return sorted(
        answers.read(list[ExceptionRow], rows, of=FUNCTION), key=lambda row: (row["first_seen_at"], row["id"])
    )


def without_metadata(value: Any) -> Any:
    """A copy of the value without the metadata of any session."""
    if isinstance(value, dict):
        return {key: without_metadata(inner) for key, inner in value.items() if key not in _PRIVATE}
    return [without_metadata(inner) for inner in value] if isinstance(value, list) else value
