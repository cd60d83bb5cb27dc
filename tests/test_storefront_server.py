"""The sample shop's server: what it believes, what it refuses, and what a failure of others leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from yarl import URL

from local_stack.keys import sign
from local_stack.surface import StackSurface
from testkit.database import scalar
from testkit.storefront import Storefront, open_storefront
from testkit.stripe_api_server import answers

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shop(
    anyio_backend: str, stack: StackSurface, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Storefront]:
    assert anyio_backend == "asyncio"
    async with open_storefront(stack, Path(tmp_path_factory.mktemp("storefront"))) as opened:
        yield opened


@pytest.fixture
async def http(shop: Storefront) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(shop.url) as session:
        yield session


@pytest.fixture
def buyer(shop: Storefront) -> str:
    return shop.stack.user_token(shop.stack.create_user(f"{uuid4()}@example.test"))


async def post(http: aiohttp.ClientSession, path: str, body: Any, token: str | None) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with http.post(path, json=body, headers=headers) as response:
        return response.status, await response.json() if response.content_type == "application/json" else None


def order(shop: Storefront, **pieces: int) -> dict[str, Any]:
    """What the browser sends for a basket; a bowl where nothing is given."""
    lines = {str(shop.products[sku]): number for sku, number in (pieces or {"BOWL": 1}).items()}
    return {"order_group_id": str(uuid4()), "lines": lines}


def rows(shop: Storefront, order_group_id: str) -> list[Any]:
    query = "select * from public.order_groups where id = %s"
    return shop.service.execute(query, [UUID(order_group_id)]).fetchall()


async def test_only_who_is_signed_in_may_check_out(shop: Storefront, http: aiohttp.ClientSession) -> None:
    forged = sign("another project's secret, 32 bytes", {"sub": str(uuid4()), "aud": "authenticated"})
    nobody = [None, "", "x", forged, shop.stack.anon_key, shop.stack.user_token(uuid4())]
    asked = order(shop)

    for token in nobody:
        assert (await post(http, "/api/checkout", asked, token))[0] == 401
        assert (await post(http, "/api/leave", {"checkout_session_id": "cs_x"}, token))[0] == 401
    assert rows(shop, asked["order_group_id"]) == []


async def test_what_the_browser_says_of_prices_does_not_count(
    shop: Storefront, http: aiohttp.ClientSession, buyer: str
) -> None:
    asked = order(shop, BOWL=2, TOWEL=1)

    status, answer = await post(http, "/api/checkout", {**asked, "currency": "JPY", "total": 1}, buyer)

    session = shop.stripe.sessions[-1]
    assert (status, answer) == (200, {"url": session["url"], "checkout_session_id": session["id"]})
    assert (session["amount_total"], session["currency"]) == (6600, "eur")
    assert session["metadata"] == {"order_group_id": asked["order_group_id"]}


@pytest.mark.parametrize(
    "spoilt",
    [
        {"order_group_id": "x"},
        {"order_group_id": None},
        {"lines": []},
        {"lines": {str(uuid4()): 1}},
        {"lines": {"BOWL": 0}},
        {"lines": {"BOWL": -1}},
        {"lines": {"BOWL": 100}},
        {"lines": {"BOWL": 1.5}},
        {"lines": {"BOWL": True}},
        {"lines": {"BOWL": "1"}},
    ],
)
async def test_what_no_page_of_ours_would_send_is_a_400_and_writes_nothing(
    shop: Storefront, http: aiohttp.ClientSession, buyer: str, spoilt: dict[str, Any]
) -> None:
    asked = {**order(shop), **spoilt}
    if isinstance(asked["lines"], dict):
        asked["lines"] = {str(shop.products.get(name, name)): pieces for name, pieces in asked["lines"].items()}
    count = "select count(*) from public.order_groups"
    before = scalar(shop.service, count)

    assert (await post(http, "/api/checkout", asked, buyer))[0] == 400

    assert scalar(shop.service, count) == before


async def test_refusals_say_why(shop: Storefront, http: aiohttp.ClientSession, buyer: str) -> None:
    jug = str(shop.products["JUG"])
    nothing = await post(http, "/api/checkout", {**order(shop), "lines": {}}, buyer)
    too_many = await post(http, "/api/checkout", order(shop, JUG=2), buyer)
    asked = order(shop)
    await post(http, "/api/checkout", asked, buyer)
    other_basket = await post(http, "/api/checkout", {**asked, "lines": order(shop, CUP=1)["lines"]}, buyer)
    scalar(shop.service, "select public.cancel_order_group(%s)", asked["order_group_id"])
    given_up = await post(http, "/api/checkout", asked, buyer)

    lines = [{"product_id": jug, "requested": 2, "available": 1}]
    assert [nothing, too_many, other_basket, given_up] == [
        (200, {"reason": "order_group_empty", "lines": None}),
        (200, {"reason": "insufficient_stock", "lines": lines}),
        (200, {"reason": "order_group_differs", "lines": None}),
        (200, {"reason": "order_is_cancelled", "lines": None}),
    ]


async def test_nobody_leaves_or_takes_over_anothers_checkout(
    shop: Storefront, http: aiohttp.ClientSession, buyer: str
) -> None:
    asked = order(shop)
    _, answer = await post(http, "/api/checkout", asked, buyer)
    stranger = shop.stack.user_token(shop.stack.create_user(f"{uuid4()}@example.test"))
    leaving = {"checkout_session_id": answer["checkout_session_id"]}

    assert (await post(http, "/api/leave", leaving, stranger))[1]["reason"] == "order_not_found"
    assert (await post(http, "/api/checkout", asked, stranger))[1]["reason"] == "order_group_differs"
    assert (rows(shop, asked["order_group_id"])[0]["status"], shop.stripe.sessions[-1]["status"]) == ("pending", "open")

    assert await post(http, "/api/leave", leaving, buyer) == (200, {})
    ended = (rows(shop, asked["order_group_id"])[0]["status"], shop.stripe.sessions[-1]["status"])
    assert ended == ("cancelled", "expired")
    assert await post(http, "/api/leave", leaving, buyer) == (200, {})


async def test_checkout_that_fails_at_stripe_is_continued_by_the_next_try(
    shop: Storefront, http: aiohttp.ClientSession, buyer: str
) -> None:
    asked = order(shop)
    shop.stripe.keep_failing = answers(500)
    try:
        assert await post(http, "/api/checkout", asked, buyer) == (503, {})
    finally:
        shop.stripe.keep_failing = None
    made = rows(shop, asked["order_group_id"])

    status, answer = await post(http, "/api/checkout", asked, buyer)
    again = await post(http, "/api/checkout", asked, buyer)

    assert (status, answer["checkout_session_id"]) == (200, shop.stripe.sessions[-1]["id"])
    assert again == (200, answer)
    assert rows(shop, asked["order_group_id"]) == made
    margin = made[0]["expires_at"].timestamp() - shop.stripe.sessions[-1]["expires_at"]
    assert 15 * 60 <= margin < 15 * 60 + 1


@pytest.mark.parametrize(
    "path", ["/", "/order", "/shop.js", "/supabase.js", "/api/config", "/nothing", "/api/checkout"]
)
async def test_every_answer_forbids_what_no_page_of_ours_does(
    shop: Storefront, http: aiohttp.ClientSession, path: str
) -> None:
    api = shop.stack.url
    async with http.get(path) as response:
        headers = response.headers

    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none';"
        f" frame-ancestors 'none'; connect-src 'self' {api} {api.replace('http', 'ws')}"
    )
    assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize("path", ["/../server.py", "/%2e%2e/server.py", "/..%2fprices.json", "/server.py"])
async def test_nothing_but_the_public_folder_is_handed_out(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(URL(path, encoded=True)) as response:
        assert response.status in (403, 404)


async def test_the_browser_gets_the_public_key_alone(shop: Storefront, http: aiohttp.ClientSession) -> None:
    async with http.get("/api/config") as response:
        config = await response.json()

    assert config == {"url": shop.stack.url, "key": shop.stack.anon_key, "realtime": False}
