"""Order groups that are no longer pending."""

from __future__ import annotations

from testkit.database import Connection, scalar
from testkit.payments import reconcile
from testkit.refunds import refund_in_full
from testkit.shop import OrderGroup

SETTLED = ("paid", "cancelled", "refunded")


def settle(service: Connection, group: OrderGroup, status: str) -> None:
    """Pays, cancels or refunds a pending group."""
    if status == "cancelled":
        scalar(service, "select public.cancel_order_group(%s)", group.id)
        return
    assert reconcile(service, group.payment())["outcome"] == "applied"
    if status == "refunded":
        refund_in_full(service, group.id)
