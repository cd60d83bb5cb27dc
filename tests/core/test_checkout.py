"""What a verified event means, in the order of the contract's rows."""

import copy
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.checkout import RECONCILING_TYPES, AwaitingFunds, Decision, Ignored, Payment, Rules, Unmatched, judge
from relay.core.errors import MalformedEvent, Refused, ThinEvent, TooMuchMetadata
from relay.core.event import read_event
from relay.core.outcomes import Reason
from testkit.stripe_events import Json, completed, session_of, twin

GROUP = "3f0c1f0e-6f1f-4a7d-9d1e-0123456789ab"
OTHER_GROUP = "3f0c1f0e-6f1f-4a7d-9d1e-0123456789ac"


def decide(event: object, *, livemode: bool = False) -> Decision:
    return judge(read_event(json.dumps(event)), Rules(livemode=livemode))


def payment_of(event: Json) -> Payment:
    decision = decide(event)
    assert isinstance(decision, Payment)
    return decision


# Not an event


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "null",
        "[]",
        '"evt_1"',
        "1",
        "true",
        "{}",
        '{"id": "evt_1"}',
        '{"type": "x"}',
        '{"id": 1, "type": "x"}',
        '{"id": "evt_1", "type": null}',
        '{"id": "evt_1", "object": "charge", "type": "x"}',
        '{"id": "evt_1", "object": null, "type": "x"}',
        '{"id": "", "type": "x"}',
        '{"id": "evt_1\\u0000", "type": "x"}',
        '{"id": "evt_\\ud800", "type": "x"}',
        '{"id": "evt_1", "type": "x", "n": NaN}',
        '{"id": "evt_1", "type": "x", "n": -Infinity}',
        '{"id": "evt_1", "type": "x"} trailing',
        "{'id': 'evt_1', 'type': 'x'}",
        '\ufeff{"id": "evt_1", "type": "x"}',
        "[" * 100_000,
        '{"id": "evt_1", "type": "x", "n": ' + "9" * 5000 + ', "m": NaN}',
    ],
)
def test_what_is_no_stripe_event_is_malformed(text: str) -> None:
    with pytest.raises(MalformedEvent):
        read_event(text)


def test_an_absurdly_long_id_is_malformed() -> None:
    with pytest.raises(MalformedEvent):
        read_event(json.dumps({"id": "e" * 256, "type": "x"}))


def spoil(**changes: Any) -> Callable[[Json], Json]:
    def change(event: Json) -> Json:
        session_of(event).update(changes)
        return event

    return change


def spoil_event(**changes: Any) -> Callable[[Json], Json]:
    return lambda event: event | changes


def without(key: str) -> Callable[[Json], Json]:
    def change(event: Json) -> Json:
        del session_of(event)[key]
        return event

    return change


MALFORMED = {
    "no data": spoil_event(data=None),
    "data is a list": spoil_event(data=[]),
    "no object": spoil_event(data={}),
    "object is null": spoil_event(data={"object": None}),
    "object is text": spoil_event(data={"object": "cs_test_1"}),
    "another object": spoil(object="payment_intent"),
    "no object name": without("object"),
    "no id": without("id"),
    "id is null": spoil(id=None),
    "id is a number": spoil(id=1),
    "id is blank": spoil(id=""),
    "id holds NUL": spoil(id="cs_\x00"),
    "id ends in a blank": spoil(id="cs_1 "),
    "id is too long": spoil(id="c" * 256),
    "no livemode": without("livemode"),
    "livemode is text": spoil(livemode="false"),
    "livemode is 0": spoil(livemode=0),
    "livemode is null": spoil(livemode=None),
    "event livemode is text": spoil_event(livemode="false"),
    "event livemode is null": spoil_event(livemode=None),
    "no payment_status": without("payment_status"),
    "unknown payment_status": spoil(payment_status="maybe"),
    "payment_status is a list": spoil(payment_status=["paid"]),
    "payment_intent is a number": spoil(payment_intent=7),
    "payment_intent is a list": spoil(payment_intent=["pi_1"]),
    "payment_intent is false": spoil(payment_intent=False),
    "payment_intent without id": spoil(payment_intent={}),
    "payment_intent with null id": spoil(payment_intent={"id": None}),
    "payment_intent holds NUL": spoil(payment_intent="pi_\x00"),
}


