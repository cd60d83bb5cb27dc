"""`relay desk` over HTTP, on a real project: who is let in, what each page tells, and what each form does."""

import asyncio
import json
import re
import signal
import socket
import unicodedata
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relay.commands.desk import evidence, story
from relay.commands.desk.links import dashboard
from relay.commands.desk.listing import PAGE
from testkit.database import Row
from testkit.desk import Desk, desk
from testkit.hostile_rows import hostile_rows
from testkit.payments import Payment, reconcile
from testkit.project import Project
from testkit.shop import HOSTILE_NAME

pytestmark = pytest.mark.anyio

SWEEP: dict[str, Any] = {"known": 7, "applied": 1, "rejected": [], "unmatched": [], "failed": [], "paid_here_only": []}
WORD = (("resolution", "refunded"), ("note", "sent back"))
FORMS = ("/exceptions/1/resolve", "/exceptions/1/reopen", "/exceptions/resolve")
TIMES = "\N{MULTIPLICATION SIGN}"
PAGES = (
    "/exceptions",
    "/exceptions?status=all&order=new",
    "/exceptions/all",
    "/search?q=evt_1",
    "/stock",
    "/sweep",
    "/report",
    "/report?since=2026-01-01",
    "/nowhere",
    "/exceptions/999999999",
    "/groups/cart-17",
    "/bulk/7",
)
STATIC = ("/static/desk.css", "/static/desk.js", "/static/desk.svg")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@pytest.fixture
async def ada(anyio_backend: str, project: Project) -> AsyncIterator[Desk]:
    """Ada's desk, entered."""
    assert anyio_backend == "asyncio"
    async with desk(project) as opened:
        yield opened


def rejected(project: Project, **changes: Any) -> tuple[Payment, Row]:
    """A payment one cent short, and its exception."""
    payment = project.shop.order_group().payment().but(amount_minor=7423, amount="74.23", **changes)
    assert reconcile(project.shop.service, payment)["reason"] == "amount_mismatch"
    return payment, exception_of(project, payment)


def exception_of(project: Project, payment: Payment) -> Row:
    (row,) = project.query("select * from payments.exceptions where stripe_event_id = %s", payment.event_id)
    return row


# Who is let in


async def test_the_link_opens_once_and_its_second_use_is_refused_and_told(project: Project) -> None:
    async with desk(project, enters=False) as opened:
        first = await opened.get(opened.link)
        again = await opened.get(opened.link)

        cookie = first.headers["Set-Cookie"]
        assert first.status == 200
        assert re.fullmatch(r"relay_desk_\d+=[\w-]{43}; HttpOnly; Path=/; SameSite=Strict", cookie)
        assert opened.link.rpartition("/")[2] not in cookie
        assert (again.status, "Set-Cookie" in again.headers) == (403, False)
        assert "This link has been used" in again.words
        assert (await opened.get("/exceptions")).status == 200  # whoever came in first stays in
        opened.process.send_signal(signal.SIGINT)
        _, errors = await opened.process.communicate()
    assert errors == b"relay: the link was used a second time, and refused; if that was not you, press Ctrl-C\n"


async def test_a_browser_that_looks_ahead_does_not_use_the_link_up(project: Project) -> None:
    async with desk(project, enters=False) as opened:
        ahead = await opened.get(opened.link, {"Sec-Purpose": "prefetch;prerender"})
        async with opened.browser.head(opened.link) as head:  # as from a terminal that looks what a link leads to
            assert (head.status, "Set-Cookie" in head.headers) == (405, False)

        assert (ahead.status, "Set-Cookie" in ahead.headers) == (403, False)
        assert (await opened.get(opened.link)).status == 200


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("cookie", [None, "", "x", "ü"])
async def test_nobody_sees_or_does_anything_without_the_session(
    project: Project, cookie: str | None, is_open: bool
) -> None:
    rejected(project)
    before = project.snapshot()
    async with desk(project, enters=is_open) as opened, aiohttp.ClientSession() as browser:
        stranger = replace(opened, browser=browser)
        name = f"relay_desk_{opened.url.rpartition(':')[2]}"
        headers = {} if cookie is None else {"Cookie": f"{name}={cookie}"}
        seen = [await stranger.get(path, headers) for path in ("/", *PAGES, f"{opened.url}/open/x")]
        done = [await stranger.post(path, *WORD, ("id", "1"), key="", headers=headers) for path in FORMS]

    assert {page.status for page in seen + done} == {403}
    assert [page.at for page in seen + done if "amount mismatch" in page.words] == []
    assert project.snapshot() == before


