"""Random histories of several order groups at once: the database does what the model foretells, step by step.

`MODEL_EXAMPLES` and `MODEL_STEPS` make it longer; the default takes the same histories on every machine.
"""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sql_tests.actions import (
    DONE,
    Action,
    AddItem,
    AddOrder,
    Advance,
    Cancel,
    ChangeItem,
    Claim,
    Create,
    EditGroupTotal,
    EditTotals,
    Erase,
    Expire,
    GiveBack,
    GiveUp,
    Move,
    Note,
    Pay,
    PayTogether,
    RemoveItem,
    Resolve,
    SendBack,
    SetDeadline,
    attempt,
)
from sql_tests.model import CENTLESS, Model, fingerprint
from testkit.database import Connection, Database, scalar
from testkit.invariants import broken_invariants
from testkit.payments import Payment, reconcile
from testkit.previewed import preview
from testkit.refunds import Refund
from testkit.shop import OrderGroup, Shop, open_shop

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "40"))
STEPS = int(os.environ.get("MODEL_STEPS", "30"))
CURRENCIES = {"USD": ("0.05", "19.99"), "JPY": ("1", "1200"), "KWD": ("0.010", "3.250"), "ISK": ("5", "990")}
QUANTITIES = st.integers(1, 4)
# Place of the seller, place of the product, quantity.
BASKETS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), QUANTITIES), min_size=1, max_size=3)
SHAPES = st.tuples(st.sampled_from(sorted(CURRENCIES)), QUANTITIES, QUANTITIES, st.integers(1, 2))
MOST_ORDERS = 4
WITHOUT_A_TRACE = {
    "replayed",
    "already_cancelled",
    "already_created",
    "already_noted",
    "already_refunded",
    "expired 0, left 0",
}
SPOILT: dict[str, dict[str, Any]] = {
    "amount": {"amount_minor": 100, "amount": "1.00"},
    "minor units alone": {"amount_minor": 1},
    "no amount": {"amount_minor": None, "amount": None},
    "currency": {"currency": "eur"},
    "unknown currency": {"currency": "xyz"},
    "no reference": {"order_group_id": None, "unmatched_reason": "missing_reference"},
    "another account": {"order_group_id": None, "unmatched_reason": "foreign_account", "account": "acct_another"},
}


