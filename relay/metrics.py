"""Prometheus series: what `/metrics` shows."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

# From a warm local stack (5 ms) up to Stripe's patience; 3 s and 8 s are the database's own limits.
_SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 10.0)


class Metrics:
    """Prometheus series on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.deliveries = Counter(
            "relay_deliveries",
            "Webhook deliveries by what they ended in.",
            ("outcome", "reason"),
            registry=self.registry,
        )
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
        self.rpc_retries = Counter(
            "relay_rpc_retries", "Calls sent a second time, by why.", ("reason",), registry=self.registry
        )
        self.in_flight = Gauge(
            "relay_deliveries_in_flight", "Deliveries that have no answer yet.", registry=self.registry
        )
        self.rpcs_waiting = Gauge(
            "relay_rpcs_waiting",
            "Deliveries that wait for a slot towards the Data API.",
            registry=self.registry,
        )
        self.ready = Gauge("relay_ready", "1 while the last readiness check passed.", registry=self.registry)
        self.lines_lost = Gauge("relay_log_lines_lost", "Log lines that could not be written.", registry=self.registry)
