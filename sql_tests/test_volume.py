"""The plans stay right when the tables are big: neither a payment nor a read of a buyer or a seller scans one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID

import psycopg
import pytest

from sql_tests.actions import (
    Action,
    Actor,
    AddItem,
    Cancel,
    Create,
    Expire,
    GiveBack,
    GiveUp,
    Move,
    Note,
    Pay,
    SendBack,
    SetDeadline,
)
from sql_tests.model import Model
from sql_tests.volume import BIG_TABLES, GROUPS, Plan, filled, key, scanned, touched, walk
from testkit.database import Connection, Database, past_every_guard, scalar
from testkit.invariants import INVARIANTS, broken_invariants
from testkit.payments import Payment
from testkit.previewed import preview
from testkit.refunds import Dispute, Refund
from testkit.shop import OrderGroup, Shop, open_shop


@pytest.fixture(scope="module")
def big(module_db: Database) -> Iterator[Connection]:
    with filled(module_db) as superuser:
        yield superuser


@pytest.fixture(scope="module")
def shop(module_db: Database, big: Connection) -> Iterator[Shop]:
    with module_db.act_as("service_role") as service:
        yield open_shop(big, service)


def old_payment(number: int) -> Payment:
    """The event that paid one of the groups of the filled database."""
    made = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    return Payment(
        order_group_id=key(f"group{number}"),
        amount_minor=2000,
        amount="20",
        event_id=f"evt_{number}_0",
        event_created=made,
        checkout_session_id=f"cs_{number}",
        payment_intent_id=f"pi_{number}",
    )


# the size is what it says


def test_filled_database_is_big_and_breaks_no_invariant(big: Connection) -> None:
    assert scalar(big, "select count(*) from public.order_groups") >= GROUPS
    assert scalar(big, "select count(*) from payments.stripe_events") >= 10 * GROUPS
    assert scalar(big, "select count(*) from public.inventory_ledger") >= 10 * GROUPS
    assert broken_invariants(big) == []


def test_invariants_are_checked_by_joins_and_not_row_by_row(big: Connection) -> None:
    row = big.execute(b"explain (format json)\n" + INVARIANTS.read_bytes()).fetchone()
    assert row is not None

    nodes = list(walk(row["QUERY PLAN"][0]["Plan"]))

    assert len(nodes) > len(BIG_TABLES)
    assert not [node for node in nodes if node.get("Parent Relationship") == "SubPlan"]


# the functions


def stocked(shop: Shop) -> Shop:
    for seller in shop.sellers:
        Move(seller.product_ids[0], 5).perform(shop.service)
    return shop


def created(request: Create) -> Create:
    assert request.perform(request.shop.service) == "created"
    return request


def sent_back_first(shop: Shop) -> Pay:
    """A payment whose money has gone back, and which the bank has asked back, before it came."""
    group = shop.order_group()
    payment = group.payment()
    for told in (Refund.of(payment), Dispute.of(payment)):
        assert SendBack(group.id, told).perform(shop.service) == "recorded"
    return Pay(payment)


def sent_back(shop: Shop, *, then: str) -> SendBack:
    """All money of a group goes back; what Stripe says of it next."""
    first = refund_of_all(shop, sold(shop))
    assert first.perform(shop.service) == "recorded"
    return replace(first, refund=first.refund.then(then))


def refund_of_all(shop: Shop, group: OrderGroup) -> SendBack:
    """Of a group that is paid."""
    intent = scalar(shop.service, "select stripe_payment_intent_id from public.order_groups where id = %s", group.id)
    return SendBack(group.id, Refund.of(group.payment(), payment_intent_id=intent))


TOO_MANY = "rejected exceeds_commit"


def sold(shop: Shop) -> OrderGroup:
    group = shop.order_group()
    assert Pay(group.payment()).perform(shop.service) == "applied"
    return group


def some_goods_of(group: OrderGroup) -> GiveBack:
    return GiveBack(group.id, ((group.item_ids[0], 1), (group.item_ids[4], 3)))


def given_up(shop: Shop) -> UUID:
    order_id = sold(shop).order_ids[0]
    assert GiveUp(order_id).perform(shop.service) == "refunded"
    return order_id


# What is called -> the answer that it must give; each makes what it needs before its statements are watched.
CALLS: dict[str, tuple[Callable[[Shop], Action], str]] = {
    "a new event": (lambda shop: Pay(shop.order_group().payment()), "applied"),
    "a replay": (lambda _: Pay(old_payment(77)), "replayed"),
    "a twin": (lambda _: Pay(old_payment(78).twin()), "already_paid"),
    "a wrong amount": (
        lambda shop: Pay(shop.order_group().payment().but(amount_minor=1, amount="0.01")),
        "rejected amount_mismatch",
    ),
    "a second payment": (lambda _: Pay(old_payment(79).rival()), "rejected duplicate_payment"),
    "a payment that paid another group": (
        lambda shop: Pay(shop.order_group().payment().but(payment_intent_id="pi_80")),
        "rejected payment_already_used",
    ),
    "an event that is known otherwise": (
        lambda _: Pay(old_payment(81).but(currency="eur")),
        "rejected event_collision",
    ),
    "a group that does not exist": (
        lambda _: Pay(old_payment(82).twin().but(order_group_id=key("nobody"))),
        "rejected order_group_not_found",
    ),
    "an event that names no group": (
        lambda _: Pay(old_payment(83).twin().but(order_group_id=None, unmatched_reason="missing_reference")),
        "unmatched missing_reference",
    ),
    "a known exception": (
        lambda _: Pay(old_payment(84).but(event_id="evt_x1", order_group_id=key("nobody1"))),
        "rejected order_group_not_found",
    ),
    "a promise of stock": (
        lambda shop: Create(stocked(shop), "USD", ((0, 0, 1), (1, 0, 2)), promises=True),
        "created",
    ),
    "a group once more": (lambda shop: created(Create(shop, "USD", ((0, 1, 1),), promises=False)), "already_created"),
    "a cancellation": (lambda shop: Cancel(shop.order_group().id), "cancelled"),
    "goods that come back": (lambda shop: some_goods_of(sold(shop)), "returned"),
    "goods that come back from long ago": (lambda _: GiveBack(key("group95"), ((key("item95-1-0"), 2),)), TOO_MANY),
    "goods of another group": (
        lambda _: GiveBack(key("group92"), ((key("item93-0-1"), 1),)),
        "rejected item_not_in_order_group",
    ),
    "an order that is given up": (lambda shop: GiveUp(sold(shop).order_ids[0]), "refunded"),
    "an order that is given up again": (lambda shop: GiveUp(given_up(shop)), "already_refunded"),
    "a refund of a part": (lambda _: SendBack(key("group96"), Refund.of(old_payment(96), 100)), "recorded"),
    "a refund of all": (lambda shop: refund_of_all(shop, sold(shop)), "recorded"),
    "a refund of too much": (
        lambda _: SendBack(key("group98"), Refund.of(old_payment(98), 2100)),
        "rejected exceeds_payment",
    ),
    "a refund once more": (lambda shop: sent_back(shop, then="succeeded"), "replayed"),
    "a refund that failed after all": (lambda shop: sent_back(shop, then="failed"), "recorded"),
    "a refund that comes first": (
        lambda shop: SendBack(key("nobody"), Refund.of(shop.order_group().payment())),
        "recorded",
    ),
    "a payment that went back before it came": (sent_back_first, "resolved"),
    "a dispute": (lambda _: SendBack(key("group99"), Dispute.of(old_payment(99))), "recorded"),
    "a notice of funds under way": (lambda shop: Note(shop.order_group().id), "noted"),
    "an added item": (
        lambda shop: AddItem(shop.order_group().order_ids[0], shop.sellers[0].product_ids[0]),
        "done",
    ),
    "a receipt": (lambda shop: Move(shop.sellers[0].product_ids[0], 5), "done"),
    "an explanation": (lambda _: Explain(key("group85")), "done"),
    "a refund's story": (lambda _: Find("re_90"), "1 group, 1 refund"),
    "a session's story": (lambda _: Find("cs_91"), "1 group, 0 refunds"),
    "an item's story": (lambda _: Find(str(key("item92-0-1"))), "1 group, 0 refunds"),
    "a preview": (
        lambda shop: Preview(
            (
                shop.order_group().payment(),
                old_payment(86),
                old_payment(87).twin(),
                old_payment(88).rival(),
                old_payment(89).twin().but(order_group_id=None, unmatched_reason="missing_reference"),
                shop.order_group().payment().but(payment_intent_id="pi_90"),
            )
        ),
        "applied, replayed, already_paid, rejected, unmatched, rejected",
    ),
}


@dataclass(frozen=True, slots=True)
class Explain:
    actor: ClassVar[Actor] = "service_role"
    group_id: UUID

    def perform(self, connection: Connection) -> str:
        connection.execute("select public.explain_order_group(%s)", [self.group_id])
        return "done"

    def predict(self, model: Model) -> str:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Find:
    actor: ClassVar[Actor] = "service_role"
    id: str

    def perform(self, connection: Connection) -> str:
        found = scalar(connection, "select public.find_order_groups(%s)", self.id)
        groups, refunds = len(found["order_groups"]), len(found["refunds"])
        return f"{groups} group, {refunds} refund{'' if refunds == 1 else 's'}"

    def predict(self, model: Model) -> str:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Preview:
    actor: ClassVar[Actor] = "service_role"
    payments: tuple[Payment, ...]

    def perform(self, connection: Connection) -> str:
        return ", ".join(str(told["outcome"]) for told in preview(connection, self.payments))

    def predict(self, model: Model) -> str:
        raise NotImplementedError


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("call", CALLS)
def test_function_reaches_rows_of_big_tables_through_indexes_alone(
    module_db: Database, big: Connection, shop: Shop, call: str, plan_cache_mode: str
) -> None:
    make, expected = CALLS[call]

    assert_by_index(module_db, big, make(shop), expected, plan_cache_mode)


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("due", [0, 3])
def test_expiry_reaches_what_is_due_among_many_pending_groups_through_indexes_alone(
    module_db: Database, big: Connection, shop: Shop, due: int, plan_cache_mode: str
) -> None:
    assert scalar(big, "select count(*) from public.order_groups where status = 'pending'") >= GROUPS // 50
    for group in [shop.order_group() for _ in range(due)]:
        assert SetDeadline(group.id).perform(big) == "done"

    assert_by_index(module_db, big, Expire(), f"expired {due}, left 0", plan_cache_mode)


def test_readiness_reaches_the_group_that_is_due_longest_through_an_index(module_db: Database, big: Connection) -> None:
    assert scalar(big, "select count(*) from public.order_groups") >= GROUPS

    with module_db.connect() as session, watched(session) as plans:
        session.execute("set role service_role")
        session.execute("select public.reconciliation_readiness()")

    assert "order_groups" in touched(plans)
    assert scanned(plans) == set()


def assert_by_index(module_db: Database, big: Connection, action: Action, expected: str, plan_cache_mode: str) -> None:
    """Performs the action and looks at the plans of all its statements."""
    with module_db.connect() as session, watched(session) as plans:
        session.execute(f"set plan_cache_mode = {plan_cache_mode}".encode())
        session.execute("set role service_role")
        before = sequential_scans(big)
        answer = action.perform(session)
        session.execute("reset role")
        session.execute("select pg_stat_force_next_flush()")
        session.execute("select")  # the statistics are sent when the next statement ends
        after = sequential_scans(big)

    assert answer == expected
    assert touched(plans) & BIG_TABLES, "nothing was seen"
    assert scanned(plans) == set()
    assert after == before


@pytest.mark.parametrize(
    ("index", "table", "call"),
    [
        ("public.order_items_order_id_idx", "order_items", "a new event"),
        ("public.inventory_ledger_order_return_order_item_id_idx", "inventory_ledger", "goods that come back"),
        ("payments.exceptions_payment_intent_id_idx", "exceptions", "a new event"),
        ("payments.exceptions_order_group_id_idx", "exceptions", "an explanation"),
        ("payments.stripe_events_applied_payment_intent_id_key", "stripe_events", "a twin"),
        ("payments.stripe_events_applied_checkout_session_id_key", "stripe_events", "a twin"),
        ("payments.exceptions_checkout_session_id_idx", "exceptions", "a preview"),
        ("public.order_groups_stripe_checkout_session_id_idx", "order_groups", "a preview"),
    ],
)
def test_missing_index_would_be_noticed(
    module_db: Database, big: Connection, shop: Shop, index: str, table: str, call: str
) -> None:
    make, _ = CALLS[call]
    action = make(shop)
    assert scalar(big, "select to_regclass(%s) is not null", index)

    with module_db.connect() as session, session.transaction(force_rollback=True), watched(session) as plans:
        session.execute(f"drop index {index}".encode())
        session.execute("set local role service_role")
        action.perform(session)

    assert scanned(plans) == {table}


@pytest.mark.usefixtures("big")
def test_lines_of_a_window_read_no_big_table_whole(module_db: Database) -> None:
    window = (datetime(2024, 1, 3, tzinfo=UTC), datetime(2024, 1, 3, 1, tzinfo=UTC))
    with (
        module_db.connect() as session,
        session.transaction(force_rollback=True),
        past_every_guard(session),
        watched(session) as plans,
    ):
        session.execute(
            "update payments.refunds set status = 'succeeded' where created_at >= %s and created_at < %s"
            " and right(id, 2) not in ('50', '00')",
            window,
        )
        plans.clear()
        session.execute("set local role service_role")
        told = scalar(session, "select public.payment_lines(%s, %s)", *window)
        session.execute("reset role")

    kinds = Counter(line["kind"] for line in told)
    assert kinds["payment"] >= 60
    assert kinds["order"] >= 120
    assert (kinds["refund"], kinds["refund_failed"]) == (6, 1)
    assert scanned(plans) == set()


@pytest.mark.usefixtures("big")
def test_refunds_of_a_window_are_listed_through_indexes_alone(module_db: Database) -> None:
    """Those that were created in it, and those that were recorded in it."""
    created = (datetime(2024, 1, 3, tzinfo=UTC), datetime(2024, 1, 3, 1, tzinfo=UTC))
    with (
        module_db.connect() as session,
        session.transaction(force_rollback=True),
        past_every_guard(session),
        watched(session) as plans,
    ):
        session.execute(
            "update payments.refunds set status_changed_at = %s where created_at >= '2024-01-04' and"
            " created_at < '2024-01-04 00:30Z'",
            created[:1],
        )
        plans.clear()
        session.execute("set local role service_role")
        told = session.execute("select * from public.list_refunds_and_disputes(%s, %s)", created).fetchall()
        session.execute("reset role")

    assert len(told) == 7 + 3
    assert touched(plans) >= {"refunds"}
    assert scanned(plans) == set()


def test_report_of_a_window_reads_no_big_table_whole(module_db: Database, big: Connection) -> None:
    """A window of an hour, in which orders of the day before took steps too."""
    window = (datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 2, 1, tzinfo=UTC))
    with big.transaction():
        big.execute("set local session_replication_role = replica")
        big.execute(
            "insert into public.order_status_changes"
            " (order_group_id, order_id, seller_id, from_status, to_status, changed_at, changed_by)"
            " select o.order_group_id, o.id, o.seller_id, 'paid', 'delivered', %s, 'volume' from public.orders as o"
            " where o.created_at < %s order by o.created_at desc limit 100",
            [window[0], window[0]],
        )

    with module_db.connect() as session, watched(session) as plans:
        session.execute("set role service_role")
        told = scalar(session, "select public.payment_report(%s, %s)", *window)

    assert 60 <= sum(one["payments"] for one in told["totals"] if one["outcome"] == "applied") <= 120
    assert [check for check in told["checks"] if not check["ok"]] == []
    assert touched(plans) >= BIG_TABLES
    assert scanned(plans) <= {"products"}  # a catalogue does not grow by its sales


# reads under row-level security

READS = {
    "buyer": ["order_groups", "orders", "order_items"],
    "seller": ["products", "orders", "order_items", "inventory_ledger", "inventory_levels"],
}


@pytest.mark.parametrize(
    ("person", "relation"), [(person, relation) for person, relations in READS.items() for relation in relations]
)
def test_person_reads_their_own_rows_through_indexes_alone(
    module_db: Database, big: Connection, person: str, relation: str
) -> None:
    user_id = key("user12" if person == "buyer" else "member12")
    whole = scalar(big, f"select count(*) from public.{relation}")

    with module_db.act_as("authenticated", user_id=user_id) as reader:
        plan = reader.execute(f"explain (analyze, format json) select * from public.{relation}".encode()).fetchone()
    assert plan is not None
    top = plan["QUERY PLAN"][0]["Plan"]

    assert 0 < top["Actual Rows"] <= whole / 100
    assert touched([top]) & BIG_TABLES
    assert scanned([top]) == set()


def test_groups_are_found_by_their_sessions_through_an_index(module_db: Database, big: Connection) -> None:
    assert scalar(big, "select count(*) from public.order_groups") >= GROUPS
    question = "select id from public.order_groups where stripe_checkout_session_id in ('cs_12', 'cs_13', 'cs_nobody')"

    with module_db.act_as("service_role") as reader:
        plan = reader.execute(f"explain (analyze, format json) {question}".encode()).fetchone()
    assert plan is not None
    top = plan["QUERY PLAN"][0]["Plan"]

    assert top["Actual Rows"] == 2
    assert scanned([top]) == set()


# looking at plans


@contextmanager
def watched(session: Connection) -> Iterator[list[Plan]]:
    """Collects the plan of every statement of the session, those inside functions and of foreign keys included."""
    plans: list[Plan] = []

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        words = notice.message_primary or ""
        if "plan:" in words:
            plans.append(json.loads(words[words.index("{") :])["Plan"])

    session.execute("load 'auto_explain'")
    for name, value in {
        "auto_explain.log_min_duration": "0",
        "auto_explain.log_nested_statements": "on",
        "auto_explain.log_format": "json",
        "auto_explain.log_level": "notice",
    }.items():
        session.execute("select set_config(%s, %s, false)", [name, value])
    session.add_notice_handler(keep)
    yield plans


def sequential_scans(superuser: Connection) -> dict[str, int]:
    """How often each big table was read from end to end, by anybody; our own sessions' counts are sent first."""
    superuser.execute("select pg_stat_force_next_flush()")
    superuser.execute("select")  # they are sent when a statement ends
    superuser.execute("select pg_stat_clear_snapshot()")
    rows = superuser.execute(
        "select relname, seq_scan from pg_stat_user_tables where relname = any(%s)", [sorted(BIG_TABLES)]
    )
    return {row["relname"]: row["seq_scan"] for row in rows}
