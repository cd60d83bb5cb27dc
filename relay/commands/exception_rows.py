"""Reads payment exceptions with `list_payment_exceptions`, for every command that needs them."""

from collections.abc import Mapping
from typing import Any, Final

from typing_extensions import TypedDict

from relay.commands import answers
from relay.core.currency import format_amount
from relay.data_api.records import Condition, Records

FUNCTION: Final = "list_payment_exceptions"
RESOLUTIONS: Final[Mapping[str, str]] = {
    "refunded": "the money went back, in Stripe",
    "fixed_by_hand": "the buyer gets what was paid for",
    "dismissed": "not ours, or nothing is owed",
}
"""What a person may say of an exception, and what it means."""
LONGEST_NUMBER: Final = 18  # digits of an exception's number; a bigint holds all of them
_RESOLVE: Final = "resolve_payment_exception"
_REOPEN: Final = "reopen_payment_exception"
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


class ListedException(ExceptionRow):
    """An exception as it is listed: with the rule that decided, in words."""

    rule: str


async def fetch(records: Records, *conditions: Condition, status: str = "all") -> list[ExceptionRow]:
    """The exceptions that meet the conditions, oldest first. Raises NoVerdict or Declined."""
    rows = await records.rows(FUNCTION, "*", *conditions, parameters={"p_status": status})
    return sorted(
        answers.read(list[ExceptionRow], rows, of=FUNCTION), key=lambda row: (row["first_seen_at"], row["id"])
    )


async def fetch_one(records: Records, id_: int) -> ListedException | None:
    """The exception with this number, or None. Raises NoVerdict or Declined."""
    parameters = {"p_status": "all", "p_id": id_}
    rows = await records.some(FUNCTION, "*", order=[("id", False)], limit=1, parameters=parameters)
    found = answers.read(list[ListedException], rows, of=FUNCTION)
    return found[0] if found else None


def number_of(text: str) -> int | None:
    """An exception's number; None where the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


async def resolve(records: Records, id_: int, *, resolution: str, by: str, note: str) -> ExceptionRow:
    """Close the exception; the row as it is then. Raises NoVerdict, or Declined where it is closed already."""
    parameters = {"p_exception_id": id_, "p_resolution": resolution, "p_resolved_by": by, "p_note": note}
    return answers.read(ExceptionRow, without_metadata(await records.call(_RESOLVE, parameters)), of=_RESOLVE)


async def reopen(records: Records, id_: int, *, by: str, note: str) -> ExceptionRow:
    """Take a person's word back; the row as it is then. Raises NoVerdict or Declined."""
    parameters = {"p_exception_id": id_, "p_by": by, "p_note": note}
    return answers.read(ExceptionRow, without_metadata(await records.call(_REOPEN, parameters)), of=_REOPEN)


def evidence(row: ExceptionRow, name: str) -> dict[str, object]:
    """A part of the evidence, `expected` or `received`; empty where it is no object. The evidence is jsonb and may hold
    anything.
    """
    part = row["details"].get(name) if isinstance(row["details"], dict) else None
    return part if isinstance(part, dict) else {}


def expected_amount(row: ExceptionRow) -> str | None:
    """The order group's total in major units, as it was when the payment was judged; None where it is not known."""
    return _amount(evidence(row, "expected"), "total_amount")


def received_amount(row: ExceptionRow) -> str | None:
    """What came, in major units; None where that is not known."""
    return _amount(evidence(row, "received"), "amount")


def _amount(part: dict[str, object], name: str) -> str | None:
    return None if part.get(name) is None else format_amount(part[name], part.get("currency"))


def without_metadata(value: Any) -> Any:
    """A copy of the value without the metadata of any session."""
    if isinstance(value, dict):
        return {key: without_metadata(inner) for key, inner in value.items() if key not in _PRIVATE}
    return [without_metadata(inner) for inner in value] if isinstance(value, list) else value
