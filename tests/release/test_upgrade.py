"""Relays and databases of neighbouring releases work together, and become one another under load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from local_stack import supabase_cli
from local_stack.errors import StackError
from local_stack.http_server import get_status
from local_stack.stack import Stack
from relay.server.readiness import CONTRACT_VERSION
from relay.server.webhook import PATH
from sql_tests.releases import releases
from testkit.invariants import broken_invariants
from testkit.project import Project, open_project
from testkit.relay_process import RelayProcess
from testkit.shop import paid
from testkit.stripe_api_server import StripeServer
from testkit.stripe_events import STRIPE_KEY, Json, completed, delivery, twin
from tests.release.load import PATIENCE_SECONDS, Load
from tests.release.other_releases import LAST, NEW_REASON, NEW_WORD, AdjacentRelease, add_migration, adjacent_release

pytestmark = [pytest.mark.anyio, pytest.mark.release]

RELAYS = 2
# (relay, database): 0 is today's, 1 the next release, 2 the one after. The last release joins as soon as there is one.
PAIRS = [(1, 0), (0, 1), (2, 1), (1, 2), *([(0, LAST), (LAST, 0)] if releases() else [])]
Made = Callable[[int], AdjacentRelease]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The releases by their numbers, each made once."""
    return cache(lambda number: adjacent_release(number, tmp_path_factory.mktemp("release")))


@contextmanager
def project_of(release: AdjacentRelease) -> Iterator[Project]:
    """A project of this test's own with the migrations of a release, because it may be another's afterwards."""
    migrate = partial(supabase_cli.db_push, project_dir=release.project)
    with Stack(migrate=migrate) as stack, open_project(stack) as project:
        yield project


def push(project: Project, release: AdjacentRelease) -> str:
    """`supabase db push` from the folder of a release. Raises StackError."""
    return supabase_cli.db_push(project.stack.dsn(user="postgres"), project_dir=release.project)


@contextmanager
def relay_of(
    project: Project, release: AdjacentRelease, home: Path, *, ready_path: str = "/readyz"
) -> Iterator[RelayProcess]:
    """A relay of that release, in front of the project."""
    relay = RelayProcess(env=project.stack.env(), log=home / "relay.log", code=release.relay, ready_path=ready_path)
    try:
        relay.start()
        yield relay
    finally:
        relay.stop()


async def deliver(project: Project, relay: RelayProcess, event: Json) -> tuple[int, str, str | None]:
    """Status, outcome and reason."""
    body, headers = delivery(event, secret=project.stack.stripe_webhook_secret)
    async with aiohttp.ClientSession() as http, http.post(relay.url + PATH, data=body, headers=headers) as response:
        answer = await response.json()
        return response.status, answer["outcome"], answer["reason"]


async def check(project: Project, release: AdjacentRelease) -> tuple[int | None, dict[str, Any]]:
    """`relay check` of that release: its exit status, and what it says of the contract."""
    ended = await replace(project, code=release.relay).relay("check", "--json")
    (contract,) = (one for one in json.loads(ended.output)["checks"] if one["name"] == "contract_version")
    return ended.status, contract


async def contracts(relays: list[RelayProcess]) -> set[str]:
    """What the relays that serve say of the contract."""
    told = set()
    async with aiohttp.ClientSession() as http:
        for relay in relays:
            async with http.get(f"{relay.url}/readyz") as response:
                told |= {
                    one["detail"] for one in (await response.json())["checks"] if one["name"] == "contract_version"
                }
    return told


def reasons_of_the_database(project: Project) -> set[str]:
    """The reasons that an exception may have."""
    return {row["reason"] for row in project.query("select reason from payments.reasons")}


@pytest.fixture
async def stripe(anyio_backend: str) -> AsyncIterator[StripeServer]:
    assert anyio_backend == "asyncio"
    async with StripeServer().listening() as server:
        yield server


