"""A server under test: a process of its own, pinned to a processor of its own, and what it used."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from local_stack.http_server import HttpServer, get_status
from local_stack.process import GuardedProcess
from local_stack.supabase_cli import REPOSITORY
from testkit.relay_process import inherited_environment

# The process under test has the first processor for itself; callers, the Data API and the floor's peers share the rest.
SUBJECT_CPUS = {0}
HIGH_WATER = "VmHWM:"


@contextlib.contextmanager
def on_cpus(cpus: set[int]) -> Iterator[None]:
    """What is started meanwhile runs there. Does nothing on a machine with one processor."""
    before = os.sched_getaffinity(0)
    if len(before) > 1 and cpus & before:
        os.sched_setaffinity(0, cpus & before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def other_cpus() -> set[int]:
    """All but the subject's."""
    return os.sched_getaffinity(0) - SUBJECT_CPUS or os.sched_getaffinity(0)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to start a server. The port travels as PORT, or in the command's `{port}`."""

    name: str
    command: Sequence[str]
    folder: Path = REPOSITORY
    ready_path: str = "/"


class Subject(HttpServer):
    """A recipe's server on a free port, with the settings of a relay in its environment."""

    def __init__(self, recipe: Recipe, *, env: Mapping[str, str], log: Path, cpus: set[int] | None = None) -> None:
        super().__init__(log=log)
        self.name = recipe.name
        self._recipe = recipe
        self._env = env
        self._cpus = cpus or SUBJECT_CPUS

    def launch(self) -> GuardedProcess:
        """Start it where it is to run."""
        with on_cpus(self._cpus):
            return GuardedProcess(
                [part.format(port=self.port) for part in self._recipe.command],
                log=self.log,
                env={**inherited_environment(), **self._env, "RELAY_HOST": self.host, "PORT": str(self.port)},
                cwd=self._recipe.folder,
            )

    def is_ready(self) -> bool:
        """Anything but silence will do: peers have no route for this."""
        return get_status(f"{self.url}{self._recipe.ready_path}") is not None

    def cpu_seconds(self) -> float:
        """User and system time so far, its children's included."""
        assert self.pid is not None  # noqa: S101  for the type: it has been started
        return cpu_seconds(self.pid)

    def peak_bytes(self) -> int:
        """The most memory that it has ever been resident with."""
        assert self.pid is not None  # noqa: S101  for the type: it has been started
        return sum(_high_water(each.pid) for each in _family(self.pid))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children so far."""
    times = [each.cpu_times() for each in _family(pid)]
    return float(sum(each.user + each.system for each in times))


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _high_water(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(HIGH_WATER):
            return int(line.split()[1]) * 1024
    return 0
