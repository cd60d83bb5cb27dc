"""Stripe's side: events as Stripe builds them, signatures as Stripe makes them, and the POST.

Secrets are made here, at run time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

Json = dict[str, Any]

TEMPLATE = Path(__file__).with_name("checkout_session_event.json").read_text()
DELIVERY_SECONDS = 15.0  # a little more than the relay may take for its answer

WEBHOOK_SECRET = f"whsec_{secrets.token_hex(16)}"
OTHER_WEBHOOK_SECRET = f"whsec_{secrets.token_hex(16)}"
STRIPE_KEY = f"sk_test_{secrets.token_hex(16)}"

BUYER_EMAIL = "jenny.rosen@example.test"
BUYER_NAME = "Jenny Rosen"
BUYER_STREET = "742 Evergreen Terrace"

COMPLETED = "checkout.session.completed"
SUCCEEDED = "checkout.session.async_payment_succeeded"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the relay answered to one delivery."""

    status: int
    body: Json


def new_id(prefix: str) -> str:
    """A random id in Stripe's shape, such as `evt_…`."""
    return f"{prefix}_{secrets.token_hex(16)}"


def completed(order_group_id: str | None = None, **session: Any) -> Json:
    """A paid `checkout.session.completed` over 123.45 USD; keyword arguments change the session.

    Without an order group's id it names one that nobody knows.
    """
    event: Json = json.loads(TEMPLATE)
    event["id"] = new_id("evt")
    made = session_of(event)
    made |= {"id": new_id("cs_test"), "payment_intent": new_id("pi")}
    made["metadata"]["order_group_id"] = order_group_id or str(uuid.uuid4())
    if "amount_total" in session:
        made["amount_subtotal"] = session["amount_total"]
    made["customer_details"] |= {"email": BUYER_EMAIL, "name": BUYER_NAME}
    made["customer_details"]["address"]["line1"] = BUYER_STREET
    made |= session
    return event


def unrelated_event() -> Json:
    """An event that has nothing to do with order groups."""
    customer = {"id": new_id("cus"), "object": "customer", "livemode": False, "metadata": {}}
    return {**completed(), "type": "customer.created", "data": {"object": customer}}


def session_of(event: Json) -> Json:
    """The event's checkout session, to spoil."""
    session: Json = event["data"]["object"]
    return session


def twin(event: Json) -> Json:
    """The other event that Stripe sends about the same session."""
    return {**event, "id": new_id("evt"), "type": SUCCEEDED}


def encode(event: object) -> bytes:
    """The body, indented by two spaces as Stripe's is; text and bytes stay as they are."""
    if isinstance(event, bytes):
        return event
    return (event if isinstance(event, str) else json.dumps(event, indent=2)).encode()


def digest(body: bytes, secret: str, *, at: int) -> str:
    """The bare signature; `at` in seconds since 1970. https://docs.stripe.com/webhooks/signature"""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def sign(body: bytes, secret: str = WEBHOOK_SECRET, *, at: float | None = None) -> str:
    """The `Stripe-Signature` header's value; `at` in seconds since 1970, now where it is not given."""
    timestamp = int(time.time() if at is None else at)
    return f"t={timestamp},v1={digest(body, secret, at=timestamp)}"


def delivery(event: object, *, secret: str = WEBHOOK_SECRET) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a POST of Stripe's."""
    body = encode(event)
    return body, {"Stripe-Signature": sign(body, secret), "Content-Type": "application/json; charset=utf-8"}


def deliver(url: str, body: bytes, *, secret: str, signed: bytes | None = None) -> Answer:
    """POST the body as Stripe would, under the signature of `signed` where that is another body.

    Raises httpx.HTTPError where no answer comes, ValueError where it is no JSON.
    """
    _, headers = delivery(body if signed is None else signed, secret=secret)
    # trust_env: a proxy of the environment is not for the loopback
    with httpx.Client(trust_env=False, timeout=DELIVERY_SECONDS) as client:
        answer = client.post(url, content=body, headers=headers)
    return Answer(answer.status_code, answer.json())
