"""`relay serve` as a process: it starts only with usable settings, and stops without losing a delivery."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from relay.server.webhook import PATH
from testkit.command_line import run, start
from testkit.data_api_server import DataApi, Wait
from testkit.relay_under_test import environ
from testkit.stripe_events import completed, delivery

pytestmark = pytest.mark.anyio


class Process:
    """A running `relay serve`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def line(self) -> dict[str, Any]:
        """The next line of its log."""
        assert self.process.stdout is not None
        self.lines.append(json.loads(await self.process.stdout.readline()))
        return self.lines[-1]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_status(self) -> int:
        return await self.process.wait()


@asynccontextmanager
async def relay_serve(data_api: DataApi) -> AsyncIterator[tuple[Process, str]]:
    """The process, and the address that its first line names."""
    running = Process(await start("serve", env=environ(data_api.url)))
    try:
        message = (await running.line())["message"]
        yield running, message.removeprefix("Listening on ")
    finally:
        if running.process.returncode is None:
            running.process.kill()
        await running.process.communicate()


async def post(url: str) -> tuple[int, dict[str, Any]]:
    body, headers = delivery(completed())
    async with aiohttp.ClientSession() as http, http.post(url + PATH, data=body, headers=headers) as response:
        return response.status, await response.json()


async def get_status(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_makes_it_not_ready_finishes_the_delivery_in_hand_and_exits_with_0(
    data_api: DataApi, number: signal.Signals
) -> None:
    async with relay_serve(data_api) as (process, url):
        gate = Wait()
        data_api.script = [gate]
        in_hand = asyncio.create_task(post(url))
        await data_api.arrived.wait()

        process.signal(number)
        assert (await process.line())["message"].startswith("Stopping")
        assert await get_status(url + "/readyz") == 503
        assert await get_status(url + "/healthz") == 200
        gate.released.set()

        status, answer = await in_hand
        assert (status, answer["outcome"]) == (200, "applied")
        assert await process.exit_status() == 0
        assert [(await process.line())["message"] for _ in range(2)] == ["applied", "Stopped"]


async def test_an_idle_relay_stops_at_once(data_api: DataApi) -> None:
    async with relay_serve(data_api) as (process, url):
        assert await get_status(url + "/healthz") == 200

        process.signal(signal.SIGTERM)

        assert await process.exit_status() == 0


async def test_a_second_signal_ends_at_once(data_api: DataApi) -> None:
    async with relay_serve(data_api) as (process, url):
        data_api.script = [Wait()]
        in_hand = asyncio.create_task(post(url))
        await data_api.arrived.wait()
        process.signal(signal.SIGTERM)
        await process.line()

        process.signal(signal.SIGTERM)

        assert await process.exit_status() == -signal.SIGTERM
        with pytest.raises(aiohttp.ClientError):
            await in_hand


@pytest.mark.parametrize("command", ["serve", "check"])
async def test_unusable_settings_stop_the_start_with_one_message_and_status_2(command: str) -> None:
    status, output, errors = await run(command, env={"STRIPE_SECRET_KEY": "pk_live_x", "STRIPE_WEBHOOK_TOLERANCE": "0"})

    assert (status, output) == (2, "")
    for name in (
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "SUPABASE_URL",
        "SUPABASE_SERVICE_ROLE_KEY",
        "STRIPE_WEBHOOK_TOLERANCE",
    ):
        assert errors.count(f"  {name}: ") == 1
    assert "pk_live_x" not in errors
    assert "Traceback" not in errors


async def test_an_address_in_use_is_said_in_words_and_status_1(data_api: DataApi) -> None:
    async with relay_serve(data_api) as (_, url):
        status, _, errors = await run("serve", env=environ(data_api.url, RELAY_PORT=url.rsplit(":", 1)[1]))

    assert status == 1
    assert errors.startswith("relay: cannot listen on 127.0.0.1:")
    assert "Traceback" not in errors


async def test_check_tells_ready_from_not_ready_by_its_status(data_api: DataApi) -> None:
    status, output, errors = await run("check", "--json", env=environ(data_api.url))
    assert (status, errors) == (0, "")
    assert json.loads(output)["ready"] is True

    data_api.readiness["can_execute"] = False
    status, output, _ = await run("check", env=environ(data_api.url))
    assert status == 1
    assert [line.split()[1] for line in output.splitlines() if line.startswith("FAIL")] == ["execute_right"]


async def test_help_shows_examples_and_exit_statuses_of_each_command() -> None:
    status, output, _ = await run("--help", env={})
    assert status == 0
    assert "examples:" in output

    for command in ("serve", "check"):
        status, output, _ = await run(command, "--help", env={})
        assert status == 0
        assert "examples:" in output
        assert "exit status: 0 " in output


async def test_an_unknown_command_is_status_2() -> None:
    status, _, errors = await run("fly", env={})

    assert status == 2
    assert "fly" in errors
