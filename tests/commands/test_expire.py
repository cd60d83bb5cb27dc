"""`relay expire` end to end: a server that speaks Stripe's API, the real SDK, PostgREST and the database."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from relay.commands.exception_rows import RESOLUTIONS
from testkit.command_line import Ended
from testkit.project import Project
from testkit.refunds import Refund, record
from testkit.relay_under_test import serving
from testkit.shop import OrderGroup, paid
from testkit.stripe_api_server import Gate, StripeServer, answers
from testkit.stripe_events import Json, completed, delivery, session_of
from testkit.sweeping import delivered, exceptions_of, settings

pytestmark = pytest.mark.anyio

NOTHING: Json = {"expired": 0, "sessions_expired": 0, "settled": 0, "left": [], "failed": []}


@pytest.fixture(autouse=True)
def nothing_is_due(project: Project) -> None:
    """What other tests have left is neither due nor old."""
    project.superuser.execute("select public.expire_order_groups(10000)")
    with project.past_every_guard():
        project.superuser.execute("update public.order_groups set created_at = now() where status = 'pending'")


def due_group(project: Project, **ago: float) -> OrderGroup:
    group = project.shop.order_group()
    project.superuser.execute(
        "update public.order_groups set expires_at = now() - %s where id = %s",
        [timedelta(**(ago or {"minutes": 1})), group.id],
    )
    return group


def aged_group(project: Project, **age: float) -> OrderGroup:
    """A group without an expiry."""
    group = project.shop.order_group()
    project.superuser.execute(
        "update public.order_groups set created_at = now() - %s where id = %s", [timedelta(**age), group.id]
    )
    return group


def open_session(stripe: StripeServer, group: OrderGroup, **changes: Any) -> Json:
    return stripe.session(group, **{"status": "open", "payment_status": "unpaid", "payment_intent": None, **changes})


async def expire(project: Project, stripe: StripeServer, *arguments: str) -> tuple[Ended, Json]:
    """The command's end and its JSON."""
    ended = await project.relay("expire", "--json", *arguments, **settings(stripe))
    return ended, json.loads(ended.output) if ended.output else {}


def statuses(project: Project, *groups: OrderGroup) -> list[str]:
    return [str(project.group(group)["status"]) for group in groups]


def finding(session: Json | None, group: OrderGroup, reason: str) -> Json:
    return {
        "checkout_session_id": session["id"] if session else None,
        "order_group_id": str(group.id),
        "reason": reason,
    }


def posts(stripe: StripeServer) -> list[str]:
    return [path for path, _ in stripe.requests if path.endswith("/expire")]


async def test_open_session_is_expired_before_its_group_is_cancelled(project: Project, stripe: StripeServer) -> None:
    with_session, without_session = due_group(project), due_group(project)
    untouched = project.shop.order_group()
    session, other = open_session(stripe, with_session), open_session(stripe, untouched)

    async def still_pending(request: web.Request) -> None:
        if request.method == "POST":
            assert statuses(project, with_session) == ["pending"]

    stripe.keep_failing = still_pending

    ended, told = await expire(project, stripe)

    assert (ended.status, ended.errors) == (0, "")
    assert told == NOTHING | {"expired": 2, "sessions_expired": 1}
    assert statuses(project, with_session, without_session, untouched) == ["cancelled", "cancelled", "pending"]
    assert (session["status"], other["status"]) == ("expired", "open")

    before = project.snapshot()
    ended, told = await expire(project, stripe)
    assert (ended.status, told) == (0, NOTHING)
    assert project.snapshot() == before


