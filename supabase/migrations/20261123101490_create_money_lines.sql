-- Money line by line, as an accountant lays it beside Stripe's own list.
--
-- Touches: payments.money_lines(), whose lines public.payment_report() adds up, and public.payment_lines(), which tells them
-- one by one: sums and lines cannot disagree. Days of money are Stripe's: the time at which it made the event. That a refund
-- failed after all is of the day on which it was recorded, so that the day of the refund stays as it was told.
-- An older relay notices nothing.

-- Tells what came, whose part it is, and what went back. Kinds: `payment`, one that paid its group; `order`, a seller's part of
-- it; `rejected`, `unmatched` and `resolved`, money that was set aside, once per payment however many events it has, and not
-- where one of these was applied; `refund`, one that has succeeded, whatever became of it, negative, with its group where the
-- payment had paid one; `refund_failed`, one that failed or was cancelled after it had succeeded, positive, when that was
-- recorded; `order_refund`, an order that was given up, negative, and positive where that was taken back; `already_paid`, a
-- further event of a payment that had paid, no money.
-- Called by: the functions below, public.payment_report(). Returns: one row per line, amounts in major units, null where what
-- came is no money; `livemode` is null of what was set aside and of given-up orders. Locks: nothing.
create or replace function payments.money_lines(p_since timestamptz, p_until timestamptz)
returns table (
    happened_at timestamptz,
    kind text,
    id text,
    order_group_id uuid,
    order_id uuid,
    seller_id uuid,
    checkout_session_id text,
    payment_intent_id text,
    livemode boolean,
    currency text,
    amount numeric,
    is_simulated boolean
)
language plpgsql
stable
security invoker
set search_path = ''
set work_mem = '64MB'
set random_page_cost = 1.1
set jit = off
as $$
begin
    return query
    with
    -- By the time alone: to the planner `applied` is a reason to read the unique indexes of all years.
    event as materialized (
        select
            e.id,
            e.order_group_id,
            e.checkout_session_id,
            e.payment_intent_id,
            e.livemode,
            e.currency,
            e.amount,
            e.outcome,
            coalesce(e.created_at, e.processed_at) as at
        from payments.stripe_events as e
        where
            coalesce(e.created_at, e.processed_at) >= p_since
            and coalesce(e.created_at, e.processed_at) < p_until
    ),

    applied as not materialized (
        select e.*
        from event as e
        where e.outcome = 'applied'
    ),

    -- What was applied after all is among the events.
    set_aside as not materialized (
        select
            x.id,
            x.stripe_event_id,
            x.order_group_id,
            x.checkout_session_id,
            x.reason,
            x.status,
            x.details,
            x.payment_intent_id,
            x.event_created_at,
            x.first_seen_at,
            coalesce(x.checkout_session_id, x.stripe_event_id) as payment,
            coalesce(x.event_created_at, x.first_seen_at) as at
        from payments.exceptions as x
        where x.resolution is distinct from 'reconciled' and num_nonnulls(x.refund_id, x.dispute_id) = 0
    ),

    set_aside_in_window as (
        select x.*
        from set_aside as x
        where
            coalesce(x.event_created_at, x.first_seen_at) >= p_since
            and coalesce(x.event_created_at, x.first_seen_at) < p_until
    ),

    -- Two events of one payment are one sum of money, of the day on which the first of them was made, whatever window the
    -- other one is in. The payment is open while one of them is.
    set_aside_payment as (
        select distinct on (x.payment)
            x.*,
            min(x.at) over (partition by x.payment) as began_at
        from (
            select w.*
            from set_aside_in_window as w
            union all
            select o.*
            from set_aside as o
            where
                o.checkout_session_id in (select w.checkout_session_id from set_aside_in_window as w)
                and not (o.at >= p_since and o.at < p_until)
        ) as x
        order by x.payment, x.status, x.at, x.id
    ),

    told (
        happened_at, kind, id, order_group_id, order_id, seller_id, checkout_session_id, payment_intent_id, livemode, currency,
        amount
    ) as (
        select
            e.at,
            'payment',
            e.id,
            e.order_group_id,
            null::pg_catalog.uuid,
            null::pg_catalog.uuid,
            e.checkout_session_id,
            e.payment_intent_id,
            e.livemode,
            e.currency,
            -- What no bigint of minor units can be is no money; NaN is greater than any number.
            case when abs(e.amount) < 1e19 then e.amount end
        from applied as e
        union all
        select
            e.at,
            'already_paid',
            e.id,
            e.order_group_id,
            null,
            null,
            e.checkout_session_id,
            e.payment_intent_id,
            e.livemode,
            e.currency,
            null
        from event as e
        where e.outcome = 'already_paid'
        union all
        select
            e.at,
            'order',
            o.id::pg_catalog.text,
            o.order_group_id,
            o.id,
            o.seller_id,
            e.checkout_session_id,
            e.payment_intent_id,
            e.livemode,
            o.currency,
            o.total_amount
        from applied as e
        inner join public.orders as o on e.order_group_id = o.order_group_id
        union all
        select
            x.began_at,
            case x.status when 'resolved' then 'resolved' else r.outcome end,
            x.stripe_event_id,
            x.order_group_id,
            null,
            null,
            x.checkout_session_id,
            x.payment_intent_id,
            null,
            x.details -> 'received' ->> 'currency',
            -- Evidence is read as it is, also where a person has written it: what is no number is no money.
            case
                when x.details -> 'received' ->> 'amount' ~ '^-?[0-9]{1,40}([.][0-9]{1,40})?$'
                    then (x.details -> 'received' ->> 'amount')::pg_catalog.numeric
            end
        from set_aside_payment as x
        inner join payments.reasons as r on x.reason = r.reason
        where
            x.began_at >= p_since
            -- A session has one payment. Where another of its events was applied, its money is there.
            and not exists (
                select 1
                from payments.stripe_events as e
                where e.checkout_session_id = x.checkout_session_id and e.outcome = 'applied'
                offset 0  -- one by one through the index: a join would read the payments of all years
            )
        union all
        select
            r.created_at,
            'refund',
            r.id,
            case when r.set_aside_reason is null then r.order_group_id end,
            null,
            null,
            g.stripe_checkout_session_id,
            r.payment_intent_id,
            r.livemode,
            r.currency,
            -r.amount
        from payments.refunds as r
        left join public.order_groups as g on r.order_group_id = g.id
        where
            r.created_at >= p_since
            and r.created_at < p_until
            and (
                r.status = 'succeeded'
                or exists (
                    select 1
                    from payments.refund_status_changes as c
                    where c.refund_id = r.id and c.from_status = 'succeeded'
                    offset 0  -- one by one through the index: else the steps of all years would be read
                )
            )
        union all
        -- From there a refund can only fail, or be cancelled.
        select
            c.changed_at,
            'refund_failed',
            r.id,
            case when r.set_aside_reason is null then r.order_group_id end,
            null,
            null,
            g.stripe_checkout_session_id,
            r.payment_intent_id,
            r.livemode,
            r.currency,
            r.amount
        from payments.refund_status_changes as c
        inner join payments.refunds as r on c.refund_id = r.id
        left join public.order_groups as g on r.order_group_id = g.id
        where c.changed_at >= p_since and c.changed_at < p_until and c.from_status = 'succeeded'
        union all
        select
            c.changed_at,
            'order_refund',
            c.order_id::pg_catalog.text,
            c.order_group_id,
            c.order_id,
            c.seller_id,
            g.stripe_checkout_session_id,
            g.stripe_payment_intent_id,
            null,
            o.currency,
            case c.to_status when 'refunded' then -o.total_amount else o.total_amount end
        from public.order_status_changes as c
        inner join public.orders as o on c.order_id = o.id
        inner join public.order_groups as g on c.order_group_id = g.id
        where
            c.changed_at >= p_since
            and c.changed_at < p_until
            and 'refunded' in (c.from_status, c.to_status)
            and c.order_id is not null
    )

    select
        t.*,
        -- `relay simulate` gives its sessions and payment intents such ids, which Stripe never does.
        coalesce(starts_with(t.checkout_session_id, 'cs_test_sim_'), false)
        or coalesce(starts_with(t.payment_intent_id, 'pi_sim_'), false)
    from told as t;
