"""Order groups end by themselves once their time has passed, unless their money is under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from testkit.database import Connection, Database, Row, scalar
from testkit.payments import reconcile
from testkit.shop import OrderGroup, Shop

CREATED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
NOTICE: dict[str, Any] = {
    "p_checkout_session_id": "cs_test_delayed",
    "p_stripe_event_id": "evt_delayed",
    "p_stripe_event_created": CREATED,
}


def note(service: Connection, group_id: UUID | None, **changes: Any) -> Row:
    answer: Row = scalar(
        service,
        "select public.note_awaiting_funds(p_order_group_id => %s, p_checkout_session_id => %s,"
        " p_stripe_event_id => %s, p_stripe_event_created => %s)",
        group_id,
        *{**NOTICE, **changes}.values(),
    )
    return answer


def expire(connection: Connection, limit: int | None = 500) -> Row:
    answer: Row = scalar(connection, "select public.expire_order_groups(%s)", limit)
    return answer


def set_deadline(owner: Connection, group: OrderGroup, **ago: float) -> None:
    owner.execute("update public.order_groups set expires_at = now() - %s where id = %s", [timedelta(**ago), group.id])


def due_group(shop: Shop, owner: Connection, **ago: float) -> OrderGroup:
    group = shop.order_group()
    set_deadline(owner, group, **(ago or {"minutes": 1}))
    return group


def group_of(superuser: Connection, group: OrderGroup) -> Row:
    row = superuser.execute("select * from public.order_groups where id = %s", [group.id]).fetchone()
    assert row is not None
    return row


def statuses(superuser: Connection, *groups: OrderGroup) -> list[str]:
    return [str(group_of(superuser, group)["status"]) for group in groups]


# funds that are under way


def test_first_notice_is_kept_and_a_second_writes_nothing(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    untouched = group_of(superuser, group)

    first = note(service, group.id)
    noted = group_of(superuser, group)
    before = db.snapshot()
    second = note(
        service,
        group.id,
        p_checkout_session_id="cs_test_other",
        p_stripe_event_id="evt_other",
        p_stripe_event_created=CREATED + timedelta(days=1),
    )

    assert first == {"outcome": "noted", "reason": None, "order_group_id": str(group.id)}
    assert noted == untouched | {
        "awaiting_funds_since": CREATED,
        "awaiting_funds_session_id": "cs_test_delayed",
        "awaiting_funds_event_id": "evt_delayed",
    }
    assert second == {"outcome": "already_noted", "reason": None, "order_group_id": str(group.id)}
    assert db.snapshot() == before


@pytest.mark.parametrize("status", ["paid", "cancelled"])
def test_notice_of_a_settled_group_is_ignored(db: Database, service: Connection, shop: Shop, status: str) -> None:
    group = shop.order_group()
    if status == "paid":
        reconcile(service, group.payment())
    else:
        scalar(service, "select public.cancel_order_group(%s)", group.id)
    before = db.snapshot()

    answer = note(service, group.id)

    assert answer == {"outcome": "ignored", "reason": "order_group_not_pending", "order_group_id": str(group.id)}
    assert db.snapshot() == before


def test_notice_of_an_unknown_group_is_ignored(db: Database, service: Connection) -> None:
    group_id = uuid4()
    before = db.snapshot()

    answer = note(service, group_id)

    assert answer == {"outcome": "ignored", "reason": "order_group_not_found", "order_group_id": str(group_id)}
    assert db.snapshot() == before


def test_notice_without_the_events_time_has_the_databases(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()

    before = scalar(superuser, "select clock_timestamp()")
    note(service, group.id, p_stripe_event_created=None)

    assert before < group_of(superuser, group)["awaiting_funds_since"] < scalar(superuser, "select clock_timestamp()")


def test_ids_of_a_notice_lose_the_blanks_around_them_and_may_be_as_long_as_a_payments(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()

    answer = note(service, group.id, p_checkout_session_id=f" {'c' * 255} ", p_stripe_event_id=f" {'e' * 255} ")

    assert answer["outcome"] == "noted"
    row = group_of(superuser, group)
    assert (row["awaiting_funds_session_id"], row["awaiting_funds_event_id"]) == ("c" * 255, "e" * 255)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"p_checkout_session_id": None},
        {"p_checkout_session_id": " "},
        {"p_checkout_session_id": "c" * 256},
        {"p_stripe_event_id": None},
        {"p_stripe_event_id": " "},
        {"p_stripe_event_id": "e" * 256},
        {"p_stripe_event_created": datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)},
        {"p_stripe_event_created": datetime(2100, 1, 1, 0, 0, 1, tzinfo=UTC)},
    ],
)
def test_notice_beyond_the_bounds_is_an_error_and_nothing_is_kept(
    db: Database, service: Connection, shop: Shop, spoilt: dict[str, Any]
) -> None:
    group = shop.order_group()
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        note(service, group.id, **spoilt)

    assert db.snapshot() == before


def test_notice_that_meets_a_change_under_a_stricter_isolation_gives_up_as_for_a_lock(
    db: Database, owner: Connection, shop: Shop
) -> None:
    """Never 40001, which PostgREST would answer by running the transaction again for ever."""
    group = shop.order_group()

    with db.act_as("service_role", autocommit=False) as stricter:
        stricter.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        stricter.execute("select 1")
        set_deadline(owner, group, hours=-1)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            note(stricter, group.id)


def test_notice_without_a_group_is_an_error(service: Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        note(service, None)


# expiry


def test_only_pending_groups_whose_time_has_passed_and_whose_money_is_not_under_way_expire(
    service: Connection, superuser: Connection, owner: Connection, shop: Shop
) -> None:
    due, paid, awaiting, later, never = (due_group(shop, owner) for _ in range(5))
    reconcile(service, paid.payment())
    note(service, awaiting.id)
    set_deadline(owner, later, minutes=-1)
    owner.execute("update public.order_groups set expires_at = null where id = %s", [never.id])

    assert expire(service) == {"expired": 1, "left": 0}

    assert statuses(superuser, due, paid, awaiting, later, never) == [
        "cancelled",
        "paid",
        "pending",
        "pending",
        "pending",
    ]
    orders = superuser.execute(
        "select order_group_id, status, paid_at is null as is_unpaid from public.orders where status <> 'pending'"
        " order by status"
    ).fetchall()
    assert orders == [
        {"order_group_id": due.id, "status": "cancelled", "is_unpaid": True},
        {"order_group_id": due.id, "status": "cancelled", "is_unpaid": True},
        {"order_group_id": paid.id, "status": "paid", "is_unpaid": False},
        {"order_group_id": paid.id, "status": "paid", "is_unpaid": False},
    ]


def test_expired_group_has_the_history_of_a_cancelled_one(
    service: Connection, superuser: Connection, owner: Connection, shop: Shop
) -> None:
    cancelled, expired = shop.order_group(), due_group(shop, owner)

    scalar(service, "select public.cancel_order_group(%s)", cancelled.id)
    expire(service)

    def history(group: OrderGroup) -> list[tuple[Any, ...]]:
        rows = superuser.execute(
            "select order_id, from_status, to_status, changed_by from public.order_status_changes"
            " where order_group_id = %s order by id",
            [group.id],
        )
        places: dict[UUID | None, Any] = {
            None: "group",
            **{order_id: place for place, order_id in enumerate(group.order_ids)},
        }
        return sorted((str(places[order_id]), *rest) for order_id, *rest in (row.values() for row in rows))

    assert history(expired) == history(cancelled)
    assert len(history(expired)) == 3


def test_second_run_changes_no_group(service: Connection, superuser: Connection, owner: Connection, shop: Shop) -> None:
    group = due_group(shop, owner)
    expire(service)
    before = superuser.execute("select xmin, * from public.order_groups").fetchall()

    assert expire(service) == {"expired": 0, "left": 0}

    assert superuser.execute("select xmin, * from public.order_groups").fetchall() == before
    assert statuses(superuser, group) == ["cancelled"]


def test_payment_after_expiry_is_kept_as_an_exception_and_does_not_revive_the_group(
    service: Connection, superuser: Connection, owner: Connection, shop: Shop
) -> None:
    group = due_group(shop, owner)
    expire(service)

    verdict = reconcile(service, group.payment())

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "order_group_not_payable")
    assert statuses(superuser, group) == ["cancelled"]
    assert scalar(superuser, "select count(*) from public.inventory_ledger") == 0


def test_group_of_plain_inserts_bears_its_end_too(service: Connection, superuser: Connection) -> None:
    inserted = "insert into public.order_groups (currency, total_amount, expires_at) values ('USD', 1, %s)"
    for day in ("2026-01-01", "9999-01-01"):
        service.execute(inserted, [f"{day}T00:00Z"])

    assert expire(service) == {"expired": 1, "left": 0}
    groups = superuser.execute("select status from public.order_groups order by expires_at").fetchall()
    assert [row["status"] for row in groups] == ["cancelled", "pending"]


def test_group_without_orders_expires(
    service: Connection, superuser: Connection, owner: Connection, shop: Shop
) -> None:
    group = shop.order_group([])
    set_deadline(owner, group, minutes=1)

    assert expire(service) == {"expired": 1, "left": 0}
    assert statuses(superuser, group) == ["cancelled"]


def test_limit_takes_the_groups_that_are_due_longest_and_tells_what_is_left(
    service: Connection, superuser: Connection, owner: Connection, shop: Shop
) -> None:
    youngest, oldest, middle = (due_group(shop, owner, minutes=minutes) for minutes in (1, 3, 2))

    assert expire(service, 0) == {"expired": 0, "left": 3}
    assert statuses(superuser, oldest, middle, youngest) == ["pending"] * 3
    assert expire(service, 2) == {"expired": 2, "left": 1}
    assert statuses(superuser, oldest, middle, youngest) == ["cancelled", "cancelled", "pending"]
    assert expire(service, 2) == {"expired": 1, "left": 0}


@pytest.mark.parametrize("limit", [None, -1, 10_001])
def test_limit_out_of_bounds_is_an_error(service: Connection, owner: Connection, shop: Shop, limit: int | None) -> None:
    due_group(shop, owner)

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        expire(service, limit)

    assert expire(service, 10_000) == {"expired": 1, "left": 0}


@pytest.mark.parametrize("table", ["order_groups", "orders"])
def test_locked_rows_are_left_and_hold_nothing_else_up(
    db: Database, service: Connection, superuser: Connection, owner: Connection, shop: Shop, table: str
) -> None:
    held, free = due_group(shop, owner), due_group(shop, owner)
    row = held.id if table == "order_groups" else held.order_ids[1]

    with db.connect("postgres", autocommit=False) as holder:
        holder.execute(f"select from public.{table} where id = %s for update".encode(), [row])
        answer = expire(service)
        holder.rollback()

    assert answer == {"expired": 1, "left": 1}
    assert statuses(superuser, held, free) == ["pending", "cancelled"]
    assert expire(service) == {"expired": 1, "left": 0}
    assert statuses(superuser, held) == ["cancelled"]


def test_expiry_that_meets_a_change_under_a_stricter_isolation_gives_up_as_for_a_lock(
    db: Database, service: Connection, owner: Connection, shop: Shop
) -> None:
    """Never 40001, which PostgREST would answer by running the transaction again for ever."""
    group = due_group(shop, owner)

    with db.act_as("service_role", autocommit=False) as stricter:
        stricter.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        stricter.execute("select 1")
        note(service, group.id)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            expire(stricter)


# what readiness tells of it


def readiness(service: Connection) -> Row:
    told: Row = scalar(service, "select public.reconciliation_readiness()")
    return told


def test_readiness_tells_the_last_run_and_the_group_that_is_due_longest(
    service: Connection, superuser: Connection, owner: Connection, shop: Shop
) -> None:
    nothing = readiness(service)
    due_group(shop, owner, minutes=1)
    longest = due_group(shop, owner, hours=1)
    awaiting, paid, later = (due_group(shop, owner, hours=2) for _ in range(3))
    note(service, awaiting.id)
    reconcile(service, paid.payment())
    set_deadline(owner, later, hours=-1)
    overdue = readiness(service)
    before = scalar(superuser, "select clock_timestamp()")
    expire(service)
    done = readiness(service)

    assert (nothing["expiry_last_ran_at"], nothing["overdue_since"]) == (None, None)
    assert overdue["expiry_last_ran_at"] is None
    assert datetime.fromisoformat(overdue["overdue_since"]) == group_of(superuser, longest)["expires_at"]
    assert before < datetime.fromisoformat(done["expiry_last_ran_at"]) < scalar(superuser, "select clock_timestamp()")
    assert done["overdue_since"] is None


def test_run_that_finds_nothing_is_a_run(service: Connection) -> None:
    expire(service)
    first = readiness(service)["expiry_last_ran_at"]
    expire(service)

    assert first < readiness(service)["expiry_last_ran_at"]


def test_two_runs_at_once_do_not_wait_for_each_other(db: Database, service: Connection) -> None:
    with db.act_as("service_role", autocommit=False) as other:
        expire(other)
        service.execute("set lock_timeout = '1ms'")

        assert expire(service) == {"expired": 0, "left": 0}


def test_last_expiry_is_one_row(superuser: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        superuser.execute("insert into payments.last_expiry (id) values (2)")


# who calls it


def test_schedule_waits_for_pg_cron(owner: Connection) -> None:
    """Where pg_cron is installed, tests/deploy/test_pg_cron.py tells the rest."""
    assert scalar(owner, "select payments.schedule_expiry()") == "pg_cron_not_installed"


def test_owner_may_call_it_as_a_scheduler_does(owner: Connection, shop: Shop) -> None:
    due_group(shop, owner)

    assert expire(owner) == {"expired": 1, "left": 0}
