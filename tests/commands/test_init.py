"""`relay init`: brings the migrations into a project that lives already, and gets in nobody's way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from local_stack import platform, supabase_cli
from local_stack.errors import StackError
from local_stack.postgres import Postgres, free_port
from relay.cli import main
from relay.commands.init.command import migrations
from testkit.project_folder import ProjectFolder
from testkit.queues import install_pgmq

ROOT = Path(__file__).parent.parent.parent
OURS = migrations()
QUEUES = migrations("queues")
LIKE = (
    "--db-url must be like postgresql://postgres@db.<ref>.supabase.co:5432/postgres; in its password write @ as %40, "
    "/ as %2F and % as %25"
)
# Later than all of ours, as everything is that a project adds after this release.
LATER = "20990101000000_create_reviews.sql"
REVIEWS = "create table public.reviews (id int primary key);\nalter table public.reviews enable row level security;\n"


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> ProjectFolder:
    return ProjectFolder(tmp_path / "a shop", capsys)


def subjects(report: dict[str, Any]) -> list[str]:
    return [problem["subject"] for problem in report["problems"]]


def test_files_come_under_their_own_names_with_their_own_bytes(project: ProjectFolder) -> None:
    status, report = project.report()

    assert status == 0
    assert report["missing"] == sorted(OURS)
    for name in OURS:
        assert (project.folder / name).read_bytes() == (ROOT / "supabase" / "migrations" / name).read_bytes()


def test_run_again_changes_nothing_and_says_so(project: ProjectFolder) -> None:
    project.run()
    before = project.state()

    status, report = project.report()

    assert (status, report["missing"], report["present"]) == (0, [], sorted(OURS))
    assert project.state() == before


def test_newer_release_adds_what_is_missing_and_leaves_the_rest(project: ProjectFolder) -> None:
    project.run()
    newest = max(OURS)
    (project.folder / newest).unlink()
    before = project.state()

    status, report = project.report()

    assert (status, report["missing"]) == (0, [newest])
    assert {name: known for name, known in project.state().items() if not name.endswith(newest)} == before


def test_dry_run_writes_nothing(project: ProjectFolder) -> None:
    before = project.state()

    status, output, _ = project.run("--dry-run")

    assert status == 0
    assert output.count("would write") == len(OURS)
    assert project.state() == before


def test_line_ends_that_git_has_changed_are_no_difference(project: ProjectFolder) -> None:
    name = min(OURS)
    (project.folder / name).write_bytes(OURS[name].replace("\n", "\r\n").encode())

    status, report = project.report()

    assert (status, report["present"]) == (0, [name])


def test_names_of_the_project_bring_no_control_characters_to_the_terminal(project: ProjectFolder) -> None:
    project.add(
        "20250102000000_\x1b[35m.sql",
        "create table public.order_groups (id int);\n"
        'create function public."\x1b]0;\x07"() returns int language sql as $$ select 1 from public.order_groups $$;\n',
    )

    status, output, errors = project.run()

    assert (status, errors) == (1, "")
    assert output.count("\N{REPLACEMENT CHARACTER}") == 4
    assert "".join(output.splitlines()).isprintable()

    project.add("20250102000001_half.sql", 'create table "\x1b[31m')
    status, output, errors = project.run()

    assert (status, output) == (2, "")
    assert errors.removesuffix("\n").isprintable()


def test_queues_come_where_they_are_asked_for_and_stay(project: ProjectFolder) -> None:
    assert project.report()[1]["missing"] == sorted(OURS)

    status, report = project.report("--with", "queues")

    assert (status, report["missing"], report["present"]) == (0, sorted(QUEUES), sorted(OURS))
    for name in QUEUES:
        assert (project.folder / name).read_bytes() == (ROOT / "supabase" / "queues" / name).read_bytes()
    before = project.state()
    for arguments in ((), ("--with", "queues")):
        status, report = project.report(*arguments)
        assert (status, report["missing"], report["present"]) == (0, [], sorted(OURS | QUEUES))
    assert project.state() == before
    project.add(min(QUEUES), "-- edited")
    assert (project.report()[0], subjects(project.report()[1])) == (1, [min(QUEUES)])


def test_nothing_else_can_be_asked_for(project: ProjectFolder) -> None:
    with pytest.raises(SystemExit) as ended:
        project.run("--with", "everything")

    assert ended.value.code == 2


def spoil_edited(project: ProjectFolder) -> str:
    return project.add(min(OURS), "-- ours, edited\n").name


def spoil_version(project: ProjectFolder) -> str:
    return project.add(f"{min(OURS).partition('_')[0]}_create_carts.sql", "create table carts ();\n").name


def spoil_table(project: ProjectFolder) -> str:
    project.add("20250102000000_create_orders.sql", 'CREATE TABLE IF NOT EXISTS "public"."orders" ("id" bigint);\n')
    return "public.orders"


def spoil_function(project: ProjectFolder) -> str:
    text = "create function public.cancel_order_group(id int) returns void language sql as $$ select $$;\n"
    project.add("20250102000000_create_cancel.sql", text)
    return "public.cancel_order_group"


def spoil_schema(project: ProjectFolder) -> str:
    project.add("20250102000000_create_payments.sql", "create schema if not exists payments;\n")
    return "payments"


def spoil_api(project: ProjectFolder) -> str:
    path = project.home / "supabase" / "config.toml"
    path.write_text('[api]\nschemas = ["public", "payments"]\n')
    return "supabase/config.toml"


SPOILERS = [spoil_edited, spoil_version, spoil_table, spoil_function, spoil_schema, spoil_api]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: str(spoil.__name__.removeprefix("spoil_")))
def test_what_is_taken_is_told_with_its_remedy_and_nothing_is_written(
    project: ProjectFolder, spoil: Callable[[ProjectFolder], str]
) -> None:
    subject = spoil(project)
    before = project.state()

    status, report = project.report()
    human_status, output, _ = project.run()

    assert (status, human_status) == (1, 1)
    assert subjects(report) == [subject]
    for word in report["problems"][0].values():
        assert word in output
    assert project.state() == before


def test_folder_that_is_no_project_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["init", str(tmp_path)])

    assert status == 2
    assert "supabase init" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [b"[api\n", b"\xff\xfe"])
def test_project_that_cannot_be_read_is_status_2_in_words(project: ProjectFolder, text: bytes) -> None:
    (project.home / "supabase" / "config.toml").write_bytes(text)

    status, output, errors = project.run()

    assert (status, output) == (2, "")
    assert "config.toml" in errors


def test_migration_that_postgresql_could_not_read_is_status_2_and_its_line_is_named(project: ProjectFolder) -> None:
    project.add("20250102000000_create_carts.sql", "-- \u00e9\ncreate table carts ();\n\ncreate tabel orders ();\n")
    before = project.state()

    status, output, errors = project.run()

    assert (status, output) == (2, "")
    assert errors == (
        'relay: 20250102000000_create_carts.sql, line 4: PostgreSQL cannot read it: syntax error at or near "tabel"\n'
    )
    assert project.state() == before


def test_write_that_fails_is_status_2_and_leaves_no_half_migration(project: ProjectFolder) -> None:
    shutil.rmtree(project.folder)
    project.folder.write_text("a file where the folder should be\n")

    status, output, errors = project.run()

    assert (status, output) == (2, "")
    assert "migrations" in errors
    assert "Traceback" not in errors


def test_help_shows_examples_and_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["init", "--help"])

    said = capsys.readouterr().out
    assert "examples:" in said
    assert "exit status: 0 " in said


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def dsn(postgres: Postgres) -> str:
    """A project's database, as `postgres`; nothing has been pushed to it."""
    name = f"project_{uuid4().hex[:12]}"
    postgres.create_database(name)
    platform.install(postgres.dsn(dbname=name), password=postgres.password)
    return postgres.dsn(user="postgres", dbname=name)


