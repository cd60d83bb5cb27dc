"""`relay sweep` end to end: a server that speaks Stripe's API, the real SDK, PostgREST and the database."""

import asyncio
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_stack.surface import StackSurface
from relay import books, checkout, currency, reconcile, stripe_api
from relay.config import Settings
from relay.event import Event
from relay.forecast import forecast
from relay.metrics import Metrics
from relay.outcomes import REJECTIONS
from relay.stripe_api import StripeApi, StripeUnavailable
from relay.window import instant
from sql_tests.play import OrderGroup, Row
from sql_tests.play import reconcile as call
from tests.project import Ended, Project, open_project
from tests.stage import serving
from tests.stripe_api import SUCCEEDED, Fault, Gate, StripeServer, answers, break_off, gateway_page, reset
from tests.stripe_side import STRIPE_KEY, Json, delivery

pytestmark = pytest.mark.anyio

LISTS = ("rejected", "unmatched", "failed", "paid_here_only")


@pytest.fixture(scope="module")
def project(stack: StackSurface) -> Iterator[Project]:
    with open_project(stack) as opened:
        yield opened


@pytest.fixture
async def stripe(anyio_backend: str, project: Project) -> AsyncIterator[StripeServer]:
    """An account whose sessions are all that this test makes; groups of other tests are moved out of the window."""
    assert anyio_backend == "asyncio"
    with project.superuser.transaction():
        project.superuser.execute("set local session_replication_role = replica")
        project.superuser.execute("update public.order_groups set paid_at = paid_at - interval '1 year'")
    async with StripeServer().listening() as server:
        yield server


def settings(stripe: StripeServer) -> dict[str, str]:
    return {"STRIPE_API_BASE": stripe.url, "STRIPE_SECRET_KEY": STRIPE_KEY}


async def sweep(project: Project, stripe: StripeServer, *arguments: str) -> tuple[Ended, dict[str, Any]]:
    """The command's end and its JSON."""
    command = ("sweep", "--json", *([] if "--since" in arguments else ["--since", "72h"]), *arguments)
    ended = await project.relay(*command, **settings(stripe))
    return ended, json.loads(ended.output) if ended.output else {}


def delivered(project: Project, event: Json) -> Row:
    """The database's verdict, had the webhook delivered this event."""
    decision = checkout.judge(Event(event["id"], event["type"], event), livemode=False)
    problem = None
    if isinstance(decision, checkout.Unmatched):
        problem, decision = decision.reason, decision.payment
    assert isinstance(decision, checkout.Payment)
    parameters = reconcile._parameters(decision, problem, "webhook")  # noqa: SLF001  exactly the relay's call
    names = ", ".join(f"{name} => %({name})s" for name in parameters)
    values = {**parameters, "p_session_metadata": json.dumps(parameters["p_session_metadata"])}
    row = project.shop.service.execute(
        f"select public.reconcile_order_group_payment({names}) as verdict".encode(), values
    ).fetchone()
    assert row is not None
    verdict: Row = row["verdict"]
    return verdict


def found(told: dict[str, Any], name: str) -> set[tuple[str, str | None, str]]:
    """A list of the report as a set; each entry has exactly the contract's three keys."""
    assert all(one.keys() == {"checkout_session_id", "order_group_id", "reason"} for one in told[name])
    entries = {(one["checkout_session_id"], one["order_group_id"], one["reason"]) for one in told[name]}
    assert len(entries) == len(told[name])
    return entries


def paying_event(project: Project, group: OrderGroup) -> Row:
    (row,) = project.query(
        "select * from payments.stripe_events where order_group_id = %s and outcome = 'applied'", group.id
    )
    return row


def exceptions_of(project: Project, session: Json) -> list[Row]:
    return project.query("select * from payments.exceptions where checkout_session_id = %s order by id", session["id"])


