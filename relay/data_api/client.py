"""Payment -> one RPC -> Verdict. The only file that knows supabase-py.

The calls go over connections of the relay's own (relay.data_api.transport): many times cheaper than httpx's.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import httpx
from postgrest.exceptions import APIError
from postgrest.types import ReturnMethod
from yarl import URL

from relay.config import Settings
from relay.core.checkout import Payment
from relay.core.errors import Declined, NoVerdict, RelayError
from relay.core.outcomes import Reason, Verdict, read_verdict
from relay.data_api import failures, transport
from relay.data_api.absent import absent
from relay.data_api.http1 import Server
from relay.metrics import Metrics

# supabase-py's client for signing users in would bring it along, for tokens that the relay never reads: 9 MiB.
with absent("cryptography"):
    from supabase import AsyncClient, AsyncClientOptions, acreate_client

FUNCTION: Final = "reconcile_order_group_payment"
Source = Literal["webhook", "sweep", "replay"]
Row = dict[str, Any]
Condition = tuple[str, str, str]
"""Column, operator and value in PostgREST's words: ("status", "eq", "paid")."""
# The Data API may cap the rows of an answer (Supabase: 1,000 by default), so a page is never taken for the last one.
PAGE_ROWS: Final = 500
# Calls at once, and deliveries that may wait for one of them. A Data API that hangs holds 64 calls for
# RELAY_RPC_TIMEOUT; what comes beyond the queue is answered 500 at once, and Stripe sends it again.
# PostgREST's own pool is smaller (10 by default), so more calls at once would only wait there.
MAX_CALLS: Final = 64
MAX_WAITING: Final = 256
# Of the call's time, what may go by with waiting. The rest is more than the function's own lock_timeout (3 s).
_WAITING_SHARE: Final = 0.5
# Enough for a TLS handshake across a continent; a dead host is known well before the call's budget ends.
CONNECT_SECONDS: Final = 3.0
# Shorter than the idle limits of the usual proxies, so that a pooled connection is rarely a dead one.
_IDLE_SECONDS: Final = 15.0
_RETRY_PAUSE_SECONDS: Final = (0.02, 0.1)


class DataApi:
    """Calls functions of the `public` schema, within bounds of time and number."""

    def __init__(self, client: AsyncClient, *, rpc_timeout: float, metrics: Metrics) -> None:
        self._client = client
        self._timeout = rpc_timeout
        self._metrics = metrics
        self._slots = asyncio.Semaphore(MAX_CALLS)
        self._waiting = 0

    async def reconcile(
        self, payment: Payment, *, unmatched_reason: Reason | None = None, source: Source = "webhook"
    ) -> Verdict:
        """Have the database decide about a payment. Raises NoVerdict."""
        started = time.perf_counter()
        try:
            data = await self._within_bounds(FUNCTION, _parameters(payment, unmatched_reason, source))
        finally:
            self._metrics.rpc_seconds.observe(time.perf_counter() - started)
        verdict = read_verdict(
            data,
            event_id=payment.event_id,
            order_group_id=payment.order_group_id,
            unmatched_reason=unmatched_reason,
        )
        if verdict is None:
            raise NoVerdict(Reason.CONTRACT_VIOLATION, f"an answer of unexpected shape ({type(data).__name__})")
        return verdict

    async def readiness(self, seconds: float) -> object:
        """What `reconciliation_readiness` returns. Takes no slot, so that it also answers under full load.
        Raises NoVerdict."""
        try:
            async with asyncio.timeout(seconds):
                return await self._call("reconciliation_readiness", {})
        except TimeoutError:
            raise NoVerdict(Reason.TIMEOUT, "no answer in time") from None

    async def call(self, function: str, parameters: Mapping[str, object]) -> object:
        """Call a function for an operator. Raises NoVerdict, or Declined with the function's own words."""
        return await self._ask(self._client.rpc(function, dict(parameters)))

    async def rows(
        self, source: str, columns: str, *conditions: Condition, parameters: Mapping[str, object] | None = None
    ) -> list[Row]:
        """All rows of a table, or of a function where `parameters` are given, that meet the conditions, by their `id`.

        Raises NoVerdict or Declined.
        """
        found: list[Row] = []
        while True:
            request: Any
            if parameters is None:
                request = self._client.table(source).select(columns)
            else:
                request = self._client.rpc(source, dict(parameters)).select(columns)
            for column, operator, value in conditions:
                request = request.filter(column, operator, value)
            if found:
                request = request.gt("id", found[-1]["id"])
            page = await self._ask(request.order("id").limit(PAGE_ROWS))
            if not isinstance(page, list) or not all(isinstance(row, dict) and "id" in row for row in page):
                raise NoVerdict(Reason.CONTRACT_VIOLATION, f"rows of unexpected shape ({type(page).__name__})")
            if not page:
                return found
            found += page

    async def insert(self, table: str, row: Mapping[str, object]) -> None:
        """Insert a row. Raises NoVerdict or Declined."""
        await self._ask(self._client.table(table).insert(dict(row), returning=ReturnMethod.minimal))

    async def _ask(self, request: Any) -> object:
        """Send an operator's request once, within the time of a call."""
        try:
            async with asyncio.timeout(self._timeout):
                return await _execute(request, may_decline=True)
        except TimeoutError:
            raise NoVerdict(Reason.TIMEOUT, "no answer in time") from None

    async def _within_bounds(self, function: str, parameters: dict[str, object]) -> object:
        if self._slots.locked() and self._waiting >= MAX_WAITING:
            raise NoVerdict(Reason.DATABASE_UNAVAILABLE, "too many deliveries wait for the Data API")
        try:
            async with asyncio.timeout(self._timeout):
                await (self._wait_for_slot() if self._slots.locked() else self._slots.acquire())
                try:
                    return await self._call(function, parameters)
                finally:
                    self._slots.release()
        except TimeoutError:
            # The transaction may still be running, and may commit: the next delivery finds out.
            raise NoVerdict(Reason.TIMEOUT, "no answer in time") from None

    async def _wait_for_slot(self) -> None:
        """Wait for a slot, but not so long that the call could not be finished any more. Raises NoVerdict."""
        self._waiting += 1
        self._metrics.rpcs_waiting.inc()
        try:
            async with asyncio.timeout(self._timeout * _WAITING_SHARE):
                await self._slots.acquire()
        except TimeoutError:
            raise NoVerdict(Reason.DATABASE_UNAVAILABLE, "no free call to the Data API in time") from None
        finally:
            self._waiting -= 1
            self._metrics.rpcs_waiting.dec()

    async def _call(self, function: str, parameters: dict[str, object]) -> object:
        """Call once, and once more where `errors` says that this is safe. The caller limits the time."""
        try:
            return await self._attempt(function, parameters)
        except NoVerdict as failure:
            if not failure.retryable:
                raise
            self._metrics.rpc_retries.labels(failure.reason).inc()
        await asyncio.sleep(random.uniform(*_RETRY_PAUSE_SECONDS))  # noqa: S311  not for secrets
        return await self._attempt(function, parameters)

    async def _attempt(self, function: str, parameters: dict[str, object]) -> object:
        return await _execute(self._client.rpc(function, parameters))


