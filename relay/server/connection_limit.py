"""Limits the number of open connections. Each needs a file descriptor, and the calls of the Data API need some too."""

import asyncio
import errno
import sys
from typing import Any, Final

from relay.data_api.client import MAX_CALLS
from relay.server.telemetry import Telemetry

# File descriptors for everything else: the log, the event loop, files that libraries open for a moment, the listening
# socket, and connections that are just being accepted.
_OTHER_DESCRIPTORS: Final = 64
# The share of connections that must be free before the limit counts as left. Otherwise every single connection that
# comes and goes at the limit would be logged.
_FREE_SHARE: Final = 0.1
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
# A connection keeps its descriptor for about four turns of asyncio's loop from being accepted to being refused, so that
# _OTHER_DESCRIPTORS has room for five times as many.
_ACCEPTED_AT_ONCE: Final = 8


class ConnectionLimit:
    """Counts open connections, and refuses those over the limit.

    Each refusal is counted in the metrics. The log has one line when the limit is reached, and one when it is left.
    `descriptors` is how many file descriptors the process may have; without it the operating system is asked.
    """

    def __init__(self, telemetry: Telemetry, *, descriptors: int | None = None) -> None:
        descriptors = descriptors or _descriptor_limit()
        reserved = min(MAX_CALLS + _OTHER_DESCRIPTORS, descriptors // 2)
        self.size = descriptors - reserved
        self.is_full = False
        self._telemetry = telemetry
        self.open = 0
        self._refused = 0

    def enter(self) -> bool:
        """Count one more connection if the limit allows it, and return whether it does. `leave` must follow then."""
        if self.open < self.size:
            self.open += 1
            return True
        self._refuse()
        return False

    def handle_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle exceptions of the event loop. Where no connection can be accepted for want of file descriptors,
        asyncio's own handler would log a thousand tracebacks at once; such a failure counts as a refused connection
        instead.
        """
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _NO_DESCRIPTOR and "accept" in context["message"]:
            self._refuse()
        else:
            loop.default_exception_handler(context)

    def _refuse(self) -> None:
        if not self.is_full:
            self.is_full = True
            self._refused = 0
            self._telemetry.log.write(
                "error", f"EMFILE: no room for more than {self.size} connections, further ones are closed"
            )
        self._refused += 1
        self._telemetry.metrics.connections_refused.inc()

    def leave(self) -> None:
        """Count one connection less."""
        self.open -= 1
        if self.is_full and self.open <= self.size * (1 - _FREE_SHARE):
            self.is_full = False
            self._telemetry.log.write("warning", f"room for connections again; {self._refused} were closed")


class SelectorEventLoop(asyncio.SelectorEventLoop):
    """asyncio's own event loop, which accepts a few connections per turn.

    asyncio accepts as many at once as the kernel holds, before the limit is asked about the first of them, so that a
    crowd takes all descriptors. Then it tries the others in vain, reports each, and accepts nobody for a second. uvloop
    and asyncio's loop for Windows accept one after another.
    """

    def _accept_connection(
        self,
        protocol_factory: Any,
        sock: Any,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        *rest: Any,
    ) -> None:
        at_once = min(backlog, _ACCEPTED_AT_ONCE)
        super()._accept_connection(protocol_factory, sock, sslcontext, server, at_once, *rest)  # type: ignore[misc]


def _descriptor_limit() -> int:
    """How many file descriptors this process may have."""
    try:
        import resource
    except ImportError:  # Windows
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