def fetch(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def test_push_then_works_beside_the_projects_own_migrations(project: ProjectFolder, dsn: str) -> None:
    status, report = project.report("--db-url", dsn)
    assert (status, report["include_all"], report["database_checked"]) == (0, False, True)

    supabase_cli.db_push(dsn, project_dir=project.home)

    assert fetch(dsn, "select * from public.security_findings()") == []
    assert fetch(dsn, "select count(*) from public.wishes") == [(0,)]
    assert "up to date" in supabase_cli.db_push(dsn, project_dir=project.home)


def test_queues_are_refused_where_the_database_has_none_and_work_where_it_has(
    project: ProjectFolder, dsn: str, postgres: Postgres
) -> None:
    before = project.state()

    status, report = project.report("--with", "queues", "--db-url", dsn)
    assert (status, subjects(report)) == (1, ["the database"])
    assert "Turn on Queues in the dashboard" in report["problems"][0]["remedy"]
    assert project.state() == before

    with psycopg.connect(postgres.dsn(dbname=str(conninfo_to_dict(dsn)["dbname"])), row_factory=dict_row) as superuser:
        install_pgmq(superuser)
    status, report = project.report("--with", "queues", "--db-url", dsn)
    assert (status, report["missing"]) == (0, sorted(OURS | QUEUES))
    supabase_cli.db_push(dsn, project_dir=project.home)

    assert fetch(dsn, "select * from public.security_findings()") == []
    assert fetch(dsn, "select queue_name from pgmq.meta") == [("order_group_events",)]
    assert project.report("--db-url", dsn)[1]["present"] == sorted(OURS | QUEUES)
    assert "up to date" in supabase_cli.db_push(dsn, project_dir=project.home)


def test_queues_that_are_asked_for_later_are_pushed_beside_what_came_meanwhile(
    project: ProjectFolder, dsn: str, postgres: Postgres
) -> None:
    project.run()
    project.add(LATER, REVIEWS)
    supabase_cli.db_push(dsn, project_dir=project.home)
    with psycopg.connect(postgres.dsn(dbname=str(conninfo_to_dict(dsn)["dbname"])), row_factory=dict_row) as superuser:
        install_pgmq(superuser)

    status, report = project.report("--with", "queues", "--db-url", dsn)
    supabase_cli.db_push(dsn, project_dir=project.home, include_all=True)

    assert (status, report["missing"], report["include_all"]) == (0, sorted(QUEUES), True)
    assert fetch(dsn, "select * from public.security_findings()") == []


def test_later_migration_that_was_pushed_makes_the_push_need_include_all_and_init_says_so(
    project: ProjectFolder, dsn: str
) -> None:
    project.add(LATER, REVIEWS)
    supabase_cli.db_push(dsn, project_dir=project.home)

    status, report = project.report("--db-url", dsn)
    assert (status, report["include_all"]) == (0, True)
    assert "\n  supabase db push --remote --include-all\n" in project.run("--db-url", dsn)[1]

    with pytest.raises(StackError, match="--include-all"):
        supabase_cli.db_push(dsn, project_dir=project.home)
    supabase_cli.db_push(dsn, project_dir=project.home, include_all=True)
    assert fetch(dsn, "select * from public.security_findings()") == []
    assert project.report("--db-url", dsn)[1]["include_all"] is False


def test_without_a_database_it_says_when_include_all_is_needed(project: ProjectFolder) -> None:
    project.add(LATER, REVIEWS)

    status, report = project.report()
    assert (status, report["include_all"], report["database_checked"]) == (0, None, False)

    _, output, _ = project.run("--dry-run")
    assert "The database was not asked" in output


@pytest.mark.parametrize(
    ("made", "taken"),
    [
        ("create table public.orders (number int)", ["public.orders"]),
        ("create type public.products as enum ('book')", ["public.products"]),
        ("create function public.cancel_order_group(int) returns int language sql as 'select 1'", None),
        ("create schema payments", ["payments"]),
        # A renamed table keeps the index of its key under the old name.
        (
            "create table public.orders (id int primary key); alter table public.orders rename to shop_orders",
            ["public.orders_pkey"],
        ),
    ],
)
def test_what_only_the_database_knows_is_noticed_before_the_push_fails_at_it(
    project: ProjectFolder, dsn: str, made: str, taken: list[str] | None
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(made.encode())
    before = project.state()

    status, report = project.report("--db-url", dsn)

    assert (status, subjects(report)) == (1, taken or ["public.cancel_order_group"])
    assert project.state() == before


def test_table_that_was_moved_out_of_the_way_as_advised_lets_the_push_through(project: ProjectFolder, dsn: str) -> None:
    project.add("20250102000000_create_orders.sql", "create table public.orders (id int primary key);\n")
    supabase_cli.db_push(dsn, project_dir=project.home)
    assert project.report("--db-url", dsn)[0] == 1

    project.add("20250103000000_move_orders.sql", "create schema shop; alter table public.orders set schema shop;\n")
    supabase_cli.db_push(dsn, project_dir=project.home)

    assert project.report("--db-url", dsn)[0] == 0
    supabase_cli.db_push(dsn, project_dir=project.home)
    assert fetch(dsn, "select count(*) from shop.orders") == [(0,)]


def test_version_that_was_pushed_under_another_name_is_noticed(project: ProjectFolder, dsn: str) -> None:
    other = project.add(f"{min(OURS).partition('_')[0]}_create_carts.sql", "create table public.carts ();\n")
    supabase_cli.db_push(dsn, project_dir=project.home)
    other.unlink()

    status, report = project.report("--db-url", dsn)

    assert (status, subjects(report)) == (1, [min(OURS).partition("_")[0]])


def test_database_that_is_no_projects_is_noticed(project: ProjectFolder, postgres: Postgres) -> None:
    name = f"bare_{uuid4().hex[:12]}"
    postgres.create_database(name)

    status, report = project.report("--db-url", postgres.dsn(dbname=name))

    assert (status, subjects(report)) == (1, ["the database"])
    assert "auth.users" in report["problems"][0]["detail"]


def test_database_that_cannot_be_asked_is_status_2_and_its_password_is_not_shown(project: ProjectFolder) -> None:
    before = project.state()
    password = uuid4().hex

    for url in (f"postgresql://postgres:{password}@127.0.0.1:{free_port()}/postgres", f"postgres {password}"):
        status, output, errors = project.run("--db-url", url)

        assert (status, output) == (2, "")
        assert errors.startswith("relay: the database cannot be read")
        assert password not in errors
    assert errors.endswith(f"{LIKE}\n")
    assert project.state() == before


@pytest.mark.parametrize("mark", ["@", "@@", ":@", "/", "/@", "@/", "@:", "@?", "@?c=", "%z", "@[", "@,", ":5432/"])
def test_a_password_that_is_not_encoded_is_refused_and_no_part_of_it_is_shown(
    project: ProjectFolder, postgres: Postgres, mark: str
) -> None:
    first, second = uuid4().hex, uuid4().hex
    address = postgres.dsn(dbname="postgres").rpartition("@")[2]
    url = "postgresql://postgres:{}@" + address

    status, output, errors = project.run("--db-url", url.format(f"{first}{mark}{second}"))
    _, _, right = project.run("--db-url", url.format(quote(f"{first}{mark}{second}", safe="")))

    assert (status, output, errors) == (2, "", f"relay: the database cannot be read: {LIKE}\n")
    assert LIKE not in right
    assert first not in right
    assert second not in right
