"""The preview says what the function would answer, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from relay.core.outcomes import REJECTIONS, UNMATCHED_REASONS, Reason
from testkit.database import Connection, Database, scalar
from testkit.payments import Payment, reconcile
from testkit.previewed import FLAGS, preview, verdict_of
from testkit.refunds import Refund, record, refund_in_full
from testkit.shop import OrderGroup, Shop


@dataclass(frozen=True, slots=True)
class Stage:
    """A shop, and who acts on it."""

    shop: Shop
    service: Connection
    owner: Connection

    def paid(self) -> Payment:
        payment = self.shop.order_group().payment()
        reconcile(self.service, payment)
        return payment

    def cancelled(self) -> OrderGroup:
        group = self.shop.order_group()
        scalar(self.service, "select public.cancel_order_group(%s)", group.id)
        return group

    def resolved(self, payment: Payment, resolution: str) -> Payment:
        """The payment, after it was rejected for its amount, resolved, and its group corrected."""
        group_id = payment.order_group_id
        total = scalar(self.owner, "select total_amount from public.order_groups where id = %s", group_id)
        self.owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group_id])
        assert reconcile(self.service, payment)["reason"] == "amount_mismatch"
        self.owner.execute("update public.order_groups set total_amount = %s where id = %s", [total, group_id])
        scalar(
            self.service,
            "select public.resolve_payment_exception(x.id, %s, 'ada')"
            " from public.list_payment_exceptions('all') as x where x.stripe_event_id = %s",
            resolution,
            payment.event_id,
        )
        return payment

    def used(self, **changes: Any) -> Payment:
        """A payment for a group of its own, which shares an id with one that has paid another."""
        return self.shop.order_group().payment().but(**changes)

    def sent_back(self, payment: Payment, amount_minor: int | None = None) -> Payment:
        """So much of the payment, all of it where nothing is said, has gone back before it comes."""
        assert record(self.service, Refund.of(payment, amount_minor))["outcome"] == "recorded"
        return payment

    def nameless(self, reason: str) -> Payment:
        return self.used(order_group_id=None, unmatched_reason=reason)


@pytest.fixture
def stage(shop: Shop, service: Connection, owner: Connection) -> Stage:
    return Stage(shop, service, owner)


def a_krona_and_a_half(stage: Stage) -> Payment:
    return stage.shop.order_group([[(1, "101")]], currency="ISK").payment().but(amount_minor=10150, amount="101.50")


# What the function answers -> how a payment comes to be answered so.
SCENARIOS: dict[str, Callable[[Stage], Payment]] = {
    "applied": lambda stage: stage.shop.order_group().payment(),
    "replayed": lambda stage: stage.paid(),
    "already_paid": lambda stage: stage.paid().twin(),
    "resolved": lambda stage: stage.resolved(stage.shop.order_group().payment(), "dismissed"),
    "resolved with its twin": lambda stage: stage.resolved(stage.shop.order_group().payment(), "refunded").twin(),
    "rejected order_group_not_found": lambda stage: stage.used(order_group_id=uuid4()),
    "rejected order_group_not_payable": lambda stage: stage.cancelled().payment(),
    "rejected order_group_empty": lambda stage: stage.shop.order_group([], total_amount=Decimal(5)).payment(),
    "rejected amount_missing": lambda stage: stage.used(amount=None),
    "rejected currency_unsupported": lambda stage: stage.used(currency="xyz"),
    "rejected amount_normalization_mismatch": a_krona_and_a_half,
    "rejected currency_mismatch": lambda stage: stage.used(currency="eur"),
    "rejected amount_mismatch": lambda stage: stage.used(amount_minor=1, amount="0.01"),
    "rejected totals_inconsistent": lambda stage: stage.shop.order_group(total_amount=Decimal(70)).payment(),
    "rejected duplicate_payment": lambda stage: stage.paid().rival(),
    "rejected payment_already_used": lambda stage: stage.used(payment_intent_id=stage.paid().payment_intent_id),
    "rejected payment_already_used, the session": lambda stage: stage.used(
        checkout_session_id=stage.paid().checkout_session_id
    ),
    "rejected payment_already_used, a twin": lambda stage: (
        stage.paid().twin().but(payment_intent_id=stage.paid().payment_intent_id)
    ),
    "rejected event_collision": lambda stage: stage.paid().but(currency="eur"),
    "resolved, its money is all back": lambda stage: stage.sent_back(stage.used()),
    "resolved, a second payment whose money is all back": lambda stage: stage.sent_back(stage.paid().rival()),
    "resolved, without a reference and its money is all back": lambda stage: stage.sent_back(
        stage.nameless("missing_reference")
    ),
    "applied, part of its money is back": lambda stage: stage.sent_back(stage.used(), 1),
    "unmatched missing_reference": lambda stage: stage.nameless("missing_reference"),
    "unmatched malformed_reference": lambda stage: stage.nameless("malformed_reference"),
    "unmatched conflicting_references": lambda stage: stage.nameless("conflicting_references"),
    "unmatched foreign_account": lambda stage: stage.nameless("foreign_account").but(account="acct_another"),
}


@pytest.mark.parametrize("answer", SCENARIOS)
def test_preview_says_what_the_function_then_answers_and_writes_nothing(
    db: Database, stage: Stage, answer: str
) -> None:
    payment = SCENARIOS[answer](stage)
    before = db.snapshot()

    (told,) = preview(stage.service, [payment])

    assert db.snapshot() == before
    assert told.keys() == {
        "outcome", "reason", "order_group_id", "stripe_event_id", "orders_paid", "ledger_entries", *FLAGS,
    }  # fmt: skip
    assert verdict_of(told) == reconcile(stage.service, payment)
    assert f"{told['outcome']} {told['reason'] or ''}".strip() == answer.partition(",")[0].partition(" with")[0]


# What no payment is answered: payment_refunded is a reason that is resolved at once.
OF_REFUNDS_AND_DISPUTES = {Reason.EXCEEDS_PAYMENT, Reason.REFUND_COLLISION, Reason.DISPUTE_COLLISION}
# Known to the relay of this release, answered by the database of the next: CONTRIBUTING.md, what a release may change.
NOT_YET_ANSWERED: frozenset[Reason] = frozenset()


def test_every_answer_of_the_function_has_a_scenario() -> None:
    """A scenario for each reason that the database answers; one that it answers with the next release waits above."""
    answers = {scenario.partition(",")[0].partition(" with")[0] for scenario in SCENARIOS}
    rejections = REJECTIONS - OF_REFUNDS_AND_DISPUTES - {Reason.PAYMENT_REFUNDED} - NOT_YET_ANSWERED

    assert answers == (
        {"applied", "replayed", "already_paid", "resolved"}
        | {f"rejected {reason}" for reason in rejections}
        | {f"unmatched {reason}" for reason in UNMATCHED_REASONS}
    )


def test_pending_group_that_an_event_has_paid_fails_as_the_function_does(stage: Stage) -> None:
    group = stage.shop.order_group()
    stage.paid()
    stage.owner.execute(
        "insert into payments.stripe_events select (jsonb_populate_record(e, jsonb_build_object("
        " 'id', 'evt_x', 'order_group_id', %s::text, 'checkout_session_id', 'cs_x', 'payment_intent_id', 'pi_x'"
        " ))).* from payments.stripe_events as e",
        [str(group.id)],
    )

    (told,) = preview(stage.service, [group.payment()])

    assert (told["outcome"], told["sqlstate"]) == ("failed", "XX001")


# --- what it says beside ----------------------------------------------------------------------------------------------


def test_payment_is_known_where_it_has_paid_its_group_and_the_money_agrees(stage: Stage) -> None:
    payment = stage.paid()
    afterwards = stage.paid()
    assert afterwards.order_group_id is not None
    refund_in_full(stage.service, afterwards.order_group_id)
    asked = {
        "itself": payment,
        "a twin": payment.twin(),
        "a twin without its intent": payment.twin().but(payment_intent_id=None),
        "a twin in another session": payment.twin().but(checkout_session_id="cs_other"),
        "of a group that was refunded": afterwards,
        "a rival": payment.rival(),
        "another amount": payment.twin().but(amount_minor=1, amount="0.01"),
        "another currency": payment.twin().but(currency="eur"),
        "an unpaid group": stage.shop.order_group().payment(),
    }

    told = preview(stage.service, asked.values())

    assert {name for name, one in zip(asked, told, strict=True) if one["is_known"]} == set(list(asked)[:5])


def test_session_that_names_no_group_any_more_is_known_by_the_group_that_it_has_paid(stage: Stage) -> None:
    nameless = stage.paid().twin().but(order_group_id=None, unmatched_reason="missing_reference")

    told = preview(stage.service, [nameless, nameless.but(amount_minor=1, amount="0.01"), nameless.rival()])

    assert [(one["outcome"], one["order_group_id"], one["is_known"]) for one in told] == [
        ("unmatched", None, True),
        ("unmatched", None, False),
        ("unmatched", None, False),
    ]


def test_rejection_is_on_record_where_an_open_exception_of_the_event_has_this_reason(stage: Stage) -> None:
    group = stage.shop.order_group()
    rejected = group.payment().but(amount_minor=1, amount="0.01")
    nameless = group.payment().but(order_group_id=None, unmatched_reason="missing_reference")
    reconcile(stage.service, rejected)
    reconcile(stage.service, nameless)
    asked = [
        rejected,
        nameless,
        rejected.but(currency="eur"),
        rejected.twin(),
        nameless.but(unmatched_reason="malformed_reference"),
    ]

    told = preview(stage.service, asked)

    assert [one["is_on_record"] for one in told] == [True, True, False, False, False]


@pytest.mark.parametrize("resolution", ["refunded", "fixed_by_hand", "dismissed"])
def test_persons_word_on_an_event_or_on_another_of_its_session_is_told(stage: Stage, resolution: str) -> None:
    payment = stage.resolved(stage.shop.order_group().payment(), resolution)

    told = preview(stage.service, [payment, payment.twin(), payment.rival()])

    assert [one["resolved"] for one in told] == [True, True, False]
    assert told[0]["outcome"] == "resolved"


def test_exception_that_closed_by_success_is_no_persons_word(stage: Stage) -> None:
    group = stage.shop.order_group()
    payment = group.payment()
    reconcile(stage.service, payment.but(order_group_id=None, unmatched_reason="missing_reference"))
    reconcile(stage.service, payment)

    (told,) = preview(stage.service, [payment])

    assert told == {
        "outcome": "replayed",
        "reason": None,
        "order_group_id": str(group.id),
        "stripe_event_id": payment.event_id,
        "orders_paid": 0,
        "ledger_entries": 0,
        "is_known": True,
        "is_on_record": False,
        "resolved": False,
    }


# --- many at once -----------------------------------------------------------------------------------------------------


def test_answers_stand_in_the_order_of_the_payments_each_judged_alone(stage: Stage) -> None:
    group = stage.shop.order_group()
    payments = [group.payment(), stage.used(currency="xyz"), group.payment(), stage.paid()]

    told = preview(stage.service, payments)

    assert [one["stripe_event_id"] for one in told] == [payment.event_id for payment in payments]
    assert [one["outcome"] for one in told] == ["applied", "rejected", "applied", "replayed"]


def test_five_hundred_payments_are_answered_and_one_more_is_refused(stage: Stage) -> None:
    payment = stage.shop.order_group().payment()

    assert preview(stage.service, []) == []
    assert len(preview(stage.service, [payment] * 500)) == 500
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="up to 500"):
        preview(stage.service, [payment] * 501)


@pytest.mark.parametrize("sent", [None, "null", "{}", "5", '"text"', r'"[\"\\u0000\"]"'])
def test_what_is_no_array_is_refused(service: Connection, sent: str | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="must be an array"):
        service.execute("select public.preview_order_group_payments(%s)", [sent])


@pytest.mark.parametrize(
    ("change", "sqlstate"),
    [
        ({"order_group_id": "not a uuid"}, "22P02"),
        ({"amount_minor": "many"}, "22P02"),
        ({"amount_minor": 2**63}, "22003"),
        ({"amount": "much"}, "22P02"),
        ({"livemode": "perhaps"}, "22P02"),
        ({"event_created": "yesterday week"}, "22007"),
        ({"event_id": None}, "22023"),
        ({"event_id": " "}, "22023"),
        ({"event_type": None}, "22023"),
        ({"livemode": None}, "22023"),
        ({"checkout_session_id": None}, "22023"),
        ({"source": "guess"}, "22023"),
        ({"source": None}, "22023"),
        ({"order_group_id": None}, "22023"),
        ({"unmatched_reason": "missing_reference"}, "22023"),
        ({"order_group_id": None, "unmatched_reason": "because"}, "22023"),
    ],
)
def test_payment_that_cannot_be_read_fails_alone(stage: Stage, change: dict[str, Any], sqlstate: str) -> None:
    good = stage.shop.order_group().payment()
    spoilt = good.but(**change)

    told = preview(stage.service, [good, spoilt, good])

    assert [one["outcome"] for one in told] == ["applied", "failed", "applied"]
    group_id = spoilt.order_group_id
    assert told[1] == {
        "outcome": "failed",
        "reason": None,
        "order_group_id": None if group_id is None else str(group_id),
        "stripe_event_id": spoilt.event_id,
        "orders_paid": 0,
        "ledger_entries": 0,
        "sqlstate": sqlstate,
        **dict.fromkeys(FLAGS, False),
    }


@pytest.mark.parametrize("element", [None, 5, "text", [], [1], True])
def test_element_that_is_no_object_fails_without_ids(stage: Stage, element: Any) -> None:
    (told,) = preview(stage.service, [element])

    assert (told["outcome"], told["sqlstate"]) == ("failed", "22023")
    assert (told["order_group_id"], told["stripe_event_id"]) == (None, None)


def test_parameters_with_defaults_may_be_left_out(stage: Stage) -> None:
    group = stage.shop.order_group()
    sent = {
        "p_order_group_id": str(group.id),
        "p_stripe_event_id": "evt_1",
        "p_stripe_event_type": "checkout.session.completed",
        "p_stripe_event_created": None,
        "p_livemode": False,
        "p_checkout_session_id": "cs_1",
        "p_payment_intent_id": "pi_1",
        "p_amount_minor": 7424,
        "p_amount": 74.24,
        "p_currency": "usd",
    }

    (told,) = preview(stage.service, [sent])

    assert (told["outcome"], told["orders_paid"], told["ledger_entries"]) == ("applied", 2, 5)


# --- beside others ----------------------------------------------------------------------------------------------------


def test_beside_an_uncommitted_rival_it_answers_by_what_is_committed(db: Database, stage: Stage) -> None:
    """And waits for nobody: the rival holds the event, the group, its orders and the payment's place in the indexes."""
    payment = stage.shop.order_group().payment()
    asked = [payment, payment.twin(), payment.rival()]

    with db.act_as("service_role", autocommit=False) as rival:
        reconcile(rival, payment)
        meanwhile = preview(stage.service, asked)
        rival.commit()
    afterwards = preview(stage.service, asked)

    assert [one["outcome"] for one in meanwhile] == ["applied", "applied", "applied"]
    assert [one["outcome"] for one in afterwards] == ["replayed", "already_paid", "rejected"]


def test_preview_is_called_in_a_transaction_that_cannot_write(superuser: Connection) -> None:
    """PostgREST opens a read-only one for a function that is stable, and takes GET for it."""
    assert (
        scalar(superuser, "select provolatile::text from pg_proc where proname = 'preview_order_group_payments'") == "s"
    )


@pytest.mark.parametrize("text", ["", "[", "{}", "null", "cart-17", '"[]"'])
def test_text_that_is_no_array_is_refused_as_what_is_none(service: Connection, text: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_payments must be an array of up to 500 payments"):
        service.execute("select public.preview_order_group_payments(to_jsonb(%s::text))", [text])


def test_nobody_but_the_service_role_may_ask(db: Database) -> None:
    for role in ("anon", "authenticated"):
        with db.act_as(role) as stranger, pytest.raises(psycopg.errors.InsufficientPrivilege):
            stranger.execute("select public.preview_order_group_payments('[]')")
