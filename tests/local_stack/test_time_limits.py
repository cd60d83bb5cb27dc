"""A suite that hangs ends, and says where it stood."""

import subprocess
import sys
from pathlib import Path

from local_stack.supabase_cli import REPOSITORY

HANGING = """
import time
import pytest

@pytest.fixture
def lasting():
    yield
    time.sleep(1000)  # for what the test has left behind

def test_that_hangs(lasting):
    time.sleep(1000)
"""


def test_a_teardown_that_hangs_after_its_test_was_ended_is_ended_too(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    limits = ("-o", "timeout=1", "-o", "faulthandler_timeout=2")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(REPOSITORY / "pyproject.toml"), *limits, str(tmp_path)]

    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 1
    assert "in lasting" in ended.stderr.partition("Timeout (0:00:02)!")[2]
