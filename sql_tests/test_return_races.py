"""Goods that come back, orders that are given up and orders that move on: each sees what the other did.

The second waits for the group's lock, or for the order's, and decides on what it finds then. Both functions run under
read committed alone.
"""

from __future__ import annotations

import pytest
from psycopg import IsolationLevel

from sql_tests.actions import Advance, Cancel, GiveBack, GiveUp, Pay
from sql_tests.model import Model
from sql_tests.races import ENDS, ISOLATIONS, End, RaceDatabase
from testkit.payments import Payment
from testkit.shop import OrderGroup

READ_COMMITTED = IsolationLevel.READ_COMMITTED
raced = pytest.mark.parametrize("end", ENDS)


def most(group: OrderGroup) -> GiveBack:
    """All five pieces of the last item, and one of the first."""
    return GiveBack(group.id, ((group.item_ids[4], 5), (group.item_ids[0], 1)))


@raced
def test_second_return_waits_for_the_first_and_brings_no_piece_back_twice(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    answers = database.race(most(group), most(group), READ_COMMITTED, end, given=[Pay(payment)])

    assert answers == ("returned", {"commit": "rejected exceeds_commit", "rollback": "returned"}[end])


@raced
def test_second_return_of_what_is_left_waits_and_takes_its_part(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    first, second = (GiveBack(group.id, ((group.item_ids[4], quantity),)) for quantity in (2, 3))

    answers = database.race(first, second, READ_COMMITTED, end, given=[Pay(payment)])

    assert answers == ("returned", "returned")


@raced
def test_order_that_is_given_up_waits_for_a_return_and_brings_back_the_rest(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    partly = GiveBack(group.id, ((group.item_ids[4], 2),))

    answers = database.race(partly, GiveUp(group.order_ids[1]), READ_COMMITTED, end, given=[Pay(payment)])

    assert answers == ("returned", "refunded")


@raced
def test_return_waits_for_the_order_that_is_given_up_and_finds_its_goods_back(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    answers = database.race(GiveUp(group.order_ids[1]), most(group), READ_COMMITTED, end, given=[Pay(payment)])

    assert answers == ("refunded", {"commit": "rejected exceeds_commit", "rollback": "returned"}[end])


@raced
def test_order_is_given_up_by_one_of_two(database: RaceDatabase, group: OrderGroup, payment: Payment, end: End) -> None:
    given_up = GiveUp(group.order_ids[0])

    answers = database.race(given_up, given_up, READ_COMMITTED, end, given=[Pay(payment)])

    assert answers == ("refunded", {"commit": "already_refunded", "rollback": "refunded"}[end])


@raced
def test_two_orders_of_a_group_are_given_up_one_after_the_other(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    first, second = (GiveUp(order) for order in group.order_ids)

    answers = database.race(first, second, READ_COMMITTED, end, given=[Pay(payment)])

    assert answers == ("refunded", "refunded")


# the seller's progress


@raced
def test_order_that_is_given_up_waits_for_its_step_and_is_refunded_from_there(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    order = group.order_ids[0]

    answers = database.race(Advance(order), GiveUp(order), READ_COMMITTED, end, given=[Pay(payment)])

    assert answers == ("moved", "refunded")
    from_status = database.observer.execute(
        "select from_status from public.order_status_changes where order_id = %s and to_status = 'refunded'", [order]
    ).fetchall()
    assert from_status == [{"from_status": {"commit": "fulfilled", "rollback": "paid"}[end]}]


@raced
def test_step_waits_for_the_order_that_is_given_up_and_is_not_taken(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    order = group.order_ids[0]

    answers = database.race(GiveUp(order), Advance(order), READ_COMMITTED, end, given=[Pay(payment)])

    assert answers == (
        "refunded",
        {"commit": "rejected order_status_moves_forward", "rollback": "moved"}[end],
    )


@raced
def test_another_sellers_order_moves_on_while_one_is_given_up(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    first, second = group.order_ids
    database.alone(Pay(payment), model := database.model(Pay(payment)))

    assert not waits_for(database, GiveUp(first), Advance(second), model, end)


@raced
def test_step_of_an_order_does_not_wait_for_goods_that_come_back(
    database: RaceDatabase, group: OrderGroup, payment: Payment, end: End
) -> None:
    database.alone(Pay(payment), model := database.model(Pay(payment)))

    assert not waits_for(database, most(group), Advance(group.order_ids[1]), model, end)


def waits_for(database: RaceDatabase, first: GiveBack | GiveUp, second: Advance, model: Model, end: End) -> bool:
    """Whether the second waits while the first's transaction is open; both are then as the model says."""
    one, other = database.rival(READ_COMMITTED), database.rival(READ_COMMITTED)
    one.act(first)
    answers = [one.answer()]
    other.act(second)
    waited = other.until_waiting_or_done()
    assert one.end(end) == end
    answers.append(other.answer())
    assert other.end("commit") == "commit"
    assert answers == [first.predict(model if end == "commit" else model.copy()), second.predict(model)]
    database.assert_as_if(model)
    database.dismiss()
    return waited


# the payment


@pytest.mark.parametrize("isolation", ISOLATIONS, ids=lambda level: level.name.lower())
@pytest.mark.parametrize("what", ["goods", "an order"])
@raced
def test_another_event_of_the_payment_waits_and_changes_nothing_of_what_came_back(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, what: str, end: End
) -> None:
    given_back = most(group) if what == "goods" else GiveUp(group.order_ids[1], group_id=group.id)
    model = database.model(Pay(payment))
    database.alone(Pay(payment), model)
    one, other = database.rival(READ_COMMITTED), database.rival(isolation)

    one.act(given_back)
    first = one.answer()
    other.act(Pay(payment.twin()))
    other.until_waiting_for(one)
    assert one.end(end) == end
    second = other.answer()
    assert other.end("commit") == "commit"

    assert first == given_back.predict(model if end == "commit" else model.copy())
    model.tried |= database.model().tried
    assert second == "already_paid"
    database.assert_sound()
    database.dismiss()


@raced
@pytest.mark.parametrize("what", ["goods", "an order"])
def test_what_comes_back_waits_for_the_payment(
    database: RaceDatabase, group: OrderGroup, payment: Payment, what: str, end: End
) -> None:
    given_back = most(group) if what == "goods" else GiveUp(group.order_ids[1], group_id=group.id)

    answers = database.race(Pay(payment), given_back, READ_COMMITTED, end)

    done = "returned" if what == "goods" else "refunded"
    assert answers == ("applied", {"commit": done, "rollback": "rejected order_group_not_paid"}[end])


@raced
@pytest.mark.parametrize("what", ["goods", "an order"])
def test_payment_waits_for_whoever_wanted_goods_back_too_early_and_is_applied(
    database: RaceDatabase, group: OrderGroup, payment: Payment, what: str, end: End
) -> None:
    given_back = most(group) if what == "goods" else GiveUp(group.order_ids[1], group_id=group.id)

    answers = database.race(given_back, Pay(payment), READ_COMMITTED, end)

    assert answers == ("rejected order_group_not_paid", "applied")


@raced
def test_order_that_is_given_up_waits_for_the_cancellation_of_its_group(
    database: RaceDatabase, group: OrderGroup, end: End
) -> None:
    answers = database.race(Cancel(group.id), GiveUp(group.order_ids[0], group_id=group.id), READ_COMMITTED, end)

    assert answers == ("cancelled", "rejected order_group_not_paid")
