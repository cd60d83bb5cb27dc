"""At a terminal `relay serve` writes a short line per delivery, in colours; in a pipe the same deliveries are JSON."""

import re
import signal

import aiohttp
import pytest

from relay.core.outcomes import Outcome, Reason
from relay.server.log_lines import Delivery, Entry, as_text
from testkit.command_line import at_terminal
from testkit.data_api_server import DataApi
from testkit.relay_under_test import environ
from testkit.stripe_events import Json, completed, delivery

pytestmark = pytest.mark.anyio

EVENT = "evt_1NG8Du2eZvKYlo2CUI79vXWy"


def entry(**changes: object) -> Entry:
    return Entry(**{"at": 0.0, "level": "info", "message": "applied", "about": Delivery(EVENT), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (entry(outcome=Outcome.APPLIED, status=200, duration_ms=12.4), f"200 applied  {EVENT}  12 ms"),
        (
            entry(outcome=Outcome.REJECTED, reason=Reason.AMOUNT_MISMATCH, status=500, duration_ms=9.5),
            f"500 rejected amount_mismatch  {EVENT}  10 ms",
        ),
        (
            entry(
                outcome=Outcome.FAILED, reason=Reason.DATABASE_UNAVAILABLE, status=500, duration_ms=3,
                message="failed: ClientConnectorError, ECONNREFUSED",
            ),
            f"500 failed database_unavailable  {EVENT}  ClientConnectorError, ECONNREFUSED  3 ms",
        ),
        (
            entry(
                outcome=Outcome.IGNORED, reason=Reason.EVENT_TYPE, status=200, duration_ms=0.2,
                about=Delivery(EVENT, "customer.created"),
            ),
            f"200 ignored event_type  {EVENT}  customer.created  0 ms",
        ),
        (
            entry(
                outcome=Outcome.REFUSED, reason=Reason.MISSING_SIGNATURE, status=400, duration_ms=1, about=Delivery()
            ),
            "400 refused missing_signature  1 ms",
        ),
        (entry(about=Delivery(), message="Listening on http://127.0.0.1:8080"), "Listening on http://127.0.0.1:8080"),
        (entry(about=Delivery(), message="a\x1b[31mred\n\u202e"), "a\ufffd[31mred\ufffd\ufffd"),
    ],
)  # fmt: skip
def test_a_line_is_short_and_holds_what_explain_asks_for(told: Entry, line: str) -> None:
    assert re.fullmatch(r"\d\d:\d\d:\d\d  ", as_text(told)[:10])
    assert as_text(told)[10:] == line


@pytest.mark.parametrize(
    ("variables", "applied", "failed"),
    [
        ({}, "\x1b[32m{}\x1b[0m", "\x1b[1;31m{}\x1b[0m"),
        ({"NO_COLOR": "1"}, "{}", "\x1b[1m{}\x1b[0m"),
        ({"TERM": "dumb"}, "{}", "{}"),
    ],
    ids=["colours", "NO_COLOR", "dumb"],
)
async def test_serve_at_a_terminal_is_read_by_a_person(
    data_api: DataApi, variables: dict[str, str], applied: str, failed: str
) -> None:
    async with at_terminal("serve", env=environ(data_api.url, **variables)) as terminal:
        written = await terminal.until("Listening on http://127.0.0.1:")
        port = re.findall(r"Listening on http://127\.0\.0\.1:(\d+)", await terminal.until("\n"))[0]
        assert "{" not in written
        events: list[Json] = [completed(), {**completed(), "data": {"object": {"object": "checkout.session"}}}]
        async with aiohttp.ClientSession() as http:
            for event in events:
                body, headers = delivery(event)
                await http.post(f"http://127.0.0.1:{port}/api/stripe/webhook", data=body, headers=headers)
                written = await terminal.until(event["id"])
        terminal.process.send_signal(signal.SIGINT)
        ended = await terminal.ended()

    assert ended.status == 0
    written = ended.output
    lines = [re.sub(r"\d\d:\d\d:\d\d", "TIME", re.sub(r"\d+ ms", "N ms", line)) for line in written.splitlines()]
    assert applied.format(f"TIME  200 applied  {events[0]['id']}  N ms") in lines
    assert failed.format(f"TIME  400 refused malformed_event  {events[1]['id']}  N ms") in lines