class Marketplace(RuleBasedStateMachine):
    """One shop with fresh groups a history; all histories share one database, and none may disturb another."""

    superuser: ClassVar[Connection]
    owner: ClassVar[Connection]
    service: ClassVar[Connection]

    groups = Bundle("groups")
    payments = Bundle("payments")

    def __init__(self) -> None:
        super().__init__()
        self.shop: Shop = open_shop(self.superuser, self.service, products=2)
        self.refunds: list[SendBack] = []
        self.model = Model()
        self.sent_back: set[str] = set()
        self.requests: list[Create] = []
        self.superuser.execute("analyze")  # or the invariants are planned for the empty tables of the beginning
        attempt(self.service, Expire())  # what other histories have left
        self.broken_before = broken_invariants(self.superuser)

    def do(self, action: Action) -> str:
        """Performs and predicts; what is answered as a replay or a resolved case must not have written a row.

        Of a payment the preview, asked before, has told the answer.
        """
        before = fingerprint(self.superuser)
        told = preview(self.service, [action.payment]) if isinstance(action, Pay) else []
        answer = attempt(self.service if action.actor == "service_role" else self.owner, action)
        assert answer == action.predict(self.model)
        assert all(answer == f"{one['outcome']} {one['reason'] or ''}".strip() for one in told)
        if (
            answer in WITHOUT_A_TRACE
            or (answer == "resolved" and isinstance(action, Pay))
            or (answer.startswith("rejected") and isinstance(action, Advance | GiveBack | GiveUp))
        ):
            assert fingerprint(self.superuser) == before
        return answer

    # groups

    @initialize(target=groups)
    def start_with_two_groups(self) -> Any:
        return multiple(self.make(("USD", 2, 1, 1)), self.make(("JPY", 1, 2, 2)))

    @rule(target=groups, shape=SHAPES)
    def create(self, shape: tuple[str, int, int, int]) -> OrderGroup:
        return self.make(shape)

    def make(self, shape: tuple[str, int, int, int], *, is_guests: bool = False) -> OrderGroup:
        currency, first, second, orders = shape
        small, large = CURRENCIES[currency]
        group = self.shop.order_group([[(first, small), (second, large)]] * orders, currency=currency)
        if is_guests:
            self.superuser.execute(
                "update public.order_groups set buyer_id = null, buyer_since = null where id = %s", [group.id]
            )
        self.model.adopt(self.superuser, group.id)
        return group

    @rule(target=groups, shape=SHAPES)
    def create_for_a_guest(self, shape: tuple[str, int, int, int]) -> OrderGroup:
        return self.make(shape, is_guests=True)

    @rule(group=groups, by_the_buyer=st.booleans())
    def claim(self, group: OrderGroup, by_the_buyer: bool) -> None:
        self.do(Claim(group.id, self.shop.buyer_id if by_the_buyer else self.shop.stranger_id))

    @rule(group=groups)
    def erase(self, group: OrderGroup) -> None:
        self.do(Erase(group.id))

    @rule(target=groups, currency=st.sampled_from(sorted(CURRENCIES)), lines=BASKETS, promises=st.booleans())
    def ask_for_a_group(
        self, currency: str, lines: list[tuple[int, int, int]], promises: bool
    ) -> OrderGroup | MultipleResults[OrderGroup]:
        """Into the groups that all other rules pay, edit and cancel, where there is stock for it."""
        self.requests.append(asked := Create(self.shop, currency, tuple(lines), promises))
        if self.do(asked) != "created":
            return multiple()
        return OrderGroup(
            id=asked.group_id,
            buyer_id=self.shop.buyer_id,
            currency=currency,
            total_amount=Decimal(len(lines)),
            order_ids=tuple(self.model.orders_of(asked.group_id)),
            item_ids=tuple(self.model.items_of(asked.group_id)),
        )

    @precondition(lambda self: self.requests)
    @rule(number=st.integers(0, 9), promises=st.booleans())
    def ask_again(self, number: int, promises: bool) -> None:
        asked = self.requests[number % len(self.requests)]
        self.do(asked if promises else replace(asked, promises=False))

    @rule(group=groups, difference=st.sampled_from([Decimal(1), Decimal(7)]))
    def edit_totals(self, group: OrderGroup, difference: Decimal) -> None:
        self.do(EditTotals(group.id, group.order_ids[-1], difference))

    @rule(group=groups, right=st.booleans())
    def edit_group_total_alone(self, group: OrderGroup, right: bool) -> None:
        total = sum((order.total for order in self.model.orders_of(group.id).values()), Decimal(0))
        self.do(EditGroupTotal(group.id, total if right else total + 10))

    @rule(group=groups, quantity=QUANTITIES, place=st.integers(0, 1))
    def add_item(self, group: OrderGroup, quantity: int, place: int) -> None:
        seller_id = scalar(self.superuser, "select seller_id from public.orders where id = %s", group.order_ids[0])
        (seller,) = (seller for seller in self.shop.sellers if seller.id == seller_id)
        self.do(AddItem(group.order_ids[0], seller.product_ids[place], quantity))

    @rule(group=groups, paid_between=st.booleans())
    def add_order_and_fill_it(self, group: OrderGroup, paid_between: bool) -> None:
        order = AddOrder(group.id, self.shop.sellers[1].id)
        if len(self.model.orders_of(group.id)) < MOST_ORDERS and self.do(order) == DONE:
            if paid_between:
                self.send(self.right_payment(group))
            self.do(AddItem(order.order_id, self.shop.sellers[1].product_ids[0]))

    @rule(group=groups, quantity=QUANTITIES, number=st.integers(0, 9))
    def change_item(self, group: OrderGroup, quantity: int, number: int) -> None:
        items = sorted(self.model.items_of(group.id))
        if items:
            self.do(ChangeItem(items[number % len(items)], quantity))

    @rule(group=groups, number=st.integers(0, 9))
    def remove_item(self, group: OrderGroup, number: int) -> None:
        items = sorted(self.model.items_of(group.id))
        if items:
            self.do(RemoveItem(items[number % len(items)]))

    @rule(group=groups)
    def cancel(self, group: OrderGroup) -> None:
        self.do(Cancel(group.id))

    @rule(group=groups, has_passed=st.booleans())
    def set_deadline(self, group: OrderGroup, has_passed: bool) -> None:
        self.do(SetDeadline(group.id, has_passed))

    @rule(group=groups)
    def note_awaiting_funds(self, group: OrderGroup) -> None:
        self.do(Note(group.id))

    @rule()
    def expire(self) -> None:
        self.do(Expire())

    @rule(shape=SHAPES, awaits_funds=st.booleans(), paid_late=st.booleans())
    def abandon(self, shape: tuple[str, int, int, int], awaits_funds: bool, paid_late: bool) -> None:
        group = self.make(shape)
        self.do(SetDeadline(group.id))
        if awaits_funds:
            self.do(Note(group.id))
        self.do(Expire())
        if paid_late:
            self.send(self.right_payment(group))

    # payments

    @rule(target=payments, group=groups)
    def pay(self, group: OrderGroup) -> Payment:
        """The right amount of the moment; on a paid group this is a rival's second payment."""
        return self.send(self.right_payment(group))

    @rule(target=payments, shape=SHAPES, twin=st.booleans())
    def buy_at_once(self, shape: tuple[str, int, int, int], twin: bool) -> Payment:
        payment = self.send(self.right_payment(self.make(shape)))
        return self.send(payment.twin()) if twin else payment

    @rule(target=payments, group=groups)
    def set_right_and_pay(self, group: OrderGroup) -> Payment:
        self.edit_group_total_alone(group, right=True)
        return self.send(self.right_payment(group))

    @rule(target=payments, shape=SHAPES, fault=st.sampled_from(sorted(SPOILT)), replayed=st.booleans())
    def buy_wrongly(self, shape: tuple[str, int, int, int], fault: str, replayed: bool) -> Payment:
        payment = self.send(self.right_payment(self.make(shape)).but(**SPOILT[fault]))
        return self.send(payment) if replayed else payment

    @rule(target=payments, shape=SHAPES)
    def buy_with_a_wrong_total_that_is_corrected(self, shape: tuple[str, int, int, int]) -> Payment:
        group = self.make(shape)
        payment = self.right_payment(group)
        self.edit_group_total_alone(group, right=False)
        self.send(payment)
        self.edit_group_total_alone(group, right=True)
        return payment

    @rule(target=payments, group=groups, fault=st.sampled_from(sorted(SPOILT)))
    def pay_wrongly(self, group: OrderGroup, fault: str) -> Payment:
        return self.send(self.right_payment(group).but(**SPOILT[fault]))

    @rule(payment=payments)
    def replay(self, payment: Payment) -> None:
        self.send(payment)

    @rule(target=payments, payment=payments)
    def send_twin(self, payment: Payment) -> Payment:
        return self.send(payment.twin())

    @rule(target=payments, payment=payments)
    def send_rival(self, payment: Payment) -> Payment:
        return self.send(payment.rival())

    @rule(
        target=payments,
        payment=payments,
        group=groups,
        what=st.sampled_from(["event_id", "payment_intent_id", "checkout_session_id"]),
    )
    def reuse_for_a_group(self, payment: Payment, group: OrderGroup, what: str) -> Payment:
        # An id that comes with another group before it was processed: see the test of its case below.
        if what == "event_id" and payment.event_id not in self.model.events:
            what = "checkout_session_id"
        return self.send(self.right_payment(group).but(**{what: getattr(payment, what)}))

    @rule(payment=payments, resolution=st.sampled_from(["refunded", "fixed_by_hand", "dismissed"]))
    def resolve(self, payment: Payment, resolution: str) -> None:
        if payment.event_id in self.model.cases:
            self.do(Resolve(payment.event_id, resolution))

    @rule(
        target=payments,
        paid_for=st.lists(groups, min_size=1, max_size=3),
        known=st.lists(payments, max_size=2),
        fault=st.sampled_from(sorted(SPOILT)),
        turned=st.booleans(),
    )
    def send_together(
        self, paid_for: list[OrderGroup], known: list[Payment], fault: str, turned: bool
    ) -> MultipleResults[Payment]:
        """Groups may be named twice, and payments come with their replays and twins."""
        right = [self.right_payment(group) for group in paid_for]
        sent = [
            right[0].but(event_id=f"evt_{uuid4().hex}", **SPOILT[fault]),
            *known,
            *right,
            *(p.twin() for p in known),
        ]
        if turned:
            sent.reverse()
        answers = self.do(PayTogether(tuple(sent))).split(", ")
        self.sent_back |= {str(p.event_id) for p, answer in zip(sent, answers, strict=True) if answer == "resolved"}
        return multiple(*sent)

    def right_payment(self, group: OrderGroup) -> Payment:
        total = self.model.groups[group.id].total
        exponent = {"JPY": 0, "KWD": 3}.get(group.currency, 2)
        return group.payment().but(
            amount_minor=int(total.scaleb(exponent)),
            amount=format(total, "f"),
            session_metadata={"order_group_id": str(group.id), "source": "web"},
        )

    def send(self, payment: Payment) -> Payment:
        if self.do(Pay(payment)) == "resolved":
            self.sent_back.add(str(payment.event_id))
        return payment

    # goods that come back

    @rule(group=groups, number=st.integers(0, 9), quantities=st.lists(QUANTITIES, min_size=1, max_size=2))
    def give_back(self, group: OrderGroup, number: int, quantities: list[int]) -> None:
        items = sorted(self.model.items_of(group.id))
        if items:
            lines = {items[(number + place) % len(items)]: quantity for place, quantity in enumerate(quantities)}
            self.do(GiveBack(group.id, tuple(lines.items())))

    @rule(group=groups, another=groups)
    def give_back_items_of_another_group(self, group: OrderGroup, another: OrderGroup) -> None:
        if items := sorted(self.model.items_of(another.id)):
            self.do(GiveBack(group.id, ((items[0], 1),)))

    @rule(group=groups, number=st.integers(0, 3), goods_return=st.booleans())
    def give_up(self, group: OrderGroup, number: int, goods_return: bool) -> None:
        self.do(GiveUp(group.order_ids[number % len(group.order_ids)], goods_return))

    @rule(group=groups, status=st.sampled_from(["fulfilled", "shipped", "delivered"]))
    def advance(self, group: OrderGroup, status: str) -> None:
        self.do(Advance(group.order_ids[0], status))

    @rule(shape=SHAPES, goods_return=st.booleans(), quantity=QUANTITIES, is_up_first=st.booleans())
    def buy_and_send_back(
        self, shape: tuple[str, int, int, int], goods_return: bool, quantity: int, is_up_first: bool
    ) -> None:
        group = self.make(shape)
        self.send(self.right_payment(group))
        actions: list[Action] = [
            GiveBack(group.id, ((group.item_ids[0], quantity), (group.item_ids[-1], 1))),
            GiveUp(group.order_ids[0], goods_return),
        ]
        for action in reversed(actions) if is_up_first else actions:
            self.do(action)
        self.do(actions[0])

    # money that goes back

    @rule(group=groups, share=st.sampled_from([2, 1]), status=st.sampled_from(["pending", "succeeded"]))
    def refund(self, group: OrderGroup, share: int, status: str) -> None:
        """What is left of the payment, or half of it."""
        known = self.model.groups[group.id]
        unit = CENTLESS.get(known.currency, 1)
        room = known.total_minor - known.minor_back("pending", "requires_action", "succeeded")
        minor = room // share // unit * unit
        if known.paid_by and known.paid_by.payment_intent_id and minor:
            self.refunds.append(SendBack(group.id, Refund.of(known.paid_by, minor, status=status)))
            self.do(self.refunds[-1])

    @precondition(lambda self: self.refunds)
    @rule(number=st.integers(0, 9), status=st.sampled_from(["requires_action", "succeeded", "failed", "canceled"]))
    def refund_goes_on(self, number: int, status: str) -> None:
        sent = self.refunds[-1 - number % len(self.refunds)]
        self.do(replace(sent, refund=sent.refund.then(status)))

    @rule(shape=SHAPES, is_given_up=st.booleans(), is_shipped=st.booleans(), fails=st.booleans())
    def buy_and_refund(
        self, shape: tuple[str, int, int, int], is_given_up: bool, is_shipped: bool, fails: bool
    ) -> None:
        """Its orders go along from wherever they are, and back if the refund fails."""
        group = self.make(shape)
        self.send(self.right_payment(group))
        if is_shipped:
            self.do(Advance(group.order_ids[0], "fulfilled"))
        if is_given_up:
            self.do(GiveUp(group.order_ids[-1]))
        self.refund(group, share=1, status="succeeded")
        if fails:
            self.refund_goes_on(number=0, status="failed")

    # stock

    @rule(place=st.integers(0, 1), quantity=QUANTITIES)
    def receive(self, place: int, quantity: int) -> None:
        self.do(Move(self.shop.sellers[place].product_ids[0], quantity))

    @rule(place=st.integers(0, 1), quantity=st.sampled_from([-3, -1, 2]))
    def adjust(self, place: int, quantity: int) -> None:
        self.do(Move(self.shop.sellers[place].product_ids[0], quantity, "adjustment"))

    # after each step

    @invariant()
    def database_is_as_the_model_says(self) -> None:
        assert self.model.observe(self.superuser) == self.model.world()

    @invariant()
    def nothing_is_broken(self) -> None:
        assert [row for row in broken_invariants(self.superuser) if row not in self.broken_before] == []

    @invariant()
    def no_event_is_lost(self) -> None:
        """Each event that was sent was processed, or is kept for a person, or belongs to money that was sent back."""
        kept = self.model.events.keys() | self.model.cases.keys() | self.sent_back
        assert self.model.tried <= kept


def test_histories_of_many_order_groups_follow_the_model(db: Database) -> None:
    with db.connect() as superuser, db.connect("postgres") as owner, db.act_as("service_role") as service:
        Marketplace.superuser, Marketplace.owner, Marketplace.service = superuser, owner, service

        run_state_machine_as_test(
            Marketplace,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )


@pytest.mark.parametrize(
    "first", [{"order_group_id": None, "unmatched_reason": "missing_reference"}, {"order_group_id": UUID(int=7)}]
)
def test_case_names_the_group_and_the_payment_that_its_reason_is_about(
    service: Connection, superuser: Connection, shop: Shop, first: dict[str, Any]
) -> None:
    """The reference was not understood at first; a newer relay sends the same event with its group."""
    payment = shop.order_group().payment().but(amount_minor=1, amount="0.01")
    reconcile(service, payment.but(**first))

    assert reconcile(service, payment)["reason"] == "amount_mismatch"

    case = superuser.execute("select * from payments.exceptions").fetchone()
    assert case is not None
    assert (case["reason"], case["order_group_id"]) == ("amount_mismatch", payment.order_group_id)
