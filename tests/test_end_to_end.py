"""The whole path on real parts: a signed event, the relay, PostgREST, the database."""

import asyncio
import copy
import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_stack.stack import Stack
from local_stack.surface import StackSurface
from testkit.database import Connection, Row, scalar
from testkit.project import Project
from testkit.relay_under_test import Relay, serving
from testkit.shop import Shop, paid
from testkit.snapshot import Snapshot
from testkit.stripe_events import Json, completed, session_of, twin

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def superuser(project: Project) -> Connection:
    """Looks, and plays Supabase Auth; never reconciles."""
    return project.superuser


@pytest.fixture(scope="module")
def shop(project: Project) -> Shop:
    """The shop's server, as `service_role`."""
    return project.shop


def environment(stack: StackSurface, **changes: str) -> dict[str, str]:
    return {**stack.env(), "RELAY_HOST": "127.0.0.1", "RELAY_PORT": "0", **changes}


@pytest.fixture
async def relay(stack: StackSurface, anyio_backend: str) -> AsyncIterator[Relay]:
    assert anyio_backend == "asyncio"
    async with serving(environment(stack)) as running:
        yield running


@pytest.fixture
def deliver(relay: Relay, stack: StackSurface) -> Callable[[Json], Any]:
    """Sign with the stack's secret and send."""
    return lambda event: relay.deliver(event, secret=stack.stripe_webhook_secret)


def exception_of(superuser: Connection, event: Json) -> Row:
    rows = superuser.execute("select * from payments.exceptions where stripe_event_id = %s", [event["id"]]).fetchall()
    assert len(rows) == 1
    return rows[0]


def settled(snapshot: Snapshot) -> Snapshot:
    """What a rejection must not touch: everything but the evidence."""
    return {table: rows for table, rows in snapshot.items() if table != "payments.exceptions"}


async def test_a_payment_pays_the_group_its_orders_and_commits_its_stock(
    deliver: Callable[[Json], Any], shop: Shop, superuser: Connection
) -> None:
    group = shop.order_group()
    event = paid(group)

    answer = await deliver(event)

    assert answer.verdict == (200, "applied", None)
    assert answer.json["order_group_id"] == str(group.id)
    (row,) = superuser.execute("select * from public.order_groups where id = %s", [group.id]).fetchall()
    assert (row["status"], row["stripe_webhook_event_id"]) == ("paid", event["id"])
    assert row["stripe_checkout_session_id"] == session_of(event)["id"]
    assert row["stripe_session_metadata"] == session_of(event)["metadata"]
    assert row["stripe_webhook_event_created_at"].timestamp() == event["created"]
    orders = superuser.execute("select status from public.orders where order_group_id = %s", [group.id]).fetchall()
    assert [order["status"] for order in orders] == ["paid", "paid"]
    ledger = superuser.execute(
        "select entry_type, quantity_delta from public.inventory_ledger where stripe_webhook_event_id = %s order by id",
        [event["id"]],
    ).fetchall()
    assert sorted(entry["quantity_delta"] for entry in ledger) == [-5, -3, -2, -1, -1]
    assert {entry["entry_type"] for entry in ledger} == {"order_commit"}


async def test_the_same_event_again_changes_not_one_row(
    deliver: Callable[[Json], Any], shop: Shop, project: Project
) -> None:
    event = paid(shop.order_group())
    await deliver(event)
    before = project.snapshot()

    for _ in range(3):
        assert (await deliver(event)).verdict == (200, "replayed", None)

    assert project.snapshot() == before


async def test_the_other_event_of_the_payment_finds_the_group_paid(
    deliver: Callable[[Json], Any], shop: Shop, project: Project
) -> None:
    event = paid(shop.order_group())
    await deliver(event)
    before = project.snapshot()

    answer = await deliver(twin(event))

    assert answer.verdict == (200, "already_paid", None)
    after = project.snapshot()
    assert len(after.pop("payments.stripe_events")) == len(before.pop("payments.stripe_events")) + 1
    assert after == before


async def test_the_success_event_stands_alone_when_it_comes_first(deliver: Callable[[Json], Any], shop: Shop) -> None:
    event = paid(shop.order_group())

    assert (await deliver(twin(event))).verdict == (200, "applied", None)
    assert (await deliver(event)).verdict == (200, "already_paid", None)


