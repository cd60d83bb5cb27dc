"""How many connections fit: each takes a file descriptor, and some must be left for the calls of the Data API."""

import asyncio
import errno
import sys
from typing import Any, Final

from relay.data_api.client import MAX_CALLS
from relay.server.telemetry import Telemetry

# Beside the calls: the log, the event loop's own, what libraries open for a moment, the listening socket and those that
# are being accepted.
_OTHER_DESCRIPTORS: Final = 64
# What must be free again before the room counts as such: else each connection at the edge would be an episode.
_FREE_SHARE: Final = 0.1
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)


class Room:
    """Counts connections in and out. What does not fit is refused, counted, and said once until there is room again."""

    def __init__(self, telemetry: Telemetry, *, descriptors: int | None = None) -> None:
        descriptors = descriptors or _limit()
        reserved = min(MAX_CALLS + _OTHER_DESCRIPTORS, descriptors // 2)
        self.size = descriptors - reserved
        self.is_full = False
        self._telemetry = telemetry
        self.open = 0
        self._refused = 0

    def enter(self) -> bool:
        """Whether one more fits. If so, it must leave again."""
        if self.open < self.size:
            self.open += 1
            return True
        self._refuse()
        return False

    def hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's exception handler: asyncio's own says a thousand times at once that it cannot accept."""
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
        """One connection less."""
        self.open -= 1
        if self.is_full and self.open <= self.size * (1 - _FREE_SHARE):
            self.is_full = False
            self._telemetry.log.write("warning", f"room for connections again; {self._refused} were closed")


def _limit() -> int:
    """How many file descriptors this process may have."""
    try:
        import resource
    except ImportError:  # Windows
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
