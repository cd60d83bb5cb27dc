"""What will be sold and what Stripe will say about it, determined by a seed. Pure."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from testkit.stripe_events import FAILED, SUCCEEDED, Json, completed, disputed, ended, refunded, session_of

# (code, minor units of one major unit)
CURRENCIES = (("USD", 100), ("USD", 100), ("EUR", 100), ("JPY", 1), ("KWD", 1000), ("ISK", 100))
# Of an event's copies, how many come late and alone; the others come together, with those of its scenario.
LATE_COPIES = 2


class Expected(StrEnum):
    """What an event must have come to in the end."""

    PAYS = "pays"
    """It, and nothing else, has paid its group."""
    PAYS_OR_FOLLOWS = "pays_or_follows"
    """It has paid its group, or was found to be of the payment that did."""
    PAYS_OR_REJECTED = "pays_or_rejected"
    """It was first, or was set aside because another was."""
    PAYS_OR_IS_BACK = "pays_or_is_back"
    """It has paid its group, or all of its money had gone back before it came."""
    RECORDED = "recorded"
    """What it says of a refund or a dispute is on record."""
    ENDS = "ends"
    """The group that its session names is not pending any more."""
    REJECTED = "rejected"
    UNMATCHED = "unmatched"
    UNTOUCHED = "untouched"


@dataclass(frozen=True, slots=True)
class Item:
    """Of product number `product` of seller number `seller`."""

    id: uuid.UUID
    seller: int
    product: int
    quantity: int
    unit_amount: Decimal


@dataclass(frozen=True, slots=True)
class Group:
    """A pending order group; one order per seller."""

    id: uuid.UUID
    currency: str
    items: tuple[Item, ...]
    orders: dict[int, uuid.UUID]

    @property
    def total(self) -> Decimal:
        """Major units."""
        return sum((item.quantity * item.unit_amount for item in self.items), Decimal(0))

    @property
    def minor(self) -> int:
        """Minor units, as Stripe counts."""
        return int(self.total * dict(CURRENCIES)[self.currency])


@dataclass(frozen=True, slots=True)
class Sent:
    """One event, and what must become of it."""

    event: Json
    expected: Expected
    group: uuid.UUID | None = None
    reason: str | None = None
    is_lifecycle: bool = False
    """Whether it goes to the lifecycle route."""

    @property
    def id(self) -> str:
        """Stripe's id."""
        return str(self.event["id"])

    @property
    def session(self) -> str:
        """The checkout session's id."""
        return str(session_of(self.event)["id"])


@dataclass(slots=True)
class Scenario:
    """Events that belong together, and the groups that they are about."""

    kind: str
    sent: list[Sent]
    groups: list[Group] = field(default_factory=list)
    paid_groups: int = 1
    """How many of the groups are paid in the end."""
    statuses: frozenset[str] = frozenset({"pending", "paid"})
    """What a group may be in the end; the order of arrival decides between them where there is another than these."""
    refunded: Decimal = Decimal(0)
    """Major units of what a paid group has sent back, unless that is all."""
    reversals: dict[str, str] = field(default_factory=dict)
    """Refund or dispute -> the status that it has in the end."""
    open_disputes: frozenset[str] = frozenset()
    """Those that wait for a person."""


