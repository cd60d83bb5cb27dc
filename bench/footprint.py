"""How long a relay takes until it serves, and how large it is then."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import psutil

from bench import recipes
from bench.environment import settings
from bench.subject import Subject

STARTS = 7
LONGEST_SECONDS = 30.0


def starts(home: Path) -> dict[str, list[float]]:
    """Seconds from the start to the first connection that is taken, and MiB then, of several starts."""
    found: dict[str, list[float]] = {"seconds": [], "mib": []}
    for _ in range(STARTS):
        relay = _Watched(recipes.recipe("relay"), env=settings("http://127.0.0.1:9"), log=home / "start.log")
        relay.start()
        found["seconds"].append(relay.took)
        assert relay.pid is not None  # noqa: S101  for the type: it has been started
        found["mib"].append(psutil.Process(relay.pid).memory_info().rss / 2**20)
        relay.stop()
    return found


class _Watched(Subject):
    """Looks more often than a start usually needs."""

    took = 0.0
    _since = 0.0

    def is_ready(self) -> bool:
        self._since = self._since or time.perf_counter()
        while time.perf_counter() - self._since < LONGEST_SECONDS:
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
            except OSError:
                time.sleep(0.001)  # nothing tells when a server accepts; the figure is as exact as this
                continue
            self.took = time.perf_counter() - self._since
            return True
        return False
