"""Ending in order: every polite signal becomes the KeyboardInterrupt that context managers already handle."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the block.

    SIGINT too, because a shell starts background jobs with it ignored. An ignored SIGHUP stays so: that is
    what nohup is for.
    """

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    former = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def wait_for_interrupt() -> None:
    """Sleep until a signal raises KeyboardInterrupt here."""
    while True:
        signal.pause()
