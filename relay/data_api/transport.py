"""The HTTP client that supabase-py uses: httpx's interface in front of aiohttp's client.

supabase-py sends everything through `request` of an httpx client. httpx itself needs several times the processor time
that aiohttp needs for the same call (docs/performance-tried.md), so `request` hands over to aiohttp. Every failure is
classified and raised here, as NoVerdict or Declined.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Final, Never

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

from relay import USER_AGENT
from relay.data_api import failures
from relay.data_api.failures import BadAnswer

# A server that sends more is broken or hostile. A verdict has a quarter of a KiB, an answer about readiness a few KiB.
# Only operators' commands read pages of rows and reports, one call at a time.
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
MAX_VERDICT_BYTES: Final = 64 * 1024
_VERDICTS: Final = frozenset(
    {
        "reconcile_order_group_payment",
        "reconcile_order_group_payments",
        "note_awaiting_funds",
        "record_refund",
        "record_dispute",
        "cancel_order_group",
        "reconciliation_readiness",
    }
)
# Enough for a TLS handshake across a continent, and well below RELAY_RPC_TIMEOUT, so that a dead host is noticed early.
CONNECT_SECONDS: Final = 3.0
# Shorter than the idle limits of the usual proxies, so that a pooled connection is rarely a dead one.
IDLE_SECONDS: Final = 15.0
# How long the other side's goodbye is awaited where a call is given up just as its TLS handshake ends. The event loops
# would wait for half a minute.
GOODBYE_SECONDS: Final = 0.1
_IDENTITY: Final = "identity"


class Connector(aiohttp.TCPConnector):
    """Keeps idle connections as aiohttp does, except those on which unrequested bytes came: aiohttp would take these
    bytes for the answer to the next call. And leaves no socket behind when a call is given up while it connects.
    """

    async def _get(self, key: Any, traces: Any) -> Any:
        while connection := await super()._get(key, traces):
            # Compared with None, because the protocol is a queue, and an empty queue is falsy.
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None

    async def _wrap_create_connection(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("ssl"):
            kwargs["ssl_shutdown_timeout"] = GOODBYE_SECONDS
        return await super()._wrap_create_connection(*args, **kwargs)


class _NoTransport(httpx.AsyncBaseTransport):
    """Takes the place of httpx's own transport, which has other limits, and raises if supabase-py ever uses it."""

    async def handle_async_request(self, request: httpx.Request) -> Never:
        raise RuntimeError(f"supabase-py calls more than `request`: {request.method}")


class Client(httpx.AsyncClient):
    """An httpx client whose `request` uses an aiohttp session.

    Every request carries the `apikey` header. Therefore only the server of `base_url` is called, and no redirect is
    followed.
    """

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        super().__init__(transport=_NoTransport(), trust_env=False)
        self._session = session
        self._origin = URL(base_url).origin()

    async def request(
        self,
        method: str,
        url: httpx.URL | str,
        *,
        content: Any = None,
        params: Any = None,
        headers: Any = None,
        auth: Any = None,
        **others: Any,
    ) -> httpx.Response:
        """Send a request and return its whole answer: a success whose body is JSON or empty.

        Raises NoVerdict or Declined. `auth` and `others` are refused: a later supabase-py may pass them, and this
        client would not send them.
        """
        try:
            if auth is not None or others:
                raise RuntimeError("a part of the request that would not be sent")
            target = _url(str(url))
            if target.origin() != self._origin:
                raise RuntimeError("an address of another server")
            if params:
                target = target.update_query(params.multi_items())
            sent = _headers(tuple(headers.raw))
            async with self._session.request(
                method, target, data=content, headers=sent, allow_redirects=False
            ) as answer:
                body = await _body_of(answer, MAX_VERDICT_BYTES if target.name in _VERDICTS else MAX_ANSWER_BYTES)
            response = httpx.Response(answer.status, headers=_kept(answer), content=body, request=_ASKED)
            if response.is_success and body:
                json.loads(body)  # supabase-py would accept a body that is no JSON as text
        except Exception as error:  # whatever it is, there is no verdict; it is classified, counted and logged
            failure = failures.from_exception(error)
        else:
            if response.is_success:
                return response
            failure = failures.from_answer(response)
        # Raised outside of `except`, so that it is not chained: the causes quote payloads and addresses.
        raise failure


async def _body_of(answer: aiohttp.ClientResponse, longest: int) -> bytes:
    """The whole body, at most `longest` bytes. Raises BadAnswer or aiohttp.ClientError."""
    if answer.headers.get("Content-Encoding", _IDENTITY).lower() != _IDENTITY:
        raise BadAnswer  # a few KiB could expand to some GiB
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > longest:
            raise BadAnswer
    return bytes(body)


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """The only header that is kept: `Proxy-Status` has PostgREST's error code, even where a proxy replaced the body.

    `Content-Type` is left out, so that text is read as UTF-8 whatever a proxy says.
    """
    reason = answer.headers.get(_PROXY_STATUS)
    return {} if reason is None else {_PROXY_STATUS: reason}


# The relay calls a handful of URLs, always with the same headers.
@lru_cache(maxsize=32)
def _url(text: str) -> URL:
    return URL(text)


@lru_cache(maxsize=32)
def _headers(raw: tuple[tuple[bytes, bytes], ...]) -> CIMultiDict[str]:
    return CIMultiDict((name.decode("ascii"), value.decode("ascii")) for name, value in raw)


_PROXY_STATUS: Final = "Proxy-Status"
# supabase-py reads the request of an answer only to look for `Prefer: count`, which the relay never sends.
_ASKED: Final = httpx.Request("POST", "https://data-api.invalid/")


@asynccontextmanager
async def open_http(base_url: str, *, timeout: float) -> AsyncIterator[Client]:  # noqa: ASYNC109  of each call
    """Open a client for the server of `base_url`.

    `timeout` is how many seconds a call may take; connecting takes no longer than that. The caller limits the time of
    each call, and how many run at the same time.
    """
    session = aiohttp.ClientSession(
        connector=Connector(limit=0, keepalive_timeout=IDLE_SECONDS, ssl=httpx.create_ssl_context()),
        headers={"Accept-Encoding": _IDENTITY, "User-Agent": USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, connect=min(CONNECT_SECONDS, timeout)),
        trust_env=False,
    )
    async with session, Client(session, base_url) as client:
        yield client
