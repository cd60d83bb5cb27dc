"""Checks whether this relay can reconcile now. `/readyz` and `relay check` use the same checks.

The database's answer is kept for CACHE_SECONDS, and only one question is under way at a time, so that probes do not
load the database. `relay.server.watching` asks by itself, so that the metrics are true of now. Stripe is never called:
a relay that can reconcile is ready even while Stripe's API is down.
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
from relay.data_api.client import PLURAL_FUNCTION, DataApi
from relay.data_api.remedies import remedy
from relay.metrics import Metrics
from relay.server.connection_limit import ConnectionLimit

# The contract version of this relay, and the oldest one of a database with which it still works. CONTRIBUTING.md says
# when to raise them. The database of the previous release must always work.
CONTRACT_VERSION: Final = 1
OLDEST_DATABASE: Final = 1
CACHE_SECONDS: Final = 3.0
# Each of Stripe's endpoints has its own.
IS_THE_SAME: Final = "the same secret, which is right for Stripe's command line only"
# Each minute's run takes 500 groups. What is due for longer than this is due because nobody cancels it.
OVERDUE_SECONDS: Final = 3600
# Probes often wait for a few seconds only. The database function reads a few rows of the catalogue.
TIMEOUT_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Check:
    """One precondition. `detail` is for operators and holds no secrets."""

    name: str
    ok: bool
    detail: str
    is_doubtful: bool = False  # worth a look, yet no reason to stop traffic

    def as_dict(self) -> dict[str, object]:
        """The check as `/readyz` shows it."""
        return {"name": self.name, "ok": self.ok, "detail": self.detail}


def judge_settings(settings: Settings) -> list[Check]:
    """The checks that need no call. They are always ok, because the relay does not start with wrong settings; their
    details say which settings are in use.
    """
    count = len(settings.stripe_webhook_secrets)
    mode = "live" if settings.livemode else "test"
    return [
        Check("webhook_secrets", True, f"{count} in use"),
        _lifecycle_check(settings),
        Check("stripe_key_mode", True, f"{mode} events are reconciled, others are ignored"),
    ]


def _lifecycle_check(settings: Settings) -> Check:
    """Always ok: a relay without the route reconciles as well as any other."""
    if not settings.stripe_lifecycle_webhook_secrets:
        return Check("lifecycle_route", True, "off: STRIPE_LIFECYCLE_WEBHOOK_SECRET is not set")
    detail = f"on, {len(settings.stripe_lifecycle_webhook_secrets)} in use"
    if settings.shares_webhook_secret:
        return Check("lifecycle_route", True, f"{detail}; both routes name {IS_THE_SAME}", is_doubtful=True)
    return Check("lifecycle_route", True, detail)


def judge_database(facts: object, *, now: float, tolerance: int) -> list[Check]:
    """Compare what `reconciliation_readiness` returned with what this relay needs.

    `now` is the middle of the call, in seconds since 1970. `tolerance` is how many seconds the time of a signature may
    be off.
    """
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
        _expiry_check(found, now),
    ]


def _contract_check(found: dict[str, object]) -> Check:
    """Relay and database each have a version, and know the oldest version of the other with which they still work.
    Neither may be older than the other allows.
    """
    newest = found.get("contract_version")
    oldest = found.get("oldest_contract_version", newest)
    # `type`, because isinstance accepts True as an int.
    if type(newest) is not int or type(oldest) is not int or not 1 <= oldest <= newest:
        push = "`supabase db push --remote` brings it to this release"
        return Check("contract_version", False, f"relay {CONTRACT_VERSION}, database unknown: {push}")
    both = f"relay {CONTRACT_VERSION}, database {newest}"
    if oldest > CONTRACT_VERSION:
        return Check("contract_version", False, f"{both}: upgrade the relay, this database serves {oldest} and later")
    if newest < OLDEST_DATABASE:
        needed = f"this relay needs {OLDEST_DATABASE} or later: `supabase db push --remote`"
        return Check("contract_version", False, f"{both}: upgrade the database, {needed}")
    return Check("contract_version", True, both)


def _currencies_check(found: dict[str, object]) -> Check:
    """Both sides must have the same currencies. Only a newer database may have more, because it is upgraded first. The
    relay guesses the decimals of such a currency; the database applies the payment where the guess is right, and
    records an exception where it is wrong.
    """
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


def _expiry_check(found: dict[str, object], now: float) -> Check:
    """Always ok: a relay without expiry reconciles as well as any other. Doubtful where nobody cancels what is due."""
    if "expiry_last_ran_at" not in found:
        return Check("expiry", True, "this database does not tell")
    ran, due = _seconds(found["expiry_last_ran_at"]), _seconds(found.get("overdue_since"))
    last = "has never run" if ran is None else f"last ran {_words_for(now - ran)} ago"
    if due is None:
        return Check("expiry", True, f"{last}; no order group is due")
    waits = f"{last}; an order group has been due for {_words_for(now - due)}"
    if now - due <= OVERDUE_SECONDS:
        return Check("expiry", True, waits)
    return Check("expiry", True, f"{waits}: schedule it (docs/operations.md), or run `relay expire`", is_doubtful=True)


def _seconds(instant: object) -> float | None:
    """Seconds since 1970; None where the database told no time that Python can represent."""
    try:
        return datetime.fromisoformat(instant).timestamp() if isinstance(instant, str) else None
    except (ValueError, OverflowError):
        return None


def _words_for(seconds: float) -> str:
    """(125.0) -> "2 minutes"."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "less than a minute"