class Generator:
    """Makes scenarios from a seed."""

    def __init__(self, seed: int, *, sellers: int, products: int) -> None:
        self.rng = random.Random(f"chaos/{seed}")
        self._sellers = sellers
        self._products = products

    def scenarios(self, events: int) -> Iterator[Scenario]:
        """Stories with that many events in all."""
        made = 0
        while made < events:
            (write,) = self.rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])
            scenario = write(self)
            if made + len(scenario.sent) > events:
                scenario = self.payment()
            made += len(scenario.sent)
            yield scenario

    def payment(self) -> Scenario:
        """A buyer pays; Stripe says so once."""
        group = self._group()
        return Scenario("payment", [Sent(self._event(group), Expected.PAYS, group.id)], [group])

    def twins(self) -> Scenario:
        """A delayed method: two events about one session, at once."""
        group = self._group()
        first = self._event(group)
        second = {**first, "id": self._id("evt"), "type": SUCCEEDED}
        return Scenario("twins", [Sent(each, Expected.PAYS_OR_FOLLOWS, group.id) for each in (first, second)], [group])

    def rivals(self) -> Scenario:
        """A buyer pays in two tabs."""
        group = self._group()
        sent = [Sent(self._event(group), Expected.PAYS_OR_REJECTED, group.id, "duplicate_payment") for _ in range(2)]
        return Scenario("rivals", sent, [group])

    def one_payment_for_two_groups(self) -> Scenario:
        """A shop's fault: two sessions that name one payment intent and different groups."""
        groups = [self._group(), self._group()]
        intent = self._id("pi")
        sent = [
            Sent(self._event(group, payment_intent=intent), Expected.PAYS_OR_REJECTED, group.id, "payment_already_used")
            for group in groups
        ]
        return Scenario("one payment for two groups", sent, groups)

    def voucher(self) -> Scenario:
        """Completed but unpaid, and paid later."""
        group = self._group()
        paid = {**self._event(group), "type": SUCCEEDED}
        unpaid = {**paid, "id": self._id("evt"), "type": "checkout.session.completed"}
        unpaid["data"] = {"object": {**session_of(paid), "payment_status": "unpaid"}}
        return Scenario("voucher", [Sent(unpaid, Expected.UNTOUCHED), Sent(paid, Expected.PAYS, group.id)], [group])

    def wrong_amount(self) -> Scenario:
        """The session's total is not the group's."""
        group = self._group()
        step = self.rng.choice((-1, 1)) * dict(CURRENCIES)[group.currency]
        off = abs(session_of(self._event(group))["amount_total"] + step)  # a basket that costs nothing has no less
        event = self._event(group, amount_total=off)
        return Scenario("wrong amount", [Sent(event, Expected.REJECTED, group.id, "amount_mismatch")], [group], 0)

    def unknown_group(self) -> Scenario:
        """A session of another shop's, or of a deleted basket."""
        event = self._event(self._group())
        return Scenario("unknown group", [Sent(event, Expected.REJECTED, None, "order_group_not_found")], [], 0)

    def no_reference(self) -> Scenario:
        """A session that names no group."""
        group = self._group()
        event = self._event(group, metadata={})
        return Scenario("no reference", [Sent(event, Expected.UNMATCHED, None, "missing_reference")], [group], 0)

    def unrelated(self) -> Scenario:
        """Something else of Stripe's."""
        event = {**self._event(self._group()), "type": "customer.created"}
        return Scenario("unrelated", [Sent(event, Expected.UNTOUCHED)], [], 0)

    def part_refund(self) -> Scenario:
        """A part of the money goes back, which takes its time."""
        group = self._divisible_group()
        paid = self._event(group)
        part = self._refund(paid, amount=self._part(group))
        steps = [self._about(part | {"status": status}, "refund.updated") for status in ("pending", "succeeded")]
        scenario = Scenario("part refund", [Sent(paid, Expected.PAYS, group.id), *steps], [group])
        scenario.refunded = Decimal(part["amount"]) / dict(CURRENCIES)[group.currency]
        scenario.reversals = {part["id"]: "succeeded"}
        return scenario

    def failed_refund(self) -> Scenario:
        """A part of the money goes back, and comes again."""
        group = self._divisible_group()
        paid = self._event(group)
        part = self._refund(paid, amount=self._part(group))
        steps = [
            self._about(part, "refund.created"),
            self._about(part | {"status": "failed"}, "refund.failed"),
        ]
        scenario = Scenario("failed refund", [Sent(paid, Expected.PAYS, group.id), *steps], [group])
        scenario.reversals = {part["id"]: "failed"}
        return scenario

    def whole_refund(self) -> Scenario:
        """All of the money goes back: before the payment comes, or after it."""
        group = self._group()
        paid = self._event(group)
        whole = self._refund(paid, amount=group.minor)
        sent = [
            Sent(paid, Expected.PAYS_OR_IS_BACK, group.id, "payment_refunded"),
            self._about(whole, "refund.created"),
        ]
        scenario = Scenario("whole refund", sent, [group])
        scenario.statuses = frozenset({"refunded", "pending"})
        scenario.reversals = {whole["id"]: "succeeded"}
        return scenario

    def dispute(self) -> Scenario:
        """The buyer's bank asks for the money back, and gets it or not."""
        group = self._group()
        paid, ending = self._event(group), self.rng.choice(("won", "lost"))
        about = session_of(
            disputed(
                session_of(paid)["payment_intent"],
                id=self._id("dp"),
                amount=group.minor,
                charge=None,
                currency=group.currency.lower(),
            )
        )
        steps = [
            self._about(about, "charge.dispute.created"),
            self._about(about | {"status": ending}, "charge.dispute.closed"),
        ]
        scenario = Scenario("dispute", [Sent(paid, Expected.PAYS, group.id), *steps], [group])
        scenario.reversals = {about["id"]: ending}
        scenario.open_disputes = frozenset({about["id"]} if ending == "lost" else ())
        return scenario

    def left_checkout(self) -> Scenario:
        """Nobody pays in time."""
        group = self._group()
        scenario = Scenario("left checkout", [self._ended(group)], [group], 0)
        scenario.statuses = frozenset({"cancelled"})
        return scenario

    def failed_debit(self) -> Scenario:
        """Completed but unpaid, and never paid."""
        group = self._group()
        failed = self._ended(group, kind=FAILED)
        unpaid = {**failed.event, "id": self._id("evt"), "type": "checkout.session.completed"}
        scenario = Scenario("failed debit", [Sent(unpaid, Expected.UNTOUCHED), failed], [group], 0)
        scenario.statuses = frozenset({"cancelled"})
        return scenario

    def late_payment(self) -> Scenario:
        """A buyer pays in one tab while the session of another one expires."""
        group = self._group()
        paid = Sent(self._event(group), Expected.PAYS_OR_REJECTED, group.id, "order_group_not_payable")
        scenario = Scenario("late payment", [paid, self._ended(group)], [group])
        scenario.statuses = frozenset({"paid", "cancelled"})
        return scenario

    def _ended(self, group: Group, *, kind: str = "checkout.session.expired") -> Sent:
        event = ended(str(group.id), kind=kind, id=self._id("cs_test"))
        return Sent({**event, "id": self._id("evt")}, Expected.ENDS, group.id, is_lifecycle=True)

    def _refund(self, paid: Json, *, amount: int) -> Json:
        payment = session_of(paid)
        event = refunded(
            payment["payment_intent"], id=self._id("re"), amount=amount, charge=None, currency=payment["currency"]
        )
        return session_of(event)

    def _divisible_group(self) -> Group:
        """One that costs more than the smallest amount of its currency."""
        while (group := self._group()).minor <= 2 * _smallest(group):
            pass
        return group

    def _part(self, group: Group) -> int:
        """In minor units: less than the whole."""
        return _smallest(group) * self.rng.randint(1, group.minor // _smallest(group) - 1)

    def _about(self, reversal: Json, kind: str) -> Sent:
        event = {**completed(), "id": self._id("evt"), "type": kind, "data": {"object": reversal}}
        return Sent(event, Expected.RECORDED, is_lifecycle=True)

    def _group(self) -> Group:
        currency, minor_per_major = self.rng.choice(CURRENCIES)
        step = Decimal(1) if currency == "ISK" else Decimal(1) / minor_per_major
        sellers = self.rng.sample(range(self._sellers), self.rng.choice((1, 2)))
        items = tuple(
            Item(
                self._uuid(),
                seller,
                self.rng.randrange(self._products),
                self.rng.randrange(1, 4),
                step * self.rng.randrange(1, 10_000),
            )
            for seller in sellers
            for _ in range(self.rng.choice((1, 2)))
        )
        return Group(self._uuid(), currency, items, {seller: self._uuid() for seller in sellers})

    def _event(self, group: Group, **session: Any) -> Json:
        made = completed(
            str(group.id),
            **{
                "id": self._id("cs_test"),
                "payment_intent": self._id("pi"),
                "amount_total": group.minor,
                "amount_subtotal": group.minor,
                "currency": group.currency.lower(),
                **session,
            },
        )
        return {**made, "id": self._id("evt")}

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self.rng.getrandbits(96):024x}"

    def _uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self.rng.getrandbits(128), version=4)


