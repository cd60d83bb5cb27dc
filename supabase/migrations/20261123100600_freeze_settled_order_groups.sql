-- An order group that is no longer pending is frozen.
--
-- Touches: triggers on public.order_groups, public.orders, public.order_items. Whoever adds, changes or removes an
-- order or an item takes the group's lock first; a payment takes the same lock, so an edit either comes before the
-- payment is judged or finds the group frozen.
-- Lock order, everywhere: event id, order group, its exceptions, its orders by id. Items are never locked.

-- Locks an order group on behalf of a change around it, and tells its status.
-- Called by: the triggers below, for inserts, and the operators' functions. Returns: the status, null where there is no
-- such group. Locks: the group. A new row holds no lock that a payment could want, so waiting is safe.
-- A pending group is written too, once a transaction: a payment under repeatable read or serializable that waited for the
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

-- Lets a row start as pending only, unless the writer may update the whole table (the owner, importing history).
-- Called by: triggers on insert of groups and orders. Returns: the row. Locks: nothing.
create or replace function payments.tg_settled__start_pending()
returns trigger
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if new.status <> 'pending' and not has_table_privilege(current_user, tg_relid, 'update') then
        raise exception '%.% starts as pending, not as %', tg_table_schema, tg_table_name, new.status
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end;
$$;
comment on function payments.tg_settled__start_pending() is 'New order groups and orders are pending.';
revoke execute on function payments.tg_settled__start_pending() from public, anon, authenticated, service_role;

create trigger order_groups_start_pending
before insert on public.order_groups
for each row execute function payments.tg_settled__start_pending();

create trigger orders_start_pending
before insert on public.orders
for each row execute function payments.tg_settled__start_pending();

-- Keeps a settled group as it is: paid may become refunded, a deleted buyer may be forgotten, nothing else.
-- Called by: trigger on update and delete of settled groups. Returns: the row, or raises 23514. Locks: nothing more.
create or replace function payments.tg_order_groups__stay_settled()
returns trigger
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_allowed public.order_groups := old;
begin
    if tg_op = 'UPDATE' then
        if old.status = 'paid' and new.status = 'refunded' then
            v_allowed.status := 'refunded';
        end if;
        if new.buyer_id is null then
            v_allowed.buyer_id := null;
        end if;
        if new is not distinct from v_allowed then
            return new;
        end if;
    end if;
    raise exception 'order group % is %: it cannot be changed or removed', old.id, old.status
        using errcode = 'check_violation',
            constraint = 'order_group_is_frozen_unless_pending';
end;
$$;
comment on function payments.tg_order_groups__stay_settled() is 'Settled order groups do not change.';
revoke execute on function payments.tg_order_groups__stay_settled() from public, anon, authenticated, service_role;

create trigger order_groups_stay_settled
before update or delete on public.order_groups
for each row when (old.status <> 'pending')
execute function payments.tg_order_groups__stay_settled();

-- Lets orders be added to, changed in and removed from pending groups only.
-- Called by: triggers on public.orders. Returns: the row, or raises 23514. Locks: the group.
create or replace function payments.tg_orders__need_pending_group()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if tg_op = 'INSERT' then
        perform payments.assert_pending(new.order_group_id, payments.lock_order_group(new.order_group_id));
        return new;
    elsif tg_op = 'UPDATE'
        and (new.id, new.order_group_id, new.seller_id, new.total_amount)
        is not distinct from (old.id, old.order_group_id, old.seller_id, old.total_amount)
    then
        return new;
    end if;
    perform payments.assert_pending(
        old.order_group_id, payments.lock_order_group_of_held_child(old.order_group_id)
    );
    if tg_op = 'DELETE' then
        return old;
    end if;
    if (new.id, new.order_group_id) is distinct from (old.id, old.order_group_id) then
        raise exception 'order % stays in its order group', old.id
            using errcode = 'check_violation', constraint = 'order_stays_in_its_group';
    end if;
    return new;
