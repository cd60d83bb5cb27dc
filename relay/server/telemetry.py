"""Logs one line per delivery, and counts it. No function here takes a body, a header or the text of an exception."""

import logging
import os
import time
from collections.abc import Callable
from typing import Final, Protocol

from prometheus_client import Counter

from relay.config import LOG_LEVELS
from relay.core.outcomes import Outcome, Reason, Verdict
from relay.metrics import Metrics
from relay.server.log_lines import NO_DELIVERY, Entry, Form, as_json, for_terminal
from relay.server.log_lines import Delivery as Delivery
from relay.server.log_writer import LogWriter

# Anybody can cause refusals, so a flood of them must not fill the log. Per reason, the first SAMPLE_LINES of each
# window are logged. The metrics count all of them, and the next window's first line says how many were not logged.
SAMPLE_WINDOW_SECONDS: Final = 10.0
SAMPLE_LINES: Final = 100
_LONGEST_FIELD: Final = 255
_STDOUT: Final = 1


class Stream(Protocol):
    """Takes the lines. Its `write` neither waits nor raises."""

    def write(self, line: bytes, /) -> object: ...


class Log:
    """Writes lines to standard output, or to another stream: JSON, and for a person where standard output is a
    terminal. `clock` returns seconds since 1970.
    """

    def __init__(
        self,
        level: str,
        stream: Stream | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._threshold = LOG_LEVELS.index(level)
        self._clock = clock
        self._form: Form = for_terminal() if stream is None and os.isatty(_STDOUT) else as_json
        self.on_loss: Callable[[int], object] = lambda _: None
        """Called with the number of lines that were lost. The log's own thread calls it, too."""
        self._stream = stream or LogWriter(_STDOUT, on_loss=lambda count: self.on_loss(count), tell=self._loss)

    def write(
        self,
        level: str,
        message: str,
        *,
        delivery: Delivery = NO_DELIVERY,
        outcome: Outcome | None = None,
        reason: Reason | None = None,
        status: int | None = None,
        duration_ms: float | None = None,
    ) -> None:
        """Write one line. A line that cannot be written is counted, and does not make a payment fail."""
        if LOG_LEVELS.index(level) >= self._threshold:
            entry = Entry(self._clock(), level, message, delivery, outcome, reason, status, duration_ms)
            self._stream.write(self._form(entry))

    def _loss(self, count: int, why: str) -> bytes:
        return self._form(Entry(self._clock(), "error", f"{count} lines are missing here: {why}", NO_DELIVERY))


class LibraryLog(logging.Handler):
    """Writes the log records of libraries in the same format. Their arguments and tracebacks are left out, because they
    quote request bytes, URLs and payloads.
    """

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's message template, and the class of its exception."""
        kind = record.exc_info[0] if record.exc_info else None
        suffix = f" ({kind.__name__})" if kind else ""
        level = record.levelname.lower()
        self._log.write(
            level if level in LOG_LEVELS else "error",
            f"{record.name}: {str(record.msg)[:_LONGEST_FIELD]}{suffix}",
        )


class Telemetry:
    """Logs and counts finished deliveries. `clock` returns monotonic seconds."""

    def __init__(self, log: Log, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self.metrics = metrics
        log.on_loss = metrics.lines_lost.inc
        self._clock = clock
        self._series: dict[tuple[Outcome, Reason | None, bool], tuple[Counter, ...]] = {}
        self._windows: dict[Reason | None, tuple[float, int]] = {}

    def delivered(self, delivery: Delivery, verdict: Verdict, seconds: float) -> None:
        """Count and log one finished delivery, which took `seconds`."""
        outcome, reason = verdict.outcome, verdict.reason
        key = outcome, reason, delivery.is_lifecycle
        series = self._series.get(key)
        if series is None:  # cached, because `labels` takes a lock and builds a key on every call
            counters = (self.metrics.deliveries, self.metrics.lifecycle_deliveries)[: 1 + delivery.is_lifecycle]
            series = self._series[key] = tuple(counter.labels(outcome, reason or "") for counter in counters)
        for each in series:
            each.inc()
        self.metrics.delivery_seconds.observe(seconds)
        if outcome is not Outcome.REFUSED:  # anybody can cause a refusal
            self.metrics.last_delivery.set(time.time())
        level = _level(outcome, reason)
        skipped = 0
        if outcome is Outcome.REFUSED and level != "error":
            if (count := self._sampled(reason)) is None:
                return
            skipped = count
        notes = [delivery.note] if delivery.note else []
        if skipped:
            notes.append(f"{skipped} more like this were not logged")
        message = f"{outcome}: {', '.join(notes)}" if notes else str(outcome)
        self.log.write(
            level,
            message,
            delivery=delivery,
            outcome=outcome,
            reason=reason,
            status=verdict.status,
            duration_ms=round(seconds * 1000, 1),
        )

    def _sampled(self, reason: Reason | None) -> int | None:
        """None where this line is not logged; else how many lines to report as not logged in the window before."""
        now = self._clock()
        start, count = self._windows.get(reason, (-SAMPLE_WINDOW_SECONDS, 0))
        if now - start >= SAMPLE_WINDOW_SECONDS:
            self._windows[reason] = (now, 1)
            return max(0, count - SAMPLE_LINES)
        self._windows[reason] = (start, count + 1)
        return 0 if count < SAMPLE_LINES else None


_ERROR_OUTCOMES: Final = frozenset({Outcome.REJECTED, Outcome.FAILED, Outcome.UNMATCHED})
_ERROR_REASONS: Final = frozenset({Reason.MALFORMED_EVENT, Reason.THIN_EVENT})
_WARNING_REASONS: Final = frozenset({Reason.LIVEMODE_MISMATCH, Reason.FOREIGN_ACCOUNT})


def _level(outcome: Outcome, reason: Reason | None) -> str:
    """The log level: `error` where somebody must act, `warning` where somebody should know, else `info`."""
    if outcome in _ERROR_OUTCOMES or reason in _ERROR_REASONS:
        return "error"
    if outcome is Outcome.REFUSED or reason in _WARNING_REASONS:
        return "warning"
    return "info"
