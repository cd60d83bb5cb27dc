"""supabase-py's HTTP, over aiohttp's client. What is no good answer is raised here, classified, and nowhere else.

supabase-py asks an httpx client for everything, and of that client for `request` alone. httpx would build, merge and
wrap for several times what aiohttp takes for the call itself (docs/performance.md), so `request` goes straight to
aiohttp, which connects, keeps connections and reads HTTP.
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

# More is a broken or hostile server. A verdict has a quarter of a KiB, what readiness tells a few; pages of rows and a
# month's report are what operators read, a call at a time.
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
MAX_VERDICT_BYTES: Final = 64 * 1024
_VERDICTS: Final = frozenset(
    {"reconcile_order_group_payment", "reconcile_order_group_payments", "reconciliation_readiness"}
)
# Enough for a TLS handshake across a continent; a dead host is known well before the call's budget ends.
CONNECT_SECONDS: Final = 3.0
# Shorter than the idle limits of the usual proxies, so that a pooled connection is rarely a dead one.
IDLE_SECONDS: Final = 15.0
_IDENTITY: Final = "identity"


class Connector(aiohttp.TCPConnector):
    """Keeps connections, as aiohttp's does, but for those on which something came that nobody had asked for: aiohttp
    would take it for the answer of the next call."""

    async def _get(self, key: Any, traces: Any) -> Any:
        while connection := await super()._get(key, traces):
            # Compared with None, because it is a queue, and falsy while nothing is in it.
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None


class _NoTransport(httpx.AsyncBaseTransport):
    """In the place of httpx's own, which must never be used unnoticed: it would follow other rules."""

    async def handle_async_request(self, request: httpx.Request) -> Never:
        raise RuntimeError(f"supabase-py calls more than `request`: {request.method}")


class Client(httpx.AsyncClient):
    """An httpx client whose requests a session of aiohttp makes, to one server and to no other: the `apikey` header is
    in all of them. For the same reason redirects are not followed.
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
        """One request and its whole answer, which is a success and JSON or empty. Raises NoVerdict or Declined.

        What else supabase-py may come to pass one day must not be left out unnoticed.
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
                json.loads(body)  # supabase-py reads it again, and would take what is no JSON for text
        except Exception as error:  # classified, counted and logged; whatever it is, there is no verdict
            failure = failures.from_exception(error)
        else:
            if response.is_success:
                return response
            failure = failures.from_answer(response)
        # Not chained: the causes quote payloads and addresses.
        raise failure


async def _body_of(answer: aiohttp.ClientResponse, longest: int) -> bytes:
    """All of it, which is that many bytes at most. Raises BadAnswer, aiohttp.ClientError."""
    if answer.headers.get("Content-Encoding", _IDENTITY).lower() != _IDENTITY:
        raise BadAnswer  # some KiB may become some GiB
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > longest:
            raise BadAnswer
    return bytes(body)


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """The one header that matters: where PostgREST's own words got lost on the way, its error code may be in there.
    Without a Content-Type text is UTF-8, whatever a proxy's may say."""
    reason = answer.headers.get(_PROXY_STATUS)
    return {} if reason is None else {_PROXY_STATUS: reason}


# A relay calls a handful of addresses, each with the same headers again and again.
@lru_cache(maxsize=32)
def _url(text: str) -> URL:
    return URL(text)


@lru_cache(maxsize=32)
def _headers(raw: tuple[tuple[bytes, bytes], ...]) -> CIMultiDict[str]:
    return CIMultiDict((name.decode("ascii"), value.decode("ascii")) for name, value in raw)


_PROXY_STATUS: Final = "Proxy-Status"
# supabase-py looks at the request of an answer only for a `Prefer: count`, which is never sent.
_ASKED: Final = httpx.Request("POST", "https://data-api.invalid/")


@asynccontextmanager
async def open_http(base_url: str, *, timeout: float) -> AsyncIterator[Client]:  # noqa: ASYNC109  of each call
    """Connections to the server of `base_url`. `timeout` is how many seconds a call may take as a whole, which the
    caller sees to, as to how many go at once: connecting takes no longer."""
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
