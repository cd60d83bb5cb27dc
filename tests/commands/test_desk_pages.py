"""`relay desk` over HTTP, on a real project: what each page tells."""

import json
import re
import unicodedata
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from relay.commands.desk import evidence, story
from relay.commands.desk.links import dashboard
from relay.commands.desk.listing import PAGE
from testkit.desk import Desk, desk
from testkit.exceptions import exception_of, rejected
from testkit.hostile_rows import hostile_rows
from testkit.payments import reconcile
from testkit.project import Project
from testkit.shop import HOSTILE_NAME
from testkit.stripe_events import new_id

pytestmark = pytest.mark.anyio

SWEEP: dict[str, Any] = {"known": 7, "applied": 1, "rejected": [], "unmatched": [], "failed": [], "paid_here_only": []}
TIMES = "\N{MULTIPLICATION SIGN}"


async def test_an_exception_is_told_with_both_sides_the_rule_what_to_do_and_its_story(
    project: Project, ada: Desk
) -> None:
    payment, exception = rejected(project, session_metadata={"email": "jenny@example.test"})

    page = await ada.get(f"/exceptions/{exception['id']}")

    assert page.status == 200
    assert "jenny" not in page.text + (await ada.get(f"/groups/{payment.order_group_id}")).text
    for part in (
        "The payment is not the order group's total.",
        "amount 74.24 USD 74.23 USD 0.01 USD less than expected",
        "Checkout added tax, shipping or a discount that the total lacks; a price changed meanwhile",
        "Mend the checkout; refund, or mend the pending group's totals and sweep",
        "Pending: a payment came but could not be applied.",
        str(payment.order_group_id),
        f"{exception['first_seen_at']:%Y-%m-%d %H:%M:%S} UTC",
        "test mode",
        "Resolve as ada",
    ):
        assert part in page.words
    for id_, place in (
        (payment.event_id, "events/"),
        (payment.payment_intent_id, "payments/"),
        (payment.checkout_session_id, "search?query="),
    ):
        assert f'href="https://dashboard.stripe.com/test/{place}{id_}"' in page.text


async def listed(ada: Desk, path: str) -> list[int]:
    """The numbers of the open exceptions of a list, page after page."""
    seen: list[int] = []
    following: str | None = path
    while following:
        page = await ada.get(following)
        seen += map(int, re.findall(r'name="id" value="(\d+)"', page.text))
        link = re.search(rf'href="{ada.root}(/exceptions\?[^"]+)" rel="next"', page.text)
        following = link[1].replace("&amp;", "&") if link else None
    return seen


async def test_the_list_is_filtered_and_paged_whole(project: Project, ada: Desk) -> None:
    numbers = {rejected(project)[1]["id"] for _ in range(PAGE + 3)}
    for order in ("", "new"):
        seen = await listed(ada, f"/exceptions?reason=amount_mismatch&order={order}")
        assert seen == sorted(seen, reverse=order == "new")
        assert (len(seen), numbers - set(seen)) == (len(set(seen)), set())

    old = min(numbers)
    project.query(
        "update payments.exceptions set first_seen_at = now() - interval '4 days' where id = %s returning 1", old
    )
    holding = {query: old in await listed(ada, f"/exceptions?{query}") for query in ("age=3", "age=new", "age=7")}
    assert holding == {"age=3": True, "age=new": False, "age=7": False}
    assert f'href="{ada.root}/exceptions/{old}"' not in (await ada.get("/exceptions?status=resolved")).text
    odd = await ada.get("/exceptions?status=x&reason=%00&age=%F0&order=1&after=-1&after=2")
    assert odd.status == 200


async def test_search_finds_by_any_id(project: Project, ada: Desk) -> None:
    payment, exception = rejected(project)
    paid = project.shop.order_group()
    applied = paid.payment()
    reconcile(project.shop.service, applied)
    case, group, own = f"/exceptions/{exception['id']}", f"/groups/{paid.id}", f"/groups/{payment.order_group_id}"

    for text, where in {
        exception["id"]: case,
        payment.event_id: case,
        payment.checkout_session_id: case,
        f" {payment.payment_intent_id} ": case,
        paid.id: group,
        str(paid.id).upper(): group,
        paid.order_ids[0]: group,
        applied.event_id: group,
        applied.checkout_session_id: group,
        applied.payment_intent_id: group,
    }.items():
        assert (await ada.get(f"/search?q={text}")).at == where
    both = await ada.get(f"/search?q={payment.order_group_id}")
    links = [f'href="{ada.root}{path}"' in both.text for path in (case, own)]
    assert (both.at.startswith("/search"), links) == (True, [True, True])
    for nothing in (
        "evt_nobody",
        "999999999",
        "9" * 30,
        str(uuid.uuid4()),
        "%00",
        "a%0Db",
        "%F0%9F%92%B8",
        "x" * 300,
        "",
        "*",
        "a,b",
        '"',
    ):
        found = await ada.get(f"/search?q={nothing}")
        assert (found.status, "Nothing here bears it." in found.words) == (200, True)


