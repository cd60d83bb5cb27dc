"""Reading from migrations' text which names they take."""

import pytest

from relay.taken_names import Clash, Script, clashes, created

OURS = Script("20261123100200_create_order_tables.sql", "create table public.orders (id uuid primary key);", ours=True)


def clashes_with(*texts: str, version: int = 20250101000000) -> list[str]:
    """The names that a project's migrations, in this order, take from ours."""
    theirs = [Script(f"{version + place}_theirs.sql", text, ours=False) for place, text in enumerate(texts)]
    return [str(clash.name) for clash in clashes([OURS, *theirs])]


@pytest.mark.parametrize(
    "text",
    [
        "create table public.orders ();",
        "create table orders ();",
        "CREATE TABLE IF NOT EXISTS Orders ();",
        'create\n  unlogged table\n  "public"."orders" ();',
        "/* a shop */ create table orders ();",
        "create view orders as select 1;",
        "create materialized view public.orders as select 1;",
        "create sequence orders;",
        "create type orders as enum ('open');",
        "create table purchases (); alter table purchases rename to orders;",
        "create table shop.orders (); alter table shop.orders set schema public;",
        "create table baskets (); create index orders on baskets (id);",
        "drop table if exists orders; create table orders ();",
    ],
)
def test_whatever_takes_the_name_of_a_table_is_noticed(text: str) -> None:
    assert clashes_with(text) == ["public.orders"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "create table shop.orders ();",
        'create table "Orders" ();',
        "create table orders_archive ();",
        "create temporary table orders ();",
        "-- create table orders ();",
        "/* create table orders (); */",
        "comment on schema public is 'create table orders ();';",
        "do $$ begin raise notice 'create table orders ();'; end $$;",
        "create function f() returns void language sql as $f$ create table orders (); $f$;",
        "select E'it\\'s; create table orders ();';",
        "create table orders (); drop table orders;",
        "create table orders (); drop table a, b, public.orders cascade;",
        "create table orders (); alter table orders rename to purchases;",
        "create table orders (); alter table only public.orders set schema shop;",
        "create function orders() returns int language sql as 'select 1';",
        "alter table orders rename column purchases to orders;",
    ],
)
def test_what_takes_no_name_or_gave_it_back_is_not_held_against_the_project(text: str) -> None:
    assert clashes_with(text) == []


def test_index_that_stays_behind_when_its_table_is_renamed_is_noticed() -> None:
    create, rename = "create table orders (id int primary key);", "alter table orders rename to shop_orders;"

    assert clashes_with(create, rename) == ["public.orders_pkey"]
    assert clashes_with(create, rename, "alter index orders_pkey rename to shop_orders_pkey;") == []
    assert (
        clashes_with(create, rename, "alter table shop_orders rename constraint orders_pkey to shop_orders_pkey;") == []
    )
    assert clashes_with(create, rename, "drop table shop_orders;") == []


def test_index_moves_with_its_table_to_another_schema() -> None:
    create, move = "create table orders (id int primary key);", "alter table orders set schema shop;"

    assert clashes_with(create, move) == []
    assert clashes_with(create, move, "alter table shop.orders set schema public;") == [
        "public.orders",
        "public.orders_pkey",
    ]


def test_key_that_a_dump_adds_to_its_table_is_noticed() -> None:
    dump = (
        'CREATE TABLE "public"."t" (); ALTER TABLE ONLY "public"."t" ADD CONSTRAINT "orders_pkey" PRIMARY KEY ("id");'
    )

    assert clashes_with(dump) == ["public.orders_pkey"]


def test_schema_that_is_dropped_gives_all_its_names_back() -> None:
    payments = Script("2_payments.sql", "create schema payments; create table payments.events ();", ours=True)
    theirs = "create schema payments; create table payments.events ();"

    assert [str(clash.name) for clash in clashes([Script("1_a.sql", theirs, ours=False), payments])] == [
        "payments",
        "payments.events",
    ]
    assert clashes([Script("1_a.sql", f"{theirs} drop schema payments cascade;", ours=False), payments]) == []


def test_function_of_the_name_is_noticed_whatever_its_parameters() -> None:
    ours = Script("2_ours.sql", "create or replace function public.f(p_id uuid) returns int as $$ $$;", ours=True)

    def found(text: str) -> list[Clash]:
        return clashes([Script("1_theirs.sql", text, ours=False), ours])

    assert len(found("create function f(numeric(10, 2), int default 1) returns int as $$ $$;")) == 1
    assert len(found("create procedure public.f() as $$ $$;")) == 1
    assert found("create function f(a numeric(10, 2)) as $$ $$; drop function if exists f(numeric(10, 2));") == []
    assert found("create function f() as $$ $$; alter function f() rename to g;") == []


def test_order_is_that_of_the_files_names_so_room_must_be_made_before_ours() -> None:
    create, rename = "create table orders ();", "alter table orders rename to shop_orders;"

    assert clashes_with(create, rename) == []
    late = [Script("20250101000000_a.sql", create, ours=False), Script("20270101000000_b.sql", rename, ours=False)]
    assert [clash.first.file for clash in clashes([OURS, *late])] == ["20250101000000_a.sql"]


def test_name_taken_after_ours_is_noticed_too() -> None:
    (clash,) = clashes([Script("20270101000000_late.sql", "create table orders ();", ours=False), OURS])

    assert (clash.first.ours, clash.second.file) == (True, "20270101000000_late.sql")


def test_own_repetitions_are_the_projects_own_business() -> None:
    again = [Script(f"{n}_a.sql", "create table if not exists things ();", ours=False) for n in range(2)]

    assert clashes([OURS, *again]) == []


def test_created_names_are_those_that_a_script_leaves_behind() -> None:
    left = created("create table a (id int constraint key_of_a primary key); create table b (); drop table b;")

    assert {str(name) for name in left} == {"public.a", "public.key_of_a"}
