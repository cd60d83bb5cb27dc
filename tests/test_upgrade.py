"""The database is upgraded under a running relay, as CONTRIBUTING.md says that a migration may: nothing is lost."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack import supabase_cli
from local_stack.stack import Stack
from sql_tests.model import broken_invariants
from tests.project import open_project, paid
from tests.stage import serving

pytestmark = pytest.mark.anyio

GROUPS = 60
SENDERS = 4
# What a next release may do: the function is replaced by one with another parameter, which has a default.
NEXT_MIGRATION = "20990101000000_add_parameter_to_reconcile.sql"
NEXT = """\
do $$
declare
    v_signature text := 'public.reconcile_order_group_payment';
    v_function pg_catalog.regproc := v_signature::pg_catalog.regproc;
    v_last text := 'p_unmatched_reason text DEFAULT NULL::text';
    v_definition text := pg_catalog.pg_get_functiondef(v_function);
begin
    execute format('drop function %s', v_function::pg_catalog.regprocedure);
    execute replace(v_definition, v_last, v_last || ', p_next text DEFAULT NULL::text');
    execute format('revoke execute on function %s from public, anon, authenticated', v_signature);
    execute format('grant execute on function %s to service_role', v_signature);
end;
$$;
"""


@pytest.fixture
def stack_to_upgrade() -> Iterator[Stack]:
    """A stack of this test's own, because its schema is another one afterwards."""
    with Stack() as stack:
        yield stack


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """A project with today's migrations and one more."""
    shutil.copytree(supabase_cli.REPOSITORY / "supabase", tmp_path / "supabase")
    (tmp_path / "supabase" / "migrations" / NEXT_MIGRATION).write_text(NEXT)
    return tmp_path


async def test_relay_of_today_works_on_while_the_database_becomes_that_of_a_next_release(
    stack_to_upgrade: Stack, next_release: Path
) -> None:
    stack = stack_to_upgrade
    answered = asyncio.Semaphore(0)
    pushed = asyncio.Event()

    with open_project(stack) as project:
        events = [paid(project.shop.order_group()) for _ in range(GROUPS)]
        queue = list(events)
        async with serving(project.environment()) as relay:

            async def send() -> None:
                """As Stripe: each event again until it is answered 200."""
                while queue:
                    # The last third comes after the push, whatever the machine's speed.
                    if len(queue) <= GROUPS // 3:
                        await pushed.wait()
                    event = queue.pop()
                    while (await relay.deliver(event, secret=stack.stripe_webhook_secret)).status != 200:
                        pass
                    answered.release()

            senders = [asyncio.create_task(send()) for _ in range(SENDERS)]
            for _ in range(SENDERS):
                await answered.acquire()
            push = asyncio.to_thread(supabase_cli.db_push, stack.dsn(user="postgres"), project_dir=next_release)
            assert NEXT_MIGRATION in await push
            pushed.set()
            await asyncio.gather(*senders)
            status, _ = await relay.get("/readyz")

        assert status == 200
        parameters = project.query("select pronargs from pg_proc where proname = %s", "reconcile_order_group_payment")
        assert [row["pronargs"] for row in parameters] == [14]
        assert project.query("select id from public.order_groups where status <> 'paid'") == []
        assert broken_invariants(project.superuser) == []
