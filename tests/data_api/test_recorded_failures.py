"""Each kind of answer that PostgREST 12 to 14 was recorded to give, played back by a real server, ends one way.

`recorded_answers.json` keeps status, code and type of each as recorded, and the words of none.
"""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from relay.core.outcomes import Reason
from testkit.certificates import self_signed
from testkit.data_api_server import Behaviour, DataApi, Hang, Raw, Reply, Reset
from testkit.relay_under_test import SECRET_KEY, Relay, environ, serving
from testkit.stripe_events import completed

pytestmark = pytest.mark.anyio

RECORDED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("recorded_answers.json").read_text())
JSON = "application/json; charset=utf-8"
# Of all that is recorded, the one after which the same call is sent again at once.
SENT_AGAIN = {"deadlock"}


async def one_failure(relay: Relay, reason: str) -> None:
    """One 500 with the reason, one line in the log, one count in the metrics, and nothing else."""
    answer = await relay.deliver(completed())

    assert answer.verdict == (500, "failed", reason)
    (line,) = relay.lines
    assert (line["level"], line["outcome"], line["reason"], line["status"]) == ("error", "failed", reason, 500)
    assert line["event_id"] == answer.json["event_id"]
    assert line["order_group_id"] == answer.json["order_group_id"]
    _, metrics = await relay.get("/metrics")
    counts = [
        each
        for each in metrics.splitlines()
        if each.startswith("relay_deliveries_total{") and not each.endswith(" 0.0")
    ]
    assert counts == [f'relay_deliveries_total{{outcome="failed",reason="{reason}"}} 1.0']


@pytest.mark.parametrize("recorded", RECORDED, ids=[each["name"] for each in RECORDED])
async def test_every_recorded_answer_has_one_reason(relay: Relay, data_api: DataApi, recorded: dict[str, Any]) -> None:
    data_api.always = Reply(recorded["status"], recorded["body"], recorded.get("content_type", JSON))

    await one_failure(relay, recorded["reason"])

    assert len(data_api.calls) == (2 if recorded["reason"] in SENT_AGAIN else 1)
    if isinstance(recorded["body"], dict) and recorded["body"]["message"]:
        assert recorded["body"]["message"] not in relay.output


def test_the_recorded_answers_cover_every_reason_that_an_answer_can_have() -> None:
    assert {each["reason"] for each in RECORDED} == {
        Reason.DATABASE_UNAVAILABLE,
        Reason.TIMEOUT,
        Reason.LOCK_TIMEOUT,
        Reason.DEADLOCK,
        Reason.UNAUTHORIZED,
        Reason.CONTRACT_VIOLATION,
        Reason.UNEXPECTED,
    }


WIRE: dict[str, tuple[Behaviour, str]] = {
    "reset": (Reset(), "database_unavailable"),
    "closed": (Raw(b""), "database_unavailable"),
    "another protocol": (Raw(b"SSH-2.0-x\r\n"), "contract_violation"),
    "a page of a proxy": (Reply(502, "<html>Bad gateway</html>", "text/html"), "database_unavailable"),
    "no answer": (Hang(), "timeout"),
    "a body that stops": (Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), "timeout"),
    "a length that is a lie": (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}"), "contract_violation"),
    "chunks that are none": (Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "contract_violation"),
    "a head without an end": (Raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000), "contract_violation"),
}


@pytest.mark.parametrize(("behaviour", "reason"), WIRE.values(), ids=WIRE)
async def test_every_way_to_break_the_wire_has_one_reason(data_api: DataApi, behaviour: Behaviour, reason: str) -> None:
    async with serving(environ(data_api.url, RELAY_RPC_TIMEOUT="0.5")) as relay:
        data_api.always = behaviour

        await one_failure(relay, reason)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_request_at_all_follows_a_redirect(relay: Relay, data_api: DataApi, status: int) -> None:
    async with DataApi().listening() as elsewhere:
        data_api.always = Reply(status, "", headers=(("Location", f"{elsewhere.url}/rest/v1/rpc/x"),))

        await one_failure(relay, "contract_violation")

        assert elsewhere.calls == []
    # The key was there to be taken along.
    assert [call.headers["apikey"] for call in data_api.calls] == [SECRET_KEY]


@pytest.fixture
def stranger(tmp_path: Path) -> ssl.SSLContext:
    """A TLS server's context with a certificate that nobody has signed but itself."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(self_signed(tmp_path / "stranger.pem"))
    return context


async def test_a_server_whose_certificate_nobody_knows_never_sees_the_key(stranger: ssl.SSLContext) -> None:
    async with DataApi().listening(tls=stranger) as impostor, serving(environ(impostor.url)) as relay:
        await one_failure(relay, "database_unavailable")

        assert impostor.calls == []
