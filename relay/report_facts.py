"""What a report says, put in order: sums by currency, ages of exceptions, verdicts. Pure, no I/O."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

# Up to how many hours old an exception is counted there. Stripe tries for three days, and lists events for 30.
AGES: Final = (("under a day", 24), ("1 to 3 days", 72), ("3 to 7 days", 168), ("7 to 30 days", 720))
OLDER: Final = "over 30 days"


@dataclass(frozen=True, slots=True)
class Facts:
    """A report of the database, and the sweep that goes with it."""

    report: dict[str, Any]
    drift: dict[str, Any] | None = None

    @property
    def days(self) -> list[str]:
        """Each day from the first with a payment to the last, those without one too."""
        named = sorted({one["day"] for one in self.report["totals"]})
        if not named:
            return []
        first, last = date.fromisoformat(named[0]), date.fromisoformat(named[-1])
        return [(first + timedelta(days=place)).isoformat() for place in range((last - first).days + 1)]

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
                sums[one["currency"]] = sums.get(one["currency"], Decimal(0)) + Decimal(one["amount"])
                counts[one["currency"]] += one["payments"]
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
    def broken(self) -> list[dict[str, Any]]:
        """The checks that do not hold."""
        return [check for check in self.report["checks"] if not check["ok"]]

    @property
    def drift_rows(self) -> list[tuple[str, dict[str, Any]]]:
        """What the sweep left for a person."""
        drift = self.drift or {}
        names = ("rejected", "unmatched", "failed", "paid_here_only")
        return [(name.replace("_", " "), one) for name in names for one in drift.get(name, [])]

    def payments_on(self, day: str, outcome: str) -> int:
        """How many payments of all currencies ended so on that day."""
        return sum(one["payments"] for one in self.report["totals"] if (one["day"], one["outcome"]) == (day, outcome))

    def paid_on(self, day: str, currency: str) -> Decimal:
        """What was paid on that day, in major units."""
        wanted = (day, currency, "applied")
        found = [
            Decimal(one["amount"])
            for one in self.report["totals"]
            if (one["day"], one["currency"], one["outcome"]) == wanted
        ]
        return sum(found, Decimal(0))
