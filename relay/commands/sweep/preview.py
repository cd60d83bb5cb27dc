"""What the database would answer to payments, without anything being written: the rules stay where they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay.commands.sweep.sendable import Sendable, payment_of, reason_of
from relay.core.errors import NoVerdict
from relay.core.outcomes import Outcome, Reason, Verdict, read_verdict
from relay.data_api.client import parameters
from relay.data_api.connection import with_retries
from relay.data_api.records import Records

FUNCTION: Final = "preview_order_group_payments"
# The function takes 500; a page of Stripe's has 100.
AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Foretold:
    """The function's answer to one payment, were it sent now."""

    verdict: Verdict
    is_known: bool
    """This payment has paid its group, and the money agrees."""
    is_on_record: bool
    """An open exception of this event has this very reason: sending it would only count it up."""
    is_resolved: bool
    """A person has closed an exception of this event, or of another event of its session; that is final."""


async def preview(records: Records, decisions: Sequence[Sendable]) -> list[Foretold]:
    """Ask about payments, each as if it came alone; the answers are in their order. Raises NoVerdict or Declined."""
    found: list[Foretold] = []
    for start in range(0, len(decisions), AT_ONCE):
        found += await _preview_page(records, decisions[start : start + AT_ONCE])
    return found


async def _preview_page(records: Records, decisions: Sequence[Sendable]) -> list[Foretold]:
    # Metadata decide nothing, and are the most of what would be sent.
    payments = [
        parameters(payment_of(decision), reason_of(decision), "sweep") | {"p_session_metadata": {}}
        for decision in decisions
    ]
    answers = await with_retries(lambda: records.call(FUNCTION, {"p_payments": payments}))
    if not isinstance(answers, list) or len(answers) != len(decisions):
        raise NoVerdict(Reason.CONTRACT_VIOLATION, f"a preview of unexpected shape ({type(answers).__name__})")
    return [_read(answer, decision) for answer, decision in zip(answers, decisions, strict=True)]


def _read(answer: object, decision: Sendable) -> Foretold:
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
    return Foretold(
        verdict,
        is_known=answer.get("is_known") is True,
        is_on_record=answer.get("is_on_record") is True,
        is_resolved=answer.get("resolved") is True,
    )