@pytest.mark.parametrize(("of_relay", "of_database"), PAIRS)
async def test_relay_and_database_of_neighbouring_releases_work_together(
    made: Made, of_relay: int, of_database: int, stripe: StripeServer, tmp_path: Path
) -> None:
    release = made(of_relay)
    with project_of(made(of_database)) as project, relay_of(project, release, tmp_path) as relay:
        (counted,) = project.query("select public.reconciliation_readiness() ->> 'contract_version' as here")
        told = f"relay {release.contract}, database {counted['here']}"
        assert await check(project, release) == (0, {"name": "contract_version", "ok": True, "detail": told})
        assert reasons_of_the_database(project) <= release.reasons

        # Each answer that the database has for a delivery.
        group = project.shop.order_group()
        event, wrong, nameless = paid(group), paid(project.shop.order_group(), amount_total=1), completed(metadata={})
        assert await deliver(project, relay, event) == (200, "applied", None)
        assert await deliver(project, relay, event) == (200, "replayed", None)
        assert await deliver(project, relay, twin(event)) == (200, "already_paid", None)
        assert await deliver(project, relay, paid(group)) == (500, "rejected", "duplicate_payment")
        assert await deliver(project, relay, wrong) == (500, "rejected", "amount_mismatch")
        assert await deliver(project, relay, nameless) == (200, "unmatched", "missing_reference")

        # The commands of the relay's release.
        commands = replace(project, code=release.relay)
        listed = await commands.relay("exceptions", "list", "--json")
        cases = {case["stripe_event_id"]: case["id"] for case in json.loads(listed.output)}
        assert len(cases) == 3
        resolution = ("--resolution", "refunded", "--by", "ada", "--note", "sent back")
        assert (await commands.relay("exceptions", "resolve", str(cases[wrong["id"]]), *resolution)).status == 0
        assert await deliver(project, relay, wrong) == (200, "resolved", None)
        story = json.loads((await commands.relay("explain", str(group.id), "--json")).output)
        assert story["order_group"]["status"] == "paid"
        assert (await commands.relay("report", "--since", "1d", "--json")).status == 0
        stripe.event(stripe.session(project.shop.order_group()))
        account = {"STRIPE_API_BASE": stripe.url, "STRIPE_SECRET_KEY": STRIPE_KEY}
        swept = await commands.relay("sweep", "--since", "2h", "--json", **account)
        assert json.loads(swept.output)["applied"] == 1

        assert project.query("select * from public.security_findings()") == []
        assert broken_invariants(project.superuser) == []


# Two releases apart


async def test_database_two_releases_ahead_turns_the_relay_not_ready_and_a_newer_relay_loses_nothing(
    made: Made, tmp_path: Path
) -> None:
    with project_of(made(1)) as project, relay_of(project, made(0), tmp_path) as relay:
        events = [paid(project.shop.order_group()) for _ in range(3)]
        assert await deliver(project, relay, events[0]) == (200, "applied", None)

        await asyncio.to_thread(push, project, made(2))

        ahead, served = CONTRACT_VERSION + 2, CONTRACT_VERSION + 1
        told = f"relay {CONTRACT_VERSION}, database {ahead}: upgrade the relay, this database serves {served} and later"
        assert await check(project, made(0)) == (1, {"name": "contract_version", "ok": False, "detail": told})
        # A running relay asks again within seconds.
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await contracts([relay]) != {told}:
                pass
        before = project.snapshot()
        for event in events:
            assert await deliver(project, relay, event) == (500, "failed", "contract_violation")
        assert project.snapshot() == before

        relay.stop()
        relay.code = made(1).relay
        relay.start()
        outcomes = [(await deliver(project, relay, event))[:2] for event in events]
        assert outcomes == [(200, "replayed"), (200, "applied"), (200, "applied")]
        assert broken_invariants(project.superuser) == []


async def test_relay_two_releases_ahead_is_not_ready_and_a_newer_database_loses_nothing(
    made: Made, tmp_path: Path
) -> None:
    with project_of(made(0)) as project, relay_of(project, made(2), tmp_path, ready_path="/healthz") as relay:
        needed, spoken = CONTRACT_VERSION + 1, CONTRACT_VERSION + 2
        told = (
            f"relay {spoken}, database {CONTRACT_VERSION}: upgrade the database, this relay needs {needed} or later: "
            "`supabase db push --remote`"
        )
        assert await check(project, made(2)) == (1, {"name": "contract_version", "ok": False, "detail": told})
        assert get_status(f"{relay.url}/readyz") == 503
        event = paid(project.shop.order_group())
        before = project.snapshot()
        assert await deliver(project, relay, event) == (500, "failed", "contract_violation")
        assert project.snapshot() == before

        await asyncio.to_thread(push, project, made(1))

        # The Data API reads the schema again in its own time.
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (answer := await deliver(project, relay, event)) == (500, "failed", "contract_violation"):
                pass
        assert answer == (200, "applied", None)
        assert (await check(project, made(2)))[0] == 0


