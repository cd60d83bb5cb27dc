"""A small model of a payment's money: what comes, what goes back, and what the bank asks back, in any order.

It shares nothing with `model.py` or the database: two payments of one group of two orders, a thousand minor units each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TOTAL = 1000  # minor units of each payment, and of the group
PARTS = {"all of A": 1000, "600 of A": 600, "400 of A": 400, "500 of A": 500, "all of B": 1000}
REFUND_RANKS = {"pending": 0, "requires_action": 1, "succeeded": 2, "failed": 3, "canceled": 3}
DISPUTE_RANKS = {
    "warning_needs_response": 0,
    "warning_under_review": 1,
    "warning_closed": 2,
    "needs_response": 3,
    "under_review": 4,
    "lost": 5,
    "won": 6,
}
WELL_ENDED = {"won", "warning_closed"}
NOT_COUNTED = {"failed", "canceled"}
FORWARD = {"paid": "fulfilled"}

# What is done, in one word: "pay A", "ship", "all of A succeeded", "dispute won".
Step = str
State = tuple[Any, ...]


@dataclass
class Money:
    """Where a group stands."""

    paid_by: str | None = None
    orders: list[str] = field(default_factory=lambda: ["pending", "pending"])
    before_the_refund: list[str] | None = None
    payments: dict[str, str] = field(default_factory=dict)  # payment -> "applied", or the reason why it was not
    refunds: dict[str, str] = field(default_factory=dict)
    set_aside: set[str] = field(default_factory=set)
    cases: dict[str, str] = field(default_factory=dict)  # refund -> how its exception stands
    dispute: str | None = None

    def do(self, step: Step) -> str:
        """Does a step; the answer that it gets."""
        first, *rest = step.split()
        if first == "pay":
            return self._pay(rest[0])
        if first == "ship":
            return self._ship()
        if first == "dispute":
            return self._dispute(rest[0])
        name, status = step.rsplit(" ", 1)
        return self._refund(name, status)

    # what has gone back of a payment, and what is on its way

    def _of(self, payment: str) -> dict[str, str]:
        return {name: status for name, status in self.refunds.items() if name.endswith(payment)}

    def _back(self, payment: str) -> int:
        return sum(
            PARTS[name]
            for name, status in self._of(payment).items()
            if status == "succeeded" and name not in self.set_aside
        )

    def _claimed(self, payment: str) -> int:
        return sum(
            PARTS[name]
            for name, status in self._of(payment).items()
            if status not in NOT_COUNTED and name not in self.set_aside
        )

    @property
    def status(self) -> str:
        if self.paid_by is None:
            return "pending"
        return "refunded" if self._back(self.paid_by) == TOTAL else "paid"

    # the steps

    def _pay(self, payment: str) -> str:
        self.set_aside -= self._of(payment).keys()
        room = TOTAL
        for name in sorted(self._of(payment)):  # the earliest first: their times are in the order of their names
            if self.refunds[name] in NOT_COUNTED:
                continue
            if PARTS[name] > room:
                self.set_aside.add(name)
                self.cases[name] = "open"
            else:
                room -= PARTS[name]
        reason = {"pending": None, "paid": "duplicate_payment", "refunded": "order_group_not_payable"}[self.status]
        is_back = self._back(payment) == TOTAL
        if reason is None and not is_back:
            self.payments[payment] = "applied"
            self.paid_by, self.orders = payment, ["paid", "paid"]
            return "applied"
        self.payments[payment] = reason or "payment_refunded"
        return "resolved" if is_back else f"rejected {reason}"

    def _ship(self) -> str:
        if self.orders[0] not in FORWARD:
            return "rejected order_status_moves_forward"
        self.orders[0] = FORWARD[self.orders[0]]
        return "moved"

    def _refund(self, name: str, status: str) -> str:
        payment, known = name[-1], self.refunds.get(name)
        if known and name not in self.set_aside and REFUND_RANKS[status] <= REFUND_RANKS[known]:
            return "replayed"
        others = self._claimed(payment) - (
            PARTS[name] if known and known not in NOT_COUNTED and name not in self.set_aside else 0
        )
        if payment in self.payments and status not in NOT_COUNTED and others + PARTS[name] > TOTAL:
            self.cases[name] = "open"
            return "rejected exceeds_payment"
        before = self.status
        self.set_aside.discard(name)
        if name in self.cases:
            self.cases[name] = "reconciled by record_refund"
        self.refunds[name] = status
        if status in NOT_COUNTED:
            self._fit(payment)
        if (before, self.status) == ("paid", "refunded"):
            self.before_the_refund, self.orders = self.orders, ["refunded", "refunded"]
        elif (before, self.status) == ("refunded", "paid"):
            assert self.before_the_refund
            self.orders = self.before_the_refund
        return "recorded"

    def _fit(self, payment: str) -> None:
        for name in sorted(self.set_aside & self._of(payment).keys()):
            if self._claimed(payment) + PARTS[name] <= TOTAL:
                self.set_aside.discard(name)
                self.cases[name] = "reconciled by record_refund"

    def _dispute(self, status: str) -> str:
        if self.dispute and DISPUTE_RANKS[status] <= DISPUTE_RANKS[self.dispute]:
            return "replayed"
        self.dispute = status
        return "recorded"

    # the comparison

    def state(self) -> State:
        """All that the database must show: the group, its orders, its exceptions, its refunds and its dispute."""
        back = self._back(self.paid_by) if self.paid_by else 0
        exceptions = {}
        for payment, reason in self.payments.items():
            if reason != "applied":
                exceptions[payment] = (reason, "refunded by stripe" if self._back(payment) == TOTAL else "open")
        exceptions |= {name: ("exceeds_payment", standing) for name, standing in self.cases.items()}
        if self.dispute and "A" in self.payments:
            exceptions["dispute"] = (
                "payment_disputed",
                "dismissed by stripe" if self.dispute in WELL_ENDED else "open",
            )
        refunds = {
            name: (status, "its group's" if self.paid_by == name[-1] else "nobody's", name in self.set_aside)
            for name, status in self.refunds.items()
        }
        return (
            self.status,
            back,
            tuple(self.orders),
            tuple(sorted(exceptions.items())),
            tuple(sorted(refunds.items())),
            self.dispute,
        )
