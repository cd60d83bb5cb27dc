"""Whatever a person says is kept for ever and shown on pages: it has a bound at the door."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from sql_tests.goods import line
from testkit.database import Connection, Database
from testkit.payments import reconcile
from testkit.shop import Shop

LONGEST_NAME, LONGEST_NOTE = 255, 2000
# What is said -> the call, and how many characters it may have.
SAID: dict[str, tuple[LiteralString, int]] = {
    "the note of a receipt": ("select public.record_inventory_receipt(%(product)s, 1, %(said)s)", LONGEST_NOTE),
    "the note of an adjustment": ("select public.record_inventory_adjustment(%(product)s, 1, %(said)s)", LONGEST_NOTE),
    "the note of a return": (
        "select public.return_order_items(%(group)s, %(lines)s, %(said)s) as verdict",
        LONGEST_NOTE,
    ),
    "the note of an order that is given up": ("select public.refund_order(%(order)s, %(said)s)", LONGEST_NOTE),
    "who resolves": ("select public.resolve_payment_exception(%(open)s, 'dismissed', %(said)s)", LONGEST_NAME),
    "the note of a resolution": (
        "select public.resolve_payment_exception(%(open)s, 'dismissed', 'ada', %(said)s)",
        LONGEST_NOTE,
    ),
    "who reopens": ("select public.reopen_payment_exception(%(resolved)s, %(said)s, 'x')", LONGEST_NAME),
    "the note of a reopening": ("select public.reopen_payment_exception(%(resolved)s, 'ada', %(said)s)", LONGEST_NOTE),
    "who erases": ("select public.erase_order_group_metadata(%(group)s, %(said)s, 'x')", LONGEST_NAME),
    "the note of an erasure": ("select public.erase_order_group_metadata(%(group)s, 'ada', %(said)s)", LONGEST_NOTE),
}


@pytest.mark.parametrize("what", SAID)
def test_what_a_person_says_has_its_bound(db: Database, service: Connection, shop: Shop, what: str) -> None:
    statement, longest = SAID[what]
    group = shop.order_group()
    reconcile(service, group.payment())
    for _ in range(2):
        reconcile(service, shop.order_group().payment().but(amount_minor=1, amount="0.01"))
    cases = service.execute("select id from public.list_payment_exceptions()").fetchall()
    service.execute("select public.resolve_payment_exception(%s, 'dismissed', 'ada')", [cases[1]["id"]])
    names: dict[str, Any] = {
        "product": shop.sellers[0].product_ids[0],
        "group": group.id,
        "order": group.order_ids[0],
        "lines": Jsonb([line(group.item_ids[0], 1)]),
        "open": cases[0]["id"],
        "resolved": cases[1]["id"],
    }
    before = db.snapshot()

    try:
        row = service.execute(statement, names | {"said": "x" * (longest + 1)}).fetchone()
        assert row is not None
        assert (row["verdict"]["reason"], row["verdict"]["detail"]) == ("malformed_request", "p_note")
    except psycopg.errors.InvalidParameterValue as error:
        assert str(longest) in str(error)  # noqa: PT017  a return is answered instead

    assert db.snapshot() == before
    service.execute(statement, names | {"said": "x" * longest})
    assert db.snapshot() != before
