-- What money that goes back means for the payment that it came with.
--
-- Touches: private functions in `payments`, parts of public.reconcile_order_group_payment(), record_refund() and
-- record_dispute(): they keep what cannot be recorded as an exception, judge the refunds and disputes of a payment, and bring
-- its order group and exceptions to what follows from them. The callers hold the payment intent, so that a payment and what
-- comes back of it are judged one after the other, in whatever order they arrive.
-- Lock order: event id, refund or dispute id, payment intent, order group, its exceptions, its orders by id.

-- Takes a payment's turn: its events, refunds and disputes wait for each other, also where no order group's lock makes them.
-- Called by: payments.reconcile(), payments.record_refund(), payments.record_dispute(). Returns: nothing. Locks: the payment
-- intent, until the end of the transaction; nothing for a payment that charged nothing.
create or replace function payments.lock_payment_intent(p_payment_intent_id text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended(p_payment_intent_id, 1));
end;
$$;
comment on function payments.lock_payment_intent(text) is
    'Has whoever records something of a payment intent wait for whoever does already.';
revoke execute on function payments.lock_payment_intent(text) from public, anon, authenticated, service_role;

-- Tells what a payment intent has brought, as far as it is known here: by the event that it paid a group with, else by the
-- exceptions of its events. What another account was paid is other money.
-- An intent's id is unique across Stripe's modes.
-- Called by: payments.record_refund(), payments.record_dispute(). Returns: one row, `order_group_id` of the group that it has paid,
-- or that its exception names; `has_paid` tells which; no row where the payment is not known. Locks: nothing.
create or replace function payments.find_payment(p_payment_intent_id text)
returns table (
    order_group_id uuid, has_paid boolean, amount_minor bigint, currency text
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return query
    select
        e.order_group_id,
        true,
        e.amount_minor,
        e.currency
    from payments.stripe_events as e
    where e.payment_intent_id = p_payment_intent_id and e.outcome = 'applied';
    if found then
        return;
    end if;

    return query
    select
        x.order_group_id,
        false,
        (x.details -> 'received' ->> 'amount_minor')::bigint,
        x.details -> 'received' ->> 'currency'
    from payments.exceptions as x
    where
        x.payment_intent_id = p_payment_intent_id
        and x.reason not in ('foreign_account', 'event_collision')
        and num_nonnulls(x.refund_id, x.dispute_id) = 0
    order by x.details -> 'received' ->> 'amount_minor' is null, x.id
    limit 1;
end;
$$;
comment on function payments.find_payment(text) is
    'What a payment intent has brought, in minor units, and the order group that it paid or was meant for.';
revoke execute on function payments.find_payment(text) from public, anon, authenticated, service_role;

-- Finds the refunds that do not fit their payment: another currency, or more than it has brought. The earliest fit
-- first; one that failed takes no room.
-- Called by: payments.is_all_back(), payments.settle_payment(). Returns: ids with the reason. Locks: nothing.
create or replace function payments.unfit_refunds(
    p_payment_intent_id text, p_amount_minor bigint, p_currency text
)
returns table (refund_id text, reason text)
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_refund payments.refunds;
    v_sum numeric := 0;
begin
    for v_refund in
        select r.*
        from payments.refunds as r
        where r.payment_intent_id = p_payment_intent_id
        order by r.created_at, r.id
    loop
        refund_id := v_refund.id;
        if v_refund.currency <> p_currency then
            reason := 'currency_mismatch';
            return next;
        elsif v_refund.status not in ('failed', 'canceled') then
            if v_sum + v_refund.amount_minor > p_amount_minor then
                reason := 'exceeds_payment';
                return next;
            else
                v_sum := v_sum + v_refund.amount_minor;
            end if;
        end if;
    end loop;
end;
$$;
comment on function payments.unfit_refunds(text, bigint, text) is
    'The refunds of a payment intent that do not fit a payment of this amount, in minor units, and why.';
revoke execute on function payments.unfit_refunds(text, bigint, text)
from public, anon, authenticated, service_role;

-- Tells whether a refund is within what a payment has brought, beside the refunds that count already.
-- Called by: payments.record_refund(), payments.fit_refunds(). Amounts in minor units. Returns: true or false; null for a payment
-- without an amount. Locks: nothing.
create or replace function payments.has_room(p_refund payments.refunds, p_amount_minor bigint)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return p_refund.amount_minor + (
        select coalesce(sum(r.amount_minor), 0)
        from payments.refunds as r
        where
            r.payment_intent_id = p_refund.payment_intent_id
            and r.id <> p_refund.id
            and r.status not in ('failed', 'canceled')
            and r.set_aside_reason is null
    ) <= p_amount_minor;
end;
$$;
comment on function payments.has_room(payments.refunds, bigint) is
    'Whether a refund is within the amount of its payment, in minor units, beside the refunds that count already.';
revoke execute on function payments.has_room(payments.refunds, bigint) from public, anon, authenticated, service_role;

-- Counts refunds that came before their payment and were more than it has brought, where another one has failed since: the
-- earliest first, as far as there is room.
-- Called by: payments.record_refund(), which holds the payment intent. Amount in minor units. Returns: nothing. Locks: the
-- exceptions of these refunds.
create or replace function payments.fit_refunds(p_payment_intent_id text, p_amount_minor bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_refund payments.refunds;
begin
    for v_refund in
        select r.*
        from payments.refunds as r
        where r.payment_intent_id = p_payment_intent_id and r.set_aside_reason = 'exceeds_payment'
        order by r.created_at, r.id
    loop
        -- Each sees those that were counted before it.
        if payments.has_room(v_refund, p_amount_minor) then
            update payments.refunds as r
            set set_aside_reason = null
            where r.id = v_refund.id;
            perform payments.close_as_recorded(v_refund.id, null);
        end if;
    end loop;
end;
$$;
comment on function payments.fit_refunds(text, bigint) is
    'Counts the refunds that had no room within their payment, in minor units, where another refund has failed since.';
revoke execute on function payments.fit_refunds(text, bigint) from public, anon, authenticated, service_role;

-- Tells whether all money of a payment that has paid nothing has gone back.
-- Called by: payments.judge(). Returns: true or false; null for a payment without an amount. Locks: nothing.
create or replace function payments.is_all_back(p_event payments.stripe_events)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return p_event.amount_minor > 0 and p_event.amount_minor = (
        select sum(r.amount_minor)
        from payments.refunds as r
        where
            r.payment_intent_id = p_event.payment_intent_id
            and r.status = 'succeeded'
            and not exists (
                select 1
                from payments.unfit_refunds(
                    p_event.payment_intent_id, p_event.amount_minor, p_event.currency
                ) as u
                where u.refund_id = r.id
            )
    )
    and not exists (
        select 1
        from payments.stripe_events as e
        where
            e.outcome = 'applied'
            and (
                e.payment_intent_id = p_event.payment_intent_id
                or e.checkout_session_id = p_event.checkout_session_id
            )
    );
end;
$$;
comment on function payments.is_all_back(payments.stripe_events) is 'Whether Stripe has sent all money of a payment back that has paid nothing.';
revoke execute on function payments.is_all_back(payments.stripe_events) from public, anon, authenticated, service_role;

-- Keeps the evidence of a refund or a dispute that needs a person: one exception for each, whichever of its events come.
-- Called by: payments.record_refund(), payments.record_dispute(), payments.settle_payment(). One of the two ids is given.
-- Returns: whether it is open now: a person's word on it is final. Locks: the exception.
create or replace function payments.set_aside_refund_or_dispute(
    p_refund_id text,
    p_dispute_id text,
    p_stripe_event_id text,
    p_order_group_id uuid,
    p_payment_intent_id text,
    p_reason text,
    p_expected jsonb,
    p_received jsonb
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now constant pg_catalog.timestamptz := clock_timestamp();
    v_details constant pg_catalog.jsonb := jsonb_build_object('expected', p_expected, 'received', p_received);
    v_known payments.exceptions;
begin
    select x.* into v_known
    from payments.exceptions as x
    where x.refund_id = p_refund_id or x.dispute_id = p_dispute_id
    for update;

    if v_known.id is null then
        insert into payments.exceptions (
            stripe_event_id,
            order_group_id,
            payment_intent_id,
            reason,
            first_seen_at,
            last_seen_at,
            details,
            refund_id,
            dispute_id
        )
        values (
            -- An event id that already has an exception belongs to another matter.
            case
                when p_stripe_event_id is null or exists (
                    select 1
                    from payments.exceptions as x
                    where x.stripe_event_id = p_stripe_event_id
                ) then coalesce(p_refund_id, p_dispute_id)
                else p_stripe_event_id
            end,
            p_order_group_id,
            p_payment_intent_id,
            p_reason,
            v_now,
            v_now,
            v_details,
            p_refund_id,
            p_dispute_id
        );
        return true;
    elsif v_known.status = 'resolved' and v_known.resolution <> 'reconciled' and v_known.resolved_by <> 'stripe' then
        return false;
    end if;

    update payments.exceptions as x
    set
        attempts = x.attempts + 1,
        last_seen_at = v_now,
        order_group_id = p_order_group_id,
        payment_intent_id = p_payment_intent_id,
        reason = p_reason,
        details = case
            -- The sweep tells the same as the webhook.
            when x.reason = p_reason and x.details @> (v_details #- '{received,source}') then x.details
            else v_details || jsonb_strip_nulls(jsonb_build_object('reopened', x.details -> 'reopened')) || jsonb_build_object(
                'earlier',
                coalesce(x.details -> 'earlier', '[]'::pg_catalog.jsonb) || jsonb_build_object(
                    'reason', x.reason,
                    'until', x.last_seen_at,
                    'expected', x.details -> 'expected',
                    'received', x.details -> 'received'
                )
            )
        end,
        status = 'open',
        resolution = null,
        resolved_by = null,
        resolved_at = null,
        note = null
    where x.id = v_known.id;
    return true;
end;
$$;
comment on function payments.set_aside_refund_or_dispute(text, text, text, uuid, text, text, jsonb, jsonb) is
    'Keeps the evidence of a refund or dispute that needs a person: one exception for each, later attempts count it up.';
revoke execute on function payments.set_aside_refund_or_dispute(text, text, text, uuid, text, text, jsonb, jsonb)
from public, anon, authenticated, service_role;

-- Closes the exception of a refund or dispute whose cause is gone. A collision stays for a person: what it collided with is recorded.
-- Called by: payments.record_refund(), payments.record_dispute(), payments.settle_payment(). One of the two ids is given.
-- Returns: nothing. Locks: the exception.
create or replace function payments.close_as_recorded(p_refund_id text, p_dispute_id text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    update payments.exceptions as x
    set
        status = 'resolved',
        resolution = 'reconciled',
        resolved_by = case when p_refund_id is null then 'record_dispute' else 'record_refund' end,
        resolved_at = clock_timestamp()
    where
        (x.refund_id = p_refund_id or x.dispute_id = p_dispute_id)
        and x.status = 'open'
        and x.reason not in ('refund_collision', 'dispute_collision', 'payment_disputed');
end;
$$;
comment on function payments.close_as_recorded(text, text) is
    'Closes the exception of a refund or dispute that could be recorded after all.';
revoke execute on function payments.close_as_recorded(text, text) from public, anon, authenticated, service_role;

-- Brings what a payment has paid, or the exceptions that keep it, to what follows from its refunds.
-- Called by: payments.record_refund(), payments.reconcile(), who hold the payment intent. Returns: nothing; raises XX001 where a
-- shop's trigger changes what is written. Locks: the order group and its orders by id, where the payment has paid it and they
-- change; else the payment's exceptions by id.
-- Where the payment has paid, its group bears what has gone back, and is refunded when that is all; its orders go along, and come
-- back to where they were if a refund fails after all. Where it has paid nothing, its exceptions are closed when all of it has gone
-- back, in the name of `stripe`, and opened again if not; a person's word stays.
create or replace function payments.settle_refunds(p_payment_intent_id text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now pg_catalog.timestamptz;
    v_group_id pg_catalog.uuid;
    v_group public.order_groups;
    v_back numeric;
    v_back_minor numeric;
    v_refunds pg_catalog.text;
    v_cases pg_catalog.int8[];
begin
    select
        coalesce(sum(r.amount), 0),
        coalesce(sum(r.amount_minor), 0),
        string_agg(r.id, ', ' order by r.id)
    into v_back, v_back_minor, v_refunds
    from payments.refunds as r
    where
        r.payment_intent_id = p_payment_intent_id
        and r.status = 'succeeded'
        and r.set_aside_reason is null;

    select e.order_group_id into v_group_id
    from payments.stripe_events as e
    where e.payment_intent_id = p_payment_intent_id and e.outcome = 'applied';

    if v_group_id is not null then
        select g.* into v_group
        from public.order_groups as g
        where g.id = v_group_id
        for update;
        if v_group.refunded_amount = v_back then
            return;
        end if;

        perform o.id
        from public.orders as o
        where o.order_group_id = v_group_id
        order by o.id
        for update;

        -- The group first: its orders follow it, and their trigger looks.
        update public.order_groups as g
        set
            refunded_amount = v_back,
            status = case when v_back = g.total_amount then 'refunded' else 'paid' end
        where g.id = v_group_id;

        if v_back = v_group.total_amount then
            update public.orders as o
            set status = 'refunded'
            where o.order_group_id = v_group_id and o.status <> 'refunded';
        elsif v_group.status = 'refunded' then
            update public.orders as o
            set status = c.from_status
            from (
                select distinct on (c.order_id)
                    c.order_id,
                    c.from_status,
                    c.changed_by
                from public.order_status_changes as c
                where c.order_group_id = v_group_id and c.order_id is not null
                order by c.order_id, c.id desc
            ) as c
            where o.id = c.order_id and o.status = 'refunded' and c.changed_by = 'record_refund';
        end if;

        if not exists (
            select 1
            from public.order_groups as g
            where
                g.id = v_group_id
                and g.refunded_amount = v_back
                and (g.status = 'refunded') = (v_back = g.total_amount)
                and (
                    g.status <> 'refunded' or not exists (
                        select 1
                        from public.orders as o
                        where o.order_group_id = g.id and o.status <> 'refunded'
                    )
                )
        ) then
            raise exception 'order group % is not written as its refunds are', v_group_id
                using
                    errcode = 'data_corrupted',
                    hint = 'a trigger or a rule on order_groups or orders changes its rows';
        end if;
        return;
    end if;

    -- Locked, so that an operator's word comes either before this or after it.
    v_cases := array(
        select x.id
        from payments.exceptions as x
        where
            x.payment_intent_id = p_payment_intent_id
            and x.reason not in ('foreign_account', 'event_collision')
            and num_nonnulls(x.refund_id, x.dispute_id) = 0
            -- A session's money may have paid under another payment intent: it is that payment's.
            and not exists (
                select 1
                from payments.stripe_events as e
                where e.checkout_session_id = x.checkout_session_id and e.outcome = 'applied'
            )
        order by x.id
        for update of x
    );
    v_now := clock_timestamp();
    update payments.exceptions as x
    set
        status = 'resolved',
        resolution = 'refunded',
        resolved_by = 'stripe',
        resolved_at = v_now,
        note = 'all of this payment went back: ' || v_refunds
    where
        x.id = any(v_cases)
        and x.status = 'open'
        and x.details -> 'received' ->> 'amount_minor' = v_back_minor::pg_catalog.text
        and v_back_minor > 0;

    update payments.exceptions as x
    set
        status = 'open',
        resolution = null,
        resolved_by = null,
        resolved_at = null,
        note = null,
        details = x.details || jsonb_build_object(
            'reopened',
            coalesce(x.details -> 'reopened', '[]'::pg_catalog.jsonb) || jsonb_build_object(
                'resolution', x.resolution,
                'resolved_by', x.resolved_by,
                'resolved_at', x.resolved_at,
                'note', x.note,
                'reopened_by', 'stripe',
                'reopened_at', v_now,
                'reopened_note', 'a refund of this payment has failed'
            )
        )
    where
        x.id = any(v_cases)
        and x.resolution = 'refunded'
        and x.resolved_by = 'stripe'
        and x.details -> 'received' ->> 'amount_minor' <> v_back_minor::pg_catalog.text;
end;
$$;
comment on function payments.settle_refunds(text) is
    'Brings a payment''s order group, or its exceptions, to what follows from its refunds.';
revoke execute on function payments.settle_refunds(text) from public, anon, authenticated, service_role;

-- Judges what was recorded of a payment before it came.
-- Called by: payments.reconcile(), once the payment is applied or kept as an exception, for a payment that has refunds or
-- disputes. Returns: nothing. Locks: as payments.settle_refunds(); the exceptions of what does not fit.
create or replace function payments.settle_payment(p_event payments.stripe_events, p_has_paid boolean)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_group_id constant pg_catalog.uuid := case when p_has_paid then p_event.order_group_id end;
    v_payment constant pg_catalog.jsonb := jsonb_build_object(
        'amount_minor', p_event.amount_minor::pg_catalog.text, 'currency', p_event.currency
    );
    v_refund payments.refunds;
    v_dispute payments.disputes;
begin
    -- An event that names another group than the one that its payment has paid says nothing about what came back.
    if not p_has_paid and exists (
        select 1
        from payments.stripe_events as e
        where e.payment_intent_id = p_event.payment_intent_id and e.outcome = 'applied'
    ) then
        return;
    end if;

    for v_refund in
        update payments.refunds as r
        set
            order_group_id = v_group_id,
            set_aside_reason = v.reason
        from (
            select
                m.id,
                u.reason
            from payments.refunds as m
            left join payments.unfit_refunds(
                p_event.payment_intent_id, p_event.amount_minor, p_event.currency
            ) as u on m.id = u.refund_id
            where m.payment_intent_id = p_event.payment_intent_id
        ) as v
        where
            r.id = v.id
            and (r.order_group_id, r.set_aside_reason) is distinct from (v_group_id, v.reason)
        returning r.*
    loop
        if v_refund.set_aside_reason is not null then
            perform payments.set_aside_refund_or_dispute(
                v_refund.id,
                null,
                null,
                p_event.order_group_id,
                p_event.payment_intent_id,
                v_refund.set_aside_reason,
                v_payment,
                payments.describe_refund(v_refund)
            );
        else
            perform payments.close_as_recorded(v_refund.id, null);
        end if;
    end loop;

    for v_dispute in
        update payments.disputes as d
        set
            order_group_id = v_group_id,
            set_aside_reason = case when d.currency <> p_event.currency then 'currency_mismatch' end
        where
            d.payment_intent_id = p_event.payment_intent_id
            and (
                (d.order_group_id, d.set_aside_reason) is distinct from (
                    v_group_id, case when d.currency <> p_event.currency then 'currency_mismatch' end
                )
                or not exists (
                    select 1
                    from payments.exceptions as x
                    where x.dispute_id = d.id
                )
            )
        returning d.*
    loop
        perform payments.tell_dispute(v_dispute, null, p_event.order_group_id, v_payment);
    end loop;
    perform payments.settle_refunds(p_event.payment_intent_id);
end;
$$;
comment on function payments.settle_payment(payments.stripe_events, boolean) is
    'Judges the refunds and disputes that were recorded before their payment came.';
revoke execute on function payments.settle_payment(payments.stripe_events, boolean)
from public, anon, authenticated, service_role;
