"""The rows of the contract's HTTP table that the relay decides, on a real socket."""

import gzip
import json
import re
import secrets
import time
from typing import Any
from uuid import uuid4

import pytest

from relay.server.deliveries import MAX_BODY_BYTES
from relay.server.webhook import PATH
from testkit import stripe_events
from testkit.data_api_server import DataApi
from testkit.relay_under_test import Relay, environ, serving
from testkit.stripe_events import completed, delivery, encode, session_of, sign

pytestmark = pytest.mark.anyio

UNPAID = session_of(completed(payment_status="unpaid"))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_another_method_is_405_and_names_the_right_one(relay: Relay, data_api: DataApi, method: str) -> None:
    body, headers = delivery(completed())

    answer = await relay.send(b"" if method in ("GET", "HEAD", "TRACE") else body, headers, method=method)

    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    if method != "HEAD":
        assert answer.verdict == (405, "refused", "method_not_allowed")
    assert data_api.calls == []


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "identity, gzip", "made-up"])
async def test_an_encoded_body_is_415_even_when_its_bytes_are_signed(
    relay: Relay, data_api: DataApi, coding: str
) -> None:
    body, headers = delivery(completed())

    answer = await relay.send(body, {**headers, "Content-Encoding": coding})

    assert answer.verdict == (415, "refused", "unsupported_content_encoding")
    assert data_api.calls == []


async def test_a_compressed_body_is_415_and_never_inflated(relay: Relay) -> None:
    body, headers = delivery(completed())

    for content in (gzip.compress(body), b"no gzip at all"):
        answer = await relay.send(content, {**headers, "Content-Encoding": "gzip"})
        assert answer.verdict == (415, "refused", "unsupported_content_encoding")


async def test_the_identity_encoding_is_no_encoding(relay: Relay) -> None:
    body, headers = delivery(completed())

    answer = await relay.send(body, {**headers, "Content-Encoding": "Identity"})

    assert answer.verdict == (200, "applied", None)


def padded(size: int) -> str:
    """A signed event of exactly that many bytes: JSON may end in blanks."""
    body = json.dumps(completed())
    return body + " " * (size - len(body))


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_exactly_one_mebibyte_is_taken(relay: Relay, chunked: bool) -> None:
    body, headers = delivery(padded(MAX_BODY_BYTES))

    answer = await relay.send(body, headers, chunked=chunked or None)

    assert answer.verdict == (200, "applied", None)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_one_byte_more_is_413(relay: Relay, data_api: DataApi, chunked: bool) -> None:
    body, headers = delivery(padded(MAX_BODY_BYTES + 1))

    answer = await relay.send(body, headers, chunked=chunked or None)

    assert answer.verdict == (413, "refused", "body_too_large")
    assert data_api.calls == []


@pytest.mark.parametrize("header", [None, "", "   "])
async def test_no_or_a_blank_signature_is_missing_signature(
    relay: Relay, data_api: DataApi, header: str | None
) -> None:
    body, _ = delivery(completed())

    answer = await relay.send(body, {} if header is None else {"Stripe-Signature": header})

    assert answer.verdict == (400, "refused", "missing_signature")
    assert data_api.calls == []


async def test_a_tampered_body_is_an_invalid_signature(relay: Relay, data_api: DataApi) -> None:
    body, headers = delivery(completed())

    answer = await relay.send(body.replace(b"12345", b"12346"), headers)

    assert answer.verdict == (400, "refused", "invalid_signature")
    assert answer.json["event_id"] is None
    assert data_api.calls == []
    assert [line["message"] for line in relay.lines] == [
        "refused: no configured secret made it: is there another endpoint of Stripe with this URL, or a deleted one?"
    ]


async def test_a_body_that_is_not_utf8_is_an_invalid_signature(relay: Relay) -> None:
    answer = await relay.send(b'{"id": "\xff"}', {"Stripe-Signature": f"t={int(time.time())},v1={'0' * 64}"})

    assert answer.verdict == (400, "refused", "invalid_signature")


