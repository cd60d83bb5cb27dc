"""Refunds, disputes and checkouts that end, on real parts: signed events, the relay, PostgREST, the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import permutations

import pytest

from testkit.database import Row
from testkit.project import Project
from testkit.relay_under_test import Answer, Relay, serving
from testkit.shop import OrderGroup, paid
from testkit.snapshot import changed_tables
from testkit.stripe_events import (
    FAILED,
    LIFECYCLE_SECRET,
    Json,
    completed,
    disputed,
    ended,
    new_id,
    refunded,
    session_of,
)

pytestmark = pytest.mark.anyio

RECORDED, REPLAYED = (200, "recorded", None), (200, "replayed", None)
APPLIED = (200, "applied", None)
NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Stripe:
    """Sends each event to the endpoint that is for it."""

    relay: Relay
    secret: str

    async def send(self, event: Json) -> Answer:
        """The relay's answer."""
        if event["type"] in ("checkout.session.completed", "checkout.session.async_payment_succeeded"):
            return await self.relay.deliver(event, secret=self.secret)
        return await self.relay.deliver_lifecycle(event)

    async def tell(self, *events: Json) -> list[tuple[int, str, str | None]]:
        """The verdicts, one event after the other."""
        return [(await self.send(event)).verdict for event in events]


@pytest.fixture
async def stripe_sends(project: Project, anyio_backend: str) -> AsyncIterator[Stripe]:
    assert anyio_backend == "asyncio"
    async with serving(project.environment(STRIPE_LIFECYCLE_WEBHOOK_SECRET=LIFECYCLE_SECRET)) as relay:
        yield Stripe(relay, project.stack.stripe_webhook_secret)


def refund_of(payment: Json, *, kind: str = "refund.created", **refund: object) -> Json:
    """An event about a refund of all that was paid; keyword arguments change the refund."""
    session = session_of(payment)
    changes = {"amount": session["amount_total"], "currency": session["currency"], **refund}
    return refunded(session["payment_intent"], kind=kind, **changes)


def later(event: Json, kind: str, **changes: object) -> Json:
    """A further event about the same refund or dispute."""
    return {**event, "id": new_id("evt"), "type": kind, "data": {"object": {**session_of(event), **changes}}}


def state(project: Project, group: OrderGroup) -> tuple[str, Decimal, set[str]]:
    """The group's status, what it has sent back, and the statuses of its orders."""
    row = project.group(group)
    orders = project.query("select status from public.orders where order_group_id = %s", group.id)
    return row["status"], row["refunded_amount"], {order["status"] for order in orders}


def exceptions(project: Project, *events: Json) -> list[tuple[str, str, str | None, str | None]]:
    """Reason, status, resolution and by whom, of the exceptions of these events."""
    rows = project.query(
        "select * from payments.exceptions where stripe_event_id = any(%s) order by id",
        [event["id"] for event in events],
    )
    return [(row["reason"], row["status"], row["resolution"], row["resolved_by"]) for row in rows]


def refund_row(project: Project, event: Json) -> Row:
    (row,) = project.query("select * from payments.refunds where id = %s", session_of(event)["id"])
    return row


async def test_all_of_a_payment_goes_back_and_comes_again(project: Project, stripe_sends: Stripe) -> None:
    group = project.shop.order_group()
    payment = paid(group)
    refund = refund_of(payment)
    await stripe_sends.send(payment)
    ledger = project.query("select * from public.inventory_ledger order by id")

    answer = await stripe_sends.send(refund)

    assert answer.json == {
        "received": True,
        "outcome": "recorded",
        "reason": None,
        "event_id": refund["id"],
        "order_group_id": str(group.id),
    }
    assert state(project, group) == ("refunded", group.total_amount, {"refunded"})

    verdict = (await stripe_sends.send(later(refund, "refund.failed", status="failed"))).verdict

    assert verdict == RECORDED
    assert state(project, group) == ("paid", NOTHING, {"paid"})
    # Goods are another fact: no piece has moved.
    assert project.query("select * from public.inventory_ledger order by id") == ledger


