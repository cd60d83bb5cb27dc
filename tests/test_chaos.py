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

import pytest

from chaos.market import PRODUCTS, SELLERS, World
from chaos.plan import Author, Fate, Story, volleys
from chaos.run import SHORT
from chaos.senders import Ledger
from chaos.verdict import findings
from local_stack.supabase_cli import REPOSITORY


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


def stories(events: int = 300) -> list[Story]:
    return list(Author(1, sellers=SELLERS, products=PRODUCTS).stories(events))


def test_a_plan_repeats_with_its_seed_and_sends_each_event_as_often_as_asked() -> None:
    assert stories() == stories()

    sent = [each.id for volley in volleys(stories(), 5, random.Random(1)) for each in volley]

    assert Counter(sent) == dict.fromkeys({each.id for story in stories() for each in story.sent}, 5)
    assert len(set(sent)) == 300


def test_a_plan_sends_the_copies_of_a_payment_together_and_some_late() -> None:
    plan = volleys(stories(), 5, random.Random(1))

    together = [Counter(each.id for each in volley).most_common(1)[0][1] for volley in plan if len(volley) > 1]

    assert set(together) == {3}
    assert sum(len(volley) == 1 for volley in plan) == 2 * 300


def happy_end() -> tuple[list[Story], Ledger, World, list[str]]:
    """What a run without any fault would show."""
    told, ledger, world, log = stories(), Ledger(), World({}, {}, {}, {}, []), []
    for story in told:
        left = story.paid_groups
        world.groups.update(
            {
                group.id: {"status": "pending", "stripe_webhook_event_id": None, "stripe_checkout_session_id": None}
                for group in story.groups
            }
        )
        for sent in story.sent:
            if sent.fate in (Fate.UNTOUCHED, Fate.UNMATCHED):
                ledger.last[sent.id] = {"ignored" if sent.fate is Fate.UNTOUCHED else "unmatched"}
            elif sent.fate is Fate.REJECTED or (sent.fate is Fate.PAYS_OR_REJECTED and not left):
                ledger.last[sent.id] = {f"rejected {sent.reason}"}
                ledger.failures[sent.id, str(sent.reason)] += 1
                log.append(json.dumps({"level": "error", "status": 500, "event_id": sent.id, "reason": sent.reason}))
            else:
                outcome = "applied" if left else "already_paid"
                world.events[sent.id] = {"outcome": outcome, "order_group_id": sent.group}
                ledger.last[sent.id] = {outcome, "replayed"}
                if left:
                    left -= 1
                    ledger.applied[sent.id] = 1
                    world.groups[sent.group] |= {"status": "paid", "stripe_checkout_session_id": sent.session}  # type: ignore[index]
            if sent.fate in (Fate.REJECTED, Fate.UNMATCHED) or "rejected" in str(ledger.last[sent.id]):
                world.exceptions[sent.id] = {"reason": sent.reason}
        for group in story.groups:
            if world.groups[group.id]["status"] == "paid":
                world.commits.update({item.id: item.quantity for item in group.items})
    return told, ledger, world, log


def test_a_happy_end_has_no_findings() -> None:
    told, ledger, world, log = happy_end()

    assert findings(told, ledger, world, log, kills=0) == []
    assert {story.kind for story in told} >= {"payment", "twins", "rivals", "voucher", "wrong amount", "unknown group"}


SPOILED: dict[str, Callable[[list[Story], Ledger, World, list[str]], object]] = {
    "a broken invariant": lambda _t, _l, world, _o: world.broken_invariants.append("x"),
    "a sender who gave up": lambda _t, ledger, _w, _o: ledger.problems.append("x"),
    "a lost event": lambda told, _l, world, _o: world.events.pop(_of(told, "payment")),
    "a lost rejection": lambda told, _l, world, _o: world.exceptions.pop(_of(told, "wrong amount")),
    "a stranger's event": lambda _t, _l, world, _o: world.events.update(
        evt_0={"outcome": "applied", "order_group_id": uuid.uuid4()}
    ),
    "an event of another group": lambda told, _l, world, _o: world.events[_of(told, "payment")].update(
        order_group_id=uuid.uuid4()
    ),
    "a delivery that never ended": lambda told, ledger, _w, _o: ledger.last.pop(_of(told, "payment")),
    "a payment that was rejected": lambda told, ledger, _w, _o: ledger.last[_of(told, "payment")].add(
        "rejected amount_mismatch"
    ),
    "a wrong amount that was applied": lambda told, ledger, _w, _o: ledger.last[_of(told, "wrong amount")].add(
        "applied"
    ),
    "two deliveries that paid": lambda told, ledger, _w, _o: ledger.applied.update([_of(told, "payment")]),
    "a group that was not paid": lambda told, _l, world, _o: world.groups[_group(told)].update(status="pending"),
    "a group that another session paid": lambda told, _l, world, _o: world.groups[_group(told)].update(
        stripe_checkout_session_id="cs_0"
    ),
    "stock that was taken twice": lambda _t, _l, world, _o: world.commits.update(
        {item: 2 * taken for item, taken in world.commits.items()}
    ),
    "stock that was not taken": lambda _t, _l, world, _o: world.commits.clear(),
    "a 500 that is not in the log": lambda _t, _l, _w, log: log.clear(),
    "a 500 that nobody expected": lambda _t, _l, _w, log: log.append(
        json.dumps({"level": "error", "status": 500, "event_id": "evt_0", "reason": "unexpected"})
    ),
    "a line that is no JSON": lambda _t, _l, _w, log: log.append("Traceback (most recent call last):"),
    "a library's complaint": lambda _t, _l, _w, log: log.append(
        json.dumps({"level": "error", "status": None, "outcome": None, "event_id": None, "reason": None})
    ),
}


def _of(told: list[Story], kind: str) -> str:
    return next(story.sent[0].id for story in told if story.kind == kind)


def _group(told: list[Story]) -> uuid.UUID:
    return next(story.groups[0].id for story in told if story.kind == "payment")


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_whatever_is_wrong_in_the_end_is_a_finding(
    spoil: Callable[[list[Story], Ledger, World, list[str]], object],
) -> None:
    told, ledger, world, log = copy.deepcopy(happy_end())

    spoil(told, ledger, world, log)

    assert findings(told, ledger, world, log, kills=0) != []