@pytest.mark.parametrize("seconds", [-301, 302])
async def test_a_good_signature_of_another_time_is_outside_the_tolerance(
    relay: Relay, data_api: DataApi, seconds: int
) -> None:
    body = encode(completed())
    header = sign(body, at=time.time() + seconds)

    answer = await relay.send(body, {"Stripe-Signature": header})

    assert answer.verdict == (400, "refused", "timestamp_outside_tolerance")
    assert data_api.calls == []


async def test_two_signature_headers_are_refused_though_both_are_good(relay: Relay) -> None:
    body, headers = delivery(completed())
    from multidict import CIMultiDict

    twice = CIMultiDict([("Stripe-Signature", headers["Stripe-Signature"])] * 2)

    answer = await relay.send(body, twice)

    assert answer.verdict == (400, "refused", "invalid_signature")


@pytest.mark.parametrize("body", ["", "null", "[]", '"x"', "1", "{}", "{", '{"id": NaN, "type": "x"}', "\ufeff{}"])
async def test_a_signed_body_that_is_no_event_is_malformed_and_logged_as_an_error(
    relay: Relay, data_api: DataApi, body: str
) -> None:
    answer = await relay.deliver(body)

    assert answer.verdict == (400, "refused", "malformed_event")
    assert [(line["level"], line["reason"]) for line in relay.lines] == [("error", "malformed_event")]
    assert data_api.calls == []


async def test_a_malformed_session_still_names_its_event(relay: Relay) -> None:
    event = completed(payment_status="teleported")

    answer = await relay.deliver(event)

    assert answer.verdict == (400, "refused", "malformed_event")
    assert answer.json["event_id"] == event["id"]
    assert answer.json["received"] is False


@pytest.mark.parametrize(
    ("changes", "reason", "level"),
    [
        ({"type": "customer.created"}, "event_type", "info"),
        ({"type": "checkout.session.async_payment_failed"}, "event_type", "info"),
        ({"object": "v2.core.event", "type": "v1.billing.meter.error"}, "event_type", "info"),
        ({"livemode": True}, "livemode_mismatch", "warning"),
        ({"account": "acct_seller", "data": {"object": UNPAID}}, "foreign_account", "warning"),
        ({"context": "acct_seller", "data": {"object": UNPAID}}, "foreign_account", "warning"),
    ],
)
async def test_what_is_not_ours_is_ignored(
    relay: Relay, data_api: DataApi, changes: dict[str, Any], reason: str, level: str
) -> None:
    event = completed() | changes

    answer = await relay.deliver(event)

    assert answer.verdict == (200, "ignored", reason)
    assert answer.json["event_id"] == event["id"]
    assert [line["level"] for line in relay.lines] == [level]
    assert data_api.calls == []


@pytest.mark.parametrize("kind", [stripe_events.COMPLETED, stripe_events.SUCCEEDED])
async def test_a_thin_payload_of_a_payment_is_refused_and_the_log_says_what_is_needed(
    relay: Relay, data_api: DataApi, kind: str
) -> None:
    thin = {"id": "evt_1", "object": "v2.core.event", "type": f"v1.{kind}", "livemode": False}

    answer = await relay.deliver(thin)

    assert answer.verdict == (400, "refused", "thin_event")
    assert answer.json["event_id"] == "evt_1"
    assert [(line["level"], line["reason"], "snapshot payloads" in line["message"]) for line in relay.lines] == [
        ("error", "thin_event", True)
    ]
    assert data_api.calls == []


