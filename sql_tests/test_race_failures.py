"""Races that end badly for one side: a backend dies, a lock is not given, locks are taken the wrong way round."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest
from psycopg import IsolationLevel

from sql_tests.actions import DONE, LOCK_TIMEOUT, Action, AddItem, Cancel, EditOrderTotal, Pay, RemoveItem
from sql_tests.model import fingerprint
from sql_tests.races import HOLDING_POINTS, ISOLATIONS, RaceDatabase, Rival
from testkit.database import scalar
from testkit.payments import Payment
from testkit.shop import OrderGroup

# Repeatable read alone would decide on a snapshot from before the wait. The Data API never runs the function under it:
# the function's own default_transaction_isolation asks for read committed. Serializable is refused at the commit.
where_the_snapshot_is_fresh = pytest.mark.parametrize(
    "isolation", [IsolationLevel.READ_COMMITTED, IsolationLevel.SERIALIZABLE], ids=lambda level: level.name.lower()
)
under_every_isolation = pytest.mark.parametrize("isolation", ISOLATIONS, ids=lambda level: level.name.lower())


# a backend dies


@under_every_isolation
@pytest.mark.parametrize("point", HOLDING_POINTS)
def test_backend_killed_inside_the_call_leaves_nothing_and_the_waiting_delivery_applies(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel, point: str
) -> None:
    if point == "keeping an exception":
        payment = payment.but(amount_minor=1, amount="0.01")
    model = database.model(Pay(payment))
    killed, waiting = database.rival(isolation, hold_at=point), database.rival(isolation)

    with database.holding() as holder:
        killed.act(Pay(payment))
        killed.until_waiting_for(holder)
        waiting.act(Pay(payment))
        waiting.until_waiting_for(killed)
        kill(database, killed)

    assert waiting.answer() == Pay(payment).predict(model)
    assert waiting.end("commit") == "commit"
    database.assert_as_if(model)


@under_every_isolation
def test_backend_killed_before_its_commit_leaves_nothing_and_the_waiting_delivery_applies(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel
) -> None:
    model = database.model(Pay(payment))
    killed, waiting = database.rival(isolation), database.rival(isolation)

    killed.act(Pay(payment))
    assert killed.answer() == "applied"
    waiting.act(Pay(payment))
    waiting.until_waiting_for(killed)
    kill(database, killed)

    assert waiting.answer() == Pay(payment).predict(model) == "applied"
    assert waiting.end("commit") == "commit"
    database.assert_as_if(model)


@under_every_isolation
def test_backend_killed_after_its_commit_is_replayed_without_writing_a_row(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel
) -> None:
    model = database.model(Pay(payment))
    killed = database.rival(isolation)
    killed.act(Pay(payment))
    assert killed.answer() == Pay(payment).predict(model)
    assert killed.end("commit") == "commit"
    kill(database, killed)
    before = fingerprint(database.observer)

    assert database.retry(Pay(payment), isolation) == "replayed"
    assert fingerprint(database.observer) == before
    database.assert_as_if(model)


def kill(database: RaceDatabase, rival: Rival) -> None:
    """Terminates a backend and waits until it is gone."""
    assert scalar(database.observer, "select pg_terminate_backend(%s, 10000)", rival.pid)


# a lock is not given


def test_payment_that_gets_no_lock_gives_up_by_itself_and_changes_nothing(database: RaceDatabase) -> None:
    """All at once, because each waits the function's own three seconds; the sessions themselves would wait for ever."""
    taken = database.shop.order_group().payment()
    obstructed: list[tuple[Payment, IsolationLevel]] = []
    before_locks: list[tuple[str, UUID]] = []
    for isolation in ISOLATIONS:
        by_group, by_order, by_event, by_payment = (database.shop.order_group() for _ in range(4))
        before_locks += [("order_groups", by_group.id), ("orders", by_order.order_ids[0])]
        obstructed += [(group.payment(), isolation) for group in (by_group, by_order)]
        obstructed.append((by_event.payment().but(event_id=taken.event_id), isolation))
        obstructed.append((by_payment.payment().but(payment_intent_id=taken.payment_intent_id), isolation))
    before = fingerprint(database.observer)

    with ExitStack() as locks:
        for table, key in before_locks:
            locks.enter_context(database.locked_row(f"select id from public.{table} where id = %s for update", key))
        holder = database.rival(IsolationLevel.READ_COMMITTED)
        holder.act(Pay(taken))
        assert holder.answer() == "applied"
        rivals = [database.rival(isolation) for _, isolation in obstructed]
        for rival, (payment, _) in zip(rivals, obstructed, strict=True):
            rival.connection.execute("set lock_timeout = 0")
            rival.act(Pay(payment))
        answers = [rival.answer() for rival in rivals]
        assert holder.end("rollback") == "rollback"

    assert answers == [LOCK_TIMEOUT] * len(rivals)
    assert [rival.end("rollback") for rival in rivals] == ["rollback"] * len(rivals)
    assert fingerprint(database.observer) == before
    payment, isolation = obstructed[0]
    assert database.retry(Pay(payment), isolation) == "applied"


