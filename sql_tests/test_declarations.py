"""What the catalogue says of each function, column, policy and index is what `declarations.py` says, and no more.

A session that reads and writes rows does not notice most of it: PostgREST opens a read-only transaction for a function
that is not volatile, applies its `lock_timeout` and isolation to the call, and names its parameters in the call.
"""

from __future__ import annotations

from sql_tests.declarations import COLUMNS, FUNCTIONS, INDEXES, POLICIES, STORAGE
from testkit.database import Connection

OURS = "('public'::regnamespace, 'payments'::regnamespace)"


def lines(connection: Connection, query: str) -> list[str]:
    """The query's single column, sorted, with the types' short names and without schemas that anybody would guess."""
    with connection.transaction():
        connection.execute("set local search_path = ''")
        rows = connection.execute(query.encode()).fetchall()
    texts = [str(value).replace("timestamp with time zone", "timestamptz") for row in rows for value in row.values()]
    return sorted(texts)


def listed(text: str) -> list[str]:
    return sorted(line.strip() for line in text.strip().splitlines() if line.strip())


def test_each_function_is_declared_as_written(superuser: Connection) -> None:
    query = f"""
        select concat_ws(' | ',
            p.oid::regproc::text || '(' || pg_get_function_arguments(p.oid) || ')',
            pg_get_function_result(p.oid),
            concat_ws(' ',
                l.lanname,
                case p.provolatile when 'v' then 'volatile' when 's' then 'stable' else 'immutable' end,
                case when p.prosecdef then 'definer' else 'invoker' end,
                case when p.proisstrict then 'strict' end,
                case when p.proleakproof then 'leakproof' end,
                'parallel ' || nullif(p.proparallel::text, 'u'),
                'owned by ' || nullif(pg_get_userbyid(p.proowner), 'postgres')),
            nullif(array_to_string(array_remove(p.proconfig, 'search_path=""'), ', '), ''),
            case when not 'search_path=""' = any(p.proconfig) then 'search_path of the caller' end)
        from pg_catalog.pg_proc as p
        inner join pg_catalog.pg_language as l on l.oid = p.prolang
        where p.pronamespace in {OURS}
    """

    assert lines(superuser, query) == listed(FUNCTIONS)


def test_each_column_has_its_type_its_default_and_may_be_null_or_not(superuser: Connection) -> None:
    query = f"""
        select concat_ws(' ',
            c.oid::regclass::text || '.' || a.attname,
            format_type(a.atttypid, a.atttypmod),
            case when a.attnotnull then 'not null' end,
            'identity ' || nullif(a.attidentity::text, ''),
            case when a.attgenerated <> '' then 'generated' else 'default' end || ' '
            || regexp_replace(pg_get_expr(d.adbin, d.adrelid), '\\s+', ' ', 'g'))
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_catalog.pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace in {OURS} and c.relkind in ('r', 'v')
    """

    assert lines(superuser, query) == listed(COLUMNS)


def test_each_policy_lets_these_read_these_rows(superuser: Connection) -> None:
    """Also those that nobody could use without a privilege that is not granted."""
    query = """
        select concat_ws(' | ', object, name, regexp_replace(definition, '\\s+', ' ', 'g'))
        from payments.definitions()
        where kind = 'policy'
    """

    assert lines(superuser, query) == listed(POLICIES)


def test_each_index_is_there_in_its_form(superuser: Connection) -> None:
    query = f"""
        select case when i.indisunique then 'unique ' else '' end
            || substring(pg_get_indexdef(i.indexrelid) from 'INDEX (.*)$')
        from pg_catalog.pg_index as i
        inner join pg_catalog.pg_class as c on c.oid = i.indrelid
        where c.relnamespace in {OURS} and i.indisvalid
    """

    assert lines(superuser, query) == listed(INDEXES)


def test_what_the_planner_and_the_tables_are_told(superuser: Connection) -> None:
    query = f"""
        select c.oid::regclass::text || ' ' || unnest(c.reloptions) from pg_catalog.pg_class as c
        where c.relnamespace in {OURS}
        union all
        select a.attrelid::regclass::text || '.' || a.attname || ' ' || o.option
        from pg_catalog.pg_attribute as a
        inner join pg_catalog.pg_class as c on c.oid = a.attrelid
        cross join unnest(a.attoptions) as o (option)
        -- Debian's 17.12 keeps a number of its own there.
        where c.relnamespace in {OURS} and o.option not like 'pg\\_attver=%'
    """

    assert lines(superuser, query) == listed(STORAGE)
