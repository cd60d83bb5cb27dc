-- The invariants of what happened in a window, so that a month's report does not read the years before it.
--
-- Touches: payments.broken_invariants_of(). The claims are those of payments.broken_invariants() and stand there alone: this
-- function runs that one's query over the rows of the window's order groups. An older relay notices nothing.

-- Names each invariant that is broken around the order groups of a window, and a thousand products that moved in it.
-- Called by: public.payment_report(). Returns: one row per fault, none when all is well. Locks: nothing. A group is the
-- window's where it waits since then, took a step then, got goods or money back then, or had an event or an exception then. Events that
-- exceptions name and the sums of products are looked up in the whole tables, by key.
create or replace function payments.broken_invariants_of(p_since timestamptz, p_until timestamptz)
returns table (invariant text, subject text, detail text)
language plpgsql
stable
security invoker
set search_path = ''
set work_mem = '64MB'
set random_page_cost = 1.1
set jit = off
as $$
declare
    v_query pg_catalog.text;
    v_narrow pg_catalog.record;
    v_groups constant pg_catalog.uuid [] := array(
        select g.id
        from public.order_groups as g
        where g.status = 'pending' and g.created_at >= p_since and g.created_at < p_until
        union
        select g.id
        from public.order_groups as g
        where g.paid_at >= p_since and g.paid_at < p_until
        union
        select c.order_group_id
        from public.order_status_changes as c
        where c.changed_at >= p_since and c.changed_at < p_until
        union
        select e.order_group_id
        from payments.stripe_events as e
        where e.processed_at >= p_since and e.processed_at < p_until
        union
        select x.order_group_id
        from payments.exceptions as x
        where x.first_seen_at >= p_since and x.first_seen_at < p_until and x.order_group_id is not null
        union
        select i.order_group_id
        from public.inventory_ledger as l
        inner join public.order_items as i on l.order_item_id = i.id
        where l.created_at >= p_since and l.created_at < p_until and l.entry_type = 'order_return'
        union
        select r.order_group_id
        from payments.refunds as r
        where r.status_changed_at >= p_since and r.status_changed_at < p_until and r.order_group_id is not null
        union
        select d.order_group_id
        from payments.disputes as d
        where d.status_changed_at >= p_since and d.status_changed_at < p_until and d.order_group_id is not null
    );
    -- What is on hand is a view, which is wrong for all products or for none: adding up the ledger of each of them twice would
    -- take longer than all else here.
    v_most_products constant integer := 1000;
    v_products constant pg_catalog.uuid [] := array(
        select distinct l.product_id
        from public.inventory_ledger as l
        where l.created_at >= p_since and l.created_at < p_until
        order by l.product_id
        limit v_most_products
    );
begin
    select rtrim(f.prosrc, E'; \n')
    into v_query
    from pg_catalog.pg_proc as f
    where f.oid = 'payments.broken_invariants()'::pg_catalog.regprocedure;

    for v_narrow in
        select
            t.whole,
            t.narrow
        from (
            values
            (' public.order_groups as', ' window_groups as'),
            (' public.orders as', ' window_orders as'),
            (' public.order_items as', ' window_items as'),
            ('from payments.stripe_events as', 'from window_events as'),
            ('join payments.stripe_events as e on g.id', 'join window_events as e on g.id'),
            ('from payments.exceptions as', 'from window_exceptions as'),
            ('from payments.refunds as', 'from window_refunds as'),
            ('from payments.disputes as', 'from window_disputes as'),
            ('from public.inventory_ledger as l', 'from window_ledger as l'),
            ('from public.products as', 'from window_products as'),
            ('full join public.inventory_levels as', 'full join window_levels as'),
            ('as not materialized', 'as materialized')
        ) as t (whole, narrow)
    loop
        if strpos(v_query, v_narrow.whole) = 0 then
            raise exception 'payments.broken_invariants() no longer reads "%"', v_narrow.whole
                using errcode = 'internal_error';
        end if;
        v_query := replace(v_query, v_narrow.whole, v_narrow.narrow);
    end loop;
    v_query := regexp_replace(v_query, '^\s*with\M', $with$
        with
        window_groups as materialized (
            select g.*
            from public.order_groups as g
            where g.id = any($1)
        ),

        window_orders as materialized (
            select o.*
            from public.orders as o
            where o.order_group_id = any($1)
        ),

        window_items as materialized (
            select i.*
            from public.order_items as i
            where i.order_group_id = any($1)
        ),

        window_events as materialized (
            select e.*
            from payments.stripe_events as e
            where e.order_group_id = any($1)
        ),

        window_exceptions as materialized (
            select x.*
            from payments.exceptions as x
            where x.order_group_id = any($1) or (x.first_seen_at >= $3 and x.first_seen_at < $4)
        ),

        window_refunds as materialized (
            select r.*
            from payments.refunds as r
            where r.order_group_id = any($1)
        ),

        window_disputes as materialized (
            select d.*
            from payments.disputes as d
            where d.order_group_id = any($1)
        ),

        window_moves as materialized (
            select l.*
            from public.inventory_ledger as l
            where l.created_at >= $3 and l.created_at < $4
        ),

        -- Those whose order took a step in the window, or which came back in it, and whose stock was taken before.
        items_of_earlier_moves as materialized (
            select i.id
            from window_items as i
            where
                not exists (
                    select 1
                    from window_moves as l
                    where l.order_item_id = i.id and l.entry_type = 'order_commit'
                )
        ),

        -- Of which more may have come back before.
        items_of_returns as materialized (
            select distinct l.order_item_id
            from window_moves as l
            where l.entry_type = 'order_return'
        ),

        window_ledger as not materialized (
            select l.*
            from window_moves as l
            union all
            select l.*
            from items_of_earlier_moves as i
            cross join lateral (
                -- One by one through the index: any other join reads the commits of all years.
                select c.*
                from public.inventory_ledger as c
                where c.order_item_id = i.id and c.entry_type = 'order_commit'
                offset 0
            ) as l
            union all
            select l.*
            from items_of_returns as i
            cross join lateral (
                select r.*
                from public.inventory_ledger as r
                where
                    r.order_item_id = i.order_item_id
                    and r.entry_type = 'order_return'
                    and not (r.created_at >= $3 and r.created_at < $4)
                offset 0
            ) as l
        ),

        window_products as materialized (
            select p.*
            from public.products as p
            where p.id = any($2)
        ),

        window_levels as materialized (
            select
                v.product_id,
                v.on_hand
            from public.inventory_levels as v
            where v.product_id = any($2)
        ),
    $with$);
    return query execute v_query using v_groups, v_products, p_since, p_until;
end;
$$;
comment on function payments.broken_invariants_of(timestamptz, timestamptz) is
    'The invariants of money and stock that do not hold around what happened in a window; no row when all is well.';
revoke execute on function payments.broken_invariants_of(timestamptz, timestamptz)
from public, anon, authenticated, service_role;