@pytest.mark.parametrize("spoiled", MALFORMED.values(), ids=MALFORMED)
def test_a_reconciling_event_with_a_spoiled_session_is_malformed(spoiled: Callable[[Json], Json]) -> None:
    for event in (completed(GROUP), twin(completed(GROUP))):
        with pytest.raises(MalformedEvent):
            decide(spoiled(event))


@pytest.mark.parametrize("spoiled", MALFORMED.values(), ids=MALFORMED)
def test_another_event_type_is_ignored_whatever_its_object_is(spoiled: Callable[[Json], Json]) -> None:
    event = spoiled(completed(GROUP)) | {"type": "checkout.session.expired"}

    assert decide(event) == Ignored(Reason.EVENT_TYPE)


@pytest.mark.parametrize("kind", ["checkout.session.expired", "v1.billing.meter.error_report_triggered"])
def test_a_thin_event_of_another_type_is_ignored(kind: str) -> None:
    assert decide({"id": "evt_1", "object": "v2.core.event", "type": kind}) == Ignored(Reason.EVENT_TYPE)


@pytest.mark.parametrize("prefix", ["", "v1."])
@pytest.mark.parametrize("kind", sorted(RECONCILING_TYPES))
def test_a_payment_that_is_announced_without_its_session_is_no_event_for_us(prefix: str, kind: str) -> None:
    with pytest.raises(ThinEvent):
        decide({"id": "evt_1", "object": "v2.core.event", "type": prefix + kind, "livemode": True})


# Whose event

OURS = Rules(livemode=False, accounts=frozenset({"acct_own", "acct_org"}))
NO_ACCOUNTS: list[Json] = [{}, {"account": None}, {"context": None}, {"account": None, "context": None}]
OWN_ACCOUNTS: list[tuple[Json, str]] = [
    ({"account": "acct_own"}, "acct_own"),
    ({"context": "acct_own"}, "acct_own"),
    ({"account": "acct_org", "context": "acct_own"}, "acct_org"),
    ({"account": "acct_own", "context": None}, "acct_own"),
]
FOREIGN_ACCOUNTS: list[tuple[Json, str]] = [
    ({"account": "acct_seller"}, "acct_seller"),
    ({"context": "acct_seller"}, "acct_seller"),
    ({"account": "acct_own", "context": "acct_seller"}, "acct_seller"),
    ({"account": "acct_seller", "context": "acct_own"}, "acct_seller"),
    ({"account": "ACCT_OWN"}, "ACCT_OWN"),
    ({"account": "acct_own "}, '"acct_own "'),
    ({"account": ""}, '""'),
    ({"account": 5}, "5"),
    ({"account": {}}, "{}"),
    ({"account": ["acct_own"]}, '["acct_own"]'),
    ({"account": False}, "false"),
    ({"account": "acct_\x00"}, '"acct_\\u0000"'),
]


def decide_as_ours(event: Json) -> Decision:
    return judge(read_event(json.dumps(event)), OURS)


@pytest.mark.parametrize("named", NO_ACCOUNTS)
def test_an_event_that_names_no_account_is_ours(named: Json) -> None:
    assert payment_of(completed(GROUP) | named).account is None
    assert isinstance(decide_as_ours(completed(GROUP) | named), Payment)


@pytest.mark.parametrize(("named", "account"), OWN_ACCOUNTS)
def test_an_event_of_a_named_account_counts_where_all_it_names_are_ours(named: Json, account: str) -> None:
    decision = decide_as_ours(completed(GROUP) | named)

    assert isinstance(decision, Payment)
    assert (decision.account, decision.order_group_id) == (account, GROUP)