def _clock_check(server_time: object, now: float, tolerance: int) -> Check:
    """The clocks may differ by half the tolerance. Beyond that, genuine deliveries may soon be refused."""
    try:
        server = datetime.fromisoformat(server_time) if isinstance(server_time, str) else None
    except ValueError:
        server = None
    if server is None or server.tzinfo is None:
        return Check("clock", False, "the database told no time")
    skew = now - server.timestamp()
    told = f"{skew:+z.1f} s from the database's"
    if abs(skew) <= tolerance / 2:
        return Check("clock", True, told)
    return Check("clock", False, f"{told}: set this machine's clock by NTP, else honest deliveries are refused")


def _triggers_check(fragile: object) -> Check:
    """Always ok: a trigger of the shop's that may fail in some payments is no reason to stop all of them."""
    triggers = [str(trigger) for trigger in fragile] if isinstance(fragile, list) else []
    if not triggers:
        return Check("shop_triggers", True, "none without a search_path of its own")
    named = "; ".join(triggers[:5]) + (" …" if len(triggers) > 5 else "")
    remedy = "alter function … set search_path = '' (and write schemas), else names fail in a payment"
    return Check("shop_triggers", True, f"{named}: {remedy}", is_doubtful=True)


def read_exceptions(facts: object) -> tuple[dict[str, int], float] | None:
    """How many exceptions of each reason are open, and how many seconds ago the oldest was first seen (0: none is), by
    the database's clock. None where the database does not tell.
    """
    found = facts if isinstance(facts, dict) else {}
    counts = found.get("open_exceptions")
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        return None
    now, oldest = _seconds(found.get("server_time")), _seconds(found.get("oldest_open_exception_at"))
    return counts, max(0.0, now - oldest) if now is not None and oldest is not None else 0.0


class Readiness:
    """Makes the checks, and asks the database at most once per CACHE_SECONDS."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        data_api: DataApi,
        *,
        clock: Callable[[], float] = time.time,
        limit: ConnectionLimit | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._data_api = data_api
        self._clock = clock
        self._limit = limit
        self._lock = asyncio.Lock()
        self._known: list[Check] = []
        self._known_until = 0.0
        self.draining = False

    async def checks(self) -> list[Check]:
        """All checks. The relay is ready if each of them is ok."""
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
        if self._limit is not None and self._limit.is_full:
            return Check("serving", False, f"no room for more than {self._limit.size} connections")
        return Check("serving", True, "deliveries are taken")

    async def _ask(self) -> list[Check]:
        asked, seconds = self._clock(), min(TIMEOUT_SECONDS, self._settings.rpc_timeout)
        try:
            facts = await self._data_api.readiness(seconds)
        except NoVerdict as error:
            return [Check("database", False, f"{remedy(error)} ({error.reason}: {error.detail})")]
        middle = (asked + self._clock()) / 2
        if (exceptions := read_exceptions(facts)) is not None:
            self._metrics.show_exceptions(*exceptions)
        return [
            Check("database", True, "reached"),
            *judge_database(facts, now=middle, tolerance=self._settings.webhook_tolerance),
            await self._sharing(seconds),
        ]

    async def _sharing(self, seconds: float) -> Check:
        """Always ok: payments that go one by one are reconciled as well as those that go together. The database of the
        release before takes only one in a call.
        """
        try:
            shares = await self._data_api.find_out_sharing(seconds)
        except NoVerdict as error:
            return Check("shared_calls", True, f"nobody knows: {error.reason} ({error.detail})", is_doubtful=True)
        detail = "payments that wait go together" if shares else f"off: this database has no {PLURAL_FUNCTION}"
        return Check("shared_calls", True, detail)
