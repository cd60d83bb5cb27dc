"""`explain_order_group()`, whole: each key of the story of one group that went through everything."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

from relay.server.readiness import CONTRACT_VERSION, OLDEST_DATABASE
from sql_tests.goods import give_back, give_up, line
from testkit.database import Connection, Row, scalar
from testkit.payments import Payment, reconcile
from testkit.refunds import Dispute, Refund, record
from testkit.shop import OrderGroup, Shop

RESOLVE: LiteralString = "select public.resolve_payment_exception(%s, %s, %s, %s)"
PAYMENT = "reconcile_order_group_payment"

CREATED = "an order group starts pending and waits for one payment of its total"
PAID = "one payment of its total moves a group and its orders from pending to paid"
ASKED = "a dispute waits for a person until it has ended well"
WAITING = "a refund counts once it has succeeded"
GONE = "money went back: the group is refunded once that is its total"
FORWARD = "an order of a paid group moves forward, one step at a time"
GIVEN_UP = "a pending group is given up with its orders, once"
REFUNDED = "money went back: what was paid stays on record"
APPLIED = "amount, currency and totals agreed: this payment paid the group"
TWIN = "another event of the payment that had paid the group: recorded, nothing else"
TAKEN = "each item of a paid group takes its quantity from stock, once"


def explain(service: Connection, group: OrderGroup) -> Row:
    story: Row = scalar(service, "select public.explain_order_group(%s)", group.id)
    return story


def as_json(connection: Connection, query: LiteralString, *values: Any) -> list[Any]:
    """What a query tells as `row`: whole rows, or times as JSON writes them."""
    return [row["row"] for row in connection.execute(query, values).fetchall()]


def event(payment: Payment, at: str, outcome: str, rule: str) -> Row:
    return {
        "at": at,
        "kind": "stripe_event",
        "rule": rule,
        "outcome": outcome,
        "stripe_event_id": payment.event_id,
        "event_type": payment.event_type,
        "event_created_at": "2026-11-01T12:00:00+00:00",
        "livemode": False,
        "account": None,
        "order_group_id": str(payment.order_group_id),
        "checkout_session_id": payment.checkout_session_id,
        "payment_intent_id": payment.payment_intent_id,
        "amount_minor": str(payment.amount_minor),
        "amount": payment.amount,
        "currency": "USD",
        "session_metadata": payment.session_metadata,
        "source": payment.source,
    }


def exception(row: Row, rule: str) -> Row:
    told = (
        "attempts",
        "details",
        "last_seen_at",
        "note",
        "reason",
        "resolution",
        "resolved_at",
        "resolved_by",
        "status",
    )
    return {
        "at": row["first_seen_at"],
        "kind": "payment_exception",
        "exception_id": row["id"],
        "stripe_event_id": row["stripe_event_id"],
        "rule": rule,
    } | {key: row[key] for key in told}


def step(at: str, order_id: UUID | None, path: str, by: str, rule: str, note: str | None = None) -> Row:
    first, second = path.split()
    return {
        "at": at,
        "kind": "status_change",
        "order_id": None if order_id is None else str(order_id),
        "from_status": first,
        "to_status": second,
        "changed_by": by,
        "note": note,
        "rule": rule,
    }


def back_or_asked_back(group: OrderGroup, one: Refund, at: str, rule: str) -> Row:
    """As its first status is told."""
    return {
        "at": at,
        "kind": one.kind,
        f"{one.kind}_id": one.id,
        "order_group_id": str(group.id),
        "payment_intent_id": one.payment_intent_id,
        "amount_minor": str(one.amount_minor),
        "amount": one.amount,
        "currency": "USD",
        "status": one.status,
        "from_status": None,
        "to_status": one.status,
        "reason": one.reason,
        "created_at": "2026-11-02T12:00:00+00:00",
        "livemode": False,
        "source": "webhook",
        "stripe_event_id": one.event_id,
        "set_aside_reason": None,
        "rule": rule,
    }


def test_story_of_a_group_that_went_through_everything(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group([[(3, "2.50"), (1, "0.50"), (2, "1")], [(1, "4")]])
    payment = group.payment()
    wrong = payment.rival().but(amount_minor=1, amount="0.01")
    for _ in range(2):
        reconcile(service, wrong)
    (case,) = service.execute("select id from public.list_payment_exceptions()").fetchall()
    scalar(service, RESOLVE, case["id"], "refunded", "ada", "sent back")
    reconcile(service, payment)
    twin = payment.twin()
    reconcile(service, twin)
    reconcile(service, payment.rival())
    scalar(service, "select public.advance_order(%s, 'fulfilled')", group.order_ids[0])
    give_back(service, group.id, [line(group.item_ids[0], 2)], "too small", "re_1")
    give_up(service, group.order_ids[1], "sold out", returning=False)
    scalar(service, "select public.record_inventory_adjustment(%s, -1, 'broken')", shop.sellers[0].product_ids[1])
    disputed = Dispute.of(payment, reason="fraudulent")
    assert record(service, disputed)["outcome"] == "recorded"
    back = Refund.of(payment, status="pending", reason="requested_by_customer")
    done = back.then("succeeded")
    assert [record(service, back)["outcome"], record(service, done)["outcome"]] == ["recorded"] * 2

    story = explain(service, group)

    created = scalar(superuser, "select to_jsonb(created_at) from public.order_groups")
    first, second, third = as_json(superuser, "select to_jsonb(x) as row from payments.exceptions as x order by id")
    one, two = as_json(
        superuser, "select to_jsonb(processed_at) as row from payments.stripe_events order by processed_at"
    )
    steps = as_json(superuser, "select to_jsonb(changed_at) as row from public.order_status_changes order by id")
    ledger = as_json(superuser, "select to_jsonb(l) as row from public.inventory_ledger as l order by id")
    paid_orders = as_json(
        superuser,
        "select order_id as row from public.order_status_changes where to_status = 'paid' order by id offset 1",
    )
    of_refund, of_dispute = (
        as_json(superuser, f"select to_jsonb(changed_at) as row from payments.{kind}_status_changes order by id")
        for kind in ("refund", "dispute")
    )
    assert (first["attempts"], first["note"], second["status"]) == (2, "sent back", "open")
    assert sorted(paid_orders) == sorted(group.order_ids)
    assert len(ledger) == 6
    assert story.pop("timeline") == [
        {"at": created, "kind": "order_group_created", "rule": CREATED},
        exception(first, "the payment is not the order group's total"),
        event(payment, one, "applied", APPLIED),
        step(one, None, "pending paid", PAYMENT, PAID),
        *(step(one, order_id, "pending paid", PAYMENT, PAID) for order_id in paid_orders),
        *(
            {
                "at": one,
                "kind": "inventory_ledger",
                "ledger_id": entry["id"],
                "entry_type": "order_commit",
                "product_id": entry["product_id"],
                "order_item_id": entry["order_item_id"],
                "quantity_delta": entry["quantity_delta"],
                "stripe_event_id": payment.event_id,
                "stripe_refund_id": None,
                "recorded_by": None,
                "note": None,
                "rule": TAKEN,
            }
            for entry in ledger[:4]
        ),
        event(twin, two, "already_paid", TWIN),
        exception(second, "another payment had paid the order group: this one is owed back"),
        step(steps[3], group.order_ids[0], "paid fulfilled", "service_role", FORWARD),
        {
            "at": ledger[4]["created_at"],
            "kind": "inventory_ledger",
            "ledger_id": ledger[4]["id"],
            "entry_type": "order_return",
            "product_id": str(shop.sellers[0].product_ids[0]),
            "order_item_id": str(group.item_ids[0]),
            "quantity_delta": 2,
            "stripe_event_id": None,
            "stripe_refund_id": "re_1",
            "recorded_by": "service_role",
            "note": "too small",
            "rule": "no more of an item comes back than it took",
        },
        step(
            steps[4],
            group.order_ids[1],
            "paid refunded",
            "service_role",
            "an order of a paid group is given up, with the reason; its money is another fact",
            "sold out",
        ),
        {
            "at": ledger[5]["created_at"],
            "kind": "inventory_ledger",
            "ledger_id": ledger[5]["id"],
            "entry_type": "adjustment",
            "product_id": str(shop.sellers[0].product_ids[1]),
            "order_item_id": None,
            "quantity_delta": -1,
            "stripe_event_id": None,
            "stripe_refund_id": None,
            "recorded_by": "service_role",
            "note": "broken",
            "rule": "a person has corrected the stock of a product that was ordered here",
        },
        back_or_asked_back(group, disputed, of_dispute[0], ASKED),
        exception(third, "the buyer's bank asks for the payment's money back"),
        back_or_asked_back(group, back, of_refund[0], WAITING) | {"status": "succeeded"},
        back_or_asked_back(group, done, of_refund[1], GONE) | {"from_status": "pending"},
        step(steps[5], None, "paid refunded", "record_refund", REFUNDED),
        step(steps[6], group.order_ids[0], "fulfilled refunded", "record_refund", REFUNDED),
    ]
    whole = scalar(superuser, "select to_jsonb(g) from public.order_groups as g")
    assert {key: story.pop(key) for key in ("order_group_id", "order_group", "open_exceptions", "verdict")} == {
        "order_group_id": str(group.id),
        "order_group": whole | {"total_amount": "14.00", "refunded_amount": "14.00"},
        "open_exceptions": 2,
        "verdict": "It is refunded, and a payment came that needs a person.",
    }
    assert story.keys() == {"orders"}


def test_orders_and_items_of_a_story_are_told_whole_and_in_order(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    """Six of each: that another order of them looks the same is one in 720."""
    prices = ["6", "5.50", "4", "3.25", "2", "0.001"]
    group = shop.order_group(
        [[(place, price) for place, price in enumerate(prices, start=1)], *([(1, p)] for p in prices[:5])],
        currency="KWD",
    )
    reconcile(service, group.payment())

    story = explain(service, group)

    # Nothing had come in.
    sold = {
        row["product_id"]: row["pieces"]
        for row in superuser.execute("select product_id, sum(quantity) as pieces from public.order_items group by 1")
    }
    assert story["orders"] == [
        {
            "id": str(order["id"]),
            "seller_id": str(order["seller_id"]),
            "seller": scalar(superuser, "select name from public.sellers where id = %s", order["seller_id"]),
            "status": "paid",
            "total_amount": str(order["total_amount"]),
            "paid_at": scalar(superuser, "select to_jsonb(%s::timestamptz)", order["paid_at"]),
            "items": [
                {
                    "id": str(item["id"]),
                    "product_id": str(item["product_id"]),
                    "sku": item["sku"],
                    "title": item["title"],
                    "quantity": item["quantity"],
                    "unit_amount": str(item["unit_amount"]),
                    "returned": 0,
                    "oversold": sold[item["product_id"]],
                }
                for item in superuser.execute(
                    "select * from public.order_items where order_id = %s order by id", [order["id"]]
                )
            ],
        }
        for order in superuser.execute("select * from public.orders order by id").fetchall()
    ]
    assert len(story["orders"]) == 6


def test_story_of_a_group_that_was_given_up(service: Connection, superuser: Connection, shop: Shop) -> None:
    group = shop.order_group([[(1, "5")]])
    scalar(service, "select public.cancel_order_group(%s)", group.id)

    story = explain(service, group)

    times = as_json(superuser, "select to_jsonb(changed_at) as row from public.order_status_changes order by id")
    assert story["timeline"][1:] == [
        step(times[0], None, "pending cancelled", "service_role", GIVEN_UP),
        step(times[1], group.order_ids[0], "pending cancelled", "service_role", GIVEN_UP),
    ]
    assert (story["verdict"], story["open_exceptions"]) == ("It is cancelled.", 0)


def test_story_of_no_group_is_empty_but_whole(service: Connection) -> None:
    unknown: UUID = scalar(service, "select gen_random_uuid()")

    assert scalar(service, "select public.explain_order_group(%s)", unknown) == {
        "order_group_id": str(unknown),
        "order_group": None,
        "orders": [],
        "timeline": [],
        "open_exceptions": 0,
        "verdict": "There is no such order group.",
    }


def test_verdict_says_what_the_group_waits_for(service: Connection, shop: Shop) -> None:
    waiting, refused, closed, cancelled, late, paid, doubly_paid, refunded = (shop.order_group() for _ in range(8))
    partly, sent_back = shop.order_group(), shop.order_group()
    for group in (refused, closed):
        reconcile(service, group.payment().but(amount_minor=1, amount="0.01"))
    for group in (cancelled, late):
        scalar(service, "select public.cancel_order_group(%s)", group.id)
    reconcile(service, late.payment())
    payments = {group.id: group.payment() for group in (paid, doubly_paid, refunded, partly)}
    for payment in payments.values():
        reconcile(service, payment)
    reconcile(service, doubly_paid.payment())
    gone = sent_back.payment()
    for back in (Refund.of(payments[refunded.id]), Refund.of(payments[partly.id], 24), Refund.of(gone)):
        assert record(service, back)["outcome"] == "recorded"
    assert reconcile(service, gone)["outcome"] == "resolved"
    case = scalar(service, "select id from public.list_payment_exceptions() where order_group_id = %s", closed.id)
    scalar(service, RESOLVE, case, "dismissed", "ada", None)

    told = [
        explain(service, group)["verdict"]
        for group in (waiting, refused, closed, cancelled, late, paid, doubly_paid, refunded, partly, sent_back)
    ]

    assert told == [
        "Pending: no payment has been recorded. A delivery that failed before a verdict leaves no row here: the relay's"
        " log and Stripe's list of deliveries tell of it.",
        "Pending: a payment came but could not be applied.",
        "Pending: a payment came, and an operator has closed its case.",
        "It is cancelled.",
        "It is cancelled, and a payment came that needs a person.",
        f"Paid by event {payments[paid.id].event_id}.",
        f"Paid by event {payments[doubly_paid.id].event_id}.",
        "It is refunded.",
        f"Paid by event {payments[partly.id].event_id}; 0.24 of 74.24 USD went back.",
        "Pending: a payment came, and all of its money went back.",
    ]


def test_each_reason_has_its_own_rule(superuser: Connection) -> None:
    """As in the migration that makes payments.reasons: these sentences are told to people, so none changes unseen."""
    told = {row["reason"]: row["sentence"] for row in superuser.execute("select * from payments.reasons").fetchall()}

    assert told == {
        "missing_reference": "the session names no order group, in its metadata or as client_reference_id",
        "malformed_reference": "the session's order group reference is not a UUID",
        "conflicting_references": "metadata and client_reference_id name different order groups",
        "foreign_account": "another Stripe account was paid: its money pays no order group here",
        "order_group_not_found": "the order group that the session names does not exist",
        "order_group_not_payable": "a cancelled or refunded order group is never revived by a payment",
        "order_group_empty": "the group has no order, or an order has no item",
        "amount_missing": "the event carries no whole, non-negative amount",
        "currency_unsupported": "the currency is not in payments.currencies",
        "amount_normalization_mismatch": "major and minor units disagree by Stripe's table of exponents",
        "currency_mismatch": "the payment is not in the order group's currency",
        "amount_mismatch": "the payment is not the order group's total",
        "totals_inconsistent": "the order group's total is not the sum of its orders",
        "duplicate_payment": "another payment had paid the order group: this one is owed back",
        "payment_already_used": "this payment has paid another order group",
        "event_collision": "the event id was processed before, with another payload",
        "payment_refunded": "Stripe had sent all of the payment's money back before it came",
        "exceeds_payment": "more would go back than the payment has brought",
        "refund_collision": "the refund was recorded before, of another payment, amount, currency or mode",
        "dispute_collision": "the dispute was recorded before, of another payment, amount, currency or mode",
        "payment_disputed": "the buyer's bank asks for the payment's money back",
    }


def test_cancelling_is_answered_whole(service: Connection, shop: Shop) -> None:
    pending, paid = shop.order_group([[(1, "1")]] * 3), shop.order_group()
    reconcile(service, paid.payment())
    unknown: UUID = scalar(service, "select gen_random_uuid()")

    def cancel(id_: UUID) -> Row:
        told: Row = scalar(service, "select public.cancel_order_group(%s)", id_)
        assert told.pop("order_group_id") == str(id_)
        return told

    assert [cancel(id_) for id_ in (pending.id, pending.id, paid.id, unknown)] == [
        {"outcome": "cancelled", "reason": None, "orders_cancelled": 3},
        {"outcome": "already_cancelled", "reason": None, "orders_cancelled": 0},
        {"outcome": "rejected", "reason": "order_group_not_pending", "orders_cancelled": 0},
        {"outcome": "rejected", "reason": "order_group_not_found", "orders_cancelled": 0},
    ]


def test_readiness_is_told_whole_whoever_asks(service: Connection, owner: Connection) -> None:
    for connection, role, may in ((service, "service_role", True), (owner, "postgres", True)):
        with connection.transaction():
            began = scalar(connection, "select to_jsonb(now())")
            told = scalar(connection, "select public.reconciliation_readiness()")

        assert told.pop("server_time") > began
        currencies = told.pop("currencies")
        assert {code: currencies[code] for code in ("USD", "JPY", "KWD", "ISK")} == {
            "USD": 2,
            "JPY": 0,
            "KWD": 3,
            "ISK": 2,
        }
        assert told == {
            "contract_version": CONTRACT_VERSION,
            "oldest_contract_version": OLDEST_DATABASE,
            "role": role,
            "can_execute": may,
            "anon_can_execute": False,
            "fragile_triggers": [],
            "open_exceptions": {},
            "oldest_open_exception_at": None,
            "expiry_last_ran_at": None,
            "overdue_since": None,
        }


def test_totals_keep_the_digits_that_the_shop_wrote(service: Connection, shop: Shop) -> None:
    group = shop.order_group([[(1, "12.3")]], total_amount=Decimal("12.30"))

    story = explain(service, group)

    assert (story["order_group"]["total_amount"], story["orders"][0]["total_amount"]) == ("12.30", "12.3")


def test_refund_of_a_payment_that_paid_another_group_is_told_as_such(service: Connection, shop: Shop) -> None:
    paid, named = shop.order_group(), shop.order_group()
    payment = paid.payment()
    reconcile(service, payment)
    verdict = reconcile(service, payment.twin().but(order_group_id=named.id))
    assert verdict["reason"] == "payment_already_used"
    assert record(service, Refund.of(payment, 100))["outcome"] == "recorded"

    rules = [
        next(entry["rule"] for entry in explain(service, group)["timeline"] if entry["kind"] == "refund")
        for group in (paid, named)
    ]

    assert rules == [
        "money went back: the group is refunded once that is its total",
        "it is of a payment that has not paid the group: the group does not change",
    ]


def test_refund_of_another_payment_is_told_where_that_payment_is(service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    first, second = group.payment(), group.payment()
    for payment in (first, second):
        reconcile(service, payment)
    back = Refund.of(second)
    assert record(service, back)["outcome"] == "recorded"
    asked = Dispute.of(first, status="won")
    assert record(service, asked)["outcome"] == "recorded"

    told = [entry for entry in explain(service, group)["timeline"] if entry["kind"] in ("refund", "dispute")]

    assert [(entry["kind"], entry["payment_intent_id"], entry["order_group_id"], entry["rule"]) for entry in told] == [
        (
            "refund",
            second.payment_intent_id,
            None,
            "it is of a payment that has not paid the group: the group does not change",
        ),
        ("dispute", first.payment_intent_id, str(group.id), "a dispute that ended well needs nobody"),
    ]


def test_id_of_any_kind_leads_to_its_group_and_its_exceptions(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group, stranger = shop.order_group(), shop.order_group()
    payment, twin, rival = (one := group.payment()), one.twin(), one.rival()
    for event in (payment, twin, rival, stranger.payment().but(order_group_id=UUID(int=7))):
        reconcile(service, event)
    of_rival, of_nobody = Refund.of(rival, 100), Refund.of(stranger.payment())
    asked = Dispute.of(payment)
    for one_back in (of_rival, of_nobody, asked):
        assert record(service, one_back)["outcome"] == "recorded"
    too_much, in_euro = Refund.of(payment, 10**6), Dispute.of(payment).but(currency="eur")
    for set_aside in (too_much, in_euro):
        assert record(service, set_aside)["outcome"] == "rejected"
    (case,) = superuser.execute("select id from payments.exceptions where stripe_event_id = %s", [rival.event_id])
    (disputed,) = superuser.execute("select id from payments.exceptions where dispute_id = %s", [asked.id])
    (refused,) = superuser.execute("select id from payments.exceptions where refund_id = %s", [too_much.id])
    (foreign,) = superuser.execute("select id from payments.exceptions where dispute_id = %s", [in_euro.id])
    mine = {"order_groups": [str(group.id)]}

    def find(id_: object) -> Row:
        told: Row = scalar(service, "select public.find_order_groups(%s)", id_ if id_ is None else str(id_))
        of_money = [one.pop(f"{kind}_id") for kind in ("refund", "dispute") for one in told.pop(f"{kind}s")]
        assert of_money == money.get(str(id_), [])
        return told

    money = {back.id: [back.id] for back in (of_rival, of_nobody, asked)} | {
        str(of_rival.payment_intent_id): [of_rival.id],
        str(payment.payment_intent_id): [asked.id],
    }

    for id_ in (group.id, f" {str(group.id).upper()} ", group.order_ids[1], group.item_ids[0], twin.event_id):
        assert find(id_) == mine | {"exceptions": []}
    for id_ in (payment.payment_intent_id, asked.id, asked.event_id):
        assert find(id_) == mine | {"exceptions": [disputed["id"], refused["id"], foreign["id"]]}
    for id_ in (rival.event_id, rival.payment_intent_id, rival.checkout_session_id, case["id"]):
        assert find(id_) == mine | {"exceptions": [case["id"]]}
    for id_ in (of_rival.id, of_rival.event_id):
        assert find(id_) == mine | {"exceptions": [case["id"]]}
    for back in (too_much, in_euro):
        for id_ in (back.id, back.event_id):
            assert find(id_) == mine | {"exceptions": [refused["id"] if back is too_much else foreign["id"]]}
    nothing: Row = {"order_groups": [], "exceptions": []}
    for id_ in (of_nobody.id, UUID(int=7), "", "cart-17", "9" * 40, None, "%", "pi_"):
        assert find(id_) == nothing


def test_story_tells_the_last_corrections_of_its_products_since_it_was_made(service: Connection, shop: Shop) -> None:
    product = shop.sellers[0].product_ids[0]
    correct: LiteralString = "select public.record_inventory_adjustment(%s, 1, %s)"
    scalar(service, correct, product, "before")
    group = shop.order_group([[(1, "5"), (2, "5")], [(1, "5")]])
    scalar(service, correct, shop.sellers[1].product_ids[2], "of another product")

    def told() -> list[str]:
        return [entry["note"] for entry in explain(service, group)["timeline"] if entry["kind"] == "inventory_ledger"]

    assert told() == []
    for number in range(12):
        scalar(service, correct, product, f"correction {number}")
    assert told() == [f"correction {number}" for number in range(2, 12)]