@pytest.mark.parametrize(
    "host", ["attacker.example", "127.0.0.1", "127.0.0.1:1", "localhost", "[::1]:{port}", "0.0.0.0:{port}"]
)
async def test_another_host_is_refused_everywhere(project: Project, host: str) -> None:
    async with desk(project, enters=False) as opened:
        host = host.format(port=opened.url.rpartition(":")[2])
        assert {(await opened.get(path, {"Host": host})).status for path in (opened.link, *PAGES, *STATIC)} == {421}
        assert (await opened.get(opened.link)).status == 200  # the link was not used up by that
        before = project.snapshot()
        posts = [
            await opened.post(path, *WORD, key="x", headers={"Host": host, "Origin": f"http://{host}"})
            for path in FORMS[2:]
        ]

    assert {page.status for page in posts} == {421}
    assert project.snapshot() == before


@pytest.mark.parametrize(
    "origin",
    [
        "http://attacker.example",
        "null",
        "",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
    ],
)
async def test_a_form_of_another_origin_does_nothing(project: Project, ada: Desk, origin: str) -> None:
    _, exception = rejected(project)
    key = await ada.key()
    before = project.snapshot()
    origin = origin.format(port=ada.url.rpartition(":")[2])

    done = [
        await ada.post(
            path.replace("1", str(exception["id"])),
            *WORD,
            ("id", str(exception["id"])),
            key=key,
            headers={"Origin": origin},
        )
        for path in FORMS
    ]

    assert {page.status for page in done} == {403}
    assert project.snapshot() == before


@pytest.mark.parametrize("key", ["", "0" * 64, "ü", "\0"])
async def test_a_form_without_the_sessions_key_does_nothing(project: Project, ada: Desk, key: str) -> None:
    _, exception = rejected(project)
    before = project.snapshot()

    done = [
        await ada.post(path.replace("1", str(exception["id"])), *WORD, ("id", str(exception["id"])), key=key)
        for path in FORMS
    ]

    assert {page.status for page in done} == {403}
    assert project.snapshot() == before


async def test_every_answer_is_strict_and_holds_no_key(project: Project, ada: Desk) -> None:
    _, exception = rejected(project)
    number, group = exception["id"], exception["order_group_id"]
    answers = [
        *[
            await ada.get(path, follow=False)
            for path in ("/", *PAGES, *STATIC, f"/exceptions/{number}", f"/groups/{group}")
        ],
        await ada.get(ada.link),
        await ada.get("/exceptions", {"Host": "attacker.example"}),
        await ada.post("/exceptions", *WORD),
        await ada.post(f"/exceptions/{number}/resolve", *WORD, follow=False),
    ]
    secrets = [value for name, value in project.environment().items() if "KEY" in name or "SECRET" in name]

    assert [(page.at, page.status) for page in answers if page.headers.items() < HEADERS.items()] == []
    assert [page.at for page in answers if {name: page.headers.get(name) for name in HEADERS} != HEADERS] == []
    assert len(secrets) == 3
    assert [page.at for page in answers for secret in secrets if secret in page.text + str(page.headers)] == []
    assert {page.status for page in answers} == {200, 303, 403, 404, 405, 421}
    # What the policy forbids is not even there.
    assert [
        page.at for page in answers if re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)|javascript:", page.text)
    ] == []


