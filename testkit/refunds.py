"""Refunds and disputes, as the relay tells the database of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, LiteralString, Self
from uuid import UUID, uuid4

from testkit.database import Connection, Row
from testkit.payments import EXPONENTS, Payment

PARAMETERS: LiteralString = """(
    %(id)s,
    p_payment_intent_id => %(payment_intent_id)s,
    p_amount_minor => %(amount_minor)s,
    p_amount => %(amount)s,
    p_currency => %(currency)s,
    p_status => %(status)s,
    p_created => %(created)s,
    p_reason => %(reason)s,
    p_livemode => %(livemode)s,
    p_source => %(source)s,
    p_stripe_event_id => %(event_id)s
) as verdict
"""


@dataclass(frozen=True, kw_only=True)
class Refund:
    """What the relay sends for one event of a refund; spoil one field with `but()`."""

    kind: ClassVar[str] = "refund"
    call: ClassVar[LiteralString] = "select public.record_refund" + PARAMETERS

    payment_intent_id: str | None
    amount_minor: int | None
    amount: str | None
    currency: str | None = "usd"
    id: str | None = field(default_factory=lambda: f"re_{uuid4().hex}")
    status: str | None = "succeeded"
    created: datetime | None = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
    reason: str | None = "requested_by_customer"
    livemode: bool | None = False
    source: str | None = "webhook"
    event_id: str | None = field(default_factory=lambda: f"evt_{uuid4().hex}")

    @classmethod
    def of(cls, payment: Payment, amount_minor: int | None = None, **fields: Any) -> Self:
        """So much of a payment, all of it where nothing is said."""
        assert payment.amount_minor is not None
        minor = payment.amount_minor if amount_minor is None else amount_minor
        return cls(
            payment_intent_id=payment.payment_intent_id,
            currency=payment.currency,
            livemode=payment.livemode,
            amount_minor=minor,
            amount=format(Decimal(minor).scaleb(-EXPONENTS.get((payment.currency or "").upper(), 2)), "f"),
        ).but(**fields)

    def but(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def then(self, status: str) -> Self:
        """Another event of the same refund, which has come further."""
        return self.but(status=status, event_id=f"evt_{uuid4().hex}")


@dataclass(frozen=True, kw_only=True)
class Dispute(Refund):
    """What the relay sends for one event of a dispute."""

    kind: ClassVar[str] = "dispute"
    call: ClassVar[LiteralString] = "select public.record_dispute" + PARAMETERS

    id: str | None = field(default_factory=lambda: f"dp_{uuid4().hex}")
    status: str | None = "needs_response"
    reason: str | None = "fraudulent"


def record(connection: Connection, told: Refund) -> Row:
    """Calls the function with a refund or a dispute and returns its verdict."""
    row = connection.execute(told.call, asdict(told)).fetchone()
    assert row is not None
    verdict: Row = row["verdict"]
    return verdict


def refund_in_full(service: Connection, order_group_id: UUID) -> Refund:
    """All money of a paid order group goes back."""
    paid = service.execute(
        "select stripe_payment_intent_id, total_amount, currency from public.order_groups where id = %s",
        [order_group_id],
    ).fetchone()
    assert paid is not None
    refund = Refund(
        payment_intent_id=paid["stripe_payment_intent_id"],
        amount_minor=int(paid["total_amount"].scaleb(EXPONENTS.get(paid["currency"], 2))),
        amount=format(paid["total_amount"], "f"),
        currency=paid["currency"],
    )
    assert record(service, refund)["outcome"] == "recorded"
    return refund
