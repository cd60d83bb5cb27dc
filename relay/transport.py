"""supabase-py's HTTP, over aiohttp's client.

supabase-py asks an httpx client for everything, and of that client for `request` alone. httpx would build, merge and
wrap for several times what aiohttp takes for the call itself (bench/ has the figures), so `request` goes straight to
aiohttp. What it raises is aiohttp's.
"""

from contextvars import ContextVar
from typing import Any, Final, Never

import aiohttp
import httpx
from yarl import URL

status: Final[ContextVar[int]] = ContextVar("status")
"""The HTTP status of the last answer: supabase-py's APIError drops it whenever the body is JSON without a code, as
Kong's and Cloudflare's errors are."""


class _NoTransport(httpx.AsyncBaseTransport):
    """In the place of httpx's own, which must never be used unnoticed: it would follow other rules."""

    async def handle_async_request(self, request: httpx.Request) -> Never:
        raise RuntimeError(f"supabase-py calls more than `request`: {request.method}")


class Client(httpx.AsyncClient):
    """An httpx client whose requests a session of aiohttp makes. The session is the caller's to close, and must not
    decompress: the response that is returned does.

    Redirects are not followed: the `apikey` header would go to whatever host the redirect names.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__(transport=_NoTransport(), trust_env=False)
        self._session = session

    async def request(
        self,
        method: str,
        url: httpx.URL | str,
        *,
        content: Any = None,
        params: Any = None,
        headers: Any = None,
        **_: Any,
    ) -> httpx.Response:
        """One request and its whole answer. Raises aiohttp.ClientError, TimeoutError or httpx.DecodingError."""
        target = URL(str(url))
        if params:
            target = target.update_query(params.multi_items())
        sent = [(name.decode("ascii"), value.decode("ascii")) for name, value in headers.raw]
        async with self._session.request(method, target, data=content, headers=sent, allow_redirects=False) as answer:
            body = await answer.read()
        status.set(answer.status)
        kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        return httpx.Response(answer.status, headers=kept, content=body, request=_ASKED)


# What makes text of the bytes; supabase-py asks for no other header.
_KEPT: Final = ("Content-Type", "Content-Encoding")
# supabase-py looks at the request of an answer only for a `Prefer: count`, which is never sent.
_ASKED: Final = httpx.Request("POST", "https://data-api.invalid/")
