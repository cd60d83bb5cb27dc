"""Looking at other people's children: which processes there are, and waiting for their end."""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path

END_SECONDS = 30.0


def processes_mentioning(text: str | Path) -> dict[int, str]:
    """Command lines, by process id, that hold the text; zombies have none."""
    listing = subprocess.run(["ps", "-eww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    found = (line.split(None, 1) for line in listing.splitlines() if str(text) in line)
    return {int(pid): args for pid, args in found}


def wait_for_end(pids: list[int]) -> None:
    """Return when all have ended; fails after END_SECONDS. They need not be our children."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ready, _, _ = select.select([handle], [], [], END_SECONDS)
            assert ready, f"process {pid} still runs"
        finally:
            os.close(handle)
