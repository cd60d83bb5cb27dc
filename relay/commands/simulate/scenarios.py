"""What `relay simulate` plays: each scenario's deliveries, and the answer that each must get. No I/O, no clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from relay.commands.simulate import events
from relay.commands.simulate.events import SUCCEEDED, Json
from relay.core.currency import WHOLE_UNITS
from relay.core.outcomes import Outcome, Reason

# Beyond the tolerance by more than clocks differ.
_WELL_BEYOND_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Target:
    """The order group that a scenario pays. The amount is in minor units, as Stripe counts them."""

    id: str
    status: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What the relay replies to a delivery."""

    status: int
    outcome: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.outcome}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Step:
    """One delivery and the answer that it must get."""

    what: str
    body: bytes
    signature: str
    expected: Reply
    event_id: str


class Needs(Enum):
    """The order group that a scenario starts from, and what becomes of it."""

    NO_GROUP = (frozenset({""}), None)
    PENDING = (frozenset({"pending"}), "pending")
    """Leaves it pending."""
    PAYABLE = (frozenset({"pending"}), "paid")
    """Pays it."""
    PAID = (frozenset({"pending", "paid"}), "paid")
    """Pays it first, where it is not paid yet."""
    CANCELLED = (frozenset({"cancelled"}), "cancelled")

    def __init__(self, before: frozenset[str], after: str | None) -> None:
        self.before = before
        self.after = after