async def test_all_open_sessions_of_a_group_are_expired_whichever_way_they_name_it(
    project: Project, stripe: StripeServer
) -> None:
    group = due_group(project)
    sessions = [
        open_session(stripe, group),
        open_session(stripe, group, metadata={}, client_reference_id=str(group.id).upper()),
        open_session(stripe, group, metadata={"order_group_id": str(group.id).replace("-", "")}),
    ]
    others = [
        open_session(stripe, group, mode="subscription"),
        open_session(stripe, group, client_reference_id=str(project.shop.order_group().id)),
    ]

    _, told = await expire(project, stripe)

    assert told == NOTHING | {"expired": 1, "sessions_expired": 3}
    assert [session["status"] for session in sessions + others] == ["expired"] * 3 + ["open"] * 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "session_paid"),
        ({"payment_status": "no_payment_required", "payment_intent": None}, "session_paid"),
        ({"payment_status": "unpaid"}, "session_awaits_funds"),
    ],
)
async def test_group_with_a_complete_session_is_left_alone_with_all_its_sessions(
    project: Project, stripe: StripeServer, changes: Json, reason: str
) -> None:
    group = due_group(project)
    complete = stripe.session(group, **changes)
    second = open_session(stripe, group, age=60)
    before = project.snapshot()

    ended, told = await expire(project, stripe)

    assert ended.status == 1
    assert told == NOTHING | {"left": [finding(complete, group, reason)]}
    assert project.snapshot() == before
    assert (second["status"], posts(stripe)) == ("open", [])


def due_with_a_rejected_payment(project: Project, stripe: StripeServer) -> tuple[OrderGroup, Json]:
    """A group that is due, and the session whose payment was a cent short of its 74.24 dollars."""
    group = due_group(project)
    session = stripe.session(group, amount_total=7423)
    assert delivered(project, stripe.event(session))["reason"] == "amount_mismatch"
    return group, session


def resolve(project: Project, session: Json, resolution: str) -> int:
    """A person's word about the session's payment; the exception's number."""
    (row,) = exceptions_of(project, session)
    word = "select public.resolve_payment_exception(%s, %s, 'ada', 'settled')"
    project.shop.service.execute(word, [row["id"], resolution])
    return int(row["id"])


async def test_group_whose_rejected_payment_went_back_is_ended_with_its_other_sessions(
    project: Project, stripe: StripeServer
) -> None:
    group, session = due_with_a_rejected_payment(project, stripe)
    second = open_session(stripe, group)
    kept = NOTHING | {"left": [finding(session, group, "session_paid")]}
    refund = Refund(payment_intent_id=session["payment_intent"], amount_minor=7423, amount="74.23", status="pending")

    assert (await expire(project, stripe))[1] == kept
    record(project.shop.service, refund)
    assert (await expire(project, stripe))[1] == kept
    record(project.shop.service, refund.then("succeeded"))
    before = project.snapshot()
    would_be, dry = await expire(project, stripe, "--dry-run")
    assert (would_be.status, dry) == (1, NOTHING | {"expired": 1, "sessions_expired": 1})
    assert (project.snapshot(), second["status"]) == (before, "open")
    ended, told = await expire(project, stripe)

    assert (ended.status, told) == (0, NOTHING | {"expired": 1, "sessions_expired": 1})
    assert (statuses(project, group), second["status"]) == (["cancelled"], "expired")
    (exception,) = exceptions_of(project, session)
    assert (exception["resolution"], exception["resolved_by"]) == ("refunded", "stripe")


@pytest.mark.parametrize("resolution", RESOLUTIONS)
async def test_persons_word_about_the_payment_ends_its_group_unless_it_is_taken_back(
    project: Project, stripe: StripeServer, resolution: str
) -> None:
    group, session = due_with_a_rejected_payment(project, stripe)
    doubted, other = due_with_a_rejected_payment(project, stripe)
    resolve(project, session, resolution)
    number = resolve(project, other, resolution)
    project.shop.service.execute("select public.reopen_payment_exception(%s, 'ada', 'a mistake')", [number])

    ended, told = await expire(project, stripe)

    assert (ended.status, told) == (1, NOTHING | {"expired": 1, "left": [finding(other, doubted, "session_paid")]})
    assert statuses(project, group, doubted) == ["cancelled", "pending"]


