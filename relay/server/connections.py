"""The server's connections. They add to aiohttp's: a limit on their number, a time-out for a request's head, a time-out
for reading an answer, and the relay's own answer to bytes that are no HTTP.

aiohttp's keep-alive timer closes idle connections. It cannot distinguish an idle connection of a proxy, which should
live for more than a minute, from a sender who sends a head byte by byte. These connections do: from the first byte of
a head, or from the start of the connection, the sender has HEAD_SECONDS to finish the head.

tests/test_private_parts.py names the private parts of aiohttp that are used here.
"""

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from relay.server.connection_limit import ConnectionLimit

Refusal = Callable[[], web.Response]
"""Makes the answer to bytes that are no HTTP."""

HEAD_SECONDS: Final = 10.0
# Longer than the usual idle limit of load balancers (60 s), so that the balancer closes the connection. If the relay
# did, it would now and then close a connection on which a request is just arriving.
KEEPALIVE_SECONDS: Final = 75.0
# After an answer, the rest of an unread body is read for so long, so that the sender can read the answer before the
# connection is closed.
LINGERING_SECONDS: Final = 2.0
# How long the other side may leave an answer unread once the send buffer is full or the connection is being closed.
TAKING_SECONDS: Final = 10.0
# How long a cancelled handler may take to end.
_CANCELLING_SECONDS: Final = 1.0

# aiohttp stops reading from a connection while twice as many bytes wait for the handler. Its default would let each
# connection fill half a megabyte; most events fit into this.
READ_BUFFER_BYTES: Final = 16 * 1024

HANDLER_ARGS: Final[dict[str, Any]] = {
    "read_bufsize": READ_BUFFER_BYTES,
    # The signature covers the bytes as they were sent.
    "auto_decompress": False,
    # relay.server.telemetry writes one line per delivery instead.
    "access_log": None,
    "keepalive_timeout": KEEPALIVE_SECONDS,
    "lingering_time": LINGERING_SECONDS,
}


class Connection(RequestHandler):
    """One connection, with a deadline for the head of each request and one for reading the answers."""

    __slots__ = (
        "_expected_after",
        "_head_deadline",
        "_is_counted",
        "_last_transport",
        "_limit",
        "_reading_deadline",
        "_refuse",
    )

    def __init__(self, manager: web.Server, refuse: Refusal, limit: ConnectionLimit, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._refuse = refuse
        self._limit = limit
        self._is_counted = False
        self._expected_after = -1
        self._head_deadline: asyncio.TimerHandle | None = None
        self._reading_deadline: asyncio.TimerHandle | None = None
        # aiohttp drops its reference when it closes the transport, although unsent bytes may keep that open.
        self._last_transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the head's deadline; close the connection at once where it is over the limit."""
        self._is_counted = self._limit.enter()
        if not self._is_counted:
            cast(asyncio.Transport, transport).abort()
            return
        super().connection_made(transport)
        self._last_transport = self.transport
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel the timers. They would keep this object in memory for HEAD_SECONDS, which is gigabytes where somebody
        connects and hangs up as fast as possible.
        """
        if not self._is_counted:
            return
        self._limit.leave()
        for timer in (self._head_deadline, self._reading_deadline):
            if timer is not None:
                timer.cancel()
        self._last_transport = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; while a head is incomplete, its deadline runs."""
        super().data_received(data)
        if data and self._awaits_head():
            self._expect_head()

    def pause_writing(self) -> None:
        """The other side does not read. It has TAKING_SECONDS to begin."""
        super().pause_writing()
        self._limit_reading()

    def resume_writing(self) -> None:
        """The other side reads again. A connection that is being closed keeps its deadline, which alone ensures its
        end.
        """
        super().resume_writing()
        if (
            self._reading_deadline is not None
            and self._last_transport is not None
            and not self._last_transport.is_closing()
        ):
            self._reading_deadline.cancel()
            self._reading_deadline = None

    async def start(self) -> None:
        """Handle all requests. The last answer must be read within TAKING_SECONDS too."""
        try:
            await super().start()
        finally:
            self._limit_closing()

    def abort(self) -> None:
        """Close the connection at once. What the other side has not read is lost."""
        if self._last_transport is not None:
            self._last_transport.abort()

    def _limit_closing(self) -> None:
        if (
            self._last_transport is not None
            and self._last_transport.is_closing()
            and self._last_transport.get_write_buffer_size()
        ):
            self._limit_reading()

    def _limit_reading(self) -> None:
        if self._reading_deadline is None:
            self._reading_deadline = asyncio.get_running_loop().call_later(TAKING_SECONDS, self.abort)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are no HTTP. aiohttp would quote them in its answer, and log a traceback each time."""
        if status != HTTPStatus.BAD_REQUEST:
            return super().handle_error(request, status, exc, message)
        response = self._refuse()
        response.force_close()
        return response

    def _awaits_head(self) -> bool:
        """Whether no request is being handled, so that the next bytes belong to a head."""
        return self._waiter is not None and not self._waiter.done()

    def _expect_head(self) -> None:
        """Start the deadline once per head. A sender who sends byte by byte must not start it anew with each byte."""
        if self._expected_after != self._request_count:
            self._expected_after = self._request_count
            if self._head_deadline is not None:
                self._head_deadline.cancel()
            loop = asyncio.get_running_loop()
            self._head_deadline = loop.call_later(HEAD_SECONDS, self._close_unless_beyond, self._request_count)

    def _close_unless_beyond(self, request_count: int) -> None:
        """Close the connection if no head has arrived since `request_count` requests."""
        if self._request_count == request_count and self._awaits_head():
            self.force_close()


class Server(web.Server):
    """Makes a Connection per accepted socket."""

    def __init__(self, like: web.Server, refuse: Refusal, limit: ConnectionLimit) -> None:
        super().__init__(like.request_handler, request_factory=like.request_factory)
        self._refuse = refuse
        self._limit = limit

    def __call__(self) -> RequestHandler:
        """The protocol of a new connection."""
        return Connection(self, self._refuse, self._limit, loop=asyncio.get_running_loop(), **HANDLER_ARGS)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  aiohttp's
        """Finish the deliveries in hand within `timeout` seconds, then close what is left. aiohttp would wait twice as
        long, and after that for readers who never read.
        """
        left = [each for each in self.connections if isinstance(each, Connection)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if timeout is None else timeout + _CANCELLING_SECONDS):
                await super().shutdown(timeout)
        for each in left:
            each.abort()


class Runner(web.AppRunner):
    """Serves an application on such connections, up to `limit`. `refuse` answers bytes that are no HTTP."""

    __slots__ = ("_limit", "_refuse")

    def __init__(self, app: web.Application, *, refuse: Refusal, limit: ConnectionLimit, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self._refuse = refuse
        self._limit = limit

    async def _make_server(self) -> web.Server:
        return Server(await super()._make_server(), self._refuse, self._limit)