async def test_after_one_sweep_no_drift_is_left_and_a_second_one_changes_nothing(
    project: Project, stripe: StripeServer
) -> None:
    """Dropped, delayed, duplicated and never-made events."""
    shop = project.shop
    groups = {name: shop.order_group() for name in ("in time", "dropped", "delayed", "duplicated", "never made")}
    sessions = {name: stripe.session(group) for name, group in groups.items()}
    delivered(project, stripe.event(sessions["in time"]))
    dropped = stripe.event(sessions["dropped"])
    stripe.event(sessions["delayed"], payment_status="unpaid")
    late = stripe.event(sessions["delayed"], SUCCEEDED, after=3000)
    delivered(project, stripe.event(sessions["duplicated"]))
    stripe.event(sessions["duplicated"], after=61)

    ended, told = await sweep(project, stripe)

    assert (ended.status, ended.errors) == (0, "")
    assert told == {"known": 2, "applied": 3, **{name: [] for name in LISTS}}
    assert {project.group(group)["status"] for group in groups.values()} == {"paid"}
    assert paying_event(project, groups["dropped"])["id"] == dropped["id"]
    assert paying_event(project, groups["delayed"])["id"] == late["id"]
    never_made = paying_event(project, groups["never made"])
    assert never_made["id"] == f"sweep_{sessions['never made']['id']}"
    assert never_made["created_at"].timestamp() == sessions["never made"]["created"]
    assert {paying_event(project, groups[name])["source"] for name in ("dropped", "delayed", "never made")} == {"sweep"}
    assert paying_event(project, groups["in time"])["source"] == "webhook"

    before = project.snapshot()
    ended, told = await sweep(project, stripe)
    assert ended.status == 0
    assert told == {"known": 5, "applied": 0, **{name: [] for name in LISTS}}
    assert project.snapshot() == before


async def test_a_delivery_after_the_sweep_is_a_replay_or_a_twin(project: Project, stripe: StripeServer) -> None:
    group, other = project.shop.order_group(), project.shop.order_group()
    dropped = stripe.event(stripe.session(group))
    never_made = stripe.session(other)
    await sweep(project, stripe)

    assert delivered(project, dropped)["outcome"] == "replayed"
    assert delivered(project, stripe.event(never_made))["outcome"] == "already_paid"


async def test_ten_kinds_of_drift_are_found_and_none_is_invented(project: Project, stripe: StripeServer) -> None:
    shop = project.shop
    healthy = [shop.order_group() for _ in range(5)]
    for group in healthy:
        delivered(project, stripe.event(stripe.session(group)))
    stripe.session(shop.order_group(), payment_status="unpaid")
    stripe.session(shop.order_group(), status="expired", payment_status="unpaid")
    stripe.session(None, mode="subscription", payment_intent=None)
    stripe.session(None, mode="setup", payment_intent=None, amount_total=None, payment_status="no_payment_required")

    lost, free = shop.order_group(), shop.order_group([[(1, "0.00")]])
    stripe.event(stripe.session(lost))
    stripe.session(free, payment_status="no_payment_required", payment_intent=None)
    short = stripe.session(shop.order_group(), amount_total=7423)
    foreign = stripe.session(shop.order_group(), currency="eur")
    cancelled = shop.order_group()
    shop.service.execute("select public.cancel_order_group(%s)", [cancelled.id])
    late = stripe.session(cancelled)
    twice = stripe.session(healthy[0])
    unknown = stripe.session(None, metadata={"order_group_id": str(uuid.uuid4())})
    nameless, odd = stripe.session(None), stripe.session(None, metadata={"order_group_id": "cart-17"})
    forged = shop.order_group()
    delivered(project, StripeServer().event(forged_session := StripeServer().session(forged)))
    unpaid = shop.order_group()
    unpaid_session = stripe.session(unpaid, payment_status="unpaid")
    delivered(project, StripeServer().event(unpaid_session, payment_status="paid"))

    ended, told = await sweep(project, stripe)

    assert (ended.status, ended.errors) == (1, "")
    assert (told["known"], told["applied"]) == (5, 2)
    assert found(told, "rejected") == {
        (short["id"], short["metadata"]["order_group_id"], "amount_mismatch"),
        (foreign["id"], foreign["metadata"]["order_group_id"], "currency_mismatch"),
        (late["id"], str(cancelled.id), "order_group_not_payable"),
        (twice["id"], str(healthy[0].id), "duplicate_payment"),
        (unknown["id"], unknown["metadata"]["order_group_id"], "order_group_not_found"),
    }
    assert found(told, "unmatched") == {
        (nameless["id"], None, "missing_reference"),
        (odd["id"], None, "malformed_reference"),
    }
    assert found(told, "failed") == set()
    assert found(told, "paid_here_only") == {
        (forged_session["id"], str(forged.id), "session_not_found"),
        (unpaid_session["id"], str(unpaid.id), "session_not_paid"),
    }
    assert {project.group(group)["status"] for group in (lost, free)} == {"paid"}

    before = project.snapshot()
    again, told_again = await sweep(project, stripe)
    assert again.status == 1
    assert (told_again["known"], told_again["applied"]) == (7, 0)
    assert {name: found(told_again, name) for name in LISTS} == {name: found(told, name) for name in LISTS}
    assert project.snapshot() == before


