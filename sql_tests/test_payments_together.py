"""Many payments in one call: each is answered as if it had come alone, and a fault of one is that one's alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from testkit.database import Connection, Database, Row, scalar
from testkit.invariants import broken_invariants
from testkit.payments import Payment, element, reconcile, reconcile_together
from testkit.shop import OrderGroup, Shop, open_shop

MOST = 32


@pytest.fixture(scope="module")
def superuser(module_db: Database) -> Iterator[Connection]:
    with module_db.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def service(module_db: Database) -> Iterator[Connection]:
    with module_db.act_as("service_role") as connection:
        yield connection


@pytest.fixture(scope="module")
def shop(superuser: Connection, service: Connection) -> Shop:
    return open_shop(superuser, service)


@contextmanager
def shops_trigger(superuser: Connection, when: str, body: str, *payments: Payment) -> Iterator[None]:
    """A trigger of the shop's own that fires for these payments' groups; its name comes after those of the guards."""
    key = "id" if "order_groups" in when else "order_group_id"
    groups = ", ".join(f"'{payment.order_group_id}'" for payment in payments)
    superuser.execute(
        f"create function public.tg_shop() returns trigger language plpgsql as $$ begin {body}; return new; end $$;"
        f"create {when} for each row when (new.{key} in ({groups}))"
        " execute function public.tg_shop()".encode()
    )
    try:
        yield
    finally:
        superuser.execute("drop function public.tg_shop() cascade")


def groups_by_id(shop: Shop, count: int) -> list[OrderGroup]:
    """In the order in which their locks are taken."""
    return sorted((shop.order_group() for _ in range(count)), key=lambda group: group.id)


def verdict(payment: Payment, outcome: str, reason: str | None = None, **more: Any) -> Row:
    """The function's answer to the payment of a group of two orders with five items."""
    applied = outcome == "applied"
    return {
        "outcome": outcome,
        "reason": reason,
        "order_group_id": None if payment.order_group_id is None else str(payment.order_group_id),
        "stripe_event_id": payment.event_id,
        "orders_paid": 2 if applied else 0,
        "ledger_entries": 5 if applied else 0,
        **more,
    }


def written(superuser: Connection, payment: Payment) -> Row:
    """All that a payment may have left behind."""
    row = superuser.execute(
        "select"
        " (select status from public.order_groups where id = %(group)s) as order_group,"
        " array(select distinct status from public.orders where order_group_id = %(group)s) as orders,"
        " (select count(*) from public.order_status_changes where order_group_id = %(group)s) as steps,"
        " (select count(*) from public.inventory_ledger where stripe_webhook_event_id = %(event)s) as entries,"
        " (select count(*) from payments.stripe_events where id = %(event)s) as events,"
        " (select count(*) from payments.exceptions where stripe_event_id = %(event)s) as exceptions",
        {"group": payment.order_group_id, "event": payment.event_id},
    ).fetchone()
    assert row is not None
    return row


NOTHING = {"order_group": "pending", "orders": ["pending"], "steps": 0, "entries": 0, "events": 0, "exceptions": 0}
PAID = {"order_group": "paid", "orders": ["paid"], "steps": 3, "entries": 5, "events": 1, "exceptions": 0}
SET_ASIDE = {**NOTHING, "exceptions": 1}


# the answers