# locks the wrong way round


@under_every_isolation
def test_groups_paid_in_opposite_product_order_do_not_wait_for_each_other(
    database: RaceDatabase, isolation: IsolationLevel
) -> None:
    first_product, second_product = database.shop.sellers[0].product_ids[:2]
    payments = [
        free_group(database, [first_product, second_product]).payment(),
        free_group(database, [second_product, first_product]).payment(),
    ]
    model = database.model(*map(Pay, payments))
    rivals = [database.rival(isolation, hold_at="committing an item") for _ in payments]

    with database.holding() as holder:
        for rival, payment in zip(rivals, payments, strict=True):
            rival.act(Pay(payment))
            rival.until_waiting_for(holder)  # each has written its first item's entry, and none of the second's

    # A serializable commit may be refused by the server, not by the function: both have read the same index pages.
    may_lose = isolation is IsolationLevel.SERIALIZABLE
    for rival, payment in zip(rivals, payments, strict=True):
        assert database.settle(rival, Pay(payment), may_lose=may_lose) == Pay(payment).predict(model) == "applied"
    database.assert_as_if(model)


def free_group(database: RaceDatabase, product_ids: Sequence[UUID]) -> OrderGroup:
    """A group that costs nothing, whose items are committed in this order of products."""
    group = database.shop.order_group([[]])
    for item_id, product_id in zip(sorted(uuid4() for _ in product_ids), product_ids, strict=True):
        assert AddItem(group.order_ids[0], product_id, item_id=item_id).perform(database.shop.service) == DONE
    return group


@under_every_isolation
@pytest.mark.parametrize("table", ["orders", "order_items"])
def test_editor_that_locked_a_child_before_the_group_gives_up_and_the_payment_goes_on(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, table: str
) -> None:
    edit = child_edit(group, table)
    model = database.model(Pay(payment))
    payer, editor = database.rival(isolation), database.rival(isolation, "postgres")

    lock_child(editor, group, table)
    payer.act(Pay(payment))
    payer.until_waiting_for(editor)
    editor.act(edit)
    assert editor.answer() == LOCK_TIMEOUT
    assert editor.end("rollback") == "rollback"

    assert payer.answer() == Pay(payment).predict(model)
    assert payer.end("commit") == "commit"
    database.assert_as_if(model)


def child_edit(group: OrderGroup, table: str) -> Action:
    if table == "orders":
        return EditOrderTotal(group.order_ids[0], Decimal(1))
    return RemoveItem(group.item_ids[0])


def lock_child(editor: Rival, group: OrderGroup, table: str) -> None:
    """What an editor does that reads its row `for update` and forgets the group."""
    key = group.order_ids[0] if table == "orders" else group.item_ids[0]
    editor.connection.execute(f"select from public.{table} where id = %s for update".encode(), [key])


