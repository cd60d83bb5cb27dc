"""Over TLS, on both event loops: what is given up while it connects leaves nothing behind."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import uvloop

from relay.core.errors import NoVerdict
from relay.data_api import transport
from testkit.certificates import self_signed

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[42]"
# More than a handshake takes iterations of the loop.
MOMENTS = 16
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's, which clients here trust."""
    return self_signed(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture
def port(certificate: Path) -> Iterator[int]:
    """A server in threads, which goes on while the loop stands still, and never hangs up."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve(stream: socket.socket) -> None:
        with contextlib.suppress(OSError), stream, context.wrap_socket(stream, server_side=True) as secure:
            while secure.recv(65536):
                secure.sendall(OK)
            over.wait()

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    yield listener.getsockname()[1]
    over.set()
    listener.close()


@asynccontextmanager
async def near(port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[transport.Client]:
    """As relay.data_api.connection makes it, but for whom it trusts."""
    trusting = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: trusting)
    async with transport.open_http(f"https://127.0.0.1:{port}", timeout=3.0) as client:
        yield client


async def call(client: transport.Client, port: int) -> object:
    return (await client.request("POST", f"https://127.0.0.1:{port}/", headers=httpx.Headers())).json()


def sockets_to(port: int) -> int:
    return sum(1 for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr.port == port)


@pytest.mark.parametrize("new_loop", LOOPS)
def test_calls_share_a_connection(
    new_loop: Callable[[], asyncio.AbstractEventLoop], port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        async with near(port, certificate, monkeypatch) as client:
            for _ in range(3):
                assert await call(client, port) == [42]
                assert sockets_to(port) == 1

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(play())


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_call_that_is_given_up_at_any_moment_leaves_no_socket_and_spoils_no_other(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    port: int,
    certificate: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play() -> None:
        for moment in range(MOMENTS):
            async with near(port, certificate, monkeypatch) as client:
                given_up = asyncio.create_task(call(client, port))
                while not sockets_to(port) and not given_up.done():  # noqa: ASYNC110  counted outside of the loop
                    await asyncio.sleep(0)
                for _ in range(moment):
                    await asyncio.sleep(0)
                given_up.cancel()
                with contextlib.suppress(asyncio.CancelledError, NoVerdict):
                    await given_up
            async with near(port, certificate, monkeypatch) as client:
                assert await call(client, port) == [42]
        for _ in range(500):  # closing takes a few iterations, not the half minute of an unanswered close_notify
            if not sockets_to(port):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{sockets_to(port)} sockets left")

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.wait_for(play(), 60))

    # uvloop may say so where the connection is cut between connecting and the handshake.
    said = {record.getMessage().partition("\n")[0] for record in caplog.records}
    assert said <= {"Fatal error on SSL protocol"}
