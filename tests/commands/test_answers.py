"""Whatever the Data API answers, a command tells it or says in words that it cannot be told: no traceback."""

import copy
import math
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from relay.commands import answers, exceptions, stories
from relay.commands.exception_rows import ExceptionRow
from relay.commands.report import command
from relay.commands.report_page.figures import Facts, Report
from relay.core.errors import NoVerdict
from relay.core.outcomes import Reason
from testkit.command_line import run
from testkit.data_api_server import DataApi, Reply
from testkit.relay_under_test import environ

pytestmark = pytest.mark.anyio

GROUP = str(uuid.uuid4())
TIME = "2026-11-23T12:00:00.123456+00:00"
EXCEPTION = {
    "id": 17,
    "status": "resolved",
    "reason": "amount_mismatch",
    "attempts": 2,
    "first_seen_at": TIME,
    "last_seen_at": TIME,
    "order_group_id": GROUP,
    "stripe_event_id": "evt_1",
    "checkout_session_id": "cs_1",
    "payment_intent_id": None,
    "resolution": "refunded",
    "resolved_by": "ada",
    "resolved_at": TIME,
    "note": "sent back",
    "details": {
        "expected": {"order_group_status": "pending", "total_amount": "74.24", "currency": "USD", "orders": 2},
        "received": {"amount": "74.23", "amount_minor": "7423", "currency": "USD"},
        "earlier": [{"until": TIME, "reason": "order_group_not_found"}],
    },
}
ITEM = {"product_id": GROUP, "sku": "SKU-1", "title": "Bowl", "quantity": 5, "returned": 1, "oversold": 2}
BACK = {
    "at": TIME,
    "rule": "it counts once it has succeeded",
    "payment_intent_id": "pi_1",
    "amount": "4.24",
    "currency": "USD",
    "status": "succeeded",
    "from_status": "pending",
    "to_status": "succeeded",
    "reason": "requested_by_customer",
    "source": "webhook",
    "stripe_event_id": "evt_2",
    "set_aside_reason": None,
}
STORY = {
    "order_group_id": GROUP,
    "verdict": "Paid by event evt_1.",
    "order_group": {
        "status": "paid",
        "currency": "USD",
        "total_amount": "74.24",
        "refunded_amount": "4.24",
        "paid_at": TIME,
        "stripe_webhook_event_id": "evt_1",
        "stripe_webhook_event_created_at": TIME,
        "stripe_checkout_session_id": "cs_1",
        "stripe_payment_intent_id": None,
    },
    "orders": [
        {
            "id": GROUP,
            "seller_id": GROUP,
            "seller": "Ada",
            "status": "paid",
            "total_amount": "74.24",
            "items": [ITEM],
        }
    ],
    "timeline": [
        {"at": TIME, "kind": "order_group_created", "rule": "it starts pending"},
        {
            "at": TIME,
            "kind": "stripe_event",
            "rule": "amount, currency and totals agreed",
            "outcome": "applied",
            "event_type": "checkout.session.completed",
            "stripe_event_id": "evt_1",
            "source": "webhook",
            "amount": "74.24",
            "currency": "USD",
            "checkout_session_id": "cs_1",
        },
        {**EXCEPTION, "at": TIME, "kind": "payment_exception", "rule": "the amount differs", "exception_id": 17},
        {
            "at": TIME,
            "kind": "inventory_ledger",
            "rule": "each item takes its quantity",
            "ledger_id": 1,
            "entry_type": "order_return",
            "quantity_delta": 5,
            "product_id": GROUP,
            "order_item_id": GROUP,
            "stripe_refund_id": "re_1",
            "recorded_by": "service_role",
            "note": "too small",
        },
        {
            "at": TIME,
            "kind": "status_change",
            "rule": "it is given up",
            "order_id": GROUP,
            "from_status": "paid",
            "to_status": "refunded",
            "changed_by": "service_role",
            "note": "sold out",
        },
        BACK | {"kind": "refund", "refund_id": "re_1"},
        BACK | {"kind": "dispute", "dispute_id": "dp_1"},
    ],
}
REPORT = {
    "since": TIME,
    "until": TIME,
    "generated_at": TIME,
    "totals": [
        {"day": "2026-11-23", "currency": "USD", "outcome": "applied", "payments": 2, "amount": "74.24"},
        {"day": "2026-11-24", "currency": None, "outcome": "unmatched", "payments": 1, "amount": None},
    ],
    "exceptions": [
        {
            "id": 17,
            "reason": "amount_mismatch",
            "attempts": 2,
            "first_seen_at": TIME,
            "order_group_id": GROUP,
            "checkout_session_id": None,
            "currency": "USD",
            "amount": "74.23",
            "expected_currency": "USD",
            "expected_amount": "74.24",
        }
    ],
    "days": [{"day": "2026-11-23", "lines": 3}],
    "modes": [{"mode": "live", "payments": 1}, {"mode": "test", "payments": 1}],
    "money": [{"currency": "USD", "gross": "74.24", "refunded": "4.24", "net": "70.00"}],
    "simulated": [{"currency": "USD", "gross": "1", "refunded": "0", "net": "1"}],
    "sellers": [{"seller": "A", "currency": "USD", "orders": 2, "gross": "74.24", "refunded": "0", "net": "74.24"}],
    "stock": [
        {
            "seller": "A",
            "sku": "B",
            "product": "C",
            "opening": 0,
            "received": 1,
            "committed": 5,
            "items": 1,
            "returned": 1,
            "corrected": 0,
            "on_hand": -3,
            "oversold": 3,
        }
    ],
    "adjustments": [
        {
            "at": TIME,
            "seller": "A",
            "sku": "B",
            "product": "C",
            "quantity_delta": -1,
            "recorded_by": "ada",
            "note": "broken",
        }
    ],
    "checks": [{"claim": "An order follows its order group", "ok": False, "faults": 1, "examples": ["o: paid"]}],
}


