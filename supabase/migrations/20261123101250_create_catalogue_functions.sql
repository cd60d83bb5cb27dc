-- What is really there of this project: its objects, their definitions, their privileges; and how to put these right.
--
-- Touches: payments.own_objects(), payments.definitions(), payments.record_definitions(),
-- payments.privilege_differences(), payments.restore_privileges(). A migration that changes an object which an earlier
-- release has made ends with payments.record_definitions() of it, and writes its grants into payments.expected_grants.
-- An older relay notices nothing.

-- Lists the objects of this project: the private schema, all that lies in it, and what payments.expected_grants names.
-- Called by: the functions below and public.security_findings(). Returns: one row per object; an overload of one of the
-- functions of public counts, because PostgREST would call it; the sequence behind a column that a project has added does not.
-- `kind` is schema, relation or function. Locks: nothing.
create or replace function payments.own_objects()
returns table (kind text, id oid, object text, owner oid, acl aclitem[])
language sql
stable
security invoker
set search_path = ''
as $$
    with named as (
        select distinct g.object
        from payments.expected_grants as g
    ),

    relation as (
        select
            c.oid,
            c.relkind,
            c.relowner,
            c.relacl,
            c.relnamespace = 'payments'::pg_catalog.regnamespace
            or c.oid in (select to_regclass(n.object) from named as n where n.object not like '%(%') as is_own
        from pg_catalog.pg_class as c
        where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    ),

    column_sequence as (
        select
            d.objid as oid,
            t.is_own and (
                c.name is not null
                -- The table is not recorded yet: its migration is still at work.
                or not exists (
                    select 1
                    from payments.expected_definitions as e
                    where e.kind = 'relation' and e.object = d.refobjid::pg_catalog.regclass::pg_catalog.text
                )
            ) as is_own
        from pg_catalog.pg_depend as d
        inner join relation as s on d.objid = s.oid and s.relkind = 'S'
        inner join relation as t on d.refobjid = t.oid
        inner join pg_catalog.pg_attribute as a on d.refobjid = a.attrelid and d.refobjsubid = a.attnum
        left join payments.expected_definitions as c
            on
                c.kind = 'column'
                and d.refobjid::pg_catalog.regclass::pg_catalog.text = c.object
                and a.attname = c.name
        where
            d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            and d.deptype in ('a', 'i')
    )

    select
        'schema' as kind,
        n.oid,
        n.nspname::pg_catalog.text,
        n.nspowner,
        coalesce(n.nspacl, acldefault('n', n.nspowner))
    from pg_catalog.pg_namespace as n
    where n.nspname = 'payments'
    union all
    select
        'relation',
        r.oid,
        r.oid::pg_catalog.regclass::pg_catalog.text,
        r.relowner,
        coalesce(r.relacl, acldefault(case r.relkind when 'S' then 's' else 'r' end::pg_catalog."char", r.relowner))
    from relation as r
    left join column_sequence as s on r.oid = s.oid
    where coalesce(s.is_own, r.is_own)
    union all
    select
        'function',
        p.oid,
        p.oid::pg_catalog.regprocedure::pg_catalog.text,
        p.proowner,
        coalesce(p.proacl, acldefault('f', p.proowner))
    from pg_catalog.pg_proc as p
    where
        p.pronamespace = 'payments'::pg_catalog.regnamespace
        or (
            p.pronamespace = 'public'::pg_catalog.regnamespace
            and p.proname in (
                select substring(n.object from '^public\.([^(]+)\(')
                from named as n
            )
        );
$$;
comment on function payments.own_objects() is 'The objects of this project, whoever made them.';
revoke execute on function payments.own_objects() from public, anon, authenticated, service_role;

