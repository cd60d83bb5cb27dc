"""What the database would decide about a payment, told from what the Data API shows. Pure, no I/O.

For `relay sweep --dry-run`, which may not ask the function because asking writes, and for a sweep that would otherwise
count an exception's attempts up each time it runs. The order of the rules is the function's; a test holds both equal.
Postgres decides nevertheless: nothing is written on a forecast.
"""

from dataclasses import dataclass
from decimal import Decimal

from relay.core.checkout import Payment
from relay.core.currency import EXPONENTS, WHOLE_UNITS, exponent_of
from relay.core.outcomes import Outcome, Reason, Verdict


@dataclass(frozen=True, slots=True)
class Order:
    """A child order; the amount in major units."""

    status: str
    total_amount: Decimal
    items: int


@dataclass(frozen=True, slots=True)
class Group:
    """An order group and who has paid it; the amount in major units."""

    id: str
    status: str
    currency: str
    total_amount: Decimal
    session_id: str | None
    payment_intent_id: str | None

    def is_paid_by(self, payment: Payment) -> bool:
        """Whether this very session or payment intent has paid it."""
        if self.status not in ("paid", "refunded"):
            return False
        same_intent = payment.payment_intent_id is not None and payment.payment_intent_id == self.payment_intent_id
        return payment.session_id == self.session_id or same_intent

    def difference(self, payment: Payment) -> Reason | None:
        """Why the payment is not what the group costs; None where it is."""
        if self.currency != payment.currency:
            return Reason.CURRENCY_MISMATCH
        minor = self.total_amount.scaleb(exponent_of(self.currency))
        return None if minor == payment.amount_minor else Reason.AMOUNT_MISMATCH

    def is_settled_by(self, payment: Payment) -> bool:
        """Paid by this payment, for what it costs. A difference needs a person, so it is not settled."""
        return self.is_paid_by(payment) and self.difference(payment) is None


def forecast(payment: Payment, group: Group | None, orders: list[Order], *, used_elsewhere: bool) -> Verdict:
    """The verdict to expect. `used_elsewhere`: the payment has paid another group."""
    if group is None:
        return Verdict(Outcome.REJECTED, Reason.ORDER_GROUP_NOT_FOUND)
    reason = _reason(payment, group, orders, used_elsewhere)
    if reason:
        return Verdict(Outcome.REJECTED, reason)
    return Verdict(Outcome.ALREADY_PAID if group.status == "paid" else Outcome.APPLIED)


def _reason(payment: Payment, group: Group, orders: list[Order], used_elsewhere: bool) -> Reason | None:
    unsettled = group.status == "pending" and any(order.status != "pending" for order in orders)
    if group.status not in ("pending", "paid") or unsettled:
        return Reason.ORDER_GROUP_NOT_PAYABLE
    if not orders or not all(order.items for order in orders):
        return Reason.ORDER_GROUP_EMPTY
    if payment.amount_minor is None or payment.amount is None:
        return Reason.AMOUNT_MISSING
    if payment.currency not in EXPONENTS:
        return Reason.CURRENCY_UNSUPPORTED
    if payment.currency in WHOLE_UNITS and payment.amount_minor % 100:
        return Reason.AMOUNT_NORMALIZATION_MISMATCH
    if reason := group.difference(payment):
        return reason
    if sum((order.total_amount for order in orders), Decimal(0)) != group.total_amount:
        return Reason.TOTALS_INCONSISTENT
    if group.status == "paid" and not group.is_paid_by(payment):
        return Reason.DUPLICATE_PAYMENT
    return Reason.PAYMENT_ALREADY_USED if used_elsewhere else None
