"""`relay sweep` beside live deliveries, and on Stripe's and the database's bad days."""

import asyncio
import io
import os
import re
import secrets
import signal
import sys
from typing import Any

import pytest

from relay.commands import stripe_api
from relay.commands.progress import Bar
from relay.commands.stripe_api import StripeApi, StripeUnavailable
from relay.commands.sweep.order_groups import OpenExceptions, open_exceptions
from relay.config import Settings
from relay.data_api import records
from testkit.data_api_server import DataApi, Reply, Reset
from testkit.project import Project
from testkit.relay_under_test import environ, serving
from testkit.stripe_api_server import Fault, Gate, StripeServer, answers, break_off, gateway_page, reset
from testkit.stripe_events import STRIPE_KEY, Json, delivery
from testkit.sweeping import delivered, settings, sweep

pytestmark = pytest.mark.anyio

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


async def test_deliveries_that_overtake_the_sweep_are_known_and_nothing_is_paid_twice(
    project: Project, stripe: StripeServer
) -> None:
    """The sweep has read its groups as unpaid; then Stripe's events arrive; then the sweep reconciles."""
    groups = [project.shop.order_group() for _ in range(20)]
    events = [stripe.event(stripe.session(group)) for group in groups]
    gate = Gate()

    async def sessions_first(request: Any) -> Any:
        return await gate(request) if request.path == "/v1/events" else None

    stripe.keep_failing = sessions_first
    running = asyncio.create_task(sweep(project, stripe))
    await gate.reached.wait()
    async with serving(project.environment()) as relay:
        for event in events[:10]:
            answer = await relay.send(*delivery(event, secret=project.stack.stripe_webhook_secret))
            assert answer.verdict == (200, "applied", None)
        gate.opened.set()
        answers_meanwhile = await asyncio.gather(
            *(relay.send(*delivery(event, secret=project.stack.stripe_webhook_secret)) for event in events[10:])
        )
        ended, told = await running

    assert ended.status == 0
    assert told["known"] + told["applied"] == 20
    assert told["known"] >= 10
    assert {answer.json["outcome"] for answer in answers_meanwhile} <= {"applied", "replayed"}
    commits = project.query(
        "select count(*) as entries, count(distinct order_item_id) as items from public.inventory_ledger"
        " where stripe_webhook_event_id = any(%s)",
        [event["id"] for event in events],
    )
    assert commits == [{"entries": 100, "items": 100}]


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([answers(429, Retry_After="0"), answers(429, Retry_After="0"), answers(429)], id="rate limit"),
        pytest.param([answers(500), gateway_page], id="5xx"),
        pytest.param([reset], id="connection reset"),
        pytest.param([break_off], id="answer breaks off"),
        pytest.param([answers(409)], id="conflict"),
    ],
)
async def test_what_passes_is_waited_out(project: Project, stripe: StripeServer, faults: list[Fault]) -> None:
    stripe.event(stripe.session(project.shop.order_group()))
    stripe.faults = faults

    ended, told = await sweep(project, stripe)

    assert (ended.status, told["applied"]) == (0, 1)


def test_retry_after_is_what_is_waited() -> None:
    assert stripe_api._pause({"Retry-After": "7"}, 0) == 7.0  # noqa: SLF001
    assert stripe_api._pause({"retry-after": "86400"}, 0) == 60.0  # noqa: SLF001
    assert [stripe_api._pause({}, attempt) for attempt in range(3)] == [0.5, 1.0, 2.0]  # noqa: SLF001


async def test_an_account_that_goes_silent_in_the_middle_is_status_2_in_one_line(
    project: Project, stripe: StripeServer
) -> None:
    """While many groups still wait to be looked at."""
    for _ in range(20):
        delivered(project, StripeServer().event(StripeServer().session(project.shop.order_group())))
    refuses = answers(403)

    async def lists_only(request: Any) -> Any:
        return await refuses(request) if "/sessions/" in request.path else None

    stripe.keep_failing = lists_only

    ended, _ = await sweep(project, stripe)

    assert (ended.status, ended.output) == (2, "")
    assert ended.errors.startswith("relay: STRIPE_SECRET_KEY may not do this")
    assert ended.errors.count("\n") == 1


async def test_a_server_that_is_silent_for_once_is_asked_again(project: Project, stripe: StripeServer) -> None:
    session = stripe.session(project.shop.order_group())
    stripe.faults = [Gate()]
    env = project.environment(**settings(stripe))

    async with StripeApi.connect(Settings.from_env(env, now=0), seconds=0.2) as api:
        assert await api.session(session["id"]) == session

    assert len(stripe.requests) == 2


