"""The README's checkout, run as it stands there: a shop's server, an account at Stripe, a relay."""

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from testkit.project import Project
from testkit.relay_process import inherited_environment
from testkit.relay_under_test import serving
from testkit.stripe_api_server import StripeServer
from testkit.stripe_events import COMPLETED, STRIPE_KEY, Json
from tests.documented import ROOT

pytestmark = pytest.mark.anyio

SHOWN = ("amount_total", "cancel_url", "client_reference_id", "currency", "expires_at", "metadata", "success_url")
# The README's Stripe client knows Stripe's address alone.
CALL = """
import json, os, runpy, sys
import stripe._stripe_client
stripe._stripe_client.DEFAULT_API_BASE = os.environ["STRIPE_API_BASE"]
print(runpy.run_path("checkout.py")["start_checkout"](**json.load(sys.stdin)))
"""


@dataclass(frozen=True, slots=True)
class Server:
    """The shop's server, a new process for each checkout."""

    folder: Path
    env: dict[str, str]

    async def start_checkout(self, asked: Json) -> str:
        """The page that it answers. Raises RuntimeError with the last line of what it says of its failure."""
        return await asyncio.to_thread(self._run, json.dumps(asked))

    def _run(self, asked: str) -> str:
        command = [sys.executable, "-c", CALL]
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, input=asked, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.splitlines()[-1])
        return done.stdout.strip()


@pytest.fixture
def server(project: Project, stripe: StripeServer, tmp_path: Path) -> Server:
    (source,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "checkout.py").write_text(source)
    settings = {**project.environment(), "STRIPE_SECRET_KEY": STRIPE_KEY, "STRIPE_API_BASE": stripe.url}
    return Server(tmp_path, {**inherited_environment(), **settings})


def asked_by(project: Project) -> Json:
    """A basket of two sellers over 18.50 EUR, six euros of it shipping."""
    orders = [
        {
            "seller_id": str(seller.id),
            "total_amount": total,
            "items": [{"product_id": str(seller.product_ids[0]), "quantity": pieces, "unit_amount": "2.50"}],
        }
        for seller, total, pieces in zip(project.shop.sellers, ("8.50", "10.00"), (1, 4), strict=True)
    ]
    for seller in project.shop.sellers:
        project.shop.service.execute("select public.record_inventory_receipt(%s, 5, null)", [seller.product_ids[0]])
    return {
        "order_group_id": str(uuid4()),
        "buyer_id": str(project.shop.buyer_id),
        "currency": "EUR",
        "orders": orders,
    }


async def test_it_leads_the_buyer_to_one_page_and_the_payment_is_applied(
    project: Project, stripe: StripeServer, server: Server
) -> None:
    asked = asked_by(project)

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
    project: Project, stripe: StripeServer, server: Server, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RuntimeError, match=f"^ValueError: {reason}$"):
        await server.start_checkout({**asked_by(project), **change})

    assert (stripe.sessions, stripe.requests) == ([], [])


async def test_more_than_there_is_is_not_sold(project: Project, stripe: StripeServer, server: Server) -> None:
    asked = asked_by(project)
    asked["orders"][0]["items"][0]["quantity"] = 1000

    with pytest.raises(RuntimeError, match="ValueError: insufficient_stock"):
        await server.start_checkout(asked)

    assert (stripe.sessions, stripe.requests) == ([], [])
