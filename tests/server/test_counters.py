"""What is counted in is counted out, over deliveries of every kind; a second is a second wherever it is told."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import pytest

from relay.core.outcomes import Outcome, Reason, Verdict
from relay.data_api import client
from relay.server import deliveries
from relay.server.app import DELIVERIES, TELEMETRY
from relay.server.telemetry import Delivery
from relay.server.webhook import PATH
from testkit.data_api_server import Behaviour, DataApi, Hang, Raw, Reply, Reset, Wait
from testkit.polling import until
from testkit.relay_under_test import Relay, environ, serving
from testkit.stripe_events import completed, delivery
from testkit.wire import connected

pytestmark = pytest.mark.anyio

ROUNDS = 3
# What the Data API does, and what becomes of a delivery then.
KINDS: list[tuple[Behaviour | None, str]] = [
    (None, "applied"),
    (Reply(503, {"code": "PGRST000", "message": "x"}), "failed"),
    (Reply(500, {"code": "40P01", "message": "x"}), "failed"),
    (Reply(200, "null"), "failed"),
    (Raw(b"SSH-2.0-x\r\n"), "failed"),
    (Reset(), "failed"),
    (Hang(), "failed"),
]


async def series(relay: Relay) -> dict[str, float]:
    """All that /metrics shows of the relay."""
    _, text = await relay.get("/metrics")
    return {name: float(value) for name, value in re.findall(r"^(relay_\S+) (\S+)$", text, re.MULTILINE)}


async def break_off(relay: Relay) -> None:
    """A delivery whose sender hangs up in the middle of its large body."""
    async with connected(int(relay.url.rsplit(":", 1)[1])) as wire:
        wire.send(f"POST {PATH} HTTP/1.1\r\nHost: relay\r\nContent-Length: 900000\r\n\r\n".encode() + b"x" * 100_000)
        await wire.flush()


async def test_nothing_is_left_in_hand_after_deliveries_of_every_kind(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_CALLS", 2)
    monkeypatch.setattr(client, "MAX_WAITING", 2)
    monkeypatch.setattr(deliveries, "LARGE_BODIES", 2)
    large = completed(filler="x" * 200_000)
    forged, headers = delivery(completed(), secret="whsec_of_somebody_else")
    async with serving(environ(data_api.url, RELAY_RPC_TIMEOUT="0.3")) as relay:
        for _ in range(ROUNDS):
            for behaviour, outcome in KINDS:
                data_api.always = behaviour
                answers = await asyncio.gather(*(relay.deliver(completed()) for _ in range(5)), relay.deliver(large))
                assert {answer.json["outcome"] for answer in answers} <= {outcome, "failed"}
            data_api.always = None
            await break_off(relay)
            for body, method in ((forged, "POST"), (forged, "PUT"), (b"x" * 2**21, "POST"), (b"", "POST")):
                assert (await relay.send(body, headers, method=method)).json["outcome"] == "refused"
        await relay.app[DELIVERIES].idle.wait()

        found = await series(relay)
        assert found["relay_deliveries_in_flight"] == 0
        assert found["relay_rpcs_waiting"] == 0
        # All places are free again: so many at once get through.
        answers = await asyncio.gather(*(relay.deliver(large) for _ in range(2)))
        assert {answer.verdict for answer in answers} == {(200, "applied", None)}
        answers = await asyncio.gather(*(relay.deliver(completed()) for _ in range(4)))
        assert {answer.verdict for answer in answers} == {(200, "applied", None)}


async def test_what_is_in_hand_and_what_waits_is_shown_while_it_does(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_CALLS", 2)
    async with serving(environ(data_api.url)) as relay:
        gate = Wait()
        data_api.always = gate
        sent = [asyncio.create_task(relay.deliver(completed())) for _ in range(5)]

        async def shown(holds: Callable[[dict[str, float]], bool]) -> None:
            async with asyncio.timeout(30):
                while not holds(await series(relay)):
                    pass

        await shown(lambda now: (now["relay_deliveries_in_flight"], now["relay_rpcs_waiting"]) == (5, 3))
        gate.released.set()
        await asyncio.gather(*sent)
        await shown(lambda now: (now["relay_deliveries_in_flight"], now["relay_rpcs_waiting"]) == (0, 0))


async def test_a_delivery_of_two_and_a_half_seconds_is_told_in_milliseconds_and_counted_in_seconds(
    relay: Relay,
) -> None:
    relay.app[TELEMETRY].delivered(Delivery(), Verdict(Outcome.FAILED, Reason.TIMEOUT), 2.5)

    (line,) = relay.lines
    found = await series(relay)
    assert line["duration_ms"] == 2500.0
    assert found["relay_delivery_seconds_sum"] == 2.5
    assert found['relay_delivery_seconds_bucket{le="2.0"}'] == 0
    assert found['relay_delivery_seconds_bucket{le="3.0"}'] == 1


async def test_a_call_is_measured_in_seconds_from_its_start_to_its_end_and_each_retry_is_counted(
    relay: Relay, data_api: DataApi
) -> None:
    loop = asyncio.get_running_loop()
    gate = Wait()
    data_api.script = [Reset(), gate]
    started = loop.time()
    sent = asyncio.create_task(relay.deliver(completed()))
    await until(lambda: len(data_api.calls) == 2)
    between = loop.time()
    loop.call_later(0.3, gate.released.set)
    await sent
    took = loop.time() - started

    found = await series(relay)
    assert loop.time() - between >= 0.3
    for name in ("relay_rpc_seconds", "relay_delivery_seconds"):
        assert 0.3 <= found[f"{name}_sum"] <= took
        assert found[f"{name}_count"] == 1
    assert {name: value for name, value in found.items() if name.startswith("relay_rpc_retries_total")} == {
        'relay_rpc_retries_total{reason="database_unavailable"}': 1,
        'relay_rpc_retries_total{reason="contract_violation"}': 0,
        'relay_rpc_retries_total{reason="deadlock"}': 0,
        'relay_rpc_retries_total{reason="lock_timeout"}': 0,
    }


async def test_ready_is_what_the_last_check_said(
    relay: Relay, data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.server.readiness.CACHE_SECONDS", 0.0)
    for healthy in (True, False, True):
        data_api.readiness["can_execute"] = healthy
        await relay.get("/readyz")
        assert (await series(relay))["relay_ready"] == healthy


async def test_last_delivery_is_stripes_own_and_absent_before_the_first(relay: Relay) -> None:
    name = "relay_last_delivery_timestamp_seconds"
    await relay.send(b"{}", {"Stripe-Signature": "t=1,v1=00"})
    assert name not in await series(relay)

    before = time.time()
    await relay.deliver(completed())
    told = (await series(relay))[name]
    await relay.send(b"{}", {"Stripe-Signature": "t=1,v1=00"})

    assert before <= told <= time.time()
    assert (await series(relay))[name] == told


async def test_of_a_crowd_that_asks_for_the_metrics_one_is_answered_per_turn_of_the_loop(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exposition takes longer than a delivery, and a delivery needs several turns."""
    loop, turn, shown_in = asyncio.get_running_loop(), 0, list[int]()
    counting: asyncio.Handle | None = None
    metrics = relay.app[TELEMETRY].metrics
    exposition = metrics.exposition

    def count_turns() -> None:
        nonlocal turn, counting
        turn += 1
        counting = loop.call_soon(count_turns)

    def shown() -> bytes:
        shown_in.append(turn)
        return exposition()

    count_turns()
    monkeypatch.setattr(metrics, "exposition", shown)
    answers = await asyncio.gather(*(relay.get("/metrics") for _ in range(50)))
    assert counting is not None
    counting.cancel()

    assert {status for status, _ in answers} == {200}
    assert len(shown_in) == len(set(shown_in)) == 50
