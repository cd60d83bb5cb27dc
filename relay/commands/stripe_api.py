"""Reads Checkout Sessions, Events, refunds, disputes and endpoints from Stripe's API, page by page, expires sessions
and makes endpoints. Only this module uses `StripeClient`.

The SDK itself retries after a lost connection, a 409 or a 5xx, but neither after a 429 nor after an answer that breaks
off in its body. This module retries after these two. Repeating a request is always safe: reading changes nothing, a
session expires once, and an endpoint is made under a key that stands for one.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import aiohttp
import stripe

from relay import NAME, __version__
from relay.config import Settings, StripeAccess
from relay.core.checkout import RECONCILING_TYPES
from relay.core.lifecycle import Kind

Json = dict[str, Any]
API_VERSION: Final = str(stripe.api_version)
"""The version in which the SDK reads and new endpoints send."""
PAGE_SIZE: Final = 100  # Stripe's own limit
# A page of 100 sessions takes Stripe a second or two.
REQUEST_SECONDS: Final = 15.0
# The SDK waits half a second before its first retry and five before its last: about twelve seconds in all.
SDK_RETRIES: Final = 5
# How many answers that break off are asked for again.
BROKEN_ANSWERS: Final = 5
# How often a request is repeated after a 429. The pauses double, so this takes some minutes.
# https://docs.stripe.com/rate-limits
RATE_LIMIT_ATTEMPTS: Final = 12
_LONGEST_PAUSE_SECONDS: Final = 60.0
_FIRST_PAUSE_SECONDS: Final = 0.5


class StripeUnavailable(Exception):
    """Stripe gave no usable answer. The message is for the operator and holds no secrets."""


class StripeApi:
    """Reads whole lists and single sessions, and expires sessions. All methods raise StripeUnavailable."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, settings: Settings | StripeAccess, *, seconds: float = REQUEST_SECONDS
    ) -> AsyncIterator[Self]:
        """Open a client for STRIPE_API_BASE. `seconds` is how long one request may take."""
        stripe.set_app_info(NAME, version=__version__)  # the SDK can only set it for the whole module
        http = stripe.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=seconds))
        client = stripe.StripeClient(
            settings.stripe_secret_key.reveal(),
            base_addresses={"api": settings.stripe_api_base},
            max_network_retries=SDK_RETRIES,
            http_client=http,
        )
        try:
            yield cls(client)
        finally:
            await http.close_async()  # type: ignore[no-untyped-call]

    async def sessions(self, since: int, until: int | None = None) -> AsyncIterator[list[Json]]:
        """Pages of the complete Checkout Sessions that were created from `since` to `until`, newest first. Both are in
        seconds since 1970; without `until` the list goes on to the newest.
        """
        created: Any = {"gte": since} if until is None else {"gte": since, "lte": until}

        async def first() -> Any:
            return await self._client.v1.checkout.sessions.list_async(
                {"status": "complete", "created": created, "limit": PAGE_SIZE}
            )

        async for page in _pages(first):
            yield page

    async def open_sessions(self) -> AsyncIterator[list[Json]]:
        """Pages of the open Checkout Sessions, newest first. A session is open for a day at most."""

        async def first() -> Any:
            return await self._client.v1.checkout.sessions.list_async({"status": "open", "limit": PAGE_SIZE})

        async for page in _pages(first):
            yield page

    async def expire(self, session_id: str) -> Json:
        """Expire an open Checkout Session, so that nobody can pay it any more. Returns the session as it is then:
        `expired`, or `complete` where the buyer was faster.
        """
        try:
            ended = await _with_retries(lambda: self._client.v1.checkout.sessions.expire_async(session_id))
        except stripe.InvalidRequestError as error:  # only an open session can be expired
            found = await self.session(session_id)
            if found is None or found.get("status") == "open":
                raise StripeUnavailable(_describe(error)) from None
            return found
        session: Json = ended.to_dict()
        return session

    async def events(self, since: int) -> AsyncIterator[list[Json]]:
        """Pages of the events that reconcile, from `since` (seconds since 1970) to now, newest first. Stripe keeps
        events for 30 days.
        """

        async def first() -> Any:
            return await self._client.v1.events.list_async(
                {"types": sorted(RECONCILING_TYPES), "created": {"gte": since}, "limit": PAGE_SIZE}
            )

        async for page in _pages(first):
            yield [event for event in page if event.get("type") in RECONCILING_TYPES]

    async def reversals(self, kind: Kind, since: int, until: int) -> AsyncIterator[list[Json]]:
        """Pages of the refunds, or of the disputes, that were created from `since` to `until` (seconds since 1970),
        newest first.
        """

        async def first() -> Any:
            parameters: Any = {"created": {"gte": since, "lte": until}, "limit": PAGE_SIZE}
            listed = self._client.v1.refunds if kind == "refund" else self._client.v1.disputes
            return await listed.list_async(parameters)

        async for page in _pages(first):
            yield page

    async def session(self, session_id: str) -> Json | None:
        """One Checkout Session; None where Stripe has none with this id."""
        return await _one(lambda: self._client.v1.checkout.sessions.retrieve_async(session_id))

    async def reversal(self, kind: Kind, id_: str) -> Json | None:
        """One refund or dispute; None where Stripe has none with this id."""
        kept = self._client.v1.refunds if kind == "refund" else self._client.v1.disputes
        return await _one(lambda: kept.retrieve_async(id_))

    async def endpoints(self) -> list[Json]:
        """The account's endpoints with snapshot payloads, the newest first."""

        async def first() -> Any:
            return await self._client.v1.webhook_endpoints.list_async({"limit": PAGE_SIZE})

        return [endpoint async for page in _pages(first) for endpoint in page]

    async def thin_endpoints(self) -> list[Json] | None:
        """The account's destinations with thin payloads; None where Stripe does not list them for this key."""
        # https://docs.stripe.com/api/v2/core/event-destinations/list
        parameters: Any = {"include": ["webhook_endpoint.url"], "limit": PAGE_SIZE}
        try:
            page = await _with_retries(lambda: self._client.v2.core.event_destinations.list_async(parameters))
            found = [one.to_dict() async for one in page.auto_paging_iter()]
        except (StripeUnavailable, stripe.StripeError, aiohttp.ClientError, TimeoutError):
            return None
        return [one for one in found if one.get("event_payload") == "thin"]

    async def create_endpoint(self, url: str, types: Sequence[str]) -> Json:
        """Make an endpoint with snapshot payloads for these event types. Only this answer holds its `secret`."""
        parameters: Any = {"url": url, "enabled_events": list(types), "api_version": API_VERSION}
        options: Any = {"idempotency_key": str(uuid.uuid4())}
        try:
            made = await _with_retries(lambda: self._client.v1.webhook_endpoints.create_async(parameters, options))
        except stripe.InvalidRequestError as error:
            raise StripeUnavailable(f"Stripe does not take it: {error.user_message or _describe(error)}") from None
        endpoint: Json = made.to_dict()
        return endpoint


