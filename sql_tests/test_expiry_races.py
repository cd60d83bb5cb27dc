"""Expiry, and the notice that funds are under way, beside payments, cancellations and edits of the same group.

Whoever comes second waits, except expiry itself: it leaves a group that somebody holds for its next run.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import IsolationLevel

from sql_tests.actions import DONE, Action, AddItem, Cancel, EditOrderTotal, Expire, Note, Pay, SetDeadline
from sql_tests.model import FROZEN
from sql_tests.races import ENDS, ISOLATIONS, End, RaceDatabase
from testkit.payments import Payment
from testkit.shop import OrderGroup

Test = Callable[..., None]
ONE, NONE, PASSED = "expired 1, left 0", "expired 0, left 0", "expired 0, left 1"


def raced(test: Test) -> Test:
    """Under every isolation level, the first rival committing or rolling back."""
    test = pytest.mark.parametrize("end", ENDS)(test)
    return pytest.mark.parametrize("isolation", ISOLATIONS, ids=lambda level: level.name.lower())(test)


# expiry comes first


@raced
def test_payment_waits_for_the_expiry_and_does_not_revive_the_group(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    given = [SetDeadline(group.id)]

    answers = database.race(Expire(group.id), Pay(payment), isolation, end, given=given)

    assert answers == (ONE, {"commit": "rejected order_group_not_payable", "rollback": "applied"}[end])


@raced
def test_cancellation_waits_for_the_expiry_and_finds_it_done(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Expire(group.id), Cancel(group.id), isolation, end, given=[SetDeadline(group.id)])

    assert answers == (ONE, {"commit": "already_cancelled", "rollback": "cancelled"}[end])


@raced
def test_notice_waits_for_the_expiry_and_is_ignored(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Expire(group.id), Note(group.id), isolation, end, given=[SetDeadline(group.id)])

    assert answers == (ONE, {"commit": "ignored order_group_not_pending", "rollback": "noted"}[end])


EDITS: dict[str, Callable[[RaceDatabase, OrderGroup], Action]] = {
    "adding an item": lambda database, group: AddItem(group.order_ids[0], database.shop.sellers[0].product_ids[0]),
    "editing an order's total": lambda _, group: EditOrderTotal(group.order_ids[0], group.total_amount),
    "giving it more time": lambda _, group: SetDeadline(group.id, has_passed=False),
}


@raced
@pytest.mark.parametrize("edit", EDITS)
def test_edit_waits_for_the_expiry_and_finds_the_group_frozen(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End, edit: str
) -> None:
    given = [SetDeadline(group.id)]

    answers = database.race(Expire(group.id), EDITS[edit](database, group), isolation, end, given=given)

    assert answers == (ONE, {"commit": FROZEN, "rollback": DONE}[end])
    database.shop.service.execute("select public.expire_order_groups()")


# expiry comes second


@raced
def test_expiry_passes_a_payment_by_and_leaves_the_paid_group_alone(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.pass_by(Pay(payment), Expire(group.id), isolation, end, given=[SetDeadline(group.id)])

    assert answers == ("applied", PASSED, {"commit": NONE, "rollback": ONE}[end])


@raced
def test_expiry_passes_a_cancellation_by(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End
) -> None:
    answers = database.pass_by(Cancel(group.id), Expire(group.id), isolation, end, given=[SetDeadline(group.id)])

    assert answers == ("cancelled", PASSED, {"commit": NONE, "rollback": ONE}[end])


@raced
def test_expiry_passes_a_notice_by_and_leaves_the_group_that_awaits_funds_alone(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End
) -> None:
    answers = database.pass_by(Note(group.id), Expire(group.id), isolation, end, given=[SetDeadline(group.id)])

    assert answers == ("noted", PASSED, {"commit": NONE, "rollback": ONE}[end])


@raced
@pytest.mark.parametrize("edit", EDITS)
def test_expiry_passes_an_edit_by(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End, edit: str
) -> None:
    given = [SetDeadline(group.id)]
    is_put_off = edit == "giving it more time" and end == "commit"

    answers = database.pass_by(EDITS[edit](database, group), Expire(group.id), isolation, end, given=given)

    assert answers == (DONE, PASSED, NONE if is_put_off else ONE)


@raced
def test_two_runs_pass_each_other_by(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End
) -> None:
    answers = database.pass_by(Expire(group.id), Expire(group.id), isolation, end, given=[SetDeadline(group.id)])

    assert answers == (ONE, PASSED, {"commit": NONE, "rollback": ONE}[end])


# funds under way


@raced
def test_payment_waits_for_the_notice_and_is_applied(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Note(group.id), Pay(payment), isolation, end)

    assert answers == ("noted", "applied")


@raced
def test_notice_waits_for_the_payment_and_is_ignored(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Pay(payment), Note(group.id), isolation, end)

    assert answers == ("applied", {"commit": "ignored order_group_not_pending", "rollback": "noted"}[end])


@raced
def test_cancellation_waits_for_the_notice_and_cancels(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Note(group.id), Cancel(group.id), isolation, end)

    assert answers == ("noted", "cancelled")


@raced
def test_end_of_another_session_waits_for_the_notice_and_leaves_the_group_alone(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Note(group.id), Cancel(group.id, ended_another=True), isolation, end)

    awaited = "rejected order_group_awaits_another_session"
    assert answers == ("noted", {"commit": awaited, "rollback": "cancelled"}[end])


@raced
def test_payment_waits_for_the_end_of_its_session_and_is_set_aside(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Cancel(group.id, ended_another=True), Pay(payment), isolation, end)

    assert answers == ("cancelled", {"commit": "rejected order_group_not_payable", "rollback": "applied"}[end])


@raced
def test_notice_waits_for_the_cancellation_and_is_ignored(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Cancel(group.id), Note(group.id), isolation, end)

    assert answers == ("cancelled", {"commit": "ignored order_group_not_pending", "rollback": "noted"}[end])


@raced
def test_second_notice_waits_for_the_first_and_writes_nothing(
    database: RaceDatabase, group: OrderGroup, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Note(group.id), Note(group.id), isolation, end)

    assert answers == ("noted", {"commit": "already_noted", "rollback": "noted"}[end])
