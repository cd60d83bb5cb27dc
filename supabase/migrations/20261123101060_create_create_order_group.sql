-- How a basket becomes a pending order group: in one call, or not at all.
--
-- Touches: public.create_order_group(), and in `payments` its parts: malformed_field() finds what cannot be read,
-- requested_items() reads the rest, is_requested_group() recognises a request that was made before, judge_order_group_request()
-- decides, write_order_group() writes. The caller's id makes it idempotent: a shop that lost the answer asks again.
-- An older relay notices nothing; plain inserts go on working.

create type payments.requested_item as (
    order_place bigint,
    order_id uuid,
    gives_order_id boolean,
    seller_id uuid,
    total_amount numeric,
    item_id uuid,
    gives_item_id boolean,
    product_id uuid,
    quantity integer,
    unit_amount numeric
);
comment on type payments.requested_item is
    'One item of a requested order group, with its order. An id that was not given is made up; an amount that no column could hold is null.';
revoke usage on type payments.requested_item from public;

-- Finds the first field that is missing, of another type, or not known.
-- Called by: public.create_order_group(). Returns: its path such as p_orders[0].items[2].quantity, null where all can be read.
-- Locks: nothing. An amount is a number that is not negative, or a string of its digits.
create or replace function payments.malformed_field(p_orders jsonb)
returns text
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    v_uuid constant pg_catalog.text := '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
    v_amount constant pg_catalog.text := '^[0-9]+(\.[0-9]+)?$';
    v_most_pieces constant integer := 2147483647;
    v_field pg_catalog.text;
begin
    if jsonb_typeof(p_orders) is distinct from 'array' then
        return 'p_orders';
    end if;

    -- A field is a name, its value, and whether it can be read.
    with orders as (
        select
            o.place,
            format('p_orders[%s]', o.place - 1) as path,
            o.value
        from jsonb_array_elements(p_orders) with ordinality as o (value, place)
    ),

    items as (
        select
            o.place as order_place,
            i.place,
            format('%s.items[%s]', o.path, i.place - 1) as path,
            i.value
        from orders as o
        cross join lateral jsonb_array_elements(
            case jsonb_typeof(o.value -> 'items') when 'array' then o.value -> 'items' else '[]' end
        ) with ordinality as i (value, place)
    ),

    wrong as (
        select
            o.place as order_place,
            0::bigint as item_place,
            o.path,
            case
                when jsonb_typeof(o.value) <> 'object' then ''
                when o.value ->> 'id' is not null and o.value ->> 'id' !~* v_uuid then '.id'
                when coalesce(o.value ->> 'seller_id', '') !~* v_uuid then '.seller_id'
                when
                    coalesce(jsonb_typeof(o.value -> 'total_amount'), '') not in ('string', 'number')
                    or o.value ->> 'total_amount' !~ v_amount
                    then '.total_amount'
                when jsonb_typeof(o.value -> 'items') is distinct from 'array' then '.items'
                when o.value - '{id,seller_id,total_amount,items}'::pg_catalog.text[] <> '{}' then (
                    select '.' || min(k.name)
                    from jsonb_object_keys(o.value - '{id,seller_id,total_amount,items}'::pg_catalog.text[]) as k (name)
                )
            end as field
        from orders as o
        union all
        select
            i.order_place,
            i.place as item_place,
            i.path,
            case
                when jsonb_typeof(i.value) <> 'object' then ''
                when i.value ->> 'id' is not null and i.value ->> 'id' !~* v_uuid then '.id'
                when coalesce(i.value ->> 'product_id', '') !~* v_uuid then '.product_id'
                when
                    jsonb_typeof(i.value -> 'quantity') is distinct from 'number'
                    or (i.value ->> 'quantity')::pg_catalog.numeric not between 1 and v_most_pieces
                    or (i.value ->> 'quantity')::pg_catalog.numeric % 1 <> 0
                    then '.quantity'
                when
                    coalesce(jsonb_typeof(i.value -> 'unit_amount'), '') not in ('string', 'number')
                    or i.value ->> 'unit_amount' !~ v_amount
                    then '.unit_amount'
                when i.value - '{id,product_id,quantity,unit_amount}'::pg_catalog.text[] <> '{}' then (
                    select '.' || min(k.name)
                    from jsonb_object_keys(i.value - '{id,product_id,quantity,unit_amount}'::pg_catalog.text[]) as k (name)
                )
            end as field
        from items as i
    )

    select w.path || w.field
    into v_field
    from wrong as w
    where w.field is not null
    order by w.order_place, w.item_place
    limit 1;
    return v_field;
