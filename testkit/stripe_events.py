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
LIFECYCLE_SECRET = f"whsec_{secrets.token_hex(16)}"
STRIPE_KEY = f"sk_test_{secrets.token_hex(16)}"

BUYER_EMAIL = "jenny.rosen@example.test"
BUYER_NAME = "Jenny Rosen"
BUYER_STREET = "742 Evergreen Terrace"

COMPLETED = "checkout.session.completed"
SUCCEEDED = "checkout.session.async_payment_succeeded"
EXPIRED = "checkout.session.expired"
FAILED = "checkout.session.async_payment_failed"


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


def refunded(payment_intent_id: str | None = None, *, kind: str = "refund.created", **refund: Any) -> Json:
    """An event about a refund of 123.45 USD, the whole of `completed()`; keyword arguments change the refund."""
    created = completed()["created"]
    made = {
        "id": new_id("re"),
        "object": "refund",
        "amount": 12345,
        "balance_transaction": None,
        "charge": new_id("ch"),
        "created": created + 60,
        "currency": "usd",
        "metadata": {},
        "payment_intent": payment_intent_id or new_id("pi"),
        "reason": "requested_by_customer",
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
        **refund,
    }
    return {**completed(), "type": kind, "created": created + 61, "data": {"object": made}}


def disputed(payment_intent_id: str | None = None, *, kind: str = "charge.dispute.created", **dispute: Any) -> Json:
    """An event about a dispute of 123.45 USD; keyword arguments change the dispute."""
    created = completed()["created"]
    made = {
        "id": new_id("dp"),
        "object": "dispute",
        "amount": 12345,
        "balance_transactions": [],
        "charge": new_id("ch"),
        "created": created + 120,
        "currency": "usd",
        "evidence": {"customer_email_address": BUYER_EMAIL, "customer_name": BUYER_NAME},
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": payment_intent_id or new_id("pi"),
        "reason": "fraudulent",
        "status": "needs_response",
        **dispute,
    }
    return {**completed(), "type": kind, "created": created + 121, "data": {"object": made}}


def ended(order_group_id: str | None = None, *, kind: str = EXPIRED, **session: Any) -> Json:
    """An event about a checkout session that nobody will pay; keyword arguments change the session."""
    status = "expired" if kind == EXPIRED else "complete"
    changes = {"status": status, "payment_status": "unpaid", "payment_intent": None, **session}
    return {**completed(order_group_id, **changes), "type": kind}


def unrelated_event() -> Json:
    """An event that has nothing to do with order groups."""
    customer = {"id": new_id("cus"), "object": "customer", "livemode": False, "metadata": {}}
    return {**completed(), "type": "customer.created", "data": {"object": customer}}


def session_of(event: Json) -> Json:
    """The event's checkout session, or whatever else it is about, to spoil."""
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
