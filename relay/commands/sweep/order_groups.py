"""Reads what the sweep needs from the database: paid order groups and open exceptions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.commands.exception_rows import FUNCTION as LIST_EXCEPTIONS
from relay.core.outcomes import Reason
from relay.data_api.connection import with_retries
from relay.data_api.records import Records

_EXCEPTION: Final = (
    "id,stripe_event_id,checkout_session_id,reason,"
    "event_type:details->received->>event_type,event_created_at:details->received->>event_created_at,order_group_id,"
    "refund_id:details->received->>refund_id,dispute_id:details->received->>dispute_id,status_at_stripe:details->received->>status"
)


@dataclass(frozen=True, slots=True)
class PaidGroup:
    """An order group that is paid in the database, and the session that paid it."""

    id: str
    session_id: str | None


@dataclass(frozen=True, slots=True)
class OpenException:
    """An open payment exception, and its event."""

    event_id: str
    event_type: str
    event_created: int | None
    """Seconds since 1970."""
    reason: str

    @property
    def may_close(self) -> bool:
        """Whether another verdict can close it. After a collision none can: the event stays recorded with the
        other payload.
        """
        return self.reason != Reason.EVENT_COLLISION


@dataclass(frozen=True, slots=True)
class SetAside:
    """An open exception of a refund or a dispute, and the status that it was sent with."""

    order_group_id: str | None
    reason: str
    status: str


@dataclass(frozen=True, slots=True)
class OpenExceptions:
    """All open exceptions that the sweep can do something about."""

    by_session: dict[str, list[OpenException]]
    by_reversal: dict[str, SetAside]
    """By the id of the refund or dispute."""


async def paid_between(records: Records, since: datetime, until: datetime) -> list[PaidGroup]:
    """The order groups that were paid in the window. Raises NoVerdict or Declined."""
    window = (("paid_at", "gte", since.isoformat()), ("paid_at", "lte", until.isoformat()))
    rows = await with_retries(lambda: records.rows("order_groups", "id,stripe_checkout_session_id", *window))
    return [PaidGroup(row["id"], row["stripe_checkout_session_id"]) for row in rows]


async def open_exceptions(records: Records) -> OpenExceptions:
    """The open exceptions. Those of other accounts' payments are left out, because the sweep does not see their
    sessions. Raises NoVerdict or Declined.
    """
    rows = await with_retries(lambda: records.rows(LIST_EXCEPTIONS, _EXCEPTION, parameters={"p_status": "open"}))
    found: dict[str, list[OpenException]] = {}
    by_reversal: dict[str, SetAside] = {}
    for row in rows:
        if reversal_id := row["refund_id"] or row["dispute_id"]:
            if row["reason"] != Reason.PAYMENT_DISPUTED:  # such a dispute is on record
                by_reversal[reversal_id] = SetAside(row["order_group_id"], row["reason"], row["status_at_stripe"])
            continue
        if row["reason"] == Reason.FOREIGN_ACCOUNT:
            continue
        created = row["event_created_at"]
        found.setdefault(row["checkout_session_id"], []).append(
            OpenException(
                event_id=row["stripe_event_id"],
                event_type=row["event_type"],
                event_created=_seconds(created),
                reason=row["reason"],
            )
        )
    return OpenExceptions(found, by_reversal)


def _seconds(instant: object) -> int | None:
    """Seconds since 1970; None where the value is no time that Python can represent. Evidence may hold any text."""
    try:
        return int(datetime.fromisoformat(str(instant)).timestamp())
    except (ValueError, OverflowError):
        return None
