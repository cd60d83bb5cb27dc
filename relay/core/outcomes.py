"""The outcomes in which a delivery can end, and the reasons for them. docs/contract.md lists both. No I/O.

Only the functions here read a database function's answer. An answer that does not fit the contract exactly is no
verdict, because the relay must not report a payment as done on an answer that it misread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Self


class Outcome(StrEnum):
    """How a delivery ended. `rejected` and `failed` answer 500, so Stripe retries; `refused` answers 4xx; the eight
    others answer 200.
    """

    APPLIED = "applied"
    REPLAYED = "replayed"
    ALREADY_PAID = "already_paid"
    RESOLVED = "resolved"
    RECORDED = "recorded"
    UNMATCHED = "unmatched"
    IGNORED = "ignored"
    AWAITING_FUNDS = "awaiting_funds"
    REJECTED = "rejected"
    FAILED = "failed"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why a delivery ended so; each reason has the outcomes that it explains.

    The values are part of the public contract: answers, logs, metrics and payment exceptions use them. The reasons of
    `unmatched` and `rejected` are the rows of `payments.reasons`.
    """

    outcomes: frozenset[Outcome]

    def __new__(cls, value: str, *outcomes: Outcome) -> Self:
        """One line declares a reason: its word, then its outcomes."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.outcomes = frozenset(outcomes)
        return member

    # Decided before the database is called.
    METHOD_NOT_ALLOWED = "method_not_allowed", Outcome.REFUSED
    UNSUPPORTED_CONTENT_ENCODING = "unsupported_content_encoding", Outcome.REFUSED
    BODY_TOO_LARGE = "body_too_large", Outcome.REFUSED
    REQUEST_TIMEOUT = "request_timeout", Outcome.REFUSED
    MALFORMED_REQUEST = "malformed_request", Outcome.REFUSED
    MISSING_SIGNATURE = "missing_signature", Outcome.REFUSED
    TIMESTAMP_OUTSIDE_TOLERANCE = "timestamp_outside_tolerance", Outcome.REFUSED
    INVALID_SIGNATURE = "invalid_signature", Outcome.REFUSED
    WRONG_PATH = "wrong_path", Outcome.REFUSED
    MALFORMED_EVENT = "malformed_event", Outcome.REFUSED
    THIN_EVENT = "thin_event", Outcome.REFUSED
    # The event was read, and there is nothing to reconcile.
    EVENT_TYPE = "event_type", Outcome.IGNORED
    LIVEMODE_MISMATCH = "livemode_mismatch", Outcome.IGNORED
    SESSION_MODE = "session_mode", Outcome.IGNORED
    NO_PAYMENT_REQUIRED = "no_payment_required", Outcome.AWAITING_FUNDS
    MISSING_PAYMENT_INTENT = "missing_payment_intent", Outcome.IGNORED
    # Decided by the relay; the database records the unmatched ones.
    FOREIGN_ACCOUNT = "foreign_account", Outcome.IGNORED, Outcome.UNMATCHED
    MISSING_REFERENCE = "missing_reference", Outcome.IGNORED, Outcome.UNMATCHED
    MALFORMED_REFERENCE = "malformed_reference", Outcome.IGNORED, Outcome.UNMATCHED
    CONFLICTING_REFERENCES = "conflicting_references", Outcome.IGNORED, Outcome.UNMATCHED
    # Decided by the database. Where a checkout has ended, the order group may not wait for it.
    ORDER_GROUP_NOT_PENDING = "order_group_not_pending", Outcome.IGNORED
    ORDER_GROUP_AWAITS_ANOTHER_SESSION = "order_group_awaits_another_session", Outcome.IGNORED
    ORDER_GROUP_NOT_FOUND = "order_group_not_found", Outcome.IGNORED, Outcome.REJECTED
    ORDER_GROUP_NOT_PAYABLE = "order_group_not_payable", Outcome.REJECTED
    ORDER_GROUP_EMPTY = "order_group_empty", Outcome.REJECTED
    AMOUNT_MISSING = "amount_missing", Outcome.REJECTED
    CURRENCY_UNSUPPORTED = "currency_unsupported", Outcome.REJECTED
    AMOUNT_NORMALIZATION_MISMATCH = "amount_normalization_mismatch", Outcome.REJECTED
    CURRENCY_MISMATCH = "currency_mismatch", Outcome.REJECTED
    AMOUNT_MISMATCH = "amount_mismatch", Outcome.REJECTED
    TOTALS_INCONSISTENT = "totals_inconsistent", Outcome.REJECTED
    DUPLICATE_PAYMENT = "duplicate_payment", Outcome.REJECTED
    PAYMENT_ALREADY_USED = "payment_already_used", Outcome.REJECTED
    PAYMENT_REFUNDED = "payment_refunded", Outcome.REJECTED
    EVENT_COLLISION = "event_collision", Outcome.REJECTED
    EXCEEDS_PAYMENT = "exceeds_payment", Outcome.REJECTED
    REFUND_COLLISION = "refund_collision", Outcome.REJECTED
    DISPUTE_COLLISION = "dispute_collision", Outcome.REJECTED
    PAYMENT_DISPUTED = "payment_disputed", Outcome.RECORDED
    # No verdict.
    DATABASE_UNAVAILABLE = "database_unavailable", Outcome.FAILED
    TIMEOUT = "timeout", Outcome.FAILED
    LOCK_TIMEOUT = "lock_timeout", Outcome.FAILED
    DEADLOCK = "deadlock", Outcome.FAILED
    UNAUTHORIZED = "unauthorized", Outcome.FAILED
    CONTRACT_VIOLATION = "contract_violation", Outcome.FAILED
    UNEXPECTED = "unexpected", Outcome.FAILED


_WITHOUT_REASON = frozenset(
    {
        Outcome.APPLIED,
        Outcome.REPLAYED,
        Outcome.ALREADY_PAID,
        Outcome.RESOLVED,
        Outcome.RECORDED,
        Outcome.AWAITING_FUNDS,
    }
)
REASONS_OF: Mapping[Outcome, frozenset[Reason | None]] = MappingProxyType(
    {
        outcome: frozenset(
            [reason for reason in Reason if outcome in reason.outcomes] + [None] * (outcome in _WITHOUT_REASON)
        )
        for outcome in Outcome
    }
)
"""Every pair of outcome and reason in which a delivery can end."""
UNMATCHED_REASONS = frozenset(reason for reason in Reason if Outcome.UNMATCHED in reason.outcomes)
REJECTIONS = frozenset(reason for reason in Reason if Outcome.REJECTED in reason.outcomes)
EXCEPTION_REASONS = UNMATCHED_REASONS | REJECTIONS | {Reason.PAYMENT_DISPUTED}
"""The reasons of the exceptions that the database keeps."""
# The outcomes that the function may return for a payment that names an order group, and for one that names none.
_FOR_PAYMENT = frozenset({Outcome.APPLIED, Outcome.REPLAYED, Outcome.ALREADY_PAID, Outcome.RESOLVED, Outcome.REJECTED})
_FOR_UNMATCHED = frozenset({Outcome.UNMATCHED, Outcome.REPLAYED, Outcome.RESOLVED, Outcome.REJECTED})
_FOR_REVERSAL = frozenset({Outcome.RECORDED, Outcome.REPLAYED, Outcome.REJECTED})

_REFUSED_WITH: Mapping[Reason | None, int] = MappingProxyType(
    {
        Reason.WRONG_PATH: 404,
        Reason.METHOD_NOT_ALLOWED: 405,
        Reason.REQUEST_TIMEOUT: 408,
        Reason.BODY_TOO_LARGE: 413,
        Reason.UNSUPPORTED_CONTENT_ENCODING: 415,
    }
)
"""The HTTP status of a refusal; 400 for reasons that are not listed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about one delivery."""

    outcome: Outcome
    reason: Reason | None = None

    @property
    def status(self) -> int:
        """The HTTP status. 500 makes Stripe deliver again and shows the event as failed in its dashboard."""
        match self.outcome:
            case Outcome.REJECTED | Outcome.FAILED:
                return 500
            case Outcome.REFUSED:
                return _REFUSED_WITH.get(self.reason, 400)
            case _:
                return 200


class Notice(StrEnum):
    """What became of the notice that an order group's money is under way."""

    NOTED = "noted"
    ALREADY_NOTED = "already_noted"
    IGNORED = "ignored"
    """There is no such group, or it is no longer pending."""