@dataclass(frozen=True, slots=True)
class Stage:
    """What all deliveries have in common: the secrets, the tolerance, the time (seconds), and the group."""

    secrets: tuple[str, ...]
    tolerance: int
    now: int
    target: Target | None

    def session(self, **changes: Any) -> Json:
        """A paid session for the group, or for nobody's."""
        target = self.target
        return events.session(
            reference=target.id if target else None,
            amount_minor=target.amount_minor if target else 1000,
            currency=target.currency if target else "USD",
            now=self.now,
        ) | dict(changes)

    def event(self, about: Json, kind: str = events.COMPLETED) -> Json:
        """An event about the session."""
        return events.event(about, now=self.now, kind=kind)

    def step(self, what: str, event: Json, expected: Reply, *, late: int = 0, by: tuple[int, ...] = (0,)) -> Step:
        """A delivery that is signed `late` seconds from now, by the secrets of these places."""
        body = events.encode(event)
        signature = events.sign(body, [self.secrets[place] for place in by], at=self.now + late)
        return Step(what, body, signature, expected, event["id"])


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named play."""

    name: str
    summary: str
    needs: Needs
    play: Callable[[Stage], list[Step]]
    currency: str | None = None
    """Where only a group in this currency makes sense."""
    secrets: int = 1
    """How many webhook secrets it needs."""


_APPLIED: Final = Reply(200, Outcome.APPLIED)
_REPLAYED: Final = Reply(200, Outcome.REPLAYED)
_ALREADY_PAID: Final = Reply(200, Outcome.ALREADY_PAID)


def _rejected(reason: Reason) -> Reply:
    return Reply(500, Outcome.REJECTED, reason)


def _refused(reason: Reason) -> Reply:
    return Reply(400, Outcome.REFUSED, reason)


def _paid(stage: Stage) -> list[Step]:
    return [stage.step("paid at once", stage.event(stage.session()), _APPLIED)]


def _debit(stage: Stage) -> list[Step]:
    session = stage.session()
    unpaid = stage.event(session | {"payment_status": "unpaid"})
    return [
        stage.step("completed, unpaid", unpaid, Reply(200, Outcome.AWAITING_FUNDS)),
        stage.step("the money has come", stage.event(session, SUCCEEDED), _APPLIED),
    ]


def _success_first(stage: Stage) -> list[Step]:
    session = stage.session()
    return [
        stage.step("success comes first", stage.event(session, SUCCEEDED), _APPLIED),
        stage.step("completed comes late", stage.event(session), _ALREADY_PAID),
    ]


def _replay(stage: Stage) -> list[Step]:
    event = stage.event(stage.session())
    return [stage.step("paid", event, _APPLIED), stage.step("the same event again", event, _REPLAYED)]


def _twins(stage: Stage) -> list[Step]:
    session = stage.session()
    return [
        stage.step("paid", stage.event(session), _APPLIED),
        stage.step("another event id for the same change", stage.event(session), _ALREADY_PAID),
    ]


def _wrong_amount(stage: Stage) -> list[Step]:
    target = _target(stage)
    unit_minor = 100 if target.currency in WHOLE_UNITS else 1
    is_enough = target.amount_minor > unit_minor
    amount_minor = target.amount_minor - unit_minor if is_enough else target.amount_minor + unit_minor
    event = stage.event(stage.session(amount_total=amount_minor))
    return [stage.step("one unit off", event, _rejected(Reason.AMOUNT_MISMATCH))]


def _wrong_currency(stage: Stage) -> list[Step]:
    currency = "eur" if _target(stage).currency != "EUR" else "usd"
    event = stage.event(stage.session(currency=currency))
    return [stage.step(f"paid in {currency.upper()}", event, _rejected(Reason.CURRENCY_MISMATCH))]


def _duplicate(stage: Stage) -> list[Step]:
    second = stage.step("paid in a second tab", stage.event(stage.session()), _rejected(Reason.DUPLICATE_PAYMENT))
    return [second] if _target(stage).status == "paid" else [*_paid(stage), second]


def _late(stage: Stage) -> list[Step]:
    event = stage.event(stage.session())
    return [stage.step("paid after it was cancelled", event, _rejected(Reason.ORDER_GROUP_NOT_PAYABLE))]


def _tampered(stage: Stage) -> list[Step]:
    step = stage.step("one byte changed", stage.event(stage.session()), _refused(Reason.INVALID_SIGNATURE))
    return [Step(step.what, step.body.replace(b"paid", b"pa1d", 1), step.signature, step.expected, step.event_id)]


def _old(stage: Stage) -> list[Step]:
    late = -(stage.tolerance + _WELL_BEYOND_SECONDS)
    expected = _refused(Reason.TIMESTAMP_OUTSIDE_TOLERANCE)
    return [stage.step("signed too long ago", stage.event(stage.session()), expected, late=late)]


def _future(stage: Stage) -> list[Step]:
    late = stage.tolerance + _WELL_BEYOND_SECONDS
    expected = _refused(Reason.TIMESTAMP_OUTSIDE_TOLERANCE)
    return [stage.step("signed in the future", stage.event(stage.session()), expected, late=late)]


def _rolled_secret(stage: Stage) -> list[Step]:
    event = stage.event(stage.session())
    return [
        stage.step("signed with the second secret", event, _APPLIED, by=(1,)),
        stage.step("signed with both, as while a secret is rolled", event, _REPLAYED, by=(1, 0)),
    ]


def _foreign(stage: Stage) -> list[Step]:
    expected = Reply(200, Outcome.UNMATCHED, Reason.MISSING_REFERENCE)
    return [stage.step("a session that names no order group", stage.event(stage.session()), expected)]


def _thin(stage: Stage) -> list[Step]:
    expected = Reply(200, Outcome.IGNORED, Reason.EVENT_TYPE)
    return [stage.step("a v2 event", events.thin_event(now=stage.now), expected)]


def _target(stage: Stage) -> Target:
    if stage.target is None:
        raise ValueError("this scenario needs an order group")
    return stage.target


# In an order in which as many as possible can be played against one group: first what leaves it as it is.
SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario("tampered-body", "a byte of the body was changed on the way", Needs.NO_GROUP, _tampered),
        Scenario("old-timestamp", "a captured delivery is sent again later", Needs.NO_GROUP, _old),
        Scenario("future-timestamp", "the signature's time lies ahead", Needs.NO_GROUP, _future),
        Scenario("foreign-session", "a payment of another application", Needs.NO_GROUP, _foreign),
        Scenario("thin-event", "a v2 event reaches the endpoint", Needs.NO_GROUP, _thin),
        Scenario("wrong-amount", "the payment is not the total", Needs.PENDING, _wrong_amount),
        Scenario("wrong-currency", "the payment is in another currency", Needs.PENDING, _wrong_currency),
        Scenario("paid", "a card payment", Needs.PAYABLE, _paid),
        Scenario("debit", "a bank debit: unpaid at first, then succeeded", Needs.PAYABLE, _debit),
        Scenario("success-first", "the success event overtakes completed", Needs.PAYABLE, _success_first),
        Scenario("replay", "Stripe sends the same event twice", Needs.PAYABLE, _replay),
        Scenario("twins", "Stripe makes two events of one change", Needs.PAYABLE, _twins),
        Scenario("yen", "a currency without decimals", Needs.PAYABLE, _paid, currency="JPY"),
        Scenario("dinar", "a currency with three decimals", Needs.PAYABLE, _paid, currency="KWD"),
        Scenario("krona", "a currency that Stripe counts in hundredths it lacks", Needs.PAYABLE, _paid, currency="ISK"),
        Scenario("rolled-secret", "while the webhook secret is rolled", Needs.PAYABLE, _rolled_secret, secrets=2),
        Scenario("duplicate", "the buyer pays a second time", Needs.PAID, _duplicate),
        Scenario("late", "a payment for a cancelled group", Needs.CANCELLED, _late),
    )
}
