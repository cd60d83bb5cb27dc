"""Stripe's API on a real socket: lists with cursors and filters, single objects, expansion, errors, and faults.

Shapes after https://docs.stripe.com/api: lists are `{"object": "list", "data", "has_more", "url"}`, newest first;
errors are `{"error": {"type", "code", "message", "param"}}`; a parameter that Stripe does not know is refused.
"""

import asyncio
import re
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from testkit import stripe_endpoints
from testkit.shop import OrderGroup, paid
from testkit.stripe_checkout import Refused, open_session
from testkit.stripe_events import COMPLETED, STRIPE_KEY, Json, completed, disputed, refunded, session_of

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
LIST_PARAMETERS = {"limit", "starting_after", "ending_before", "expand[]"}
CREATED_PARAMETERS = {f"created[{operator}]" for operator in ("gt", "gte", "lt", "lte")} | {"created"}
PARAMETERS = {
    "/v1/checkout/sessions": LIST_PARAMETERS | CREATED_PARAMETERS | {"status", "customer", "payment_intent"},
    "/v1/refunds": LIST_PARAMETERS | CREATED_PARAMETERS | {"charge", "payment_intent"},
    "/v1/disputes": LIST_PARAMETERS | CREATED_PARAMETERS | {"charge", "payment_intent"},
    "/v1/webhook_endpoints": LIST_PARAMETERS,
    "/v1/events": LIST_PARAMETERS | CREATED_PARAMETERS | {"type", "types[]", "delivery_success"},
}
COMPARE: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def failure(status: int, kind: str, message: str, **more: str) -> web.Response:
    """An error as Stripe words it."""
    body = {"error": {"type": kind, "message": message, **more}}
    return web.json_response(body, status=status, headers={"Request-Id": f"req_{uuid.uuid4().hex[:14]}"})


def answers(status: int, **headers: str) -> Fault:
    """A fault: this status, as Stripe words it."""

    async def fault(_: web.Request) -> web.StreamResponse:
        kind = "rate_limit_error" if status == 429 else "api_error"
        response = failure(status, kind, "Something is wrong on Stripe's end.")
        response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        return response

    return fault


async def gateway_page(_: web.Request) -> web.StreamResponse:
    """A fault: something in between answers in HTML."""
    return web.Response(status=502, text="<html>Bad gateway</html>", content_type="text/html")


async def reset(request: web.Request) -> web.StreamResponse | None:
    """A fault: the connection is cut before an answer."""
    assert request.transport is not None
    request.transport.abort()
    return None


async def break_off(request: web.Request) -> web.StreamResponse:
    """A fault: the connection is cut in the middle of the body."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"object": "list", "data": [')
    assert request.transport is not None
    request.transport.abort()
    return response


@dataclass(slots=True)
class Gate:
    """A fault: the answer waits until the test opens the gate."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, _: web.Request) -> web.StreamResponse | None:
        self.reached.set()
        await self.opened.wait()
        return None


