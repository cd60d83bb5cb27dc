"""Pushing migrations by the real CLI, from a copy, with an error that says what happened."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from local_stack import platform, supabase_cli
from local_stack.errors import PartMissingError, StackError
from local_stack.postgres import Postgres


@pytest.fixture
def dsn(server: Postgres, new_database: Callable[[], str]) -> str:
    """An installed database, as `postgres`."""
    name = new_database()
    platform.install(server.dsn(dbname=name), password=server.password)
    return server.dsn(user="postgres", dbname=name)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one good migration, in a folder with a space."""
    folder = tmp_path / "a project" / "supabase"
    (folder / "migrations").mkdir(parents=True)
    shutil.copy(supabase_cli.REPOSITORY / "supabase/config.toml", folder)
    (folder / "migrations/20260101000000_create_t.sql").write_text("create table public.t (id int primary key);\n")
    return folder.parent


def test_push_applies_and_records_what_is_new_and_writes_nothing_into_the_project(dsn: str, project: Path) -> None:
    before = sorted(project.rglob("*"))

    supabase_cli.db_push(dsn, project_dir=project)
    again = supabase_cli.db_push(dsn, project_dir=project)

    with psycopg.connect(dsn) as connection:
        rows = connection.execute("select version from supabase_migrations.schema_migrations").fetchall()
        assert rows == [("20260101000000",)]
        assert connection.execute("select count(*) from public.t").fetchone() == (0,)
    assert "up to date" in again
    assert sorted(project.rglob("*")) == before


def test_failed_push_shows_the_databases_own_words(dsn: str, project: Path) -> None:
    (project / "supabase/migrations/20260101000001_break.sql").write_text("select * from public.no_such_table;\n")

    with pytest.raises(StackError, match="no_such_table"):
        supabase_cli.db_push(dsn, project_dir=project)


def test_linter_finds_a_table_without_row_level_security(server: Postgres, new_database: Callable[[], str]) -> None:
    name = new_database()
    platform.install(server.dsn(dbname=name), regime="legacy", password=server.password)
    dsn = server.dsn(user="postgres", dbname=name)
    assert supabase_cli.advisors(dsn) == []

    with psycopg.connect(dsn) as connection:
        connection.execute("create table public.open_to_all (id int primary key)")

    assert [finding["name"] for finding in supabase_cli.advisors(dsn)] == ["rls_disabled_in_public"]


def test_missing_cli_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SUPABASE_CLI", str(tmp_path / "none"))

    with pytest.raises(PartMissingError, match="make setup"):
        supabase_cli.cli_path()
