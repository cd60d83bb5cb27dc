"""What a report says, put in order: sums by currency, ages of exceptions, verdicts. Pure, no I/O."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from typing_extensions import TypedDict

from relay.commands.answers import Amount, Day, Instant
from relay.commands.sweep_lists import SWEEP_LISTS

# Up to how many hours old an exception is counted there. Stripe tries for three days, and lists events for 30.
AGES: Final = (("under a day", 24), ("1 to 3 days", 72), ("3 to 7 days", 168), ("7 to 30 days", 720))
OLDER: Final = "over 30 days"
# A bar for each day of a quarter can be told apart, more cannot.
_MOST_DAYS: Final = 92


class Total(TypedDict):
    """The payments of a day in a currency that ended alike; the amount in major units."""

    day: Day
    currency: str | None
    outcome: str
    payments: int
    amount: Amount | None


class OpenException(TypedDict):
    """A payment that waits for a person; its amount is whatever its event named."""

    id: int
    reason: str
    attempts: int
    first_seen_at: Instant
    order_group_id: str | None
    checkout_session_id: str | None
    currency: str | None
    amount: str | None


class Stock(TypedDict):
    """What was taken of a product in the window, and what is left."""

    seller: str
    sku: str
    product: str
    committed: int
    items: int
    on_hand: int


class Check(TypedDict):
    """A claim about the books, and what contradicts it."""

    claim: str
    ok: bool
    faults: int
    examples: list[str]


class Report(TypedDict):
    """What `payment_report` returns."""

    since: Instant
    until: Instant
    generated_at: Instant
    totals: list[Total]
    exceptions: list[OpenException]
    stock: list[Stock]
    checks: list[Check]


@dataclass(frozen=True, slots=True)
class Facts:
    """A report of the database, and the sweep that goes with it."""

    report: Report
    drift: dict[str, Any] | None = None

    @property
    def periods(self) -> list[str]:
        """Each day from the first with a payment to the last, those without one too; months where that is too many."""
        named = sorted({one["day"] for one in self.report["totals"]})
        if not named:
            return []
        first, last = date.fromisoformat(named[0]), date.fromisoformat(named[-1])
        days = [(first + timedelta(days=place)).isoformat() for place in range((last - first).days + 1)]
        return days if len(days) <= _MOST_DAYS else list(dict.fromkeys(map(self.month, days)))

    @staticmethod
    def month(day: str) -> str:
        """("2026-11-23") -> "2026-11"."""
        return day[: len("2026-11")]

    @property
    def outcomes(self) -> set[str]:
        """The outcomes that occur."""
        return {one["outcome"] for one in self.report["totals"]}

    @property
    def paid(self) -> list[tuple[str, Decimal]]:
        """What was paid, by currency, in major units; the currency with the most payments first."""
        sums: dict[str, Decimal] = {}
        counts: Counter[str] = Counter()
        for one in self.report["totals"]:
            if one["outcome"] == "applied":
                currency = one["currency"] or "?"
                sums[currency] = sums.get(currency, Decimal(0)) + Decimal(one["amount"] or 0)
                counts[currency] += one["payments"]
        return sorted(sums.items(), key=lambda item: (-counts[item[0]], item[0]))

    @property
    def payments(self) -> int:
        """How many payments were applied."""
        return sum(one["payments"] for one in self.report["totals"] if one["outcome"] == "applied")

    @property
    def ages(self) -> list[tuple[str, int]]:
        """Open exceptions by how long they have been open."""
        now = datetime.fromisoformat(self.report["generated_at"])
        counts: Counter[str] = Counter()
        for one in self.report["exceptions"]:
            hours = (now - datetime.fromisoformat(one["first_seen_at"])) / timedelta(hours=1)
            counts[next((name for name, limit in AGES if hours < limit), OLDER)] += 1
        return [(name, counts[name]) for name in (*(name for name, _ in AGES), OLDER)]

    @property
    def broken(self) -> list[Check]:
        """The checks that do not hold."""
        return [check for check in self.report["checks"] if not check["ok"]]

    @property
    def drift_rows(self) -> list[tuple[str, dict[str, Any]]]:
        """What the sweep left for a person."""
        drift = self.drift or {}
        return [(title, one) for name, title in SWEEP_LISTS.items() for one in drift.get(name, [])]

    def payments_in(self, periods: list[str], outcome: str) -> list[int]:
        """How many payments of all currencies ended so in each day or month."""
        counts: Counter[str] = Counter()
        for one in self.report["totals"]:
            if one["outcome"] == outcome:
                counts[one["day"]] += one["payments"]
                counts[self.month(one["day"])] += one["payments"]
        return [counts[period] for period in periods]

    def paid_in(self, periods: list[str], currency: str) -> list[Decimal]:
        """What was paid in each day or month, in major units."""
        sums: dict[str, Decimal] = {}
        for one in self.report["totals"]:
            if (one["currency"] or "?", one["outcome"]) == (currency, "applied"):
                for period in (one["day"], self.month(one["day"])):
                    sums[period] = sums.get(period, Decimal(0)) + Decimal(one["amount"] or 0)
        return [sums.get(period, Decimal(0)) for period in periods]
