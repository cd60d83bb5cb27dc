"""Payments that are sent together meet others: what a rival holds is deferred, at once, and the others go on.

A batch as it is raced here is what the relay makes of it: what was deferred is sent alone afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from time import monotonic
from typing import LiteralString

import pytest
from psycopg import IsolationLevel

from sql_tests.actions import (
    DONE,
    Action,
    Cancel,
    ChangeItem,
    EditGroupTotal,
    EditOrderTotal,
    Expire,
    Pay,
    PayTogether,
    SetDeadline,
)
from sql_tests.model import FROZEN, fingerprint
from sql_tests.races import ENDS, HOLDING_POINTS, End, RaceDatabase, Rival
from testkit.database import Connection, Row, scalar
from testkit.payments import Payment, reconcile, reconcile_together
from testkit.refunds import Refund, record
from testkit.shop import OrderGroup

READ_COMMITTED = IsolationLevel.READ_COMMITTED
DEADLOCK_TIMEOUT = 1.0  # seconds, the server's default: until then nobody looks for a deadlock


@pytest.fixture
def groups(database: RaceDatabase) -> list[OrderGroup]:
    """In the order in which a batch locks them."""
    return sorted((database.shop.order_group() for _ in range(4)), key=lambda group: group.id)


@pytest.fixture
def payments(groups: list[OrderGroup]) -> list[Payment]:
    return [group.payment() for group in groups]


def together(*payments: Payment) -> Callable[[Connection], list[str]]:
    """The outcomes of one call, and nothing alone after it."""
    return lambda connection: [answer["outcome"] for answer in reconcile_together(connection, payments)]


# a rival with the second of two payments, or with both


@dataclass(frozen=True, slots=True)
class Opponent:
    """What somebody does beside a batch, and both answers: behind a commit, and behind a rollback."""

    act: Callable[[list[OrderGroup], list[Payment]], Action]
    after_the_batch: dict[End, str]
    batch_after_it: dict[End, str]
    answer: str


BOTH = "applied, applied"
OPPONENTS = {
    "the payment alone": Opponent(
        lambda _, payments: Pay(payments[1]),
        {"commit": "replayed", "rollback": "applied"},
        {"commit": "applied, replayed", "rollback": BOTH},
        "applied",
    ),
    "a batch in the opposite order": Opponent(
        lambda _, payments: PayTogether((payments[1].twin(), payments[0].twin())),
        {"commit": "already_paid, already_paid", "rollback": BOTH},
        {"commit": "already_paid, already_paid", "rollback": BOTH},
        BOTH,
    ),
    "a cancellation": Opponent(
        lambda groups, _: Cancel(groups[1].id),
        {"commit": "rejected order_group_not_pending", "rollback": "cancelled"},
        {"commit": "applied, rejected order_group_not_payable", "rollback": BOTH},
        "cancelled",
    ),
    "an edit of an item": Opponent(
        lambda groups, _: ChangeItem(groups[1].item_ids[0], 9),
        {"commit": FROZEN, "rollback": DONE},
        {"commit": BOTH, "rollback": BOTH},
        DONE,
    ),
    "an edit of an order": Opponent(
        lambda groups, _: EditOrderTotal(groups[1].order_ids[0], Decimal(1)),
        {"commit": FROZEN, "rollback": DONE},
        {"commit": "applied, rejected totals_inconsistent", "rollback": BOTH},
        DONE,
    ),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("opponent", OPPONENTS)
def test_whoever_comes_after_a_batch_waits_for_it(
    database: RaceDatabase, groups: list[OrderGroup], payments: list[Payment], opponent: str, end: End
) -> None:
    it = OPPONENTS[opponent]

    answers = database.race(PayTogether(tuple(payments[:2])), it.act(groups, payments), READ_COMMITTED, end)

    assert answers == (BOTH, it.after_the_batch[end])


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("opponent", OPPONENTS)
def test_batch_that_comes_second_ends_as_its_payments_would_alone(
    database: RaceDatabase, groups: list[OrderGroup], payments: list[Payment], opponent: str, end: End
) -> None:
    it = OPPONENTS[opponent]

    answers = database.race(it.act(groups, payments), PayTogether(tuple(payments[:2])), READ_COMMITTED, end)

    assert answers == (it.answer, it.batch_after_it[end])


@pytest.mark.parametrize("end", ENDS)
def test_batch_that_comes_after_an_expiry_revives_no_group(
    database: RaceDatabase, groups: list[OrderGroup], payments: list[Payment], end: End
) -> None:
    batch = PayTogether(tuple(payments[:2]))

    answers = database.race(Expire(groups[1].id), batch, READ_COMMITTED, end, given=[SetDeadline(groups[1].id)])

    late = {"commit": "applied, rejected order_group_not_payable", "rollback": BOTH}
    assert answers == ("expired 1, left 0", late[end])


@pytest.mark.parametrize("end", ENDS)
def test_expiry_leaves_the_groups_of_a_batch_alone(
    database: RaceDatabase, groups: list[OrderGroup], payments: list[Payment], end: End
) -> None:
    batch = PayTogether(tuple(payments[:2]))

    answers = database.pass_by(batch, Expire(groups[1].id), READ_COMMITTED, end, given=[SetDeadline(groups[1].id)])

    again = {"commit": "expired 0, left 0", "rollback": "expired 1, left 0"}
    assert answers == (BOTH, "expired 0, left 1", again[end])


# a lock that somebody holds


def locking(query: LiteralString) -> Callable[[Connection, Payment, Payment], object]:
    return lambda connection, payment, _: connection.execute(query, payment.parameters()).fetchall()


# What somebody holds who is at work on the same payment, or on another one of another group.
HOLDERS: dict[str, Callable[[Connection, Payment, Payment], object]] = {
    "the group": locking("select id from public.order_groups where id = %(p_order_group_id)s for update"),
    "an order": locking("select id from public.orders where order_group_id = %(p_order_group_id)s limit 1 for update"),
    "its exception": locking(
        "select id from payments.exceptions where stripe_event_id = %(p_stripe_event_id)s for update"
    ),
    "the event": locking("select pg_advisory_xact_lock(hashtextextended(%(p_stripe_event_id)s, 0))"),
    "the payment intent": locking("select pg_advisory_xact_lock(hashtextextended(%(p_payment_intent_id)s, 1))"),
    "the session": lambda connection, payment, another: reconcile(
        connection, another.but(checkout_session_id=payment.checkout_session_id)
    ),
}


@pytest.mark.parametrize("held", HOLDERS)
def test_payment_whose_lock_is_held_is_deferred_and_the_others_are_applied_at_once(
    database: RaceDatabase, groups: list[OrderGroup], payments: list[Payment], held: str
) -> None:
    given: list[Action] = [EditGroupTotal(groups[1].id, Decimal(1)), Pay(payments[1])]
    given.append(EditGroupTotal(groups[1].id, groups[1].total_amount))
    model = database.model(*map(Pay, payments))
    for action in given:
        database.alone(action, model)
    holder = database.rival(READ_COMMITTED, "postgres")

    HOLDERS[held](holder.connection, payments[1], payments[3])
    answers = reconcile_together(database.shop.service, payments[:3])

    assert [answer["outcome"] for answer in answers] == ["applied", "deferred", "applied"]
    assert answers[1] == {
        "outcome": "deferred",
        "reason": None,
        "order_group_id": str(groups[1].id),
        "stripe_event_id": payments[1].event_id,
        "orders_paid": 0,
        "ledger_entries": 0,
        "sqlstate": "55P03",
    }
    assert [model.pay(payments[0]), model.pay(payments[2])] == ["applied"] * 2
    database.assert_as_if(model)
    assert holder.end("rollback") == "rollback"
    assert database.retry(Pay(payments[1]), READ_COMMITTED) == model.pay(payments[1]) == "applied"
    database.assert_as_if(model)


def test_batch_of_held_groups_ends_before_anybody_looks_for_a_deadlock(database: RaceDatabase) -> None:
    groups = sorted((database.shop.order_group([[(1, "1.00")]]) for _ in range(32)), key=lambda group: group.id)
    payments = [group.payment() for group in groups]
    holder = database.rival(READ_COMMITTED, "postgres")
    holder.connection.execute(
        "select id from public.order_groups where id = any(%s) for update", [[group.id for group in groups[:31]]]
    )

    begun = monotonic()
    outcomes = together(*payments)(database.shop.service)
    took = monotonic() - begun

    assert outcomes == ["deferred"] * 31 + ["applied"]
    assert took < DEADLOCK_TIMEOUT


def test_groups_are_locked_by_id_in_whatever_order_the_payments_stand(
    database: RaceDatabase, groups: list[OrderGroup], payments: list[Payment]
) -> None:
    """One that names no group itself stands where the group of its metadata does, whose row it shares; others last."""
    named = payments[0].but(
        order_group_id=None,
        unmatched_reason="missing_reference",
        session_metadata={"order_group_id": str(groups[0].id).upper()},
    )
    nameless = payments[3].but(
        order_group_id=None, unmatched_reason="missing_reference", session_metadata={}, event_id="evt_b"
    )
    batch = (nameless, nameless.rival().but(event_id="evt_a"), payments[2], payments[1], named)
    answers = ["unmatched", "unmatched", "applied", "applied", "unmatched"]
    in_turn = [named.event_id, payments[1].event_id, payments[2].event_id, "evt_a", "evt_b"]
    seen: list[list[str]] = []
    rival = database.rival(READ_COMMITTED)

    with ExitStack() as sessions:
        sessions.enter_context(each_event_held_by_its_own_lock(database.observer))
        sessions.callback(database.clear)
        holders = [sessions.enter_context(database.db.connect()) for _ in in_turn]
        for holder, event_id in zip(holders, in_turn, strict=True):
            holder.execute("select pg_advisory_lock(hashtextextended(%s, 7))", [event_id])
        rival.start(together(*batch))
        for holder in holders:
            rival.until_waiting_for(holder.info.backend_pid)
            seen.append(free(database, groups))
            holder.execute("select pg_advisory_unlock_all()")
        assert rival.answer() == answers
        assert rival.end("rollback") == "rollback"

    ids = [str(group.id) for group in groups]
    assert seen == [ids[1:], ids[2:], ids[3:], ids[3:], ids[3:]]


@contextmanager
def each_event_held_by_its_own_lock(superuser: Connection) -> Iterator[None]:
    """Whoever keeps an event, or its exception, waits for the lock that bears the event's id."""
    superuser.execute(
        """
        create function public.tg_turn() returns trigger language plpgsql set lock_timeout = 0 as $$
        begin
            perform pg_advisory_xact_lock(
                hashtextextended(coalesce(to_jsonb(new) ->> 'stripe_event_id', to_jsonb(new) ->> 'id'), 7)
            );
            return new;
        end $$;
        create trigger turn before insert on payments.stripe_events
        for each row execute function public.tg_turn();
        create trigger turn before insert on payments.exceptions
        for each row execute function public.tg_turn()
        """
    )
    try:
        yield
    finally:
        superuser.execute("drop function public.tg_turn() cascade")