end;
$$;
comment on function payments.malformed_field(jsonb) is 'The first field of a requested order group that cannot be read.';
revoke execute on function payments.malformed_field(jsonb) from public, anon, authenticated, service_role;

-- Reads the orders of a requested group, once nothing in it is malformed.
-- Called by: public.create_order_group(). Returns: its items in the order of the request; an order without items is none of
-- them. Locks: nothing. Volatile, because it makes ids up.
create or replace function payments.requested_items(p_orders jsonb)
returns payments.requested_item[]
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- Longer ones are beyond every currency, and beyond what a numeric should be asked to read.
    v_longest_amount constant integer := 100;
    v_items payments.requested_item[];
begin
    with orders as materialized (
        select
            o.place,
            coalesce(o.value ->> 'id', gen_random_uuid()::pg_catalog.text) as id,
            o.value ->> 'id' is not null as gives_id,
            case
                when length(o.value ->> 'total_amount') <= v_longest_amount
                    then (o.value ->> 'total_amount')::pg_catalog.numeric
            end as total_amount,
            o.value
        from jsonb_array_elements(p_orders) with ordinality as o (value, place)
    )

    select
        array_agg(
            jsonb_populate_record(null::payments.requested_item, jsonb_build_object(
                'order_place', o.place,
                'order_id', o.id,
                'gives_order_id', o.gives_id,
                'seller_id', o.value -> 'seller_id',
                'total_amount', o.total_amount,
                'item_id', coalesce(i.value ->> 'id', gen_random_uuid()::pg_catalog.text),
                'gives_item_id', i.value ->> 'id' is not null,
                'product_id', i.value -> 'product_id',
                'quantity', (i.value -> 'quantity')::integer,
                'unit_amount', case
                    when length(i.value ->> 'unit_amount') <= v_longest_amount
                        then (i.value ->> 'unit_amount')::pg_catalog.numeric
                end
            ))
            order by o.place, i.place
        )
    into v_items
    from orders as o
    cross join lateral jsonb_array_elements(o.value -> 'items') with ordinality as i (value, place);
    return v_items;
end;
$$;
comment on function payments.requested_items(jsonb) is 'The items of a requested order group, each with its order.';
revoke execute on function payments.requested_items(jsonb) from public, anon, authenticated, service_role;

-- Tells whether an order group is what a request asks for: the same buyer, promise, orders and items, in whatever order; an
-- id that was left out matches any. Amounts are compared as numbers. A guest's group that was claimed since is still the
-- guest's request.
-- Called by: public.create_order_group(). Returns: true or false. Locks: nothing.
create or replace function payments.is_requested_group(
    p_group public.order_groups,
    p_buyer_id uuid,
    p_currency text,
    p_items payments.requested_item[],
    p_reserve boolean
)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return p_group.currency = p_currency
        and p_reserve = (p_group.reserved_product_ids is not null)
        and (
            p_buyer_id is not distinct from p_group.buyer_id
            or (p_buyer_id is null and p_group.buyer_since is distinct from p_group.created_at)
        )
        and not exists (
            with requested as (
                select
                    r.order_id,
                    r.gives_order_id,
                    r.item_id,
                    r.gives_item_id,
                    jsonb_build_array(r.product_id, r.quantity, r.unit_amount) as item,
                    jsonb_build_array(
                        r.seller_id,
                        r.total_amount,
                        jsonb_agg(jsonb_build_array(r.product_id, r.quantity, r.unit_amount)) over (
                            partition by r.order_place
                            order by r.product_id, r.quantity, r.unit_amount
                            rows between unbounded preceding and unbounded following
                        )
                    ) as ordered
                from unnest(p_items) as r
            ),

            existing as (
                select
                    o.id as order_id,
                    i.id as item_id,
                    jsonb_build_array(i.product_id, i.quantity, i.unit_amount) as item,
                    jsonb_build_array(
                        o.seller_id,
                        o.total_amount,
                        jsonb_agg(jsonb_build_array(i.product_id, i.quantity, i.unit_amount)) over (
                            partition by o.id
                            order by i.product_id, i.quantity, i.unit_amount
                            rows between unbounded preceding and unbounded following
                        )
                    ) as ordered
                from public.orders as o
                left join public.order_items as i on o.id = i.order_id
                where o.order_group_id = p_group.id
            ),

            -- Orders and items as often as they occur, without their ids.
            both_ways as (
                (
                    select ordered, item from requested
                    except all
                    select ordered, item from existing
                )
                union all
                (
                    select ordered, item from existing
                    except all
                    select ordered, item from requested
                )
            )

            select 1
            from both_ways
            union all
            select 1
            from requested as r
            where (r.gives_order_id or r.gives_item_id) and not exists (
                select 1
                from existing as e
                where
                    e.ordered = r.ordered
                    and e.item = r.item
                    and (e.order_id = r.order_id or not r.gives_order_id)
                    and (e.item_id = r.item_id or not r.gives_item_id)
            )
        );
