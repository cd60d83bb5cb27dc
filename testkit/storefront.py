"""The sample shop and all that it needs: a project with goods, its server, a relay, and what stands in for Stripe."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from local_stack.http_server import HttpServer, get_status
from local_stack.process import GuardedProcess
from local_stack.supabase_cli import REPOSITORY
from local_stack.surface import StackSurface
from testkit.database import Connection, connected, scalar
from testkit.relay_process import RelayProcess, inherited_environment
from testkit.stripe_api_server import StripeServer
from testkit.stripe_events import FAILED, LIFECYCLE_SECRET, Json, deliver, encode
from testkit.stripe_pay_page import PayPage

# Seller -> article number, name, pieces that came in.
GOODS: Mapping[str, tuple[tuple[str, str, int], ...]] = {
    "Tessel Pottery": (("BOWL", "Breakfast bowl", 12), ("CUP", "Cup with a handle", 4), ("JUG", "Water jug", 1)),
    "Loom & Oak": (("TOWEL", "Glass towel", 30), ("APRON", "Apron", 0), ("BOARD", "Bread board", 8)),
}


class ShopServer(HttpServer):
    """`python examples/storefront/server.py`."""

    name = "the storefront"

    def __init__(self, *, env: Mapping[str, str], log: Path, port: int | None = None) -> None:
        super().__init__(log=log, port=port)
        self._env = env

    def launch(self) -> GuardedProcess:
        """Start it; the keys travel in its environment."""
        own = {"HOST": self.host, "PORT": str(self.port), "SHOP_URL": self.url}
        return GuardedProcess(
            [sys.executable, str(REPOSITORY / "examples/storefront/server.py")],
            log=self.log,
            env={**inherited_environment(), **self._env, **own},
            cwd=REPOSITORY,
            grace=5.0,
        )

    def is_ready(self) -> bool:
        """Whether it answers."""
        return get_status(f"{self.url}/api/config") == 200


@dataclass(frozen=True, slots=True)
class Storefront:
    """The shop while it is open."""

    stack: StackSurface
    url: str
    stripe: StripeServer
    relay: RelayProcess
    service: Connection
    superuser: Connection
    products: Mapping[str, UUID]
    """By article number."""
    settings: Mapping[str, str]
    """For the operators' commands: the running relay's, and the stand-in of Stripe's API."""


def fill_the_shelves(service: Connection) -> dict[str, UUID]:
    """Sellers, their products, and the stock that came in."""
    products: dict[str, UUID] = {}
    for seller, goods in GOODS.items():
        seller_id = scalar(service, "insert into public.sellers (name) values (%s) returning id", seller)
        for sku, name, pieces in goods:
            insert = "insert into public.products (seller_id, sku, name) values (%s, %s, %s) returning id"
            products[sku] = scalar(service, insert, seller_id, sku, name)
            if pieces:
                scalar(service, "select public.record_inventory_receipt(%s, %s, 'came in')", products[sku], pieces)
    return products


@asynccontextmanager
async def open_storefront(stack: StackSurface, folder: Path, *, port: int | None = None) -> AsyncIterator[Storefront]:
    """Logs go to the folder; `port` is the shop's, a free one where it is not given."""
    account = StripeServer()
    account.key = stack.stripe_secret_key
    env = {**stack.env(), "STRIPE_LIFECYCLE_WEBHOOK_SECRET": LIFECYCLE_SECRET}
    relay = RelayProcess(env=env, log=folder / "relay.log")
    async with AsyncExitStack() as parts:
        superuser, service = parts.enter_context(connected(stack))
        products = fill_the_shelves(service)

        async def send(event: Json) -> None:
            url, secret = relay.webhook_url, stack.stripe_webhook_secret
            if event["type"] == FAILED:
                url, secret = relay.lifecycle_url, LIFECYCLE_SECRET
            await asyncio.to_thread(deliver, url, encode(event), secret=secret)

        PayPage(account, send)
        await parts.enter_async_context(account.listening())
        settings = {**stack.env(), "SUPABASE_PUBLISHABLE_KEY": stack.anon_key, "STRIPE_API_BASE": account.url}
        shop = ShopServer(env=settings, log=folder / "storefront.log", port=port)
        for server in (relay, shop):
            parts.push_async_callback(asyncio.to_thread, server.stop)
            await asyncio.to_thread(server.start)
        operators = {**env, "RELAY_PORT": str(relay.port), "STRIPE_API_BASE": account.url}
        yield Storefront(stack, shop.url, account, relay, service, superuser, products, operators)
