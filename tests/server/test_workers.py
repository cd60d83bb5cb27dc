"""`relay serve --workers N`: one port, several processes, and the same promises as one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relay.cli import main
from relay.server.webhook import PATH
from testkit.command_line import Serving, run, serve
from testkit.data_api_server import DataApi, Wait
from testkit.missing_libraries import without
from testkit.polling import until
from testkit.relay_under_test import KEYS, environ
from testkit.stripe_events import Json, completed, delivery
from testkit.wire import connected

pytestmark = pytest.mark.anyio


@pytest.fixture
def data_api(data_api: DataApi) -> DataApi:
    """The relay's own asks are none of the calls that these tests wait for."""
    data_api.is_watched = True
    return data_api


WORKERS = 3
# With so many connections the kernel gives some to each worker.
DELIVERIES = 24


def workers_of(relay: Serving) -> list[int]:
    """The workers' process ids."""
    pid = relay.process.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def signal_masks(pid: int) -> dict[str, set[int]]:
    """The signals that the process ignores, catches and so on: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html"""
    found = re.findall(r"^(Sig\w{3}):\s+([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return {name: {number for number in range(1, 65) if int(mask, 16) >> (number - 1) & 1} for name, mask in found}


async def post(relay: Serving, body: bytes, headers: dict[str, str]) -> tuple[int, Json] | None:
    """One delivery on a connection of its own; None where no answer came."""
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.post(relay.url + PATH, data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.json()
    except aiohttp.ClientError:
        return None


def serve_with_workers(data_api: DataApi, **changes: str) -> AbstractAsyncContextManager[Serving]:
    return serve("--workers", str(WORKERS), env={"TMPDIR": tempfile.gettempdir(), **environ(data_api.url, **changes)})


def any_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def in_hand(relay: Serving, data_api: DataApi, sent: list[Any]) -> tuple[list[asyncio.Task[Any]], Wait]:
    """Deliveries that have reached the Data API and wait there."""
    gate = Wait()
    data_api.always = gate
    posting = []
    for number, each in enumerate(sent, start=1):
        # One by one: a burst is often accepted by a single worker.
        posting.append(asyncio.create_task(post(relay, *each)))
        while len(data_api.calls) < number:
            data_api.arrived.clear()
            await data_api.arrived.wait()
    return posting, gate


# To the main process, as from a supervisor; or to all of them, as from a terminal on Ctrl-C, or when it closes.
@pytest.mark.parametrize("send", [os.kill, os.killpg])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_drains_all_workers_ends_with_0_and_leaves_nothing_behind(
    data_api: DataApi, number: int, send: Callable[[int, int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with serve_with_workers(data_api) as relay:
        posting, gate = await in_hand(relay, data_api, [delivery(completed()) for _ in range(DELIVERIES)])

        send(relay.process.pid, number)
        stopping = 0
        while stopping < WORKERS:  # a worker without deliveries has stopped before another one begins to
            stopping += (await relay.line())["message"].startswith("Stopping")
        gate.released.set()

        answers = await asyncio.gather(*posting)
        assert {answer and (answer[0], answer[1]["outcome"]) for answer in answers} == {(200, "applied")}
        assert await relay.process.wait() == 0
        assert not any_in(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_second_signal_ends_all_workers_at_once_and_leaves_nothing_behind(
    data_api: DataApi, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with serve_with_workers(data_api) as relay:
        posting, _ = await in_hand(relay, data_api, [delivery(completed()) for _ in range(DELIVERIES)])
        relay.process.send_signal(signal.SIGTERM)
        while not (await relay.line())["message"].startswith("Stopping"):
            pass

        relay.process.send_signal(number)

        said, _ = await relay.process.communicate()
        assert relay.process.returncode == -number
        assert set(await asyncio.gather(*posting)) == {None}
        assert {json.loads(line)["message"][:8] for line in said.splitlines()} <= {"Stopping"}  # of a delivery, nothing
        assert await post(relay, *delivery(completed())) is None
        assert not any_in(tmp_path)


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT])
async def test_a_signal_that_was_ignored_at_the_start_stays_so(data_api: DataApi, ignored: signal.Signals) -> None:
    """As nohup has it for SIGHUP. Each process has it of the one that starts it."""
    before = signal.signal(ignored, signal.SIG_IGN)
    try:
        async with serve_with_workers(data_api) as relay:
            masks = signal_masks(relay.process.pid)
    finally:
        signal.signal(ignored, before)

    stopping = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    assert stopping & masks["SigIgn"] == {ignored}
    assert stopping & masks["SigCgt"] == stopping - {ignored}


async def test_the_metrics_files_lie_where_the_environment_says_and_whatever_else_is_there_stays(
    data_api: DataApi, tmp_path: Path
) -> None:
    (tmp_path / "of another program").touch()
    async with serve_with_workers(data_api, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)) as relay:
        assert len(any_in(tmp_path)) == 2

        relay.process.send_signal(signal.SIGTERM)
        assert await relay.process.wait() == 0

    assert any_in(tmp_path) == [tmp_path / "of another program"]


async def test_gunicorns_configuration_reads_no_setting_when_it_is_imported() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import relay.server.gunicorn_settings", env={}, stderr=asyncio.subprocess.PIPE
    )

    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_sigkill_of_a_worker_loses_nothing_that_the_next_attempt_does_not_heal(data_api: DataApi) -> None:
    sent = [delivery(completed()) for _ in range(DELIVERIES)]
    async with serve_with_workers(data_api) as relay:
        posting, gate = await in_hand(relay, data_api, sent)
        before = workers_of(relay)
        busiest = max(before, key=lambda pid: len(any_in(Path(f"/proc/{pid}/fd"))))

        os.kill(busiest, signal.SIGKILL)
        gate.released.set()
        answers = await asyncio.gather(*posting)
        data_api.always = None

        lost = [each for each, answer in zip(sent, answers, strict=True) if answer is None]
        assert lost != []
        assert {answer[1]["outcome"] for answer in answers if answer} <= {"applied"}
        again = await asyncio.gather(*(post(relay, *each) for each in lost))
        assert {answer and answer[0] for answer in again} == {200}
        await until(lambda: len(set(workers_of(relay)) - {busiest}) == WORKERS)


async def test_the_workers_answer_as_one_with_the_relays_own_connections_and_one_set_of_metrics(
    data_api: DataApi,
) -> None:
    async with serve_with_workers(data_api) as relay:
        for _ in range(DELIVERIES):
            assert await post(relay, *delivery(completed())) is not None
            async with connected(int(relay.url.rsplit(":", 1)[1])) as wire:
                wire.send(b"GET\r\n\r\n")
                refusal = await wire.answer()
            assert refusal is not None
            assert json.loads(refusal.body).keys() == KEYS

        async with aiohttp.ClientSession() as http, http.get(relay.url + "/metrics") as response:
            lines = (await response.text()).splitlines()

    assert f'relay_deliveries_total{{outcome="applied",reason=""}} {DELIVERIES}.0' in lines
    assert f'relay_deliveries_total{{outcome="refused",reason="malformed_request"}} {DELIVERIES}.0' in lines
    assert f"relay_delivery_seconds_count {2 * DELIVERIES}.0" in lines
    assert "relay_deliveries_in_flight 0.0" in lines


@pytest.mark.parametrize("named", [False, True])
async def test_without_a_writable_folder_the_start_stops_and_says_what_to_set(named: bool, tmp_path: Path) -> None:
    """As in a container with --read-only. A process that may write no byte to any file meets the same, as root too."""
    env = environ("http://127.0.0.1:1") | ({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "missing")} if named else {})
    process = await asyncio.create_subprocess_exec(
        *("prlimit", "--fsize=0", sys.executable, "-m", "relay", "serve", "--workers", "2"),
        env={"PATH": os.environ["PATH"], **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()

    where = f"{tmp_path}/missing" if named else "the folder for temporary files"
    assert (process.returncode, output, errors.decode()) == (
        2,
        b"",
        f"relay: relay serve --workers keeps the workers' metrics in files, and cannot write to {where}: set "
        "PROMETHEUS_MULTIPROC_DIR to a folder that it can write to, such as /dev/shm\n",
    )


async def test_without_gunicorn_the_start_stops_and_says_what_to_install(tmp_path: Path) -> None:
    env = {**environ("http://127.0.0.1:1"), **without(["gunicorn"], tmp_path)}

    assert await run("serve", "--workers", "2", env=env) == (
        2,
        "",
        "relay: relay serve --workers needs gunicorn: pip install --require-hashes -r requirements/workers.txt, "
        "or the package with its extra `workers`\n",
    )


@pytest.mark.parametrize("count", ["0", "-1", "x", "1000", "1.5"])
async def test_a_number_of_workers_that_is_none_is_status_2(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", f"--workers={count}"])

    assert ended.value.code == 2
    assert "between 1 and" in capsys.readouterr().err
