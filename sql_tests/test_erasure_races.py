"""An erasure and a payment that meet wait for each other, and nothing that was to be erased stays."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest
from psycopg import IsolationLevel

from sql_tests.races import ENDS, ISOLATIONS, End, RaceDatabase
from sql_tests.session_metadata import erase, pay, places, unmatched
from testkit.database import Connection, Row, scalar
from testkit.payments import Payment, reconcile
from testkit.shop import OrderGroup


def told(call: Callable[[Connection], Row]) -> Callable[[Connection], str]:
    def answer(connection: Connection) -> str:
        try:
            return str(call(connection)["outcome"])
        except psycopg.Error as error:
            return str(error.sqlstate)

    return answer


def race(
    database: RaceDatabase,
    isolation: IsolationLevel,
    end: End,
    first: Callable[[Connection], Row],
    second: Callable[[Connection], Row],
) -> tuple[str, str]:
    """The first has acted, the second waits for it and acts once it has ended; again where that took its verdict."""
    one, other = database.rival(IsolationLevel.READ_COMMITTED), database.rival(isolation)
    one.start(told(first))
    answers = [one.answer()]
    other.begin()
    other.start(told(second))
    other.until_waiting_for(one)
    assert one.end(end) == end
    answer = other.answer()
    lost = answer in {"40001", "55P03"} or other.end("commit") == "40001"
    if lost:
        assert (end, isolation is IsolationLevel.READ_COMMITTED) == ("commit", False)
        other.connection.rollback()
        answer = told(second)(database.shop.service)
    database.dismiss()
    return answers[0], answer


LATE: dict[str, Callable[[OrderGroup], Payment]] = {
    "applied": OrderGroup.payment,
    "rejected": lambda group: group.payment().but(amount_minor=1, amount="0.01"),
    "unmatched": lambda group: unmatched(group, "conflicting_references", str(group.id)),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("first", "isolation"),
    [("payment", IsolationLevel.READ_COMMITTED), *(("erasure", isolation) for isolation in ISOLATIONS)],
)
@pytest.mark.parametrize("outcome", LATE)
@pytest.mark.parametrize("status", ["pending", "cancelled"])
def test_erasure_and_payment_wait_for_each_other_and_no_metadata_stay(
    database: RaceDatabase, isolation: IsolationLevel, end: End, outcome: str, first: str, status: str
) -> None:
    group = database.shop.order_group()
    said = f"{uuid4()}@example.test"
    payment = LATE[outcome](group)
    payment = payment.but(session_metadata={"email": said} | (payment.session_metadata or {}))
    if status == "cancelled":
        scalar(database.shop.service, "select public.cancel_order_group(%s)", group.id)
    expected = {
        "erasure": "erased",
        "payment": "rejected" if (outcome, status) == ("applied", "cancelled") else outcome,
    }
    calls: dict[str, Callable[[Connection], Row]] = {
        "erasure": lambda connection: erase(connection, group.id),
        "payment": lambda connection: reconcile(connection, payment),
    }
    second = "payment" if first == "erasure" else "erasure"

    answers = race(database, isolation, end, calls[first], calls[second])

    assert answers == (expected[first], expected[second])
    kept = (first, end) == ("erasure", "rollback")
    assert bool(places(database.observer, said)) is kept
    words = scalar(
        database.observer, "select count(*) from payments.metadata_erasures as e where e.order_group_id = %s", group.id
    )
    assert words == (0 if kept else 1)
    database.assert_sound()


@pytest.mark.parametrize("isolation", ISOLATIONS[1:])
def test_erasure_that_would_overlook_a_rival_is_refused(database: RaceDatabase, isolation: IsolationLevel) -> None:
    group = database.shop.order_group()
    eraser = database.rival(isolation)

    with pytest.raises(psycopg.errors.InvalidTransactionState):
        erase(eraser.connection, group.id)

    assert eraser.end("rollback") == "rollback"
    database.dismiss()


@pytest.mark.parametrize("end", ENDS)
def test_two_erasures_at_once_leave_one_word(database: RaceDatabase, end: End) -> None:
    group = database.shop.order_group()
    pay(database.shop.service, group.payment(), "applied", said := f"{uuid4()}@example.test")

    answers = race(
        database,
        IsolationLevel.READ_COMMITTED,
        end,
        lambda connection: erase(connection, group.id, "ada"),
        lambda connection: erase(connection, group.id, "kim"),
    )

    assert answers == ("erased", "erased")
    word = "select erased_by from payments.metadata_erasures where order_group_id = %s"
    assert database.observer.execute(word, [group.id]).fetchall() == [
        {"erased_by": "ada" if end == "commit" else "kim"}
    ]
    assert places(database.observer, said) == {}


@pytest.mark.parametrize("end", ENDS)
def test_erasure_waits_for_the_event_that_moves_its_metadata_among_the_former_reasons(
    database: RaceDatabase, end: End
) -> None:
    group, other = database.shop.order_group(), database.shop.order_group()
    said = f"{uuid4()}@example.test"
    first = pay(database.shop.service, group.payment().but(currency="eur"), "rejected currency_mismatch", said)
    moved = first.but(order_group_id=other.id, session_metadata={})

    answers = race(
        database,
        IsolationLevel.READ_COMMITTED,
        end,
        lambda connection: reconcile(connection, moved),
        lambda connection: erase(connection, group.id),
    )

    assert answers == ("rejected", "erased")
    assert places(database.observer, said) == {}