end;
$$;
comment on function payments.tg_orders__need_pending_group() is 'Orders change in pending groups only, under the group''s lock.';
revoke execute on function payments.tg_orders__need_pending_group() from public, anon, authenticated, service_role;

create trigger orders_need_pending_group
before insert or delete on public.orders
for each row execute function payments.tg_orders__need_pending_group();

-- By columns, because Postgres reads a trigger's condition anew for each statement, and payments write none of these.
create trigger orders_need_pending_group_to_change
before update of id, order_group_id, seller_id, total_amount on public.orders
for each row execute function payments.tg_orders__need_pending_group();

-- Moves an order's status along its path only.
-- Called by: trigger on public.orders. Returns: the row, or raises 23514. Locks: nothing: an order leaves `pending` only
-- with its group, whose lock the caller holds, and later steps concern the order alone.
create or replace function payments.tg_orders__move_forward()
returns trigger
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_group_status public.order_groups.status%type;
    v_writes_whole_table constant boolean := has_table_privilege(current_user, tg_relid, 'update');
begin
    if (new.status, new.paid_at) is not distinct from (old.status, old.paid_at) then
        return new;
    end if;

    -- What follows the group belongs to whoever may update the whole table: the owner's functions.
    if old.status = 'pending' then
        if v_writes_whole_table then
            select g.status
            into v_group_status
            from public.order_groups as g
            where g.id = old.order_group_id;
            if new.status in ('paid', 'cancelled') and new.status = v_group_status then
                return new;
            end if;
        end if;
    elsif new.paid_at is not distinct from old.paid_at then
        if (old.status, new.status) in (('paid', 'fulfilled'), ('fulfilled', 'shipped'), ('shipped', 'delivered')) then
            return new;
        elsif v_writes_whole_table
            and old.status in ('paid', 'fulfilled', 'shipped', 'delivered')
            and new.status = 'refunded'
        then
            return new;
        end if;
    end if;

    raise exception 'order % cannot go from % to %', old.id, old.status, new.status
        using errcode = 'check_violation', constraint = 'order_status_moves_forward';
end;
$$;
comment on function payments.tg_orders__move_forward() is
    'paid, fulfilled, shipped, delivered, one step at a time; paid and cancelled only together with the group.';
revoke execute on function payments.tg_orders__move_forward() from public, anon, authenticated, service_role;

create trigger orders_move_forward
before update of status, paid_at on public.orders
for each row execute function payments.tg_orders__move_forward();

-- Lets items be added to, changed in and removed from pending groups only.
-- Called by: trigger on public.order_items. Returns: the row, or raises 23514. Locks: the group.
create or replace function payments.tg_order_items__need_pending_group()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_order_group_id pg_catalog.uuid;
begin
    select o.order_group_id
    into v_order_group_id
    from public.orders as o
    where o.id = coalesce(old.order_id, new.order_id);

    if tg_op = 'INSERT' then
        perform payments.assert_pending(v_order_group_id, payments.lock_order_group(v_order_group_id));
        return new;
    end if;
    perform payments.assert_pending(v_order_group_id, payments.lock_order_group_of_held_child(v_order_group_id));
    if tg_op = 'DELETE' then
        return old;
    end if;
    if (new.id, new.order_id) is distinct from (old.id, old.order_id) then
        raise exception 'order item % stays in its order', old.id
            using errcode = 'check_violation', constraint = 'order_item_stays_in_its_order';
    end if;
    return new;
end;
$$;
comment on function payments.tg_order_items__need_pending_group() is 'Items change in pending groups only, under the group''s lock.';
revoke execute on function payments.tg_order_items__need_pending_group() from public, anon, authenticated, service_role;

create trigger order_items_need_pending_group
before insert or update or delete on public.order_items
for each row execute function payments.tg_order_items__need_pending_group();