async def _one(request: Callable[[], Awaitable[Any]]) -> Json | None:
    """The object that the request reads; None where Stripe has none. Raises StripeUnavailable."""
    try:
        found = await _with_retries(request)
    except stripe.InvalidRequestError as error:
        if error.http_status == 404:
            return None
        raise StripeUnavailable(_describe(error)) from None
    one: Json = found.to_dict()
    return one


async def _pages(first: Callable[[], Awaitable[Any]]) -> AsyncIterator[list[Json]]:
    """All pages of a list. Like the SDK's own pagination, each page is requested with the last object's id. Raises
    StripeUnavailable.
    """
    try:
        page = await _with_retries(first)
        cursors = set()
        while page.data:
            yield [item.to_dict() for item in page.data]
            cursor = page.data[-1].id
            if cursor in cursors:
                raise StripeUnavailable("Stripe's list begins anew instead of going on")
            cursors.add(cursor)
            page = await _with_retries(page.next_page_async)
    except stripe.InvalidRequestError as error:
        raise StripeUnavailable(_describe(error)) from None


async def _with_retries(request: Callable[[], Awaitable[Any]]) -> Any:
    """Send a request, and repeat it after a 429 or an answer that breaks off.

    Raises StripeUnavailable, or InvalidRequestError, which the caller handles.
    """
    limited = broken = 0
    while True:
        try:
            return await request()
        except stripe.InvalidRequestError:
            raise
        except stripe.StripeError as error:
            if error.http_status != 429 or limited == RATE_LIMIT_ATTEMPTS:
                raise StripeUnavailable(_describe(error)) from None
            await asyncio.sleep(_pause(error.headers, limited))
            limited += 1
        except (aiohttp.ClientError, TimeoutError) as error:  # while the body was read; the SDK does not handle these
            if broken == BROKEN_ANSWERS:
                raise StripeUnavailable(f"Stripe's answers break off ({type(error).__name__})") from None
            await asyncio.sleep(_pause(None, broken))
            broken += 1


def _pause(headers: Mapping[str, str] | None, attempt: int) -> float:
    """How many seconds to wait: what `Retry-After` says, else twice as long as the time before."""
    try:
        asked = float({name.lower(): value for name, value in (headers or {}).items()}["retry-after"])
    except (KeyError, ValueError):
        asked = _FIRST_PAUSE_SECONDS * 2**attempt
    return min(max(asked, 0.0), _LONGEST_PAUSE_SECONDS)


def _describe(error: stripe.StripeError) -> str:
    """What went wrong, in our own words: Stripe's message may quote the key's last characters."""
    match error.http_status:
        case None:
            return "Stripe cannot be reached: look at the network, and at STRIPE_API_BASE where it is set"
        case 401:
            return "Stripe does not know STRIPE_SECRET_KEY (401): was it rolled, or is it another account's?"
        case 403:
            return "STRIPE_SECRET_KEY may not do this (403): give the restricted key what docs/operations.md says of it"
        case status:
            return f"Stripe answered {status}" + (f", request {error.request_id}" if error.request_id else "")