def test_answers_stand_in_the_order_of_the_payments_each_with_the_functions_verdict(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    groups = groups_by_id(shop, 4)
    replayed = shop.order_group().payment()
    reconcile(service, replayed)
    good = [group.payment() for group in reversed(groups[:3])]
    wrong = groups[3].payment().but(amount_minor=1, amount="0.01")
    nameless = wrong.rival().but(order_group_id=None, unmatched_reason="missing_reference")
    payments = [nameless, good[0], wrong, good[1], replayed, good[2]]

    answers = reconcile_together(service, payments)

    assert answers == [
        verdict(nameless, "unmatched", "missing_reference"),
        verdict(good[0], "applied"),
        verdict(wrong, "rejected", "amount_mismatch"),
        verdict(good[1], "applied"),
        verdict(replayed, "replayed"),
        verdict(good[2], "applied"),
    ]
    assert [written(superuser, payment) for payment in (*good, wrong)] == [PAID, PAID, PAID, SET_ASIDE]
    assert broken_invariants(superuser) == []


def test_batch_of_replays_changes_not_one_row(module_db: Database, service: Connection, shop: Shop) -> None:
    payments = [shop.order_group().payment() for _ in range(3)]
    reconcile_together(service, payments)
    before = module_db.snapshot()

    answers = reconcile_together(service, payments)

    assert answers == [verdict(payment, "replayed") for payment in payments]
    assert module_db.snapshot() == before


# What the second payment of a batch is beside the first, and what both are answered.
PAIRS: dict[str, tuple[Callable[[Payment, Payment], Payment], tuple[str, str | None]]] = {
    "the same event": (lambda first, _: first, ("replayed", None)),
    "a twin": (lambda first, _: first.twin(), ("already_paid", None)),
    "a second payment": (lambda first, _: first.rival(), ("rejected", "duplicate_payment")),
    "the payment of another group": (
        lambda first, other: other.but(payment_intent_id=first.payment_intent_id),
        ("rejected", "payment_already_used"),
    ),
    "the event of another group": (
        lambda first, other: other.but(event_id=first.event_id),
        ("rejected", "event_collision"),
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
def test_two_payments_that_meet_in_a_batch_are_judged_one_after_the_other(
    service: Connection, superuser: Connection, shop: Shop, pair: str, turned: bool
) -> None:
    """In the order of their groups, and within one group in the order in which they are sent."""
    make, (outcome, reason) = PAIRS[pair]
    first, other = (group.payment() for group in groups_by_id(shop, 2))
    second = make(first, other)
    payments = [first, second]
    if turned and second.order_group_id != first.order_group_id:
        payments.reverse()

    answers = reconcile_together(service, payments)

    expected = {id(first): verdict(first, "applied"), id(second): verdict(second, outcome, reason)}
    if second is first:
        assert answers == [verdict(first, "applied"), verdict(first, "replayed")]
    else:
        assert answers == [expected[id(payment)] for payment in payments]
    assert broken_invariants(superuser) == []


def test_exception_of_an_event_is_closed_by_its_twin_in_the_same_batch(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    right = shop.order_group().payment()
    wrong = right.twin().but(currency="eur")

    answers = reconcile_together(service, [wrong, right])

    assert [answer["outcome"] for answer in answers] == ["rejected", "applied"]
    kept = "select status, resolution from payments.exceptions where stripe_event_id = %s"
    assert superuser.execute(kept, [wrong.event_id]).fetchall() == [{"status": "resolved", "resolution": "reconciled"}]


# what is sent


def test_thirty_two_payments_are_answered_and_one_more_is_refused(
    module_db: Database, service: Connection, shop: Shop
) -> None:
    payments = [shop.order_group([[(1, "1.00")]]).payment() for _ in range(MOST)]
    before = module_db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue, match="up to 32"):
        reconcile_together(service, [*payments, payments[0]])
    assert module_db.snapshot() == before
    assert reconcile_together(service, []) == []
    assert module_db.snapshot() == before
    assert [answer["outcome"] for answer in reconcile_together(service, payments)] == ["applied"] * MOST


@pytest.mark.parametrize("sent", [None, "null", "{}", "5", '"text"'])
def test_what_is_no_array_of_payments_is_refused(service: Connection, sent: str | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="must be an array"):
        service.execute("select public.reconcile_order_group_payments(%s)", [sent])


def test_parameters_of_a_payment_with_defaults_may_be_left_out(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    sent = element(payment)
    for key in ("p_session_metadata", "p_source", "p_unmatched_reason", "p_account", "p_stripe_event_created"):
        del sent[key]

    assert reconcile_together(service, [sent]) == [verdict(payment, "applied")]

    kept = "select created_at, session_metadata, source, account from payments.stripe_events where id = %s"
    assert superuser.execute(kept, [payment.event_id]).fetchall() == [
        {"created_at": None, "session_metadata": {}, "source": "webhook", "account": None}
    ]


# what is wrong with one


@pytest.mark.parametrize("spoilt", [None, 5, "text", [], [1], True])
def test_what_is_no_object_fails_without_ids(
    service: Connection, superuser: Connection, shop: Shop, spoilt: Any
) -> None:
    payments = [shop.order_group().payment() for _ in range(2)]

    answers = reconcile_together(service, [payments[0], spoilt, payments[1]])

    failed = verdict(payments[0].but(order_group_id=None, event_id=None), "failed", sqlstate="22023")
    assert answers == [verdict(payments[0], "applied"), failed, verdict(payments[1], "applied")]
    assert [written(superuser, payment) for payment in payments] == [PAID, PAID]


@pytest.mark.parametrize(
    ("change", "sqlstate"),
    [
        ({"order_group_id": "not a uuid"}, "22P02"),
        ({"amount_minor": 2**63}, "22003"),
        ({"amount": "much"}, "22P02"),
        ({"event_created": "yesterday week"}, "22007"),
        ({"event_id": None}, "22023"),
        ({"source": "guess"}, "22023"),
        ({"order_group_id": None}, "22023"),
        ({"session_metadata": {"much": "x" * 65536}}, "22023"),
    ],
)
def test_payment_that_cannot_be_taken_fails_alone(
    service: Connection, superuser: Connection, shop: Shop, change: dict[str, Any], sqlstate: str
) -> None:
    good = [shop.order_group().payment() for _ in range(2)]
    spoilt = shop.order_group().payment().but(**change)

    answers = reconcile_together(service, [good[0], spoilt, good[1]])

    assert answers == [
        verdict(good[0], "applied"),
        verdict(spoilt, "failed", sqlstate=sqlstate),
        verdict(good[1], "applied"),
    ]
    assert [written(superuser, payment) for payment in good] == [PAID, PAID]
    kept = "select * from payments.exceptions where stripe_event_id = %s or checkout_session_id = %s"
    assert superuser.execute(kept, [spoilt.event_id, spoilt.checkout_session_id]).fetchall() == []


# Of a shop's trigger: which one, its body, its SQLSTATE.
FAULTS: dict[str, tuple[str, str, str]] = {
    "raises": ("trigger zz before update on public.order_groups", "raise exception 'no'", "P0001"),
    "raises late": ("trigger zz after insert on public.order_status_changes", "raise exception 'no'", "P0001"),
    "divides by zero": ("trigger zz after update on public.order_groups", "perform 1 / 0", "22012"),
    "asserts what is wrong": ("trigger zz after update on public.order_groups", "assert false", "P0004"),
    "swallows a row": ("trigger zz before update on public.orders", "return null", "XX001"),
    "changes the money": ("trigger zz before update on public.order_groups", "new.total_amount := 1", "23514"),
    "names what is not there": ("trigger zz after update on public.order_groups", "perform * from nowhere", "42P01"),
    "was serialized away": ("trigger zz after update on public.orders", "raise serialization_failure", "40001"),
    "finds a deadlock": ("trigger zz after update on public.orders", "raise deadlock_detected", "40P01"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_a_shops_trigger_is_the_answer_of_its_payment_alone(
    service: Connection, superuser: Connection, shop: Shop, fault: str
) -> None:
    when, body, sqlstate = FAULTS[fault]
    payments = [group.payment() for group in groups_by_id(shop, 3)]
    place = list(FAULTS).index(fault) % 3  # in all of them
    outcome = "deferred" if sqlstate.startswith("40") else "failed"

    with shops_trigger(superuser, when, body, payments[place]):
        answers = reconcile_together(service, payments)

    expected = [verdict(payment, "applied") for payment in payments]
    expected[place] = verdict(payments[place], outcome, sqlstate=sqlstate)
    assert answers == expected
    assert [written(superuser, payment) for payment in payments] == [
        NOTHING if one == place else PAID for one in range(3)
    ]
    assert reconcile_together(service, payments)[place] == verdict(payments[place], "applied")


@pytest.mark.parametrize("poisoned", [None, 0, 1])
def test_deferred_trigger_of_a_shops_sees_the_whole_payment_and_fails_it_alone(
    service: Connection, superuser: Connection, shop: Shop, poisoned: int | None
) -> None:
    """It would fail each payment if it came before the ledger's rows, and all of them if it came at the commit."""
    payments = [group.payment() for group in groups_by_id(shop, 2)]
    wrong: UUID | None = None if poisoned is None else payments[poisoned].order_group_id
    when = "constraint trigger zz after update on public.order_groups deferrable initially deferred"
    whole = f"""assert new.id is distinct from '{wrong or UUID(int=0)}' and exists (
        select from public.inventory_ledger as l where l.stripe_webhook_event_id = new.stripe_webhook_event_id
    )"""

    with shops_trigger(superuser, when, whole, *payments):
        answers = reconcile_together(service, payments)

    expected = [verdict(payment, "applied") for payment in payments]
    if poisoned is not None:
        expected[poisoned] = verdict(payments[poisoned], "failed", sqlstate="P0004")
    assert answers == expected
    assert [written(superuser, payment) for payment in payments] == [
        NOTHING if place == poisoned else PAID for place in range(2)
    ]


def test_constraint_that_may_be_deferred_is_none_the_less_checked_at_once_in_each_payment(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    """The shop's trigger counts the day's sales, and handles the row that is there already."""
    payments = [group.payment() for group in groups_by_id(shop, 3)]
    superuser.execute("create table public.sales (day date constraint one_row unique deferrable, count integer)")
    count = """begin
        insert into public.sales values (current_date, 1);
    exception
        when unique_violation then
            update public.sales set count = count + 1 where day = current_date;
    end"""

    try:
        with shops_trigger(superuser, "trigger zz after update on public.order_groups", count, *payments):
            answers = reconcile_together(service, payments)
        sales = scalar(superuser, "select count from public.sales")
    finally:
        superuser.execute("drop table public.sales")

    assert answers == [verdict(payment, "applied") for payment in payments]
    assert sales == 3


def test_what_a_trigger_sets_for_its_own_payment_lets_the_others_wait_no_longer(
    module_db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    """For ever, here: all would lose their verdicts when the time of the call is up."""
    payments = [group.payment() for group in groups_by_id(shop, 3)]
    when = "trigger zz after update on public.order_groups"

    with (
        shops_trigger(superuser, when, "perform set_config('lock_timeout', '0', true)", payments[0]),
        module_db.act_as("service_role") as rival,
        rival.transaction(),
        service.transaction(),
    ):
        scalar(rival, "select public.cancel_order_group(%s)", payments[1].order_group_id)
        service.execute("set local statement_timeout = '5s'")
        answers = reconcile_together(service, payments)

    assert answers == [
        verdict(payments[0], "applied"),
        verdict(payments[1], "deferred", sqlstate="55P03"),
        verdict(payments[2], "applied"),
    ]


def test_query_that_is_cancelled_gives_no_answer_and_writes_nothing(
    module_db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    """A time-out is the whole call's: going on with the next payment would be over time."""
    payments = [group.payment() for group in groups_by_id(shop, 2)]
    before = module_db.snapshot()
    when = "trigger zz before update on public.order_groups"

    with (
        shops_trigger(superuser, when, "raise query_canceled", payments[1]),
        pytest.raises(psycopg.errors.QueryCanceled),
    ):
        reconcile_together(service, payments)

    assert module_db.snapshot() == before


def test_nobody_but_the_service_role_may_send_payments_together(module_db: Database) -> None:
    for role in ("anon", "authenticated"):
        with module_db.act_as(role) as stranger, pytest.raises(psycopg.errors.InsufficientPrivilege):
            scalar(stranger, "select public.reconcile_order_group_payments('[]')")
