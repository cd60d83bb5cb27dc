"""A payment that was rejected, and the exception that it left."""

from __future__ import annotations

from typing import Any

from testkit.database import Row
from testkit.payments import Payment, reconcile
from testkit.project import Project


def rejected(project: Project, **changes: Any) -> tuple[Payment, Row]:
    """A payment one cent short, and its exception."""
    payment = project.shop.order_group().payment().but(amount_minor=7423, amount="74.23", **changes)
    assert reconcile(project.shop.service, payment)["reason"] == "amount_mismatch"
    return payment, exception_of(project, payment)


def exception_of(project: Project, payment: Payment) -> Row:
    """The exception that a payment's event has left."""
    (row,) = project.query("select * from payments.exceptions where stripe_event_id = %s", payment.event_id)
    return row
