-- The privileges of this project, written down once more so that the database can check itself.
--
-- Touches: public.security_findings(). What is listed here is all that may exist: a grant, policy, function or setting
-- that differs is a finding. A migration that changes a privilege changes this function in the same file.

-- Compares the catalogue with the privileges that these migrations promise.
-- Called by: the relay's deployment gate and operators, as service_role. Returns: one row a finding, none when all is well.
-- Locks: nothing.
create or replace function public.security_findings()
returns table (finding text, object text, detail text)
language sql
stable
security definer
set search_path = ''
as $$
    with expected_relation (name, definer_only) as (
        values
        ('public.sellers', false),
        ('public.seller_members', false),
        ('public.products', false),
        ('public.order_groups', false),
        ('public.orders', false),
        ('public.order_items', false),
        ('public.inventory_ledger', false),
        ('public.inventory_levels', false),
        ('public.order_status_changes', false),
        ('public.order_status_changes_id_seq', true),
        ('public.inventory_ledger_id_seq', true),
        ('payments.currencies', true),
        ('payments.stripe_events', true),
        ('payments.reasons', true),
        ('payments.exceptions', true),
        ('payments.exceptions_id_seq', true)
    ),

    -- A column of '*' is the whole table. Reading is for authenticated (through policies) and service_role alone.
    expected_grant (relation, column_name, grantee, privilege) as (
        select
            r.name,
            '*',
            g.grantee,
            'SELECT'
        from expected_relation as r
        cross join (values ('authenticated'), ('service_role')) as g (grantee)
        where not r.definer_only
        union all
        select
            w.relation,
            c.column_name,
            'service_role',
            w.privilege
        from (
            values
            ('public.sellers', 'INSERT', 'id name'),
            ('public.seller_members', 'INSERT', 'seller_id user_id'),
            ('public.products', 'INSERT', 'id seller_id sku name'),
            ('public.order_groups', 'INSERT', 'id buyer_id currency total_amount status'),
            ('public.orders', 'INSERT', 'id order_group_id seller_id total_amount status'),
            ('public.orders', 'UPDATE', 'status'),
            ('public.order_items', 'INSERT', 'id order_id product_id quantity unit_amount sku title'),
            ('public.sellers', 'UPDATE', 'name'),
            ('public.products', 'UPDATE', 'sku name'),
            ('public.seller_members', 'DELETE', '*')
        ) as w (relation, privilege, columns)
        cross join regexp_split_to_table(w.columns, ' ') as c (column_name)
    ),

    actual_relation as (
        select
            c.oid,
            n.nspname || '.' || c.relname as name,
            c.relkind,
            c.relacl,
            c.relowner,
            c.relrowsecurity,
            c.relforcerowsecurity,
            c.reloptions
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
        where n.nspname in ('public', 'payments') and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    ),

    actual_grant as (
        select
            r.name as relation,
            '*' as column_name,
            a.grantee,
            a.privilege_type || case when a.is_grantable then ' WITH GRANT OPTION' else '' end as privilege
        from actual_relation as r
        cross join aclexplode(r.relacl) as a
        where a.grantee <> r.relowner
        union all
        select
            r.name,
            att.attname::pg_catalog.text,
            a.grantee,
            a.privilege_type || case when a.is_grantable then ' WITH GRANT OPTION' else '' end
        from actual_relation as r
        inner join pg_catalog.pg_attribute as att on r.oid = att.attrelid
        cross join aclexplode(att.attacl) as a
        where a.grantee <> r.relowner
    ),

    named_grant as (
        select
            g.relation,
            g.column_name,
            case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee)::pg_catalog.text end as grantee,
            g.privilege
        from actual_grant as g
        inner join expected_relation as r on g.relation = r.name
    ),

    expected_policy (relation, name, qual) as (
        values
        ('payments.currencies', 'Nobody can read currencies', 'false'),
        ('payments.exceptions', 'Nobody can read exceptions', 'false'),
        ('payments.reasons', 'Nobody can read reasons', 'false'),
        ('payments.stripe_events', 'Nobody can read Stripe events', 'false'),
        (
            'public.seller_members',
            'Members can read their own memberships',
            '(user_id = ( SELECT auth.uid() AS uid))'
        ),
        (
            'public.sellers',
            'Members can read their own sellers',
            '(id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m '
            || 'WHERE (m.user_id = ( SELECT auth.uid() AS uid)))))'
        ),
        (
            'public.products',
            'Members can read their sellers'' products',
            '(seller_id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m '
            || 'WHERE (m.user_id = ( SELECT auth.uid() AS uid)))))'
        ),
        (
            'public.order_groups',
            'Buyers can read their own order groups',
            '(buyer_id = ( SELECT auth.uid() AS uid))'
        ),
        (
            'public.orders',
            'Buyers and the seller''s members can read an order',
            '((seller_id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m '
            || 'WHERE (m.user_id = ( SELECT auth.uid() AS uid))))) OR '
            || '(order_group_id = ANY (ARRAY( SELECT g.id FROM public.order_groups g '
            || 'WHERE (g.buyer_id = ( SELECT auth.uid() AS uid)) ORDER BY g.created_at DESC))))'
        ),
        (
            'public.order_items',
            'Buyers and the seller''s members can read an item',
            '((seller_id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m '
            || 'WHERE (m.user_id = ( SELECT auth.uid() AS uid))))) OR '
            || '(order_group_id = ANY (ARRAY( SELECT g.id FROM public.order_groups g '
            || 'WHERE (g.buyer_id = ( SELECT auth.uid() AS uid)) ORDER BY g.created_at DESC))))'
        ),
        (
            'public.order_status_changes',
            'Buyers and the seller''s members can read a status change',
            '((seller_id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m '
            || 'WHERE (m.user_id = ( SELECT auth.uid() AS uid))))) OR '
            || '(order_group_id = ANY (ARRAY( SELECT g.id FROM public.order_groups g '
            || 'WHERE (g.buyer_id = ( SELECT auth.uid() AS uid)) ORDER BY g.created_at DESC))))'
        ),
        (
            'public.inventory_ledger',
            'Members can read their sellers'' stock movements',
            '(seller_id = ANY (ARRAY( SELECT m.seller_id FROM public.seller_members m '
            || 'WHERE (m.user_id = ( SELECT auth.uid() AS uid)))))'
        )
    ),

    actual_policy as (
        select
            r.name as relation,
            p.polname::pg_catalog.text as name,
            p.polcmd = 'r'
            and p.polpermissive
            and p.polwithcheck is null
            and p.polroles = case
                when r.name like 'payments.%' then array[0::pg_catalog.oid]
                else array[(select a.oid from pg_catalog.pg_roles as a where a.rolname = 'authenticated')]
            end as is_plain_read,
            regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\s+', ' ', 'g') as qual
        from pg_catalog.pg_policy as p
        inner join actual_relation as r on p.polrelid = r.oid
        inner join expected_relation as e on r.name = e.name
    ),

    expected_function (signature, runs_as_owner, for_service_role) as (
        values
        ('public.advance_order(uuid,text)', true, true),
        ('public.reopen_payment_exception(bigint,text,text)', true, true),
        ('payments.caller()', false, false),
        ('payments.calling_role()', false, false),
        ('payments.calling_user()', false, false),
        ('payments.tg_order_groups__record_step()', true, false),
        ('payments.tg_orders__record_changes()', true, false),
        (
            'public.reconcile_order_group_payment(uuid,text,text,timestamp with time zone,boolean,text,text,bigint,'
            || 'numeric,text,jsonb,text,text)',
            true,
            true
        ),
        ('public.record_inventory_receipt(uuid,integer,text)', true, true),
        ('public.record_inventory_adjustment(uuid,integer,text)', true, true),
        ('public.list_payment_exceptions(text)', true, true),
        ('public.resolve_payment_exception(bigint,text,text,text)', true, true),
        ('public.cancel_order_group(uuid)', true, true),
        ('public.explain_order_group(uuid)', true, true),
        ('public.preview_order_group_payments(jsonb)', true, true),
        ('public.payment_report(timestamp with time zone,timestamp with time zone)', true, true),
        ('public.reconciliation_readiness()', true, true),
        ('public.security_findings()', true, true),
        ('payments.assert_pending(uuid,text)', false, false),
        ('payments.assert_representable(numeric,text)', false, false),
        ('payments.seller_of_product(uuid)', false, false),
        ('payments.tg_order_groups__fit_currency()', true, false),
        ('payments.broken_invariants()', false, false),
        ('payments.describe_event(payments.stripe_events)', false, false),
        ('payments.describe_order_group(uuid)', false, false),
        ('payments.has_paid_another_group(payments.stripe_events)', false, false),
        ('payments.is_same_event(payments.stripe_events,payments.stripe_events)', false, false),
        ('payments.judge(payments.stripe_events,text,public.order_groups)', false, false),
        ('payments.judge_taken(payments.stripe_events)', false, false),
        ('payments.lock_order_group(uuid)', true, false),
        ('payments.lock_order_group_of_held_child(uuid)', true, false),
        (
            'payments.normalise_event(uuid,text,text,timestamp with time zone,boolean,text,text,bigint,numeric,text,jsonb,'
            || 'text,text)',
            false,
            false
        ),
        ('payments.pay(payments.stripe_events,integer)', false, false),
        ('payments.preview(jsonb)', false, false),
        ('payments.reconcile(payments.stripe_events,text)', false, false),
        ('payments.set_aside(payments.stripe_events,text,text,jsonb)', false, false),
        ('payments.set_aside_with(payments.stripe_events,bigint)', false, false),
        ('payments.tg_history__refuse_change()', false, false),
        ('payments.tg_order_groups__stay_settled()', false, false),
        ('payments.tg_order_items__need_pending_group()', true, false),
        ('payments.tg_orders__move_forward()', false, false),
        ('payments.tg_orders__need_pending_group()', true, false),
        ('payments.tg_settled__start_pending()', false, false),
        ('payments.verdict(uuid,text,text,text,integer,integer)', false, false)
    ),

    -- Everything in payments, and everything in public that bears one of our names: an overload counts.
    actual_function as (
        select
            p.oid::pg_catalog.regprocedure::pg_catalog.text as signature,
            p.proowner,
            p.prosecdef,
            p.proconfig,
            coalesce(p.proacl, acldefault('f', p.proowner)) as acl
        from pg_catalog.pg_proc as p
        inner join pg_catalog.pg_namespace as n on p.pronamespace = n.oid
        where
            n.nspname = 'payments'
            or (
                n.nspname = 'public'
                and p.proname in (
                    select split_part(split_part(f.signature, '(', 1), '.', 2)
                    from expected_function as f
                )
            )
    ),

    -- Where a trigger fires for some columns only, these are they.
    expected_trigger (relation, name, enabled, columns) as (
        values
        ('payments.stripe_events', 'stripe_events_is_append_only', 'A', ''),
        ('public.inventory_ledger', 'inventory_ledger_is_append_only', 'A', ''),
        ('public.order_groups', 'order_groups_fit_currency', 'O', 'currency total_amount'),
        ('public.order_groups', 'order_groups_start_pending', 'O', ''),
        ('public.order_groups', 'order_groups_record_step', 'O', ''),
        ('public.order_groups', 'order_groups_stay', 'O', ''),
        ('public.order_groups', 'order_groups_stay_settled', 'O', ''),
        ('public.order_status_changes', 'order_status_changes_is_append_only', 'A', ''),
        ('public.order_items', 'order_items_need_pending_group', 'O', ''),
        ('public.orders', 'orders_move_forward', 'O', ''),
        ('public.orders', 'orders_need_pending_group', 'O', ''),
        ('public.orders', 'orders_record_changes', 'O', ''),
        ('public.orders', 'orders_start_pending', 'O', '')
    )

    select
        'missing_relation' as finding,
        e.name as object,
        'the relation does not exist' as detail
    from expected_relation as e
    where not exists (select 1 from actual_relation as a where a.name = e.name)

    union all
    select
        'unexpected_relation',
        a.name,
        'nothing else belongs into the private schema'
    from actual_relation as a
    where
        a.name like 'payments.%'
        and not exists (select 1 from expected_relation as e where e.name = a.name)

    union all
    select
        'unexpected_grant',
        g.relation,
        g.grantee || ' has ' || g.privilege || case g.column_name when '*' then '' else ' on ' || g.column_name end
    from (
        select * from named_grant
        except
        select * from expected_grant
    ) as g

    union all
    select
        'missing_grant',
        g.relation,
        g.grantee || ' lacks ' || g.privilege || case g.column_name when '*' then '' else ' on ' || g.column_name end
    from (
        select * from expected_grant
        except
        select * from named_grant
    ) as g

    union all
    select
        'schema_is_open',
        n.nspname,
        case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::pg_catalog.text end || ' has ' || a.privilege_type
    from pg_catalog.pg_namespace as n
    cross join aclexplode(n.nspacl) as a
    where n.nspname = 'payments' and a.grantee <> n.nspowner

    union all
    select
        'row_level_security_is_off',
        a.name,
        'every table of public and payments has row level security'
    from actual_relation as a
    where a.relkind in ('r', 'p') and not a.relrowsecurity

    union all
    select
        'owner_is_bound_by_policies',
        a.name,
        'row level security is forced on an owner without BYPASSRLS: the functions would see no rows'
    from actual_relation as a
    inner join expected_relation as e on a.name = e.name
    inner join pg_catalog.pg_roles as o on a.relowner = o.oid
    where a.relforcerowsecurity and not (o.rolbypassrls or o.rolsuper)

    union all
    select
        'view_bypasses_policies',
        a.name,
        'a view of public without security_invoker reads with its owner''s rights'
    from actual_relation as a
    where
        a.relkind = 'v'
        and a.name like 'public.%'
        and not exists (
            select 1
            from pg_options_to_table(a.reloptions) as o
            where o.option_name = 'security_invoker' and o.option_value::boolean
        )

    union all
    select
        'view_bypasses_policies',
        a.name,
        'policies do not reach a materialized view or foreign table, and '
        || case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee)::pg_catalog.text end
        || ' may read it'
    from actual_relation as a
    cross join aclexplode(a.relacl) as g
    where
        a.relkind in ('m', 'f')
        and g.privilege_type = 'SELECT'
        and (g.grantee = 0 or pg_get_userbyid(g.grantee) in ('anon', 'authenticated'))

    union all
    select
        'missing_policy',
        e.relation,
        e.name
    from expected_policy as e
    where not exists (select 1 from actual_policy as a where a.relation = e.relation and a.name = e.name)

    union all
    select
        'unexpected_policy',
        a.relation,
        a.name
    from actual_policy as a
    where not exists (select 1 from expected_policy as e where e.relation = a.relation and e.name = a.name)

    union all
    select
        'changed_policy',
        a.relation,
        a.name || ' using ' || a.qual
    from actual_policy as a
    inner join expected_policy as e on a.relation = e.relation and a.name = e.name
    where (a.qual, a.is_plain_read) is distinct from (e.qual, true)

    union all
    select
        'missing_function',
        e.signature,
        'the function does not exist'
    from expected_function as e
    where not exists (select 1 from actual_function as a where a.signature = e.signature)

    union all
    select
        'unexpected_function',
        a.signature,
        'an overload, or a function that does not belong into the private schema'
    from actual_function as a
    where not exists (select 1 from expected_function as e where e.signature = a.signature)

    union all
    select
        'function_is_executable',
        a.signature,
        case x.grantee when 0 then 'public' else pg_get_userbyid(x.grantee)::pg_catalog.text end || ' may execute it'
    from actual_function as a
    cross join aclexplode(a.acl) as x
    where
        x.grantee <> a.proowner
        and not exists (
            select 1
            from expected_function as e
            where
                e.signature = a.signature
                and e.for_service_role
                and x.grantee <> 0
                and (
                    pg_get_userbyid(x.grantee) = 'service_role'
                    or (
                        pg_get_userbyid(x.grantee) = 'authenticated'
                        and e.signature = 'public.advance_order(uuid,text)'
                    )
                )
        )

    union all
    select
        'function_is_not_executable',
        a.signature,
        'service_role may not execute it'
    from actual_function as a
    inner join expected_function as e on a.signature = e.signature
    where
        e.for_service_role
        and not exists (
            select 1
            from aclexplode(a.acl) as x
            where x.grantee <> 0 and pg_get_userbyid(x.grantee) = 'service_role'
        )

    union all
    select
        'changed_function',
        a.signature,
        case
            when not coalesce('search_path=""' = any(a.proconfig), false) then 'its search_path is not empty'
            when a.prosecdef <> e.runs_as_owner then 'its security mode was switched'
            when a.proowner <> k.relowner then 'it does not belong to the owner of the tables'
        end
    from actual_function as a
    inner join expected_function as e on a.signature = e.signature
    inner join actual_relation as k on k.name = 'payments.stripe_events'
    where
        not coalesce('search_path=""' = any(a.proconfig), false)
        or a.prosecdef <> e.runs_as_owner
        or a.proowner <> k.relowner

    union all
    select
        'changed_function',
        a.signature,
        'its settings are ' || array_to_string(a.proconfig, ', ')
    from actual_function as a
    where
        a.signature like 'public.reconcile_order_group_payment(%'
        and a.proconfig is distinct from array[
            'search_path=""', 'lock_timeout=3s', 'default_transaction_isolation=read committed'
        ]

    -- A definer function of somebody else that reads or writes our tables is a door past policies and grants.
    union all
    select
        'open_door',
        p.oid::pg_catalog.regprocedure::pg_catalog.text,
        'it runs with its owner''s rights, works on these tables, and '
        || case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee)::pg_catalog.text end
        || ' may execute it'
    from pg_catalog.pg_proc as p
    inner join pg_catalog.pg_namespace as n on p.pronamespace = n.oid
    cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as g
    where
        n.nspname = 'public'
        and p.prosecdef
        and p.oid is distinct from to_regprocedure('public.advance_order(uuid,text)')::pg_catalog.oid
        and p.prosrc ~ '(payments\.|order_groups|order_items|inventory_ledger|inventory_levels|seller_members)'
        and (g.grantee = 0 or pg_get_userbyid(g.grantee) in ('anon', 'authenticated'))

    union all
    select
        'open_door',
        m.rolname::pg_catalog.text,
        'it is a member of ' || r.rolname
    from pg_catalog.pg_auth_members as am
    inner join pg_catalog.pg_roles as m on am.member = m.oid
    inner join pg_catalog.pg_roles as r on am.roleid = r.oid
    where m.rolname in ('anon', 'authenticated', 'service_role')

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
        'missing_guard',
        e.relation,
        'trigger ' || e.name || ' is missing, disabled, or fires for less'
    from expected_trigger as e
    where not exists (
        select 1
        from pg_catalog.pg_trigger as t
        inner join actual_relation as a on t.tgrelid = a.oid
        where
            a.name = e.relation
            and t.tgname = e.name
            and t.tgenabled = e.enabled
            -- One of them has a condition of its own; another one could switch a guard off.
            and (t.tgqual is null) = (e.name <> 'order_groups_stay')
            and e.columns = (
                select coalesce(string_agg(c.attname::pg_catalog.text, ' ' order by c.attname), '')
                from pg_catalog.pg_attribute as c
                where c.attrelid = t.tgrelid and c.attnum = any(t.tgattr::pg_catalog.int2[])
            )
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
    'Differences between the catalogue and the privileges of this project; no row when all is well.';
revoke execute on function public.security_findings() from public, anon, authenticated;
grant execute on function public.security_findings() to service_role;