async def test_a_list_that_goes_in_circles_is_given_up(project: Project, stripe: StripeServer) -> None:
    for place in range(3):
        stripe.session(None, age=place)
    original = stripe._list  # noqa: SLF001

    def circle(path: str, query: dict[str, list[str]], objects: list[Json]) -> Any:
        response = original(path, {**query, "starting_after": []}, objects)
        response.text = (response.text or "").replace('"has_more": false', '"has_more": true')
        return response

    stripe._list = circle  # type: ignore[method-assign]  # noqa: SLF001
    env = project.environment(**settings(stripe))

    async with StripeApi.connect(Settings.from_env(env, now=0)) as api:
        with pytest.raises(StripeUnavailable, match="begins anew"):
            async for _ in api.sessions(0, 2**31):
                pass


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "does not know STRIPE_SECRET_KEY"), (403, "may not do this (403)")],
)
async def test_a_key_that_stripe_refuses_is_status_2_and_nothing_is_written(
    project: Project, stripe: StripeServer, status: int, message: str
) -> None:
    stripe.session(project.shop.order_group())
    of_another_account = {"STRIPE_SECRET_KEY": f"sk_test_{secrets.token_hex(16)}"}
    if status == 403:
        stripe.keep_failing = answers(403)
    before = project.snapshot()

    ended, _ = await sweep(project, stripe, **(of_another_account if status == 401 else {}))

    assert (ended.status, ended.output) == (2, "")
    assert message in ended.errors
    assert "Traceback" not in ended.errors
    assert STRIPE_KEY[-4:] not in ended.errors
    assert project.snapshot() == before


async def test_an_unreachable_database_is_status_2(project: Project, stripe: StripeServer) -> None:
    stripe.session(project.shop.order_group())

    ended = await project.relay("sweep", "--since", "72h", **settings(stripe) | {"SUPABASE_URL": "http://127.0.0.1:9"})

    assert (ended.status, ended.output) == (2, "")
    assert "database_unavailable" in ended.errors


async def test_a_window_that_ends_before_it_begins_is_status_2(project: Project, stripe: StripeServer) -> None:
    reversed_window, _ = await sweep(project, stripe, "--since", "1h", "--until", "2h")
    assert reversed_window.status == 2
    assert "--since must lie before --until" in reversed_window.errors
    assert (await sweep(project, stripe, "--since", "yesterday"))[0].status == 2
    assert stripe.requests == []


async def test_an_interrupted_sweep_says_so_and_the_next_one_goes_on(project: Project, stripe: StripeServer) -> None:
    stripe.session(project.shop.order_group())
    gate = Gate()
    stripe.faults = [gate]
    async with project.running("sweep", "--since", "72h", **settings(stripe)) as process:
        await gate.reached.wait()
        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
    gate.opened.set()

    assert (process.returncode, output) == (130, b"")
    assert b"run it again for the rest" in errors
    assert b"Traceback" not in errors
    assert (await sweep(project, stripe))[1]["applied"] == 1


async def test_an_interrupted_progress_bar_is_taken_away_before_it_is_said(
    project: Project, stripe: StripeServer
) -> None:
    gate = Gate()
    stripe.faults = [gate]
    screen, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "relay", "sweep", "--since", "72h", stderr=terminal, stdout=asyncio.subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], **project.environment(**settings(stripe))},
    )  # fmt: skip
    await gate.reached.wait()
    process.send_signal(signal.SIGINT)
    await process.wait()
    gate.opened.set()
    shown = os.read(screen, 65536).decode()
    os.close(terminal)
    os.close(screen)

    before, line_taken_away, after = shown.rpartition("\r\x1b[1A\x1b[2K")
    assert line_taken_away
    assert "sessions 0" in before
    assert ESCAPE.sub("", after) == "relay: interrupted; what was applied stays, run it again for the rest\r\n"


async def test_a_moment_without_the_database_does_not_end_a_sweep(data_api: DataApi) -> None:
    data_api.script = [Reset(), Reply(body=[])]

    async with records.connect(Settings.from_env(environ(data_api.url), now=0)) as clients:
        assert await open_exceptions(clients.records) == OpenExceptions({}, {})

    assert len(data_api.calls) == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_and_leaves_nothing_behind() -> None:
    pipe, terminal = io.StringIO(), Terminal()
    for stream in (pipe, terminal):
        bar = Bar(stream)
        bar.show("sessions", 100, None)
        bar.show("reconciled", 5_000, 10_000)
        bar.clear()

    assert pipe.getvalue() == ""
    frames = [ESCAPE.sub("", frame).strip() for frame in terminal.getvalue().split("\r")]
    assert f"{'━' * 30} sessions 100" in frames
    assert f"{'━' * 15}╺{'━' * 14} reconciled 5,000 of 10,000" in frames
    assert terminal.getvalue().endswith("\r\x1b[1A\x1b[2K")
