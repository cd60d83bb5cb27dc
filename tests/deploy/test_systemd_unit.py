"""The shipped unit: systemd understands it, and finds it locked down."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local_stack.errors import PartMissingError
from relay.server.serving import FINISH_SECONDS, LISTEN_ON_SECONDS

UNIT = Path(__file__).parent.parent.parent / "deploy" / "relay@.service"
# systemd's own scale, from 0 (locked down) to 100; a service without any hardening has 96.
EXPOSURE = 20


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        raise PartMissingError("systemd-analyze is missing; on Debian `make deploy-test` as root installs it")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a relay that exists on this machine; `verify` insists on that."""
    copy = tmp_path / UNIT.name
    text = UNIT.read_text()
    assert "ExecStart=/opt/relay/bin/relay serve\n" in text
    # In quotes, because a clone's path may hold spaces.
    copy.write_text(text.replace("/opt/relay/bin/relay", f'"{sys.executable}"'))
    return copy


def test_systemd_understands_every_line(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))

    assert [line for line in done.stderr.splitlines() if unit.name in line or "relay@" in line] == []


def test_a_line_that_systemd_does_not_know_would_be_noticed(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("PrivateTmp=", "PrivateTemp="))

    assert "PrivateTemp" in analyze("verify", "--man=no", str(unit)).stderr


def test_exposure_is_low_by_systemds_own_measure(unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(unit))

    assert done.returncode == 0, done.stdout + done.stderr


def test_relay_has_more_time_to_stop_than_it_takes() -> None:
    (line,) = (line for line in UNIT.read_text().splitlines() if line.startswith("TimeoutStopSec="))

    assert int(line.partition("=")[2]) > LISTEN_ON_SECONDS + FINISH_SECONDS
