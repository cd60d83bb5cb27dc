"""Two who record a payment's money at once come one after the other; a rollback leaves the other one free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import IsolationLevel

from sql_tests.races import ENDS, End, RaceDatabase
from testkit.database import Connection, scalar
from testkit.payments import Payment, reconcile
from testkit.refunds import Dispute, Refund, record
from testkit.shop import OrderGroup

pytestmark = pytest.mark.usefixtures("each_way")

READ_COMMITTED = IsolationLevel.READ_COMMITTED
Call = Callable[[Connection], Any]


def telling(told: Refund) -> Call:
    return lambda connection: _word(record(connection, told))


def paying(payment: Payment) -> Call:
    return lambda connection: _word(reconcile(connection, payment))


def resolving(payment: Payment) -> Call:
    """An operator closes the exception of the payment."""
    return lambda connection: scalar(
        connection,
        "select public.resolve_payment_exception(x.id, 'dismissed', 'ada') ->> 'resolved_by'"
        " from public.list_payment_exceptions('all') as x where x.payment_intent_id = %s",
        payment.payment_intent_id,
    )


def advancing(group: OrderGroup) -> Call:
    return lambda connection: _word(
        scalar(connection, "select public.advance_order(%s, 'fulfilled')", group.order_ids[0])
    )


def _word(answer: Any) -> str:
    return f"{answer['outcome']} {answer['reason'] or ''}".strip()


def race(database: RaceDatabase, first: Call, second: Call, end: End) -> tuple[str, str]:
    """The first has acted and its transaction is open; the second waits for it; then the first ends. Both answers."""
    broken = {row["subject"] for row in _broken(database)}
    one, other = database.rival(READ_COMMITTED), database.rival(READ_COMMITTED)
    one.start(first)
    answer = one.answer()
    other.start(second)
    other.until_waiting_for(one)
    one.end(end)
    late = other.answer()
    other.end("commit")
    database.dismiss()
    assert {row["subject"] for row in _broken(database)} <= broken
    return answer, late


def _broken(database: RaceDatabase) -> list[dict[str, Any]]:
    return database.observer.execute("select * from payments.broken_invariants()").fetchall()


def alone(database: RaceDatabase, call: Call) -> Any:
    rival = database.rival(READ_COMMITTED)
    rival.start(call)
    answer = rival.answer()
    rival.end("commit")
    database.dismiss()
    return answer


def state(database: RaceDatabase, group: OrderGroup) -> tuple[str, str, set[str]]:
    row = database.observer.execute(
        "select status, refunded_amount::text, array(select o.status from public.orders as o"
        " where o.order_group_id = g.id) as orders from public.order_groups as g where id = %s",
        [group.id],
    ).fetchone()
    assert row is not None
    return row["status"], row["refunded_amount"], set(row["orders"])


def standing(database: RaceDatabase, payment: Payment) -> list[str]:
    rows = database.observer.execute(
        "select coalesce(resolution || ' by ' || resolved_by, status) as standing from payments.exceptions"
        " where payment_intent_id = %s order by id",
        [payment.payment_intent_id],
    ).fetchall()
    return [row["standing"] for row in rows]


@pytest.mark.parametrize("end", ENDS)
def test_two_events_of_one_refund_are_recorded_one_after_the_other(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    alone(database, paying(payment))
    refund = Refund.of(payment)

    answers = race(database, telling(refund), telling(refund.then("pending")), end)

    assert answers == ("recorded", {"commit": "replayed", "rollback": "recorded"}[end])
    assert state(database, group)[0] == {"commit": "refunded", "rollback": "paid"}[end]


@pytest.mark.parametrize("end", ENDS)
def test_two_refunds_that_are_too_much_together_are_judged_one_after_the_other(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    alone(database, paying(payment))

    answers = race(database, telling(Refund.of(payment, 5000)), telling(Refund.of(payment, 5000)), end)

    assert answers == ("recorded", {"commit": "rejected exceeds_payment", "rollback": "recorded"}[end])
    assert state(database, group)[:2] == ("paid", "50.00")


@pytest.mark.parametrize("end", ENDS)
def test_payment_waits_for_its_refund(database: RaceDatabase, group: OrderGroup, payment: Payment, end: End) -> None:
    answers = race(database, telling(Refund.of(payment)), paying(payment), end)

    assert answers == ("recorded", {"commit": "resolved", "rollback": "applied"}[end])
    assert state(database, group)[0] == {"commit": "pending", "rollback": "paid"}[end]
    assert standing(database, payment) == {"commit": ["refunded by stripe"], "rollback": []}[end]


@pytest.mark.parametrize("end", ENDS)
def test_refund_waits_for_its_payment(database: RaceDatabase, group: OrderGroup, payment: Payment, end: End) -> None:
    answers = race(database, paying(payment), telling(Refund.of(payment)), end)

    assert answers == ("applied", "recorded")
    assert (
        state(database, group)
        == {
            "commit": ("refunded", "74.24", {"refunded"}),
            "rollback": ("pending", "0", {"pending"}),
        }[end]
    )
    if end == "rollback":
        assert alone(database, paying(payment)) == "resolved"


@pytest.mark.parametrize("end", ENDS)
def test_operators_word_on_the_second_payment_comes_before_its_refund_or_not_at_all(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    second = payment.rival()
    for one in (payment, second):
        alone(database, paying(one))

    answers = race(database, resolving(second), telling(Refund.of(second)), end)

    assert answers == ("ada", "recorded")
    assert standing(database, second) == [{"commit": "dismissed by ada", "rollback": "refunded by stripe"}[end]]
    assert state(database, group) == ("paid", "0", {"paid"})


@pytest.mark.parametrize("end", ENDS)
def test_operator_waits_for_the_refund_and_is_told_that_it_closed_the_case(
    database: RaceDatabase, payment: Payment, end: End
) -> None:
    second = payment.rival()
    for one in (payment, second):
        alone(database, paying(one))

    def resolve(connection: Connection) -> str:
        try:
            return str(resolving(second)(connection))
        except Exception as error:
            connection.rollback()
            return type(error).__name__

    answers = race(database, telling(Refund.of(second)), resolve, end)

    assert answers == ("recorded", {"commit": "ObjectNotInPrerequisiteState", "rollback": "ada"}[end])
    assert standing(database, second) == [{"commit": "refunded by stripe", "rollback": "dismissed by ada"}[end]]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("dispute_first", [True, False])
def test_dispute_and_refund_of_one_payment_take_turns(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End, dispute_first: bool
) -> None:
    alone(database, paying(payment))
    dispute, refund = telling(Dispute.of(payment)), telling(Refund.of(payment))
    first, second = (dispute, refund) if dispute_first else (refund, dispute)

    answers = race(database, first, second, end)

    assert answers == ("recorded", "recorded")
    both = end == "commit"
    assert state(database, group)[0] == ("refunded" if both or dispute_first else "paid")
    assert standing(database, payment) == (["open"] if both or not dispute_first else [])


@pytest.mark.parametrize("end", ENDS)
def test_dispute_waits_for_its_payment(database: RaceDatabase, payment: Payment, end: End) -> None:
    dispute = Dispute.of(payment)

    assert race(database, paying(payment), telling(dispute), end) == ("applied", "recorded")

    assert standing(database, payment) == {"commit": ["open"], "rollback": []}[end]


@pytest.mark.parametrize("end", ENDS)
def test_refund_takes_an_order_along_from_where_its_seller_has_just_moved_it(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    alone(database, paying(payment))
    refund = Refund.of(payment)

    answers = race(database, advancing(group), telling(refund), end)

    assert answers == ("moved", "recorded")
    assert state(database, group) == ("refunded", "74.24", {"refunded"})
    alone(database, telling(refund.then("failed")))
    assert state(database, group)[2] == {"commit": {"paid", "fulfilled"}, "rollback": {"paid"}}[end]


@pytest.mark.parametrize("end", ENDS)
def test_seller_waits_for_the_refund_that_takes_the_order_along(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    alone(database, paying(payment))

    answers = race(database, telling(Refund.of(payment)), advancing(group), end)

    assert answers == ("recorded", {"commit": "rejected order_status_moves_forward", "rollback": "moved"}[end])
    assert state(database, group)[2] == {"commit": {"refunded"}, "rollback": {"fulfilled", "paid"}}[end]


def test_refunds_of_different_payments_pass_each_other_by(database: RaceDatabase) -> None:
    payments = [database.shop.order_group().payment() for _ in range(2)]
    for payment in payments:
        alone(database, paying(payment))
    one, other = database.rival(READ_COMMITTED), database.rival(READ_COMMITTED)
    one.start(telling(Refund.of(payments[0])))
    assert one.answer() == "recorded"

    other.start(telling(Refund.of(payments[1])))

    assert not other.until_waiting_or_done()
    assert other.answer() == "recorded"
    for rival in (one, other):
        rival.end("commit")
