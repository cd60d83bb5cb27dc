"""What is sent to the functions that decide about a delivery, under the names of their parameters. No I/O."""

from typing import Any, Literal

from relay.core.checkout import Payment
from relay.core.lifecycle import Reversal
from relay.core.outcomes import Reason

Parameters = dict[str, Any]
Source = Literal["webhook", "sweep", "replay"]


def parameters(payment: Payment, unmatched_reason: Reason | None, source: Source) -> Parameters:
    """The parameters of `reconcile_order_group_payment` for a payment."""
    return {
        "p_order_group_id": payment.order_group_id,
        "p_stripe_event_id": payment.event_id,
        "p_stripe_event_type": payment.event_type,
        "p_stripe_event_created": payment.event_created,
        "p_livemode": payment.livemode,
        "p_checkout_session_id": payment.session_id,
        "p_payment_intent_id": payment.payment_intent_id,
        "p_amount_minor": payment.amount_minor,
        "p_amount": payment.amount,
        "p_currency": payment.currency,
        "p_session_metadata": payment.metadata,
        "p_source": source,
        "p_unmatched_reason": unmatched_reason,
        "p_account": payment.account,
    }


def recording_parameters(reversal: Reversal, source: Source) -> Parameters:
    """The parameters of `record_refund` or `record_dispute`."""
    return {
        f"p_{reversal.kind}_id": reversal.id,
        "p_payment_intent_id": reversal.payment_intent_id,
        "p_amount_minor": reversal.amount_minor,
        "p_amount": reversal.amount,
        "p_currency": reversal.currency,
        "p_status": reversal.status,
        "p_created": reversal.created,
        "p_reason": reversal.reason,
        "p_livemode": reversal.livemode,
        "p_source": source,
        "p_stripe_event_id": reversal.event_id,
    }
