"""The Prometheus series that `/metrics` shows."""

import os
from collections.abc import Mapping
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from relay.core.outcomes import EXCEPTION_REASONS, REASONS_OF, Notice, Outcome, Reason

# In seconds: from 5 ms, a warm local stack, up to 10 s, in which Stripe wants an answer. 3 s and 8 s are the database's
# lock_timeout and statement_timeout.
_SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 10.0)

# 32 is what the database takes in one call.
_PAYMENTS_BUCKETS: Final = (1, 2, 4, 8, 16, 32)

# prometheus-client reads this variable: the folder in which several processes share their values.
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"


class LateGauge:
    """A gauge that is absent until it is set, because zero would be a claim. `mode` says how the values of several
    workers are combined (relay.server.workers).
    """

    def __init__(
        self, name: str, documentation: str, *, registry: CollectorRegistry, mode: Literal["livemostrecent", "max"]
    ) -> None:
        self._arguments = (name, documentation)
        self._registry = registry
        self._mode = mode
        self._gauge: Gauge | None = None

    def set(self, value: float) -> None:
        """Set it, and show it from now on."""
        if self._gauge is None:
            self._gauge = Gauge(*self._arguments, registry=self._registry, multiprocess_mode=self._mode)
        self._gauge.set(value)


class Metrics:
    """The series, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.deliveries = Counter(
            "relay_deliveries",
            "Deliveries by what they ended in.",
            ("outcome", "reason"),
            registry=self.registry,
        )
        self.lifecycle_deliveries = Counter(
            "relay_lifecycle_deliveries",
            "Those of the deliveries that came to the lifecycle route.",
            ("outcome", "reason"),
            registry=self.registry,
        )
        for outcome, reasons in REASONS_OF.items():
            for each in reasons:
                # Start at zero: a series that begins at one shows no increase, so no alert would see the first one.
                self.deliveries.labels(outcome, each or "")
                self.lifecycle_deliveries.labels(outcome, each or "")
        self.delivery_seconds = Histogram(
            "relay_delivery_seconds",
            "Seconds from the request's head to its answer.",
            buckets=_SECONDS_BUCKETS,
            registry=self.registry,
        )
        self.rpc_seconds = Histogram(
            "relay_rpc_seconds",
            "Seconds that the call of the database function took, retries and waiting included.",
            buckets=_SECONDS_BUCKETS,
            registry=self.registry,
        )
        self.payments_per_call = Histogram(
            "relay_payments_per_call",
            "Payments that a call of the database function carried; its count is the number of calls.",
            buckets=_PAYMENTS_BUCKETS,
            registry=self.registry,
        )
        self.notices = Counter(
            "relay_awaiting_funds_notices",
            "Notices to the database that an order group's money is under way, by what became of them.",
            ("outcome",),
            registry=self.registry,
        )
        for outcome in (*Notice, Outcome.FAILED):
            self.notices.labels(outcome)
        self.rpc_retries = Counter(
            "relay_rpc_retries",
            "Payments sent a second time, alone, after a call of their own or one that they shared; by why.",
            ("reason",),
            registry=self.registry,
        )
        for reason in (Reason.DATABASE_UNAVAILABLE, Reason.DEADLOCK, Reason.LOCK_TIMEOUT, Reason.CONTRACT_VIOLATION):
            self.rpc_retries.labels(reason)
        # The mode says how the values of several workers are combined (relay.server.workers).
        self.in_flight = Gauge(
            "relay_deliveries_in_flight",
            "Deliveries that have no answer yet.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.rpcs_waiting = Gauge(
            "relay_rpcs_waiting",
            "Deliveries that wait for a slot towards the Data API.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.ready = LateGauge(
            "relay_ready",
            "1 while the last readiness check passed; absent before the first one.",
            registry=self.registry,
            mode="livemostrecent",
        )
        self._open_exceptions = Gauge(
            "relay_open_exceptions",
            "Payments that wait for a person, by reason, as the last readiness check found them.",
            ("reason",),
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self._reasons: set[str] = {*EXCEPTION_REASONS}
        self._oldest_open_exception = LateGauge(
            "relay_oldest_open_exception_seconds",
            "How long the oldest of them has waited; 0 where none does.",
            registry=self.registry,
            mode="livemostrecent",
        )
        self.last_delivery = LateGauge(
            "relay_last_delivery_timestamp_seconds",
            "When the last delivery of Stripe's came, refused ones aside, in seconds since 1970.",
            registry=self.registry,
            mode="max",
        )
        self.connections_refused = Counter(
            "relay_connections_refused",
            "Connections that were closed because there was no file descriptor for more.",
            registry=self.registry,
        )
        self.lines_lost = Gauge(
            "relay_log_lines_lost",
            "Log lines that could not be written.",
            registry=self.registry,
            multiprocess_mode="sum",
        )

    def show_exceptions(self, open_exceptions: Mapping[str, int], oldest_seconds: float) -> None:
        """Show how many payments of each reason wait for a person, and for how long the oldest has."""
        self._reasons |= open_exceptions.keys()
        for reason in self._reasons:
            self._open_exceptions.labels(reason).set(open_exceptions.get(reason, 0))
        self._oldest_open_exception.set(oldest_seconds)

    def exposition(self) -> bytes:
        """All series in Prometheus' text format: this process's, or those of all workers where there are several."""
        registry = self.registry
        if os.environ.get(SHARED_FOLDER):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
