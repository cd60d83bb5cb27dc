"""What hosted projects run beside these migrations: none of it finds a fault, and none of it is in a payment's way."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from local_stack.postgres import Postgres
from testkit.database import Connection, Database
from testkit.payments import reconcile
from testkit.shop import open_shop

ROOT = Path(__file__).parent.parent.parent
USERS_TESTS = sorted((ROOT / "supabase" / "tests").glob("*.sql"))
# A trigger function is checked once for each table that it serves, with the names of that trigger's transition tables.
FUNCTIONS = """
select p.oid, p.oid::regprocedure::text as function, t.tgrelid as table_id, t.tgoldtable::text, t.tgnewtable::text
from pg_proc as p
inner join pg_language as l on p.prolang = l.oid
left join (
    select distinct tgfoid, tgrelid, tgoldtable, tgnewtable from pg_trigger where not tgisinternal
) as t on p.oid = t.tgfoid
where p.pronamespace in ('public'::regnamespace, 'payments'::regnamespace) and l.lanname = 'plpgsql'
order by 2, 3
"""
CHECK = """
select level, lineno, message
from plpgsql_check_function_tb(
    funcoid => %s::oid::regprocedure, relid => coalesce(%s, 0)::oid::regclass, oldtable => %s, newtable => %s,
    fatal_errors => false, other_warnings => true, extra_warnings => true, security_warnings => true
)
where level <> 'notice'
"""

# What it says of functions that are meant to be so, each with the reason.
DYNAMIC = "text type variable is not sanitized"  # the text is a row of a private table that migrations alone write
DEFAULT = "target type is different type than source type"  # a default that is written as text, '{}'
ACCEPTED = {
    ("expire_order_groups(integer)", DEFAULT),
    ("preview_order_group_payments(jsonb)", DEFAULT),
    ("reconcile_order_group_payments(jsonb)", DEFAULT),
    ("payments.restore_privileges()", DYNAMIC),
    ("payments.broken_invariants_of(timestamp with time zone,timestamp with time zone)", DYNAMIC),
    *(
        (
            "payments.broken_invariants_of(timestamp with time zone,timestamp with time zone)",
            f'OUT variable "{name}" is maybe unmodified',  # what the dynamic query returns
        )
        for name in ("invariant", "subject", "detail")
    ),
}


def test_the_parts_are_debians(superuser: Connection) -> None:
    rows = superuser.execute("select extname from pg_extension order by 1").fetchall()

    assert {"pg_cron", "pgaudit", "pgtap", "plpgsql_check"} <= {row["extname"] for row in rows}
    (version,) = superuser.execute("show server_version").fetchall()
    assert version["server_version"].startswith("17.")
    assert "Debian" in version["server_version"]


def test_plpgsql_check_finds_nothing_in_any_function_triggers_included(superuser: Connection) -> None:
    functions = superuser.execute(FUNCTIONS).fetchall()
    owner = "select count(*) from pg_proc where pronamespace = 'payments'::regnamespace and proname like 'tg\\_%'"

    found = {
        (function["function"], function["table_id"]): superuser.execute(
            CHECK, [function["oid"], function["table_id"], function["tgoldtable"], function["tgnewtable"]]
        ).fetchall()
        for function in functions
    }

    told = {(name, row["message"]) for (name, _), rows in found.items() for row in rows}
    assert told == ACCEPTED
    served = {function["function"] for function in functions if function["table_id"] is not None}
    assert len(served) == superuser.execute(owner).fetchone()["count"] > 0  # type: ignore[index]
    assert len(found) > len(served)


@pytest.mark.parametrize("file", USERS_TESTS, ids=lambda file: file.name)
def test_pgtap_suite_for_users_passes_and_leaves_nothing(project: Database, file: Path) -> None:
    before = project.snapshot()
    with psycopg.connect(project.dsn("postgres"), autocommit=True) as owner:
        said = lines_of(owner, file.read_text())

    plan = next(line for line in said if line.startswith("1.."))
    results = [line for line in said if line.startswith(("ok", "not ok"))]
    assert [line for line in said if line.startswith(("not ok", "#"))] == []
    assert len(results) == int(plan.removeprefix("1.."))
    assert project.snapshot() == before


# What is spoiled in the database -> which assertion of the suite notices.
SPOILED = {
    "grant select on public.order_groups to anon": "privileges, policies and functions are as they were made",
    'drop policy "Buyers can read their own order groups" on public.order_groups': "a buyer sees the own group",
    "revoke execute on function public.create_order_group from service_role": None,
    "alter table public.order_groups disable row level security": "a stranger sees nothing",
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_pgtap_suite_notices_what_is_spoiled(project: Database, spoil: str) -> None:
    (file,) = USERS_TESTS
    text = file.read_text().replace("begin;\n", f"begin;\n{spoil};\n", 1)
    with psycopg.connect(project.dsn("postgres"), autocommit=True) as owner:
        try:
            failed = [line for line in lines_of(owner, text) if line.startswith("not ok")]
        except psycopg.errors.InsufficientPrivilege:  # what pg_prove tells as a file that died
            failed = ["died"]

    assert failed if SPOILED[spoil] is None else any(str(SPOILED[spoil]) in line for line in failed)


def lines_of(connection: psycopg.Connection[tuple[object, ...]], script: str) -> list[str]:
    """Every line that the script's statements answer, as psql would print them for pg_prove."""
    said: list[str] = []
    cursor = connection.execute(script.encode())
    while True:
        if cursor.description is not None:
            said += [line for row in cursor.fetchall() for line in str(row[0]).splitlines()]
        if not cursor.nextset():
            return said


def test_pgaudit_writes_a_payment_down_and_changes_nothing_of_it(
    server: Postgres, project: Database, superuser: Connection
) -> None:
    with project.act_as("service_role") as service:
        payment = open_shop(superuser, service).order_group().payment()
        told = reconcile(service, payment)

    assert (told["outcome"], told["reason"]) == ("applied", None)
    log = log_of(server)
    assert "AUDIT: SESSION" in log
    assert "reconcile_order_group_payment" in log
    assert superuser.execute("select * from payments.broken_invariants()").fetchall() == []
    assert superuser.execute("select * from public.security_findings()").fetchall() == []


def log_of(server: Postgres) -> str:
    """The server's log, wherever in its home it lies."""
    return "".join(path.read_text(errors="replace") for path in server.home.rglob("*.log"))