@pytest.mark.parametrize("what", ["payment", "cancellation"])
def test_orders_are_locked_by_id(database: RaceDatabase, what: str) -> None:
    # The table holds the greater id first, so that whoever takes the rows as they come takes that one first.
    groups = (database.shop.order_group() for _ in range(100))
    group = next(each for each in groups if each.order_ids[0] > each.order_ids[1])
    greater, lesser = group.order_ids
    lock: LiteralString = "select id from public.orders where id = %s for update"
    action, answer = (Pay(group.payment()), "applied") if what == "payment" else (Cancel(group.id), "cancelled")
    actor, rival = (
        database.rival(IsolationLevel.READ_COMMITTED),
        database.rival(IsolationLevel.READ_COMMITTED, "postgres"),
    )

    rival.connection.execute(lock, [lesser])
    actor.act(action)
    actor.until_waiting_for(rival)
    rival.start(lambda connection: scalar(connection, lock, greater))

    assert not rival.until_waiting_or_done()
    assert rival.answer() == greater
    assert rival.end("rollback") == "rollback"
    assert actor.answer() == answer


def test_replay_does_not_wait_for_whoever_holds_the_group(
    database: RaceDatabase, group: OrderGroup, payment: Payment
) -> None:
    assert Pay(payment).perform(database.shop.service) == "applied"
    rival = database.rival(IsolationLevel.READ_COMMITTED, "postgres")

    rival.connection.execute("select from public.order_groups where id = %s for update", [group.id])
    payer = database.rival(IsolationLevel.READ_COMMITTED)
    payer.act(Pay(payment))

    assert not payer.until_waiting_or_done()
    assert payer.answer() == "replayed"


# an event and its case


@where_the_snapshot_is_fresh
def test_delivery_that_found_no_group_does_not_open_a_case_for_an_event_that_was_applied_meanwhile(
    database: RaceDatabase, isolation: IsolationLevel
) -> None:
    model = database.model()
    shopper = database.db.act_as("service_role", autocommit=False)
    shop = replace(database.shop, service=shopper)
    early, late = database.rival(isolation, hold_at="keeping an exception"), database.rival(isolation)

    with shopper, database.holding() as holder:
        shopper.execute("select 1")  # the group is made inside this transaction
        group = shop.order_group()
        payment = group.payment()
        early.act(Pay(payment))
        early.until_waiting_for(holder)
        expected = Pay(payment).predict(model)
        shopper.commit()
        model.adopt(database.observer, group.id)
        late.act(Pay(payment))
        late.until_waiting_or_done()
    assert early.answer() == expected == "rejected order_group_not_found"
    assert early.end("commit") == "commit"
    answer = database.settle(late, Pay(payment), may_lose=isolation is not IsolationLevel.READ_COMMITTED)

    assert answer == Pay(payment).predict(model) == "applied"
    database.assert_as_if(model)


@where_the_snapshot_is_fresh
@pytest.mark.parametrize(
    "spoilt",
    [
        {"amount_minor": 1, "amount": "0.01"},
        {"order_group_id": None, "unmatched_reason": "malformed_reference"},
    ],
)
def test_event_that_is_being_applied_gets_no_case_of_its_own_from_another_payload(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel, spoilt: dict[str, Any]
) -> None:
    other = database.shop.order_group().payment().but(event_id=payment.event_id, **spoilt)
    model = database.model(Pay(payment), Pay(other))
    applying, refusing = database.rival(isolation), database.rival(isolation)

    applying.act(Pay(payment))
    assert applying.answer() == Pay(payment).predict(model)
    refusing.act(Pay(other))
    refusing.until_waiting_or_done()
    assert applying.end("commit") == "commit"
    answer = database.settle(refusing, Pay(other), may_lose=isolation is not IsolationLevel.READ_COMMITTED)

    assert answer == Pay(other).predict(model) == "rejected event_collision"
    database.assert_as_if(model)