async def test_search_finds_whatever_explain_finds(project: Project, ada: Desk) -> None:
    service, group = project.shop.service, project.shop.order_group()
    payment = group.payment()
    twin = payment.but(event_id=new_id("evt"), event_type="checkout.session.async_payment_succeeded")
    assert [reconcile(service, one)["outcome"] for one in (payment, twin)] == ["applied", "already_paid"]
    refund, dispute = new_id("re"), new_id("dp")
    record = "select public.record_{}(%s, %s, 424, 4.24, 'usd', %s, now(), null, false)"
    service.execute(record.format("refund"), [refund, payment.payment_intent_id, "succeeded"])

    for text in (twin.event_id, refund, group.item_ids[0], group.order_ids[1]):
        assert (await ada.get(f"/search?q={text}")).at == f"/groups/{group.id}"
        explained = await project.relay("explain", str(text))
        assert (explained.status, f"Order group {group.id}\n" in explained.output) == (0, True)

    service.execute(record.format("dispute"), [dispute, payment.payment_intent_id, "needs_response"])
    (case,) = project.query("select id from payments.exceptions where order_group_id = %s", group.id)
    for text in (dispute, refund):
        page = await ada.get(f"/search?q={text}")
        assert (page.at, f'href="{ada.root}/groups/{group.id}"' in page.text) == (f"/exceptions/{case['id']}", True)
        assert text in page.words


async def test_search_goes_to_a_page_only_where_it_tells_all(project: Project, ada: Desk) -> None:
    service, first, second = project.shop.service, project.shop.order_group(), project.shop.order_group()
    payment = first.payment()
    reused = payment.but(event_id=new_id("evt"), order_group_id=second.id)
    assert [reconcile(service, one)["reason"] for one in (payment, reused)] == [None, "payment_already_used"]
    stray = project.shop.order_group().payment().but(order_group_id=None, unmatched_reason="missing_reference")
    reconcile(service, stray)
    unknown = new_id("pi")
    refund, refund_of_stray, dispute = new_id("re"), new_id("re"), new_id("dp")
    record = "select public.record_{}(%s, %s, 424, 4.24, 'usd', %s, now(), %s, false)"
    service.execute(record.format("refund"), [refund, unknown, "pending", "<b>"])
    service.execute(record.format("refund"), [refund_of_stray, stray.payment_intent_id, "pending", None])
    service.execute(record.format("dispute"), [dispute, payment.payment_intent_id, "needs_response", "fraudulent"])

    both = await ada.get(f"/search?q={payment.payment_intent_id}")
    strays = await ada.get(f"/search?q={stray.payment_intent_id}")
    nobodys = await ada.get(f"/search?q={refund}")

    number = exception_of(project, reused)["id"]
    places = (f"/exceptions/{number}", f"/groups/{first.id}", f"/groups/{second.id}")
    assert [f'href="{ada.root}{place}"' in both.text for place in places] == [True] * 3
    assert f'href="{ada.root}/exceptions/{exception_of(project, stray)["id"]}"' in strays.text
    assert f"refund {refund_of_stray}: pending, 4.24 USD of {stray.payment_intent_id}" in strays.words
    assert f"refund {refund}: pending, 4.24 USD of {unknown} (<b>)" in nobodys.words
    for page in (strays, nobodys):
        assert (page.at.startswith("/search"), "The payment belongs to no order group" in page.words) == (True, True)
        assert "Nothing here bears it." not in page.words
    assert (await ada.get(f"/search?q={stray.event_id}")).at == f"/exceptions/{exception_of(project, stray)['id']}"


