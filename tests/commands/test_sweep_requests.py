"""How many requests a sweep makes: one preview for a page of sessions, a few calls for what is to be done."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from relay.commands.stripe_api import StripeApi
from relay.commands.sweep.sweep import Sweep
from relay.config import Settings
from relay.core.checkout import Rules
from relay.data_api import records, transport
from testkit.project import Project
from testkit.stripe_api_server import StripeServer
from testkit.sweeping import delivered, settings

pytestmark = pytest.mark.anyio

PAGE = 100


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is asked of the Data API, by path: each request goes through this one door."""
    counted: Counter[str] = Counter()

    request = transport.Client.request

    async def counting(self: transport.Client, method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
        counted[str(url).rpartition("/")[2]] += 1
        return await request(self, method, url, **options)

    monkeypatch.setattr(transport.Client, "request", counting)
    return counted


def dismiss_what_is_open(project: Project) -> None:
    """What other tests have left for a person."""
    for row in project.query("select id from payments.exceptions where status = 'open'"):
        resolution = "select public.resolve_payment_exception(%s, 'dismissed', 'ada', 'of another test')"
        project.shop.service.execute(resolution, [row["id"]])


async def swept(project: Project, stripe: StripeServer, *, dry_run: bool = False) -> tuple[int, int]:
    """A sweep within this process; how many sessions were known, and how many applied."""
    configured = Settings.from_env(project.environment(**settings(stripe)), now=0)
    now = datetime.now(UTC)
    async with StripeApi.connect(configured) as api, records.connect(configured) as clients:
        findings = await Sweep(
            api,
            clients,
            rules=Rules(livemode=False),
            since=now - timedelta(hours=72),
            until=now,
            dry_run=dry_run,
            progress=lambda *_: None,
        ).run()
    return findings.known, findings.applied


async def test_a_page_costs_one_preview_and_a_few_calls_for_the_sessions_that_are_not_known(
    project: Project, stripe: StripeServer, requests: Counter[str]
) -> None:
    """Beside it a sweep reads the open exceptions and the groups that were paid in the window, page by page.

    What it is about to send it previews once more, by the hundred. Two payments begin, alone; the others wait by then.
    """
    dismiss_what_is_open(project)
    for _ in range(PAGE):
        stripe.event(stripe.session(project.shop.order_group()))
    around = {
        "list_payment_exceptions": 1,
        "list_refunds_and_disputes": 1,
        "order_groups": 1,
    }  # nothing is there at first

    assert await swept(project, stripe, dry_run=True) == (0, PAGE)
    assert requests == {**around, "preview_order_group_payments": 2}

    requests.clear()
    assert await swept(project, stripe) == (0, PAGE)
    calls = requests.pop("reconcile_order_group_payment") + requests.pop("reconcile_order_group_payments")
    assert requests == {**around, "preview_order_group_payments": 2}
    assert calls < PAGE / 8

    requests.clear()
    assert await swept(project, stripe) == (PAGE, 0)
    assert requests == {**around, "order_groups": 2, "preview_order_group_payments": 1}


async def test_what_is_on_record_is_asked_about_and_not_sent(
    project: Project, stripe: StripeServer, requests: Counter[str]
) -> None:
    dismiss_what_is_open(project)
    for _ in range(3):
        delivered(project, stripe.event(stripe.session(project.shop.order_group(), amount_total=1)))

    assert await swept(project, stripe) == (0, 0)

    assert requests == {
        "list_payment_exceptions": 2,
        "list_refunds_and_disputes": 1,
        "preview_order_group_payments": 2,
        "order_groups": 1,
    }
