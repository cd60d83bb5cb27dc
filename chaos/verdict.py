"""Is all well in the end? Pure: plan, what the senders saw, what the database shows, what the relays logged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from chaos.database import DatabaseState
from chaos.plan import Expected, Scenario, Sent
from chaos.senders import Tally

# Outcomes in which the deliveries of an event may end, besides `rejected` with the expected's own reason.
# Groups that a payment has paid, and whose goods are therefore taken from stock.
TAKEN = {"paid", "refunded"}
PLAIN = frozenset({"pending", "paid"})
ENDS: dict[Expected, set[str]] = {
    Expected.PAYS: {"applied", "replayed"},
    Expected.PAYS_OR_FOLLOWS: {"applied", "already_paid", "replayed"},
    Expected.PAYS_OR_REJECTED: {"applied", "replayed"},
    Expected.PAYS_OR_IS_BACK: {"applied", "replayed", "resolved"},
    Expected.RECORDED: {"recorded", "replayed"},
    Expected.ENDS: {"recorded", "replayed", "ignored"},
    Expected.REJECTED: set(),
    Expected.UNMATCHED: {"unmatched"},
    Expected.UNTOUCHED: {"ignored", "awaiting_funds"},
}


REJECTED = {Expected.PAYS_OR_REJECTED, Expected.REJECTED}


def findings(
    scenarios: Sequence[Scenario], tally: Tally, state: DatabaseState, log: Iterable[str], *, kills: int
) -> list[str]:
    """Everything that is wrong, in words; empty where all is well. `kills`: how often a relay got SIGKILL."""
    found = [f"invariant {broken}" for broken in state.broken_invariants]
    found += tally.problems
    for scenario in scenarios:
        for sent in scenario.sent:
            found += [f"{scenario.kind}, {sent.id}: {what}" for what in _wrong_with_event(sent, tally, state)]
        found += [f"{scenario.kind}: {what}" for what in _wrong_with_groups(scenario, tally, state)]
    strangers = state.events.keys() - {sent.id for scenario in scenarios for sent in scenario.sent}
    reversals = state.reversals.keys() - {each for scenario in scenarios for each in scenario.reversals}
    found += [f"{each}: recorded, though nobody sent it" for each in sorted(reversals)]
    found += [f"{event}: processed, though nobody sent it" for event in sorted(strangers)]
    return found + _wrong_with_log(tally, log, kills)


def _wrong_with_event(sent: Sent, tally: Tally, state: DatabaseState) -> list[str]:
    event, exception = state.events.get(sent.id), state.exceptions.get(sent.id)
    outcome = event["outcome"] if event else None
    reason = exception["reason"] if exception else None
    right = {
        Expected.PAYS: (outcome, reason) == ("applied", None),
        Expected.PAYS_OR_FOLLOWS: outcome in ("applied", "already_paid") and reason is None,
        Expected.PAYS_OR_REJECTED: (outcome, reason) in (("applied", None), (None, sent.reason)),
        Expected.PAYS_OR_IS_BACK: (outcome, reason) in (("applied", None), (None, sent.reason)),
        Expected.RECORDED: outcome is None and reason in (None, "payment_disputed"),
        Expected.ENDS: (outcome, reason) == (None, None),
        Expected.REJECTED: (outcome, reason) == (None, sent.reason),
        Expected.UNMATCHED: (outcome, reason) == (None, sent.reason),
        Expected.UNTOUCHED: (outcome, reason) == (None, None),
    }[sent.expected]
    wrong = [] if right else [f"in the database {outcome} {reason}"]
    if event and event["order_group_id"] != sent.group:
        wrong.append(f"recorded for group {event['order_group_id']}")
    allowed = ENDS[sent.expected] | (
        {f"rejected {sent.reason}"} if sent.reason and sent.expected in REJECTED else set()
    )
    ends = tally.last.get(sent.id, set())
    if not ends or ends - allowed:
        wrong.append(f"answered {sorted(ends) or 'nothing'}")
    return wrong


def _wrong_with_groups(scenario: Scenario, tally: Tally, state: DatabaseState) -> list[str]:
    wrong = []
    statuses = [state.groups[group.id]["status"] for group in scenario.groups]
    paid = [status for status in statuses if status in TAKEN]
    if any(status not in scenario.statuses for status in statuses):
        wrong.append(f"groups are {' and '.join(statuses)}")
    if scenario.statuses == PLAIN and len(paid) != scenario.paid_groups:
        wrong.append(f"{len(paid)} groups are paid")
    sessions = {sent.session for sent in scenario.sent}
    for group in scenario.groups:
        row = state.groups[group.id]
        back = {"refunded": group.total, "paid": scenario.refunded}.get(row["status"], 0)
        if row["refunded_amount"] != back:
            wrong.append(f"group {group.id} has sent {row['refunded_amount']} back, due are {back}")
        if row["status"] in TAKEN and row["stripe_checkout_session_id"] not in sessions:
            wrong.append(f"group {group.id} is paid by {row['stripe_checkout_session_id']}")
        for item in group.items:
            due = item.quantity if row["status"] in TAKEN else 0
            if (taken := state.commits.get(item.id, 0)) != due:
                wrong.append(f"item {item.id}: {taken} taken from stock, due are {due}")
    for reversal, status in scenario.reversals.items():
        if (shown := state.reversals.get(reversal)) != status:
            wrong.append(f"{reversal} is {shown}, and should be {status}")
        if (reversal in state.open_disputes) is not (reversal in scenario.open_disputes):
            wrong.append(f"{reversal} {'waits' if reversal in state.open_disputes else 'does not wait'} for a person")
    told = sum(tally.applied[sent.id] for sent in scenario.sent)
    if told > scenario.paid_groups:
        wrong.append(f"{told} deliveries were told that they paid")
    return wrong


def _wrong_with_log(tally: Tally, log: Iterable[str], kills: int) -> list[str]:
    """Each 500 that a sender saw stands in a relay's log with its reason; nothing was a surprise to the relay."""
    wrong = []
    logged: Counter[tuple[str, str]] = Counter()
    torn = 0
    for text in log:
        try:
            line = json.loads(text)
        except ValueError:
            torn += 1
            continue
        if line["status"] == 500:
            logged[line["event_id"], str(line["reason"])] += 1
            if line["level"] != "error" or not line["reason"] or line["reason"] == "unexpected":
                wrong.append(f"a 500 without a proper reason in the log: {text}")
        elif line["outcome"] is None and line["level"] == "error":
            wrong.append(f"a fault of the relay's own: {text}")
    if torn > kills:
        wrong.append(f"{torn} lines in the log that are no JSON")
    missing = tally.failures - logged
    # A thread writes the log after the answer: what kills a relay takes along the line or two that wait.
    if missing.total() > 2 * kills:
        wrong.append(f"{missing.total()} answers of 500 are not in the log, such as {next(iter(missing))}")
    return wrong
