"""What a renaming does not reach: `relay init` lists it, from the files and from the database, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from local_stack import platform, supabase_cli
from local_stack.postgres import Postgres
from relay.commands.init.mentions import Body, in_database, in_earlier_migrations
from relay.commands.init.sql_statements import Name
from testkit.project_folder import ProjectFolder

ORDERS = Name("relation", "public", "orders")
PAYMENTS = Name("schema", "payments", "payments")
EARLY, LATE = "20250102000000_create_orders.sql", "20990102000000_use_orders.sql"
# A table of our name, and all that hangs on it: what follows it, and what says its name.
TABLE = """\
create table public.orders (id bigint primary key, cents int not null default 0);
alter table public.orders enable row level security;
create table public.parcels (id int primary key, orders int, order_id bigint references public.orders (id));
alter table public.parcels enable row level security;
create view public.big_orders with (security_invoker = on) as select id from public.orders where cents > 1000;
create policy "Big orders have parcels" on public.parcels for select to authenticated
using (exists (select from public.orders as o where o.id = order_id));
-- a comment of public.orders
create function public.turnover() returns bigint language sql stable set search_path = '' as
'select sum(cents) from public.orders';
create function public.counted() returns bigint language plpgsql set search_path = '' as $$
begin
    execute 'select count(*) from orders';
    return 1;
end;
$$;
create function public.parsed() returns bigint language sql stable set search_path = ''
begin atomic; select sum(cents) from public.orders; end;
create function public.innocent() returns int language plpgsql set search_path = '' as $$
begin
    -- not of public.orders
    return (select max(p.orders) from public.parcels as p);
end;
$$;
create function public.replaced() returns bigint language sql set search_path = '' as
'select count(*) from public.orders';
create or replace function public.replaced() returns bigint language sql set search_path = '' as 'select 1::bigint';
create view public.totals with (security_invoker = on) as select public.turnover() as cents;
create policy "Who has turnover" on public.parcels for delete to authenticated using (public.turnover() > 0);
"""
LATER = """\
create or replace view public.small_orders with (security_invoker = on) as
select id from public.orders where cents < 10;
create policy "Everybody reads" on orders for select to anon using (true);
alter policy "Everybody reads" on public.orders to authenticated;
create trigger moved before update on "public"."orders" for each row execute function public.tg_moved();
create function public.another() returns void language sql set search_path = '' as $$
    delete from public.orders where false
$$;
create view public.other with (security_invoker = on) as select 1 as id, shop.orders.cents from shop.orders;
grant select on public.orders to anon;
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> ProjectFolder:
    return ProjectFolder(tmp_path / "a shop", capsys)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def dsn(postgres: Postgres) -> str:
    name = f"project_{uuid4().hex[:12]}"
    postgres.create_database(name)
    platform.install(postgres.dsn(dbname=name), password=postgres.password)
    return postgres.dsn(user="postgres", dbname=name)


def mentions(project: ProjectFolder, *options: str) -> list[tuple[str, str, str]]:
    """Place, subject and detail of each, as a program reads them; a person is told the same."""
    status, report = project.report(*options)
    told = [(one["place"], one["subject"], one["detail"]) for one in report["mentions"]]
    _, output, _ = project.run(*options)
    assert status == (1 if report["problems"] else 0)
    assert [f"  {place}: {subject} {detail}\n" in output for place, subject, detail in told] == [True] * len(told)
    assert ("A renaming does not reach" in output) is bool(told)
    return told


OF_THE_FOLDER = [
    (f"supabase/migrations/{EARLY}, line 9", "function public.turnover", "says public.orders"),
    (f"supabase/migrations/{EARLY}, line 11", "function public.counted", "says public.orders"),
    (f"supabase/migrations/{EARLY}, line 17", "function public.parsed", "says public.orders"),
]
OF_LATER_FILES = [
    (f"supabase/migrations/{LATE}, line 2", "view public.small_orders", "says public.orders"),
    (f"supabase/migrations/{LATE}, line 3", 'policy "Everybody reads" on public.orders', "says public.orders"),
    (f"supabase/migrations/{LATE}, line 4", 'policy "Everybody reads" on public.orders', "says public.orders"),
    (f"supabase/migrations/{LATE}, line 5", "trigger moved on public.orders", "says public.orders"),
    (f"supabase/migrations/{LATE}, line 7", "function public.another", "says public.orders"),
    (f"supabase/migrations/{LATE}, line 10", "statement", "says public.orders"),
]
OF_THE_DATABASE = [
    ("the database", "function counted()", "says public.orders"),
    ("the database", "function turnover()", "says public.orders"),
    ("the database", 'policy "Who has turnover" on parcels', "uses function turnover()"),
    ("the database", "view totals", "uses function turnover()"),
]


