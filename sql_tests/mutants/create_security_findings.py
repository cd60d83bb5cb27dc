"""Faults of the migration create_security_findings."""

from __future__ import annotations

from sql_tests.mutants.killers import SOWN
from sql_tests.mutants.mutant import Mutant

FILE = "create_security_findings"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "blind-to-open-tables",
        "a table without row level security is not found",
        FILE,
        "where o.relkind in ('r', 'p') and not o.relrowsecurity",
        "where o.relkind in ('p') and not o.relrowsecurity",
        (SOWN,),
    ),
    Mutant(
        "blind-to-forced-policies",
        "policies that bind the functions' own owner are not found",
        FILE,
        "where o.relforcerowsecurity and not (r.rolbypassrls or r.rolsuper)",
        "where false",
        ("test_owner_who_is_bound_by_policies",),
    ),
    Mutant(
        "blind-to-our-views",
        "our view that reads with its owner's rights is not found",
        FILE,
        "        o.relkind = 'v'\n",
        "        o.relkind = 'm'\n",
        (SOWN,),
    ),
    Mutant(
        "blind-to-changes",
        "what is there in another form is not found",
        FILE,
        "where e.definition is distinct from d.definition",
        "where e.definition is null or d.definition is null",
        (SOWN,),
    ),
    Mutant(
        "blind-to-additions",
        "what was added is not found",
        FILE,
        "d.kind in ('relation', 'function', 'policy', 'rule')",
        "d.kind in ('relation', 'function', 'policy')",
        (SOWN,),
    ),
    Mutant(
        "blind-to-triggers-on-evidence",
        "a trigger on the private tables is not found",
        FILE,
        "                d.kind = 'guard'\n                and d.object like",
        "                false\n                and d.object like",
        (SOWN,),
    ),
    Mutant(
        "blind-to-swallowed-rows",
        "a trigger that leaves rows out is not found",
        FILE,
        "        and t.tgtype & 3 = 3\n",
        "        and t.tgtype & 3 = 1\n",
        (SOWN,),
    ),
    Mutant(
        "all-null-is-swallowed",
        "a trigger that runs afterwards is a finding",
        FILE,
        "        and t.tgtype & 3 = 3\n",
        "        and t.tgtype & 1 = 1\n",
        ("test_what_a_project_has_of_its_own",),
    ),
    Mutant(
        "blind-to-idle-foreign-keys",
        "a foreign key that is not enforced is not found",
        FILE,
        "where t.tgconstraint = c.oid and t.tgenabled <> 'O'",
        "where t.tgconstraint = c.oid and t.tgenabled = 'R'",
        ("test_foreign_key_that_was_switched_off",),
    ),
    Mutant(
        "blind-to-heirs",
        "a table that inherits from somebody else's is not found",
        FILE,
        "on o.id = i.inhrelid",
        "on o.id = i.inhparent",
        (SOWN,),
    ),
    Mutant(
        "blind-to-children",
        "a table whose rows count among ours is not found",
        FILE,
        "on o.id = i.inhparent",
        "on o.id = i.inhrelid and false",
        (SOWN,),
    ),
    Mutant(
        "blind-to-memberships",
        "a visitor who may become the server is not found",
        FILE,
        "            or r.rolname in ('anon', 'authenticated', 'service_role')\n",
        "",
        ("test_visitor_who_may_become",),
    ),
    Mutant(
        "every-membership-counts",
        "the platform's own memberships are findings",
        FILE,
        "            r.rolsuper\n            or r.rolbypassrls\n",
        "            true\n            or r.rolbypassrls\n",
        ("test_what_a_project_has_of_its_own",),
    ),
    Mutant(
        "blind-to-standard-bodies",
        "a door with a standard SQL body is not found",
        FILE,
        "                else pg_get_function_sqlbody(p.oid)\n",
        "                else p.prosrc\n",
        (SOWN,),
    ),
    Mutant(
        "blind-to-capitals",
        "a door in capitals is not found",
        FILE,
        "then lower(regexp_replace(w.word, '\\s', '', 'g'))",
        "then regexp_replace(w.word, '\\s', '', 'g')",
        (SOWN,),
    ),
    Mutant(
        "blind-to-quotes",
        "a door with quoted names is not found",
        FILE,
        "case when p.matches[1] like '\"%' then btrim(p.matches[1], '\"') else lower(p.matches[1]) end",
        "lower(p.matches[1])",
        (SOWN,),
    ),
    Mutant(
        "blind-to-built-statements",
        "a door that builds its statements is not found",
        FILE,
        "            p.prosrc ~* '\\mexecute\\M' as builds_statements\n",
        "            false as builds_statements\n",
        (SOWN,),
    ),
    Mutant(
        "blind-to-bare-names",
        "a door that leaves the schema to its search_path is not found",
        FILE,
        "            and array_to_string(p.proconfig, ' ') !~ '\\mpublic\\M' as is_pinned",
        "            or true as is_pinned",
        (SOWN,),
    ),
    Mutant(
        "comments-are-doors",
        "a function that mentions a table in a comment is a finding",
        FILE,
        "then regexp_replace(p.prosrc, '--[^\\n]*|/\\*.*?\\*/', '', 'g')",
        "then p.prosrc",
        ("test_what_a_project_has_of_its_own",),
    ),
    Mutant(
        "blind-behind-one-corner",
        "a door that leads through another function is not found",
        FILE,
        "        union\n"
        "        select\n"
        "            r.kind,\n"
        "            r.id\n"
        "        from reaching as a\n"
        "        inner join reference as r on a.kind = r.to_kind and a.id = r.to_id\n",
        "        union\n        select\n            a.kind,\n            a.id\n        from reaching as a\n",
        (SOWN,),
    ),
    Mutant(
        "blind-to-single-columns",
        "a materialized view that is readable by column is not found",
        FILE,
        "or has_any_column_privilege(a.role, t.id, 'select, insert, update')",
        "or has_table_privilege(a.role, t.id, 'select, insert, update')",
        (SOWN,),
    ),
    Mutant(
        "blind-to-authenticated",
        "a door for signed-in users alone is not found",
        FILE,
        "cross join (values ('anon'), ('authenticated')) as a (role)",
        "cross join (values ('anon')) as a (role)",
        (SOWN,),
    ),
    Mutant(
        "trigger-functions-are-doors",
        "a trigger function of the project's own is a finding",
        FILE,
        "            p.prosecdef and p.prorettype not in (\n"
        "                'pg_catalog.trigger'::pg_catalog.regtype, "
        "'pg_catalog.event_trigger'::pg_catalog.regtype\n"
        "            ) as lends_rights,\n",
        "            p.prosecdef as lends_rights,\n",
        ("test_what_a_project_has_of_its_own",),
    ),
    Mutant(
        "extensions-are-doors",
        "a function of an extension is a finding",
        FILE,
        "                    d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass\n"
        "                    and d.objid = p.oid\n"
        "                    and d.deptype = 'e'\n",
        "                    d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass\n"
        "                    and d.objid = p.oid\n"
        "                    and d.deptype = 'x'\n",
        ("test_what_a_project_has_of_its_own",),
    ),
    Mutant(
        "any-before-trigger-on-evidence-is-fine",
        "a trigger that changes what is inserted into the private tables is not found",
        FILE,
        "and t.tgname = d.name and t.tgtype = 19",
        "and t.tgname = d.name and t.tgtype & 19 = 19",
        (SOWN,),
    ),
    Mutant(
        "updated-at-on-evidence-is-a-finding",
        "the usual trigger for updated_at is a finding on the private tables",
        FILE,
        "and t.tgname = d.name and t.tgtype = 19",
        "and false",
        ("test_whatever_a_shop_adds",),
    ),
)
