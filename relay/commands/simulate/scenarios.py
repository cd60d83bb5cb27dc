"""The scenarios of `relay simulate`: the deliveries of each, and the answer that each must get. No I/O, no clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from relay.commands.simulate import events
from relay.commands.simulate.events import EXPIRED, FAILED, SUCCEEDED, Json
from relay.core.currency import WHOLE_UNITS
from relay.core.outcomes import Outcome, Reason

# How far beyond the tolerance a signature's time lies: by more than two clocks usually differ.
_WELL_BEYOND_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Target:
    """The order group that a scenario pays. The amount is in Stripe's minor units."""

    id: str
    status: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The relay's answer to a delivery; `status` is the HTTP status."""

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
    is_lifecycle: bool = False
    """Whether it goes to the lifecycle route."""


class Needs(Enum):
    """The order group that a scenario needs: the statuses that it may have before, and its status afterwards."""

    NO_GROUP = (frozenset({""}), None)
    PENDING = (frozenset({"pending"}), "pending")
    """The scenario leaves the group pending."""
    PAYABLE = (frozenset({"pending"}), "paid")
    """The scenario pays the group."""
    REFUNDABLE = (frozenset({"pending"}), "refunded")
    """The scenario pays the group and sends all of its money back."""
    ENDING = (frozenset({"pending"}), "cancelled")
    """The scenario ends the group's checkout without money."""
    PAID = (frozenset({"pending", "paid"}), "paid")
    """The scenario needs a paid group, and pays a pending one first."""
    CANCELLED = (frozenset({"cancelled"}), "cancelled")

    def __init__(self, before: frozenset[str], after: str | None) -> None:
        self.before = before
        self.after = after


