"""Buyers who pay without a pause, and Stripe, whose deliveries come through a balancer in front of several relays."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp

from relay.server.webhook import PATH
from testkit.invariants import broken_invariants
from testkit.project import Project
from testkit.relay_process import RelayProcess
from testkit.shop import paid
from testkit.stripe_events import Json, delivery

SENDERS = 4
# Far above what any of it takes: what would never end is ended.
PATIENCE_SECONDS = 240


class Load:
    """The balancer takes turns, and goes to the next relay where one refuses a connection or loses it, as nginx does
    with deploy/nginx.conf. The senders repeat an event until its answer is a 200, as Stripe does.

    A delivery that no relay answers is a fault, and so is any answer but a 200 to one that begins after `settle`.
    """

    def __init__(self, project: Project, relays: Sequence[RelayProcess]) -> None:
        self._project = project
        self._relays = relays
        self._turn = itertools.count()
        self._shop = asyncio.Lock()
        self._paid: list[UUID] = []
        self._progress = asyncio.Event()
        self._settled = False
        self._over = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Under load in the block; after it every event has had its 200."""
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as http, asyncio.TaskGroup() as senders:
            for _ in range(SENDERS):
                senders.create_task(self._send(http))
            yield
            self._over = True

    async def goes_on(self, count: int = 5 * SENDERS) -> None:
        """Return once that many more events have had their 200."""
        target = len(self._paid) + count
        while len(self._paid) < target:
            self._progress.clear()
            await self._progress.wait()

    def settle(self) -> None:
        """From here on nothing is done to the database that could cost a delivery its verdict."""
        self._settled = True

    def assert_all_is_paid(self) -> None:
        """Each event that had its 200 is a paid group, and money and stock add up."""
        assert len(self._paid) > 0
        unpaid = "select id from public.order_groups where id = any(%s) and status <> 'paid'"
        assert self._project.query(unpaid, self._paid) == []
        assert broken_invariants(self._project.superuser) == []

    async def _send(self, http: aiohttp.ClientSession) -> None:
        while not self._over:
            async with self._shop:
                group = await asyncio.to_thread(self._project.shop.order_group)
            event = paid(group)
            while not await self._is_taken(http, event):
                pass
            self._paid.append(group.id)
            self._progress.set()

    async def _is_taken(self, http: aiohttp.ClientSession, event: Json) -> bool:
        must_be_taken = self._settled
        first = next(self._turn)
        for place in range(len(self._relays)):
            relay = self._relays[(first + place) % len(self._relays)]
            body, headers = delivery(event, secret=self._project.stack.stripe_webhook_secret)
            try:
                async with http.post(relay.url + PATH, data=body, headers=headers) as response:
                    answer = await response.json()
            except aiohttp.ClientError:
                continue
            assert response.status == 200 or not must_be_taken, answer
            return response.status == 200
        raise AssertionError("no relay answered")
