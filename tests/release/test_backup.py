"""A backup taken while payments come in, restored into an empty database; a sweep brings back what it missed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from local_stack.http_server import HttpServer
from local_stack.postgrest import PostgREST
from local_stack.stack import GatewayProcess, Stack
from local_stack.surface import StackSurface
from testkit.invariants import broken_invariants
from testkit.project import Project, open_project
from testkit.relay_under_test import Relay, serving
from testkit.stripe_api_server import StripeServer
from testkit.stripe_events import STRIPE_KEY, Json

pytestmark = pytest.mark.anyio

GROUPS = 60
AT_ONCE = 4
RESTORED = "restored"


class RestoredProject(StackSurface):
    """The same keys and roles, another database: what a project is after a restore."""

    def __init__(self, origin: Stack, url: str) -> None:
        self._origin = origin
        self.url = url
        self.service_role_key = origin.service_role_key
        self.anon_key = origin.anon_key
        self.jwt_secret = origin.jwt_secret
        self.stripe_webhook_secret = origin.stripe_webhook_secret
        self.stripe_secret_key = origin.stripe_secret_key

    def dsn(self, *, user: str = "supabase_admin", dbname: str = RESTORED) -> str:
        return self._origin.dsn(user=user, dbname=dbname)


@pytest.fixture
def origin() -> Iterator[Stack]:
    """A stack of this test's own: its whole database is dumped."""
    with Stack() as stack:
        yield stack


@pytest.fixture
async def stripe(anyio_backend: str) -> AsyncIterator[StripeServer]:
    assert anyio_backend == "asyncio"
    async with StripeServer().listening() as server:
        yield server


async def run_tool(stack: Stack, name: str, *arguments: str) -> None:
    """One of PostgreSQL's programs, to its end."""
    process = await asyncio.create_subprocess_exec(
        stack.postgres.bin_dir / name, *arguments, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


@contextmanager
def data_api_of(origin: Stack, home: Path) -> Iterator[RestoredProject]:
    """A Data API in front of the restored database."""
    with ExitStack() as exits:
        postgrest = PostgREST(
            dsn=origin.dsn(user="authenticator", dbname=RESTORED),
            jwt_secret=origin.jwt_secret,
            token=origin.service_role_key,
            log=home / "postgrest.log",
        )
        start(exits, postgrest)
        gateway = GatewayProcess(
            upstream=postgrest.url,
            auth_dsn=origin.dsn(user="supabase_auth_admin", dbname=RESTORED),
            keys=origin.keys,
            log=home / "gateway.log",
        )
        start(exits, gateway)
        yield RestoredProject(origin, gateway.url)


def start(exits: ExitStack, server: HttpServer) -> None:
    exits.callback(server.stop)
    server.start()


async def deliver(relay: Relay, stack: StackSurface, event: Json) -> str:
    """The outcome of a delivery that is answered 200."""
    answer = await relay.deliver(event, secret=stack.stripe_webhook_secret)
    assert answer.status == 200
    outcome: str = answer.json["outcome"]
    return outcome


async def test_restored_backup_and_a_sweep_lose_no_payment_and_pay_none_twice(
    origin: Stack, stripe: StripeServer, tmp_path: Path
) -> None:
    dump = str(tmp_path / "backup.dump")
    with open_project(origin) as project:
        groups = [project.shop.order_group() for _ in range(GROUPS)]
    events = [stripe.event(stripe.session(group)) for group in groups]
    while_dumping, afterwards = events[: GROUPS // 2], events[GROUPS // 2 :]
    paid_once = asyncio.Semaphore(0)

    async with serving(project.environment()) as relay:

        async def pay(queue: list[Json]) -> None:
            while queue:
                assert await deliver(relay, origin, queue.pop()) == "applied"
                paid_once.release()

        senders = [asyncio.create_task(pay(while_dumping)) for _ in range(AT_ONCE)]
        for _ in range(2 * AT_ONCE):
            await paid_once.acquire()
        await run_tool(origin, "pg_dump", "--format=custom", f"--file={dump}", origin.dsn())
        await asyncio.gather(*senders)
        # The hours between the backup and the disaster.
        await pay(afterwards)

    origin.postgres.create_database(RESTORED, template="template0", owner="postgres")
    target = origin.dsn(dbname=RESTORED)
    await run_tool(origin, "pg_restore", "--exit-on-error", f"--dbname={target}", dump)

    with data_api_of(origin, tmp_path) as restored, open_connection(restored) as connection:
        assert broken_invariants(connection) == []
        kept = count_paid(connection)
        assert 2 * AT_ONCE <= kept <= GROUPS // 2

        account = {"STRIPE_API_BASE": stripe.url, "STRIPE_SECRET_KEY": STRIPE_KEY}
        after = Project(restored, connection, project.shop)
        swept = await after.relay("sweep", "--since", "72h", "--json", **account)
        assert (swept.status, swept.errors) == (0, "")
        told = json.loads(swept.output)
        assert (told["known"], told["applied"]) == (kept, GROUPS - kept)
        assert count_paid(connection) == GROUPS
        assert broken_invariants(connection) == []

        # What Stripe still delivers again changes nothing any more.
        before = after.snapshot()
        async with serving(after.environment()) as relay:
            outcomes = {await deliver(relay, restored, event) for event in events}
        assert outcomes == {"replayed"}
        assert after.snapshot() == before
        assert connection.execute("select * from public.security_findings()").fetchall() == []


def open_connection(stack: StackSurface) -> "psycopg.Connection[dict[str, object]]":
    return psycopg.connect(stack.dsn(), autocommit=True, row_factory=dict_row)


def count_paid(connection: "psycopg.Connection[dict[str, object]]") -> int:
    row = connection.execute("select count(*) as paid from public.order_groups where status = 'paid'").fetchone()
    assert row is not None
    return int(str(row["paid"]))
