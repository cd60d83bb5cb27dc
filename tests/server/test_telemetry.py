"""One JSON line per delivery; floods are sampled, never silently."""

import io
import json
import logging

import pytest

from relay.core.outcomes import Outcome, Reason, Verdict
from relay.metrics import Metrics
from relay.server.telemetry import SAMPLE_LINES, SAMPLE_WINDOW_SECONDS, Delivery, LibraryLog, Log, Telemetry
from testkit.stripe_events import Json


class Clock:
    """Seconds, by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(output: io.BytesIO) -> list[Json]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_a_flood_of_refusals_is_sampled_but_counted_and_the_first_is_never_lost() -> None:
    output, clock = io.BytesIO(), Clock()
    telemetry = Telemetry(Log("info", output), Metrics(), clock=clock)

    for _ in range(SAMPLE_LINES + 50):
        telemetry.delivered(Delivery(), Verdict(Outcome.REFUSED, Reason.INVALID_SIGNATURE), 0.0)
    telemetry.delivered(Delivery(), Verdict(Outcome.REFUSED, Reason.MISSING_SIGNATURE), 0.0)
    clock.now += SAMPLE_WINDOW_SECONDS
    telemetry.delivered(Delivery(), Verdict(Outcome.REFUSED, Reason.INVALID_SIGNATURE), 0.0)

    written = lines(output)
    assert len(written) == SAMPLE_LINES + 2
    assert written[-2]["reason"] == "missing_signature"
    assert written[-1]["message"] == "refused: 50 more like this were not logged"
    labels = {"outcome": "refused", "reason": "invalid_signature"}
    assert telemetry.metrics.registry.get_sample_value("relay_deliveries_total", labels) == SAMPLE_LINES + 51


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.REFUSED, Reason.MALFORMED_EVENT),
        (Outcome.REJECTED, Reason.AMOUNT_MISMATCH),
        (Outcome.FAILED, Reason.TIMEOUT),
        (Outcome.UNMATCHED, Reason.MISSING_REFERENCE),
    ],
)
def test_what_an_operator_must_see_is_never_sampled(outcome: Outcome, reason: Reason) -> None:
    output = io.BytesIO()
    telemetry = Telemetry(Log("error", output), Metrics(), clock=Clock())

    for _ in range(SAMPLE_LINES * 2):
        telemetry.delivered(Delivery(), Verdict(outcome, reason), 0.0)

    assert {line["level"] for line in lines(output)} == {"error"}
    assert len(lines(output)) == SAMPLE_LINES * 2


def test_a_line_is_ascii_on_one_line_whatever_an_event_type_holds() -> None:
    output = io.BytesIO()
    delivery = Delivery(event_id="evt_1", event_type='x"\n\ud800é' + "y" * 10_000)

    Telemetry(Log("info", output), Metrics()).delivered(delivery, Verdict(Outcome.IGNORED, Reason.EVENT_TYPE), 0.0)

    assert output.getvalue().isascii()
    (line,) = lines(output)
    assert len(line["event_type"]) == 255


def test_the_level_is_a_threshold() -> None:
    output = io.BytesIO()
    log = Log("warning", output)

    log.write("info", "not this")
    log.write("error", "but this")

    assert [line["message"] for line in lines(output)] == ["but this"]


def test_a_librarys_record_shows_neither_its_arguments_nor_its_exceptions_text() -> None:
    output = io.BytesIO()
    logger = logging.Logger("aiohttp.server")
    logger.addHandler(LibraryLog(Log("info", output)))

    try:
        raise ValueError("payload")
    except ValueError:
        logger.exception("Error handling request from %s", "jenny")

    (line,) = lines(output)
    assert line["message"] == "aiohttp.server: Error handling request from %s (ValueError)"
