"""The README's checkout as a shop's server would run it, and what a buyer asks of it."""

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from local_stack.supabase_cli import REPOSITORY
from testkit.relay_process import inherited_environment
from testkit.shop import Shop
from testkit.stripe_events import Json

# The README's Stripe client knows Stripe's address alone.
CALL = """
import json, os, runpy, sys
import stripe._stripe_client
stripe._stripe_client.DEFAULT_API_BASE = os.environ["STRIPE_API_BASE"]
print(runpy.run_path("checkout.py")["start_checkout"](**json.load(sys.stdin)))
"""


@dataclass(frozen=True, slots=True)
class CheckoutServer:
    """The shop's server, a new process for each checkout. `settings` include STRIPE_API_BASE."""

    folder: Path
    settings: dict[str, str]
    python: str = sys.executable

    async def start_checkout(self, asked: Json) -> str:
        """The page that it answers. Raises RuntimeError with the last line of what it says of its failure."""
        return await asyncio.to_thread(self._run, json.dumps(asked))

    def _run(self, asked: str) -> str:
        (source,) = re.findall(
            r"^```python\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL
        )
        (self.folder / "checkout.py").write_text(source)
        done = subprocess.run(
            [self.python, "-c", CALL],
            cwd=self.folder,
            env={**inherited_environment(), **self.settings},
            input=asked,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.splitlines()[-1])
        return done.stdout.strip()


def basket_of(shop: Shop) -> Json:
    """A basket of two sellers over 18.50 EUR, six euros of it shipping. Its stock is there."""
    orders = [
        {
            "seller_id": str(seller.id),
            "total_amount": total,
            "items": [{"product_id": str(seller.product_ids[0]), "quantity": pieces, "unit_amount": "2.50"}],
        }
        for seller, total, pieces in zip(shop.sellers, ("8.50", "10.00"), (1, 4), strict=True)
    ]
    for seller in shop.sellers:
        shop.service.execute("select public.record_inventory_receipt(%s, 5, null)", [seller.product_ids[0]])
    return {"order_group_id": str(uuid4()), "buyer_id": str(shop.buyer_id), "currency": "EUR", "orders": orders}