async def test_parts_add_up_and_more_than_was_paid_is_set_aside_until_there_is_room(
    project: Project, stripe_sends: Stripe
) -> None:
    group = project.shop.order_group()
    payment = paid(group)
    half = session_of(payment)["amount_total"] // 2 + 1
    first, second = refund_of(payment, amount=half), refund_of(payment, amount=half)

    assert await stripe_sends.tell(payment, first, second) == [APPLIED, RECORDED, (500, "rejected", "exceeds_payment")]
    assert state(project, group) == ("paid", Decimal(half) / 100, {"paid"})
    assert exceptions(project, second) == [("exceeds_payment", "open", None, None)]

    assert await stripe_sends.tell(later(first, "refund.failed", status="failed"), second) == [RECORDED, RECORDED]
    assert state(project, group) == ("paid", Decimal(half) / 100, {"paid"})
    assert exceptions(project, second) == [("exceeds_payment", "resolved", "reconciled", "record_refund")]


async def test_a_payment_whose_money_went_back_before_it_came_pays_nothing(
    project: Project, stripe_sends: Stripe
) -> None:
    group = project.shop.order_group()
    payment = paid(group)

    assert await stripe_sends.tell(refund_of(payment), payment) == [RECORDED, (200, "resolved", None)]
    assert state(project, group) == ("pending", NOTHING, {"pending"})
    assert exceptions(project, payment) == [("payment_refunded", "resolved", "refunded", "stripe")]
    # The group still waits for money that stays.
    assert await stripe_sends.tell(paid(group)) == [APPLIED]


async def test_the_refund_of_a_second_payment_closes_its_case_and_leaves_the_order_alone(
    project: Project, stripe_sends: Stripe
) -> None:
    group = project.shop.order_group()
    first, second = paid(group), paid(group)
    refund = refund_of(second)

    assert await stripe_sends.tell(first, second) == [APPLIED, (500, "rejected", "duplicate_payment")]
    assert await stripe_sends.tell(refund) == [RECORDED]
    assert exceptions(project, second) == [("duplicate_payment", "resolved", "refunded", "stripe")]
    assert await stripe_sends.tell(later(refund, "refund.failed", status="failed")) == [RECORDED]
    assert exceptions(project, second) == [("duplicate_payment", "open", None, None)]
    assert state(project, group) == ("paid", NOTHING, {"paid"})


@pytest.mark.parametrize(
    ("ending", "case"),
    [
        ("won", ("payment_disputed", "resolved", "dismissed", "stripe")),
        ("lost", ("payment_disputed", "open", None, None)),
    ],
)
async def test_a_dispute_is_one_exception_until_it_ends_well(
    project: Project, stripe_sends: Stripe, ending: str, case: tuple[str, str, str | None, str | None]
) -> None:
    group = project.shop.order_group()
    payment = paid(group)
    session = session_of(payment)
    opened = disputed(session["payment_intent"], amount=session["amount_total"])
    withdrawn = later(opened, "charge.dispute.funds_withdrawn")

    assert await stripe_sends.tell(payment, opened, withdrawn) == [APPLIED, RECORDED, REPLAYED]
    assert exceptions(project, opened, withdrawn) == [("payment_disputed", "open", None, None)]
    assert await stripe_sends.tell(later(opened, "charge.dispute.closed", status=ending)) == [RECORDED]
    assert exceptions(project, opened, withdrawn) == [case]
    assert state(project, group) == ("paid", NOTHING, {"paid"})


async def test_what_comes_again_changes_not_one_row(project: Project, stripe_sends: Stripe) -> None:
    group, left = project.shop.order_group(), project.shop.order_group()
    payment = paid(group)
    session = session_of(payment)
    sent = [
        payment,
        refund_of(payment, amount=100),
        disputed(session["payment_intent"], amount=session["amount_total"]),
        ended(str(left.id)),
    ]
    assert await stripe_sends.tell(*sent) == [APPLIED, RECORDED, RECORDED, RECORDED]
    before = project.snapshot()

    assert await stripe_sends.tell(*sent) == [REPLAYED] * 4
    assert changed_tables(before, project.snapshot()) == []


