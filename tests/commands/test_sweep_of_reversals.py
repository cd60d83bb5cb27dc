"""`relay sweep` compares refunds and disputes too: a server that speaks Stripe's API, PostgREST and the database."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from testkit.command_line import Ended
from testkit.database import Row
from testkit.desk import desk
from testkit.project import Project
from testkit.stripe_api_server import StripeServer, answers
from testkit.stripe_events import Json, new_id
from testkit.sweeping import LISTS, NO_REVERSALS, delivered, exceptions_of, sweep

pytestmark = pytest.mark.anyio


def paid_session(project: Project, stripe: StripeServer) -> Json:
    """A session whose payment the webhook has delivered."""
    session = stripe.session(project.shop.order_group())
    assert delivered(project, stripe.event(session))["outcome"] == "applied"
    return session


def group_of(project: Project, session: Json) -> Row:
    group_id = session["metadata"]["order_group_id"]
    (row,) = project.query("select * from public.order_groups where id = %s", group_id)
    return row


def finding(reversal: Json, reason: str, order_group_id: str | None = None) -> Json:
    return {
        "id": reversal["id"],
        "payment_intent_id": reversal["payment_intent"],
        "order_group_id": order_group_id,
        "reason": reason,
    }


async def test_refunds_and_disputes_are_recorded_once_and_a_second_sweep_changes_nothing(
    project: Project, stripe: StripeServer
) -> None:
    whole, part, disputed, healthy = (paid_session(project, stripe) for _ in range(4))
    stripe.refund(whole)
    stripe.refund(part, amount=100)
    stripe.refund(part, amount=200, status="failed")
    stripe.dispute(disputed)
    stripe.dispute(healthy, status="won")

    ended, told = await sweep(project, stripe)

    assert (ended.status, ended.errors) == (0, "")
    assert told["refunds"] == NO_REVERSALS | {"recorded": 3}
    assert told["disputes"] == NO_REVERSALS | {"recorded": 2}
    assert [group_of(project, one)["status"] for one in (whole, part, disputed, healthy)] == [
        "refunded",
        "paid",
        "paid",
        "paid",
    ]
    assert str(group_of(project, part)["refunded_amount"]) == "1.00"
    ours = [group_of(project, one)["id"] for one in (whole, part, disputed, healthy)]
    sources = project.query(
        "select source from payments.refunds where order_group_id = any(%s)"
        " union select source from payments.disputes where order_group_id = any(%s)",
        ours,
        ours,
    )
    assert sources == [{"source": "sweep"}]

    before = project.snapshot()
    ended, told = await sweep(project, stripe)
    assert (ended.status, told["refunds"], told["disputes"]) == (
        0,
        NO_REVERSALS | {"known": 3},
        NO_REVERSALS | {"known": 2},
    )
    assert all(told[name] == [] for name in LISTS)
    assert project.snapshot() == before


async def test_a_payment_whose_money_had_gone_back_is_not_applied(project: Project, stripe: StripeServer) -> None:
    """Neither the payment nor its refund was delivered; and the dry run foresees both."""
    back, kept = stripe.session(project.shop.order_group()), stripe.session(project.shop.order_group())
    stripe.refund(back)
    stripe.refund(kept, amount=100)

    dry, foretold = await sweep(project, stripe, "--dry-run")
    ended, told = await sweep(project, stripe)

    assert (dry.status, ended.status) == (1, 0)
    assert told == foretold
    assert told["refunds"] == NO_REVERSALS | {"recorded": 2}
    assert (told["applied"], told["known"]) == (1, 1)
    assert [one["checkout_session_id"] for one in told["applied_now"]] == [kept["id"]]
    assert (group_of(project, back)["status"], group_of(project, kept)["status"]) == ("pending", "paid")
    (exception,) = exceptions_of(project, back)
    assert (exception["reason"], exception["status"], exception["resolution"], exception["resolved_by"]) == (
        "payment_refunded",
        "resolved",
        "refunded",
        "stripe",
    )

    before = project.snapshot()
    assert (await sweep(project, stripe))[1]["applied"] == 0
    assert project.snapshot() == before


async def test_a_dry_run_writes_nothing_and_tells_what_it_would_record(project: Project, stripe: StripeServer) -> None:
    stripe.refund(paid_session(project, stripe))
    stripe.dispute(paid_session(project, stripe))
    before = project.snapshot()

    ended, foretold = await sweep(project, stripe, "--dry-run")

    assert ended.status == 1
    assert project.snapshot() == before
    ended, told = await sweep(project, stripe)
    assert (ended.status, told) == (0, foretold)
    assert (told["refunds"]["recorded"], told["disputes"]["recorded"]) == (1, 1)


async def test_what_goes_back_of_other_payments_is_ignored(project: Project, stripe: StripeServer) -> None:
    """An account that also sells by other ways, and a charge without a payment intent."""
    other: Json = {"payment_intent": new_id("pi"), "amount_total": 500, "currency": "usd", "created": 0}
    other["created"] = paid_session(project, stripe)["created"]
    stripe.refund(other)
    stripe.refund(other, payment_intent=None)
    stripe.dispute(other)
    stripe.dispute(other, livemode=True)
    before = project.snapshot()

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["refunds"], told["disputes"]) == (
        0,
        NO_REVERSALS | {"ignored": 2},
        NO_REVERSALS | {"ignored": 2},
    )
    assert project.snapshot() == before


async def test_the_refund_of_a_second_payment_closes_its_exception(project: Project, stripe: StripeServer) -> None:
    group = project.shop.order_group()
    first, second = stripe.session(group, age=200), stripe.session(group, age=100)
    assert [delivered(project, stripe.event(one))["outcome"] for one in (first, second)] == ["applied", "rejected"]
    stripe.refund(second, after=10)

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["refunds"], told["rejected"]) == (0, NO_REVERSALS | {"recorded": 1}, [])
    (exception,) = exceptions_of(project, second)
    assert (exception["status"], exception["resolution"]) == ("resolved", "refunded")
    assert project.group(group)["status"] == "paid"


async def test_a_refund_that_does_not_fit_is_told_each_time_and_recorded_when_it_does(
    project: Project, stripe: StripeServer
) -> None:
    session = paid_session(project, stripe)
    first = stripe.refund(session, after=10)
    second = stripe.refund(session, after=20, amount=100)
    rejected = [finding(second, "exceeds_payment", session["metadata"]["order_group_id"])]

    ended, told = await sweep(project, stripe)
    assert (ended.status, told["refunds"]) == (1, NO_REVERSALS | {"recorded": 1, "rejected": rejected})
    before = project.snapshot()
    ended, told = await sweep(project, stripe)
    assert (ended.status, told["refunds"]) == (1, NO_REVERSALS | {"known": 1, "rejected": rejected})
    assert project.snapshot() == before

    first["status"] = "failed"
    ended, told = await sweep(project, stripe)
    assert (ended.status, told["refunds"]) == (0, NO_REVERSALS | {"recorded": 2})
    assert str(group_of(project, session)["refunded_amount"]) == "1.00"


async def test_what_stripe_does_not_show_is_told(project: Project, stripe: StripeServer) -> None:
    """Forged events: a refund that Stripe never had, and a status that it never reached."""
    session = paid_session(project, stripe)
    invented, failed = stripe.refund(session, amount=100), stripe.refund(session, amount=200, status="failed")
    stripe.dispute(session, id=new_id("dp_sim"))
    await sweep(project, stripe)
    stripe.refunds.remove(invented)
    stripe.disputes.clear()
    failed["status"] = "succeeded"
    before = project.snapshot()

    ended, told = await sweep(project, stripe)

    group_id = session["metadata"]["order_group_id"]
    here_only = [finding(invented, "not_found", group_id), finding(failed, "status_differs", group_id)]
    assert (ended.status, told["refunds"]) == (1, NO_REVERSALS | {"here_only": here_only})
    assert told["disputes"] == NO_REVERSALS
    assert project.snapshot() == before


LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def recorded(project: Project, reversal: Json, **changes: Any) -> str:
    """The outcome, had somebody with the service key recorded the refund or the dispute."""
    said = {
        "id": reversal["id"],
        "payment_intent": reversal["payment_intent"],
        "amount": reversal["amount"],
        "status": reversal["status"],
        "created": LONG_AGO,
        **changes,
    }
    row = project.shop.service.execute(
        f"select public.record_{reversal['object']}(%(id)s, %(payment_intent)s, %(amount)s, %(amount)s / 100.0, 'USD',"
        " %(status)s, %(created)s, p_livemode => false) ->> 'outcome' as outcome".encode(),
        said,
    ).fetchone()
    assert row is not None
    return str(row["outcome"])


def of_long_ago(project: Project, stripe: StripeServer, kind: str) -> tuple[Json, Json]:
    """A paid session, and a refund or a dispute of its payment that Stripe made in 2001."""
    session = paid_session(project, stripe)
    made = stripe.refund if kind == "refund" else stripe.dispute
    return session, made(session, created=int(LONG_AGO.timestamp()))


@pytest.mark.parametrize("kind", ["refund", "dispute"])
async def test_what_was_invented_with_an_old_time_is_told(project: Project, stripe: StripeServer, kind: str) -> None:
    session, reversal = of_long_ago(project, stripe, kind)
    kept = stripe.refunds if kind == "refund" else stripe.disputes
    kept.remove(reversal)
    assert recorded(project, reversal) == "recorded"
    assert group_of(project, session)["status"] == ("refunded" if kind == "refund" else "paid")
    before = project.snapshot()

    for _ in range(2):
        ended, told = await sweep(project, stripe)
        here_only = [finding(reversal, "not_found", session["metadata"]["order_group_id"])]
        assert (ended.status, told[f"{kind}s"]) == (1, NO_REVERSALS | {"here_only": here_only})
    assert project.snapshot() == before


async def told_everywhere(project: Project, swept: Ended, tmp_path: Path) -> tuple[str, str, str]:
    """What the report with the sweep's file, its page and the desk say; the report's status is that of its checks."""
    file, page = tmp_path / "sweep.json", tmp_path / "report.html"
    file.write_text(swept.output)
    asked = ("report", "--since", "2099-01-01", "--until", "2099-01-02", "--sweep", str(file))
    told, written = await project.relay(*asked), await project.relay(*asked, "--html", str(page))
    assert (told.status, told.errors) == (written.status, written.errors) == (0, "")
    async with desk(project, "--sweep", str(file)) as opened:
        return told.output, page.read_text(), (await opened.get("/sweep")).words


@pytest.mark.parametrize("kind", ["refund", "dispute"])
async def test_what_was_invented_is_no_less_drift_in_the_report_and_at_the_desk(
    project: Project, stripe: StripeServer, kind: str, tmp_path: Path
) -> None:
    session, reversal = of_long_ago(project, stripe, kind)
    (stripe.refunds if kind == "refund" else stripe.disputes).remove(reversal)
    assert recorded(project, reversal) == "recorded"

    swept, _ = await sweep(project, stripe)
    told, page, seen = await told_everywhere(project, swept, tmp_path)

    assert swept.status == 1
    assert "1 difference was left\n" in told
    assert all("1 difference was left." in one and "o drift" not in one for one in (page, seen))
    group = session["metadata"]["order_group_id"]
    assert f"<span>{reversal['id']}<br>{reversal['payment_intent']}</span>" in page
    assert f'<td data-name="What">{kind} here only</td>' in page
    for part in (
        "Left for a person1",
        f"{kind} here only: not found",
        f"{kind} {reversal['id']} ",
        f"payment intent {reversal['payment_intent']} ",
        f"order group {group}",
    ):
        assert part in seen


async def test_what_a_dry_run_would_do_is_drift_until_a_sweep_has_done_it(
    project: Project, stripe: StripeServer, tmp_path: Path
) -> None:
    stripe.session(project.shop.order_group())
    for make in (stripe.refund, stripe.dispute):
        make(paid_session(project, stripe))

    foretold, _ = await sweep(project, stripe, "--dry-run")
    told, page, seen = await told_everywhere(project, foretold, tmp_path)

    assert foretold.status == 1
    parts = "1 payment would be applied, 1 refund would be recorded, 1 dispute would be recorded"
    assert f"a dry run that wrote nothing: 3 differences were left: {parts}\n" in told
    assert all(f"3 differences were left: {parts}." in one and "o drift" not in one for one in (page, seen))
    assert ("1 would be applied." in page, "Would be applied1" in seen) == (True, True)
    assert not any("pplied by" in one for one in (told, page, seen))

    done, _ = await sweep(project, stripe)
    told, page, seen = await told_everywhere(project, done, tmp_path)

    assert (done.status, "no drift was left\n" in told) == (0, True)
    assert all("No drift was left." in one and "would be" not in one for one in (page, seen))
    assert ("1 applied by the sweep." in page, "Applied by it1" in seen) == (True, True)


@pytest.mark.parametrize("kind", ["refund", "dispute"])
async def test_what_is_old_and_was_recorded_late_is_no_drift(project: Project, stripe: StripeServer, kind: str) -> None:
    _, reversal = of_long_ago(project, stripe, kind)
    assert recorded(project, reversal) == "recorded"
    before = project.snapshot()

    ended, told = await sweep(project, stripe)

    assert (ended.status, told[f"{kind}s"]) == (0, NO_REVERSALS | {"known": 1})
    assert [path for path, _ in stripe.requests if reversal["id"] in path] == [f"/v1/{kind}s/{reversal['id']}"]
    assert project.snapshot() == before


@pytest.mark.parametrize("kind", ["refund", "dispute"])
@pytest.mark.parametrize("lie", ["amount", "payment"])
async def test_an_old_one_with_another_amount_or_payment_than_stripes_is_told(
    project: Project, stripe: StripeServer, kind: str, lie: str
) -> None:
    session, reversal = of_long_ago(project, stripe, kind)
    other = paid_session(project, stripe)
    if lie == "amount":
        reversal["amount"] -= 1
        assert recorded(project, reversal, amount=reversal["amount"] + 1) == "recorded"
    else:
        assert recorded(project, reversal, payment_intent=other["payment_intent"]) == "recorded"

    for _ in range(2):
        ended, told = await sweep(project, stripe)
        rejected = [finding(reversal, f"{kind}_collision", session["metadata"]["order_group_id"])]
        assert (ended.status, told[f"{kind}s"]) == (1, NO_REVERSALS | {"rejected": rejected})


@pytest.mark.parametrize(
    ("here", "there", "status", "expected"),
    [
        ("pending", "succeeded", 0, {"recorded": 1}),
        ("succeeded", "failed", 0, {"recorded": 1}),
        ("succeeded", "pending", 1, {"here_only": "status_differs"}),
        ("succeeded", "half", 1, {"failed": "malformed_event"}),
    ],
)
async def test_an_old_one_with_another_status_than_stripes_is_brought_on_or_told(
    project: Project, stripe: StripeServer, here: str, there: str, status: int, expected: dict[str, Any]
) -> None:
    session, refund = of_long_ago(project, stripe, "refund")
    assert recorded(project, refund, status=here) == "recorded"
    refund["status"] = there

    ended, told = await sweep(project, stripe)

    group_id = session["metadata"]["order_group_id"]
    lists = {
        name: [finding(refund, said, group_id)] if isinstance(said, str) else said for name, said in expected.items()
    }
    assert (ended.status, told["refunds"]) == (status, NO_REVERSALS | lists)
    if status == 0:
        assert project.query("select status from payments.refunds where id = %s", refund["id"]) == [{"status": there}]


async def test_a_status_that_was_recorded_long_after_the_refund_is_asked_for(
    project: Project, stripe: StripeServer
) -> None:
    """A real refund of long ago failed; whoever has the service key may not say otherwise of another unseen."""
    session, refund = of_long_ago(project, stripe, "refund")
    refund["status"] = "pending"
    assert recorded(project, refund) == "recorded"
    long_ago = "update payments.refunds set recorded_at = %s, status_changed_at = %s where id = %s returning 1"
    project.query(long_ago, LONG_AGO, LONG_AGO, refund["id"])
    assert (await sweep(project, stripe))[1]["refunds"] == NO_REVERSALS

    assert recorded(project, refund, status="succeeded") == "recorded"

    ended, told = await sweep(project, stripe)
    here_only = [finding(refund, "status_differs", session["metadata"]["order_group_id"])]
    assert (ended.status, told["refunds"]) == (1, NO_REVERSALS | {"here_only": here_only})


@pytest.mark.parametrize(
    ("status", "words"), [(403, "STRIPE_SECRET_KEY may not do this (403)"), (400, "Stripe answered 400")]
)
async def test_no_answer_about_one_of_them_is_no_verdict(
    project: Project, stripe: StripeServer, status: int, words: str
) -> None:
    _, refund = of_long_ago(project, stripe, "refund")
    assert recorded(project, refund) == "recorded"
    before = project.snapshot()

    async def forbidden(request: web.Request) -> web.StreamResponse | None:
        return await answers(status)(request) if refund["id"] in request.path else None

    stripe.keep_failing = forbidden
    ended, _ = await sweep(project, stripe)

    assert (ended.status, words in ended.errors) == (2, True)
    assert project.snapshot() == before


async def test_all_pages_and_only_the_window_are_read(project: Project, stripe: StripeServer) -> None:
    session = paid_session(project, stripe)
    for _ in range(205):
        stripe.refund(session, amount=1)
    stripe.refund(session, amount=1, created=session["created"] - 100 * 3600)

    _, told = await sweep(project, stripe)

    assert told["refunds"] == NO_REVERSALS | {"recorded": 205}
    pages = [query for path, query in stripe.requests if path == "/v1/refunds"]
    assert len(pages) == 3
    assert all(query["limit"] == ["100"] and "created[gte]" in query and "created[lte]" in query for query in pages)


async def test_a_refund_that_cannot_be_understood_fails_alone(project: Project, stripe: StripeServer) -> None:
    session = paid_session(project, stripe)
    odd, fine = stripe.refund(session, status="half", amount=1), stripe.refund(session, amount=1)

    ended, told = await sweep(project, stripe)

    expected = {"id": odd["id"], "payment_intent_id": None, "order_group_id": None, "reason": "malformed_event"}
    assert (ended.status, told["refunds"]) == (1, NO_REVERSALS | {"recorded": 1, "failed": [expected]})
    assert project.query("select id from payments.refunds where id = any(%s)", [[odd["id"], fine["id"]]]) == [
        {"id": fine["id"]}
    ]


async def test_people_read_what_was_recorded_and_what_is_left(project: Project, stripe: StripeServer) -> None:
    session = paid_session(project, stripe)
    stripe.refund(session, after=10)
    second = stripe.refund(session, after=20, amount=100)

    ended = await project.relay("sweep", "--since", "72h", STRIPE_API_BASE=stripe.url, STRIPE_SECRET_KEY=stripe.key)

    assert ended.status == 1
    assert re.search(r"^refunds +1 recorded now, 1 rejected$", ended.output, re.MULTILINE)
    assert re.search(rf"^refund rejected +exceeds_payment +{second['id']} ", ended.output, re.MULTILINE)
