"""The schedule on a real pg_cron, of Debian's packages: turned on by the migrations, or by one statement later."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest

from local_stack import platform, supabase_cli
from local_stack.errors import PartMissingError
from local_stack.postgres import Postgres
from testkit.database import SUPERUSER, Connection, Database, scalar
from testkit.shop import open_shop

NAME = "shop"
PATIENCE_SECONDS = 130.0  # two of pg_cron's minutes
JOB: dict[str, Any] = {
    "jobname": "expire_order_groups",
    "schedule": "* * * * *",
    "command": "select public.expire_order_groups()",
    "username": "postgres",
    "database": NAME,
    "active": True,
}


def bin_dir() -> Path:
    """The programs of a PostgreSQL for which Debian's package of pg_cron is installed, or of the one that is named."""
    if chosen := os.environ.get("LOCAL_STACK_PG_BIN"):
        return Path(chosen)
    for control in sorted(Path("/usr/share/postgresql").glob("*/extension/pg_cron.control")):
        found = Path("/usr/lib/postgresql") / control.parent.parent.name / "bin"
        if (found / "initdb").is_file():
            return found
    raise PartMissingError("pg_cron is missing; on Debian `make deploy-test` as root installs it")


@pytest.fixture
def database() -> Iterator[Database]:
    """An empty project on a server that runs pg_cron in its database."""
    settings = {
        "shared_preload_libraries": "pg_cron",
        "cron.database_name": NAME,
        "cron.use_background_workers": "on",  # or its sessions would need a password file
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_STACK_PG_BIN", str(bin_dir()))
        with Postgres(settings=settings) as postgres:
            postgres.create_database(NAME)
            database = Database(NAME, postgres.host, postgres.port, postgres.password)
            platform.install(database.dsn(SUPERUSER), password=postgres.password)
            with database.connect() as superuser:
                superuser.execute(f"alter database {NAME} owner to postgres")
            yield database


def push(database: Database) -> None:
    supabase_cli.db_push(database.url("postgres"))


def jobs(superuser: Connection) -> list[dict[str, Any]]:
    return superuser.execute(
        "select jobname, schedule, command, username, database, active from cron.job order by jobid"
    ).fetchall()


def assert_job_expires_a_group(database: Database, superuser: Connection) -> None:
    """Within the next minute pg_cron calls the function as the owner."""
    with database.act_as("service_role") as service:
        group = open_shop(superuser, service).order_group()
        superuser.execute("update public.order_groups set expires_at = now() where id = %s", [group.id])

        def status() -> str:
            return str(scalar(superuser, "select status from public.order_groups where id = %s", group.id))

        deadline = monotonic() + PATIENCE_SECONDS
        while status() != "cancelled":
            assert monotonic() < deadline, superuser.execute("select * from cron.job_run_details").fetchall()
            sleep(0.2)
        assert superuser.execute(
            "select distinct changed_by from public.order_status_changes where order_group_id = %s", [group.id]
        ).fetchall() == [{"changed_by": "postgres"}]
        readiness = scalar(service, "select public.reconciliation_readiness()")
        assert readiness["expiry_last_ran_at"] is not None
        assert readiness["overdue_since"] is None


def test_migrations_schedule_expiry_where_pg_cron_is_installed_and_the_job_runs(database: Database) -> None:
    with database.connect() as superuser:
        superuser.execute("create extension pg_cron")

        push(database)

        assert jobs(superuser) == [JOB]
        assert superuser.execute("select * from public.security_findings()").fetchall() == []
        assert_job_expires_a_group(database, superuser)
        runs = superuser.execute(
            "select distinct status from cron.job_run_details where status <> 'running'"
        ).fetchall()
        assert runs == [{"status": "succeeded"}]


def test_one_statement_schedules_it_later_and_again_changes_nothing(database: Database) -> None:
    statement = "select payments.schedule_expiry()"
    push(database)
    with database.connect() as superuser, closing(database.connect("postgres")) as owner:
        assert scalar(owner, statement) == "pg_cron_not_installed"
        superuser.execute("create extension pg_cron")
        superuser.execute("revoke pg_read_all_data from postgres")  # which may enter every schema
        assert scalar(owner, statement) == "pg_cron_not_permitted"
        superuser.execute("grant usage on schema cron to postgres")
        superuser.execute("revoke execute on all functions in schema cron from public")
        assert scalar(owner, statement) == "pg_cron_not_permitted"
        superuser.execute("grant execute on all functions in schema cron to postgres")

        assert scalar(owner, statement) == scalar(owner, statement) == "scheduled"

        assert jobs(superuser) == [JOB]
        assert superuser.execute("select * from public.security_findings()").fetchall() == []
        with database.act_as("service_role") as service, pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute(statement)


def test_migrations_do_without_a_pg_cron_that_they_may_not_use(database: Database) -> None:
    with database.connect() as superuser:
        superuser.execute("create extension pg_cron; revoke execute on all functions in schema cron from public")

        push(database)

        assert jobs(superuser) == []
