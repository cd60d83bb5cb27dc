"""The fuzz target in its short form, and proof that it would notice."""

from __future__ import annotations

import json
import random

import pytest

from fuzz.__main__ import SHORT
from fuzz.case import Case, on_lifecycle
from fuzz.hostile import Hostile
from fuzz.judge import problem_of, problem_of_call
from fuzz.payloads import Payloads, lifecycle, payment
from fuzz.run import LIFECYCLE_SHARE, run
from testkit.stripe_events import Json, completed
from testkit.wire import Answer

# What allocators and caches may still take after the first quarter of a run: a leak of a kilobyte a request is more.
FLAT_BYTES = 24 * 2**20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.release
@pytest.mark.anyio
async def test_nobody_gets_in_and_nothing_breaks_it(anyio_backend: str) -> None:
    assert anyio_backend == "asyncio"
    hostile, payloads = SHORT

    report = await run(seed=random.SystemRandom().randrange(10**9), hostile=hostile, payloads=payloads)

    assert report.problems == []
    assert sum(report.sent.values()) == hostile + hostile // LIFECYCLE_SHARE + 2 * payloads
    # Both halves of a run must really reach what they are meant for.
    assert report.calls > 2 * payloads / 10
    assert report.shared > 0
    assert report.answers["200 recorded None"] > payloads / 20
    assert {"forged", "tampered", "framing", "garbage", "oversize", "abandoned", "signed"} <= report.sent.keys()
    assert report.grown_bytes < FLAT_BYTES, f"{report.grown_bytes} bytes, seed {report.seed}"


def test_a_case_repeats_with_its_seed() -> None:
    hostile = Hostile("whsec_x", 1795400000, 300, json.dumps(completed()).encode())

    for number in range(300):
        assert hostile.case(random.Random(number)) == hostile.case(random.Random(number))
        for make in (payment, lifecycle):
            payloads = Payloads("whsec_x", 1795400000, make)
            assert payloads.case(random.Random(number)) == payloads.case(random.Random(number))


def test_a_case_for_the_lifecycle_route_is_the_same_request_on_its_path() -> None:
    case = Payloads("whsec_x", 1795400000, lifecycle).case(random.Random(1))

    first, rest = case.content.split(b"\r\n", 1)
    assert on_lifecycle(case).content == b"POST /api/stripe/lifecycle HTTP/1.1\r\n" + rest
    assert first == b"POST /api/stripe/webhook HTTP/1.1"


def answer(status: int, body: Json, **headers: str) -> Answer:
    return Answer(status, {"content-type": "application/json", **headers}, json.dumps(body).encode())


REFUSAL: Json = {
    "received": False,
    "outcome": "refused",
    "reason": "invalid_signature",
    "event_id": None,
    "order_group_id": None,
}
APPLIED: Json = REFUSAL | {"received": True, "outcome": "applied", "reason": None, "event_id": "evt_1"}
HOSTILE, SIGNED = Case("forged", b""), Case("signed", b"", signed=True)


@pytest.mark.parametrize(
    ("case", "given"),
    [
        (HOSTILE, answer(500, REFUSAL)),
        (HOSTILE, answer(200, REFUSAL)),
        (HOSTILE, answer(400, APPLIED)),
        (HOSTILE, answer(400, REFUSAL | {"event_id": "evt_1"})),
        (HOSTILE, answer(400, REFUSAL | {"detail": "KeyError"})),
        (HOSTILE, answer(400, REFUSAL | {"reason": "KeyError"})),
        (HOSTILE, answer(400, REFUSAL | {"received": True})),
        (HOSTILE, answer(400, REFUSAL, **{"x-error": "KeyError"})),
        (HOSTILE, Answer(404, {"content-type": "text/plain"}, b"404: Not Found")),
        (Case("path", b"", on_route=False), Answer(404, {"content-type": "text/plain"}, b"no route for /x")),
        (Case("method", b"", bodiless=True), Answer(500, {}, b"")),
        (SIGNED, answer(500, APPLIED | {"outcome": "failed", "reason": "unexpected"})),
        (SIGNED, answer(400, REFUSAL | {"reason": "missing_signature"})),
        (SIGNED, answer(200, APPLIED | {"event_id": None})),
    ],
)
def test_an_answer_that_the_contract_does_not_have_is_a_problem(case: Case, given: Answer) -> None:
    assert problem_of(case, given) is not None