async def test_a_dry_run_writes_nothing_and_tells_what_the_sweep_then_does(
    project: Project, stripe: StripeServer
) -> None:
    shop = project.shop
    delivered(project, stripe.event(stripe.session(shop.order_group())))
    stripe.event(stripe.session(shop.order_group()))
    stripe.session(shop.order_group(), amount_total=1)
    stripe.session(None)
    before = project.snapshot()

    dry, foretold = await sweep(project, stripe, "--dry-run")

    assert dry.status == 1
    assert project.snapshot() == before
    assert (await sweep(project, stripe))[1] == foretold
    assert (foretold["known"], foretold["applied"]) == (1, 1)


async def test_a_dry_run_that_would_apply_is_drift(project: Project, stripe: StripeServer) -> None:
    stripe.session(project.shop.order_group())

    ended = await project.relay("sweep", "--since", "72h", "--dry-run", **settings(stripe))

    assert ended.status == 1
    assert "would be applied  1" in ended.output
    assert "nothing was written" in ended.output


async def test_all_pages_are_read(project: Project, stripe: StripeServer) -> None:
    group = project.shop.order_group()
    stripe.session(group, age=50000)
    for place in range(220):
        stripe.session(None, age=place, mode="subscription", payment_intent=None)

    _, told = await sweep(project, stripe)

    assert told["applied"] == 1
    pages = [query for path, query in stripe.requests if path == "/v1/checkout/sessions"]
    assert len(pages) == 3
    assert all(query["limit"] == ["100"] and query["status"] == ["complete"] for query in pages)


async def test_only_the_window_is_swept(project: Project, stripe: StripeServer) -> None:
    old, recent, new = (project.shop.order_group() for _ in range(3))
    for group, age in ((old, 5 * 3600), (recent, 3 * 3600), (new, 1800)):
        stripe.event(stripe.session(group, age=age))

    _, told = await sweep(project, stripe, "--since", "4h", "--until", "2h")

    assert (told["applied"], told["known"]) == (1, 0)
    assert [project.group(group)["status"] for group in (old, recent, new)] == ["pending", "paid", "pending"]


async def test_a_session_made_before_the_window_and_paid_in_it_is_found_by_its_event(
    project: Project, stripe: StripeServer
) -> None:
    """A bank debit takes days."""
    group = project.shop.order_group()
    session = stripe.session(group, age=9 * 86400)
    stripe.event(session, payment_status="unpaid")
    event = stripe.event(session, SUCCEEDED, after=8 * 86400)

    _, told = await sweep(project, stripe)

    assert (told["applied"], told["known"]) == (1, 0)
    assert paying_event(project, group)["id"] == event["id"]
    assert (await sweep(project, stripe))[1]["known"] == 1


async def test_a_group_paid_here_long_after_its_session_is_no_drift(project: Project, stripe: StripeServer) -> None:
    """The webhook came through only now; Stripe is asked about that one session."""
    session = stripe.session(project.shop.order_group(), age=9 * 86400)
    delivered(project, stripe.event(session))

    ended, told = await sweep(project, stripe)

    assert ended.status == 0
    assert told["paid_here_only"] == []
    assert (f"/v1/checkout/sessions/{session['id']}", {}) in stripe.requests


async def test_of_two_unknown_payments_for_one_group_the_older_pays(project: Project, stripe: StripeServer) -> None:
    group = project.shop.order_group()
    second, first = stripe.session(group, age=100), stripe.session(group, age=200)

    _, told = await sweep(project, stripe)

    assert project.group(group)["stripe_checkout_session_id"] == first["id"]
    assert found(told, "rejected") == {(second["id"], str(group.id), "duplicate_payment")}


async def test_what_an_operator_has_resolved_is_known(project: Project, stripe: StripeServer) -> None:
    """Also where the event has gone from Stripe's list, so that the sweep would have to make one up."""
    session = stripe.session(project.shop.order_group(), amount_total=1)
    delivered(project, stripe.event(session))
    (exception,) = exceptions_of(project, session)
    project.shop.service.execute(
        "select public.resolve_payment_exception(%s, 'refunded', 'ada', 'sent back')", [exception["id"]]
    )
    before = project.snapshot()

    for _ in range(2):
        ended, told = await sweep(project, stripe)
        assert (ended.status, told["known"], told["rejected"]) == (0, 1, [])
        stripe.events.clear()

    assert project.snapshot() == before