@pytest.mark.parametrize("body", [b"note=\xff", b"key=" + b"x" * 300_000])
async def test_a_form_that_no_browser_sends_does_nothing(project: Project, ada: Desk, body: bytes) -> None:
    _, exception = rejected(project)
    before = project.snapshot()
    headers = {"Origin": ada.url, "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}

    async with ada.browser.post(
        f"{ada.url}/exceptions/{exception['id']}/resolve", data=body, headers=headers
    ) as answer:
        assert answer.status in (400, 403, 413)

    assert project.snapshot() == before


# What the pages tell


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


async def test_the_list_is_filtered_and_paged_whole(project: Project, ada: Desk) -> None:
    numbers = {rejected(project)[1]["id"] for _ in range(PAGE + 3)}
    for order in ("", "new"):
        seen: list[int] = []
        path: str | None = f"/exceptions?reason=amount_mismatch&order={order}"
        while path:
            page = await ada.get(path)
            seen += map(int, re.findall(r'name="id" value="(\d+)"', page.text))
            following = re.search(r'href="(/exceptions\?[^"]+)" rel="next"', page.text)
            path = following[1].replace("&amp;", "&") if following else None
        assert seen == sorted(seen, reverse=order == "new")
        assert (len(seen), numbers - set(seen)) == (len(set(seen)), set())

    old = min(numbers)
    project.query(
        "update payments.exceptions set first_seen_at = now() - interval '4 days' where id = %s returning 1", old
    )
    case = f'href="/exceptions/{old}"'
    assert case in (await ada.get("/exceptions?age=3")).text
    assert case not in (await ada.get("/exceptions?age=new")).text
    assert case not in (await ada.get("/exceptions?age=7")).text
    assert case not in (await ada.get("/exceptions?status=resolved")).text
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
    assert (both.at.startswith("/search"), f'href="{case}"' in both.text, f'href="{own}"' in both.text) == (True,) * 3
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


async def test_a_groups_story_names_sellers_and_products(project: Project, ada: Desk) -> None:
    paid = project.shop.order_group()
    payment = paid.payment()
    reconcile(project.shop.service, payment)

    page = await ada.get(f"/groups/{paid.id}")

    assert page.status == 200
    for part in (
        f"Paid by event {payment.event_id}.",
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
    reconcile(project.shop.service, project.shop.order_group([[(2, "500")]], currency="JPY").payment())

    page = await ada.get("/report?since=2026-01-01")

    assert (page.status, "Paid in JPY1,000 JPY" in page.words, "By day, currency and outcome" in page.words) == (
        200,
        True,
        True,
    )
    for window in ("since=x", "since=2026-02-01&until=2026-01-01", "since=2026-01-01&until=x", "since=9999-01-01"):
        wrong = await ada.get(f"/report?{window}")
        assert (wrong.status, "The window" in wrong.words) == (400, True)


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


# What the forms do


async def test_resolving_records_who_what_and_why_and_stripes_retry_gets_its_200(project: Project, ada: Desk) -> None:
    payment, exception = rejected(project)
    path = f"/exceptions/{exception['id']}"

    page = await ada.post(f"{path}/resolve", *WORD)

    row = exception_of(project, payment)
    assert [row[key] for key in ("status", "resolution", "resolved_by", "note")] == [
        "resolved",
        "refunded",
        "ada",
        "sent back",
    ]
    assert (page.status, page.at) == (200, f"{path}?said=resolved")
    assert f"Exception {exception['id']} is resolved." in page.words
    assert reconcile(project.shop.service, payment)["outcome"] == "resolved"


async def test_whoever_resolves_second_is_told_who_was_faster_and_changes_nothing(project: Project, ada: Desk) -> None:
    _, exception = rejected(project)
    path = f"/exceptions/{exception['id']}"
    async with desk(project, by="bob <b>") as bob:
        seen = await ada.get(path)
        assert "Resolve as ada" in seen.words
        assert (await bob.post(f"{path}/resolve", ("resolution", "dismissed"), ("note", "not ours"))).status == 200
        before = project.snapshot()

        late = await ada.post(f"{path}/resolve", *WORD)

    assert late.status == 409
    assert "bob <b> was faster: it is resolved as dismissed. What you sent changed nothing." in late.words
    assert "<b>bob" not in late.text
    assert "sent back" in late.words  # what was written is not lost: it is there for a reopening
    assert project.snapshot() == before


async def test_reopening_takes_the_word_back_and_tells_it(project: Project, ada: Desk) -> None:
    payment, exception = rejected(project)
    path = f"/exceptions/{exception['id']}"
    assert (await ada.post(f"{path}/resolve", *WORD)).status == 200

    page = await ada.post(f"{path}/reopen", ("note", "it was the other one"))

    row = exception_of(project, payment)
    assert (row["status"], row["details"]["reopened"][0]["reopened_by"]) == ("open", "ada")
    assert f"Exception {exception['id']} is open again." in page.words
    assert "ada had called it refunded (sent back); ada reopened it" in page.words
    assert (await ada.post(f"{path}/reopen", ("note", "again"))).status == 409


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ([("note", "sent back")], "choose a resolution"),
        ([("resolution", "stolen"), ("note", "x")], "choose a resolution"),
        ([("resolution", "reconciled"), ("note", "x")], "choose a resolution"),
        ([("resolution", "refunded")], "Write a note"),
        ([("resolution", "refunded"), ("note", " \n ")], "Write a note"),
        ([("resolution", "refunded"), ("note", "x" * 2001)], "longer than 2,000 characters"),
        ([("resolution", "refunded"), ("note", "a\0b")], "a character that no text may hold"),
    ],
)
async def test_a_word_that_is_not_whole_does_nothing_and_is_kept(
    project: Project, ada: Desk, fields: list[tuple[str, str]], problem: str
) -> None:
    _, exception = rejected(project)
    id_ = str(exception["id"])
    before = project.snapshot()

    one = await ada.post(f"/exceptions/{id_}/resolve", *fields)
    many = await ada.post("/exceptions/resolve", *fields, ("id", id_), ("after", str(exception["id"] - 1)))
    all_ = await ada.post("/exceptions/resolve", *fields, ("upto", id_))

    for page in (one, many, all_):
        assert (page.status, problem in page.words) == (400, True)
        assert dict(fields).get("note", "").strip().replace("\0", "\N{REPLACEMENT CHARACTER}") in page.words
    assert f'value="{id_}" id="tick-{id_}" aria-label="Exception {id_}" checked' in many.text
    assert project.snapshot() == before


