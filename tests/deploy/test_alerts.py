"""The alerts over time: each fires when it should, stays as long as it should, and is silent on a healthy relay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local_stack.postgres import free_port
from relay.core.outcomes import REASONS_OF, REJECTIONS, UNMATCHED_REASONS
from relay.server import readiness, watching
from testkit.data_api_server import DataApi, Reset
from testkit.polling import until
from testkit.relay_under_test import environ, serving
from testkit.stripe_events import completed
from tests.deploy import prometheus
from tests.deploy.prometheus import Values, assert_firing

HOUR = 60  # minutes
DAY = 24 * HOUR
# A play of days has a sample every so many minutes; promtool's work grows with the square of their number.
STEP = 20


def constant(value: float) -> Values:
    return lambda _: value


def counter(rate: Callable[[int], float]) -> Values:
    """What a counter shows where so much is added before each sample."""
    sums: list[float] = []

    def at(number: int) -> float:
        while len(sums) <= number:
            sums.append((sums[-1] if sums else 0.0) + rate(len(sums)))
        return sums[number]

    return at


def deliveries(outcome: str, reason: str = "", route: str = "") -> str:
    return f'relay{route}_deliveries_total{{instance="a",outcome="{outcome}",reason="{reason}"}}'


def waiting(reason: str, instance: str = "a") -> str:
    return f'relay_open_exceptions{{instance="{instance}",reason="{reason}"}}'


def series(**changes: Values) -> dict[str, Values]:
    """Every series of a relay that a shop keeps busy and nothing is wrong with; `changes` are by outcome."""
    healthy: dict[str, Values] = {
        'relay_ready{instance="a"}': constant(1),
        'relay_oldest_open_exception_seconds{instance="a"}': constant(0),
        'relay_log_lines_lost{instance="a"}': constant(0),
        'relay_rpcs_waiting{instance="a"}': constant(0),
        'relay_connections_refused_total{instance="a"}': constant(0),
        'relay_awaiting_funds_notices_total{instance="a",outcome="failed"}': constant(0),
        **{waiting(str(reason)): constant(0) for reason in REJECTIONS | UNMATCHED_REASONS},
        **{deliveries(o, str(r or "")): constant(0) for o, reasons in REASONS_OF.items() for r in reasons},
        **{
            deliveries(o, str(r or ""), "_lifecycle"): constant(0) for o, reasons in REASONS_OF.items() for r in reasons
        },
        deliveries("applied"): counter(lambda _: 2),
    }
    return healthy | {deliveries(*name.split("__")): value for name, value in changes.items()}


def at(alert: str, *, yes: Iterable[int], no: Iterable[int]) -> dict[int, set[str]]:
    """The alert fires at these minutes, and does not at those."""
    return {**{minute: {alert} for minute in yes}, **{minute: set() for minute in no}}


def test_a_healthy_relay_is_silent_whatever_the_hour(tmp_path: Path) -> None:
    assert_firing(tmp_path, series(), {minute: set() for minute in range(0, 130, 13)}, interval=1)
    assert_firing(tmp_path, series(), {minute: set() for minute in range(0, 9 * DAY, 4 * HOUR)}, interval=STEP)


def test_an_open_exception_is_told_until_nobody_waits_any_more(tmp_path: Path) -> None:
    def opened(number: int) -> float | None:
        if 200 <= number < 203:
            return None  # the relay restarts, and has not asked yet
        return float(10 <= number < 600)

    both = {waiting("amount_mismatch"): opened, waiting("amount_mismatch", "b"): opened}

    expected = at("PaymentNeedsAPerson", yes=(10, 30, 150, 201, 202, 300, 599), no=(9, 600))
    assert_firing(tmp_path, series() | both, expected, interval=1)


def test_every_reason_is_told_and_a_second_payment_by_its_name(tmp_path: Path) -> None:
    twice = {"duplicate_payment", "payment_already_used"}
    for reason in REJECTIONS | UNMATCHED_REASONS:
        expected = {"PaymentNeedsAPerson"} | ({"DuplicatePayment"} if reason in twice else set())
        assert_firing(tmp_path, series() | {waiting(str(reason)): constant(3)}, {5: expected}, interval=1)


def test_a_payment_that_waits_for_days_wakes_somebody(tmp_path: Path) -> None:
    age: dict[str, Values] = {
        'relay_oldest_open_exception_seconds{instance="a"}': lambda number: number * STEP * 60.0,
        deliveries("applied"): counter(lambda _: 2),
    }

    expected = at("PaymentWaitsForDays", yes=(3 * DAY + STEP, 4 * DAY), no=(DAY, 3 * DAY))
    assert_firing(tmp_path, series() | age, expected, interval=STEP)


def test_lost_log_lines_are_told_until_an_hour_after_the_last_one_and_again_after_a_restart(tmp_path: Path) -> None:
    def lost(number: int) -> float:
        if number < 200:
            return float(sum(number >= minute for minute in (10, 11, 40)))
        return float(number >= 220)  # the relay has been restarted, and counts from zero

    log: dict[str, Values] = {'relay_log_lines_lost{instance="a"}': lost}

    expected = at("LogLinesLost", yes=(10, 30, 71, 98, 220, 278), no=(9, 101, 150, 199, 200, 219, 281))
    assert_firing(tmp_path, series() | log, expected, interval=1)


def test_a_relay_that_is_not_ready_or_gone_is_told_after_two_minutes(tmp_path: Path) -> None:
    ready = 'relay_ready{instance="a"}'
    down: dict[str, Values] = {ready: lambda number: float(not 10 <= number < 40)}
    gone: dict[str, Values] = {ready: lambda number: None if 10 <= number < 40 else 1.0}

    assert_firing(tmp_path, series() | down, at("RelayNotReady", yes=(12, 30, 39), no=(9, 11, 40)), interval=1)
    # promtool shows the last sample for five minutes more: nothing tells it that the target is gone.
    assert_firing(tmp_path, series() | gone, at("NoRelay", yes=(17, 30, 39), no=(9, 15, 40)), interval=1)


@pytest.mark.parametrize("how", ["failed__timeout", "rejected__amount_mismatch"])
@pytest.mark.parametrize("pause", [1, 12])  # hours: a busy shop, and a quiet one of which Stripe tries one event again
def test_an_endpoint_that_answers_nothing_but_500_is_told_before_stripe_switches_it_off(
    tmp_path: Path, how: str, pause: int
) -> None:
    noon = 12 * HOUR // STEP
    failing = counter(lambda number: float(number >= noon and (number - noon) * STEP % (pause * HOUR) == 0))
    ended = counter(lambda number: float(number < noon))
    hours = (37, 48, 60, 72)
    alert = "StripeWillSwitchTheEndpointOff"

    nothing_else = series(**{how: failing, "applied": ended})
    expected = at(alert, yes=[hour * HOUR for hour in hours], no=[hour * HOUR for hour in (11, 14, 20, 30)])
    assert_firing(tmp_path, nothing_else, expected, interval=STEP, only=alert)
    expected = at(alert, yes=(), no=[hour * HOUR for hour in hours])
    assert_firing(tmp_path, series(**{how: failing}), expected, interval=STEP, only=alert)

    # The second endpoint's deliveries are counted in both series: neither endpoint hides the other.
    outcome, reason = how.split("__")
    second = {how: failing, "applied": counter(lambda number: float(number % 3 == 0))}
    only_second = series(**second) | {deliveries(outcome, reason, "_lifecycle"): failing}
    expected = at(alert, yes=[hour * HOUR for hour in hours], no=[14 * HOUR])
    assert_firing(tmp_path, only_second, expected, interval=STEP, only=alert)
    recorded = counter(lambda _: 1.0)
    hidden = series(**{how: failing, "applied": ended, "recorded": recorded}) | {
        deliveries("recorded", "", "_lifecycle"): recorded
    }
    expected = at(alert, yes=[hour * HOUR for hour in hours], no=[14 * HOUR])
    assert_firing(tmp_path, hidden, expected, interval=STEP, only=alert)


@pytest.mark.parametrize("days", [2, 8])  # less than a week of history, and more
def test_silence_where_there_used_to_be_deliveries_is_told_and_stays(tmp_path: Path, days: int) -> None:
    start = days * DAY
    selling = counter(lambda number: float(not start <= number * STEP < start + 5 * DAY))

    expected = at(
        "NoDeliveries",
        yes=[start + hour * HOUR for hour in (7, 20, 30, 50, 71, 73, 80, 100, 119)],
        no=[start + hour * HOUR for hour in (-1, 1, 5, 121)],
    )
    assert_firing(tmp_path, series(applied=selling), expected, interval=STEP)


def test_refusals_are_no_deliveries(tmp_path: Path) -> None:
    selling = counter(lambda number: float(number * STEP < 2 * DAY))
    knocking = series(applied=selling, refused__missing_signature=counter(lambda _: 5))

    assert_firing(tmp_path, knocking, {2 * DAY + 7 * HOUR: {"NoDeliveries"}}, interval=STEP)


def by_day(number: int) -> float:
    return float(9 * HOUR <= number * STEP % DAY < 21 * HOUR)


def on_weekdays(number: int) -> float:
    return by_day(number) if number * STEP // DAY % 7 < 5 else 0.0


def once_a_day(number: int) -> float:
    return float(number * STEP % DAY == 15 * HOUR)


@pytest.mark.parametrize(("shop", "since_day"), [(by_day, 0), (on_weekdays, 7.25), (once_a_day, 0)])
def test_nights_weekends_and_small_shops_are_no_silence(
    tmp_path: Path, shop: Callable[[int], float], since_day: float
) -> None:
    minutes = range(int(since_day * DAY), 16 * DAY, 3 * HOUR)

    assert_firing(tmp_path, series(applied=counter(shop)), {minute: set() for minute in minutes}, interval=STEP)


@pytest.mark.anyio
async def test_a_real_prometheus_hears_of_a_real_relay_what_is_wrong_and_nothing_else(
    tmp_path: Path, data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(readiness, "CACHE_SECONDS", 0.0)
    port = free_port()
    env = environ(data_api.url, RELAY_PORT=str(port))
    async with serving(env, watches=True) as relay:
        with prometheus.running(tmp_path, f"127.0.0.1:{port}") as server:
            await relay.deliver(completed())
            await until(lambda: server.evaluations() >= 5)
            assert server.firing() == set()

            data_api.readiness |= {
                "open_exceptions": {"amount_mismatch": 1},
                "oldest_open_exception_at": (datetime.now(UTC) - timedelta(days=4)).isoformat(),
            }
            await until(lambda: server.firing() == {"PaymentNeedsAPerson", "PaymentWaitsForDays"})
            data_api.always = Reset()
            await until(lambda: "RelayNotReady" in pending(server))
            assert server.firing() == {"PaymentNeedsAPerson", "PaymentWaitsForDays"}


def pending(server: prometheus.Prometheus) -> set[str]:
    """The alerts that will fire if nothing changes."""
    alerts = (server.ask("/api/v1/alerts") or {"alerts": []})["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "pending"}