-- Tells how each object of this project is defined now.
-- Called by: payments.record_definitions(), public.security_findings(). Returns: one row per relation, function, column,
-- constraint, index, trigger, policy and rule. An owner is named only where it is not the private schema's: a text is the
-- same after a restore into another project. Locks: nothing.
create or replace function payments.definitions()
returns table (kind text, object text, name text, definition text)
language sql
stable
security invoker
set search_path = ''
as $$
    with own as (
        select
            o.kind,
            o.id,
            o.object,
            -- All that is here belongs to whoever owns the private schema.
            case
                when o.owner <> s.nspowner then ' owned by ' || pg_get_userbyid(o.owner)::pg_catalog.text
                else ''
            end as ownership
        from payments.own_objects() as o
        inner join pg_catalog.pg_namespace as s on s.nspname = 'payments'
        where o.kind <> 'schema'
    )

    select
        'relation' as kind,
        o.object,
        '' as name,
        case c.relkind
            when 'S' then (
                select concat_ws(
                    ' ', 'sequence', format_type(s.seqtypid, null), s.seqincrement, s.seqmin, s.seqmax, s.seqcycle
                )
                from pg_catalog.pg_sequence as s
                where s.seqrelid = c.oid
            )
            when 'v' then 'view'
            when 'r' then case c.relpersistence when 'p' then 'table' else 'table that does not outlive a crash' end
            else 'no table, view or sequence'
        end || o.ownership as definition
    from own as o
    inner join pg_catalog.pg_class as c on o.id = c.oid
    where o.kind = 'relation'
    union all
    select
        'function',
        o.object,
        '',
        pg_get_functiondef(o.id) || o.ownership
    from own as o
    inner join pg_catalog.pg_proc as p on o.id = p.oid
    where o.kind = 'function' and p.prokind in ('f', 'p')
    union all
    select
        'column',
        o.object,
        a.attname::pg_catalog.text,
        concat_ws(
            ' ',
            format_type(a.atttypid, a.atttypmod),
            case when a.attnotnull then 'not null' end,
            'generated ' || nullif(a.attgenerated::pg_catalog.text, ''),
            'identity ' || nullif(a.attidentity::pg_catalog.text, ''),
            'default ' || pg_get_expr(d.adbin, d.adrelid)
        )
    from own as o
    inner join pg_catalog.pg_class as c on o.id = c.oid and c.relkind <> 'S'
    inner join pg_catalog.pg_attribute as a on o.id = a.attrelid and a.attnum > 0 and not a.attisdropped
    left join pg_catalog.pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
    where o.kind = 'relation'
    union all
    -- PostgreSQL 18 lists `not null` here too: it is the column's.
    select
        'constraint',
        o.object,
        c.conname::pg_catalog.text,
        pg_get_constraintdef(c.oid)
    from own as o
    inner join pg_catalog.pg_constraint as c on o.id = c.conrelid and c.contype in ('c', 'f', 'p', 'u', 'x')
    where o.kind = 'relation'
    union all
    select
        'index',
        o.object,
        c.relname::pg_catalog.text,
        pg_get_indexdef(i.indexrelid) || case when i.indisvalid and i.indisready then '' else ' invalid' end
    from own as o
    inner join pg_catalog.pg_index as i on o.id = i.indrelid
    inner join pg_catalog.pg_class as c on i.indexrelid = c.oid
    where o.kind = 'relation'
    union all
    select
        'guard',
        o.object,
        t.tgname::pg_catalog.text,
        pg_get_triggerdef(t.oid) || case t.tgenabled
            when 'O' then ''
            when 'A' then ' enabled always'
            when 'R' then ' enabled in replicas only'
            else ' disabled'
        end
    from own as o
    inner join pg_catalog.pg_trigger as t on o.id = t.tgrelid and not t.tgisinternal
    where o.kind = 'relation'
    union all
    select
        'policy',
        o.object,
        p.polname::pg_catalog.text,
        concat_ws(
            ' ',
            case when p.polpermissive then 'permissive' else 'restrictive' end,
            'for ' || p.polcmd::pg_catalog.text,
            'to ' || (
                select string_agg(case r.oid when 0 then 'public' else pg_get_userbyid(r.oid)::pg_catalog.text end, ', ')
                from (
                    select x.oid
                    from unnest(p.polroles) as x (oid)
                    order by 1
                ) as r
            ),
            'using ' || pg_get_expr(p.polqual, p.polrelid),
            'with check ' || pg_get_expr(p.polwithcheck, p.polrelid)
        )
    from own as o
    inner join pg_catalog.pg_policy as p on o.id = p.polrelid
    where o.kind = 'relation'
    union all
    select
        'rule',
        o.object,
        r.rulename::pg_catalog.text,
        pg_get_ruledef(r.oid)
    from own as o
    inner join pg_catalog.pg_rewrite as r on o.id = r.ev_class
    where o.kind = 'relation';
