"""The shipped unit: systemd understands it, and finds it locked down."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local_stack.errors import PartMissingError
from relay.cli import COMMANDS
from relay.server.serving import FINISH_SECONDS, LISTEN_ON_SECONDS

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
UNIT = DEPLOY / "relay@.service"
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


@pytest.mark.parametrize("job", ["sweep", "expire", "notify"])
def test_systemd_understands_each_timer_and_what_it_runs(tmp_path: Path, job: str) -> None:
    service = (DEPLOY / "relay-job@.service").read_text()
    assert "ExecStart=/opt/relay/bin/relay %i $ARGUMENTS\n" in service
    (tmp_path / f"relay-job@{job}.service").write_text(service.replace("/opt/relay/bin/relay", f'"{sys.executable}"'))
    timer = tmp_path / f"relay-job@{job}.timer"
    timer.write_text((DEPLOY / timer.name).read_text())

    done = analyze("verify", "--man=no", str(timer))

    assert [line for line in done.stderr.splitlines() if "relay-job" in line] == []
    calendar = next(line for line in timer.read_text().splitlines() if line.startswith("OnCalendar="))
    assert analyze("calendar", calendar.partition("=")[2]).returncode == 0
    assert job in COMMANDS


def test_exposure_of_the_jobs_is_as_low(tmp_path: Path) -> None:
    copy = tmp_path / "relay-job@sweep.service"
    text = (DEPLOY / "relay-job@.service").read_text()
    copy.write_text(text.replace("/opt/relay/bin/relay", f'"{sys.executable}"'))

    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(copy))

    assert done.returncode == 0, done.stdout + done.stderr


def cron_commands() -> list[str]:
    """What cron has the shell run."""
    lines = (DEPLOY / "relay.cron").read_text().splitlines()
    return [line.partition("relay  ")[2] for line in lines if " relay  out=" in line]


def test_cron_is_silent_where_all_is_well_and_prints_what_is_not(tmp_path: Path) -> None:
    relay = tmp_path / "relay"
    for command in cron_commands():
        for status, printed in ((0, ""), (1, "words\n")):
            relay.write_text(f"#!/bin/sh\necho words\nexit {status}\n")
            relay.chmod(0o755)
            path = f"{tmp_path}:/usr/bin:/bin"
            done = subprocess.run(
                ["/bin/sh", "-c", command], env={"PATH": path}, capture_output=True, text=True, check=False
            )
            assert (done.stdout, done.stderr) == (printed, ""), command
    assert len(cron_commands()) == 3


def test_cron_reads_an_address_as_it_stands(tmp_path: Path) -> None:
    """It names no service, so that nobody is asked for anything before it is read."""
    settings = tmp_path / "relay.env"
    settings.write_text("ONCALL=nothing://user:pa$$word@example.com?to=ada&from=bob\n")
    (command,) = (one.replace("/etc/relay/relay.env", str(settings)) for one in cron_commands() if "notify" in one)

    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(["/bin/sh", "-c", command], env={"PATH": path}, capture_output=True, text=True, check=False)

    assert done.stdout.startswith("relay: --to, address 1: apprise cannot read it")
    assert done.stderr == ""


def test_relay_has_more_time_to_stop_than_it_takes() -> None:
    (line,) = (line for line in UNIT.read_text().splitlines() if line.startswith("TimeoutStopSec="))

    assert int(line.partition("=")[2]) > LISTEN_ON_SECONDS + FINISH_SECONDS
