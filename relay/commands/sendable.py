"""Decides, with the webhook's own code, what to send to the database for an event. No I/O."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from relay.commands.stripe_api import Json
from relay.core import checkout
from relay.core.checkout import Payment, Rules, Unmatched
from relay.core.errors import Refused
from relay.core.event import Event, usable_id
from relay.core.outcomes import Reason

Sendable = Payment | Unmatched
COMPLETED: Final = "checkout.session.completed"


def payment_of(decision: Sendable) -> Payment:
    """The payment of a decision, whether it names an order group or not."""
    return decision.payment if isinstance(decision, Unmatched) else decision


def reason_of(decision: Sendable) -> Reason | None:
    """Why the payment names no order group; None where it names one."""
    return decision.reason if isinstance(decision, Unmatched) else None


def event_of(session: Json) -> Event:
    """An event for a session of which Stripe has none. Its time is the session's creation, so that the event is the
    same in every run. Raises MalformedEvent.
    """
    body = body_of(session, f"sweep_{usable_id(session.get('id'))}", COMPLETED, session.get("created"))
    return Event(usable_id(body["id"]), COMPLETED, body)


def body_of(session: Json, event_id: str, event_type: str, created: Any) -> Json:
    """The body of an event about a session; `created` is in seconds since 1970."""
    return {
        "id": event_id,
        "object": "event",
        "type": event_type,
        "created": created,
        "livemode": session.get("livemode"),
        "data": {"object": session},
    }


def judge(event: Event, rules: Rules) -> Sendable | None:
    """What the webhook would send; None where it would send nothing, and for payments to other accounts, whose sessions
    the sweep does not see. Raises MalformedEvent.
    """
    decision = checkout.judge(event, rules)
    if isinstance(decision, Unmatched) and decision.reason is Reason.FOREIGN_ACCOUNT:
        return None
    return decision if isinstance(decision, Payment | Unmatched) else None


def judge_all(events: Iterable[Mapping[str, Any]], rules: Rules) -> list[Sendable]:
    """What the webhook would send for these events. Events that it would ignore or refuse are left out."""
    found: list[Sendable] = []
    for body in events:
        try:
            decision = judge(Event(usable_id(body.get("id")), str(body.get("type")), body), rules)
        except Refused:
            continue
        if decision:
            found.append(decision)
    return found
