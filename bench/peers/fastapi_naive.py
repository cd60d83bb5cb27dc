"""FastAPI, stripe and supabase-py with their defaults: what their guides show, put together."""

import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import stripe
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from supabase import AsyncClient, acreate_client

ZERO_DECIMALS = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
THREE_DECIMALS = frozenset("bhd jod kwd omr tnd".split())
RECONCILING = frozenset({"checkout.session.completed", "checkout.session.async_payment_succeeded"})

log = logging.getLogger("naive")
clients: dict[str, AsyncClient] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """The client lives as long as the process."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    clients["supabase"] = await acreate_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_SERVICE_ROLE_KEY"])
    yield


app = FastAPI(lifespan=lifespan)


def call_of(event: Any) -> dict[str, Any]:
    """The function's parameters."""
    session = event.data.object
    exponent = 0 if session.currency in ZERO_DECIMALS else 3 if session.currency in THREE_DECIMALS else 2
    metadata = session.metadata.to_dict() if session.metadata else {}
    return {
        "p_order_group_id": metadata.get("order_group_id") or session.client_reference_id,
        "p_stripe_event_id": event.id,
        "p_stripe_event_type": event.type,
        "p_stripe_event_created": datetime.fromtimestamp(event.created, UTC).isoformat(),
        "p_livemode": event.livemode,
        "p_checkout_session_id": session.id,
        "p_payment_intent_id": session.payment_intent,
        "p_amount_minor": session.amount_total,
        "p_amount": str(Decimal(session.amount_total).scaleb(-exponent)),
        "p_currency": session.currency,
        "p_session_metadata": metadata,
    }


@app.post("/api/stripe/webhook")
async def webhook(request: Request) -> JSONResponse:
    """Verify, normalise, one call, answer."""
    payload = await request.body()
    try:
        event = stripe.Webhook.construct_event(
            payload, request.headers.get("stripe-signature"), os.environ["STRIPE_WEBHOOK_SECRET"]
        )
    except (ValueError, stripe.SignatureVerificationError):
        return JSONResponse({"received": False, "outcome": "refused", "reason": "invalid_signature"}, 400)
    if event.type not in RECONCILING or event.data.object.payment_status == "unpaid":
        return JSONResponse({"received": True, "outcome": "ignored", "reason": None, "event_id": event.id})
    call = call_of(event)
    verdict: Any = (await clients["supabase"].rpc("reconcile_order_group_payment", call).execute()).data
    log.info(json.dumps({"event_id": event.id, "group": call["p_order_group_id"], "outcome": verdict["outcome"]}))
    return JSONResponse(
        {
            "received": True,
            "outcome": verdict["outcome"],
            "reason": verdict["reason"],
            "event_id": event.id,
            "order_group_id": verdict["order_group_id"],
        },
        500 if verdict["outcome"] == "rejected" else 200,
    )
