"""`relay desk` in a real Chromium: by keyboard, on a phone, in the dark, beside another operator and a hostile page."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from local_stack.supabase_cli import REPOSITORY
from testkit.desk import Desk, desk
from testkit.exceptions import exception_of, rejected
from testkit.payments import reconcile
from testkit.project import Project
from tests.browser.conftest import visitor

pytestmark = pytest.mark.anyio

AXE = (REPOSITORY / "node_modules/axe-core/axe.min.js").read_text()
MOST_TABS = 200  # presses of the Tab key, more than there are stops on any page
MARKUP = "<img src=x onerror=\"document.title='hit'\"></textarea><script>document.title='hit'</script>\u202e'\"&"
MANY = 10_000
SWEEP = (
    '{"known": 1, "applied": 0, "unmatched": [], "failed": [], "paid_here_only": [], "rejected":'
    ' [{"checkout_session_id": "cs_1", "order_group_id": null, "reason": "amount_mismatch"}]}'
)


@pytest.fixture
async def ada(anyio_backend: str, project: Project, tmp_path: Path) -> AsyncIterator[Desk]:
    """Ada's desk, whose link nobody has used."""
    assert anyio_backend == "asyncio"
    (tmp_path / "sweep.json").write_text(SWEEP)
    async with desk(project, "--sweep", str(tmp_path / "sweep.json"), enters=False) as opened:
        yield opened


@asynccontextmanager
async def at_the_desk(browser: Browser, opened: Desk, width: int = 1280) -> AsyncIterator[Page]:
    """A person who has followed the link. Nothing is written to the console, so no policy was violated."""
    async with visitor(browser, width, hosts={urlsplit(opened.url).netloc}) as page:
        await page.goto(opened.link)
        await page.wait_for_url("**/exceptions")
        yield page


def every_page(project: Project) -> list[str]:
    """One page of each kind, with something on it."""
    payment, exception = rejected(project)
    closed, resolved = rejected(project)
    project.query("select public.resolve_payment_exception(%s, 'refunded', 'ada', 'sent back')", resolved["id"])
    paid = project.shop.order_group().payment()
    for one in (paid, paid.rival(), paid.rival().but(order_group_id=None, unmatched_reason="missing_reference")):
        reconcile(project.shop.service, one)
    return [
        "/exceptions",
        "/exceptions?status=all&order=new",
        "/exceptions?reason=order_group_empty",
        "/exceptions/all?reason=amount_mismatch",
        f"/exceptions/{exception['id']}",
        f"/exceptions/{resolved['id']}?said=resolved",
        f"/exceptions/{exception_of(project, closed)['id']}",
        f"/search?q={payment.order_group_id}",
        "/search?q=evt_nobody",
        f"/groups/{paid.order_group_id}",
        "/stock",
        "/sweep",
        "/report",
        "/report?since=2026-01-01",
    ]


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
async def test_every_page_fits_and_is_without_fault_in_light_and_dark(
    browser: Browser, project: Project, ada: Desk, width: int
) -> None:
    async with at_the_desk(browser, ada, width) as page:
        for path in every_page(project):
            await page.goto(ada.url + path)
            await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # no colour on its way
                rules = f"{AXE}; axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))"
                assert (path, scheme, await page.evaluate(rules)) == (path, scheme, [])
            assert (path, await page.evaluate("document.documentElement.scrollWidth <= innerWidth")) == (path, True)


async def test_the_dark_page_is_dark_and_the_light_one_light(browser: Browser, project: Project, ada: Desk) -> None:
    rejected(project)
    async with at_the_desk(browser, ada) as page:
        backgrounds = {}
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            backgrounds[scheme] = sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert backgrounds["light"] > 230
    assert backgrounds["dark"] < 40


async def tab_to(page: Page, selector: str) -> None:
    """Press Tab until that has the focus; every stop on the way shows that it has it."""
    for _ in range(MOST_TABS):
        await page.keyboard.press("Tab")
        style = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none", await page.evaluate("document.activeElement.outerHTML")
        if await page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} is not reached with the Tab key")


async def test_a_payment_is_found_and_resolved_by_keyboard_alone(browser: Browser, project: Project, ada: Desk) -> None:
    payment, exception = rejected(project)
    async with at_the_desk(browser, ada) as page:
        await tab_to(page, ".skip")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"
        await page.goto(f"{ada.url}/")  # back to the top
        await tab_to(page, "#q")
        await page.keyboard.type(str(payment.payment_intent_id))
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/exceptions/{exception['id']}")

        await tab_to(page, "input[name=resolution]")
        await page.keyboard.press("ArrowDown")  # the second of the three
        await tab_to(page, "textarea")
        await page.keyboard.type("sent by hand")
        await tab_to(page, "button.main")
        await page.keyboard.press("Enter")

        await page.wait_for_url("**?said=resolved")
        await expect(page.get_by_role("status")).to_contain_text(f"Exception {exception['id']} is resolved.")
    row = exception_of(project, payment)
    assert [row[key] for key in ("resolution", "resolved_by", "note")] == ["fixed_by_hand", "ada", "sent by hand"]


