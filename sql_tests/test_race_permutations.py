"""Whatever the order of two or three sessions' steps, the outcome is that of some order one after another.

`PERMUTATIONS=all` runs all of them, some minutes; the default is a fixed sample that takes each scenario under each
isolation level.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from itertools import product

import pytest
from psycopg import IsolationLevel

from sql_tests.actions import Action, AddItem, Cancel, EditGroupTotal, EditOrderTotal, Pay, RemoveItem, Resolve
from sql_tests.interleavings import Schedule, run_interleaving, schedules
from sql_tests.races import ENDS, ISOLATIONS, End, RaceDatabase
from testkit.payments import Payment
from testkit.shop import OrderGroup

SAMPLE = 2  # of each scenario under each isolation level
THREE_SESSIONS_STRIDE = 14  # of 1680 orders; a step that shares no factor with the 3 sessions' symmetry


@dataclass(frozen=True, slots=True)
class Scene:
    """What the sessions do, and what has come before them."""

    actions: tuple[Action, ...]
    given: tuple[Action, ...] = ()


Scenario = Callable[[RaceDatabase, OrderGroup], Scene]


def same_event(_: RaceDatabase, group: OrderGroup) -> Scene:
    payment = group.payment()
    return Scene((Pay(payment), Pay(payment)))


def same_wrong_event(_: RaceDatabase, group: OrderGroup) -> Scene:
    payment = group.payment().but(amount_minor=1, amount="0.01")
    return Scene((Pay(payment), Pay(payment)))


def twin_events(_: RaceDatabase, group: OrderGroup) -> Scene:
    payment = group.payment()
    return Scene((Pay(payment), Pay(payment.twin())))


def two_payments(_: RaceDatabase, group: OrderGroup) -> Scene:
    payment = group.payment()
    return Scene((Pay(payment), Pay(payment.rival())))


def one_payment_for_two_groups(database: RaceDatabase, group: OrderGroup) -> Scene:
    payment = group.payment()
    other = database.shop.order_group().payment().but(payment_intent_id=payment.payment_intent_id)
    return Scene((Pay(payment), Pay(other)))


def one_event_id_for_two_groups(database: RaceDatabase, group: OrderGroup) -> Scene:
    payment = group.payment()
    return Scene((Pay(payment), Pay(database.shop.order_group().payment().but(event_id=payment.event_id))))


def payment_and_cancellation(_: RaceDatabase, group: OrderGroup) -> Scene:
    return Scene((Pay(group.payment()), Cancel(group.id)))


def payment_and_added_item(database: RaceDatabase, group: OrderGroup) -> Scene:
    return Scene((Pay(group.payment()), AddItem(group.order_ids[0], database.shop.sellers[0].product_ids[0])))


def payment_and_removed_item(_: RaceDatabase, group: OrderGroup) -> Scene:
    return Scene((Pay(group.payment()), RemoveItem(group.item_ids[0])))


def payment_and_group_total(_: RaceDatabase, group: OrderGroup) -> Scene:
    return Scene((Pay(group.payment()), EditGroupTotal(group.id, Decimal(1))))


def payment_and_order_total(_: RaceDatabase, group: OrderGroup) -> Scene:
    return Scene((Pay(group.payment()), EditOrderTotal(group.order_ids[0], Decimal(1))))


def rejected_though_right(group: OrderGroup, payment: Payment) -> tuple[Action, ...]:
    """The event was rejected, and its cause is gone since."""
    return EditGroupTotal(group.id, Decimal(1)), Pay(payment), EditGroupTotal(group.id, group.total_amount)


def payment_and_resolution(_: RaceDatabase, group: OrderGroup) -> Scene:
    payment = group.payment()
    return Scene((Pay(payment), Resolve(str(payment.event_id))), given=rejected_though_right(group, payment))


def twin_and_refund(_: RaceDatabase, group: OrderGroup) -> Scene:
    payment = group.payment()
    refund = Resolve(str(payment.event_id), "refunded")
    return Scene((Pay(payment.twin()), refund), given=rejected_though_right(group, payment))


def payment_twin_and_cancellation(_: RaceDatabase, group: OrderGroup) -> Scene:
    payment = group.payment()
    return Scene((Pay(payment), Pay(payment.twin()), Cancel(group.id)))


SCENARIOS: dict[Scenario, int] = {
    same_event: 2,
    same_wrong_event: 2,
    twin_events: 2,
    two_payments: 2,
    one_payment_for_two_groups: 2,
    one_event_id_for_two_groups: 2,
    payment_and_cancellation: 2,
    payment_and_added_item: 2,
    payment_and_removed_item: 2,
    payment_and_group_total: 2,
    payment_and_order_total: 2,
    payment_and_resolution: 2,
    twin_and_refund: 2,
    payment_twin_and_cancellation: 3,
}


@dataclass(frozen=True, slots=True)
class Permutation:
    scenario: Scenario
    isolation: IsolationLevel
    ends: tuple[End, ...]
    order: Schedule

    def __str__(self) -> str:
        steps = "".join("ABC"[session] for session in self.order)
        ends = "".join(end[0] for end in self.ends)
        return f"{self.scenario.__name__}-{self.isolation.name.lower()}-{steps}-{ends}"


def permutations_of(scenario: Scenario, isolation: IsolationLevel) -> list[Permutation]:
    sessions = SCENARIOS[scenario]
    orders = list(schedules(sessions))[:: 1 if sessions == 2 else THREE_SESSIONS_STRIDE]
    ends: list[tuple[End, ...]] = list(product(ENDS, repeat=sessions)) if sessions == 2 else [(ENDS[0],) * sessions]
    return [Permutation(scenario, isolation, end, order) for end, order in product(ends, orders)]


def chosen() -> list[Permutation]:
    """All, or those whose names hash lowest: the same ones on every machine."""
    found: list[Permutation] = []
    for scenario, isolation in product(SCENARIOS, ISOLATIONS):
        everything = permutations_of(scenario, isolation)
        everything.sort(key=lambda one: sha256(str(one).encode()).digest())
        found += everything if os.environ.get("PERMUTATIONS") == "all" else everything[:SAMPLE]
    return found


@pytest.mark.parametrize("permutation", chosen(), ids=str)
def test_interleaving_ends_as_some_order_one_after_another_would(
    database: RaceDatabase, permutation: Permutation
) -> None:
    scene = permutation.scenario(database, database.shop.order_group())
    before = database.model(*scene.actions, *scene.given)
    for action in scene.given:
        database.alone(action, before)

    run_interleaving(database, before, scene.actions, permutation.ends, permutation.isolation, permutation.order)


def test_permutations_are_many_enough() -> None:
    assert sum(len(permutations_of(*pair)) for pair in product(SCENARIOS, ISOLATIONS)) >= 300
