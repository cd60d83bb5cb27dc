"""`relay check` warns where Stripe's other mode has paid in this database, and never stops traffic for it."""

from __future__ import annotations

import json

import pytest

from testkit.command_line import run
from testkit.data_api_server import DataApi, Reply
from testkit.payments import reconcile
from testkit.project import Project
from testkit.relay_under_test import environ
from testkit.stripe_events import STRIPE_KEY

pytestmark = pytest.mark.anyio

LIVE_KEY = STRIPE_KEY.replace("_test_", "_live_")
LAST = "2026-11-01T12:00:00+00:00"
SHOWN = "2026-11-01 12:00:00 UTC"


async def line(env: dict[str, str]) -> tuple[str, str]:
    """The word before the line, and what it says; a program reads the same."""
    told = await run("check", env=env)
    read = await run("check", "--json", env=env)
    checks = {check["name"]: check for check in json.loads(read.output)["checks"]}
    (text,) = [text for text in told.output.splitlines() if " other_mode " in text]
    word, name, detail = text.split(maxsplit=2)
    assert checks[name] == {"name": name, "ok": True, "detail": detail}
    assert (told.status, read.status) == (0, 0)
    return word, detail


@pytest.mark.parametrize(("key", "own", "other"), [(STRIPE_KEY, "test", "live"), (LIVE_KEY, "live", "test")])
async def test_only_payments_of_the_other_mode_are_a_warning(data_api: DataApi, key: str, own: str, other: str) -> None:
    env = environ(data_api.url, STRIPE_SECRET_KEY=key)
    data_api.by_mode[own] = {"payments": 9, "last_at": LAST}
    assert await line(env) == ("ok", f"no payment of {other} mode was applied here")

    data_api.by_mode[other] = {"payments": 2, "last_at": LAST}
    word, detail = await line(env)

    assert (word, detail.startswith(f"2 of {other} mode applied here, the last at {SHOWN}: ")) == ("warn", True)


@pytest.mark.parametrize(
    "answer",
    [
        Reply(404, {"code": "PGRST202", "message": "no such function", "details": None, "hint": None}),
        Reply(body={"live": 1}),
    ],
)
async def test_a_database_that_does_not_say_is_a_warning_too(data_api: DataApi, answer: Reply) -> None:
    for _ in range(2):
        data_api.script += [Reply(body={"server_time": LAST, **data_api.readiness}), answer]
    told = await run("check", env=environ(data_api.url))

    (text,) = [text for text in told.output.splitlines() if " other_mode " in text]
    assert text.startswith("warn  other_mode")
    assert "not known: " in text


async def test_real_database_counts_what_was_applied(project: Project) -> None:
    """Other tests may have paid in live mode here before."""
    (before,) = project.query("select count(*) as live from payments.stripe_events where livemode")
    assert (await line(project.environment()))[0] == ("warn" if before["live"] else "ok")

    reconcile(project.shop.service, project.shop.order_group().payment().but(livemode=True))

    word, detail = await line(project.environment())
    assert (word, detail.startswith(f"{before['live'] + 1} of live mode applied here, the last at ")) == ("warn", True)