@pytest.mark.parametrize(("named", "account"), FOREIGN_ACCOUNTS)
def test_money_of_another_account_names_no_group_and_keeps_what_it_says(named: Json, account: str) -> None:
    event = completed(GROUP) | named

    decision = decide_as_ours(event)

    assert isinstance(decision, Unmatched)
    assert decision.reason is Reason.FOREIGN_ACCOUNT
    assert (decision.payment.account, decision.payment.order_group_id) == (account, None)
    assert decision.payment.metadata["order_group_id"] == GROUP


@pytest.mark.parametrize(
    "session",
    [
        {"payment_status": "unpaid"},
        {"payment_status": "no_payment_required"},
        {"metadata": {}},
        {"metadata": {}, "client_reference_id": GROUP},
        {"metadata": {"order_group_id": "cart-17"}},
        {"metadata": None},
    ],
)
def test_another_accounts_session_without_money_or_a_named_group_is_ignored(session: Json) -> None:
    event = completed(GROUP, **session) | {"account": "acct_seller"}

    assert decide_as_ours(event) == Ignored(Reason.FOREIGN_ACCOUNT, session_of(event)["id"])


def test_an_account_of_more_than_255_characters_is_malformed() -> None:
    for account in ("a" * 256, ["a" * 252], {"deep": "a" * 300}):
        with pytest.raises(MalformedEvent):
            decide(completed(GROUP) | {"account": account})


def test_mode_and_kind_of_session_are_judged_before_the_account() -> None:
    for changes, reason in (({"livemode": True}, Reason.LIVEMODE_MISMATCH), ({}, Reason.FOREIGN_ACCOUNT)):
        event = completed(payment_status="unpaid", metadata={}) | {"account": "acct_seller"} | changes
        assert isinstance(ignored := decide(event), Ignored)
        assert ignored.reason is reason
    assert isinstance(mode := decide(completed(GROUP, mode="setup") | {"account": "acct_seller"}), Ignored)
    assert mode.reason is Reason.SESSION_MODE


@pytest.mark.parametrize("status", ["paid", "unpaid", "no_payment_required"])
@pytest.mark.parametrize("reference", [None, "", "  "])
def test_a_session_without_any_reference_can_be_somebody_elses_business(status: str, reference: str | None) -> None:
    event = completed(payment_status=status, metadata={}, client_reference_id=reference)

    decision = judge(read_event(json.dumps(event)), Rules(livemode=False, ignores_unreferenced=True))

    assert decision == Ignored(Reason.MISSING_REFERENCE, session_of(event)["id"])


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        ({"metadata": {"order_group_id": "cart-17"}}, Reason.MALFORMED_REFERENCE),
        ({"metadata": {}, "client_reference_id": "cart-17"}, Reason.MALFORMED_REFERENCE),
        ({"client_reference_id": OTHER_GROUP}, Reason.CONFLICTING_REFERENCES),
    ],
)
def test_a_wrong_reference_is_never_somebody_elses_business(session: Json, reason: Reason) -> None:
    decision = judge(
        read_event(json.dumps(completed(GROUP, **session))), Rules(livemode=False, ignores_unreferenced=True)
    )

    assert isinstance(decision, Unmatched)
    assert decision.reason is reason


METADATA = {"order_group_id": GROUP, "campaign": "spring", "email": "jenny@example.test"}


