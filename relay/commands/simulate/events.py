"""Builds and signs events as Stripe does, for a simulation. No I/O, except that ids are random."""

import json
from collections.abc import Sequence
from typing import Any, Final

from stripe import WebhookSignature

from relay.commands.made_up_ids import new_id

Json = dict[str, Any]
COMPLETED: Final = "checkout.session.completed"
SUCCEEDED: Final = "checkout.session.async_payment_succeeded"
EXPIRED: Final = "checkout.session.expired"
FAILED: Final = "checkout.session.async_payment_failed"
# The API version only says how Stripe would have shaped the session; the relay reads any.
_API_VERSION: Final = "2026-10-28.endive"
_SESSION_SECONDS: Final = 60


def session(*, reference: str | None, amount_minor: int, currency: str, now: int, **changes: Any) -> Json:
    """A paid Checkout Session that names an order group, or none. `now` is in seconds since 1970; further arguments
    replace values of the session.
    """
    return {
        "id": new_id("cs_test"),
        "object": "checkout.session",
        "amount_subtotal": amount_minor,
        "amount_total": amount_minor,
        "client_reference_id": None,
        "created": now - _SESSION_SECONDS,
        "currency": currency.lower(),
        "livemode": False,
        "metadata": {"simulation": "relay simulate"} | ({"order_group_id": reference} if reference else {}),
        "mode": "payment",
        "payment_intent": new_id("pi"),
        "payment_status": "paid",
        "status": "complete",
        **changes,
    }


def refund(payment: Json, *, amount_minor: int, status: str, now: int) -> Json:
    """A refund of a session's payment. `now` is in seconds since 1970. Like Stripe's, it does not say whether it is
    live.
    """
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount_minor,
        "created": now,
        "currency": payment["currency"],
        "metadata": {"simulation": "relay simulate"},
        "payment_intent": payment["payment_intent"],
        "reason": "requested_by_customer",
        "status": status,
    }


def dispute(payment: Json, *, now: int) -> Json:
    """A dispute of a session's whole payment that has just been opened. `now` is in seconds since 1970."""
    return {
        "id": new_id("dp"),
        "object": "dispute",
        "amount": payment["amount_total"],
        "created": now,
        "currency": payment["currency"],
        "livemode": False,
        "metadata": {"simulation": "relay simulate"},
        "payment_intent": payment["payment_intent"],
        "reason": "fraudulent",
        "status": "needs_response",
    }


def event(about: Json, *, now: int, kind: str = COMPLETED) -> Json:
    """An event about a session, a refund or a dispute, as that is now. `now` is in seconds since 1970."""
    return {
        "id": new_id("evt"),
        "object": "event",
        "api_version": _API_VERSION,
        "created": now,
        "data": {"object": dict(about)},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def thin_event(*, now: int) -> Json:
    """A v2 event, which carries no object. `now` is in seconds since 1970. https://docs.stripe.com/event-destinations#thin-events"""
    return {
        "id": new_id("evt_test"),
        "object": "v2.core.event",
        "created": now,
        "livemode": False,
        "reason": None,
        "related_object": None,
        "type": "v1.billing.meter.no_meter_found",
    }


def encode(value: Json) -> bytes:
    """The body, indented as Stripe's is."""
    return json.dumps(value, indent=2).encode()


def sign(body: bytes, signers: Sequence[str], *, at: int) -> str:
    """The `Stripe-Signature` header, with one time and one v1 signature per secret. `at` is in seconds since 1970."""
    headers = [WebhookSignature.generate_signature_header(body.decode(), secret, timestamp=at) for secret in signers]
    signatures = [item for header in headers for item in header.split(",") if item.startswith("v1=")]
    return ",".join([f"t={at}", *signatures])
