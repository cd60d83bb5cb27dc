-- Who calls expire_order_groups() each minute.
--
-- Touches: payments.schedule_expiry(), and a job of pg_cron where that extension is installed. Without it the migration does
-- nothing; the same statement turns the schedule on later, and any other scheduler may call the function instead.

-- Has pg_cron call expire_order_groups() each minute, as the owner of the tables.
-- Called by: this migration; the owner, once pg_cron is installed or after a restore. Calling it again changes nothing.
-- Returns: `scheduled`, `pg_cron_not_installed`, or `pg_cron_not_permitted` where the owner may not use the schema `cron` or its
-- function. Locks: nothing of ours.
create or replace function payments.schedule_expiry()
returns text
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_is_permitted pg_catalog.bool;
begin
    select has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute')
    into v_is_permitted
    from pg_catalog.pg_extension as e
    inner join pg_catalog.pg_namespace as n on n.nspname = 'cron'
    inner join pg_catalog.pg_proc as p on n.oid = p.pronamespace and p.proname = 'schedule' and p.pronargs = 3
    where e.extname = 'pg_cron';

    if not found then
        return 'pg_cron_not_installed';
    elsif not v_is_permitted then
        return 'pg_cron_not_permitted';
    end if;
    -- A job of that name is changed, not added. Words without a type: versions of pg_cron differ in that.
    execute format(
        'select cron.schedule(%L, %L, %L)', 'expire_order_groups', '* * * * *', 'select public.expire_order_groups()'
    );
    return 'scheduled';
end;
$$;
comment on function payments.schedule_expiry() is
    'Has pg_cron, where it is installed, call expire_order_groups() each minute; says whether it does.';
revoke execute on function payments.schedule_expiry() from public, anon, authenticated, service_role;

select payments.schedule_expiry();
