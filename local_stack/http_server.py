"""What PostgREST and the gateway have in common: a program on a port of the loopback."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path

from local_stack.errors import StartError
from local_stack.postgres import START_ATTEMPTS, free_port
from local_stack.process import GuardedProcess

READY_SECONDS = 60.0  # generous: a busy two-core machine
PROBE_SECONDS = 10.0
OWN = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # HTTP_PROXY is not for the loopback


def get_status(url: str, *, headers: dict[str, str] | None = None, timeout: float = PROBE_SECONDS) -> int | None:
    """The status of a GET, or None where nobody answers."""
    try:
        with OWN.open(urllib.request.Request(url, headers=headers or {}), timeout=timeout) as answer:  # noqa: S310  our own http:// address
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


class HttpServer(ABC):
    """A program that is started on a free port, keeps that port over restarts, and ends with us."""

    name: str
    host = "127.0.0.1"

    def __init__(self, *, log: Path, port: int | None = None) -> None:
        self.log = log
        self.port = port or 0
        self._process: GuardedProcess | None = None

    @abstractmethod
    def launch(self) -> GuardedProcess:
        """Start the program on `self.port`."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether this very program (not another one that took its port) answers."""

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the program runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The program's process id while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def exit_status(self) -> int | None:
        """How the program ended; None while it runs, or has not run yet."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start and wait until it is ready; does nothing while it runs. Raises StartError with its log."""
        if self.running:
            return
        fixed = self.port != 0
        for attempt in range(1, START_ATTEMPTS + 1):
            self.port = self.port if fixed else free_port()
            process = self._process = self.launch()
            deadline = time.monotonic() + READY_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                if self.is_ready() and process.poll() is None:
                    return
                time.sleep(0.02)  # a server of another program tells nobody that it is ready
            tail = process.log_tail()
            process.stop()
            # A program that ended at once has most likely lost its free port to another process.
            if fixed or process.poll() is None or attempt == START_ATTEMPTS or "in use" not in tail:
                break
        raise StartError(f"{self.name} did not start on {self.url}:\n{tail}")

    def stop(self) -> None:
        """Stop in order; `start()` continues on the same port."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
