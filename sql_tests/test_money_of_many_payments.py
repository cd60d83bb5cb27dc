"""An accountant's sums over thousands of generated events: what the report adds up is what Python adds up of its lines.

The events are made by a seeded generator, written past the guards as the functions write them, and kept here as plain
Python objects, from which every expected sum is computed without any SQL. `MONEY_PAYMENTS` makes them more.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import psycopg
import pytest

from sql_tests.goods import give_up
from testkit.database import Connection, Database, past_every_guard, scalar
from testkit.invariants import broken_invariants
from testkit.payments import Payment, reconcile
from testkit.refunds import Dispute, Refund, record
from testkit.shop import OrderGroup, Shop, open_shop

PAYMENTS = int(os.environ.get("MONEY_PAYMENTS", "600"))
SINCE, UNTIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
PRICES = {"USD": ("0.05", "19.99"), "JPY": ("1", "1200"), "KWD": ("0.010", "3.250"), "ISK": ("5", "990")}
KINDS = ("payment", "order", "rejected", "unmatched", "resolved", "order_refund", "refund", "refund_failed")
SIMULATED = tuple(f"simulated_{kind}" for kind in KINDS)
CAME = ("payment", "rejected", "unmatched", "resolved")
SUMS = ("gross", "refunded", "net")


@dataclass
class Line:
    """What one line must say, by hand."""

    at: datetime
    kind: str
    id: str
    amount: Decimal
    currency: str
    group: UUID | None = None
    order: UUID | None = None
    seller: UUID | None = None
    intent: str | None = None


@dataclass
class Books:
    """What the generator has done."""

    shop: Shop
    lines: list[Line] = field(default_factory=list)
    twins: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        """What `relay simulate` has made up is told apart in every kind."""
        if is_simulated(line.intent):
            line.kind = f"simulated_{line.kind}"
        self.lines.append(line)

    def within(self, *kinds: str) -> list[Line]:
        return [line for line in self.lines if SINCE <= line.at < UNTIL and line.kind in kinds]


def is_simulated(intent: str | None) -> bool:
    return (intent or "").startswith("pi_sim_")


def instant(random: Random) -> datetime:
    """Around March: each boundary is hit to the microsecond now and then."""
    edges = (SINCE, SINCE - timedelta(microseconds=1), UNTIL, UNTIL - timedelta(microseconds=1))
    if random.random() < 0.05:
        return random.choice(edges)
    return SINCE - timedelta(days=3) + timedelta(microseconds=random.randrange(37 * 86_400_000_000))


def bought(random: Random, shop: Shop) -> OrderGroup:
    currency = random.choice(sorted(PRICES))
    orders = [
        [(random.randint(1, 4), random.choice(PRICES[currency])) for _ in range(random.randint(1, 2))]
        for _ in range(random.randint(1, 3))
    ]
    return shop.order_group(orders, currency=currency)


def generate(random: Random, books: Books, superuser: Connection) -> None:
    """One checkout of many kinds, and what became of it."""
    shop = books.shop
    group = bought(random, shop)
    at = instant(random)
    payment = group.payment().but(event_created=at)
    if random.random() < 0.1:
        payment = payment.but(
            checkout_session_id=f"cs_test_sim_{payment.event_id}", payment_intent_id=f"pi_sim_{payment.event_id}"
        )
    if random.random() < 0.15:
        set_aside(random, books, superuser, payment)
        return
    assert reconcile(shop.service, payment)["outcome"] == "applied"
    currency = group.currency
    books.add(
        Line(
            at,
            "payment",
            str(payment.event_id),
            group.total_amount,
            currency,
            group.id,
            None,
            None,
            payment.payment_intent_id,
        )
    )
    rows = superuser.execute(
        "select id, seller_id, total_amount from public.orders where order_group_id = %s", [group.id]
    )
    for row in rows.fetchall():
        books.add(
            Line(
                at,
                "order",
                str(row["id"]),
                row["total_amount"],
                currency,
                group.id,
                row["id"],
                row["seller_id"],
                payment.payment_intent_id,
            )
        )
        if random.random() < 0.2:
            assert give_up(shop.service, row["id"])["outcome"] == "refunded"
            later = at + timedelta(hours=random.randrange(1, 900))
            with past_every_guard(superuser):
                superuser.execute(
                    "update public.order_status_changes set changed_at = %s"
                    " where order_id = %s and to_status = 'refunded'",
                    [later, row["id"]],
                )
            books.add(
                Line(
                    later,
                    "order_refund",
                    str(row["id"]),
                    -row["total_amount"],
                    currency,
                    group.id,
                    row["id"],
                    row["seller_id"],
                    payment.payment_intent_id,
                )
            )
    if random.random() < 0.2:
        send_back(random, books, superuser, payment, group.id)
    if random.random() < 0.1:
        assert (
            record(shop.service, Dispute.of(payment, status=random.choice(["won", "lost", "needs_response"])))[
                "outcome"
            ]
            == "recorded"
        )
    if random.random() < 0.2:
        twin = payment.twin().but(event_created=instant(random))
        assert reconcile(shop.service, twin)["outcome"] == "already_paid"
        assert twin.event_created is not None
        if SINCE <= twin.event_created < UNTIL and not is_simulated(twin.payment_intent_id):
            books.twins[twin.event_created.date().isoformat(), currency] += 1


def send_back(random: Random, books: Books, superuser: Connection, payment: Payment, group: UUID | None) -> None:
    """A part of a payment goes back, or does not; never all of it, so that no order follows by itself."""
    assert payment.amount_minor is not None
    multiple = 100 if payment.currency == "isk" else 1
    if payment.amount_minor <= multiple:
        return
    minor = random.randrange(multiple, payment.amount_minor, multiple)
    back = Refund.of(
        payment, minor, status=random.choice(["succeeded"] * 4 + ["pending", "failed"]), created=instant(random)
    )
    assert record(books.shop.service, back)["outcome"] == "recorded"
    statuses = [back.status]
    if random.random() < 0.5 and back.status != "failed":
        back = back.then(random.choice(["succeeded", "failed", "canceled"]))
        assert record(books.shop.service, back)["outcome"] in ("recorded", "replayed")
        statuses.append(back.status)
    if "succeeded" not in statuses:
        return
    assert back.created
    assert back.amount
    told = [(back.created, "refund", -Decimal(back.amount))]
    if statuses[-1] != "succeeded":
        later = back.created + timedelta(hours=random.randrange(1, 400))
        move_failure(superuser, back, later)
        told.append((later, "refund_failed", Decimal(back.amount)))
    for at, kind, amount in told:
        books.add(
            Line(
                at=at,
                kind=kind,
                id=str(back.id),
                amount=amount,
                currency=(payment.currency or "").upper(),
                group=group,
                intent=payment.payment_intent_id,
            )
        )


def move_failure(superuser: Connection, refund: Refund, at: datetime) -> None:
    """A refund failed at this time."""
    with past_every_guard(superuser):
        superuser.execute(
            "update payments.refund_status_changes set changed_at = %s where refund_id = %s and to_status = %s",
            [at, refund.id, refund.status],
        )


def set_aside(random: Random, books: Books, superuser: Connection, payment: Payment) -> None:
    """Money that does not fit: once, or by two events; dealt with by a person, or not."""
    wrong = payment.but(amount_minor=100, amount="1", currency="eur")
    kind = "rejected"
    if random.random() < 0.4:
        wrong, kind = wrong.but(order_group_id=None, unmatched_reason="missing_reference"), "unmatched"
    events = [wrong]
    if random.random() < 0.3:
        events.append(wrong.twin().but(event_created=instant(random)))
    for event in events:
        assert reconcile(books.shop.service, event)["outcome"] == kind
    if random.random() < 0.3:
        kind = "resolved"
        for row in superuser.execute(
            "select id from payments.exceptions where checkout_session_id = %s", [wrong.checkout_session_id]
        ).fetchall():
            scalar(
                books.shop.service, "select public.resolve_payment_exception(%s, 'dismissed', 'ada', 'ours')", row["id"]
            )
    if random.random() < 0.3:
        send_back(random, books, superuser, wrong, None)
    told = min(events, key=lambda event: (event.event_created, events.index(event)))
    assert told.event_created is not None
    books.add(
        Line(
            told.event_created,
            kind,
            str(told.event_id),
            Decimal(1),
            "EUR",
            wrong.order_group_id,
            None,
            None,
            wrong.payment_intent_id,
        )
    )


@pytest.fixture(scope="module")
def books(module_db: Database) -> Iterator[Books]:
    with module_db.connect() as superuser, module_db.act_as("service_role") as service:
        made = Books(open_shop(superuser, service))
        random = Random(20261125)
        for _ in range(PAYMENTS):
            generate(random, made, superuser)
        assert broken_invariants(superuser) == []
        yield made


@pytest.fixture(scope="module")
def report(books: Books) -> dict[str, Any]:
    told: dict[str, Any] = scalar(books.shop.service, "select public.payment_report(%s, %s)", SINCE, UNTIL)
    return told


def sums(books: Books, *kinds: str) -> dict[tuple[str, str, str], tuple[int, Decimal]]:
    """By day, currency and kind."""
    found: dict[tuple[str, str, str], list[Decimal]] = defaultdict(list)
    for line in books.within(*kinds):
        found[line.at.date().isoformat(), line.currency, line.kind].append(line.amount)
    return {key: (len(amounts), sum(amounts, Decimal(0))) for key, amounts in found.items()}


def test_there_is_enough_of_everything(books: Books) -> None:
    counts = Counter(line.kind for line in books.within(*KINDS, *SIMULATED))

    assert counts.keys() == {*KINDS, *SIMULATED}
    assert all(count >= PAYMENTS // 100 for kind, count in counts.items() if kind in KINDS)
    assert sum(books.twins.values()) > PAYMENTS // 20


def test_totals_are_the_sums_of_the_days_by_stripes_time(books: Books, report: dict[str, Any]) -> None:
    told = {
        (one["day"], one["currency"], one["outcome"].replace("applied", "payment")): (one["payments"], one["amount"])
        for one in report["totals"]
    }

    twins = {key: count for key, (count, amount) in told.items() if key[2] == "already_paid" and amount is None}
    assert twins == {(*key, "already_paid"): count for key, count in books.twins.items()}
    simulated: dict[tuple[str, str, str], list[Decimal]] = defaultdict(list)
    for line in books.within(*(f"simulated_{kind}" for kind in CAME)):
        simulated[line.at.date().isoformat(), line.currency, "simulated"].append(line.amount)
    assert {key: (count, Decimal(amount)) for key, (count, amount) in told.items() if key not in twins} == {
        **sums(books, *CAME),
        **{key: (len(amounts), sum(amounts, Decimal(0))) for key, amounts in simulated.items()},
    }


@pytest.mark.parametrize(("part", "prefix"), [("money", ""), ("simulated", "simulated_")])
def test_what_was_paid_and_refunded_adds_up_by_currency(
    books: Books, report: dict[str, Any], part: str, prefix: str
) -> None:
    gross: dict[str, Decimal] = defaultdict(Decimal)
    refunded: dict[str, Decimal] = defaultdict(Decimal)
    for line in books.within(f"{prefix}payment", f"{prefix}refund", f"{prefix}refund_failed"):
        if line.kind == f"{prefix}payment":
            gross[line.currency] += line.amount
        elif line.group:
            refunded[line.currency] -= line.amount

    told = {one["currency"]: tuple(Decimal(one[name]) for name in SUMS) for one in report[part]}

    # Money that was set aside went back in euros: it is no part of what was paid.
    assert told.pop("EUR") == (Decimal(0), Decimal(0), Decimal(0))
    assert told == {
        currency: (amount, refunded[currency], amount - refunded[currency]) for currency, amount in gross.items()
    }
    assert sum(refunded.values()) > 0


def test_each_sellers_part_adds_up_by_currency(books: Books, report: dict[str, Any]) -> None:
    expected: dict[tuple[str, str], list[Any]] = defaultdict(lambda: [0, Decimal(0), Decimal(0)])
    for line in books.within("order", "order_refund"):
        mine = expected[str(line.seller), line.currency]
        if line.kind == "order":
            mine[0] += 1
            mine[1] += line.amount
        else:
            mine[2] -= line.amount

    told = {
        (one["seller_id"], one["currency"]): [one["orders"], Decimal(one["gross"]), Decimal(one["refunded"])]
        for one in report["sellers"]
    }

    assert told == expected
    assert all(Decimal(one["net"]) == Decimal(one["gross"]) - Decimal(one["refunded"]) for one in report["sellers"])


def test_lines_are_the_books_line_by_line_and_in_their_order(books: Books, report: dict[str, Any]) -> None:
    told = scalar(books.shop.service, "select public.payment_lines(%s, %s)", SINCE, UNTIL)

    keys = ("kind", "id", "amount", "currency", "order_group_id", "order_id", "seller_id", "payment_intent_id")
    assert [one["at"] for one in told] == sorted(one["at"] for one in told)
    assert Counter((datetime.fromisoformat(one["at"]), *(one[key] for key in keys)) for one in told) == Counter(
        (
            line.at,
            line.kind,
            line.id,
            format(line.amount, "f"),
            line.currency,
            line.group and str(line.group),
            line.order and str(line.order),
            line.seller and str(line.seller),
            line.intent,
        )
        for line in books.within(*KINDS, *SIMULATED)
    )
    days = Counter(one["day"] for one in told)
    assert [(one["day"], one["lines"]) for one in report["days"]] == sorted(days.items())


def test_days_one_by_one_are_the_month(books: Books) -> None:
    ask = "select public.payment_lines(%s, %s)"
    whole = scalar(books.shop.service, ask, SINCE, UNTIL)

    parts = [
        line
        for day in range(31)
        for line in scalar(books.shop.service, ask, SINCE + timedelta(days=day), SINCE + timedelta(days=day + 1))
    ]

    assert parts == whole


def test_refund_that_does_not_fit_is_a_line_of_nobodys_group(books: Books, module_db: Database) -> None:
    """It came before its payment, in another currency; another one of this kind had failed by then."""
    group = books.shop.order_group()
    payment = group.payment().but(event_created=UNTIL + timedelta(days=400))
    back = Refund.of(payment.but(currency="eur"), 100, created=UNTIL + timedelta(days=400))
    failed = back.but(id="re_that_failed", amount_minor=101, amount="1.01")
    for one in (back, failed, failed.then("failed")):
        assert record(books.shop.service, one)["outcome"] == "recorded"
    with module_db.connect() as superuser:
        move_failure(superuser, failed.then("failed"), UNTIL + timedelta(days=400, hours=1))
    assert reconcile(books.shop.service, payment)["outcome"] == "applied"
    window = (UNTIL + timedelta(days=399), UNTIL + timedelta(days=401))

    lines = scalar(books.shop.service, "select public.payment_lines(%s, %s)", *window)
    money = scalar(books.shop.service, "select public.payment_report(%s, %s)", *window)["money"]

    assert sorted(
        (one["kind"], one["order_group_id"], one["amount"]) for one in lines if one["kind"].startswith("refund")
    ) == [("refund", None, "-1.00"), ("refund", None, "-1.01"), ("refund_failed", None, "1.01")]
    assert money == [
        {"currency": "EUR", "gross": "0", "refunded": "0", "net": "0"},
        {"currency": "USD", "gross": "74.24", "refunded": "0", "net": "74.24"},
    ]


def test_order_that_a_failed_refund_brings_back_is_its_sellers_again(books: Books) -> None:
    service = books.shop.service
    group = books.shop.order_group([[(1, "7")]], currency="CHF")
    payment = group.payment()
    assert reconcile(service, payment)["outcome"] == "applied"
    began = scalar(service, "select clock_timestamp()")
    back = Refund.of(payment)
    # A dispute waits for a person from now on, and has brought no money.
    for one in (back, back.then("failed"), Dispute.of(payment)):
        assert record(service, one)["outcome"] == "recorded"
    ended = scalar(service, "select clock_timestamp()")

    told = scalar(service, "select public.payment_report(%s, %s)", began, ended)
    lines = scalar(service, "select public.payment_lines(%s, %s)", began, ended)

    assert [(one["kind"], one["amount"]) for one in lines] == [
        ("order_refund", "-7"),
        ("refund_failed", "7.00"),
        ("order_refund", "7"),
    ]
    assert [(one["orders"], one["gross"], one["refunded"], one["net"]) for one in told["sellers"]] == [
        (0, "0", "0", "0")
    ]


@pytest.mark.parametrize(("since", "until"), [(SINCE, SINCE), (UNTIL, SINCE), (None, UNTIL), (SINCE, None)])
def test_a_window_that_is_none_is_refused(books: Books, since: datetime | None, until: datetime | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="begins before it ends"):
        books.shop.service.execute("select public.payment_lines(%s, %s)", [since, until])
