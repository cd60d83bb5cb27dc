"""The SQL of docs/adopting.md runs as it is written, and does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testkit.database import Connection, scalar
from testkit.invariants import broken_invariants
from testkit.payments import reconcile
from testkit.shop import Shop

PAGE = Path(__file__).parent.parent / "docs" / "adopting.md"


@pytest.fixture(autouse=True)
def adopted(owner: Connection) -> None:
    # "When a name is taken" is about a project before the migrations: tests/release/test_making_room.py.
    page = re.sub(r"^## When a name is taken\n.*?(?=^## )", "", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL):
        owner.execute(block.encode())


def test_a_refund_takes_group_orders_and_stock_back_once(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    reconcile(service, payment := group.payment())

    refund = "select public.refund_order_group(%s, 'returned') ->> 'outcome'"
    assert [scalar(service, refund, group.id) for _ in range(2)] == ["refunded", "group_is_refunded"]

    orders = service.execute("select distinct status from public.orders where order_group_id = %s", [group.id])
    assert orders.fetchall() == [{"status": "refunded"}]
    levels = service.execute("select sum(on_hand) as pieces from public.inventory_levels").fetchone()
    assert levels == {"pieces": 0}
    assert reconcile(service, payment)["outcome"] == "replayed"
    assert broken_invariants(superuser) == []
    assert service.execute("select * from public.security_findings()").fetchall() == []


def test_an_order_that_was_refunded_before_its_group_comes_back_once(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    first, second = group.order_ids

    refund = "select public.refund_order_group(%s, 'returned', %s)"
    answers = [scalar(service, refund, group.id, order_id) for order_id in (first, first, shop.buyer_id)]
    statuses = [scalar(service, "select status from public.orders where id = %s", one) for one in (first, second)]
    of_group = scalar(service, "select status from public.order_groups")
    answers += [scalar(service, refund, group.id, None) for _ in range(2)]

    assert [answer["outcome"] for answer in answers] == [
        "refunded",
        "nothing_to_refund",
        "nothing_to_refund",
        "refunded",
        "group_is_refunded",
    ]
    assert (statuses, of_group) == (["refunded", "paid"], "paid")
    assert scalar(service, "select status from public.order_groups") == "refunded"
    levels = service.execute("select sum(on_hand) as pieces from public.inventory_levels").fetchone()
    assert levels == {"pieces": 0}
    assert broken_invariants(superuser) == []


def test_a_group_that_is_not_paid_is_not_refunded(service: Connection, shop: Shop) -> None:
    refund = "select public.refund_order_group(%s, 'returned') ->> 'outcome'"

    assert scalar(service, refund, shop.order_group().id) == "group_is_pending"
    assert scalar(service, refund, shop.buyer_id) == "order_group_not_found"


def test_a_paid_group_is_queued_with_its_payment(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, payment := group.payment())
    reconcile(service, payment)
    shop.order_group()

    rows = service.execute("select order_group_id from public.paid_order_groups").fetchall()
    assert rows == [{"order_group_id": group.id}]