@pytest.mark.parametrize("is_forgotten", [False, True])
async def test_a_rejection_whose_cause_is_gone_is_applied_and_all_its_exceptions_closed(
    project: Project, stripe: StripeServer, is_forgotten: bool
) -> None:
    group = project.shop.order_group([], total_amount=project.shop.order_group().total_amount)
    session = stripe.session(group)
    for event in (stripe.event(session), stripe.event(session, SUCCEEDED)):
        assert delivered(project, event)["reason"] == "order_group_empty"
    if is_forgotten:
        stripe.events.clear()
    assert found((await sweep(project, stripe))[1], "rejected") == {(session["id"], str(group.id), "order_group_empty")}
    assert [row["attempts"] for row in exceptions_of(project, session)] == [1, 1]

    with project.shop.service.transaction():
        order_id = project.shop.add_order(group.id, project.shop.sellers[0], group.total_amount)
        project.shop.add_item(order_id, project.shop.sellers[0].product_ids[0], 1, group.total_amount)
    ended, told = await sweep(project, stripe)

    assert (ended.status, told["applied"]) == (0, 1)
    assert [(row["status"], row["resolution"]) for row in exceptions_of(project, session)] == [
        ("resolved", "reconciled")
    ] * 2
    before = project.snapshot()
    assert (await sweep(project, stripe))[1]["known"] == 1
    assert project.snapshot() == before


async def test_an_unmatched_session_is_recorded_once(project: Project, stripe: StripeServer) -> None:
    session = stripe.session(None)

    for _ in range(3):
        ended, told = await sweep(project, stripe)
        assert (ended.status, len(told["unmatched"])) == (1, 1)

    (exception,) = exceptions_of(project, session)
    assert (exception["reason"], exception["attempts"]) == ("missing_reference", 1)


async def test_metadata_changed_after_the_payment_are_no_drift(project: Project, stripe: StripeServer) -> None:
    session = stripe.session(project.shop.order_group())
    delivered(project, stripe.event(session))
    session["metadata"] = {}
    before = project.snapshot()

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["known"]) == (0, 1)
    assert project.snapshot() == before


async def test_a_group_whose_session_names_another_one_is_told(project: Project, stripe: StripeServer) -> None:
    group, other = project.shop.order_group(), project.shop.order_group()
    session = stripe.session(group)
    delivered(project, stripe.event(session))
    session["metadata"] = {"order_group_id": str(other.id)}
    stripe.events.clear()

    ended, told = await sweep(project, stripe)

    assert ended.status == 1
    assert found(told, "rejected") == {(session["id"], str(other.id), "payment_already_used")}
    assert found(told, "paid_here_only") == {(session["id"], str(group.id), "session_names_another_group")}


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        ("total_amount = total_amount + 1", "rejected", "amount_mismatch"),
        (
            "status = 'pending', paid_at = null, stripe_webhook_event_id = null, stripe_payment_intent_id = null,"
            " stripe_checkout_session_id = null",
            "failed",
            "recorded_but_not_paid",
        ),
    ],
)
async def test_a_group_changed_behind_the_functions_back_is_told(
    project: Project, stripe: StripeServer, change: str, name: str, reason: str
) -> None:
    """The event is on record, so that the function calls it a replay; the group tells another story."""
    group = project.shop.order_group()
    session = stripe.session(group)
    delivered(project, stripe.event(session))
    with project.superuser.transaction():
        project.superuser.execute("set local session_replication_role = replica")
        statement = f"update public.order_groups set {change} where id = %s"
        project.superuser.execute(statement.encode(), [group.id])
    before = project.snapshot()

    ended, told = await sweep(project, stripe)

    assert ended.status == 1
    assert found(told, name) == {(session["id"], str(group.id), reason)}
    assert project.snapshot() == before


async def test_live_sessions_do_not_concern_a_relay_in_test_mode(project: Project, stripe: StripeServer) -> None:
    stripe.event(stripe.session(project.shop.order_group(), livemode=True))

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["applied"], told["known"]) == (0, 0, 0)


