"""A delivery that says that money is under way: the database notes it, and the answer does not depend on that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relay.data_api import client
from testkit.data_api_server import Behaviour, DataApi, Hang, Raw, Reply, Reset, Wait
from testkit.polling import until
from testkit.relay_under_test import Relay, environ, serving
from testkit.stripe_events import Json, completed, session_of

pytestmark = pytest.mark.anyio

AWAITING = (200, "awaiting_funds", None)
GROUP = "3f0c1f0e-6f1f-4a7d-9d1e-00000000000a"


def unpaid(**session: Any) -> Json:
    return completed(GROUP, payment_status="unpaid", **session)


async def notices(relay: Relay) -> dict[str, float]:
    """What has become of notices, as /metrics shows it."""
    _, text = await relay.get("/metrics")
    prefix = 'relay_awaiting_funds_notices_total{outcome="'
    lines = (line.removeprefix(prefix).split('"} ') for line in text.splitlines() if line.startswith(prefix))
    return {outcome: float(count) for outcome, count in lines}


async def test_unpaid_session_becomes_one_notice_with_exactly_the_contracts_parameters(
    relay: Relay, data_api: DataApi
) -> None:
    event = unpaid()

    answer = await relay.deliver(event)

    assert (answer.verdict, answer.json["order_group_id"]) == (AWAITING, GROUP)
    assert [(call.path, call.parameters) for call in data_api.calls] == [
        (
            "/rest/v1/rpc/note_awaiting_funds",
            {
                "p_order_group_id": GROUP,
                "p_checkout_session_id": session_of(event)["id"],
                "p_stripe_event_id": event["id"],
                "p_stripe_event_created": "2026-11-23T02:13:21+00:00",
            },
        )
    ]
    assert [(line["level"], line["outcome"], line["message"]) for line in relay.lines] == [
        ("info", "awaiting_funds", "awaiting_funds")
    ]


@pytest.mark.parametrize(
    "session",
    [
        {"metadata": {}},
        {"metadata": {"order_group_id": "cart-17"}},
        {"client_reference_id": "3f0c1f0e-6f1f-4a7d-9d1e-00000000000b"},
    ],
)
async def test_unpaid_session_that_names_no_order_group_touches_nothing(
    relay: Relay, data_api: DataApi, session: Json
) -> None:
    assert (await relay.deliver(unpaid(**session))).verdict == AWAITING
    assert data_api.calls == []


@pytest.mark.parametrize("outcome", ["noted", "already_noted", "ignored"])
async def test_whatever_became_of_the_notice_is_counted_and_is_no_news_to_stripe(
    relay: Relay, data_api: DataApi, outcome: str
) -> None:
    data_api.notice = {"outcome": outcome, "reason": "order_group_not_pending" if outcome == "ignored" else None}
    before = await notices(relay)

    assert (await relay.deliver(unpaid())).verdict == AWAITING

    assert before == {"noted": 0, "already_noted": 0, "ignored": 0, "failed": 0}
    assert await notices(relay) == before | {outcome: 1}
    assert [line["level"] for line in relay.lines] == ["info"]


FAILURES: dict[str, tuple[Behaviour, str]] = {
    "a lock": (Reply(500, {"code": "55P03", "message": "held"}), "lock_timeout"),
    "no such function": (Reply(404, {"code": "PGRST202", "message": "none"}), "contract_violation"),
    "a wrong argument": (Reply(400, {"code": "22023", "message": "bad"}), "unexpected"),
    "a gateway's page": (Reply(502, "<html>", "text/html"), "database_unavailable"),
    "a cut connection": (Reset(), "database_unavailable"),
    "no HTTP": (Raw(b"SSH-2.0-x\r\n"), "contract_violation"),
    "nothing": (Reply(200, "null"), "contract_violation"),
    "a word that is not the contract's": (
        Reply(200, {"order_group_id": GROUP, "outcome": "expired"}),
        "contract_violation",
    ),
    "another group": (
        Reply(200, {"order_group_id": GROUP.replace("a", "b"), "outcome": "noted"}),
        "contract_violation",
    ),
    "no answer": (Hang(), "timeout"),
}


@pytest.mark.parametrize(("behaviour", "reason"), FAILURES.values(), ids=FAILURES)
async def test_notice_that_fails_is_one_warning_and_never_a_500(
    data_api: DataApi, behaviour: Behaviour, reason: str
) -> None:
    data_api.always = behaviour
    event = unpaid()
    async with serving(environ(data_api.url, RELAY_RPC_TIMEOUT="0.5")) as relay:
        answer = await relay.deliver(event)

        assert answer.verdict == AWAITING
        warning, line = relay.lines
        assert (warning["level"], warning["outcome"], warning["reason"], warning["status"]) == (
            "warning",
            None,
            reason,
            None,
        )
        assert (warning["event_id"], warning["order_group_id"], warning["checkout_session_id"]) == (
            event["id"],
            GROUP,
            session_of(event)["id"],
        )
        assert (line["level"], line["outcome"], line["reason"], line["status"]) == ("info", "awaiting_funds", None, 200)
        assert (await notices(relay))["failed"] == 1


async def test_fault_of_the_relays_own_is_a_warning_too(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise KeyError("jenny.rosen@example.test")

    monkeypatch.setattr(client.DataApi, "note_awaiting_funds", fail)

    assert (await relay.deliver(unpaid())).verdict == AWAITING

    warning, _ = relay.lines
    assert (warning["level"], warning["reason"]) == ("warning", "unexpected")
    assert "KeyError at test_awaiting_funds.py" in warning["message"]
    assert "jenny" not in relay.output


async def test_notices_wait_for_the_same_places_as_payments(data_api: DataApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_CALLS", 1)
    monkeypatch.setattr(client, "MAX_WAITING", 0)
    gate = Wait()
    data_api.always = gate
    async with serving(environ(data_api.url)) as relay:
        paying = asyncio.create_task(relay.deliver(completed()))
        await until(lambda: len(data_api.calls) == 1)

        assert (await relay.deliver(unpaid())).verdict == AWAITING

        assert [line["reason"] for line in relay.lines] == ["database_unavailable", None]
        assert len(data_api.calls) == 1
        gate.released.set()
        assert (await paying).verdict == (200, "applied", None)