@pytest.mark.parametrize(
    ("keys", "kept"),
    [
        (None, METADATA),
        (frozenset(), {}),
        (frozenset({"campaign", "never sent"}), {"campaign": "spring"}),
        (frozenset({"campaign", "order_group_id"}), {"campaign": "spring", "order_group_id": GROUP}),
    ],
)
def test_of_a_payment_with_a_group_the_listed_metadata_are_kept(
    keys: frozenset[str] | None, kept: dict[str, str]
) -> None:
    rules = Rules(livemode=False, metadata_keys=keys)

    decision = judge(read_event(json.dumps(completed(metadata=METADATA))), rules)

    assert isinstance(decision, Payment)
    assert (decision.metadata, decision.order_group_id) == (kept, GROUP)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"client_reference_id": OTHER_GROUP}, Reason.CONFLICTING_REFERENCES),
        ({"metadata": METADATA | {"order_group_id": "cart-17"}}, Reason.MALFORMED_REFERENCE),
        ({"metadata": {"campaign": "spring", "email": "jenny@example.test"}}, Reason.MISSING_REFERENCE),
        ({"account": "acct_seller"}, Reason.FOREIGN_ACCOUNT),
    ],
)
def test_a_payment_without_a_group_keeps_its_reference_whatever_is_listed(event: Json, reason: Reason) -> None:
    account = {key: event[key] for key in event if key == "account"}
    session = {"metadata": METADATA} | {key: event[key] for key in event if key != "account"}
    rules = Rules(livemode=False, metadata_keys=frozenset({"campaign"}))

    decision = judge(read_event(json.dumps(completed(**session) | account)), rules)

    assert isinstance(decision, Unmatched)
    assert decision.reason is reason
    reference = {key: value for key, value in session["metadata"].items() if key == "order_group_id"}
    assert decision.payment.metadata == {"campaign": "spring"} | reference


# Not for us, or not yet


@pytest.mark.parametrize("key_mode", [True, False])
def test_an_event_of_the_other_mode_is_ignored(key_mode: bool) -> None:
    event = completed(GROUP, livemode=not key_mode) | {"livemode": not key_mode}

    decision = decide(event, livemode=key_mode)

    assert decision == Ignored(Reason.LIVEMODE_MISMATCH, session_of(event)["id"])


def test_an_event_whose_two_livemodes_differ_pays_nothing() -> None:
    for event in (completed(GROUP, livemode=True), completed(GROUP) | {"livemode": True}):
        for key_mode in (True, False):
            assert isinstance(decide(event, livemode=key_mode), Ignored)


@pytest.mark.parametrize("mode", ["subscription", "setup", None, 1])
def test_a_session_that_is_no_payment_is_ignored(mode: object) -> None:
    assert isinstance(ignored := decide(completed(GROUP, mode=mode)), Ignored)
    assert ignored.reason is Reason.SESSION_MODE


@pytest.mark.parametrize(
    "named",
    [{}, {"payment_link": "plink_1"}, {"metadata": {}, "client_reference_id": GROUP}],
    ids=["by its metadata", "by a link's metadata", "by its reference"],
)
def test_an_unpaid_session_awaits_its_funds(named: Json) -> None:
    event = completed(GROUP, payment_status="unpaid", **named)

    decision = decide(event)

    assert decision == AwaitingFunds(None, session_of(event)["id"], GROUP, event["id"], "2026-11-23T02:13:21+00:00")
    assert decision.is_to_be_noted


@pytest.mark.parametrize(
    "session",
    [
        {"payment_status": "no_payment_required"},
        {"metadata": {}},
        {"metadata": {}, "client_reference_id": GROUP, "payment_link": "plink_1"},
        {"metadata": {"order_group_id": "cart-17"}},
        {"client_reference_id": OTHER_GROUP},
    ],
)
def test_nothing_is_noted_of_money_that_is_not_under_way_or_not_to_one_order_group(session: Json) -> None:
    decision = decide(completed(GROUP, **{"payment_status": "unpaid", **session}))

    assert isinstance(decision, AwaitingFunds)
    assert not decision.is_to_be_noted


@pytest.mark.parametrize("amount", [1, None, True, 0.0, "0", -0.5])
def test_no_payment_required_for_an_amount_awaits_its_funds(amount: object) -> None:
    decision = decide(completed(GROUP, payment_status="no_payment_required", amount_total=amount))

    assert isinstance(decision, AwaitingFunds)
    assert decision.reason is Reason.NO_PAYMENT_REQUIRED


def test_no_payment_required_for_nothing_is_a_payment_of_nothing() -> None:
    event = completed(GROUP, payment_status="no_payment_required", amount_total=0, payment_intent=None)

    payment = payment_of(event)

    assert (payment.amount_minor, payment.amount, payment.payment_intent_id) == (0, "0.00", None)


