-- The lock of an order group, which whoever changes something around it takes first.
--
-- Touches: payments.lock_order_group() and its like for an edit of a child, payments.assert_pending(). A payment takes the
-- same lock, so an edit either comes before the payment is judged or finds the group frozen.
-- Lock order, everywhere: event id, order group, its exceptions, its orders by id. Items are never locked.

-- Locks an order group on behalf of a change around it, and tells its status.
-- Called by: the triggers below, for inserts, and the operators' functions. Returns: the status, null where there is no
-- such group. Locks: the group. A new row holds no lock that a payment could want, so waiting is safe.
-- A pending group is written too, once per transaction: a payment under repeatable read or serializable that waited for the
-- lock would otherwise get it without noticing that its snapshot of the orders and items is out of date.
create or replace function payments.lock_order_group(p_order_group_id uuid)
returns text
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_status public.order_groups.status%type;
    v_is_ours boolean;
begin
    select
        g.status,
        g.xmin = pg_current_xact_id()::pg_catalog.xid
    into v_status, v_is_ours
    from public.order_groups as g
    where g.id = p_order_group_id
    for update;

    if v_status = 'pending' and not v_is_ours then
        update public.order_groups as g
        set status = g.status
        where g.id = p_order_group_id;
    end if;
    return v_status;
end;
$$;
comment on function payments.lock_order_group(uuid) is 'Locks an order group for an edit and returns its status.';
revoke execute on function payments.lock_order_group(uuid) from public, anon, authenticated, service_role;

-- Locks an order group on behalf of an edit that already holds the lock of a child row.
-- Called by: the triggers below, for updates and deletes. Returns: as lock_order_group(). Locks: the group.
-- Postgres locks the row of an update or delete before any trigger runs, so this waits the wrong way round: child,
-- then group. It gives up (55P03) before deadlock_timeout, one second, would look for a victim. A payment can still be
-- one, of an editor that held a child's lock for long before it asks for the group's: it is rolled back whole, and the
-- relay sends it again. An editor that takes the group's lock itself, first, meets neither.
create or replace function payments.lock_order_group_of_held_child(p_order_group_id uuid)
returns text
language sql
volatile
security definer
set search_path = ''
set lock_timeout = '900ms'
as $$
    select payments.lock_order_group(p_order_group_id);
$$;
comment on function payments.lock_order_group_of_held_child(uuid) is
    'As lock_order_group, for an edit whose row is locked already: gives up before a deadlock would look for its victim.';
revoke execute on function payments.lock_order_group_of_held_child(uuid) from public, anon, authenticated, service_role;

-- Refuses an edit of a group that is not pending.
-- Called by: the triggers below. Returns: nothing, or raises 23514. Locks: nothing.
create or replace function payments.assert_pending(p_order_group_id uuid, p_status text)
returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if p_status <> 'pending' then
        raise exception 'order group % is %: its totals, orders and items are frozen', p_order_group_id, p_status
            using errcode = 'check_violation',
                constraint = 'order_group_is_frozen_unless_pending';
    end if;
end;
$$;
comment on function payments.assert_pending(uuid, text) is 'Raises unless the status is pending.';
revoke execute on function payments.assert_pending(uuid, text) from public, anon, authenticated, service_role;
