"""The chaos run in its short form, and proof that its verdict would notice."""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import pytest

from chaos.database import PRODUCTS, SELLERS, DatabaseState
from chaos.plan import Expected, Generator, Scenario, batches
from chaos.run import SHORT
from chaos.senders import Tally
from chaos.verdict import findings
from local_stack.supabase_cli import REPOSITORY


@pytest.mark.release
def test_nothing_is_lost_and_nothing_is_done_twice_while_everything_fails() -> None:
    """A process of its own: the run kills and restarts parts, and keeps an eye on its own children."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--json"],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith("CHAOS_")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert report["findings"] == []
    assert report["deliveries"] == SHORT.events * SHORT.copies
    assert sum(report["faults"].values()) == SHORT.faults
    assert len(report["faults"]) == 9
    # Faults must really have hit somebody, and some of them so hard that Stripe had to send again.
    assert report["faults_that_hit_nothing"] < SHORT.faults / 4
    assert sum(report["without_verdict_when_struck"].values()) > SHORT.faults
    assert report["retries"] > 0
    # Payments must really have gone together.
    assert report["shared_calls"] > 0
    assert report["payments_called_for"] > report["calls_of_relays"] + report["shared_calls"]


def scenarios(events: int = 300) -> list[Scenario]:
    return list(Generator(1, sellers=SELLERS, products=PRODUCTS).scenarios(events))


def test_a_plan_repeats_with_its_seed_and_sends_each_event_as_often_as_asked() -> None:
    assert scenarios() == scenarios()

    sent = [each.id for batch in batches(scenarios(), 5, random.Random(1)) for each in batch]

    assert Counter(sent) == dict.fromkeys({each.id for scenario in scenarios() for each in scenario.sent}, 5)
    assert len(set(sent)) == 300


def test_a_plan_sends_the_copies_of_a_payment_together_and_some_late() -> None:
    plan = batches(scenarios(), 5, random.Random(1))

    together = [Counter(each.id for each in batch).most_common(1)[0][1] for batch in plan if len(batch) > 1]

    assert set(together) == {3}
    assert sum(len(batch) == 1 for batch in plan) == 2 * 300


def happy_end() -> tuple[list[Scenario], Tally, DatabaseState, list[str]]:
    """What a run without any fault would show."""
    told, tally, state, log = scenarios(), Tally(), DatabaseState({}, {}, {}, {}, [], {}, set()), []
    for scenario in told:
        left = scenario.paid_groups
        state.groups.update(
            {
                group.id: {
                    "status": "pending",
                    "refunded_amount": Decimal(0),
                    "stripe_webhook_event_id": None,
                    "stripe_checkout_session_id": None,
                }
                for group in scenario.groups
            }
        )
        for sent in scenario.sent:
            if sent.expected in (Expected.UNTOUCHED, Expected.UNMATCHED):
                tally.last[sent.id] = {"ignored" if sent.expected is Expected.UNTOUCHED else "unmatched"}
            elif sent.expected is Expected.RECORDED:
                tally.last[sent.id] = {"recorded", "replayed"}
            elif sent.expected is Expected.ENDS:
                is_paid = state.groups[sent.group]["status"] == "paid"  # type: ignore[index]
                tally.last[sent.id] = {"ignored"} if is_paid else {"recorded", "replayed"}
                if not is_paid:
                    state.groups[sent.group]["status"] = "cancelled"  # type: ignore[index]
            elif sent.expected is Expected.REJECTED or (sent.expected is Expected.PAYS_OR_REJECTED and not left):
                tally.last[sent.id] = {f"rejected {sent.reason}"}
                tally.failures[sent.id, str(sent.reason)] += 1
                log.append(json.dumps({"level": "error", "status": 500, "event_id": sent.id, "reason": sent.reason}))
            else:
                outcome = "applied" if left else "already_paid"
                state.events[sent.id] = {"outcome": outcome, "order_group_id": sent.group}
                tally.last[sent.id] = {outcome, "replayed"}
                if left:
                    left -= 1
                    tally.applied[sent.id] = 1
                    state.groups[sent.group] |= {"status": "paid", "stripe_checkout_session_id": sent.session}  # type: ignore[index]
            if sent.expected in (Expected.REJECTED, Expected.UNMATCHED) or "rejected" in str(tally.last[sent.id]):
                state.exceptions[sent.id] = {"reason": sent.reason}
        state.reversals.update(scenario.reversals)
        state.open_disputes.update(scenario.open_disputes)
        for group in scenario.groups:
            if "refunded" in scenario.statuses:
                state.groups[group.id] |= {"status": "refunded", "refunded_amount": group.total}
            elif state.groups[group.id]["status"] == "paid":
                state.groups[group.id]["refunded_amount"] = scenario.refunded
            if state.groups[group.id]["status"] in ("paid", "refunded"):
                state.commits.update({item.id: item.quantity for item in group.items})
    return told, tally, state, log


def test_a_happy_end_has_no_findings() -> None:
    told, tally, state, log = happy_end()

    assert findings(told, tally, state, log, kills=0) == []
    assert {scenario.kind for scenario in told} >= {
        "payment",
        "twins",
        "rivals",
        "voucher",
        "wrong amount",
        "unknown group",
        "part refund",
        "failed refund",
        "whole refund",
        "dispute",
        "left checkout",
        "failed debit",
        "late payment",
    }


SPOILED: dict[str, Callable[[list[Scenario], Tally, DatabaseState, list[str]], object]] = {
    "a broken invariant": lambda _t, _l, state, _o: state.broken_invariants.append("x"),
    "a sender who gave up": lambda _t, tally, _w, _o: tally.problems.append("x"),
    "a lost event": lambda told, _l, state, _o: state.events.pop(_of(told, "payment")),
    "a lost rejection": lambda told, _l, state, _o: state.exceptions.pop(_of(told, "wrong amount")),
    "a stranger's event": lambda _t, _l, state, _o: state.events.update(
        evt_0={"outcome": "applied", "order_group_id": uuid.uuid4()}
    ),
    "an event of another group": lambda told, _l, state, _o: state.events[_of(told, "payment")].update(
        order_group_id=uuid.uuid4()
    ),
    "a delivery that never ended": lambda told, tally, _w, _o: tally.last.pop(_of(told, "payment")),
    "a payment that was rejected": lambda told, tally, _w, _o: tally.last[_of(told, "payment")].add(
        "rejected amount_mismatch"
    ),
    "a wrong amount that was applied": lambda told, tally, _w, _o: tally.last[_of(told, "wrong amount")].add("applied"),
    "two deliveries that paid": lambda told, tally, _w, _o: tally.applied.update([_of(told, "payment")]),
    "a group that was not paid": lambda told, _l, state, _o: state.groups[_group(told)].update(status="pending"),
    "a group that another session paid": lambda told, _l, state, _o: state.groups[_group(told)].update(
        stripe_checkout_session_id="cs_0"
    ),
    "stock that was taken twice": lambda _t, _l, state, _o: state.commits.update(
        {item: 2 * taken for item, taken in state.commits.items()}
    ),
    "stock that was not taken": lambda _t, _l, state, _o: state.commits.clear(),
    "a refund that was lost": lambda told, _l, state, _o: state.reversals.pop(_reversal(told, "part refund")),
    "a refund that never failed": lambda told, _l, state, _o: state.reversals.update(
        {_reversal(told, "failed refund"): "succeeded"}
    ),
    "a stranger's refund": lambda _t, _l, state, _o: state.reversals.update(re_0="succeeded"),
    "money that did not go back": lambda told, _l, state, _o: state.groups[_group(told, "part refund")].update(
        refunded_amount=Decimal(0)
    ),
    "money that went back twice": lambda told, _l, state, _o: state.groups[_group(told, "whole refund")].update(
        refunded_amount=Decimal(10**9)
    ),
    "a refunded group that is called paid": lambda told, _l, state, _o: state.groups[
        _group(told, "whole refund")
    ].update(status="paid"),
    "a lost dispute that nobody hears of": lambda _t, _l, state, _o: state.open_disputes.clear(),
    "a won dispute that waits": lambda told, _l, state, _o: state.open_disputes.update(
        each for scenario in told if scenario.kind == "dispute" for each in scenario.reversals
    ),
    "a checkout that never ended": lambda told, _l, state, _o: state.groups[_group(told, "left checkout")].update(
        status="pending"
    ),
    "a refund that was ignored": lambda told, tally, _w, _o: tally.last[_of(told, "part refund", 1)].add("ignored"),
    "a 500 that is not in the log": lambda _t, _l, _w, log: log.clear(),
    "a 500 that nobody expected": lambda _t, _l, _w, log: log.append(
        json.dumps({"level": "error", "status": 500, "event_id": "evt_0", "reason": "unexpected"})
    ),
    "a line that is no JSON": lambda _t, _l, _w, log: log.append("Traceback (most recent call last):"),
    "a library's complaint": lambda _t, _l, _w, log: log.append(
        json.dumps({"level": "error", "status": None, "outcome": None, "event_id": None, "reason": None})
    ),
}


def _of(told: list[Scenario], kind: str, place: int = 0) -> str:
    return next(scenario.sent[place].id for scenario in told if scenario.kind == kind)


def _group(told: list[Scenario], kind: str = "payment") -> uuid.UUID:
    return next(scenario.groups[0].id for scenario in told if scenario.kind == kind)


def _reversal(told: list[Scenario], kind: str) -> str:
    return next(each for scenario in told if scenario.kind == kind for each in scenario.reversals)


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_whatever_is_wrong_in_the_end_is_a_finding(
    spoil: Callable[[list[Scenario], Tally, DatabaseState, list[str]], object],
) -> None:
    told, tally, state, log = copy.deepcopy(happy_end())

    spoil(told, tally, state, log)

    assert findings(told, tally, state, log, kills=0) != []
