"""Deliveries as Stripe sends them, made fast enough to keep any server busy."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Callable
from itertools import count

from testkit.stripe_events import completed, encode, sign

PATH = "/api/stripe/webhook"
AMOUNT_MINOR = 4200
# Ids of Stripe's length, replaced in a body that was encoded once: encoding each one anew would take the callers longer
# than some servers take for their answer.
_MARKS = {"id": "evt_" + "a" * 24, "session": "cs_test_" + "b" * 58, "intent": "pi_" + "c" * 24}
_GROUP = "00000000-0000-4000-8000-000000000000"


class Deliveries:
    """Makes requests, each of an event, a session and a payment of its own. `secret` is the webhook's."""

    def __init__(self, secret: str, *, host: str) -> None:
        event = completed(_GROUP, amount_total=AMOUNT_MINOR)
        event["id"] = _MARKS["id"]
        event["data"]["object"] |= {"id": _MARKS["session"], "payment_intent": _MARKS["intent"]}
        self._template = encode(event).decode()
        self._secret = secret
        self._head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\n"
            "Accept: */*; q=0.5, application/xml\r\nCache-Control: no-cache\r\n"
            "Content-Type: application/json; charset=utf-8\r\n"
        )
        self._run = secrets.token_hex(4)
        self._numbers = count(1)

    def body(self, order_group_id: str | None = None) -> bytes:
        """The next event's body, for that group or for one that nobody knows."""
        number = f"{self._run}{next(self._numbers):016x}"
        return (
            self._template.replace(_MARKS["id"], f"evt_{number}")
            .replace(_MARKS["session"], f"cs_test_{number}")
            .replace(_MARKS["intent"], f"pi_{number}")
            .replace(_GROUP, order_group_id or str(uuid.uuid4()))
            .encode()
        )

    def request(self, body: bytes, *, signature: str | None = None) -> bytes:
        """The whole HTTP request."""
        signature = signature or sign(body, self._secret)
        head = f"{self._head}Stripe-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def new(self) -> bytes:
        """A request that nobody has sent before."""
        return self.request(self.body())

    def forged(self) -> Callable[[], bytes]:
        """One request with a wrong signature, again and again: a flood costs its sender nothing."""
        content = self.request(self.body(), signature=f"t={int(time.time())},v1={'0' * 64}")
        return lambda: content


def payload_of(body: bytes) -> bytes:
    """The call of the database function that a delivery's body becomes, as JSON."""
    event = json.loads(body)
    session = event["data"]["object"]
    parameters = {
        "p_order_group_id": session["metadata"]["order_group_id"],
        "p_stripe_event_id": event["id"],
        "p_stripe_event_type": event["type"],
        "p_stripe_event_created": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(event["created"])),
        "p_livemode": event["livemode"],
        "p_checkout_session_id": session["id"],
        "p_payment_intent_id": session["payment_intent"],
        "p_amount_minor": session["amount_total"],
        "p_amount": f"{session['amount_total'] / 100:.2f}",
        "p_currency": session["currency"].upper(),
        "p_session_metadata": session["metadata"],
        "p_source": "webhook",
        "p_unmatched_reason": None,
        "p_account": None,
    }
    return json.dumps(parameters).encode()
