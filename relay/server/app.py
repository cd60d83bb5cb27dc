"""The application: routes, and what lives as long as the process."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

from aiohttp import hdrs, web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from relay.config import Settings
from relay.data_api import client
from relay.metrics import Metrics
from relay.server import webhook
from relay.server.connections import HANDLER_ARGS
from relay.server.readiness import Readiness
from relay.server.room import Room
from relay.server.telemetry import Log, Telemetry
from relay.server.webhook import Webhook

# The first two are there from the start of serving on, when the Data API's client is connected.
WEBHOOK: Final = web.AppKey("webhook", Webhook)
READINESS: Final = web.AppKey("readiness", Readiness)
ROOM: Final = web.AppKey("room", Room)
TELEMETRY: Final = web.AppKey("telemetry", Telemetry)


def make_app(settings: Settings, *, log: Log | None = None, clock: Callable[[], float] = time.time) -> web.Application:
    """The relay as an aiohttp application. It holds no state between deliveries; run as many as you like.

    `clock` returns seconds since 1970: what signatures' timestamps are compared with.
    """
    telemetry = Telemetry(log or Log(settings.log_level), Metrics())
    room = Room(telemetry)

    async def connected(app: web.Application) -> AsyncIterator[None]:
        async with client.connect(settings, telemetry.metrics) as data_api:
            app[WEBHOOK] = Webhook(settings, telemetry, data_api, clock=clock)
            app[READINESS] = Readiness(settings, telemetry.metrics, data_api, clock=clock, room=room)
            asyncio.get_running_loop().set_exception_handler(room.hear)
            yield

    app = web.Application(handler_args=HANDLER_ARGS)
    app[TELEMETRY] = telemetry
    app[ROOM] = room
    app.cleanup_ctx.append(connected)
    app.on_response_prepare.append(_name)
    # Every method, so that a wrong one gets the route's own answer and not aiohttp's.
    app.router.add_route(hdrs.METH_ANY, webhook.PATH, _deliver, expect_handler=_expect)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    app.router.add_route(hdrs.METH_ANY, "/{path:.*}", _no_such_path)
    return app


def answer_unparsable(app: web.Application) -> Callable[[], web.Response]:
    """What makes the answer to bytes that are no HTTP request."""
    return partial(webhook.answer_unparsable, app[TELEMETRY])


async def _deliver(request: web.Request) -> web.Response:
    return await request.app[WEBHOOK].handle(request)


async def _expect(request: web.Request) -> None:
    """Ask for the body where the sender waits for that; any other expectation is ignored (RFC 9110, 10.1.1),
    because aiohttp's 417 would not be an answer of the webhook's shape."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        with contextlib.suppress(ConnectionError):  # hung up; what is left of the body will tell
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The writer must not take these bytes for the beginning of the answer.
        request.writer.output_size = 0


async def _name(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(webhook.SERVER_HEADER)


async def _no_such_path(request: web.Request) -> web.Response:
    if request.method != hdrs.METH_POST or "Stripe-Signature" not in request.headers:
        raise web.HTTPNotFound
    return webhook.answer_wrong_path(request.app[TELEMETRY])


async def _healthz(_: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def _readyz(request: web.Request) -> web.Response:
    checks = await request.app[READINESS].checks()
    ready = all(check.ok for check in checks)
    return web.json_response(
        {"ready": ready, "checks": [check.as_dict() for check in checks]},
        status=200 if ready else 503,
        dumps=json.dumps,
    )


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(
        body=request.app[TELEMETRY].metrics.exposition(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST}
    )
