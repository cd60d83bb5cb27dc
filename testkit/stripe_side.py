"""Stripe's part of the play: events as Stripe builds them, signatures as Stripe makes them. Secrets are made up here,
at run time."""

import json
import secrets
import time
import uuid
from typing import Any

from stripe import WebhookSignature

Json = dict[str, Any]

WEBHOOK_SECRET = f"whsec_{secrets.token_hex(16)}"
OTHER_WEBHOOK_SECRET = f"whsec_{secrets.token_hex(16)}"
STRIPE_KEY = f"sk_test_{secrets.token_hex(16)}"

BUYER_EMAIL = "jenny.rosen@example.test"
BUYER_NAME = "Jenny Rosen"
BUYER_STREET = "742 Evergreen Terrace"


def completed(order_group_id: str | None = None, **session: Any) -> Json:
    """A paid `checkout.session.completed` over 123.45 USD; keyword arguments change the session."""
    group = order_group_id or str(uuid.uuid4())
    return {
        "id": f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1795400001,
        "data": {
            "object": {
                "id": f"cs_test_{uuid.uuid4().hex}",
                "object": "checkout.session",
                "amount_subtotal": 12345,
                "amount_total": 12345,
                "client_reference_id": None,
                "created": 1795399941,
                "currency": "usd",
                "currency_conversion": None,
                "customer_details": {
                    "address": {"city": "Springfield", "country": "US", "line1": BUYER_STREET},
                    "email": BUYER_EMAIL,
                    "name": BUYER_NAME,
                },
                "livemode": False,
                "metadata": {"order_group_id": group, "source": "web"},
                "mode": "payment",
                "payment_intent": f"pi_{uuid.uuid4().hex}",
                "payment_status": "paid",
                "status": "complete",
                **session,
            }
        },
        "livemode": False,
        "pending_webhooks": 1,
        "type": "checkout.session.completed",
    }


def session_of(event: Json) -> Json:
    """The event's checkout session, to spoil."""
    session: Json = event["data"]["object"]
    return session


def twin(event: Json) -> Json:
    """The other event that Stripe sends about the same session."""
    return {**event, "id": f"evt_{uuid.uuid4().hex}", "type": "checkout.session.async_payment_succeeded"}


def signed(body: str, *, secret: str = WEBHOOK_SECRET, at: float | None = None) -> str:
    """The `Stripe-Signature` of a body; `at` in seconds since 1970, now where it is not given."""
    header: str = WebhookSignature.generate_signature_header(body, secret, timestamp=int(at or time.time()))
    return header


def delivery(event: object, *, secret: str = WEBHOOK_SECRET) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a POST of Stripe's."""
    body = event if isinstance(event, str) else json.dumps(event)
    return body.encode(), {"Stripe-Signature": signed(body, secret=secret), "Content-Type": "application/json"}