@pytest.mark.parametrize(
    ("changes", "reason"), [({}, "session_paid"), ({"payment_status": "unpaid"}, "session_awaits_funds")]
)
async def test_settled_payment_does_not_end_a_group_that_another_session_keeps(
    project: Project, stripe: StripeServer, changes: Json, reason: str
) -> None:
    group, session = due_with_a_rejected_payment(project, stripe)
    resolve(project, session, "refunded")
    other = stripe.session(group, age=7200, **changes)
    before = project.snapshot()

    ended, told = await expire(project, stripe)

    assert (ended.status, told) == (1, NOTHING | {"left": [finding(other, group, reason)]})
    assert project.snapshot() == before


@pytest.mark.parametrize("finishes", [False, True], ids=["before the run", "during the run"])
async def test_visitor_of_a_payment_link_holds_up_no_group_without_paying(
    project: Project, stripe: StripeServer, finishes: bool
) -> None:
    """The visitor chooses the reference; the debit that they promise need never come."""
    group = due_group(project)
    named: Json = {"metadata": {}, "client_reference_id": str(group.id), "payment_link": "plink_1"}
    promised = stripe.session(group, payment_status="unpaid", status="open" if finishes else "complete", **named)
    abandoned = open_session(stripe, group, **named)

    async def finish(request: web.Request) -> None:
        if request.method == "POST" and finishes:
            promised.update(status="complete")

    stripe.keep_failing = finish

    ended, told = await expire(project, stripe)

    assert (ended.status, told) == (0, NOTHING | {"expired": 1, "sessions_expired": 1})
    assert (statuses(project, group), promised["status"], abandoned["status"]) == (["cancelled"], "complete", "expired")


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        ({"metadata": {}, "amount_total": 100}, "session_paid"),
        ({"payment_status": "unpaid"}, "session_awaits_funds"),
    ],
    ids=["who has paid", "where the shop named the group"],
)
async def test_visitor_of_a_payment_link_keeps_a_group(
    project: Project, stripe: StripeServer, session: Json, reason: str
) -> None:
    group = due_group(project)
    complete = stripe.session(group, client_reference_id=str(group.id), payment_link="plink_1", **session)

    ended, told = await expire(project, stripe)

    assert (ended.status, told) == (1, NOTHING | {"left": [finding(complete, group, reason)]})
    assert statuses(project, group) == ["pending"]


async def test_old_complete_session_of_an_old_group_is_seen(project: Project, stripe: StripeServer) -> None:
    group = aged_group(project, days=40)
    complete = stripe.session(group, age=40 * 86400 + 3600, payment_status="unpaid")
    for _ in range(120):
        stripe.session(None, age=3600)

    ended, told = await expire(project, stripe, "--older-than", "24h")

    assert (ended.status, told) == (1, NOTHING | {"left": [finding(complete, group, "session_awaits_funds")]})


async def test_age_makes_a_group_due_only_where_it_is_asked_for(project: Project, stripe: StripeServer) -> None:
    old, older, young, due = (
        aged_group(project, hours=25),
        aged_group(project, hours=49),
        aged_group(project, hours=23),
        due_group(project),
    )

    _, alone = await expire(project, stripe)
    assert alone == NOTHING | {"expired": 1}
    assert statuses(project, old, older, young, due) == ["pending", "pending", "pending", "cancelled"]

    _, told = await expire(project, stripe, "--older-than", "24h")
    assert told == NOTHING | {"expired": 2}
    assert statuses(project, old, older, young) == ["cancelled", "cancelled", "pending"]


async def test_group_that_awaits_funds_is_never_due(project: Project, stripe: StripeServer) -> None:
    group = due_group(project)
    project.shop.service.execute("select public.note_awaiting_funds(%s, 'cs_1', 'evt_1', now())", [group.id])
    before = project.snapshot()

    ended, told = await expire(project, stripe, "--older-than", "1m")

    assert (ended.status, told) == (0, NOTHING)
    assert project.snapshot() == before
    assert stripe.requests == []


