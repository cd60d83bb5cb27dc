"""Asks the relay's own readiness every WATCH_SECONDS, so that its metrics are true of now, whoever else asks, and tells
the log when it is lost and when it is back.

Of several workers one asks, because all of them share the metrics: the one that holds a lock on a file in the folder of
these. The lock goes with its process, and the next worker takes its turn.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from relay.metrics import SHARED_FOLDER
from relay.server.app import READINESS, TELEMETRY
from relay.server.readiness import Readiness
from relay.server.telemetry import Telemetry

WATCH_SECONDS: Final = 30.0
_LOCK: Final = "watching.lock"


async def watching(app: web.Application) -> AsyncIterator[None]:
    """Watch while the application lives: a context for `cleanup_ctx`, after those of `make_app`."""
    task = asyncio.create_task(_watch(app[READINESS], app[TELEMETRY]))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _watch(readiness: Readiness, telemetry: Telemetry) -> None:
    failing: set[str] = set()
    with _Turn() as turn:
        while True:
            if turn.is_ours():
                failing = await _ask(readiness, telemetry, failing)
            await asyncio.sleep(WATCH_SECONDS)


async def _ask(readiness: Readiness, telemetry: Telemetry, before: set[str]) -> set[str]:
    """Make the checks, and tell where others fail than before; the names of those that fail now."""
    try:
        checks = await readiness.checks()
    except Exception as error:  # a fault of the relay itself must not leave the last good answer standing for ever
        telemetry.metrics.ready.set(0)
        telemetry.log.write("error", f"the readiness check itself has failed: {type(error).__name__}")
        return before
    failed = [] if readiness.draining else [check for check in checks if not check.ok]
    failing = {check.name for check in failed}
    if failing - before:
        told = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        telemetry.log.write("warning", f"not ready to reconcile: {told}")
    elif before and not failing:
        telemetry.log.write("info", "ready to reconcile again")
    return failing


class _Turn:
    """Whose turn it is among several workers; always ours where there is one process."""

    def __init__(self) -> None:
        folder = os.environ.get(SHARED_FOLDER)
        self._file = os.open(Path(folder) / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC) if folder else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)

    def is_ours(self) -> bool:
        """Take the lock, or see that this worker has it, or that another one does."""
        if self._file is None:
            return True
        import fcntl  # not on Windows, which has no workers either

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
