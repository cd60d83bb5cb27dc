"""The storefront's server: it holds the keys, knows who asks, and hands out the pages."""

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orders
import stripe
from aiohttp import web
from aiohttp.typedefs import Handler
from supabase import AsyncClient, AuthError, PostgrestAPIError, acreate_client

PUBLIC = Path(__file__).parent / "public"
SUPABASE_JS = Path(__file__).parents[2] / "node_modules/@supabase/supabase-js/dist/umd/supabase.js"
MOST_PIECES = 99  # of one product in one order
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DATABASE, STRIPE = web.AppKey("database", AsyncClient), web.AppKey("stripe", stripe.StripeClient)


async def buyer_of(request: web.Request) -> str:
    """Who is signed in, as Supabase Auth says of the token that the browser sends."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        answer = await request.app[DATABASE].auth.get_user(token or "none")
    except AuthError:
        answer = None
    if answer is None:
        raise web.HTTPUnauthorized
    return answer.user.id


async def products(request: web.Request) -> web.Response:
    goods = await orders.catalogue(request.app[DATABASE])
    return web.json_response({"currency": orders.PRICES["currency"], "products": list(goods.values())})


async def start_checkout(request: web.Request) -> web.Response:
    """Takes ids and pieces from the browser, and nothing else: the prices are ours."""
    buyer_id, goods = await buyer_of(request), await orders.catalogue(request.app[DATABASE])
    match await request.json():
        case {"order_group_id": str(order_group_id), "lines": dict(lines)} if UUID.fullmatch(order_group_id) and all(
            product_id in goods and type(pieces) is int and 0 < pieces <= MOST_PIECES
            for product_id, pieces in lines.items()
        ):
            order = {"order_group_id": order_group_id, "buyer_id": buyer_id, "orders": orders.orders_of(goods, lines)}
        case _:
            raise web.HTTPBadRequest
    shop_url = os.environ["SHOP_URL"]
    return web.json_response(await orders.start(request.app[DATABASE], request.app[STRIPE], shop_url, **order))


async def leave_checkout(request: web.Request) -> web.Response:
    match await request.json():
        case {"checkout_session_id": str(session_id)} if re.fullmatch(r"cs_\w+", session_id):
            buyer_id = await buyer_of(request)
        case _:
            raise web.HTTPBadRequest
    await orders.leave(request.app[DATABASE], request.app[STRIPE], buyer_id, session_id)
    return web.json_response({})


async def config(_: web.Request) -> web.Response:
    """Where the browser finds Supabase, and the key that anybody may have."""
    public = {"url": os.environ["SUPABASE_URL"], "key": os.environ["SUPABASE_PUBLISHABLE_KEY"]}
    return web.json_response({**public, "realtime": os.environ.get("SHOP_REALTIME") == "on"})


async def page(request: web.Request) -> web.FileResponse:
    names = {"/": PUBLIC / "index.html", "/order": PUBLIC / "order.html", "/supabase.js": SUPABASE_JS}
    return web.FileResponse(names[request.path])


@web.middleware
async def failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A refusal is an answer like any other; what fails at Supabase or Stripe is a 503 without a word about it."""
    try:
        return await handler(request)
    except orders.Refused as error:
        return web.json_response({"reason": error.reason, "lines": error.lines})
    except json.JSONDecodeError:
        raise web.HTTPBadRequest from None
    except (stripe.StripeError, PostgrestAPIError, httpx.HTTPError) as error:
        request.app.logger.error("%s: %s", request.path, type(error).__name__)
        return web.json_response({}, status=503)


async def protect(_: web.Request, response: web.StreamResponse) -> None:
    """Pages run our own scripts alone, and talk to us and to Supabase alone."""
    supabase = urlsplit(os.environ["SUPABASE_URL"])
    socket = f"{'wss' if supabase.scheme == 'https' else 'ws'}://{supabase.netloc}"
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none';"
        f" frame-ancestors 'none'; connect-src 'self' {supabase.scheme}://{supabase.netloc} {socket}"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-cache"


async def clients(app: web.Application) -> AsyncIterator[None]:
    """Supabase with the service key, and Stripe, for as long as the server runs."""
    app[DATABASE] = await acreate_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_SERVICE_ROLE_KEY"])
    http = stripe.AIOHTTPClient()
    addresses: Any = {"api": os.environ.get("STRIPE_API_BASE", "https://api.stripe.com")}
    app[STRIPE] = stripe.StripeClient(os.environ["STRIPE_SECRET_KEY"], base_addresses=addresses, http_client=http)
    yield
    await http.close_async()  # type: ignore[no-untyped-call]  # Stripe's SDK gives it no types


def make_app() -> web.Application:
    app = web.Application(middlewares=[failures], client_max_size=64 * 1024)
    app.on_response_prepare.append(protect)
    app.cleanup_ctx.append(clients)
    app.add_routes([web.get(path, page) for path in ("/", "/order", "/supabase.js")])
    app.add_routes([web.get("/api/config", config), web.get("/api/products", products)])
    app.add_routes([web.post("/api/checkout", start_checkout), web.post("/api/leave", leave_checkout)])
    app.add_routes([web.static("/", PUBLIC)])
    return app


if __name__ == "__main__":
    web.run_app(
        make_app(), host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ.get("PORT", "8000")), print=None
    )