async def test_dry_run_tells_and_writes_nothing(project: Project, stripe: StripeServer) -> None:
    due, paid_group = due_group(project), due_group(project)
    session, complete = open_session(stripe, due), stripe.session(paid_group)
    before = project.snapshot()

    ended, told = await expire(project, stripe, "--dry-run")

    assert ended.status == 1
    assert told == NOTHING | {
        "expired": 1,
        "sessions_expired": 1,
        "left": [finding(complete, paid_group, "session_paid")],
    }
    assert project.snapshot() == before
    assert (session["status"], posts(stripe)) == ("open", [])


async def test_buyer_who_finishes_the_checkout_meanwhile_keeps_the_group(
    project: Project, stripe: StripeServer
) -> None:
    """The session was open when it was listed, and is complete when it should be expired."""
    group = due_group(project)
    session = open_session(stripe, group)

    async def finish(request: web.Request) -> None:
        if request.method == "POST":
            session.update(status="complete", payment_status="paid")

    stripe.keep_failing = finish

    ended, told = await expire(project, stripe)

    assert (ended.status, told) == (1, NOTHING | {"left": [finding(session, group, "session_paid")]})
    assert statuses(project, group) == ["pending"]


async def test_session_that_is_completed_between_the_two_lists_is_seen(project: Project, stripe: StripeServer) -> None:
    group = due_group(project)
    session = open_session(stripe, group)

    async def finish(request: web.Request) -> None:
        if request.query.get("status") == "complete":
            session.update(status="complete", payment_status="unpaid")

    stripe.keep_failing = finish

    _, told = await expire(project, stripe)

    assert told["left"] == [finding(session, group, "session_awaits_funds")]
    assert statuses(project, group) == ["pending"]


async def test_payment_that_overtakes_the_expiry_is_kept_and_counted_apart(
    project: Project, stripe: StripeServer
) -> None:
    """Stripe's lists were read; then the webhook pays the group; then it should be cancelled."""
    group = due_group(project)
    session = open_session(stripe, group)
    gate = Gate()

    async def expiring_first(request: web.Request) -> web.StreamResponse | None:
        return await gate(request) if request.method == "POST" else None

    stripe.keep_failing = expiring_first
    running = asyncio.create_task(expire(project, stripe))
    await gate.reached.wait()
    async with serving(project.environment()) as relay:
        answer = await relay.send(*delivery(paid(group), secret=project.stack.stripe_webhook_secret))
    gate.opened.set()
    ended, told = await running

    assert answer.verdict == (200, "applied", None)
    assert (ended.status, told) == (0, NOTHING | {"sessions_expired": 1, "settled": 1})
    assert (statuses(project, group), session["status"]) == (["paid"], "expired")


async def test_late_payment_of_an_expired_group_is_an_exception(project: Project, stripe: StripeServer) -> None:
    group = due_group(project)
    await expire(project, stripe)

    async with serving(project.environment()) as relay:
        answer = await relay.send(*delivery(paid(group), secret=project.stack.stripe_webhook_secret))

    assert answer.verdict == (500, "rejected", "order_group_not_payable")
    assert statuses(project, group) == ["cancelled"]


async def test_group_that_somebody_holds_is_failed_and_the_others_are_ended(
    project: Project, stripe: StripeServer
) -> None:
    held, free = due_group(project), due_group(project)

    with project.superuser.transaction():
        project.superuser.execute("select from public.order_groups where id = %s for update", [held.id])
        ended, told = await expire(project, stripe)

    assert ended.status == 1
    assert told == NOTHING | {"expired": 1, "failed": [finding(None, held, "lock_timeout")]}
    assert statuses(project, held, free) == ["pending", "cancelled"]


