-- The items of an order are frozen with its group.
--
-- Touches: triggers on public.order_items. Whoever adds or removes an item takes the group's lock first; who edits one takes
-- it once the row is written.

-- Lets items be added to and removed from pending groups only, and fills what a shop need not say: whose the item is, and
-- what the product is called now. A product of another seller is left to the foreign key.
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
    v_seller_id pg_catalog.uuid;
begin
    select
        o.order_group_id,
        o.seller_id
    into v_order_group_id, v_seller_id
    from public.orders as o
    where o.id = coalesce(old.order_id, new.order_id);

    if tg_op = 'INSERT' then
        if not found then
            raise exception 'there is no order %', new.order_id
                using errcode = 'foreign_key_violation', constraint = 'order_items_order_id_fkey';
        end if;
        perform payments.assert_pending(v_order_group_id, payments.lock_order_group(v_order_group_id));
    elsif tg_op = 'DELETE' or (new.order_group_id, new.seller_id) is distinct from (
        old.order_group_id, old.seller_id
    ) then
        perform payments.assert_pending(v_order_group_id, payments.lock_order_group_of_held_child(v_order_group_id));
        if tg_op = 'DELETE' then
            return old;
        end if;
    end if;

    if tg_op = 'UPDATE' then
        if (new.id, new.order_id) is distinct from (old.id, old.order_id) then
            raise exception 'order item % stays in its order', old.id
                using errcode = 'check_violation', constraint = 'order_item_stays_in_its_order';
        elsif new.product_id is distinct from old.product_id then
            new.sku := nullif(new.sku, old.sku);
            new.title := nullif(new.title, old.title);
        end if;
    end if;

    new.order_group_id := v_order_group_id;
    new.seller_id := v_seller_id;
    if new.sku is null or new.title is null then
        select
            coalesce(new.sku, p.sku),
            coalesce(new.title, p.name)
        into new.sku, new.title
        from public.products as p
        where p.id = new.product_id and p.seller_id = v_seller_id;
        -- The key tells better than `not null` would that the seller has no such product.
        new.sku := coalesce(new.sku, '');
        new.title := coalesce(new.title, '');
    end if;
    return new;
end;
$$;
comment on function payments.tg_order_items__need_pending_group() is 'Items come and go in pending groups only, under the group''s lock.';
revoke execute on function payments.tg_order_items__need_pending_group() from public, anon, authenticated, service_role;

create trigger order_items_need_pending_group
before insert or update or delete on public.order_items
for each row execute function payments.tg_order_items__need_pending_group();

-- Lets items be changed in pending groups only. It compares the values that came to stand in the row, after every trigger
-- before it; columns of the shop's own are the shop's.
-- Called by: trigger on public.order_items. Returns: nothing, or raises 23514. Locks: the group of an item that was edited.
create or replace function payments.tg_order_items__stay_as_sold()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if (
        new.id,
        new.order_id,
        new.order_group_id,
        new.seller_id,
        new.product_id,
        new.quantity,
        new.unit_amount,
        new.sku,
        new.title
    ) is distinct from (
        old.id,
        old.order_id,
        old.order_group_id,
        old.seller_id,
        old.product_id,
        old.quantity,
        old.unit_amount,
        old.sku,
        old.title
    ) then
        perform payments.assert_pending(
            old.order_group_id, payments.lock_order_group_of_held_child(old.order_group_id)
        );
    end if;
    return null;
end;
$$;
comment on function payments.tg_order_items__stay_as_sold() is 'Items of settled groups do not change.';
revoke execute on function payments.tg_order_items__stay_as_sold() from public, anon, authenticated, service_role;

create trigger order_items_stay_as_sold
after update on public.order_items
for each row execute function payments.tg_order_items__stay_as_sold();

-- Makes a group that was promised stock known to every product of its items, including items that are added later.
-- Called by: triggers on public.order_items. Returns: nothing. Locks: the group, which the writer of its items holds.
create or replace function payments.tg_order_items__find_promise()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    update public.order_groups as g
    set reserved_product_ids = g.reserved_product_ids || n.product_ids
    from (
        select
            i.order_group_id,
            array_agg(distinct i.product_id) as product_ids
        from new_items as i
        group by i.order_group_id
    ) as n
    where
        g.id = n.order_group_id
        and g.status = 'pending'
        and not g.reserved_product_ids @> n.product_ids;
    return null;
end;
$$;
comment on function payments.tg_order_items__find_promise() is
    'Keeps reserved_product_ids of a group that was promised stock: it names each product of its items.';
revoke execute on function payments.tg_order_items__find_promise() from public, anon, authenticated, service_role;

create trigger order_items_find_promise_of_new
after insert on public.order_items
referencing new table as new_items
for each statement execute function payments.tg_order_items__find_promise();

create trigger order_items_find_promise_of_changed
after update on public.order_items
referencing new table as new_items
for each statement execute function payments.tg_order_items__find_promise();