def test_files_that_say_a_taken_name_are_listed_by_line_and_what_follows_by_itself_is_not(
    project: ProjectFolder,
) -> None:
    project.add(EARLY, TABLE)
    project.add(LATE, LATER)
    (project.home / "supabase" / "seed.sql").write_text(
        "\\echo seed\n-- orders\ninsert into public.orders values (1);\n"
    )

    assert mentions(project) == [
        *OF_THE_FOLDER,
        *OF_LATER_FILES,
        ("supabase/seed.sql, line 3", "statement", "says public.orders"),
    ]


def test_database_says_which_functions_it_has_now_and_what_breaks_with_them(project: ProjectFolder, dsn: str) -> None:
    project.add(EARLY, TABLE)
    supabase_cli.db_push(dsn, project_dir=project.home)
    project.add(LATE, LATER)
    waits = "20250103000000_not_pushed_yet.sql"
    project.add(waits, "create function public.waits() returns void language sql as 'delete from public.orders';\n")

    assert mentions(project, "--db-url", dsn) == [
        *OF_THE_DATABASE,
        (f"supabase/migrations/{waits}, line 1", "function public.waits", "says public.orders"),
        *OF_LATER_FILES,
    ]


def test_what_is_listed_breaks_by_the_renaming_and_what_is_not_listed_does_not(
    project: ProjectFolder, dsn: str
) -> None:
    project.add(EARLY, TABLE)
    supabase_cli.db_push(dsn, project_dir=project.home)
    listed = {subject for _, subject, _ in mentions(project, "--db-url", dsn)}
    read = {
        "function counted()": "select public.counted()",
        "function turnover()": "select public.turnover()",
        "function parsed()": "select public.parsed()",
        "function innocent()": "select public.innocent()",
        "function replaced()": "select public.replaced()",
        "view big_orders": "select * from public.big_orders",
        "view totals": "select * from public.totals",
    }

    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute("set search_path = ''")
        for query in read.values():
            if "counted" not in query:  # it finds its table by the search path, and this session has none
                owner.execute(query.encode())
        owner.execute("alter table public.orders rename to shop_orders")
        broken = set()
        for subject, query in read.items():
            try:
                owner.execute(query.encode())
            except psycopg.errors.UndefinedTable:
                broken.add(subject)

    assert broken == listed & read.keys()


def test_where_nothing_is_taken_nothing_is_listed(project: ProjectFolder, dsn: str) -> None:
    project.add(LATE, "create view public.paid_orders with (security_invoker = on) as select id from public.orders;\n")

    assert mentions(project) == mentions(project, "--db-url", dsn) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("select from public.orders", True),
        ("select from orders", True),
        ('select from "orders"', True),
        ("select from PUBLIC.ORDERS", True),
        ("execute 'select from orders'", True),
        ("execute 'it''s from ' || 'orders'", True),
        ("execute $q$ select from public.orders $q$", True),
        ("select from shop.orders", False),
        ('select from "Orders"', False),
        ("select o.orders from o", False),
        ("select from orders_old", False),
        ("-- orders\nselect /* orders */ 1", False),
        ("raise notice 'no end of orders", True),  # what the scanner cannot read is read word by word
    ],
)
def test_a_name_is_found_in_code_and_strings_and_not_in_comments(text: str, said: bool) -> None:
    found = [mention.detail for mention in in_database({ORDERS}, [Body("function f()", text)])]

    assert found == (["says public.orders"] if said else [])


@pytest.mark.parametrize(
    ("text", "said"),
    [("payments.charge()", True), ("from payments.x", True), ("payments", False), ("a.payments", False)],
)
def test_a_schema_is_said_where_something_in_it_is(text: str, said: bool) -> None:
    assert bool(list(in_database({PAYMENTS}, [Body("function f()", text)]))) is said


def test_only_the_last_definition_of_a_function_counts() -> None:
    body = "create or replace function public.f() returns void language sql as 'delete from public.{}';\n"
    say, say_not = body.format("orders"), body.format("shop_orders")

    assert list(in_earlier_migrations({ORDERS}, {"1_a.sql": say, "2_b.sql": say_not})) == []
    assert [one.place for one in in_earlier_migrations({ORDERS}, {"1_a.sql": say_not, "2_b.sql": say})] == [
        "2_b.sql, line 1"
    ]
