"""A project whose own tables bear our names makes room as docs/adopting.md says, and nobody notices."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from local_stack import platform, supabase_cli
from local_stack.errors import StackError
from local_stack.postgres import Postgres
from local_stack.stack import Stack
from relay.cli import main
from relay.commands.init.command import migrations
from testkit.database import Connection, Database, Row
from testkit.invariants import broken_invariants
from testkit.project_folder import ProjectFolder
from testkit.relay_process import RelayProcess
from testkit.shop import paid, shop_on
from testkit.stripe_events import deliver, encode

pytestmark = pytest.mark.release

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "adopting.md"
BUYER = UUID("00000000-0000-4000-8000-00000000000a")
# Another shape than ours, and all that hangs on a table: rows, a policy, a trigger, a reference, a view, functions.
ORDERS = """\
insert into auth.users (id) values ('00000000-0000-4000-8000-00000000000a');
create table public.orders (
    id bigint generated always as identity primary key,
    customer uuid references auth.users (id),
    cents int not null,
    changes int not null default 0
);
create index orders_to_fulfil_paid_at_idx on public.orders (customer);
alter table public.orders enable row level security;
create policy "Buyers and the seller's members can read an order" on public.orders
for select to authenticated using (customer = (select auth.uid()));
revoke all on table public.orders from anon, authenticated, service_role;
grant select on table public.orders to authenticated;
grant select, insert, update, delete on table public.orders to service_role;
create function public.tg_orders() returns trigger language plpgsql set search_path = '' as $$
begin new.changes := old.changes + 1; return new; end; $$;
create trigger orders_move_forward before update on public.orders
for each row execute function public.tg_orders();
create table public.parcels (id int primary key, order_id bigint references public.orders (id));
alter table public.parcels enable row level security;
create view public.big_orders with (security_invoker = on) as select id, cents from public.orders where cents > 1000;
revoke all on table public.big_orders from anon, authenticated, service_role;
grant select on table public.big_orders to authenticated;
create function public.turnover() returns bigint language sql stable set search_path = '' as
'select sum(cents) from public.orders';
insert into public.orders (customer, cents) values ('00000000-0000-4000-8000-00000000000a', 1999), (null, 500);
insert into public.parcels values (1, 1);
"""
SAY_THE_NEW_NAME = """\
create or replace function public.turnover() returns bigint language sql stable set search_path = '' as
'select sum(cents) from public.shop_orders';
"""
EARLY, LATE = "20250102000000_create_orders.sql", "20270102000000_create_orders.sql"


def steps() -> list[str]:
    """The SQL of the section: a second name, the functions that say the old one, room."""
    (section,) = re.findall(r"^## When a name is taken\n(.*?)^## ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return re.findall(r"^```sql\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def rows(connection: Connection, query: str) -> list[Row]:
    return connection.execute(query.encode()).fetchall()


def readers_see_what_they_saw(database: Database) -> None:
    """By the table's second name, as each of those who read and write it; and by the view and the function on it."""
    with database.act_as("authenticated", user_id=BUYER) as buyer:
        assert rows(buyer, "select id, cents from public.shop_orders") == [{"id": 1, "cents": 1999}]
        assert rows(buyer, "select id from public.big_orders") == [{"id": 1}]
    with database.act_as("service_role", autocommit=False) as server:
        changed = "update public.shop_orders set cents = 1 where id = 1 returning changes"
        assert rows(server, changed) == [{"changes": 1}]
        server.rollback()
        assert rows(server, "select count(*) from public.shop_orders") == [{"count": 2}]
    with database.connect("postgres") as owner:
        assert rows(owner, "select public.turnover()") == [{"turnover": 2499}]
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            owner.execute("insert into public.parcels values (2, 99)")


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> ProjectFolder:
    return ProjectFolder(tmp_path / "a shop", capsys)


