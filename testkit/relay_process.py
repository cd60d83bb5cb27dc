"""The relay as operators run it: `python -m relay serve`, a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from local_stack.http_server import HttpServer, get_status
from local_stack.process import GuardedProcess
from local_stack.supabase_cli import REPOSITORY

OWN_PREFIXES = ("STRIPE_", "SUPABASE_", "RELAY_")


def inherited_environment() -> dict[str, str]:
    """Our own environment without a relay's settings: what a developer's shell may hold must not leak into a test."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OWN_PREFIXES) and name != "PORT"}


class RelayProcess(HttpServer):
    """One relay on a free port of the loopback. `env` are its settings, as `Stack.env()` gives them.

    `code` is the folder whose package `relay` runs, from the next start on. It counts as started once `ready_path`
    answers 200: by default when every precondition is met, so that a load balancer would send traffic.
    """

    name = "the relay"

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        log: Path,
        port: int | None = None,
        code: Path = REPOSITORY,
        ready_path: str = "/readyz",
    ) -> None:
        super().__init__(log=log, port=port)
        self.code = code
        self._env = env
        self._ready_path = ready_path

    @property
    def webhook_url(self) -> str:
        """Where Stripe would POST."""
        return f"{self.url}/api/stripe/webhook"

    @property
    def lifecycle_url(self) -> str:
        """Where Stripe's second endpoint would POST."""
        return f"{self.url}/api/stripe/lifecycle"

    @property
    def resident_bytes(self) -> int:
        """Its memory right now (Linux only)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def launch(self) -> GuardedProcess:
        """Start it; the secrets travel in its environment."""
        return GuardedProcess(
            [sys.executable, "-m", "relay", "serve"],
            log=self.log,
            env={**inherited_environment(), **self._env, "RELAY_HOST": self.host, "RELAY_PORT": str(self.port)},
            cwd=self.code,
            grace=25.0,  # a little more than the relay takes at most to finish the deliveries in hand
        )

    def is_ready(self) -> bool:
        """Whether `ready_path` answers 200."""
        return get_status(f"{self.url}{self._ready_path}") == 200


@asynccontextmanager
async def relay_serve(env: Mapping[str, str]) -> AsyncIterator[RelayProcess]:
    """A relay that serves, whether or not it could reconcile; this event loop may hold its Data API."""
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        relay = RelayProcess(env=env, log=Path(folder) / "relay.log", ready_path="/healthz")
        try:
            await asyncio.to_thread(relay.start)
            yield relay
        finally:
            await asyncio.to_thread(relay.stop)
