"""The relay as operators run it: `python -m relay serve`, a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from local_stack.http_server import HttpServer, get_status
from local_stack.process import GuardedProcess
from local_stack.supabase_cli import REPOSITORY

# What a developer's shell may hold must not leak into this relay.
OWN_PREFIXES = ("STRIPE_", "SUPABASE_", "RELAY_")


class RelayProcess(HttpServer):
    """One relay on a free port of the loopback. `env` are its settings, as `Stack.env()` gives them.

    `code` is the folder whose package `relay` runs, from the next start on.
    """

    name = "the relay"

    def __init__(self, *, env: Mapping[str, str], log: Path, port: int | None = None, code: Path = REPOSITORY) -> None:
        super().__init__(log=log, port=port)
        self.code = code
        self._env = env

    @property
    def webhook_url(self) -> str:
        """Where Stripe would POST."""
        return f"{self.url}/api/stripe/webhook"

    def launch(self) -> GuardedProcess:
        """Start it; the secrets travel in its environment."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(OWN_PREFIXES) and name != "PORT"
        }
        return GuardedProcess(
            [sys.executable, "-m", "relay", "serve"],
            log=self.log,
            env={**inherited, **self._env, "RELAY_HOST": self.host, "RELAY_PORT": str(self.port)},
            cwd=self.code,
            grace=25.0,  # a little more than the relay takes at most to finish the deliveries in hand
        )

    def is_ready(self) -> bool:
        """Every precondition is met; only then would a load balancer send traffic."""
        return get_status(f"{self.url}/readyz") == 200
