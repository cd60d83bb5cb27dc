"""Payments that wait for a call go together in one: which calls are made for which arrivals, and whose answer is whose.

The relay has one place for quick calls here, unless a test says otherwise, so that a test knows who waits.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from relay.config import Settings
from relay.core import checkout
from relay.core.checkout import Payment
from relay.core.errors import NoVerdict
from relay.core.event import read_event
from relay.core.outcomes import Outcome, Verdict
from relay.data_api import client, places
from relay.data_api.parameters import Parameters, parameters
from relay.metrics import Metrics
from relay.server.app import TELEMETRY
from relay.server.webhook import rules_of
from testkit.data_api_server import Behaviour, Call, DataApi, Hang, Reply, Reset, Wait
from testkit.polling import until
from testkit.relay_under_test import Answer, Relay, environ, serving
from testkit.stripe_events import Json, completed

pytestmark = pytest.mark.anyio

APPLIED = (200, "applied", None)
ALONE = "reconcile_order_group_payment"
TOGETHER = "reconcile_order_group_payments"


@pytest.fixture(autouse=True)
def one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FEW_CALLS", 1)
    monkeypatch.setattr(places, "LONG_SECONDS", 3600.0)


def event(number: int, **session: Any) -> Json:
    """The payment of an order group whose id has the same number."""
    return completed(str(UUID(int=number)), **session) | {"id": f"evt_{number}"}


def calls(data_api: DataApi) -> list[object]:
    """The events of the calls that were made: one, or those that went together. The readiness check's are left out."""
    found: list[object] = []
    for call in data_api.calls:
        events = [each.parameters["p_stripe_event_id"] for each in call.alone if each.function == ALONE]
        if call.function == TOGETHER and events:
            found.append(events)
        elif not call.is_question:
            found += events or [call.function]
    return found


async def series(relay: Relay, name: str) -> dict[str, float]:
    _, text = await relay.get("/metrics")
    return {line: float(value) for line, value in re.findall(rf"^({name}\S*) (\S+)$", text, re.MULTILINE)}


async def until_waiting(relay: Relay, count: int) -> None:
    registry = relay.app[TELEMETRY].metrics.registry
    await until(lambda: registry.get_sample_value("relay_rpcs_waiting") == count)


class Held:
    """Deliveries that wait behind one whose call is out."""

    def __init__(self, relay: Relay, data_api: DataApi) -> None:
        self.relay = relay
        self.data_api = data_api
        self.gate = Wait()
        self.sent: list[asyncio.Task[Answer]] = []

    async def add(self, *events: Json) -> None:
        """Each once those before it wait."""
        for each in events:
            self.sent.append(asyncio.create_task(self.relay.deliver(each)))
            await until_waiting(self.relay, len(self.sent) - 1)

    async def answers(self, *behaviours: Behaviour) -> list[tuple[int, str, str | None]]:
        """Release the first call; the next ones are answered so."""
        self.data_api.script = list(behaviours)
        self.gate.released.set()
        return [(await one).verdict for one in self.sent]


async def held_behind(relay: Relay, data_api: DataApi, *events: Json) -> Held:
    """The first one's call is out, and the others wait in their order."""
    held = Held(relay, data_api)
    data_api.script = [held.gate]
    await held.add(events[0])
    await until(lambda: len(data_api.calls) == 1)
    await held.add(*events[1:])
    return held