async def test_a_paid_session_of_another_account_is_kept_without_its_group(relay: Relay, data_api: DataApi) -> None:
    event = completed() | {"account": "acct_seller"}

    answer = await relay.deliver(event)

    assert answer.verdict == (200, "unmatched", "foreign_account")
    assert answer.json == {
        "received": True,
        "outcome": "unmatched",
        "reason": "foreign_account",
        "event_id": event["id"],
        "order_group_id": None,
    }
    (sent,) = [call.parameters for call in data_api.calls]
    assert (sent["p_order_group_id"], sent["p_unmatched_reason"], sent["p_account"]) == (
        None,
        "foreign_account",
        "acct_seller",
    )
    assert sent["p_session_metadata"] == session_of(event)["metadata"]
    assert [line["level"] for line in relay.lines] == ["error"]


async def test_an_account_of_the_settings_pays_and_is_told_to_the_database(data_api: DataApi) -> None:
    async with serving(environ(data_api.url, STRIPE_ACCOUNTS="acct_own, acct_other")) as relay:
        answers = [
            await relay.deliver(completed() | named)
            for named in ({"account": "acct_own"}, {"context": "acct_other"}, {"account": None})
        ]

    assert {answer.verdict for answer in answers} == {(200, "applied", None)}
    assert [call.parameters["p_account"] for call in data_api.calls] == ["acct_own", "acct_other", None]


async def test_sessions_without_a_reference_are_ignored_where_the_settings_say_so(data_api: DataApi) -> None:
    sessions: list[dict[str, Any]] = [
        {"metadata": {}},
        {"metadata": {}, "payment_status": "unpaid"},
        {"metadata": {"order_group_id": "x"}},
    ]
    async with serving(environ(data_api.url, RELAY_UNREFERENCED_SESSIONS="ignore")) as relay:
        answers = [await relay.deliver(completed(**session)) for session in sessions]

    assert [answer.verdict for answer in answers] == [
        (200, "ignored", "missing_reference"),
        (200, "ignored", "missing_reference"),
        (200, "unmatched", "malformed_reference"),
    ]
    assert len(data_api.calls) == 1


async def test_only_the_listed_metadata_reach_the_database(data_api: DataApi) -> None:
    group_id = str(uuid4())
    metadata = {"order_group_id": group_id, "campaign": "spring", "email": "jenny@example.test"}
    async with serving(environ(data_api.url, RELAY_METADATA_KEYS="campaign, gift")) as relay:
        paid = await relay.deliver(completed(metadata=metadata))
        foreign = await relay.deliver(completed(metadata=metadata) | {"account": "acct_seller"})

    assert [answer.json["outcome"] for answer in (paid, foreign)] == ["applied", "unmatched"]
    assert [call.parameters["p_session_metadata"] for call in data_api.calls] == [
        {"campaign": "spring"},
        {"order_group_id": group_id, "campaign": "spring"},
    ]
    assert data_api.calls[0].parameters["p_order_group_id"] == group_id


async def test_what_is_too_much_of_the_metadata_to_keep_is_told_in_the_log_and_can_be_left_out(
    relay: Relay, data_api: DataApi
) -> None:
    event = completed(metadata={"order_group_id": str(uuid4()), "campaign": "spring", "note": "x" * 70_000})

    refused = await relay.deliver(event)

    assert refused.verdict == (400, "refused", "malformed_event")
    assert data_api.calls == []
    told = r"refused: 70,\d{3} bytes of session metadata to keep, 65,536 at most: RELAY_METADATA_KEYS narrows them"
    assert [(line["level"], bool(re.fullmatch(told, line["message"]))) for line in relay.lines] == [("error", True)]
    async with serving(environ(data_api.url, RELAY_METADATA_KEYS="campaign")) as narrowed:
        assert (await narrowed.deliver(event)).verdict == (200, "applied", None)
    assert [call.parameters["p_session_metadata"] for call in data_api.calls] == [{"campaign": "spring"}]


async def test_a_trailing_slash_is_accepted(relay: Relay) -> None:
    body, headers = delivery(completed())

    assert (await relay.send(body, headers, path=f"{PATH}/")).verdict == (200, "applied", None)


