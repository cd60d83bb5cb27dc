"""A paid session, and the events under which its payment can be reconciled. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.commands.preview import PreviewedAnswer
from relay.commands.sendable import COMPLETED, Sendable, body_of, judge_all, payment_of
from relay.commands.stripe_api import Json
from relay.commands.sweep.order_groups import OpenException
from relay.core.checkout import Payment, Rules


@dataclass(slots=True)
class PaidSession:
    """A session that Stripe calls paid and that the database has not settled: its payment is not known there, or
    exceptions of its other events are open.
    """

    session: Json
    decision: Sendable
    """What the webhook would send for the event that `event_of` makes."""
    previewed: PreviewedAnswer
    exceptions: list[OpenException]
    events: list[Json] = field(default_factory=list)
    """The session's events in Stripe's list of events."""

    @property
    def payment(self) -> Payment:
        """The payment according to the session as it is now."""
        return payment_of(self.decision)

    def sendables(self, rules: Rules) -> list[Sendable]:
        """What could be sent for the session, best first.

        Events whose exception is open come first, so that the exception is closed; then the event that Stripe made
        first. Where Stripe has no event, `event_of` makes one from the session, the same one in every run.
        """
        waiting = {exception.event_id for exception in self.exceptions}
        bodies = {event["id"]: event for event in self.events}
        for exception in self.exceptions:  # Stripe may no longer keep their events
            body = body_of(self.session, exception.event_id, exception.event_type, exception.event_created)
            bodies.setdefault(exception.event_id, body)

        def rank(body: Mapping[str, Any]) -> tuple[object, ...]:
            return body["id"] not in waiting, body["created"] or 0, body["type"] != COMPLETED, body["id"]

        return judge_all(sorted(bodies.values(), key=rank), rules) or [self.decision]