def test_the_answers_of_the_contract_are_none() -> None:
    assert problem_of(HOSTILE, answer(400, REFUSAL)) is None
    assert problem_of(SIGNED, answer(200, APPLIED)) is None
    assert problem_of(SIGNED, answer(400, REFUSAL | {"reason": "malformed_event"})) is None


CALL: Json = {
    "p_order_group_id": "00000000-0000-0000-0000-000000000001",
    "p_stripe_event_id": "evt_1",
    "p_checkout_session_id": "cs_1",
    "p_livemode": False,
    "p_amount_minor": 100,
    "p_amount": "1.00",
    "p_currency": "USD",
    "p_session_metadata": {"a": "b"},
    "p_unmatched_reason": None,
    "p_account": None,
}


@pytest.mark.parametrize(
    "spoiled",
    [
        {"p_order_group_id": "1"},
        {"p_order_group_id": None},
        {"p_unmatched_reason": "missing_reference"},
        {"p_stripe_event_id": " "},
        {"p_livemode": None},
        {"p_amount_minor": True},
        {"p_amount_minor": 2**63},
        {"p_amount_minor": -1},
        {"p_amount": "1e3"},
        {"p_amount": None},
        {"p_currency": "usd"},
        {"p_session_metadata": {"a": 1}},
        {"p_session_metadata": {"a": "\x00"}},
    ],
)
def test_a_call_that_the_function_would_stumble_over_is_a_problem(spoiled: Json) -> None:
    path = "/rest/v1/rpc/reconcile_order_group_payment"

    assert problem_of_call(path, CALL) is None
    assert problem_of_call(path, CALL | spoiled) is not None


REFUND: Json = {
    "p_refund_id": "re_1",
    "p_payment_intent_id": "pi_1",
    "p_amount_minor": 100,
    "p_amount": "1.00",
    "p_currency": "USD",
    "p_status": "succeeded",
    "p_created": "2026-11-01T12:00:00+00:00",
    "p_reason": None,
    "p_livemode": False,
    "p_source": "webhook",
    "p_stripe_event_id": "evt_1",
}


@pytest.mark.parametrize(
    "spoiled",
    [
        {"p_refund_id": ""},
        {"p_payment_intent_id": None},
        {"p_stripe_event_id": "e" * 256},
        {"p_livemode": True},
        {"p_amount_minor": 0},
        {"p_amount_minor": True},
        {"p_amount_minor": 2**63},
        {"p_amount": None},
        {"p_currency": "usd"},
        {"p_currency": ""},
        {"p_status": "won"},
        {"p_created": "1999-12-31T23:59:59+00:00"},
        {"p_reason": ""},
        {"p_reason": "a\x00b"},
    ],
)
def test_a_call_that_would_record_an_odd_refund_is_a_problem(spoiled: Json) -> None:
    path = "/rest/v1/rpc/record_refund"

    assert problem_of_call(path, REFUND) is None
    assert problem_of_call(path, REFUND | spoiled) is not None


@pytest.mark.parametrize("spoiled", [{"p_order_group_id": "1"}, {"p_checkout_session_id": " "}])
def test_a_call_that_would_cancel_nothing_is_a_problem(spoiled: Json) -> None:
    path, call = (
        "/rest/v1/rpc/cancel_order_group",
        {
            "p_order_group_id": "00000000-0000-0000-0000-000000000001",
            "p_checkout_session_id": "cs_1",
        },
    )

    assert problem_of_call(path, call) is None
    assert problem_of_call(path, call | spoiled) is not None
