"""All orders in which a payment, its refunds and its dispute can arrive, against a model of their own.

`MONEY_BACK_EXAMPLES` makes the random histories more; the default takes the same ones on every machine.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sql_tests.money_back import DISPUTE_RANKS, PARTS, REFUND_RANKS, TOTAL, Money, State, Step
from testkit.database import Connection, Database, scalar
from testkit.invariants import broken_invariants
from testkit.payments import EXPONENTS, Payment, reconcile
from testkit.refunds import Dispute, Refund, record
from testkit.shop import OrderGroup, Shop, open_shop

EXAMPLES = int(os.environ.get("MONEY_BACK_EXAMPLES", "150"))
# Steps that are taken in every order.
SETS: dict[str, tuple[str, list[Step]]] = {
    "parts of it, one of which fails, and a seller at work": (
        "USD",
        ["pay A", "ship", "600 of A succeeded", "400 of A succeeded", "400 of A failed"],
    ),
    "all of it step by step": (
        "JPY",
        ["pay A", "all of A pending", "all of A requires_action", "all of A succeeded", "all of A canceled"],
    ),
    "the second payment": (
        "KWD",
        ["pay A", "pay B", "all of B succeeded", "all of B failed", "600 of A succeeded"],
    ),
    "both payments": ("USD", ["pay A", "pay B", "all of A succeeded", "all of B succeeded", "all of B failed"]),
    "more than was paid": ("USD", ["pay A", "600 of A succeeded", "500 of A pending", "500 of A canceled"]),
    "a dispute": ("USD", ["pay A", "dispute needs_response", "dispute under_review", "dispute lost", "dispute won"]),
    "an inquiry": (
        "JPY",
        ["pay A", "dispute warning_needs_response", "dispute warning_closed", "dispute needs_response", "dispute lost"],
    ),
    "a dispute and a refund": (
        "KWD",
        ["pay A", "dispute needs_response", "all of A succeeded", "dispute won", "all of A failed"],
    ),
}

# The group, what went back, the shipped order, each exception: in how many of the orders it ends so. Where a set has
# more than one end, a payment came when its money had all gone back, or what came first left no room for the rest.
ENDS: dict[str, dict[str, int]] = {
    "parts of it, one of which fails, and a seller at work": {
        "paid 600 fulfilled; ": 52,
        "paid 600 paid; ": 58,
        "pending 0 pending; A payment_refunded open": 10,
    },
    "all of it step by step": {
        "paid 0 paid; ": 100,
        "pending 0 pending; A payment_refunded open": 20,
    },
    "the second payment": {
        "paid 0 paid; A duplicate_payment open": 45,
        "paid 0 paid; A order_group_not_payable open": 5,
        "paid 600 paid; B duplicate_payment open": 60,
        "paid 600 paid; B payment_refunded open": 10,
    },
    "both payments": {
        "paid 0 paid; A duplicate_payment refunded by stripe": 45,
        "paid 0 paid; A order_group_not_payable refunded by stripe": 5,
        "paid 0 paid; A payment_refunded refunded by stripe": 17,
        "pending 0 pending; A payment_refunded refunded by stripe, B payment_refunded open": 10,
        "refunded 1000 refunded; B duplicate_payment open": 20,
        "refunded 1000 refunded; B order_group_not_payable open": 20,
        "refunded 1000 refunded; B payment_refunded open": 3,
    },
    "more than was paid": {
        "paid 0 paid; 600 of A exceeds_payment open": 2,  # it came after the payment, and comes again
        "paid 600 paid; ": 18,
        "paid 600 paid; 500 of A exceeds_payment reconciled by record_refund": 2,
        "paid 600 paid; 600 of A exceeds_payment reconciled by record_refund": 2,
    },
    "a dispute": {
        "paid 0 paid; dispute payment_disputed dismissed by stripe": 120,
    },
    "an inquiry": {
        "paid 0 paid; dispute payment_disputed open": 120,
    },
    "a dispute and a refund": {
        "paid 0 paid; dispute payment_disputed dismissed by stripe": 100,
        "pending 0 pending; A payment_refunded open, dispute payment_disputed dismissed by stripe": 20,
    },
}


@dataclass
class Stage:
    superuser: Connection
    service: Connection
    shop: Shop


@pytest.fixture(scope="module")
def stage(module_db: Database) -> Iterator[Stage]:
    with module_db.connect() as superuser, module_db.act_as("service_role") as service:
        yield Stage(superuser, service, open_shop(superuser, service))


class Play:
    """One order of the steps, on a group of its own."""

    def __init__(self, stage: Stage, currency: str) -> None:
        self.stage = stage
        unit = Decimal(1).scaleb(-EXPONENTS.get(currency, 2))
        self.group: OrderGroup = stage.shop.order_group(
            [[(1, str(600 * unit))], [(1, str(400 * unit))]], currency=currency
        )
        first = self.group.payment()
        self.payments: dict[str, Payment] = {"A": first, "B": first.rival()}
        assert first.amount_minor == TOTAL
        begin = datetime(2026, 11, 2, tzinfo=UTC)
        self.refunds = {
            name: Refund.of(self.payments[name[-1]], minor, created=begin + timedelta(hours=place))
            for place, (name, minor) in enumerate(sorted(PARTS.items()))
        }
        self.dispute = Dispute.of(first)

    def do(self, step: Step) -> str:
        first, *rest = step.split()
        if first == "pay":
            answer = reconcile(self.stage.service, self.payments[rest[0]])
        elif first == "ship":
            answer = scalar(self.stage.service, "select public.advance_order(%s, 'fulfilled')", self.group.order_ids[0])
        elif first == "dispute":
            answer = record(self.stage.service, self.dispute.then(rest[0]))
        else:
            name, status = step.rsplit(" ", 1)
            answer = record(self.stage.service, self.refunds[name].then(status))
        return f"{answer['outcome']} {answer['reason'] or ''}".strip()

    def state(self) -> State:
        run = self.stage.superuser.execute
        group = run(
            "select status, (refunded_amount * 10 ^ %s)::int as back from public.order_groups where id = %s",
            [EXPONENTS.get(self.group.currency, 2), self.group.id],
        ).fetchone()
        assert group is not None
        orders = {
            row["id"]: row["status"]
            for row in run("select id, status from public.orders where order_group_id = %s", [self.group.id])
        }
        names: dict[str | None, str] = {payment.event_id: name for name, payment in self.payments.items()}
        names |= {refund.id: name for name, refund in self.refunds.items()} | {self.dispute.id: "dispute"}
        exceptions = {
            names[row["key"]]: (row["reason"], row["state"])
            for row in run(
                "select coalesce(refund_id, dispute_id, stripe_event_id) as key, reason,"
                " case status when 'open' then status else resolution || ' by ' || resolved_by end as state"
                " from payments.exceptions where payment_intent_id = any(%s)",
                [[payment.payment_intent_id for payment in self.payments.values()]],
            )
        }
        refunds = {
            names[row["id"]]: (
                row["status"],
                {None: "nobody's", self.group.id: "its group's"}[row["order_group_id"]],
                row["set_aside_reason"] is not None,
            )
            for row in run("select * from payments.refunds where id = any(%s)", [[*map(str, names)]])
        }
        dispute = run("select status from payments.disputes where id = %s", [self.dispute.id]).fetchone()
        return (
            group["status"],
            group["back"],
            tuple(orders[order_id] for order_id in self.group.order_ids),
            tuple(sorted(exceptions.items())),
            tuple(sorted(refunds.items())),
            dispute and dispute["status"],
        )


@pytest.mark.parametrize("name", SETS)
def test_every_order_of_these_steps_is_answered_and_ends_as_the_model_says(stage: Stage, name: str) -> None:
    currency, steps = SETS[name]
    ends: Counter[str] = Counter()

    for order in permutations(steps):
        play, money = Play(stage, currency), Money()
        for step in order:
            assert play.do(step) == money.do(step), (step, order)
            assert play.state() == money.state(), (step, order)
        status, back, orders, exceptions, *_ = play.state()
        ends[f"{status} {back} {orders[0]}; " + ", ".join(f"{who} {' '.join(what)}" for who, what in exceptions)] += 1

    assert broken_invariants(stage.superuser) == []
    assert dict(ends) == ENDS[name]


# Each payment comes once: what its replays and twins do, the histories of many groups say (test_model.py).
STEPS: tuple[Step, ...] = (
    "pay A",
    "pay B",
    "ship",
    *(f"dispute {status}" for status in DISPUTE_RANKS),
    *(f"{part} {status}" for part in PARTS for status in REFUND_RANKS),
)


def test_any_steps_however_often_are_answered_and_end_as_the_model_says(stage: Stage) -> None:
    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None)
    @given(
        currency=st.sampled_from(["USD", "JPY", "KWD"]),
        steps=st.lists(st.sampled_from(STEPS), min_size=4, max_size=16),
    )
    def history(currency: str, steps: list[Step]) -> None:
        play, money = Play(stage, currency), Money()
        for place, step in enumerate(steps):
            if step.startswith("pay") and step in steps[:place]:
                continue
            assert play.do(step) == money.do(step), (step, steps)
            assert play.state() == money.state(), (step, steps)

    history()

    assert broken_invariants(stage.superuser) == []
