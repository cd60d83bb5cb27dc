"""Two sessions meet at one order group: the second waits, and then decides as if they had come one after the other.

Each race is run under the three isolation levels, and each has its twin in which the first rolls back. Under the
stricter two the second may lose without a verdict (55P03); what it is told when it asks again is what counts here.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from psycopg import IsolationLevel

from sql_tests.actions import (
    DONE,
    Action,
    AddItem,
    AddOrder,
    Cancel,
    ChangeItem,
    EditGroupTotal,
    EditOrderTotal,
    Pay,
    RemoveItem,
    Resolve,
)
from sql_tests.model import CLOSED_ALREADY, FROZEN
from sql_tests.races import ENDS, ISOLATIONS, End, RaceDatabase
from testkit.payments import Payment
from testkit.shop import OrderGroup

pytestmark = pytest.mark.usefixtures("each_way")

Test = Callable[..., None]


def raced(test: Test) -> Test:
    """Under every isolation level, the first rival committing or rolling back."""
    test = pytest.mark.parametrize("end", ENDS)(test)
    return pytest.mark.parametrize("isolation", ISOLATIONS, ids=lambda level: level.name.lower())(test)


# events of one group


@raced
def test_second_delivery_waits_for_the_first_and_reports_replayed(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Pay(payment), Pay(payment), isolation, end)

    assert answers == ("applied", {"commit": "replayed", "rollback": "applied"}[end])


@raced
def test_twin_event_waits_for_its_sibling_and_reports_already_paid(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Pay(payment), Pay(payment.twin()), isolation, end)

    assert answers == ("applied", {"commit": "already_paid", "rollback": "applied"}[end])


@raced
def test_second_payment_waits_for_the_first_and_is_kept_as_a_duplicate(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Pay(payment), Pay(payment.rival()), isolation, end)

    assert answers == ("applied", {"commit": "rejected duplicate_payment", "rollback": "applied"}[end])


@raced
def test_second_delivery_of_a_rejected_event_only_counts_it_up(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    wrong = Pay(payment.but(amount_minor=1, amount="0.01"))

    answers = database.race(wrong, wrong, isolation, end)

    assert answers == ("rejected amount_mismatch",) * 2


@raced
def test_second_delivery_of_an_unmatched_event_only_counts_it_up(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    unmatched = Pay(payment.but(order_group_id=None, unmatched_reason="missing_reference"))

    answers = database.race(unmatched, unmatched, isolation, end)

    assert answers == ("unmatched missing_reference",) * 2


# one payment, two groups


@raced
@pytest.mark.parametrize("shared", ["payment_intent_id", "checkout_session_id"])
def test_payment_that_names_two_groups_pays_the_first_alone(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel, end: End, shared: str
) -> None:
    other = database.shop.order_group().payment()
    other = other.but(**{shared: getattr(payment, shared)})

    answers = database.race(Pay(payment), Pay(other), isolation, end)

    assert answers == ("applied", {"commit": "rejected payment_already_used", "rollback": "applied"}[end])


@raced
def test_event_id_that_names_two_groups_pays_the_first_and_is_a_collision_for_the_second(
    database: RaceDatabase, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    other = database.shop.order_group().payment().but(event_id=payment.event_id)

    answers = database.race(Pay(payment), Pay(other), isolation, end)

    assert answers == ("applied", {"commit": "rejected event_collision", "rollback": "applied"}[end])


# payment and cancellation


@raced
def test_cancellation_waits_for_the_payment_and_leaves_the_paid_group_alone(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Pay(payment), Cancel(group.id), isolation, end)

    assert answers == ("applied", {"commit": "rejected order_group_not_pending", "rollback": "cancelled"}[end])


@raced
def test_payment_waits_for_the_cancellation_and_does_not_revive_the_group(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(Cancel(group.id), Pay(payment), isolation, end)

    assert answers == ("cancelled", {"commit": "rejected order_group_not_payable", "rollback": "applied"}[end])


# payment and edits


@raced
def test_item_added_before_the_payment_is_committed_with_the_others(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    addition = AddItem(group.order_ids[0], database.shop.sellers[0].product_ids[0])

    answers = database.race(addition, Pay(payment), isolation, end)

    assert answers == (DONE, "applied")


@raced
def test_item_changed_before_the_payment_is_committed_as_changed(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(ChangeItem(group.item_ids[0], 9), Pay(payment), isolation, end)

    assert answers == (DONE, "applied")


@raced
def test_item_removed_before_the_payment_is_not_committed(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(RemoveItem(group.item_ids[0]), Pay(payment), isolation, end)

    assert answers == (DONE, "applied")


@raced
def test_empty_order_added_before_the_payment_makes_the_group_unpayable(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(AddOrder(group.id, database.shop.sellers[0].id), Pay(payment), isolation, end)

    assert answers == (DONE, {"commit": "rejected order_group_empty", "rollback": "applied"}[end])


@raced
def test_group_total_edited_before_the_payment_is_the_one_that_counts(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(EditGroupTotal(group.id, Decimal(1)), Pay(payment), isolation, end)

    assert answers == (DONE, {"commit": "rejected amount_mismatch", "rollback": "applied"}[end])


@raced
def test_order_total_edited_before_the_payment_makes_the_totals_inconsistent(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    answers = database.race(EditOrderTotal(group.order_ids[0], Decimal(1)), Pay(payment), isolation, end)

    assert answers == (DONE, {"commit": "rejected totals_inconsistent", "rollback": "applied"}[end])


EDITS: dict[str, Callable[[RaceDatabase, OrderGroup], Action]] = {
    "adding an item": lambda database, group: AddItem(group.order_ids[0], database.shop.sellers[0].product_ids[0]),
    "changing an item": lambda _, group: ChangeItem(group.item_ids[0], 9),
    "removing an item": lambda _, group: RemoveItem(group.item_ids[0]),
    "adding an order": lambda database, group: AddOrder(group.id, database.shop.sellers[0].id),
    "editing the group's total": lambda _, group: EditGroupTotal(group.id, Decimal(1)),
    "editing an order's total": lambda _, group: EditOrderTotal(group.order_ids[0], Decimal(1)),
}


@raced
@pytest.mark.parametrize("edit", EDITS)
def test_edit_waits_for_the_payment_and_finds_the_group_frozen(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End, edit: str
) -> None:
    answers = database.race(Pay(payment), EDITS[edit](database, group), isolation, end)

    assert answers == ("applied", {"commit": FROZEN, "rollback": DONE}[end])


# payment and people


@raced
def test_rejected_event_that_waits_for_the_corrected_total_is_applied(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    given: list[Action] = [EditGroupTotal(group.id, Decimal(1)), Pay(payment)]

    answers = database.race(EditGroupTotal(group.id, group.total_amount), Pay(payment), isolation, end, given=given)

    assert answers == (DONE, {"commit": "applied", "rollback": "rejected amount_mismatch"}[end])


@raced
def test_total_corrected_after_the_rejected_event_came_again_waits_for_its_next_delivery(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    given: list[Action] = [EditGroupTotal(group.id, Decimal(1)), Pay(payment)]

    answers = database.race(Pay(payment), EditGroupTotal(group.id, group.total_amount), isolation, end, given=given)

    assert answers == ("rejected amount_mismatch", DONE)
    assert database.retry(Pay(payment), isolation) == "applied"


def rejected_though_right(group: OrderGroup, payment: Payment) -> list[Action]:
    """The event was rejected, and its cause is gone since."""
    return [EditGroupTotal(group.id, Decimal(1)), Pay(payment), EditGroupTotal(group.id, group.total_amount)]


@raced
def test_payment_waits_for_the_operators_word_on_its_event_and_keeps_to_it(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    given = rejected_though_right(group, payment)

    answers = database.race(Resolve(str(payment.event_id)), Pay(payment), isolation, end, given=given)

    assert answers == ("resolved", {"commit": "resolved", "rollback": "applied"}[end])


@raced
def test_operator_waits_for_the_payment_and_finds_the_case_closed(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    given = rejected_though_right(group, payment)

    answers = database.race(Pay(payment), Resolve(str(payment.event_id)), isolation, end, given=given)

    assert answers == ("applied", {"commit": CLOSED_ALREADY, "rollback": "resolved"}[end])


@raced
def test_twin_event_waits_while_the_payment_is_sent_back_and_pays_nothing(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    given = rejected_though_right(group, payment)
    refund = Resolve(str(payment.event_id), "refunded")

    answers = database.race(refund, Pay(payment.twin()), isolation, end, given=given)

    assert answers == ("resolved", {"commit": "resolved", "rollback": "applied"}[end])


@raced
def test_two_operators_close_a_case_once(
    database: RaceDatabase, group: OrderGroup, payment: Payment, isolation: IsolationLevel, end: End
) -> None:
    given = rejected_though_right(group, payment)
    first, second = (Resolve(str(payment.event_id), resolution) for resolution in ("refunded", "dismissed"))

    answers = database.race(first, second, isolation, end, given=given)

    assert answers == ("resolved", {"commit": CLOSED_ALREADY, "rollback": "resolved"}[end])


def test_two_operators_close_a_case_without_a_group_once(database: RaceDatabase) -> None:
    group = database.shop.order_group()
    unmatched = group.payment().but(order_group_id=None, unmatched_reason="missing_reference")
    first, second = (Resolve(str(unmatched.event_id), resolution) for resolution in ("refunded", "dismissed"))

    answers = database.race(first, second, IsolationLevel.READ_COMMITTED, "commit", given=[Pay(unmatched)])

    assert answers == ("resolved", CLOSED_ALREADY)


def test_operators_word_on_a_case_that_names_another_group_comes_before_the_payment(database: RaceDatabase) -> None:
    """The group's lock does not part these two: what does is the lock of the case."""
    payment, cheaper = database.shop.order_group().payment(), database.shop.order_group([[(1, "1.00")]])
    elsewhere = Pay(payment.but(order_group_id=cheaper.id))
    refund = Resolve(str(payment.event_id), "refunded")

    answers = database.race(refund, Pay(payment), IsolationLevel.READ_COMMITTED, "commit", given=[elsewhere])

    assert answers == ("resolved", "resolved")


def test_event_that_waited_for_itself_with_another_amount_is_a_collision(database: RaceDatabase) -> None:
    payment = database.shop.order_group().payment()
    other = payment.but(amount_minor=1, amount="0.01")

    answers = database.race(Pay(payment), Pay(other), IsolationLevel.READ_COMMITTED, "commit")

    assert answers == ("applied", "rejected event_collision")
