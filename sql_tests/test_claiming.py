"""A guest's order group gets its buyer once, whatever its status; a group that ever had a buyer gets no other."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import IsolationLevel, sql

from sql_tests.races import ENDS, ISOLATIONS, End, RaceDatabase
from sql_tests.settling import SETTLED, settle
from testkit.database import Connection, Database, Row, past_every_guard, scalar
from testkit.payments import reconcile
from testkit.refunds import Refund, record
from testkit.shop import OrderGroup, Shop, new_user

STATUSES = ("pending", *SETTLED)


def guest_group(shop: Shop, superuser: Connection) -> OrderGroup:
    """A pending group that never had a buyer."""
    group = shop.order_group([[(1, "5")]])
    superuser.execute("update public.order_groups set buyer_id = null, buyer_since = null where id = %s", [group.id])
    return group


def claim(connection: Connection, group_id: UUID | None, buyer_id: UUID | None) -> Row:
    answer: Row = scalar(connection, "select public.claim_order_group(%s, %s)", group_id, buyer_id)
    return answer


def rejected(group_id: UUID | None, reason: str) -> Row:
    return {"outcome": "rejected", "reason": reason, "order_group_id": str(group_id) if group_id else None}


@pytest.mark.parametrize("status", STATUSES)
def test_guests_group_is_claimed_once_and_nothing_else_of_it_changes(
    db: Database, service: Connection, superuser: Connection, shop: Shop, status: str
) -> None:
    group = guest_group(shop, superuser)
    if status != "pending":
        settle(service, group, status)
    read = "select to_jsonb(g) as row from public.order_groups as g where g.id = %s"
    before = scalar(superuser, read, group.id)
    began = scalar(superuser, "select clock_timestamp()")

    claimed = claim(service, group.id, shop.buyer_id)
    after = scalar(superuser, read, group.id)
    since = scalar(superuser, "select buyer_since from public.order_groups where id = %s", group.id)
    written = db.snapshot()
    again = claim(service, group.id, shop.buyer_id)
    other = claim(service, group.id, shop.stranger_id)

    assert claimed == {"outcome": "claimed", "reason": None, "order_group_id": str(group.id)}
    assert after == before | {"buyer_id": str(shop.buyer_id), "buyer_since": after["buyer_since"]}
    assert began < since < scalar(superuser, "select clock_timestamp()")
    assert again == claimed | {"outcome": "already_claimed"}
    assert other == rejected(group.id, "order_group_has_buyer")
    if status != "pending":  # whose lock is written, see payments.lock_order_group()
        assert db.snapshot() == written
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


@pytest.mark.parametrize("has_claimed", [True, False])
def test_group_whose_buyer_deleted_the_account_is_nobodys_for_ever(
    service: Connection, superuser: Connection, shop: Shop, has_claimed: bool
) -> None:
    group = guest_group(shop, superuser) if has_claimed else shop.order_group()
    if has_claimed:
        claim(service, group.id, shop.buyer_id)
    superuser.execute("delete from auth.users where id = %s", [shop.buyer_id])

    assert claim(service, group.id, shop.stranger_id) == rejected(group.id, "order_group_has_buyer")
    assert scalar(superuser, "select buyer_id from public.order_groups where id = %s", group.id) is None


def test_neither_an_unknown_group_nor_an_unknown_buyer_is_written(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    group, unknown = guest_group(shop, superuser), uuid4()
    reconcile(service, group.payment())
    before = db.snapshot()

    assert claim(service, unknown, shop.buyer_id) == rejected(unknown, "order_group_not_found")
    assert claim(service, None, shop.buyer_id) == rejected(None, "order_group_not_found")
    assert claim(service, group.id, unknown) == rejected(group.id, "buyer_not_found")
    assert claim(service, group.id, None) == rejected(group.id, "buyer_not_found")
    assert db.snapshot() == before


def test_foreign_key_of_the_shops_own_is_no_missing_buyer(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = guest_group(shop, superuser)
    owner.execute(
        "create function public.own_check() returns trigger language plpgsql set search_path = '' as"
        " $$ begin raise foreign_key_violation using constraint = 'own_fkey'; end $$;"
        " create trigger own_check before update on public.order_groups for each row"
        " when (new.buyer_id is not null) execute function public.own_check()"
    )

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        claim(service, group.id, shop.buyer_id)


def test_buyer_sees_the_group_from_then_on(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = guest_group(shop, superuser)
    read = "select count(*) from public.order_groups as g join public.orders as o on o.order_group_id = g.id"

    with (
        db.act_as("authenticated", user_id=shop.buyer_id) as buyer,
        db.act_as("authenticated", user_id=shop.stranger_id) as stranger,
    ):
        assert scalar(buyer, read) == 0
        claim(service, group.id, shop.buyer_id)

        assert (scalar(buyer, read), scalar(stranger, read)) == (1, 0)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            claim(stranger, guest_group(shop, superuser).id, shop.stranger_id)


def test_story_tells_when_a_group_was_claimed_and_of_no_claim_where_there_was_none(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    def claims(group: OrderGroup) -> list[Row]:
        told = scalar(service, "select public.explain_order_group(%s)", group.id)["timeline"]
        return [entry for entry in told if entry["kind"] == "order_group_claimed"]

    claimed, bought = guest_group(shop, superuser), shop.order_group()
    assert claims(claimed) == []
    claim(service, claimed.id, shop.buyer_id)

    at = scalar(superuser, "select to_jsonb(buyer_since) from public.order_groups where id = %s", claimed.id)
    assert claims(claimed) == [
        {"at": at, "kind": "order_group_claimed", "rule": "a guest's order group gets its buyer once"}
    ]
    assert claims(bought) == []


# Which of these a settled group takes, by who has it: buyer_id and buyer_since as they become.
BUYERS = {"nobody": "null", "the buyer": "{buyer}", "another": "{another}"}
TIMES = {"never": "null", "as it is": "buyer_since", "now": "now()"}
STEPS = {
    "a guest": {("nobody", "never"), ("nobody", "as it is"), ("the buyer", "now"), ("another", "now")},
    "the buyer": {("nobody", "as it is"), ("the buyer", "as it is")},
    "nobody any more": {("nobody", "as it is")},
}


@pytest.mark.parametrize("status", SETTLED)
@pytest.mark.parametrize("whose", STEPS)
def test_settled_group_takes_these_steps_of_its_buyer_and_no_others(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop, status: str, whose: str
) -> None:
    group = guest_group(shop, superuser) if whose == "a guest" else shop.order_group([[(1, "5")]])
    settle(service, group, status)
    if whose == "nobody any more":
        superuser.execute("update public.order_groups set buyer_id = null where id = %s", [group.id])
    people = {"buyer": sql.Literal(str(shop.buyer_id)), "another": sql.Literal(str(new_user(superuser)))}

    def passes(statement: sql.Composed) -> bool:
        try:
            with owner.transaction(force_rollback=True):
                assert owner.execute(statement).rowcount == 1
        except psycopg.IntegrityError:
            return False
        return True

    def step(buyer: str, time: str, also: str = "") -> sql.Composed:
        text = (
            f"update public.order_groups set buyer_id = {BUYERS[buyer]}, buyer_since = {TIMES[time]}{also} where id = "
        )
        return sql.SQL(text).format(**people) + sql.Literal(str(group.id))

    told = {(buyer, time) for buyer in BUYERS for time in TIMES if passes(step(buyer, time))}

    assert told == STEPS[whose]
    # A claim comes alone.
    assert not passes(step("another", "now", ", total_amount = 0"))
    if status == "paid":
        assert not passes(step("another", "now", ", status = 'refunded'"))


def test_claim_and_refund_do_not_come_in_one(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    """All of the money is back on record, and the group has yet to follow."""
    group = guest_group(shop, superuser)
    payment = group.payment()
    assert reconcile(service, payment)["outcome"] == "applied"
    refund = Refund.of(payment, status="pending")
    record(service, refund)
    with past_every_guard(superuser):
        superuser.execute("update payments.refunds set status = 'succeeded' where id = %s", [refund.id])
    follow = "update public.order_groups set status = 'refunded', refunded_amount = total_amount"
    claimed = f"{follow}, buyer_id = %s, buyer_since = now() where id = %s"

    with pytest.raises(psycopg.errors.CheckViolation):
        owner.execute(claimed.encode(), [shop.buyer_id, group.id])
    assert owner.execute(f"{follow} where id = %s".encode(), [group.id]).rowcount == 1


# races


def answers(connection: Connection, group_id: UUID, buyer_id: UUID) -> str:
    answer = claim(connection, group_id, buyer_id)
    return str(answer["reason"] or answer["outcome"])


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("paid", [True, False])
def test_of_two_buyers_at_once_one_gets_the_group(
    database: RaceDatabase, isolation: IsolationLevel, end: End, paid: bool
) -> None:
    shop = database.shop
    group = guest_group(shop, database.observer)
    if paid:
        assert reconcile(shop.service, group.payment())["outcome"] == "applied"
    one, other = database.rival(isolation), database.rival(isolation)

    one.start(lambda connection: answers(connection, group.id, shop.buyer_id))
    assert one.answer() == "claimed"
    other.start(lambda connection: answer_or_sqlstate(connection, group.id, shop.stranger_id))
    other.until_waiting_for(one)
    assert one.end(end) == end
    told = other.answer()
    ended = other.end("rollback" if told == "55P03" else "commit")
    if end == "commit" and isolation is not IsolationLevel.READ_COMMITTED:
        assert told == "55P03"
        told = answers(shop.service, group.id, shop.stranger_id)

    assert (told, ended != "40001") == ({"commit": "order_group_has_buyer", "rollback": "claimed"}[end], True)
    assert scalar(database.observer, "select buyer_id from public.order_groups where id = %s", group.id) == (
        shop.buyer_id if end == "commit" else shop.stranger_id
    )
    database.dismiss()


def answer_or_sqlstate(connection: Connection, group_id: UUID, buyer_id: UUID) -> str:
    try:
        return answers(connection, group_id, buyer_id)
    except psycopg.Error as error:
        return str(error.sqlstate)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("first", ["claim", "payment"])
def test_claim_and_payment_wait_for_each_other_and_both_come_true(database: RaceDatabase, first: str, end: End) -> None:
    shop = database.shop
    group = guest_group(shop, database.observer)
    payment = group.payment()
    calls: dict[str, Callable[[Connection], str]] = {
        "claim": lambda connection: answers(connection, group.id, shop.buyer_id),
        "payment": lambda connection: str(reconcile(connection, payment)["outcome"]),
    }
    expected = {"claim": "claimed", "payment": "applied"}
    second = "payment" if first == "claim" else "claim"
    one, other = (database.rival(IsolationLevel.READ_COMMITTED) for _ in range(2))

    one.start(calls[first])
    assert one.answer() == expected[first]
    other.start(calls[second])
    other.until_waiting_for(one)
    assert one.end(end) == end
    assert other.answer() == expected[second]
    assert other.end("commit") == "commit"

    row = database.observer.execute("select * from public.order_groups where id = %s", [group.id]).fetchone()
    assert row is not None
    done = {second} | ({first} if end == "commit" else set())
    assert (row["buyer_id"] == shop.buyer_id, row["status"] == "paid") == ("claim" in done, "payment" in done)
    database.assert_sound()
    database.dismiss()


@pytest.mark.parametrize("end", ENDS)
def test_claim_by_somebody_whose_account_is_being_deleted_waits_and_finds_no_buyer(
    database: RaceDatabase, end: End
) -> None:
    group = guest_group(database.shop, database.observer)
    leaving = new_user(database.observer)
    claimer = database.rival(IsolationLevel.READ_COMMITTED)

    with database.db.connect(autocommit=False) as platform:
        platform.execute("delete from auth.users where id = %s", [leaving])
        claimer.start(lambda connection: answers(connection, group.id, leaving))
        claimer.until_waiting_for(platform.info.backend_pid)
        platform.commit() if end == "commit" else platform.rollback()

    assert claimer.answer() == {"commit": "buyer_not_found", "rollback": "claimed"}[end]
    assert claimer.end("commit") == "commit"
    row = database.observer.execute(
        "select buyer_id, buyer_since is null as never from public.order_groups where id = %s", [group.id]
    ).fetchone()
    assert row == {"buyer_id": None if end == "commit" else leaving, "never": end == "commit"}
    database.dismiss()


@pytest.mark.parametrize("end", ENDS)
def test_account_that_is_deleted_during_its_claim_leaves_a_group_that_had_a_buyer(
    database: RaceDatabase, end: End
) -> None:
    group = guest_group(database.shop, database.observer)
    leaving = new_user(database.observer)
    claimer = database.rival(IsolationLevel.READ_COMMITTED)
    deleter = database.rival(IsolationLevel.READ_COMMITTED, "postgres")

    claimer.start(lambda connection: answers(connection, group.id, leaving))
    assert claimer.answer() == "claimed"
    deleter.start(lambda connection: connection.execute("delete from auth.users where id = %s", [leaving]).rowcount)
    deleter.until_waiting_for(claimer)
    assert claimer.end(end) == end
    assert deleter.answer() == 1
    assert deleter.end("commit") == "commit"

    row = database.observer.execute(
        "select buyer_id, buyer_since is null as never from public.order_groups where id = %s", [group.id]
    ).fetchone()
    assert row == {"buyer_id": None, "never": end == "rollback"}
    database.dismiss()