def test_the_rows_are_judged_from_top_to_bottom() -> None:
    event = completed(GROUP, payment_status="maybe", mode="setup", livemode=True, metadata={}) | {"livemode": True}
    with pytest.raises(MalformedEvent):
        decide(event)

    session_of(event)["payment_status"] = "unpaid"
    assert isinstance(mismatch := decide(event), Ignored)
    assert mismatch.reason is Reason.LIVEMODE_MISMATCH

    session_of(event)["livemode"] = event["livemode"] = False
    assert isinstance(mode := decide(event), Ignored)
    assert mode.reason is Reason.SESSION_MODE

    session_of(event)["mode"] = "payment"
    assert isinstance(decide(event), AwaitingFunds)

    session_of(event)["payment_status"] = "paid"
    assert isinstance(decide(event), Unmatched)


# Which group


@pytest.mark.parametrize(
    ("metadata", "client_reference", "expected"),
    [
        ({"order_group_id": GROUP}, None, GROUP),
        ({"order_group_id": GROUP.upper()}, None, GROUP),
        ({"order_group_id": GROUP.replace("-", "")}, None, GROUP),
        ({"order_group_id": f" {GROUP}\n"}, None, GROUP),
        ({}, GROUP, GROUP),
        (None, GROUP, GROUP),
        ("odd", GROUP, GROUP),
        ({"order_group_id": ""}, GROUP, GROUP),
        ({"order_group_id": "  "}, GROUP, GROUP),
        ({"order_group_id": None}, GROUP, GROUP),
        ({"order_group_id": GROUP}, GROUP.upper(), GROUP),
        ({"order_group_id": GROUP}, "cart-17", GROUP),
        ({"order_group_id": GROUP}, 17, GROUP),
        ({"order_group_id": GROUP}, "", GROUP),
        ({}, None, Reason.MISSING_REFERENCE),
        ({}, "", Reason.MISSING_REFERENCE),
        ({"order_group_id": " "}, "\t", Reason.MISSING_REFERENCE),
        ([], None, Reason.MISSING_REFERENCE),
        ({"order_group_id": "cart-17"}, None, Reason.MALFORMED_REFERENCE),
        ({"order_group_id": "cart-17"}, GROUP, Reason.MALFORMED_REFERENCE),
        ({"order_group_id": 17}, GROUP, Reason.MALFORMED_REFERENCE),
        ({"order_group_id": "{" + GROUP + "}"}, None, Reason.MALFORMED_REFERENCE),
        ({"order_group_id": f"urn:uuid:{GROUP}"}, None, Reason.MALFORMED_REFERENCE),
        ({"order_group_id": GROUP[:-1]}, None, Reason.MALFORMED_REFERENCE),
        ({"order_group_id": GROUP + "0"}, None, Reason.MALFORMED_REFERENCE),
        ({"order_group_id": GROUP.replace("-", "", 1)}, None, Reason.MALFORMED_REFERENCE),
        ({"order_group_id": GROUP.replace("3", "\uff13")}, None, Reason.MALFORMED_REFERENCE),
        ({}, "cart-17", Reason.MALFORMED_REFERENCE),
        ({}, 17, Reason.MALFORMED_REFERENCE),
        ({"order_group_id": GROUP}, OTHER_GROUP, Reason.CONFLICTING_REFERENCES),
        ({"order_group_id": GROUP}, OTHER_GROUP.upper(), Reason.CONFLICTING_REFERENCES),
    ],
)
def test_metadata_names_the_group_else_the_client_reference(
    metadata: object, client_reference: object, expected: str | Reason
) -> None:
    decision = decide(completed(metadata=metadata, client_reference_id=client_reference))

    if isinstance(expected, Reason):
        assert isinstance(decision, Unmatched)
        assert (decision.reason, decision.payment.order_group_id) == (expected, None)
    else:
        assert isinstance(decision, Payment)
        assert decision.order_group_id == expected


# How much


@pytest.mark.parametrize("amount", [None, True, False, -1, 100.0, "12345", [], {}, 2**63, 10**40, float(2**60)])
def test_an_odd_amount_is_sent_as_null(amount: object) -> None:
    payment = payment_of(completed(GROUP, amount_total=amount))

    assert (payment.amount_minor, payment.amount) == (None, None)


