-- The database checks itself: privileges and guards are as the migrations made them, and nobody has made a door past them.
--
-- Touches: payments.open_doors(), public.security_findings(). What is right stands in payments.expected_grants and
-- payments.expected_definitions; here it is only compared. What a project adds of its own is no finding, unless it lets
-- clients reach this project's data or stops its work.
-- An older relay notices nothing.

-- Finds what runs with its owner's rights, reaches this project's tables or functions, and is open to clients.
-- Called by: public.security_findings(). Returns: one row per function, view, materialized view or foreign table. Locks:
-- nothing.
-- Views are followed by their recorded dependencies. A function's body is text: it is read as names, each with its schema
-- where one is written, in the spelling in which PostgreSQL would look it up; one of a standard SQL body is printed first.
-- A name alone counts where the function's search_path may lead to public, or where the body builds statements. What is
-- reached through other functions and views of the project counts too. Trigger functions do not: no client can call one.
-- Each body is read once, and names are then joined, so that thousands of functions take few seconds.
create or replace function payments.open_doors()
returns table (kind text, object text, role text)
language sql
stable
security invoker
set search_path = ''
as $$
    with recursive
    own as (
        select
            o.kind,
            o.id,
            o.object
        from payments.own_objects() as o
        where o.kind <> 'schema'
    ),

    theirs as materialized (
        -- Schemas of PostgreSQL itself and objects of extensions are left out.
        select
            'function' as kind,
            p.oid as id,
            n.nspname || '.' || p.proname as name,
            p.proname::pg_catalog.text as bare_name,
            p.prosecdef and p.prorettype not in (
                'pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype
            ) as lends_rights,
            case
                when p.prosqlbody is null then regexp_replace(p.prosrc, '--[^\n]*|/\*.*?\*/', '', 'g')
                else pg_get_function_sqlbody(p.oid)
            end as body,
            coalesce(array_to_string(p.proconfig, ' ') ~ '(^| )search_path=', false)
            and array_to_string(p.proconfig, ' ') !~ '\mpublic\M' as is_pinned,
            p.prosrc ~* '\mexecute\M' as builds_statements
        from pg_catalog.pg_proc as p
        inner join pg_catalog.pg_namespace as n on p.pronamespace = n.oid
        inner join pg_catalog.pg_language as l on p.prolang = l.oid
        where
            l.lanname not in ('internal', 'c')
            and n.nspname not in ('pg_catalog', 'information_schema')
            and not exists (select 1 from own as o where o.kind = 'function' and o.id = p.oid)
            and not exists (
                select 1
                from pg_catalog.pg_depend as d
                where
                    d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                    and d.objid = p.oid
                    and d.deptype = 'e'
            )
        union all
        select
            'relation',
            c.oid,
            n.nspname || '.' || c.relname,
            c.relname::pg_catalog.text,
            c.relkind <> 'v' or not exists (
                select 1
                from pg_options_to_table(c.reloptions) as o
                where o.option_name = 'security_invoker' and o.option_value::boolean
            ),
            array_to_string(f.ftoptions, ' '),
            false,
            false
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
        left join pg_catalog.pg_foreign_table as f on c.oid = f.ftrelid
        where
            c.relkind in ('v', 'm', 'f')
            and n.nspname not in ('pg_catalog', 'information_schema')
            and not exists (
                select 1
                from own as o
                inner join payments.expected_definitions as e on o.object = e.object
                where o.kind = 'relation' and o.id = c.oid and e.kind = 'relation'
            )
            and not exists (
                select 1
                from pg_catalog.pg_depend as d
                where
                    d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    and d.objid = c.oid
                    and d.deptype = 'e'
            )
    ),

    word as materialized (
        select distinct
            t.kind,
            t.id,
            t.is_pinned and not t.builds_statements as in_full_only,
            w.matches[1] as word
        from theirs as t
        cross join
            regexp_matches(
                t.body, '(?:"[^"]+"|[[:alpha:]_][\w$]*)(?:\s*\.\s*(?:"[^"]+"|[[:alpha:]_][\w$]*))*', 'g'
            ) as w (matches)
    ),

    mention as materialized (
        select
            w.kind,
            w.id,
            w.in_full_only,
            case
                when strpos(w.word, '"') = 0 then lower(regexp_replace(w.word, '\s', '', 'g'))
                else (
                    select string_agg(
                        case when p.matches[1] like '"%' then btrim(p.matches[1], '"') else lower(p.matches[1]) end,
                        '.' order by p.place
                    )
                    from regexp_matches(w.word, '"[^"]+"|[\w$]+', 'g') with ordinality as p (matches, place)
                )
            end as name
        from word as w
    ),

    -- A view of this project's that may be read as the reader is no door by itself, a view over it may be one.
    reference as (
        select
            r.kind,
            r.id,
            case d.refclassid
                when 'pg_catalog.pg_class'::pg_catalog.regclass then 'relation'
                else 'function'
            end as to_kind,
            d.refobjid as to_id
        from theirs as r
        inner join pg_catalog.pg_rewrite as w on r.kind = 'relation' and r.id = w.ev_class
        inner join pg_catalog.pg_depend as d
            on
                d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                and w.oid = d.objid
                and d.refclassid in (
                    'pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass
                )
                and d.refobjid <> r.id
        union
        select
            m.kind,
            m.id,
            k.kind,
            k.id
        from mention as m
        inner join (
            select
                o.kind,
                o.id,
                split_part(o.object, '(', 1) as name
            from own as o
            union all
            select
                o.kind,
                o.id,
                substring(o.object from '^public\.([^(]+)')
            from own as o
            union all
            select
                t.kind,
                t.id,
                t.name
            from theirs as t
            union all
            select
                t.kind,
                t.id,
                t.bare_name
            from theirs as t
        ) as k on m.name = k.name and (strpos(k.name, '.') > 0 or not m.in_full_only)
    ),

    reaching (kind, id) as (
        select
            r.kind,
            r.id
        from reference as r
        inner join own as o on r.to_kind = o.kind and r.to_id = o.id
        union
        select
            r.kind,
            r.id
        from reaching as a
        inner join reference as r on a.kind = r.to_kind and a.id = r.to_id
    )

    select
        t.kind,
        case t.kind
            when 'function' then t.id::pg_catalog.regprocedure::pg_catalog.text
            else t.id::pg_catalog.regclass::pg_catalog.text
        end as object,
        a.role
    from reaching as r
    inner join theirs as t on r.kind = t.kind and r.id = t.id
    cross join (values ('anon'), ('authenticated')) as a (role)
    left join pg_catalog.pg_proc as p on t.kind = 'function' and t.id = p.oid
    left join pg_catalog.pg_class as c on t.kind = 'relation' and t.id = c.oid
    where
        t.lends_rights
        and has_schema_privilege(a.role, coalesce(p.pronamespace, c.relnamespace), 'usage')
        and case t.kind
            when 'function' then has_function_privilege(a.role, t.id, 'execute')
            -- A view of public is one grant away from every client, and the Data API offers it.
            else
                c.relnamespace = 'public'::pg_catalog.regnamespace and c.relkind = 'v'
                or has_any_column_privilege(a.role, t.id, 'select, insert, update')
                or has_table_privilege(a.role, t.id, 'delete')
        end;
