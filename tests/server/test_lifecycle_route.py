"""The lifecycle route, on a real socket: served where its secret is set, and in all manners like the webhook's."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from relay.data_api import client
from relay.server.deliveries import MAX_BODY_BYTES
from relay.server.lifecycle import PATH
from testkit.data_api_server import DataApi, Hang, Reply, Reset, Wait
from testkit.polling import until
from testkit.relay_under_test import Relay, environ, serving
from testkit.stripe_events import (
    BUYER_EMAIL,
    FAILED,
    LIFECYCLE_SECRET,
    OTHER_WEBHOOK_SECRET,
    WEBHOOK_SECRET,
    Json,
    completed,
    delivery,
    disputed,
    encode,
    ended,
    refunded,
    session_of,
    sign,
)

pytestmark = pytest.mark.anyio
GROUP = "3f0c1f0e-6f1f-4a7d-9d1e-0123456789ab"
OTHER_GROUP = "3f0c1f0e-6f1f-4a7d-9d1e-0123456789ac"


@pytest.fixture
async def relay(data_api: DataApi) -> AsyncIterator[Relay]:
    """Has the route."""
    async with serving(environ(data_api.url, STRIPE_LIFECYCLE_WEBHOOK_SECRET=LIFECYCLE_SECRET)) as running:
        yield running


async def counts(relay: Relay, series: str) -> dict[tuple[str, str], float]:
    """What a series has counted, by outcome and reason."""
    _, text = await relay.get("/metrics")
    found = re.findall(rf'^{series}\{{outcome="(\w+)",reason="(\w*)"\}} (\S+)$', text, re.MULTILINE)
    return {(outcome, reason): float(value) for outcome, reason, value in found if float(value)}


# Whether it is there


async def test_without_its_secret_the_route_is_any_wrong_path(data_api: DataApi) -> None:
    body, headers = delivery(refunded(), secret=LIFECYCLE_SECRET)
    async with serving(environ(data_api.url)) as relay:
        answer = await relay.send(body, headers, path=PATH)
        async with relay.http.get(relay.url + PATH) as unsigned:
            assert unsigned.status == 404
        counted = await counts(relay, "relay_deliveries_total")

    assert answer.verdict == (404, "refused", "wrong_path")
    assert counted == {("refused", "wrong_path"): 1}
    assert data_api.calls == []


@pytest.mark.parametrize("path", [PATH, f"{PATH}/"])
async def test_a_trailing_slash_is_accepted(relay: Relay, path: str) -> None:
    body, headers = delivery(refunded(), secret=LIFECYCLE_SECRET)

    assert (await relay.send(body, headers, path=path)).verdict == (200, "recorded", None)


async def test_each_route_takes_its_own_secrets_only(data_api: DataApi) -> None:
    settings = {"STRIPE_LIFECYCLE_WEBHOOK_SECRET": f"{LIFECYCLE_SECRET}, {OTHER_WEBHOOK_SECRET}"}
    async with serving(environ(data_api.url, **settings)) as relay:
        for secret, verdict in (
            (LIFECYCLE_SECRET, (200, "recorded", None)),
            (OTHER_WEBHOOK_SECRET, (200, "recorded", None)),
            (WEBHOOK_SECRET, (400, "refused", "invalid_signature")),
        ):
            body, headers = delivery(refunded(), secret=secret)
            assert (await relay.send(body, headers, path=PATH)).verdict == verdict
        assert (await relay.deliver(completed(), secret=LIFECYCLE_SECRET)).verdict == (
            400,
            "refused",
            "invalid_signature",
        )
        messages = [line["message"] for line in relay.lines]

    assert messages[:2] == [f"recorded: signed with webhook secret {n} of 2" for n in (1, 2)]
    assert len(data_api.calls) == 2


async def test_payments_are_ignored_here_and_refunds_there(relay: Relay, data_api: DataApi) -> None:
    assert (await relay.deliver_lifecycle(completed())).verdict == (200, "ignored", "event_type")
    for event in (refunded(), disputed(), ended()):
        assert (await relay.deliver(event)).verdict == (200, "ignored", "event_type")
    assert data_api.calls == []


# The same manners as the other route's


async def test_what_proves_nothing_is_refused_as_on_the_other_route(relay: Relay, data_api: DataApi) -> None:
    body, headers = delivery(refunded(), secret=LIFECYCLE_SECRET)
    old = {"Stripe-Signature": sign(body, LIFECYCLE_SECRET, at=time.time() - 302)}
    large = encode(refunded()) + b" " * MAX_BODY_BYTES
    requests: list[tuple[str, bytes, dict[str, str], tuple[int, str, str]]] = [
        ("PUT", body, headers, (405, "refused", "method_not_allowed")),
        ("POST", body, {**headers, "Content-Encoding": "gzip"}, (415, "refused", "unsupported_content_encoding")),
        ("POST", large, headers, (413, "refused", "body_too_large")),
        ("POST", body, {}, (400, "refused", "missing_signature")),
        ("POST", body, old, (400, "refused", "timestamp_outside_tolerance")),
        ("POST", body + b" ", headers, (400, "refused", "invalid_signature")),
    ]

    for method, content, sent, verdict in requests:
        answer = await relay.send(content, sent, method=method, path=PATH)
        assert answer.verdict == verdict
        assert answer.headers.get("Allow") == ("POST" if method == "PUT" else None)
    assert data_api.calls == []
    expected = {(outcome, reason): 1.0 for *_, (_, outcome, reason) in requests}
    assert await counts(relay, "relay_lifecycle_deliveries_total") == expected
    assert await counts(relay, "relay_deliveries_total") == expected


@pytest.mark.parametrize(
    ("event", "verdict", "level"),
    [
        (refunded(kind="charge.refunded"), (200, "ignored", "event_type"), "info"),
        (refunded(payment_intent=None), (200, "ignored", "missing_payment_intent"), "info"),
        (refunded() | {"livemode": True}, (200, "ignored", "livemode_mismatch"), "warning"),
        (disputed() | {"account": "acct_seller"}, (200, "ignored", "foreign_account"), "warning"),
        (ended(mode="setup"), (200, "ignored", "session_mode"), "info"),
        (ended(metadata={}), (200, "ignored", "missing_reference"), "info"),
        (refunded(amount="1"), (400, "refused", "malformed_event"), "error"),
        (
            {"id": "evt_1", "object": "v2.core.event", "type": "v1.refund.created", "livemode": False},
            (400, "refused", "thin_event"),
            "error",
        ),
    ],
    ids=lambda value: value[2] if isinstance(value, tuple) else "",
)
async def test_what_is_not_to_be_recorded_reaches_no_database(
    relay: Relay, data_api: DataApi, event: Json, verdict: tuple[int, str, str], level: str
) -> None:
    answer = await relay.deliver_lifecycle(event)

    assert answer.verdict == verdict
    assert answer.json["event_id"] == event["id"]
    assert [line["level"] for line in relay.lines] == [level]
    assert data_api.calls == []


# One call, and what its answer becomes


async def test_a_refund_becomes_one_call_with_exactly_the_contracts_parameters(relay: Relay, data_api: DataApi) -> None:
    event = refunded("pi_1", id="re_1", amount=1234, currency="eur", created=1795400001)
    data_api.recorded["order_group_id"] = GROUP

    answer = await relay.deliver_lifecycle(event)

    assert answer.json == {
        "received": True,
        "outcome": "recorded",
        "reason": None,
        "event_id": event["id"],
        "order_group_id": GROUP,
    }
    assert [(call.path, call.parameters) for call in data_api.calls] == [
        (
            "/rest/v1/rpc/record_refund",
            {
                "p_refund_id": "re_1",
                "p_payment_intent_id": "pi_1",
                "p_amount_minor": 1234,
                "p_amount": "12.34",
                "p_currency": "EUR",
                "p_status": "succeeded",
                "p_created": "2026-11-23T02:13:21+00:00",
                "p_reason": "requested_by_customer",
                "p_livemode": False,
                "p_source": "webhook",
                "p_stripe_event_id": event["id"],
            },
        )
    ]
    (line,) = relay.lines
    assert (line["level"], line["event_type"], line["order_group_id"], line["status"]) == (
        "info",
        "refund.created",
        GROUP,
        200,
    )


async def test_a_dispute_becomes_one_call_with_exactly_the_contracts_parameters(
    relay: Relay, data_api: DataApi
) -> None:
    event = disputed("pi_1", id="dp_1", amount=500, currency="jpy", created=1795400001, status="won")

    answer = await relay.deliver_lifecycle(event)

    assert answer.verdict == (200, "recorded", None)
    assert [(call.path, call.parameters) for call in data_api.calls] == [
        (
            "/rest/v1/rpc/record_dispute",
            {
                "p_dispute_id": "dp_1",
                "p_payment_intent_id": "pi_1",
                "p_amount_minor": 500,
                "p_amount": "500",
                "p_currency": "JPY",
                "p_status": "won",
                "p_created": "2026-11-23T02:13:21+00:00",
                "p_reason": "fraudulent",
                "p_livemode": False,
                "p_source": "webhook",
                "p_stripe_event_id": event["id"],
            },
        )
    ]
    assert BUYER_EMAIL not in relay.output


async def test_a_checkout_that_has_ended_becomes_one_call(relay: Relay, data_api: DataApi) -> None:
    event = ended(GROUP.upper(), kind=FAILED)

    answer = await relay.deliver_lifecycle(event)

    assert (answer.verdict, answer.json["order_group_id"]) == ((200, "recorded", None), GROUP)
    assert [(call.path, call.parameters) for call in data_api.calls] == [
        (
            "/rest/v1/rpc/cancel_order_group",
            {"p_order_group_id": GROUP, "p_checkout_session_id": session_of(event)["id"]},
        )
    ]
    assert [line["checkout_session_id"] for line in relay.lines] == [session_of(event)["id"]]


@pytest.mark.parametrize("make", [refunded, disputed])
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"outcome": "replayed"}, (200, "replayed", None)),
        ({"outcome": "rejected", "reason": "currency_mismatch"}, (500, "rejected", "currency_mismatch")),
        ({"outcome": "rejected", "reason": None}, (500, "failed", "contract_violation")),
        ({"outcome": "rejected", "reason": "because"}, (500, "failed", "contract_violation")),
        ({"outcome": "rejected", "reason": "event_type"}, (500, "failed", "contract_violation")),
        ({"outcome": "recorded", "reason": "currency_mismatch"}, (500, "failed", "contract_violation")),
        ({"outcome": "recorded", "reason": "event_type"}, (500, "failed", "contract_violation")),
        ({"outcome": "applied"}, (500, "failed", "contract_violation")),
        ({"outcome": ["recorded"]}, (500, "failed", "contract_violation")),
        ({"order_group_id": 17}, (500, "failed", "contract_violation")),
        ({"refund_id": "re_x", "dispute_id": "dp_x"}, (500, "failed", "contract_violation")),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
async def test_an_answer_about_money_is_the_verdict_or_none(
    relay: Relay, data_api: DataApi, make: Any, answer: Json, verdict: tuple[int, str, str | None]
) -> None:
    data_api.recorded |= answer

    assert (await relay.deliver_lifecycle(make())).verdict == verdict
    assert [line["level"] for line in relay.lines] == ["error" if verdict[0] == 500 else "info"]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"outcome": "already_cancelled"}, (200, "replayed", None)),
        *(
            ({"outcome": "rejected", "reason": reason}, (200, "ignored", reason))
            for reason in ("order_group_not_found", "order_group_not_pending", "order_group_awaits_another_session")
        ),
        ({"outcome": "rejected", "reason": None}, (500, "failed", "contract_violation")),
        ({"outcome": "rejected", "reason": "currency_mismatch"}, (500, "failed", "contract_violation")),
        ({"outcome": "cancelled", "reason": "order_group_not_found"}, (500, "failed", "contract_violation")),
        ({"outcome": ["cancelled"]}, (500, "failed", "contract_violation")),
        ({"order_group_id": OTHER_GROUP}, (500, "failed", "contract_violation")),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
async def test_an_answer_about_an_ended_checkout_is_the_verdict_or_none(
    relay: Relay, data_api: DataApi, answer: Json, verdict: tuple[int, str, str | None]
) -> None:
    data_api.cancelled |= answer

    assert (await relay.deliver_lifecycle(ended(GROUP))).verdict == verdict


@pytest.mark.parametrize("make", [refunded, disputed, ended])
async def test_no_verdict_is_500_and_both_series_count_it(relay: Relay, data_api: DataApi, make: Any) -> None:
    data_api.always = Reply(500, {"code": "55P03", "message": "x"})

    answer = await relay.deliver_lifecycle(make())

    assert answer.verdict == (500, "failed", "lock_timeout")
    for series in ("relay_lifecycle_deliveries_total", "relay_deliveries_total"):
        assert await counts(relay, series) == {("failed", "lock_timeout"): 1}


async def test_a_lost_connection_is_tried_once_more_and_a_hanging_one_given_up(data_api: DataApi) -> None:
    settings = {"STRIPE_LIFECYCLE_WEBHOOK_SECRET": LIFECYCLE_SECRET, "RELAY_RPC_TIMEOUT": "0.3"}
    async with serving(environ(data_api.url, **settings)) as relay:
        data_api.script = [Reset()]
        assert (await relay.deliver_lifecycle(refunded())).verdict == (200, "recorded", None)
        data_api.script = [Hang()]
        assert (await relay.deliver_lifecycle(refunded())).verdict == (500, "failed", "timeout")
    assert len(data_api.calls) == 3


async def test_refunds_that_hang_take_no_place_from_payments(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_CALLS", 1)
    most = client.MAX_LIFECYCLE_CALLS
    async with serving(environ(data_api.url, STRIPE_LIFECYCLE_WEBHOOK_SECRET=LIFECYCLE_SECRET)) as relay:
        gate = Wait()
        data_api.always = gate
        hanging = [
            asyncio.create_task(relay.deliver_lifecycle(refunded())) for _ in range(most + 2)
        ]  # two of them wait
        await until(lambda: len(data_api.calls) == most)
        data_api.always = None

        paid = await relay.deliver(completed())
        gate.released.set()
        late = {(await one).verdict for one in hanging}

    assert paid.verdict == (200, "applied", None)
    assert late == {(200, "recorded", None)}


async def test_payments_are_not_counted_as_lifecycle(relay: Relay) -> None:
    await relay.deliver(completed())
    await relay.deliver_lifecycle(refunded())

    assert await counts(relay, "relay_deliveries_total") == {("applied", ""): 1, ("recorded", ""): 1}
    assert await counts(relay, "relay_lifecycle_deliveries_total") == {("recorded", ""): 1}