@pytest.mark.parametrize("change", [{"amount": 101}, {"currency": "eur"}, {"payment_intent": "pi_of_another"}])
async def test_the_same_id_with_other_money_is_a_collision(
    project: Project, stripe_sends: Stripe, change: Json
) -> None:
    payment = paid(project.shop.order_group())
    refund = refund_of(payment, amount=100)
    other = later(refund, "refund.updated", **change)

    assert await stripe_sends.tell(payment, refund, other) == [APPLIED, RECORDED, (500, "rejected", "refund_collision")]
    assert exceptions(project, other) == [("refund_collision", "open", None, None)]
    row = refund_row(project, refund)
    assert (row["amount_minor"], row["currency"], row["payment_intent_id"], row["status"]) == (
        100,
        "USD",
        session_of(payment)["payment_intent"],
        "succeeded",
    )


async def test_what_is_of_another_mode_or_account_reaches_no_row(project: Project, stripe_sends: Stripe) -> None:
    group = project.shop.order_group()
    payment = paid(group)
    await stripe_sends.send(payment)
    before = project.snapshot()

    verdicts = await stripe_sends.tell(
        refund_of(payment) | {"livemode": True},
        refund_of(payment) | {"account": "acct_seller"},
        ended(str(group.id)) | {"context": "acct_seller"},
        refund_of(payment, payment_intent=None),
        refund_of(payment, kind="charge.refunded"),
    )

    assert verdicts == [
        (200, "ignored", "livemode_mismatch"),
        (200, "ignored", "foreign_account"),
        (200, "ignored", "foreign_account"),
        (200, "ignored", "missing_payment_intent"),
        (200, "ignored", "event_type"),
    ]
    assert changed_tables(before, project.snapshot()) == []


async def test_a_checkout_that_ends_cancels_the_group_that_waits_for_it(project: Project, stripe_sends: Stripe) -> None:
    expired, debit, other, settled = (project.shop.order_group() for _ in range(4))
    under_way, kept = paid(debit, payment_status="unpaid"), paid(other, payment_status="unpaid")
    failed = ended(str(debit.id), kind=FAILED, id=session_of(under_way)["id"])
    awaiting = (200, "awaiting_funds", None)

    assert await stripe_sends.tell(under_way, kept, paid(settled)) == [awaiting, awaiting, APPLIED]
    assert await stripe_sends.tell(
        ended(str(expired.id)), failed, ended(str(other.id)), ended(str(settled.id)), ended(completed()["id"])
    ) == [
        RECORDED,
        RECORDED,
        (200, "ignored", "order_group_awaits_another_session"),
        (200, "ignored", "order_group_not_pending"),
        (200, "ignored", "malformed_reference"),
    ]
    assert [project.group(group)["status"] for group in (expired, debit, other, settled)] == [
        "cancelled",
        "cancelled",
        "pending",
        "paid",
    ]
    assert await stripe_sends.tell(ended()) == [(200, "ignored", "order_group_not_found")]


@pytest.mark.parametrize("currency", ["JPY", "KWD"])
async def test_any_order_of_arrival_ends_the_same(project: Project, stripe_sends: Stripe, currency: str) -> None:
    """A payment, two steps of a refund of a part, and the two ends of a dispute."""
    ends = set()
    price = {"JPY": "1000", "KWD": "10.000"}[currency]
    for order in permutations(range(5)):
        group = project.shop.order_group(currency=currency, orders=(((1, price),),))
        payment = paid(group)
        session = session_of(payment)
        refund = refund_of(payment, amount=session["amount_total"] // 4, status="pending")
        opened = disputed(session["payment_intent"], amount=session["amount_total"], currency=session["currency"])
        events = [
            payment,
            refund,
            later(refund, "refund.updated", status="succeeded"),
            opened,
            later(opened, "charge.dispute.closed", status="lost"),
        ]
        for place in order:
            assert (await stripe_sends.send(events[place])).status == 200
        row = project.group(group)
        cases = project.query(
            "select reason, status from payments.exceptions where order_group_id = %s order by id", group.id
        )
        ends.add(
            (
                row["status"],
                row["refunded_amount"] * 4 == group.total_amount,
                refund_row(project, refund)["status"],
                tuple((case["reason"], case["status"]) for case in cases),
            )
        )

    assert ends == {("paid", True, "succeeded", (("payment_disputed", "open"),))}