@pytest.mark.parametrize(
    "path", ["/", "/stripe/webhook", "/api/stripe/webhooks", "/api/stripe/webhook/x", "/API/stripe/webhook", "/healthz"]
)
async def test_a_signed_post_to_another_path_is_counted_and_logged_as_a_wrong_path(
    relay: Relay, data_api: DataApi, path: str
) -> None:
    body, headers = delivery(completed())

    async with relay.http.post(relay.url + path, data=body, headers=headers) as response:
        status, answer = response.status, await response.json()

    assert (status, answer) == (
        404,
        {"received": False, "outcome": "refused", "reason": "wrong_path", "event_id": None, "order_group_id": None},
    )
    assert [(line["level"], line["reason"], line["status"]) for line in relay.lines] == [("warning", "wrong_path", 404)]
    _, text = await relay.get("/metrics")
    assert 'relay_deliveries_total{outcome="refused",reason="wrong_path"} 1.0' in text
    assert data_api.calls == []


@pytest.mark.parametrize(("method", "signed"), [("GET", True), ("PUT", True), ("POST", False)])
async def test_what_is_no_signed_post_to_another_path_is_a_plain_404(relay: Relay, method: str, signed: bool) -> None:
    _, headers = delivery(completed())

    async with relay.http.request(method, relay.url + "/elsewhere", headers=headers if signed else {}) as response:
        assert response.status == 404
    assert relay.lines == []


@pytest.mark.parametrize(
    ("session", "verdict"),
    [
        ({"mode": "subscription", "payment_intent": None}, (200, "ignored", "session_mode")),
        ({"payment_status": "no_payment_required"}, (200, "awaiting_funds", "no_payment_required")),
    ],
)
async def test_a_session_without_money_touches_nothing(
    relay: Relay, data_api: DataApi, session: dict[str, Any], verdict: tuple[int, str, str | None]
) -> None:
    answer = await relay.deliver(completed(**session))

    assert answer.verdict == verdict
    assert data_api.calls == []


async def test_a_payment_becomes_one_call_with_exactly_the_contracts_parameters(
    relay: Relay, data_api: DataApi
) -> None:
    event = completed("3F0C1F0E-6F1F-4A7D-9D1E-00000000000A")

    answer = await relay.deliver(event)

    assert answer.verdict == (200, "applied", None)
    assert answer.json["order_group_id"] == "3f0c1f0e-6f1f-4a7d-9d1e-00000000000a"
    assert [call.path for call in data_api.calls] == ["/rest/v1/rpc/reconcile_order_group_payment"]
    assert data_api.calls[0].parameters == {
        "p_order_group_id": "3f0c1f0e-6f1f-4a7d-9d1e-00000000000a",
        "p_stripe_event_id": event["id"],
        "p_stripe_event_type": "checkout.session.completed",
        "p_stripe_event_created": "2026-11-23T02:13:21+00:00",
        "p_livemode": False,
        "p_checkout_session_id": session_of(event)["id"],
        "p_payment_intent_id": session_of(event)["payment_intent"],
        "p_amount_minor": 12345,
        "p_amount": "123.45",
        "p_currency": "USD",
        "p_session_metadata": session_of(event)["metadata"],
        "p_source": "webhook",
        "p_unmatched_reason": None,
        "p_account": None,
    }


async def test_a_payment_without_a_reference_is_recorded_as_unmatched(relay: Relay, data_api: DataApi) -> None:
    answer = await relay.deliver(completed(metadata={}))

    assert answer.verdict == (200, "unmatched", "missing_reference")
    assert data_api.calls[0].parameters["p_order_group_id"] is None
    assert data_api.calls[0].parameters["p_unmatched_reason"] == "missing_reference"
    assert [line["level"] for line in relay.lines] == ["error"]


