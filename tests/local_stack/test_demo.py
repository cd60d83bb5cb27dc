"""`make demo`, as a newcomer meets it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.local_stack.processes import processes_mentioning


def test_demo_goes_as_promised_can_be_continued_by_hand_and_leaves_nothing(open_tmp: Path) -> None:
    command = [sys.executable, "-m", "demo", "--keep"]
    environment = {**os.environ, "TMPDIR": str(open_tmp)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd="/") as demo:
        assert demo.stdout is not None
        lines: list[str] = []
        for line in demo.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1].startswith("# Look into the database"):
                break
        send = next((line for line in lines if "demo.send" in line and "--times 2" in line), None)
        assert send is not None, "\n".join(lines)
        sent = subprocess.run(shlex.split(send), capture_output=True, text=True, check=False, cwd="/")

        demo.send_signal(signal.SIGINT)
        status = demo.wait(60)

    assert [line for line in lines if "As promised" in line], "\n".join(lines)
    assert status == 0
    answers = [line.split(" ", 1) for line in sent.stdout.splitlines()]
    assert [(code, json.loads(body)["outcome"]) for code, body in answers] == [("200", "applied"), ("200", "replayed")]
    # Plain text that fits a page, where it is no terminal; commands to copy are one line each.
    prose = lines[: lines.index("It is still running")]
    assert max(len(line.rstrip()) for line in prose) <= 80
    assert "\x1b" not in "".join(lines)
    assert processes_mentioning(open_tmp) == {}
    assert list(open_tmp.iterdir()) == []
