"""Writes the log from a thread of its own, so that nobody who reads it slowly, or not at all, holds the relay up."""

import atexit
import errno
import os
import select
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

# Lines that may wait for the log's reader: minutes of a shop's deliveries, and a few MiB.
MOST_WAITING: Final = 8192
# What is written at once, so much at most, is not torn by what other processes write to the same pipe (POSIX, write()).
BATCH_BYTES: Final = getattr(select, "PIPE_BUF", 512)
# How long the end of the process may wait for the lines that are still to be written.
CLOSING_SECONDS: Final = 2.0
NOBODY_READS: Final = "nobody reads the log"


class LogWriter:
    """A bounded queue of lines, and a thread that writes them to a descriptor, whole and in order.

    `on_loss` is called with the number of lines that find no place or cannot be written, in whichever thread that is.
    `tell` words the line that stands in their place once writing works again: how many are missing, and why.
    """

    def __init__(self, descriptor: int, *, on_loss: Callable[[int], object], tell: Callable[[int, str], bytes]) -> None:
        self._descriptor = descriptor
        self._on_loss = on_loss
        self._tell = tell
        self._begin()
        if hasattr(os, "register_at_fork"):
            # gunicorn's: the thread stays with the parent, and so do the lines that it has to write.
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._missing, self._why = 0, ""
        self._counting = threading.Lock()
        self._is_torn = False
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Have a line written, which brings its newline along. Never waits, never raises."""
        if self._thread is None:
            # A daemon: the process shall end though a write may never.
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
            atexit.register(self.end)
        if self._lines.qsize() < MOST_WAITING:
            self._lines.put(line)
        else:
            self._lose(1, NOBODY_READS)

    def end(self) -> None:
        """Wait until all is written, but no longer than CLOSING_SECONDS."""
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
            self._lose(len(batch) - bool(missing), errno.errorcode.get(error.errno or 0, "unknown error"))
        else:
            with self._counting:
                self._missing -= missing

    def _write_some(self, content: memoryview) -> int:
        """Write what goes. Raises OSError."""
        while True:
            try:
                return os.write(self._descriptor, content)
            except BlockingIOError:  # whoever started the relay has made it so
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()

    def _lose(self, count: int, why: str) -> None:
        with self._counting:
            self._missing += count
            self._why = why
        self._on_loss(count)