async def test_more_groups_and_sessions_than_a_page_are_all_ended(project: Project, stripe: StripeServer) -> None:
    groups = [due_group(project) for _ in range(130)]
    for group in groups:
        open_session(stripe, group)

    ended, told = await expire(project, stripe)

    assert (ended.status, told) == (0, NOTHING | {"expired": 130, "sessions_expired": 130})


@pytest.mark.parametrize(
    ("status", "words"), [(401, "does not know STRIPE_SECRET_KEY"), (403, "may not do this (403)")]
)
async def test_key_that_may_not_is_status_2_in_one_line_and_nothing_is_cancelled(
    project: Project, stripe: StripeServer, status: int, words: str
) -> None:
    group = due_group(project)
    open_session(stripe, group)
    refuses = answers(status)

    async def refuse_writing(request: web.Request) -> web.StreamResponse | None:
        return await refuses(request) if request.method == "POST" else None

    stripe.keep_failing = refuse_writing

    ended, _ = await expire(project, stripe)

    assert (ended.status, ended.output) == (2, "")
    assert words in ended.errors
    assert ended.errors.count("\n") == 1
    assert statuses(project, group) == ["pending"]


async def test_session_that_stripe_does_not_expire_keeps_its_group(project: Project, stripe: StripeServer) -> None:
    group = due_group(project)
    open_session(stripe, group)
    refuses = answers(400)

    async def refuse_writing(request: web.Request) -> web.StreamResponse | None:
        return await refuses(request) if request.method == "POST" else None

    stripe.keep_failing = refuse_writing

    ended, _ = await expire(project, stripe)

    assert (ended.status, "Stripe answered 400" in ended.errors) == (2, True)
    assert statuses(project, group) == ["pending"]


async def test_people_read_what_was_done_and_what_is_left(project: Project, stripe: StripeServer) -> None:
    complete = stripe.session(due_group(project))
    open_session(stripe, due_group(project))

    ended = await project.relay("expire", **settings(stripe))

    lines = ended.output.splitlines()
    assert lines[:5] == [
        "order groups that were cancelled  1",
        "sessions that were expired        1",
        "order groups settled meanwhile    0",
        "left, complete at Stripe          1",
        "failed                            0",
    ]
    assert lines[7].split() == ["left", "session_paid", complete["id"], complete["metadata"]["order_group_id"]]
    assert ended.status == 1


@pytest.mark.parametrize("age", ["24", "0h", "-1h", "2026-11-01", "999999w"])
async def test_age_that_is_none_is_a_usage_error(project: Project, stripe: StripeServer, age: str) -> None:
    ended = await project.relay("expire", f"--older-than={age}", **settings(stripe))

    assert ended.status == 2
    assert "must be a duration" in ended.errors


async def test_debit_that_the_relay_has_noted_outlives_the_expiry(project: Project, stripe: StripeServer) -> None:
    """The whole way: the webhook notes, the expiry passes by, the money comes."""
    group = due_group(project)
    event = completed(str(group.id), payment_status="unpaid")
    async with serving(project.environment()) as relay:
        secret = project.stack.stripe_webhook_secret
        assert (await relay.send(*delivery(event, secret=secret))).verdict == (200, "awaiting_funds", None)
        _, told = await expire(project, stripe)
        money = paid(group, id=session_of(event)["id"])
        assert (await relay.send(*delivery(money, secret=secret))).verdict == (200, "applied", None)

    assert told == NOTHING


async def test_check_tells_when_expiry_ran_and_warns_of_what_nobody_cancels(project: Project) -> None:
    project.shop.service.execute("select public.expire_order_groups()")
    ran = await project.relay("check")
    due_group(project, hours=2)
    overdue = await project.relay("check")

    assert "ok    expiry" in ran.output
    assert "last ran less than a minute ago; no order group is due" in ran.output
    assert "warn  expiry" in overdue.output
    assert "an order group has been due for 2 hours: schedule it" in overdue.output
    assert (ran.status, overdue.status) == (0, 0)