def read_notice(data: object, *, order_group_id: str | None) -> Notice | None:
    """Read what `note_awaiting_funds` returned for the group that was sent; None where the contract does not allow the
    answer.
    """
    if not isinstance(data, dict) or data.get("order_group_id", "") != order_group_id:
        return None
    try:
        return Notice(str(data.get("outcome")))
    except ValueError:
        return None


def read_verdict(
    data: object, *, event_id: str, order_group_id: str | None, unmatched_reason: Reason | None
) -> Verdict | None:
    """Read what `reconcile_order_group_payment` returned for the ids that were sent.

    Returns None where the contract does not allow the answer: a wrong type, an unknown word, other ids, or an outcome
    that cannot follow from the call. Further keys are allowed, so that the database may be a version ahead.
    """
    if not isinstance(data, dict) or (verdict := _verdict_of(data)) is None:
        return None
    outcome, reason = verdict.outcome, verdict.reason
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
    return verdict


def read_answers(data: object, payments: Sequence[Mapping[str, object]]) -> list[dict[str, object]] | None:
    """Read what `reconcile_order_group_payments` returned for payments: an answer for each, in their order, which
    `read_verdict` can read. None where they are not exactly the answers to these payments.
    """
    if not isinstance(data, list) or len(data) != len(payments):
        return None
    for answer, payment in zip(data, payments, strict=True):
        if not isinstance(answer, dict) or answer.get("stripe_event_id") != payment["p_stripe_event_id"]:
            return None
        if answer.get("order_group_id", "") != payment["p_order_group_id"]:
            return None
    return data