def tell_story(answer: Any) -> str:
    return stories.tell(answers.read(stories.Story, answer, of="f"))


def tell_exception(answer: Any) -> str:
    return exceptions._describe(answers.read(ExceptionRow, answer, of="f"))  # noqa: SLF001


def tell_report(answer: Any) -> str:
    return command._tell(Facts(answers.read(Report, answer, of="f")))  # noqa: SLF001


def tell_table(answer: Any) -> str:
    return command._csv(Facts(answers.read(Report, answer, of="f"))).replace("\x1b", "")  # noqa: SLF001  for no terminal


def tell_page(answer: Any) -> str:
    from relay.commands.report_page import page

    return page.render(Facts(answers.read(Report, answer, of="f"))).replace("\x1b", "")


STRANGE: list[Any] = [
    None, True, 5, -1, 10**30, 1.5, math.nan, math.inf, "", "x", "NaN", "-Infinity", "1e999999", "infinity", "\x1b[31m",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", [], [None], [[]], {}, {"a": {}},
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside, the whole one's first."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def spoiled(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """A copy with another value there."""
    if not path:
        return by
    copied = copy.deepcopy(value)
    at = copied
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = by
    return copied


TOLD = [
    (tell_story, STORY, STRANGE),
    (tell_exception, EXCEPTION, STRANGE),
    (tell_report, REPORT, STRANGE),
    (tell_table, REPORT, STRANGE),
    # To draw a page takes long, and whatever it shows has been read by then.
    (tell_page, REPORT, [None, 10**30, "1e39", "9999-12-31T23:59:59-14:00"]),
]


@pytest.mark.parametrize(("tell", "answer", "strange"), TOLD)
def test_any_value_in_any_place_is_told_or_is_a_contract_violation(
    tell: Callable[[Any], str], answer: Any, strange: list[Any]
) -> None:
    reasons: Counter[Reason] = Counter()
    for path in places(answer):
        for value in strange:
            try:
                told = tell(spoiled(answer, path, value))
            except NoVerdict as failure:
                reasons[failure.reason] += 1
            else:
                assert told
                assert "\x1b" not in told

    assert list(reasons) == [Reason.CONTRACT_VIOLATION]


@pytest.mark.parametrize(("tell", "answer", "_"), TOLD)
def test_a_key_that_is_missing_is_named_and_one_more_is_allowed(
    tell: Callable[[Any], str], answer: Any, _: object
) -> None:
    assert tell({**answer, "of a newer release": [1]})
    for key in answer:
        with pytest.raises(NoVerdict) as caught:
            tell({name: value for name, value in answer.items() if name != key})
        assert caught.value.detail == f"f: {key}: Field required"


async def test_evidence_that_holds_anything_is_listed(data_api: DataApi) -> None:
    evidence: list[Any] = [
        *STRANGE,
        *({"received": strange, "expected": strange} for strange in STRANGE),
        *({"received": {"amount": strange, "currency": strange}} for strange in STRANGE),
    ]
    rows = [{**EXCEPTION, "id": place, "details": details} for place, details in enumerate(evidence)]
    data_api.script = [Reply(body=rows), Reply(body=[])]

    status, output, errors = await run("exceptions", "list", env=environ(data_api.url))

    assert (status, errors) == (0, "")
    assert output.count("\n") == 1 + len(rows)


@pytest.mark.parametrize(
    ("words", "answer", "told"),
    [
        (["explain", GROUP], None, "explain_order_group: the answer: Input should be a valid dictionary"),
        (["explain", GROUP], [], "explain_order_group: the answer: Input should be a valid dictionary"),
        (
            ["explain", GROUP, "--json"],
            {**STORY, "orders": None},
            "explain_order_group: orders: Input should be a valid",
        ),
        (["report", "--since", "1d"], {"checks": []}, "payment_report: since: Field required"),
        (
            ["exceptions", "resolve", "17", "--resolution", "dismissed", "--by", "ada", "--note", "x"],
            {"id": 17},
            "resolve_payment_exception: status: Field required",
        ),
    ],
)
async def test_an_answer_of_another_shape_is_status_2_in_one_line(
    words: list[str], answer: object, told: str, data_api: DataApi
) -> None:
    data_api.always = Reply(body="null" if answer is None else answer)

    status, output, errors = await run(*words, env=environ(data_api.url))

    assert (status, output) == (2, "")
    assert errors.startswith(f"relay: the Data API gave no usable answer: contract_violation ({told}")
    assert errors.count("\n") == 1


async def test_rows_of_another_shape_are_status_2_in_one_line(data_api: DataApi) -> None:
    data_api.script = [Reply(body=[{"id": 1}]), Reply(body=[])]

    status, output, errors = await run("exceptions", "list", "--json", env=environ(data_api.url))

    assert (status, output) == (2, "")
    assert "contract_violation (list_payment_exceptions: 0.status: Field required)" in errors


@pytest.mark.parametrize(
    ("currency", "total", "told"),
    [
        ("QQQ", "5.00", "this release does not know in which units Stripe counts QQQ"),
        ("USD", "5.001", "Stripe cannot charge 5.001 USD: too many decimals"),
        ("USD", None, "contract_violation (order_groups: total_amount: Input should be a valid string)"),
    ],
)
async def test_a_group_that_cannot_be_simulated_is_status_2_in_one_line(
    currency: str, total: str | None, told: str, data_api: DataApi
) -> None:
    row = {"id": GROUP, "status": "pending", "currency": currency, "total_amount": total}
    data_api.script = [Reply(body=[row]), Reply(body=[])]

    status, output, errors = await run("simulate", "--group", GROUP, env=environ(data_api.url))

    assert (status, output) == (2, "")
    assert told in errors
    assert errors.count("\n") == 1