async def test_money_that_paid_a_group_is_not_called_refunded(project: Project, ada: Desk) -> None:
    payment = project.shop.order_group().payment()
    collision = payment.but(amount_minor=1, amount="0.01")
    for one in (payment, collision):
        reconcile(project.shop.service, one)
    exception = exception_of(project, payment)

    page = await ada.post(f"/exceptions/{exception['id']}/resolve", *WORD)

    assert (page.status, f"The payment of exception {exception['id']} has paid order group" in page.words) == (
        409,
        True,
    )
    assert exception_of(project, payment)["status"] == "open"


async def test_many_are_resolved_with_one_note_and_what_is_declined_is_told(project: Project, ada: Desk) -> None:
    (first, one), (second, two), (third, three) = rejected(project), rejected(project), rejected(project)
    assert (await ada.post(f"/exceptions/{three['id']}/resolve", *WORD)).status == 200
    ticked = [("id", str(row["id"])) for row in (one, two, three, one)]

    page = await ada.post("/exceptions/resolve", ("resolution", "dismissed"), ("note", "a test"), *ticked)

    assert (page.status, "2 exceptions resolved" in page.words, "1 exception declined" in page.words) == (
        200,
        True,
        True,
    )
    assert f"payment exception {three['id']} was closed as refunded by ada" in page.words
    words = [exception_of(project, payment)["resolution"] for payment in (first, second, third)]
    assert words == ["dismissed", "dismissed", "refunded"]
    assert (await ada.post("/exceptions/resolve", *WORD)).status == 400  # none is ticked