async def test_twenty_deliveries_of_one_event_at_once_apply_it_once(
    deliver: Callable[[Json], Any], shop: Shop, superuser: Connection
) -> None:
    event = paid(shop.order_group())

    answers = await asyncio.gather(*(deliver(event) for _ in range(20)))

    assert sorted(answer.verdict for answer in answers) == [(200, "applied", None)] + [(200, "replayed", None)] * 19
    count = "select count(*) from public.inventory_ledger where stripe_webhook_event_id = %s"
    assert scalar(superuser, count, event["id"]) == 5


async def test_both_events_of_ten_payments_at_once_apply_each_payment_once(
    deliver: Callable[[Json], Any], shop: Shop
) -> None:
    events = [paid(shop.order_group()) for _ in range(10)]

    answers = await asyncio.gather(*(deliver(each) for event in events for each in (event, twin(event))))

    assert sorted(answer.json["outcome"] for answer in answers) == ["already_paid"] * 10 + ["applied"] * 10


@pytest.mark.parametrize(
    ("currency", "items", "minor"),
    [("JPY", [[(2, "500")]], 1000), ("KWD", [[(1, "1.230")]], 1230), ("ISK", [[(1, "100")]], 10000)],
)
async def test_currencies_that_do_not_count_in_hundredths_are_paid_exactly(
    deliver: Callable[[Json], Any], shop: Shop, currency: str, items: list[list[tuple[int, str]]], minor: int
) -> None:
    event = paid(shop.order_group(items, currency=currency))

    assert session_of(event)["amount_total"] == minor
    assert (await deliver(event)).verdict == (200, "applied", None)


async def test_nothing_to_pay_reconciles_a_group_of_nothing(deliver: Callable[[Json], Any], shop: Shop) -> None:
    group = shop.order_group([[(1, "0.00")]])

    answer = await deliver(paid(group, payment_status="no_payment_required", payment_intent=None))

    assert answer.verdict == (200, "applied", None)


def cancelled(shop: Shop) -> Json:
    group = shop.order_group()
    shop.service.execute("select public.cancel_order_group(%s)", [group.id])
    return paid(group)


def spoiled(**session: Any) -> Callable[[Shop], Json]:
    return lambda shop: completed(str(shop.order_group().id), **{"amount_total": 7424, "currency": "usd", **session})


REJECTIONS: dict[str, Callable[[Shop], Json]] = {
    "order_group_not_found": lambda _: completed(str(uuid.uuid4())),
    "order_group_not_payable": cancelled,
    "order_group_empty": lambda shop: paid(shop.order_group([])),
    "amount_missing": spoiled(amount_total="7424"),
    "currency_unsupported": spoiled(currency="xyz"),
    "amount_normalization_mismatch": spoiled(currency="isk", amount_total=150),
    "currency_mismatch": spoiled(currency="eur"),
    "amount_mismatch": spoiled(amount_total=1),
    "totals_inconsistent": lambda shop: paid(shop.order_group(total_amount=shop.order_group().total_amount + 1)),
}


@pytest.mark.parametrize("reason", REJECTIONS)
async def test_a_rejection_keeps_its_evidence_and_touches_nothing_else(
    deliver: Callable[[Json], Any], shop: Shop, superuser: Connection, project: Project, reason: str
) -> None:
    event = REJECTIONS[reason](shop)
    before = project.snapshot()

    for attempt in (1, 2):
        answer = await deliver(event)

        assert answer.verdict == (500, "rejected", reason)
        assert (exception_of(superuser, event)["reason"], exception_of(superuser, event)["attempts"]) == (
            reason,
            attempt,
        )
    assert settled(project.snapshot()) == settled(before)


async def test_a_second_payment_for_a_paid_group_is_a_duplicate(
    deliver: Callable[[Json], Any], shop: Shop, project: Project
) -> None:
    group = shop.order_group()
    await deliver(paid(group))
    before = project.snapshot()

    answer = await deliver(paid(group))

    assert answer.verdict == (500, "rejected", "duplicate_payment")
    assert settled(project.snapshot()) == settled(before)


async def test_a_payment_pays_one_group_only(deliver: Callable[[Json], Any], shop: Shop) -> None:
    first = paid(shop.order_group())
    await deliver(first)
    second = paid(shop.order_group(), payment_intent=session_of(first)["payment_intent"])

    assert (await deliver(second)).verdict == (500, "rejected", "payment_already_used")


async def test_a_known_event_id_with_another_payload_is_a_collision(deliver: Callable[[Json], Any], shop: Shop) -> None:
    first = paid(shop.order_group())
    await deliver(first)

    answer = await deliver({**paid(shop.order_group()), "id": first["id"]})

    assert answer.verdict == (500, "rejected", "event_collision")


