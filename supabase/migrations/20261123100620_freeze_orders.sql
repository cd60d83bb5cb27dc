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

-- Leaves it to the table's owner, so to the functions, to give an order up.
-- Called by: trigger on public.orders, for rows that become refunded. Returns: nothing, or raises 23514. Locks: nothing.
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
for each row when (new.status = 'refunded' and old.status <> 'refunded')
execute function payments.tg_orders__refund_as_owner();

-- Records each step of an order, moves its status along its path only, and keeps the order as its group was paid: whose it is,
-- and what it costs.
-- Called by: trigger on public.orders. Returns: nothing, or raises 23514. Locks: the group of an order that was edited. An
-- order leaves `pending` only with its group, whose lock the caller holds, and later steps concern the order alone.
-- It compares the values that came to stand in the rows, after every other trigger: a statement's columns do not tell what a
-- trigger of the shop's own has written. `enable_nestloop`: the plan is kept, and the next statement may change thousands of
-- rows.
create or replace function payments.tg_orders__record_changes()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
set enable_nestloop = off
as $$
declare
    v_edit record;
begin
    for v_edit in
        with pair as (
            select
                o.id,
                o.order_group_id,
                o.seller_id,
                o.status as from_status,
                n.status as to_status,
                (o.status, n.status) = ('pending', 'paid') as is_payment,
                n.paid_at,
                n.total_amount,
                o.currency,
                case
                    when o.status = 'pending' and n.status in ('paid', 'cancelled') then (
                        select g.status = n.status and g.paid_at is not distinct from n.paid_at
                        from public.order_groups as g
                        where g.id = o.order_group_id
                    )
                    when n.paid_at is distinct from o.paid_at then false
                    when n.status = o.status then true
                    when n.status = 'refunded' then o.status in ('paid', 'fulfilled', 'shipped', 'delivered')
                    else (o.status, n.status) in (
                        ('paid', 'fulfilled'), ('fulfilled', 'shipped'), ('shipped', 'delivered')
                    ) and (
                        select g.status = 'paid'
                        from public.order_groups as g
                        where g.id = o.order_group_id
                    )
                end as moves_forward,
                (n.id, n.order_group_id, n.currency) is not distinct from (o.id, o.order_group_id, o.currency) as stays,
                (n.seller_id, n.total_amount, n.created_at)
                is not distinct from (o.seller_id, o.total_amount, o.created_at) as is_unedited
            from old_rows as o
            left join new_rows as n on o.id = n.id
        ),

        step as (
            insert into public.order_status_changes (
                order_group_id, order_id, seller_id, from_status, to_status, changed_at, changed_by
            )
            select
                p.order_group_id,
                p.id,
                p.seller_id,
                p.from_status,
                p.to_status,
                case when p.is_payment then p.paid_at else clock_timestamp() end,
                case when p.is_payment then 'reconcile_order_group_payment' else payments.caller() end
            from pair as p
            where p.from_status <> p.to_status
            order by p.id
        )

        select p.*
        from pair as p
        where (p.stays and p.is_unedited and p.moves_forward) is not true
        order by p.id
    loop
        if v_edit.stays and not v_edit.moves_forward then
            raise exception 'order % cannot go from % to %', v_edit.id, v_edit.from_status, v_edit.to_status
                using errcode = 'check_violation', constraint = 'order_status_moves_forward';
        end if;
        perform payments.assert_pending(
            v_edit.order_group_id, payments.lock_order_group_of_held_child(v_edit.order_group_id)
        );
        if not v_edit.stays then
            raise exception 'order % stays in its order group, and in the group''s currency', v_edit.id
                using errcode = 'check_violation', constraint = 'order_stays_in_its_group';
        end if;
        perform payments.assert_representable(v_edit.total_amount, v_edit.currency);
    end loop;
    return null;
end;
$$;
comment on function payments.tg_orders__record_changes() is
    'Writes the history of orders, and refuses edits unless their group is pending.';
revoke execute on function payments.tg_orders__record_changes() from public, anon, authenticated, service_role;

create trigger orders_record_changes
after update on public.orders
referencing old table as old_rows new table as new_rows
for each statement execute function payments.tg_orders__record_changes();
