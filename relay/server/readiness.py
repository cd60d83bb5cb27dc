"""Can this relay reconcile, right now? `/readyz` and `relay check` ask the same questions.

The answer is kept for a few seconds and asked for once at a time, so that probes cannot load the database.
Stripe is never called: a relay that can reconcile is ready even while Stripe's API is down.
"""

import asyncio
import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.config import Settings
from relay.core.currency import EXPONENTS
from relay.core.errors import NoVerdict
from relay.data_api.client import DataApi
from relay.metrics import Metrics
from relay.server.room import Room

# The contract that this relay speaks, and the oldest database that it still works with: CONTRIBUTING.md says when to
# count. The release before must always be among them.
CONTRACT_VERSION: Final = 1
OLDEST_DATABASE: Final = 1
CACHE_SECONDS: Final = 3.0
# A probe's own patience is often a second or a few; the function reads a few catalogue rows.
TIMEOUT_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Check:
    """One precondition. `detail` is for operators, and free of secrets."""

    name: str
    ok: bool
    detail: str
    is_doubtful: bool = False  # worth a look, yet no reason to stop traffic

    def as_dict(self) -> dict[str, object]:
        """As `/readyz` shows it."""
        return {"name": self.name, "ok": self.ok, "detail": self.detail}


def judge_settings(settings: Settings) -> list[Check]:
    """What is known without asking anybody. Wrong settings stop the start, so these say what is in use."""
    count = len(settings.stripe_webhook_secrets)
    mode = "live" if settings.livemode else "test"
    return [
        Check("webhook_secrets", True, f"{count} in use"),
        Check("stripe_key_mode", True, f"{mode} events are reconciled, others are ignored"),
    ]


def judge_database(facts: object, *, now: float, tolerance: int) -> list[Check]:
    """Compare what `reconciliation_readiness` returned with what this relay needs. `now`: seconds since 1970,
    at the middle of the call; `tolerance`: seconds that a webhook's timestamp may be off."""
    found = facts if isinstance(facts, dict) else {}
    can_execute, anon_can = found.get("can_execute") is True, found.get("anon_can_execute") is not False
    return [
        _contract_check(found),
        Check(
            "execute_right",
            can_execute,
            "the key may call the function" if can_execute else "the key's role may not call the function",
        ),
        Check(
            "anon_locked_out",
            not anon_can,
            "anon may call the function, or nobody knows" if anon_can else "anon may not call the function",
        ),
        _currencies_check(found),
        _clock_check(found.get("server_time"), now, tolerance),
        _triggers_check(found.get("fragile_triggers")),
    ]


def _contract_check(found: dict[str, object]) -> Check:
    """Both sides name a range: what they speak, and the oldest of the other side that they still work with. Where the
    ranges meet, whichever is newer knows how to get along with the other."""
    newest = found.get("contract_version")
    oldest = found.get("oldest_contract_version", newest)
    # `type`, because True is an int too, and would pass for a 1.
    if type(newest) is not int or type(oldest) is not int or not 1 <= oldest <= newest:
        return Check("contract_version", False, f"relay {CONTRACT_VERSION}, database unknown")
    both = f"relay {CONTRACT_VERSION}, database {newest}"
    if oldest > CONTRACT_VERSION:
        return Check("contract_version", False, f"{both}: upgrade the relay, this database serves {oldest} and later")
    if newest < OLDEST_DATABASE:
        needed = f"this relay needs {OLDEST_DATABASE} or later"
        return Check("contract_version", False, f"{both}: upgrade the database, {needed}")
    return Check("contract_version", True, both)


def _currencies_check(found: dict[str, object]) -> Check:
    """Equal on both sides. Only a newer database may know more, as it is upgraded first: a payment in such a currency
    is normalised by a guess, which that database applies where it is right and keeps as an exception otherwise."""
    currencies, version = found.get("currencies"), found.get("contract_version")
    known = currencies if isinstance(currencies, dict) else {}
    news = known.keys() - EXPONENTS.keys()
    different = {code for code, exponent in EXPONENTS.items() if known.get(code) != exponent}
    if not (type(version) is int and version > CONTRACT_VERSION):
        different |= news
    if different:
        return Check("currencies", False, f"different: {_first_five(different)}")
    more = f", the database alone knows {_first_five(news)}" if news else ""
    return Check("currencies", True, f"{len(EXPONENTS)} exponents agree{more}")


def _first_five(codes: Set[object]) -> str:
    return ", ".join(sorted(str(code)[:3] for code in codes)[:5])


def _clock_check(server_time: object, now: float, tolerance: int) -> Check:
    """Half the tolerance: with more than that, honest deliveries are about to be refused."""
    try:
        server = datetime.fromisoformat(server_time) if isinstance(server_time, str) else None
    except ValueError:
        server = None
    if server is None or server.tzinfo is None:
        return Check("clock", False, "the database told no time")
    skew = now - server.timestamp()
    return Check("clock", abs(skew) <= tolerance / 2, f"{skew:+.1f} s from the database's")


def _triggers_check(fragile: object) -> Check:
    """Always ok: a shop's trigger that may fail is no reason to stop the payments in which it does not."""
    triggers = [str(trigger) for trigger in fragile] if isinstance(fragile, list) else []
    if not triggers:
        return Check("shop_triggers", True, "none without a search_path of its own")
    named = "; ".join(triggers[:5]) + (" …" if len(triggers) > 5 else "")
    remedy = "alter function … set search_path = '' (and write schemas), else names fail in a payment"
    return Check("shop_triggers", True, f"{named}: {remedy}", is_doubtful=True)


class Readiness:
    """Asks, at most once per CACHE_SECONDS, and remembers."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        data_api: DataApi,
        *,
        clock: Callable[[], float] = time.time,
        room: Room | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._data_api = data_api
        self._clock = clock
        self._room = room
        self._lock = asyncio.Lock()
        self._known: list[Check] = []
        self._known_until = 0.0
        self.draining = False

    async def checks(self) -> list[Check]:
        """All checks; ready means that each is ok."""
        if self.draining:
            checks = [Check("serving", False, "the relay is stopping")]
        else:
            async with self._lock:
                if time.monotonic() >= self._known_until:
                    self._known = judge_settings(self._settings) + await self._ask()
                    self._known_until = time.monotonic() + CACHE_SECONDS
                checks = [self._serving(), *self._known]
        self._metrics.ready.set(all(check.ok for check in checks))
        return checks

    def _serving(self) -> Check:
        if self._room is not None and self._room.is_full:
            return Check("serving", False, f"no room for more than {self._room.size} connections")
        return Check("serving", True, "deliveries are taken")

    async def _ask(self) -> list[Check]:
        asked = self._clock()
        try:
            facts = await self._data_api.readiness(min(TIMEOUT_SECONDS, self._settings.rpc_timeout))
        except NoVerdict as error:
            return [Check("database", False, f"{error.reason} ({error.detail})")]
        middle = (asked + self._clock()) / 2
        return [
            Check("database", True, "reached"),
            *judge_database(facts, now=middle, tolerance=self._settings.webhook_tolerance),
        ]
