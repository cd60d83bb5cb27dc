"""HTTP/1.1 to one server, over connections that are kept: one call at a time on each, whole answers only.

It knows no more of HTTP than one function call after the other needs: no redirects, cookies, proxies, compression or
retries. httptools reads the answers (llhttp, the parser of Node), aiohappyeyeballs connects, asyncio does TLS.
aiohttp's client, which does all that a browser needs, took a fifth of a delivery's processor time
(docs/performance.md).
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, cast

import aiohappyeyeballs
import httptools

# A verdict has a quarter of a KiB, a page of rows some hundred: more is a broken or hostile server.
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
MAX_HEAD_BYTES: Final = 64 * 1024
# How long an address may take until the next one is tried beside it (RFC 8305, 8).
_NEXT_ADDRESS_SECONDS: Final = 0.25
_FIRST_FINAL_STATUS: Final = 200


class ConnectTimeout(ConnectionError):
    """No connection in time: a dead host, a firewall that drops packets. Nothing was sent."""


class Unanswered(ConnectionError):
    """The connection ended before the whole answer had come."""


class BadAnswer(Exception):
    """What came is no HTTP/1 answer, a far too long one, or compressed though that was not asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. The body is as it was sent."""

    status: int
    headers: dict[bytes, bytes]
    """By lower-case name; of one that is sent twice, the last."""
    content: bytes


class Server:
    """One origin, and its idle connections. Cancelling a call closes its connection: an answer that is still to come
    must never be taken for that of the next call."""

    def __init__(
        self, host: str, port: int, *, tls: ssl.SSLContext | None, connect_seconds: float, idle_seconds: float
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._idle: deque[_Connection] = deque()
        self._is_over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._is_over = True
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def call(self, request: bytes) -> Answer:
        """Send a whole request, and wait for its answer. How many go at once, and for how long, is the caller's to
        limit.

        Raises OSError where there is no connection (ConnectTimeout, refused, DNS, TLS) or no answer (Unanswered),
        UnicodeError for a host that is no name, BadAnswer.
        """
        warm = self._warm()
        connection = warm or await self._connect()
        try:
            answer = await connection.call(request)
        except BaseException as error:
            connection.close()
            if warm and isinstance(error, OSError):
                # The others are probably as dead, and whoever tries again needs one that is not.
                self._close_idle()
            raise
        if self._is_over:
            connection.close()
        elif connection.is_open:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        return answer

    def _warm(self) -> "_Connection | None":
        """The connection that was used last, unless it has been idle for so long that the server may be closing it."""
        oldest = time.monotonic() - self._idle_seconds
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                try:
                    stream = await aiohappyeyeballs.start_connection(
                        cast(list[aiohappyeyeballs.AddrInfoType], addresses),
                        happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
                        interleave=1,
                    )
                except RuntimeError as error:  # uvloop's, for a socket that died meanwhile
                    raise ConnectionError from error
                connection = _Connection()
                try:
                    await loop.create_connection(
                        lambda: connection,
                        sock=stream,
                        ssl=self._tls,
                        server_hostname=self._host if self._tls else None,
                    )
                except BaseException:
                    # Never `stream.close()`: the loop may still watch that number, and trip over the next socket that
                    # gets it. Whoever has the socket sees its end, and closes it.
                    connection.close()
                    with contextlib.suppress(OSError):
                        stream.shutdown(socket.SHUT_RDWR)
                    raise
        except TimeoutError:
            raise ConnectTimeout from None
        return connection


class _Connection(asyncio.Protocol):
    """Calls, one after the other. httptools calls `on_…` from within `feed_data`."""

    def __init__(self) -> None:
        self.is_open = False
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Answer] | None = None
        self._received = 0
        self._headers: dict[bytes, bytes] = {}
        self._content: list[bytes] = []
        self._has_head = False

    def call(self, request: bytes) -> asyncio.Future[Answer]:
        """Send; the future has the answer, or Unanswered or BadAnswer."""
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.is_open:  # lost in the moment after it was made
            waiter.set_exception(Unanswered())
            return waiter
        self._waiter = waiter
        self._received = 0
        self._transport.write(request)
        return waiter

    def close(self) -> None:
        """At once: whatever is still under way is for nobody."""
        self.is_open = False
        self._waiter = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected, TLS included."""
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer that says neither its length nor that it comes in chunks ends with its connection
        (RFC 9112, 6.3)."""
        self.is_open = False
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if exc is None and self._has_head and not self._headers.keys() & {b"content-length", b"transfer-encoding"}:
            self.on_message_complete()
        else:
            waiter.set_exception(Unanswered())

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer; or of nothing that was asked for, which ends the connection."""
        self._received += len(data)
        if self._waiter is None:
            self.close()
        elif self._received > MAX_ANSWER_BYTES:
            self._fail()
        else:
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                self._fail()
            if self._waiter is not None and not self._has_head and self._received > MAX_HEAD_BYTES:
                self._fail()

    def _fail(self) -> None:
        waiter = self._waiter
        self.close()
        if waiter is not None and not waiter.done():
            waiter.set_exception(BadAnswer())

    def on_message_begin(self) -> None:
        """An answer, or, with nobody waiting, what follows one."""
        if self._waiter is None:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; of a trailer, too."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """What follows is the body."""
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._content.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over, unless it only says that another one follows (RFC 9110, 15.2)."""
        answer = Answer(self._parser.get_status_code(), self._headers, b"".join(self._content))
        self._headers, self._content, self._has_head = {}, [], False
        if answer.status < _FIRST_FINAL_STATUS:
            return
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done() or not self._parser.should_keep_alive():
            self.close()
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)
