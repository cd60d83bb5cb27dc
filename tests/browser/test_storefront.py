"""The sample shop, clicked through in a real Chromium, on a phone's width and on a desk's."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from playwright.async_api import Browser, Page, Route, WebSocketRoute, expect

from local_stack.supabase_cli import REPOSITORY
from local_stack.surface import StackSurface
from testkit.database import scalar
from testkit.storefront import Storefront, open_storefront
from tests.browser.conftest import WIDTHS, visitor

pytestmark = pytest.mark.anyio

AXE = (REPOSITORY / "node_modules/axe-core/axe.min.js").read_text()
PATIENCE = 20_000  # milliseconds until a page that learns by itself should have learnt
TIMES = "\N{MULTIPLICATION SIGN}"
MOST_TABS = 60  # presses of the Tab key, more than there are stops on any page


@pytest.fixture(scope="module")
async def shop(
    anyio_backend: str, stack: StackSurface, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Storefront]:
    assert anyio_backend == "asyncio"
    async with open_storefront(stack, Path(tmp_path_factory.mktemp("storefront"))) as opened:
        yield opened


@pytest.fixture(params=WIDTHS)
async def page(request: pytest.FixtureRequest, browser: Browser, shop: Storefront) -> AsyncIterator[Page]:
    """A visitor whom the shop does not know yet; the shelves hold ten pieces of everything."""
    for sku in shop.products:
        stock(shop, sku, 10)
    hosts = {urlsplit(url).netloc for url in (shop.url, shop.stripe.url, shop.stack.url)}
    async with visitor(browser, request.param, hosts=hosts) as opened:
        await opened.goto(shop.url)
        yield opened


def available(shop: Storefront, sku: str) -> int:
    pieces: int = scalar(
        shop.service, "select available from public.inventory_levels where product_id = %s", shop.products[sku]
    )
    return pieces


def stock(shop: Storefront, sku: str, pieces: int) -> None:
    """So many can be had from now on."""
    if change := pieces - available(shop, sku):
        adjust = "select public.record_inventory_adjustment(%s, %s, 'counted')"
        scalar(shop.service, adjust, shop.products[sku], change)


def group(shop: Storefront, page: Page) -> dict[str, Any]:
    """The order whose page it is."""
    (order_group_id,) = parse_qs(urlsplit(page.url).query)["id"]
    row = shop.service.execute("select * from public.order_groups where id = %s", [order_group_id]).fetchone()
    assert row is not None
    return row


async def put(page: Page, *names: str) -> None:
    """Into the basket, a piece of each."""
    for name in names:
        await page.get_by_role("button", name=f": {name}").first.click()


async def go_to_pay(page: Page) -> None:
    await page.get_by_role("button", name="Pay €").click()
    await expect(page.get_by_role("heading", name="Pay")).to_be_visible()


async def told(page: Page, heading: str) -> None:
    """The order's page says so, by itself."""
    await expect(page.get_by_role("heading", level=1)).to_have_text(heading, timeout=PATIENCE)