async def test_a_rejected_event_is_applied_once_its_cause_is_gone(
    deliver: Callable[[Json], Any], shop: Shop, superuser: Connection
) -> None:
    group = shop.order_group([], total_amount=shop.order_group().total_amount)
    event = paid(group)
    assert (await deliver(event)).verdict == (500, "rejected", "order_group_empty")

    with shop.service.transaction():
        order_id = shop.add_order(group.id, shop.sellers[0], group.total_amount)
        shop.add_item(order_id, shop.sellers[0].product_ids[0], 1, group.total_amount)

    assert (await deliver(event)).verdict == (200, "applied", None)
    assert exception_of(superuser, event)["status"] == "resolved"


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        ({"metadata": {}}, "missing_reference"),
        ({"metadata": {"order_group_id": "cart-17"}}, "malformed_reference"),
        ({"client_reference_id": str(uuid.uuid4())}, "conflicting_references"),
    ],
)
async def test_an_unmatched_payment_is_recorded_and_a_redelivery_only_counts_up(
    deliver: Callable[[Json], Any], superuser: Connection, project: Project, session: dict[str, Any], reason: str
) -> None:
    event = completed(**session)
    before = project.snapshot()

    for attempt in (1, 2, 3):
        assert (await deliver(event)).verdict == (200, "unmatched", reason)
        assert (exception_of(superuser, event)["reason"], exception_of(superuser, event)["attempts"]) == (
            reason,
            attempt,
        )

    assert settled(project.snapshot()) == settled(before)


@pytest.mark.parametrize("unmatched", [True, False])
async def test_a_resolved_exception_that_comes_again_changes_not_one_row(
    deliver: Callable[[Json], Any], shop: Shop, superuser: Connection, project: Project, unmatched: bool
) -> None:
    event = completed(metadata={}) if unmatched else completed()
    await deliver(event)
    shop.service.execute(
        "select public.resolve_payment_exception(%s, 'refunded', 'jo', 'sent back')",
        [exception_of(superuser, event)["id"]],
    )
    before = project.snapshot()

    assert (await deliver(event)).verdict == (200, "resolved", None)

    assert project.snapshot() == before


UNTOUCHED: dict[str, tuple[Callable[[Json], Json], tuple[int, str, str | None]]] = {
    "another type": (lambda event: event | {"type": "customer.created"}, (200, "ignored", "event_type")),
    "live event": (lambda event: event | {"livemode": True}, (200, "ignored", "livemode_mismatch")),
    "a debit without a group": (
        lambda event: session_of(event).update(payment_status="unpaid", metadata={}) or event,
        (200, "awaiting_funds", None),
    ),
    "a payment of the future": (
        lambda event: session_of(event).update(payment_status="no_payment_required") or event,
        (200, "awaiting_funds", "no_payment_required"),
    ),
    "malformed": (
        lambda event: session_of(event).update(payment_status=None) or event,
        (400, "refused", "malformed_event"),
    ),
}


@pytest.mark.parametrize(("change", "verdict"), UNTOUCHED.values(), ids=UNTOUCHED)
async def test_what_does_not_reconcile_leaves_the_database_untouched(
    deliver: Callable[[Json], Any],
    shop: Shop,
    project: Project,
    change: Callable[[Json], Json],
    verdict: tuple[int, str, str | None],
) -> None:
    event = change(paid(shop.order_group()))
    before = project.snapshot()

    assert (await deliver(event)).verdict == verdict

    assert project.snapshot() == before


async def test_a_debit_under_way_is_noted_once_keeps_the_group_from_expiring_and_is_paid_when_the_money_comes(
    deliver: Callable[[Json], Any], shop: Shop, project: Project
) -> None:
    group = shop.order_group()
    event = paid(group)
    unpaid: Json = copy.deepcopy(event)
    session_of(unpaid)["payment_status"] = "unpaid"
    project.superuser.execute("update public.order_groups set expires_at = now() where id = %s", [group.id])

    assert (await deliver(unpaid)).verdict == (200, "awaiting_funds", None)
    noted, before = project.group(group), project.snapshot()
    assert (await deliver(unpaid)).verdict == (200, "awaiting_funds", None)

    assert (noted["status"], noted["awaiting_funds_session_id"], noted["awaiting_funds_event_id"]) == (
        "pending",
        session_of(event)["id"],
        unpaid["id"],
    )
    assert noted["awaiting_funds_since"].timestamp() == unpaid["created"]
    assert project.snapshot() == before
    shop.service.execute("select public.expire_order_groups()")
    assert (await deliver(twin(event))).verdict == (200, "applied", None)
    assert project.group(group)["status"] == "paid"


