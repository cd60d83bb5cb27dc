"""Whatever of the migrations' work is dropped or altered, `security_findings()` names it, and nothing else.

The subjects come from the catalogue, so what is new tomorrow is spoilt tomorrow. One fault at a time is sown into all
objects of a kind, in a transaction that is rolled back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product

import pytest

from sql_tests.privileges import (
    COLUMN_VERBS,
    COLUMNS,
    FUNCTIONS,
    ROLES,
    SEQUENCE_VERBS,
    SEQUENCES,
    TABLE_GRANTS,
    TABLE_VERBS,
    may_column,
    may_execute,
    may_table,
)
from testkit.database import Connection, Database, Row

OURS = "('public'::regnamespace, 'payments'::regnamespace)"

# What looks: without one of these there is no answer, and with another search_path it prints all names otherwise.
LOOKING = {
    "public.security_findings()",
    "payments.own_objects()",
    "payments.definitions()",
    "payments.privilege_differences()",
    "payments.open_doors()",
}

GUARDS = f"""
select t.tgname::text as name, c.oid::regclass::text as object, pg_get_triggerdef(t.oid) as definition,
    p.oid::regproc::text as function, t.tgenabled::text as enabled
from pg_trigger as t
inner join pg_class as c on c.oid = t.tgrelid and c.relnamespace in {OURS}
inner join pg_proc as p on p.oid = t.tgfoid
where not t.tgisinternal
"""
CONSTRAINTS = f"""
select c.conname::text as name, c.conrelid::regclass::text as object
from pg_constraint as c where c.connamespace in {OURS} and c.contype <> 'n'
"""
INDEXES = f"""
select c.relname::text as name, i.indrelid::regclass::text as object, i.indexrelid::regclass::text as index,
    exists (select from pg_constraint as k where k.conindid = i.indexrelid and k.contype <> 'f') as is_of_constraint
from pg_index as i inner join pg_class as c on c.oid = i.indexrelid and c.relnamespace in {OURS}
"""
POLICIES = f"""
select p.polname::text as name, p.polrelid::regclass::text as object
from pg_policy as p inner join pg_class as c on c.oid = p.polrelid and c.relnamespace in {OURS}
"""
FUNCTIONS_NOW = f"""
select p.oid::regprocedure::text as object, pg_get_functiondef(p.oid) as definition, p.proconfig as settings,
    p.prosecdef as lends_rights, p.provolatile::text as volatility
from pg_proc as p where p.pronamespace in {OURS}
"""
TABLES = f"select c.oid::regclass::text as object from pg_class as c where c.relnamespace in {OURS} and c.relkind = 'r'"
COLUMNS_NOW = f"""
select a.attname::text as name, c.oid::regclass::text as object, a.attnotnull as is_not_null,
    a.atthasdef and a.attgenerated = '' as has_default, a.attidentity <> '' as is_identity,
    exists (
        select from pg_index as i where i.indrelid = c.oid and i.indisprimary and a.attnum = any(i.indkey)
    ) as is_key
