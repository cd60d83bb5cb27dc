"""Child processes that end with us, however we end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_stack.binaries import Identity
from local_stack.errors import StartError

GUARD = Path(__file__).with_name("guard.py")
LOG_TAIL_BYTES = 4000  # enough for the reason of a failed start, short enough to read


class GuardedProcess:
    """A program under `guard.py`: stopped, and its directory removed, even when we are killed.

    `identity` is who runs it. `grace` is in seconds: how long the program has after `stop_signal` before SIGKILL.
    Raises StartError where it cannot be executed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | str = "/",
        identity: Identity | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace: float = 10.0,
        remove: Path | None = None,
    ) -> None:
        self.log = log
        self.command = list(command)
        options = {
            "command": self.command,
            "log": str(log),
            "cwd": str(cwd),
            "identity": dict(identity or {}),
            "stop_signal": int(stop_signal),
            "grace": grace,
            "remove": str(remove) if remove else None,
        }
        log_handle = log.open("ab")
        with log_handle:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_handle,
                env=None if env is None else dict(env),
                start_new_session=True,  # a Ctrl-C in the terminal reaches us alone
            )
        assert self._guard.stdout is not None  # noqa: S101
        first = self._guard.stdout.readline()
        self._guard.stdout.close()
        if not first:
            self._guard.wait()
            self._close_input()
            raise StartError(f"{self.command[0]} cannot be executed:\n{self.log_tail()}")
        self.pid = int(first)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._guard.poll()

    def stop(self, *, keep: bool = True) -> None:
        """Stop the program and wait for it; `keep=False` removes the directory given as `remove` too."""
        assert self._guard.stdin is not None  # noqa: S101
        if keep and not self._guard.stdin.closed:
            with contextlib.suppress(OSError):
                self._guard.stdin.write(b"keep")
        self._close_input()
        self._guard.wait()

    def kill(self) -> None:
        """End the program as a crash would, and wait until it is gone."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._guard.wait()
        self._close_input()

    def log_tail(self) -> str:
        """The end of what the program wrote."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()

    def _close_input(self) -> None:
        assert self._guard.stdin is not None  # noqa: S101
        with contextlib.suppress(OSError):
            self._guard.stdin.close()