async def test_two_operators_on_one_exception(browser: Browser, project: Project, ada: Desk) -> None:
    payment, exception = rejected(project)
    path = f"/exceptions/{exception['id']}"
    async with desk(project, by="bob", enters=False) as bobs, at_the_desk(browser, bobs) as bob:
        context = await browser.new_context(viewport={"width": 360, "height": 800})
        page = await context.new_page()
        await page.goto(ada.link)
        await page.goto(ada.url + path)
        await page.get_by_label("refunded").check()
        await page.get_by_label("Note").fill("sent back")
        await bob.goto(bobs.url + path)
        await bob.get_by_label("dismissed").check()
        await bob.get_by_label("Note").fill("not ours")
        await bob.get_by_role("button", name="Resolve as bob").click()
        await expect(bob.get_by_role("heading", name="Resolved as dismissed")).to_be_visible()

        await page.get_by_role("button", name="Resolve as ada").click()

        alert = page.get_by_role("alert")
        await expect(alert).to_contain_text("bob was faster: it is resolved as dismissed.")
        await expect(alert).to_be_focused()
        await expect(page.get_by_role("heading", name="Resolved as dismissed")).to_be_visible()
        await context.close()
    assert exception_of(project, payment)["resolved_by"] == "bob"


async def test_the_link_lets_no_second_browser_in(browser: Browser, project: Project, ada: Desk) -> None:
    rejected(project)
    async with at_the_desk(browser, ada) as page:
        context = await browser.new_context()
        second = await context.new_page()
        for address in (ada.link, f"{ada.url}/exceptions"):
            answer = await second.goto(address)
            assert answer is not None
            assert answer.status == 403
            await expect(second.get_by_text("amount mismatch")).to_have_count(0)
        assert await context.cookies() == []
        await context.close()
        await page.reload()
        await expect(page.get_by_role("heading", name="Payments that need a person")).to_be_visible()


async def test_pages_work_without_script(browser: Browser, project: Project, ada: Desk) -> None:
    (one, first), (two, second), (three, third) = rejected(project), rejected(project), rejected(project)
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(ada.link)
    await page.wait_for_url("**/exceptions")
    await page.goto(f"{ada.url}/exceptions/{first['id']}")
    await page.get_by_label("refunded").check()
    await page.get_by_label("Note").fill("sent back")
    await page.get_by_role("button", name="Resolve as ada").click()
    await expect(page.get_by_role("heading", name="Resolved as refunded")).to_be_visible()

    await page.goto(f"{ada.url}/exceptions?reason=amount_mismatch&order=new")
    for row in (second, third):
        await page.get_by_role("checkbox", name=f"Exception {row['id']}").check()
    await page.get_by_text("Resolve the ticked ones with one note").click()
    await page.get_by_label("dismissed").check()
    await page.get_by_label("Note").fill("a test")
    await page.get_by_role("button", name="Resolve the ticked ones").click()
    await expect(page.get_by_role("heading", name="2 exceptions resolved")).to_be_visible()
    await context.close()

    words = [exception_of(project, payment)["resolution"] for payment in (one, two, three)]
    assert words == ["refunded", "dismissed", "dismissed"]


async def test_script_ticks_all_counts_and_copies(browser: Browser, project: Project, ada: Desk) -> None:
    payment, exception = rejected(project)
    async with at_the_desk(browser, ada) as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.get_by_label("Tick all on this page").check()
        boxes = await page.get_by_role("checkbox", name="Exception ").all()
        assert {await box.is_checked() for box in boxes} == {True}
        await expect(page.locator("[data-count]")).to_have_text(f": {len(boxes)}")

        await page.goto(f"{ada.url}/exceptions/{exception['id']}")
        await page.get_by_role("button", name=f"Copy {payment.event_id}").first.click()
        assert await page.evaluate("navigator.clipboard.readText()") == payment.event_id


