"""`relay sweep` end to end: a server that speaks Stripe's API, the real SDK, PostgREST and the database."""

import secrets
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from testkit.command_line import run_unread
from testkit.project import Project
from testkit.refunds import Refund, record
from testkit.shop import paid
from testkit.stripe_api_server import StripeServer
from testkit.stripe_events import SUCCEEDED, new_id, session_of
from testkit.sweeping import LISTS, NO_REVERSALS, delivered, exceptions_of, found, paying_event, settings, sweep

pytestmark = pytest.mark.anyio


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
    assert told == {
        "known": 2,
        "applied": 3,
        "simulated": 0,
        "applied_now": sorted(
            (
                {
                    "checkout_session_id": sessions[name]["id"],
                    "order_group_id": str(groups[name].id),
                    "reason": "",
                    "amount": format(groups[name].total_amount, "f"),
                    "currency": "USD",
                }
                for name in ("dropped", "delayed", "never made")
            ),
            key=lambda one: one["checkout_session_id"],
        ),
        **{name: [] for name in LISTS},
        "refunds": NO_REVERSALS,
        "disputes": NO_REVERSALS,
    }
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
    assert told == {
        "known": 5,
        "applied": 0,
        "simulated": 0,
        "applied_now": [],
        **{name: [] for name in LISTS},
        "refunds": NO_REVERSALS,
        "disputes": NO_REVERSALS,
    }
    assert project.snapshot() == before


async def test_what_a_simulation_paid_is_counted_apart_and_is_no_drift(project: Project, stripe: StripeServer) -> None:
    group = project.shop.order_group()
    assert delivered(project, paid(group, id="cs_test_sim_1"))["outcome"] == "applied"

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["simulated"], told["known"]) == (0, 1, 0)
    assert all(told[name] == [] for name in LISTS)


async def test_drift_is_status_1_also_where_nobody_reads_the_output(project: Project, stripe: StripeServer) -> None:
    """As with `set -o pipefail; relay sweep … | head`."""
    stripe.session(project.shop.order_group())
    env = project.environment(**settings(stripe))

    assert await run_unread("sweep", "--since", "72h", "--dry-run", env=env) == (1, "")
    assert await run_unread("sweep", "--since", "72h", env=env) == (0, "")
    assert await run_unread("sweep", "--since", "72h", "--dry-run", env=env) == (0, "")


async def test_in_live_mode_no_payment_refund_or_dispute_passes_for_a_simulation(
    project: Project, stripe: StripeServer
) -> None:
    """Whoever holds the service key chooses the ids. `relay simulate` refuses a live key."""
    stripe.key = f"sk_live_{secrets.token_hex(16)}"
    group = project.shop.order_group()
    event = paid(group, id="cs_test_sim_2")
    assert delivered(project, event)["outcome"] == "applied"
    payment = replace(group.payment(), payment_intent_id=session_of(event)["payment_intent"])
    refund = Refund.of(payment, 100, id=new_id("re_sim"), created=datetime.now(UTC))
    assert record(project.shop.service, refund)["outcome"] == "recorded"

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["simulated"]) == (1, 0)
    assert found(told, "paid_here_only") == {("cs_test_sim_2", str(group.id), "session_not_found")}
    assert [one["id"] for one in told["refunds"]["here_only"]] == [refund.id]


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
    assert {name: told_again[name] for name in LISTS} == {name: told[name] for name in LISTS}
    assert project.snapshot() == before


async def test_a_dry_run_writes_nothing_and_tells_what_the_sweep_then_does(
    project: Project, stripe: StripeServer
) -> None:
    shop = project.shop
    delivered(project, stripe.event(stripe.session(shop.order_group())))
    stripe.event(stripe.session(shop.order_group()))
    stripe.session(shop.order_group(), amount_total=1)
    stripe.session(None)
    twice = shop.order_group()
    stripe.session(twice, age=200)
    stripe.session(twice, age=100)
    before = project.snapshot()

    dry, foretold = await sweep(project, stripe, "--dry-run")

    assert dry.status == 1
    assert project.snapshot() == before
    assert (await sweep(project, stripe))[1] == foretold
    assert (foretold["known"], foretold["applied"]) == (1, 2)
    assert [one["reason"] for one in foretold["rejected"]] == ["amount_mismatch", "duplicate_payment"]


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