$$;
comment on function payments.definitions() is 'How each object of this project is defined now, as text.';
revoke execute on function payments.definitions() from public, anon, authenticated, service_role;

-- Records the definitions of now as those that are expected.
-- Called by: migrations, at their end, with the objects that they have made, changed or removed; null means all. An object
-- that is gone is forgotten. `p_parts` names what a migration has added to tables of earlier releases (columns, constraints,
-- indexes, triggers, policies): what else is new there is the project's own, and stays its own affair. The sequence behind
-- such a column is recorded by a second call. Returns: how many definitions are expected of them. Locks: nothing.
create or replace function payments.record_definitions(p_objects text[] default null, p_parts text[] default '{}')
returns bigint
language sql
volatile
security invoker
set search_path = ''
as $$
    with found as (
        select
            d.kind,
            d.object,
            d.name,
            d.definition
        from payments.definitions() as d
        where
            (p_objects is null or d.object = any(p_objects))
            and (
                d.name = ''
                or d.name = any(p_parts)
                or not exists (
                    select 1
                    from payments.expected_definitions as e
                    where e.kind = 'relation' and e.object = d.object
                )
                or exists (
                    select 1
                    from payments.expected_definitions as e
                    where e.kind = d.kind and e.object = d.object and e.name = d.name
                )
            )
    ),

    recorded as (
        insert into payments.expected_definitions as e (kind, object, name, definition)
        select
            f.kind,
            f.object,
            f.name,
            f.definition
        from found as f
        on conflict (kind, object, name) do update
            set definition = excluded.definition
        returning 1
    ),

    forgotten as (
        delete from payments.expected_definitions as e
        where
            (p_objects is null or e.object = any(p_objects))
            and not exists (
                select 1
                from found as f
                where f.kind = e.kind and f.object = e.object and f.name = e.name
            )
    )

    select count(*)
    from recorded;
$$;
comment on function payments.record_definitions(text[], text[]) is
    'Makes the definitions of now the expected ones. For migrations; objects as regclass or regprocedure print them, parts by name.';
revoke execute on function payments.record_definitions(text[], text[]) from public, anon, authenticated, service_role;

