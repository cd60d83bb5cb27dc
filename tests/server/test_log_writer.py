"""The log's reader may be slow, stuck or gone: the relay goes on, and what is read is whole, in order, and says what is
missing."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from relay.metrics import Metrics
from relay.server import log_writer
from relay.server.log_writer import LogWriter
from relay.server.telemetry import Log, Telemetry
from relay.server.webhook import PATH
from testkit.data_api_server import DataApi
from testkit.relay_process import inherited_environment
from testkit.relay_under_test import environ
from testkit.stripe_events import Json, completed, delivery

PIPE_BYTES = 4096
# Each delivery is a line of some 300 bytes, so these fill the smallest pipe many times over.
DELIVERIES = 200


class Pipe:
    """As small a pipe as there is, and a log that goes into it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        set_size(self.writer)
        self.lost = 0
        self.losing = threading.Event()
        self.log = LogWriter(self.writer, on_loss=self._lose, tell=lambda count, why: f"-{count} {why}\n".encode())

    def _lose(self, count: int) -> None:
        self.lost += count
        self.losing.set()

    def read_until(self, end: bytes) -> list[bytes]:
        """The lines up to the one that is `end`."""
        content = b""
        while not content.endswith(end + b"\n"):
            content += os.read(self.reader, 65536)
        return content.splitlines()


def set_size(descriptor: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.writer)


def test_lines_come_whole_and_in_order_however_they_are_read(pipe: Pipe) -> None:
    lines = [b"%d " % number + b"x" * (number % 6000) for number in range(2000)]
    for line in lines:
        pipe.log.write(line + b"\n")

    assert pipe.read_until(lines[-1]) == lines
    assert pipe.lost == 0


def test_what_finds_no_place_is_counted_and_its_place_is_marked(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "MOST_WAITING", 10)
    line = b"x" * (PIPE_BYTES - 1) + b"\n"
    while not pipe.lost:  # the pipe, the thread's hands, the queue
        pipe.log.write(line)
    pipe.log.write(b"lost too\n")
    monkeypatch.setattr(log_writer, "MOST_WAITING", 100)
    pipe.log.write(b"last\n")

    found = pipe.read_until(b"last")

    assert pipe.lost == 2
    assert found.count(f"-2 {log_writer.NOBODY_READS}".encode()) == 1
    assert set(found) == {line.rstrip(), f"-2 {log_writer.NOBODY_READS}".encode(), b"last"}


def test_a_reader_that_has_gone_is_told_by_the_name_of_its_errno_to_the_next(tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    losing = threading.Event()

    def tell(count: int, why: str) -> bytes:
        told.append((count, why))
        return b"told\n"

    reader, writer = os.pipe()
    os.close(reader)
    log = LogWriter(writer, on_loss=lambda _: losing.set(), tell=tell)
    log.write(b"lost\n")
    assert losing.wait(60)

    with (tmp_path / "log").open("wb") as other:
        os.dup2(other.fileno(), writer)
    log.write(b"kept\n")
    log.end()
    os.close(writer)

    assert (tmp_path / "log").read_bytes() == b"told\nkept\n"
    assert told == [(1, "EPIPE")]


def test_a_full_disk_tears_no_later_line(tmp_path: Path) -> None:
    """A limit of the file's size stands for the disk: the line in the middle is cut, and begins no other one."""
    lost: list[int] = []
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    losing = threading.Event()

    def lose(count: int) -> None:
        lost.append(count)
        losing.set()

    log = LogWriter(descriptor, on_loss=lose, tell=lambda count, why: f"-{count} {why}\n".encode())
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (15, limit[1]))
        log.write(b"0123456789\n")
        log.write(b"abcdefghij\n")
        assert losing.wait(60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    log.write(b"after\n")
    log.end()
    os.close(descriptor)

    lines = (tmp_path / "log").read_bytes().splitlines()
    assert lines[-2:] == [b"-%d EFBIG" % sum(lost), b"after"]


def test_the_gauge_counts_what_a_log_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    log = Log("info")
    Telemetry(log, metrics)

    monkeypatch.setattr(log_writer, "MOST_WAITING", 0)
    log.write("info", "lost")
    log.write("debug", "not even meant")

    assert metrics.registry.get_sample_value("relay_log_lines_lost") == 1


def test_a_child_process_writes_its_own_lines_and_none_of_its_parents(pipe: Pipe) -> None:
    block = b"x" * (PIPE_BYTES - 1)
    for _ in range(3):  # more than the pipe takes, so that some wait in the parent when it forks
        pipe.log.write(block + b"\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which stay behind as is meant
        child = os.fork()
    if not child:
        pipe.log.write(b"child\n")
        pipe.log.end()
        os._exit(0)

    lines: list[bytes] = []
    while lines.count(block) < 3 or b"child" not in lines:
        lines += os.read(pipe.reader, 65536).splitlines()
    os.waitpid(child, 0)

    assert sorted(lines) == [b"child", block, block, block]


@pytest.mark.anyio
async def test_a_log_that_nobody_reads_stops_neither_deliveries_nor_health_nor_the_end(data_api: DataApi) -> None:
    reader, writer = os.pipe()
    set_size(writer)
    relay = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "relay", "serve", env={**inherited_environment(), **environ(data_api.url)}, stdout=writer
    )
    os.close(writer)
    try:
        first: Json = json.loads(await asyncio.to_thread(os.read, reader, PIPE_BYTES))
        url = first["message"].removeprefix("Listening on ")

        sent = []
        async with aiohttp.ClientSession() as http, asyncio.timeout(60):
            for _ in range(DELIVERIES):
                event = completed()
                body, headers = delivery(event)
                sent.append(event["id"])
                async with http.post(url + PATH, data=body, headers=headers) as answer:
                    assert answer.status == 200
            async with http.get(url + "/healthz") as answer:
                assert answer.status == 200
            relay.send_signal(signal.SIGTERM)
            assert await relay.wait() == 0

        with os.fdopen(reader, "rb") as pipe:
            written = [json.loads(line)["event_id"] for line in pipe.read().splitlines()]
        assert written == sent[: len(written)]
        assert 0 < len(written) < DELIVERIES
    finally:
        if relay.returncode is None:
            relay.kill()
