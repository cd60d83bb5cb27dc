"""Out of file descriptors, or without the first three: said once, counted, refused in order, and over when enough
connections have closed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import resource
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from local_stack.postgres import free_port
from relay.metrics import Metrics
from relay.server.app import CONNECTION_LIMIT
from relay.server.connection_limit import ConnectionLimit
from relay.server.telemetry import Log, Telemetry
from relay.server.webhook import PATH
from testkit.command_line import PATIENCE_SECONDS
from testkit.data_api_server import DataApi
from testkit.polling import until
from testkit.relay_process import inherited_environment
from testkit.relay_under_test import environ, serving
from testkit.stripe_events import completed, delivery

DESCRIPTORS = 256
ROOM = 128  # for connections; the rest is kept for calls of the Data API and for what is being accepted
MAIN = "from relay.cli import main; raise SystemExit(main())"
WITHOUT_UVLOOP = "from relay.server import serving; serving.HAS_UVLOOP = False; "


async def post(http: aiohttp.ClientSession, url: str) -> int:
    body, headers = delivery(completed())
    async with http.post(url + PATH, data=body, headers=headers) as answer:
        return answer.status


async def metric(http: aiohttp.ClientSession, url: str, name: str) -> float:
    async with http.get(url + "/metrics") as answer:
        found = re.search(rf"^{name} (\S+)$", await answer.text(), re.MULTILINE)
    assert found is not None
    return float(found.group(1))


@pytest.mark.anyio
@pytest.mark.parametrize("code", [MAIN, WITHOUT_UVLOOP + MAIN], ids=["uvloop", "asyncio"])
async def test_without_descriptors_connections_are_refused_counted_and_said_once_and_deliveries_go_on(
    data_api: DataApi, code: str
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

    relay = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "serve"),
        env={**inherited_environment(), **environ(data_api.url)},
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=limit,
    )
    assert relay.stdout is not None
    url = json.loads(await relay.stdout.readline())["message"].removeprefix("Listening on ")
    crowd: list[socket.socket] = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as http:
            assert await post(http, url) == 200
            for _ in range(4):
                crowd += [await connect(url) for _ in range(DESCRIPTORS)]
                assert await post(http, url) == 200  # on the connection that was there before
            beyond = len(crowd) + 1 - ROOM
            refused = 0.0
            while refused < beyond:
                refused = await metric(http, url, "relay_connections_refused_total")
            assert refused == beyond
            async with http.get(url + "/readyz") as answer:
                ready = await answer.json()

            for each in crowd:
                each.close()
            await served(url)
            relay.send_signal(signal.SIGTERM)
            lines = [json.loads(line) for line in (await relay.stdout.read()).splitlines()]
    finally:
        if relay.returncode is None:
            relay.kill()
            await relay.wait()

    assert [check["name"] for check in ready["checks"] if not check["ok"]] == ["serving"]
    said = [line["message"] for line in lines if line["outcome"] is None]
    assert said[0] == f"EMFILE: no room for more than {ROOM} connections, further ones are closed"
    assert re.fullmatch(r"room for connections again; \d+ were closed", said[1])
    assert len(said) == 4, said  # the last two are those of its end


async def connect(url: str) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", int(url.rsplit(":", 1)[1])))
    return made


async def served(url: str) -> None:
    """Ask on connections of their own until one is served, and the relay says that it is ready."""
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as http, http.get(url + "/readyz") as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(0.05)


@pytest.mark.anyio
async def test_every_connection_leaves_the_room(data_api: DataApi) -> None:
    async with serving(environ(data_api.url)) as relay:
        limit = relay.app[CONNECTION_LIMIT]
        for _ in range(20):
            made = await connect(relay.url)
            made.send(b"G")
            made.close()
        await until(lambda: limit.open == 0)
        assert (await relay.get("/healthz"))[0] == 200
        assert limit.open == 1


def test_the_room_is_full_until_a_tenth_of_it_is_free_again() -> None:
    output = io.BytesIO()
    telemetry = Telemetry(Log("info", output), Metrics())
    limit = ConnectionLimit(telemetry, descriptors=40)
    assert limit.size == 20

    assert [limit.enter() for _ in range(22)] == [True] * 20 + [False] * 2
    limit.leave()
    assert limit.is_full
    limit.leave()
    assert not limit.is_full
    assert [limit.enter() for _ in range(3)] == [True] * 2 + [False]

    assert [json.loads(line)["message"] for line in output.getvalue().splitlines()] == [
        "EMFILE: no room for more than 20 connections, further ones are closed",
        "room for connections again; 2 were closed",
        "EMFILE: no room for more than 20 connections, further ones are closed",
    ]
    assert telemetry.metrics.registry.get_sample_value("relay_connections_refused_total") == 3


def test_calls_of_the_data_api_have_descriptors_of_their_own() -> None:
    telemetry = Telemetry(Log("info", io.BytesIO()), Metrics())

    assert ConnectionLimit(telemetry, descriptors=1024).size == 1024 - 64 - 64


@pytest.mark.anyio
async def test_descriptors_that_are_closed_at_the_start_are_never_a_socket(data_api: DataApi) -> None:
    """The log would be written into whatever connection got its number."""
    port = free_port()
    env = {**inherited_environment(), **environ(data_api.url, RELAY_PORT=str(port))}
    command = f'exec "{sys.executable}" -m relay serve <&- >&- 2>&-'
    relay = await asyncio.create_subprocess_exec("sh", "-c", command, env=env)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await served(f"http://127.0.0.1:{port}")
            descriptors = Path(f"/proc/{relay.pid}/fd")
            assert [(descriptors / str(number)).readlink() for number in range(3)] == [Path(os.devnull)] * 3
            async with aiohttp.ClientSession() as http:
                assert await post(http, f"http://127.0.0.1:{port}") == 200
            relay.send_signal(signal.SIGTERM)
            assert await relay.wait() == 0
    finally:
        if relay.returncode is None:
            relay.kill()
            await relay.wait()
