-- The accountant's page, as data.
--
-- Touches: public.payment_report(). Everything in it is read by one statement, so from one snapshot; it holds no
-- buyer's data.
-- An older relay notices nothing.

-- Tells payments by day, currency and outcome, open exceptions, stock committed, and whether the invariants hold.
-- Called by: `relay report`, as service_role. Returns: an object with `since`, `until`, `generated_at`, `totals`,
-- `exceptions` (those open now), `stock`, `checks`; days are UTC, money is text in major units, the window is half open.
-- Raises 22023 for a window that is none. Locks: nothing. The Data API applies `statement_timeout` to the call.
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
begin
    if p_since is null or p_until is null or p_since >= p_until then
        raise exception 'a report needs a window that begins before it ends, not % to %', p_since, p_until
            using errcode = 'invalid_parameter_value';
    end if;

    return (
        with
        -- What was applied after all is among the events.
        set_aside as not materialized (
            select
                x.*,
                coalesce(x.checkout_session_id, x.stripe_event_id) as payment
            from payments.exceptions as x
            where x.resolution is distinct from 'reconciled'
        ),

        set_aside_in_window as (
            select x.*
            from set_aside as x
            where x.first_seen_at >= p_since and x.first_seen_at < p_until
        ),

        -- Two events of one payment are one sum of money, of the day on which the first of them was set aside, whatever
        -- window the other one is in. The payment is open while one of them is.
        payment as (
            select distinct on (x.payment)
                x.*,
                min(x.first_seen_at) over (partition by x.payment) as set_aside_at
            from (
                select w.*
                from set_aside_in_window as w
                union all
                select o.*
                from set_aside as o
                where
                    o.checkout_session_id in (select w.checkout_session_id from set_aside_in_window as w)
                    and not (o.first_seen_at >= p_since and o.first_seen_at < p_until)
            ) as x
            order by x.payment, x.status, x.first_seen_at, x.id
        ),

        outcome as (
            select
                (e.processed_at at time zone 'UTC')::pg_catalog.date as day,
                e.currency,
                e.outcome,
                -- A twin tells of money that its payment has brought already. What no bigint of
                -- minor units can be adds nothing; NaN is greater than any number.
                case when e.outcome = 'applied' and abs(e.amount) < 1e19 then e.amount end as amount
            from payments.stripe_events as e
            where e.processed_at >= p_since and e.processed_at < p_until
            union all
            select
                (x.set_aside_at at time zone 'UTC')::pg_catalog.date,
                x.details -> 'received' ->> 'currency',
                case x.status when 'resolved' then 'resolved' else r.outcome end,
                -- Evidence is read as it is, also where a person has written it: what is no number adds nothing.
                case
                    when x.details -> 'received' ->> 'amount' ~ '^-?[0-9]{1,40}([.][0-9]{1,40})?$'
                        then (x.details -> 'received' ->> 'amount')::numeric
                end
            from payment as x
            inner join payments.reasons as r on x.reason = r.reason
            where x.set_aside_at >= p_since
        ),

        total as (
            select
                o.day,
                o.currency,
                o.outcome,
                count(*) as payments,
                sum(o.amount) as amount
            from outcome as o
            group by o.day, o.currency, o.outcome
        ),

        committed as (
            select
                l.product_id,
                -sum(l.quantity_delta) as quantity,
                count(*) as items
            from public.inventory_ledger as l
            where l.entry_type = 'order_commit' and l.created_at >= p_since and l.created_at < p_until
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

        select jsonb_build_object(
            'since', p_since,
            'until', p_until,
            'generated_at', now(),
            'totals', (
                select coalesce(jsonb_agg(
                    jsonb_build_object(
                        'day', t.day,
                        'currency', t.currency,
                        'outcome', t.outcome,
                        'payments', t.payments,
                        'amount', t.amount::pg_catalog.text
                    )
                    order by t.day, t.currency, t.outcome
                ), '[]'::pg_catalog.jsonb)
                from total as t
            ),
            'exceptions', (
                select coalesce(jsonb_agg(
                    jsonb_build_object(
                        'id', x.id,
                        'reason', x.reason,
                        'order_group_id', x.order_group_id,
                        'checkout_session_id', x.checkout_session_id,
                        'attempts', x.attempts,
                        'first_seen_at', x.first_seen_at,
                        'last_seen_at', x.last_seen_at,
                        'currency', x.details -> 'received' ->> 'currency',
                        'amount', x.details -> 'received' ->> 'amount'
                    )
                    order by x.first_seen_at, x.id
                ), '[]'::pg_catalog.jsonb)
                from payments.exceptions as x
                where x.status = 'open'
            ),
            'stock', (
                select coalesce(jsonb_agg(
                    jsonb_build_object(
                        'product_id', p.id,
                        'seller', s.name,
                        'sku', p.sku,
                        'product', p.name,
                        'committed', c.quantity,
                        'items', c.items,
                        'on_hand', (
                            select sum(l.quantity_delta)
                            from public.inventory_ledger as l
                            where l.product_id = p.id and l.created_at < p_until
                        )
                    )
                    order by s.name, p.sku, p.id
                ), '[]'::pg_catalog.jsonb)
                from committed as c
                inner join public.products as p on c.product_id = p.id
                inner join public.sellers as s on p.seller_id = s.id
            ),
            'checks', (
                select jsonb_agg(
                    jsonb_build_object(
                        'name', k.name,
                        'claim', k.claim,
                        'ok', f.invariant is null,
                        'faults', coalesce(f.faults, 0),
                        'examples', coalesce(to_jsonb(f.examples), '[]'::pg_catalog.jsonb)
                    )
                    order by k.place
                )
                from payments.invariants as k
                left join fault as f on k.name = f.invariant
            )
        )
    );
end;
$$;
comment on function public.payment_report(timestamptz, timestamptz) is
    'Payments by day, currency and outcome, open exceptions, stock committed and the invariants, from one snapshot.';
revoke execute on function public.payment_report(timestamptz, timestamptz) from public, anon, authenticated;
grant execute on function public.payment_report(timestamptz, timestamptz) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.payment_report(timestamp with time zone,timestamp with time zone)', 'service_role', 'EXECUTE');