async def test_an_event_of_another_account_is_not_taken_as_the_event_of_a_session(
    project: Project, stripe: StripeServer
) -> None:
    group = project.shop.order_group()
    session = stripe.session(group)
    stripe.event(session).update(account="acct_seller")
    stripe.event(stripe.session(project.shop.order_group(), age=9 * 86400), after=8 * 86400).update(context="acct_x")

    _, told = await sweep(project, stripe)

    assert (told["applied"], told["rejected"], told["unmatched"]) == (1, [], [])
    assert paying_event(project, group)["id"] == f"sweep_{session['id']}"


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


async def test_a_collision_of_a_payment_that_is_in_is_not_counted_up(project: Project, stripe: StripeServer) -> None:
    """Only a person closes it. Stripe has forgotten the event, so that the sweep would have to make it up."""
    session = stripe.session(project.shop.order_group())
    event = stripe.event(session)
    assert delivered(project, event)["outcome"] == "applied"
    assert delivered(project, {**event, "created": event["created"] + 1})["reason"] == "event_collision"
    stripe.events.clear()
    before = project.snapshot()

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["known"]) == (0, 1)
    assert project.snapshot() == before


async def test_metadata_changed_after_the_payment_are_no_drift(project: Project, stripe: StripeServer) -> None:
    session = stripe.session(project.shop.order_group())
    delivered(project, stripe.event(session))
    session["metadata"] = {}
    before = project.snapshot()

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["known"]) == (0, 1)
    assert project.snapshot() == before


@pytest.mark.parametrize("age", [3600, 9 * 86400], ids=["in the window", "before the window"])
async def test_a_session_without_reference_that_brought_less_is_told_of_the_group_that_it_paid(
    project: Project, stripe: StripeServer, age: int
) -> None:
    """Whoever holds the service key may name a real session, of a Payment Link over a dollar, as a group's payment."""
    group = project.shop.order_group()
    session = stripe.session(None, amount_total=100, age=age)
    assert delivered(project, paid(group, id=session["id"]))["outcome"] == "applied"

    ended, told = await sweep(project, stripe)

    assert ended.status == 1
    assert found(told, "rejected") == {(session["id"], str(group.id), "amount_mismatch")}


async def test_the_sweep_sends_only_the_listed_metadata(project: Project, stripe: StripeServer) -> None:
    group = project.shop.order_group()
    session = stripe.session(group)
    session["metadata"] |= {"campaign": "spring", "email": "jenny@example.test", "note": "x" * 70_000}

    _, all_of_them = await sweep(project, stripe)
    _, told = await sweep(project, stripe, RELAY_METADATA_KEYS="campaign")

    assert found(all_of_them, "failed") == {(session["id"], None, "malformed_event")}
    assert (told["applied"], told["failed"]) == (1, [])
    assert project.group(group)["stripe_session_metadata"] == {"campaign": "spring"}


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
    untouched = project.group(group)
    with project.past_every_guard():
        project.query(f"update public.order_groups set {change} where id = %s returning id", group.id)
    before = project.snapshot()

    try:
        ended, told = await sweep(project, stripe)

        assert ended.status == 1
        assert found(told, name) == {(session["id"], str(group.id), reason)}
        assert project.snapshot() == before
    finally:  # the invariants are other tests' too
        columns = [column for column in untouched if column != "stripe_session_metadata"]
        settings_back = ", ".join(f"{column} = %s" for column in columns)
        with project.past_every_guard():
            project.query(
                f"update public.order_groups set {settings_back} where id = %s returning id",
                *(untouched[column] for column in columns),
                group.id,
            )


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
