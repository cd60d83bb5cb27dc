"""The relay asks its own readiness: what `/metrics` says of it is true of now, whoever else asks."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from relay.core.outcomes import EXCEPTION_REASONS
from relay.metrics import SHARED_FOLDER
from relay.server import readiness, watching
from testkit.command_line import serve
from testkit.data_api_server import DataApi, Hang, Reply, Reset, Wait
from testkit.polling import PATIENCE_SECONDS, until
from testkit.relay_under_test import Relay, environ, serving
from testkit.stripe_events import completed

pytestmark = pytest.mark.anyio
REASONS = set(map(str, EXCEPTION_REASONS))


@pytest.fixture
async def watched(data_api: DataApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relay]:
    """A relay that asks without a pause."""
    monkeypatch.setattr(watching, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(readiness, "CACHE_SECONDS", 0.0)
    async with serving(environ(data_api.url), watches=True) as relay:
        yield relay


def shown(relay: Relay) -> dict[str, float]:
    """What `/metrics` would say of readiness and of exceptions."""
    from relay.server.app import TELEMETRY

    text = relay.app[TELEMETRY].metrics.exposition().decode()
    found = re.findall(r"^(relay_(?:ready|open_\w+|oldest_\w+)(?:\{.*?\})?) (.+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


async def test_nothing_is_claimed_before_the_first_answer(data_api: DataApi) -> None:
    gate = Wait()
    data_api.always = gate
    async with serving(environ(data_api.url), watches=True) as relay:
        await data_api.arrived.wait()
        assert shown(relay) == {}

        gate.released.set()
        await until(lambda: shown(relay).get("relay_ready") == 1)


@pytest.mark.parametrize("failure", [Reset(), Reply(status=503, body={"message": "no"}), Hang(), Reply(body=[])])
async def test_ready_follows_the_database_though_nobody_asks(
    watched: Relay, data_api: DataApi, failure: Reset | Reply | Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "TIMEOUT_SECONDS", 0.2)
    await until(lambda: shown(watched).get("relay_ready") == 1)

    data_api.always = failure
    await until(lambda: shown(watched)["relay_ready"] == 0)
    data_api.always = None
    await until(lambda: shown(watched)["relay_ready"] == 1)


async def some_more_asks(data_api: DataApi) -> None:
    before = len(data_api.calls)
    await until(lambda: len(data_api.calls) > before + 3)


async def test_readiness_that_is_lost_and_comes_back_is_told_once_each(watched: Relay, data_api: DataApi) -> None:
    await until(lambda: shown(watched).get("relay_ready") == 1)
    assert "ready to reconcile" not in watched.output

    for _ in range(2):
        data_api.always = Reply(status=401, body={"message": "no"})
        await until(lambda: shown(watched)["relay_ready"] == 0)
        await some_more_asks(data_api)
        data_api.always = None
        await until(lambda: shown(watched)["relay_ready"] == 1)
        await some_more_asks(data_api)

    lines = [json.loads(line) for line in watched.output.splitlines()]
    told = [(line["level"], line["message"][:30]) for line in lines if "ready" in line["message"]]
    assert told == [("warning", "not ready to reconcile: databa"), ("info", "ready to reconcile again")] * 2
    assert "401" in watched.output


async def test_fault_of_the_check_itself_is_not_ready_and_is_logged(
    watched: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: shown(watched).get("relay_ready") == 1)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(readiness, "judge_database", fail)
    await until(lambda: shown(watched)["relay_ready"] == 0)

    assert "the readiness check itself has failed: RuntimeError" in watched.output
    assert "a secret" not in watched.output


async def test_one_ask_at_a_time_whoever_else_asks(watched: Relay, data_api: DataApi) -> None:
    await until(lambda: shown(watched).get("relay_ready") == 1)
    gate = Wait()
    data_api.always = gate
    before = len(data_api.calls)
    await until(lambda: len(data_api.calls) > before)
    waiting = len(data_api.calls)

    asked = [asyncio.create_task(watched.get("/readyz")) for _ in range(5)]
    await watched.get("/healthz")
    assert len(data_api.calls) == waiting
    gate.released.set()
    assert {status for status, _ in await asyncio.gather(*asked)} == {200}


async def test_open_exceptions_are_told_by_reason_with_the_oldest_ones_age(watched: Relay, data_api: DataApi) -> None:
    none = dict.fromkeys((f'relay_open_exceptions{{reason="{reason}"}}' for reason in REASONS), 0.0)
    await until(lambda: shown(watched) == {**none, "relay_ready": 1, "relay_oldest_open_exception_seconds": 0})
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)

    data_api.readiness |= {
        "server_time": now.isoformat(),
        "oldest_open_exception_at": (now - timedelta(hours=1)).isoformat(),
        "open_exceptions": {"amount_mismatch": 2, "of_a_newer_database": 1},
    }
    open_now = {
        **none,
        'relay_open_exceptions{reason="amount_mismatch"}': 2,
        'relay_open_exceptions{reason="of_a_newer_database"}': 1,
        "relay_oldest_open_exception_seconds": 3600,
        "relay_ready": 0,  # this clock is not the relay's
    }
    await until(lambda: shown(watched) == open_now)
    data_api.always = Reset()
    await until(lambda: shown(watched)["relay_ready"] == 0)
    assert shown(watched) == open_now  # nobody knows better

    data_api.always = None
    data_api.readiness |= {"oldest_open_exception_at": None, "open_exceptions": {}}
    del data_api.readiness["server_time"]
    gone = {**none, 'relay_open_exceptions{reason="of_a_newer_database"}': 0}
    await until(lambda: shown(watched) == {**gone, "relay_ready": 1, "relay_oldest_open_exception_seconds": 0})


@pytest.mark.parametrize("odd", [None, [], "3", {"amount_mismatch": "3"}, {"amount_mismatch": True}])
async def test_database_that_does_not_tell_of_exceptions_leaves_them_out(data_api: DataApi, odd: object) -> None:
    data_api.readiness["open_exceptions"] = odd

    async with serving(environ(data_api.url), watches=True) as relay:
        await until(lambda: shown(relay) == {"relay_ready": 1})


async def test_a_server_watches_and_of_several_workers_one_does(data_api: DataApi) -> None:
    data_api.is_watched = True
    data_api.readiness["open_exceptions"] = {"amount_mismatch": 2}
    env = {"TMPDIR": tempfile.gettempdir(), **environ(data_api.url)}
    for options in ((), ("--workers", "3")):
        data_api.asks.clear()
        async with serve(*options, env=env) as relay, aiohttp.ClientSession() as http:

            async def metrics(url: str = relay.url, http: aiohttp.ClientSession = http) -> str:
                async with http.get(url + "/metrics") as answer:
                    return await answer.text()

            await until(lambda: bool(data_api.asks))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while "relay_ready 1.0" not in (text := await metrics()):
                    pass
            assert 'relay_open_exceptions{reason="amount_mismatch"} 2.0' in text
            if options:
                await until(partial(have_tried, relay.process.pid))
            asked = [call.function for call in data_api.asks]
            assert asked == ["reconciliation_readiness", "reconcile_order_group_payments"]


def have_tried(pid: int) -> bool:
    """Whether each worker of a server has the lock's file open, which it opens to try."""
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return all(
        any(link.is_symlink() and str(link.readlink()).endswith("watching.lock") for link in folder.iterdir())
        for folder in (Path(f"/proc/{worker}/fd") for worker in workers)
    )


async def test_the_turn_goes_on_to_the_next_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARED_FOLDER, str(tmp_path))
    with watching._Turn() as second:  # noqa: SLF001  two workers in one process: each opens the file itself
        with watching._Turn() as first:  # noqa: SLF001
            assert [first.is_ours(), second.is_ours(), first.is_ours()] == [True, False, True]
        assert second.is_ours()


async def test_deliveries_and_watching_do_not_disturb_each_other(watched: Relay, data_api: DataApi) -> None:
    for _ in range(20):
        assert (await watched.deliver(completed())).verdict == (200, "applied", None)

    assert shown(watched)["relay_ready"] == 1
    assert sum(call.path.endswith("/reconcile_order_group_payment") for call in data_api.calls) == 20
