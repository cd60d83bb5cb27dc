-- How stock comes in and is corrected.
--
-- Touches: public.record_inventory_receipt(), public.record_inventory_adjustment(), a trigger on public.inventory_ledger. The
-- two are the only way to write these entries: no role has insert on the ledger.

-- Fills in whose the product is, where the entry does not say so; a payment's say so.
-- Called by: trigger. Returns: the row; raises 23503 for an unknown product. Locks: nothing.
create or replace function payments.tg_inventory_ledger__bear_seller()
returns trigger
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    select p.seller_id
    into new.seller_id
    from public.products as p
    where p.id = new.product_id;
    if not found then
        raise exception 'there is no product %', new.product_id
            using errcode = 'foreign_key_violation';
    end if;
    return new;
end;
$$;
comment on function payments.tg_inventory_ledger__bear_seller() is
    'Fills in the seller of a product, which every movement of its stock bears.';
revoke execute on function payments.tg_inventory_ledger__bear_seller() from public, anon, authenticated, service_role;

create trigger inventory_ledger_bears_seller
before insert on public.inventory_ledger
for each row when (new.seller_id is null)
execute function payments.tg_inventory_ledger__bear_seller();

-- Records goods that came in; under a key of the caller's, once.
-- Called by: the shop's back office, as service_role. Returns: the ledger entry's id, which the same key answers again without
-- writing anything; raises 22023 for a quantity that is not positive, for a key that is too long or that stands for another
-- product or quantity, and 23503 for an unknown product. Locks: nothing that a payment waits for; a key that another
-- transaction is recording is waited for.
create or replace function public.record_inventory_receipt(
    p_product_id uuid,
    p_quantity integer,
    p_note text default null,
    p_key text default null
)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    -- As Stripe's own idempotency keys.
    v_longest constant pg_catalog.int4 := 255;
    v_longest_note constant pg_catalog.int4 := 2000;
    v_key pg_catalog.text := nullif(btrim(p_key), '');
    v_entry public.inventory_ledger;
begin
    if p_product_id is null or p_quantity is null or p_quantity <= 0 then
        raise exception 'a receipt needs a product and a positive quantity, not %', p_quantity
            using errcode = 'invalid_parameter_value';
    elsif length(v_key) > v_longest then
        raise exception 'p_key has % characters at most', v_longest
            using errcode = 'invalid_parameter_value';
    elsif length(p_note) > v_longest_note then
        raise exception 'p_note has % characters at most', v_longest_note
            using errcode = 'invalid_parameter_value';
    end if;

    -- Not `on conflict do nothing`: under a stricter isolation it raises 40001, and what a shop's trigger has written for the
    -- row would stay.
    begin
        insert into public.inventory_ledger (
            product_id, entry_type, quantity_delta, note, receipt_key, recorded_by
        )
        values (
            p_product_id,
            'receipt',
            p_quantity,
            nullif(btrim(p_note), ''),
            v_key,
            payments.caller()
        )
        returning * into v_entry;
    exception
        when unique_violation then
            select l.*
            into v_entry
            from public.inventory_ledger as l
            where l.receipt_key = v_key;
            if not found then
                -- It is not this key that is taken, or a stricter isolation hides the row that took it.
                raise;
            end if;
    end;

    if (v_entry.product_id, v_entry.quantity_delta) <> (p_product_id, p_quantity) then
        raise exception 'p_key already stands for entry %: % of product %',
            v_entry.id, v_entry.quantity_delta, v_entry.product_id
            using errcode = 'invalid_parameter_value';
    end if;
    return v_entry.id;
end;
$$;
comment on function public.record_inventory_receipt(uuid, integer, text, text) is
    'Records goods that came in: pieces, positive. Returns the ledger entry''s id; with a key, one entry however often it is called.';
revoke execute on function public.record_inventory_receipt(uuid, integer, text, text) from public, anon, authenticated;
grant execute on function public.record_inventory_receipt(uuid, integer, text, text) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.record_inventory_receipt(uuid,integer,text,text)', 'service_role', 'EXECUTE');

-- Records a correction of stock: counted, lost, broken. What a buyer sends back is public.return_order_items()'.
-- Called by: the shop's back office, as service_role. Returns: the ledger entry's id; raises 22023 for a zero quantity or
-- a missing note, 23503 for an unknown product. Locks: nothing that a payment waits for.
create or replace function public.record_inventory_adjustment(
    p_product_id uuid,
    p_quantity_delta integer,
    p_note text
)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_longest_note constant integer := 2000;
    v_id bigint;
begin
    if p_product_id is null or p_quantity_delta is null or p_quantity_delta = 0 then
        raise exception 'an adjustment needs a product and a quantity other than zero'
            using errcode = 'invalid_parameter_value';
    elsif btrim(coalesce(p_note, '')) = '' or length(p_note) > v_longest_note then
        raise exception 'an adjustment needs a note of up to % characters: an auditor will ask why', v_longest_note
            using errcode = 'invalid_parameter_value';
    end if;
    insert into public.inventory_ledger (product_id, entry_type, quantity_delta, note, recorded_by)
    values (
        p_product_id,
        'adjustment',
        p_quantity_delta,
        btrim(p_note),
        payments.caller()
    )
    returning id into v_id;
    return v_id;
end;
$$;
comment on function public.record_inventory_adjustment(uuid, integer, text) is
    'Corrects stock by pieces, positive or negative, with the reason. Returns the ledger entry''s id.';
revoke execute on function public.record_inventory_adjustment(uuid, integer, text) from public, anon, authenticated;
grant execute on function public.record_inventory_adjustment(uuid, integer, text) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.record_inventory_adjustment(uuid,integer,text)', 'service_role', 'EXECUTE');