def test_shop_with_orders_of_its_own_makes_room_and_is_paid_through_ours(project: ProjectFolder) -> None:
    second_name, who_says_it, room = steps()

    def adopt(dsn: str) -> str:
        project.add(EARLY, ORDERS)
        supabase_cli.db_push(dsn, project_dir=project.home)
        before = project.state()
        for options in ([], ["--db-url", dsn]):
            status, output, _ = project.run(*options)
            assert status == 1
            assert "When a name is taken" in output
            # The page's statements, and that of an index which not every shop has, as one block to copy.
            shown = re.findall(r"^ {6}(alter .*;)$", output, re.MULTILINE)
            assert shown == [*room.splitlines()[1:], index_too]
        assert project.state() == before

        database = Database("postgres", *connection_of(dsn))
        with database.connect("postgres") as owner:
            owner.execute(second_name.encode())
            readers_see_what_they_saw(database)
            assert [row["function"] for row in rows(owner, who_says_it)] == ["turnover()"]
        assert project.run("--db-url", dsn)[0] == 1

        project.add("20250104000000_make_room.sql", room + index_too + SAY_THE_NEW_NAME)
        supabase_cli.db_push(dsn, project_dir=project.home)
        readers_see_what_they_saw(database)

        assert project.run("--db-url", dsn)[0] == 0
        return supabase_cli.db_push(dsn, project_dir=project.home)

    index_too = "alter index public.orders_to_fulfil_paid_at_idx rename to shop_orders_to_fulfil_paid_at_idx;"
    with Stack(migrate=adopt) as stack, shop_on(stack) as shop:
        relay = RelayProcess(env=stack.env(), log=stack.postgres.home / "relay.log")
        relay.start()
        try:
            group = shop.order_group()
            body = encode(paid(group))
            answer = deliver(relay.webhook_url, body, secret=stack.stripe_webhook_secret)
            assert (answer.status, answer.body["outcome"]) == (200, "applied")
            assert deliver(relay.webhook_url, body, secret=stack.stripe_webhook_secret).body["outcome"] == "replayed"
        finally:
            relay.stop()
        readers_see_what_they_saw(Database("postgres", *connection_of(stack.dsn())))
        headers = {"apikey": stack.anon_key, "Authorization": f"Bearer {stack.user_token(BUYER)}"}
        answered = httpx.get(f"{stack.url}/rest/v1/shop_orders?select=id,cents", headers=headers, trust_env=False)
        assert answered.json() == [{"id": 1, "cents": 1999}]
        with psycopg.connect(stack.dsn(), row_factory=dict_row) as superuser:
            status = rows(superuser, f"select status from public.order_groups where id = '{group.id}'")
            assert status == [{"status": "paid"}]
            assert broken_invariants(superuser) == []
            assert rows(superuser, "select * from public.security_findings()") == []


# A linked project's database, for the CLI as a person types it.
SUPABASE = """\
#!/bin/sh
for word; do
    shift
    if [ "$word" = --remote ]; then word="--remote=$DATABASE_URL"; fi
    set -- "$@" "$word"
done
exec "$CLI" "$@" --yes
"""


def typed(line: str, folder: Path, *, env: dict[str, str]) -> str:
    """What a command says, as a person types it in a folder. It must succeed."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name, text in (("supabase", SUPABASE), ("relay", f'#!/bin/sh\nexec "{sys.executable}" -m relay "$@"\n')):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    quiet = {"SUPABASE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1", "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={"PATH": path, "CLI": str(supabase_cli.cli_path()), **quiet, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_what_init_says_after_each_step_leads_to_a_relay_that_may_reconcile(project: ProjectFolder) -> None:
    """From a project whose later migration has our name: each line as it was printed, and nothing else."""
    advice = ""

    def adopt(dsn: str) -> str:
        nonlocal advice
        env = {"DATABASE_URL": dsn}
        own = project.add(LATE, ORDERS)
        typed("supabase db push --remote", project.home, env=env)
        status, refusal, _ = project.run("--db-url", dsn)
        assert status == 1
        own.write_text(re.sub(r"\b(public\.orders|orders_to_fulfil_paid_at_idx)\b", shop_name, ORDERS))
        shown = re.findall(r"^ {6}(alter .* if exists .*;)$", refusal, re.MULTILINE)
        says = "the database: function turnover() says public.orders"
        assert says in refusal
        project.add("20261101000000_make_room.sql", "\n".join(shown))
        push = re.search(r"`(supabase db push [^`]*)`\.$", refusal, re.MULTILINE)
        assert push
        typed(push[1], project.home, env=env)
        with psycopg.connect(dsn) as owner:  # its file has run there and does not run again
            owner.execute(SAY_THE_NEW_NAME.encode())

        status, advice, _ = project.run("--db-url", dsn)
        assert status == 0
        pushes = re.findall(r"^  (supabase .*)$", advice, re.MULTILINE)
        assert pushes == [
            "supabase db push --remote --include-all --dry-run",
            "supabase db push --remote --include-all",
        ]
        said = [typed(line, project.home, env=env) for line in pushes]
        (editor,) = re.findall(r"^  (select .*;)", advice, re.MULTILINE)
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            assert rows(connection, editor) == []
            assert rows(connection, "select public.turnover()") == [{"turnover": 2499}]
        return said[-1]

    with Stack(migrate=adopt) as stack:
        (check,) = re.findall(r"^  (relay check.*)$", advice, re.MULTILINE)
        settings = "".join(f"{name}={value}\n" for name, value in stack.env().items())
        (project.home / ".env").write_text(settings)
        assert {line.split()[0] for line in typed(check, project.home, env={}).splitlines()} == {"ok"}


def connection_of(dsn: str) -> tuple[str, int, str]:
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return str(parts["host"]), int(str(parts["port"])), str(parts["password"])


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


def new_database(postgres: Postgres) -> str:
    """A project's database before its first migration; its URL as `postgres`."""
    name = f"project_{uuid4().hex[:12]}"
    postgres.create_database(name)
    platform.install(postgres.dsn(dbname=name), password=postgres.password)
    return postgres.dsn(user="postgres", dbname=name)


