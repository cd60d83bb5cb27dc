"""The SQL of docs/adopting.md runs as it is written, and does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testkit.database import Connection
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


def test_a_paid_group_is_queued_with_its_payment(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, payment := group.payment())
    reconcile(service, payment)
    shop.order_group()

    rows = service.execute("select order_group_id from public.paid_order_groups").fetchall()
    assert rows == [{"order_group_id": group.id}]
    assert broken_invariants(superuser) == []
    assert service.execute("select * from public.security_findings()").fetchall() == []
