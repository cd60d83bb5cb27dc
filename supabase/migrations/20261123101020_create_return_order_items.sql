-- How goods come back from a paid order group.
--
-- Touches: public.return_order_items(), and in `payments` its parts: malformed_line() finds what cannot be read,
-- returnable_items() tells what has not come back yet, write_returns() writes. Goods are one fact and money is another: nothing
-- here asks whether money went back, and a refund brings no piece back. An older relay notices nothing.

-- Finds the first field of the lines of a return that is missing, of another type, or not known.
-- Called by: public.return_order_items(). Returns: its path such as p_lines[2].quantity, null where all can be read. Locks:
-- nothing.
create or replace function payments.malformed_line(p_lines jsonb)
returns text
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    v_uuid constant pg_catalog.text := '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
    v_most_pieces constant integer := 2147483647;
    -- Ten times what a large group has; more in one transaction would hold a payment's lock for seconds.
    v_most_lines constant integer := 10000;
    v_field pg_catalog.text;
begin
    if jsonb_typeof(p_lines) is distinct from 'array' then
        return 'p_lines';
    elsif jsonb_array_length(p_lines) not between 1 and v_most_lines then
        return 'p_lines';
    end if;

    select l.path || l.field
    into v_field
    from (
        select
            e.place,
            format('p_lines[%s]', e.place - 1) as path,
            case
                when jsonb_typeof(e.line) <> 'object' then ''
                when coalesce(e.line ->> 'order_item_id', '') !~* v_uuid then '.order_item_id'
                when jsonb_typeof(e.line -> 'quantity') is distinct from 'number' then '.quantity'
                when (e.line ->> 'quantity')::pg_catalog.numeric not between 1 and v_most_pieces then '.quantity'
                when (e.line ->> 'quantity')::pg_catalog.numeric % 1 <> 0 then '.quantity'
                when e.line - '{order_item_id,quantity}'::pg_catalog.text[] <> '{}' then (
                    select '.' || min(k.name)
                    from jsonb_object_keys(e.line - '{order_item_id,quantity}'::pg_catalog.text[]) as k (name)
                )
            end as field
        from jsonb_array_elements(p_lines) with ordinality as e (line, place)
    ) as l
    where l.field is not null
    order by l.place
    limit 1;
    return v_field;
end;
$$;
comment on function payments.malformed_line(jsonb) is 'The first field of the lines of a return that cannot be read.';
revoke execute on function payments.malformed_line(jsonb) from public, anon, authenticated, service_role;

-- Tells what of each item of an order group has not come back yet.
-- Called by: public.return_order_items(), public.refund_order(), who hold the group's lock and ask in a statement of its own.
-- Returns: one row per item, `quantity` zero where nothing was taken from stock or all of it is back. Locks: nothing.
create or replace function payments.returnable_items(p_order_group_id uuid)
returns table (order_item_id uuid, order_id uuid, quantity bigint)
language plpgsql
stable
security invoker
set search_path = ''
set random_page_cost = 1.1
as $$
begin
    return query
    select
        i.id,
        i.order_id,
        coalesce(-c.quantity_delta, 0) - r.quantity
    from public.order_items as i
    left join public.inventory_ledger as c on i.id = c.order_item_id and c.entry_type = 'order_commit'
    cross join lateral (
        select coalesce(sum(l.quantity_delta), 0) as quantity
        from public.inventory_ledger as l
        where l.order_item_id = i.id and l.entry_type = 'order_return'
    ) as r
    where i.order_group_id = p_order_group_id;
end;
$$;
comment on function payments.returnable_items(uuid) is
    'The items of an order group, with the pieces of each that were taken from stock and have not come back.';
revoke execute on function payments.returnable_items(uuid) from public, anon, authenticated, service_role;

-- Writes what comes back of the items of an order group.
-- Called by: public.return_order_items(), public.refund_order(), who hold the group's lock and have seen that it is no more
-- than what is out. Returns: the number of ledger entries, one per item; raises XX001 where a trigger or a rule left some out.
-- Locks: nothing that a payment waits for.
create or replace function payments.write_returns(
    p_order_item_ids uuid[],
    p_quantities bigint[],
    p_note text,
    p_refund_id text
)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now constant pg_catalog.timestamptz := clock_timestamp();
    v_entries integer;
