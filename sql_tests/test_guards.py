"""Rules at the edges, each against a fault of mutants.py that nothing else would notice."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import IsolationLevel

from sql_tests.actions import Pay, Resolve
from sql_tests.model import CLOSED_ALREADY
from sql_tests.races import Arena
from testkit.database import Connection, Database, scalar
from testkit.payments import Payment, reconcile
from testkit.shop import OrderGroup, Shop

RECONCILE: LiteralString = (
    "public.reconcile_order_group_payment(uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text,"
    " jsonb, text, text)"
)


@pytest.fixture(scope="module")
def arena(module_db: Database) -> Iterator[Arena]:
    with Arena.open(module_db) as arena:
        yield arena


def rejected_and_resolved(
    service: Connection, owner: Connection, group: OrderGroup, payment: Payment, resolution: str
) -> None:
    """The payment was rejected, an operator closed the case, and its cause is gone since."""
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    assert reconcile(service, payment)["reason"] == "amount_mismatch"
    owner.execute("update public.order_groups set total_amount = %s where id = %s", [group.total_amount, group.id])
    scalar(
        service,
        "select public.resolve_payment_exception(x.id, %s, 'ada') from public.list_payment_exceptions() as x",
        resolution,
    )


# --- frozen groups and orders -----------------------------------------------------------------------------------------


def test_group_that_nobody_paid_cannot_become_refunded(service: Connection, owner: Connection, shop: Shop) -> None:
    group = shop.order_group()
    scalar(service, "select public.cancel_order_group(%s)", group.id)

    with pytest.raises(psycopg.errors.CheckViolation, match="cannot be changed"):
        owner.execute("update public.order_groups set status = 'refunded' where id = %s", [group.id])


def test_step_forward_cannot_change_when_the_order_was_paid(service: Connection, owner: Connection, shop: Shop) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())

    with pytest.raises(psycopg.errors.CheckViolation, match="cannot go from paid to fulfilled"):
        owner.execute(
            "update public.orders set status = 'fulfilled', paid_at = '2020-01-01' where id = %s", [group.order_ids[0]]
        )


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_owner_can_refund_an_order_wherever_it_is_on_its_way(
    service: Connection, owner: Connection, shop: Shop, steps: int
) -> None:
    group = shop.order_group()
    reconcile(service, group.payment())
    for status in ("fulfilled", "shipped", "delivered")[:steps]:
        service.execute("update public.orders set status = %s where id = %s", [status, group.order_ids[0]])

    owner.execute("update public.orders set status = 'refunded' where id = %s", [group.order_ids[0]])

    assert scalar(owner, "select paid_at is not null from public.orders where id = %s", group.order_ids[0])


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_every_earlier_reason_of_an_event_is_kept(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    payment = group.payment()
    owner.execute("update public.order_groups set total_amount = 1 where id = %s", [group.id])
    reconcile(service, payment)
    owner.execute("update public.order_groups set total_amount = %s where id = %s", [group.total_amount, group.id])
    owner.execute("update public.orders set total_amount = 1 where order_group_id = %s", [group.id])
    reconcile(service, payment)
    scalar(service, "select public.cancel_order_group(%s)", group.id)

    reconcile(service, payment)

    kept = scalar(superuser, "select details from payments.exceptions")
    assert [entry["reason"] for entry in kept["earlier"]] == ["amount_mismatch", "totals_inconsistent"]


def test_every_payload_that_came_under_a_rejected_event_id_is_kept(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    payment = shop.order_group().payment().but(amount_minor=1, amount="0.01")
    reconcile(service, payment)

    reconcile(service, payment.but(amount_minor=2, amount="0.02"))

    details = scalar(superuser, "select details from payments.exceptions")
    assert details["received"]["amount_minor"] == "2"
    assert [entry["received"]["amount_minor"] for entry in details["earlier"]] == ["1"]


def test_replay_of_an_event_with_nothing_that_may_be_null_is_a_replay(
    db: Database, service: Connection, shop: Shop
) -> None:
    payment = shop.order_group([[(1, "0")]]).payment().but(payment_intent_id=None, event_created=None)
    reconcile(service, payment)
    before = db.snapshot()

    assert reconcile(service, payment)["outcome"] == "replayed"
    assert db.snapshot() == before


def test_case_that_came_again_keeps_its_place_in_the_list(service: Connection, shop: Shop) -> None:
    payments = [shop.order_group().payment().but(amount_minor=1, amount="0.01") for _ in range(3)]
    for payment in [*payments, payments[0]]:
        reconcile(service, payment)

    rows = service.execute("select stripe_event_id from public.list_payment_exceptions()").fetchall()

    assert [row["stripe_event_id"] for row in rows] == [payment.event_id for payment in payments]


# --- refunds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", ["fixed_by_hand", "dismissed"])
def test_case_that_was_closed_without_a_refund_leaves_the_twin_event_free(
    service: Connection, owner: Connection, shop: Shop, resolution: str
) -> None:
    group = shop.order_group()
    payment = group.payment()
    rejected_and_resolved(service, owner, group, payment, resolution)

    assert reconcile(service, payment.twin())["outcome"] == "applied"


@pytest.mark.parametrize(
    "other", [{"checkout_session_id": "cs_test_other"}, {"payment_intent_id": "pi_other"}, {"payment_intent_id": None}]
)
def test_refund_counts_for_the_session_and_for_the_payment_intent(
    db: Database, service: Connection, owner: Connection, shop: Shop, other: dict[str, Any]
) -> None:
    group = shop.order_group()
    payment = group.payment()
    rejected_and_resolved(service, owner, group, payment, "refunded")
    twin = payment.twin().but(**other)
    before = db.snapshot()

    assert reconcile(service, twin)["outcome"] == "resolved"

    after = db.snapshot()
    assert len(after.pop("payments.exceptions")) == len(before.pop("payments.exceptions")) + 1
    assert after == before
    kept = db.snapshot()
    assert reconcile(service, twin)["outcome"] == "resolved"
    assert db.snapshot() == kept


# --- rules ------------------------------------------------------------------------------------------------------------

SPOILT: list[tuple[str, dict[str, Any]]] = [
    ("amount_missing", {"amount": None}),
    ("currency_unsupported", {"currency": "xxx"}),
    ("amount_normalization_mismatch", {"amount": "7"}),
    ("currency_mismatch", {"currency": "eur"}),
    ("amount_mismatch", {"amount_minor": 1, "amount": "0.01"}),
]


@pytest.mark.parametrize("place", range(len(SPOILT) - 1))
def test_reasons_are_judged_in_the_order_of_the_contract(service: Connection, shop: Shop, place: int) -> None:
    group = shop.order_group(total_amount=Decimal("70.00"))  # which is not the sum of its orders, the last reason
    first, later = SPOILT[place], SPOILT[place + 1]

    verdict = reconcile(service, group.payment().but(**(later[1] | first[1])))

    assert verdict["reason"] == first[0]


def test_wrong_amount_is_the_reason_before_inconsistent_totals(service: Connection, shop: Shop) -> None:
    group = shop.order_group(total_amount=Decimal("70.00"))

    assert reconcile(service, group.payment().but(**SPOILT[-1][1]))["reason"] == "amount_mismatch"


def test_pending_group_with_an_order_that_is_ahead_of_it_is_not_payable(
    service: Connection, owner: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    order_id = scalar(
        owner,
        "insert into public.orders (order_group_id, seller_id, total_amount, status, paid_at)"
        " values (%s, %s, 0, 'paid', now()) returning id",
        group.id,
        shop.sellers[0].id,
    )
    shop.add_item(order_id, shop.sellers[0].product_ids[0], 1, "0")

    verdict = reconcile(service, group.payment())

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "order_group_not_payable")
    assert scalar(superuser, "select count(*) from public.inventory_ledger") == 0


def test_event_of_the_same_payment_intent_in_another_session_is_already_paid(service: Connection, shop: Shop) -> None:
    payment = shop.order_group().payment()
    reconcile(service, payment)

    assert reconcile(service, payment.twin().but(checkout_session_id="cs_test_other"))["outcome"] == "already_paid"


@pytest.mark.parametrize("shared", ["payment_intent_id", "checkout_session_id"])
def test_twin_that_shares_the_other_half_of_its_payment_with_another_group_is_rejected(
    service: Connection, superuser: Connection, shop: Shop, shared: str
) -> None:
    payment, other = shop.order_group().payment(), shop.order_group().payment()
    reconcile(service, payment)
    reconcile(service, other)

    verdict = reconcile(service, payment.twin().but(**{shared: getattr(other, shared)}))

    assert (verdict["outcome"], verdict["reason"]) == ("rejected", "payment_already_used")
    assert scalar(superuser, "select count(*) from payments.stripe_events") == 2


# --- what must not be possible ----------------------------------------------------------------------------------------


def test_pending_group_that_an_event_has_paid_is_an_error_and_no_verdict(
    db: Database, service: Connection, owner: Connection, shop: Shop
) -> None:
    paid, pending = shop.order_group(), shop.order_group()
    reconcile(service, paid.payment())
    owner.execute(
        "insert into payments.stripe_events select (jsonb_populate_record(e, jsonb_build_object("
        " 'id', 'evt_x', 'order_group_id', %s::text, 'checkout_session_id', 'cs_x', 'payment_intent_id', 'pi_x'"
        " ))).* from payments.stripe_events as e",
        [str(pending.id)],
    )
    before = db.snapshot()

    with pytest.raises(psycopg.errors.DataCorrupted):
        reconcile(service, pending.payment())

    assert db.snapshot() == before


def test_order_that_comes_after_the_sum_is_an_error_and_nothing_is_paid(
    db: Database, service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    slip_in_while_paying(
        superuser,
        "insert into public.orders (order_group_id, seller_id, total_amount)"
        " select o.order_group_id, o.seller_id, 1 from public.orders as o limit 1",
    )
    before = db.snapshot()

    with pytest.raises(psycopg.errors.DataCorrupted, match="has 2 orders but 3 were paid"):
        reconcile(service, group.payment())

    assert db.snapshot() == before


def test_item_that_comes_after_the_sum_is_committed_like_the_others(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    group = shop.order_group()
    slip_in_while_paying(
        superuser,
        "insert into public.order_items (order_id, product_id, quantity, unit_amount)"
        " select i.order_id, i.product_id, 1, 0 from public.order_items as i limit 1",
    )

    assert reconcile(service, group.payment())["ledger_entries"] == 6
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []


def slip_in_while_paying(superuser: Connection, statement: LiteralString) -> None:
    """Somebody else's trigger, between the verdict and the group's new status."""
    superuser.execute(
        f"create function public.tg_slip_in() returns trigger language plpgsql"
        f" as $$ begin {statement}; return new; end $$"
    )
    superuser.execute(
        "create trigger slip_in before insert on payments.stripe_events"
        " for each row execute function public.tg_slip_in()"
    )


# --- the door ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["event_id", "event_type", "checkout_session_id"])
def test_blank_is_not_an_id(service: Connection, shop: Shop, field: str) -> None:
    payment = shop.order_group().payment().but(**{field: "  "})

    with pytest.raises(psycopg.errors.InvalidParameterValue):
        reconcile(service, payment)


def test_blank_payment_intent_is_none(service: Connection, superuser: Connection, shop: Shop) -> None:
    payments = [shop.order_group([[(1, "0")]]).payment().but(payment_intent_id=" ") for _ in range(2)]

    assert [reconcile(service, payment)["outcome"] for payment in payments] == ["applied", "applied"]
    assert scalar(superuser, "select count(payment_intent_id) from payments.stripe_events") == 0


@pytest.mark.parametrize(
    "name",
    [
        "reconcile_order_group_payment",
        "resolve_payment_exception",
        "reopen_payment_exception",
        "cancel_order_group",
        "advance_order",
    ],
)
def test_function_that_waits_for_a_lock_gives_up_before_the_data_api_does(superuser: Connection, name: str) -> None:
    settings = scalar(superuser, "select proconfig from pg_proc where proname = %s", name)

    assert "lock_timeout=3s" in settings


@pytest.mark.parametrize(
    "name",
    [
        "reconcile_order_group_payment",
        "record_inventory_receipt",
        "record_inventory_adjustment",
        "resolve_payment_exception",
        "reopen_payment_exception",
        "cancel_order_group",
        "advance_order",
    ],
)
def test_function_that_writes_says_so_to_the_data_api(superuser: Connection, name: str) -> None:
    """PostgREST calls a function that is not volatile in a read-only transaction, which a direct session does not."""
    assert scalar(superuser, "select provolatile::text from pg_proc where proname = %s", name) == "v"


def test_function_asks_the_data_api_for_read_committed(superuser: Connection) -> None:
    """PostgREST opens the transaction with it, so what a direct session does with it shows nothing."""
    settings = scalar(superuser, "select proconfig from pg_proc where proname = 'reconcile_order_group_payment'")

    assert "default_transaction_isolation=read committed" in settings


# --- people -----------------------------------------------------------------------------------------------------------


def test_two_operators_close_a_case_without_a_group_once(arena: Arena) -> None:
    group = arena.shop.order_group()
    unmatched = group.payment().but(order_group_id=None, unmatched_reason="missing_reference")
    first, second = (Resolve(str(unmatched.event_id), resolution) for resolution in ("refunded", "dismissed"))

    answers = arena.race(first, second, IsolationLevel.READ_COMMITTED, "commit", given=[Pay(unmatched)])

    assert answers == ("resolved", CLOSED_ALREADY)


def test_operators_word_on_a_case_that_names_another_group_comes_before_the_payment(arena: Arena) -> None:
    """The group's lock does not part these two: what does is the lock of the case."""
    payment, cheaper = arena.shop.order_group().payment(), arena.shop.order_group([[(1, "1.00")]])
    elsewhere = Pay(payment.but(order_group_id=cheaper.id))
    refund = Resolve(str(payment.event_id), "refunded")

    answers = arena.race(refund, Pay(payment), IsolationLevel.READ_COMMITTED, "commit", given=[elsewhere])

    assert answers == ("resolved", "resolved")


def test_event_that_waited_for_itself_with_another_amount_is_a_collision(arena: Arena) -> None:
    payment = arena.shop.order_group().payment()
    other = payment.but(amount_minor=1, amount="0.01")

    answers = arena.race(Pay(payment), Pay(other), IsolationLevel.READ_COMMITTED, "commit")

    assert answers == ("applied", "rejected event_collision")


def test_readiness_wants_every_overload_executable(service: Connection, owner: Connection) -> None:
    owner.execute(
        "create function public.reconcile_order_group_payment(p_other text) returns jsonb language sql"
        " security definer set search_path = '' as $$ select '{}'::jsonb $$;"
        " revoke execute on function public.reconcile_order_group_payment(text) from public, service_role"
    )

    assert scalar(service, "select public.reconciliation_readiness()")["can_execute"] is False


def test_readiness_without_the_function_is_a_no(service: Connection, owner: Connection) -> None:
    owner.execute("drop function " + RECONCILE)

    readiness = scalar(service, "select public.reconciliation_readiness()")

    assert (readiness["can_execute"], readiness["anon_can_execute"]) == (False, False)