async def test_payments_that_find_a_place_free_go_alone(data_api: DataApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FEW_CALLS", 3)
    async with serving(environ(data_api.url)) as relay:
        one_by_one = [(await relay.deliver(event(number))).verdict for number in (1, 2, 3, 4)]
        at_once = await asyncio.gather(*(relay.deliver(event(number)) for number in (5, 6, 7)))

        assert one_by_one == [APPLIED] * 4
        assert [answer.verdict for answer in at_once] == [APPLIED] * 3
        assert calls(data_api)[:4] == ["evt_1", "evt_2", "evt_3", "evt_4"]
        assert sorted(map(str, calls(data_api)[4:])) == ["evt_5", "evt_6", "evt_7"]
        assert await series(relay, "relay_payments_per_call_(?:count|sum)") == {
            "relay_payments_per_call_count": 7,
            "relay_payments_per_call_sum": 7,
        }


async def test_a_payment_that_finds_a_place_free_waits_for_no_turn_of_the_loop() -> None:
    made: list[str] = []

    class Client:
        def rpc(self, function: str, _: object) -> "Client":
            made.append(function)
            return self

        async def execute(self) -> "Client":
            await asyncio.Event().wait()
            return self

    data_api = client.DataApi(Client(), rpc_timeout=9, metrics=Metrics())  # type: ignore[arg-type]
    asking = asyncio.create_task(data_api.reconcile(payment_of(event(1))))
    await asyncio.sleep(0)  # the task's first step

    assert made == [ALONE]
    asking.cancel()


async def test_those_who_wait_go_together_and_each_gets_its_own_answer(relay: Relay, data_api: DataApi) -> None:
    data_api.members = {"evt_3": {"outcome": "rejected", "reason": "amount_mismatch"}, "evt_5": {"outcome": "replayed"}}
    held = await held_behind(relay, data_api, *map(event, (1, 2, 3)), event(4, metadata={}), event(5))

    assert await held.answers() == [
        APPLIED,
        APPLIED,
        (500, "rejected", "amount_mismatch"),
        (200, "unmatched", "missing_reference"),
        (200, "replayed", None),
    ]
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_3", "evt_4", "evt_5"]]
    alone, together = (call.parameters for call in data_api.calls)
    assert together.keys() == {"p_payments"}
    assert [one.keys() for one in together["p_payments"]] == [alone.keys()] * 4
    assert await series(relay, "relay_payments_per_call_(?:count|sum)") == {
        "relay_payments_per_call_count": 2,
        "relay_payments_per_call_sum": 5,
    }
    assert await series(relay, "relay_rpcs_waiting") == {"relay_rpcs_waiting": 0}
    assert (await series(relay, "relay_rpc_seconds_count")) == {"relay_rpc_seconds_count": 5}


async def test_one_that_waits_by_itself_goes_alone(relay: Relay, data_api: DataApi) -> None:
    held = await held_behind(relay, data_api, event(1), event(2))

    assert await held.answers() == [APPLIED] * 2
    assert calls(data_api) == ["evt_1", "evt_2"]


async def test_at_most_32_go_together(relay: Relay, data_api: DataApi) -> None:
    held = await held_behind(relay, data_api, event(1))
    held.sent += [asyncio.create_task(relay.deliver(event(number))) for number in range(2, 35)]
    await until_waiting(relay, 33)

    assert await held.answers() == [APPLIED] * 34
    first, together, last = calls(data_api)
    assert first == "evt_1"
    assert isinstance(together, list)
    assert len(together) == 32
    assert sorted([*together, last]) == sorted(f"evt_{number}" for number in range(2, 35))


async def test_a_free_call_takes_what_has_collected_and_later_ones_wait_for_the_next(
    relay: Relay, data_api: DataApi
) -> None:
    second = Wait()
    held = await held_behind(relay, data_api, event(1), event(2), event(3))
    data_api.script = [second]
    held.gate.released.set()
    await until(lambda: len(data_api.calls) == 2)
    later = [asyncio.create_task(relay.deliver(event(number))) for number in (4, 5)]
    await until_waiting(relay, 2)
    second.released.set()

    assert [(await one).verdict for one in (*held.sent, *later)] == [APPLIED] * 5
    first, shared, last = calls(data_api)
    assert (first, shared) == ("evt_1", ["evt_2", "evt_3"])
    assert isinstance(last, list)
    assert sorted(last) == ["evt_4", "evt_5"]


async def test_a_notice_keeps_its_turn_and_goes_alone(relay: Relay, data_api: DataApi) -> None:
    unpaid = event(3, payment_status="unpaid")
    held = await held_behind(relay, data_api, event(1), event(2), unpaid, event(4), event(5))

    assert await held.answers() == [APPLIED, APPLIED, (200, "awaiting_funds", None), APPLIED, APPLIED]
    assert calls(data_api) == ["evt_1", "evt_2", "note_awaiting_funds", ["evt_4", "evt_5"]]


async def test_the_metadata_of_one_call_have_a_limit(relay: Relay, data_api: DataApi) -> None:
    def large(number: int, characters: int) -> Json:
        """Its metadata have that many characters."""
        left = characters - len("order_group_idnote") - len(str(UUID(int=number)))
        return event(number, metadata={"order_group_id": str(UUID(int=number)), "note": "ü" * left})

    quarter = places.MOST_METADATA // 4
    sizes = [quarter, quarter, quarter, quarter, quarter + 1, quarter, quarter, quarter]
    held = await held_behind(relay, data_api, event(1), *map(large, range(2, 10), sizes))

    assert await held.answers() == [APPLIED] * 9
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_3", "evt_4", "evt_5"], ["evt_6", "evt_7", "evt_8"], "evt_9"]
    longest = max(int(call.headers["content-length"]) for call in data_api.calls)
    assert longest < 512 * 1024


@pytest.mark.parametrize(
    ("sqlstate", "reason"),
    [
        ("57014", "timeout"),
        ("55P03", "lock_timeout"),
        ("40P01", "deadlock"),
        ("42501", "unauthorized"),
        ("28000", "unauthorized"),
        ("PT403", "unauthorized"),
        ("42883", "contract_violation"),
        ("25006", "database_unavailable"),
        ("0A000", "database_unavailable"),
        ("57P01", "database_unavailable"),
        ("08006", "database_unavailable"),
        ("53100", "database_unavailable"),
        ("22023", "unexpected"),
        ("P0001", "unexpected"),
        ("XX000", "unexpected"),
        (None, "unexpected"),
        ("jenny@example.test", "unexpected"),
    ],
)
async def test_a_payment_that_failed_among_others_is_classified_as_alone_and_not_sent_again(
    relay: Relay, data_api: DataApi, sqlstate: str | None, reason: str
) -> None:
    data_api.members = {"evt_3": {"outcome": "failed", "sqlstate": sqlstate}}
    held = await held_behind(relay, data_api, *map(event, (1, 2, 3, 4)))

    assert await held.answers() == [APPLIED, APPLIED, (500, "failed", reason), APPLIED]
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_3", "evt_4"]]
    assert "jenny" not in relay.output
    (failed,) = [line for line in relay.lines if line["outcome"] == "failed"]
    assert (failed["level"], failed["event_id"], failed["reason"]) == ("error", "evt_3", reason)
    assert "in a shared call" in failed["message"]


@pytest.mark.parametrize("sqlstate", ["55P03", "40P01", "40001"])
async def test_a_deferred_payment_is_sent_alone(relay: Relay, data_api: DataApi, sqlstate: str) -> None:
    data_api.members = {"evt_3": {"outcome": "deferred", "sqlstate": sqlstate}}
    held = await held_behind(relay, data_api, *map(event, (1, 2, 3, 4)))

    assert await held.answers() == [APPLIED] * 4
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_3", "evt_4"], "evt_3"]
    retries = await series(relay, "relay_rpc_retries_total")
    assert sum(retries.values()) == 1


async def test_a_deferred_payment_takes_no_place_from_others_while_it_waits(relay: Relay, data_api: DataApi) -> None:
    data_api.members = {"evt_3": {"outcome": "deferred", "sqlstate": "55P03"}}
    locked = Wait()
    held = await held_behind(relay, data_api, *map(event, (1, 2, 3)))
    data_api.script = [Reply(body=[data_api.member(one) for one in calls_of(2, 3)]), locked]
    held.gate.released.set()
    await until(lambda: len(data_api.calls) == 3)

    assert (await relay.deliver(event(4))).verdict == APPLIED
    locked.released.set()
    assert [(await one).verdict for one in held.sent] == [APPLIED] * 3
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_3"], "evt_3", "evt_4"]


def answer_to(number: int, **changes: object) -> Json:
    return {
        "outcome": "applied",
        "reason": None,
        "order_group_id": str(UUID(int=number)),
        "stripe_event_id": f"evt_{number}",
        "orders_paid": 1,
        "ledger_entries": 1,
        **changes,
    }


# What the call for evt_2 and evt_3 got in the place of their answers, in which both are sent alone.
FAULTS_OF_THE_CALL: dict[str, tuple[Behaviour, str]] = {
    "lost": (Reset(), "database_unavailable"),
    "deadlock": (Reply(500, {"code": "40P01", "message": "x"}), "deadlock"),
    "no such function": (Reply(404, {"code": "PGRST202", "message": "x"}), "contract_violation"),
    "no JSON": (Reply(body="<html>"), "contract_violation"),
    "nothing": (Reply(204), "contract_violation"),
    "no array": (Reply(body=answer_to(2)), "contract_violation"),
    "too short": (Reply(body=[answer_to(2)]), "contract_violation"),
    "too long": (Reply(body=[answer_to(2), answer_to(3), answer_to(3)]), "contract_violation"),
    "mixed up": (Reply(body=[answer_to(3), answer_to(2)]), "contract_violation"),
    "another event": (Reply(body=[answer_to(2), answer_to(3, stripe_event_id="evt_4")]), "contract_violation"),
    "another group": (Reply(body=[answer_to(2), answer_to(3, order_group_id=str(UUID(int=4)))]), "contract_violation"),
    "no group": (Reply(body=[answer_to(2), answer_to(3, order_group_id=None)]), "contract_violation"),
    "no object": (Reply(body=[answer_to(2), "applied"]), "contract_violation"),
    "refused by a proxy": (Reply(413, "<html>", "text/html"), "unexpected"),
    "a fault within": (Reply(500, {"code": "XX000", "message": "x"}), "unexpected"),
}


@pytest.mark.parametrize("fault", FAULTS_OF_THE_CALL)
async def test_payments_whose_call_has_no_verdict_are_sent_alone_once(
    relay: Relay, data_api: DataApi, fault: str
) -> None:
    behaviour, reason = FAULTS_OF_THE_CALL[fault]
    held = await held_behind(relay, data_api, *map(event, (1, 2, 3)))
    data_api.members = {"evt_3": {"outcome": "replayed"}}
    data_api.verdict = {"outcome": "already_paid", "reason": None}

    answers = await held.answers(behaviour)

    assert answers == [(200, "already_paid", None)] * 3
    first, shared, *alone = calls(data_api)
    assert (first, shared, sorted(map(str, alone))) == ("evt_1", ["evt_2", "evt_3"], ["evt_2", "evt_3"])
    retries = await series(relay, "relay_rpc_retries_total")
    assert {name: value for name, value in retries.items() if value} == {
        f'relay_rpc_retries_total{{reason="{reason}"}}': 2
    }


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Reply(503, {"code": "PGRST000", "message": "x"}), "database_unavailable"),
        (Reply(500, {"code": "57P01", "message": "x"}), "database_unavailable"),
        (Reply(500, {"code": "53300", "message": "x"}), "database_unavailable"),
        (Reply(400, {"code": "", "message": ""}), "database_unavailable"),
        (Reply(502, "<html>", "text/html"), "database_unavailable"),
        (Reply(429, "<html>", "text/html"), "database_unavailable"),
        (Reply(500, {"code": "57014", "message": "x"}), "timeout"),
        (Reply(403, {"code": "42501", "message": "x"}), "unauthorized"),
        (Reply(401, {"code": "PGRST301", "message": "x"}), "unauthorized"),
    ],
)
async def test_a_database_that_is_down_full_or_closed_gets_no_second_call(
    relay: Relay, data_api: DataApi, behaviour: Behaviour, reason: str
) -> None:
    held = await held_behind(relay, data_api, *map(event, (1, 2, 3)))

    assert await held.answers(behaviour) == [APPLIED, (500, "failed", reason), (500, "failed", reason)]
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_3"]]