async def test_a_groups_story_names_sellers_and_products(project: Project, ada: Desk) -> None:
    paid = project.shop.order_group()
    payment = paid.payment()
    reconcile(project.shop.service, payment)

    page = await ada.get(f"/groups/{paid.id}")

    assert page.status == 200
    for part in (
        f"Paid by event {payment.event_id}.",
        "event made at 2026-11-01 12:00:00 UTC",
        "74.24 USD",
        "Seller 1: 33.74 USD, paid",
        f"2 {TIMES} Product 2 of seller 1",
        "because amount, currency and totals agreed",
        "stock: 5 entries",
    ):
        assert part in page.words
    unknown = await ada.get(f"/groups/{uuid.uuid4()}")
    assert (unknown.status, "There is no such order group." in unknown.words) == (404, True)


async def test_stock_begins_with_what_was_oversold(project: Project, ada: Desk) -> None:
    reconcile(project.shop.service, project.shop.order_group().payment())
    seller, product = project.shop.sellers[1].id, project.shop.sellers[1].product_ids[0]
    project.query("update public.products set name = %s where id = %s returning 1", HOSTILE_NAME, product)
    project.query("select public.record_inventory_adjustment(%s, -100000, 'lost')", product)

    page, own = await ada.get("/stock"), await ada.get(f"/stock?seller={seller}")

    first = re.search(r"<tbody>\s*<tr>(.*?)</tr>", page.text, re.DOTALL)
    assert first is not None
    assert ("Bowl &lt;script&gt;" in first[1], "-100," in first[1]) == (True, True)
    assert "Seller 1" in page.words
    assert ("Of Seller 2 alone" in own.words, "seller 1" in own.words.lower()) == (True, False)
    assert (await ada.get("/stock?seller=x")).status == 404
    assert (await ada.get("/stock?page=999999999999")).status == 200


async def test_the_last_sweep_is_read_anew_for_each_look(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(SWEEP))
    async with desk(project, "--sweep", str(file)) as opened:
        assert "No drift was left." in (await opened.get("/sweep")).words
        times = {"since": "2026-11-20T00:00:00+00:00", "until": "2026-11-23T00:00:00+00:00", "dry_run": True}
        file.write_text(json.dumps(SWEEP | times))
        swept = "ago, over 2026-11-20 00:00:00 UTC to 2026-11-23 00:00:00 UTC, a dry run that wrote nothing."
        assert swept in (await opened.get("/sweep")).words
        finding = {"checkout_session_id": "cs_test_<b>", "order_group_id": None, "reason": "amount_mismatch"}
        applied = {
            "checkout_session_id": "cs_1",
            "order_group_id": "x",
            "amount": "1234.5",
            "currency": "EUR",
            "reason": "applied",
        }
        file.write_text(json.dumps(SWEEP | {"rejected": [finding], "applied_now": [applied]}))
        page = await opened.get("/sweep")
        assert (
            "rejected: amount mismatch" in page.words,
            "cs_test_<b>" in page.words,
            "1,234.50 EUR" in page.words,
        ) == (True,) * 3
        file.write_text("[")
        assert "is not the JSON of `relay sweep --json`" in (await opened.get("/sweep")).words
        file.unlink()
        assert "cannot read" in (await opened.get("/sweep")).words


async def test_a_report_of_a_window_is_the_reports_own(project: Project, ada: Desk) -> None:
    made = datetime(2002, 1, 5, tzinfo=UTC)
    payment = project.shop.order_group([[(2, "500")]], currency="JPY").payment()
    reconcile(project.shop.service, payment.but(event_created=made))

    page = await ada.get("/report?since=2002-01-01&until=2002-02-01")

    assert (page.status, "Paid in JPY1,000 JPY" in page.words, "By day, currency and outcome" in page.words) == (
        200,
        True,
        True,
    )
    for window in ("since=x", "since=2026-02-01&until=2026-01-01", "since=2026-01-01&until=x", "since=9999-01-01"):
        wrong = await ada.get(f"/report?{window}")
        assert (wrong.status, "The window" in wrong.words) == (400, True)


async def test_a_report_names_the_payments_of_the_other_mode(project: Project, ada: Desk) -> None:
    made = datetime(2001, 1, 5, tzinfo=UTC)
    reconcile(project.shop.service, project.shop.order_group().payment().but(event_created=made, livemode=True))

    page = await ada.get("/report?since=2001-01-01&until=2001-02-01")

    assert "1 payment of live mode is in these sums, and the key is of test mode" in page.words


