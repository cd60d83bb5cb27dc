-- How stock comes in and is corrected.
--
-- Touches: public.record_inventory_receipt(), public.record_inventory_adjustment(). They are the only way to write these
-- entries: no role has insert on the ledger.

-- Tells whose a product is.
-- Called by: the functions below. Returns: the seller; raises 23503 for an unknown product. Locks: nothing.
create or replace function payments.seller_of_product(p_product_id uuid)
returns uuid
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_seller_id pg_catalog.uuid;
begin
    select p.seller_id
    into v_seller_id
    from public.products as p
    where p.id = p_product_id;
    if not found then
        raise exception 'there is no product %', p_product_id
            using errcode = 'foreign_key_violation';
    end if;
    return v_seller_id;
end;
$$;
comment on function payments.seller_of_product(uuid) is 'The seller of a product, which every movement of its stock bears.';
revoke execute on function payments.seller_of_product(uuid) from public, anon, authenticated, service_role;

-- Records goods that came in.
-- Called by: the shop's back office, as service_role. Returns: the ledger entry's id; raises 22023 for a quantity that is
-- not positive, 23503 for an unknown product. Locks: nothing that a payment waits for.
create or replace function public.record_inventory_receipt(
    p_product_id uuid,
    p_quantity integer,
    p_note text default null
)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_id bigint;
begin
    if p_product_id is null or p_quantity is null or p_quantity <= 0 then
        raise exception 'a receipt needs a product and a positive quantity, not %', p_quantity
            using errcode = 'invalid_parameter_value';
    end if;
    insert into public.inventory_ledger (product_id, seller_id, entry_type, quantity_delta, note)
    values (
        p_product_id, payments.seller_of_product(p_product_id), 'receipt', p_quantity, nullif(btrim(p_note), '')
    )
    returning id into v_id;
    return v_id;
end;
$$;
comment on function public.record_inventory_receipt(uuid, integer, text) is
    'Records goods that came in: pieces, positive. Returns the ledger entry''s id.';
revoke execute on function public.record_inventory_receipt(uuid, integer, text) from public, anon, authenticated;
grant execute on function public.record_inventory_receipt(uuid, integer, text) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.record_inventory_receipt(uuid,integer,text)', 'service_role', 'EXECUTE');

-- Records a correction of stock: counted, lost, broken, returned.
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
as $$
declare
    v_id bigint;
begin
    if p_product_id is null or p_quantity_delta is null or p_quantity_delta = 0 then
        raise exception 'an adjustment needs a product and a quantity other than zero'
            using errcode = 'invalid_parameter_value';
    elsif btrim(coalesce(p_note, '')) = '' then
        raise exception 'an adjustment needs a note: an auditor will ask why'
            using errcode = 'invalid_parameter_value';
    end if;
    insert into public.inventory_ledger (product_id, seller_id, entry_type, quantity_delta, note)
    values (p_product_id, payments.seller_of_product(p_product_id), 'adjustment', p_quantity_delta, btrim(p_note))
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