async def test_reason_that_the_relay_does_not_know_is_no_verdict_and_its_evidence_is_kept(
    made: Made, tmp_path: Path
) -> None:
    """A database that answers a word too early breaks the rules; the payment waits, and no word gets out unknown."""
    with project_of(made(1)) as project, relay_of(project, made(0), tmp_path) as relay:
        hasty = adjacent_release(1, tmp_path / "hasty")
        add_migration(hasty.project, "20990102000000_answer_too_early.sql", NEW_WORD)
        await asyncio.to_thread(push, project, hasty)
        group = project.shop.order_group([], total_amount=project.shop.order_group().total_amount)
        event = paid(group)

        for _ in range(2):
            assert await deliver(project, relay, event) == (500, "failed", "contract_violation")

        listed = await project.relay("exceptions", "list", "--json")
        (case,) = json.loads(listed.output)
        assert (case["reason"], case["attempts"]) == (NEW_REASON, 2)
        assert project.group(group)["status"] == "pending"

        relay.stop()
        relay.code = made(1).relay
        relay.start()
        assert await deliver(project, relay, event) == (500, "rejected", NEW_REASON)
        with project.shop.service.transaction():
            order_id = project.shop.add_order(group.id, project.shop.sellers[0], group.total_amount)
            project.shop.add_item(order_id, project.shop.sellers[0].product_ids[0], 1, group.total_amount)
        assert await deliver(project, relay, event) == (200, "applied", None)


# Under load


@contextmanager
def relays_of(project: Project, release: AdjacentRelease, home: Path) -> Iterator[list[RelayProcess]]:
    """Several relays of that release."""
    relays = [
        RelayProcess(env=project.stack.env(), log=home / f"relay-{number}.log", code=release.relay)
        for number in range(RELAYS)
    ]
    try:
        for relay in relays:
            relay.start()
        yield relays
    finally:
        for relay in relays:
            relay.stop()


async def roll(load: Load, relays: list[RelayProcess], release: AdjacentRelease) -> None:
    """Replace one relay after the other, by SIGTERM and a start, each in its turn while the others serve."""
    for relay in relays:
        await asyncio.to_thread(relay.stop)
        assert relay.exit_status == 0
        await load.goes_on()
        relay.code = release.relay
        await asyncio.to_thread(relay.start)
        await load.goes_on()


async def test_upgrade_of_the_database_and_then_of_each_relay_under_load_loses_nothing(
    made: Made, tmp_path: Path
) -> None:
    with project_of(made(0)) as project, relays_of(project, made(0), tmp_path) as relays:
        load = Load(project, relays)
        async with load.running():
            await load.goes_on()
            assert "make_release" in await asyncio.to_thread(push, project, made(1))
            load.settle()
            await load.goes_on()
            await roll(load, relays, made(1))

        load.assert_all_is_paid()
        assert await contracts(relays) == {f"relay {CONTRACT_VERSION + 1}, database {CONTRACT_VERSION + 1}"}


async def test_way_back_is_the_old_relay_over_the_new_database_and_loses_nothing_under_load(
    made: Made, tmp_path: Path
) -> None:
    with project_of(made(1)) as project, relays_of(project, made(1), tmp_path) as relays:
        load = Load(project, relays)
        load.settle()
        async with load.running():
            await load.goes_on()
            # The migrations stay: the CLI refuses to go back, and changes nothing.
            with pytest.raises(StackError, match="Remote migration versions not found in local migrations directory"):
                await asyncio.to_thread(push, project, made(0))
            await roll(load, relays, made(0))

        load.assert_all_is_paid()
        assert await contracts(relays) == {f"relay {CONTRACT_VERSION}, database {CONTRACT_VERSION + 1}"}
