-- The accountant's page, as data.
--
-- Touches: public.payment_report(). Money is added up from payments.money_lines(). Everything in it is read by one statement,
-- so from one snapshot; it holds no buyer's data.
-- An older relay notices nothing.

-- Tells payments by day, currency and outcome, what was paid and what went back, in all and per seller, open exceptions, stock
-- that moved, what people corrected, and whether the invariants hold. What `relay simulate` has paid is no money, and apart.
-- Called by: `relay report`, as service_role. Returns: an object with `since`, `until`, `generated_at`, `totals`, `days` (how many
-- lines public.payment_lines() tells of each), `modes` (how many payments were applied of live and of test mode), `money`,
-- `simulated` and `sellers` (gross, refunded and net by currency),
-- `exceptions` (those open now), `stock`, `adjustments`, `checks`; days are UTC, money is text in major units, the window is half open. Raises 22023
-- for a window that is none. Locks: nothing. The Data API applies `statement_timeout` to the call.
-- What it costs goes by the window; a just-in-time compiler would take longer over it than the statement takes.
create or replace function public.payment_report(p_since timestamptz, p_until timestamptz)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set statement_timeout = '60s'
set work_mem = '64MB'
set random_page_cost = 1.1
set jit = off
as $$
declare
    -- Newest first; beyond them the ledger itself is the better reading.
    v_most_adjustments constant integer := 500;