begin
    insert into public.inventory_ledger (
        product_id,
        seller_id,
        order_item_id,
        entry_type,
        quantity_delta,
        note,
        created_at,
        stripe_refund_id,
        recorded_by
    )
    select
        i.product_id,
        i.seller_id,
        i.id,
        'order_return',
        l.quantity,
        p_note,
        v_now,
        p_refund_id,
        payments.caller()
    from unnest(p_order_item_ids, p_quantities) as l (order_item_id, quantity)
    inner join public.order_items as i on l.order_item_id = i.id
    order by i.id;
    get diagnostics v_entries = row_count;
    if v_entries <> cardinality(p_order_item_ids) then
        raise exception '% of % returns were written', v_entries, cardinality(p_order_item_ids)
            using errcode = 'data_corrupted';
    end if;
    return v_entries;
end;
$$;
comment on function payments.write_returns(uuid[], bigint[], text, text) is
    'Writes an order_return for each of these items, with its pieces, the reason and, where it is known, the refund.';
revoke execute on function payments.write_returns(uuid[], bigint[], text, text)
from public, anon, authenticated, service_role;

-- Records goods that came back from a paid order group, all lines or none. Lines of one item are added up.
-- Called by: the shop, as service_role. Returns: an object with `outcome` (returned, rejected), `reason` (malformed_request with
-- `detail` naming the first wrong field, order_group_not_paid for one that was never paid, item_not_in_order_group and
-- exceeds_commit with `lines` naming each such item, what was asked and what can come back), `order_group_id`, `ledger_entries`;
-- raises 25000 under a stricter isolation level. Locks: the order group. Whatever became of the money, goods
-- may come back after it.
create or replace function public.return_order_items(
    p_order_group_id uuid,
    p_lines jsonb,
    p_note text,
    p_refund_id text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_longest constant integer := 255;  -- as all ids of Stripe's
    v_longest_note constant integer := 2000;
    v_note constant pg_catalog.text := nullif(btrim(p_note), '');
    v_refund_id constant pg_catalog.text := nullif(btrim(p_refund_id), '');
    v_detail constant pg_catalog.text := case
        when v_note is null or length(v_note) > v_longest_note then 'p_note'
        when length(v_refund_id) > v_longest then 'p_refund_id'
        else payments.malformed_line(p_lines)
    end;
    v_status public.order_groups.status%type;
    v_reason pg_catalog.text;
    v_lines pg_catalog.jsonb;
    v_order_item_ids pg_catalog.uuid[];
    v_quantities bigint[];
    v_entries integer := 0;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'goods come back under read committed: what a rival has just brought back would be overlooked'
            using errcode = 'invalid_transaction_state';
    end if;

    select g.status
    into v_status
    from public.order_groups as g
    where g.id = p_order_group_id and v_detail is null
    for update;

    if v_detail is not null then
        v_reason := 'malformed_request';
    elsif coalesce(v_status, 'missing') <> all('{paid, refunded}') then
        v_reason := 'order_group_not_paid';
    else
        select
            case
                when bool_or(i.order_item_id is null) then 'item_not_in_order_group'
                when bool_or(r.quantity > i.quantity) then 'exceeds_commit'
            end,
            jsonb_agg(
                jsonb_build_object(
                    'order_item_id', r.order_item_id, 'requested', r.quantity, 'returnable', i.quantity
                )
                order by r.order_item_id
            ) filter (where r.quantity > coalesce(i.quantity, 0)),
            array_agg(r.order_item_id),
            array_agg(r.quantity)
        into v_reason, v_lines, v_order_item_ids, v_quantities
        from (
            select
                (e.line ->> 'order_item_id')::pg_catalog.uuid as order_item_id,
                sum((e.line -> 'quantity')::integer) as quantity
            from jsonb_array_elements(p_lines) as e (line)
            group by (e.line ->> 'order_item_id')::pg_catalog.uuid
        ) as r
        left join payments.returnable_items(p_order_group_id) as i on r.order_item_id = i.order_item_id;

        if v_reason is null then
            v_entries := payments.write_returns(v_order_item_ids, v_quantities, v_note, v_refund_id);
        end if;
    end if;
    return jsonb_build_object(
        'outcome', case when v_reason is null then 'returned' else 'rejected' end,
        'reason', v_reason,
        'detail', v_detail,
        'lines', v_lines,
        'order_group_id', p_order_group_id,
        'ledger_entries', v_entries
    );
end;
$$;
comment on function public.return_order_items(uuid, jsonb, text, text) is
    'Records pieces of items that came back from a paid order group, all lines or none; no more of an item than was sold.';
revoke execute on function public.return_order_items(uuid, jsonb, text, text) from public, anon, authenticated;
grant execute on function public.return_order_items(uuid, jsonb, text, text) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.return_order_items(uuid,jsonb,text,text)', 'service_role', 'EXECUTE');