-- Compares the privileges on the objects of this project with payments.expected_grants.
-- Called by: payments.restore_privileges(), public.security_findings(). Returns: one row per privilege that is held but not
-- expected, or expected but not held; `statement` is what puts it right. The owner is expected to hold everything. A column
-- that the project itself has added is the project's own affair. Locks: nothing.
create or replace function payments.privilege_differences()
returns table (
    is_missing boolean, kind text, object text, column_name text, grantee text, privilege text, statement text
)
language sql
stable
security invoker
set search_path = ''
as $$
    with own as (
        select
            o.*,
            case o.kind when 'relation' then coalesce(c.relkind, 'r') end as relkind
        from payments.own_objects() as o
        left join pg_catalog.pg_class as c on o.kind = 'relation' and o.id = c.oid
    ),

    granted as (
        select
            o.kind,
            o.object,
            '' as column_name,
            a.grantee,
            a.privilege_type,
            a.is_grantable
        from own as o
        cross join aclexplode(o.acl) as a
        union all
        select
            o.kind,
            o.object,
            c.attname::pg_catalog.text,
            a.grantee,
            a.privilege_type,
            a.is_grantable
        from own as o
        inner join pg_catalog.pg_attribute as c on o.id = c.attrelid and not c.attisdropped
        inner join payments.expected_definitions as e
            on e.kind = 'column' and o.object = e.object and c.attname = e.name
        cross join aclexplode(c.attacl) as a
        where o.kind = 'relation' and a.grantee <> o.owner
    ),

    held as (
        select distinct
            g.kind,
            g.object,
            g.column_name,
            case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee)::pg_catalog.text end as grantee,
            g.privilege_type || case
                when g.is_grantable and g.grantee <> o.owner then ' WITH GRANT OPTION'
                else ''
            end as privilege
        from granted as g
        inner join own as o on g.kind = o.kind and g.object = o.object
    ),

    expected as (
        select
            o.kind,
            e.object,
            e.column_name,
            e.grantee,
            e.privilege
        from payments.expected_grants as e
        inner join own as o on e.object = o.object
        union
        select
            o.kind,
            o.object,
            '',
            pg_get_userbyid(o.owner)::pg_catalog.text,
            a.privilege_type
        from own as o
        cross join aclexplode(acldefault(
            case o.kind
                when 'schema' then 'n'
                when 'function' then 'f'
                else case o.relkind when 'S' then 's' else 'r' end
            end::pg_catalog."char",
            o.owner
        )) as a
        where a.grantee = o.owner
    ),

    difference as (
        select
            false as is_missing,
            h.*
        from (
            select * from held
            except
            select * from expected
        ) as h
        union all
        select
            true,
            e.*
        from (
            select * from expected
            except
            select * from held
        ) as e
    )

    select
        d.is_missing,
        d.kind,
        d.object,
        d.column_name,
        d.grantee,
        d.privilege,
        format(
            '%s %s%s on %s %s %s %s%s',
            case when d.is_missing then 'grant' else 'revoke' end,
            lower(replace(d.privilege, ' WITH GRANT OPTION', '')),
            case when d.column_name <> '' then format(' (%I)', d.column_name) end,
            case
                when d.kind <> 'relation' then d.kind
                when o.relkind = 'S' then 'sequence'
                else 'table'
            end,
            d.object,
            case when d.is_missing then 'to' else 'from' end,
            case d.grantee when 'public' then 'public' else quote_ident(d.grantee) end,
            case when not d.is_missing then ' cascade' end
        ) as statement
    from difference as d
    inner join own as o on d.kind = o.kind and d.object = o.object;
$$;
comment on function payments.privilege_differences() is
    'Privileges that differ from payments.expected_grants, each with the statement that puts it right.';
revoke execute on function payments.privilege_differences() from public, anon, authenticated, service_role;

-- Puts every privilege on the objects of this project right.
-- Called by: the owner, after a restore or a careless grant. Returns: the statements that it ran; none where all was right.
-- Locks: the catalogue's rows of what it changes. To revoke a privilege on a table revokes it on the columns too, so what
-- is missing is granted afterwards, and what the project has granted on columns of its own is granted again.
create or replace function payments.restore_privileges()
returns setof text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_statement pg_catalog.text;
    v_of_the_project pg_catalog.text[];
begin
    select array_agg(format(
        'grant %s (%I) on table %s to %s%s',
        lower(a.privilege_type),
        c.attname,
        o.object,
        case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end,
        case when a.is_grantable then ' with grant option' end
    ))
    into v_of_the_project
    from payments.own_objects() as o
    inner join pg_catalog.pg_attribute as c on o.id = c.attrelid and not c.attisdropped
    cross join aclexplode(c.attacl) as a
    where
        o.kind = 'relation'
        and a.grantee <> o.owner
        and exists (
            select 1
            from payments.privilege_differences() as d
            where not d.is_missing and d.object = o.object and d.column_name = ''
        )
        and not exists (
            select 1
            from payments.expected_definitions as e
            where e.kind = 'column' and e.object = o.object and e.name = c.attname
        );

    for v_statement in
        select d.statement
        from payments.privilege_differences() as d
        where not d.is_missing
        order by d.kind, d.object, d.column_name, d.grantee, d.privilege
    loop
        execute v_statement;
        return next v_statement;
    end loop;

    for v_statement in
        select unnest(v_of_the_project)
        union all
        select d.statement
        from payments.privilege_differences() as d
        where d.is_missing
        order by 1
    loop
        execute v_statement;
        return next v_statement;
    end loop;
end;
$$;
comment on function payments.restore_privileges() is
    'Puts every grant and revoke right again, after a restore or a careless grant. For the owner; idempotent.';
revoke execute on function payments.restore_privileges() from public, anon, authenticated, service_role;
