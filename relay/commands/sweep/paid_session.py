"""A paid session, and the events under which its payment can be sent. Pure, no I/O."""

from dataclasses import dataclass, field
from typing import Any, Final

from relay.commands.sweep.order_groups import OpenException
from relay.commands.sweep.preview import Foretold
from relay.commands.sweep.sendable import Sendable, judge_all, payment_of
from relay.commands.sweep.stripe_api import Json
from relay.core.checkout import Payment, Rules
from relay.core.event import Event, usable_id

COMPLETED: Final = "checkout.session.completed"


@dataclass(slots=True)
class PaidSession:
    """A session that Stripe calls paid and that is not settled here: its payment is not known, or exceptions of other
    events of it are open.
    """

    session: Json
    decision: Sendable
    """As of the event that `event_of` makes up."""
    foretold: Foretold
    exceptions: list[OpenException]
    events: list[Json] = field(default_factory=list)
    """What Stripe's list of events has about the session."""

    @property
    def payment(self) -> Payment:
        """The payment as the session tells it now."""
        return payment_of(self.decision)

    def sendables(self, rules: Rules) -> list[Sendable]:
        """What could be sent, best first: an event whose exception is open, so that this is closed; else the first that
        Stripe made. Where Stripe has none, one is made up from the session, the same one in each run.
        """
        waiting = {exception.event_id for exception in self.exceptions}
        bodies = {event["id"]: event for event in self.events}
        for exception in self.exceptions:  # their events may be too old for Stripe
            body = _body(self.session, exception.event_id, exception.event_type, exception.event_created)
            bodies.setdefault(exception.event_id, body)

        def rank(body: Json) -> tuple[object, ...]:
            return body["id"] not in waiting, body["created"] or 0, body["type"] != COMPLETED, body["id"]

        return judge_all(sorted(bodies.values(), key=rank), rules) or [self.decision]


def event_of(session: Json) -> Event:
    """The event that Stripe never made, or has forgotten; as of the session's creation, so that it is always the same.

    Raises MalformedEvent.
    """
    body = _body(session, f"sweep_{usable_id(session.get('id'))}", COMPLETED, session.get("created"))
    return Event(usable_id(body["id"]), COMPLETED, body)


def _body(session: Json, event_id: str, event_type: str, created: Any) -> Json:
    return {
        "id": event_id,
        "object": "event",
        "type": event_type,
        "created": created,
        "livemode": session.get("livemode"),
        "data": {"object": session},
    }