@dataclass(frozen=True, slots=True)
class Context:
    """What all deliveries of a scenario share. `tolerance` is in seconds, `now` in seconds since 1970."""

    secrets: tuple[str, ...]
    lifecycle_secrets: tuple[str, ...]
    tolerance: int
    now: int
    target: Target | None

    def session(self, **changes: Any) -> Json:
        """A paid session that names the group, or none where there is no group. `changes` replace values of it."""
        target = self.target
        return events.session(
            reference=target.id if target else None,
            amount_minor=target.amount_minor if target else 1000,
            currency=target.currency if target else "USD",
            now=self.now,
        ) | dict(changes)

    def event(self, about: Json, kind: str = events.COMPLETED) -> Json:
        """An event about a session, a refund or a dispute."""
        return events.event(about, now=self.now, kind=kind)

    def step(self, what: str, event: Json, expected: Reply, *, late: int = 0, by: tuple[int, ...] = (0,)) -> Step:
        """A delivery whose signature's time is `late` seconds after now. `by` names its secrets, counted from 0."""
        body = events.encode(event)
        signature = events.sign(body, [self.secrets[place] for place in by], at=self.now + late)
        return Step(what, body, signature, expected, event["id"])

    def lifecycle_step(self, what: str, about: Json, kind: str, expected: Reply) -> Step:
        """A delivery to the lifecycle route."""
        event = self.event(about, kind)
        body = events.encode(event)
        signature = events.sign(body, self.lifecycle_secrets[:1], at=self.now)
        return Step(what, body, signature, expected, event["id"], is_lifecycle=True)

    def refund(self, payment: Json, *, parts: int = 1, status: str = "succeeded") -> Json:
        """A refund of the whole payment, or of one of so many parts."""
        unit_minor = 100 if _target(self).currency in WHOLE_UNITS else 1
        amount_minor = max(payment["amount_total"] // parts // unit_minor * unit_minor, unit_minor)
        return events.refund(payment, amount_minor=amount_minor, status=status, now=self.now)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One named scenario."""

    name: str
    summary: str
    needs: Needs
    steps: Callable[[Context], list[Step]]
    currency: str | None = None
    """The currency that the group must have; None where any will do."""
    secrets: int = 1
    """How many webhook secrets it needs."""
    is_lifecycle: bool = False
    """Whether it needs the lifecycle route."""


_APPLIED: Final = Reply(200, Outcome.APPLIED)
_REPLAYED: Final = Reply(200, Outcome.REPLAYED)
_ALREADY_PAID: Final = Reply(200, Outcome.ALREADY_PAID)
_AWAITING_FUNDS: Final = Reply(200, Outcome.AWAITING_FUNDS)
_RECORDED: Final = Reply(200, Outcome.RECORDED)


def _rejected(reason: Reason) -> Reply:
    return Reply(500, Outcome.REJECTED, reason)


def _refused(reason: Reason) -> Reply:
    return Reply(400, Outcome.REFUSED, reason)


def _paid(context: Context) -> list[Step]:
    return [context.step("paid at once", context.event(context.session()), _APPLIED)]


def _debit(context: Context) -> list[Step]:
    session = context.session()
    unpaid = context.event(session | {"payment_status": "unpaid"})
    return [
        context.step("completed, unpaid", unpaid, _AWAITING_FUNDS),
        context.step("the money has come", context.event(session, SUCCEEDED), _APPLIED),
    ]


def _success_first(context: Context) -> list[Step]:
    session = context.session()
    return [
        context.step("success comes first", context.event(session, SUCCEEDED), _APPLIED),
        context.step("completed comes late", context.event(session), _ALREADY_PAID),
    ]


def _replay(context: Context) -> list[Step]:
    event = context.event(context.session())
    return [context.step("paid", event, _APPLIED), context.step("the same event again", event, _REPLAYED)]


def _twins(context: Context) -> list[Step]:
    session = context.session()
    return [
        context.step("paid", context.event(session), _APPLIED),
        context.step("another event id for the same change", context.event(session), _ALREADY_PAID),
    ]


def _wrong_amount(context: Context) -> list[Step]:
    target = _target(context)
    unit_minor = 100 if target.currency in WHOLE_UNITS else 1
    is_enough = target.amount_minor > unit_minor
    amount_minor = target.amount_minor - unit_minor if is_enough else target.amount_minor + unit_minor
    event = context.event(context.session(amount_total=amount_minor))
    return [context.step("one unit off", event, _rejected(Reason.AMOUNT_MISMATCH))]


def _wrong_currency(context: Context) -> list[Step]:
    currency = "eur" if _target(context).currency != "EUR" else "usd"
    event = context.event(context.session(currency=currency))
    return [context.step(f"paid in {currency.upper()}", event, _rejected(Reason.CURRENCY_MISMATCH))]


def _duplicate(context: Context) -> list[Step]:
    second = context.step("paid in a second tab", context.event(context.session()), _rejected(Reason.DUPLICATE_PAYMENT))
    return [second] if _target(context).status == "paid" else [*_paid(context), second]


def _late(context: Context) -> list[Step]:
    event = context.event(context.session())
    return [context.step("paid after it was cancelled", event, _rejected(Reason.ORDER_GROUP_NOT_PAYABLE))]


def _tampered(context: Context) -> list[Step]:
    step = context.step("one byte changed", context.event(context.session()), _refused(Reason.INVALID_SIGNATURE))
    return [Step(step.what, step.body.replace(b"paid", b"pa1d", 1), step.signature, step.expected, step.event_id)]


def _old(context: Context) -> list[Step]:
    late = -(context.tolerance + _WELL_BEYOND_SECONDS)
    expected = _refused(Reason.TIMESTAMP_OUTSIDE_TOLERANCE)
    return [context.step("signed too long ago", context.event(context.session()), expected, late=late)]


def _future(context: Context) -> list[Step]:
    late = context.tolerance + _WELL_BEYOND_SECONDS
    expected = _refused(Reason.TIMESTAMP_OUTSIDE_TOLERANCE)
    return [context.step("signed in the future", context.event(context.session()), expected, late=late)]


def _rolled_secret(context: Context) -> list[Step]:
    event = context.event(context.session())
    return [
        context.step("signed with the second secret", event, _APPLIED, by=(1,)),
        context.step("signed with both, as while a secret is rolled", event, _REPLAYED, by=(1, 0)),
    ]


def _foreign(context: Context) -> list[Step]:
    expected = Reply(200, Outcome.UNMATCHED, Reason.MISSING_REFERENCE)
    return [context.step("a session that names no order group", context.event(context.session()), expected)]


def _thin(context: Context) -> list[Step]:
    expected = Reply(200, Outcome.IGNORED, Reason.EVENT_TYPE)
    return [context.step("a v2 event", events.thin_event(now=context.now), expected)]


def _refund(context: Context) -> list[Step]:
    session = context.session()
    refund = context.refund(session)
    return [
        context.step("paid", context.event(session), _APPLIED),
        context.lifecycle_step("all of it goes back", refund, "refund.created", _RECORDED),
        context.lifecycle_step("told once more", refund, "refund.updated", _REPLAYED),
    ]


def _part_refund(context: Context) -> list[Step]:
    session = context.session()
    return [
        context.step("paid", context.event(session), _APPLIED),
        context.lifecycle_step("a third goes back", context.refund(session, parts=3), "refund.created", _RECORDED),
        context.lifecycle_step("and another third", context.refund(session, parts=3), "refund.created", _RECORDED),
    ]


def _failed_refund(context: Context) -> list[Step]:
    session = context.session()
    refund = context.refund(session)
    return [
        context.step("paid", context.event(session), _APPLIED),
        context.lifecycle_step("all of it goes back", refund, "refund.created", _RECORDED),
        context.lifecycle_step("which fails later", refund | {"status": "failed"}, "refund.failed", _RECORDED),
        context.lifecycle_step("the success comes late", refund, "refund.updated", _REPLAYED),
    ]


def _refund_first(context: Context) -> list[Step]:
    session = context.session()
    refund = context.lifecycle_step("its money went back", context.refund(session), "refund.created", _RECORDED)
    return [refund, context.step("the payment comes late", context.event(session), Reply(200, Outcome.RESOLVED))]


def _dispute(context: Context, ending: str) -> list[Step]:
    session = context.session()
    dispute = events.dispute(session, now=context.now)
    closed = dispute | {"status": ending}
    return [
        context.step("paid", context.event(session), _APPLIED),
        context.lifecycle_step("the bank asks it back", dispute, "charge.dispute.created", _RECORDED),
        context.lifecycle_step(f"the dispute is {ending}", closed, "charge.dispute.closed", _RECORDED),
        context.lifecycle_step("the beginning comes late", dispute, "charge.dispute.updated", _REPLAYED),
    ]


def _dispute_won(context: Context) -> list[Step]:
    return _dispute(context, "won")


def _dispute_lost(context: Context) -> list[Step]:
    return _dispute(context, "lost")


def _expired(context: Context) -> list[Step]:
    session = context.session(payment_status="unpaid", status="expired", payment_intent=None)
    return [
        context.lifecycle_step("nobody paid in time", session, EXPIRED, _RECORDED),
        context.lifecycle_step("told once more", session, EXPIRED, _REPLAYED),
    ]


def _failed_debit(context: Context) -> list[Step]:
    session = context.session(payment_status="unpaid")
    return [
        context.step("completed, unpaid", context.event(session), _AWAITING_FUNDS),
        context.lifecycle_step("the debit has failed", session, FAILED, _RECORDED),
    ]


def _other_session(context: Context) -> list[Step]:
    session = context.session()
    other = context.session(payment_status="unpaid", status="expired", payment_intent=None)
    unpaid = context.event(session | {"payment_status": "unpaid"})
    expected = Reply(200, Outcome.IGNORED, Reason.ORDER_GROUP_AWAITS_ANOTHER_SESSION)
    return [
        context.step("completed, unpaid", unpaid, _AWAITING_FUNDS),
        context.lifecycle_step("an earlier session expires", other, EXPIRED, expected),
        context.step("the money has come", context.event(session, SUCCEEDED), _APPLIED),
    ]


def _target(context: Context) -> Target:
    if context.target is None:
        raise ValueError("this scenario needs an order group")
    return context.target


# The scenarios that do not change the group come first, so that as many as possible can use the same group.
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
        Scenario(
            "refund-first",
            "a payment whose money went back before it came",
            Needs.PENDING,
            _refund_first,
            is_lifecycle=True,
        ),
        Scenario("paid", "a card payment", Needs.PAYABLE, _paid),
        Scenario("debit", "a bank debit: unpaid at first, then succeeded", Needs.PAYABLE, _debit),
        Scenario("success-first", "the success event overtakes completed", Needs.PAYABLE, _success_first),
        Scenario("replay", "Stripe sends the same event twice", Needs.PAYABLE, _replay),
        Scenario("twins", "Stripe makes two events of one change", Needs.PAYABLE, _twins),
        Scenario("yen", "a currency without decimals", Needs.PAYABLE, _paid, currency="JPY"),
        Scenario("dinar", "a currency with three decimals", Needs.PAYABLE, _paid, currency="KWD"),
        Scenario("krona", "a currency that Stripe counts in hundredths it lacks", Needs.PAYABLE, _paid, currency="ISK"),
        Scenario("rolled-secret", "while the webhook secret is rolled", Needs.PAYABLE, _rolled_secret, secrets=2),
        Scenario("part-refund", "two thirds of a payment go back", Needs.PAYABLE, _part_refund, is_lifecycle=True),
        Scenario("failed-refund", "a refund that fails later", Needs.PAYABLE, _failed_refund, is_lifecycle=True),
        Scenario("dispute-won", "a dispute that the shop wins", Needs.PAYABLE, _dispute_won, is_lifecycle=True),
        Scenario("dispute-lost", "a dispute that the shop loses", Needs.PAYABLE, _dispute_lost, is_lifecycle=True),
        Scenario(
            "other-session",
            "a session expires while another's debit is under way",
            Needs.PAYABLE,
            _other_session,
            is_lifecycle=True,
        ),
        Scenario("refund", "all of a payment goes back", Needs.REFUNDABLE, _refund, is_lifecycle=True),
        Scenario("expired", "nobody pays in time", Needs.ENDING, _expired, is_lifecycle=True),
        Scenario("failed-debit", "a bank debit that fails", Needs.ENDING, _failed_debit, is_lifecycle=True),
        Scenario("duplicate", "the buyer pays a second time", Needs.PAID, _duplicate),
        Scenario("late", "a payment for a cancelled group", Needs.CANCELLED, _late),
    )
}