async def test_a_second_call_that_is_lost_too_is_no_verdict(relay: Relay, data_api: DataApi) -> None:
    held = await held_behind(relay, data_api, *map(event, (1, 2, 3)))

    lost = (500, "failed", "database_unavailable")
    assert await held.answers(Reset(), Reset(), Reset()) == [APPLIED, lost, lost]
    assert len(data_api.calls) == 4


async def test_where_all_places_are_taken_the_failure_stands(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_CALLS", 1)
    data_api.members = {name: {"outcome": "deferred", "sqlstate": "55P03"} for name in ("evt_2", "evt_3")}
    locked = Wait()
    async with serving(environ(data_api.url)) as relay:
        held = await held_behind(relay, data_api, *map(event, (1, 2, 3)))
        data_api.script = [Reply(body=[data_api.member(one) for one in calls_of(2, 3)]), locked]
        held.gate.released.set()
        first, second, third = held.sent
        assert (await third).verdict == (500, "failed", "lock_timeout")
        locked.released.set()
        assert [(await one).verdict for one in (first, second)] == [APPLIED] * 2
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_3"], "evt_2"]


async def test_without_the_function_payments_go_one_by_one_until_the_readiness_check_finds_it(
    relay: Relay, data_api: DataApi
) -> None:
    missing = Reply(404, {"code": "PGRST202", "message": "x"})
    held = await held_behind(relay, data_api, *map(event, (1, 2, 3)))
    assert await held.answers(missing) == [APPLIED] * 3
    again = await second_round(relay, data_api)
    assert again == ["evt_4", "evt_5", "evt_6"]

    await relay.get("/readyz")

    assert await second_round(relay, data_api) == ["evt_4", ["evt_5", "evt_6"]]


async def second_round(relay: Relay, data_api: DataApi) -> list[object]:
    data_api.calls.clear()
    held = await held_behind(relay, data_api, *map(event, (4, 5, 6)))
    assert await held.answers() == [APPLIED] * 3
    return calls(data_api)


async def test_the_readiness_check_notices_a_database_without_the_function(relay: Relay, data_api: DataApi) -> None:
    data_api.script = [data_api.healthy_readiness(), Reply(404, {"code": "PGRST202", "message": "x"})]

    status, text = await relay.get("/readyz")

    assert status == 200
    assert json.loads(text)["checks"][-1] == {
        "name": "shared_calls",
        "ok": True,
        "detail": "off: this database has no reconcile_order_group_payments",
    }
    assert await second_round(relay, data_api) == ["evt_4", "evt_5", "evt_6"]


async def test_a_minute_later_the_function_is_tried_again(
    relay: Relay, data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_ALONE_SECONDS", 0.0)
    held = await held_behind(relay, data_api, *map(event, (1, 2, 3)))
    assert await held.answers(Reply(404, {"code": "PGRST202", "message": "x"})) == [APPLIED] * 3

    assert await second_round(relay, data_api) == ["evt_4", ["evt_5", "evt_6"]]


async def test_a_call_that_takes_long_gives_its_place_to_others(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "LONG_SECONDS", 0.05)
    gate = Wait()
    data_api.script = [gate]
    async with serving(environ(data_api.url)) as relay:
        slow = asyncio.create_task(relay.deliver(event(1)))
        await until(lambda: len(data_api.calls) == 1)

        assert (await relay.deliver(event(2))).verdict == APPLIED
        gate.released.set()
        assert (await slow).verdict == APPLIED
        monkeypatch.setattr(places, "LONG_SECONDS", 3600.0)
        assert await second_round(relay, data_api) == ["evt_4", ["evt_5", "evt_6"]]  # there is one place, as before


async def test_the_end_of_ones_budget_leaves_the_call_to_the_others(data_api: DataApi) -> None:
    shared = Wait()
    async with serving(environ(data_api.url, RELAY_RPC_TIMEOUT="4")) as relay:
        held = await held_behind(relay, data_api, event(1), event(2))
        await asyncio.sleep(1.5)  # so much of its budget is gone before the other one comes
        await held.add(event(3))
        data_api.script = [shared]
        held.gate.released.set()
        await until(lambda: len(data_api.calls) == 2)

        assert (await held.sent[1]).verdict == (500, "failed", "timeout")
        shared.released.set()
        assert (await held.sent[2]).verdict == APPLIED
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_3"]]


# Cancellation: aiohttp cancels no delivery whose sender has left, but a stop in the middle does.


def payment_of(about: Json) -> Payment:
    settings = Settings.from_env(environ("http://127.0.0.1:1"), now=time.time())
    payment = checkout.judge(read_event(json.dumps(about)), rules_of(settings))
    assert isinstance(payment, Payment)
    return payment


def parameters_of(*numbers: int) -> list[dict[str, Any]]:
    return [parameters(payment_of(event(number)), None, "webhook") for number in numbers]


def calls_of(*numbers: int) -> list[Call]:
    return [Call(ALONE, {}, sent) for sent in parameters_of(*numbers)]


@asynccontextmanager
async def asked(data_api: DataApi, *numbers: int) -> AsyncIterator[tuple[Wait, Sequence["asyncio.Task[Verdict]"]]]:
    """The first one's call is out, held by the gate, and the others wait."""
    gate = Wait()
    data_api.script = [gate]
    settings = Settings.from_env(environ(data_api.url), now=time.time())
    async with client.connect(settings, Metrics()) as relayed:
        tasks = [asyncio.create_task(relayed.reconcile(payment_of(event(number)))) for number in numbers]
        await until(lambda: len(data_api.calls) == 1)
        yield gate, tasks


async def test_one_that_leaves_while_it_waits_is_not_sent(data_api: DataApi) -> None:
    async with asked(data_api, 1, 2, 3, 4) as (gate, tasks):
        tasks[2].cancel()
        gate.released.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(ended[2], asyncio.CancelledError)
    assert [ended[place] for place in (0, 1, 3)] == [Verdict(Outcome.APPLIED)] * 3
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_4"]]


@pytest.mark.parametrize("count", [1, 2])
async def test_those_who_leave_in_the_moment_of_their_turn_give_the_place_on(count: int) -> None:
    async def call_together(payments: list[Parameters]) -> list[object]:
        await asyncio.Event().wait()
        raise AssertionError(f"this call does not end by itself: {payments}")

    all_places = places.Places(call_together, few=1, most=1)
    place = all_places.take()
    assert place is not None
    waiting = [asyncio.create_task(all_places.wait(one)) for one in parameters_of(*range(count))]
    await asyncio.sleep(0)  # the tasks' first step
    assert len(all_places.waiting) == count

    place.leave()
    for one in waiting:
        one.cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(one) for one in ended] == [asyncio.CancelledError] * count
    await until(lambda: all_places.take() is not None)


async def test_one_that_leaves_a_call_leaves_it_to_the_others(data_api: DataApi) -> None:
    shared = Wait()
    async with asked(data_api, 1, 2, 3) as (gate, tasks):
        data_api.script = [shared]
        gate.released.set()
        await until(lambda: len(data_api.calls) == 2)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        shared.released.set()

        assert await tasks[2] == Verdict(Outcome.APPLIED)
        assert tasks[1].cancelled()
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_3"]]


async def test_a_call_that_all_have_left_ends_and_its_place_is_free(data_api: DataApi) -> None:
    settings = Settings.from_env(environ(data_api.url), now=time.time())
    gate = Wait()
    data_api.script = [gate, Hang()]
    async with client.connect(settings, Metrics()) as relayed:
        tasks = [asyncio.create_task(relayed.reconcile(payment_of(event(number)))) for number in (1, 2, 3)]
        await until(lambda: len(data_api.calls) == 1)
        gate.released.set()
        await until(lambda: len(data_api.calls) == 2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        async with asyncio.timeout(10):
            assert await relayed.reconcile(payment_of(event(4))) == Verdict(Outcome.APPLIED)
    assert calls(data_api) == ["evt_1", ["evt_2", "evt_3"], "evt_4"]


async def test_a_fault_of_the_relay_itself_reaches_all_who_share_the_call(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("jenny.rosen@example.test")

    monkeypatch.setattr(client, "read_answers", fail)
    async with asked(data_api, 1, 2, 3) as (gate, tasks):
        gate.released.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(each) for each in ended] == [Verdict, NoVerdict, NoVerdict]
    assert {each.detail for each in ended[1:] if isinstance(each, NoVerdict)} == {"KeyError"}
