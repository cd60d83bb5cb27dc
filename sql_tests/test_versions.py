"""The same schema on every version of PostgreSQL, in both regimes, and from every head that was released.

The versions that ran stand in the tests' names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from local_stack import platform, supabase_cli
from local_stack.platform import REGIMES, Regime
from local_stack.postgres import Postgres
from sql_tests.releases import Head, head_at, migrations, project_at, releases, version_of
from sql_tests.restoring import restore
from sql_tests.schema import FILE, dump, migrated
from sql_tests.servers import has_extension, installations

INSTALLATIONS = installations()
CHECKED = [version for version, bin_dir in INSTALLATIONS.items() if has_extension(bin_dir, "plpgsql_check")]
NOWHERE = pytest.param(
    0, marks=pytest.mark.skip(reason="plpgsql_check is installed nowhere here (Debian: postgresql-15-plpgsql-check)")
)

# Until there is a release, this one shows that a database can stop on the way.
HALFWAY = head_at(version_of(migrations()[len(migrations()) // 2]))
HEADS = dict.fromkeys([HALFWAY, *(release.head for release in releases())])


@pytest.fixture(scope="module", params=INSTALLATIONS)
def any_server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_STACK_PG_BIN", str(INSTALLATIONS[request.param]))
        with Postgres() as postgres:
            yield postgres


@pytest.mark.parametrize("regime", REGIMES)
def test_every_version_ends_in_the_versioned_schema_in_both_regimes(any_server: Postgres, regime: Regime) -> None:
    url = migrated(any_server, regime)

    assert dump(any_server.bin_dir, url) == FILE.read_text()
    with psycopg.connect(url) as connection:
        assert connection.execute("select * from public.security_findings()").fetchall() == []


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.version)
def test_database_at_an_earlier_head_ends_in_the_versioned_schema(
    any_server: Postgres, tmp_path: Path, head: Head
) -> None:
    name = f"from_{head.version}"
    any_server.create_database(name)
    url, push_url = any_server.dsn(dbname=name), any_server.dsn(user="postgres", dbname=name)
    platform.install(url, password=any_server.password)
    supabase_cli.db_push(push_url, project_dir=project_at(head, tmp_path))

    supabase_cli.db_push(push_url)

    assert dump(any_server.bin_dir, url) == FILE.read_text()


@pytest.mark.parametrize("version", INSTALLATIONS)
def test_database_of_any_version_is_as_expected_after_a_restore_into_the_newest(tmp_path: Path, version: int) -> None:
    servers: list[Postgres] = []
    with ExitStack() as exits, pytest.MonkeyPatch.context() as patch:
        for bin_dir in (INSTALLATIONS[version], INSTALLATIONS[max(INSTALLATIONS)]):
            patch.setenv("LOCAL_STACK_PG_BIN", str(bin_dir))
            servers.append(exits.enter_context(Postgres()))
        migrated(servers[0], "explicit")
        servers[1].create_database("explicit")
        platform.install(servers[1].dsn(dbname="explicit"), regime="legacy", password=servers[1].password)
        with psycopg.connect(servers[1].dsn(dbname="explicit"), autocommit=True) as superuser:
            superuser.execute("alter database explicit owner to postgres")
        source, target = (
            server.dsn(user="{user}", dbname="explicit").replace("%7Buser%7D", "{user}") for server in servers
        )
        restore(servers[1].bin_dir, source, target, tmp_path)

        with psycopg.connect(target.format(user="postgres"), autocommit=True) as owner:
            assert owner.execute("select * from payments.restore_privileges()").fetchall() != []
            assert owner.execute("select * from public.security_findings()").fetchall() == []


CHECK = """
select f.oid::regprocedure::text || ': ' || coalesce(c.statement || ': ', '') || c.message as finding
from pg_catalog.pg_proc as f
inner join pg_catalog.pg_language as l on l.oid = f.prolang and l.lanname = 'plpgsql'
left join lateral (
    select distinct t.tgrelid from pg_catalog.pg_trigger as t where t.tgfoid = f.oid
) as t on true
cross join lateral plpgsql_check_function_tb(f.oid, coalesce(t.tgrelid, 0), all_warnings => true) as c
where f.pronamespace in ('public'::regnamespace, 'payments'::regnamespace)
order by 1
"""


SOWN = """
create function public.sown() returns integer language plpgsql immutable as $$
declare v_unused integer;
begin
    return 1;
end;
$$
"""


@pytest.mark.parametrize("version", CHECKED or [NOWHERE])
def test_plpgsql_check_finds_nothing_but_a_fault_that_is_sown(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_STACK_PG_BIN", str(INSTALLATIONS[version]))
    with Postgres() as postgres, closing(psycopg.connect(migrated(postgres, "explicit"))) as connection:
        connection.execute("create schema lint; create extension plpgsql_check schema lint; set search_path = lint")

        found = [row[0] for row in connection.execute(CHECK)]
        connection.execute(SOWN)
        sown = [row[0] for row in connection.execute(CHECK)]

    assert found == []
    assert sown == ['public.sown(): DECLARE: unused variable "v_unused"']
