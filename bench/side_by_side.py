"""The relay and its peers in front of one stub Data API: events a second, latency, processor time, memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench import recipes
from bench.callers import press
from bench.deliveries import Deliveries
from bench.environment import settings
from bench.subject import Recipe, Subject, on_cpus, other_cpus
from local_stack.supabase_cli import REPOSITORY

CALLERS = (1, 16, 64, 256)
USUAL = 16
APPLIED, REFUSED = b'"applied"', b'"invalid_signature"'


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one server."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How long. Peers that compile while they run need ten seconds, or they look slower than they are."""

    warm_up_seconds: float = 10.0
    seconds: float = 4.0
    rounds: int = 5


async def compare(names: Sequence[str], plan: Plan, home: Path) -> dict[str, object]:
    """All rounds of all servers, interleaved, so that a noisy minute is everybody's."""
    samples: dict[str, list[Sample]] = {}
    floors: dict[str, list[float]] = {}
    with ExitStack() as stack:
        stub = Subject(
            Recipe("stub", [sys.executable, "-m", "bench.stub_data_api", "{port}"]),
            env={},
            log=home / "stub.log",
            cpus=other_cpus(),
        )
        stack.callback(stub.stop)
        stub.start()
        env = settings(stub.url)
        servers = {}
        for name in ("bare read", *names):
            servers[name] = Subject(recipes.recipe(name), env=env, log=home / f"{name.replace(' ', '-')}.log")
            stack.callback(servers[name].stop)
            servers[name].start()
        stack.enter_context(on_cpus(other_cpus()))

        async def measure(label: str, server: Subject, request: Callable[[], bytes], callers: int, word: bytes) -> None:
            before = server.cpu_seconds()
            load = await press(server.port, request, callers=callers, seconds=plan.seconds, expected=word)
            used = server.cpu_seconds() - before
            if load.wrong or not load.latencies:
                raise SystemExit(f"bench: {label} answered wrongly: {load.wrong[:1]}, see {server.log}")
            found = Sample(
                load.per_second, load.percentile(50) * 1e3, load.percentile(99) * 1e3, used / len(load.latencies) * 1e6
            )
            samples.setdefault(label, []).append(found)
            sys.stderr.write(f"bench: {label}: {found.per_second:,.0f}/s, {found.cpu_us:.0f} us\n")

        deliveries = {name: _deliveries(env, server) for name, server in servers.items()}
        for name, server in servers.items():
            await press(server.port, deliveries[name].new, callers=USUAL, seconds=plan.warm_up_seconds)
        for _ in range(plan.rounds):
            for name, server in servers.items():
                for callers in CALLERS if name != "bare read" else (USUAL,):
                    await measure(f"{name}, {callers} callers", server, deliveries[name].new, callers, APPLIED)
            if "relay" in servers:
                forged = deliveries["relay"].forged()
                await measure("relay, refusing", servers["relay"], forged, USUAL, REFUSED)
            for part, microseconds in _floors(stub.url).items():
                floors.setdefault(part, []).append(microseconds)
        peaks = {name: server.peak_bytes() / 2**20 for name, server in servers.items()}
    return {
        "plan": asdict(plan),
        "samples": {label: [asdict(each) for each in rounds] for label, rounds in samples.items()},
        "floors_us": {part: median(values) for part, values in floors.items()},
        "peak_mib": peaks,
    }


def _deliveries(env: dict[str, str], server: Subject) -> Deliveries:
    return Deliveries(env["STRIPE_WEBHOOK_SECRET"], host=f"{server.host}:{server.port}")


def _floors(supabase_url: str) -> dict[str, float]:
    """In a process of its own, with the relay's own libraries, on the subject's processor."""
    from bench.subject import SUBJECT_CPUS

    python = recipes.PARTS / "relay/bin/python"
    with on_cpus(SUBJECT_CPUS):
        done = subprocess.run(
            [python, "-m", "bench.floors", supabase_url], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
    found: dict[str, float] = json.loads(done.stdout)
    return found
