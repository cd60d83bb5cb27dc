"""Writes log lines from a thread of its own, so that a slow reader of the log, or none, does not delay deliveries."""

import atexit
import os
import select
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from relay.core.errors import errno_name

# How many lines may wait to be written: a shop's deliveries of several minutes, in a few MiB.
MOST_WAITING: Final = 8192
# POSIX writes up to so many bytes to a pipe in one piece, so that lines of other processes do not come in between.
BATCH_BYTES: Final = getattr(select, "PIPE_BUF", 512)
# How long the process waits at its end for lines that are not written yet.
CLOSING_SECONDS: Final = 2.0
NOBODY_READS: Final = "nobody reads the log"


class LogWriter:
    """A bounded queue of lines, and a thread that writes them to a file descriptor, whole and in order.

    `on_loss` is called with the number of lines that were lost, because the queue was full or writing failed; any
    thread may call it. `tell` makes the line that replaces them once writing works again, from how many were lost and
    why.
    """

    def __init__(self, descriptor: int, *, on_loss: Callable[[int], object], tell: Callable[[int, str], bytes]) -> None:
        self._descriptor = descriptor
        self._on_loss = on_loss
        self._tell = tell
        self._begin()
        if hasattr(os, "register_at_fork"):
            # gunicorn forks. The thread runs on in the parent, and writes the waiting lines there.
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._missing, self._why = 0, ""
        self._counting = threading.Lock()
        self._is_torn = False
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Queue a line, which must end with a newline. Never waits, never raises."""
        if self._thread is None:
            # A daemon thread, so that the process can end although a write hangs.
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
            atexit.register(self.end)
        if self._lines.qsize() < MOST_WAITING:
            self._lines.put(line)
        else:
            self._lose(1, NOBODY_READS)

    def end(self) -> None:
        """Wait until all lines are written, for CLOSING_SECONDS at most."""
        if self._thread is not None:
            self._lines.put(None)
            self._thread.join(CLOSING_SECONDS)

    def _run(self) -> None:
        line = self._lines.get()
        while line is not None:
            batch = [line]
            size = len(line)
            try:
                while (line := self._lines.get_nowait()) is not None and size + len(line) <= BATCH_BYTES:
                    batch.append(line)
                    size += len(line)
            except Empty:
                self._write(batch)
                line = self._lines.get()
            else:
                self._write(batch)

    def _write(self, batch: list[bytes]) -> None:
        if missing := self._missing:
            batch.insert(0, self._tell(missing, self._why))
        content = memoryview((b"\n" if self._is_torn else b"") + b"".join(batch))
        try:
            while content:
                content = content[self._write_some(content) :]
                self._is_torn = bool(content)
        except OSError as error:
            self._lose(len(batch) - bool(missing), errno_name(error) or "unknown error")
        else:
            with self._counting:
                self._missing -= missing

    def _write_some(self, content: memoryview) -> int:
        """Write as many bytes as the descriptor takes, and return how many. Raises OSError."""
        while True:
            try:
                return os.write(self._descriptor, content)
            except BlockingIOError:  # whoever started the relay has made the descriptor non-blocking
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()

    def _lose(self, count: int, why: str) -> None:
        with self._counting:
            self._missing += count
            self._why = why
        self._on_loss(count)
