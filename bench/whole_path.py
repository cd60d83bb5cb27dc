"""The whole path on the local stack: Stripe's delivery, relay, PostgREST, Postgres; and the ready call posted straight.

Everything shares the machine's processors, as it would on one small server.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import psycopg

from bench import recipes
from bench.callers import Request, press
from bench.deliveries import Deliveries, payload_of
from bench.environment import settings
from bench.shop import MOST_A_SECOND, PendingGroups
from bench.subject import Recipe, Subject, cpu_seconds
from local_stack.stack import Stack

CALLERS = (1, 16, 64)
BURST = 32
# Payments in each call that is posted straight, and how many of these calls are out at once.
TOGETHER = 16
ALL_ALONE = 64


@dataclass(frozen=True, slots=True)
class Way:
    """One way to have payments reconciled."""

    name: str
    port: int
    request: Request
    callers: int
    payments: int = 1
    """In each request."""
    relay: Subject | None = None
    """The one that it goes through."""

    @property
    def label(self) -> str:
        """Its name in the tables."""
        return f"{self.name}, {self.callers * self.payments} callers"


@dataclass(slots=True)
class Stage:
    """The local stack with order groups that wait for a payment, and what stands before it."""

    stack: Stack
    groups: PendingGroups
    home: Path
    parts: ExitStack
    env: dict[str, str] = field(default_factory=dict)
    """The settings of whoever takes deliveries."""

    def start(self, recipe: Recipe) -> Subject:
        """Start a server on all processors, with those settings."""
        log = self.home / f"{recipe.name}-whole-path.log"
        subject = Subject(recipe, env=self.env, log=log, cpus=os.sched_getaffinity(0))
        self.parts.callback(subject.stop)
        subject.start()
        return subject

    def deliveries(self, server: Subject) -> Deliveries:
        """Deliveries of Stripe's to it."""
        return Deliveries(self.stack.stripe_webhook_secret, host=f"{server.host}:{server.port}")


@contextmanager
def stage(home: Path, *, seconds: float) -> Iterator[Stage]:
    """Real PostgREST and Postgres behind a small proxy, Kong's stand-in; groups for so many seconds of payments."""
    with ExitStack() as parts:
        stack = parts.enter_context(Stack(pool=20))
        connection = parts.enter_context(psycopg.connect(stack.dsn(), autocommit=True))
        made = Stage(stack, PendingGroups(connection, seconds=seconds), home, parts)
        proxy = [sys.executable, "-m", "bench.prefix", "{port}", str(stack.postgrest.port)]
        prefix = made.start(Recipe("prefix", proxy))
        made.env = settings(prefix.url, key=stack.service_role_key, webhook_secret=stack.stripe_webhook_secret)
        yield made


async def follow(rounds: int, seconds: float, bursts: int, home: Path) -> dict[str, Any]:
    """Events a second and latencies of all ways, and the latencies of bursts of copies and of different events."""
    measured = (rounds + 1) * (3 * len(CALLERS) + 1) * seconds
    with stage(home, seconds=measured + 1 + bursts * (BURST + 1) / MOST_A_SECOND) as set_up:
        stack, groups = set_up.stack, set_up.groups
        relay = set_up.start(recipes.recipe("relay"))
        alone = set_up.start(recipes.with_few_calls(ALL_ALONE))
        deliveries = set_up.deliveries(relay)
        straight = Straight(deliveries, groups, host=relay.host, key=stack.service_role_key)

        def delivered() -> bytes:
            return deliveries.request(deliveries.body(groups.take()))

        ways = [
            way
            for callers in CALLERS
            for way in (
                Way("straight", stack.postgrest.port, straight.one, callers),
                Way("relay", relay.port, delivered, callers, relay=relay),
                Way("relay, each alone", alone.port, delivered, callers, relay=alone),
            )
        ]
        ways.append(Way("batches straight", stack.postgrest.port, straight.several, 64 // TOGETHER, TOGETHER))
        pids = {"PostgREST": stack.postgrest.pid, "Postgres": stack.postgres.server_pid}
        samples: dict[str, list[dict[str, float]]] = {way.label: [] for way in ways}
        for number in range(rounds + 1):
            for way in ways if number % 2 else reversed(ways):
                parts = pids | ({"relay": way.relay.pid} if way.relay else {})
                sample = await _sample(way, seconds, {part: pid for part, pid in parts.items() if pid})
                if number:  # the first one warms up
                    samples[way.label].append(sample)
                    sys.stderr.write(f"bench: whole path, {way.label}: {sample['per_second']:,.0f}/s\n")
        return {"samples": samples, "burst_ms": await _bursts(relay.port, deliveries, groups, bursts)}


async def _sample(way: Way, seconds: float, pids: dict[str, int]) -> dict[str, float]:
    """Events a second, milliseconds of a request, and the microseconds of processor time that each part spent on an
    event.
    """
    before = {part: cpu_seconds(pid) for part, pid in pids.items()}
    load = await press(way.port, way.request, callers=way.callers, seconds=seconds, expected=b'applied"')
    if load.wrong:
        raise SystemExit(f"bench: {way.label} answered wrongly: {load.wrong[:1]}")
    events = len(load.latencies) * way.payments
    used = {f"{part} µs": (cpu_seconds(pid) - before[part]) / events * 1e6 for part, pid in pids.items()}
    return {
        "per_second": load.per_second * way.payments,
        "p50_ms": load.percentile(50) * 1e3,
        "p99_ms": load.percentile(99) * 1e3,
        **used,
    }


class Straight:
    """Makes calls of the database functions that are ready to be posted to PostgREST."""

    def __init__(self, deliveries: Deliveries, groups: PendingGroups, *, host: str, key: str) -> None:
        self._deliveries = deliveries
        self._groups = groups
        self._headers = (
            f"HTTP/1.1\r\nHost: {host}\r\napikey: {key}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Profile: public\r\nAccept: */*\r\n"
        )

    def one(self) -> bytes:
        """A call for one payment."""
        return self._post("reconcile_order_group_payment", self._payment())

    def several(self) -> bytes:
        """A call for several payments, none of which is answered otherwise than `applied`."""
        payments = b",".join(self._payment() for _ in range(TOGETHER))
        return self._post("reconcile_order_group_payments", b'{"p_payments": [%s]}' % payments)

    def _payment(self) -> bytes:
        return payload_of(self._deliveries.body(self._groups.take()))

    def _post(self, function: str, content: bytes) -> bytes:
        head = f"POST /rpc/{function} {self._headers}Content-Length: {len(content)}\r\n\r\n"
        return head.encode() + content


async def _bursts(port: int, deliveries: Deliveries, groups: PendingGroups, bursts: int) -> dict[str, dict[str, float]]:
    found: dict[str, list[float]] = {"copies": [], "different": []}
    for number in range(bursts + 1):
        copy = deliveries.request(deliveries.body(groups.take()))
        different = [deliveries.request(deliveries.body(groups.take())) for _ in range(BURST)]
        for name, requests in (("copies", [copy] * BURST), ("different", different)):
            load = await press(
                port, iter(requests).__next__, callers=BURST, requests=BURST, expected=b'"received": true'
            )
            if load.wrong:
                raise SystemExit(f"bench: a burst was answered wrongly: {load.wrong[:1]}")
            if number:
                found[name] += load.latencies
            await asyncio.sleep(0.05)
    return {name: {"p50": _percentile(values, 50), "p99": _percentile(values, 99)} for name, values in found.items()}


def _percentile(seconds: list[float], percent: int) -> float:
    return quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1e3