def free(database: RaceDatabase, groups: list[OrderGroup]) -> list[str]:
    """The groups that nobody has locked."""
    rows = database.observer.execute(
        "select id::text from public.order_groups where id = any(%s) order by id for update skip locked",
        [[group.id for group in groups]],
    ).fetchall()
    return [row["id"] for row in rows]


# locks the wrong way round


@pytest.mark.parametrize("end", ENDS)
def test_batches_whose_events_name_each_others_groups_defer_what_would_be_a_deadlock(
    database: RaceDatabase, payments: list[Payment], end: End
) -> None:
    first, second = payments[0], payments[2]
    crossing = [(first, payments[1].but(event_id=second.event_id)), (second, payments[3].but(event_id=first.event_id))]
    model = database.model(*map(Pay, payments))
    rivals = [database.rival(READ_COMMITTED, hold_at="recording the event") for _ in crossing]

    with database.holding() as holder:
        for rival, batch in zip(rivals, crossing, strict=True):
            rival.start(together(*batch))
            rival.until_waiting_for(holder)  # each has its first event, and wants the other's for its second payment

    for rival, batch in zip(rivals, crossing, strict=True):
        assert rival.answer() == ["applied", "deferred"]
        if end == "commit":
            model.pay(batch[0])
    for rival in rivals:
        assert rival.end(end) == end
    for _, deferred in crossing:
        expected = {"commit": "rejected event_collision", "rollback": "applied"}[end]
        assert database.retry(Pay(deferred), READ_COMMITTED) == Pay(deferred).predict(model) == expected
    database.assert_as_if(model)


