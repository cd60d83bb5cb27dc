"""The pictures of the documents, from real pages over a shop of four weeks: `make pictures`."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, async_playwright

from local_stack.stack import Stack
from local_stack.supabase_cli import REPOSITORY
from testkit.desk import desk
from testkit.payments import reconcile
from testkit.project import Project, open_project

PICTURES: Final = REPOSITORY / "docs" / "pictures"
DAYS: Final = 28
SIZE: Final = {"width": 1100, "height": 760}  # pixels
NAMES: Final = {"sellers": ("Bakery at the Bridge", "Riverside Garden"), "products": ("Rye bread", "Cake", "Rolls")}


def fill(project: Project, now: datetime) -> int:
    """Four weeks of payments, the quiet Sundays among them, and two that need a person. Returns one of these."""
    shop = project.shop
    for seller, name in zip(shop.sellers, NAMES["sellers"], strict=True):
        project.query("update public.sellers set name = %s where id = %s returning id", name, seller.id)
        for product, words in zip(seller.product_ids, NAMES["products"], strict=True):
            project.query("update public.products set name = %s where id = %s returning id", words, product)
            project.query("select public.record_inventory_receipt(%s, 400, 'delivery')", product)
    chance = random.Random(1)  # the same pictures each time
    for back in range(DAYS, 0, -1):
        day = now - timedelta(days=back)
        for _ in range(0 if day.weekday() == 6 else chance.randrange(2, 9)):
            price = f"{chance.randrange(400, 6000) / 100:.2f}"
            group = shop.order_group([[(1, price)], [(chance.randrange(1, 3), "7.50")]])
            reconcile(shop.service, group.payment().but(event_created=day))
    for short in (7423, 7000):
        payment = shop.order_group().payment().but(amount_minor=short, amount=f"{short / 100:.2f}", event_created=now)
        reconcile(shop.service, payment)
    (row,) = project.query("select max(id) as id from payments.exceptions")
    number: int = row["id"]
    return number


async def draw(browser: Browser, project: Project, folder: Path) -> None:
    """Take both pictures. Raises AssertionError where a command does not end well."""
    now = datetime.now(UTC)
    number = fill(project, now)
    sweep, report = folder / "sweep.json", folder / "report.html"
    lists: dict[str, list[str]] = {name: [] for name in ("rejected", "unmatched", "failed", "paid_here_only")}
    window = {"since": (now - timedelta(days=1)).isoformat(), "until": now.isoformat(), "finished_at": now.isoformat()}
    sweep.write_text(json.dumps({"known": 9, "applied": 0, "dry_run": False, **lists, **window}))
    asked = ("report", "--since", f"{DAYS}d", "--sweep", str(sweep), "--html", str(report))
    assert (await project.relay(*asked)).status == 0
    page = await browser.new_page(viewport=SIZE, color_scheme="light")
    await page.goto(report.as_uri())
    await page.screenshot(path=PICTURES / "report.png")
    async with desk(project, "--sweep", str(sweep), enters=False) as opened:
        await page.goto(opened.link)
        await page.goto(f"{opened.url}/exceptions/{number}")
        await page.screenshot(path=PICTURES / "desk.png")


async def main() -> None:
    """Draw them anew."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder, Stack() as stack, open_project(stack) as project:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            await draw(browser, project, Path(folder))
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
