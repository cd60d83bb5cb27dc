"""The server's connections: their limits, and what aiohttp lacks, time-outs for a request's head and for taking an
answer, and an answer of the relay's own to bytes that are no HTTP. tests/test_private_parts.py names the parts of
aiohttp that this stands on.

aiohttp's keep-alive timer closes a connection that is idle, but it cannot tell an idle proxy connection,
which should live for more than a minute, from a sender who drips a head byte by byte. This server can: from
the first byte of a head (or from the connection's start) the sender has HEAD_SECONDS to finish it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from relay.server.room import Room

Refusal = Callable[[], web.Response]

HEAD_SECONDS: Final = 10.0
# Longer than the usual idle limit of load balancers (60 s), so that it is they who close: the other way
# round, a request now and then meets a connection that is just being closed.
KEEPALIVE_SECONDS: Final = 75.0
# How long the rest of an unread body may still come in after its answer, so that the sender can read the
# answer before the connection is closed.
LINGERING_SECONDS: Final = 2.0
# How long an answer may wait for its reader, from when the connection takes no more, or is to be closed.
TAKING_SECONDS: Final = 10.0
# What a handler that was told to end has for it.
_CANCELLING_SECONDS: Final = 1.0

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
    """One connection with a deadline for each request's head, and one for what its reader does not take."""

    __slots__ = ("_deadline", "_expected_after", "_is_in", "_refuse", "_room", "_untaken", "_wire")

    def __init__(self, manager: web.Server, refuse: Refusal, room: Room, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._refuse = refuse
        self._room = room
        self._is_in = False
        self._expected_after = -1
        self._deadline: asyncio.TimerHandle | None = None
        self._untaken: asyncio.TimerHandle | None = None
        # aiohttp forgets its transport when it closes it, though there may be bytes that nobody takes.
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect a head, where there is room for one more."""
        self._is_in = self._room.enter()
        if not self._is_in:
            cast(asyncio.Transport, transport).abort()
            return
        super().connection_made(transport)
        self._wire = self.transport
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the timers. They would keep this object for HEAD_SECONDS: gigabytes, where somebody connects and
        hangs up as fast as they can."""
        if not self._is_in:
            return
        self._room.leave()
        for timer in (self._deadline, self._untaken):
            if timer is not None:
                timer.cancel()
        self._wire = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; if no whole head has come out of it, expect the rest."""
        super().data_received(data)
        if data and self._awaits_head():
            self._expect_head()

    def pause_writing(self) -> None:
        """The other side does not read: it has TAKING_SECONDS to begin."""
        super().pause_writing()
        self._limit_taking()

    def resume_writing(self) -> None:
        """It reads. A connection that is to be closed keeps its deadline, for there is no other end to it."""
        super().resume_writing()
        if self._untaken is not None and self._wire is not None and not self._wire.is_closing():
            self._untaken.cancel()
            self._untaken = None

    async def start(self) -> None:
        """Handle requests until the last one, whose answer has TAKING_SECONDS too."""
        try:
            await super().start()
        finally:
            self._limit_closing()

    def force_close(self) -> None:
        """Close, which waits for the other side to take what was written."""
        super().force_close()
        self._limit_closing()

    def abort(self) -> None:
        """Close at once; what was not taken is lost."""
        if self._wire is not None:
            self._wire.abort()

    def _limit_closing(self) -> None:
        if self._wire is not None and self._wire.is_closing() and self._wire.get_write_buffer_size():
            self._limit_taking()

    def _limit_taking(self) -> None:
        if self._untaken is None:
            self._untaken = asyncio.get_running_loop().call_later(TAKING_SECONDS, self.abort)

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

    def __init__(self, like: web.Server, refuse: Refusal, room: Room) -> None:
        super().__init__(like.request_handler, request_factory=like.request_factory)
        self._refuse = refuse
        self._room = room

    def __call__(self) -> RequestHandler:
        """A protocol for a new connection."""
        return Connection(self, self._refuse, self._room, loop=asyncio.get_running_loop(), **HANDLER_ARGS)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  aiohttp's
        """Finish what is in hand, for that many seconds, and cut what is left. aiohttp would wait twice as long, and
        then for readers who never read."""
        left = [each for each in self.connections if isinstance(each, Connection)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if timeout is None else timeout + _CANCELLING_SECONDS):
                await super().shutdown(timeout)
        for each in left:
            each.abort()


class Runner(web.AppRunner):
    """Serves an application on such connections, as many as there is room for; `refuse` makes the answer for bytes that
    are no HTTP."""

    __slots__ = ("_refuse", "_room")

    def __init__(self, app: web.Application, *, refuse: Refusal, room: Room, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self._refuse = refuse
        self._room = room

    async def _make_server(self) -> web.Server:
        return Server(await super()._make_server(), self._refuse, self._room)