end;
$$;
comment on function payments.is_requested_group(
    public.order_groups, uuid, text, payments.requested_item[], boolean
) is 'Whether an order group is what a request asks for.';
revoke execute on function payments.is_requested_group(
    public.order_groups, uuid, text, payments.requested_item[], boolean
) from public, anon, authenticated, service_role;

-- Decides about a request for a group that does not exist yet, apart from its stock.
-- Called by: public.create_order_group(). Returns: the reason why it is rejected, null where it is not; malformed_request for the
-- id of an order or item that exists already, or is given twice. Locks: nothing.
create or replace function payments.judge_order_group_request(
    p_buyer_id uuid,
    p_currency text,
    p_items payments.requested_item[]
)
returns text
language plpgsql
stable
security invoker
set search_path = ''
set random_page_cost = 1.1
as $$
declare
    v_beyond constant pg_catalog.numeric := 1e15;  -- what the tables hold is less
    v_currency payments.currencies;
begin
    select c.* into v_currency
    from payments.currencies as c
    where c.code = p_currency;

    return case
        when v_currency.code is null then 'currency_unsupported'
        when exists (
            select 1
            from (
                select r.unit_amount
                from unnest(p_items) as r
                union all
                select r.total_amount
                from unnest(p_items) as r
                union all
                select sum(o.total_amount)
                from (
                    select distinct
                        r.order_place,
                        r.total_amount
                    from unnest(p_items) as r
                ) as o
            ) as a (amount)
            where (a.amount < v_beyond and payments.is_representable(a.amount, v_currency)) is not true
        ) then 'amount_not_representable'
        when exists (
            select 1
            from unnest(p_items) as r
            left join public.sellers as s on r.seller_id = s.id
            where s.id is null
        ) then 'seller_not_found'
        when exists (
            select 1
            from unnest(p_items) as r
            left join public.products as p on r.product_id = p.id
            where p.id is null
        ) then 'product_not_found'
        when exists (
            select 1
            from unnest(p_items) as r
            inner join public.products as p on r.product_id = p.id
            where p.seller_id <> r.seller_id
        ) then 'product_not_of_seller'
        when p_buyer_id is not null and not exists (
            select 1
            from auth.users as u
            where u.id = p_buyer_id
        ) then 'buyer_not_found'
        when exists (
            select 1
            from unnest(p_items) as r
            inner join public.orders as o on r.order_id = o.id
        ) or exists (
            select 1
            from unnest(p_items) as r
            inner join public.order_items as i on r.item_id = i.id
        ) or (
            select
                count(distinct r.order_id) <> count(distinct r.order_place)
                or count(distinct r.item_id) <> count(*)
            from unnest(p_items) as r
        ) then 'malformed_request'
    end;
end;
$$;
comment on function payments.judge_order_group_request(uuid, text, payments.requested_item[]) is
    'The reason why an order group cannot be created as requested.';
revoke execute on function payments.judge_order_group_request(uuid, text, payments.requested_item[])
from public, anon, authenticated, service_role;

