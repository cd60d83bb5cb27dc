"""Computes a report's figures: sums by currency, counts by day or month, ages of exceptions, failed checks. No I/O."""

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from typing_extensions import TypedDict

from relay.commands import sweep_lists
from relay.commands.answers import Amount, Day, Instant
from relay.commands.terminal import counted, read_instant

# Age groups of exceptions, each with its upper limit in hours. Stripe retries for 3 days, and keeps events for 30 days.
AGES: Final = (("under a day", 24), ("1 to 3 days", 72), ("3 to 7 days", 168), ("7 to 30 days", 720))
OLDER: Final = "over 30 days"
# So many bars are readable: one per day for a quarter of a year, then one per month, beyond five years one per year.
_MOST_DAYS: Final = 92
_MOST_MONTHS: Final = 60
_MONTH: Final = len("2026-11")
_YEAR: Final = len("2026")


class Total(TypedDict):
    """The payments of one day, currency and outcome; the amount in major units."""

    day: Day
    currency: str | None
    outcome: str
    payments: int
    amount: Amount | None


class DayLines(TypedDict):
    """How many lines `payment_lines` tells of a day."""

    day: Day
    lines: int


class ModePayments(TypedDict):
    """How many payments of one of Stripe's modes were applied, without simulations."""

    mode: Literal["live", "test"]
    payments: int


class Money(TypedDict):
    """What was paid in a currency, and what of it went back; amounts in major units."""

    currency: str
    gross: Amount
    refunded: Amount
    net: Amount


class SellerMoney(Money):
    """A seller's part of it: the totals of the orders that were paid, and of those that were given up."""

    seller: str
    orders: int


class OpenException(TypedDict):
    """An open payment exception; amounts and currencies are any text, and the time any that Postgres has."""

    id: int
    reason: str
    attempts: int
    first_seen_at: str
    order_group_id: str | None
    checkout_session_id: str | None
    currency: str | None
    amount: str | None
    expected_currency: str | None
    expected_amount: str | None


class Stock(TypedDict):
    """A product whose stock moved in the window, in pieces: `opening` + `received` - `committed` + `returned` +
    `corrected` = `on_hand`. `oversold` is what is missing of it.
    """

    seller: str
    sku: str
    product: str
    opening: int
    received: int
    committed: int
    items: int
    returned: int
    corrected: int
    on_hand: int
    oversold: int


class Adjustment(TypedDict):
    """A correction of stock by a person, in pieces."""

    at: Instant
    seller: str
    sku: str
    product: str
    quantity_delta: int
    recorded_by: str | None
    note: str | None


class Check(TypedDict):
    """A claim about the recorded payments, and examples of what contradicts it."""

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
    days: list[DayLines]
    modes: list[ModePayments]
    money: list[Money]
    simulated: list[Money]
    sellers: list[SellerMoney]
    exceptions: list[OpenException]
    stock: list[Stock]
    adjustments: list[Adjustment]
    checks: list[Check]


def _periods_of(day: str) -> tuple[str, str, str]:
    """The day, its month and its year, as `Facts.periods` names them."""
    return day, day[:_MONTH], day[:_YEAR]


@dataclass(frozen=True, slots=True)
class Facts:
    """A report of the database, and what a sweep found, where one was given."""

    report: Report
    drift: dict[str, Any] | None = None
    project: str | None = None
    """The host of the project's address."""
    mode: str | None = None
    """`live` or `test`, as the relay's key."""

    @property
    def periods(self) -> list[str]:
        """All days of the window, also those without a payment; months, or years, where there are too many. None where
        the window is none that a chart could show.
        """
        since, until = read_instant(self.report["since"]), read_instant(self.report["until"])
        if since is None or until is None or since >= until:
            return []
        first, last = since.date(), (until - timedelta(microseconds=1)).date()
        if (last - first).days < _MOST_DAYS:
            return [(first + timedelta(days=place)).isoformat() for place in range((last - first).days + 1)]
        months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
        if len(months) <= _MOST_MONTHS:
            return [f"{month // 12:04}-{month % 12 + 1:02}" for month in months]
        years = range(first.year, last.year + 1)
        return [f"{year:04}" for year in years] if len(years) <= _MOST_DAYS else []

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
    def money(self) -> list[Money]:
        """What was paid, went back and is left, by currency, in the order of `paid`."""
        places = {currency: place for place, (currency, _) in enumerate(self.paid)}
        return sorted(self.report["money"], key=lambda one: (places.get(one["currency"], len(places)), one["currency"]))

    @property
    def other_mode(self) -> str | None:
        """A sentence about the payments of the mode that is not the key's; None where there are none."""
        other = "test" if self.mode == "live" else "live"
        payments = sum(one["payments"] for one in self.report["modes"] if one["mode"] == other)
        if self.mode is None or payments == 0:
            return None
        verb = "is" if payments == 1 else "are"
        return (
            f"{counted(payments, 'payment')} of {other} mode {verb} in these sums, and the key is of "
            f'{self.mode} mode: one database is for one mode (docs/environments.md, "One database, one mode")'
        )

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """How many exceptions are open of each reason, the most frequent first."""
        counts = Counter(one["reason"] for one in self.report["exceptions"])
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    @property
    def oversold(self) -> int:
        """How many products are short of pieces that were sold."""
        return sum(row["oversold"] > 0 for row in self.report["stock"])

    @property
    def payments(self) -> int:
        """How many payments were applied."""
        return sum(one["payments"] for one in self.report["totals"] if one["outcome"] == "applied")

    def payments_of(self, currency: str) -> int:
        """How many payments were applied in one currency."""
        applied = [one for one in self.report["totals"] if one["outcome"] == "applied"]
        return sum(one["payments"] for one in applied if (one["currency"] or "?") == currency)

    @property
    def ages(self) -> list[tuple[str, int]]:
        """How many exceptions are open in each age group."""
        now = datetime.fromisoformat(self.report["generated_at"])
        counts: Counter[str] = Counter()
        for one in self.report["exceptions"]:
            began = read_instant(one["first_seen_at"])
            hours = math.inf if began is None else (now - began) / timedelta(hours=1)
            counts[next((name for name, limit in AGES if hours < limit), OLDER)] += 1
        return [(name, counts[name]) for name in (*(name for name, _ in AGES), OLDER)]

    @property
    def broken(self) -> list[Check]:
        """The checks that do not hold."""
        return [check for check in self.report["checks"] if not check["ok"]]

    @property
    def differences(self) -> int:
        """How many differences the sweep left; 0 where no sweep was given."""
        return sweep_lists.differences(self.drift or {})

    def payments_in(self, periods: list[str], outcome: str) -> list[int]:
        """How many payments, in all currencies, had this outcome per day or month."""
        counts: Counter[str] = Counter()
        for one in self.report["totals"]:
            if one["outcome"] == outcome:
                for period in _periods_of(one["day"]):
                    counts[period] += one["payments"]
        return [counts[period] for period in periods]

    def paid_in(self, periods: list[str], currency: str) -> list[Decimal]:
        """What was paid in this currency per day or month, in major units."""
        sums: dict[str, Decimal] = {}
        for one in self.report["totals"]:
            if (one["currency"] or "?", one["outcome"]) == (currency, "applied"):
                for period in _periods_of(one["day"]):
                    sums[period] = sums.get(period, Decimal(0)) + Decimal(one["amount"] or 0)
        return [sums.get(period, Decimal(0)) for period in periods]
