"""What a verified event of the lifecycle route means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.core.checkout import Ignored, Rules
from relay.core.errors import MalformedEvent, ThinEvent
from relay.core.event import read_event
from relay.core.lifecycle import STATUSES, TYPES, Decision, EndedCheckout, Kind, Reversal, judge
from relay.core.outcomes import Reason
from testkit.stripe_events import COMPLETED, EXPIRED, FAILED, SUCCEEDED, Json, completed, disputed, ended, refunded

GROUP = "3f0c1f0e-6f1f-4a7d-9d1e-0123456789ab"
OTHER_GROUP = "3f0c1f0e-6f1f-4a7d-9d1e-0123456789ac"
RULES = Rules(livemode=False, accounts=frozenset({"acct_own"}))
MAKERS = {"refund": refunded, "dispute": disputed}


def decide(event: object, rules: Rules = RULES) -> Decision:
    return judge(read_event(json.dumps(event)), rules)


# Which types, and what they become

KINDS = {
    "refund.created": "refund",
    "refund.updated": "refund",
    "refund.failed": "refund",
    "charge.dispute.created": "dispute",
    "charge.dispute.updated": "dispute",
    "charge.dispute.closed": "dispute",
    "charge.dispute.funds_withdrawn": "dispute",
    "charge.dispute.funds_reinstated": "dispute",
    EXPIRED: "ended",
    FAILED: "ended",
}
OTHERS = (
    COMPLETED,
    SUCCEEDED,
    *("charge.refunded", "charge.refund.updated", "charge.succeeded", "payment_intent.canceled"),
    *("refund", "refund.deleted", "Refund.created", "v1.charge.refunded", "v2.core.event", ""),
)


def event_of(kind: str, event_type: str, **changes: Any) -> Json:
    return ended(GROUP, kind=event_type, **changes) if kind == "ended" else MAKERS[kind](kind=event_type, **changes)


def test_each_type_has_its_meaning_and_no_other_type_has_any() -> None:
    assert KINDS.keys() == TYPES, "each type has a line in KINDS, and no other has one"

    meanings = {event_type: type(decide(event_of(kind, event_type))) for event_type, kind in KINDS.items()}

    assert meanings == {name: EndedCheckout if kind == "ended" else Reversal for name, kind in KINDS.items()}
    for other in OTHERS:
        assert decide(refunded(kind=other)) == Ignored(Reason.EVENT_TYPE)


def test_a_refund_becomes_what_the_database_is_told() -> None:
    event = refunded("pi_1", id="re_1", amount=1234, currency="eur", status="pending", created=1795400000)

    assert decide(event) == Reversal(
        kind="refund",
        id="re_1",
        payment_intent_id="pi_1",
        amount_minor=1234,
        amount="12.34",
        currency="EUR",
        status="pending",
        created="2026-11-23T02:13:20+00:00",
        reason="requested_by_customer",
        livemode=False,
        event_id=event["id"],
    )


def test_a_dispute_becomes_what_the_database_is_told() -> None:
    event = disputed("pi_1", id="dp_1", amount=500, currency="jpy", status="lost", created=1795400000, reason=None)

    assert decide(event) == Reversal(
        kind="dispute",
        id="dp_1",
        payment_intent_id="pi_1",
        amount_minor=500,
        amount="500",
        currency="JPY",
        status="lost",
        created="2026-11-23T02:13:20+00:00",
        reason=None,
        livemode=False,
        event_id=event["id"],
    )


@pytest.mark.parametrize(
    ("minor", "currency", "major"), [(1000, "jpy", "1000"), (1500, "kwd", "1.500"), (500, "isk", "5.00")]
)
def test_amounts_are_normalised_by_stripes_exponents(minor: int, currency: str, major: str) -> None:
    for make in MAKERS.values():
        decision = decide(make(amount=minor, currency=currency))
        assert isinstance(decision, Reversal)
        assert (decision.amount_minor, decision.amount) == (minor, major)


@pytest.mark.parametrize("kind", STATUSES)
def test_each_status_is_passed_on(kind: Kind) -> None:
    for status in STATUSES[kind]:
        decision = decide(MAKERS[kind](status=status))
        assert isinstance(decision, Reversal)
        assert decision.status == status


def test_an_expanded_payment_intent_is_its_id() -> None:
    for make in MAKERS.values():
        decision = decide(make(payment_intent={"id": "pi_1", "object": "payment_intent"}))
        assert isinstance(decision, Reversal)
        assert decision.payment_intent_id == "pi_1"


@pytest.mark.parametrize("kind", [EXPIRED, FAILED])
def test_a_checkout_that_has_ended_names_its_session_and_its_group(kind: str) -> None:
    for link in (None, "plink_1"):
        by_metadata = ended(GROUP.upper(), kind=kind, id="cs_1", payment_link=link)
        assert decide(by_metadata) == EndedCheckout("cs_1", GROUP)
    by_reference = ended(kind=kind, id="cs_1", metadata={}, client_reference_id=GROUP)
    assert decide(by_reference) == EndedCheckout("cs_1", GROUP)


@pytest.mark.parametrize("kind", [EXPIRED, FAILED])
def test_a_reference_that_the_visitor_of_a_payment_link_may_choose_ends_no_group(kind: str) -> None:
    for metadata in ({}, None, {"order_group_id": " "}):
        by_link = ended(kind=kind, id="cs_1", metadata=metadata, client_reference_id=GROUP, payment_link="plink_1")
        assert decide(by_link) == Ignored(Reason.MISSING_REFERENCE, "cs_1")


# What is ignored


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_money_of_no_payment_intent_is_of_no_checkout(make: Any) -> None:
    assert decide(make(payment_intent=None)) == Ignored(Reason.MISSING_PAYMENT_INTENT)


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        ({"mode": "setup"}, Reason.SESSION_MODE),
        ({"mode": "subscription"}, Reason.SESSION_MODE),
        ({"metadata": {}}, Reason.MISSING_REFERENCE),
        ({"metadata": None}, Reason.MISSING_REFERENCE),
        ({"metadata": {"order_group_id": "17"}}, Reason.MALFORMED_REFERENCE),
        ({"client_reference_id": OTHER_GROUP}, Reason.CONFLICTING_REFERENCES),
    ],
)
def test_a_checkout_that_names_no_group_ends_without_us(session: Json, reason: Reason) -> None:
    assert decide(ended(GROUP, id="cs_1", **session)) == Ignored(reason, "cs_1")


EVENTS = {"refund": refunded(), "dispute": disputed(), "ended": ended(GROUP, id="cs_1")}
SESSIONS = {"refund": None, "dispute": None, "ended": "cs_1"}


@pytest.mark.parametrize("kind", EVENTS)
def test_the_other_mode_is_ignored_whoever_names_it(kind: str) -> None:
    other = Ignored(Reason.LIVEMODE_MISMATCH, SESSIONS[kind])
    theirs = EVENTS[kind]["data"]["object"] | {"livemode": True}

    assert decide(EVENTS[kind] | {"livemode": True}) == other
    assert decide(EVENTS[kind] | {"data": {"object": theirs}}) == other
    assert decide(EVENTS[kind] | {"livemode": True, "data": {"object": theirs}}) == other
    both_live = decide(EVENTS[kind] | {"livemode": True, "data": {"object": theirs}}, Rules(livemode=True))
    assert not isinstance(both_live, Ignored)


@pytest.mark.parametrize("kind", EVENTS)
def test_another_accounts_event_is_ignored_and_ones_own_is_not(kind: str) -> None:
    for key in ("account", "context"):
        assert decide(EVENTS[kind] | {key: "acct_seller"}) == Ignored(Reason.FOREIGN_ACCOUNT, SESSIONS[kind])
        assert not isinstance(decide(EVENTS[kind] | {key: "acct_own"}), Ignored)
        assert not isinstance(decide(EVENTS[kind] | {key: None}), Ignored)
    both = {"account": "acct_own", "context": "acct_seller"}
    assert decide(EVENTS[kind] | both) == Ignored(Reason.FOREIGN_ACCOUNT, SESSIONS[kind])


# What is refused


@pytest.mark.parametrize("event_type", KINDS)
def test_a_thin_payload_is_refused(event_type: str) -> None:
    thin = {"id": "evt_1", "object": "v2.core.event", "livemode": False}

    for name in (f"v1.{event_type}", event_type):
        with pytest.raises(ThinEvent):
            decide(thin | {"type": name})


UNUSABLE: dict[str, list[object]] = {
    "id": [None, 1, "", "re 1", "r" * 256, "re_\x00", []],
    "object": [None, "charge", "checkout.session", 1],
    "payment_intent": [1, "", "pi 1", [], {}, {"id": None}, "p" * 256, True],
    "amount": [None, 0, -1, 1.5, "100", True, 2**63, []],
    "currency": [None, "", "euro", 1, [], "\N{LATIN SMALL LETTER E WITH ACUTE}", " "],
    "status": [None, "", "done", 1, [], "Succeeded", "paid"],
    "created": [None, "1795400000", 1.5, 0, 10**12, True],
    "reason": [1, [], {}, "", "r" * 256, "a\x00b"],
    "livemode": [None, 0, "false", []],
}
SPOILT: list[Json] = [{field: value} for field, values in UNUSABLE.items() for value in values]


@pytest.mark.parametrize("changes", SPOILT, ids=[json.dumps(each)[:40] for each in SPOILT])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_refund_or_dispute_that_cannot_be_read_is_malformed(make: Any, changes: Json) -> None:
    with pytest.raises(MalformedEvent):
        decide(make(**changes))


@pytest.mark.parametrize("missing", ["id", "object", "amount", "currency", "status", "created"])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_refund_or_dispute_that_lacks_something_is_malformed(make: Any, missing: str) -> None:
    event = make()
    del event["data"]["object"][missing]

    with pytest.raises(MalformedEvent):
        decide(event)


def test_a_refund_is_no_dispute_and_a_status_of_one_is_none_of_the_other() -> None:
    for event in (
        refunded(kind="charge.dispute.created"),
        disputed(kind="refund.created"),
        ended(GROUP, kind="refund.created"),
        refunded(status="won"),
        disputed(status="pending"),
    ):
        with pytest.raises(MalformedEvent):
            decide(event)


@pytest.mark.parametrize("changes", [{"id": None}, {"payment_status": "x"}, {"livemode": None}, {"object": "refund"}])
def test_an_ended_session_that_cannot_be_read_is_malformed(changes: Json) -> None:
    with pytest.raises(MalformedEvent):
        decide(ended(GROUP, **changes))


@pytest.mark.parametrize("data", [None, [], "x", {}, {"object": None}, {"object": []}])
@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_without_its_object_is_malformed(kind: str, data: object) -> None:
    with pytest.raises(MalformedEvent):
        decide(EVENTS[kind] | {"data": data})


@pytest.mark.parametrize("livemode", [None, 0, "false"])
@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_without_its_mode_is_malformed(kind: str, livemode: object) -> None:
    with pytest.raises(MalformedEvent):
        decide(EVENTS[kind] | {"livemode": livemode})


def test_completed_sessions_are_the_other_routes() -> None:
    assert decide(completed(GROUP)) == Ignored(Reason.EVENT_TYPE)
