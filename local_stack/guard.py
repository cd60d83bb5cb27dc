"""Runs one program for an owner and never outlives it: started by `process.GuardedProcess`, not by hand.

The owner holds the other end of our standard input. When that closes, whatever the reason (the owner's own
clean-up, Ctrl-C, SIGKILL), the program is told to stop and, unless the owner wrote `keep` before, the
directory is removed. Standard library only and no import of the package, so that it starts in a few
milliseconds under `python -I -S`.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(argument: str) -> int:
    """Run the program that the JSON argument describes; the exit status is the program's own."""
    options: dict[str, Any] = json.loads(argument)
    # A terminal sends its Ctrl-C to the owner, which then decides; nothing here may die before the program.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    def before_exec() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if sys.platform == "linux":  # even a SIGKILL of this guard does not orphan the program
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, options["stop_signal"], 0, 0, 0)

    with Path(options["log"]).open("ab") as log:
        child = subprocess.Popen(
            options["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=options["cwd"],
            preexec_fn=before_exec,
            **options["identity"],
        )
    print(child.pid, flush=True)

    orders: list[str] = []

    def obey() -> None:
        orders.append(sys.stdin.read())
        if child.poll() is None:
            child.send_signal(options["stop_signal"])
            try:
                child.wait(options["grace"])
            except subprocess.TimeoutExpired:
                child.kill()

    threading.Thread(target=obey, daemon=True).start()
    status = child.wait()
    if orders and options["remove"] and "keep" not in orders[0]:
        shutil.rmtree(options["remove"], ignore_errors=True)
    # os._exit: the thread may still sit in its read, which an ordinary exit would wait for.
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main(sys.argv[1])