ATTACK = """<!doctype html><title>attack</title>
<iframe src="{desk}/exceptions"></iframe>
<img src="{desk}/exceptions/{id}"><script src="{desk}/exceptions/{id}"></script>
<form method="post" target="f" action="{desk}/exceptions/{id}/resolve">
<input name="resolution" value="refunded"><input name="note" value="attack"><input name="key" value="{key}"></form>
<iframe name="f"></iframe>
<script>
const read = [];
async function attack() {{
  const body = new URLSearchParams({{resolution: "refunded", note: "attack", key: "{key}"}});
  for (const options of [
    {{credentials: "include"}}, {{credentials: "include", mode: "no-cors"}},
    {{method: "POST", body, credentials: "include", mode: "no-cors"}},
    {{method: "POST", body, credentials: "include", mode: "no-cors", referrerPolicy: "no-referrer"}},
  ]) {{
    try {{ read.push((await fetch("{desk}/exceptions/{id}" + (options.body ? "/resolve" : ""), options)).status); }}
    catch (error) {{ read.push("refused"); }}
  }}
  try {{ read.push(document.querySelector("iframe").contentDocument.title); }} catch (error) {{ read.push("closed"); }}
  document.forms[0].submit();
  return read;
}}
</script>"""


@contextmanager
def serving(html: str, asked: list[tuple[str, dict[str, str]]] | None = None) -> Iterator[int]:
    """Another site on this machine, and its port. Appends the path and the headers of each request to `asked`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append((self.path, dict(self.headers)))
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])  # of one site with the desk, and of another
async def test_a_hostile_page_in_the_same_browser_reads_and_does_nothing(
    browser: Browser, project: Project, ada: Desk, name: str
) -> None:
    """It even knows the desk's path and the forms' key, so that nothing but the origin and the cookie holds it off."""
    _, exception = rejected(project)
    context = await browser.new_context()
    operator = await context.new_page()
    await operator.goto(ada.link)
    await operator.goto(f"{ada.url}/exceptions/{exception['id']}")
    key = await operator.locator("input[name=key]").first.get_attribute("value")
    before = project.snapshot()
    with serving(ATTACK.format(desk=ada.url, id=exception["id"], key=key)) as port:
        hostile = await context.new_page()
        await hostile.goto(f"http://{name}:{port}/")
        async with hostile.expect_response(
            lambda answer: answer.request.method == "POST" and answer.frame.name == "f"
        ) as sent:
            read = await hostile.evaluate("attack()")

    assert (await sent.value).status == 403
    assert set(read) <= {"refused", "closed", 0}
    assert project.snapshot() == before
    await operator.reload()
    await expect(operator.get_by_role("button", name="Resolve as ada")).to_be_visible()
    await context.close()


async def test_another_port_in_the_same_browser_learns_neither_cookie_nor_path(
    browser: Browser, project: Project, ada: Desk
) -> None:
    rejected(project)
    asked: list[tuple[str, dict[str, str]]] = []
    async with at_the_desk(browser, ada) as operator:
        with serving("<!doctype html><title>x</title><img src=/image>", asked) as port:
            other = await operator.context.new_page()
            for path in ("/", "/x", "/exceptions", "/open/x"):
                await other.goto(f"http://127.0.0.1:{port}{path}")
                assert await other.evaluate("document.cookie") == ""
            elsewhere = await operator.context.new_page()
            await elsewhere.goto(f"{ada.url}/exceptions")
            await expect(elsewhere.get_by_role("heading", name="Payments that need a person")).to_be_visible()
            await elsewhere.evaluate(f"location.href = 'http://127.0.0.1:{port}/from-the-desk'")
            await elsewhere.wait_for_url("**/from-the-desk")
            assert await elsewhere.evaluate("document.referrer") == ""

    assert {path for path, _ in asked} >= {"/", "/x", "/image", "/exceptions", "/open/x", "/from-the-desk"}
    assert [(path, headers["Cookie"]) for path, headers in asked if "Cookie" in headers] == []
    assert [path for path, headers in asked if ada.root in str({path: headers})] == []


async def test_the_link_works_where_another_site_shows_it(browser: Browser, project: Project, ada: Desk) -> None:
    """As in a terminal or a chat that is a page itself."""
    rejected(project)
    with serving(f'<!doctype html><a href="{ada.link}">open</a>') as port:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"http://localhost:{port}/")
        await page.get_by_role("link", name="open").click()
        await expect(page.get_by_role("heading", name="Payments that need a person")).to_be_visible()
        await context.close()


async def test_another_name_that_leads_here_is_refused(browser: Browser, project: Project, ada: Desk) -> None:
    """As after DNS rebinding; Chromium resolves every name below `localhost` to this machine."""
    rejected(project)
    port = urlsplit(ada.url).port
    context = await browser.new_context()
    page = await context.new_page()
    for path in (urlsplit(ada.link).path, f"{ada.root}/exceptions"):
        answer = await page.goto(f"http://attacker.localhost:{port}{path}")
        assert answer is not None
        assert answer.status == 421
    await context.close()
    async with at_the_desk(browser, ada):
        pass  # the link is as good as new


async def test_a_strangers_markup_is_text_in_every_field(browser: Browser, project: Project, tmp_path: Path) -> None:
    shop = project.shop
    seller = shop.sellers[0]
    project.query("update public.sellers set name = %s where id = %s returning 1", MARKUP, seller.id)
    project.query(
        "update public.products set name = %s, sku = %s where id = %s returning 1",
        MARKUP,
        MARKUP,
        seller.product_ids[0],
    )
    paid = shop.order_group().payment()
    reconcile(shop.service, paid)
    numbers = []
    for open_ in (True, False):
        payment = (
            shop.order_group()
            .payment()
            .but(
                event_id=f"evt_{open_}{MARKUP}",
                event_type=MARKUP,
                checkout_session_id=f"cs_{open_}{MARKUP}",
                payment_intent_id=f"pi_{open_}{MARKUP}",
                currency="<b>",
                session_metadata={MARKUP: MARKUP},
                account=MARKUP,
            )
        )
        reconcile(shop.service, payment)
        numbers.append(exception_of(project, payment)["id"])
    reopen = "select public.reopen_payment_exception(%s, %s, %s)"
    resolve = "select public.resolve_payment_exception(%s, 'dismissed', %s, %s)"
    for statement in (resolve, reopen, resolve):
        project.query(statement, numbers[1], MARKUP, MARKUP)
    sweep = tmp_path / "sweep.json"
    escaped = MARKUP.replace("\\", "\\\\").replace('"', '\\"')
    sweep.write_text(SWEEP.replace("cs_1", escaped).replace("amount_mismatch", escaped))
    async with (
        desk(project, "--sweep", str(sweep), by=MARKUP, enters=False) as opened,
        at_the_desk(browser, opened, 360) as page,
    ):
        shown = 0
        for path in (
            "/exceptions?status=all&order=new",
            *(f"/exceptions/{number}" for number in numbers),
            f"/groups/{paid.order_group_id}",
            "/stock",
            "/sweep",
            "/report?since=2026-01-01",
        ):
            await page.goto(opened.url + path)
            await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            assert (
                path,
                await page.evaluate("document.querySelectorAll('main img, main script, main b img').length"),
            ) == (path, 0)
            assert "hit" not in await page.title()
            assert (path, await page.evaluate("document.documentElement.scrollWidth <= innerWidth")) == (path, True)
            text = await page.inner_text("body")
            assert "\u202e" not in text
            shown += text.count("<img src=x onerror=")
        await page.locator("#q").fill(MARKUP)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Nothing here bears it.")).to_be_visible()
        assert await page.locator("#q").input_value() == MARKUP.replace("\u202e", "\N{REPLACEMENT CHARACTER}")
    assert shown > 20


async def test_ten_thousand_exceptions_are_a_list_like_any_other(browser: Browser, project: Project, ada: Desk) -> None:
    project.query(
        "insert into payments.exceptions (stripe_event_id, checkout_session_id, reason, details)"
        " select 'evt_many_' || n, 'cs_many_' || n,"
        " case when n %% 50 = 0 then 'amount_missing' else 'missing_reference' end,"
        """ '{"received": {"amount": "1.00", "currency": "USD"}}'"""
        " from generate_series(1, %s) as n returning 1",
        MANY,
    )
    async with at_the_desk(browser, ada) as page:
        await expect(page.get_by_text("1,000 or more are open.")).to_be_visible()
        assert await page.get_by_role("checkbox", name="Exception ").count() == 50
        await page.goto(f"{ada.url}/exceptions?reason=missing_reference&order=new")
        first = await page.locator(".case .name").first.inner_text()
        await page.get_by_role("link", name="Next page").click()
        await expect(page.locator(".case .name").first).not_to_have_text(first)
        assert len(await page.content()) < 100_000

        await page.locator("#q").fill(f"evt_many_{MANY}")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="amount missing")).to_be_visible()

        await page.goto(f"{ada.url}/exceptions?reason=amount_missing")
        await page.get_by_text("Resolve the ticked ones with one note").click()
        await page.get_by_role("link", name="resolve all open ones").click()
        await expect(page.get_by_role("heading", name=f"Resolve {MANY // 50} exceptions with one note")).to_be_visible()
        await page.get_by_label("dismissed").check()
        await page.get_by_label("Note").fill("another shop's")
        await page.get_by_role("button", name=f"Resolve {MANY // 50} exceptions").click()
        await expect(page.get_by_role("heading", name=f"{MANY // 50} exceptions resolved")).to_be_visible(
            timeout=60_000
        )
    left = project.query(
        "select reason, count(*)::integer as n from payments.exceptions where stripe_event_id like 'evt_many_%%'"
        " and status = 'open' group by reason"
    )
    assert left == [{"reason": "missing_reference", "n": MANY - MANY // 50}]