async def test_an_unpaid_session_of_an_unknown_group_is_answered_all_the_same(
    deliver: Callable[[Json], Any], project: Project
) -> None:
    before = project.snapshot()

    assert (await deliver(completed(payment_status="unpaid"))).verdict == (200, "awaiting_funds", None)

    assert project.snapshot() == before


async def test_a_forged_event_leaves_the_database_untouched(relay: Relay, shop: Shop, project: Project) -> None:
    event = paid(shop.order_group())
    before = project.snapshot()

    answer = await relay.deliver(event, secret=f"whsec_{secrets.token_hex(16)}")

    assert answer.verdict == (400, "refused", "invalid_signature")
    assert project.snapshot() == before


async def test_metadata_that_postgres_cannot_store_does_not_cost_the_payment(
    deliver: Callable[[Json], Any], shop: Shop
) -> None:
    group = shop.order_group()

    answer = await deliver(paid(group, metadata={"order_group_id": str(group.id), "a\x00": "\ud800", "n": 1e300}))

    assert answer.verdict == (200, "applied", None)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


async def test_no_signed_oddity_is_ever_without_a_verdict(deliver: Callable[[Json], Any]) -> None:
    """One value of the event or its session is anything at all, and the real database judges it."""
    examples: list[Json] = []

    @settings(max_examples=200, database=None, suppress_health_check=list(HealthCheck))
    @given(
        key=st.sampled_from([*sorted(completed()), *(f"session.{key}" for key in sorted(session_of(completed())))]),
        value=ODD | ODD.map(lambda value: {"order_group_id": str(uuid.uuid4()), "odd": value}),
    )
    def collect(key: str, value: object) -> None:
        event = completed()
        target = session_of(event) if key.startswith("session.") else event
        examples.append(event)
        target[key.removeprefix("session.")] = value

    collect()
    answers = await asyncio.gather(*(deliver(event) for event in examples))

    assert {answer.json["outcome"] for answer in answers} <= {
        "refused",
        "ignored",
        "awaiting_funds",
        "unmatched",
        "rejected",
        "resolved",
    }
    assert {answer.json["reason"] for answer in answers if answer.json["outcome"] == "refused"} <= {"malformed_event"}


async def test_a_group_that_is_locked_for_too_long_is_a_lock_timeout_and_then_applied(
    deliver: Callable[[Json], Any], shop: Shop, project: Project, stack: StackSurface
) -> None:
    group = shop.order_group()
    event = paid(group)
    before = project.snapshot()
    with psycopg.connect(stack.dsn()) as holder:
        holder.execute("select id from public.order_groups where id = %s for update", [group.id])

        assert (await deliver(event)).verdict == (500, "failed", "lock_timeout")

    assert project.snapshot() == before
    assert (await deliver(event)).verdict == (200, "applied", None)


async def test_the_relay_is_ready_in_front_of_the_migrated_database(relay: Relay) -> None:
    status, text = await relay.get("/readyz")

    assert [check for check in json.loads(text)["checks"] if not check["ok"]] == []
    assert status == 200


async def test_a_secret_key_does_what_a_service_role_jwt_does(local_stack_only: Stack, shop: Shop) -> None:
    stack = local_stack_only
    async with serving(environment(stack, SUPABASE_SERVICE_ROLE_KEY=stack.secret_key)) as relay:
        answer = await relay.deliver(paid(shop.order_group()), secret=stack.stripe_webhook_secret)

        assert answer.verdict == (200, "applied", None)
        assert (await relay.get("/readyz"))[0] == 200


async def test_a_service_role_jwt_of_another_project_is_unauthorized(stack: StackSurface, shop: Shop) -> None:
    stranger = jwt.encode({"role": "service_role", "exp": int(time.time()) + 600}, secrets.token_hex(32))
    async with serving(environment(stack, SUPABASE_SERVICE_ROLE_KEY=stranger)) as relay:
        answer = await relay.deliver(paid(shop.order_group()), secret=stack.stripe_webhook_secret)

        assert answer.verdict == (500, "failed", "unauthorized")


async def test_a_stopped_data_api_is_database_unavailable_until_it_is_back(
    local_stack_only: Stack, relay: Relay, shop: Shop
) -> None:
    stack = local_stack_only
    event = paid(shop.order_group())
    stack.postgrest.stop()
    try:
        answer = await relay.deliver(event, secret=stack.stripe_webhook_secret)
    finally:
        stack.postgrest.start()

    assert answer.verdict == (500, "failed", "database_unavailable")
    assert (await relay.deliver(event, secret=stack.stripe_webhook_secret)).verdict == (200, "applied", None)