$$;
comment on function payments.open_doors() is
    'What lets clients reach the tables and functions of this project with somebody else''s rights.';
revoke execute on function payments.open_doors() from public, anon, authenticated, service_role;

-- Compares the catalogue with what these migrations promise.
-- Called by: the relay's deployment gate and operators, as service_role. Returns: one row per finding, none when all is
-- well. Locks: nothing.
create or replace function public.security_findings()
returns table (finding text, object text, detail text)
language sql
stable
security definer
set search_path = ''
as $$
    with own as materialized (
        select
            o.*,
            c.relkind,
            c.relrowsecurity,
            c.relforcerowsecurity,
            c.reloptions
        from payments.own_objects() as o
        left join pg_catalog.pg_class as c on o.kind = 'relation' and o.id = c.oid
    ),

    definition as materialized (
        select
            coalesce(e.kind, d.kind) as kind,
            coalesce(e.object, d.object) as object,
            coalesce(e.name, d.name) as name,
            e.definition as expected,
            d.definition as actual
        from payments.expected_definitions as e
        full join payments.definitions() as d on e.kind = d.kind and e.object = d.object and e.name = d.name
        where e.definition is distinct from d.definition
    )

    -- Parts of what is missing altogether are not told one by one.
    select
        case when d.kind = 'guard' or d.actual is null then 'missing_' else 'changed_' end || d.kind as finding,
        d.object,
        case
            when d.actual is null then concat_ws(' ', nullif(d.name, ''), 'does not exist')
            when d.kind = 'function' then 'its body, settings or owner are not those that the migrations gave it'
            else concat_ws(' ', nullif(d.name, ''), 'is: ' || d.actual)
        end as detail
    from definition as d
    where
        d.expected is not null
        and (
            d.kind in ('relation', 'function')
            or exists (select 1 from own as o where o.kind = 'relation' and o.object = d.object)
        )

    union all
    -- A project's own columns, constraints and indexes, and its triggers in public, are its own affair.
    select
        'unexpected_' || d.kind,
        d.object,
        case d.kind
            when 'relation' then 'nothing else belongs in the private schema'
            when 'function' then 'an overload, or a function that does not belong in the private schema'
            else d.name
        end
    from definition as d
    where
        d.expected is null
        and (
            d.kind in ('relation', 'function', 'policy', 'rule')
            -- In the private schema only what keeps a column up to date before an update, as a project does everywhere.
            or (
                d.kind = 'guard'
                and d.object like 'payments.%'
                and not exists (
                    select 1
                    from own as o
                    inner join pg_catalog.pg_trigger as t on o.id = t.tgrelid
                    where o.kind = 'relation' and o.object = d.object and t.tgname = d.name and t.tgtype = 19
                )
            )
        )

    union all
    select
        'unexpected_guard',
        o.object,
        t.tgname || ' runs before each row, and its function can return null: the row would be left out'
    from own as o
    inner join pg_catalog.pg_trigger as t on o.id = t.tgrelid and not t.tgisinternal and t.tgenabled <> 'D'
    inner join pg_catalog.pg_proc as p on t.tgfoid = p.oid
    where
        o.kind = 'relation'
        and t.tgtype & 3 = 3
        and regexp_replace(p.prosrc, '--[^\n]*|/\*.*?\*/', '', 'g') ~* '\mreturn\s+null\M'
        and not exists (
            select 1
            from payments.expected_definitions as e
            where e.kind = 'guard' and e.object = o.object and e.name = t.tgname
        )

    union all
    -- The triggers behind foreign keys, on either side.
    select
        'missing_guard',
        o.object,
        'foreign key ' || c.conname || ' is not enforced'
    from own as o
    inner join pg_catalog.pg_constraint as c on o.id = c.conrelid and c.contype = 'f'
    where
        o.kind = 'relation'
        and exists (
            select 1
            from pg_catalog.pg_trigger as t
            where t.tgconstraint = c.oid and t.tgenabled <> 'O'
        )

    union all
    select
        case
            when d.kind = 'schema' and not d.is_missing then 'schema_is_open'
            when d.kind = 'function' and d.is_missing then 'function_is_not_executable'
            when d.kind = 'function' then 'function_is_executable'
            when d.is_missing then 'missing_grant'
            else 'unexpected_grant'
        end,
        d.object,
        d.grantee || case when d.is_missing then ' lacks ' else ' has ' end || d.privilege
        || case when d.column_name <> '' then ' on ' || d.column_name else '' end
    from payments.privilege_differences() as d

    union all
    select
        'row_level_security_is_off',
        o.object,
        'every table here has row level security'
    from own as o
    where o.relkind in ('r', 'p') and not o.relrowsecurity

    union all
    select
        'owner_is_bound_by_policies',
        o.object,
        'row level security is forced on an owner without BYPASSRLS: the functions would see no rows'
    from own as o
    inner join pg_catalog.pg_roles as r on o.owner = r.oid
    where o.relforcerowsecurity and not (r.rolbypassrls or r.rolsuper)

    union all
    select
        'view_bypasses_policies',
        o.object,
        'without security_invoker it reads with its owner''s rights'
    from own as o
    where
        o.relkind = 'v'
        and not exists (
            select 1
            from pg_options_to_table(o.reloptions) as p
            where p.option_name = 'security_invoker' and p.option_value::boolean
        )

    union all
    select
        case d.kind when 'function' then 'open_door' else 'view_bypasses_policies' end,
        d.object,
        'it works on these tables or functions with its owner''s rights, and is open to ' || d.role
    from payments.open_doors() as d

    union all
    select
        'open_door',
        i.inhparent::pg_catalog.regclass::pg_catalog.text,
        'whoever may read it reads the rows of ' || o.object || ' past its policies'
    from own as o
    inner join pg_catalog.pg_inherits as i on o.id = i.inhrelid
    where o.kind = 'relation'

    union all
    -- Every sum over the parent counts the rows of its children, whose triggers, policies and grants are their own.
    select
        'unexpected_child',
        o.object,
        'the rows of ' || i.inhrelid::pg_catalog.regclass::pg_catalog.text || ' count as its own'
    from own as o
    inner join pg_catalog.pg_inherits as i on o.id = i.inhparent
    where o.kind = 'relation'

    union all
    -- A membership that gives nothing, such as the platform's own in pgsodium_keyholder, is none.
    select
        'open_door',
        m.role,
        'it is a member of ' || r.rolname
    from (values ('anon'), ('authenticated'), ('service_role')) as m (role)
    inner join pg_catalog.pg_roles as r on m.role <> r.rolname and pg_has_role(m.role, r.oid, 'member')
    where
        exists (
            select 1
            from pg_catalog.pg_roles as a
            where a.rolname = m.role and not a.rolsuper
        )
        and (
            r.rolsuper
            or r.rolbypassrls
            or r.rolcreaterole
            or r.rolname in ('anon', 'authenticated', 'service_role')
            or r.rolname like 'pg\_%'
            or r.oid in (select o.owner from own as o)
        )

    union all
    select
        'open_door',
        n.nspname::pg_catalog.text,
        case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee)::pg_catalog.text end
        || ' may create objects in it'
    from pg_catalog.pg_namespace as n
    cross join aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as g
    where
        n.nspname = 'public'
        and g.privilege_type = 'CREATE'
        and (
            g.grantee = 0
            or pg_get_userbyid(g.grantee) in ('anon', 'authenticated', 'service_role', 'authenticator')
        )

    union all
    select
        'api_role_bypasses_policies',
        r.rolname::pg_catalog.text,
        'anon and authenticated must neither be superusers nor bypass row level security'
    from pg_catalog.pg_roles as r
    where r.rolname in ('anon', 'authenticated') and (r.rolsuper or r.rolbypassrls)

    order by 1, 2, 3;
$$;
comment on function public.security_findings() is
    'Differences between the catalogue and what the migrations made and granted; no row when all is well.';
revoke execute on function public.security_findings() from public, anon, authenticated;
grant execute on function public.security_findings() to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.security_findings()', 'service_role', 'EXECUTE');
