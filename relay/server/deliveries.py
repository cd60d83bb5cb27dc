"""Takes deliveries on the routes that Stripe posts to: reads and verifies the body, has the route decide, answers.

What an event means is the route's: relay.server.webhook, relay.server.lifecycle. All else is the same for each of them.
"""

import asyncio
import contextlib
import json
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestPayloadError
from multidict import CIMultiDict

from relay.config import Secret
from relay.core import errors
from relay.core.errors import RelayError
from relay.core.event import Event, read_event
from relay.core.outcomes import Outcome, Reason, Verdict
from relay.server import signature
from relay.server.telemetry import Delivery, Telemetry

# Replaces aiohttp's header, which names the versions of Python and aiohttp.
SERVER_HEADER: Final = {"Server": "relay"}
MAX_BODY_BYTES: Final = 1024 * 1024
# Checkout events are a few KiB. At most LARGE_BODIES bodies over SMALL_BODY_BYTES are read at the same time, and
# further ones wait: thousands of senders who never finish a megabyte must not fill the memory. The wait counts in
# BODY_SECONDS.
SMALL_BODY_BYTES: Final = 64 * 1024
LARGE_BODIES: Final = 32
# Stripe sends a body in one go. After this time and LINGERING_SECONDS (relay.server.connections) a slow sender's
# connection is closed.
BODY_SECONDS: Final = 10.0


Decide = Callable[[Event, Delivery], Awaitable[Verdict]]
"""Decides about a verified event, and notes at the delivery which session and which order group it is about. Raises
RelayError.
"""


@dataclass(frozen=True, slots=True)
class Route:
    """One route that Stripe posts to."""

    secrets: tuple[Secret, ...]
    """The signing secrets of its endpoints."""
    decide: Decide
    is_lifecycle: bool = False
    """Whether its deliveries are counted apart, too."""


class Deliveries:
    """Handles the routes. `idle` is set while no delivery is in hand. `clock` returns seconds since 1970; the time of a
    signature may be off by `tolerance` seconds.
    """

    def __init__(self, telemetry: Telemetry, *, tolerance: int, clock: Callable[[], float] = time.time) -> None:
        self._telemetry = telemetry
        self._tolerance = tolerance
        self._clock = clock
        self._in_flight = 0
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES)
        self.idle = asyncio.Event()
        self.idle.set()

    async def take(self, request: web.Request, route: Route) -> web.Response:
        """Answer one delivery. Every exception becomes a verdict here."""
        started = time.perf_counter()
        delivery = Delivery(is_lifecycle=route.is_lifecycle)
        self._in_flight += 1
        self._telemetry.metrics.in_flight.inc()
        self.idle.clear()
        try:
            verdict = await self._deliver(request, route, delivery)
        except RelayError as error:
            verdict = error.verdict
            delivery.note = error.detail or delivery.note
        except Exception as error:  # a fault of the relay itself: there is no verdict, and Stripe retries
            verdict = Verdict(Outcome.FAILED, Reason.UNEXPECTED)
            delivery.note = place_of(error)
        finally:
            self._in_flight -= 1
            self._telemetry.metrics.in_flight.dec()
            if not self._in_flight:
                self.idle.set()
        self._telemetry.delivered(delivery, verdict, time.perf_counter() - started)
        return _answer(delivery, verdict)

    async def _deliver(self, request: web.Request, route: Route, delivery: Delivery) -> Verdict:
        """The verdict about one delivery. Raises RelayError."""
        body = await _read(request, self._large_bodies)
        verified = signature.verify(
            body,
            request.headers.getall("Stripe-Signature", ()),
            secrets=[secret.reveal() for secret in route.secrets],
            now=self._clock(),
            tolerance=self._tolerance,
        )
        if len(route.secrets) > 1:
            delivery.note = f"signed with webhook secret {verified.secret_position} of {len(route.secrets)}"
        event = read_event(verified.text)
        delivery.event_id, delivery.event_type = event.id, event.type
        return await route.decide(event, delivery)


def answer_unparsable(telemetry: Telemetry) -> web.Response:
    """Answer bytes that are no HTTP request as a route would, and log them as it logs refusals."""
    return _answer_unread(telemetry, errors.MalformedRequest())


def answer_wrong_path(telemetry: Telemetry) -> web.Response:
    """Answer a POST with a `Stripe-Signature` to another path, so that a wrong URL of the endpoint is noticed."""
    return _answer_unread(telemetry, errors.WrongPath())


def _answer_unread(telemetry: Telemetry, refusal: errors.Refused) -> web.Response:
    delivery = Delivery()
    telemetry.delivered(delivery, refusal.verdict, 0.0)
    return _answer(delivery, refusal.verdict)


async def _read(request: web.Request, large_bodies: asyncio.Semaphore) -> bytes:
    """The raw body. Raises Refused; the checks have the order of the table in docs/contract.md."""
    if request.method != "POST":
        raise errors.MethodNotAllowed
    for coding in request.headers.getall("Content-Encoding", ()):
        # The signature covers the bytes that Stripe sent, so they are not decompressed (relay.server.connections).
        if coding.strip().lower() not in ("", "identity"):
            raise errors.UnsupportedContentEncoding
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise errors.BodyTooLarge
    try:
        if request.content.is_eof():  # the usual case: the body came together with the head
            body = request.content.read_nowait()
        else:
            body = await _rest(request.content, large_bodies)
    except TimeoutError:
        raise errors.RequestTimeout from None
    except (RequestPayloadError, ConnectionError):
        raise errors.MalformedRequest from None
    if len(body) > MAX_BODY_BYTES:
        raise errors.BodyTooLarge
    return body


async def _rest(content: StreamReader, large_bodies: asyncio.Semaphore) -> bytes:
    """The body, or its beginning where it is over MAX_BODY_BYTES.

    Raises TimeoutError after BODY_SECONDS, RequestPayloadError or ConnectionError.
    """
    body = bytearray()
    async with asyncio.timeout(BODY_SECONDS), contextlib.AsyncExitStack() as place:
        is_small = True
        while len(body) <= MAX_BODY_BYTES and (chunk := await content.readany()):
            body += chunk
            if is_small and len(body) > SMALL_BODY_BYTES:
                is_small = False
                await place.enter_async_context(large_bodies)
    return bytes(body)


def _answer(delivery: Delivery, verdict: Verdict) -> web.Response:
    word = _body if delivery.event_id else _body_without_event
    body = word(verdict, delivery.event_id, delivery.order_group_id)
    response = web.Response(body=body, status=verdict.status, headers=_HEADERS)
    if verdict.reason is Reason.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = "POST"
    elif verdict.reason in (Reason.BODY_TOO_LARGE, Reason.REQUEST_TIMEOUT):
        response.force_close()  # the rest of the body is not read
    return response


def _body(verdict: Verdict, event_id: str | None, order_group_id: str | None) -> bytes:
    return json.dumps(
        {
            "received": verdict.outcome is not Outcome.REFUSED,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "event_id": event_id,
            "order_group_id": order_group_id,
        }
    ).encode()


# There are only a few such answers, and a flood of forged requests would make them again and again.
_body_without_event: Final = lru_cache(maxsize=None)(_body)
_HEADERS: Final = CIMultiDict({"Content-Type": "application/json"} | SERVER_HEADER)


def place_of(error: Exception) -> str:
    """Class, file and line of a fault, without its message, which may quote a payload."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
