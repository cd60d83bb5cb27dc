"""Where the relay listens: on each address that RELAY_HOST names, on one port, or on none of them."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from local_stack.postgres import free_port
from relay.config import Settings
from relay.server.listening import CannotListen, host_and_port, open_sockets
from testkit.command_line import run, serve
from testkit.data_api_server import DataApi
from testkit.relay_under_test import environ

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent.parent


def has_ipv6() -> bool:
    """Whether this machine's loopback has an IPv6 address."""
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


# A machine without IPv6 has more than one address of IPv4 all the same.
LOOPBACKS = ("127.0.0.1", "::1" if has_ipv6() else "127.0.0.2")
EVERYWHERE = ("0.0.0.0", "::") if has_ipv6() else LOOPBACKS  # noqa: S104
URL = "https://project.supabase.co"


def settings(hosts: str, port: int = 0) -> Settings:
    return Settings.from_env(environ(URL, RELAY_HOST=hosts, RELAY_PORT=str(port)), now=time.time())


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def addresses(hosts: str, opened: ExitStack) -> list[tuple[str, int]]:
    sockets = [opened.enter_context(one) for one in open_sockets(settings(hosts))]
    return [one.getsockname()[:2] for one in sockets]


async def status_of(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status


def test_each_address_is_bound_on_one_port_and_each_family_by_itself(opened: ExitStack) -> None:
    bound = addresses(", ".join(EVERYWHERE), opened)

    assert [host for host, _ in bound] == list(EVERYWHERE)
    assert len({port for _, port in bound}) == 1


def test_a_name_leads_to_all_of_its_addresses(opened: ExitStack) -> None:
    found = {info[4][0] for info in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}

    assert {host for host, _ in addresses("localhost", opened)} == found


def test_where_one_address_is_taken_none_stays_bound(opened: ExitStack) -> None:
    taken = opened.enter_context(socket.socket(socket.AF_INET6 if ":" in LOOPBACKS[1] else socket.AF_INET))
    taken.bind((LOOPBACKS[1], 0))
    taken.listen()
    port = taken.getsockname()[1]

    with pytest.raises(CannotListen) as caught:
        open_sockets(settings(",".join(LOOPBACKS), port))

    assert str(caught.value).startswith(f"cannot listen on {host_and_port(LOOPBACKS[1], port)}: EADDRINUSE: ")
    with socket.socket() as free:
        free.bind((LOOPBACKS[0], port))


def test_an_address_of_another_machine_and_an_unknown_name_are_told_apart() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1:0: EADDRNOTAVAIL: "):
        open_sockets(settings("192.0.2.1"))
    with pytest.raises(CannotListen, match=r"cannot listen on relay\.invalid:0: \w"):
        open_sockets(settings("relay.invalid"))


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
async def test_relay_serves_on_all_of_them_until_it_ends(data_api: DataApi, options: tuple[str, ...]) -> None:
    data_api.is_watched = True
    env = {"TMPDIR": tempfile.gettempdir(), **environ(data_api.url, RELAY_HOST=",".join(EVERYWHERE))}
    async with serve(*options, env=env) as relay:
        urls = [relay.url, *[(await relay.line())["message"].removeprefix("Listening on ") for _ in EVERYWHERE[1:]]]
        port = urlsplit(urls[0]).port
        assert urls == [f"http://{host_and_port(host, port or 0)}" for host in EVERYWHERE]
        for host in LOOPBACKS:
            assert await status_of(f"http://{host_and_port(host, port or 0)}/readyz") == 200

        relay.process.send_signal(signal.SIGTERM)

        assert await relay.process.wait() == 0


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
async def test_without_an_address_it_says_so_and_ends_with_1(data_api: DataApi, options: tuple[str, ...]) -> None:
    ended = await run("serve", *options, env=environ(data_api.url, RELAY_HOST="127.0.0.1,192.0.2.1"))

    assert ended.status == 1
    assert ended.errors.startswith("relay: cannot listen on 192.0.2.1:")
    assert "EADDRNOTAVAIL" in ended.errors
    assert "Traceback" not in ended.errors


@pytest.mark.parametrize("hosts", [EVERYWHERE, EVERYWHERE[::-1], LOOPBACKS, LOOPBACKS[::-1], LOOPBACKS[1:]])
async def test_the_image_asks_for_its_health_where_the_relay_listens(data_api: DataApi, hosts: tuple[str, ...]) -> None:
    data_api.is_watched = True
    async with serve(env=environ(data_api.url, RELAY_HOST=",".join(hosts))) as relay:
        port = str(urlsplit(relay.url).port)
        assert await health(RELAY_HOST=", ".join(hosts), RELAY_PORT=port) == (0, "")

        relay.process.send_signal(signal.SIGTERM)
        await relay.process.wait()
        status, told = await health(RELAY_HOST=", ".join(hosts), RELAY_PORT=port)

    assert (status, told.split(" ")[0]) == (1, f"{hosts[0]}:{port}:")


@pytest.mark.parametrize(
    "ports",
    [
        {"RELAY_PORT": "tcp://10.0.0.1:80", "PORT": "{}"},  # as Kubernetes sets it for a Service called `relay`
        {"RELAY_PORT": " ", "PORT": "{}"},
        {"RELAY_PORT": " {} ", "PORT": "1"},
    ],
)
async def test_the_image_reads_its_port_as_the_relay_does(data_api: DataApi, ports: dict[str, str]) -> None:
    data_api.is_watched = True
    port = str(free_port())
    named = {name: value.format(port) for name, value in ports.items()}
    async with serve(env=environ(data_api.url, RELAY_HOST="127.0.0.1") | named) as relay:
        assert relay.url == f"http://127.0.0.1:{port}"
        assert await health(RELAY_HOST=" 127.0.0.1 ", **named) == (0, "")


async def health(**environment: str) -> tuple[int | None, str]:
    """The exit status of the image's health check, and what it says."""
    asking = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "deploy" / "healthcheck.py"), env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, told = await asking.communicate()
    return asking.returncode, told.decode()