-- Writes a requested order group.
-- Called by: public.create_order_group(). Returns: false where the group exists by now, and nothing was written; raises XX001
-- where a trigger or a rule keeps rows back, adds some or changes them. Locks: the new group.
create or replace function payments.write_order_group(
    p_order_group_id uuid,
    p_buyer_id uuid,
    p_currency text,
    p_expires_at timestamptz,
    p_reserved_product_ids uuid[],
    p_items payments.requested_item[]
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- The group alone stands in this block: with its items, payments.lock_order_group() would write it again for each of them,
    -- because it takes only what stands outside of any block for this transaction's own.
    begin
        insert into public.order_groups (id, buyer_id, currency, total_amount, expires_at, reserved_product_ids)
        select
            p_order_group_id,
            p_buyer_id,
            p_currency,
            sum(o.total_amount),
            p_expires_at,
            p_reserved_product_ids
        from (
            select distinct
                r.order_place,
                r.total_amount
            from unnest(p_items) as r
        ) as o
        on conflict (id) do nothing;
        if not found then
            return false;
        end if;
    exception
        -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
        when serialization_failure then
            raise exception 'order group % was changed by a rival', p_order_group_id
                using errcode = 'lock_not_available';
    end;

    insert into public.orders (id, order_group_id, seller_id, total_amount)
    select distinct
        r.order_id,
        p_order_group_id,
        r.seller_id,
        r.total_amount
    from unnest(p_items) as r
    order by r.order_id;

    insert into public.order_items (id, order_id, product_id, quantity, unit_amount)
    select
        r.item_id,
        r.order_id,
        r.product_id,
        r.quantity,
        r.unit_amount
    from unnest(p_items) as r;

    -- What stands there now, whatever triggers and rules have made of it.
    if not exists (
        select 1
        from public.order_groups as g
        where
            g.id = p_order_group_id
            and (g.status, g.buyer_id, g.currency, g.expires_at, g.reserved_product_ids)
            is not distinct from ('pending', p_buyer_id, p_currency, p_expires_at, p_reserved_product_ids)
            and g.total_amount = (
                select sum(o.total_amount)
                from public.orders as o
                where o.order_group_id = p_order_group_id
            )
    ) or exists (
        select 1
        from unnest(p_items) as r
        full join (
            select
                o.id as order_id,
                o.seller_id,
                o.total_amount,
                i.id as item_id,
                i.product_id,
                i.quantity,
                i.unit_amount
            from public.orders as o
            left join public.order_items as i on o.id = i.order_id
            where o.order_group_id = p_order_group_id
        ) as w
            on
                r.order_id = w.order_id
                and r.seller_id = w.seller_id
                and r.total_amount = w.total_amount
                and r.item_id = w.item_id
                and r.product_id = w.product_id
                and r.quantity = w.quantity
                and r.unit_amount = w.unit_amount
        where r.order_id is null or w.order_id is null
    ) then
        raise exception 'order group % is not written as it was requested', p_order_group_id
            using
                errcode = 'data_corrupted',
                hint = 'a trigger or a rule on order_groups, orders or order_items changes its rows';
    end if;
    return true;
end;
$$;
comment on function payments.write_order_group(uuid, uuid, text, timestamptz, uuid[], payments.requested_item[]) is
    'Writes a requested order group, its orders and items; false where the group exists.';
revoke execute on function payments.write_order_group(uuid, uuid, text, timestamptz, uuid[], payments.requested_item[])
from public, anon, authenticated, service_role;

-- Creates a pending order group with its orders and items, or nothing.
-- Called by: the shop's server, as service_role, before it opens the Checkout Session. Amounts in major units, of the group's
-- currency in either case. p_expires_at: from when on expire_order_groups() may cancel it; p_reserve: only where the stock
-- suffices, which is promised from then on.
-- Returns: an object with `outcome` (created, already_created, rejected), `reason`, `detail` (of malformed_request), `lines` (of
-- insufficient_stock), `order_group_id`, `status`, `currency` and `amount_minor` as Stripe takes them, `total_amount` as text,
-- `expires_at`. Raises 25001 for p_reserve under another isolation than read committed, which could promise a piece twice, and
-- XX001 where a trigger or a rule of the shop's keeps rows back or changes them.
-- Locks: with p_reserve the products by id, before anything else; then the new group. Payments need no lock of a product
-- that conflicts with this one.
create or replace function public.create_order_group(
    p_order_group_id uuid,
    p_buyer_id uuid,
    p_currency text,
    p_orders jsonb,
    p_expires_at timestamptz default null,
    p_reserve boolean default false
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
    v_currency constant pg_catalog.text := upper(btrim(p_currency));
    v_outcome pg_catalog.text := 'rejected';
    v_reason pg_catalog.text;
    v_detail pg_catalog.text;
    v_lines pg_catalog.jsonb;
    v_items payments.requested_item[];
    v_product_ids pg_catalog.uuid[];
    v_group public.order_groups;
    v_is_second boolean := false;
begin
    v_detail := case
        when p_order_group_id is null then 'p_order_group_id'
        when p_currency is null then 'p_currency'
        when p_expires_at not between '2000-01-01 00:00:00+00' and '2100-01-01 00:00:00+00' then 'p_expires_at'
        when p_reserve is null then 'p_reserve'
        else payments.malformed_field(p_orders)
    end;
    if v_detail is not null then
        v_reason := 'malformed_request';
    elsif p_orders = '[]' or p_orders @? 'strict $[*].items ? (@.size() == 0)' then
        v_reason := 'order_group_empty';
    else
        v_items := payments.requested_items(p_orders);
        v_product_ids := array(
            select distinct r.product_id
            from unnest(v_items) as r
            order by r.product_id
        );
        if p_reserve then
            if current_setting('transaction_isolation') <> 'read committed' then
                raise exception 'stock is promised in read committed transactions only'
                    using errcode = 'active_sql_transaction';
            end if;
            perform p.id
            from public.products as p
            where p.id = any(v_product_ids)
            order by p.id
            for no key update;
        end if;
    end if;

    while v_reason is null and v_outcome = 'rejected' loop
        select g.* into v_group
        from public.order_groups as g
        where g.id = p_order_group_id;
        if found then
            if payments.is_requested_group(v_group, p_buyer_id, v_currency, v_items, p_reserve) then
                v_outcome := 'already_created';
            else
                v_reason := 'order_group_differs';
            end if;
            continue;
        end if;

        v_reason := payments.judge_order_group_request(p_buyer_id, v_currency, v_items);
        if v_reason = 'malformed_request' then
            v_detail := 'id';
        elsif v_reason is null and p_reserve then
            select jsonb_agg(
                jsonb_build_object(
                    'product_id', l.product_id, 'requested', r.requested, 'available', l.available
                )
                order by l.product_id
            )
            into v_lines
            from (
                select
                    i.product_id,
                    sum(i.quantity) as requested
                from unnest(v_items) as i
                group by i.product_id
            ) as r
            cross join lateral (
                select
                    v.product_id,
                    v.available
                from public.inventory_levels as v
                where v.product_id = r.product_id
                offset 0  -- counted once, for the comparison and the answer
            ) as l
            where l.available < r.requested;
            v_reason := case when v_lines is not null then 'insufficient_stock' end;
        end if;
        if v_reason is not null then
            continue;
        elsif payments.write_order_group(
            p_order_group_id, p_buyer_id, v_currency, p_expires_at, case when p_reserve then v_product_ids end, v_items
        ) then
            v_outcome := 'created';
        elsif v_is_second then
            raise exception 'order group % cannot be written', p_order_group_id
                using
                    errcode = 'data_corrupted',
                    hint = 'a trigger or a rule on order_groups keeps its rows back';
        else
            -- A rival has made the group since: the next turn of the loop finds it, unless it was deleted at once.
            v_is_second := true;
        end if;
    end loop;

    if v_reason is null then
        select g.* into v_group
        from public.order_groups as g
        where g.id = p_order_group_id;
    else
        v_group := null;
    end if;
    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'detail', v_detail,
        'lines', v_lines,
        'order_group_id', p_order_group_id,
        'status', v_group.status,
        'currency', lower(v_group.currency),
        'total_amount', v_group.total_amount::pg_catalog.text,
        'amount_minor', (
            select (v_group.total_amount * c.minor_per_major)::bigint
            from payments.currencies as c
            where c.code = v_group.currency
        ),
        'expires_at', v_group.expires_at
    );
end;
$$;
comment on function public.create_order_group(uuid, uuid, text, jsonb, timestamptz, boolean) is
    'Creates a pending order group with its orders and items, or nothing. Amounts in major units; idempotent by its id.';
revoke execute on function public.create_order_group(uuid, uuid, text, jsonb, timestamptz, boolean)
from public, anon, authenticated;
grant execute on function public.create_order_group(uuid, uuid, text, jsonb, timestamptz, boolean) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values (
    'public.create_order_group(uuid,uuid,text,jsonb,timestamp with time zone,boolean)', 'service_role', 'EXECUTE'
);
