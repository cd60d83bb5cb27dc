"""The server's connections: their limits, and what aiohttp lacks, a time-out for a request's head and an answer of the
relay's own to bytes that are no HTTP. tests/test_private_parts.py names the parts of aiohttp that this stands on.

aiohttp's keep-alive timer closes a connection that is idle, but it cannot tell an idle proxy connection,
which should live for more than a minute, from a sender who drips a head byte by byte. This server can: from
the first byte of a head (or from the connection's start) the sender has HEAD_SECONDS to finish it.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

Refusal = Callable[[], web.Response]

HEAD_SECONDS: Final = 10.0
# Longer than the usual idle limit of load balancers (60 s), so that it is they who close: the other way
# round, a request now and then meets a connection that is just being closed.
KEEPALIVE_SECONDS: Final = 75.0
# How long the rest of an unread body may still come in after its answer, so that the sender can read the
# answer before the connection is closed.
LINGERING_SECONDS: Final = 2.0

# From twice as much on, no more is read from a sender until the handler has taken it. aiohttp's own default lets each
# connection fill half a megabyte; an event fits in this.
READ_BUFFER_BYTES: Final = 16 * 1024

HANDLER_ARGS: Final[dict[str, Any]] = {
    "read_bufsize": READ_BUFFER_BYTES,
    # The signature covers the bytes as they were sent.
    "auto_decompress": False,
    # One line per delivery is written by relay.server.telemetry.
    "access_log": None,
    "keepalive_timeout": KEEPALIVE_SECONDS,
    "lingering_time": LINGERING_SECONDS,
}


class Connection(RequestHandler):
    """One connection with a deadline for each request's head."""

    __slots__ = ("_deadline", "_expected_after", "_refuse")

    def __init__(self, manager: web.Server, refuse: Refusal, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._refuse = refuse
        self._expected_after = -1
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect a head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the timer. It would keep this object for HEAD_SECONDS: gigabytes, where somebody connects and
        hangs up as fast as they can."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; if no whole head has come out of it, expect the rest."""
        super().data_received(data)
        if data and self._awaits_head():
            self._expect_head()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are no HTTP. aiohttp would quote them, in its answer and, a traceback each, in the log."""
        if status != HTTPStatus.BAD_REQUEST:
            return super().handle_error(request, status, exc, message)
        response = self._refuse()
        response.force_close()
        return response

    def _awaits_head(self) -> bool:
        """No request is being handled: what comes is a part of the next head."""
        return self._waiter is not None and not self._waiter.done()

    def _expect_head(self) -> None:
        """Start the timer, once for each head: a dripping sender must not start one with each drop."""
        if self._expected_after != self._request_count:
            self._expected_after = self._request_count
            if self._deadline is not None:
                self._deadline.cancel()
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(HEAD_SECONDS, self._cut_unless_beyond, self._request_count)

    def _cut_unless_beyond(self, request_count: int) -> None:
        """Close if the head that was expected then has still not arrived."""
        if self._request_count == request_count and self._awaits_head():
            self.force_close()


class Server(web.Server):
    """Makes such connections."""

    def __init__(self, like: web.Server, refuse: Refusal) -> None:
        super().__init__(like.request_handler, request_factory=like.request_factory)
        self._refuse = refuse

    def __call__(self) -> RequestHandler:
        """A protocol for a new connection."""
        return Connection(self, self._refuse, loop=asyncio.get_running_loop(), **HANDLER_ARGS)


class Runner(web.AppRunner):
    """Serves an application on such connections; `refuse` makes the answer for bytes that are no HTTP."""

    __slots__ = ("_refuse",)

    def __init__(self, app: web.Application, *, refuse: Refusal, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self._refuse = refuse

    async def _make_server(self) -> web.Server:
        return Server(await super()._make_server(), self._refuse)
