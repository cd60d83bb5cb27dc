"""Temporary objects of the caller come before every schema, even with an empty search_path. None may be looked up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testkit.database import Connection, Database, scalar
from testkit.payments import reconcile, reconcile_together
from testkit.refunds import Dispute, Refund, record
from testkit.shop import Shop

SUPABASE = Path(__file__).parent.parent / "supabase"
MIGRATIONS = sorted(path for folder in ("migrations", "queues") for path in (SUPABASE / folder).iterdir())

# Names that SQL looks up as types; integer, bigint, numeric, boolean and the like are words of the grammar.
TYPES = (
    *("text", "jsonb", "json", "uuid", "timestamptz", "date", "oid", "name", "xid", '"char"'),
    *("regclass", "regproc", "regprocedure", "regnamespace", "regrole", "regtype", "int4", "int8", "bool"),
)
# No domain can be made of it, and one of a row type that fits what is read into it would run as well.
RECORD = "record"


@pytest.fixture
def shadowed(db: Database, service: Connection, shop: Shop) -> Connection:
    """A session of service_role in which each of those names is a domain that runs the caller's code."""
    assert shop.sellers
    with db.connect() as superuser:
        superuser.execute("grant temporary on database " + f'"{db.name}" to service_role')
    service.execute(
        """
        create function pg_temp.evil(p_user pg_catalog.name) returns pg_catalog.bool language plpgsql as $$
        begin
            raise exception 'ran as %', p_user;
        end $$
        """
    )
    service.execute("grant execute on function pg_temp.evil(pg_catalog.name) to public")
    for name in TYPES:
        service.execute(
            f"create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.evil(current_user::pg_catalog.name))"
        )
    service.execute(f"create type pg_temp.{RECORD} as (evil pg_catalog.int4)")
    return service


def test_caller_cannot_put_types_of_their_own_under_the_functions(
    db: Database, owner: Connection, shop: Shop, shadowed: Connection
) -> None:
    with db.act_as("service_role") as plain:
        shop = type(shop)(plain, shop.sellers, shop.buyer_id, shop.stranger_id)
        paid, rejected, cancelled, edited = (shop.order_group() for _ in range(4))
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [rejected.id])

    assert reconcile(shadowed, paid.payment())["outcome"] == "applied"
    assert reconcile(shadowed, paid.payment())["reason"] == "duplicate_payment"
    assert reconcile(shadowed, rejected.payment())["reason"] == "amount_mismatch"
    assert scalar(shadowed, "select public.cancel_order_group(%s)", cancelled.id)["outcome"] == "cancelled"
    shadowed.execute("select public.explain_order_group(%s)", [rejected.id])
    shadowed.execute("select public.reconciliation_readiness()")
    shadowed.execute("select finding from public.security_findings()")
    cases = shadowed.execute("select id from public.list_payment_exceptions()").fetchall()
    assert len(cases) == 2
    shadowed.execute("select public.resolve_payment_exception(%s, 'refunded', 'ada', 'sent back')", [cases[0]["id"]])
    product_id = shop.sellers[0].product_ids[0]
    shadowed.execute("select public.record_inventory_receipt(%s, 1, 'x')", [product_id])
    shadowed.execute("select public.record_inventory_adjustment(%s, 1, 'x')", [product_id])
    shadowed.execute(
        "insert into public.order_items (order_id, product_id, quantity, unit_amount) values (%s, %s, 1, 1)",
        [edited.order_ids[0], product_id],
    )
    (refunded, disputed) = (Refund.of(paid.payment(), 1), Dispute.of(paid.payment()))
    assert [record(shadowed, told)["outcome"] for told in (refunded, disputed)] == ["recorded"] * 2
    answers = reconcile_together(shadowed, [rejected.payment(), edited.payment()])
    assert [answer["outcome"] for answer in answers] == ["rejected", "applied"]
    shadowed.execute("select public.payment_report(now() - interval '1 day', now())")
    shadowed.execute(
        "update public.orders set status = 'fulfilled' where order_group_id = %s and status = 'paid'", [paid.id]
    )


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_bodies_name_no_type_without_its_schema(path: Path) -> None:
    for body in re.findall(r"\$\$(.*?)\$\$", path.read_text(), re.DOTALL):
        code = re.sub(r"--[^\n]*|'(?:[^']|'')*'", "", body)
        names = "|".join((*TYPES, RECORD))

        assert not re.search(rf"::({names})(?!\w)", code)
        assert not re.search(rf"cast\(.* as ({names})(?!\w)", code)
        assert not re.search(rf"(?m)^ +v_\w+ (constant )?({names})(?!\w)", code)
