"""supabase-py's HTTP, over connections of the relay's own (relay.data_api.http1).

supabase-py asks an httpx client for everything, and of that client for `request` alone. httpx would build, merge and
wrap for several times what the call itself takes (docs/performance.md), so `request` goes straight to the connection.
What it raises is relay.data_api.http1's.
"""

import json
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, Never, cast

import httpx
from yarl import URL

from relay.data_api.http1 import Answer, BadAnswer, Server

status: Final[ContextVar[int]] = ContextVar("status")
"""The HTTP status of the last answer: supabase-py's APIError drops it whenever the body is JSON without a code, as
Kong's and Cloudflare's errors are."""


_OK: Final = 200


class _NoTransport(httpx.AsyncBaseTransport):
    """In the place of httpx's own, which must never be used unnoticed: it would follow other rules."""

    async def handle_async_request(self, request: httpx.Request) -> Never:
        raise RuntimeError(f"supabase-py calls more than `request`: {request.method}")


class Client(httpx.AsyncClient):
    """An httpx client whose requests go to one server, the caller's to close, and to no other: the `apikey` header is
    in all of them. For the same reason redirects are answers like any other.
    """

    def __init__(self, server: Server, base_url: str) -> None:
        super().__init__(transport=_NoTransport(), trust_env=False)
        self._server = server
        self._origin = URL(base_url).origin()

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
        """One request and its whole answer. Raises what Server.call does."""
        head = _head(self._origin, method, str(url), tuple(params.multi_items()) if params else (), tuple(headers.raw))
        length = b"" if content is None else b"Content-Length: %d\r\n" % len(content)
        answer = await self._server.call(b"%b%b\r\n%b" % (head, length, content or b""))
        status.set(answer.status)
        if answer.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise BadAnswer  # some KiB may become some GiB
        if answer.status == _OK:
            return cast(httpx.Response, _PlainAnswer(answer))
        return _response(answer)


class _PlainAnswer:
    """Of an httpx.Response what supabase-py asks for when all is well; the rest is asked of a real one."""

    __slots__ = ("_answer", "content")
    is_success: Final = True
    status_code: Final = _OK

    def __init__(self, answer: Answer) -> None:
        self.content = answer.content
        self._answer = answer

    @property
    def request(self) -> httpx.Request:
        return _ASKED

    def json(self) -> Any:
        return json.loads(self.content)

    def __getattr__(self, name: str) -> Any:
        return getattr(_response(self._answer), name)


def _response(answer: Answer) -> httpx.Response:
    """With the one header that supabase-py asks for: text is UTF-8, whatever a proxy's Content-Type may say."""
    reason = answer.headers.get(_PROXY_STATUS)
    headers = [] if reason is None else [(_PROXY_STATUS, reason)]
    return httpx.Response(answer.status, headers=headers, content=answer.content, request=_ASKED)


# A relay calls a handful of addresses, each with the same headers again and again.
@lru_cache(maxsize=32)
def _head(
    origin: URL, method: str, url: str, params: tuple[tuple[str, str], ...], headers: tuple[tuple[bytes, bytes], ...]
) -> bytes:
    """The request's head but for the body's length. Raises RuntimeError for what would be another request or another
    server's."""
    target = URL(url)
    if target.origin() != origin:
        raise RuntimeError("an address of another server")
    if params:
        target = target.update_query(list(params))
    lines = [
        f"{method} {target.raw_path_qs} HTTP/1.1".encode("ascii"),
        b"Host: " + (target.host_port_subcomponent or "").encode("ascii"),
        b"Accept: */*",
        b"Accept-Encoding: identity",
        *(name + b": " + value for name, value in headers),
    ]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise RuntimeError("a line break in a request's head")
    return b"\r\n".join([*lines, b""])


# Where PostgREST's own words got lost on the way, its error code may be in here.
_PROXY_STATUS: Final = b"proxy-status"
# supabase-py looks at the request of an answer only for a `Prefer: count`, which is never sent.
_ASKED: Final = httpx.Request("POST", "https://data-api.invalid/")