async def no_fault(page: Page) -> None:
    """The page fits its window, and axe finds nothing in either colour scheme."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        found = await page.evaluate(f"{AXE}; axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes[0].html]))")
        assert found == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [320, 360, 480, 560, 768, 900, 1280])
async def test_nothing_sticks_out_of_its_card_at_any_width(browser: Browser, shop: Storefront, width: int) -> None:
    hosts = {urlsplit(shop.url).netloc}
    async with visitor(browser, width, hosts=hosts) as page:
        await page.goto(shop.url)
        await put(page, "Breakfast bowl", "Glass towel", "Breakfast bowl")
        out = await page.evaluate("""[...document.querySelectorAll('.product *, .basket *')].filter((e) =>
            e.getBoundingClientRect().right > e.closest('.product, .basket').getBoundingClientRect().right + 1
        ).map((e) => e.outerHTML)""")
        assert out == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# Paying


async def test_card_payment_is_paid_on_the_page_by_itself(shop: Storefront, page: Page) -> None:
    await put(page, "Breakfast bowl", "Glass towel", "Glass towel")
    await expect(page.get_by_role("status").nth(1)).to_have_text("Glass towel: 2 in your basket.")
    await no_fault(page)
    await go_to_pay(page)
    assert (available(shop, "BOWL"), available(shop, "TOWEL")) == (9, 8)

    await page.get_by_role("button", name="Pay by card").click()
    await told(page, "Thank you. Your order is paid.")

    await no_fault(page)
    paid = group(shop, page)
    assert (paid["status"], str(paid["total_amount"]), paid["currency"]) == ("paid", "60.00", "EUR")
    assert [" ".join(row.split()) for row in await page.get_by_role("listitem").all_inner_texts()] == [
        f"1 {TIMES} Breakfast bowl €24.00",
        f"2 {TIMES} Glass towel €36.00",
    ]
    assert (available(shop, "BOWL"), available(shop, "TOWEL")) == (9, 8)
    await page.get_by_role("link", name="Back to the shop").click()
    await expect(page.get_by_text("Nothing in it yet.")).to_be_visible()


async def test_payment_that_comes_late_is_awaited_without_a_reload(shop: Storefront, page: Page) -> None:
    await put(page, "Bread board")
    await go_to_pay(page)
    session = shop.stripe.sessions[-1]
    elsewhere = await page.context.new_page()
    await elsewhere.goto(session["url"])

    await page.goto(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))
    await told(page, "Your payment is on its way to us.")
    await no_fault(page)
    await elsewhere.get_by_role("button", name="Pay by card").click()

    await told(page, "Thank you. Your order is paid.")


async def test_realtime_tells_the_page_before_it_would_look_again(shop: Storefront, page: Page) -> None:
    sockets: list[tuple[WebSocketRoute, list[Any]]] = []

    def answer(socket: WebSocketRoute) -> None:
        """As Realtime answers a channel that asks for changes of a table: the same changes, each with an id."""

        def on_message(text: str | bytes) -> None:
            join_ref, ref, topic, event, payload = message = json.loads(text)
            if event == "phx_join":
                changes = [{"id": 1, **change} for change in payload["config"]["postgres_changes"]]
                reply = {"status": "ok", "response": {"postgres_changes": changes}}
                socket.send(json.dumps([join_ref, ref, topic, "phx_reply", reply]))
                sockets.append((socket, message))

        socket.on_message(on_message)

    async def with_realtime(route: Route) -> None:
        config = await (await route.fetch()).json()
        await route.fulfill(json={**config, "realtime": True})

    await page.route("**/api/config", with_realtime)
    await page.route_web_socket(re.compile("/realtime/v1/websocket"), answer)
    await put(page, "Bread board")
    await go_to_pay(page)
    session = shop.stripe.sessions[-1]
    await page.goto(session["success_url"])
    await told(page, "Your payment is on its way to us.")
    ((socket, (join_ref, _, topic, _, payload)),) = sockets
    order_group_id = session["client_reference_id"]
    assert payload["config"]["postgres_changes"] == [
        {"event": "UPDATE", "schema": "public", "table": "order_groups", "filter": f"id=eq.{order_group_id}"}
    ]
    assert payload["access_token"] == await page.evaluate("import('/buyer.js').then((buyer) => buyer.token())")

    elsewhere = await page.context.new_page()
    await elsewhere.goto(session["url"])
    await elsewhere.get_by_role("button", name="Pay by card").click()
    await elsewhere.wait_for_url("**/order?*")
    data = {
        "schema": "public",
        "table": "order_groups",
        "type": "UPDATE",
        "columns": [],
        "record": {},
        "old_record": {},
    }
    socket.send(json.dumps([join_ref, None, topic, "postgres_changes", {"ids": [1], "data": data}]))

    await told(page, "Thank you. Your order is paid.")


@pytest.mark.parametrize(
    ("bank", "heading", "status"),
    [
        ("The money has come", "Thank you. Your order is paid.", "paid"),
        ("The debit failed", "Your bank did not pay.", "cancelled"),
    ],
)
async def test_bank_debit_is_awaited_and_then_decided_by_the_bank(
    shop: Storefront, page: Page, bank: str, heading: str, status: str
) -> None:
    await put(page, "Water jug")
    await go_to_pay(page)
    await page.get_by_role("button", name="Pay by bank debit").click()
    await told(page, "Thank you. Your bank is sending the money.")
    await no_fault(page)
    assert available(shop, "JUG") == 9

    teller = await page.context.new_page()
    await teller.goto(f"{shop.stripe.url}/c/bank")
    await teller.get_by_role("button", name=bank).click()

    await told(page, heading)
    await no_fault(page)
    assert group(shop, page)["status"] == status
    assert available(shop, "JUG") == (9 if status == "paid" else 10)


# Not paying


async def test_last_piece_that_somebody_else_took_is_refused_in_words(shop: Storefront, page: Page) -> None:
    stock(shop, "JUG", 1)
    stock(shop, "CUP", 2)
    await page.reload()
    await put(page, "Water jug", "Cup with a handle", "Cup with a handle", "Breakfast bowl")
    await expect(page.get_by_role("button", name="Add another (1): Water jug")).to_be_disabled()
    stock(shop, "JUG", 0)
    stock(shop, "CUP", 1)

    pending = "select count(*) from public.order_groups where status = 'pending'"
    before = scalar(shop.service, pending)
    await page.get_by_role("button", name="Pay €").click()

    note = page.get_by_role("status").nth(1)
    await expect(note).to_contain_text("Somebody was faster than you.")
    await expect(note).to_be_focused()
    sentences = sorted(await note.get_by_role("paragraph").all_inner_texts())
    assert sentences == [
        "Of “Cup with a handle” only 1 can be had.",
        "Somebody was faster than you.",
        "We have changed your basket. You have paid nothing.",
        "“Water jug” is sold out.",
    ]
    await expect(page.get_by_role("button", name="Pay €38.50")).to_be_visible()
    await no_fault(page)
    assert scalar(shop.service, pending) == before


@pytest.mark.parametrize("way", ["by its link", "by the browser's button"])
async def test_who_leaves_the_payment_page_has_the_basket_and_gives_the_stock_back(
    shop: Storefront, page: Page, way: str
) -> None:
    stock(shop, "APRON", 1)
    await page.reload()
    await put(page, "Apron")
    await go_to_pay(page)
    assert available(shop, "APRON") == 0

    if way == "by its link":
        await page.get_by_role("button", name="Back to the shop").click()
    else:
        await page.go_back()

    await expect(page.get_by_text("You have left the payment page, and paid nothing.")).to_be_in_viewport()
    await expect(page.get_by_role("button", name="Pay €46.00")).to_be_visible()
    assert available(shop, "APRON") == 1
    assert shop.stripe.sessions[-1]["status"] == "expired"
    await go_to_pay(page)
    await page.get_by_role("button", name="Pay by card").click()
    await told(page, "Thank you. Your order is paid.")


async def test_order_expires_before_the_buyers_eyes(shop: Storefront, page: Page) -> None:
    await page.get_by_role("button", name="Add to basket: Apron").wait_for()
    order_group_id = str(uuid4())
    await page.evaluate("import('/buyer.js').then((buyer) => buyer.token())")
    buyer_id = await page.evaluate(
        "import('/buyer.js').then((buyer) => buyer.supabase.auth.getUser()).then((r) => r.data.user.id)"
    )
    seller_id = scalar(shop.service, "select seller_id from public.products where id = %s", shop.products["APRON"])
    item = {"product_id": str(shop.products["APRON"]), "quantity": 1, "unit_amount": "46.00"}
    made = scalar(
        shop.service,
        "select public.create_order_group(%s, %s, 'EUR', %s::jsonb, %s, true)",
        order_group_id,
        buyer_id,
        json.dumps([{"seller_id": str(seller_id), "total_amount": "46.00", "items": [item]}]),
        datetime.now(UTC) + timedelta(seconds=3),
    )
    assert made["outcome"] == "created"

    await page.goto(f"{shop.url}/order?id={order_group_id}")

    await told(page, "Your payment is on its way to us.")
    await told(page, "This order has expired.")
    await no_fault(page)
    assert available(shop, "APRON") == 10
    scalar(shop.service, "select public.expire_order_groups()")
    await page.reload()
    await told(page, "This order has expired.")
    assert group(shop, page)["status"] == "cancelled"


# Others


async def test_stranger_cannot_see_anothers_order(shop: Storefront, page: Page, browser: Browser) -> None:
    await put(page, "Bread board")
    await go_to_pay(page)
    await page.get_by_role("button", name="Pay by card").click()
    await told(page, "Thank you. Your order is paid.")
    own = await page.evaluate(READ)
    hosts = {urlsplit(url).netloc for url in (shop.url, shop.stack.url)}

    async with visitor(browser, WIDTHS[0], hosts=hosts) as stranger:
        await stranger.goto(page.url)
        await told(stranger, "There is no such order of yours.")
        await stranger.evaluate("import('/buyer.js').then((buyer) => buyer.token())")
        await stranger.reload()
        await told(stranger, "There is no such order of yours.")
        of_stranger = await stranger.evaluate(READ)

    assert own == {"order_groups": 1, "orders": 1, "order_items": 1, "products": 0, "inventory_levels": 0}
    assert of_stranger == dict.fromkeys(own, 0)


READ = """import('/buyer.js').then(async ({ supabase }) => Object.fromEntries(await Promise.all(
    ['order_groups', 'orders', 'order_items', 'products', 'inventory_levels']
        .map(async (table) => [table, (await supabase.from(table).select()).data.length]))))"""


async def test_everything_can_be_done_by_keyboard_alone(shop: Storefront, page: Page) -> None:
    await expect(page.get_by_role("button", name="Add to basket: Breakfast bowl")).to_be_visible()
    await tab_to(page, "Add to basket: Breakfast bowl")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Add another (1): Breakfast bowl")).to_be_focused()
    await tab_to(page, "Breakfast bowl")
    await page.keyboard.press("ArrowUp")
    await tab_to(page, "Pay €48.00")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Pay")).to_be_visible()
    await tab_to(page, "Pay by card")
    await page.keyboard.press("Enter")
    await told(page, "Thank you. Your order is paid.")

    assert str(group(shop, page)["total_amount"]) == "48.00"


async def tab_to(page: Page, name: str) -> None:
    """Presses Tab until what is named so has the focus, and shows it."""
    for _ in range(MOST_TABS):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(
            "(e => [e.ariaLabel ?? e.labels?.[0]?.textContent ?? e.textContent, getComputedStyle(e).outlineStyle])"
            "(document.activeElement)"
        )
        if focused[0] == name:
            assert focused[1] != "none"
            return
    raise AssertionError(f"Tab does not lead to {name!r}")
