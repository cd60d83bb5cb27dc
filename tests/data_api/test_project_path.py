"""A self-hosted project whose Data API lies below a path: each call goes there, and nowhere else."""

import pytest

from testkit.command_line import run
from testkit.data_api_server import DataApi
from testkit.relay_under_test import environ, serving
from testkit.stripe_events import completed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["", "/", "/supabase", "/a/b.c_d~e-1/"])
async def test_every_call_goes_below_the_path_of_the_project(data_api: DataApi, path: str) -> None:
    async with serving(environ(data_api.url + path)) as relay:
        assert (await relay.deliver(completed())).verdict == (200, "applied", None)
        assert (await relay.get("/readyz"))[0] == 200
    assert (await run("check", env=environ(data_api.url + path))).status == 0

    below = path.rstrip("/")
    assert {call.path for call in data_api.calls} == {
        f"{below}/rest/v1/rpc/reconcile_order_group_payment",
        f"{below}/rest/v1/rpc/reconcile_order_group_payments",
        f"{below}/rest/v1/rpc/reconciliation_readiness",
        f"{below}/rest/v1/rpc/payments_by_mode",
    }
