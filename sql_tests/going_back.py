"""Money that goes back, or is asked back, as Stripe reports it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from testkit.database import Connection, Row
from testkit.payments import EXPONENTS, Payment


@dataclass(frozen=True, slots=True)
class GoingBack:
    """A refund or a dispute of a payment: all of it, unless its minor units say otherwise."""

    kind: Literal["refund", "dispute"]
    payment: Payment
    status: str
    amount_minor: int
    created: datetime = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
    reason: str | None = None
    event_id: str | None = field(default_factory=lambda: f"evt_{uuid4().hex}")
    id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def amount(self) -> str:
        """Major units."""
        exponent = EXPONENTS.get((self.payment.currency or "").upper(), 2)
        digits = f"{self.amount_minor:0{exponent + 1}d}"
        return f"{digits[:-exponent]}.{digits[-exponent:]}" if exponent else digits

    def but(self, **changes: Any) -> GoingBack:
        """The same with another status, in another event."""
        return replace(self, **{"event_id": f"evt_{uuid4().hex}", **changes})

    def record(self, connection: Connection) -> str:
        """The verdict: `outcome` or `outcome reason`."""
        row = connection.execute(
            f"select public.record_{self.kind}(%(id)s, %(intent)s, %(minor)s, %(amount)s, %(currency)s, %(status)s,"
            " %(created)s, %(reason)s, false, 'webhook', %(event)s) as verdict".encode(),
            {
                "id": self.id,
                "intent": self.payment.payment_intent_id,
                "minor": self.amount_minor,
                "amount": self.amount,
                "currency": self.payment.currency,
                "status": self.status,
                "created": self.created,
                "reason": self.reason,
                "event": self.event_id,
            },
        ).fetchone()
        assert row is not None
        verdict: Row = row["verdict"]
        return f"{verdict['outcome']} {verdict['reason'] or ''}".strip()


def refund(payment: Payment, amount_minor: int | None = None, status: str = "succeeded", **more: Any) -> GoingBack:
    minor = payment.amount_minor if amount_minor is None else amount_minor
    assert minor is not None
    return GoingBack("refund", payment, status, minor, id=f"re_{uuid4().hex}", **more)


def dispute(payment: Payment, status: str = "needs_response", **more: Any) -> GoingBack:
    assert payment.amount_minor is not None
    return GoingBack("dispute", payment, status, payment.amount_minor, id=f"dp_{uuid4().hex}", **more)