def test_an_amount_of_more_digits_than_python_reads_is_sent_as_null() -> None:
    text = json.dumps(completed(GROUP)).replace('"amount_total": 12345', '"amount_total": ' + "9" * 5000)

    decision = judge(read_event(text), Rules(livemode=False))

    assert isinstance(decision, Payment)
    assert decision.amount_minor is None


def test_the_largest_bigint_is_an_amount() -> None:
    assert payment_of(completed(GROUP, amount_total=2**63 - 1)).amount == "92233720368547758.07"


@pytest.mark.parametrize("currency", [None, 5, "", "u\x00d"])
def test_a_currency_that_is_no_text_is_sent_as_null(currency: object) -> None:
    payment = payment_of(completed(GROUP, currency=currency))

    assert (payment.currency, payment.amount_minor, payment.amount) == (None, 12345, "123.45")


def test_presentment_values_are_never_looked_at() -> None:
    shown = {"presentment_amount": 11111, "presentment_currency": "eur"}

    payment = payment_of(completed(GROUP, presentment_details=shown))

    assert (payment.amount, payment.currency) == ("123.45", "USD")


def test_an_old_session_carries_the_shops_own_values_in_currency_conversion() -> None:
    conversion = {"amount_total": 1000, "source_currency": "jpy", "fx_rate": "0.0061"}

    payment = payment_of(completed(GROUP, currency_conversion=conversion))

    assert (payment.amount_minor, payment.amount, payment.currency) == (1000, "1000", "JPY")


@pytest.mark.parametrize("conversion", [{}, [], "x", 5, {"amount_total": "1000"}])
def test_a_broken_currency_conversion_never_falls_back_to_the_buyers_values(conversion: object) -> None:
    assert payment_of(completed(GROUP, currency_conversion=conversion)).amount_minor is None


# The rest of the parameters


def test_an_expanded_payment_intent_counts_as_its_id() -> None:
    assert payment_of(completed(GROUP, payment_intent={"id": "pi_1", "amount": 1})).payment_intent_id == "pi_1"


@pytest.mark.parametrize("created", [None, "1795400001", True, 1.5, []])
def test_a_creation_time_that_is_no_number_of_seconds_is_unknown(created: object) -> None:
    assert payment_of(completed(GROUP) | {"created": created}).event_created is None


@pytest.mark.parametrize("created", [0, -1, 946_684_799, 4_102_444_801, 10**12, 10**30])
def test_a_creation_time_outside_of_this_century_is_malformed(created: int) -> None:
    with pytest.raises(MalformedEvent):
        decide(completed(GROUP) | {"created": created})


@pytest.mark.parametrize(
    ("created", "instant"), [(946_684_800, "2000-01-01T00:00:00+00:00"), (4_102_444_800, "2100-01-01T00:00:00+00:00")]
)
def test_the_bounds_of_the_creation_time_are_times(created: int, instant: str) -> None:
    assert payment_of(completed(GROUP) | {"created": created}).event_created == instant


def test_a_currency_of_more_than_three_letters_is_malformed() -> None:
    for session in ({"currency": "usdd"}, {"currency_conversion": {"amount_total": 1, "source_currency": "usdd"}}):
        with pytest.raises(MalformedEvent):
            decide(completed(GROUP, **session))


# The most that Stripe takes: 50 keys of 40 and values of 500 characters. https://docs.stripe.com/api/metadata
AS_MUCH_AS_STRIPE_TAKES = {f"{number:040}": "\u4e2d" * 500 for number in range(48)} | {
    "order_group_id": GROUP,
    "campaign": "spring",
}
LISTED = Rules(livemode=False, metadata_keys=frozenset({"campaign"}))


