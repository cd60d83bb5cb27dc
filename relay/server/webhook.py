"""Handles the webhook's route: reads and verifies the body, decides what it means, calls the database once, answers."""

import asyncio
import contextlib
import json
import time
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePath
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestPayloadError
from multidict import CIMultiDict

from relay.config import Settings
from relay.core import checkout, errors, event
from relay.core.checkout import AwaitingFunds, Ignored, Payment, Unmatched
from relay.core.errors import RelayError
from relay.core.outcomes import Outcome, Reason, Verdict
from relay.data_api.client import DataApi
from relay.server import signature
from relay.server.telemetry import Delivery, Telemetry

PATH: Final = "/api/stripe/webhook"
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


class Webhook:
    """Handles the route. `idle` is set while no delivery is in hand. `clock` returns seconds since 1970."""

    def __init__(
        self, settings: Settings, telemetry: Telemetry, data_api: DataApi, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._secrets = tuple(secret.reveal() for secret in settings.stripe_webhook_secrets)
        self._tolerance = settings.webhook_tolerance
        self._rules = checkout.Rules(
            livemode=settings.livemode,
            accounts=settings.stripe_accounts,
            ignores_unreferenced=settings.ignores_unreferenced,
            metadata_keys=settings.metadata_keys,
        )
        self._telemetry = telemetry
        self._data_api = data_api
        self._clock = clock
        self._in_flight = 0
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES)
        self.idle = asyncio.Event()
        self.idle.set()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one delivery. Every exception becomes a verdict here."""
        started = time.perf_counter()
        delivery = Delivery()
        self._in_flight += 1
        self._telemetry.metrics.in_flight.inc()
        self.idle.clear()
        try:
            verdict = await self._deliver(request, delivery)
        except RelayError as error:
            verdict = error.verdict
            delivery.note = error.detail or delivery.note
        except Exception as error:  # a fault of the relay itself: there is no verdict, and Stripe retries
            verdict = Verdict(Outcome.FAILED, Reason.UNEXPECTED)
            delivery.note = _place_of(error)
        finally:
            self._in_flight -= 1
            self._telemetry.metrics.in_flight.dec()
            if not self._in_flight:
                self.idle.set()
        self._telemetry.delivered(delivery, verdict, time.perf_counter() - started)
        return _answer(delivery, verdict)

    async def _deliver(self, request: web.Request, delivery: Delivery) -> Verdict:
        """The verdict about one delivery. Raises RelayError."""
        body = await _read(request, self._large_bodies)
        verified = signature.verify(
            body,
            request.headers.getall("Stripe-Signature", ()),
            secrets=self._secrets,
            now=self._clock(),
            tolerance=self._tolerance,
        )
        if len(self._secrets) > 1:
            delivery.note = f"signed with webhook secret {verified.secret_position} of {len(self._secrets)}"
        received = event.read_event(verified.text)
        delivery.event_id, delivery.event_type = received.id, received.type
        problem: Reason | None = None
        match checkout.judge(received, self._rules):
            case Ignored(reason=reason, session_id=session_id):
                delivery.checkout_session_id = session_id
                return Verdict(Outcome.IGNORED, reason)
            case AwaitingFunds(reason=awaited, session_id=session_id, order_group_id=order_group_id) as decision:
                delivery.checkout_session_id, delivery.order_group_id = session_id, order_group_id
                if decision.is_to_be_noted:
                    await self._note(decision, delivery)
                return Verdict(Outcome.AWAITING_FUNDS, awaited)
            case Unmatched(reason=problem, payment=payment):
                pass
            case Payment() as payment:
                pass
        delivery.checkout_session_id, delivery.order_group_id = payment.session_id, payment.order_group_id
        return await self._data_api.reconcile(payment, unmatched_reason=problem)

    async def _note(self, awaited: AwaitingFunds, delivery: Delivery) -> None:
        """Have the database note that the money is under way. The answer is decided already and does not depend on
        this: a failure is a line in the log.
        """
        outcome: str
        try:
            outcome = await self._data_api.note_awaiting_funds(awaited)
        except Exception as error:
            outcome = Outcome.FAILED
            reason, detail = (error.reason, error.detail) if isinstance(error, RelayError) else (None, "")
            self._telemetry.log.write(
                "warning",
                f"not noted that funds are under way, so that the order group may expire: {detail or _place_of(error)}",
                delivery=delivery,
                reason=reason or Reason.UNEXPECTED,
            )
        self._telemetry.metrics.notices.labels(outcome).inc()


def answer_unparsable(telemetry: Telemetry) -> web.Response:
    """Answer bytes that are no HTTP request as the route would, and log them as it logs refusals."""
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


def _place_of(error: Exception) -> str:
    """Class, file and line of a fault, without its message, which may quote a payload."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
