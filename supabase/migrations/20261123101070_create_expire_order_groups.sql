-- How checkouts end that nobody finished in time.
--
-- Touches: public.expire_order_groups(), an index of the order groups that can expire, payments.last_expiry. A payment that
-- arrives later is kept as an exception, as after any cancellation. An older relay notices nothing.

-- What can expire, the next one first; a group that is paid or awaits funds leaves it. `now` is no part of it.
create index order_groups_expiring_expires_at_idx
on public.order_groups (expires_at)
where status = 'pending' and expires_at is not null and awaiting_funds_since is null;

-- One row, which each run overwrites: pg_cron's own log tells of pg_cron alone, and keeps every minute.
create table payments.last_expiry (
    id integer not null default 1,
    ran_at timestamptz,
    constraint last_expiry_pkey primary key (id),
    constraint last_expiry_is_one_row_check check (id = 1)
);
comment on table payments.last_expiry is 'When expire_order_groups() ran last, whoever called it.';
comment on column payments.last_expiry.ran_at is 'Null: never.';
alter table payments.last_expiry enable row level security;
create policy "Nobody can read the last expiry" on payments.last_expiry for select to public using (false);
revoke all on table payments.last_expiry from public, anon, authenticated, service_role;
insert into payments.last_expiry (id) values (1);

-- Cancels the pending order groups whose time has passed and whose money is not under way.
-- Called by: pg_cron, or whatever else the shop's scheduler is. Returns: an object with `expired` and `left`, the numbers of
-- groups that were cancelled, and of those that are due and were not, for the limit or for a lock; raises 22023 for a limit
-- outside of 0 to 10,000. Locks: the groups that are due, then their orders, and waits for none of them: whoever pays or
-- edits one at this moment is not disturbed, and one row that is held for long stops no other group from expiring.
create or replace function public.expire_order_groups(p_limit integer default 500)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_most constant integer := 10000;  -- a transaction of three to six seconds, well inside the Data API's 8 s
    v_now constant pg_catalog.timestamptz := clock_timestamp();
    v_held pg_catalog.uuid[];
    v_free_orders pg_catalog.uuid[];
    v_expired pg_catalog.uuid[] := '{}';
    v_left integer;
begin
    if p_limit is null or p_limit not between 0 and v_most then
        raise exception 'p_limit must lie between 0 and %', v_most
            using errcode = 'invalid_parameter_value';
    end if;

    select array_agg(due.id)
    into v_held
    from (
        select g.id
        from public.order_groups as g
        where g.status = 'pending' and g.expires_at <= v_now and g.awaiting_funds_since is null
        order by g.expires_at
        limit p_limit
        for update skip locked
    ) as due;

    if v_held is not null then
        -- An editor may hold an order without its group. Under the group's lock no order comes or goes.
        select coalesce(array_agg(free.id), '{}')
        into v_free_orders
        from (
            select o.id
            from public.orders as o
            where o.order_group_id = any(v_held)
            order by o.id
            for update skip locked
        ) as free;

        select coalesce(array_agg(h.order_group_id), '{}')
        into v_expired
        from unnest(v_held) as h (order_group_id)
        where not exists (
            select 1
            from public.orders as o
            where o.order_group_id = h.order_group_id and o.id <> all(v_free_orders)
        );
        perform payments.cancel_held_order_groups(v_expired);
    end if;

    select count(*)
    into v_left
    from public.order_groups as g
    where g.status = 'pending' and g.expires_at <= v_now and g.awaiting_funds_since is null;

    -- Two runs at once need not wait for each other: either has run now.
    update payments.last_expiry as l
    set ran_at = v_now
    where
        l.id in (
            select free.id
            from payments.last_expiry as free
            for update skip locked
        );
    return jsonb_build_object('expired', cardinality(v_expired), 'left', v_left);
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'an order group was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;
comment on function public.expire_order_groups(integer) is
    'Cancels pending order groups whose time has passed, except those that await funds; tells how many, and how many are left.';
revoke execute on function public.expire_order_groups(integer) from public, anon, authenticated;
grant execute on function public.expire_order_groups(integer) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.expire_order_groups(integer)', 'service_role', 'EXECUTE');
