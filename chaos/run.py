"""One run: a stack, relays, senders, faults, and the verdict."""

from __future__ import annotations

import asyncio
import random
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from chaos.database import PRODUCTS, SELLERS
from chaos.faults import Faults
from chaos.ground import Ground
from chaos.plan import Generator, Sent, batches
from chaos.proxy import Proxy
from chaos.senders import PATIENCE_SECONDS, Senders, Tally
from chaos.verdict import findings
from relay.server import lifecycle, webhook
from testkit.relay_process import RelayProcess

# More than the relays have places for, so that payments share calls.
BATCHES_AT_ONCE = 24
# Above the function's lock_timeout (3 s); shorter than the default, so that dead connections cost the run less.
RPC_TIMEOUT = "4"
SHOWN_FINDINGS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of everything."""

    events: int
    copies: int
    faults: int
    relays: int


SHORT = Size(events=2_000, copies=5, faults=44, relays=3)
FULL = Size(events=20_000, copies=5, faults=420, relays=4)


@dataclass(slots=True)
class Report:
    """What a run has come to."""

    seed: int
    size: Size
    deliveries: int = 0
    tally: Tally = field(default_factory=Tally)
    faults: dict[str, int] = field(default_factory=dict)
    idle_faults: int = 0
    relay_retries: int = 0
    relay_calls: int = 0
    shared_calls: int = 0
    """How many of these took several payments."""
    payments_called_for: int = 0
    seconds: float = 0.0
    seconds_to_quiet: float = 0.0
    """From the last fault to the last answer."""
    findings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        tally = self.tally
        return {
            "seed": self.seed,
            "events": self.size.events,
            "deliveries": self.deliveries,
            "attempts": tally.attempts,
            "retries": tally.retries,
            "retries_inside_relays": self.relay_retries,
            "calls_of_relays": self.relay_calls,
            "shared_calls": self.shared_calls,
            "payments_called_for": self.payments_called_for,
            "answers": dict(tally.answers.most_common()),
            "no_answer": dict(tally.no_answer.most_common()),
            "faults": self.faults,
            "faults_that_hit_nothing": self.idle_faults,
            "in_flight_when_struck": dict(tally.struck),
            "without_verdict_when_struck": dict(tally.failed),
            "seconds": round(self.seconds, 1),
            "seconds_to_quiet": round(self.seconds_to_quiet, 1),
            "findings": self.findings[:SHOWN_FINDINGS],
        }


async def run(
    *, seed: int, size: Size, say: Callable[[str], None] = lambda _: None, ground: type[Ground] = Ground
) -> Report:
    """Run it. Raises StackError where a part is missing or does not come back."""
    report = Report(seed, size)
    generator = Generator(seed, sellers=SELLERS, products=PRODUCTS)
    scenarios = list(generator.scenarios(size.events))
    plan = batches(scenarios, size.copies, generator.rng)
    report.deliveries = sum(map(len, plan))
    with ExitStack() as parts:
        logs = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        there = parts.enter_context(ground())
        stack = there.stack
        await asyncio.to_thread(there.fill, scenarios)
        say(f"{report.deliveries:,} deliveries of {size.events:,} events, {size.faults} faults")
        async with Proxy(stack.gateway.port).listening() as proxy:
            lifecycle_secret = f"whsec_{secrets.token_hex(24)}"
            env = {
                **stack.env(),
                "SUPABASE_URL": f"http://127.0.0.1:{proxy.port}",
                "RELAY_RPC_TIMEOUT": RPC_TIMEOUT,
                "STRIPE_LIFECYCLE_WEBHOOK_SECRET": lifecycle_secret,
            }
            own = {webhook.PATH: stack.stripe_webhook_secret, lifecycle.PATH: lifecycle_secret}
            relays = [RelayProcess(env=env, log=logs / f"relay-{number}.log") for number in range(size.relays)]
            for relay in relays:
                parts.callback(relay.stop)
                await asyncio.to_thread(relay.start)
            await _send(report, there, relays, proxy, plan_rng=generator.rng, plan=plan, secrets_of_routes=own, say=say)
            counted = [await _series(relay) for relay in relays]
            report.relay_retries = _sum(counted, "relay_rpc_retries_total")
            report.relay_calls = _sum(counted, "relay_payments_per_call_count")
            report.shared_calls = report.relay_calls - _sum(counted, 'relay_payments_per_call_bucket{le="1.0"}')
            report.payments_called_for = _sum(counted, "relay_payments_per_call_sum")
            for relay in relays:
                await asyncio.to_thread(relay.stop)
        state = await asyncio.to_thread(there.look)
        lines = [line for relay in relays for line in relay.log.read_text().splitlines()]
        kills = report.faults.get("relay killed", 0)
        report.findings += findings(scenarios, report.tally, state, lines, kills=kills)
    return report


async def _send(
    report: Report,
    there: Ground,
    relays: list[RelayProcess],
    proxy: Proxy,
    *,
    plan_rng: random.Random,
    plan: list[list[Sent]],
    secrets_of_routes: dict[str, str],
    say: Callable[[str], None],
) -> None:
    """Send, while faults strike at even steps of the deliveries that are done."""
    started = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        ports = [relay.port for relay in relays]
        senders = Senders(ports, secrets_of_routes, random.Random(plan_rng.random()), http)
        faults = Faults(there, relays, proxy, senders, random.Random(plan_rng.random()))
        kinds = faults.schedule(report.size.faults)
        progress = asyncio.Event()
        senders.on_finished = progress.set
        sending = asyncio.create_task(senders.send_all(plan, at_once=BATCHES_AT_ONCE))
        step = report.deliveries / (len(kinds) + 1)
        quiet_since = started
        for number, kind in enumerate(kinds, start=1):
            while senders.tally.finished < number * step and not sending.done():
                progress.clear()
                await progress.wait()
            if sending.done():
                break
            await faults.strike(kind)
            quiet_since = time.monotonic()
            say(f"fault {number} of {len(kinds)}: {kind}, {senders.tally.finished:,} deliveries done")
        await sending
        report.seconds_to_quiet = time.monotonic() - quiet_since
        await faults.recovered()
    report.tally = senders.tally
    report.faults = dict(faults.struck)
    report.idle_faults = faults.idle
    report.seconds = time.monotonic() - started


async def _series(relay: RelayProcess) -> dict[str, float]:
    """What the relay has counted since its last start."""
    async with aiohttp.ClientSession() as http, http.get(f"{relay.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def _sum(counted: list[dict[str, float]], beginning: str) -> int:
    return int(sum(value for series in counted for name, value in series.items() if name.startswith(beginning)))