from pg_attribute as a inner join pg_class as c on c.oid = a.attrelid and c.relkind = 'r' and c.relnamespace in {OURS}
where a.attnum > 0 and not a.attisdropped
"""


@pytest.fixture(scope="module")
def owner(module_db: Database) -> Iterator[Connection]:
    with module_db.connect("postgres", autocommit=True) as connection:
        connection.execute("set search_path = ''")
        yield connection


@contextmanager
def sown(owner: Connection, statements: Iterable[str]) -> Iterator[list[Row]]:
    """The findings once all of the statements ran."""
    with owner.transaction(force_rollback=True):
        for statement in statements:
            owner.execute(statement.encode())
        yield findings(owner)


def findings(connection: Connection) -> list[Row]:
    return connection.execute("select * from public.security_findings()").fetchall()


def rows_of(connection: Connection, query: str) -> list[Row]:
    rows = connection.execute(query.encode()).fetchall()
    assert rows
    return rows


def told(rows: Iterable[Row], finding: str) -> set[tuple[str, str]]:
    """The objects of a finding, each with its part: the name of a constraint, a trigger … or nothing."""
    return {
        (row["object"], re.split(r" ?(?:does not exist|is: |its body, )", row["detail"])[0])
        for row in rows
        if row["finding"] == finding
    }


def parts(rows: Iterable[Row]) -> set[tuple[str, str]]:
    return {(row["object"], row["name"]) for row in rows}


NOTHING = "create function public.nothing() returns trigger language plpgsql as 'begin return new; end'"


def test_every_guard_that_is_dropped_disabled_or_empty_is_named(owner: Connection) -> None:
    guards = rows_of(owner, GUARDS)
    faults = [
        [f"drop trigger {g['name']} on {g['object']}" for g in guards],
        [f"alter table {g['object']} disable trigger {g['name']}" for g in guards],
        [f"alter table {g['object']} enable replica trigger {g['name']}" for g in guards],
        [
            f"alter table {g['object']} enable {'' if g['enabled'] == 'A' else 'always'} trigger {g['name']}"
            for g in guards
        ],
        [
            NOTHING,
            *(
                g["definition"].replace("CREATE", "CREATE OR REPLACE").replace(g["function"], "public.nothing")
                for g in guards
            ),
        ],
    ]

    for fault in faults:
        with sown(owner, fault) as found:
            assert told(found, "missing_guard") == parts(guards), fault[-1]
            assert {row["finding"] for row in found} == {"missing_guard"}, fault[-1]


def test_every_event_that_a_guard_fires_for_is_missed(owner: Connection) -> None:
    for guard in rows_of(owner, GUARDS):
        start, _, rest = guard["definition"].partition(" ON ")
        when = "BEFORE" if " BEFORE " in start else "AFTER"
        head, _, events = start.partition(f" {when} ")
        for event in events.split(" OR ") if " OR " in events else []:
            fewer = " OR ".join(one for one in events.split(" OR ") if one != event)
            fault = f"{head.replace('CREATE', 'CREATE OR REPLACE')} {when} {fewer} ON {rest}"
            with sown(owner, [fault]) as found:
                assert told(found, "missing_guard") == {(guard["object"], guard["name"])}, fault


def test_every_constraint_and_index_that_is_dropped_is_named(owner: Connection) -> None:
    constraints, indexes = rows_of(owner, CONSTRAINTS), rows_of(owner, INDEXES)
    drops = [f"alter table {c['object']} drop constraint if exists {c['name']} cascade" for c in constraints]
    drops += [f"drop index {i['index']}" for i in indexes if not i["is_of_constraint"]]

    with sown(owner, drops) as found:
        assert told(found, "missing_constraint") == parts(constraints)
        assert told(found, "missing_index") == parts(indexes)
        # A key takes the `not null` and the statements with it that stand on it, on some versions.
        assert {row["finding"] for row in found} <= {"missing_constraint", "missing_index", "changed_rule"}


def test_every_policy_that_is_dropped_or_opened_is_named(owner: Connection) -> None:
    policies = rows_of(owner, POLICIES)
    for fault, finding in (
        ('drop policy "{name}" on {object}', "missing_policy"),
        ('alter policy "{name}" on {object} using (true)', "changed_policy"),
        ('alter policy "{name}" on {object} to anon', "changed_policy"),
        ('alter policy "{name}" on {object} rename to other', "missing_policy"),
    ):
        with sown(owner, [fault.format(**policy) for policy in policies]) as found:
            assert told(found, finding) == parts(policies), fault


def test_every_policy_that_is_for_more_or_less_than_reading_is_named(owner: Connection) -> None:
    policies = rows_of(owner, POLICIES)
    for fault in ("for all using", "as restrictive for select using", "for insert with check"):
        again = []
        for policy in policies:
            role = "public" if policy["object"].startswith("payments.") else "authenticated"
            head, _, claim = fault.rpartition(" ")
            verb = f"{head} to {role} {claim}".replace("with to", "to").replace(f"{role} check", f"{role} with check")
            again.append(f'drop policy "{policy["name"]}" on {policy["object"]}')
            again.append(f'create policy "{policy["name"]}" on {policy["object"]} {verb} (false)')
        with sown(owner, again) as found:
            assert told(found, "changed_policy") == parts(policies), fault


def test_every_table_without_row_level_security_or_under_another_name_is_named(owner: Connection) -> None:
    tables = {row["object"] for row in rows_of(owner, TABLES)}

    with sown(owner, [f"alter table {table} disable row level security" for table in tables]) as found:
        assert {row["object"] for row in found if row["finding"] == "row_level_security_is_off"} == tables
        assert len(found) == len(tables)
    for table in sorted(tables - {"payments.expected_definitions", "payments.expected_grants"}):
        with sown(owner, [f"alter table {table} rename to other"]) as found:
            assert (table, "") in told(found, "missing_relation")


def test_every_function_whose_body_settings_or_rights_were_changed_is_named(owner: Connection) -> None:
    functions = rows_of(owner, FUNCTIONS_NOW)
    name = "alter function {object}"
    faults: list[list[tuple[str, str]]] = [
        [(f["object"], f["definition"].replace("AS $function$", "AS $function$\n", 1)) for f in functions],
        [(f["object"], f"{name} {'security invoker' if f['lends_rights'] else 'security definer'}") for f in functions],
        [(f["object"], f"{name} {'stable' if f['volatility'] == 'v' else 'volatile'}") for f in functions],
        [(f["object"], f"{name} set work_mem = '1MB'") for f in functions],
        [(f["object"], f"{name} set search_path = public") for f in functions if f["object"] not in LOOKING],
        *(
            [(f["object"], f"{name} reset {setting.partition('=')[0]}")]
            for f in functions
            for setting in f["settings"]
            if f["object"] not in LOOKING
        ),
    ]

    for fault in faults:
        with sown(owner, [text.replace("{object}", which) for which, text in fault]) as found:
            assert {which for which, _ in told(found, "changed_function")} == {which for which, _ in fault}, fault[0]
            assert {row["finding"] for row in found} == {"changed_function"}, fault[0]
    for function in LOOKING:
        with sown(owner, [f"alter function {function} set search_path = public"]) as found:
            assert found, function


def test_every_function_that_is_dropped_is_named(owner: Connection) -> None:
    functions = {row["object"] for row in rows_of(owner, FUNCTIONS_NOW)} - LOOKING

    with sown(owner, [f"drop function {function} cascade" for function in functions]) as found:
        assert {which for which, _ in told(found, "missing_function")} == functions


def test_every_column_that_was_altered_is_named(owner: Connection) -> None:
    owner.execute("select public.expire_order_groups()")  # until the first run its time is null, and must be able to be
    columns = rows_of(owner, COLUMNS_NOW)
    needed = ("payments.expected_definitions", "payments.expected_grants")
    renamed = [c for c in columns if c["object"] not in needed]
    faults = [
        ("alter column {name} drop not null", [c for c in columns if c["is_not_null"] and not c["is_key"]]),
        ("alter column {name} drop default", [c for c in columns if c["has_default"]]),
        ("alter column {name} set not null", [c for c in columns if not c["is_not_null"]]),
    ]

    for fault, chosen in faults:
        subjects = [c for c in chosen if not (c["is_identity"] and "not null" in fault)]
        with sown(owner, [f"alter table {c['object']} {fault.format(**c)}" for c in subjects]) as found:
            assert told(found, "changed_column") == parts(subjects), fault
    with sown(
        owner, [f"alter table {c['object']} rename column {c['name']} to renamed_{c['name']}" for c in renamed]
    ) as found:
        assert told(found, "missing_column") == parts(renamed)


def test_every_privilege_that_nobody_was_promised_is_named(owner: Connection) -> None:
    grants: list[str] = []
    expected: set[tuple[str, str]] = set()
    for role, relation in product(ROLES, COLUMNS):
        kept = TABLE_GRANTS.get((role, relation), set())
        for verb in TABLE_VERBS:
            if not may_table(role, relation, verb):
                grants.append(f"grant {verb} on table {relation} to {role}")
                expected.add((relation, f"{role} has {verb}"))
        for column, verb in product(COLUMNS[relation], COLUMN_VERBS):
            if not may_column(role, relation, column, verb) and verb not in kept:
                grants.append(f"grant {verb} ({column}) on table {relation} to {role}")
                expected.add((relation, f"{role} has {verb} on {column}"))
    for role, sequence, verb in product(ROLES, SEQUENCES, SEQUENCE_VERBS):
        grants.append(f"grant {verb} on sequence {sequence} to {role}")
        expected.add((sequence, f"{role} has {verb}"))
    for role, function in product(ROLES, FUNCTIONS):
        if not may_execute(role, function):
            grants.append(f"grant execute on function {function} to {role}")
            expected.add((function, f"{role} has EXECUTE"))
    for role, verb in product(ROLES, ("USAGE", "CREATE")):
        grants.append(f"grant {verb} on schema payments to {role}")
        expected.add(("payments", f"{role} has {verb}"))

    with sown(owner, grants) as found:
        assert {(row["object"], row["detail"]) for row in found} == expected
        assert len(expected) > 1500
        repaired = owner.execute("select * from payments.restore_privileges()").fetchall()
        assert len(repaired) > len(TABLE_VERBS)
        assert findings(owner) == []


def test_every_privilege_that_was_taken_is_named(owner: Connection) -> None:
    taken = rows_of(owner, "select object, column_name, grantee, privilege from payments.expected_grants")
    revokes = [
        f"revoke {t['privilege']} {'(' + t['column_name'] + ')' if t['column_name'] else ''} on"
        f" {'function' if '(' in t['object'] else 'table'} {t['object']} from {t['grantee']}"
        for t in taken
    ]

    with sown(owner, revokes) as found:
        assert {(row["object"], row["detail"]) for row in found} == {
            (
                t["object"],
                f"{t['grantee']} lacks {t['privilege']}" + (f" on {t['column_name']}" * bool(t["column_name"])),
            )
            for t in taken
        }
        assert len(owner.execute("select * from payments.restore_privileges()").fetchall()) == len(taken)
        assert findings(owner) == []


def test_grant_that_was_passed_on_is_taken_back_from_everybody(owner: Connection) -> None:
    passed_on = (
        "grant select on public.orders to authenticated with grant option",
        "set local role authenticated",
        "grant select on public.orders to anon",
        "reset role",
    )

    with sown(owner, passed_on) as found:
        assert {(row["object"], row["detail"]) for row in found} == {
            ("public.orders", "anon has SELECT"),
            ("public.orders", "authenticated has SELECT WITH GRANT OPTION"),
            ("public.orders", "authenticated lacks SELECT"),
        }
        owner.execute("select payments.restore_privileges()")
        assert findings(owner) == []


def test_migration_records_what_it_changed_and_nothing_else(owner: Connection) -> None:
    changes = (
        "alter function public.cancel_order_group(uuid, text) set work_mem = '1MB'",
        "alter table public.orders alter column status drop default",
        "drop function payments.assert_pending(uuid, text)",
        "select payments.record_definitions("
        "array['public.cancel_order_group(uuid,text)', 'payments.assert_pending(uuid,text)'])",
    )

    with sown(owner, changes) as found:
        assert {(row["finding"], row["object"]) for row in found} == {("changed_column", "public.orders")}


def test_owner_who_gave_away_what_the_functions_need_is_named_and_gets_it_back(owner: Connection) -> None:
    tables = {row["object"] for row in rows_of(owner, TABLES)} - {
        "payments.expected_grants",
        "payments.expected_definitions",
    }

    with sown(owner, [f"revoke all on table {table} from postgres" for table in tables]) as found:
        assert {row["object"] for row in found if row["finding"] == "missing_grant"} == tables
        owner.execute("select payments.restore_privileges()")
        assert findings(owner) == []
