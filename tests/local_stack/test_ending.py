"""`python -m local_stack` ends without leaving a process or a directory, however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.local_stack.processes import processes_mentioning, wait_for_end

READY = "# Running."


@contextmanager
def running(temporary: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command with its temporary directories in `temporary`, and its output until it is ready."""
    command = [sys.executable, "-m", "local_stack", *arguments]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd="/") as process:
        assert process.stdout is not None
        try:
            output = ""
            for line in process.stdout:
                output += line
                if line.startswith(READY):
                    break
            assert READY in output
            yield process, output
        finally:
            process.kill()


@pytest.fixture
def hangup_not_ignored() -> Iterator[None]:
    """Children inherit an ignored SIGHUP, and tests that `nohup` has started hold one."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup_not_ignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_it_in_order(open_tmp: Path, number: signal.Signals) -> None:
    with running(open_tmp) as (process, _):
        assert processes_mentioning(open_tmp)

        process.send_signal(number)
        status = process.wait(30)

    assert status == 0
    assert processes_mentioning(open_tmp) == {}
    assert list(open_tmp.iterdir()) == []


def test_nothing_survives_even_a_sigkill(open_tmp: Path) -> None:
    with running(open_tmp) as (process, _):
        children = [pid for pid in processes_mentioning(open_tmp) if pid != process.pid]
        assert children

        process.kill()
        process.wait(30)
        wait_for_end(children)

    assert processes_mentioning(open_tmp) == {}
    assert list(open_tmp.iterdir()) == []


def test_settings_file_is_private_and_kept_data_keeps_its_keys_and_ports(open_tmp: Path) -> None:
    files = [open_tmp / "first.env", open_tmp / "second.env"]
    databases = []
    for file in files:
        with running(open_tmp, "--data", str(open_tmp / "kept"), "--env-file", str(file)) as (process, output):
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert file.read_text() in output
            databases += re.findall(r"postgresql://[^\s']+", output)

    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert files[0].read_text() == files[1].read_text()
    assert databases[0] == databases[1]
    names = [line.split("=")[0] for line in files[0].read_text().splitlines()]
    assert names == ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"]


def test_empty_project_holds_nothing_of_ours(open_tmp: Path) -> None:
    with running(open_tmp, "--empty") as (process, output):
        (dsn,) = re.findall(r"postgresql://[^\s']+", output)
        with psycopg.connect(dsn) as connection:
            found = connection.execute("select to_regnamespace('payments'), to_regclass('auth.users')").fetchone()
        process.send_signal(signal.SIGTERM)
        process.wait(30)

    assert found == (None, "auth.users")


def test_part_that_is_missing_is_named_before_anything_starts(open_tmp: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(open_tmp), "POSTGREST_BIN": "/no/postgrest"}

    done = subprocess.run(
        [sys.executable, "-m", "local_stack"], capture_output=True, text=True, env=environment, check=False, cwd="/"
    )

    assert done.returncode == 2
    assert "POSTGREST_BIN=/no/postgrest does not exist" in done.stderr
    assert "make setup" in done.stderr
    assert list(open_tmp.iterdir()) == []


def ended(temporary: Path, module: str, *arguments: str) -> tuple[int, str, str]:
    """How a command ends that cannot start: its exit status, its output and its errors."""
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd="/")
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("module", ["local_stack", "demo.storefront"])
def test_a_port_that_is_taken_is_named_before_anything_starts(open_tmp: Path, module: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = ended(open_tmp, module, "--port", str(port))

    assert told == (
        2,
        "",
        f"cannot listen on port {port} of 127.0.0.1 (Address already in use): stop what listens there, or name another "
        "port; without one, a free port is taken\n",
    )
    assert processes_mentioning(open_tmp) == {}
    assert list(open_tmp.iterdir()) == []


@pytest.mark.parametrize("module", ["local_stack", "demo.storefront"])
@pytest.mark.parametrize("port", ["0", "-1", "65536", "http"])
def test_what_is_no_port_is_refused(open_tmp: Path, module: str, port: str) -> None:
    status, output, errors = ended(open_tmp, module, f"--port={port}")

    assert (status, output) == (2, "")
    assert errors.endswith("error: argument --port: must be a number between 1 and 65535\n")


def test_a_kept_port_that_is_taken_meanwhile_is_named_with_the_file_that_keeps_it(open_tmp: Path) -> None:
    kept = open_tmp / "kept"
    with running(open_tmp, "--data", str(kept)) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    ports = json.loads((kept / "ports.json").read_text())

    # Taken first and kept then, because another program may be given the kept one at any moment.
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (kept / "ports.json").write_text(json.dumps(ports | {"gateway": port}))
        told = ended(open_tmp, "local_stack", "--data", str(kept))

    assert told == (
        2,
        "",
        f"cannot listen on port {port} of 127.0.0.1 (Address already in use): stop what listens there, or remove "
        f"{kept}/ports.json for new ports\n",
    )
    assert processes_mentioning(kept) == {}
