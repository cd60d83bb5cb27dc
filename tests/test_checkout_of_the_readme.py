"""The README's checkout, run as it stands there: a shop's server, an account at Stripe, a relay."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from testkit.project import Project
from testkit.readme_checkout import CheckoutServer, basket_of
from testkit.relay_under_test import serving
from testkit.stripe_api_server import StripeServer
from testkit.stripe_events import COMPLETED
from testkit.sweeping import settings

pytestmark = pytest.mark.anyio

SHOWN = ("amount_total", "cancel_url", "client_reference_id", "currency", "expires_at", "metadata", "success_url")


@pytest.fixture
def server(project: Project, stripe: StripeServer, tmp_path: Path) -> CheckoutServer:
    return CheckoutServer(tmp_path, {**project.environment(), **settings(stripe)})


async def test_it_leads_the_buyer_to_one_page_and_the_payment_is_applied(
    project: Project, stripe: StripeServer, server: CheckoutServer
) -> None:
    asked = basket_of(project.shop)

    pages = [await server.start_checkout(asked) for _ in range(2)]

    (session,) = stripe.sessions
    assert pages == [session["url"]] * 2
    group = asked["order_group_id"]
    (row,) = project.query("select * from public.order_groups where id = %s", group)
    assert {name: session[name] for name in SHOWN} == {
        "amount_total": 1850,
        "cancel_url": "https://shop.example.com/basket",
        "client_reference_id": group,
        "currency": "eur",
        "expires_at": int(row["expires_at"].timestamp()) - 15 * 60,
        "metadata": {"order_group_id": group},
        "success_url": f"https://shop.example.com/thanks?order={group}&session={{CHECKOUT_SESSION_ID}}",
    }

    session |= {"payment_status": "paid", "status": "complete", "payment_intent": f"pi_{uuid4().hex}"}
    secret = project.stack.stripe_webhook_secret
    async with serving(project.environment()) as relay:
        answer = await relay.deliver(stripe.event(session, COMPLETED), secret=secret)
    assert answer.verdict == (200, "applied", None)
    (row,) = project.query("select * from public.order_groups where id = %s", group)
    assert (row["status"], row["buyer_id"]) == ("paid", project.shop.buyer_id)
    with pytest.raises(RuntimeError, match=r"^ValueError: paid$"):
        await server.start_checkout(asked)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"currency": "XYZ"}, "currency_unsupported"),
        ({"orders": []}, "order_group_empty"),
        ({"buyer_id": str(uuid4())}, "buyer_not_found"),
    ],
)
async def test_what_the_database_rejects_never_reaches_stripe(
    project: Project, stripe: StripeServer, server: CheckoutServer, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RuntimeError, match=f"^ValueError: {reason}$"):
        await server.start_checkout({**basket_of(project.shop), **change})

    assert (stripe.sessions, stripe.requests) == ([], [])


async def test_more_than_there_is_is_not_sold(project: Project, stripe: StripeServer, server: CheckoutServer) -> None:
    asked = basket_of(project.shop)
    asked["orders"][0]["items"][0]["quantity"] = 1000

    with pytest.raises(RuntimeError, match="ValueError: insufficient_stock"):
        await server.start_checkout(asked)

    assert (stripe.sessions, stripe.requests) == ([], [])