async def test_whatever_a_row_holds_is_shown_and_is_no_markup(project: Project, ada: Desk) -> None:
    with hostile_rows(project) as rows:
        pages = [
            await ada.get("/exceptions?status=all"),
            await ada.get("/exceptions?status=all&order=new"),
            *[await ada.get(f"/exceptions/{number}") for number in rows.numbers.values()],
            *[await ada.get(f"/groups/{group}") for group in rows.groups.values()],
            *[await ada.get(f"/search?q={group}") for group in rows.groups.values()],
            await ada.get("/report?since=2020-01-01"),
        ]

    assert [page.at for page in pages if page.status != 200] == []
    assert {one for page in pages for one in page.text if unicodedata.category(one) in ("Cc", "Cf", "Co", "Cs")} <= {
        "\n",
        "\t",
    }


# Parts


@pytest.mark.parametrize(
    ("id_", "place"),
    [
        ("pi_3Pxx0000", "payments/pi_3Pxx0000"),
        ("evt_1Abc0000", "events/evt_1Abc0000"),
        ("cs_test_a1B2c3", "search?query=cs_test_a1B2c3"),
        ("re_3Pxx0000", "search?query=re_3Pxx0000"),
        ("dp_1Abc0000", "search?query=dp_1Abc0000"),
        ("sweep_cs_test_a1B2c3", None),
        ("cs_test_sim_0123456789", None),
        ("evt_sim_0123456789", None),
        ("evt_1/../../login", None),
        ("evt_1?x=1234567", None),
        ("javascript:alert(1)", None),
        (None, None),
        (17, None),
    ],
)
def test_only_stripes_own_ids_lead_to_its_dashboard(id_: object, place: str | None) -> None:
    for livemode, base in ((True, "https://dashboard.stripe.com/"), (False, "https://dashboard.stripe.com/test/")):
        assert dashboard(id_, livemode=livemode) == (None if place is None else base + place)


def test_a_step_of_a_kind_that_is_not_known_yet_is_told_with_all_that_it_says() -> None:
    entry = {
        "at": "2026-11-01T12:00:00Z",
        "kind": "coupon_used",
        "rule": "once",
        "amount": "5",
        "currency": "JPY",
        "code": {"a": 1},
    }

    assert story.steps({"timeline": [entry]}) == [
        story.Step("2026-11-01T12:00:00Z", "coupon used: 5 JPY", "once", None, [("code", '{"a": 1}')])
    ]


@pytest.mark.parametrize(
    ("expected", "received", "line"),
    [
        (("74.24", "USD"), ("74.23", "USD"), ("74.24 USD", "74.23 USD", True, "0.01 USD less than expected")),
        (("1000", "JPY"), ("1200", "JPY"), ("1,000 JPY", "1,200 JPY", True, "200 JPY more than expected")),
        (("74.24", "USD"), ("74.24", "EUR"), ("74.24 USD", "74.24 EUR", False, "")),
        (("74.24", "USD"), ("80", "EUR"), ("74.24 USD", "80.00 EUR", True, "")),
        (("74.24", "USD"), (None, "USD"), ("74.24 USD", None, True, "")),
        (("NaN", "USD"), ("1", "USD"), ("NaN USD", "1.00 USD", True, "")),
    ],
)
def test_amounts_are_compared_as_money(
    expected: tuple[str, str], received: tuple[str | None, str], line: tuple[str | None, str | None, bool, str]
) -> None:
    details = {
        "expected": {"total_amount": expected[0], "currency": expected[1]},
        "received": {"amount": received[0], "currency": received[1]},
    }
    row: Any = {"reason": "amount_mismatch", "details": details}
    (first, *_) = evidence.compare(row)

    assert (first.label, first.expected, first.received, first.differs, first.remark) == ("amount", *line)


def test_a_refund_is_compared_with_what_its_payment_brought() -> None:
    details = {
        "expected": {"amount_minor": "5000", "currency": "JPY"},
        "received": {"amount": "6000", "amount_minor": "6000", "currency": "JPY"},
    }
    refund: Any = {"reason": "exceeds_payment", "details": details}
    dispute: Any = {"reason": "payment_disputed", "details": details}

    told = ("amount", "5,000 JPY", "6,000 JPY")
    assert evidence.compare(refund)[0] == evidence.Line(*told, differs=True, remark="1,000 JPY more than expected")
    assert evidence.compare(dispute)[0] == evidence.Line(*told, differs=False, remark="1,000 JPY more than expected")
