"""The words of the contract: what a delivery can end in, and why. Pure, no I/O.

`read_verdict` is the only door through which the database's answer comes in: whatever does not fit the
contract exactly is no verdict, because a payment must not be called done on an answer that we misread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Outcome(StrEnum):
    """How a delivery ended. The first eight answer 200; `rejected` and `failed` answer 500, so Stripe
    retries.
    """

    APPLIED = "applied"
    REPLAYED = "replayed"
    ALREADY_PAID = "already_paid"
    RESOLVED = "resolved"
    UNMATCHED = "unmatched"
    IGNORED = "ignored"
    AWAITING_FUNDS = "awaiting_funds"
    REJECTED = "rejected"
    FAILED = "failed"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why. The value is part of the public contract: answers, logs, metrics and the exceptions table use it."""

    # refused: judged before anything behind the relay is touched
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNSUPPORTED_CONTENT_ENCODING = "unsupported_content_encoding"
    BODY_TOO_LARGE = "body_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    MALFORMED_REQUEST = "malformed_request"
    MISSING_SIGNATURE = "missing_signature"
    TIMESTAMP_OUTSIDE_TOLERANCE = "timestamp_outside_tolerance"
    INVALID_SIGNATURE = "invalid_signature"
    MALFORMED_EVENT = "malformed_event"
    # ignored
    EVENT_TYPE = "event_type"
    LIVEMODE_MISMATCH = "livemode_mismatch"
    SESSION_MODE = "session_mode"
    # awaiting_funds
    NO_PAYMENT_REQUIRED = "no_payment_required"
    # unmatched
    MISSING_REFERENCE = "missing_reference"
    MALFORMED_REFERENCE = "malformed_reference"
    CONFLICTING_REFERENCES = "conflicting_references"
    # rejected: decided by the database
    ORDER_GROUP_NOT_FOUND = "order_group_not_found"
    ORDER_GROUP_NOT_PAYABLE = "order_group_not_payable"
    ORDER_GROUP_EMPTY = "order_group_empty"
    AMOUNT_MISSING = "amount_missing"
    CURRENCY_UNSUPPORTED = "currency_unsupported"
    AMOUNT_NORMALIZATION_MISMATCH = "amount_normalization_mismatch"
    CURRENCY_MISMATCH = "currency_mismatch"
    AMOUNT_MISMATCH = "amount_mismatch"
    TOTALS_INCONSISTENT = "totals_inconsistent"
    DUPLICATE_PAYMENT = "duplicate_payment"
    PAYMENT_ALREADY_USED = "payment_already_used"
    EVENT_COLLISION = "event_collision"
    # failed: no verdict
    DATABASE_UNAVAILABLE = "database_unavailable"
    TIMEOUT = "timeout"
    LOCK_TIMEOUT = "lock_timeout"
    DEADLOCK = "deadlock"
    UNAUTHORIZED = "unauthorized"
    CONTRACT_VIOLATION = "contract_violation"
    UNEXPECTED = "unexpected"


UNMATCHED_REASONS = frozenset({Reason.MISSING_REFERENCE, Reason.MALFORMED_REFERENCE, Reason.CONFLICTING_REFERENCES})
REJECTIONS = frozenset(
    {
        Reason.ORDER_GROUP_NOT_FOUND,
        Reason.ORDER_GROUP_NOT_PAYABLE,
        Reason.ORDER_GROUP_EMPTY,
        Reason.AMOUNT_MISSING,
        Reason.CURRENCY_UNSUPPORTED,
        Reason.AMOUNT_NORMALIZATION_MISMATCH,
        Reason.CURRENCY_MISMATCH,
        Reason.AMOUNT_MISMATCH,
        Reason.TOTALS_INCONSISTENT,
        Reason.DUPLICATE_PAYMENT,
        Reason.PAYMENT_ALREADY_USED,
        Reason.EVENT_COLLISION,
    }
)
REASONS_OF: Mapping[Outcome, frozenset[Reason | None]] = MappingProxyType(
    {
        Outcome.APPLIED: frozenset({None}),
        Outcome.REPLAYED: frozenset({None}),
        Outcome.ALREADY_PAID: frozenset({None}),
        Outcome.RESOLVED: frozenset({None}),
        Outcome.UNMATCHED: UNMATCHED_REASONS,
        Outcome.IGNORED: frozenset({Reason.EVENT_TYPE, Reason.LIVEMODE_MISMATCH, Reason.SESSION_MODE}),
        Outcome.AWAITING_FUNDS: frozenset({None, Reason.NO_PAYMENT_REQUIRED}),
        Outcome.REJECTED: REJECTIONS,
        Outcome.FAILED: frozenset(
            {
                Reason.DATABASE_UNAVAILABLE,
                Reason.TIMEOUT,
                Reason.LOCK_TIMEOUT,
                Reason.DEADLOCK,
                Reason.UNAUTHORIZED,
                Reason.CONTRACT_VIOLATION,
                Reason.UNEXPECTED,
            }
        ),
        Outcome.REFUSED: frozenset(
            {
                Reason.METHOD_NOT_ALLOWED,
                Reason.UNSUPPORTED_CONTENT_ENCODING,
                Reason.BODY_TOO_LARGE,
                Reason.REQUEST_TIMEOUT,
                Reason.MALFORMED_REQUEST,
                Reason.MISSING_SIGNATURE,
                Reason.TIMESTAMP_OUTSIDE_TOLERANCE,
                Reason.INVALID_SIGNATURE,
                Reason.MALFORMED_EVENT,
            }
        ),
    }
)
"""Every way in which a delivery can end."""
# What the function may decide for a payment that names a group, and for one that names none.
_FOR_PAYMENT = frozenset({Outcome.APPLIED, Outcome.REPLAYED, Outcome.ALREADY_PAID, Outcome.RESOLVED, Outcome.REJECTED})
_FOR_UNMATCHED = frozenset({Outcome.UNMATCHED, Outcome.REPLAYED, Outcome.RESOLVED, Outcome.REJECTED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about one delivery."""

    outcome: Outcome
    reason: Reason | None = None

    @property
    def status(self) -> int:
        """The HTTP status. 500 makes Stripe deliver again and shows the event as failed in its dashboard."""
        return 500 if self.outcome in (Outcome.REJECTED, Outcome.FAILED) else 200


def read_verdict(
    data: object, *, event_id: str, order_group_id: str | None, unmatched_reason: Reason | None
) -> Verdict | None:
    """Read what `reconcile_order_group_payment` returned for the ids that were sent.

    None where the answer is not one that the contract allows for them: a wrong type, an unknown word, other
    ids, an outcome that cannot follow from the call. Further keys are allowed, so that the database may be a
    version ahead.
    """
    if not isinstance(data, dict):
        return None
    try:
        outcome = Outcome(str(data.get("outcome")))
        raw_reason = data.get("reason")
        reason = None if raw_reason is None else Reason(raw_reason)
    except ValueError:
        return None
    if data.get("stripe_event_id") != event_id or data.get("order_group_id", "") != order_group_id:
        return None
    if type(data.get("orders_paid")) is not int or type(data.get("ledger_entries")) is not int:
        return None
    if outcome not in (_FOR_PAYMENT if unmatched_reason is None else _FOR_UNMATCHED):
        return None
    if outcome is Outcome.REJECTED and reason not in REJECTIONS:
        return None
    if outcome is Outcome.UNMATCHED and reason is not unmatched_reason:
        return None
    if outcome not in (Outcome.REJECTED, Outcome.UNMATCHED) and reason is not None:
        return None
    return Verdict(outcome, reason)
