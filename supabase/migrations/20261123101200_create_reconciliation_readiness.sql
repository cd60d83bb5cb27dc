-- What a relay asks before it says that it is ready.
--
-- Touches: public.reconciliation_readiness(). `contract_version` counts up by one with the first migration of a release
-- that changes what the function takes or answers; `oldest_contract_version` is that of the oldest relay which the database
-- still serves, so the count of the release before. A relay knows its own two numbers, and both ranges must meet.

-- Tells whether this database can reconcile for the calling role.
-- Called by: the relay's readiness check. Returns: an object with `contract_version`, `oldest_contract_version`, `server_time`,
-- `currencies` (code to exponent), `role`, `can_execute`, `anon_can_execute` (anon, authenticated or public),
-- `fragile_triggers`: the project's own triggers on these tables whose functions have no search_path of their own, so that in
-- a payment, whose search_path is empty, each name without a schema fails (42P01, 42883), `expiry_last_ran_at` (null: never) and
-- `overdue_since`, the expiry of the order group that should have been the first to go (null: none is due). Locks: nothing.
create or replace function public.reconciliation_readiness()
returns jsonb
language sql
volatile
security definer
set search_path = ''
as $$
    with reconcile as (
        select p.oid
        from pg_catalog.pg_proc as p
        where p.pronamespace = 'public'::pg_catalog.regnamespace and p.proname = 'reconcile_order_group_payment'
    ),

    caller as (
        -- Inside a definer function current_user is the owner; the Data API sets `role`.
        select coalesce(nullif(current_setting('role', true), 'none'), session_user::pg_catalog.text) as name
    )

    select jsonb_build_object(
        'contract_version', 1,
        'oldest_contract_version', 1,
        'server_time', clock_timestamp(),
        'currencies', (
            select jsonb_object_agg(c.code, c.exponent)
            from payments.currencies as c
        ),
        'role', caller.name,
        'can_execute', (
            select coalesce(bool_and(has_function_privilege(caller.name, reconcile.oid, 'execute')), false)
            from reconcile
        ),
        'anon_can_execute', (
            select
                coalesce(bool_or(
                    has_function_privilege('anon', reconcile.oid, 'execute')
                    or has_function_privilege('authenticated', reconcile.oid, 'execute')
                    or has_function_privilege('public', reconcile.oid, 'execute')
                ), false)
            from reconcile
        ),
        'expiry_last_ran_at', (
            select l.ran_at
            from payments.last_expiry as l
        ),
        'overdue_since', (
            select min(g.expires_at)
            from public.order_groups as g
            where g.status = 'pending' and g.expires_at <= now() and g.awaiting_funds_since is null
        ),
        'open_exceptions', (
            select coalesce(jsonb_object_agg(o.reason, o.cases), '{}'::pg_catalog.jsonb)
            from (
                select
                    x.reason,
                    count(*) as cases
                from payments.exceptions as x
                where x.status = 'open'
                group by x.reason
            ) as o
        ),
        'oldest_open_exception_at', (
            -- A dispute waits for the bank, for weeks, whatever a person does.
            select min(x.first_seen_at)
            from payments.exceptions as x
            where x.status = 'open' and x.reason <> 'payment_disputed'
        ),
        'fragile_triggers', (
            select
                coalesce(
                    jsonb_agg(
                        format('%s on %s: %s', t.tgname, t.tgrelid::pg_catalog.regclass, t.tgfoid::pg_catalog.regprocedure)
                        order by t.tgrelid::pg_catalog.regclass::pg_catalog.text, t.tgname
                    ),
                    '[]'::pg_catalog.jsonb
                )
            from pg_catalog.pg_trigger as t
            inner join pg_catalog.pg_class as c on t.tgrelid = c.oid
            inner join pg_catalog.pg_proc as p on t.tgfoid = p.oid
            inner join pg_catalog.pg_language as l on p.prolang = l.oid
            where
                not t.tgisinternal
                and t.tgenabled <> 'D'
                and (
                    c.relnamespace = 'payments'::pg_catalog.regnamespace
                    or c.oid::pg_catalog.regclass::pg_catalog.text in (
                        select g.object
                        from payments.expected_grants as g
                    )
                )
                and p.pronamespace <> 'payments'::pg_catalog.regnamespace
                and l.lanname not in ('internal', 'c')
                and not exists (
                    select 1
                    from unnest(p.proconfig) as s (setting)
                    where s.setting like 'search\_path=%'
                )
        )
    )
    from caller;
$$;
comment on function public.reconciliation_readiness() is
    'Contract versions, currency table, the caller''s EXECUTE right and anon''s lack of it, fragile triggers, the last expiry, open exceptions, server time.';
revoke execute on function public.reconciliation_readiness() from public, anon, authenticated;
grant execute on function public.reconciliation_readiness() to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.reconciliation_readiness()', 'service_role', 'EXECUTE');
