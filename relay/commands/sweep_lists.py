"""The lists in which `relay sweep` reports what needs a person, the file that holds them for others to show, and the
drift that this file tells of.
"""

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from relay.commands.endings import CommandError
from relay.commands.terminal import counted, when
from relay.core.lifecycle import KINDS, Kind

SWEEP_LISTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "rejected": "rejected",
        "unmatched": "unmatched",
        "failed": "failed",
        "paid_here_only": "paid here only",
    }
)
"""The name of each list in the JSON of `relay sweep --json`, and its title for people."""
REVERSAL_LISTS: Final[Mapping[str, str]] = MappingProxyType(
    {"rejected": "rejected", "failed": "failed", "here_only": "here only"}
)
"""The same, of the lists in its `refunds` and in its `disputes`."""
_SESSION_KEYS: Final = frozenset({"checkout_session_id", "order_group_id", "reason"})
_REVERSAL_KEYS: Final = frozenset({"id", "payment_intent_id", "order_group_id", "reason"})


@dataclass(frozen=True, slots=True)
class Difference:
    """What needs a person: a payment, by its Checkout Session, or a refund or a dispute."""

    what: str
    """The title of its list."""
    reason: str
    kind: Literal["session"] | Kind
    id: str | None
    payment_intent_id: str | None
    """None for a session, of which the sweep does not tell it."""
    order_group_id: str | None


def for_a_person(sweep: Mapping[str, Any]) -> list[Difference]:
    """What the sweep left for a person, list by list."""
    sessions = [
        Difference(title, one["reason"], "session", one["checkout_session_id"], None, one["order_group_id"])
        for name, title in SWEEP_LISTS.items()
        for one in sweep.get(name, [])
    ]
    reversals = [
        Difference(f"{kind} {title}", one["reason"], kind, one["id"], one["payment_intent_id"], one["order_group_id"])
        for kind in KINDS
        for name, title in REVERSAL_LISTS.items()
        for one in sweep.get(f"{kind}s", {}).get(name, [])
    ]
    return sessions + reversals


def differences(sweep: Mapping[str, Any]) -> int:
    """How many differences the sweep left: what needs a person, and what a dry run did not do."""
    return len(for_a_person(sweep)) + sum(count for count, _, _ in _undone(sweep))


def drift_in_words(sweep: Mapping[str, Any]) -> str:
    """The same as a sentence, without its full stop: "no drift was left", "1 difference was left"."""
    count, undone, people = differences(sweep), _undone(sweep), len(for_a_person(sweep))
    if not count:
        return "no drift was left"
    told = [f"{counted(number, noun)} would be {done}" for number, noun, done in undone]
    if told and people:
        told.append(f"{people:,} {'needs' if people == 1 else 'need'} a person")
    parts = f": {', '.join(told)}" if told else ""
    return f"{counted(count, 'difference')} {'was' if count == 1 else 'were'} left{parts}"


def _undone(sweep: Mapping[str, Any]) -> list[tuple[int, str, str]]:
    """What a dry run found to do: how many, of what, and what would be done with them."""
    if not is_dry_run(sweep):
        return []
    found = [
        (sweep["applied"], "payment", "applied"),
        *((sweep.get(f"{kind}s", {}).get("recorded", 0), kind, "recorded") for kind in KINDS),
    ]
    return [one for one in found if one[0]]


def is_dry_run(sweep: Mapping[str, Any]) -> bool:
    """Whether it wrote nothing; not so where the file of an older release does not say."""
    return sweep.get("dry_run") is True


def summary(sweep: Mapping[str, Any]) -> str:
    """When it ran, over which window, and what it left, in a line."""
    return f"last sweep{described(sweep)}: {drift_in_words(sweep)}"


def described(sweep: Mapping[str, Any]) -> str:
    """When it ran, and over which window: ", 2026-11-23 12:00:00 UTC, over ..."; empty for the file of an older
    release.
    """
    at, swept = sweep.get("finished_at"), window(sweep)
    return f", {when(at)}{swept}" if at is not None and swept else ""


def window(sweep: Mapping[str, Any]) -> str:
    """What it swept: ", over ... to ..."; empty for the file of an older release."""
    since, until = sweep.get("since"), sweep.get("until")
    if since is None or until is None:
        return ""
    dry = ", a dry run that wrote nothing" if is_dry_run(sweep) else ""
    return f", over {when(since)} to {when(until)}{dry}"


def read_file(path: Path) -> dict[str, Any]:
    """Read the file that `relay sweep --json` printed. Raises CommandError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise CommandError(f"{path} is not the JSON of `relay sweep --json`") from None
    if not (_has(found, ("known", "applied"), SWEEP_LISTS.keys(), _SESSION_KEYS) and _has_reversals(found)):
        raise CommandError(f"{path} is not the JSON of `relay sweep --json`")
    sweep: dict[str, Any] = found
    return sweep


def _has_reversals(sweep: Mapping[str, Any]) -> bool:
    """Whether its refunds and disputes can be read; the file of an older release has none."""
    told = [sweep[f"{kind}s"] for kind in KINDS if f"{kind}s" in sweep]
    return all(_has(one, ("known", "recorded"), REVERSAL_LISTS.keys(), _REVERSAL_KEYS) for one in told)


def _has(value: object, counts: tuple[str, ...], lists: Set[str], keys: Set[str]) -> bool:
    """Whether it is an object with these counts, and with these lists of objects that have these keys."""
    return (
        isinstance(value, dict)
        and all(type(value.get(name)) is int for name in counts)
        and all(isinstance(value.get(name), list) for name in lists)
        and all(isinstance(one, dict) and one.keys() == keys for name in lists for one in value[name])
    )
