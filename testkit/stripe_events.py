"""Events as Stripe sends them: body, signature, and the POST."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

TEMPLATE = Path(__file__).with_name("checkout_session_event.json")
SESSION_SECONDS = 24 * 3600  # how long Stripe keeps a Checkout Session open
DELIVERY_SECONDS = 15.0  # a little more than the relay may take for its answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What the relay answered to one delivery."""

    status: int
    body: dict[str, Any]


def new_id(prefix: str) -> str:
    """A random id in Stripe's shape, such as `evt_…`."""
    return f"{prefix}_{secrets.token_hex(12)}"


def checkout_completed(*, order_group_id: str, amount_minor: int, currency: str = "usd") -> dict[str, Any]:
    """A `checkout.session.completed` of a paid session; `amount_minor` in minor units."""
    now = int(time.time())
    event: dict[str, Any] = json.loads(TEMPLATE.read_text())
    event |= {"id": new_id("evt"), "created": now}
    event["data"]["object"] |= {
        "id": new_id("cs_test"),
        "amount_subtotal": amount_minor,
        "amount_total": amount_minor,
        "client_reference_id": order_group_id,
        "created": now - 60,
        "currency": currency.lower(),
        "expires_at": now - 60 + SESSION_SECONDS,
        "metadata": {"order_group_id": order_group_id},
        "payment_intent": new_id("pi"),
    }
    return event


def unrelated_event() -> dict[str, Any]:
    """An event that has nothing to do with order groups."""
    customer = {"id": new_id("cus"), "object": "customer", "livemode": False, "metadata": {}}
    event: dict[str, Any] = json.loads(TEMPLATE.read_text())
    return event | {
        "id": new_id("evt"),
        "created": int(time.time()),
        "type": "customer.created",
        "data": {"object": customer},
    }


def encode(event: dict[str, Any]) -> bytes:
    """The body, indented by two spaces as Stripe's is."""
    return json.dumps(event, indent=2).encode()


def sign(body: bytes, secret: str, *, at: int | None = None) -> str:
    """The Stripe-Signature header; `at` in seconds since 1970. https://docs.stripe.com/webhooks/signature"""
    timestamp = int(time.time()) if at is None else at
    signature = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={signature}"


def deliver(url: str, body: bytes, signature: str) -> Answer:
    """POST the body as Stripe would. Raises httpx.HTTPError where no answer comes, ValueError where it is no JSON."""
    headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature}
    # trust_env: a proxy of the environment is not for the loopback
    with httpx.Client(trust_env=False, timeout=DELIVERY_SECONDS) as client:
        answer = client.post(url, content=body, headers=headers)
    return Answer(answer.status_code, answer.json())
