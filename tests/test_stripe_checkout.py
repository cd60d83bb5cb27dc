"""The stand-in of Stripe's API refuses what Stripe refuses, so that a test's checkout is one that Stripe would take."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe

from testkit.stripe_api_server import StripeServer
from testkit.stripe_events import STRIPE_KEY

pytestmark = pytest.mark.anyio


def parameters(**changes: Any) -> dict[str, Any]:
    """Those of a good session over two bowls; None takes one away."""
    price = {"currency": "eur", "unit_amount": 1250, "product_data": {"name": "Bowl"}}
    good = {
        "mode": "payment",
        "line_items": [{"quantity": 2, "price_data": price}],
        "metadata": {"order_group_id": "x"},
        "success_url": "https://shop.example.com/thanks?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example.com/basket",
        "expires_at": int(time.time()) + 3600,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def line(quantity: int = 1, **price: Any) -> list[dict[str, Any]]:
    return [
        {
            "quantity": quantity,
            "price_data": {"currency": "eur", "unit_amount": 1, "product_data": {"name": "Bowl"}} | price,
        }
    ]


@pytest.fixture
async def account() -> AsyncIterator[StripeServer]:
    async with StripeServer().listening() as server:
        yield server


@pytest.fixture
async def client(account: StripeServer) -> AsyncIterator[stripe.StripeClient]:
    http = stripe.AIOHTTPClient()
    yield stripe.StripeClient(STRIPE_KEY, base_addresses={"api": account.url}, http_client=http)
    await http.close_async()  # type: ignore[no-untyped-call]


async def create(client: stripe.StripeClient, key: str | None = None, **changes: Any) -> stripe.checkout.Session:
    options: Any = {"idempotency_key": key} if key else {}
    asked: Any = parameters(**changes)
    return await client.v1.checkout.sessions.create_async(asked, options)


async def test_a_session_is_open_unpaid_and_over_the_sum_of_its_lines(
    client: stripe.StripeClient, account: StripeServer
) -> None:
    made = await create(client)

    assert (made.status, made.payment_status, made.payment_intent) == ("open", "unpaid", None)
    assert (made.amount_total, made.currency) == (2500, "eur")
    assert made.metadata is not None
    assert made.metadata.to_dict() == {"order_group_id": "x"}
    assert made.url == f"{account.url}/c/pay/{made.id}"
    assert [session["id"] for session in account.sessions] == [made.id]


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"surprise": "1"}, "surprise", "parameter_unknown"),
        ({"mode": None}, "mode", "parameter_missing"),
        ({"success_url": None}, "success_url", "parameter_missing"),
        ({"line_items": None}, "line_items", "parameter_missing"),
        ({"success_url": "/thanks"}, "success_url", "url_invalid"),
        ({"cancel_url": "shop.example.com"}, "cancel_url", "url_invalid"),
        ({"expires_at": 1}, "expires_at", None),
        ({"expires_at": int(time.time()) + 1500}, "expires_at", None),
        ({"expires_at": int(time.time()) + 90_000}, "expires_at", None),
        ({"client_reference_id": "x" * 201}, "client_reference_id", "parameter_invalid"),
        ({"metadata": {"order_group_id": "x" * 501}}, "metadata[order_group_id]", "parameter_invalid"),
        ({"metadata": {"x" * 41: "1"}}, "metadata", None),
        ({"metadata": {str(number): "1" for number in range(51)}}, "metadata", None),
        ({"line_items": line(0)}, "line_items[0][quantity]", "parameter_invalid"),
        ({"line_items": line(currency="EUR")}, "line_items[0][price_data][currency]", "parameter_invalid"),
        ({"line_items": line(currency="xxx")}, "line_items[0][price_data][currency]", "parameter_invalid"),
        ({"line_items": line(unit_amount=12.5)}, "line_items[0][price_data][unit_amount]", "parameter_invalid"),
        ({"line_items": line(unit_amount=-1)}, "line_items[0][price_data][unit_amount]", "parameter_invalid"),
        ({"line_items": line(currency="isk")}, "line_items[0][price_data][unit_amount]", None),
        ({"line_items": line() + line(currency="usd")}, "line_items", None),
    ],
)
async def test_what_stripe_refuses_makes_no_session(
    client: stripe.StripeClient, account: StripeServer, changes: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await create(client, **changes)

    assert (refused.value.http_status, refused.value.param, refused.value.code) == (400, param, code)
    assert account.sessions == []


async def test_an_idempotency_key_stands_for_one_session_and_its_parameters(
    client: stripe.StripeClient, account: StripeServer
) -> None:
    ends = int(time.time()) + 3600
    made = [await create(client, "key", expires_at=ends) for _ in range(2)]

    with pytest.raises(stripe.IdempotencyError):
        await create(client, "key", expires_at=ends + 1)
    assert [session["id"] for session in account.sessions] == [made[0].id] == [made[1].id]