async def test_a_session_that_cannot_be_understood_fails_alone(project: Project, stripe: StripeServer) -> None:
    odd = stripe.session(project.shop.order_group(), payment_status="half")
    stripe.session(project.shop.order_group())

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["applied"]) == (1, 1)
    assert found(told, "failed") == {(odd["id"], None, "malformed_event")}


# Beside live traffic


async def test_deliveries_that_overtake_the_sweep_are_known_and_nothing_is_paid_twice(
    project: Project, stripe: StripeServer
) -> None:
    """The sweep has read its groups as unpaid; then Stripe's events arrive; then the sweep reconciles."""
    groups = [project.shop.order_group() for _ in range(20)]
    events = [stripe.event(stripe.session(group)) for group in groups]
    gate = Gate()

    async def sessions_first(request: Any) -> Any:
        return await gate(request) if request.path == "/v1/events" else None

    stripe.keep_failing = sessions_first
    running = asyncio.create_task(sweep(project, stripe))
    await gate.reached.wait()
    async with serving(project.environment()) as relay:
        for event in events[:10]:
            answer = await relay.send(*delivery(event, secret=project.stack.stripe_webhook_secret))
            assert answer.verdict == (200, "applied", None)
        gate.opened.set()
        answers_meanwhile = await asyncio.gather(
            *(relay.send(*delivery(event, secret=project.stack.stripe_webhook_secret)) for event in events[10:])
        )
        ended, told = await running

    assert ended.status == 0
    assert told["known"] + told["applied"] == 20
    assert told["known"] >= 10
    assert {answer.json["outcome"] for answer in answers_meanwhile} <= {"applied", "replayed"}
    commits = project.query(
        "select count(*) as entries, count(distinct order_item_id) as items from public.inventory_ledger"
        " where stripe_webhook_event_id = any(%s)",
        [event["id"] for event in events],
    )
    assert commits == [{"entries": 100, "items": 100}]


# Stripe's and the database's bad days


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([answers(429, Retry_After="0"), answers(429, Retry_After="0"), answers(429)], id="rate limit"),
        pytest.param([answers(500), gateway_page], id="5xx"),
        pytest.param([reset], id="connection reset"),
        pytest.param([break_off], id="answer breaks off"),
        pytest.param([answers(409)], id="conflict"),
    ],
)
async def test_what_passes_is_waited_out(project: Project, stripe: StripeServer, faults: list[Fault]) -> None:
    stripe.event(stripe.session(project.shop.order_group()))
    stripe.faults = faults

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["applied"]) == (0, 1)


def test_retry_after_is_what_is_waited() -> None:
    assert stripe_api._pause({"Retry-After": "7"}, 0) == 7.0  # noqa: SLF001
    assert stripe_api._pause({"retry-after": "86400"}, 0) == 60.0  # noqa: SLF001
    assert [stripe_api._pause({}, attempt) for attempt in range(3)] == [0.5, 1.0, 2.0]  # noqa: SLF001


async def test_a_server_that_is_silent_for_once_is_asked_again(project: Project, stripe: StripeServer) -> None:
    session = stripe.session(project.shop.order_group())
    stripe.faults = [Gate()]
    env = project.environment(**settings(stripe))

    async with StripeApi.connect(Settings.from_env(env, now=0), seconds=0.2) as api:
        assert await api.session(session["id"]) == session

    assert len(stripe.requests) == 2


async def test_a_list_that_goes_in_circles_is_given_up(project: Project, stripe: StripeServer) -> None:
    for place in range(3):
        stripe.session(None, age=place)
    original = stripe._list  # noqa: SLF001

    def circle(path: str, query: dict[str, list[str]], objects: list[Json]) -> Any:
        response = original(path, {**query, "starting_after": []}, objects)
        response.text = (response.text or "").replace('"has_more": false', '"has_more": true')
        return response

    stripe._list = circle  # type: ignore[method-assign]  # noqa: SLF001
    env = project.environment(**settings(stripe))

    async with StripeApi.connect(Settings.from_env(env, now=0)) as api:
        with pytest.raises(StripeUnavailable, match="begins anew"):
            async for _ in api.sessions(0, 2**31):
                pass


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "does not know STRIPE_SECRET_KEY"), (403, "may not read Checkout Sessions")],
)
async def test_a_key_that_stripe_refuses_is_status_2_and_nothing_is_written(
    project: Project, stripe: StripeServer, status: int, message: str
) -> None:
    stripe.session(project.shop.order_group())
    if status == 401:
        stripe.key = f"sk_test_{secrets.token_hex(16)}"
    else:
        stripe.keep_failing = answers(403)
    before = project.snapshot()

    ended, _ = await sweep(project, stripe)

    assert (ended.status, ended.output) == (2, "")
    assert message in ended.errors
    assert "Traceback" not in ended.errors
    assert STRIPE_KEY[-4:] not in ended.errors
    assert project.snapshot() == before