async def test_a_rejection_is_500_and_logged_as_an_error_with_group_and_event(relay: Relay, data_api: DataApi) -> None:
    data_api.verdict = {"outcome": "rejected", "reason": "amount_mismatch"}
    event = completed()

    answer = await relay.deliver(event)

    assert answer.verdict == (500, "rejected", "amount_mismatch")
    (line,) = relay.lines
    assert (line["level"], line["event_id"], line["order_group_id"], line["status"]) == (
        "error",
        event["id"],
        session_of(event)["metadata"]["order_group_id"],
        500,
    )


@pytest.mark.parametrize("field", ["metadata", "id", "currency"])
async def test_text_that_postgres_cannot_store_never_reaches_it(relay: Relay, data_api: DataApi, field: str) -> None:
    event = completed()
    odd = "x\x00y\ud800z"
    session_of(event)[field] = session_of(event)["metadata"] | {odd: odd} if field == "metadata" else odd

    answer = await relay.deliver(event)

    refused = (400, "refused", "malformed_event")
    assert answer.verdict == ((200, "applied", None) if field == "metadata" else refused)
    if data_api.calls:
        sent = json.dumps(data_api.calls[0].parameters)
        assert "\\u0000" not in sent
        assert "\\ud800" not in sent


async def test_any_of_several_secrets_counts_and_only_its_position_is_logged(data_api: DataApi) -> None:
    several = [
        stripe_events.OTHER_WEBHOOK_SECRET,
        stripe_events.WEBHOOK_SECRET,
        *(f"whsec_{secrets.token_hex(16)}" for _ in range(2)),
    ]
    async with serving(environ(data_api.url, STRIPE_WEBHOOK_SECRET=", ".join(several))) as relay:
        delivered = [await relay.deliver(completed(), secret=secret) for secret in several]

        assert [answer.verdict for answer in delivered] == [(200, "applied", None)] * 4
        assert [line["message"] for line in relay.lines] == [
            f"applied: signed with webhook secret {place} of 4" for place in (1, 2, 3, 4)
        ]


async def test_each_delivery_is_one_line_with_the_contracts_fields(relay: Relay) -> None:
    await relay.deliver(completed())

    (line,) = relay.lines
    assert line.keys() - {"message"} == {
        "time",
        "level",
        "event_id",
        "event_type",
        "order_group_id",
        "checkout_session_id",
        "outcome",
        "reason",
        "status",
        "duration_ms",
    }


async def test_an_unknown_expectation_still_gets_an_answer_of_the_webhooks_shape(relay: Relay) -> None:
    body, headers = delivery(completed())

    answer = await relay.send(body, {**headers, "Expect": "a-miracle"})

    assert answer.verdict == (200, "applied", None)


async def test_a_sender_that_waits_for_continue_is_told_to_go_on(relay: Relay) -> None:
    body, headers = delivery(completed())

    async with relay.http.post(
        relay.url + "/api/stripe/webhook", data=body, headers=headers, expect100=True
    ) as response:
        assert response.status == 200


async def test_healthz_touches_nothing_else(relay: Relay, data_api: DataApi) -> None:
    status, _ = await relay.get("/healthz")

    assert status == 200
    assert data_api.calls == []


async def test_metrics_count_deliveries_by_outcome_and_reason(relay: Relay, data_api: DataApi) -> None:
    data_api.verdict = {"outcome": "rejected", "reason": "amount_mismatch"}
    await relay.deliver(completed())
    await relay.deliver({**completed(), "type": "customer.created"})

    _, text = await relay.get("/metrics")

    assert 'relay_deliveries_total{outcome="rejected",reason="amount_mismatch"} 1.0' in text
    assert 'relay_deliveries_total{outcome="ignored",reason="event_type"} 1.0' in text
    assert "relay_delivery_seconds_count 2.0" in text
    assert "relay_rpc_seconds_count 1.0" in text
    assert "relay_deliveries_in_flight 0.0" in text