@pytest.mark.parametrize(
    ("session", "kept"),
    [
        ({}, {"campaign": "spring"}),
        ({"client_reference_id": OTHER_GROUP}, {"campaign": "spring", "order_group_id": GROUP}),
    ],
)
def test_of_the_metadata_only_what_is_kept_is_measured(session: Json, kept: dict[str, str]) -> None:
    event = completed(metadata=AS_MUCH_AS_STRIPE_TAKES, **session)

    decision = judge(read_event(json.dumps(event)), LISTED)

    assert isinstance(decision, Payment | Unmatched)
    assert (decision.payment if isinstance(decision, Unmatched) else decision).metadata == kept
    with pytest.raises(TooMuchMetadata) as refused:
        decide(event)
    assert refused.value.reason is Reason.MALFORMED_EVENT
    assert refused.value.detail == (
        "74,384 bytes of session metadata to keep, 65,536 at most: RELAY_METADATA_KEYS narrows them"
    )


def test_metadata_of_what_is_no_payment_are_not_measured() -> None:
    large: Json = {"metadata": AS_MUCH_AS_STRIPE_TAKES}

    assert isinstance(decide(completed(payment_status="unpaid", **large)), AwaitingFunds)
    assert isinstance(decide(completed(mode="subscription", **large)), Ignored)
    assert isinstance(decide(completed(**large), livemode=True), Ignored)


def test_what_is_kept_of_the_metadata_has_64_kib_as_the_database_writes_them() -> None:
    room = 64 * 1024 - len(json.dumps({"order_group_id": GROUP, "a": ""}))
    odd = "\u00e9\x00"  # two and three bytes

    fits = {"order_group_id": GROUP, "a": odd + "x" * (room - 5)}
    assert payment_of(completed(metadata=fits)).metadata["a"].endswith("x")
    with pytest.raises(MalformedEvent):
        decide(completed(metadata=fits | {"a": fits["a"] + "x"}))


def test_an_event_type_has_255_characters_at_most() -> None:
    assert read_event(json.dumps({"id": "evt_1", "type": "t" * 255})).type == "t" * 255
    with pytest.raises(MalformedEvent):
        read_event(json.dumps({"id": "evt_1", "type": "t" * 256}))


def test_metadata_is_text_that_postgres_can_store() -> None:
    odd = {
        "order_group_id": GROUP,
        "nul": "a\x00b",
        "half\ud800": "\udfff",
        "number": 5,
        "deep": {"list": [None]},
        "huge": 1e300,
        "emoji": "🦜",
    }

    metadata = payment_of(completed(metadata=odd)).metadata

    assert metadata == {
        "order_group_id": GROUP,
        "nul": "a\N{REPLACEMENT CHARACTER}b",
        "half\N{REPLACEMENT CHARACTER}": "\N{REPLACEMENT CHARACTER}",
        "number": "5",
        "deep": '{"list": [null]}',
        "huge": "1e+300",
        "emoji": "🦜",
    }


def test_a_number_beyond_floats_in_metadata_is_harmless() -> None:
    text = json.dumps(completed(GROUP)).replace('"source": "web"', '"source": 1e999')

    decision = judge(read_event(text), Rules(livemode=False))

    assert isinstance(decision, Payment)
    assert decision.metadata["source"] == "Infinity"


# Anything at all

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=10
)
SESSION_KEYS = sorted(session_of(completed(GROUP)))


@given(body=ANYTHING)
def test_any_json_is_malformed_or_ignored_until_it_is_an_event(body: object) -> None:
    try:
        decision = decide(body)
    except Refused:
        return
    assert isinstance(decision, Ignored)


@given(key=st.sampled_from(SESSION_KEYS), value=ANYTHING)
def test_a_session_with_one_odd_value_is_decided_or_malformed_and_can_always_be_sent(key: str, value: object) -> None:
    event = completed(str(uuid.UUID(int=7)), **{key: value})
    before = copy.deepcopy(event)

    try:
        decision = decide(event)
    except MalformedEvent:
        return

    assert event == before
    if isinstance(decision, Unmatched):
        decision = decision.payment
    if isinstance(decision, Payment):
        sent = [decision.session_id, decision.payment_intent_id, decision.currency, *decision.metadata.values()]
        assert not any("\x00" in text for text in sent if text)
        json.dumps([sent, dict(decision.metadata)], allow_nan=False, ensure_ascii=False).encode()
