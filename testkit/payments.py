"""Payments, as the relay tells the database of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg

from testkit.database import Connection, Row, scalar

# Stripe's currencies that do not count in hundredths: https://docs.stripe.com/currencies#zero-decimal
ZERO_DECIMAL = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split()
THREE_DECIMAL = "BHD JOD KWD OMR TND".split()
EXPONENTS = dict.fromkeys(ZERO_DECIMAL, 0) | dict.fromkeys(THREE_DECIMAL, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What the relay sends for one event; spoil one field with `but()`."""

    order_group_id: UUID | None
    amount_minor: int | None
    amount: str | None
    currency: str | None = "usd"
    event_id: str | None = field(default_factory=lambda: f"evt_{uuid4().hex}")
    event_type: str | None = "checkout.session.completed"
    event_created: datetime | None = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    livemode: bool | None = False
    checkout_session_id: str | None = field(default_factory=lambda: f"cs_test_{uuid4().hex}")
    payment_intent_id: str | None = field(default_factory=lambda: f"pi_{uuid4().hex}")
    session_metadata: dict[str, Any] | None = field(default_factory=lambda: {"source": "web"})
    source: str | None = "webhook"
    unmatched_reason: str | None = None
    account: str | None = None

    def but(self, **changes: Any) -> Payment:
        return replace(self, **changes)

    def twin(self) -> Payment:
        """Another event of the same payment, as Stripe sends one for delayed methods."""
        return self.but(event_id=f"evt_{uuid4().hex}", event_type="checkout.session.async_payment_succeeded")

    def rival(self) -> Payment:
        """Another payment for the same order group: the buyer paid in a second tab."""
        return self.but(
            event_id=f"evt_{uuid4().hex}",
            checkout_session_id=f"cs_test_{uuid4().hex}",
            payment_intent_id=f"pi_{uuid4().hex}",
        )

    def parameters(self) -> dict[str, Any]:
        return {
            "p_order_group_id": self.order_group_id,
            "p_stripe_event_id": self.event_id,
            "p_stripe_event_type": self.event_type,
            "p_stripe_event_created": self.event_created,
            "p_livemode": self.livemode,
            "p_checkout_session_id": self.checkout_session_id,
            "p_payment_intent_id": self.payment_intent_id,
            "p_amount_minor": self.amount_minor,
            "p_amount": self.amount,
            "p_currency": self.currency,
            "p_session_metadata": None if self.session_metadata is None else json.dumps(self.session_metadata),
            "p_source": self.source,
            "p_unmatched_reason": self.unmatched_reason,
            "p_account": self.account,
        }


RECONCILE: LiteralString = """
select public.reconcile_order_group_payment(
    p_order_group_id => %(p_order_group_id)s,
    p_stripe_event_id => %(p_stripe_event_id)s,
    p_stripe_event_type => %(p_stripe_event_type)s,
    p_stripe_event_created => %(p_stripe_event_created)s,
    p_livemode => %(p_livemode)s,
    p_checkout_session_id => %(p_checkout_session_id)s,
    p_payment_intent_id => %(p_payment_intent_id)s,
    p_amount_minor => %(p_amount_minor)s,
    p_amount => %(p_amount)s,
    p_currency => %(p_currency)s,
    p_session_metadata => %(p_session_metadata)s,
    p_source => %(p_source)s,
    p_unmatched_reason => %(p_unmatched_reason)s,
    p_account => %(p_account)s
) as verdict
"""


def element(payment: Payment) -> Row:
    """A payment as an object of an array of payments."""
    return {**payment.parameters(), "p_session_metadata": payment.session_metadata}


def reconcile_together(connection: Connection, payments: Iterable[Payment | Any]) -> list[Row]:
    """Calls the plural function and returns its answers; what is no payment is sent as it is."""
    sent = [element(payment) if isinstance(payment, Payment) else payment for payment in payments]
    answers: list[Row] = scalar(
        connection, "select public.reconcile_order_group_payments(%s)", json.dumps(sent, default=str)
    )
    return answers


def _alone(connection: Connection, payment: Payment) -> Row:
    row = connection.execute(RECONCILE, payment.parameters()).fetchone()
    assert row is not None
    verdict: Row = row["verdict"]
    return verdict


def _in_batches(connection: Connection, payment: Payment) -> Row:
    """In a batch of one, which is undone, and among others, which write nothing of their own.

    What gets no verdict goes alone, as the relay sends it, and must then raise what the plural function has told.
    """
    with connection.transaction(force_rollback=True):
        (answer,) = reconcile_together(connection, [payment])
    if answer["outcome"] != "deferred":
        by_itself = answer
        first, answer, last = reconcile_together(connection, [{}, payment, None])
        assert first["outcome"] == last["outcome"] == "failed"
        assert answer == by_itself or answer["outcome"] == "deferred"
    if "sqlstate" not in answer:
        return answer
    try:
        verdict = _alone(connection, payment)
    except psycopg.Error as error:
        if answer["outcome"] == "failed" and answer["sqlstate"] != error.sqlstate:
            raise AssertionError(f"{answer['sqlstate']} was told") from error
        raise
    assert answer["outcome"] == "deferred", f"alone it is {verdict}, and in a batch {answer}"
    return verdict


WAYS: dict[str, Callable[[Connection, Payment], Row]] = {"alone": _alone, "in batches": _in_batches}
"""How a payment comes to the database."""

_way = WAYS["alone"]


@contextmanager
def sent(way: str) -> Iterator[None]:
    """Has `reconcile` send each payment this way."""
    global _way
    _way = WAYS[way]
    try:
        yield
    finally:
        _way = WAYS["alone"]


def reconcile(connection: Connection, payment: Payment) -> Row:
    """Has a payment reconciled and returns its verdict."""
    return _way(connection, payment)