async def test_an_unreachable_database_is_status_2(project: Project, stripe: StripeServer) -> None:
    stripe.session(project.shop.order_group())

    ended = await project.relay("sweep", "--since", "72h", **settings(stripe) | {"SUPABASE_URL": "http://127.0.0.1:9"})

    assert (ended.status, ended.output) == (2, "")
    assert "database_unavailable" in ended.errors


async def test_a_window_that_ends_before_it_begins_is_status_2(project: Project, stripe: StripeServer) -> None:
    assert (await sweep(project, stripe, "--since", "1h", "--until", "2h"))[0].status == 2
    assert (await sweep(project, stripe, "--since", "yesterday"))[0].status == 2
    assert stripe.requests == []


# The forecast


def cancelled(project: Project) -> OrderGroup:
    group = project.shop.order_group()
    project.shop.service.execute("select public.cancel_order_group(%s)", [group.id])
    return group


async def test_the_forecast_is_the_functions_verdict(project: Project) -> None:
    """Each reason, in the function's order; the payment of each is judged by both."""
    shop = project.shop
    paid = shop.order_group()
    call(shop.service, paying := paid.payment())
    unequal = shop.order_group(total_amount=paid.total_amount + 1)
    yen, krona = shop.order_group([[(1, "100")]], currency="JPY"), shop.order_group([[(1, "100")]], currency="ISK")
    cases = {
        "order_group_not_found": paid.payment().but(order_group_id=uuid.uuid4()),
        "order_group_not_payable": cancelled(project).payment(),
        "order_group_empty": shop.order_group([], total_amount=paid.total_amount).payment(),
        "amount_missing": shop.order_group().payment().but(amount_minor=None, amount=None),
        "currency_unsupported": shop.order_group().payment().but(currency="XYZ"),
        "amount_normalization_mismatch": krona.payment().but(amount_minor=10050, amount="100.50"),
        "currency_mismatch": yen.payment().but(currency="USD", amount="1.00"),
        "amount_mismatch": shop.order_group().payment().but(amount_minor=1, amount="0.01"),
        "totals_inconsistent": unequal.payment(),
        "duplicate_payment": paying.rival(),
        "payment_already_used": shop.order_group().payment().but(payment_intent_id=paying.payment_intent_id),
        "": shop.order_group().payment(),
        None: paying.twin(),
    }
    environment = Settings.from_env(project.environment(), now=0)
    async with reconcile.connect(environment, Metrics()) as data_api:
        known = books.Books(data_api)
        for payment in cases.values():
            assert payment.event_id
            assert payment.checkout_session_id
            normalised = checkout.Payment(
                event_id=payment.event_id,
                event_type="checkout.session.completed",
                event_created=None,
                livemode=False,
                session_id=payment.checkout_session_id,
                payment_intent_id=payment.payment_intent_id,
                amount_minor=payment.amount_minor,
                amount=payment.amount,
                currency=currency.code_of(payment.currency),
                metadata={},
                order_group_id=str(payment.order_group_id),
            )
            group = (await known.groups([str(payment.order_group_id)])).get(str(payment.order_group_id))
            foreseen = forecast(
                normalised,
                group,
                await known.orders(str(payment.order_group_id)),
                used_elsewhere=await known.is_used_elsewhere(normalised),
            )
            verdict = call(shop.service, payment)

            assert (foreseen.outcome, foreseen.reason) == (verdict["outcome"], verdict["reason"])

    reasons = {name for name in cases if name}
    assert reasons == {str(reason) for reason in REJECTIONS} - {"event_collision"}


def test_a_window_is_read_as_a_duration_or_a_time() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert instant("72h", now=now) == now - timedelta(hours=72)
    assert instant("90m", now=now) == now - timedelta(minutes=90)
    assert instant("2026-11-01") == datetime(2026, 11, 1, tzinfo=UTC)
    assert instant("2026-11-01T02:00:00+02:00") == datetime(2026, 11, 1, tzinfo=UTC)
