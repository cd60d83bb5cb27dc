"""A shop's own columns, triggers and tables stop nothing: no payment, no refund, no deletion, no upgrade."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest

from local_stack import platform, supabase_cli
from sql_tests.goods import give_back, give_up, line
from testkit import own_additions
from testkit.database import Connection, Database, Row, scalar
from testkit.payments import Payment, reconcile
from testkit.refunds import record, refund_in_full
from testkit.shop import OrderGroup, Shop

# Those of the older era get named grants for visitors on whatever is new, sequences included.
KINDS: list[tuple[str, platform.Regime]] = [
    *((kind, "explicit") for kind in own_additions.KINDS),
    ("an identity column", "legacy"),
    ("another way between tables", "legacy"),
]

LIFE = {
    "pay": "applied",
    "replay": "replayed",
    "twin": "already_paid",
    "second payment": "rejected duplicate_payment",
    "again": "rejected duplicate_payment",
    "preview": "applied, nothing known",
    "resolve": "resolved refunded",
    "reopen": "open",
    "too little, then mended": "rejected amount_mismatch, applied",
    "no group": "unmatched missing_reference",
    "cancel": "cancelled",
    "late": "rejected order_group_not_payable",
    "fulfilled": "moved",
    "shipped": "moved",
    "delivered": "moved",
    "goods back": "returned",
    "give up": "refunded",
    "refund": "refunded",
    "receipt and adjustment": 7,
    "exceptions": 4,
    "claim": "claimed",
    "erase": "erased 1, 4",
    "delete the buyer": [("cancelled", True), ("paid", True), ("pending", True), ("refunded", True)],
    "delete a member": 0,
    "explain": "Paid by event",
    "broken checks of the report": [],
    "broken invariants": [],
    "findings": [],
    "fragile triggers": [],
    "privileges to restore": [],
    "upgrade": "up to date",
}


def word(answer: Row) -> str:
    return f"{answer['outcome']} {answer.get('reason') or ''}".strip()


def invariants(owner: Connection) -> list[Row]:
    return owner.execute("select * from payments.broken_invariants()").fetchall()


def findings(connection: Connection) -> list[Row]:
    return connection.execute("select * from public.security_findings()").fetchall()


def refund(owner: Connection, group: OrderGroup) -> str:
    """All of it, a second time where the first refund has failed."""
    refund = refund_in_full(owner, group.id)
    record(owner, refund.then("failed"))
    refund_in_full(owner, group.id)
    rows = owner.execute(
        "select distinct status from public.orders where order_group_id = %s order by status desc", [group.id]
    ).fetchall()
    return " ".join(row["status"] for row in rows)


def mended(owner: Connection, service: Connection, shop: Shop) -> str:
    """The buyer paid a cent less than the shop's total, by the shop's mistake."""
    group = shop.order_group([[(1, "10.01")]])
    payment = group.payment().but(amount_minor=1000, amount="10.00")
    first = reconcile(service, payment)
    with owner.transaction():
        owner.execute("update public.order_items set unit_amount = 10 where id = %s", [group.item_ids[0]])
        owner.execute("update public.orders set total_amount = 10 where id = %s", [group.order_ids[0]])
        owner.execute("update public.order_groups set total_amount = 10 where id = %s", [group.id])
    return f"{word(first)}, {word(reconcile(service, payment))}"


def previewed(service: Connection, payment: Payment) -> str:
    (answer,) = scalar(
        service,
        "select public.preview_order_group_payments(jsonb_build_array(jsonb_build_object("
        "'p_order_group_id', %s::text, 'p_stripe_event_id', %s::text, 'p_stripe_event_type', 't', 'p_livemode', false,"
        " 'p_checkout_session_id', 'cs_p', 'p_amount_minor', %s::bigint, 'p_amount', %s::text, 'p_currency', 'usd')))",
        str(payment.order_group_id),
        payment.event_id,
        payment.amount_minor,
        payment.amount,
    )
    return f"{word(answer)}, {'known' if answer['is_known'] else 'nothing known'}"


def stock(service: Connection, shop: Shop) -> int:
    product = shop.sellers[1].product_ids[2]
    service.execute("select public.record_inventory_receipt(%s, 9, 'delivery')", [product])
    service.execute("select public.record_inventory_adjustment(%s, -2, 'broken')", [product])
    on_hand: int = scalar(service, "select on_hand from public.inventory_levels where product_id = %s", product)
    return on_hand


def live(db: Database, superuser: Connection, owner: Connection, service: Connection, shop: Shop) -> dict[str, Any]:
    """All that a shop, its operators and its upgrades do, in the order of LIFE."""
    told: dict[str, Any] = {}
    first, cancelled, refunded, waiting = (shop.order_group() for _ in range(4))
    payment, rival = first.payment(), first.payment().rival()

    told["pay"] = word(reconcile(service, payment))
    told["replay"] = word(reconcile(service, payment))
    told["twin"] = word(reconcile(service, payment.twin()))
    told["second payment"] = word(reconcile(service, rival))
    told["again"] = word(reconcile(service, rival))
    told["preview"] = previewed(service, waiting.payment())
    exception = scalar(
        service,
        "select id from public.list_payment_exceptions() where stripe_event_id = %s",
        rival.event_id,
    )
    closed = scalar(service, "select public.resolve_payment_exception(%s, 'refunded', 'ada', 'sent back')", exception)
    told["resolve"] = f"{closed['status']} {closed['resolution']}"
    told["reopen"] = scalar(service, "select public.reopen_payment_exception(%s, 'ada', 'not yet')", exception)[
        "status"
    ]
    told["too little, then mended"] = mended(owner, service, shop)
    stray = waiting.payment().but(order_group_id=None, unmatched_reason="missing_reference")
    told["no group"] = word(reconcile(service, stray))
    told["cancel"] = word(scalar(service, "select public.cancel_order_group(%s)", cancelled.id))
    told["late"] = word(reconcile(service, cancelled.payment()))
    for status in ("fulfilled", "shipped", "delivered"):
        told[status] = word(scalar(service, "select public.advance_order(%s, %s)", first.order_ids[0], status))
    assert reconcile(service, refunded.payment())["outcome"] == "applied"
    told["goods back"] = word(give_back(service, first.id, [line(first.item_ids[0], 1)]))
    told["give up"] = word(give_up(service, first.order_ids[1]))
    told["refund"] = refund(owner, refunded)
    told["receipt and adjustment"] = stock(service, shop)
    told["exceptions"] = scalar(service, "select count(*) from public.list_payment_exceptions('all')")

    superuser.execute("update public.order_groups set buyer_id = null, buyer_since = null where id = %s", [waiting.id])
    told["claim"] = word(scalar(service, "select public.claim_order_group(%s, %s)", waiting.id, shop.buyer_id))
    emptied = [
        scalar(service, "select public.erase_order_group_metadata(%s, 'ada', 'asked to')", group.id)["emptied"]
        for group in (cancelled, first)
    ]
    told["erase"] = f"erased {emptied[0]}, {emptied[1]}"

    superuser.execute("delete from auth.users where id = %s", [shop.buyer_id])
    told["delete the buyer"] = [
        (row["status"], row["is_forgotten"])
        for row in owner.execute(
            "select status, bool_and(buyer_id is null) as is_forgotten from public.order_groups group by 1 order by 1"
        ).fetchall()
    ]
    superuser.execute("delete from auth.users where id = %s", [shop.sellers[0].member_id])
    told["delete a member"] = scalar(
        owner, "select count(*) from public.seller_members where user_id = %s", shop.sellers[0].member_id
    )
    verdict: str = scalar(service, "select public.explain_order_group(%s)", first.id)["verdict"]
    told["explain"] = verdict.partition(" evt_")[0]
    report = scalar(service, "select public.payment_report('2000-01-01', '2100-01-01')")
    told["broken checks of the report"] = [check for check in report["checks"] if not check["ok"]]
    told["broken invariants"] = invariants(owner)
    told["findings"] = findings(service)
    told["fragile triggers"] = scalar(service, "select public.reconciliation_readiness()")["fragile_triggers"]
    told["privileges to restore"] = owner.execute("select * from payments.restore_privileges()").fetchall()
    told["upgrade"] = "up to date" if "up to date" in supabase_cli.db_push(db.url("postgres")) else "something to do"
    return told


@pytest.mark.parametrize(("kind", "regime"), KINDS)
def test_whatever_a_shop_adds_to_every_table_stops_nothing(
    db: Database, superuser: Connection, owner: Connection, service: Connection, shop: Shop, kind: str
) -> None:
    owner.execute("set search_path = ''")
    # The sessions have plans and types of the time before: PostgREST's are open for hours.
    assert reconcile(service, shop.order_group().payment())["outcome"] == "applied"
    with owner.transaction():
        own_additions.add(owner, kind)

    assert live(db, superuser, owner, service, shop) == LIFE


@pytest.mark.parametrize("kind", own_additions.KINDS)
def test_an_upgrade_does_not_take_over_what_is_the_shops(owner: Connection, kind: str) -> None:
    owner.execute("set search_path = ''")
    tables = [row["name"] for row in owner.execute(own_additions.OURS.encode()).fetchall()]
    with owner.transaction():
        own_additions.add(owner, kind)

    # A later release has a column of its own to record, on every table.
    for table in tables:
        owner.execute(f"alter table {table} add column ours text".encode())
    owner.execute("select payments.record_definitions(%s, '{ours}')", [tables])
    assert findings(owner) == []
    owner.execute("select payments.record_definitions()")
    assert findings(owner) == []

    with owner.transaction():
        own_additions.remove(owner, kind)
    assert findings(owner) == []
    for table in tables:
        owner.execute(f"alter table {table} drop column ours".encode())
    assert {(row["finding"], row["object"], row["detail"]) for row in findings(owner)} == {
        ("missing_column", table, "ours does not exist") for table in tables
    }


SETTLED_ROWS: dict[str, LiteralString] = {
    "order group": "update public.order_groups set own = 'mine' where status = %(status)s",
    "order": "update public.orders set own = 'mine' where order_group_id = %(group)s",
    "order item": "update public.order_items set own = 'mine' where order_group_id = %(group)s",
}


@pytest.mark.parametrize("status", ["pending", "paid", "cancelled", "refunded"])
def test_a_shop_writes_its_own_columns_of_settled_rows(
    owner: Connection, service: Connection, shop: Shop, status: str
) -> None:
    group = shop.order_group()
    own_additions.add(owner, "a nullable column")
    for table in ("order_groups", "orders", "order_items"):
        owner.execute(f"grant update (own) on public.{table} to service_role".encode())
    if status == "cancelled":
        service.execute("select public.cancel_order_group(%s)", [group.id])
    elif status != "pending":
        reconcile(service, group.payment())
    if status == "refunded":
        refund(owner, group)

    for connection in (owner, service):
        for statement in SETTLED_ROWS.values():
            assert connection.execute(statement, {"status": status, "group": group.id}).rowcount > 0

    assert findings(owner) == []


# What a trigger of the shop's own writes behind the statement's back, in whatever order the triggers fire.
BEHIND: dict[str, LiteralString] = {
    "quantity": "new.quantity := new.quantity + 1",
    "unit_amount": "new.unit_amount := new.unit_amount + 1",
    "title": "new.title := 'another'",
    "sku": "new.sku := 'another'",
}


@pytest.mark.parametrize("change", BEHIND)
@pytest.mark.parametrize("name", ["a_first", "z_last"])
def test_a_shops_trigger_changes_no_settled_item(
    owner: Connection, service: Connection, shop: Shop, change: str, name: str
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    owner.execute(
        f"alter table public.order_items add own text; create function public.behind() returns trigger language plpgsql"
        f" set search_path = '' as $$ begin {BEHIND[change]}; return new; end $$;"
        f" create trigger {name} before update on public.order_items for each row"
        f" execute function public.behind()".encode()
    )
    read = "select * from public.order_items order by id"
    before = owner.execute(read).fetchall()

    with pytest.raises(psycopg.errors.CheckViolation, match="frozen"):
        owner.execute("update public.order_items set own = 'mine' where id = %s", [group.item_ids[0]])

    assert owner.execute(read).fetchall() == before


WIDE: dict[str, LiteralString] = {
    "an insert that does not name its columns": r"\minsert\s+into\s+\w+\.\w+\M(?!\s+as\s+\w+\s*\(|\s*\()",
    "a whole row among the values": r"\mvalues\s*\(\s*\w+\.\*",
    "a whole row compared": r"\m(new|old)\s+(is|=|<>)",
    "a row made by place": r"\)\s*::\s*(public|payments)\.\w+",
}


@pytest.mark.parametrize("fault", WIDE)
def test_no_function_depends_on_all_columns_of_a_table(superuser: Connection, fault: str) -> None:
    rows = superuser.execute(
        "select p.oid::regprocedure::text as name, substring(p.prosrc from %(pattern)s) as place from pg_proc as p"
        " where p.pronamespace in ('public'::regnamespace, 'payments'::regnamespace) and p.prosrc ~ %(pattern)s",
        {"pattern": WIDE[fault]},
    ).fetchall()

    assert rows == []