async def test_all_that_a_filter_finds_are_resolved_and_later_ones_stay_open(project: Project, ada: Desk) -> None:
    unmatched = Payment(order_group_id=None, unmatched_reason="malformed_reference", amount_minor=1, amount="0.01")
    payments = [unmatched.rival() for _ in range(PAGE + 5)]
    for payment in payments:
        reconcile(project.shop.service, payment)
    other, _ = rejected(project)
    shown = await ada.get("/exceptions/all?reason=malformed_reference")
    upto = re.search(r'name="upto" value="(\d+)"', shown.text)
    assert upto is not None
    assert f"Resolve {PAGE + 5} exceptions with one note" in shown.words
    late = unmatched.rival()
    reconcile(project.shop.service, late)

    page = await ada.post(
        "/exceptions/resolve",
        *WORD[1:],
        ("resolution", "dismissed"),
        ("reason", "malformed_reference"),
        ("upto", upto[1]),
    )
    while 'http-equiv="refresh"' in page.text:  # as a browser does
        page = await ada.get(page.at)

    assert f"{PAGE + 5} exceptions resolved" in page.words
    assert {exception_of(project, one)["status"] for one in payments} == {"resolved"}
    assert {exception_of(project, one)["status"] for one in (late, other)} == {"open"}


# How it begins and ends


async def test_no_answer_of_the_database_is_told_in_words_and_ends_nothing(project: Project) -> None:
    async with desk(project, SUPABASE_URL="http://127.0.0.1:9") as opened:
        for path in (
            "/exceptions",
            "/exceptions/1",
            "/search?q=1",
            "/stock",
            "/report?since=2026-01-01",
            "/groups/" + str(uuid.uuid4()),
        ):
            page = await opened.get(path)
            assert (page.status, "database_unavailable" in page.words, "SUPABASE_URL" in page.words) == (
                502,
                True,
                True,
            )
        assert (await opened.get("/sweep")).status == 200


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_it_ends_by_a_signal_with_status_0(project: Project, ending: signal.Signals) -> None:
    async with desk(project) as opened:
        opened.process.send_signal(ending)
        output, errors = await opened.process.communicate()

    assert (opened.process.returncode, errors) == (0, b"")
    assert output == b"The link lets one browser in, once. Ctrl-C ends the desk.\n"


async def test_an_end_while_exceptions_are_being_resolved_is_told(project: Project) -> None:
    (one, first), (_, second) = rejected(project), rejected(project)
    async with desk(project) as opened:
        with project.superuser.transaction():  # which holds the second one, so that the end comes in the middle
            project.query("select id from payments.exceptions where id = %s for update", second["id"])
            page = await opened.post("/exceptions/resolve", *WORD, *(("id", str(row["id"])) for row in (first, second)))
            assert "1 of 2 done. This page renews itself." in page.words
            opened.process.send_signal(signal.SIGINT)
            _, errors = await opened.process.communicate()

    assert (opened.process.returncode, errors.decode()) == (
        1,
        "relay: ended while 2 exceptions were being resolved, of which 1 are done: the list tells which are left\n",
    )
    assert exception_of(project, one)["status"] == "resolved"


async def test_it_listens_on_this_machine_alone(ada: Desk) -> None:
    port = int(ada.url.rpartition(":")[2])
    for line in (Path("/proc") / str(ada.process.pid) / "net/tcp").read_text().splitlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        if state == "0A" and int(address.rpartition(":")[2], 16) == port:
            assert address.startswith("0100007F:")
            return
    pytest.fail("nothing listens on the port")


async def test_what_it_cannot_do_is_status_2_in_words(project: Project, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await asyncio.gather(
            project.relay("desk", "--by", "ada", "--port", port),
            project.relay("desk"),
            project.relay("desk", "--by", " "),
            project.relay("desk", "--by", "ada", "--port", "65536"),
            project.relay("desk", "--by", "ada", "--sweep", str(tmp_path / "none.json")),
            project.relay("desk", "--by", "ada", SUPABASE_SERVICE_ROLE_KEY=""),
        )

    assert [(one.status, one.output) for one in ended] == [(2, "")] * 6
    for one, words in zip(
        ended,
        (
            f"cannot listen on 127.0.0.1:{port}",
            "--by NAME must say who resolves",
            "must not be blank",
            "must be a port",
            "cannot read",
            "SUPABASE_SERVICE_ROLE_KEY",
        ),
        strict=True,
    ):
        assert words in one.errors


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