def _smallest(group: Group) -> int:
    """The smallest amount of the group's currency, in minor units."""
    return 100 if group.currency == "ISK" else 1


KINDS: tuple[tuple[Callable[[Generator], Scenario], int], ...] = (
    (Generator.payment, 50),
    (Generator.twins, 10),
    (Generator.rivals, 8),
    (Generator.one_payment_for_two_groups, 2),
    (Generator.voucher, 4),
    (Generator.wrong_amount, 4),
    (Generator.unknown_group, 3),
    (Generator.no_reference, 3),
    (Generator.unrelated, 3),
    (Generator.part_refund, 4),
    (Generator.failed_refund, 3),
    (Generator.whole_refund, 4),
    (Generator.dispute, 4),
    (Generator.left_checkout, 3),
    (Generator.failed_debit, 2),
    (Generator.late_payment, 3),
)


def batches(scenarios: list[Scenario], copies: int, rng: random.Random) -> list[list[Sent]]:
    """Who is sent together, in which order: copies of one scenario's events at once, and a shuffled tail of late ones.

    Copies spread over the run rarely meet each other; those sent together do, and find what checks before it locks.
    """
    late = min(LATE_COPIES, copies - 1)
    timed: list[tuple[float, list[Sent]]] = []
    for place, scenario in enumerate(scenarios):
        timed.append((place, [each for each in scenario.sent for _ in range(copies - late)]))
        for each in scenario.sent:
            timed += [(rng.uniform(place + 1, len(scenarios) * 1.2), [each]) for _ in range(late)]
    timed.sort(key=lambda pair: pair[0])
    return [batch for _, batch in timed]
