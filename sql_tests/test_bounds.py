"""Each check lets through what is just inside it and refuses what is just outside, whoever writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, LiteralString

import psycopg
import pytest

from testkit.database import Connection, Database
from testkit.shop import open_shop

# Every list of words that a column may hold.
WORDS: dict[str, set[str]] = {
    "order_groups_status_is_known_check": {"pending", "paid", "cancelled", "refunded"},
    "orders_status_is_known_check": {
        "pending",
        "paid",
        "fulfilled",
        "shipped",
        "delivered",
        "cancelled",
        "refunded",
    },
    "stripe_events_source_is_known_check": {"webhook", "sweep", "replay"},
    "stripe_events_outcome_is_known_check": {"applied", "already_paid"},
    "refunds_source_is_known_check": {"webhook", "sweep", "replay"},
    "refunds_status_is_known_check": {"pending", "requires_action", "succeeded", "failed", "canceled"},
    "disputes_source_is_known_check": {"webhook", "sweep", "replay"},
    "disputes_status_is_known_check": {
        "warning_needs_response",
        "warning_under_review",
        "warning_closed",
        "needs_response",
        "under_review",
        "charge_refunded",
        "prevented",
        "lost",
        "won",
    },
    "reasons_outcome_is_known_check": {"unmatched", "rejected", "recorded"},
    "exceptions_status_is_known_check": {"open", "resolved"},
    "exceptions_resolution_is_known_check": {"refunded", "fixed_by_hand", "dismissed", "reconciled"},
    "inventory_ledger_entry_type_is_known_check": {"order_commit", "order_return", "receipt", "adjustment"},
}

GROUP: LiteralString = "insert into public.order_groups (currency, total_amount) values ('KWD', %(value)s)"
ORDER: LiteralString = (
    "insert into public.orders (order_group_id, seller_id, total_amount) values (%(group)s, %(seller)s, %(value)s)"
)
ITEM: LiteralString = "insert into public.order_items (order_id, product_id, quantity, unit_amount) values "
CURRENCY: LiteralString = "insert into payments.currencies (code, exponent, minor_multiple) values "
MOST = "999999999999999.999"  # one thousandth less than 1e15

# What is written -> the values that are let through, and those that are refused.
BOUNDS: dict[str, tuple[LiteralString, tuple[Any, ...], tuple[Any, ...]]] = {
    "a group's total": (GROUP, ("0", "0.001", MOST), ("-0.001", "1e15", "0.0001", "NaN", "Infinity", None)),
    "an order's total": (ORDER, ("0", "0.001", MOST), ("-0.001", "1e15", "0.0001", "NaN", "Infinity", None)),
    "an item's price": (
        ITEM + "(%(order)s, %(product)s, 1, %(value)s)",
        ("0", "0.001", MOST),
        ("-0.001", "1e15", "0.0001", "NaN", "Infinity", None),
    ),
    "an item's quantity": (
        ITEM + "(%(order)s, %(product)s, %(value)s, 1)",
        (1, 2147483647),
        (0, -1, 2147483648, None),
    ),
    "a currency's code": (
        CURRENCY + "(%(value)s, 2, 1)",
        ("AAA", "ZZZ"),
        ("", "AA", "AAAA", "aaa", "A1A", "AAA\n", None),
    ),
    "a currency's exponent": (CURRENCY + "('AAA', %(value)s, 1)", (0, 2, 3), (-1, 1, 4, None)),
    "a currency's multiple": (CURRENCY + "('AAA', 2, %(value)s)", (1, 100), (0, -1, None)),
    "a seller's name": (
        "insert into public.sellers (name) values (%(value)s)",
        ("a", " a "),
        ("", " ", "   ", None),
    ),
    "a case's attempts": (
        "insert into payments.exceptions (stripe_event_id, reason, attempts) values ('e', 'amount_missing', %(value)s)",
        (1, 2),
        (0, -1, None),
    ),
    "what has gone back of a refunded group": (
        "insert into public.order_groups (currency, total_amount, status, refunded_amount)"
        " values ('KWD', 7, 'refunded', %(value)s)",
        ("7", "7.000"),
        ("6.999", "7.001", "0", "-7", "NaN", None),
    ),
    "a step": (
        "insert into public.order_status_changes (order_group_id, from_status, to_status, changed_at, changed_by)"
        " values (%(group)s, 'paid', %(value)s, now(), 'ada')",
        ("refunded",),
        ("paid", None),
    ),
}


@dataclass(frozen=True, slots=True)
class Desk:
    """The owner of the tables, and rows to write beside."""

    owner: Connection
    names: dict[str, Any]

    def accepts(self, statement: LiteralString, **values: Any) -> bool:
        """Whether the statement passes; it leaves nothing behind."""
        try:
            with self.owner.transaction(force_rollback=True):
                self.owner.execute(statement, self.names | values)
        except (psycopg.IntegrityError, psycopg.DataError):
            return False
        return True


@pytest.fixture(scope="module")
def desk(module_db: Database) -> Iterator[Desk]:
    with module_db.connect() as superuser, module_db.act_as("service_role") as service:
        shop = open_shop(superuser, service)
        group = shop.order_group([[(1, "1")]], currency="KWD")
        names = {
            "group": group.id,
            "order": group.order_ids[0],
            "item": group.item_ids[0],
            "seller": shop.sellers[0].id,
            "product": shop.sellers[0].product_ids[0],
        }
        with module_db.connect("postgres") as owner:
            yield Desk(owner, names)


def present(places: int) -> Iterable[tuple[bool, ...]]:
    """Every way in which so many columns can be filled or null."""
    return product((False, True), repeat=places)


@pytest.mark.parametrize("what", BOUNDS)
def test_bound_lets_through_what_is_just_inside_and_nothing_just_outside(desk: Desk, what: str) -> None:
    statement, inside, outside = BOUNDS[what]

    told = {value: desk.accepts(statement, value=value) for value in (*inside, *outside)}

    assert told == dict.fromkeys(inside, True) | dict.fromkeys(outside, False)


def test_words_that_columns_hold_are_these_and_no_others(desk: Desk) -> None:
    rows = desk.owner.execute(
        "select c.conname::text as name, pg_get_constraintdef(c.oid) as text from pg_constraint as c"
        " where c.contype = 'c' and c.conname like '%\\_is\\_known\\_check' and pg_get_constraintdef(c.oid) like '%''%'"
    ).fetchall()

    told = {row["name"]: set(re.findall(r"[a-z_]+", " ".join(re.findall(r"'([^']*)'", row["text"])))) for row in rows}

    assert told == WORDS


def test_group_has_the_columns_of_a_payment_when_it_was_paid_and_only_then(desk: Desk) -> None:
    statuses = sorted(WORDS["order_groups_status_is_known_check"])
    told, expected = {}, {}

    for status, (paid_at, event, intent, session) in product(statuses, present(4)):
        case = (status, paid_at, event, intent, session)
        told[case] = desk.accepts(
            "insert into public.order_groups (currency, total_amount, status, paid_at, stripe_webhook_event_id,"
            " stripe_payment_intent_id, stripe_checkout_session_id, refunded_amount) values ('USD', 1, %(status)s,"
            " case when %(paid_at)s then now() end, case when %(event)s then 'evt' end,"
            " case when %(intent)s then 'pi' end, case when %(session)s then 'cs' end,"
            " case %(status)s when 'refunded' then 1 else 0 end)",
            status=status,
            paid_at=paid_at,
            event=event,
            intent=intent,
            session=session,
        )
        expected[case] = {
            "pending": not any(case[1:]),
            "cancelled": not any(case[1:]),
            "paid": paid_at and event and session,
            "refunded": True,
        }[status]

    assert told == expected


def test_order_says_when_it_was_paid_from_then_on(desk: Desk) -> None:
    statuses = sorted(WORDS["orders_status_is_known_check"])

    told = {
        (status, paid): desk.accepts(
            "insert into public.orders (order_group_id, seller_id, total_amount, status, paid_at) values"
            " (%(group)s, %(seller)s, 1, %(status)s, case when %(paid)s then now() end)",
            status=status,
            paid=paid,
        )
        for status, paid in product(statuses, (False, True))
    }

    timeless = {"pending", "cancelled", "refunded"}
    assert told == {(status, paid): paid or status in timeless for status, paid in product(statuses, (False, True))}


def test_kinds_of_movement_each_have_their_sign_their_item_and_their_event(desk: Desk) -> None:
    kinds = sorted(WORDS["inventory_ledger_entry_type_is_known_check"])
    told, expected = {}, {}

    for kind, delta, (item, event, refund, note) in product(kinds, (-1, 0, 1), present(4)):
        case = (kind, delta, item, event, refund, note)
        told[case] = desk.accepts(
            "insert into public.inventory_ledger (product_id, seller_id, entry_type, quantity_delta, order_item_id,"
            " stripe_webhook_event_id, stripe_refund_id, note) values (%(product)s, %(seller)s, %(kind)s, %(delta)s,"
            " case when %(named)s then %(item)s::uuid end, case when %(event)s then 'evt' end,"
            " case when %(refund)s then 're' end, case when %(note)s then 'why' end)",
            kind=kind,
            delta=delta,
            named=item,
            event=event,
            refund=refund,
            note=note,
        )
        expected[case] = {
            "order_commit": delta < 0 and item and event and not refund,
            "order_return": delta > 0 and item and not event and note,
            "receipt": delta > 0 and not (item or event or refund),
            "adjustment": delta != 0 and not (item or event or refund),
        }[kind]

    assert told == expected


def test_closed_case_says_how_by_whom_and_when_and_an_open_one_does_not(desk: Desk) -> None:
    resolutions = sorted(WORDS["exceptions_resolution_is_known_check"])
    told, expected = {}, {}

    for status, resolution, (by, at) in product(("open", "resolved"), (None, *resolutions), present(2)):
        case = (status, resolution, by, at)
        told[case] = desk.accepts(
            "insert into payments.exceptions (stripe_event_id, reason, status, resolution, resolved_by, resolved_at)"
            " values ('evt', 'amount_missing', %(status)s, %(resolution)s, case when %(by)s then 'ada' end,"
            " case when %(at)s then now() end)",
            status=status,
            resolution=resolution,
            by=by,
            at=at,
        )
        expected[case] = (status == "resolved") == (resolution is not None and by and at)

    assert told == expected


def test_step_of_an_order_has_its_seller_and_one_of_the_group_has_none(desk: Desk) -> None:
    told = {
        (order, seller): desk.accepts(
            "insert into public.order_status_changes (order_group_id, order_id, seller_id, from_status, to_status,"
            " changed_at, changed_by) values (%(group)s, case when %(named)s then %(order)s::uuid end,"
            " case when %(sold)s then %(seller)s::uuid end, 'paid', 'refunded', now(), 'ada')",
            named=order,
            sold=seller,
        )
        for order, seller in present(2)
    }

    assert told == {(False, False): True, (False, True): False, (True, False): False, (True, True): True}
