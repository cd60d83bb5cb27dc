-- An order is frozen with its group, and then moves along its own path only.
--
-- Touches: triggers on public.orders. Whoever adds or removes an order takes the group's lock first; who edits one takes it
-- once the row is written.

create trigger orders_start_pending
before insert on public.orders
for each row execute function payments.tg_settled__start_pending();

-- Lets orders be added to and removed from pending groups only.
-- Called by: trigger on public.orders. Returns: the row, or raises 23514. Locks: the group.
create or replace function payments.tg_orders__need_pending_group()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if tg_op = 'DELETE' then
        perform payments.assert_pending(
            old.order_group_id, payments.lock_order_group_of_held_child(old.order_group_id)
        );
        return old;
    end if;

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
end;
$$;
comment on function payments.tg_orders__need_pending_group() is 'Orders come and go in pending groups only, under the group''s lock.';
revoke execute on function payments.tg_orders__need_pending_group() from public, anon, authenticated, service_role;

create trigger orders_need_pending_group
before insert or delete on public.orders
for each row execute function payments.tg_orders__need_pending_group();

-- Leaves it to the table's owner, so to the functions, to give an order up, or to take that back.
-- Called by: trigger on public.orders, for rows that become refunded or are no more. Returns: nothing, or raises 23514. Locks: nothing.
create or replace function payments.tg_orders__refund_as_owner()
returns trigger
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if not pg_has_role(
        current_user, (
            select c.relowner
            from pg_catalog.pg_class as c
            where c.oid = tg_relid
        ), 'usage'
    ) then
        raise exception 'order % cannot go from % to %', old.id, old.status, new.status
            using errcode = 'check_violation', constraint = 'order_status_moves_forward';
    end if;
    return null;
end;
$$;
comment on function payments.tg_orders__refund_as_owner() is 'Orders are refunded by functions alone.';
revoke execute on function payments.tg_orders__refund_as_owner() from public, anon, authenticated, service_role;

create trigger orders_refund_as_owner
after update on public.orders
for each row when ((new.status = 'refunded') <> (old.status = 'refunded'))
execute function payments.tg_orders__refund_as_owner();

-- Records a step of an order, moves its status along its path only, and keeps the order as its group was paid: whose it is,
-- and what it costs.
-- Called by: trigger on public.orders. Returns: nothing, or raises 23514. Locks: the group of an order that was edited. An
-- order leaves `pending` only with its group, whose lock the caller holds, and later steps concern the order alone.
-- It compares the values that came to stand in the row, after every other trigger: a statement's columns do not tell what a
-- trigger of the shop's own has written. For each row, because a payment has a handful of orders: a statement's rows, joined
-- before and after, took more than twice the time.
create or replace function payments.tg_orders__record_changes()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_is_payment constant boolean := (old.status, new.status) = ('pending', 'paid');
    v_stays constant boolean :=
    (new.id, new.order_group_id, new.currency) is not distinct from (old.id, old.order_group_id, old.currency);
    v_moves_forward constant boolean := case
        when old.status = 'pending' and new.status in ('paid', 'cancelled') then (
            select g.status = new.status and g.paid_at is not distinct from new.paid_at
            from public.order_groups as g
            where g.id = old.order_group_id
        )
        when new.paid_at is distinct from old.paid_at then false
        when new.status = old.status then true
        when new.status = 'refunded' then old.status in ('paid', 'fulfilled', 'shipped', 'delivered')
        -- Back to where it was when all of the group's money went back, and only then.
        when old.status = 'refunded' then coalesce((
            select g.status = 'paid' and c.changed_by = 'record_refund' and c.from_status = new.status
            from public.order_groups as g
            inner join public.order_status_changes as c on g.id = c.order_group_id
            where g.id = old.order_group_id and c.order_id = old.id
            order by c.id desc
            limit 1
        ), false)
        else (old.status, new.status) in (
            ('paid', 'fulfilled'), ('fulfilled', 'shipped'), ('shipped', 'delivered')
        ) and (
            select g.status = 'paid'
            from public.order_groups as g
            where g.id = old.order_group_id
        )
    end;
begin
    if new.status <> old.status then
        insert into public.order_status_changes (
            order_group_id, order_id, seller_id, from_status, to_status, changed_at, changed_by
        )
        values (
            old.order_group_id,
            old.id,
            old.seller_id,
            old.status,
            new.status,
            case when v_is_payment then new.paid_at else clock_timestamp() end,
            case
                when v_is_payment then 'reconcile_order_group_payment'
                when old.status = 'refunded' then 'record_refund'
                -- All of the group's money has gone back, and its orders go along.
                when new.status = 'refunded' and exists (
                    select 1
                    from public.order_groups as g
                    where g.id = old.order_group_id and g.status = 'refunded'
                ) then 'record_refund'
                else payments.caller()
            end
        );
    end if;

    if v_stays and v_moves_forward
        and (new.seller_id, new.total_amount, new.created_at)
        is not distinct from (old.seller_id, old.total_amount, old.created_at)
    then
        return null;
    end if;

    if v_stays and not v_moves_forward then
        raise exception 'order % cannot go from % to %', old.id, old.status, new.status
            using errcode = 'check_violation', constraint = 'order_status_moves_forward';
    end if;
    perform payments.assert_pending(old.order_group_id, payments.lock_order_group_of_held_child(old.order_group_id));
    if not v_stays then
        raise exception 'order % stays in its order group, and in the group''s currency', old.id
            using errcode = 'check_violation', constraint = 'order_stays_in_its_group';
    end if;
    perform payments.assert_representable(new.total_amount, new.currency);
    return null;
end;
$$;
comment on function payments.tg_orders__record_changes() is
    'Writes the history of orders, and refuses edits unless their group is pending.';
revoke execute on function payments.tg_orders__record_changes() from public, anon, authenticated, service_role;

create trigger orders_record_changes
after update on public.orders
for each row execute function payments.tg_orders__record_changes();