async def _execute(request: Any, *, may_decline: bool = False) -> object:
    """The data of the answer. Raises NoVerdict, or Declined where the caller can do something with it."""
    failure: RelayError
    try:
        return (await request.execute()).data
    except APIError as error:
        if may_decline and error.code in failures.DECLINING:
            failure = Declined(error.message or error.code)
        else:
            failure = failures.from_answer(error.code, transport.status.get(0))
    except Exception as error:  # classified, counted and logged; whatever it is, there is no verdict
        failure = failures.from_exception(error)
    # Not chained: the causes quote payloads and addresses.
    raise failure


def _parameters(payment: Payment, unmatched_reason: Reason | None, source: Source) -> dict[str, object]:
    return {
        "p_order_group_id": payment.order_group_id,
        "p_stripe_event_id": payment.event_id,
        "p_stripe_event_type": payment.event_type,
        "p_stripe_event_created": payment.event_created,
        "p_livemode": payment.livemode,
        "p_checkout_session_id": payment.session_id,
        "p_payment_intent_id": payment.payment_intent_id,
        "p_amount_minor": payment.amount_minor,
        "p_amount": payment.amount,
        "p_currency": payment.currency,
        "p_session_metadata": payment.metadata,
        "p_source": source,
        "p_unmatched_reason": unmatched_reason,
    }


@asynccontextmanager
async def connect(settings: Settings, metrics: Metrics, *, seconds: float | None = None) -> AsyncIterator[DataApi]:
    """A client of the Data API of its own: never signed in as a user, which would put RLS in its way.

    `seconds` is how long a call may take, where that is not RELAY_RPC_TIMEOUT.
    """
    rpc_timeout = seconds or settings.rpc_timeout
    url = URL(settings.supabase_url)
    server = Server(
        url.host or "",
        url.port or 0,
        tls=httpx.create_ssl_context() if url.scheme == "https" else None,
        connect_seconds=min(CONNECT_SECONDS, rpc_timeout),
        idle_seconds=_IDLE_SECONDS,
    )
    async with server, transport.Client(server, settings.supabase_url) as http:
        client = await acreate_client(
            settings.supabase_url,
            settings.supabase_service_role_key.reveal(),
            AsyncClientOptions(
                httpx_client=http,
                auto_refresh_token=False,
                persist_session=False,
                postgrest_client_retry=False,
            ),
        )
        yield DataApi(client, rpc_timeout=rpc_timeout, metrics=metrics)
