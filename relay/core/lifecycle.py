"""Decides what a verified event means for what was sold: Ignored, Reversal or EndedCheckout. No I/O.

The order of arrival is nobody's promise: a refund may come before its payment, and its failure before its success. So
nothing is decided here but what an event says; the database decides what follows from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from relay.core import currency
from relay.core.checkout import (
    BIGINT_MAX,
    Ignored,
    Rules,
    checked_session,
    instant,
    is_named_by_the_shop,
    is_one_of,
    named_accounts,
    payment_intent_of,
    reference,
)
from relay.core.errors import MalformedEvent
from relay.core.event import Event, usable_id
from relay.core.outcomes import Reason

Kind = Literal["refund", "dispute"]
KINDS: Final[tuple[Kind, ...]] = ("refund", "dispute")
# https://docs.stripe.com/api/events/types. `charge.refunded` and `charge.refund.updated` tell of the same refunds.
REFUND_TYPES: Final = frozenset({"refund.created", "refund.updated", "refund.failed"})
DISPUTE_TYPES: Final = frozenset(
    f"charge.dispute.{step}" for step in ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")
)
ENDING_TYPES: Final = frozenset({"checkout.session.expired", "checkout.session.async_payment_failed"})
TYPES: Final = REFUND_TYPES | DISPUTE_TYPES | ENDING_TYPES
# https://docs.stripe.com/api/refunds/object and https://docs.stripe.com/api/disputes/object
STATUSES: Final[Mapping[Kind, frozenset[str]]] = MappingProxyType(
    {
        "refund": frozenset({"pending", "requires_action", "succeeded", "failed", "canceled"}),
        "dispute": frozenset(
            {
                "warning_needs_response",
                "warning_under_review",
                "warning_closed",
                "needs_response",
                "under_review",
                "charge_refunded",
                "prevented",
                "lost",
                "won",
            }
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Reversal:
    """Money of a payment that goes back, or is asked back: a refund or a dispute, as it now stands at Stripe."""

    kind: Kind
    id: str
    payment_intent_id: str
    amount_minor: int
    """In minor units, above zero."""
    amount: str
    """In major units, as plain decimal text."""
    currency: str
    status: str
    created: str
    """The refund's or dispute's own time, ISO 8601 in UTC."""
    reason: str | None
    """Stripe's word."""
    livemode: bool
    event_id: str | None
    """None where no event told of it."""


@dataclass(frozen=True, slots=True)
class EndedCheckout:
    """A checkout session that nobody will pay any more: it has expired, or its bank debit has failed."""

    session_id: str
    order_group_id: str


Decision = Ignored | Reversal | EndedCheckout


def judge(event: Event, rules: Rules) -> Decision:
    """Decide what the event means. Raises MalformedEvent or ThinEvent."""
    if not is_one_of(TYPES, event):
        return Ignored(Reason.EVENT_TYPE)
    accounts, livemode = named_accounts(event), event.body.get("livemode")
    if type(livemode) is not bool:
        raise MalformedEvent
    session_id: str | None = None
    if event.type in ENDING_TYPES:
        session, session_id, _ = checked_session(event)
        decision: Decision = _ended(session, session_id, livemode=livemode)
    else:
        kind: Kind = "refund" if event.type in REFUND_TYPES else "dispute"
        data = event.body.get("data")
        stated = data.get("object") if isinstance(data, dict) else None
        decision = read_reversal(kind, stated, livemode=livemode, event_id=event.id)
    if livemode is not rules.livemode:
        return Ignored(Reason.LIVEMODE_MISMATCH, session_id)
    if not rules.accounts.issuperset(accounts):
        return Ignored(Reason.FOREIGN_ACCOUNT, session_id)
    return decision


def _ended(session: Mapping[str, Any], session_id: str, *, livemode: bool) -> Ignored | EndedCheckout:
    if session["livemode"] is not livemode:
        return Ignored(Reason.LIVEMODE_MISMATCH, session_id)
    if session.get("mode") != "payment":
        return Ignored(Reason.SESSION_MODE, session_id)
    order_group_id, problem = reference(session)
    # Whoever opens a Payment Link with a `client_reference_id` and does not pay must not cancel that group.
    if order_group_id is None or not is_named_by_the_shop(session):
        return Ignored(problem or Reason.MISSING_REFERENCE, session_id)
    return EndedCheckout(session_id, order_group_id)


def read_reversal(kind: Kind, stated: object, *, livemode: bool, event_id: str | None) -> Ignored | Reversal:
    """What Stripe says about a refund or a dispute. Raises MalformedEvent.

    Ignored is what is of the other mode, and what is of no payment intent, and so of no Checkout Session.

    `livemode` is the mode of whoever says it, which counts where a refund does not name its own.
    """
    if not isinstance(stated, dict) or stated.get("object") != kind:
        raise MalformedEvent
    id_, payment_intent_id = usable_id(stated.get("id")), payment_intent_of(stated)
    amount, status, reason = stated.get("amount"), stated.get("status"), stated.get("reason")
    created, currency_code = instant(stated.get("created")), currency.code_of(stated.get("currency"))
    if type(amount) is not int or not 0 < amount <= BIGINT_MAX:  # `type`, because isinstance accepts True
        raise MalformedEvent
    if created is None or currency_code is None:
        raise MalformedEvent
    if not isinstance(status, str) or status not in STATUSES[kind]:
        raise MalformedEvent
    if type(own_mode := stated.get("livemode", livemode)) is not bool:
        raise MalformedEvent
    if own_mode is not livemode:
        return Ignored(Reason.LIVEMODE_MISMATCH)
    if payment_intent_id is None:
        return Ignored(Reason.MISSING_PAYMENT_INTENT)
    return Reversal(
        kind=kind,
        id=id_,
        payment_intent_id=payment_intent_id,
        amount_minor=amount,
        amount=currency.to_major(amount, currency_code),
        currency=currency_code,
        status=status,
        created=created,
        reason=None if reason is None else usable_id(reason),
        livemode=livemode,
        event_id=event_id,
    )
