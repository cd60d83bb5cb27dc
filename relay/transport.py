"""supabase-py's HTTP, over aiohttp's client.

supabase-py asks an httpx client for everything, and of that client for `request` alone. httpx would build, merge and
wrap for several times what aiohttp takes for the call itself (bench/ has the figures), so `request` goes straight to
aiohttp. What it raises is aiohttp's.
"""

import json
from contextvars import ContextVar
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, Never, cast

import aiohttp
import httpx
from multidict import CIMultiDict
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
        target = _url(str(url))
        if params:
            target = target.update_query(params.multi_items())
        sent = _headers(tuple(headers.raw))
        async with self._session.request(method, target, data=content, headers=sent, allow_redirects=False) as answer:
            body = await answer.read()
        status.set(answer.status)
        kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        if answer.status == HTTPStatus.OK and "Content-Encoding" not in kept:
            return cast(httpx.Response, _PlainAnswer(answer.status, kept, body))
        return _response(answer.status, kept, body)


class _PlainAnswer:
    """Of an httpx.Response what supabase-py asks for when all is well; the rest is asked of a real one."""

    __slots__ = ("_headers", "content", "status_code")
    is_success: Final = True

    def __init__(self, status_code: int, headers: dict[str, str], content: bytes) -> None:
        self.status_code = status_code
        self.content = content
        self._headers = headers

    @property
    def request(self) -> httpx.Request:
        return _ASKED

    def json(self) -> Any:
        return json.loads(self.content)

    def __getattr__(self, name: str) -> Any:
        return getattr(_response(self.status_code, self._headers, self.content), name)


def _response(status_code: int, headers: dict[str, str], content: bytes) -> httpx.Response:
    return httpx.Response(status_code, headers=headers, content=content, request=_ASKED)


# A relay calls a handful of addresses, each with the same headers again and again.
@lru_cache(maxsize=32)
def _url(text: str) -> URL:
    return URL(text)


@lru_cache(maxsize=32)
def _headers(raw: tuple[tuple[bytes, bytes], ...]) -> CIMultiDict[str]:
    return CIMultiDict((name.decode("ascii"), value.decode("ascii")) for name, value in raw)


# What makes text of the bytes; supabase-py asks for no other header.
_KEPT: Final = ("Content-Type", "Content-Encoding")
# supabase-py looks at the request of an answer only for a `Prefer: count`, which is never sent.
_ASKED: Final = httpx.Request("POST", "https://data-api.invalid/")
