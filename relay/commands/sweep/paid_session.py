"""A paid session whose payment is not in yet, and the events under which it can be sent. Pure, no I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from relay.commands.sweep.order_groups import PastTrouble
from relay.commands.sweep.stripe_api import Json
from relay.core.checkout import Payment
from relay.core.event import Event, usable_id
from relay.core.outcomes import Reason

COMPLETED: Final = "checkout.session.completed"
Judged = tuple[Payment, Reason | None]
"""What the webhook would send, and why it names no order group where it does not."""


@dataclass(slots=True)
class Case:
    """A paid session that the database does not know as paid, and what Stripe and the database have about it."""

    session: Json
    payment: Payment
    problem: Reason | None
    troubles: list[PastTrouble]
    is_paid: bool = False
    """The payment is in, but exceptions of other events of it are open."""
    events: list[Json] = field(default_factory=list)

    @property
    def open_troubles(self) -> list[PastTrouble]:
        """The exceptions that nobody has closed."""
        return [trouble for trouble in self.troubles if trouble.is_open]

    def candidates(self, judge: Callable[[Json], Judged | None]) -> list[Judged]:
        """What could be sent, best first: an event whose exception is open, so that this is closed; else the first that
        Stripe made. Where Stripe has none, one is made up from the session, the same one in each run.
        """
        waiting = {trouble.event_id for trouble in self.open_troubles}
        bodies = {event["id"]: event for event in self.events}
        for trouble in self.open_troubles:  # their events may be too old for Stripe
            body = _body_of(self.session, trouble.event_id, trouble.event_type, trouble.event_created)
            bodies.setdefault(trouble.event_id, body)

        def rank(body: Json) -> tuple[object, ...]:
            return body["id"] not in waiting, body["created"] or 0, body["type"] != COMPLETED, body["id"]

        judged = [found for body in sorted(bodies.values(), key=rank) if (found := judge(body))]
        return judged or [(self.payment, self.problem)]


def event_of(session: Json) -> Event:
    """The event that Stripe never made, or has forgotten; as of the session's creation, so that it is always the same.

    Raises MalformedEvent.
    """
    body = _body_of(session, f"sweep_{usable_id(session.get('id'))}", COMPLETED, session.get("created"))
    return Event(usable_id(body["id"]), COMPLETED, body)


def _body_of(session: Json, event_id: str, event_type: str, created: Any) -> Json:
    return {
        "id": event_id,
        "object": "event",
        "type": event_type,
        "created": created,
        "livemode": session.get("livemode"),
        "data": {"object": session},
    }