@pytest.mark.parametrize("end", ENDS)
def test_editor_who_forgot_the_group_goes_on_once_its_payment_is_deferred(
    database: RaceDatabase, groups: list[OrderGroup], payments: list[Payment], end: End
) -> None:
    """The batch is not over yet, but it has let go of the group."""
    editor, batch = database.rival(READ_COMMITTED, "postgres"), database.rival(READ_COMMITTED)
    edit = EditOrderTotal(groups[1].order_ids[0], Decimal(1))
    model = database.model(*map(Pay, payments))

    editor.connection.execute("select from public.orders where id = %s for update", [edit.order_id])
    batch.start(together(*payments[:3]))
    assert batch.answer() == ["applied", "deferred", "applied"]
    editor.act(edit)

    assert not editor.until_waiting_or_done()
    assert editor.answer() == edit.predict(model) == DONE
    assert editor.end("commit") == "commit"
    assert batch.end(end) == end
    if end == "commit":
        PayTogether((payments[0], payments[2])).predict(model)
    database.assert_as_if(model)


@pytest.mark.parametrize("end", ENDS)
def test_refund_that_waits_for_a_group_of_the_batch_is_given_its_payment_intent(
    database: RaceDatabase, groups: list[OrderGroup], payments: list[Payment], end: End
) -> None:
    """The refund has the intent and wants the group that it has paid; the batch has the group and wants the intent."""
    paid, other = payments[0], payments[1].but(payment_intent_id=payments[0].payment_intent_id)
    assert database.retry(Pay(paid), READ_COMMITTED) == "applied"
    batch, refunding = database.rival(READ_COMMITTED, hold_at="recording the event"), database.rival(READ_COMMITTED)

    with database.holding() as holder:
        batch.start(together(paid.twin().but(payment_intent_id=None), other))
        batch.until_waiting_for(holder)
        refunding.start(lambda connection: record(connection, Refund.of(paid)))
        refunding.until_waiting_for(batch)
    assert batch.answer() == ["already_paid", "deferred"]
    assert batch.end(end) == end

    told: Row = refunding.answer()
    assert (told["outcome"], told["order_group_id"]) == ("recorded", str(groups[0].id))
    assert refunding.end("commit") == "commit"
    status = "select status from public.order_groups where id = %s"
    assert scalar(database.observer, status, groups[0].id) == "refunded"
    assert database.retry(Pay(other), READ_COMMITTED) == "rejected payment_already_used"
    database.dismiss()