class StripeServer:
    """An account in test mode. `faults` are played in order, one per request; then everything is well."""

    def __init__(self) -> None:
        self.url = ""
        self.key = STRIPE_KEY
        self.sessions: list[Json] = []
        self.events: list[Json] = []
        self.refunds: list[Json] = []
        self.disputes: list[Json] = []
        self.endpoints: list[Json] = []
        self.destinations: list[Json] | None = []
        """Those of the second API; None where the key may not read them."""
        self.secrets: list[str] = []
        """Of the endpoints that were made here."""
        self.loses_creations = 0
        """How many endpoints are made before an answer about one arrives whole."""
        self.requests: list[tuple[str, dict[str, list[str]]]] = []
        self.faults: list[Fault] = []
        self.keep_failing: Fault | None = None
        self.pages: list[web.RouteDef] = []
        self._by_key: dict[str, tuple[dict[str, str], Json]] = {}

    # What happens at Stripe

    def session(self, group: OrderGroup | None, *, age: int = 3600, **changes: Any) -> Json:
        """A complete, paid session over the group's total, created `age` seconds ago; keyword arguments change it.

        Without a group it names none.
        """
        changes = {"created": int(time.time()) - age, **changes}
        session = session_of(paid(group, **changes) if group else completed(**{"metadata": {}, **changes}))
        self.sessions.append(session)
        return session

    def event(self, session: Json, kind: str = COMPLETED, *, after: int = 60, **changes: Any) -> Json:
        """An event, made `after` seconds after its session; keyword arguments change the snapshot that it holds."""
        event = {
            **completed(),
            "created": session["created"] + after,
            "data": {"object": {**session, **changes}},
            "livemode": session["livemode"],
            "type": kind,
        }
        self.events.append(event)
        return event

    def refund(self, session: Json, *, after: int = 120, **changes: Any) -> Json:
        """A refund of a session's whole payment, made `after` seconds after the session; arguments change it."""
        refund = session_of(refunded(session["payment_intent"], **_going_back(session, after) | changes))
        self.refunds.append(refund)
        return refund

    def dispute(self, session: Json, *, after: int = 180, **changes: Any) -> Json:
        """A dispute over a session's whole payment."""
        dispute = session_of(disputed(session["payment_intent"], **_going_back(session, after) | changes))
        self.disputes.append(dispute)
        return dispute

    # The API

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query: dict[str, list[str]] = {}
        for name, value in request.query.items():
            query.setdefault(re.sub(r"\[\d+\]$", "[]", name), []).append(value)
        self.requests.append((request.path, query))
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return failure(401, "invalid_request_error", f"Invalid API Key provided: ***{self.key[-4:]}")
        fault = self.faults.pop(0) if self.faults else self.keep_failing
        if fault and (response := await fault(request)):
            return response
        if request.path == "/v1/checkout/sessions" and request.method == "POST":
            return self._create(request.headers.get("Idempotency-Key"), await request.text())
        if request.path == "/v1/checkout/sessions":
            status = query.get("status", [None])[0]
            return self._list(request.path, query, [s for s in self.sessions if status in (None, s["status"])])
        if request.path == "/v1/refunds":
            return self._list(request.path, query, self.refunds)
        if request.path == "/v1/disputes":
            return self._list(request.path, query, self.disputes)
        if request.path == "/v1/events":
            types = query.get("types[]") or query.get("type")
            return self._list(request.path, query, [e for e in self.events if types is None or e["type"] in types])
        if request.path == "/v1/webhook_endpoints" and request.method == "POST":
            response = self._create_endpoint(request.headers.get("Idempotency-Key"), await request.text())
            if self.loses_creations:
                self.loses_creations -= 1
                return await break_off(request)
            return response
        if request.path == "/v1/webhook_endpoints":
            return self._list(request.path, query, self.endpoints)
        if request.path == "/v2/core/event_destinations":
            if self.destinations is None:
                return failure(403, "invalid_request_error", "The key does not have the required permissions.")
            return web.json_response(stripe_endpoints.listed(self.destinations, query))
        if request.method == "POST":
            return self._expire(request.path)
        folder, _, wanted = request.path.rpartition("/")
        objects = {"checkout/sessions": self.sessions, "refunds": self.refunds, "disputes": self.disputes}
        if (kept := objects.get(folder.removeprefix("/v1/"))) is not None:
            for one in kept:
                if one["id"] == wanted:
                    return web.json_response(_expanded(one, query.get("expand[]", []), ""))
            return failure(404, "invalid_request_error", "No such object", code="resource_missing", param="id")
        return failure(404, "invalid_request_error", "Unrecognized request URL")

    def _expire(self, path: str) -> web.Response:
        """https://docs.stripe.com/api/checkout/sessions/expire"""
        match = re.fullmatch(r"/v1/checkout/sessions/([^/]+)/expire", path)
        if match is None:
            return failure(404, "invalid_request_error", "Unrecognized request URL")
        session = next((session for session in self.sessions if session["id"] == match[1]), None)
        if session is None:
            return failure(404, "invalid_request_error", "No such checkout.session", code="resource_missing")
        if session["status"] != "open":
            return failure(400, "invalid_request_error", "Only Checkout Sessions that are open can be expired.")
        session |= {"status": "expired", "url": None}
        return web.json_response(session)

    def _create(self, key: str | None, body: str) -> web.Response:
        """An idempotency key stands for one session and one set of parameters, for the 24 hours that Stripe keeps it.

        https://docs.stripe.com/api/idempotent_requests
        """
        parameters = dict(parse_qsl(body, keep_blank_values=True))
        if key in self._by_key:
            first, session = self._by_key[key]
            if first != parameters:
                return failure(400, "idempotency_error", "Keys can only be used with the parameters they came with.")
            return web.json_response(session)
        try:
            session = open_session(parameters, page=f"{self.url}/c/pay/")
        except Refused as error:
            return failure(400, "invalid_request_error", str(error), **error.details)
        self.sessions.append(session)
        if key:
            self._by_key[key] = (parameters, {**session})
        return web.json_response(session)

    def _create_endpoint(self, key: str | None, body: str) -> web.Response:
        """Only this answer holds the secret. https://docs.stripe.com/api/webhook_endpoints/create"""
        parameters = dict(parse_qsl(body, keep_blank_values=True))
        if key not in self._by_key:
            try:
                endpoint = stripe_endpoints.created(body, len(self.endpoints))
            except stripe_endpoints.EndpointRefused as error:
                return failure(400, "invalid_request_error", str(error), **error.details)
            self.endpoints.append(endpoint)
            self.secrets.append(f"whsec_{secrets.token_hex(16)}")
            self._by_key[key or ""] = (parameters, {**endpoint, "secret": self.secrets[-1]})
        return web.json_response(self._by_key[key or ""][1])

    def _list(self, path: str, query: dict[str, list[str]], objects: list[Json]) -> web.Response:
        if unknown := query.keys() - PARAMETERS[path]:
            return failure(400, "invalid_request_error", "Unknown parameter", param=min(unknown))
        limit = int(query.get("limit", ["10"])[0])
        if not 1 <= limit <= 100:
            return failure(400, "invalid_request_error", "Limit is out of range", param="limit")
        for operator, compare in COMPARE.items():
            for bound in query.get(f"created[{operator}]", []):
                objects = [one for one in objects if compare(one["created"], int(bound))]
        objects = sorted(objects, key=lambda one: (one["created"], one["id"]), reverse=True)
        if cursor := query.get("starting_after"):
            places = [place for place, one in enumerate(objects) if one["id"] == cursor[0]]
            if not places:
                return failure(400, "invalid_request_error", "No such object", param="starting_after")
            objects = objects[places[0] + 1 :]
        page = [_expanded(one, query.get("expand[]", []), "data.") for one in objects[:limit]]
        return web.json_response({"object": "list", "data": page, "has_more": len(objects) > limit, "url": path})

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["StripeServer"]:
        """On a free port of the loopback interface."""
        app = web.Application()
        app.add_routes(self.pages)
        app.router.add_get("/{path:.*}", self._answer)
        app.router.add_post("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()


def _going_back(session: Json, after: int) -> Json:
    return {
        "amount": session["amount_total"],
        "currency": session["currency"],
        "created": session["created"] + after,
    }


def _expanded(value: Json, paths: list[str], prefix: str) -> Json:
    """The object with its payment intent in full, where that is asked for."""
    if f"{prefix}payment_intent" not in paths or not isinstance(value.get("payment_intent"), str):
        return value
    intent = {"id": value["payment_intent"], "object": "payment_intent", "status": "succeeded"}
    return {**value, "payment_intent": intent}