def push(project: ProjectFolder, dsn: str, *, include_all: bool = False) -> None:
    supabase_cli.db_push(dsn, project_dir=project.home, include_all=include_all)


def shop_name(match: re.Match[str]) -> str:
    schema, dot, name = match[0].rpartition(".")
    return f"{schema}{dot}shop_{name}"


def findings(dsn: str) -> list[Row]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return rows(connection, "select * from public.security_findings()")


def test_orders_of_a_later_migration_make_room_where_they_are_and_in_a_new_database(
    project: ProjectFolder, postgres: Postgres
) -> None:
    lives, new = new_database(postgres), new_database(postgres)
    own = project.add(LATE, ORDERS)
    push(project, lives)
    with psycopg.connect(lives) as owner:
        owner.execute(steps()[0].encode())
    status, output, _ = project.run("--db-url", lives)
    assert (status, "write the other name into that file too" in output) == (1, True)
    shown = re.findall(r"^ {6}(alter .* if exists .*;)$", output, re.MULTILINE)
    assert len(shown) == 3
    room = "\n".join([steps()[2].splitlines()[0], *shown])

    own.write_text(re.sub(r"\b(public\.orders|orders_to_fulfil_paid_at_idx)\b", shop_name, ORDERS))
    project.add("20261101000000_make_room.sql", room)
    push(project, lives, include_all=True)
    assert project.run("--db-url", lives)[0] == 0
    with pytest.raises(StackError, match="--include-all"):
        push(project, lives)
    push(project, lives, include_all=True)
    push(project, new)

    for dsn in (lives, new):
        assert findings(dsn) == []
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            assert rows(connection, "select count(*) from public.shop_orders") == [{"count": 2}]


def test_functions_that_say_the_name_are_replaced_after_the_renaming_and_exist_in_a_new_database(
    project: ProjectFolder, postgres: Postgres
) -> None:
    lives, new = new_database(postgres), new_database(postgres)
    project.add(EARLY, ORDERS)
    push(project, lives)
    second_name, _, room = steps()
    with psycopg.connect(lives) as owner:
        owner.execute(second_name.encode())
    status, refusal, _ = project.run("--db-url", lives)
    assert status == 1
    shown = re.findall(r"^ {6}(alter .*;)$", refusal, re.MULTILINE)
    assert "in the migration that makes room, after the renaming." in refusal

    project.add("20250104000000_make_room.sql", "\n".join([room.splitlines()[0], *shown, SAY_THE_NEW_NAME]))
    push(project, lives)
    assert project.run("--db-url", lives)[0] == 0
    push(project, lives)
    push(project, new)

    for dsn in (lives, new):
        assert findings(dsn) == []
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            assert rows(connection, "select public.turnover()") == [{"turnover": 2499}]


