"""A relay on a real socket, in front of a Data API."""

import io
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from relay.config import Settings
from relay.server.app import CONNECTION_LIMIT, answer_unparsable, make_app
from relay.server.connections import Runner
from relay.server.lifecycle import PATH as LIFECYCLE_PATH
from relay.server.listening import open_sockets
from relay.server.telemetry import Log
from relay.server.watching import watching
from relay.server.webhook import PATH
from testkit import stripe_events
from testkit.stripe_events import Json

KEYS = {"received", "outcome", "reason", "event_id", "order_group_id"}
SECRET_KEY = f"sb_secret_{secrets.token_hex(16)}"


def environ(supabase_url: str, **changes: str) -> dict[str, str]:
    """A usable environment; keyword arguments change it."""
    return {
        "STRIPE_SECRET_KEY": stripe_events.STRIPE_KEY,
        "STRIPE_WEBHOOK_SECRET": stripe_events.WEBHOOK_SECRET,
        "SUPABASE_URL": supabase_url,
        "SUPABASE_SERVICE_ROLE_KEY": SECRET_KEY,
        "RELAY_HOST": "127.0.0.1",
        "RELAY_PORT": "0",
        **changes,
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender of a delivery got."""

    status: int
    json: Json
    headers: Mapping[str, str]

    @property
    def verdict(self) -> tuple[int, str, str | None]:
        """Status, outcome, reason: the row of the contract's table."""
        return self.status, self.json["outcome"], self.json["reason"]


class Relay:
    """A running relay, as whoever sends to it sees it."""

    def __init__(self, app: web.Application, url: str, output: io.BytesIO, http: aiohttp.ClientSession) -> None:
        self.app = app
        self.url = url
        self.http = http
        self._output = output

    @property
    def output(self) -> str:
        """Everything that was logged."""
        return self._output.getvalue().decode()

    @property
    def lines(self) -> list[Json]:
        """The log, parsed."""
        return [json.loads(line) for line in self.output.splitlines()]

    async def send(
        self,
        body: bytes,
        headers: Mapping[str, str],
        *,
        method: str = "POST",
        chunked: bool | None = None,
        path: str = PATH,
    ) -> Answer:
        """One request on the webhook route, or another one. Holds every answer to the five keys."""
        async with self.http.request(
            method, self.url + path, data=io.BytesIO(body) if body else None, headers=headers, chunked=chunked
        ) as response:
            content = await response.read()
            if method == "HEAD":
                return Answer(response.status, {}, response.headers)
            answer = Answer(response.status, json.loads(content), response.headers)
            assert answer.json.keys() == KEYS
            assert answer.json["received"] is (answer.json["outcome"] != "refused")
            assert response.content_type == "application/json"
            return answer

    async def deliver(self, event: object, *, secret: str = stripe_events.WEBHOOK_SECRET) -> Answer:
        """A properly signed delivery."""
        return await self.send(*stripe_events.delivery(event, secret=secret))

    async def deliver_lifecycle(self, event: object) -> Answer:
        """A properly signed delivery on the lifecycle route."""
        body, headers = stripe_events.delivery(event, secret=stripe_events.LIFECYCLE_SECRET)
        return await self.send(body, headers, path=LIFECYCLE_PATH)

    async def get(self, path: str) -> tuple[int, str]:
        """Another route."""
        async with self.http.get(self.url + path) as response:
            return response.status, await response.text()


@asynccontextmanager
async def serving(env: Mapping[str, str], *, watches: bool = False) -> AsyncIterator[Relay]:
    """The real application on a real socket, in this process; where it `watches`, it asks its own readiness."""
    settings = Settings.from_env(env, now=time.time())
    output = io.BytesIO()
    app = make_app(settings, log=Log(settings.log_level, output))
    if watches:
        app.cleanup_ctx.append(watching)
    runner = Runner(app, refuse=answer_unparsable(app), limit=app[CONNECTION_LIMIT], shutdown_timeout=1.0)
    await runner.setup()
    try:
        (listening,) = open_sockets(settings)
        site = web.SockSite(runner, listening)
        await site.start()
        async with aiohttp.ClientSession(auto_decompress=False) as http:
            yield Relay(app, site.name, output, http)
    finally:
        await runner.cleanup()
