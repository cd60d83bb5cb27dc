"""What `record_refund` and `record_dispute` answer, and what they leave in the tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import IsolationLevel

from testkit.database import Connection, Database, Row, scalar
from testkit.invariants import broken_invariants
from testkit.payments import Payment, reconcile
from testkit.refunds import Dispute, Refund, record
from testkit.shop import Shop

RESOLVE = "select public.resolve_payment_exception(%s, %s, 'ada', 'seen')"


def paid(service: Connection, shop: Shop, **changes: Any) -> Payment:
    payment = shop.order_group().payment().but(**changes)
    assert reconcile(service, payment)["outcome"] == "applied"
    return payment


def word(answer: Row) -> str:
    return f"{answer['outcome']} {answer['reason'] or ''}".strip()


def cases(connection: Connection) -> list[tuple[str, ...]]:
    """Each exception: what it is about, its reason, the event or id that it bears, attempts, and how it stands."""
    rows = connection.execute(
        "select coalesce(refund_id, dispute_id, payment_intent_id) as about, reason, stripe_event_id, attempts::text,"
        " coalesce(resolution || ' by ' || resolved_by, status) as standing from payments.exceptions order by id"
    )
    return [tuple(row.values()) for row in rows]


def group_of(connection: Connection, payment: Payment) -> tuple[str, str]:
    row = connection.execute(
        "select status, refunded_amount::text from public.order_groups where id = %s", [payment.order_group_id]
    ).fetchone()
    assert row is not None
    return row["status"], row["refunded_amount"]


@pytest.mark.parametrize("kind", [Refund, Dispute])
def test_answer_and_row_are_these(service: Connection, superuser: Connection, shop: Shop, kind: type[Refund]) -> None:
    payment = paid(service, shop)
    told = kind.of(payment, 250, currency=" Usd ")
    table, key = ("refunds", "refund") if kind is Refund else ("disputes", "dispute")

    answer = record(service, told)

    assert answer == {
        "outcome": "recorded",
        "reason": None,
        f"{key}_id": told.id,
        "status": told.status,
        "payment_intent_id": payment.payment_intent_id,
        "order_group_id": str(payment.order_group_id),
        "stripe_event_id": told.event_id,
    }
    (row,) = superuser.execute(f"select * from payments.{table}".encode()).fetchall()
    assert row.pop("recorded_at") == row.pop("status_changed_at")
    assert row == {
        "id": told.id,
        "payment_intent_id": payment.payment_intent_id,
        "order_group_id": payment.order_group_id,
        "amount_minor": 250,
        "amount": pytest.approx(2.5),
        "currency": "USD",
        "status": told.status,
        "reason": told.reason,
        "created_at": told.created,
        "livemode": False,
        "source": "webhook",
        "set_aside_reason": None,
    }
    (step,) = superuser.execute(f"select * from payments.{key}_status_changes".encode()).fetchall()
    assert {name: step[name] for name in (f"{key}_id", "from_status", "to_status", "source", "stripe_event_id")} == {
        f"{key}_id": told.id,
        "from_status": None,
        "to_status": told.status,
        "source": "webhook",
        "stripe_event_id": told.event_id,
    }


STATUSES = ("pending", "requires_action", "succeeded", "failed", "canceled")


@pytest.mark.parametrize("first", STATUSES)
@pytest.mark.parametrize("second", STATUSES)
def test_status_only_moves_on_and_an_older_one_changes_no_row(
    db: Database, service: Connection, superuser: Connection, shop: Shop, first: str, second: str
) -> None:
    refund = Refund.of(paid(service, shop), 100)
    rank = {"pending": 0, "requires_action": 1, "succeeded": 2, "failed": 3, "canceled": 3}
    moves = rank[second] > rank[first]
    record(service, refund.then(first))
    before = db.snapshot()

    answer = record(service, refund.then(second))

    assert (word(answer), answer["status"]) == (("recorded", second) if moves else ("replayed", first))
    assert (db.snapshot() == before) is not moves
    steps = superuser.execute("select from_status, to_status from payments.refund_status_changes order by id")
    assert [tuple(row.values()) for row in steps] == [(None, first), (first, second)][: 1 + moves]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"currency": "eur"}, "currency_mismatch"),
        ({"currency": "xyz"}, "currency_mismatch"),
        ({"amount": "1.01"}, "amount_normalization_mismatch"),
        ({"amount": None}, "amount_normalization_mismatch"),
        ({"amount": "NaN"}, "amount_normalization_mismatch"),
        ({"amount_minor": 7425, "amount": "74.25"}, "exceeds_payment"),
    ],
)
def test_refund_that_does_not_fit_is_one_exception_whatever_event_brings_it(
    db: Database, service: Connection, superuser: Connection, shop: Shop, changes: dict[str, Any], reason: str
) -> None:
    refund = Refund.of(paid(service, shop), 100).but(**changes)
    before = db.snapshot()

    answers = [word(record(service, told)) for told in (refund, refund, refund.then("requires_action"))]

    assert answers == [f"rejected {reason}"] * 3
    assert cases(superuser) == [(refund.id, reason, refund.event_id, "3", "open")]
    after = db.snapshot()
    after.pop("payments.exceptions"), before.pop("payments.exceptions")
    assert after == before
    assert broken_invariants(superuser) == []


def test_refund_whose_cause_is_gone_is_recorded_when_it_comes_again(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = paid(service, shop)
    first, second = Refund.of(payment, 7000), Refund.of(payment, 425)
    record(service, first)
    assert word(record(service, second)) == "rejected exceeds_payment"
    record(service, first.then("failed"))

    assert word(record(service, second)) == "recorded"

    assert cases(superuser) == [(second.id, "exceeds_payment", second.event_id, "1", "reconciled by record_refund")]
    assert group_of(superuser, payment) == ("paid", "4.25")


def test_persons_word_on_a_refund_is_final_and_it_is_still_recorded_once_it_fits(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = paid(service, shop)
    first, second = Refund.of(payment, 7000), Refund.of(payment, 425)
    record(service, first)
    record(service, second)
    scalar(service, RESOLVE, scalar(superuser, "select id from payments.exceptions"), "dismissed")
    before = db.snapshot()

    assert word(record(service, second)) == "replayed"

    assert db.snapshot() == before
    record(service, first.then("failed"))
    assert word(record(service, second)) == "recorded"
    assert cases(superuser) == [(second.id, "exceeds_payment", second.event_id, "1", "dismissed by ada")]


COLLISIONS: dict[str, dict[str, Any]] = {
    "another amount": {"amount_minor": 101, "amount": "1.01"},
    "another currency": {"currency": "eur"},
    "another payment": {"payment_intent_id": "pi_other"},
    "another mode": {"livemode": True},
}


@pytest.mark.parametrize("kind", [Refund, Dispute])
@pytest.mark.parametrize("what", COLLISIONS)
def test_known_id_of_something_else_is_a_collision(
    service: Connection, superuser: Connection, shop: Shop, kind: type[Refund], what: str
) -> None:
    payment = paid(service, shop)
    told = kind.of(payment, 100)
    record(service, told)
    before = group_of(superuser, payment)
    reason = "refund_collision" if kind is Refund else "dispute_collision"

    assert word(record(service, told.then("won" if kind is Dispute else "failed").but(**COLLISIONS[what]))) == (
        f"rejected {reason}"
    )

    assert (told.id, reason, "open") in [(about, why, standing) for about, why, _, _, standing in cases(superuser)]
    assert group_of(superuser, payment) == before
    # What was recorded goes on, and the collision stays for a person.
    assert word(record(service, told.then("won" if kind is Dispute else "failed"))) == "recorded"
    assert [(why, standing) for about, why, _, _, standing in cases(superuser) if about == told.id] == [
        (reason, "open")
    ]
    assert broken_invariants(superuser) == []


def test_payment_is_found_by_its_intent_whose_id_no_other_mode_has(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = paid(service, shop)

    answer = record(service, Refund.of(payment, livemode=not payment.livemode))

    assert (word(answer), answer["order_group_id"]) == ("recorded", str(payment.order_group_id))
    assert group_of(superuser, payment)[0] == "refunded"


def test_other_accounts_exception_of_the_same_payment_is_not_closed(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    foreign = payment.but(order_group_id=None, unmatched_reason="foreign_account", account="acct_another")
    reconcile(service, foreign)

    answer = record(service, Refund.of(payment))

    assert (word(answer), answer["order_group_id"]) == ("recorded", None)
    assert [standing for *_, standing in cases(superuser)] == ["open"]
    # Nor is what it was paid sent back by ours.
    assert reconcile(service, foreign.twin())["outcome"] == "unmatched"


@pytest.mark.parametrize(
    ("currency", "minor", "major"), [("JPY", 7424, "7424"), ("KWD", 7424, "7.424"), ("ISK", 500, "5.00")]
)
def test_amounts_follow_the_currencys_decimals(
    service: Connection, superuser: Connection, shop: Shop, currency: str, minor: int, major: str
) -> None:
    payment = shop.order_group([[(1, major)]], currency=currency).payment()
    assert reconcile(service, payment)["outcome"] == "applied"
    refund = Refund.of(payment, minor).but(amount=major)

    assert word(record(service, refund.but(amount=f"{major}1" if "." in major else f"{major}.1"))) == (
        "rejected amount_normalization_mismatch"
    )
    assert word(record(service, refund)) == "recorded"

    assert group_of(superuser, payment) == ("refunded", major)


def test_fraction_that_stripe_does_not_pay_back_is_refused(service: Connection, shop: Shop) -> None:
    payment = shop.order_group([[(1, "5")]], currency="ISK").payment()
    reconcile(service, payment)

    assert word(record(service, Refund.of(payment, 150))) == "rejected amount_normalization_mismatch"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": " "},
        {"id": "r" * 256},
        {"payment_intent_id": None},
        {"payment_intent_id": "p" * 256},
        {"amount_minor": None},
        {"amount_minor": 0},
        {"amount_minor": -1},
        {"currency": None},
        {"currency": "euro"},
        {"status": None},
        {"status": "on its way"},
        {"created": None},
        {"created": datetime(1999, 12, 31, tzinfo=UTC)},
        {"created": datetime(2100, 1, 2, tzinfo=UTC)},
        {"livemode": None},
        {"source": "guess"},
        {"source": None},
        {"reason": "r" * 256},
        {"event_id": "e" * 256},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [Refund, Dispute])
def test_what_no_relay_would_send_is_refused_and_leaves_nothing(
    db: Database, service: Connection, shop: Shop, changes: dict[str, Any], kind: type[Refund]
) -> None:
    told = kind.of(paid(service, shop), 100).but(**changes)
    before = db.snapshot()

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        record(service, told)

    assert db.snapshot() == before


@pytest.mark.parametrize("kind", [Refund, Dispute])
@pytest.mark.parametrize("isolation", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_stricter_isolation_which_would_not_see_a_rivals_payment_is_refused(
    service: Connection, shop: Shop, kind: type[Refund], isolation: IsolationLevel
) -> None:
    told = kind.of(paid(service, shop), 100)
    service.isolation_level = isolation

    with pytest.raises(psycopg.errors.InvalidTransactionState), service.transaction():
        record(service, told)


def test_order_that_was_given_up_before_stays_given_up_when_the_refund_fails(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = paid(service, shop)
    group_id = payment.order_group_id
    ids = [row["id"] for row in service.execute("select id from public.orders where order_group_id = %s", [group_id])]
    scalar(service, "select public.advance_order(%s, 'fulfilled')", ids[0])
    scalar(service, "select public.refund_order(%s, 'sold out')", ids[1])
    refund = Refund.of(payment)
    record(service, refund)

    record(service, refund.then("failed"))

    rows = superuser.execute("select id, status from public.orders where order_group_id = %s", [group_id]).fetchall()
    assert {row["id"]: row["status"] for row in rows} == {ids[0]: "fulfilled", ids[1]: "refunded"}
    steps = superuser.execute(
        "select order_id, from_status, to_status, changed_by from public.order_status_changes"
        " where order_group_id = %s and from_status <> 'pending' order by id",
        [group_id],
    )
    assert [tuple(row.values()) for row in steps] == [
        (ids[0], "paid", "fulfilled", "service_role"),
        (ids[1], "paid", "refunded", "service_role"),
        (None, "paid", "refunded", "record_refund"),
        (ids[0], "fulfilled", "refunded", "record_refund"),
        (None, "refunded", "paid", "record_refund"),
        (ids[0], "refunded", "fulfilled", "record_refund"),
    ]
    assert broken_invariants(superuser) == []


@pytest.mark.parametrize("status", ["paid", "fulfilled", "shipped", "delivered"])
def test_order_that_was_refunded_with_its_group_goes_back_only_to_where_it_was_and_only_by_the_owner(
    service: Connection, owner: Connection, shop: Shop, status: str
) -> None:
    payment = paid(service, shop)
    record(service, Refund.of(payment))

    for connection in (service, owner):
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(
                "update public.orders set status = %s where order_group_id = %s", [status, payment.order_group_id]
            )


def test_order_that_was_given_up_never_comes_back(service: Connection, owner: Connection, shop: Shop) -> None:
    payment = paid(service, shop)
    order = scalar(service, "select id from public.orders where order_group_id = %s limit 1", payment.order_group_id)
    scalar(service, "select public.refund_order(%s, 'sold out')", order)

    with pytest.raises(psycopg.errors.CheckViolation):
        owner.execute("update public.orders set status = 'paid' where id = %s", [order])


@pytest.mark.parametrize("amount", ["0.01", "74.24"])
def test_owner_writes_no_refunded_amount_that_the_refunds_do_not_tell(
    service: Connection, owner: Connection, shop: Shop, amount: str
) -> None:
    payment = paid(service, shop)

    with pytest.raises(psycopg.errors.CheckViolation):
        owner.execute(
            "update public.order_groups set refunded_amount = %s,"
            " status = case when total_amount = %s then 'refunded' else status end where id = %s",
            [amount, amount, payment.order_group_id],
        )


def test_refund_of_the_second_payment_closes_its_exception_and_touches_no_order(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = paid(service, shop)
    second = payment.rival()
    reconcile(service, second)
    reconcile(service, second.twin())
    part, rest = Refund.of(second, 1000), Refund.of(second, 6424)
    before = db.snapshot()

    record(service, part)
    assert [standing for *_, standing in cases(superuser)] == ["open", "open"]
    record(service, rest)

    assert [standing for *_, standing in cases(superuser)] == ["refunded by stripe"] * 2
    touched = {table for table, rows in db.snapshot().items() if rows != before[table]}
    assert touched == {"payments.exceptions", "payments.refunds", "payments.refund_status_changes"}
    note = scalar(superuser, "select note from payments.exceptions order by id limit 1")
    assert note == "all of this payment went back: " + ", ".join(sorted([str(part.id), str(rest.id)]))
    record(service, rest.then("failed"))
    assert [standing for *_, standing in cases(superuser)] == ["open"] * 2
    (told,) = scalar(superuser, "select details -> 'reopened' from payments.exceptions order by id limit 1")
    assert (told["resolution"], told["resolved_by"], told["note"], told["reopened_by"]) == (
        "refunded",
        "stripe",
        note,
        "stripe",
    )


def test_persons_word_on_a_payment_is_not_changed_by_its_refund(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    second = paid(service, shop).rival()
    reconcile(service, second)
    scalar(service, RESOLVE, scalar(superuser, "select id from payments.exceptions"), "dismissed")
    refund = Refund.of(second)

    record(service, refund)
    assert [standing for *_, standing in cases(superuser)] == ["dismissed by ada"]
    record(service, refund.then("failed"))
    assert [standing for *_, standing in cases(superuser)] == ["dismissed by ada"]


@pytest.mark.parametrize("name", ["stripe", " Stripe "])
def test_nobody_resolves_in_the_name_of_stripe(
    service: Connection, superuser: Connection, shop: Shop, name: str
) -> None:
    reconcile(service, paid(service, shop).rival())
    number = scalar(superuser, "select id from payments.exceptions")

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        scalar(service, "select public.resolve_payment_exception(%s, 'dismissed', %s)", number, name)


def test_what_stripe_has_closed_nobody_reopens(service: Connection, superuser: Connection, shop: Shop) -> None:
    second = paid(service, shop).rival()
    reconcile(service, second)
    record(service, Refund.of(second))

    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        scalar(
            service,
            "select public.reopen_payment_exception(%s, 'ada', 'why')",
            scalar(superuser, "select id from payments.exceptions"),
        )


def test_payment_that_comes_after_its_money_went_back_is_kept_closed_with_its_later_events(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    refund = Refund.of(payment)
    record(service, refund)

    twin = payment.twin()
    answers = [word(reconcile(service, event)) for event in (payment, payment, twin)]

    assert answers == ["resolved"] * 3
    assert cases(superuser) == [
        (payment.payment_intent_id, "payment_refunded", payment.event_id, "1", "refunded by stripe"),
        (payment.payment_intent_id, "payment_refunded", twin.event_id, "1", "refunded by stripe"),
    ]
    assert group_of(superuser, payment) == ("pending", "0")
    before = db.snapshot()
    assert [word(reconcile(service, event)) for event in (payment, twin)] == ["resolved"] * 2
    assert db.snapshot() == before
    # The money is here again: what the sweep or Stripe brings is applied.
    record(service, refund.then("failed"))
    assert [standing for *_, standing in cases(superuser)] == ["open"] * 2
    assert word(reconcile(service, payment)) == "applied"
    assert [standing for *_, standing in cases(superuser)] == ["reconciled by reconcile_order_group_payment"] * 2
    assert broken_invariants(superuser) == []


def test_refund_and_dispute_that_disagree_with_the_payment_that_comes_are_set_aside(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    strange, large, good = (
        Refund.of(payment, 100).but(currency="eur"),
        Refund.of(payment, 7400, created=datetime(2026, 11, 3, tzinfo=UTC)),
        Refund.of(payment, 100),
    )
    dispute = Dispute.of(payment).but(currency="eur")
    for told in (strange, large, good, dispute):
        assert word(record(service, told)) == "recorded"

    assert word(reconcile(service, payment)) == "applied"

    assert sorted(cases(superuser)) == sorted(
        [
            (strange.id, "currency_mismatch", strange.id, "1", "open"),
            (large.id, "exceeds_payment", large.id, "1", "open"),
            (dispute.id, "currency_mismatch", dispute.id, "1", "open"),
        ]
    )
    assert group_of(superuser, payment) == ("paid", "1.00")
    assert word(record(service, large)) == "rejected exceeds_payment"
    # One that takes no room fits again.
    assert word(record(service, large.then("failed"))) == "recorded"
    assert (large.id, "exceeds_payment", large.id, "2", "reconciled by record_refund") in cases(superuser)
    assert broken_invariants(superuser) == []


OPEN = ("warning_needs_response", "warning_under_review", "needs_response", "under_review", "lost")
OVER = ("warning_closed", "charge_refunded", "prevented", "won")


@pytest.mark.parametrize("status", [*OPEN, *OVER])
def test_dispute_is_one_exception_open_until_it_ends_well(
    service: Connection, superuser: Connection, shop: Shop, status: str
) -> None:
    payment = paid(service, shop)
    dispute = Dispute.of(payment, status=status)

    assert word(record(service, dispute)) == "recorded"

    standing = "open" if status in OPEN else "dismissed by stripe"
    assert cases(superuser) == [(dispute.id, "payment_disputed", dispute.event_id, "1", standing)]
    assert scalar(superuser, "select order_group_id from payments.exceptions") == payment.order_group_id
    assert group_of(superuser, payment) == ("paid", "0")


def test_dispute_of_more_than_was_paid_is_a_dispute(service: Connection, shop: Shop) -> None:
    """Stripe lets its amount differ: exchange rates move."""
    payment = paid(service, shop)

    assert word(record(service, Dispute.of(payment, 9999))) == "recorded"


def test_dispute_waits_for_its_payment_and_is_its_exception_then(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    dispute = Dispute.of(payment)
    record(service, dispute)
    assert cases(superuser) == []

    reconcile(service, payment)
    reconcile(service, payment.twin())

    assert cases(superuser) == [(dispute.id, "payment_disputed", dispute.id, "1", "open")]
    assert scalar(superuser, "select order_group_id from payments.disputes") == payment.order_group_id


def test_persons_word_on_a_dispute_is_final(service: Connection, superuser: Connection, shop: Shop) -> None:
    dispute = Dispute.of(paid(service, shop))
    record(service, dispute)
    scalar(service, RESOLVE, scalar(superuser, "select id from payments.exceptions"), "fixed_by_hand")

    for status in ("under_review", "lost", "won"):
        assert word(record(service, dispute.then(status))) == "recorded"

    assert [standing for *_, standing in cases(superuser)] == ["fixed_by_hand by ada"]


def test_refund_and_dispute_without_events_bear_their_own_ids(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = paid(service, shop)
    refund, dispute = Refund.of(payment, 9999, event_id=None, source="sweep"), Dispute.of(payment, event_id=None)

    for told in (refund, dispute):
        record(service, told)

    assert [(about, event) for about, _, event, _, _ in cases(superuser)] == [
        (refund.id, refund.id),
        (dispute.id, dispute.id),
    ]


def test_event_that_is_another_exceptions_leaves_that_alone(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = paid(service, shop)
    event = f"evt_{uuid4().hex}"
    first, second = (Refund.of(payment, 9999, event_id=event) for _ in range(2))

    for told in (first, second):
        record(service, told)

    assert [(about, bears) for about, _, bears, _, _ in cases(superuser)] == [(first.id, event), (second.id, second.id)]


@pytest.mark.parametrize("statement", ["delete from {}", "truncate {} cascade"])
@pytest.mark.parametrize("table", ["refunds", "disputes", "refund_status_changes", "dispute_status_changes"])
def test_what_went_back_is_never_removed(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop, statement: str, table: str
) -> None:
    payment = paid(service, shop)
    record(service, Refund.of(payment, 1))
    record(service, Dispute.of(payment))

    for connection in (owner, superuser):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.format(f"payments.{table}").encode())


@pytest.mark.parametrize("table", ["refund_status_changes", "dispute_status_changes"])
def test_steps_of_what_went_back_are_never_rewritten(owner: Connection, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        owner.execute(f"update payments.{table} set to_status = 'pending'".encode())


def test_refund_that_had_no_room_counts_once_the_one_that_took_it_has_failed(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    first = Refund.of(payment, 7000)
    second = Refund.of(payment, 7000, created=datetime(2026, 11, 3, tzinfo=UTC))
    for told in (first, second):
        record(service, told)
    reconcile(service, payment)
    record(service, first.then("failed"))

    answer = record(service, second.then("pending"))

    assert (word(answer), answer["status"]) == ("replayed", "succeeded")
    assert group_of(superuser, payment) == ("paid", "70.00")


def test_refunds_that_had_no_room_count_in_their_order_once_there_is_some(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment()
    first, second, third, fourth = (
        Refund.of(payment, minor, created=datetime(2026, 11, day, tzinfo=UTC))
        for day, minor in ((3, 7000), (4, 5000), (5, 4000), (6, 2000))
    )
    for told in (fourth, third, second, first):
        record(service, told)
    reconcile(service, payment)
    assert group_of(superuser, payment) == ("paid", "70.00")

    record(service, first.then("canceled"))

    assert group_of(superuser, payment) == ("paid", "70.00")  # the second's and the fourth's
    assert {(about, standing) for about, *_, standing in cases(superuser)} == {
        (second.id, "reconciled by record_refund"),
        (third.id, "open"),
        (fourth.id, "reconciled by record_refund"),
    }
    assert broken_invariants(superuser) == []


def test_rejection_that_sweep_and_webhook_tell_in_turn_is_kept_once(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    refund = Refund.of(paid(service, shop), 10**6)
    for source in ("webhook", "sweep", "webhook", "sweep"):
        assert word(record(service, refund.but(source=source))) == "rejected exceeds_payment"

    (case,) = superuser.execute("select attempts, details from payments.exceptions").fetchall()
    assert (case["attempts"], case["details"].keys()) == (4, {"expected", "received"})
    assert case["details"]["received"]["source"] == "webhook"


def test_dispute_in_another_currency_than_its_payments_is_rejected(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    dispute = Dispute.of(paid(service, shop)).but(currency="eur")

    assert word(record(service, dispute)) == "rejected currency_mismatch"

    assert cases(superuser) == [(dispute.id, "currency_mismatch", dispute.event_id, "1", "open")]
