"""Asks the database how it would answer payments. Nothing is written, and the rules stay in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay.commands.sendable import Sendable, payment_of, reason_of
from relay.core.errors import NoVerdict
from relay.core.outcomes import Outcome, Reason, Verdict, read_verdict
from relay.data_api.connection import with_retries
from relay.data_api.parameters import parameters
from relay.data_api.records import Records

FUNCTION: Final = "preview_order_group_payments"
# Payments per call. The function accepts 500; a page of Stripe's lists has 100.
AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class PreviewedAnswer:
    """How the database function would answer one payment now."""

    verdict: Verdict
    is_known: bool
    """Whether this payment has paid its order group, with the same amount and currency."""
    is_on_record: bool
    """Whether an open exception of this event has the same reason. Sending it would only raise its `attempts`."""
    is_resolved: bool
    """Whether a person or Stripe has resolved an exception of this event or of another event of its session."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do about the payment."""
        return self.is_known or self.is_resolved


async def preview(records: Records, decisions: Sequence[Sendable]) -> list[PreviewedAnswer]:
    """Ask about payments, each as if it came alone. The answers have the order of the payments. Raises NoVerdict or
    Declined.
    """
    found: list[PreviewedAnswer] = []
    for start in range(0, len(decisions), AT_ONCE):
        found += await _preview_page(records, decisions[start : start + AT_ONCE])
    return found


async def _preview_page(records: Records, decisions: Sequence[Sendable]) -> list[PreviewedAnswer]:
    # Metadata do not affect the answer, and would be the largest part of the request.
    payments = [
        parameters(payment_of(decision), reason_of(decision), "sweep") | {"p_session_metadata": {}}
        for decision in decisions
    ]
    answers = await with_retries(lambda: records.call(FUNCTION, {"p_payments": payments}))
    if not isinstance(answers, list) or len(answers) != len(decisions):
        raise NoVerdict(Reason.CONTRACT_VIOLATION, f"a preview of unexpected shape ({type(answers).__name__})")
    return [_read(answer, decision) for answer, decision in zip(answers, decisions, strict=True)]


def _read(answer: object, decision: Sendable) -> PreviewedAnswer:
    if not isinstance(answer, dict):
        raise NoVerdict(Reason.CONTRACT_VIOLATION, f"a preview of unexpected shape ({type(answer).__name__})")
    payment = payment_of(decision)
    if answer.get("outcome") == Outcome.FAILED:
        verdict = Verdict(Outcome.FAILED, Reason.UNEXPECTED)
    else:
        read = read_verdict(
            answer,
            event_id=payment.event_id,
            order_group_id=payment.order_group_id,
            unmatched_reason=reason_of(decision),
        )
        if read is None:
            raise NoVerdict(Reason.CONTRACT_VIOLATION, "a preview that the contract does not allow")
        verdict = read
    return PreviewedAnswer(
        verdict,
        is_known=answer.get("is_known") is True,
        is_on_record=answer.get("is_on_record") is True,
        is_resolved=answer.get("resolved") is True,
    )