end;
$$;
comment on function payments.money_lines(timestamptz, timestamptz) is
    'What came, whose part it is, and what went back in a window, line by line, by Stripe''s time. Amounts in major units.';
revoke execute on function payments.money_lines(timestamptz, timestamptz)
from public, anon, authenticated, service_role;

-- Tells the lines of a window in their order of time. A kind of what `relay simulate` has made up begins with `simulated_`, so
-- that sums by kind are the report's.
-- Called by: `relay report`, as service_role, for a day at a time. Returns: an array of objects, money as text, days UTC, the
-- window half open; raises 22023 for a window that is none. Locks: nothing.
create or replace function public.payment_lines(p_since timestamptz, p_until timestamptz)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set statement_timeout = '60s'
as $$
begin
    if p_since is null or p_until is null or p_since >= p_until then
        raise exception 'lines need a window that begins before it ends, not % to %', p_since, p_until
            using errcode = 'invalid_parameter_value';
    end if;

    return (
        select coalesce(jsonb_agg(
            jsonb_build_object(
                'at', l.happened_at,
                'day', (l.happened_at at time zone 'UTC')::pg_catalog.date,
                'kind', case when l.is_simulated then 'simulated_' else '' end || l.kind,
                'id', l.id,
                'order_group_id', l.order_group_id,
                'order_id', l.order_id,
                'seller_id', l.seller_id,
                'seller', s.name,
                'checkout_session_id', l.checkout_session_id,
                'payment_intent_id', l.payment_intent_id,
                'currency', l.currency,
                'amount', l.amount::pg_catalog.text
            )
            order by l.happened_at, l.order_group_id, l.kind desc, l.id
        ), '[]'::pg_catalog.jsonb)
        from payments.money_lines(p_since, p_until) as l
        left join public.sellers as s on l.seller_id = s.id
        where l.kind <> 'already_paid'
    );
end;
$$;
comment on function public.payment_lines(timestamptz, timestamptz) is
    'Each payment, order and refund of a window as a line, as the report adds them up. Money as text in major units.';
revoke execute on function public.payment_lines(timestamptz, timestamptz) from public, anon, authenticated;
grant execute on function public.payment_lines(timestamptz, timestamptz) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.payment_lines(timestamp with time zone,timestamp with time zone)', 'service_role', 'EXECUTE');