def _verdict_of(answer: Mapping[object, object]) -> Verdict | None:
    """The words of an answer; None where one is unknown."""
    try:
        reason = answer.get("reason")
        return Verdict(Outcome(str(answer.get("outcome"))), None if reason is None else Reason(str(reason)))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the database did with a refund or a dispute."""

    verdict: Verdict
    order_group_id: str | None
    """The group that its payment has paid; None while it has paid none."""


def read_recorded(data: object, *, key: str, reversal_id: str) -> Recorded | None:
    """Read what `record_refund` or `record_dispute` returned for the id that was sent, and repeats under `key`; None
    where the contract does not allow the answer.
    """
    if not isinstance(data, dict) or data.get(key) != reversal_id:
        return None
    verdict, order_group_id = _verdict_of(data), data.get("order_group_id", "")
    if verdict is None or verdict.outcome not in _FOR_REVERSAL:
        return None
    if not isinstance(order_group_id, str | None) or order_group_id == "":
        return None
    if verdict.reason not in (REJECTIONS if verdict.outcome is Outcome.REJECTED else {None}):
        return None
    return Recorded(verdict, order_group_id)


def read_cancelled(data: object, *, order_group_id: str) -> Verdict | None:
    """Read what `cancel_order_group` returned for the group whose checkout has ended, as the verdict about the event
    that told of the end; None where the contract does not allow the answer.
    """
    if not isinstance(data, dict) or data.get("order_group_id") != order_group_id:
        return None
    return _OF_CANCELLING.get((str(data.get("outcome")), str(data.get("reason"))))


_OF_CANCELLING: Mapping[tuple[str, str], Verdict] = MappingProxyType(
    {("cancelled", "None"): Verdict(Outcome.RECORDED), ("already_cancelled", "None"): Verdict(Outcome.REPLAYED)}
    | {
        ("rejected", str(reason)): Verdict(Outcome.IGNORED, reason)
        for reason in (
            Reason.ORDER_GROUP_NOT_FOUND,
            Reason.ORDER_GROUP_NOT_PENDING,
            Reason.ORDER_GROUP_AWAITS_ANOTHER_SESSION,
        )
    }
)