# What else may bear one of our names -> the statement that init shows for it, from a file and from the database.
TAKEN: dict[LiteralString, str] = {
    "create type public.products as enum ('book')": "alter type public.products rename to shop_products;",
    "create domain public.sellers as text": "alter domain public.sellers rename to shop_sellers;",
    "create view public.orders with (security_invoker = on) as select 1 as id": (
        "alter view {careful}public.orders rename to shop_orders;"
    ),
    "create sequence public.inventory_ledger_id_seq": (
        "alter sequence {careful}public.inventory_ledger_id_seq rename to shop_inventory_ledger_id_seq;"
    ),
    "create index orders_to_fulfil_paid_at_idx on public.wishes (id)": (
        "alter index {careful}public.orders_to_fulfil_paid_at_idx rename to shop_orders_to_fulfil_paid_at_idx;"
    ),
    "create function public.cancel_order_group(int) returns int language sql set search_path = '' as 'select 1'": (
        "alter {function} public.cancel_order_group rename to shop_cancel_order_group;"
    ),
    "create schema payments; create table payments.invoices (id int primary key)": (
        "alter schema payments rename to shop_payments;"
    ),
}


@pytest.mark.parametrize("known", ["in the folder", "in the database alone"])
def test_statements_that_init_shows_make_room_for_whatever_took_a_name(
    project: ProjectFolder, postgres: Postgres, known: str
) -> None:
    dsn = new_database(postgres)
    words = {"careful": "", "function": "function"}
    if known == "in the folder":
        project.add("20250102000000_create_them.sql", "".join(f"{made};\n" for made in TAKEN))
        push(project, dsn)
    else:
        push(project, dsn)
        words = {"careful": "if exists ", "function": "routine"}
        with psycopg.connect(dsn) as owner:
            for made in TAKEN:
                owner.execute(made)

    status, report = project.report("--db-url", dsn)
    statements = sorted(problem["statement"] for problem in report["problems"])
    assert (status, statements) == (1, sorted(statement.format(**words) for statement in TAKEN.values()))
    project.add("20250103000000_make_room.sql", "\n".join(statements))
    push(project, dsn)

    assert project.run("--db-url", dsn)[0] == 0
    push(project, dsn)
    assert findings(dsn) == []


def test_policies_triggers_and_constraints_of_our_names_are_in_nobodys_way(
    project: ProjectFolder, postgres: Postgres
) -> None:
    dsn = new_database(postgres)
    project.add(
        "20250102000000_create_notes.sql",
        """
        create table public.notes (id int, constraint orders_seller_id_fkey check (id > 0));
        alter table public.notes enable row level security;
        create policy "Members can read their own sellers" on public.notes for select using (false);
        create function public.tg_notes() returns trigger language plpgsql set search_path = '' as
        'begin return new; end';
        create trigger orders_move_forward before update on public.notes
        for each row execute function public.tg_notes();
        """,
    )
    push(project, dsn)

    assert project.run("--db-url", dsn)[0] == 0
    push(project, dsn)
    assert findings(dsn) == []


def test_version_that_is_taken_is_moved_to_a_free_one_as_advised(project: ProjectFolder, postgres: Postgres) -> None:
    dsn, version = new_database(postgres), min(migrations()).partition("_")[0]
    free = str(int(version) - 1)
    carts = "create table public.carts (); alter table public.carts enable row level security;\n"
    own = project.add(f"{version}_create_carts.sql", carts)
    push(project, dsn)
    status, report = project.report("--db-url", dsn)
    assert status == 1
    assert all("migration repair" in problem["remedy"] for problem in report["problems"])

    own.rename(own.with_name(f"{free}_create_carts.sql"))
    supabase_cli.migration_repair(dsn, {version: "reverted", free: "applied"}, project_dir=project.home)

    assert project.run("--db-url", dsn)[0] == 0
    push(project, dsn)
    assert findings(dsn) == []


def test_migration_that_the_folder_lacks_is_told_before_the_push_refuses(
    project: ProjectFolder, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    dsn = new_database(postgres)
    own = project.add("20250102000000_create_notes.sql", "create table public.notes ();\n")
    push(project, dsn)
    own.unlink()
    before = project.state()

    status = main(["init", str(project.home), "--json", "--db-url", dsn])

    report = json.loads(capsys.readouterr().out)
    assert (status, [problem["subject"] for problem in report["problems"]]) == (1, ["20250102000000"])
    assert "supabase migration fetch" in report["problems"][0]["remedy"]
    assert project.state() == before
