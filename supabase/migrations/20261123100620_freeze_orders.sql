-- An order is frozen with its group, and then moves along its own path only.
--
-- Touches: triggers on public.orders. Whoever adds, changes or removes an order takes the group's lock first.

create trigger orders_start_pending
before insert on public.orders
for each row execute function payments.tg_settled__start_pending();

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
        select g.currency
        into new.currency
        from public.order_groups as g
        where g.id = new.order_group_id;
        if not found then
            raise exception 'there is no order group %', new.order_group_id
                using errcode = 'foreign_key_violation', constraint = 'orders_order_group_id_fkey';
        end if;
        perform payments.assert_representable(new.total_amount, new.currency);
        return new;
    elsif tg_op = 'UPDATE'
        and (new.id, new.order_group_id, new.seller_id, new.currency, new.total_amount)
        is not distinct from (old.id, old.order_group_id, old.seller_id, old.currency, old.total_amount)
    then
        return new;
    end if;
    perform payments.assert_pending(
        old.order_group_id, payments.lock_order_group_of_held_child(old.order_group_id)
    );
    if tg_op = 'DELETE' then
        return old;
    end if;
    if (new.id, new.order_group_id, new.currency) is distinct from (old.id, old.order_group_id, old.currency) then
        raise exception 'order % stays in its order group, and in the group''s currency', old.id
            using errcode = 'check_violation', constraint = 'order_stays_in_its_group';
    end if;
    perform payments.assert_representable(new.total_amount, new.currency);
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
before update of id, order_group_id, seller_id, currency, total_amount on public.orders
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
