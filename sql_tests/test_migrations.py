"""The migration files themselves: names, habits, what `supabase db push` makes of them, and the linter's verdict."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from local_stack import supabase_cli
from local_stack.platform import REGIMES, Regime
from testkit.database import Connection, Database

SUPABASE = Path(__file__).parent.parent / "supabase"
MIGRATIONS = sorted(path for folder in ("migrations", "queues") for path in (SUPABASE / folder).iterdir())
each_file = pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)


def code(path: Path) -> str:
    """The file without comments and strings, lower case, blanks folded."""
    text = re.sub(r"--[^\n]*", "", path.read_text())
    text = re.sub(r"'(?:[^']|'')*'", "''", text)
    return " ".join(text.lower().split())


def test_versions_are_unique_and_ascend() -> None:
    versions = [path.name.split("_")[0] for path in MIGRATIONS]

    assert all(earlier < later for earlier, later in pairwise(versions))


@each_file
def test_name_is_one_that_the_cli_applies(path: Path) -> None:
    assert re.fullmatch(r"\d{14}_[a-z]+(_[a-z]+)+\.sql", path.name)


@each_file
def test_file_leaves_transactions_to_the_cli(path: Path) -> None:
    statements = [statement.strip() for statement in re.sub(r"\$\$.*?\$\$", "$$", code(path)).split(";")]

    assert not [s for s in statements if re.match(r"(begin|commit|rollback|start transaction|vacuum)\b", s)]
    assert "concurrently" not in code(path)


@each_file
def test_file_opens_with_its_purpose(path: Path) -> None:
    head = path.read_text().splitlines()

    assert head[0].startswith("-- ")
    assert sum(line.startswith("--") for line in head[:9]) >= 3


@each_file
def test_every_update_and_delete_has_a_where(path: Path) -> None:
    """Sessions of the Data API load pg-safeupdate, which refuses such statements inside functions too."""
    for body in re.findall(r"\$\$(.*?)\$\$", path.read_text(), re.DOTALL):
        text = re.sub(r"--[^\n]*", "", body).lower()
        for statement in text.split(";"):
            if re.search(r"\b(delete from|update [a-z_.]+( as [a-z]+)?\s+set)\b", statement):
                assert re.search(r"\bwhere\b", statement), statement


@each_file
def test_every_function_says_what_its_header_must(path: Path) -> None:
    for match in re.finditer(r"create or replace function (\S+?)\((.*?)as \$\$", path.read_text(), re.DOTALL):
        name, header = match.groups()
        for word in ("language ", "security ", "set search_path = ''"):
            assert word in header, (name, word)
        assert re.search(r"\n(volatile|stable|immutable)\n", header), name
        assert f"comment on function {name}" in path.read_text(), name
        assert f"revoke execute on function {name}" in path.read_text(), name


def test_every_table_column_worth_a_word_and_every_table_has_a_comment(superuser: Connection) -> None:
    rows = superuser.execute(
        """
        select c.oid::regclass::text as name
        from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname in ('public', 'payments') and c.relkind in ('r', 'v')
            and obj_description(c.oid, 'pg_class') is null
        """
    ).fetchall()

    assert rows == []


def test_second_push_finds_nothing_to_do(db: Database) -> None:
    assert "up to date" in supabase_cli.db_push(db.url("postgres"))


def test_push_records_every_file(superuser: Connection) -> None:
    rows = superuser.execute("select version from supabase_migrations.schema_migrations order by version").fetchall()

    pushed = [path for path in MIGRATIONS if path.parent.name == "migrations"]
    assert [row["version"] for row in rows] == [path.name.split("_")[0] for path in pushed]


@pytest.mark.parametrize("regime", REGIMES)
def test_linter_of_supabase_finds_nothing(db: Database) -> None:
    found = supabase_cli.advisors(db.url("postgres"), level="info")

    # An index of an empty database has of course never been used.
    assert [finding for finding in found if finding["name"] != "unused_index"] == []


CATALOGUE = """
select c.oid::regclass::text as name, c.relkind::text as kind, c.relacl::text as acl, c.relrowsecurity as rls,
    (
        select
            array_agg((a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attacl)::text order by a.attnum)
        from pg_attribute as a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ) as parts
from pg_class as c where c.relnamespace in ('public'::regnamespace, 'payments'::regnamespace)
union all
select p.oid::regprocedure::text, 'function', p.proacl::text, p.prosecdef, array[p.proconfig::text, md5(p.prosrc)]
from pg_proc as p where p.pronamespace in ('public'::regnamespace, 'payments'::regnamespace)
order by 1, 2
"""


def test_both_regimes_end_in_the_same_catalogue(template: Callable[[Regime], Database]) -> None:
    catalogues = []
    for regime in REGIMES:
        with template(regime).connect() as connection:
            catalogues.append(connection.execute(CATALOGUE).fetchall())

    assert len(catalogues[0]) > 60
    assert catalogues[0] == catalogues[1]