begin
    if p_since is null or p_until is null or p_since >= p_until then
        raise exception 'a report needs a window that begins before it ends, not % to %', p_since, p_until
            using errcode = 'invalid_parameter_value';
    end if;

    -- Built as text and parsed once: as jsonb each level would copy all below it.
    return (
        with
        line as materialized (
            select
                l.kind,
                l.order_group_id,
                l.seller_id,
                l.currency,
                l.amount,
                l.livemode,
                l.is_simulated,
                (l.happened_at at time zone 'UTC')::pg_catalog.date as day
            from payments.money_lines(p_since, p_until) as l
        ),

        total as (
            select
                o.day,
                o.currency,
                o.outcome,
                count(*) as payments,
                sum(o.amount) as amount
            from (
                select
                    l.day,
                    l.currency,
                    case
                        when l.is_simulated then 'simulated'
                        when l.kind = 'payment' then 'applied'
                        else l.kind
                    end as outcome,
                    l.amount
                from line as l
                where
                    l.kind in ('payment', 'rejected', 'unmatched', 'resolved')
                    or (l.kind = 'already_paid' and not l.is_simulated)
            ) as o
            group by o.day, o.currency, o.outcome
        ),

        money as (
            select
                l.is_simulated,
                l.currency,
                coalesce(sum(l.amount) filter (where l.kind = 'payment'), 0) as gross,
                coalesce(
                    -sum(l.amount) filter (
                        where l.kind in ('refund', 'refund_failed') and l.order_group_id is not null
                    ),
                    0
                ) as refunded
            from line as l
            where l.kind in ('payment', 'refund', 'refund_failed')
            group by l.is_simulated, l.currency
        ),

        seller as (
            select
                l.seller_id,
                l.currency,
                count(*) filter (where l.kind = 'order') as orders,
                coalesce(sum(l.amount) filter (where l.kind = 'order'), 0) as gross,
                coalesce(-sum(l.amount) filter (where l.kind = 'order_refund'), 0) as refunded
            from line as l
            where l.kind in ('order', 'order_refund') and not l.is_simulated
            group by l.seller_id, l.currency
        ),

        moved as (
            select
                l.product_id,
                coalesce(-sum(l.quantity_delta) filter (where l.entry_type = 'order_commit'), 0) as committed,
                count(*) filter (where l.entry_type = 'order_commit') as items,
                coalesce(sum(l.quantity_delta) filter (where l.entry_type = 'order_return'), 0) as returned,
                coalesce(sum(l.quantity_delta) filter (where l.entry_type = 'receipt'), 0) as received,
                coalesce(sum(l.quantity_delta) filter (where l.entry_type = 'adjustment'), 0) as corrected,
                sum(l.quantity_delta) as change
            from public.inventory_ledger as l
            where l.created_at >= p_since and l.created_at < p_until
            group by l.product_id
        ),

        fault as (
            select
                b.invariant,
                count(*) as faults,
                -- Enough to begin with; payments.broken_invariants() names all.
                (array_agg(b.subject || ': ' || b.detail order by b.subject))[1:10] as examples
            from payments.broken_invariants_of(p_since, p_until) as b
            group by b.invariant
        )

        select json_build_object(
            'since', p_since,
            'until', p_until,
            'generated_at', now(),
            'totals', (
                select coalesce(json_agg(
                    json_build_object(
                        'day', t.day,
                        'currency', t.currency,
                        'outcome', t.outcome,
                        'payments', t.payments,
                        'amount', t.amount::pg_catalog.text
                    )
                    order by t.day, t.currency, t.outcome
                ), '[]'::pg_catalog.json)
                from total as t
            ),
            'days', (
                select coalesce(json_agg(
                    json_build_object('day', d.day, 'lines', d.lines)
                    order by d.day
                ), '[]'::pg_catalog.json)
                from (
                    select
                        l.day,
                        count(*) as lines
                    from line as l
                    where l.kind <> 'already_paid'
                    group by l.day
                ) as d
            ),
            'modes', (
                select coalesce(json_agg(
                    json_build_object('mode', o.mode, 'payments', o.payments)
                    order by o.mode
                ), '[]'::pg_catalog.json)
                from (
                    select
                        case when l.livemode then 'live' else 'test' end as mode,
                        count(*) as payments
                    from line as l
                    where not l.is_simulated and l.kind = 'payment'
                    group by l.livemode
                ) as o
            ),
            'money', (
                select coalesce(json_agg(
                    json_build_object(
                        'currency', m.currency,
                        'gross', m.gross::pg_catalog.text,
                        'refunded', m.refunded::pg_catalog.text,
                        'net', (m.gross - m.refunded)::pg_catalog.text
                    )
                    order by m.currency
                ), '[]'::pg_catalog.json)
                from money as m
                where not m.is_simulated
            ),
            'simulated', (
                select coalesce(json_agg(
                    json_build_object(
                        'currency', s.currency,
                        'gross', s.gross::pg_catalog.text,
                        'refunded', s.refunded::pg_catalog.text,
                        'net', (s.gross - s.refunded)::pg_catalog.text
                    )
                    order by s.currency
                ), '[]'::pg_catalog.json)
                from money as s
                where s.is_simulated
            ),
            'sellers', (
                select coalesce(json_agg(
                    json_build_object(
                        'seller_id', w.seller_id,
                        'seller', s.name,
                        'currency', w.currency,
                        'orders', w.orders,
                        'gross', w.gross::pg_catalog.text,
                        'refunded', w.refunded::pg_catalog.text,
                        'net', (w.gross - w.refunded)::pg_catalog.text
                    )
                    order by s.name, w.seller_id, w.currency
                ), '[]'::pg_catalog.json)
                from seller as w
                inner join public.sellers as s on w.seller_id = s.id
            ),
            'exceptions', (
                select coalesce(json_agg(
                    json_build_object(
                        'id', x.id,
                        'reason', x.reason,
                        'order_group_id', x.order_group_id,
                        'checkout_session_id', x.checkout_session_id,
                        'attempts', x.attempts,
                        'first_seen_at', x.first_seen_at,
                        'last_seen_at', x.last_seen_at,
                        'currency', x.details -> 'received' ->> 'currency',
                        'amount', x.details -> 'received' ->> 'amount',
                        'expected_currency', x.details -> 'expected' ->> 'currency',
                        'expected_amount', x.details -> 'expected' ->> 'total_amount'
                    )
                    order by x.first_seen_at, x.id
                ), '[]'::pg_catalog.json)
                from payments.exceptions as x
                where x.status = 'open'
            ),
            'stock', (
                select coalesce(json_agg(
                    json_build_object(
                        'product_id', p.id,
                        'seller', s.name,
                        'sku', p.sku,
                        'product', p.name,
                        'opening', h.on_hand - c.change,
                        'received', c.received,
                        'committed', c.committed,
                        'items', c.items,
                        'returned', c.returned,
                        'corrected', c.corrected,
                        'on_hand', h.on_hand,
                        'oversold', greatest(-h.on_hand, 0)
                    )
                    order by s.name, p.sku, p.id
                ), '[]'::pg_catalog.json)
                from moved as c
                inner join public.products as p on c.product_id = p.id
                inner join public.sellers as s on p.seller_id = s.id
                cross join lateral (
                    select sum(l.quantity_delta) as on_hand
                    from public.inventory_ledger as l
                    where l.product_id = p.id and l.created_at < p_until
                    offset 0  -- counted once, for both
                ) as h
            ),
            'adjustments', (
                select coalesce(json_agg(
                    json_build_object(
                        'at', a.created_at,
                        'product_id', a.product_id,
                        'seller', s.name,
                        'sku', p.sku,
                        'product', p.name,
                        'quantity_delta', a.quantity_delta,
                        'recorded_by', a.recorded_by,
                        'note', a.note
                    )
                    order by a.created_at desc, a.id desc
                ), '[]'::pg_catalog.json)
                from (
                    select l.*
                    from public.inventory_ledger as l
                    where l.entry_type = 'adjustment' and l.created_at >= p_since and l.created_at < p_until
                    order by l.created_at desc, l.id desc
                    limit v_most_adjustments
                ) as a
                inner join public.products as p on a.product_id = p.id
                inner join public.sellers as s on p.seller_id = s.id
            ),
            'checks', (
                select json_agg(
                    json_build_object(
                        'name', k.name,
                        'claim', k.claim,
                        'ok', f.invariant is null,
                        'faults', coalesce(f.faults, 0),
                        'examples', coalesce(to_json(f.examples), '[]'::pg_catalog.json)
                    )
                    order by k.place
                )
                from payments.invariants as k
                left join fault as f on k.name = f.invariant
            )
        )::pg_catalog.jsonb
    );
end;
$$;
comment on function public.payment_report(timestamptz, timestamptz) is
    'Payments by day, sums by currency and seller, open exceptions, stock that moved and the invariants, from one snapshot.';
revoke execute on function public.payment_report(timestamptz, timestamptz) from public, anon, authenticated;
grant execute on function public.payment_report(timestamptz, timestamptz) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.payment_report(timestamp with time zone,timestamp with time zone)', 'service_role', 'EXECUTE');
