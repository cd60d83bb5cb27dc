"""`make setup`: instant when done, alone when two run, clear when it can't."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local_stack.supabase_cli import REPOSITORY

SETUP = "scripts/setup.py"
INPUTS = (
    SETUP, "requirements/dev.txt", "requirements/versions.txt", "requirements/node.txt", "pyproject.toml",
    "package.json", "package-lock.json", ".npmrc",
)  # fmt: skip
ASK = "import runpy, sys; names = runpy.run_path(sys.argv[1]); print(names['fingerprint']())"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the set-up reads, in a folder with a space, and nothing installed."""
    root = tmp_path / "a clone"
    for name in INPUTS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    return root


def fingerprint(root: Path) -> str:
    command = [sys.executable, "-c", ASK, str(root / SETUP)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def pretend_done(root: Path) -> None:
    """What a completed set-up leaves behind, as far as it looks."""
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/python").symlink_to(sys.executable)
    (root / "node_modules").mkdir()
    (root / "node_modules/.package-lock.json").touch()
    (root / ".venv/.setup-stamp").write_text(fingerprint(root))


@pytest.mark.parametrize("changed", INPUTS)
def test_changed_input_calls_for_a_new_set_up(clone: Path, changed: str) -> None:
    before = fingerprint(clone)

    with (clone / changed).open("a") as handle:
        handle.write("\n")

    assert fingerprint(clone) != before


def test_finished_set_up_does_nothing_more(clone: Path) -> None:
    pretend_done(clone)

    done = subprocess.run([sys.executable, str(clone / SETUP)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_second_set_up_waits_for_the_first_and_then_has_nothing_to_do(clone: Path) -> None:
    lock = os.open(clone, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with subprocess.Popen([sys.executable, str(clone / SETUP)], stderr=subprocess.PIPE, text=True) as second:
        inode = f":{clone.stat().st_ino} "
        deadline = time.monotonic() + 30
        while not any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()):
            assert second.poll() is None
            assert time.monotonic() < deadline

        pretend_done(clone)
        os.close(lock)
        _, errors = second.communicate(timeout=30)

    assert (second.returncode, errors) == (0, "")


def test_old_python_is_told_what_to_do(clone: Path) -> None:
    pretend = "import sys; sys.version_info = (3, 9); exec(compile(open(sys.argv[1]).read(), 'setup.py', 'exec'))"

    done = subprocess.run(
        [sys.executable, "-c", pretend, str(clone / SETUP)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "make PYTHON=" in done.stderr
