"""Order groups that are no longer pending."""

from __future__ import annotations

from testkit.database import Connection, scalar
from testkit.payments import reconcile
from testkit.shop import OrderGroup

SETTLED = ("paid", "cancelled", "refunded")


def settle(service: Connection, owner: Connection, group: OrderGroup, status: str) -> None:
    """Pays, cancels or refunds a pending group."""
    if status == "cancelled":
        scalar(service, "select public.cancel_order_group(%s)", group.id)
        return
    assert reconcile(service, group.payment())["outcome"] == "applied"
    if status == "refunded":
        owner.execute("update public.order_groups set status = 'refunded' where id = %s", [group.id])
