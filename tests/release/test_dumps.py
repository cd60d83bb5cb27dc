"""docs/dumps-and-seeds.md: the data of one project go into another one that has the migrations."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import psycopg
import pytest

from local_stack import platform, supabase_cli
from local_stack.stack import Stack
from testkit.payments import reconcile
from testkit.project import open_project
from tests.documented import ROOT

pytestmark = pytest.mark.release

PAGE = (ROOT / "docs" / "dumps-and-seeds.md").read_text()
SECTION = PAGE.partition("## A dump of the data\n")[2].partition("\n## ")[0]
TABLES = "select schemaname || '.' || tablename from pg_catalog.pg_tables where schemaname in ('public', 'payments')"


def rows(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


def dump(dsn: str, home: Path, bin_dir: Path) -> str:
    """What the page's command writes. The CLI runs its script in a container; here it prints it, and bash runs it."""
    (command,) = re.findall(r"^supabase (db dump .*)$", SECTION, re.MULTILINE)
    words = shlex.split(command.replace("--remote ", f"--remote={dsn} ").replace(" --file data.sql", ""))
    environment = {"HOME": str(home), "TMPDIR": str(home), "DO_NOT_TRACK": "1", "SUPABASE_TELEMETRY_DISABLED": "1"}
    path = {"PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}"}
    printing = [str(supabase_cli.cli_path()), *words, "--dry-run"]
    script = subprocess.run(printing, cwd=home, env={**path, **environment}, capture_output=True, check=True).stdout
    return subprocess.run(["bash"], input=script, env=path, capture_output=True, check=True).stdout.decode()


def test_the_data_of_a_project_go_into_another_one_with_the_same_migrations(tmp_path: Path) -> None:
    loading = shlex.split(SECTION.partition("\npsql ")[2].partition("\n")[0])
    findings, invariants = re.findall(r"^select \* from .*;$", SECTION, re.MULTILINE)
    with Stack() as stack:
        stack.postgres.create_database("copy", owner="postgres")
        platform.install(stack.dsn(dbname="copy"), password=stack.postgres.password)
        supabase_cli.db_push(stack.dsn(user="postgres", dbname="copy"))
        # On a hosted project `postgres` may switch triggers off for a session; here that is the superuser's.
        copy = stack.dsn(dbname="copy")
        (named,) = re.findall(r" -x (\S+)", SECTION)
        filled = [table for (table,) in rows(copy, TABLES) if rows(copy, f"select from {table} limit 1")]
        assert named.split(",") == sorted(map(str, filled))
        with open_project(stack) as project:
            groups = [project.shop.order_group() for _ in range(3)]
            reconcile(project.shop.service, groups[0].payment())
            reconcile(project.shop.service, groups[1].payment().but(amount_minor=1, amount="0.01"))

        data = dump(stack.dsn(user="postgres"), tmp_path, stack.postgres.bin_dir)
        (tmp_path / "data.sql").write_text(data)
        loading[0] = copy
        subprocess.run([stack.postgres.bin_dir / "psql", *loading], cwd=tmp_path, check=True, capture_output=True)

        assert rows(copy, findings) == rows(copy, invariants) == []
        statuses = "select status, count(*) from public.order_groups group by 1 order by 1"
        assert rows(copy, statuses) == rows(stack.dsn(), statuses) == [("paid", 1), ("pending", 2)]
        assert rows(copy, "select count(*) from payments.exceptions") == [(1,)]