# a backend dies


@pytest.mark.parametrize("point", HOLDING_POINTS)
def test_backend_killed_in_the_middle_of_a_batch_leaves_nothing_of_any_payment(
    database: RaceDatabase, payments: list[Payment], point: str
) -> None:
    """It is held in its second payment; the first is done, as an exception or as a paid group."""
    wrong = 1 if point == "keeping an exception" else 0
    payments[wrong] = payments[wrong].but(amount_minor=1, amount="0.01")
    batch = PayTogether(tuple(payments[:3]))
    model = database.model(batch)
    killed, waiting = database.rival(READ_COMMITTED, hold_at=point), database.rival(READ_COMMITTED)
    before = fingerprint(database.observer)

    with database.holding() as holder:
        killed.act(batch)
        killed.until_waiting_for(holder)
        waiting.act(Pay(payments[0]))
        waiting.until_waiting_for(killed)
        kill(database, killed)
        assert killed.answer() in {"57P01", "connection lost"}

    assert waiting.answer() == Pay(payments[0]).predict(model.copy())
    assert waiting.end("rollback") == "rollback"
    assert fingerprint(database.observer) == before
    assert database.retry(batch, READ_COMMITTED) == batch.predict(model)
    database.assert_as_if(model)


def kill(database: RaceDatabase, rival: Rival) -> None:
    """Terminates a backend and waits until it is gone."""
    assert scalar(database.observer, "select pg_terminate_backend(%s, 10000)", rival.pid)
