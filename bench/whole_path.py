"""The whole path on the local stack: Stripe's delivery, relay, PostgREST, Postgres; and the ready call posted straight.

Everything shares the machine's processors, as it would on one small server.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any

import psycopg

from bench import recipes
from bench.callers import press
from bench.deliveries import Deliveries, payload_of
from bench.environment import settings
from bench.shop import pending_groups
from bench.subject import Recipe, Subject, cpu_seconds
from local_stack.stack import Stack

CALLERS = 16
BURST = 32


async def follow(rounds: int, seconds: float, bursts: int, home: Path) -> dict[str, Any]:
    """Events a second of both, and the latencies of bursts of copies and of different events."""
    everywhere = os.sched_getaffinity(0)
    with ExitStack() as parts:
        stack = parts.enter_context(Stack(pool=20))
        connection = parts.enter_context(psycopg.connect(stack.dsn(), autocommit=True))
        groups = pending_groups(connection)
        prefix = Subject(
            Recipe("prefix", [sys.executable, "-m", "bench.prefix", "{port}", str(stack.postgrest.port)]),
            env={},
            log=home / "prefix.log",
            cpus=everywhere,
        )
        parts.callback(prefix.stop)
        prefix.start()
        env = settings(prefix.url, key=stack.service_role_key, webhook_secret=stack.stripe_webhook_secret)
        relay = Subject(recipes.recipe("relay"), env=env, log=home / "relay-whole-path.log", cpus=everywhere)
        parts.callback(relay.stop)
        relay.start()
        deliveries = Deliveries(stack.stripe_webhook_secret, host=f"{relay.host}:{relay.port}")
        head = (
            f"POST /rpc/reconcile_order_group_payment HTTP/1.1\r\nHost: {relay.host}\r\n"
            f"apikey: {stack.service_role_key}\r\nAuthorization: Bearer {stack.service_role_key}\r\n"
            "Content-Type: application/json\r\nContent-Profile: public\r\nAccept: */*\r\n"
        ).encode()

        def straight() -> bytes:
            content = payload_of(deliveries.body(next(groups)))
            return head + b"Content-Length: %d\r\n\r\n" % len(content) + content

        def delivered() -> bytes:
            return deliveries.request(deliveries.body(next(groups)))

        both = {"straight": (stack.postgrest.port, straight), "relay": (relay.port, delivered)}
        pids = {"relay": relay.pid, "PostgREST": stack.postgrest.pid, "Postgres": stack.postgres.server_pid}
        rates: dict[str, list[float]] = {name: [] for name in both}
        used: dict[str, list[float]] = {name: [] for name in pids}
        for number in range(rounds + 1):
            for name, (port, request) in both.items():
                before = {part: cpu_seconds(pid) for part, pid in pids.items() if pid}
                load = await press(port, request, callers=CALLERS, seconds=seconds, expected=b'applied"')
                if load.wrong:
                    raise SystemExit(f"bench: {name} answered wrongly: {load.wrong[:1]}")
                if number:  # the first one warms up
                    rates[name].append(load.per_second)
                    if name == "relay":
                        for part, seconds_before in before.items():
                            spent = cpu_seconds(pids[part] or 0) - seconds_before
                            used[part].append(spent / len(load.latencies) * 1e6)
                    sys.stderr.write(f"bench: whole path, {name}: {load.per_second:,.0f}/s\n")
        burst = await _bursts(relay.port, deliveries, groups, bursts)
        return {"per_second": rates, "cpu_us": used, "burst_ms": burst}


async def _bursts(port: int, deliveries: Deliveries, groups: Iterator[str], bursts: int) -> dict[str, dict[str, float]]:
    found: dict[str, list[float]] = {"copies": [], "different": []}
    for number in range(bursts + 1):
        copy = deliveries.request(deliveries.body(next(groups)))
        different = [deliveries.request(deliveries.body(next(groups))) for _ in range(BURST)]
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
