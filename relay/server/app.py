"""The aiohttp application: its routes, and the objects that live as long as the process."""

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
from relay.server import deliveries, lifecycle, webhook
from relay.server.connection_limit import ConnectionLimit
from relay.server.connections import HANDLER_ARGS
from relay.server.deliveries import Deliveries, Route
from relay.server.readiness import Readiness
from relay.server.telemetry import Log, Telemetry

# WEBHOOK, LIFECYCLE and READINESS are set when the application starts, because they need the Data API's client.
DELIVERIES: Final = web.AppKey("deliveries", Deliveries)
WEBHOOK: Final = web.AppKey("webhook", Route)
LIFECYCLE: Final = web.AppKey("lifecycle", Route)
READINESS: Final = web.AppKey("readiness", Readiness)
CONNECTION_LIMIT: Final = web.AppKey("connection_limit", ConnectionLimit)
TELEMETRY: Final = web.AppKey("telemetry", Telemetry)
# Whoever shows the metrics holds it. An exposition takes some milliseconds, more than a delivery: of a crowd that asks
# for it one is answered per turn of the event loop, so that deliveries do not wait for all of them.
EXPOSITION: Final = web.AppKey("exposition", asyncio.Lock)


def make_app(settings: Settings, *, log: Log | None = None, clock: Callable[[], float] = time.time) -> web.Application:
    """The relay as an aiohttp application. It keeps no state from one delivery to the next, so several may run at once.

    `clock` returns seconds since 1970. The times of signatures are compared with it.
    """
    telemetry = Telemetry(log or Log(settings.log_level), Metrics())
    limit = ConnectionLimit(telemetry)

    async def connected(app: web.Application) -> AsyncIterator[None]:
        async with client.connect(settings, telemetry.metrics) as data_api:
            app[WEBHOOK] = webhook.route(settings, telemetry, data_api)
            app[LIFECYCLE] = lifecycle.route(settings, data_api.apart(client.MAX_LIFECYCLE_CALLS))
            app[READINESS] = Readiness(settings, telemetry.metrics, data_api, clock=clock, limit=limit)
            asyncio.get_running_loop().set_exception_handler(limit.handle_loop_error)
            yield

    app = web.Application(handler_args=HANDLER_ARGS)
    app[DELIVERIES] = Deliveries(telemetry, tolerance=settings.webhook_tolerance, clock=clock)
    app[TELEMETRY] = telemetry
    app[CONNECTION_LIMIT] = limit
    app[EXPOSITION] = asyncio.Lock()
    app.cleanup_ctx.append(connected)
    app.on_response_prepare.append(_set_server_header)
    # The routes take every method, so that a wrong one gets the relay's answer and not aiohttp's.
    taken = {webhook.PATH: _deliver}
    if settings.stripe_lifecycle_webhook_secrets:
        taken[lifecycle.PATH] = _deliver_lifecycle
    for path, handler in taken.items():
        for spelling in (path, f"{path}/"):
            app.router.add_route(hdrs.METH_ANY, spelling, handler, expect_handler=_expect)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    app.router.add_route(hdrs.METH_ANY, "/{path:.*}", _no_such_path)
    return app


def answer_unparsable(app: web.Application) -> Callable[[], web.Response]:
    """A function that makes the answer to bytes that are no HTTP request."""
    return partial(deliveries.answer_unparsable, app[TELEMETRY])


async def _deliver(request: web.Request) -> web.Response:
    return await request.app[DELIVERIES].take(request, request.app[WEBHOOK])


async def _deliver_lifecycle(request: web.Request) -> web.Response:
    return await request.app[DELIVERIES].take(request, request.app[LIFECYCLE])


async def _expect(request: web.Request) -> None:
    """Ask for the body where the sender waits to be asked (RFC 9110, 10.1.1). Other expectations are ignored, because
    aiohttp's 417 would not have the shape of the webhook's answers.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        with contextlib.suppress(ConnectionError):  # the sender hung up, which reading the body will notice
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # aiohttp must not count these bytes as the beginning of the answer.
        request.writer.output_size = 0


async def _set_server_header(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(deliveries.SERVER_HEADER)


async def _no_such_path(request: web.Request) -> web.Response:
    if request.method != hdrs.METH_POST or "Stripe-Signature" not in request.headers:
        raise web.HTTPNotFound
    return deliveries.answer_wrong_path(request.app[TELEMETRY])


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
    async with request.app[EXPOSITION]:
        body = request.app[TELEMETRY].metrics.exposition()
        await asyncio.sleep(0)
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST})
