-- The schema after all migrations; written by `make schema`, reviewed in diffs, never applied.

CREATE SCHEMA payments;

COMMENT ON SCHEMA payments IS 'Payment evidence: Stripe events, exceptions, currencies. Not in the Data API; reached through functions of public.';

CREATE TYPE payments.judgement AS (
	outcome text,
	reason text,
	orders integer,
	exception_id bigint,
	refunded_exception_id bigint,
	has_exceptions boolean,
	is_known boolean,
	has_refunds boolean,
	is_sent_back boolean
);

COMMENT ON TYPE payments.judgement IS 'What payments.judge() says about a payment.';

COMMENT ON COLUMN payments.judgement.orders IS 'How many orders the group has.';

COMMENT ON COLUMN payments.judgement.exception_id IS 'The exception of this event, open or closed; null where it has none.';

COMMENT ON COLUMN payments.judgement.refunded_exception_id IS 'The first exception of this payment, of another event, that was closed as refunded; null where there is none.';

COMMENT ON COLUMN payments.judgement.has_exceptions IS 'Exceptions of this event, or of another one of its session or payment intent, are kept.';

COMMENT ON COLUMN payments.judgement.is_known IS 'This payment has paid the group that it was judged with, for this very amount and currency; null counts as false.';

COMMENT ON COLUMN payments.judgement.has_refunds IS 'Refunds or disputes of this payment are recorded.';

COMMENT ON COLUMN payments.judgement.is_sent_back IS 'Stripe has sent all of this payment''s money back, and it has paid nothing: what is resolved for it keeps the reason. Null counts as false.';

CREATE TYPE payments.requested_item AS (
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

COMMENT ON TYPE payments.requested_item IS 'One item of a requested order group, with its order. An id that was not given is made up; an amount that no column could hold is null.';

CREATE FUNCTION payments.assert_pending(p_order_group_id uuid, p_status text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
    if p_status <> 'pending' then
        raise exception 'order group % is %: its totals, orders and items are frozen', p_order_group_id, p_status
            using errcode = 'check_violation',
                constraint = 'order_group_is_frozen_unless_pending';
    end if;
end;
$$;

COMMENT ON FUNCTION payments.assert_pending(p_order_group_id uuid, p_status text) IS 'Raises unless the status is pending.';

CREATE FUNCTION payments.assert_representable(p_amount numeric, p_currency text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    if exists (
        select 1
        from payments.currencies as c
        where c.code = p_currency and not payments.is_representable(p_amount, c)
    ) then
        raise exception '% cannot express %', p_currency, p_amount
            using errcode = 'check_violation',
                constraint = 'total_amount_is_money_of_its_currency';
    end if;
end;
$$;

COMMENT ON FUNCTION payments.assert_representable(p_amount numeric, p_currency text) IS 'Raises where the amount, in major units, is no whole number of the least units that Stripe charges in the currency.';

CREATE FUNCTION payments.broken_invariants() RETURNS TABLE(invariant text, subject text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    with
    settled as not materialized (
        -- Refunded groups were paid once, and keep every trace of it.
        select g.*
        from public.order_groups as g
        where g.status in ('paid', 'refunded')
    ),

    applied as not materialized (
        select e.*
        from payments.stripe_events as e
        where e.outcome = 'applied'
    ),

    commits as not materialized (
        select l.*
        from public.inventory_ledger as l
        where l.entry_type = 'order_commit'
    ),

    returns as not materialized (
        select l.*
        from public.inventory_ledger as l
        where l.entry_type = 'order_return'
    ),

    -- Few, so that nothing is counted or sorted for all the others.
    commits_of_returns as not materialized (
        select c.*
        from commits as c
        where c.order_item_id in (select r.order_item_id from returns as r)
    ),

    counting_refunds as not materialized (
        select r.*
        from payments.refunds as r
        where r.set_aside_reason is null and r.status not in ('failed', 'canceled')
    ),

    broken (invariant, subject, detail) as (

        -- Groups and their events

        select
            'paid_group_has_its_applied_event',
            'order_group ' || g.id,
            'it is ' || g.status || ', but no event has paid it'
        from settled as g
        left join applied as e on g.id = e.order_group_id
        where e.id is null

        union all
        select
            'group_is_paid_by_one_event',
            'order_group ' || e.order_group_id,
            count(*) || ' events have paid it'
        from applied as e
        group by e.order_group_id
        having count(*) > 1

        union all
        select
            'applied_event_has_paid_its_group',
            'stripe_event ' || e.id,
            'its order group ' || e.order_group_id || ' is ' || coalesce(g.status, 'missing')
        from applied as e
        left join public.order_groups as g on e.order_group_id = g.id
        where g.id is null or g.status not in ('paid', 'refunded')

        union all
        select
            'paid_group_shows_the_payment_of_its_event',
            'order_group ' || g.id,
            'its payment columns are those of no event that has paid it'
        from settled as g
        inner join applied as e on g.id = e.order_group_id
        group by g.id
        having
            not bool_or(
                (
                    g.stripe_webhook_event_id,
                    g.stripe_webhook_event_created_at,
                    g.stripe_webhook_received_at,
                    g.stripe_payment_intent_id,
                    g.stripe_checkout_session_id,
                    g.stripe_session_metadata,
                    g.paid_at
                ) is not distinct from (
                    e.id,
                    e.created_at,
                    e.received_at,
                    e.payment_intent_id,
                    e.checkout_session_id,
                    e.session_metadata,
                    e.processed_at
                )
            )

        union all
        select
            'unpaid_group_shows_no_payment',
            'order_group ' || g.id,
            'it is ' || g.status || ', but has payment columns'
        from public.order_groups as g
        where
            g.status in ('pending', 'cancelled')
            and (
                g.paid_at is not null
                or g.stripe_webhook_event_id is not null
                or g.stripe_payment_intent_id is not null
                or g.stripe_checkout_session_id is not null
            )

        union all
        select
            'twin_event_is_of_the_payment_that_paid',
            'stripe_event ' || e.id,
            'it is already_paid, but order group ' || e.order_group_id || ' was not paid by its payment'
        from payments.stripe_events as e
        left join settled as g
            on
                e.order_group_id = g.id
                and (
                    e.checkout_session_id = g.stripe_checkout_session_id
                    or e.payment_intent_id = g.stripe_payment_intent_id
                )
        where e.outcome = 'already_paid' and g.id is null

        -- Money

        union all
        select
            'payment_pays_one_group',
            'payment_intent ' || g.stripe_payment_intent_id,
            count(*) || ' order groups show it'
        from settled as g
        where g.stripe_payment_intent_id is not null
        group by g.stripe_payment_intent_id
        having count(*) > 1

        union all
        select
            'payment_pays_one_group',
            'checkout_session ' || g.stripe_checkout_session_id,
            count(*) || ' order groups show it'
        from settled as g
        where g.stripe_checkout_session_id is not null
        group by g.stripe_checkout_session_id
        having count(*) > 1

        union all
        select
            'event_amount_agrees_with_its_minor_units',
            'stripe_event ' || e.id,
            e.amount || ' ' || e.currency || ' came as ' || e.amount_minor || ' minor units'
        from payments.stripe_events as e
        left join payments.currencies as c on e.currency = c.code
        where
            c.code is null
            or e.amount_minor < 0
            or e.amount * c.minor_per_major is distinct from e.amount_minor
            or e.amount_minor % c.minor_multiple <> 0

        union all
        select
            'paid_total_is_what_was_charged',
            'order_group ' || g.id,
            'total ' || g.total_amount || ' ' || g.currency || ', event ' || e.id || ' ' || e.amount || ' '
            || e.currency
        from settled as g
        inner join payments.stripe_events as e on g.id = e.order_group_id
        where (g.total_amount, g.currency) is distinct from (e.amount, e.currency)

        union all
        select
            'paid_total_is_the_sum_of_its_orders',
            'order_group ' || g.id,
            'total ' || g.total_amount || ', orders ' || coalesce(o.total_amount::pg_catalog.text, 'missing')
        from settled as g
        left join (
            select
                p.order_group_id,
                sum(p.total_amount) as total_amount
            from public.orders as p
            group by p.order_group_id
        ) as o on g.id = o.order_group_id
        where o.total_amount is distinct from g.total_amount

        -- Orders and items

        union all
        select
            claimed.invariant,
            'order ' || o.id,
            claimed.detail
        from public.orders as o
        inner join public.order_groups as g on o.order_group_id = g.id
        cross join lateral (
            select
                'order_is_in_the_currency_of_its_order_group',
                'it is in ' || o.currency || ', order group ' || g.id || ' in ' || g.currency
            where o.currency is distinct from g.currency
            union all
            select
                'order_follows_its_group',
                'it is ' || o.status || ', order group ' || g.id || ' is ' || g.status
            where
                case g.status
                    when 'pending' then o.status <> 'pending'
                    when 'cancelled' then o.status <> 'cancelled'
                    else o.status not in ('paid', 'fulfilled', 'shipped', 'delivered', 'refunded')
                end
            union all
            select
                'order_is_paid_when_its_group_is',
                'paid_at ' || coalesce(o.paid_at::pg_catalog.text, 'missing') || ', order group '
                || coalesce(g.paid_at::pg_catalog.text, 'missing')
            where o.paid_at is distinct from g.paid_at
            union all
            select
                'orders_of_a_refunded_group_are_refunded',
                'it is ' || o.status || ', order group ' || g.id || ' is refunded'
            where g.status = 'refunded' and o.status not in ('refunded', 'pending', 'cancelled')
        ) as claimed (invariant, detail)

        -- Each order beside its items and what was taken for them, by one reading; each may be missing.
        union all
        select
            claimed.invariant,
            claimed.subject,
            claimed.detail
        from (
            select
                o.id as order_id,
                o.seller_id,
                g.id as order_group_id,
                g.status,
                g.stripe_webhook_event_id,
                i.id,
                i.product_id,
                i.quantity,
                p.seller_id as product_seller_id
            from public.orders as o
            inner join public.order_groups as g on o.order_group_id = g.id
            left join public.order_items as i on o.id = i.order_id
            left join public.products as p on i.product_id = p.id
        ) as i
        full join commits as l on i.id = l.order_item_id
        cross join lateral (
            select
                'paid_order_has_items',
                'order ' || i.order_id,
                'its order group ' || i.order_group_id || ' is ' || i.status
            where i.id is null and i.status in ('paid', 'refunded')
            union all
            select
                'item_is_sold_by_its_orders_seller',
                'order_item ' || i.id,
                'product ' || i.product_id || ' belongs to another seller than the order'
            where i.product_seller_id <> i.seller_id
            union all
            select
                'paid_item_is_committed',
                'order_item ' || i.id,
                'order group ' || i.order_group_id || ' is ' || i.status || ', but the ledger has no order_commit'
            where i.id is not null and i.status in ('paid', 'refunded') and l.id is null
            union all
            select
                'order_commit_has_a_paid_item',
                'inventory_ledger ' || l.id,
                'order item ' || coalesce(l.order_item_id::pg_catalog.text, 'missing') || ' is in a group that is '
                || coalesce(i.status, 'missing')
            where l.id is not null and (i.status in ('paid', 'refunded')) is not true
            union all
            select
                'order_commit_takes_what_was_ordered',
                'inventory_ledger ' || l.id,
                l.quantity_delta || ' of product ' || l.product_id || ' for ' || i.quantity || ' of ' || i.product_id
            where
                i.id is not null
                and l.id is not null
                and (l.product_id, l.quantity_delta) is distinct from (i.product_id, -i.quantity)
            union all
            select
                'order_commit_names_the_event_that_paid',
                'inventory_ledger ' || l.id,
                'it names ' || coalesce(l.stripe_webhook_event_id, 'no event')
            where
                l.id is not null
                and i.status in ('paid', 'refunded')
                and l.stripe_webhook_event_id is distinct from i.stripe_webhook_event_id
        ) as claimed (invariant, subject, detail)

        union all
        select
            'item_is_committed_once',
            'order_item ' || l.order_item_id,
            count(*) || ' order_commit entries'
        from commits as l
        where l.order_item_id is not null
        group by l.order_item_id
        having count(*) > 1

        union all
        select
            'order_return_follows_its_commit',
            'inventory_ledger ' || l.id,
            l.quantity_delta || ' of product ' || l.product_id || ' came back of order item '
            || coalesce(l.order_item_id::pg_catalog.text, 'missing') || ', which had not taken it'
        from returns as l
        left join commits_of_returns as c on l.order_item_id = c.order_item_id and l.product_id = c.product_id
        where c.id is null

        union all
        select
            'order_returns_are_within_the_commit',
            'order_item ' || l.order_item_id,
            l.quantity || ' came back of ' || c.quantity
        from (
            select
                r.order_item_id,
                sum(r.quantity_delta) as quantity
            from returns as r
            group by r.order_item_id
        ) as l
        inner join (
            select
                t.order_item_id,
                -sum(t.quantity_delta) as quantity
            from commits_of_returns as t
            group by t.order_item_id
        ) as c on l.order_item_id = c.order_item_id
        where l.quantity > c.quantity

        union all
        select
            'ledger_entry_moves_stock_its_own_way',
            'inventory_ledger ' || l.id,
            l.entry_type || ' of ' || l.quantity_delta
        from public.inventory_ledger as l
        where
            l.quantity_delta = 0
            or (l.entry_type = 'order_commit' and l.quantity_delta > 0)
            or (l.entry_type in ('order_return', 'receipt') and l.quantity_delta < 0)
            or (l.entry_type not in ('order_commit', 'order_return') and l.order_item_id is not null)
            or (l.entry_type <> 'order_commit' and l.stripe_webhook_event_id is not null)
            or (l.entry_type <> 'order_return' and l.stripe_refund_id is not null)

        union all
        select
            'on_hand_is_the_sum_of_the_ledger',
            'product ' || coalesce(p.id, v.product_id),
            'on hand ' || coalesce(v.on_hand::pg_catalog.text, 'missing') || ', ledger '
            || coalesce(p.moved::pg_catalog.text, 'missing')
        from (
            select
                p.id,
                l.moved
            from public.products as p
            cross join lateral (
                select coalesce(sum(m.quantity_delta), 0) as moved
                from public.inventory_ledger as m
                where m.product_id = p.id
            ) as l
        ) as p
        full join public.inventory_levels as v on p.id = v.product_id
        where p.moved is distinct from v.on_hand

        -- Exceptions

        union all
        select
            'exception_is_of_an_event_not_processed',
            'exception ' || x.id,
            'event ' || e.id || ' was processed (' || e.outcome || '), yet its ' || x.reason || ' is '
            || coalesce(x.resolution, 'open')
        from payments.exceptions as x
        inner join payments.stripe_events as e on x.stripe_event_id = e.id
        where x.reason <> 'event_collision' and x.resolution is distinct from 'reconciled'

        union all
        select
            'closed_or_collided_exception_has_its_event',
            'exception ' || x.id,
            'it is ' || coalesce(x.resolution, x.reason) || ', but event ' || x.stripe_event_id
            || ' was never processed'
        from payments.exceptions as x
        left join payments.stripe_events as e on x.stripe_event_id = e.id
        left join payments.stripe_events as twin
            on
                twin.outcome = 'applied'
                and x.resolution = 'reconciled'
                and (x.checkout_session_id = twin.checkout_session_id or x.payment_intent_id = twin.payment_intent_id)
        where
            (x.reason = 'event_collision' or x.resolution = 'reconciled')
            and num_nonnulls(x.refund_id, x.dispute_id) = 0
            and e.id is null
            and twin.id is null

        union all
        select
            'duplicate_payment_is_of_a_paid_group',
            'exception ' || x.id,
            'its order group ' || coalesce(x.order_group_id::pg_catalog.text, 'missing') || ' was never paid'
        from payments.exceptions as x
        left join settled as g on x.order_group_id = g.id
        where x.reason = 'duplicate_payment' and g.id is null

        union all
        select
            'payment_that_paid_left_no_exception_open',
            'exception ' || x.id,
            'event ' || e.id || ' of its payment has paid order group ' || e.order_group_id || ', yet its ' || x.reason
            || ' is open'
        from payments.exceptions as x
        inner join payments.stripe_events as e
            on
                e.outcome = 'applied'
                and x.order_group_id = e.order_group_id
                and (x.checkout_session_id = e.checkout_session_id or x.payment_intent_id = e.payment_intent_id)
        where
            x.status = 'open'
            and num_nonnulls(x.refund_id, x.dispute_id) = 0
            and x.last_seen_at < e.processed_at
            and not x.details ? 'reopened'  -- a person may do that

        union all
        select
            'refunded_exception_is_of_money_that_paid_nothing',
            'exception ' || x.id,
            'it is refunded, but event ' || e.id || ' of its payment has paid order group ' || e.order_group_id
        from payments.exceptions as x
        inner join payments.stripe_events as e
            on
                e.outcome = 'applied'
                and (x.checkout_session_id = e.checkout_session_id or x.payment_intent_id = e.payment_intent_id)
        where
            x.resolution = 'refunded'
            and x.reason <> 'foreign_account'
            and num_nonnulls(x.refund_id, x.dispute_id) = 0

        -- Promises

        union all
        select
            'promise_is_found_by_its_products',
            'order_item ' || i.id,
            'its order group ' || g.id || ' was promised stock, and does not name product ' || i.product_id
        from public.order_groups as g
        inner join public.order_items as i on g.id = i.order_group_id
        where g.status = 'pending' and not g.reserved_product_ids @> array[i.product_id]

        union all
        select
            'reserved_is_not_negative',
            'product ' || i.product_id,
            sum(i.quantity) || ' pieces are promised'
        from public.order_groups as g
        inner join public.order_items as i on g.id = i.order_group_id
        where g.status = 'pending' and g.reserved_product_ids is not null
        group by i.product_id
        having sum(i.quantity) < 0

        -- What was erased

        union all
        select
            'erased_metadata_are_gone',
            'order_group ' || w.order_group_id,
            'its session metadata were erased on ' || w.erased_at || ', but ' || held.by_whom || ' has some'
        from payments.metadata_erasures as w
        inner join (
            select
                g.id as order_group_id,
                'it' as by_whom
            from public.order_groups as g
            where g.stripe_session_metadata <> '{}'
            union all
            select
                e.order_group_id,
                'stripe_event ' || e.id
            from payments.stripe_events as e
            where e.session_metadata <> '{}'
            union all
            select
                t.order_group_id,
                'exception ' || x.id
            from payments.exceptions as x
            inner join payments.metadata_erasures as t
                on
                    coalesce(x.order_group_id::pg_catalog.text, x.details ->> 'named_order_group_id')
                    = t.order_group_id::pg_catalog.text
            where x.details <> payments.without_metadata(x.details, t.order_group_id)
        ) as held on w.order_group_id = held.order_group_id

        -- Money that went back

        union all
        select
            'refunds_are_within_what_was_paid',
            'order_group ' || g.id,
            sum(r.amount) || ' of ' || g.total_amount || ' goes back'
        from settled as g
        inner join counting_refunds as r on g.id = r.order_group_id
        group by g.id, g.total_amount
        having sum(r.amount) > g.total_amount

        union all
        select
            'refunded_amount_is_what_went_back',
            'order_group ' || g.id,
            'it shows ' || g.refunded_amount || ', refunds tell of ' || coalesce(r.amount, 0)
        from settled as g
        left join (
            select
                c.order_group_id,
                sum(c.amount) as amount
            from counting_refunds as c
            where c.status = 'succeeded'
            group by c.order_group_id
        ) as r on g.id = r.order_group_id
        where g.refunded_amount <> coalesce(r.amount, 0)

        union all
        select
            'group_is_refunded_when_all_is_back',
            'order_group ' || g.id,
            'it is ' || g.status || ', ' || g.refunded_amount || ' of ' || g.total_amount || ' went back'
        from settled as g
        where (g.status = 'refunded') <> (g.refunded_amount > 0 and g.refunded_amount = g.total_amount)

        union all
        select
            'money_back_is_of_the_payment_that_paid',
            m.subject,
            'its order group is ' || coalesce(m.order_group_id::pg_catalog.text, 'missing') || ', its payment has paid '
            || e.order_group_id
        from (
            select
                'refund ' || r.id as subject,
                r.order_group_id,
                r.payment_intent_id
            from payments.refunds as r
            union all
            select
                'dispute ' || d.id,
                d.order_group_id,
                d.payment_intent_id
            from payments.disputes as d
        ) as m
        inner join applied as e on m.payment_intent_id = e.payment_intent_id
        where m.order_group_id is distinct from e.order_group_id

        union all
        select
            'dispute_of_a_paid_group_has_its_exception',
            'dispute ' || d.id,
            'of order group ' || d.order_group_id || ', has none'
        from payments.disputes as d
        where
            d.order_group_id is not null
            and not exists (
                select 1
                from payments.exceptions as x
                where x.dispute_id = d.id
            )

        union all
        select
            'refund_is_in_the_currency_of_its_order_group',
            'refund ' || r.id,
            'it is in ' || r.currency || ', order group ' || g.id || ' in ' || g.currency
        from counting_refunds as r
        inner join public.order_groups as g on r.order_group_id = g.id
        where r.currency <> g.currency

        union all
        select
            'money_back_agrees_with_its_minor_units',
            m.subject,
            m.amount || ' ' || m.currency || ' came as ' || m.amount_minor || ' minor units'
        from (
            select
                'refund ' || r.id as subject,
                r.amount,
                r.currency,
                r.amount_minor
            from payments.refunds as r
            union all
            select
                'dispute ' || d.id,
                d.amount,
                d.currency,
                d.amount_minor
            from payments.disputes as d
        ) as m
        inner join payments.currencies as c on m.currency = c.code
        where m.amount * c.minor_per_major <> m.amount_minor

        union all
        select
            'refund_is_where_its_last_step_took_it',
            'refund ' || r.id,
            'it is ' || r.status || ', its last step ' || coalesce(c.to_status, 'missing')
        from payments.refunds as r
        left join lateral (
            select s.to_status
            from payments.refund_status_changes as s
            where s.refund_id = r.id
            order by s.id desc
            limit 1
        ) as c on true
        where r.status is distinct from c.to_status

        union all
        select
            'dispute_is_where_its_last_step_took_it',
            'dispute ' || d.id,
            'it is ' || d.status || ', its last step ' || coalesce(c.to_status, 'missing')
        from payments.disputes as d
        left join lateral (
            select s.to_status
            from payments.dispute_status_changes as s
            where s.dispute_id = d.id
            order by s.id desc
            limit 1
        ) as c on true
        where d.status is distinct from c.to_status

        union all
        select
            'refunded_order_has_its_step',
            'order ' || o.id,
            'it is refunded, its last step ' || coalesce(c.to_status, 'missing')
        from public.orders as o
        left join lateral (
            select s.to_status
            from public.order_status_changes as s
            where s.order_id = o.id
            order by s.id desc
            limit 1
        ) as c on true
        where o.status = 'refunded' and c.to_status is distinct from 'refunded'
    )

    select
        b.invariant,
        b.subject,
        b.detail
    from broken as b
    order by b.invariant, b.subject;
$$;

COMMENT ON FUNCTION payments.broken_invariants() IS 'The invariants of money and stock that do not hold; no row when all is well.';

CREATE FUNCTION payments.broken_invariants_of(p_since timestamp with time zone, p_until timestamp with time zone) RETURNS TABLE(invariant text, subject text, detail text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET work_mem TO '64MB'
    SET random_page_cost TO '1.1'
    SET jit TO 'off'
    AS $_$
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
$_$;

COMMENT ON FUNCTION payments.broken_invariants_of(p_since timestamp with time zone, p_until timestamp with time zone) IS 'The invariants of money and stock that do not hold around what happened in a window; no row when all is well.';

CREATE FUNCTION payments.caller() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    return coalesce(payments.calling_user(), payments.calling_role());
end;
$$;

COMMENT ON FUNCTION payments.caller() IS 'The user''s id where the call carries one, else the role.';

CREATE FUNCTION payments.calling_role() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    return coalesce(nullif(current_setting('role'), 'none'), session_user::pg_catalog.text);
end;
$$;

COMMENT ON FUNCTION payments.calling_role() IS 'The role that the session has taken on, else the one that logged in.';

CREATE FUNCTION payments.calling_user() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    return coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb ->> 'sub'
    );
end;
$$;

COMMENT ON FUNCTION payments.calling_user() IS 'The subject of the call''s token, null where there is none.';

CREATE FUNCTION payments.cancel_held_order_groups(p_order_group_ids uuid[]) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_orders integer;
begin
    perform o.id
    from public.orders as o
    where o.order_group_id = any(p_order_group_ids)
    order by o.id
    for update;

    -- The groups first: an order follows its group, and its trigger looks.
    update public.order_groups as g
    set status = 'cancelled'
    where g.id = any(p_order_group_ids);

    update public.orders as o
    set status = 'cancelled'
    where o.order_group_id = any(p_order_group_ids);
    get diagnostics v_orders = row_count;
    return v_orders;
end;
$$;

COMMENT ON FUNCTION payments.cancel_held_order_groups(p_order_group_ids uuid[]) IS 'Cancels pending order groups, whose locks the caller holds, with their orders.';

CREATE FUNCTION payments.close_as_recorded(p_refund_id text, p_dispute_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.close_as_recorded(p_refund_id text, p_dispute_id text) IS 'Closes the exception of a refund or dispute that could be recorded after all.';

CREATE FUNCTION payments.definitions() RETURNS TABLE(kind text, object text, name text, definition text)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    with own as (
        select
            o.kind,
            o.id,
            o.object,
            -- All that is here belongs to whoever owns the private schema.
            case
                when o.owner <> s.nspowner then ' owned by ' || pg_get_userbyid(o.owner)::pg_catalog.text
                else ''
            end as ownership
        from payments.own_objects() as o
        inner join pg_catalog.pg_namespace as s on s.nspname = 'payments'
        where o.kind <> 'schema'
    )

    select
        'relation' as kind,
        o.object,
        '' as name,
        case c.relkind
            when 'S' then (
                select concat_ws(
                    ' ', 'sequence', format_type(s.seqtypid, null), s.seqincrement, s.seqmin, s.seqmax, s.seqcycle
                )
                from pg_catalog.pg_sequence as s
                where s.seqrelid = c.oid
            )
            when 'v' then 'view'
            when 'r' then case c.relpersistence when 'p' then 'table' else 'table that does not outlive a crash' end
            else 'no table, view or sequence'
        end || o.ownership as definition
    from own as o
    inner join pg_catalog.pg_class as c on o.id = c.oid
    where o.kind = 'relation'
    union all
    select
        'function',
        o.object,
        '',
        pg_get_functiondef(o.id) || o.ownership
    from own as o
    inner join pg_catalog.pg_proc as p on o.id = p.oid
    where o.kind = 'function' and p.prokind in ('f', 'p')
    union all
    select
        'column',
        o.object,
        a.attname::pg_catalog.text,
        concat_ws(
            ' ',
            format_type(a.atttypid, a.atttypmod),
            case when a.attnotnull then 'not null' end,
            'generated ' || nullif(a.attgenerated::pg_catalog.text, ''),
            'identity ' || nullif(a.attidentity::pg_catalog.text, ''),
            'default ' || pg_get_expr(d.adbin, d.adrelid)
        )
    from own as o
    inner join pg_catalog.pg_class as c on o.id = c.oid and c.relkind <> 'S'
    inner join pg_catalog.pg_attribute as a on o.id = a.attrelid and a.attnum > 0 and not a.attisdropped
    left join pg_catalog.pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
    where o.kind = 'relation'
    union all
    -- PostgreSQL 18 lists `not null` here too: it is the column's.
    select
        'constraint',
        o.object,
        c.conname::pg_catalog.text,
        pg_get_constraintdef(c.oid)
    from own as o
    inner join pg_catalog.pg_constraint as c on o.id = c.conrelid and c.contype in ('c', 'f', 'p', 'u', 'x')
    where o.kind = 'relation'
    union all
    select
        'index',
        o.object,
        c.relname::pg_catalog.text,
        pg_get_indexdef(i.indexrelid) || case when i.indisvalid and i.indisready then '' else ' invalid' end
    from own as o
    inner join pg_catalog.pg_index as i on o.id = i.indrelid
    inner join pg_catalog.pg_class as c on i.indexrelid = c.oid
    where o.kind = 'relation'
    union all
    select
        'guard',
        o.object,
        t.tgname::pg_catalog.text,
        pg_get_triggerdef(t.oid) || case t.tgenabled
            when 'O' then ''
            when 'A' then ' enabled always'
            when 'R' then ' enabled in replicas only'
            else ' disabled'
        end
    from own as o
    inner join pg_catalog.pg_trigger as t on o.id = t.tgrelid and not t.tgisinternal
    where o.kind = 'relation'
    union all
    select
        'policy',
        o.object,
        p.polname::pg_catalog.text,
        concat_ws(
            ' ',
            case when p.polpermissive then 'permissive' else 'restrictive' end,
            'for ' || p.polcmd::pg_catalog.text,
            'to ' || (
                select string_agg(case r.oid when 0 then 'public' else pg_get_userbyid(r.oid)::pg_catalog.text end, ', ')
                from (
                    select x.oid
                    from unnest(p.polroles) as x (oid)
                    order by 1
                ) as r
            ),
            'using ' || pg_get_expr(p.polqual, p.polrelid),
            'with check ' || pg_get_expr(p.polwithcheck, p.polrelid)
        )
    from own as o
    inner join pg_catalog.pg_policy as p on o.id = p.polrelid
    where o.kind = 'relation'
    union all
    select
        'rule',
        o.object,
        r.rulename::pg_catalog.text,
        pg_get_ruledef(r.oid)
    from own as o
    inner join pg_catalog.pg_rewrite as r on o.id = r.ev_class
    where o.kind = 'relation';
$$;

COMMENT ON FUNCTION payments.definitions() IS 'How each object of this project is defined now, as text.';

CREATE TABLE payments.disputes (
    id text NOT NULL,
    payment_intent_id text NOT NULL,
    order_group_id uuid,
    amount_minor bigint NOT NULL,
    amount numeric NOT NULL,
    currency text NOT NULL,
    status text NOT NULL,
    reason text,
    created_at timestamp with time zone NOT NULL,
    livemode boolean NOT NULL,
    source text NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    status_changed_at timestamp with time zone NOT NULL,
    set_aside_reason text,
    CONSTRAINT disputes_amount_is_positive_check CHECK (((amount_minor > 0) AND (amount > (0)::numeric))),
    CONSTRAINT disputes_source_is_known_check CHECK ((source = ANY (ARRAY['webhook'::text, 'sweep'::text, 'replay'::text]))),
    CONSTRAINT disputes_status_is_known_check CHECK ((status = ANY ('{warning_needs_response,warning_under_review,warning_closed,needs_response,under_review,charge_refunded,prevented,lost,won}'::text[])))
);

COMMENT ON TABLE payments.disputes IS 'Each dispute of Stripe, once, with the status that it has reached.';

COMMENT ON COLUMN payments.disputes.id IS 'Stripe''s: dp_…, or du_… of old.';

COMMENT ON COLUMN payments.disputes.order_group_id IS 'The order group that the payment has paid; null while it has paid none, or where it never will.';

COMMENT ON COLUMN payments.disputes.amount_minor IS 'Minor units, as Stripe sent them.';

COMMENT ON COLUMN payments.disputes.amount IS 'Major units of `currency`.';

COMMENT ON COLUMN payments.disputes.reason IS 'Stripe''s word for why.';

COMMENT ON COLUMN payments.disputes.created_at IS 'When the dispute was opened, by Stripe''s clock.';

COMMENT ON COLUMN payments.disputes.source IS 'What brought it first: webhook, sweep or replay.';

COMMENT ON COLUMN payments.disputes.set_aside_reason IS 'Why it is another''s matter: its payment, which came later, does not fit. Null where it is the payment''s.';

CREATE FUNCTION payments.describe_dispute(p_dispute payments.disputes) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select jsonb_build_object(
        'dispute_id', p_dispute.id,
        'payment_intent_id', p_dispute.payment_intent_id,
        'amount_minor', p_dispute.amount_minor::pg_catalog.text,
        'amount', p_dispute.amount::pg_catalog.text,
        'currency', p_dispute.currency,
        'status', p_dispute.status,
        'reason', p_dispute.reason,
        'created_at', p_dispute.created_at,
        'livemode', p_dispute.livemode,
        'source', p_dispute.source
    );
$$;

COMMENT ON FUNCTION payments.describe_dispute(p_dispute payments.disputes) IS 'A dispute as evidence for a person.';

CREATE TABLE payments.stripe_events (
    id text NOT NULL,
    type text NOT NULL,
    created_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    processed_at timestamp with time zone NOT NULL,
    livemode boolean NOT NULL,
    order_group_id uuid NOT NULL,
    checkout_session_id text NOT NULL,
    payment_intent_id text,
    amount_minor bigint NOT NULL,
    amount numeric NOT NULL,
    currency text NOT NULL,
    session_metadata jsonb NOT NULL,
    source text NOT NULL,
    outcome text NOT NULL,
    account text,
    CONSTRAINT stripe_events_outcome_is_known_check CHECK ((outcome = ANY ('{applied,already_paid}'::text[]))),
    CONSTRAINT stripe_events_source_is_known_check CHECK ((source = ANY ('{webhook,sweep,replay}'::text[])))
);

COMMENT ON TABLE payments.stripe_events IS 'Every event that was processed, once. Append-only. A known id is a replay and changes nothing.';

COMMENT ON COLUMN payments.stripe_events.created_at IS 'When Stripe made the event, by Stripe''s clock; null where it did not say.';

COMMENT ON COLUMN payments.stripe_events.received_at IS 'Start of the transaction that processed it.';

COMMENT ON COLUMN payments.stripe_events.processed_at IS 'When the order group''s lock was held and the verdict fell.';

COMMENT ON COLUMN payments.stripe_events.amount_minor IS 'Minor units, as Stripe sent them.';

COMMENT ON COLUMN payments.stripe_events.amount IS 'Major units of `currency`.';

COMMENT ON COLUMN payments.stripe_events.source IS 'webhook: Stripe''s delivery; sweep: found by the sweep; replay: sent again by hand.';

COMMENT ON COLUMN payments.stripe_events.outcome IS 'applied: this event paid the group; already_paid: a twin of the event that did.';

COMMENT ON COLUMN payments.stripe_events.account IS 'The Stripe account that the event names (`account`, else `context`), one of the relay''s own; null where it names none.';

CREATE FUNCTION payments.describe_event(p_event payments.stripe_events) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select jsonb_build_object(
        'event_type', p_event.type,
        'event_created_at', p_event.created_at,
        'livemode', p_event.livemode,
        'order_group_id', p_event.order_group_id,
        'checkout_session_id', p_event.checkout_session_id,
        'payment_intent_id', p_event.payment_intent_id,
        'amount_minor', p_event.amount_minor::pg_catalog.text,
        'amount', p_event.amount::pg_catalog.text,
        'currency', p_event.currency,
        'session_metadata', p_event.session_metadata,
        'source', p_event.source,
        'account', p_event.account
    );
$$;

COMMENT ON FUNCTION payments.describe_event(p_event payments.stripe_events) IS 'A payment as evidence for a person.';

CREATE FUNCTION payments.describe_order_group(p_order_group_id uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select jsonb_build_object(
        'order_group_status', g.status,
        'currency', g.currency,
        'total_amount', g.total_amount::pg_catalog.text,
        'orders', (
            select count(*)
            from public.orders as o
            where o.order_group_id = g.id
        ),
        'orders_total', (
            select sum(o.total_amount)::pg_catalog.text
            from public.orders as o
            where o.order_group_id = g.id
        ),
        'items', (
            select count(*)
            from public.order_items as i
            where i.order_group_id = g.id
        ),
        'paid_by_event_id', g.stripe_webhook_event_id,
        'paid_by_payment_intent_id', g.stripe_payment_intent_id,
        'paid_by_checkout_session_id', g.stripe_checkout_session_id
    )
    from public.order_groups as g
    where g.id = p_order_group_id;
$$;

COMMENT ON FUNCTION payments.describe_order_group(p_order_group_id uuid) IS 'An order group as evidence for a person.';

CREATE TABLE payments.refunds (
    id text NOT NULL,
    payment_intent_id text NOT NULL,
    order_group_id uuid,
    amount_minor bigint NOT NULL,
    amount numeric NOT NULL,
    currency text NOT NULL,
    status text NOT NULL,
    reason text,
    created_at timestamp with time zone NOT NULL,
    livemode boolean NOT NULL,
    source text NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    status_changed_at timestamp with time zone NOT NULL,
    set_aside_reason text,
    CONSTRAINT refunds_amount_is_positive_check CHECK (((amount_minor > 0) AND (amount > (0)::numeric))),
    CONSTRAINT refunds_source_is_known_check CHECK ((source = ANY (ARRAY['webhook'::text, 'sweep'::text, 'replay'::text]))),
    CONSTRAINT refunds_status_is_known_check CHECK ((status = ANY ('{pending,requires_action,succeeded,failed,canceled}'::text[])))
);

COMMENT ON TABLE payments.refunds IS 'Each refund of Stripe, once, with the status that it has reached.';

COMMENT ON COLUMN payments.refunds.id IS 'Stripe''s: re_…';

COMMENT ON COLUMN payments.refunds.order_group_id IS 'The order group that the payment has paid; null while it has paid none, or where it never will.';

COMMENT ON COLUMN payments.refunds.amount_minor IS 'Minor units, as Stripe sent them.';

COMMENT ON COLUMN payments.refunds.amount IS 'Major units of `currency`.';

COMMENT ON COLUMN payments.refunds.reason IS 'Stripe''s word for why.';

COMMENT ON COLUMN payments.refunds.created_at IS 'When the refund was made, by Stripe''s clock.';

COMMENT ON COLUMN payments.refunds.source IS 'What brought it first: webhook, sweep or replay.';

COMMENT ON COLUMN payments.refunds.set_aside_reason IS 'Why it does not count: its payment, which came later, does not fit. Null where it counts.';

CREATE FUNCTION payments.describe_refund(p_refund payments.refunds) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select jsonb_build_object(
        'refund_id', p_refund.id,
        'payment_intent_id', p_refund.payment_intent_id,
        'amount_minor', p_refund.amount_minor::pg_catalog.text,
        'amount', p_refund.amount::pg_catalog.text,
        'currency', p_refund.currency,
        'status', p_refund.status,
        'reason', p_refund.reason,
        'created_at', p_refund.created_at,
        'livemode', p_refund.livemode,
        'source', p_refund.source
    );
$$;

COMMENT ON FUNCTION payments.describe_refund(p_refund payments.refunds) IS 'A refund as evidence for a person.';

CREATE FUNCTION payments.dispute_rank(p_status text) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
    return array_position(
        '{warning_needs_response, warning_under_review, warning_closed, needs_response, under_review, charge_refunded,
        prevented, lost, won}'::pg_catalog.text[],
        p_status
    );
end;
$$;

COMMENT ON FUNCTION payments.dispute_rank(p_status text) IS 'How far a dispute with this status has come.';

CREATE TABLE payments.exceptions (
    id bigint NOT NULL,
    stripe_event_id text NOT NULL,
    order_group_id uuid,
    checkout_session_id text,
    payment_intent_id text,
    reason text NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    first_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    status text DEFAULT 'open'::text NOT NULL,
    resolution text,
    resolved_by text,
    resolved_at timestamp with time zone,
    note text,
    refund_id text,
    dispute_id text,
    event_created_at timestamp with time zone,
    CONSTRAINT exceptions_attempts_is_positive_check CHECK ((attempts > 0)),
    CONSTRAINT exceptions_resolution_is_known_check CHECK ((resolution = ANY (ARRAY['refunded'::text, 'fixed_by_hand'::text, 'dismissed'::text, 'reconciled'::text]))),
    CONSTRAINT exceptions_resolved_says_how_and_by_whom_check CHECK (((status = 'resolved'::text) = ((resolution IS NOT NULL) AND (resolved_by IS NOT NULL) AND (resolved_at IS NOT NULL)))),
    CONSTRAINT exceptions_status_is_known_check CHECK ((status = ANY (ARRAY['open'::text, 'resolved'::text])))
);

COMMENT ON TABLE payments.exceptions IS 'Money that needs a person: one row per event of a payment that was rejected or names no order group, one per refund that was rejected, one per dispute.';

COMMENT ON COLUMN payments.exceptions.stripe_event_id IS 'The event; the refund''s or dispute''s own id where no event brought it.';

COMMENT ON COLUMN payments.exceptions.order_group_id IS 'What the event named; no foreign key, because it may not exist. Null where the event names none.';

COMMENT ON COLUMN payments.exceptions.attempts IS 'How often Stripe, or the sweep, has brought this event.';

COMMENT ON COLUMN payments.exceptions.details IS 'What was expected and what came, amounts as text; `named_order_group_id`: the group that the metadata of an event
    without a group named; `earlier` keeps former reasons of the same event.';

COMMENT ON COLUMN payments.exceptions.resolution IS 'refunded, fixed_by_hand, dismissed: an operator''s word, final, or Stripe''s, where resolved_by is stripe. reconciled: it was applied or recorded after all.';

COMMENT ON COLUMN payments.exceptions.refund_id IS 'The refund that is the matter; null for payments and disputes.';

COMMENT ON COLUMN payments.exceptions.dispute_id IS 'The dispute that is the matter; null for payments and refunds.';

COMMENT ON COLUMN payments.exceptions.event_created_at IS 'When Stripe made the event, by Stripe''s clock; null where it did not say.';

CREATE FUNCTION payments.exceptions_of_payment(p_event payments.stripe_events) RETURNS SETOF payments.exceptions
    LANGUAGE plpgsql STABLE ROWS 10
    SET search_path TO ''
    AS $$
begin
    return query
    select x.*
    from payments.exceptions as x
    where
        x.stripe_event_id = p_event.id
        or (
            (
                x.checkout_session_id = p_event.checkout_session_id
                or x.payment_intent_id = p_event.payment_intent_id
            )
            and (
                x.reason <> 'foreign_account'
                or x.details -> 'received' ->> 'account' = p_event.account
            )
            and num_nonnulls(x.refund_id, x.dispute_id) = 0
        );
end;
$$;

COMMENT ON FUNCTION payments.exceptions_of_payment(p_event payments.stripe_events) IS 'The exceptions of this event and of the other events of its payment.';

CREATE FUNCTION payments.find_payment(p_payment_intent_id text) RETURNS TABLE(order_group_id uuid, has_paid boolean, amount_minor bigint, currency text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.find_payment(p_payment_intent_id text) IS 'What a payment intent has brought, in minor units, and the order group that it paid or was meant for.';

CREATE FUNCTION payments.fit_refunds(p_payment_intent_id text, p_amount_minor bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.fit_refunds(p_payment_intent_id text, p_amount_minor bigint) IS 'Counts the refunds that had no room within their payment, in minor units, where another refund has failed since.';

CREATE FUNCTION payments.has_paid_another_group(p_event payments.stripe_events) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    return exists (
        select 1
        from payments.stripe_events as e
        where
            e.outcome = 'applied'
            and e.payment_intent_id = p_event.payment_intent_id
            and e.order_group_id <> p_event.order_group_id
    )
    or exists (
        select 1
        from payments.stripe_events as e
        where
            e.outcome = 'applied'
            and e.checkout_session_id = p_event.checkout_session_id
            and e.order_group_id <> p_event.order_group_id
    );
end;
$$;

COMMENT ON FUNCTION payments.has_paid_another_group(p_event payments.stripe_events) IS 'Whether this payment intent or session has paid another group.';

CREATE FUNCTION payments.has_room(p_refund payments.refunds, p_amount_minor bigint) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.has_room(p_refund payments.refunds, p_amount_minor bigint) IS 'Whether a refund is within the amount of its payment, in minor units, beside the refunds that count already.';

CREATE FUNCTION payments.is_all_back(p_event payments.stripe_events) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.is_all_back(p_event payments.stripe_events) IS 'Whether Stripe has sent all money of a payment back that has paid nothing.';

CREATE FUNCTION payments.is_normalised(p_amount_minor bigint, p_amount numeric, p_currency text) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    return exists (
        select 1
        from payments.currencies as c
        where
            c.code = p_currency
            and p_amount * c.minor_per_major = p_amount_minor
            and p_amount_minor % c.minor_multiple = 0
    );
end;
$$;

COMMENT ON FUNCTION payments.is_normalised(p_amount_minor bigint, p_amount numeric, p_currency text) IS 'Whether minor and major units agree by Stripe''s table of exponents.';

CREATE TABLE payments.currencies (
    code text NOT NULL,
    exponent smallint NOT NULL,
    minor_multiple integer DEFAULT 1 NOT NULL,
    minor_per_major integer GENERATED ALWAYS AS (
CASE exponent
    WHEN 0 THEN 1
    WHEN 2 THEN 100
    WHEN 3 THEN 1000
    ELSE NULL::integer
END) STORED NOT NULL,
    CONSTRAINT currencies_code_is_iso_check CHECK ((code ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT currencies_exponent_is_known_check CHECK ((exponent = ANY (ARRAY[0, 2, 3]))),
    CONSTRAINT currencies_minor_multiple_is_positive_check CHECK ((minor_multiple > 0))
);

COMMENT ON TABLE payments.currencies IS 'How Stripe writes amounts: https://docs.stripe.com/currencies#zero-decimal. Neither ISO 4217 nor CLDR agrees with it.';

COMMENT ON COLUMN payments.currencies.exponent IS 'Decimal places between Stripe''s minor unit and the major unit.';

COMMENT ON COLUMN payments.currencies.minor_multiple IS 'Amounts in minor units must be a multiple of this: ISK and UGX have no cents, yet Stripe counts them in hundredths.';

COMMENT ON COLUMN payments.currencies.minor_per_major IS 'Minor units in one major unit. Amounts are compared by multiplying with it, which is exact; a division may round.';

CREATE FUNCTION payments.is_representable(p_amount numeric, p_currency payments.currencies) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
    return (p_amount * p_currency.minor_per_major) % p_currency.minor_multiple = 0;
end;
$$;

COMMENT ON FUNCTION payments.is_representable(p_amount numeric, p_currency payments.currencies) IS 'Whether Stripe can charge the amount, in major units, in the currency.';

CREATE TABLE public.order_groups (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    buyer_id uuid,
    currency text NOT NULL,
    total_amount numeric NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    paid_at timestamp with time zone,
    stripe_webhook_event_id text,
    stripe_webhook_event_created_at timestamp with time zone,
    stripe_webhook_received_at timestamp with time zone,
    stripe_payment_intent_id text,
    stripe_checkout_session_id text,
    stripe_session_metadata jsonb,
    expires_at timestamp with time zone,
    awaiting_funds_since timestamp with time zone,
    awaiting_funds_session_id text,
    awaiting_funds_event_id text,
    reserved_product_ids uuid[],
    buyer_since timestamp with time zone,
    refunded_amount numeric DEFAULT 0 NOT NULL,
    CONSTRAINT order_groups_buyer_has_its_time_check CHECK (((buyer_id IS NULL) OR (buyer_since IS NOT NULL))),
    CONSTRAINT order_groups_paid_has_its_payment_check CHECK (((status <> 'paid'::text) OR ((paid_at IS NOT NULL) AND (stripe_webhook_event_id IS NOT NULL) AND (stripe_checkout_session_id IS NOT NULL)))),
    CONSTRAINT order_groups_refunded_is_all_back_check CHECK (((status = 'refunded'::text) = ((refunded_amount > (0)::numeric) AND (refunded_amount = total_amount)))),
    CONSTRAINT order_groups_status_is_known_check CHECK ((status = ANY ('{pending,paid,cancelled,refunded}'::text[]))),
    CONSTRAINT order_groups_total_amount_is_money_check CHECK (((total_amount <@ '[0,1000000000000000)'::numrange) AND (min_scale(total_amount) <= 3))),
    CONSTRAINT order_groups_total_bounds_refunded_amount_check CHECK (((refunded_amount >= (0)::numeric) AND (refunded_amount <= total_amount))),
    CONSTRAINT order_groups_unpaid_has_no_payment_check CHECK (((status = ANY ('{paid,refunded}'::text[])) OR (((num_nonnulls(paid_at, stripe_webhook_event_id, stripe_payment_intent_id, stripe_checkout_session_id))::numeric + sign(refunded_amount)) = (0)::numeric)))
);
ALTER TABLE ONLY public.order_groups ALTER COLUMN buyer_id SET (n_distinct=300);

COMMENT ON TABLE public.order_groups IS 'One checkout: one buyer pays once for one child order per seller. Frozen as soon as it is no longer pending.';

COMMENT ON COLUMN public.order_groups.buyer_id IS 'Null for a guest, or once the buyer''s account is deleted. Nobody but the buyer sees the group through the Data API.';

COMMENT ON COLUMN public.order_groups.total_amount IS 'Major units of `currency`; the sum of the child orders.';

COMMENT ON COLUMN public.order_groups.paid_at IS 'When the payment was recorded here; null until then, never changed after.';

COMMENT ON COLUMN public.order_groups.stripe_webhook_event_id IS 'The Stripe event that paid the group.';

COMMENT ON COLUMN public.order_groups.stripe_webhook_event_created_at IS 'When Stripe made that event, by Stripe''s clock.';

COMMENT ON COLUMN public.order_groups.stripe_webhook_received_at IS 'When that event reached the database.';

COMMENT ON COLUMN public.order_groups.stripe_session_metadata IS 'The metadata of the Checkout Session, as Stripe sent it.';

COMMENT ON COLUMN public.order_groups.expires_at IS 'From when on a pending group may be cancelled; null: only by hand.';

COMMENT ON COLUMN public.order_groups.awaiting_funds_since IS 'When the buyer finished a checkout whose money is under way, by Stripe''s clock: such a group does not expire.';

COMMENT ON COLUMN public.order_groups.awaiting_funds_session_id IS 'The Checkout Session whose money is under way.';

COMMENT ON COLUMN public.order_groups.awaiting_funds_event_id IS 'The Stripe event that said so.';

COMMENT ON COLUMN public.order_groups.reserved_product_ids IS 'The products of a group that was created with a promise of stock, else null. It only finds the group: the pieces are its items''.';

COMMENT ON COLUMN public.order_groups.buyer_since IS 'When the group got the buyer that it has or had: created_at, or when a guest''s group was claimed. Null: a guest''s.';

COMMENT ON COLUMN public.order_groups.refunded_amount IS 'Major units: what has gone back to the buyer of the payment that paid the group. The total where the group is refunded.';

CREATE FUNCTION payments.is_requested_group(p_group public.order_groups, p_buyer_id uuid, p_currency text, p_items payments.requested_item[], p_reserve boolean) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.is_requested_group(p_group public.order_groups, p_buyer_id uuid, p_currency text, p_items payments.requested_item[], p_reserve boolean) IS 'Whether an order group is what a request asks for.';

CREATE FUNCTION payments.is_same_event(p_known payments.stripe_events, p_event payments.stripe_events) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
    return (
        p_known.type,
        p_known.created_at,
        p_known.livemode,
        p_known.order_group_id,
        p_known.checkout_session_id,
        p_known.payment_intent_id,
        p_known.amount_minor,
        p_known.currency,
        p_known.account
    ) is not distinct from (
        p_event.type,
        p_event.created_at,
        p_event.livemode,
        p_event.order_group_id,
        p_event.checkout_session_id,
        p_event.payment_intent_id,
        p_event.amount_minor,
        p_event.currency,
        p_event.account
    );
end;
$$;

COMMENT ON FUNCTION payments.is_same_event(p_known payments.stripe_events, p_event payments.stripe_events) IS 'Replay or collision: whether a known event id came with the payload that was processed under it.';

CREATE FUNCTION payments.judge(p_event payments.stripe_events, p_unmatched_reason text, p_group public.order_groups) RETURNS payments.judgement
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_found pg_catalog.record;
    v_is_closed boolean;
    v_has_paid boolean;
    v_paid_by_it boolean;
    v_judgement payments.judgement;
begin
    select
        child.orders,
        child.are_pending,
        child.have_items,
        child.total_amount,
        c.minor_per_major,
        c.minor_multiple,
        (
            select payments.is_same_event(e, p_event)
            from payments.stripe_events as e
            where e.id = p_event.id
        ) as is_replay,  -- null: no event of this id was processed
        exists (
            select 1
            from payments.exceptions as x
            where x.stripe_event_id = p_event.id
        )
        or exists (
            select 1
            from payments.exceptions as x
            where x.checkout_session_id = p_event.checkout_session_id
        )
        or exists (
            select 1
            from payments.exceptions as x
            where x.payment_intent_id = p_event.payment_intent_id
        ) as has_exceptions,
        p_unmatched_reason is distinct from 'foreign_account' and (
            exists (
                select 1
                from payments.refunds as r
                where r.payment_intent_id = p_event.payment_intent_id
            )
            or exists (
                select 1
                from payments.disputes as d
                where d.payment_intent_id = p_event.payment_intent_id
            )
        ) as has_refunds
    into v_found
    from (
        select
            count(*)::integer as orders,
            bool_and(o.status = 'pending') as are_pending,
            bool_and(exists (
                select 1
                from public.order_items as i
                where i.order_id = o.id
            )) as have_items,
            sum(o.total_amount) as total_amount
        from public.orders as o
        where o.order_group_id = p_event.order_group_id
    ) as child
    left join payments.currencies as c on c.code = p_event.currency;

    if v_found.has_exceptions then
        -- One that was closed because its event got applied comes back as a collision.
        select
            min(x.id) filter (where x.stripe_event_id = p_event.id),
            bool_or(x.resolution <> 'reconciled') filter (where x.stripe_event_id = p_event.id),
            bool_or(x.resolution = 'reconciled') filter (where x.stripe_event_id = p_event.id),
            min(x.id) filter (where x.resolution = 'refunded')
        into
            v_judgement.exception_id,
            v_is_closed,
            v_has_paid,
            v_judgement.refunded_exception_id
        from payments.exceptions_of_payment(p_event) as x;
    end if;
    v_judgement.has_exceptions := v_found.has_exceptions;
    v_judgement.has_refunds := v_found.has_refunds;

    if p_group.status in ('paid', 'refunded') then
        v_paid_by_it := p_group.stripe_checkout_session_id = p_event.checkout_session_id
            or p_group.stripe_payment_intent_id = p_event.payment_intent_id;
        v_judgement.is_known := v_paid_by_it
            and p_group.currency = p_event.currency
            and p_group.total_amount * v_found.minor_per_major = p_event.amount_minor;
    end if;
    v_judgement.orders := v_found.orders;

    if v_found.is_replay then
        v_judgement.outcome := 'replayed';
    elsif v_is_closed then
        v_judgement.outcome := 'resolved';
        v_judgement.refunded_exception_id := null;
    elsif not v_found.is_replay then
        v_judgement.outcome := 'rejected';
        v_judgement.reason := 'event_collision';
    elsif p_unmatched_reason is not null then
        v_judgement.outcome := 'unmatched';
        v_judgement.reason := p_unmatched_reason;
    else
        -- Comparisons are in minor units, by multiplication: exact. `is distinct from`, because null must never match.
        v_judgement.reason := case
            when p_group.id is null
                then 'order_group_not_found'
            -- A group that this very payment has paid knows it, also once it is refunded.
            when (p_group.status not in ('pending', 'paid') and (p_group.status = 'refunded' and v_paid_by_it) is not true)
                or (p_group.status = 'pending' and not v_found.are_pending)
                then 'order_group_not_payable'
            when v_found.have_items is not true  -- null: there are no orders
                then 'order_group_empty'
            when p_event.amount_minor is null or p_event.amount_minor < 0 or p_event.amount is null
                then 'amount_missing'
            when v_found.minor_per_major is null
                then 'currency_unsupported'
            when p_event.amount * v_found.minor_per_major is distinct from p_event.amount_minor
                or p_event.amount_minor % v_found.minor_multiple <> 0
                then 'amount_normalization_mismatch'
            when p_group.currency is distinct from p_event.currency
                then 'currency_mismatch'
            when p_group.total_amount * v_found.minor_per_major is distinct from p_event.amount_minor
                then 'amount_mismatch'
            when p_group.total_amount is distinct from v_found.total_amount
                then 'totals_inconsistent'
            when p_group.status = 'paid' and v_paid_by_it is not true
                then 'duplicate_payment'
            -- For a pending group payments.judge_taken() tells.
            when p_group.status <> 'pending' and payments.has_paid_another_group(p_event)
                then 'payment_already_used'
        end;
        v_judgement.outcome := case
            when v_judgement.reason is not null then 'rejected'
            when p_group.status <> 'pending' then 'already_paid'
            when v_judgement.refunded_exception_id is not null then 'resolved'
            else 'applied'
        end;
    end if;

    if v_has_paid and v_found.is_replay is null and v_judgement.outcome in ('unmatched', 'rejected') then
        v_judgement.outcome := 'resolved';
        v_judgement.reason := null;
        v_judgement.refunded_exception_id := null;
    elsif v_judgement.has_refunds
        and v_judgement.outcome in ('unmatched', 'rejected', 'applied')
        and v_judgement.reason is distinct from 'event_collision'
        and payments.is_all_back(p_event)
    then
        v_judgement.outcome := 'resolved';
        v_judgement.reason := coalesce(v_judgement.reason, 'payment_refunded');
        v_judgement.refunded_exception_id := null;
        v_judgement.is_sent_back := true;
    end if;
    return v_judgement;
end;
$$;

COMMENT ON FUNCTION payments.judge(p_event payments.stripe_events, p_unmatched_reason text, p_group public.order_groups) IS 'The one judgement of a payment, for the function that acts on it and for the preview.';

CREATE FUNCTION payments.judge_order_group_request(p_buyer_id uuid, p_currency text, p_items payments.requested_item[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET random_page_cost TO '1.1'
    AS $$
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

COMMENT ON FUNCTION payments.judge_order_group_request(p_buyer_id uuid, p_currency text, p_items payments.requested_item[]) IS 'The reason why an order group cannot be created as requested.';

CREATE FUNCTION payments.judge_taken(p_event payments.stripe_events) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    if payments.has_paid_another_group(p_event) then
        return 'payment_already_used';
    elsif exists (
        select 1
        from payments.stripe_events as e
        where e.outcome = 'applied' and e.order_group_id = p_event.order_group_id
    ) then
        raise exception 'order group % is pending but an event has paid it', p_event.order_group_id
            using errcode = 'data_corrupted';
    end if;
    return null;
end;
$$;

COMMENT ON FUNCTION payments.judge_taken(p_event payments.stripe_events) IS 'Why a payment that is else good cannot be applied: it, or its group, is taken.';

CREATE FUNCTION payments.lock_order_group(p_order_group_id uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_status public.order_groups.status%type;
    v_is_ours boolean;
begin
    select
        g.status,
        g.xmin = pg_current_xact_id()::pg_catalog.xid
    into v_status, v_is_ours
    from public.order_groups as g
    where g.id = p_order_group_id
    for update;

    if v_status = 'pending' and not v_is_ours then
        update public.order_groups as g
        set status = g.status
        where g.id = p_order_group_id;
    end if;
    return v_status;
end;
$$;

COMMENT ON FUNCTION payments.lock_order_group(p_order_group_id uuid) IS 'Locks an order group for an edit and returns its status.';

CREATE FUNCTION payments.lock_order_group_of_held_child(p_order_group_id uuid) RETURNS text
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '900ms'
    AS $$
    select payments.lock_order_group(p_order_group_id);
$$;

COMMENT ON FUNCTION payments.lock_order_group_of_held_child(p_order_group_id uuid) IS 'As lock_order_group, for an edit whose row is locked already: gives up before a deadlock would look for its victim.';

CREATE FUNCTION payments.lock_payment_intent(p_payment_intent_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    perform pg_advisory_xact_lock(hashtextextended(p_payment_intent_id, 1));
end;
$$;

COMMENT ON FUNCTION payments.lock_payment_intent(p_payment_intent_id text) IS 'Has whoever records something of a payment intent wait for whoever does already.';

CREATE FUNCTION payments.malformed_field(p_orders jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $_$
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
$_$;

COMMENT ON FUNCTION payments.malformed_field(p_orders jsonb) IS 'The first field of a requested order group that cannot be read.';

CREATE FUNCTION payments.malformed_line(p_lines jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $_$
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
$_$;

COMMENT ON FUNCTION payments.malformed_line(p_lines jsonb) IS 'The first field of the lines of a return that cannot be read.';

CREATE FUNCTION payments.money_lines(p_since timestamp with time zone, p_until timestamp with time zone) RETURNS TABLE(happened_at timestamp with time zone, kind text, id text, order_group_id uuid, order_id uuid, seller_id uuid, checkout_session_id text, payment_intent_id text, livemode boolean, currency text, amount numeric, is_simulated boolean)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET work_mem TO '64MB'
    SET random_page_cost TO '1.1'
    SET jit TO 'off'
    AS $_$
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
$_$;

COMMENT ON FUNCTION payments.money_lines(p_since timestamp with time zone, p_until timestamp with time zone) IS 'What came, whose part it is, and what went back in a window, line by line, by Stripe''s time. Amounts in major units.';

CREATE FUNCTION payments.named_order_group(p_session_metadata jsonb) RETURNS uuid
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $_$
declare
    -- Around it may stand what the relay takes for white space, a tab for instance.
    v_digits pg_catalog.text := replace(
        regexp_replace(p_session_metadata ->> 'order_group_id', '^\s+|\s+$', '', 'g'), '-', ''
    );
begin
    return case when v_digits ~* '^[0-9a-f]{32}$' then v_digits::pg_catalog.uuid end;
end;
$_$;

COMMENT ON FUNCTION payments.named_order_group(p_session_metadata jsonb) IS 'The order group that a session''s metadata name.';

CREATE FUNCTION payments.no_verdict(p_payment jsonb, p_outcome text, p_sqlstate text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
    return payments.verdict(null, p_payment ->> 'p_stripe_event_id', p_outcome) || jsonb_build_object(
        'order_group_id', p_payment ->> 'p_order_group_id',
        'sqlstate', p_sqlstate
    );
end;
$$;

COMMENT ON FUNCTION payments.no_verdict(p_payment jsonb, p_outcome text, p_sqlstate text) IS 'The answer for a payment of an array that got no verdict, with the SQLSTATE that says why.';

CREATE FUNCTION payments.normalise_event(p_order_group_id uuid, p_stripe_event_id text, p_stripe_event_type text, p_stripe_event_created timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_session_metadata jsonb, p_source text, p_unmatched_reason text, p_account text) RETURNS payments.stripe_events
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    -- Stripe's ids and types have 255 characters at most, its metadata 50 keys of 40 and values of 500 characters. What is
    -- kept is read by people and by their tools: https://docs.stripe.com/api/metadata
    v_longest constant integer := 255;
    v_most_metadata constant integer := 65536;  -- bytes
    v_event payments.stripe_events;
begin
    v_event.id := nullif(btrim(p_stripe_event_id), '');
    v_event.type := nullif(btrim(p_stripe_event_type), '');
    v_event.created_at := p_stripe_event_created;
    v_event.received_at := now();
    v_event.livemode := p_livemode;
    v_event.order_group_id := p_order_group_id;
    v_event.checkout_session_id := nullif(btrim(p_checkout_session_id), '');
    v_event.payment_intent_id := nullif(btrim(p_payment_intent_id), '');
    v_event.amount_minor := p_amount_minor;
    v_event.amount := case when p_amount not in ('NaN', 'Infinity', '-Infinity') then p_amount end;
    v_event.currency := nullif(upper(btrim(p_currency)), '');
    v_event.session_metadata := coalesce(p_session_metadata, '{}'::pg_catalog.jsonb);
    v_event.source := p_source;
    v_event.account := nullif(btrim(p_account), '');

    if v_event.id is null or v_event.type is null or v_event.livemode is null or v_event.checkout_session_id is null then
        raise exception 'event id, event type, livemode and checkout session id are required'
            using errcode = 'invalid_parameter_value';
    elsif greatest(
        length(v_event.id),
        length(v_event.type),
        length(v_event.checkout_session_id),
        length(v_event.payment_intent_id),
        length(v_event.account),
        length(v_event.amount::pg_catalog.text)
    ) > v_longest then
        raise exception 'ids, the event type and the amount have % characters at most', v_longest
            using errcode = 'invalid_parameter_value';
    elsif length(v_event.currency) > 3 then
        raise exception 'p_currency has 3 letters at most'
            using errcode = 'invalid_parameter_value';
    elsif octet_length(v_event.session_metadata::pg_catalog.text) > v_most_metadata then
        raise exception 'p_session_metadata has % bytes at most', v_most_metadata
            using errcode = 'invalid_parameter_value';
    elsif v_event.created_at not between '2000-01-01 00:00:00+00' and '2100-01-01 00:00:00+00' then
        raise exception 'p_stripe_event_created must lie between the years 2000 and 2100'
            using errcode = 'invalid_parameter_value';
    elsif p_source is null or p_source not in ('webhook', 'sweep', 'replay') then
        raise exception 'p_source must be webhook, sweep or replay, not %', p_source
            using errcode = 'invalid_parameter_value';
    elsif (p_order_group_id is null) <> (p_unmatched_reason is not null) then
        raise exception 'either an order group or the reason why there is none is required'
            using errcode = 'invalid_parameter_value';
    elsif p_unmatched_reason is not null then
        if not exists (
            select 1
            from payments.reasons as r
            where r.reason = p_unmatched_reason and r.outcome = 'unmatched'
        ) then
            raise exception 'p_unmatched_reason % is not known', p_unmatched_reason
                using errcode = 'invalid_parameter_value';
        end if;
    end if;
    return v_event;
end;
$$;

COMMENT ON FUNCTION payments.normalise_event(p_order_group_id uuid, p_stripe_event_id text, p_stripe_event_type text, p_stripe_event_created timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_session_metadata jsonb, p_source text, p_unmatched_reason text, p_account text) IS 'The parameters of reconcile_order_group_payment as an event. Amounts in minor and in major units.';

CREATE FUNCTION payments.normalise_refund(p_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text, p_livemode boolean, p_source text, p_stripe_event_id text) RETURNS payments.refunds
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_longest constant integer := 255;
    v_refund payments.refunds;
begin
    v_refund.id := nullif(btrim(p_id), '');
    v_refund.payment_intent_id := nullif(btrim(p_payment_intent_id), '');
    v_refund.amount_minor := p_amount_minor;
    v_refund.amount := case when p_amount not in ('NaN', 'Infinity', '-Infinity') then p_amount end;
    v_refund.currency := nullif(upper(btrim(p_currency)), '');
    v_refund.status := p_status;
    v_refund.reason := nullif(btrim(p_reason), '');
    v_refund.created_at := p_created;
    v_refund.livemode := p_livemode;
    v_refund.source := p_source;

    if num_nulls(
        v_refund.id,
        v_refund.payment_intent_id,
        v_refund.amount_minor,
        v_refund.currency,
        v_refund.status,
        v_refund.created_at,
        v_refund.livemode
    ) > 0 then
        raise exception 'id, payment intent, amount in minor units, currency, status, creation and livemode are required'
            using errcode = 'invalid_parameter_value';
    elsif v_refund.amount_minor <= 0 then
        raise exception 'p_amount_minor must be positive, not %', v_refund.amount_minor
            using errcode = 'invalid_parameter_value';
    elsif greatest(
        length(v_refund.id),
        length(v_refund.payment_intent_id),
        length(v_refund.reason),
        length(v_refund.amount::pg_catalog.text),
        length(p_stripe_event_id)
    ) > v_longest then
        raise exception 'ids, the reason and the amount have % characters at most', v_longest
            using errcode = 'invalid_parameter_value';
    elsif length(v_refund.currency) > 3 then
        raise exception 'p_currency has 3 letters at most'
            using errcode = 'invalid_parameter_value';
    elsif v_refund.created_at not between '2000-01-01 00:00:00+00' and '2100-01-01 00:00:00+00' then
        raise exception 'p_created must lie between the years 2000 and 2100'
            using errcode = 'invalid_parameter_value';
    elsif p_source is null or p_source not in ('webhook', 'sweep', 'replay') then
        raise exception 'p_source must be webhook, sweep or replay, not %', p_source
            using errcode = 'invalid_parameter_value';
    end if;
    return v_refund;
end;
$$;

COMMENT ON FUNCTION payments.normalise_refund(p_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text, p_livemode boolean, p_source text, p_stripe_event_id text) IS 'The parameters of record_refund and record_dispute as a row. Amounts in minor and in major units.';

CREATE FUNCTION payments.open_doors() RETURNS TABLE(kind text, object text, role text)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $_$
    with recursive
    own as (
        select
            o.kind,
            o.id,
            o.object
        from payments.own_objects() as o
        where o.kind <> 'schema'
    ),

    theirs as materialized (
        -- Schemas of PostgreSQL itself and objects of extensions are left out.
        select
            'function' as kind,
            p.oid as id,
            n.nspname || '.' || p.proname as name,
            p.proname::pg_catalog.text as bare_name,
            p.prosecdef and p.prorettype not in (
                'pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype
            ) as lends_rights,
            case
                when p.prosqlbody is null then regexp_replace(p.prosrc, '--[^\n]*|/\*.*?\*/', '', 'g')
                else pg_get_function_sqlbody(p.oid)
            end as body,
            coalesce(array_to_string(p.proconfig, ' ') ~ '(^| )search_path=', false)
            and array_to_string(p.proconfig, ' ') !~ '\mpublic\M' as is_pinned,
            p.prosrc ~* '\mexecute\M' as builds_statements
        from pg_catalog.pg_proc as p
        inner join pg_catalog.pg_namespace as n on p.pronamespace = n.oid
        inner join pg_catalog.pg_language as l on p.prolang = l.oid
        where
            l.lanname not in ('internal', 'c')
            and n.nspname not in ('pg_catalog', 'information_schema')
            and not exists (select 1 from own as o where o.kind = 'function' and o.id = p.oid)
            and not exists (
                select 1
                from pg_catalog.pg_depend as d
                where
                    d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                    and d.objid = p.oid
                    and d.deptype = 'e'
            )
        union all
        select
            'relation',
            c.oid,
            n.nspname || '.' || c.relname,
            c.relname::pg_catalog.text,
            c.relkind <> 'v' or not exists (
                select 1
                from pg_options_to_table(c.reloptions) as o
                where o.option_name = 'security_invoker' and o.option_value::boolean
            ),
            array_to_string(f.ftoptions, ' '),
            false,
            false
        from pg_catalog.pg_class as c
        inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
        left join pg_catalog.pg_foreign_table as f on c.oid = f.ftrelid
        where
            c.relkind in ('v', 'm', 'f')
            and n.nspname not in ('pg_catalog', 'information_schema')
            and not exists (
                select 1
                from own as o
                inner join payments.expected_definitions as e on o.object = e.object
                where o.kind = 'relation' and o.id = c.oid and e.kind = 'relation'
            )
            and not exists (
                select 1
                from pg_catalog.pg_depend as d
                where
                    d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    and d.objid = c.oid
                    and d.deptype = 'e'
            )
    ),

    word as materialized (
        select distinct
            t.kind,
            t.id,
            t.is_pinned and not t.builds_statements as in_full_only,
            w.matches[1] as word
        from theirs as t
        cross join
            regexp_matches(
                t.body, '(?:"[^"]+"|[[:alpha:]_][\w$]*)(?:\s*\.\s*(?:"[^"]+"|[[:alpha:]_][\w$]*))*', 'g'
            ) as w (matches)
    ),

    mention as materialized (
        select
            w.kind,
            w.id,
            w.in_full_only,
            case
                when strpos(w.word, '"') = 0 then lower(regexp_replace(w.word, '\s', '', 'g'))
                else (
                    select string_agg(
                        case when p.matches[1] like '"%' then btrim(p.matches[1], '"') else lower(p.matches[1]) end,
                        '.' order by p.place
                    )
                    from regexp_matches(w.word, '"[^"]+"|[\w$]+', 'g') with ordinality as p (matches, place)
                )
            end as name
        from word as w
    ),

    -- A view of this project's that may be read as the reader is no door by itself, a view over it may be one.
    reference as (
        select
            r.kind,
            r.id,
            case d.refclassid
                when 'pg_catalog.pg_class'::pg_catalog.regclass then 'relation'
                else 'function'
            end as to_kind,
            d.refobjid as to_id
        from theirs as r
        inner join pg_catalog.pg_rewrite as w on r.kind = 'relation' and r.id = w.ev_class
        inner join pg_catalog.pg_depend as d
            on
                d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                and w.oid = d.objid
                and d.refclassid in (
                    'pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass
                )
                and d.refobjid <> r.id
        union
        select
            m.kind,
            m.id,
            k.kind,
            k.id
        from mention as m
        inner join (
            select
                o.kind,
                o.id,
                split_part(o.object, '(', 1) as name
            from own as o
            union all
            select
                o.kind,
                o.id,
                substring(o.object from '^public\.([^(]+)')
            from own as o
            union all
            select
                t.kind,
                t.id,
                t.name
            from theirs as t
            union all
            select
                t.kind,
                t.id,
                t.bare_name
            from theirs as t
        ) as k on m.name = k.name and (strpos(k.name, '.') > 0 or not m.in_full_only)
    ),

    reaching (kind, id) as (
        select
            r.kind,
            r.id
        from reference as r
        inner join own as o on r.to_kind = o.kind and r.to_id = o.id
        union
        select
            r.kind,
            r.id
        from reaching as a
        inner join reference as r on a.kind = r.to_kind and a.id = r.to_id
    )

    select
        t.kind,
        case t.kind
            when 'function' then t.id::pg_catalog.regprocedure::pg_catalog.text
            else t.id::pg_catalog.regclass::pg_catalog.text
        end as object,
        a.role
    from reaching as r
    inner join theirs as t on r.kind = t.kind and r.id = t.id
    cross join (values ('anon'), ('authenticated')) as a (role)
    left join pg_catalog.pg_proc as p on t.kind = 'function' and t.id = p.oid
    left join pg_catalog.pg_class as c on t.kind = 'relation' and t.id = c.oid
    where
        t.lends_rights
        and has_schema_privilege(a.role, coalesce(p.pronamespace, c.relnamespace), 'usage')
        and case t.kind
            when 'function' then has_function_privilege(a.role, t.id, 'execute')
            -- A view of public is one grant away from every client, and the Data API offers it.
            else
                c.relnamespace = 'public'::pg_catalog.regnamespace and c.relkind = 'v'
                or has_any_column_privilege(a.role, t.id, 'select, insert, update')
                or has_table_privilege(a.role, t.id, 'delete')
        end;
$_$;

COMMENT ON FUNCTION payments.open_doors() IS 'What lets clients reach the tables and functions of this project with somebody else''s rights.';

CREATE FUNCTION payments.own_objects() RETURNS TABLE(kind text, id oid, object text, owner oid, acl aclitem[])
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    with named as (
        select distinct g.object
        from payments.expected_grants as g
    ),

    relation as (
        select
            c.oid,
            c.relkind,
            c.relowner,
            c.relacl,
            c.relnamespace = 'payments'::pg_catalog.regnamespace
            or c.oid in (select to_regclass(n.object) from named as n where n.object not like '%(%') as is_own
        from pg_catalog.pg_class as c
        where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    ),

    column_sequence as (
        select
            d.objid as oid,
            t.is_own and (
                c.name is not null
                -- The table is not recorded yet: its migration is still at work.
                or not exists (
                    select 1
                    from payments.expected_definitions as e
                    where e.kind = 'relation' and e.object = d.refobjid::pg_catalog.regclass::pg_catalog.text
                )
            ) as is_own
        from pg_catalog.pg_depend as d
        inner join relation as s on d.objid = s.oid and s.relkind = 'S'
        inner join relation as t on d.refobjid = t.oid
        inner join pg_catalog.pg_attribute as a on d.refobjid = a.attrelid and d.refobjsubid = a.attnum
        left join payments.expected_definitions as c
            on
                c.kind = 'column'
                and d.refobjid::pg_catalog.regclass::pg_catalog.text = c.object
                and a.attname = c.name
        where
            d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            and d.deptype in ('a', 'i')
    )

    select
        'schema' as kind,
        n.oid,
        n.nspname::pg_catalog.text,
        n.nspowner,
        coalesce(n.nspacl, acldefault('n', n.nspowner))
    from pg_catalog.pg_namespace as n
    where n.nspname = 'payments'
    union all
    select
        'relation',
        r.oid,
        r.oid::pg_catalog.regclass::pg_catalog.text,
        r.relowner,
        coalesce(r.relacl, acldefault(case r.relkind when 'S' then 's' else 'r' end::pg_catalog."char", r.relowner))
    from relation as r
    left join column_sequence as s on r.oid = s.oid
    where coalesce(s.is_own, r.is_own)
    union all
    select
        'function',
        p.oid,
        p.oid::pg_catalog.regprocedure::pg_catalog.text,
        p.proowner,
        coalesce(p.proacl, acldefault('f', p.proowner))
    from pg_catalog.pg_proc as p
    where
        p.pronamespace = 'payments'::pg_catalog.regnamespace
        or (
            p.pronamespace = 'public'::pg_catalog.regnamespace
            and p.proname in (
                select substring(n.object from '^public\.([^(]+)\(')
                from named as n
            )
        );
$$;

COMMENT ON FUNCTION payments.own_objects() IS 'The objects of this project, whoever made them.';

CREATE FUNCTION payments.pay(p_event payments.stripe_events, p_orders integer) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_entries integer;
    v_is_as_judged boolean;
begin
    update public.order_groups as g
    set
        status = 'paid',
        paid_at = p_event.processed_at,
        stripe_webhook_event_id = p_event.id,
        stripe_webhook_event_created_at = p_event.created_at,
        stripe_webhook_received_at = p_event.received_at,
        stripe_payment_intent_id = p_event.payment_intent_id,
        stripe_checkout_session_id = p_event.checkout_session_id,
        stripe_session_metadata = p_event.session_metadata
    where g.id = p_event.order_group_id;

    perform o.id
    from public.orders as o
    where o.order_group_id = p_event.order_group_id
    order by o.id
    for update;

    update public.orders as o
    set
        status = 'paid',
        paid_at = p_event.processed_at
    where o.order_group_id = p_event.order_group_id;

    insert into public.inventory_ledger (
        product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id, created_at
    )
    select
        i.product_id,
        i.seller_id,
        i.id,
        'order_commit',
        -i.quantity,
        p_event.id,
        p_event.processed_at
    from public.order_items as i
    where i.order_group_id = p_event.order_group_id
    order by i.id;

    select
        l.entries,
        (
            g.status,
            g.paid_at,
            g.currency,
            g.total_amount,
            g.stripe_webhook_event_id,
            g.stripe_payment_intent_id,
            g.stripe_checkout_session_id,
            o.orders,
            o.total_amount,
            l.entries
        ) is not distinct from (
            'paid',
            p_event.processed_at,
            p_event.currency,
            p_event.amount,
            p_event.id,
            p_event.payment_intent_id,
            p_event.checkout_session_id,
            p_orders,
            p_event.amount,
            l.items
        )
    into
        v_entries,
        v_is_as_judged
    from public.order_groups as g
    cross join (
        select
            sum(o.total_amount) as total_amount,
            count(*) filter (where o.status = 'paid' and o.paid_at = p_event.processed_at)::integer as orders
        from public.orders as o
        where o.order_group_id = p_event.order_group_id
    ) as o
    cross join (
        select
            count(*)::integer as items,
            count(l.id)::integer as entries
        from public.order_items as i
        left join public.inventory_ledger as l
            on
                i.id = l.order_item_id
                and l.entry_type = 'order_commit'
                and l.stripe_webhook_event_id = p_event.id
                and i.product_id = l.product_id
                and i.quantity = -l.quantity_delta
        where i.order_group_id = p_event.order_group_id
    ) as l
    where g.id = p_event.order_group_id;

    if v_is_as_judged is not true then
        raise exception 'order group % is not written as it was judged', p_event.order_group_id
            using
                errcode = 'data_corrupted',
                hint = 'a trigger or a rule on order_groups, orders, order_items or inventory_ledger changes its rows';
    end if;
    return payments.verdict(p_event.order_group_id, p_event.id, 'applied', null, p_orders, v_entries);
end;
$$;

COMMENT ON FUNCTION payments.pay(p_event payments.stripe_events, p_orders integer) IS 'What a good payment changes: group, orders, ledger.';

CREATE FUNCTION payments.preview(p_payment jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_event payments.stripe_events := payments.read_event(p_payment);
    v_judgement payments.judgement;
    v_group public.order_groups;
    v_orders integer := 0;
    v_entries integer := 0;
    v_is_on_record boolean;
    v_is_resolved boolean;
begin
    -- A session that names no group any more, because its metadata were changed, may have paid one.
    if v_event.order_group_id is not null then
        select g.* into v_group
        from public.order_groups as g
        where g.id = v_event.order_group_id;
    else
        select g.* into v_group
        from public.order_groups as g
        where g.stripe_checkout_session_id = v_event.checkout_session_id;
    end if;
    v_judgement := payments.judge(v_event, p_payment ->> 'p_unmatched_reason', v_group);

    if v_judgement.is_sent_back then
        v_judgement.reason := null;
    elsif v_judgement.outcome = 'applied' then
        v_judgement.reason := payments.judge_taken(v_event);
        if v_judgement.reason is not null then
            v_judgement.outcome := 'rejected';
        else
            v_orders := v_judgement.orders;
            select count(*) into v_entries
            from public.order_items as i
            where i.order_group_id = v_event.order_group_id;
        end if;
    end if;

    select
        coalesce(bool_or(
            x.stripe_event_id = v_event.id and x.status = 'open' and x.reason = v_judgement.reason
        ), false),
        coalesce(bool_or(
            x.resolution <> 'reconciled' and (x.reason <> 'foreign_account' or x.stripe_event_id = v_event.id)
        ), false)
    into v_is_on_record, v_is_resolved
    from payments.exceptions as x
    where x.stripe_event_id = v_event.id or x.checkout_session_id = v_event.checkout_session_id;

    return payments.verdict(
        v_event.order_group_id,
        v_event.id,
        v_judgement.outcome,
        v_judgement.reason,
        v_orders,
        v_entries
    ) || jsonb_build_object(
        'is_known', coalesce(v_judgement.is_known, false),
        'is_on_record', v_is_on_record,
        'resolved', v_is_resolved
    );
end;
$$;

COMMENT ON FUNCTION payments.preview(p_payment jsonb) IS 'What reconcile_order_group_payment would answer to one payment.';

CREATE FUNCTION payments.privilege_differences() RETURNS TABLE(is_missing boolean, kind text, object text, column_name text, grantee text, privilege text, statement text)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    with own as (
        select
            o.*,
            case o.kind when 'relation' then coalesce(c.relkind, 'r') end as relkind
        from payments.own_objects() as o
        left join pg_catalog.pg_class as c on o.kind = 'relation' and o.id = c.oid
    ),

    granted as (
        select
            o.kind,
            o.object,
            '' as column_name,
            a.grantee,
            a.privilege_type,
            a.is_grantable
        from own as o
        cross join aclexplode(o.acl) as a
        union all
        select
            o.kind,
            o.object,
            c.attname::pg_catalog.text,
            a.grantee,
            a.privilege_type,
            a.is_grantable
        from own as o
        inner join pg_catalog.pg_attribute as c on o.id = c.attrelid and not c.attisdropped
        inner join payments.expected_definitions as e
            on e.kind = 'column' and o.object = e.object and c.attname = e.name
        cross join aclexplode(c.attacl) as a
        where o.kind = 'relation' and a.grantee <> o.owner
    ),

    held as (
        select distinct
            g.kind,
            g.object,
            g.column_name,
            case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee)::pg_catalog.text end as grantee,
            g.privilege_type || case
                when g.is_grantable and g.grantee <> o.owner then ' WITH GRANT OPTION'
                else ''
            end as privilege
        from granted as g
        inner join own as o on g.kind = o.kind and g.object = o.object
    ),

    expected as (
        select
            o.kind,
            e.object,
            e.column_name,
            e.grantee,
            e.privilege
        from payments.expected_grants as e
        inner join own as o on e.object = o.object
        union
        select
            o.kind,
            o.object,
            '',
            pg_get_userbyid(o.owner)::pg_catalog.text,
            a.privilege_type
        from own as o
        cross join aclexplode(acldefault(
            case o.kind
                when 'schema' then 'n'
                when 'function' then 'f'
                else case o.relkind when 'S' then 's' else 'r' end
            end::pg_catalog."char",
            o.owner
        )) as a
        where a.grantee = o.owner
    ),

    difference as (
        select
            false as is_missing,
            h.*
        from (
            select * from held
            except
            select * from expected
        ) as h
        union all
        select
            true,
            e.*
        from (
            select * from expected
            except
            select * from held
        ) as e
    )

    select
        d.is_missing,
        d.kind,
        d.object,
        d.column_name,
        d.grantee,
        d.privilege,
        format(
            '%s %s%s on %s %s %s %s%s',
            case when d.is_missing then 'grant' else 'revoke' end,
            lower(replace(d.privilege, ' WITH GRANT OPTION', '')),
            case when d.column_name <> '' then format(' (%I)', d.column_name) end,
            case
                when d.kind <> 'relation' then d.kind
                when o.relkind = 'S' then 'sequence'
                else 'table'
            end,
            d.object,
            case when d.is_missing then 'to' else 'from' end,
            case d.grantee when 'public' then 'public' else quote_ident(d.grantee) end,
            case when not d.is_missing then ' cascade' end
        ) as statement
    from difference as d
    inner join own as o on d.kind = o.kind and d.object = o.object;
$$;

COMMENT ON FUNCTION payments.privilege_differences() IS 'Privileges that differ from payments.expected_grants, each with the statement that puts it right.';

CREATE FUNCTION payments.read_event(p_payment jsonb) RETURNS payments.stripe_events
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_given pg_catalog.record;
begin
    select g.* into v_given
    from jsonb_to_record('{"p_session_metadata": {}, "p_source": "webhook"}'::pg_catalog.jsonb || p_payment) as g (
        p_order_group_id pg_catalog.uuid,
        p_stripe_event_id pg_catalog.text,
        p_stripe_event_type pg_catalog.text,
        p_stripe_event_created pg_catalog.timestamptz,
        p_livemode pg_catalog.bool,
        p_checkout_session_id pg_catalog.text,
        p_payment_intent_id pg_catalog.text,
        p_amount_minor pg_catalog.int8,
        p_amount pg_catalog.numeric,
        p_currency pg_catalog.text,
        p_session_metadata pg_catalog.jsonb,
        p_source pg_catalog.text,
        p_unmatched_reason pg_catalog.text,
        p_account pg_catalog.text
    );
    return payments.normalise_event(
        v_given.p_order_group_id,
        v_given.p_stripe_event_id,
        v_given.p_stripe_event_type,
        v_given.p_stripe_event_created,
        v_given.p_livemode,
        v_given.p_checkout_session_id,
        v_given.p_payment_intent_id,
        v_given.p_amount_minor,
        v_given.p_amount,
        v_given.p_currency,
        v_given.p_session_metadata,
        v_given.p_source,
        v_given.p_unmatched_reason,
        v_given.p_account
    );
end;
$$;

COMMENT ON FUNCTION payments.read_event(p_payment jsonb) IS 'One payment of an array, with the parameters of reconcile_order_group_payment as keys, as an event.';

CREATE FUNCTION payments.reconcile(p_event payments.stripe_events, p_unmatched_reason text) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET random_page_cost TO '1.1'
    AS $$
declare
    v_event payments.stripe_events;
    v_group public.order_groups;
    v_named_id pg_catalog.uuid;
    v_is_replay boolean;
    v_judgement payments.judgement;
    v_verdict pg_catalog.jsonb;
begin
    -- A replay is answered without a lock: it must stay cheap when Stripe sends a burst of them.
    select payments.is_same_event(e, p_event) into v_is_replay
    from payments.stripe_events as e
    where e.id = p_event.id;
    if v_is_replay then
        return payments.verdict(p_event.order_group_id, p_event.id, 'replayed');
    end if;

    -- Deliveries of one event take turns even where no group's lock makes them: the group may not exist yet, or they may
    -- name different ones. Otherwise one could open an exception for what the other is applying.
    perform pg_advisory_xact_lock(hashtextextended(p_event.id, 0));
    perform payments.lock_payment_intent(p_event.payment_intent_id);

    -- Everything below is judged on the row as it is under the lock.
    select g.* into v_group
    from public.order_groups as g
    where g.id = p_event.order_group_id
    for update;

    -- What was erased for an order group does not come back with a later event. One that has no group belongs to the one
    -- that its metadata name, whose lock makes it wait for an erasure.
    if p_event.order_group_id is null then
        v_named_id := payments.named_order_group(p_event.session_metadata);
        perform 1
        from public.order_groups as g
        where g.id = v_named_id
        for share;
    end if;
    if exists (
        select 1
        from payments.metadata_erasures as e
        where e.order_group_id = coalesce(p_event.order_group_id, v_named_id)
    ) then
        p_event.session_metadata := '{}';
    end if;
    v_judgement := payments.judge(p_event, p_unmatched_reason, v_group);

    -- Locked, so that an operator's resolution comes either before this verdict or after it; and before the event is
    -- inserted, because a rival that holds one of them may have to wait for that.
    if v_judgement.has_exceptions then
        perform x.id
        from payments.exceptions as x
        inner join payments.exceptions_of_payment(p_event) as mine on x.id = mine.id
        order by x.id
        for update of x;
        v_judgement := payments.judge(p_event, p_unmatched_reason, v_group);
    end if;

    if v_judgement.outcome in ('applied', 'already_paid') then
        v_event := p_event;
        v_event.outcome := v_judgement.outcome;
        v_event.processed_at := clock_timestamp();
        -- Column by column: the table may have columns of the shop's own, with defaults.
        insert into payments.stripe_events (
            id,
            type,
            created_at,
            received_at,
            processed_at,
            livemode,
            order_group_id,
            checkout_session_id,
            payment_intent_id,
            amount_minor,
            amount,
            currency,
            session_metadata,
            source,
            outcome,
            account
        )
        values (
            v_event.id,
            v_event.type,
            v_event.created_at,
            v_event.received_at,
            v_event.processed_at,
            v_event.livemode,
            v_event.order_group_id,
            v_event.checkout_session_id,
            v_event.payment_intent_id,
            v_event.amount_minor,
            v_event.amount,
            v_event.currency,
            v_event.session_metadata,
            v_event.source,
            v_event.outcome,
            v_event.account
        )
        on conflict do nothing;

        if found then
            if v_judgement.has_exceptions then
                update payments.exceptions as x
                set
                    status = 'resolved',
                    resolution = 'reconciled',
                    resolved_by = 'reconcile_order_group_payment',
                    resolved_at = v_event.processed_at,
                    note = case
                        when x.stripe_event_id <> v_event.id then 'event ' || v_event.id || ' of this payment was applied'
                    end
                from payments.exceptions_of_payment(v_event) as mine
                where
                    x.id = mine.id
                    and x.status = 'open'
                    and (x.stripe_event_id = v_event.id or v_event.outcome = 'applied');
            end if;
            if v_judgement.outcome = 'already_paid' then
                return payments.verdict(p_event.order_group_id, p_event.id, 'already_paid');
            end if;
            v_verdict := payments.pay(v_event, v_judgement.orders);
            if v_judgement.has_refunds then
                perform payments.settle_payment(v_event, true);
            end if;
            return v_verdict;
        end if;

        -- The payment has paid another group, perhaps only while we held this one's lock. The id cannot have been taken:
        -- deliveries of one event take turns.
        v_judgement.outcome := 'rejected';
        v_judgement.reason := payments.judge_taken(p_event);
        if v_judgement.reason is null then
            raise exception 'event % cannot be recorded', p_event.id
                using
                    errcode = 'data_corrupted',
                    hint = 'a trigger or a rule on payments.stripe_events keeps its rows back';
        end if;
    end if;

    if v_judgement.outcome = 'resolved' and v_judgement.refunded_exception_id is not null then
        return payments.set_aside_with(p_event, v_judgement.refunded_exception_id);
    elsif v_judgement.outcome in ('replayed', 'resolved') and v_judgement.is_sent_back is not true then
        return payments.verdict(p_event.order_group_id, p_event.id, v_judgement.outcome);
    end if;
    v_verdict := payments.set_aside(
        p_event,
        v_judgement.outcome,
        v_judgement.reason,
        case v_judgement.reason
            when 'event_collision' then (
                -- The event keeps its metadata itself; a copy would escape the erasure of its order group.
                select payments.describe_event(e) - 'session_metadata'
                from payments.stripe_events as e
                where e.id = p_event.id
            )
            else payments.describe_order_group(p_event.order_group_id)
        end,
        v_named_id
    );
    if v_judgement.has_refunds and v_judgement.reason <> 'event_collision' then
        perform payments.settle_payment(p_event, false);
    end if;
    if v_judgement.is_sent_back then
        return payments.verdict(p_event.order_group_id, p_event.id, 'resolved');
    end if;
    return v_verdict;
end;
$$;

COMMENT ON FUNCTION payments.reconcile(p_event payments.stripe_events, p_unmatched_reason text) IS 'Locks, judgement and consequence of one payment: what reconcile_order_group_payment does.';

CREATE FUNCTION payments.record_definitions(p_objects text[] DEFAULT NULL::text[], p_parts text[] DEFAULT '{}'::text[]) RETURNS bigint
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    with found as (
        select
            d.kind,
            d.object,
            d.name,
            d.definition
        from payments.definitions() as d
        where
            (p_objects is null or d.object = any(p_objects))
            and (
                d.name = ''
                or d.name = any(p_parts)
                or not exists (
                    select 1
                    from payments.expected_definitions as e
                    where e.kind = 'relation' and e.object = d.object
                )
                or exists (
                    select 1
                    from payments.expected_definitions as e
                    where e.kind = d.kind and e.object = d.object and e.name = d.name
                )
            )
    ),

    recorded as (
        insert into payments.expected_definitions as e (kind, object, name, definition)
        select
            f.kind,
            f.object,
            f.name,
            f.definition
        from found as f
        on conflict (kind, object, name) do update
            set definition = excluded.definition
        returning 1
    ),

    forgotten as (
        delete from payments.expected_definitions as e
        where
            (p_objects is null or e.object = any(p_objects))
            and not exists (
                select 1
                from found as f
                where f.kind = e.kind and f.object = e.object and f.name = e.name
            )
    )

    select count(*)
    from recorded;
$$;

COMMENT ON FUNCTION payments.record_definitions(p_objects text[], p_parts text[]) IS 'Makes the definitions of now the expected ones. For migrations; objects as regclass or regprocedure print them, parts by name.';

CREATE FUNCTION payments.record_dispute(p_dispute payments.disputes, p_stripe_event_id text) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET random_page_cost TO '1.1'
    AS $$
declare
    v_now pg_catalog.timestamptz;
    v_known payments.disputes;
    v_recorded payments.disputes;
    v_payment pg_catalog.record;
    v_outcome pg_catalog.text := 'replayed';
    v_reason pg_catalog.text;
    v_is_same boolean;
    v_expected pg_catalog.jsonb;
begin
    perform pg_advisory_xact_lock(hashtextextended(p_dispute.id, 0));
    perform payments.lock_payment_intent(p_dispute.payment_intent_id);

    select d.* into v_known
    from payments.disputes as d
    where d.id = p_dispute.id;
    select p.* into v_payment
    from payments.find_payment(p_dispute.payment_intent_id) as p;
    perform 1
    from public.order_groups as g
    where g.id = v_payment.order_group_id and v_payment.has_paid
    for update;

    v_expected := jsonb_build_object(
        'amount_minor', v_payment.amount_minor::pg_catalog.text, 'currency', v_payment.currency
    );
    v_is_same := (v_known.payment_intent_id, v_known.amount_minor, v_known.currency, v_known.livemode)
        = (p_dispute.payment_intent_id, p_dispute.amount_minor, p_dispute.currency, p_dispute.livemode);
    v_reason := case
        when not v_is_same
            then 'dispute_collision'
        when v_payment.currency <> p_dispute.currency
            then 'currency_mismatch'
        when not payments.is_normalised(p_dispute.amount_minor, p_dispute.amount, p_dispute.currency)
            then 'amount_normalization_mismatch'
    end;

    if v_is_same
        and v_known.set_aside_reason is null
        and payments.dispute_rank(p_dispute.status) <= payments.dispute_rank(v_known.status)
    then
        v_reason := null;
    elsif v_reason is not null then
        -- Where a person has closed the exception, there is nothing more to say.
        if payments.set_aside_refund_or_dispute(
            null,
            p_dispute.id,
            p_stripe_event_id,
            v_payment.order_group_id,
            p_dispute.payment_intent_id,
            v_reason,
            case
                when v_reason = 'dispute_collision' then payments.describe_dispute(v_known)
                else v_expected
            end,
            payments.describe_dispute(p_dispute)
        ) then
            v_outcome := 'rejected';
        else
            v_reason := null;
        end if;
    else
        v_outcome := 'recorded';
        v_now := clock_timestamp();
        insert into payments.disputes as d (
            id,
            payment_intent_id,
            order_group_id,
            amount_minor,
            amount,
            currency,
            status,
            reason,
            created_at,
            livemode,
            source,
            recorded_at,
            status_changed_at
        )
        values (
            p_dispute.id,
            p_dispute.payment_intent_id,
            case when v_payment.has_paid then v_payment.order_group_id end,
            p_dispute.amount_minor,
            p_dispute.amount,
            p_dispute.currency,
            p_dispute.status,
            p_dispute.reason,
            p_dispute.created_at,
            p_dispute.livemode,
            p_dispute.source,
            v_now,
            v_now
        )
        on conflict (id) do update
            set
                -- One that was set aside may come again with a status that it has left behind.
                status = case
                    when payments.dispute_rank(excluded.status) > payments.dispute_rank(d.status) then excluded.status
                    else d.status
                end,
                reason = coalesce(excluded.reason, d.reason),
                status_changed_at = excluded.status_changed_at,
                set_aside_reason = null
        returning d.* into v_recorded;

        if v_recorded.status is distinct from v_known.status then
            insert into payments.dispute_status_changes (
                dispute_id, from_status, to_status, changed_at, source, stripe_event_id
            )
            values (p_dispute.id, v_known.status, v_recorded.status, v_now, p_dispute.source, p_stripe_event_id);
        end if;

        perform payments.close_as_recorded(null, p_dispute.id);
        if v_payment.has_paid is not null then
            perform payments.tell_dispute(v_recorded, p_stripe_event_id, v_payment.order_group_id, v_expected);
        end if;
    end if;

    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'dispute_id', p_dispute.id,
        'status', coalesce(v_recorded.status, v_known.status),
        'payment_intent_id', p_dispute.payment_intent_id,
        'order_group_id', v_payment.order_group_id,
        'stripe_event_id', p_stripe_event_id
    );
end;
$$;

COMMENT ON FUNCTION payments.record_dispute(p_dispute payments.disputes, p_stripe_event_id text) IS 'Locks, judgement and consequence of one dispute: what public.record_dispute does.';

CREATE FUNCTION payments.record_refund(p_refund payments.refunds, p_stripe_event_id text) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET random_page_cost TO '1.1'
    AS $$
declare
    v_now pg_catalog.timestamptz;
    v_known payments.refunds;
    v_payment pg_catalog.record;
    v_outcome pg_catalog.text := 'replayed';
    v_reason pg_catalog.text;
    v_status pg_catalog.text;
    v_is_same boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended(p_refund.id, 0));
    perform payments.lock_payment_intent(p_refund.payment_intent_id);

    select r.* into v_known
    from payments.refunds as r
    where r.id = p_refund.id;
    select p.* into v_payment
    from payments.find_payment(p_refund.payment_intent_id) as p;
    perform 1
    from public.order_groups as g
    where g.id = v_payment.order_group_id and v_payment.has_paid
    for update;

    v_is_same := (v_known.payment_intent_id, v_known.amount_minor, v_known.currency, v_known.livemode)
        = (p_refund.payment_intent_id, p_refund.amount_minor, p_refund.currency, p_refund.livemode);
    v_reason := case
        when not v_is_same
            then 'refund_collision'
        when v_payment.currency <> p_refund.currency
            then 'currency_mismatch'
        when not payments.is_normalised(p_refund.amount_minor, p_refund.amount, p_refund.currency)
            then 'amount_normalization_mismatch'
        when p_refund.status not in ('failed', 'canceled') and not payments.has_room(p_refund, v_payment.amount_minor)
            then 'exceeds_payment'
    end;

    if v_is_same
        and v_known.set_aside_reason is null
        and payments.refund_rank(p_refund.status) <= payments.refund_rank(v_known.status)
    then
        v_reason := null;
    elsif v_reason is not null then
        -- Where a person has closed the exception, there is nothing more to say.
        if payments.set_aside_refund_or_dispute(
            p_refund.id,
            null,
            p_stripe_event_id,
            v_payment.order_group_id,
            p_refund.payment_intent_id,
            v_reason,
            case
                when v_reason = 'refund_collision' then payments.describe_refund(v_known)
                else jsonb_build_object(
                    'amount_minor', v_payment.amount_minor::pg_catalog.text, 'currency', v_payment.currency
                )
            end,
            payments.describe_refund(p_refund)
        ) then
            v_outcome := 'rejected';
        else
            v_reason := null;
        end if;
    else
        v_outcome := 'recorded';
        v_now := clock_timestamp();
        insert into payments.refunds as r (
            id,
            payment_intent_id,
            order_group_id,
            amount_minor,
            amount,
            currency,
            status,
            reason,
            created_at,
            livemode,
            source,
            recorded_at,
            status_changed_at
        )
        values (
            p_refund.id,
            p_refund.payment_intent_id,
            case when v_payment.has_paid then v_payment.order_group_id end,
            p_refund.amount_minor,
            p_refund.amount,
            p_refund.currency,
            p_refund.status,
            p_refund.reason,
            p_refund.created_at,
            p_refund.livemode,
            p_refund.source,
            v_now,
            v_now
        )
        on conflict (id) do update
            set
                status = excluded.status,
                reason = coalesce(excluded.reason, r.reason),
                status_changed_at = excluded.status_changed_at,
                set_aside_reason = null
        returning r.status into v_status;

        if v_status is distinct from v_known.status then
            insert into payments.refund_status_changes (
                refund_id, from_status, to_status, changed_at, source, stripe_event_id
            )
            values (p_refund.id, v_known.status, v_status, v_now, p_refund.source, p_stripe_event_id);
        end if;
        perform payments.close_as_recorded(p_refund.id, null);
        if v_status in ('failed', 'canceled') then
            perform payments.fit_refunds(p_refund.payment_intent_id, v_payment.amount_minor);
        end if;
        perform payments.settle_refunds(p_refund.payment_intent_id);
    end if;

    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'refund_id', p_refund.id,
        'status', coalesce(v_status, v_known.status),
        'payment_intent_id', p_refund.payment_intent_id,
        'order_group_id', v_payment.order_group_id,
        'stripe_event_id', p_stripe_event_id
    );
end;
$$;

COMMENT ON FUNCTION payments.record_refund(p_refund payments.refunds, p_stripe_event_id text) IS 'Locks, judgement and consequence of one refund: what public.record_refund does.';

CREATE FUNCTION payments.refund_rank(p_status text) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
    return case p_status
        when 'pending' then 0
        when 'requires_action' then 1
        when 'succeeded' then 2
        when 'failed' then 3
        when 'canceled' then 3
    end;
end;
$$;

COMMENT ON FUNCTION payments.refund_rank(p_status text) IS 'How far a refund with this status has come.';

CREATE FUNCTION payments.requested_items(p_orders jsonb) RETURNS payments.requested_item[]
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.requested_items(p_orders jsonb) IS 'The items of a requested order group, each with its order.';

CREATE FUNCTION payments.reserved_pieces(p_product_id uuid) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    SET random_page_cost TO '1.1'
    AS $$
begin
    return (
        -- Each group's items are few, and a product's many: by `filter`, nobody gets to them by the product.
        select coalesce(sum(i.quantity) filter (where i.product_id = p_product_id), 0)
        from public.order_groups as g
        inner join public.order_items as i on g.id = i.order_group_id
        where
            g.status = 'pending'
            and g.reserved_product_ids @> array[p_product_id]
            and (g.expires_at is null or g.expires_at > now() or g.awaiting_funds_since is not null)
    );
end;
$$;

COMMENT ON FUNCTION payments.reserved_pieces(p_product_id uuid) IS 'Pieces of a product that pending order groups were promised.';

CREATE FUNCTION payments.restore_privileges() RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_statement pg_catalog.text;
    v_of_the_project pg_catalog.text[];
begin
    select array_agg(format(
        'grant %s (%I) on table %s to %s%s',
        lower(a.privilege_type),
        c.attname,
        o.object,
        case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end,
        case when a.is_grantable then ' with grant option' end
    ))
    into v_of_the_project
    from payments.own_objects() as o
    inner join pg_catalog.pg_attribute as c on o.id = c.attrelid and not c.attisdropped
    cross join aclexplode(c.attacl) as a
    where
        o.kind = 'relation'
        and a.grantee <> o.owner
        and exists (
            select 1
            from payments.privilege_differences() as d
            where not d.is_missing and d.object = o.object and d.column_name = ''
        )
        and not exists (
            select 1
            from payments.expected_definitions as e
            where e.kind = 'column' and e.object = o.object and e.name = c.attname
        );

    for v_statement in
        select d.statement
        from payments.privilege_differences() as d
        where not d.is_missing
        order by d.kind, d.object, d.column_name, d.grantee, d.privilege
    loop
        execute v_statement;
        return next v_statement;
    end loop;

    for v_statement in
        select unnest(v_of_the_project)
        union all
        select d.statement
        from payments.privilege_differences() as d
        where d.is_missing
        order by 1
    loop
        execute v_statement;
        return next v_statement;
    end loop;
end;
$$;

COMMENT ON FUNCTION payments.restore_privileges() IS 'Puts every grant and revoke right again, after a restore or a careless grant. For the owner; idempotent.';

CREATE FUNCTION payments.returnable_items(p_order_group_id uuid) RETURNS TABLE(order_item_id uuid, order_id uuid, quantity bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET random_page_cost TO '1.1'
    AS $$
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

COMMENT ON FUNCTION payments.returnable_items(p_order_group_id uuid) IS 'The items of an order group, with the pieces of each that were taken from stock and have not come back.';

CREATE FUNCTION payments.schedule_expiry() RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_is_permitted pg_catalog.bool;
begin
    select has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute')
    into v_is_permitted
    from pg_catalog.pg_extension as e
    inner join pg_catalog.pg_namespace as n on n.nspname = 'cron'
    inner join pg_catalog.pg_proc as p on n.oid = p.pronamespace and p.proname = 'schedule' and p.pronargs = 3
    where e.extname = 'pg_cron';

    if not found then
        return 'pg_cron_not_installed';
    elsif not v_is_permitted then
        return 'pg_cron_not_permitted';
    end if;
    -- A job of that name is changed, not added. Words without a type: versions of pg_cron differ in that.
    execute format(
        'select cron.schedule(%L, %L, %L)', 'expire_order_groups', '* * * * *', 'select public.expire_order_groups()'
    );
    return 'scheduled';
end;
$$;

COMMENT ON FUNCTION payments.schedule_expiry() IS 'Has pg_cron, where it is installed, call expire_order_groups() each minute; says whether it does.';

CREATE FUNCTION payments.set_aside(p_event payments.stripe_events, p_outcome text, p_reason text, p_expected jsonb, p_named_order_group_id uuid DEFAULT NULL::uuid) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    -- The transaction may have begun long before it got the group's lock.
    v_now pg_catalog.timestamptz := clock_timestamp();
begin
    -- A case that was closed because its event got applied comes back as a collision.
    insert into payments.exceptions as x (
        stripe_event_id,
        order_group_id,
        checkout_session_id,
        payment_intent_id,
        reason,
        first_seen_at,
        last_seen_at,
        details,
        event_created_at
    )
    values (
        p_event.id,
        p_event.order_group_id,
        p_event.checkout_session_id,
        p_event.payment_intent_id,
        p_reason,
        v_now,
        v_now,
        jsonb_build_object('expected', p_expected, 'received', payments.describe_event(p_event))
        || case
            when p_reason = 'foreign_account' or p_named_order_group_id is not null
                then jsonb_build_object('named_order_group_id', p_named_order_group_id)
            else '{}'::pg_catalog.jsonb
        end,
        p_event.created_at
    )
    on conflict (stripe_event_id) do update
        set
            attempts = x.attempts + 1,
            last_seen_at = excluded.last_seen_at,
            order_group_id = excluded.order_group_id,
            checkout_session_id = excluded.checkout_session_id,
            payment_intent_id = excluded.payment_intent_id,
            reason = excluded.reason,
            event_created_at = excluded.event_created_at,
            details = case
                when x.reason = excluded.reason
                    and (x.details -> 'received') - 'source' = (excluded.details -> 'received') - 'source'
                    then x.details
                else excluded.details || jsonb_strip_nulls(jsonb_build_object('reopened', x.details -> 'reopened')) || jsonb_build_object(
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
            note = null;

    return payments.verdict(p_event.order_group_id, p_event.id, p_outcome, p_reason);
end;
$$;

COMMENT ON FUNCTION payments.set_aside(p_event payments.stripe_events, p_outcome text, p_reason text, p_expected jsonb, p_named_order_group_id uuid) IS 'Keeps the evidence of an event that cannot be applied: one exception per event, later attempts count it up.';

CREATE FUNCTION payments.set_aside_refund_or_dispute(p_refund_id text, p_dispute_id text, p_stripe_event_id text, p_order_group_id uuid, p_payment_intent_id text, p_reason text, p_expected jsonb, p_received jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.set_aside_refund_or_dispute(p_refund_id text, p_dispute_id text, p_stripe_event_id text, p_order_group_id uuid, p_payment_intent_id text, p_reason text, p_expected jsonb, p_received jsonb) IS 'Keeps the evidence of a refund or dispute that needs a person: one exception for each, later attempts count it up.';

CREATE FUNCTION payments.set_aside_with(p_event payments.stripe_events, p_exception_id bigint) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_closed payments.exceptions;
begin
    select x.* into v_closed
    from payments.exceptions as x
    where x.id = p_exception_id;

    perform payments.set_aside(p_event, 'rejected', v_closed.reason, null);

    update payments.exceptions as x
    set
        status = v_closed.status,
        resolution = v_closed.resolution,
        resolved_by = v_closed.resolved_by,
        resolved_at = clock_timestamp(),
        note = 'same payment as exception ' || v_closed.id
    where x.stripe_event_id = p_event.id;

    return payments.verdict(p_event.order_group_id, p_event.id, 'resolved');
end;
$$;

COMMENT ON FUNCTION payments.set_aside_with(p_event payments.stripe_events, p_exception_id bigint) IS 'Keeps an event of a payment whose case is closed, closed in the same way.';

CREATE FUNCTION payments.settle_payment(p_event payments.stripe_events, p_has_paid boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.settle_payment(p_event payments.stripe_events, p_has_paid boolean) IS 'Judges the refunds and disputes that were recorded before their payment came.';

CREATE FUNCTION payments.settle_refunds(p_payment_intent_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.settle_refunds(p_payment_intent_id text) IS 'Brings a payment''s order group, or its exceptions, to what follows from its refunds.';

CREATE FUNCTION payments.tell_dispute(p_dispute payments.disputes, p_stripe_event_id text, p_order_group_id uuid, p_payment jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    if exists (
        select 1
        from payments.exceptions as x
        where x.dispute_id = p_dispute.id and x.reason = 'dispute_collision' and x.status = 'open'
    ) then
        return;
    end if;
    perform payments.set_aside_refund_or_dispute(
        null,
        p_dispute.id,
        p_stripe_event_id,
        p_order_group_id,
        p_dispute.payment_intent_id,
        coalesce(p_dispute.set_aside_reason, 'payment_disputed'),
        p_payment,
        payments.describe_dispute(p_dispute)
    );
    if p_dispute.set_aside_reason is null
        and p_dispute.status in ('won', 'warning_closed', 'charge_refunded', 'prevented')
    then
        update payments.exceptions as x
        set
            status = 'resolved',
            resolution = 'dismissed',
            resolved_by = 'stripe',
            resolved_at = clock_timestamp(),
            note = 'the dispute ended as ' || p_dispute.status
        where x.dispute_id = p_dispute.id and x.status = 'open';
    end if;
end;
$$;

COMMENT ON FUNCTION payments.tell_dispute(p_dispute payments.disputes, p_stripe_event_id text, p_order_group_id uuid, p_payment jsonb) IS 'Keeps a dispute as an exception, open where somebody must act, closed where it ended well.';

CREATE FUNCTION payments.tg_exceptions__forget_notifications() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    delete from payments.notifications as n
    where n.exception_id = new.id;
    return null;
end;
$$;

COMMENT ON FUNCTION payments.tg_exceptions__forget_notifications() IS 'An exception that is closed or opened again is one of which nobody has been told.';

CREATE FUNCTION payments.tg_history__refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    raise exception '%.% is append-only: % is refused', tg_table_schema, tg_table_name, lower(tg_op)
        using errcode = 'insufficient_privilege',
            hint = 'Record a new row that corrects the old one.';
end;
$$;

COMMENT ON FUNCTION payments.tg_history__refuse_change() IS 'Refuses update, delete and truncate of history.';

CREATE FUNCTION payments.tg_inventory_ledger__bear_seller() RETURNS trigger
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.tg_inventory_ledger__bear_seller() IS 'Fills in the seller of a product, which every movement of its stock bears.';

CREATE FUNCTION payments.tg_order_groups__fit_currency() RETURNS trigger
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    if tg_op = 'UPDATE' and new.currency is distinct from old.currency then
        raise exception 'the currency of order group % cannot change', old.id
            using errcode = 'check_violation', constraint = 'order_group_keeps_its_currency';
    end if;
    perform payments.assert_representable(new.total_amount, new.currency);
    return null;
end;
$$;

COMMENT ON FUNCTION payments.tg_order_groups__fit_currency() IS 'Totals that the group''s currency can express; a currency for ever.';

CREATE FUNCTION payments.tg_order_groups__note_buyer() RETURNS trigger
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    new.buyer_since := new.created_at;
    return new;
end;
$$;

COMMENT ON FUNCTION payments.tg_order_groups__note_buyer() IS 'A group that is made with a buyer has had one ever since.';

CREATE FUNCTION payments.tg_order_groups__stay_settled() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_is_payment boolean;
    v_is_erasure boolean := false;
    v_is_refund boolean := false;
begin
    -- A statement of its own: who writes a column of the shop's may not read the private schema.
    if tg_op = 'UPDATE' and old.stripe_session_metadata <> '{}' and new.stripe_session_metadata = '{}' then
        v_is_erasure := exists (
            select 1
            from payments.metadata_erasures as e
            where e.order_group_id = new.id
        );
    end if;

    if tg_op = 'UPDATE' and new.refunded_amount <> old.refunded_amount then
        v_is_refund := new.refunded_amount = (
            select coalesce(sum(r.amount), 0)
            from payments.refunds as r
            where r.order_group_id = new.id and r.status = 'succeeded' and r.set_aside_reason is null
        );
    end if;

    if tg_op = 'UPDATE'
        and (
            (old.status = 'pending' and new.status = 'pending')
            or (
                (
                    new.id,
                    new.total_amount,
                    new.created_at,
                    new.expires_at,
                    new.awaiting_funds_since,
                    new.awaiting_funds_session_id,
                    new.awaiting_funds_event_id,
                    new.reserved_product_ids
                ) is not distinct from (
                    old.id,
                    old.total_amount,
                    old.created_at,
                    old.expires_at,
                    old.awaiting_funds_since,
                    old.awaiting_funds_session_id,
                    old.awaiting_funds_event_id,
                    old.reserved_product_ids
                )
                and (
                    (
                        new.buyer_since is not distinct from old.buyer_since
                        and (new.buyer_id is null or new.buyer_id is not distinct from old.buyer_id)
                    )
                    or (
                        new.status = old.status
                        and num_nulls(old.buyer_id, old.buyer_since) = 2
                        and num_nulls(new.buyer_id, new.buyer_since) = 0
                    )
                )
                and (
                    (old.status = 'pending' and new.status in ('paid', 'cancelled'))
                    or (
                        (
                            (new.status = old.status and new.refunded_amount = old.refunded_amount)
                            or (
                                old.status in ('paid', 'refunded')
                                and new.status in ('paid', 'refunded')
                                and v_is_refund
                            )
                        )
                        and (
                            new.paid_at,
                            new.stripe_webhook_event_id,
                            new.stripe_webhook_event_created_at,
                            new.stripe_webhook_received_at,
                            new.stripe_payment_intent_id,
                            new.stripe_checkout_session_id
                        ) is not distinct from (
                            old.paid_at,
                            old.stripe_webhook_event_id,
                            old.stripe_webhook_event_created_at,
                            old.stripe_webhook_received_at,
                            old.stripe_payment_intent_id,
                            old.stripe_checkout_session_id
                        )
                        and (
                            new.stripe_session_metadata is not distinct from old.stripe_session_metadata
                            or v_is_erasure
                        )
                    )
                )
            )
        )
    then
        if new.status <> old.status then
            v_is_payment := old.status = 'pending' and new.status = 'paid';
            insert into public.order_status_changes (order_group_id, from_status, to_status, changed_at, changed_by)
            values (
                new.id,
                old.status,
                new.status,
                case when v_is_payment then new.paid_at else clock_timestamp() end,
                case
                    when v_is_payment then 'reconcile_order_group_payment'
                    when old.status <> 'pending' then 'record_refund'
                    else payments.caller()
                end
            );
        end if;
        return null;
    end if;
    raise exception 'order group % is %: it cannot be changed or removed', old.id, old.status
        using errcode = 'check_violation',
            constraint = 'order_group_is_frozen_unless_pending';
end;
$$;

COMMENT ON FUNCTION payments.tg_order_groups__stay_settled() IS 'Settled order groups do not change; each step of a group is recorded.';

CREATE FUNCTION payments.tg_order_items__find_promise() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.tg_order_items__find_promise() IS 'Keeps reserved_product_ids of a group that was promised stock: it names each product of its items.';

CREATE FUNCTION payments.tg_order_items__need_pending_group() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.tg_order_items__need_pending_group() IS 'Items come and go in pending groups only, under the group''s lock.';

CREATE FUNCTION payments.tg_order_items__stay_as_sold() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.tg_order_items__stay_as_sold() IS 'Items of settled groups do not change.';

CREATE FUNCTION payments.tg_orders__need_pending_group() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    if tg_op = 'DELETE' then
        perform payments.assert_pending(
            old.order_group_id, payments.lock_order_group_of_held_child(old.order_group_id)
        );
        return old;
    end if;

    perform payments.assert_pending(new.order_group_id, payments.lock_order_group(new.order_group_id));
    select g.currency
    into new.currency
    from public.order_groups as g
    where g.id = new.order_group_id;
    if not found then
        raise exception 'there is no order group %', new.order_group_id
            using errcode = 'foreign_key_violation', constraint = 'orders_order_group_id_fkey';
    end if;
    perform payments.assert_representable(new.total_amount, new.currency);
    return new;
end;
$$;

COMMENT ON FUNCTION payments.tg_orders__need_pending_group() IS 'Orders come and go in pending groups only, under the group''s lock.';

CREATE FUNCTION payments.tg_orders__record_changes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_is_payment constant boolean := (old.status, new.status) = ('pending', 'paid');
    v_stays constant boolean :=
    (new.id, new.order_group_id, new.currency) is not distinct from (old.id, old.order_group_id, old.currency);
    v_moves_forward constant boolean := case
        when old.status = 'pending' and new.status in ('paid', 'cancelled') then (
            select g.status = new.status and g.paid_at is not distinct from new.paid_at
            from public.order_groups as g
            where g.id = old.order_group_id
        )
        when new.paid_at is distinct from old.paid_at then false
        when new.status = old.status then true
        when new.status = 'refunded' then old.status in ('paid', 'fulfilled', 'shipped', 'delivered')
        -- Back to where it was when all of the group's money went back, and only then.
        when old.status = 'refunded' then coalesce((
            select g.status = 'paid' and c.changed_by = 'record_refund' and c.from_status = new.status
            from public.order_groups as g
            inner join public.order_status_changes as c on g.id = c.order_group_id
            where g.id = old.order_group_id and c.order_id = old.id
            order by c.id desc
            limit 1
        ), false)
        else (old.status, new.status) in (
            ('paid', 'fulfilled'), ('fulfilled', 'shipped'), ('shipped', 'delivered')
        ) and (
            select g.status = 'paid'
            from public.order_groups as g
            where g.id = old.order_group_id
        )
    end;
begin
    if new.status <> old.status then
        insert into public.order_status_changes (
            order_group_id, order_id, seller_id, from_status, to_status, changed_at, changed_by
        )
        values (
            old.order_group_id,
            old.id,
            old.seller_id,
            old.status,
            new.status,
            case when v_is_payment then new.paid_at else clock_timestamp() end,
            case
                when v_is_payment then 'reconcile_order_group_payment'
                when old.status = 'refunded' then 'record_refund'
                -- All of the group's money has gone back, and its orders go along.
                when new.status = 'refunded' and exists (
                    select 1
                    from public.order_groups as g
                    where g.id = old.order_group_id and g.status = 'refunded'
                ) then 'record_refund'
                else payments.caller()
            end
        );
    end if;

    if v_stays and v_moves_forward
        and (new.seller_id, new.total_amount, new.created_at)
        is not distinct from (old.seller_id, old.total_amount, old.created_at)
    then
        return null;
    end if;

    if v_stays and not v_moves_forward then
        raise exception 'order % cannot go from % to %', old.id, old.status, new.status
            using errcode = 'check_violation', constraint = 'order_status_moves_forward';
    end if;
    perform payments.assert_pending(old.order_group_id, payments.lock_order_group_of_held_child(old.order_group_id));
    if not v_stays then
        raise exception 'order % stays in its order group, and in the group''s currency', old.id
            using errcode = 'check_violation', constraint = 'order_stays_in_its_group';
    end if;
    perform payments.assert_representable(new.total_amount, new.currency);
    return null;
end;
$$;

COMMENT ON FUNCTION payments.tg_orders__record_changes() IS 'Writes the history of orders, and refuses edits unless their group is pending.';

CREATE FUNCTION payments.tg_orders__refund_as_owner() RETURNS trigger
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    if not pg_has_role(
        current_user, (
            select c.relowner
            from pg_catalog.pg_class as c
            where c.oid = tg_relid
        ), 'usage'
    ) then
        raise exception 'order % cannot go from % to %', old.id, old.status, new.status
            using errcode = 'check_violation', constraint = 'order_status_moves_forward';
    end if;
    return null;
end;
$$;

COMMENT ON FUNCTION payments.tg_orders__refund_as_owner() IS 'Orders are refunded by functions alone.';

CREATE FUNCTION payments.tg_settled__start_pending() RETURNS trigger
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    if (tg_op = 'INSERT' or old.status = 'pending') and new.status <> 'pending' and not pg_has_role(
        current_user, (
            select c.relowner
            from pg_catalog.pg_class as c
            where c.oid = tg_relid
        ), 'usage'
    ) then
        raise exception '%.% starts as pending, and becomes % through the functions',
            tg_table_schema, tg_table_name, new.status
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end;
$$;

COMMENT ON FUNCTION payments.tg_settled__start_pending() IS 'Order groups and orders are pending until the functions say otherwise.';

CREATE FUNCTION payments.tg_stripe_events__lose_metadata_alone() RETURNS trigger
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_others pg_catalog.text[] := array(
        select a.attname::pg_catalog.text
        from pg_catalog.pg_attribute as a
        where
            a.attrelid = tg_relid
            and a.attnum > 0
            and (a.attgenerated <> '' or a.attname in ('session_metadata', 'updated_at'))
    );
begin
    if new.session_metadata = '{}'
        and (to_jsonb(new) - v_others)::pg_catalog.text = (to_jsonb(old) - v_others)::pg_catalog.text
        and exists (
            select 1
            from payments.metadata_erasures as e
            where e.order_group_id = new.order_group_id
        )
    then
        return null;
    end if;
    raise exception 'payments.stripe_events is append-only: update is refused'
        using errcode = 'insufficient_privilege',
            hint = 'public.erase_order_group_metadata() empties the session metadata.';
end;
$$;

COMMENT ON FUNCTION payments.tg_stripe_events__lose_metadata_alone() IS 'Refuses to change a recorded event; its session metadata are emptied where payments.metadata_erasures has its group.';

CREATE FUNCTION payments.unfit_refunds(p_payment_intent_id text, p_amount_minor bigint, p_currency text) RETURNS TABLE(refund_id text, reason text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.unfit_refunds(p_payment_intent_id text, p_amount_minor bigint, p_currency text) IS 'The refunds of a payment intent that do not fit a payment of this amount, in minor units, and why.';

CREATE FUNCTION payments.verdict(p_order_group_id uuid, p_event_id text, p_outcome text, p_reason text DEFAULT NULL::text, p_orders_paid integer DEFAULT 0, p_ledger_entries integer DEFAULT 0) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
    return jsonb_build_object(
        'outcome', p_outcome,
        'reason', p_reason,
        'order_group_id', p_order_group_id,
        'stripe_event_id', p_event_id,
        'orders_paid', p_orders_paid,
        'ledger_entries', p_ledger_entries
    );
end;
$$;

COMMENT ON FUNCTION payments.verdict(p_order_group_id uuid, p_event_id text, p_outcome text, p_reason text, p_orders_paid integer, p_ledger_entries integer) IS 'The answer of reconcile_order_group_payment.';

CREATE FUNCTION payments.without_metadata(p_evidence jsonb, p_order_group_id uuid) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
    case jsonb_typeof(p_evidence)
        when 'object' then
            if p_evidence ? 'session_metadata' and coalesce(
                p_evidence ->> 'order_group_id',
                payments.named_order_group(p_evidence -> 'session_metadata')::pg_catalog.text
            ) = p_order_group_id::pg_catalog.text then
                return p_evidence || '{"session_metadata": {}}';
            end if;
            return (
                select coalesce(
                    jsonb_object_agg(
                        part.name,
                        case part.name
                            when 'session_metadata' then part.said
                            else payments.without_metadata(part.said, p_order_group_id)
                        end
                    ),
                    '{}'
                )
                from jsonb_each(p_evidence) as part (name, said)
            );
        when 'array' then
            return (
                select coalesce(
                    jsonb_agg(payments.without_metadata(part.said, p_order_group_id) order by part.place),
                    '[]'
                )
                from jsonb_array_elements(p_evidence) with ordinality as part (said, place)
            );
        else
            return p_evidence;
    end case;
end;
$$;

COMMENT ON FUNCTION payments.without_metadata(p_evidence jsonb, p_order_group_id uuid) IS 'The evidence of an exception with the session metadata of this order group''s payments emptied.';

CREATE FUNCTION payments.write_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_expires_at timestamp with time zone, p_reserved_product_ids uuid[], p_items payments.requested_item[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.write_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_expires_at timestamp with time zone, p_reserved_product_ids uuid[], p_items payments.requested_item[]) IS 'Writes a requested order group, its orders and items; false where the group exists.';

CREATE FUNCTION payments.write_returns(p_order_item_ids uuid[], p_quantities bigint[], p_note text, p_refund_id text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

COMMENT ON FUNCTION payments.write_returns(p_order_item_ids uuid[], p_quantities bigint[], p_note text, p_refund_id text) IS 'Writes an order_return for each of these items, with its pieces, the reason and, where it is known, the refund.';

CREATE FUNCTION public.advance_order(p_order_id uuid, p_status text) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_status public.orders.status%type;
    v_reason pg_catalog.text;
begin
    select o.status
    into v_status
    from public.orders as o
    where
        o.id = p_order_id
        and (
            payments.calling_role() = 'service_role'
            or exists (
                select 1
                from public.seller_members as m
                where m.seller_id = o.seller_id and m.user_id::pg_catalog.text = payments.calling_user()
            )
        )
    for update;

    if not found then
        v_reason := 'order_not_found';
    elsif (v_status, p_status) in (('paid', 'fulfilled'), ('fulfilled', 'shipped'), ('shipped', 'delivered')) then
        update public.orders as o
        set status = p_status
        where o.id = p_order_id
        returning o.status into v_status;
    else
        v_reason := 'order_status_moves_forward';
    end if;
    return jsonb_build_object(
        'outcome', case when v_reason is null then 'moved' else 'rejected' end,
        'reason', v_reason,
        'order_id', p_order_id,
        'status', v_status
    );
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'the order was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;

COMMENT ON FUNCTION public.advance_order(p_order_id uuid, p_status text) IS 'Moves an order one step on, for a member of its seller: fulfilled, shipped, delivered.';

CREATE FUNCTION public.cancel_order_group(p_order_group_id uuid, p_checkout_session_id text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_status public.order_groups.status%type;
    v_awaited_session_id public.order_groups.awaiting_funds_session_id%type;
    v_session_id constant pg_catalog.text := nullif(btrim(p_checkout_session_id), '');
    v_orders_cancelled integer := 0;
    v_outcome pg_catalog.text := 'rejected';
    v_reason pg_catalog.text;
begin
    select
        g.status,
        g.awaiting_funds_session_id
    into v_status, v_awaited_session_id
    from public.order_groups as g
    where g.id = p_order_group_id
    for update;

    case
        when v_status is null then
            v_reason := 'order_group_not_found';
        when v_status = 'cancelled' then
            v_outcome := 'already_cancelled';
        when v_status <> 'pending' then
            v_reason := 'order_group_not_pending';
        when v_awaited_session_id <> v_session_id then
            v_reason := 'order_group_awaits_another_session';
        else
            v_outcome := 'cancelled';
            v_orders_cancelled := payments.cancel_held_order_groups(array[p_order_group_id]);
    end case;
    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'order_group_id', p_order_group_id,
        'orders_cancelled', v_orders_cancelled
    );
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'the order group was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;

COMMENT ON FUNCTION public.cancel_order_group(p_order_group_id uuid, p_checkout_session_id text) IS 'Cancels a pending order group with its orders; a paid one is left alone and the answer says so.';

CREATE FUNCTION public.claim_exception_notifications(p_address text, p_seconds integer DEFAULT 300) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $_$
declare
    v_most constant integer := 500;
    v_ids bigint[];
begin
    if p_address is null or p_address !~ '^[0-9a-f]{64}$' or p_seconds is null or p_seconds not between 0 and 3600 then
        raise exception 'an address is the 64 hexadecimal digits of a digest, and is claimed for 0 to 3,600 seconds'
            using errcode = 'invalid_parameter_value';
    end if;

    v_ids := array(
        select x.id
        from payments.exceptions as x
        left join payments.notifications as n on x.id = n.exception_id and n.address = p_address
        where
            x.status = 'open'
            and (n.exception_id is null or (n.sent_at is null and n.claimed_until < clock_timestamp()))
        order by x.first_seen_at, x.id
        limit v_most
    );

    if p_seconds > 0 then
        -- In one order, so that two claims wait for each other and never in a circle. Who comes second finds them taken.
        with claimed as (
            insert into payments.notifications as n (exception_id, address, claimed_until)
            select
                i.id,
                p_address,
                clock_timestamp() + make_interval(secs => p_seconds)
            from unnest(v_ids) as i (id)
            order by i.id
            on conflict (exception_id, address) do update
                set claimed_until = excluded.claimed_until
                where n.sent_at is null and n.claimed_until < clock_timestamp()
            returning n.exception_id
        )

        select coalesce(array_agg(c.exception_id), '{}')
        into v_ids
        from claimed as c;
    end if;

    return (
        select
            coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'id', x.id,
                        'reason', x.reason,
                        'order_group_id', x.order_group_id,
                        'stripe_event_id', x.stripe_event_id,
                        'first_seen_at', x.first_seen_at
                    )
                    order by x.first_seen_at, x.id
                ),
                '[]'::pg_catalog.jsonb
            )
        from payments.exceptions as x
        where x.id = any(v_ids)
    );
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'a payment exception was changed by a rival'
            using errcode = 'lock_not_available';
end;
$_$;

COMMENT ON FUNCTION public.claim_exception_notifications(p_address text, p_seconds integer) IS 'Open exceptions of which the address has not been told, taken for so many seconds; zero only looks.';

CREATE FUNCTION public.claim_order_group(p_order_group_id uuid, p_buyer_id uuid) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_status pg_catalog.text;
    v_buyer_id pg_catalog.uuid;
    v_buyer_since pg_catalog.timestamptz;
    v_outcome pg_catalog.text := 'rejected';
    v_reason pg_catalog.text;
    v_constraint pg_catalog.text;
begin
    v_status := payments.lock_order_group(p_order_group_id);
    select
        g.buyer_id,
        g.buyer_since
    into v_buyer_id, v_buyer_since
    from public.order_groups as g
    where g.id = p_order_group_id;

    case
        when v_status is null then
            v_reason := 'order_group_not_found';
        when p_buyer_id is null then
            v_reason := 'buyer_not_found';
        when v_buyer_id = p_buyer_id then
            v_outcome := 'already_claimed';
        when v_buyer_since is not null then
            v_reason := 'order_group_has_buyer';
        else
            -- The foreign key knows the buyer, also one whose account is being deleted at this moment.
            begin
                update public.order_groups as g
                set
                    buyer_id = p_buyer_id,
                    buyer_since = clock_timestamp()
                where g.id = p_order_group_id;
                v_outcome := 'claimed';
            exception
                when foreign_key_violation then
                    get stacked diagnostics v_constraint = constraint_name;
                    if v_constraint <> 'order_groups_buyer_id_fkey' then
                        raise;
                    end if;
                    v_reason := 'buyer_not_found';
            end;
    end case;
    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'order_group_id', p_order_group_id
    );
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'the order group was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;

COMMENT ON FUNCTION public.claim_order_group(p_order_group_id uuid, p_buyer_id uuid) IS 'Gives a guest''s order group to its buyer, once; a group that ever had a buyer is left alone and the answer says so.';

CREATE FUNCTION public.create_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_orders jsonb, p_expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, p_reserve boolean DEFAULT false) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $_$
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
$_$;

COMMENT ON FUNCTION public.create_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_orders jsonb, p_expires_at timestamp with time zone, p_reserve boolean) IS 'Creates a pending order group with its orders and items, or nothing. Amounts in major units; idempotent by its id.';

CREATE FUNCTION public.erase_order_group_metadata(p_order_group_id uuid, p_by text, p_note text) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_longest_name constant integer := 255;
    v_longest_note constant integer := 2000;
    v_exceptions pg_catalog.int8[];
    v_rows integer;
    v_emptied integer := 0;
begin
    if btrim(coalesce(p_by, '')) = ''
        or btrim(coalesce(p_note, '')) = ''
        or length(p_by) > v_longest_name
        or length(p_note) > v_longest_note
    then
        raise exception 'p_by must say who erases, p_note why, in up to % and % characters', v_longest_name, v_longest_note
            using errcode = 'invalid_parameter_value';
    elsif current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'metadata are erased under read committed: what a rival has just kept would be overlooked'
            using errcode = 'invalid_transaction_state';
    elsif payments.lock_order_group(p_order_group_id) is null then
        return jsonb_build_object(
            'outcome', 'rejected',
            'reason', 'order_group_not_found',
            'order_group_id', p_order_group_id,
            'emptied', 0
        );
    end if;

    insert into payments.metadata_erasures (order_group_id, erased_at, erased_by, note)
    values (p_order_group_id, clock_timestamp(), btrim(p_by), btrim(p_note))
    on conflict (order_group_id) do nothing;
    if found then
        -- The group is written even where nothing is to be emptied: a payment under a stricter isolation that waits for
        -- its lock would otherwise not know of the row above.
        update public.order_groups as g
        set stripe_session_metadata = g.stripe_session_metadata
        where g.id = p_order_group_id;
    end if;

    update public.order_groups as g
    set stripe_session_metadata = '{}'
    where g.id = p_order_group_id and g.stripe_session_metadata <> '{}';
    get diagnostics v_rows = row_count;
    v_emptied := v_emptied + v_rows;

    update payments.stripe_events as e
    set session_metadata = '{}'
    where e.order_group_id = p_order_group_id and e.session_metadata <> '{}';
    get diagnostics v_rows = row_count;
    v_emptied := v_emptied + v_rows;

    -- Of other groups' exceptions only a collision, or a former reason of the event, can tell of this group.
    v_exceptions := array(
        select x.id
        from payments.exceptions as x
        where
            (
                x.order_group_id = p_order_group_id
                or x.details ->> 'named_order_group_id' = p_order_group_id::pg_catalog.text
                or x.reason = 'event_collision'
                or x.details ? 'earlier'
            )
            and x.details <> payments.without_metadata(x.details, p_order_group_id)
        order by x.id
        for update
    );

    update payments.exceptions as x
    set details = payments.without_metadata(x.details, p_order_group_id)
    where x.id = any(v_exceptions);
    get diagnostics v_rows = row_count;
    v_emptied := v_emptied + v_rows;

    return jsonb_build_object(
        'outcome', 'erased',
        'reason', null,
        'order_group_id', p_order_group_id,
        'emptied', v_emptied
    );
end;
$$;

COMMENT ON FUNCTION public.erase_order_group_metadata(p_order_group_id uuid, p_by text, p_note text) IS 'Empties the session metadata of an order group''s payments in all places, and keeps by whom and why.';

CREATE FUNCTION public.expire_order_groups(p_limit integer DEFAULT 500) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_most constant integer := 10000;  -- a transaction of three to six seconds, well inside the Data API's 8 s
    v_now constant pg_catalog.timestamptz := clock_timestamp();
    v_held pg_catalog.uuid[];
    v_free_orders pg_catalog.uuid[];
    v_expired pg_catalog.uuid[] := '{}';
    v_left integer;
begin
    if p_limit is null or p_limit not between 0 and v_most then
        raise exception 'p_limit must lie between 0 and %', v_most
            using errcode = 'invalid_parameter_value';
    end if;

    select array_agg(due.id)
    into v_held
    from (
        select g.id
        from public.order_groups as g
        where g.status = 'pending' and g.expires_at <= v_now and g.awaiting_funds_since is null
        order by g.expires_at
        limit p_limit
        for update skip locked
    ) as due;

    if v_held is not null then
        -- An editor may hold an order without its group. Under the group's lock no order comes or goes.
        select coalesce(array_agg(free.id), '{}')
        into v_free_orders
        from (
            select o.id
            from public.orders as o
            where o.order_group_id = any(v_held)
            order by o.id
            for update skip locked
        ) as free;

        select coalesce(array_agg(h.order_group_id), '{}')
        into v_expired
        from unnest(v_held) as h (order_group_id)
        where not exists (
            select 1
            from public.orders as o
            where o.order_group_id = h.order_group_id and o.id <> all(v_free_orders)
        );
        perform payments.cancel_held_order_groups(v_expired);
    end if;

    select count(*)
    into v_left
    from public.order_groups as g
    where g.status = 'pending' and g.expires_at <= v_now and g.awaiting_funds_since is null;

    -- Two runs at once need not wait for each other: either has run now.
    update payments.last_expiry as l
    set ran_at = v_now
    where
        l.id in (
            select free.id
            from payments.last_expiry as free
            for update skip locked
        );
    return jsonb_build_object('expired', cardinality(v_expired), 'left', v_left);
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'an order group was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;

COMMENT ON FUNCTION public.expire_order_groups(p_limit integer) IS 'Cancels pending order groups whose time has passed, except those that await funds; tells how many, and how many are left.';

CREATE FUNCTION public.explain_order_group(p_order_group_id uuid) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_group public.order_groups;
    v_orders pg_catalog.jsonb;
    v_timeline pg_catalog.jsonb;
    v_open integer;
    -- Per product, the last ones: a story is no stock list.
    v_most_adjustments constant integer := 10;
begin
    select g.* into v_group
    from public.order_groups as g
    where g.id = p_order_group_id;

    with
    stock as materialized (
        -- What is missing on the shelf today, once per product.
        select
            p.product_id,
            greatest(-sum(l.quantity_delta), 0) as oversold
        from (
            select distinct i.product_id
            from public.order_items as i
            where i.order_group_id = p_order_group_id
        ) as p
        inner join public.inventory_ledger as l on p.product_id = l.product_id
        group by p.product_id
    )

    select coalesce(jsonb_agg(
        jsonb_build_object(
            'id', o.id,
            'seller_id', o.seller_id,
            'seller', w.name,
            'status', o.status,
            'total_amount', o.total_amount::pg_catalog.text,
            'paid_at', o.paid_at,
            'items', (
                select coalesce(jsonb_agg(
                    jsonb_build_object(
                        'id', i.id,
                        'product_id', i.product_id,
                        'sku', i.sku,
                        'title', i.title,
                        'quantity', i.quantity,
                        'unit_amount', i.unit_amount::pg_catalog.text,
                        'returned', (
                            select coalesce(sum(l.quantity_delta), 0)
                            from public.inventory_ledger as l
                            where l.order_item_id = i.id and l.entry_type = 'order_return'
                        ),
                        'oversold', coalesce(s.oversold, 0)
                    )
                    order by i.id
                ), '[]'::pg_catalog.jsonb)
                from public.order_items as i
                left join stock as s on i.product_id = s.product_id
                where i.order_id = o.id
            )
        )
        order by o.id
    ), '[]'::pg_catalog.jsonb)
    into v_orders
    from public.orders as o
    inner join public.sellers as w on o.seller_id = w.id
    where o.order_group_id = p_order_group_id;

    select coalesce(jsonb_agg(entry.story order by entry.at, entry.place, entry.id), '[]'::pg_catalog.jsonb)
    into v_timeline
    from (
        select
            v_group.created_at as at,
            0 as place,
            0::bigint as id,
            jsonb_build_object(
                'at', v_group.created_at,
                'kind', 'order_group_created',
                'rule', 'an order group starts pending and waits for one payment of its total'
            ) as story
        where v_group.id is not null
        union all
        select
            v_group.buyer_since,
            5,
            0,
            jsonb_build_object(
                'at', v_group.buyer_since,
                'kind', 'order_group_claimed',
                'rule', 'a guest''s order group gets its buyer once'
            )
        where v_group.buyer_since <> v_group.created_at
        union all
        select
            e.erased_at,
            6,
            0,
            jsonb_build_object(
                'at', e.erased_at,
                'kind', 'metadata_erased',
                'erased_by', e.erased_by,
                'note', e.note,
                'rule', 'erased session metadata are gone in all places, and later ones are not kept'
            )
        from payments.metadata_erasures as e
        where e.order_group_id = p_order_group_id
        union all
        select
            e.processed_at,
            1,
            0,
            payments.describe_event(e) || jsonb_build_object(
                'at', e.processed_at,
                'kind', 'stripe_event',
                'stripe_event_id', e.id,
                'outcome', e.outcome,
                'rule', case e.outcome
                    when 'applied' then 'amount, currency and totals agreed: this payment paid the group'
                    when 'already_paid' then 'another event of the payment that had paid the group: recorded, nothing else'
                end
            )
        from payments.stripe_events as e
        where e.order_group_id = p_order_group_id
        union all
        select
            x.first_seen_at,
            2,
            x.id,
            jsonb_build_object(
                'at', x.first_seen_at,
                'kind', 'payment_exception',
                'exception_id', x.id,
                'stripe_event_id', x.stripe_event_id,
                'reason', x.reason,
                'attempts', x.attempts,
                'last_seen_at', x.last_seen_at,
                'details', x.details,
                'status', x.status,
                'resolution', x.resolution,
                'resolved_by', x.resolved_by,
                'resolved_at', x.resolved_at,
                'note', x.note,
                'rule', r.sentence
            )
        from payments.exceptions as x
        inner join payments.reasons as r on x.reason = r.reason
        where
            x.order_group_id = p_order_group_id
            or (x.reason = 'foreign_account' and x.details ->> 'named_order_group_id' = p_order_group_id::pg_catalog.text)
        union all
        select
            c.changed_at,
            3,
            c.id,
            jsonb_build_object(
                'at', c.changed_at,
                'kind', 'status_change',
                'order_id', c.order_id,
                'from_status', c.from_status,
                'to_status', c.to_status,
                'changed_by', c.changed_by,
                'note', n.note,
                'rule', case
                    when c.from_status = 'refunded' then 'a refund failed: what it had taken along is where it was'
                    when c.to_status = 'refunded' and n.note is not null
                        then 'an order of a paid group is given up, with the reason; its money is another fact'
                    when c.to_status = 'paid' then 'one payment of its total moves a group and its orders from pending to paid'
                    when c.to_status = 'cancelled' then 'a pending group is given up with its orders, once'
                    when c.to_status = 'refunded' then 'money went back: what was paid stays on record'
                    else 'an order of a paid group moves forward, one step at a time'
                end
            )
        from public.order_status_changes as c
        left join payments.status_change_notes as n on c.order_group_id = n.order_group_id and c.id = n.status_change_id
        where c.order_group_id = p_order_group_id
        union all
        select
            l.created_at,
            4,
            l.id,
            jsonb_build_object(
                'at', l.created_at,
                'kind', 'inventory_ledger',
                'ledger_id', l.id,
                'entry_type', l.entry_type,
                'product_id', l.product_id,
                'order_item_id', l.order_item_id,
                'quantity_delta', l.quantity_delta,
                'stripe_event_id', l.stripe_webhook_event_id,
                'stripe_refund_id', l.stripe_refund_id,
                'recorded_by', l.recorded_by,
                'note', l.note,
                'rule', case l.entry_type
                    when 'order_commit' then 'each item of a paid group takes its quantity from stock, once'
                    when 'order_return' then 'no more of an item comes back than it took'
                    else 'a person has corrected the stock of a product that was ordered here'
                end
            )
        from (
            select t.*
            from public.order_items as i
            inner join public.inventory_ledger as t on i.id = t.order_item_id and t.entry_type = 'order_commit'
            where i.order_group_id = p_order_group_id
            union all
            select t.*
            from public.order_items as i
            inner join public.inventory_ledger as t on i.id = t.order_item_id and t.entry_type = 'order_return'
            where i.order_group_id = p_order_group_id
            union all
            select t.*
            from (
                select distinct i.product_id
                from public.order_items as i
                where i.order_group_id = p_order_group_id
            ) as p
            cross join lateral (
                select a.*
                from public.inventory_ledger as a
                where
                    a.product_id = p.product_id
                    and a.entry_type = 'adjustment'
                    and a.created_at >= v_group.created_at
                order by a.id desc
                limit v_most_adjustments
            ) as t
        ) as l
        union all
        select
            c.changed_at,
            7,
            c.id,
            payments.describe_refund(r) || jsonb_build_object(
                'at', c.changed_at,
                'kind', 'refund',
                'order_group_id', r.order_group_id,
                'from_status', c.from_status,
                'to_status', c.to_status,
                'source', c.source,
                'stripe_event_id', c.stripe_event_id,
                'set_aside_reason', r.set_aside_reason,
                'rule', case
                    when r.set_aside_reason is not null then (
                        select s.sentence
                        from payments.reasons as s
                        where s.reason = r.set_aside_reason
                    )
                    when r.order_group_id is distinct from p_order_group_id
                        then 'it is of a payment that has not paid the group: the group does not change'
                    when c.to_status = 'succeeded' then 'money went back: the group is refunded once that is its total'
                    when c.to_status in ('failed', 'canceled') then 'the refund came to nothing: its money is here again'
                    else 'a refund counts once it has succeeded'
                end
            )
        from payments.refunds as r
        inner join payments.refund_status_changes as c on r.id = c.refund_id
        where
            r.id in (
                select f.id
                from payments.refunds as f
                where f.order_group_id = p_order_group_id
                union
                select f.id
                from payments.exceptions as x
                inner join payments.refunds as f on x.payment_intent_id = f.payment_intent_id
                where x.order_group_id = p_order_group_id
            )
        union all
        select
            c.changed_at,
            8,
            c.id,
            payments.describe_dispute(d) || jsonb_build_object(
                'at', c.changed_at,
                'kind', 'dispute',
                'order_group_id', d.order_group_id,
                'from_status', c.from_status,
                'to_status', c.to_status,
                'source', c.source,
                'stripe_event_id', c.stripe_event_id,
                'set_aside_reason', d.set_aside_reason,
                'rule', case
                    when d.set_aside_reason is not null then (
                        select s.sentence
                        from payments.reasons as s
                        where s.reason = d.set_aside_reason
                    )
                    when c.to_status in ('won', 'warning_closed', 'charge_refunded', 'prevented')
                        then 'a dispute that ended well needs nobody'
                    else 'a dispute waits for a person until it has ended well'
                end
            )
        from payments.disputes as d
        inner join payments.dispute_status_changes as c on d.id = c.dispute_id
        where
            d.id in (
                select f.id
                from payments.disputes as f
                where f.order_group_id = p_order_group_id
                union
                select f.id
                from payments.exceptions as x
                inner join payments.disputes as f on x.payment_intent_id = f.payment_intent_id
                where x.order_group_id = p_order_group_id
            )
    ) as entry;

    select count(*)::integer into v_open
    from payments.exceptions as x
    where x.order_group_id = p_order_group_id and x.status = 'open';

    return jsonb_build_object(
        'order_group_id', p_order_group_id,
        'order_group', case when v_group.id is not null then
            to_jsonb(v_group) || jsonb_build_object(
                'total_amount', v_group.total_amount::pg_catalog.text,
                'refunded_amount', v_group.refunded_amount::pg_catalog.text
            )
        end,
        'orders', v_orders,
        'timeline', v_timeline,
        'open_exceptions', v_open,
        'verdict', case
            when v_group.id is null then 'There is no such order group.'
            when v_group.status = 'paid' then 'Paid by event ' || v_group.stripe_webhook_event_id || case
                when v_group.refunded_amount > 0
                    then '; ' || v_group.refunded_amount || ' of ' || v_group.total_amount || ' ' || v_group.currency || ' went back.'
                else '.'
            end
            when v_group.status = 'pending' and v_open > 0 then 'Pending: a payment came but could not be applied.'
            when v_group.status = 'pending' and exists (
                select 1
                from payments.exceptions as x
                where x.order_group_id = p_order_group_id and x.resolved_by = 'stripe' and x.resolution = 'refunded'
            ) then 'Pending: a payment came, and all of its money went back.'
            when v_group.status = 'pending' and exists (
                select 1
                from payments.exceptions as x
                where x.order_group_id = p_order_group_id
            ) then 'Pending: a payment came, and an operator has closed its case.'
            when v_group.status = 'pending' and exists (
                select 1
                from payments.exceptions as x
                where
                    x.reason = 'foreign_account' and x.details ->> 'named_order_group_id' = p_order_group_id::pg_catalog.text
            ) then 'Pending: only another Stripe account was paid for it, which pays nothing here.'
            when v_group.status = 'pending'
                then 'Pending: no payment has been recorded. A delivery that failed before a verdict leaves no row here: '
                    || 'the relay''s log and Stripe''s list of deliveries tell of it.'
            when v_open > 0 then 'It is ' || v_group.status || ', and a payment came that needs a person.'
            else 'It is ' || v_group.status || '.'
        end
    );
end;
$$;

COMMENT ON FUNCTION public.explain_order_group(p_order_group_id uuid) IS 'An order group''s state and timeline, each entry with the rule that decided. Money as text.';

CREATE FUNCTION public.find_order_groups(p_id text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    SET random_page_cost TO '1.1'
    AS $_$
declare
    v_id constant pg_catalog.text := btrim(p_id);
    v_uuid constant pg_catalog.uuid := case
        when v_id ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then v_id::pg_catalog.uuid
    end;
    -- An exception's number is a bigint; longer digits are none.
    v_number constant bigint := case when v_id ~ '^[0-9]{1,18}$' then v_id::bigint end;
    v_intents constant pg_catalog.text[] := array(
        select r.payment_intent_id
        from payments.refunds as r
        where r.id = v_id
        union
        select d.payment_intent_id
        from payments.disputes as d
        where d.id = v_id
        union
        select r.payment_intent_id
        from payments.refund_status_changes as c
        inner join payments.refunds as r on c.refund_id = r.id
        where c.stripe_event_id = v_id
        union
        select d.payment_intent_id
        from payments.dispute_status_changes as c
        inner join payments.disputes as d on c.dispute_id = d.id
        where c.stripe_event_id = v_id
        union
        select v_id
    );
    v_exceptions pg_catalog.int8[];
begin
    v_exceptions := array(
        select x.id
        from payments.exceptions as x
        where x.id = v_number
        union
        select x.id
        from payments.exceptions as x
        where x.stripe_event_id = v_id
        union
        select x.id
        from payments.exceptions as x
        where x.checkout_session_id = v_id
        union
        -- What Stripe has said of it was kept for a person, and not recorded.
        select x.id
        from payments.exceptions as x
        where x.refund_id = v_id
        union
        select x.id
        from payments.exceptions as x
        where x.dispute_id = v_id
        union
        select x.id
        from payments.exceptions as x
        where x.payment_intent_id = any(v_intents)
        order by 1
    );

    return jsonb_build_object(
        'order_groups', (
            select coalesce(jsonb_agg(g.id order by g.id), '[]'::pg_catalog.jsonb)
            from public.order_groups as g
            where
                g.id in (
                    select v_uuid
                    union
                    select o.order_group_id
                    from public.orders as o
                    where o.id = v_uuid
                    union
                    select i.order_group_id
                    from public.order_items as i
                    where i.id = v_uuid
                    union
                    select p.id
                    from public.order_groups as p
                    where p.stripe_payment_intent_id = any(v_intents)
                    union
                    select p.id
                    from public.order_groups as p
                    where p.stripe_checkout_session_id = v_id
                    union
                    select e.order_group_id
                    from payments.stripe_events as e
                    where e.id = v_id
                    union
                    select x.order_group_id
                    from payments.exceptions as x
                    where x.id = any(v_exceptions)
                )
        ),
        'exceptions', to_jsonb(v_exceptions),
        'refunds', (
            select coalesce(jsonb_agg(payments.describe_refund(r) order by r.id), '[]'::pg_catalog.jsonb)
            from payments.refunds as r
            where r.id = v_id or r.payment_intent_id = v_id
        ),
        'disputes', (
            select coalesce(jsonb_agg(payments.describe_dispute(d) order by d.id), '[]'::pg_catalog.jsonb)
            from payments.disputes as d
            where d.id = v_id or d.payment_intent_id = v_id
        )
    );
end;
$_$;

COMMENT ON FUNCTION public.find_order_groups(p_id text) IS 'The order groups and exceptions that an id is about: Stripe''s ids, our own, or an exception''s number.';

CREATE FUNCTION public.finish_exception_notifications(p_address text, p_exception_ids bigint[], p_is_sent boolean) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_count integer;
begin
    if p_is_sent then
        update payments.notifications as n
        set sent_at = clock_timestamp()
        where n.address = p_address and n.exception_id = any(p_exception_ids) and n.sent_at is null;
    else
        delete from payments.notifications as n
        where n.address = p_address and n.exception_id = any(p_exception_ids) and n.sent_at is null;
    end if;
    get diagnostics v_count = row_count;
    return v_count;
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'a notification was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;

COMMENT ON FUNCTION public.finish_exception_notifications(p_address text, p_exception_ids bigint[], p_is_sent boolean) IS 'Notes that an address has been told of the exceptions, or that it could not be.';

CREATE FUNCTION public.import_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_orders jsonb, p_amount_minor bigint, p_paid_at timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_stripe_event_id text DEFAULT NULL::text, p_session_metadata jsonb DEFAULT '{}'::jsonb) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_event_id constant pg_catalog.text := coalesce(
        nullif(btrim(p_stripe_event_id), ''), 'import_' || nullif(btrim(p_checkout_session_id), '')
    );
    v_outcome pg_catalog.text := 'rejected';
    v_made pg_catalog.jsonb;
    v_verdict pg_catalog.jsonb;
    v_receipts pg_catalog.int8 := 0;
begin
    if v_event_id is null or p_paid_at is null or p_livemode is null then
        raise exception 'a payment of the past needs its time, its mode and its checkout session'
            using errcode = 'invalid_parameter_value';
    end if;
    if p_paid_at < '2000-01-01 00:00+00' or p_paid_at > clock_timestamp() then
        raise exception 'p_paid_at must lie between the year 2000 and now, not be %', p_paid_at
            using errcode = 'invalid_parameter_value';
    end if;

    begin
        v_made := public.create_order_group(p_order_group_id, p_buyer_id, p_currency, p_orders);
        if v_made ->> 'outcome' = 'created' then
            select count(public.record_inventory_receipt(
                s.product_id, s.quantity, 'import', 'import ' || p_order_group_id || ' ' || s.item_id
            ))
            into v_receipts
            from (
                select
                    i.id as item_id,
                    i.product_id,
                    i.quantity
                from public.orders as o
                inner join public.order_items as i on o.id = i.order_id
                where o.order_group_id = p_order_group_id
                order by i.product_id, i.id
            ) as s;
        elsif v_made ->> 'status' = 'pending' then
            v_made := v_made || '{"reason": "order_group_differs"}';
        end if;
        if v_made ->> 'reason' is null then
            v_verdict := public.reconcile_order_group_payment(
                p_order_group_id => p_order_group_id,
                p_stripe_event_id => v_event_id,
                p_stripe_event_type => 'checkout.session.completed',
                p_stripe_event_created => p_paid_at,
                p_livemode => p_livemode,
                p_checkout_session_id => p_checkout_session_id,
                p_payment_intent_id => p_payment_intent_id,
                p_amount_minor => p_amount_minor,
                p_amount => (
                    select round(p_amount_minor::pg_catalog.numeric / c.minor_per_major, c.exponent)
                    from payments.currencies as c
                    where c.code = upper(v_made ->> 'currency')
                ),
                p_currency => p_currency,
                p_session_metadata => p_session_metadata,
                p_source => 'replay'
            );
            v_outcome := case v_verdict ->> 'outcome'
                when 'applied' then 'imported'
                when 'replayed' then 'already_imported'
                when 'already_paid' then 'already_imported'
                else 'rejected'
            end;
            if v_verdict ->> 'outcome' = 'resolved' then
                v_verdict := v_verdict || '{"reason": "payment_resolved"}';
            end if;
        end if;
        if v_outcome = 'rejected' then
            -- Undoes what was written by then, the payment's exception too: there is no delivery that could come again.
            raise exception 'rejected' using errcode = 'IMPRT';
        end if;
    exception
        when sqlstate 'IMPRT' then
            v_receipts := 0;
        -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
        when serialization_failure then
            raise exception 'order group % was changed by a rival', p_order_group_id
                using errcode = 'lock_not_available';
    end;

    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', coalesce(v_made ->> 'reason', v_verdict ->> 'reason'),
        'detail', v_made ->> 'detail',
        'order_group_id', p_order_group_id,
        'stripe_event_id', v_event_id,
        'orders_paid', coalesce((v_verdict ->> 'orders_paid')::integer, 0),
        'ledger_entries', v_receipts + coalesce((v_verdict ->> 'ledger_entries')::integer, 0)
    );
end;
$$;

COMMENT ON FUNCTION public.import_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_orders jsonb, p_amount_minor bigint, p_paid_at timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_stripe_event_id text, p_session_metadata jsonb) IS 'Writes a paid order group of the past with its orders, items, event and ledger, once, or nothing. Stock stays what it is.';

CREATE FUNCTION public.list_payment_exceptions(p_status text DEFAULT 'open'::text, p_id bigint DEFAULT NULL::bigint, p_event text DEFAULT NULL::text, p_sessions text[] DEFAULT NULL::text[], p_reason text DEFAULT NULL::text, p_limit integer DEFAULT NULL::integer, p_before timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(id bigint, stripe_event_id text, order_group_id uuid, checkout_session_id text, payment_intent_id text, reason text, attempts integer, first_seen_at timestamp with time zone, last_seen_at timestamp with time zone, details jsonb, status text, resolution text, resolved_by text, resolved_at timestamp with time zone, note text, rule text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    if p_limit < 0 then
        raise exception 'p_limit must not be negative, as % is', p_limit
            using errcode = 'invalid_parameter_value';
    elsif p_status is null or p_status not in ('open', 'resolved', 'all') then
        raise exception 'p_status must be open, resolved or all, not %', p_status
            using errcode = 'invalid_parameter_value';
    end if;
    return query
    select
        x.id,
        x.stripe_event_id,
        x.order_group_id,
        x.checkout_session_id,
        x.payment_intent_id,
        x.reason,
        x.attempts,
        x.first_seen_at,
        x.last_seen_at,
        x.details,
        x.status,
        x.resolution,
        x.resolved_by,
        x.resolved_at,
        x.note,
        r.sentence
    from payments.exceptions as x
    inner join payments.reasons as r on x.reason = r.reason
    where
        (p_status = 'all' or x.status = p_status)
        and (p_id is null or x.id = p_id)
        and (p_event is null or x.stripe_event_id = p_event)
        and (p_sessions is null or x.checkout_session_id = any(p_sessions))
        and (p_reason is null or x.reason = p_reason)
        and (p_before is null or x.first_seen_at < p_before)
    order by x.first_seen_at, x.id
    limit p_limit;
end;
$$;

COMMENT ON FUNCTION public.list_payment_exceptions(p_status text, p_id bigint, p_event text, p_sessions text[], p_reason text, p_limit integer, p_before timestamp with time zone) IS 'Payment exceptions, oldest first: open, resolved or all.';

CREATE FUNCTION public.list_refunds_and_disputes(p_since timestamp with time zone, p_until timestamp with time zone) RETURNS TABLE(id text, kind text, payment_intent_id text, order_group_id uuid, amount_minor bigint, currency text, status text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    return query
    select
        r.id,
        'refund',
        r.payment_intent_id,
        r.order_group_id,
        r.amount_minor,
        r.currency,
        r.status
    from payments.refunds as r
    where r.created_at between p_since and p_until or r.status_changed_at between p_since and p_until
    union all
    select
        d.id,
        'dispute',
        d.payment_intent_id,
        d.order_group_id,
        d.amount_minor,
        d.currency,
        d.status
    from payments.disputes as d
    where d.created_at between p_since and p_until or d.status_changed_at between p_since and p_until;
end;
$$;

COMMENT ON FUNCTION public.list_refunds_and_disputes(p_since timestamp with time zone, p_until timestamp with time zone) IS 'The refunds and disputes that Stripe created in a window, or whose status was recorded in it. Amounts in minor units.';

CREATE FUNCTION public.note_awaiting_funds(p_order_group_id uuid, p_checkout_session_id text, p_stripe_event_id text, p_stripe_event_created timestamp with time zone) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_longest constant integer := 255;
    v_session_id constant pg_catalog.text := nullif(btrim(p_checkout_session_id), '');
    v_event_id constant pg_catalog.text := nullif(btrim(p_stripe_event_id), '');
    v_status public.order_groups.status%type;
    v_since public.order_groups.awaiting_funds_since%type;
    v_outcome pg_catalog.text := 'ignored';
    v_reason pg_catalog.text;
begin
    if p_order_group_id is null or v_session_id is null or v_event_id is null then
        raise exception 'order group, checkout session id and event id are required'
            using errcode = 'invalid_parameter_value';
    elsif greatest(length(v_session_id), length(v_event_id)) > v_longest then
        raise exception 'ids have % characters at most', v_longest
            using errcode = 'invalid_parameter_value';
    elsif p_stripe_event_created not between '2000-01-01 00:00:00+00' and '2100-01-01 00:00:00+00' then
        raise exception 'p_stripe_event_created must lie between the years 2000 and 2100'
            using errcode = 'invalid_parameter_value';
    end if;

    select
        g.status,
        g.awaiting_funds_since
    into v_status, v_since
    from public.order_groups as g
    where g.id = p_order_group_id
    for update;

    case
        when not found then
            v_reason := 'order_group_not_found';
        when v_status <> 'pending' then
            v_reason := 'order_group_not_pending';
        when v_since is not null then
            v_outcome := 'already_noted';
        else
            v_outcome := 'noted';
            update public.order_groups as g
            set
                awaiting_funds_since = coalesce(p_stripe_event_created, clock_timestamp()),
                awaiting_funds_session_id = v_session_id,
                awaiting_funds_event_id = v_event_id
            where g.id = p_order_group_id;
    end case;
    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'order_group_id', p_order_group_id
    );
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'order group % was changed by a rival', p_order_group_id
            using errcode = 'lock_not_available';
end;
$$;

COMMENT ON FUNCTION public.note_awaiting_funds(p_order_group_id uuid, p_checkout_session_id text, p_stripe_event_id text, p_stripe_event_created timestamp with time zone) IS 'Notes, once, that a pending order group''s money is under way, so that it does not expire.';

CREATE FUNCTION public.payment_lines(p_since timestamp with time zone, p_until timestamp with time zone) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    SET statement_timeout TO '60s'
    AS $$
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

COMMENT ON FUNCTION public.payment_lines(p_since timestamp with time zone, p_until timestamp with time zone) IS 'Each payment, order and refund of a window as a line, as the report adds them up. Money as text in major units.';

CREATE FUNCTION public.payment_report(p_since timestamp with time zone, p_until timestamp with time zone) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    SET statement_timeout TO '60s'
    SET work_mem TO '64MB'
    SET random_page_cost TO '1.1'
    SET jit TO 'off'
    AS $$
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

COMMENT ON FUNCTION public.payment_report(p_since timestamp with time zone, p_until timestamp with time zone) IS 'Payments by day, sums by currency and seller, open exceptions, stock that moved and the invariants, from one snapshot.';

CREATE FUNCTION public.payments_by_mode() RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    return (
        select
            jsonb_object_agg(
                case m.livemode when true then 'live' else 'test' end,
                jsonb_build_object('payments', coalesce(e.payments, 0), 'last_at', e.last_at)
            )
        from unnest('{true, false}'::pg_catalog.bool[]) as m (livemode)
        left join (
            select
                s.livemode,
                count(*) as payments,
                max(s.processed_at) as last_at
            from payments.stripe_events as s
            where s.outcome = 'applied'
            group by s.livemode
        ) as e on m.livemode = e.livemode
    );
end;
$$;

COMMENT ON FUNCTION public.payments_by_mode() IS 'How many payments of each mode of Stripe were applied here, and when the last one was.';

CREATE FUNCTION public.preview_order_group_payments(p_payments jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    SET random_page_cost TO '1.1'
    AS $$
declare
    v_most constant integer := 500;
    v_payments pg_catalog.jsonb := p_payments;
    v_payment pg_catalog.jsonb;
    v_answers pg_catalog.jsonb[] := '{}';
begin
    -- By GET, PostgREST hands the parameter over as the text that stands in the address.
    if jsonb_typeof(p_payments) = 'string' then
        begin
            v_payments := (p_payments #>> '{}')::pg_catalog.jsonb;
        exception
            when invalid_text_representation or untranslatable_character then
                v_payments := null;
        end;
    end if;
    if jsonb_typeof(v_payments) is distinct from 'array' or jsonb_array_length(v_payments) > v_most then
        raise exception 'p_payments must be an array of up to % payments', v_most
            using errcode = 'invalid_parameter_value';
    end if;

    for v_payment in
        select p.payment
        from jsonb_array_elements(v_payments) with ordinality as p (payment, place)
        order by p.place
    loop
        begin
            v_answers := v_answers || payments.preview(v_payment);
        exception
            when others then
                v_answers := v_answers || (
                    payments.no_verdict(v_payment, 'failed', sqlstate)
                    || '{"is_known": false, "is_on_record": false, "resolved": false}'::pg_catalog.jsonb
                );
        end;
    end loop;
    return to_jsonb(v_answers);
end;
$$;

COMMENT ON FUNCTION public.preview_order_group_payments(p_payments jsonb) IS 'What reconcile_order_group_payment would answer to each of up to 500 payments now. Writes nothing.';

CREATE FUNCTION public.reconcile_order_group_payment(p_order_group_id uuid, p_stripe_event_id text, p_stripe_event_type text, p_stripe_event_created timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_session_metadata jsonb DEFAULT '{}'::jsonb, p_source text DEFAULT 'webhook'::text, p_unmatched_reason text DEFAULT NULL::text, p_account text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_event payments.stripe_events := payments.normalise_event(
        p_order_group_id,
        p_stripe_event_id,
        p_stripe_event_type,
        p_stripe_event_created,
        p_livemode,
        p_checkout_session_id,
        p_payment_intent_id,
        p_amount_minor,
        p_amount,
        p_currency,
        p_session_metadata,
        p_source,
        p_unmatched_reason,
        p_account
    );
begin
    if current_setting('transaction_isolation') = 'read committed' then
        return payments.reconcile(v_event, p_unmatched_reason);
    end if;

    -- Under a stricter isolation a rival's commit shows as 40001, which PostgREST would answer by running the
    -- transaction again for ever. 55P03 tells the caller the same: nothing happened, try again.
    begin
        return payments.reconcile(v_event, p_unmatched_reason);
    exception
        when serialization_failure then
            raise exception 'order group % was changed by a rival', p_order_group_id
                using errcode = 'lock_not_available';
    end;
end;
$$;

COMMENT ON FUNCTION public.reconcile_order_group_payment(p_order_group_id uuid, p_stripe_event_id text, p_stripe_event_type text, p_stripe_event_created timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_session_metadata jsonb, p_source text, p_unmatched_reason text, p_account text) IS 'Reconciles one payment of Stripe with one order group, exactly once. Amounts in minor and in major units; returns the verdict.';

CREATE FUNCTION public.reconcile_order_group_payments(p_payments jsonb) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '50ms'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_most constant integer := 32;
    -- Asked once: to set the constraints after each payment is a twentieth of what it costs. Where none begins as deferred,
    -- one that only may be is left as it is: deferred, it would no longer fail where the shop's trigger handles it.
    v_defers constant boolean := exists (
        select 1
        from pg_catalog.pg_trigger as t
        where t.tginitdeferred
    );
    v_wait pg_catalog.text := current_setting('lock_timeout');
    v_payment pg_catalog.record;
    v_answers pg_catalog.jsonb[] := '{}';
begin
    if jsonb_typeof(p_payments) is distinct from 'array' or jsonb_array_length(p_payments) > v_most then
        raise exception 'p_payments must be an array of up to % payments', v_most
            using errcode = 'invalid_parameter_value';
    end if;

    for v_payment in
        select
            p.value,
            p.place
        from jsonb_array_elements(p_payments) with ordinality as p (value, place)
        order by
            coalesce(
                translate(
                    lower(coalesce(
                        p.value ->> 'p_order_group_id',
                        p.value -> 'p_session_metadata' ->> 'order_group_id'
                    )),
                    ' {}-',
                    ''
                ),
                '~' || (p.value ->> 'p_stripe_event_id')
            ) collate "C",
            p.place
    loop
        begin
            -- A trigger of the shop's may have set it in the payment before, until the transaction ends.
            perform set_config('lock_timeout', v_wait, true);
            v_answers[v_payment.place] := payments.reconcile(
                payments.read_event(v_payment.value), v_payment.value ->> 'p_unmatched_reason'
            );
            if v_defers then
                set constraints all immediate;
                set constraints all deferred;
            end if;
        exception
            when lock_not_available or deadlock_detected or serialization_failure then
                v_answers[v_payment.place] := payments.no_verdict(v_payment.value, 'deferred', sqlstate);
                v_wait := '1ms';
            -- `others` leaves out a cancelled query, which ends the call, and a failed assertion, a fault like any other.
            when assert_failure or others then
                v_answers[v_payment.place] := payments.no_verdict(v_payment.value, 'failed', sqlstate);
        end;
    end loop;
    return to_jsonb(v_answers);
end;
$$;

COMMENT ON FUNCTION public.reconcile_order_group_payments(p_payments jsonb) IS 'Reconciles up to 32 payments of Stripe in one transaction, each in a subtransaction; returns their verdicts.';

CREATE FUNCTION public.reconciliation_readiness() RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    with reconcile as (
        select p.oid
        from pg_catalog.pg_proc as p
        where p.pronamespace = 'public'::pg_catalog.regnamespace and p.proname = 'reconcile_order_group_payment'
    ),

    caller as (
        -- Inside a definer function current_user is the owner; the Data API sets `role`.
        select coalesce(nullif(current_setting('role', true), 'none'), session_user::pg_catalog.text) as name
    )

    select jsonb_build_object(
        'contract_version', 1,
        'oldest_contract_version', 1,
        'server_time', clock_timestamp(),
        'currencies', (
            select jsonb_object_agg(c.code, c.exponent)
            from payments.currencies as c
        ),
        'role', caller.name,
        'can_execute', (
            select coalesce(bool_and(has_function_privilege(caller.name, reconcile.oid, 'execute')), false)
            from reconcile
        ),
        'anon_can_execute', (
            select
                coalesce(bool_or(
                    has_function_privilege('anon', reconcile.oid, 'execute')
                    or has_function_privilege('authenticated', reconcile.oid, 'execute')
                    or has_function_privilege('public', reconcile.oid, 'execute')
                ), false)
            from reconcile
        ),
        'expiry_last_ran_at', (
            select l.ran_at
            from payments.last_expiry as l
        ),
        'overdue_since', (
            select min(g.expires_at)
            from public.order_groups as g
            where g.status = 'pending' and g.expires_at <= now() and g.awaiting_funds_since is null
        ),
        'open_exceptions', (
            select coalesce(jsonb_object_agg(o.reason, o.cases), '{}'::pg_catalog.jsonb)
            from (
                select
                    x.reason,
                    count(*) as cases
                from payments.exceptions as x
                where x.status = 'open'
                group by x.reason
            ) as o
        ),
        'oldest_open_exception_at', (
            -- A dispute waits for the bank, for weeks, whatever a person does.
            select min(x.first_seen_at)
            from payments.exceptions as x
            where x.status = 'open' and x.reason <> 'payment_disputed'
        ),
        'fragile_triggers', (
            select
                coalesce(
                    jsonb_agg(
                        format('%s on %s: %s', t.tgname, t.tgrelid::pg_catalog.regclass, t.tgfoid::pg_catalog.regprocedure)
                        order by t.tgrelid::pg_catalog.regclass::pg_catalog.text, t.tgname
                    ),
                    '[]'::pg_catalog.jsonb
                )
            from pg_catalog.pg_trigger as t
            inner join pg_catalog.pg_class as c on t.tgrelid = c.oid
            inner join pg_catalog.pg_proc as p on t.tgfoid = p.oid
            inner join pg_catalog.pg_language as l on p.prolang = l.oid
            where
                not t.tgisinternal
                and t.tgenabled <> 'D'
                and (
                    c.relnamespace = 'payments'::pg_catalog.regnamespace
                    or c.oid::pg_catalog.regclass::pg_catalog.text in (
                        select g.object
                        from payments.expected_grants as g
                    )
                )
                and p.pronamespace <> 'payments'::pg_catalog.regnamespace
                and l.lanname not in ('internal', 'c')
                and not exists (
                    select 1
                    from unnest(p.proconfig) as s (setting)
                    where s.setting like 'search\_path=%'
                )
        )
    )
    from caller;
$$;

COMMENT ON FUNCTION public.reconciliation_readiness() IS 'Contract versions, currency table, the caller''s EXECUTE right and anon''s lack of it, fragile triggers, the last expiry, open exceptions, server time.';

CREATE FUNCTION public.record_dispute(p_dispute_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text DEFAULT NULL::text, p_livemode boolean DEFAULT true, p_source text DEFAULT 'webhook'::text, p_stripe_event_id text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_event_id constant pg_catalog.text := nullif(btrim(p_stripe_event_id), '');
    v_read constant payments.refunds := payments.normalise_refund(
        p_dispute_id,
        p_payment_intent_id,
        p_amount_minor,
        p_amount,
        p_currency,
        p_status,
        p_created,
        p_reason,
        p_livemode,
        p_source,
        v_event_id
    );
    v_dispute payments.disputes;
begin
    v_dispute.id := v_read.id;
    v_dispute.payment_intent_id := v_read.payment_intent_id;
    v_dispute.amount_minor := v_read.amount_minor;
    v_dispute.amount := v_read.amount;
    v_dispute.currency := v_read.currency;
    v_dispute.status := v_read.status;
    v_dispute.reason := v_read.reason;
    v_dispute.created_at := v_read.created_at;
    v_dispute.livemode := v_read.livemode;
    v_dispute.source := v_read.source;
    if payments.dispute_rank(v_dispute.status) is null then
        raise exception 'p_status is no status of a dispute: %', v_dispute.status
            using errcode = 'invalid_parameter_value';
    elsif current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'a dispute is recorded under read committed: a payment that has just come would be overlooked'
            using errcode = 'invalid_transaction_state';
    end if;
    return payments.record_dispute(v_dispute, v_event_id);
end;
$$;

COMMENT ON FUNCTION public.record_dispute(p_dispute_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text, p_livemode boolean, p_source text, p_stripe_event_id text) IS 'Records a dispute of Stripe, or the status that it has reached, exactly once. Amounts in minor and in major units.';

CREATE FUNCTION public.record_inventory_adjustment(p_product_id uuid, p_quantity_delta integer, p_note text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
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

COMMENT ON FUNCTION public.record_inventory_adjustment(p_product_id uuid, p_quantity_delta integer, p_note text) IS 'Corrects stock by pieces, positive or negative, with the reason. Returns the ledger entry''s id.';

CREATE FUNCTION public.record_inventory_receipt(p_product_id uuid, p_quantity integer, p_note text DEFAULT NULL::text, p_key text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
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

COMMENT ON FUNCTION public.record_inventory_receipt(p_product_id uuid, p_quantity integer, p_note text, p_key text) IS 'Records goods that came in: pieces, positive. Returns the ledger entry''s id; with a key, one entry however often it is called.';

CREATE FUNCTION public.record_refund(p_refund_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text DEFAULT NULL::text, p_livemode boolean DEFAULT true, p_source text DEFAULT 'webhook'::text, p_stripe_event_id text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_event_id constant pg_catalog.text := nullif(btrim(p_stripe_event_id), '');
    v_refund payments.refunds := payments.normalise_refund(
        p_refund_id,
        p_payment_intent_id,
        p_amount_minor,
        p_amount,
        p_currency,
        p_status,
        p_created,
        p_reason,
        p_livemode,
        p_source,
        v_event_id
    );
begin
    if payments.refund_rank(v_refund.status) is null then
        raise exception 'p_status must be pending, requires_action, succeeded, failed or canceled, not %', v_refund.status
            using errcode = 'invalid_parameter_value';
    elsif current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'a refund is recorded under read committed: a payment that has just come would be overlooked'
            using errcode = 'invalid_transaction_state';
    end if;
    return payments.record_refund(v_refund, v_event_id);
end;
$$;

COMMENT ON FUNCTION public.record_refund(p_refund_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text, p_livemode boolean, p_source text, p_stripe_event_id text) IS 'Records a refund of Stripe, or the status that it has reached, exactly once. Amounts in minor and in major units.';

CREATE FUNCTION public.refund_order(p_order_id uuid, p_note text, p_return_items boolean DEFAULT true) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_longest_note constant integer := 2000;
    v_note constant pg_catalog.text := nullif(btrim(p_note), '');
    v_order_group_id pg_catalog.uuid;
    v_group_status public.order_groups.status%type;
    v_status public.orders.status%type;
    v_outcome pg_catalog.text := 'rejected';
    v_reason pg_catalog.text;
    v_order_item_ids pg_catalog.uuid[];
    v_quantities bigint[];
    v_entries integer := 0;
begin
    if v_note is null or length(v_note) > v_longest_note then
        raise exception 'giving an order up needs a note of up to % characters: an auditor will ask why', v_longest_note
            using errcode = 'invalid_parameter_value';
    elsif current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'an order is given up under read committed: what a rival has just brought back would be overlooked'
            using errcode = 'invalid_transaction_state';
    end if;

    select o.order_group_id
    into v_order_group_id
    from public.orders as o
    where o.id = p_order_id;
    select g.status
    into v_group_status
    from public.order_groups as g
    where g.id = v_order_group_id
    for update;
    select o.status
    into v_status
    from public.orders as o
    where o.id = p_order_id;

    case
        when v_status is null then
            v_reason := 'order_not_found';
        when v_status = 'refunded' then
            v_outcome := 'already_refunded';
        when v_group_status <> 'paid' then
            v_reason := 'order_group_not_paid';
        else
            v_outcome := 'refunded';
            update public.orders as o
            set status = 'refunded'
            where o.id = p_order_id;

            insert into payments.status_change_notes (order_group_id, status_change_id, note)
            select
                c.order_group_id,
                max(c.id),
                v_note
            from public.order_status_changes as c
            where c.order_group_id = v_order_group_id and c.order_id = p_order_id
            group by c.order_group_id;

            if p_return_items is not false then
                select
                    array_agg(i.order_item_id),
                    array_agg(i.quantity)
                into v_order_item_ids, v_quantities
                from payments.returnable_items(v_order_group_id) as i
                where i.order_id = p_order_id and i.quantity > 0;
                v_entries := payments.write_returns(v_order_item_ids, v_quantities, v_note, null);
            end if;
    end case;
    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'order_id', p_order_id,
        'order_group_id', v_order_group_id,
        'ledger_entries', v_entries
    );
end;
$$;

COMMENT ON FUNCTION public.refund_order(p_order_id uuid, p_note text, p_return_items boolean) IS 'Gives an order of a paid group up, with the reason; what is still out of its items comes back unless told otherwise. Moves no money.';

CREATE FUNCTION public.reopen_payment_exception(p_exception_id bigint, p_by text, p_note text) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_longest_name constant integer := 255;
    v_longest_note constant integer := 2000;
    v_exception payments.exceptions;
begin
    if btrim(coalesce(p_by, '')) = ''
        or btrim(coalesce(p_note, '')) = ''
        or length(p_by) > v_longest_name
        or length(p_note) > v_longest_note
    then
        raise exception 'p_by must say who reopens, p_note why, in up to % and % characters', v_longest_name, v_longest_note
            using errcode = 'invalid_parameter_value';
    end if;

    perform payments.lock_order_group(x.order_group_id)
    from payments.exceptions as x
    where x.id = p_exception_id;

    perform x.id
    from payments.exceptions as x
    inner join payments.exceptions as named
        on
            x.id = named.id
            or (
                num_nonnulls(x.refund_id, x.dispute_id, named.refund_id, named.dispute_id) = 0
                and (
                    x.checkout_session_id = named.checkout_session_id
                    or x.payment_intent_id = named.payment_intent_id
                )
            )
    where named.id = p_exception_id
    order by x.id
    for update of x;

    select x.* into v_exception
    from payments.exceptions as x
    where x.id = p_exception_id;

    if v_exception.id is null then
        raise exception 'there is no payment exception %', p_exception_id
            using errcode = 'no_data_found';
    elsif v_exception.status <> 'resolved' or v_exception.resolution = 'reconciled' or v_exception.resolved_by = 'stripe' then
        raise exception 'payment exception % is %: there is no operator''s word to take back',
            v_exception.id, coalesce(v_exception.resolution, v_exception.status)
            using errcode = 'object_not_in_prerequisite_state';
    end if;

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
                'reopened_by', btrim(p_by),
                'reopened_at', clock_timestamp(),
                'reopened_note', btrim(p_note)
            )
        )
    where
        x.id = v_exception.id
        or (
            v_exception.resolution = 'refunded'
            and x.resolution = 'refunded'
            and x.resolved_by <> 'stripe'
            and num_nonnulls(x.refund_id, x.dispute_id, v_exception.refund_id, v_exception.dispute_id) = 0
            and (
                x.checkout_session_id = v_exception.checkout_session_id
                or x.payment_intent_id = v_exception.payment_intent_id
            )
        );

    select x.* into v_exception
    from payments.exceptions as x
    where x.id = p_exception_id;
    return to_jsonb(v_exception);
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'the payment exception was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;

COMMENT ON FUNCTION public.reopen_payment_exception(p_exception_id bigint, p_by text, p_note text) IS 'Takes an operator''s resolution of a payment exception back; the former word is kept in its details.';

CREATE FUNCTION public.resolve_payment_exception(p_exception_id bigint, p_resolution text, p_resolved_by text, p_note text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
declare
    v_longest_name constant integer := 255;
    v_longest_note constant integer := 2000;
    v_exception payments.exceptions;
    v_paid pg_catalog.uuid;
begin
    if p_resolution is null or p_resolution not in ('refunded', 'fixed_by_hand', 'dismissed') then
        raise exception 'p_resolution must be refunded, fixed_by_hand or dismissed, not %', p_resolution
            using errcode = 'invalid_parameter_value';
    elsif btrim(coalesce(p_resolved_by, '')) = '' or length(p_resolved_by) > v_longest_name then
        raise exception 'p_resolved_by must say who resolves, in up to % characters', v_longest_name
            using errcode = 'invalid_parameter_value';
    elsif length(p_note) > v_longest_note then
        raise exception 'p_note has % characters at most', v_longest_note
            using errcode = 'invalid_parameter_value';
    elsif lower(btrim(p_resolved_by)) = 'stripe' then
        raise exception 'p_resolved_by must name a person: what stripe resolves, its refunds and disputes tell'
            using errcode = 'invalid_parameter_value';
    end if;

    perform payments.lock_order_group(x.order_group_id)
    from payments.exceptions as x
    where x.id = p_exception_id;

    select x.* into v_exception
    from payments.exceptions as x
    where x.id = p_exception_id
    for update;

    if v_exception.id is null then
        raise exception 'there is no payment exception %', p_exception_id
            using errcode = 'no_data_found';
    elsif v_exception.status <> 'open' then
        raise exception 'payment exception % was closed as % by % at %',
            v_exception.id, v_exception.resolution, v_exception.resolved_by, v_exception.resolved_at
            using errcode = 'object_not_in_prerequisite_state';
    elsif p_resolution = 'refunded' and v_exception.reason <> 'foreign_account' then
        select e.order_group_id into v_paid
        from payments.stripe_events as e
        where
            e.outcome = 'applied'
            and (
                e.checkout_session_id = v_exception.checkout_session_id
                or e.payment_intent_id = v_exception.payment_intent_id
            );
        if found then
            raise exception 'the payment of exception % has paid order group %: what goes back is that group''s',
                v_exception.id, v_paid
                using errcode = 'object_not_in_prerequisite_state';
        end if;
    end if;

    update payments.exceptions as x
    set
        status = 'resolved',
        resolution = p_resolution,
        resolved_by = btrim(p_resolved_by),
        resolved_at = clock_timestamp(),
        note = nullif(btrim(p_note), '')
    where x.id = v_exception.id
    returning x.* into v_exception;
    return to_jsonb(v_exception);
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'the payment exception was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;

COMMENT ON FUNCTION public.resolve_payment_exception(p_exception_id bigint, p_resolution text, p_resolved_by text, p_note text) IS 'Closes a payment exception: refunded, fixed_by_hand or dismissed, by whom and why.';

CREATE FUNCTION public.return_order_items(p_order_group_id uuid, p_lines jsonb, p_note text, p_refund_id text DEFAULT NULL::text) RETURNS jsonb
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET lock_timeout TO '3s'
    SET default_transaction_isolation TO 'read committed'
    AS $$
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

COMMENT ON FUNCTION public.return_order_items(p_order_group_id uuid, p_lines jsonb, p_note text, p_refund_id text) IS 'Records pieces of items that came back from a paid order group, all lines or none; no more of an item than was sold.';

CREATE FUNCTION public.security_findings() RETURNS TABLE(finding text, object text, detail text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    with own as materialized (
        select
            o.*,
            c.relkind,
            c.relrowsecurity,
            c.relforcerowsecurity,
            c.reloptions
        from payments.own_objects() as o
        left join pg_catalog.pg_class as c on o.kind = 'relation' and o.id = c.oid
    ),

    definition as materialized (
        select
            coalesce(e.kind, d.kind) as kind,
            coalesce(e.object, d.object) as object,
            coalesce(e.name, d.name) as name,
            e.definition as expected,
            d.definition as actual
        from payments.expected_definitions as e
        full join payments.definitions() as d on e.kind = d.kind and e.object = d.object and e.name = d.name
        where e.definition is distinct from d.definition
    )

    -- Parts of what is missing altogether are not told one by one.
    select
        case when d.kind = 'guard' or d.actual is null then 'missing_' else 'changed_' end || d.kind as finding,
        d.object,
        case
            when d.actual is null then concat_ws(' ', nullif(d.name, ''), 'does not exist')
            when d.kind = 'function' then 'its body, settings or owner are not those that the migrations gave it'
            else concat_ws(' ', nullif(d.name, ''), 'is: ' || d.actual)
        end as detail
    from definition as d
    where
        d.expected is not null
        and (
            d.kind in ('relation', 'function')
            or exists (select 1 from own as o where o.kind = 'relation' and o.object = d.object)
        )

    union all
    -- A project's own columns, constraints and indexes, and its triggers in public, are its own affair.
    select
        'unexpected_' || d.kind,
        d.object,
        case d.kind
            when 'relation' then 'nothing else belongs in the private schema'
            when 'function' then 'an overload, or a function that does not belong in the private schema'
            else d.name
        end
    from definition as d
    where
        d.expected is null
        and (
            d.kind in ('relation', 'function', 'policy', 'rule')
            -- In the private schema only what keeps a column up to date before an update, as a project does everywhere.
            or (
                d.kind = 'guard'
                and d.object like 'payments.%'
                and not exists (
                    select 1
                    from own as o
                    inner join pg_catalog.pg_trigger as t on o.id = t.tgrelid
                    where o.kind = 'relation' and o.object = d.object and t.tgname = d.name and t.tgtype = 19
                )
            )
        )

    union all
    select
        'unexpected_guard',
        o.object,
        t.tgname || ' runs before each row, and its function can return null: the row would be left out'
    from own as o
    inner join pg_catalog.pg_trigger as t on o.id = t.tgrelid and not t.tgisinternal and t.tgenabled <> 'D'
    inner join pg_catalog.pg_proc as p on t.tgfoid = p.oid
    where
        o.kind = 'relation'
        and t.tgtype & 3 = 3
        and regexp_replace(p.prosrc, '--[^\n]*|/\*.*?\*/', '', 'g') ~* '\mreturn\s+null\M'
        and not exists (
            select 1
            from payments.expected_definitions as e
            where e.kind = 'guard' and e.object = o.object and e.name = t.tgname
        )

    union all
    -- The triggers behind foreign keys, on either side.
    select
        'missing_guard',
        o.object,
        'foreign key ' || c.conname || ' is not enforced'
    from own as o
    inner join pg_catalog.pg_constraint as c on o.id = c.conrelid and c.contype = 'f'
    where
        o.kind = 'relation'
        and exists (
            select 1
            from pg_catalog.pg_trigger as t
            where t.tgconstraint = c.oid and t.tgenabled <> 'O'
        )

    union all
    select
        case
            when d.kind = 'schema' and not d.is_missing then 'schema_is_open'
            when d.kind = 'function' and d.is_missing then 'function_is_not_executable'
            when d.kind = 'function' then 'function_is_executable'
            when d.is_missing then 'missing_grant'
            else 'unexpected_grant'
        end,
        d.object,
        d.grantee || case when d.is_missing then ' lacks ' else ' has ' end || d.privilege
        || case when d.column_name <> '' then ' on ' || d.column_name else '' end
    from payments.privilege_differences() as d

    union all
    select
        'row_level_security_is_off',
        o.object,
        'every table here has row level security'
    from own as o
    where o.relkind in ('r', 'p') and not o.relrowsecurity

    union all
    select
        'owner_is_bound_by_policies',
        o.object,
        'row level security is forced on an owner without BYPASSRLS: the functions would see no rows'
    from own as o
    inner join pg_catalog.pg_roles as r on o.owner = r.oid
    where o.relforcerowsecurity and not (r.rolbypassrls or r.rolsuper)

    union all
    select
        'view_bypasses_policies',
        o.object,
        'without security_invoker it reads with its owner''s rights'
    from own as o
    where
        o.relkind = 'v'
        and not exists (
            select 1
            from pg_options_to_table(o.reloptions) as p
            where p.option_name = 'security_invoker' and p.option_value::boolean
        )

    union all
    select
        case d.kind when 'function' then 'open_door' else 'view_bypasses_policies' end,
        d.object,
        'it works on these tables or functions with its owner''s rights, and is open to ' || d.role
    from payments.open_doors() as d

    union all
    select
        'open_door',
        i.inhparent::pg_catalog.regclass::pg_catalog.text,
        'whoever may read it reads the rows of ' || o.object || ' past its policies'
    from own as o
    inner join pg_catalog.pg_inherits as i on o.id = i.inhrelid
    where o.kind = 'relation'

    union all
    -- Every sum over the parent counts the rows of its children, whose triggers, policies and grants are their own.
    select
        'unexpected_child',
        o.object,
        'the rows of ' || i.inhrelid::pg_catalog.regclass::pg_catalog.text || ' count as its own'
    from own as o
    inner join pg_catalog.pg_inherits as i on o.id = i.inhparent
    where o.kind = 'relation'

    union all
    -- A membership that gives nothing, such as the platform's own in pgsodium_keyholder, is none.
    select
        'open_door',
        m.role,
        'it is a member of ' || r.rolname
    from (values ('anon'), ('authenticated'), ('service_role')) as m (role)
    inner join pg_catalog.pg_roles as r on m.role <> r.rolname and pg_has_role(m.role, r.oid, 'member')
    where
        exists (
            select 1
            from pg_catalog.pg_roles as a
            where a.rolname = m.role and not a.rolsuper
        )
        and (
            r.rolsuper
            or r.rolbypassrls
            or r.rolcreaterole
            or r.rolname in ('anon', 'authenticated', 'service_role')
            or r.rolname like 'pg\_%'
            or r.oid in (select o.owner from own as o)
        )

    union all
    select
        'open_door',
        n.nspname::pg_catalog.text,
        case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee)::pg_catalog.text end
        || ' may create objects in it'
    from pg_catalog.pg_namespace as n
    cross join aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as g
    where
        n.nspname = 'public'
        and g.privilege_type = 'CREATE'
        and (
            g.grantee = 0
            or pg_get_userbyid(g.grantee) in ('anon', 'authenticated', 'service_role', 'authenticator')
        )

    union all
    select
        'api_role_bypasses_policies',
        r.rolname::pg_catalog.text,
        'anon and authenticated must neither be superusers nor bypass row level security'
    from pg_catalog.pg_roles as r
    where r.rolname in ('anon', 'authenticated') and (r.rolsuper or r.rolbypassrls)

    order by 1, 2, 3;
$$;

COMMENT ON FUNCTION public.security_findings() IS 'Differences between the catalogue and what the migrations made and granted; no row when all is well.';

CREATE TABLE payments.dispute_status_changes (
    id bigint NOT NULL,
    dispute_id text NOT NULL,
    from_status text,
    to_status text NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    source text NOT NULL,
    stripe_event_id text,
    CONSTRAINT dispute_status_changes_is_a_step_check CHECK ((from_status IS DISTINCT FROM to_status))
);

COMMENT ON TABLE payments.dispute_status_changes IS 'One row for each status that a dispute has reached. Append-only.';

COMMENT ON COLUMN payments.dispute_status_changes.from_status IS 'Null where the dispute was recorded with its status.';

COMMENT ON COLUMN payments.dispute_status_changes.stripe_event_id IS 'The event that brought it; null where none did.';

ALTER TABLE payments.dispute_status_changes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME payments.dispute_status_changes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE payments.exceptions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME payments.exceptions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE payments.expected_definitions (
    kind text NOT NULL,
    object text NOT NULL,
    name text NOT NULL,
    definition text NOT NULL
);

COMMENT ON TABLE payments.expected_definitions IS 'What the migrations made, as payments.definitions() told it then. What differs now is a finding.';

COMMENT ON COLUMN payments.expected_definitions.object IS 'The relation or function, as regclass or regprocedure print it.';

COMMENT ON COLUMN payments.expected_definitions.name IS 'The column, constraint, index, trigger, policy or rule of the relation; empty where it is the object itself.';

CREATE TABLE payments.expected_grants (
    object text NOT NULL,
    column_name text DEFAULT ''::text NOT NULL,
    grantee text NOT NULL,
    privilege text NOT NULL
);

COMMENT ON TABLE payments.expected_grants IS 'Every privilege that anybody but the owner may hold on the objects of this project.';

COMMENT ON COLUMN payments.expected_grants.object IS 'As regclass or regprocedure print it with an empty search_path. What is here of public is this project''s.';

COMMENT ON COLUMN payments.expected_grants.column_name IS 'Empty where the privilege is on the whole object.';

CREATE TABLE payments.invariants (
    name text NOT NULL,
    place integer NOT NULL,
    claim text NOT NULL
);

COMMENT ON TABLE payments.invariants IS 'What payments.broken_invariants() looks for, as the report tells it.';

COMMENT ON COLUMN payments.invariants.place IS 'Where the report lists it.';

COMMENT ON COLUMN payments.invariants.claim IS 'What is true while nothing is broken, for a person.';

CREATE TABLE payments.last_expiry (
    id integer DEFAULT 1 NOT NULL,
    ran_at timestamp with time zone,
    CONSTRAINT last_expiry_is_one_row_check CHECK ((id = 1))
);

COMMENT ON TABLE payments.last_expiry IS 'When expire_order_groups() ran last, whoever called it.';

COMMENT ON COLUMN payments.last_expiry.ran_at IS 'Null: never.';

CREATE TABLE payments.metadata_erasures (
    order_group_id uuid NOT NULL,
    erased_at timestamp with time zone NOT NULL,
    erased_by text NOT NULL,
    note text NOT NULL
);

COMMENT ON TABLE payments.metadata_erasures IS 'The order groups whose session metadata were erased, and by whom: what comes later is not kept. Append-only.';

COMMENT ON COLUMN payments.metadata_erasures.order_group_id IS 'No foreign key: a pending group can be removed, and the word stays.';

COMMENT ON COLUMN payments.metadata_erasures.erased_at IS 'When metadata of the group were erased first.';

CREATE TABLE payments.notifications (
    exception_id bigint NOT NULL,
    address text NOT NULL,
    claimed_until timestamp with time zone NOT NULL,
    sent_at timestamp with time zone,
    CONSTRAINT notifications_address_is_a_digest_check CHECK ((address ~ '^[0-9a-f]{64}$'::text))
);

COMMENT ON TABLE payments.notifications IS 'Open exceptions of which an address has been told, or is being told. A row goes when its exception is closed or opened again.';

COMMENT ON COLUMN payments.notifications.exception_id IS 'No foreign key: its check would lock the exception, and a payment must wait for no message.';

COMMENT ON COLUMN payments.notifications.address IS 'A digest of the address, which is a secret.';

COMMENT ON COLUMN payments.notifications.claimed_until IS 'Until then nobody else tells the address; afterwards whoever claimed it is taken for dead.';

COMMENT ON COLUMN payments.notifications.sent_at IS 'Null while the address is being told.';

CREATE TABLE payments.reasons (
    reason text NOT NULL,
    outcome text NOT NULL,
    sentence text NOT NULL,
    CONSTRAINT reasons_outcome_is_known_check CHECK ((outcome = ANY (ARRAY['unmatched'::text, 'rejected'::text, 'recorded'::text])))
);

COMMENT ON TABLE payments.reasons IS 'Why a payment, a refund or a dispute can become an exception. The relay knows the same words: Reason in relay/core/outcomes.py.';

COMMENT ON COLUMN payments.reasons.outcome IS 'What Stripe''s event is answered while its exception is open.';

COMMENT ON COLUMN payments.reasons.sentence IS 'The rule that decided, for a person.';

CREATE TABLE payments.refund_status_changes (
    id bigint NOT NULL,
    refund_id text NOT NULL,
    from_status text,
    to_status text NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    source text NOT NULL,
    stripe_event_id text,
    CONSTRAINT refund_status_changes_is_a_step_check CHECK ((from_status IS DISTINCT FROM to_status))
);

COMMENT ON TABLE payments.refund_status_changes IS 'One row for each status that a refund has reached. Append-only.';

COMMENT ON COLUMN payments.refund_status_changes.from_status IS 'Null where the refund was recorded with its status.';

COMMENT ON COLUMN payments.refund_status_changes.stripe_event_id IS 'The event that brought it; null where none did.';

ALTER TABLE payments.refund_status_changes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME payments.refund_status_changes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE payments.status_change_notes (
    order_group_id uuid NOT NULL,
    status_change_id bigint NOT NULL,
    note text NOT NULL
);

COMMENT ON TABLE payments.status_change_notes IS 'Why a step of public.order_status_changes was taken, where somebody said so. Append-only, and not for buyers to read.';

COMMENT ON COLUMN payments.status_change_notes.status_change_id IS 'The step''s. No foreign key: neither the step nor the note is ever removed.';

CREATE TABLE public.inventory_ledger (
    id bigint NOT NULL,
    product_id uuid NOT NULL,
    seller_id uuid NOT NULL,
    order_item_id uuid,
    entry_type text NOT NULL,
    quantity_delta integer NOT NULL,
    stripe_webhook_event_id text,
    note text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    receipt_key text,
    stripe_refund_id text,
    recorded_by text,
    CONSTRAINT inventory_ledger_entry_type_is_known_check CHECK ((entry_type = ANY ('{order_commit,order_return,receipt,adjustment}'::text[]))),
    CONSTRAINT inventory_ledger_only_order_commit_has_an_event_check CHECK (((stripe_webhook_event_id IS NULL) OR (entry_type = 'order_commit'::text))),
    CONSTRAINT inventory_ledger_only_order_return_has_a_refund_check CHECK (((stripe_refund_id IS NULL) OR (entry_type = 'order_return'::text))),
    CONSTRAINT inventory_ledger_only_orders_have_an_item_check CHECK (((order_item_id IS NULL) OR (entry_type = ANY ('{order_commit,order_return}'::text[])))),
    CONSTRAINT inventory_ledger_only_receipt_has_a_key_check CHECK (((receipt_key IS NULL) OR (entry_type = 'receipt'::text))),
    CONSTRAINT inventory_ledger_order_commit_takes_stock_check CHECK (((entry_type <> 'order_commit'::text) OR ((quantity_delta < 0) AND (order_item_id IS NOT NULL) AND (stripe_webhook_event_id IS NOT NULL)))),
    CONSTRAINT inventory_ledger_order_return_adds_stock_check CHECK (((entry_type <> 'order_return'::text) OR ((quantity_delta > 0) AND (order_item_id IS NOT NULL) AND (note IS NOT NULL)))),
    CONSTRAINT inventory_ledger_quantity_delta_is_not_zero_check CHECK ((quantity_delta <> 0)),
    CONSTRAINT inventory_ledger_receipt_adds_stock_check CHECK (((entry_type <> 'receipt'::text) OR (quantity_delta > 0)))
);

COMMENT ON TABLE public.inventory_ledger IS 'Every movement of stock, in the order it was recorded. Append-only.';

COMMENT ON COLUMN public.inventory_ledger.seller_id IS 'The product''s, whose members may read the entry.';

COMMENT ON COLUMN public.inventory_ledger.entry_type IS 'order_commit: sold, once per order item; order_return: sold pieces came back; receipt: goods came in; adjustment: counted, lost, broken.';

COMMENT ON COLUMN public.inventory_ledger.quantity_delta IS 'Pieces, positive when stock grows.';

COMMENT ON COLUMN public.inventory_ledger.stripe_webhook_event_id IS 'The event that paid. No foreign key: it is written in the event''s own transaction, and a check per item would cost more than it tells.';

COMMENT ON COLUMN public.inventory_ledger.note IS 'Why, for an auditor: of an adjustment and of an order_return always.';

COMMENT ON COLUMN public.inventory_ledger.created_at IS 'When stock moved. An order_commit bears the time at which its payment was processed: money and stock have one clock.';

COMMENT ON COLUMN public.inventory_ledger.receipt_key IS 'The caller''s own name for a delivery of goods, under which it is recorded once: a delivery note''s number, say.';

COMMENT ON COLUMN public.inventory_ledger.stripe_refund_id IS 'The refund for which goods came back, where the shop named one. No foreign key: goods may come back before word of the money.';

COMMENT ON COLUMN public.inventory_ledger.recorded_by IS 'The user''s id where the call carries one, else the role. Null for an order_commit: its event says who paid.';

ALTER TABLE public.inventory_ledger ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.inventory_ledger_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.products (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    seller_id uuid NOT NULL,
    sku text NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.products IS 'What a seller sells. Stock is counted per product in public.inventory_ledger.';

COMMENT ON COLUMN public.products.sku IS 'The seller''s own article number, unique within the seller.';

CREATE VIEW public.inventory_levels WITH (security_invoker='on') AS
 SELECT p.id AS product_id,
    p.seller_id,
    p.sku,
    p.name,
    COALESCE(l.on_hand, (0)::bigint) AS on_hand,
    payments.reserved_pieces(p.id) AS reserved,
    (COALESCE(l.on_hand, (0)::bigint) - payments.reserved_pieces(p.id)) AS available
   FROM (public.products p
     LEFT JOIN LATERAL ( SELECT sum(e.quantity_delta) AS on_hand
           FROM public.inventory_ledger e
          WHERE (e.product_id = p.id)) l ON (true));

COMMENT ON VIEW public.inventory_levels IS 'Pieces per product: on hand, promised to pending order groups, and what is left for the next one.';

CREATE TABLE public.order_items (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    order_id uuid NOT NULL,
    product_id uuid NOT NULL,
    quantity integer NOT NULL,
    unit_amount numeric NOT NULL,
    sku text NOT NULL,
    title text NOT NULL,
    order_group_id uuid NOT NULL,
    seller_id uuid NOT NULL,
    CONSTRAINT order_items_quantity_is_positive_check CHECK ((quantity > 0)),
    CONSTRAINT order_items_unit_amount_is_money_check CHECK (((unit_amount >= (0)::numeric) AND (unit_amount < '1000000000000000'::numeric) AND (min_scale(unit_amount) <= 3)))
);

COMMENT ON TABLE public.order_items IS 'What was ordered. Each item of a paid order has exactly one order_commit in the ledger.';

COMMENT ON COLUMN public.order_items.unit_amount IS 'Major units of the group''s currency for one piece. Information: the payment is checked against the totals.';

COMMENT ON COLUMN public.order_items.sku IS 'The product''s article number as sold; renaming the product changes nothing here.';

COMMENT ON COLUMN public.order_items.title IS 'The product''s name as sold, or what the shop called it.';

COMMENT ON COLUMN public.order_items.order_group_id IS 'The order''s, filled by the database: whose buyer may read the item.';

COMMENT ON COLUMN public.order_items.seller_id IS 'The order''s, filled by the database. Both foreign keys hold it, so that nobody sells another seller''s product.';

CREATE TABLE public.order_status_changes (
    id bigint NOT NULL,
    order_group_id uuid NOT NULL,
    order_id uuid,
    seller_id uuid,
    from_status text NOT NULL,
    to_status text NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    changed_by text NOT NULL,
    CONSTRAINT order_status_changes_is_a_step_check CHECK ((from_status <> to_status)),
    CONSTRAINT order_status_changes_order_has_its_seller_check CHECK (((order_id IS NULL) = (seller_id IS NULL)))
);

COMMENT ON TABLE public.order_status_changes IS 'One row for each step of an order group or order, none for its creation. Append-only.';

COMMENT ON COLUMN public.order_status_changes.order_id IS 'Null for a step of the group itself.';

COMMENT ON COLUMN public.order_status_changes.seller_id IS 'The order''s, whose members may read the row.';

COMMENT ON COLUMN public.order_status_changes.changed_at IS 'When; for a payment its paid_at.';

COMMENT ON COLUMN public.order_status_changes.changed_by IS 'The user''s id where the call carries one, else the role; reconcile_order_group_payment for a payment.';

ALTER TABLE public.order_status_changes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.order_status_changes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.orders (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    order_group_id uuid NOT NULL,
    seller_id uuid NOT NULL,
    currency text NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    total_amount numeric NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    paid_at timestamp with time zone,
    CONSTRAINT orders_paid_has_its_time_check CHECK (((paid_at IS NOT NULL) OR (status <> ALL ('{paid,fulfilled,shipped,delivered}'::text[])))),
    CONSTRAINT orders_status_is_known_check CHECK ((status = ANY ('{pending,paid,fulfilled,shipped,delivered,cancelled,refunded}'::text[]))),
    CONSTRAINT orders_total_amount_is_money_check CHECK (((total_amount <@ '[0,1000000000000000)'::numrange) AND (min_scale(total_amount) <= 3)))
)
WITH (fillfactor='80');
ALTER TABLE ONLY public.orders ALTER COLUMN seller_id SET (n_distinct=300);

COMMENT ON TABLE public.orders IS 'One seller''s part of an order group.';

COMMENT ON COLUMN public.orders.currency IS 'The group''s, filled and frozen by the database: a seller''s member cannot see the group.';

COMMENT ON COLUMN public.orders.status IS 'pending until the group is paid or cancelled; then the seller moves it on: paid, fulfilled, shipped, delivered.';

COMMENT ON COLUMN public.orders.total_amount IS 'Major units of the group''s currency, shipping and discounts included.';

CREATE TABLE public.seller_members (
    seller_id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.seller_members IS 'The people who may see a seller''s orders, items, products and stock.';

CREATE TABLE public.sellers (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT sellers_name_is_not_blank_check CHECK ((btrim(name) <> ''::text))
);

COMMENT ON TABLE public.sellers IS 'A shop of the marketplace. Each has its own child order in an order group.';

ALTER TABLE ONLY payments.currencies
    ADD CONSTRAINT currencies_pkey PRIMARY KEY (code);

ALTER TABLE ONLY payments.dispute_status_changes
    ADD CONSTRAINT dispute_status_changes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY payments.disputes
    ADD CONSTRAINT disputes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY payments.exceptions
    ADD CONSTRAINT exceptions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY payments.exceptions
    ADD CONSTRAINT exceptions_stripe_event_id_key UNIQUE (stripe_event_id);

ALTER TABLE ONLY payments.expected_definitions
    ADD CONSTRAINT expected_definitions_pkey PRIMARY KEY (kind, object, name);

ALTER TABLE ONLY payments.expected_grants
    ADD CONSTRAINT expected_grants_pkey PRIMARY KEY (object, column_name, grantee, privilege);

ALTER TABLE ONLY payments.invariants
    ADD CONSTRAINT invariants_pkey PRIMARY KEY (name);

ALTER TABLE ONLY payments.invariants
    ADD CONSTRAINT invariants_place_key UNIQUE (place);

ALTER TABLE ONLY payments.last_expiry
    ADD CONSTRAINT last_expiry_pkey PRIMARY KEY (id);

ALTER TABLE ONLY payments.metadata_erasures
    ADD CONSTRAINT metadata_erasures_pkey PRIMARY KEY (order_group_id);

ALTER TABLE ONLY payments.notifications
    ADD CONSTRAINT notifications_pkey PRIMARY KEY (exception_id, address);

ALTER TABLE ONLY payments.reasons
    ADD CONSTRAINT reasons_pkey PRIMARY KEY (reason);

ALTER TABLE ONLY payments.refund_status_changes
    ADD CONSTRAINT refund_status_changes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY payments.refunds
    ADD CONSTRAINT refunds_pkey PRIMARY KEY (id);

ALTER TABLE ONLY payments.status_change_notes
    ADD CONSTRAINT status_change_notes_pkey PRIMARY KEY (order_group_id, status_change_id);

ALTER TABLE ONLY payments.stripe_events
    ADD CONSTRAINT stripe_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.inventory_ledger
    ADD CONSTRAINT inventory_ledger_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.order_groups
    ADD CONSTRAINT order_groups_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.order_groups
    ADD CONSTRAINT order_groups_stripe_webhook_event_id_key UNIQUE (stripe_webhook_event_id);

ALTER TABLE ONLY public.order_items
    ADD CONSTRAINT order_items_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.order_status_changes
    ADD CONSTRAINT order_status_changes_pkey PRIMARY KEY (order_group_id, id);

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_order_group_id_id_seller_id_key UNIQUE (order_group_id, id, seller_id);

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_id_seller_id_key UNIQUE (id, seller_id);

COMMENT ON CONSTRAINT products_id_seller_id_key ON public.products IS 'What the keys of items and stock refer to: whose product it is cannot change once one of them names it.';

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_seller_id_sku_key UNIQUE (seller_id, sku);

ALTER TABLE ONLY public.seller_members
    ADD CONSTRAINT seller_members_pkey PRIMARY KEY (user_id, seller_id);

ALTER TABLE ONLY public.sellers
    ADD CONSTRAINT sellers_pkey PRIMARY KEY (id);

CREATE INDEX dispute_status_changes_dispute_id_idx ON payments.dispute_status_changes USING btree (dispute_id, id);

CREATE INDEX dispute_status_changes_stripe_event_id_idx ON payments.dispute_status_changes USING btree (stripe_event_id);

CREATE INDEX disputes_created_at_idx ON payments.disputes USING btree (created_at);

CREATE INDEX disputes_currency_idx ON payments.disputes USING btree (currency);

CREATE INDEX disputes_order_group_id_idx ON payments.disputes USING btree (order_group_id);

CREATE INDEX disputes_payment_intent_id_idx ON payments.disputes USING btree (payment_intent_id);

CREATE INDEX disputes_set_aside_reason_idx ON payments.disputes USING btree (set_aside_reason);

CREATE INDEX disputes_status_changed_at_idx ON payments.disputes USING btree (status_changed_at);

CREATE INDEX exceptions_checkout_session_id_idx ON payments.exceptions USING btree (checkout_session_id);

CREATE UNIQUE INDEX exceptions_dispute_id_key ON payments.exceptions USING btree (dispute_id) WHERE (dispute_id IS NOT NULL);

CREATE INDEX exceptions_first_seen_at_idx ON payments.exceptions USING btree (first_seen_at);

CREATE INDEX exceptions_happened_at_idx ON payments.exceptions USING btree (COALESCE(event_created_at, first_seen_at));

CREATE INDEX exceptions_named_order_group_id_idx ON payments.exceptions USING btree (((details ->> 'named_order_group_id'::text))) WHERE (reason = 'foreign_account'::text);

CREATE INDEX exceptions_open_first_seen_at_idx ON payments.exceptions USING btree (first_seen_at) WHERE (status = 'open'::text);

CREATE INDEX exceptions_order_group_id_idx ON payments.exceptions USING btree (order_group_id);

CREATE INDEX exceptions_payment_intent_id_idx ON payments.exceptions USING btree (payment_intent_id);

CREATE INDEX exceptions_reason_idx ON payments.exceptions USING btree (reason);

CREATE UNIQUE INDEX exceptions_refund_id_key ON payments.exceptions USING btree (refund_id) WHERE (refund_id IS NOT NULL);

CREATE INDEX refund_status_changes_refund_id_idx ON payments.refund_status_changes USING btree (refund_id, id);

CREATE INDEX refund_status_changes_stripe_event_id_idx ON payments.refund_status_changes USING btree (stripe_event_id);

CREATE INDEX refund_status_changes_succeeded_changed_at_idx ON payments.refund_status_changes USING btree (changed_at) WHERE (from_status = 'succeeded'::text);

CREATE INDEX refunds_created_at_idx ON payments.refunds USING btree (created_at);

CREATE INDEX refunds_currency_idx ON payments.refunds USING btree (currency);

CREATE INDEX refunds_order_group_id_idx ON payments.refunds USING btree (order_group_id);

CREATE INDEX refunds_payment_intent_id_idx ON payments.refunds USING btree (payment_intent_id);

CREATE INDEX refunds_set_aside_reason_idx ON payments.refunds USING btree (set_aside_reason);

CREATE INDEX refunds_status_changed_at_idx ON payments.refunds USING btree (status_changed_at);

CREATE UNIQUE INDEX stripe_events_applied_checkout_session_id_key ON payments.stripe_events USING btree (checkout_session_id) WHERE (outcome = 'applied'::text);

CREATE UNIQUE INDEX stripe_events_applied_order_group_id_key ON payments.stripe_events USING btree (order_group_id) WHERE (outcome = 'applied'::text);

CREATE UNIQUE INDEX stripe_events_applied_payment_intent_id_key ON payments.stripe_events USING btree (payment_intent_id) WHERE (outcome = 'applied'::text);

CREATE INDEX stripe_events_happened_at_idx ON payments.stripe_events USING brin (COALESCE(created_at, processed_at) timestamptz_minmax_multi_ops);

CREATE INDEX stripe_events_order_group_id_idx ON payments.stripe_events USING btree (order_group_id);

CREATE INDEX stripe_events_processed_at_idx ON payments.stripe_events USING brin (processed_at);

CREATE INDEX inventory_ledger_adjustment_created_at_idx ON public.inventory_ledger USING btree (created_at) WHERE (entry_type = 'adjustment'::text);

CREATE INDEX inventory_ledger_adjustment_product_id_id_idx ON public.inventory_ledger USING btree (product_id, id) WHERE (entry_type = 'adjustment'::text);

CREATE INDEX inventory_ledger_created_at_idx ON public.inventory_ledger USING brin (created_at);

CREATE UNIQUE INDEX inventory_ledger_order_commit_order_item_id_key ON public.inventory_ledger USING btree (order_item_id) WHERE (entry_type = 'order_commit'::text);

CREATE INDEX inventory_ledger_order_return_created_at_idx ON public.inventory_ledger USING btree (created_at) WHERE (entry_type = 'order_return'::text);

CREATE INDEX inventory_ledger_order_return_order_item_id_idx ON public.inventory_ledger USING btree (order_item_id) WHERE (entry_type = 'order_return'::text);

CREATE INDEX inventory_ledger_product_id_idx ON public.inventory_ledger USING btree (product_id, seller_id) INCLUDE (quantity_delta, created_at);

CREATE UNIQUE INDEX inventory_ledger_receipt_key_key ON public.inventory_ledger USING btree (receipt_key) WHERE (receipt_key IS NOT NULL);

CREATE INDEX inventory_ledger_seller_id_id_idx ON public.inventory_ledger USING btree (seller_id, id);

CREATE INDEX order_groups_buyer_id_created_at_idx ON public.order_groups USING btree (buyer_id, created_at DESC) INCLUDE (id);

CREATE INDEX order_groups_currency_idx ON public.order_groups USING btree (currency);

CREATE INDEX order_groups_expiring_expires_at_idx ON public.order_groups USING btree (expires_at) WHERE ((status = 'pending'::text) AND (expires_at IS NOT NULL) AND (awaiting_funds_since IS NULL));

CREATE INDEX order_groups_paid_at_idx ON public.order_groups USING btree (paid_at) WHERE (paid_at IS NOT NULL);

CREATE INDEX order_groups_pending_created_at_idx ON public.order_groups USING btree (created_at) WHERE (status = 'pending'::text);

CREATE INDEX order_groups_reserved_product_ids_idx ON public.order_groups USING gin (reserved_product_ids) WITH (fastupdate=off) WHERE ((status = 'pending'::text) AND (reserved_product_ids IS NOT NULL));

CREATE INDEX order_groups_stripe_checkout_session_id_idx ON public.order_groups USING btree (stripe_checkout_session_id) WHERE (stripe_checkout_session_id IS NOT NULL);

CREATE INDEX order_groups_stripe_payment_intent_id_idx ON public.order_groups USING btree (stripe_payment_intent_id) WHERE (stripe_payment_intent_id IS NOT NULL);

CREATE INDEX order_items_order_group_id_idx ON public.order_items USING btree (order_group_id);

CREATE INDEX order_items_order_id_idx ON public.order_items USING btree (order_id, order_group_id, seller_id);

CREATE INDEX order_items_product_id_idx ON public.order_items USING btree (product_id, seller_id);

CREATE INDEX order_items_seller_id_idx ON public.order_items USING btree (seller_id);

CREATE INDEX order_status_changes_changed_at_idx ON public.order_status_changes USING brin (changed_at);

CREATE INDEX order_status_changes_order_id_idx ON public.order_status_changes USING btree (order_id);

CREATE INDEX order_status_changes_refunded_changed_at_idx ON public.order_status_changes USING btree (changed_at) WHERE (('refunded'::text = from_status) OR ('refunded'::text = to_status));

CREATE INDEX order_status_changes_seller_id_idx ON public.order_status_changes USING btree (seller_id);

CREATE INDEX orders_seller_id_created_at_idx ON public.orders USING btree (seller_id, created_at DESC);

CREATE INDEX orders_to_fulfil_paid_at_idx ON public.orders USING btree (paid_at) WHERE (status = 'paid'::text);

CREATE INDEX seller_members_seller_id_idx ON public.seller_members USING btree (seller_id);

CREATE TRIGGER dispute_status_changes_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON payments.dispute_status_changes FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_history__refuse_change();

ALTER TABLE payments.dispute_status_changes ENABLE ALWAYS TRIGGER dispute_status_changes_is_append_only;

CREATE TRIGGER disputes_are_kept BEFORE DELETE OR TRUNCATE ON payments.disputes FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_history__refuse_change();

ALTER TABLE payments.disputes ENABLE ALWAYS TRIGGER disputes_are_kept;

CREATE TRIGGER exceptions_are_kept BEFORE DELETE OR TRUNCATE ON payments.exceptions FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_history__refuse_change();

ALTER TABLE payments.exceptions ENABLE ALWAYS TRIGGER exceptions_are_kept;

CREATE TRIGGER exceptions_forget_notifications AFTER UPDATE ON payments.exceptions FOR EACH ROW WHEN ((new.status <> old.status)) EXECUTE FUNCTION payments.tg_exceptions__forget_notifications();

CREATE TRIGGER metadata_erasures_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON payments.metadata_erasures FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_history__refuse_change();

ALTER TABLE payments.metadata_erasures ENABLE ALWAYS TRIGGER metadata_erasures_is_append_only;

CREATE TRIGGER refund_status_changes_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON payments.refund_status_changes FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_history__refuse_change();

ALTER TABLE payments.refund_status_changes ENABLE ALWAYS TRIGGER refund_status_changes_is_append_only;

CREATE TRIGGER refunds_are_kept BEFORE DELETE OR TRUNCATE ON payments.refunds FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_history__refuse_change();

ALTER TABLE payments.refunds ENABLE ALWAYS TRIGGER refunds_are_kept;

CREATE TRIGGER status_change_notes_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON payments.status_change_notes FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_history__refuse_change();

ALTER TABLE payments.status_change_notes ENABLE ALWAYS TRIGGER status_change_notes_is_append_only;

CREATE TRIGGER stripe_events_is_append_only BEFORE DELETE OR TRUNCATE ON payments.stripe_events FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_history__refuse_change();

ALTER TABLE payments.stripe_events ENABLE ALWAYS TRIGGER stripe_events_is_append_only;

CREATE TRIGGER stripe_events_lose_metadata_alone AFTER UPDATE ON payments.stripe_events FOR EACH ROW EXECUTE FUNCTION payments.tg_stripe_events__lose_metadata_alone();

ALTER TABLE payments.stripe_events ENABLE ALWAYS TRIGGER stripe_events_lose_metadata_alone;

CREATE TRIGGER inventory_ledger_bears_seller BEFORE INSERT ON public.inventory_ledger FOR EACH ROW WHEN ((new.seller_id IS NULL)) EXECUTE FUNCTION payments.tg_inventory_ledger__bear_seller();

CREATE TRIGGER inventory_ledger_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.inventory_ledger FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_history__refuse_change();

ALTER TABLE public.inventory_ledger ENABLE ALWAYS TRIGGER inventory_ledger_is_append_only;

CREATE TRIGGER order_groups_fit_currency AFTER INSERT ON public.order_groups FOR EACH ROW EXECUTE FUNCTION payments.tg_order_groups__fit_currency();

CREATE TRIGGER order_groups_note_buyer BEFORE INSERT ON public.order_groups FOR EACH ROW WHEN ((new.buyer_id IS NOT NULL)) EXECUTE FUNCTION payments.tg_order_groups__note_buyer();

CREATE TRIGGER order_groups_start_pending BEFORE INSERT OR UPDATE OF status ON public.order_groups FOR EACH ROW EXECUTE FUNCTION payments.tg_settled__start_pending();

CREATE TRIGGER order_groups_stay BEFORE DELETE ON public.order_groups FOR EACH ROW WHEN ((old.status <> 'pending'::text)) EXECUTE FUNCTION payments.tg_order_groups__stay_settled();

CREATE TRIGGER order_groups_stay_settled AFTER UPDATE ON public.order_groups FOR EACH ROW EXECUTE FUNCTION payments.tg_order_groups__stay_settled();

CREATE TRIGGER order_groups_still_fit_currency AFTER UPDATE ON public.order_groups FOR EACH ROW WHEN (((new.currency IS DISTINCT FROM old.currency) OR (new.total_amount IS DISTINCT FROM old.total_amount))) EXECUTE FUNCTION payments.tg_order_groups__fit_currency();

CREATE TRIGGER order_items_find_promise_of_changed AFTER UPDATE ON public.order_items REFERENCING NEW TABLE AS new_items FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_order_items__find_promise();

CREATE TRIGGER order_items_find_promise_of_new AFTER INSERT ON public.order_items REFERENCING NEW TABLE AS new_items FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_order_items__find_promise();

CREATE TRIGGER order_items_need_pending_group BEFORE INSERT OR DELETE OR UPDATE ON public.order_items FOR EACH ROW EXECUTE FUNCTION payments.tg_order_items__need_pending_group();

CREATE TRIGGER order_items_stay_as_sold AFTER UPDATE ON public.order_items FOR EACH ROW EXECUTE FUNCTION payments.tg_order_items__stay_as_sold();

CREATE TRIGGER order_status_changes_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.order_status_changes FOR EACH STATEMENT EXECUTE FUNCTION payments.tg_history__refuse_change();

ALTER TABLE public.order_status_changes ENABLE ALWAYS TRIGGER order_status_changes_is_append_only;

CREATE TRIGGER orders_need_pending_group BEFORE INSERT OR DELETE ON public.orders FOR EACH ROW EXECUTE FUNCTION payments.tg_orders__need_pending_group();

CREATE TRIGGER orders_record_changes AFTER UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION payments.tg_orders__record_changes();

CREATE TRIGGER orders_refund_as_owner AFTER UPDATE ON public.orders FOR EACH ROW WHEN (((new.status = 'refunded'::text) <> (old.status = 'refunded'::text))) EXECUTE FUNCTION payments.tg_orders__refund_as_owner();

CREATE TRIGGER orders_start_pending BEFORE INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION payments.tg_settled__start_pending();

ALTER TABLE ONLY payments.dispute_status_changes
    ADD CONSTRAINT dispute_status_changes_dispute_id_fkey FOREIGN KEY (dispute_id) REFERENCES payments.disputes(id) ON DELETE RESTRICT;

ALTER TABLE ONLY payments.disputes
    ADD CONSTRAINT disputes_currency_fkey FOREIGN KEY (currency) REFERENCES payments.currencies(code);

ALTER TABLE ONLY payments.disputes
    ADD CONSTRAINT disputes_order_group_id_fkey FOREIGN KEY (order_group_id) REFERENCES public.order_groups(id) ON DELETE RESTRICT;

ALTER TABLE ONLY payments.disputes
    ADD CONSTRAINT disputes_set_aside_reason_fkey FOREIGN KEY (set_aside_reason) REFERENCES payments.reasons(reason) ON DELETE RESTRICT;

ALTER TABLE ONLY payments.exceptions
    ADD CONSTRAINT exceptions_reason_fkey FOREIGN KEY (reason) REFERENCES payments.reasons(reason) ON DELETE RESTRICT;

ALTER TABLE ONLY payments.refund_status_changes
    ADD CONSTRAINT refund_status_changes_refund_id_fkey FOREIGN KEY (refund_id) REFERENCES payments.refunds(id) ON DELETE RESTRICT;

ALTER TABLE ONLY payments.refunds
    ADD CONSTRAINT refunds_currency_fkey FOREIGN KEY (currency) REFERENCES payments.currencies(code);

ALTER TABLE ONLY payments.refunds
    ADD CONSTRAINT refunds_order_group_id_fkey FOREIGN KEY (order_group_id) REFERENCES public.order_groups(id) ON DELETE RESTRICT;

ALTER TABLE ONLY payments.refunds
    ADD CONSTRAINT refunds_set_aside_reason_fkey FOREIGN KEY (set_aside_reason) REFERENCES payments.reasons(reason) ON DELETE RESTRICT;

ALTER TABLE ONLY payments.stripe_events
    ADD CONSTRAINT stripe_events_order_group_id_fkey FOREIGN KEY (order_group_id) REFERENCES public.order_groups(id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.inventory_ledger
    ADD CONSTRAINT inventory_ledger_order_item_id_fkey FOREIGN KEY (order_item_id) REFERENCES public.order_items(id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.inventory_ledger
    ADD CONSTRAINT inventory_ledger_product_id_fkey FOREIGN KEY (product_id, seller_id) REFERENCES public.products(id, seller_id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.order_groups
    ADD CONSTRAINT order_groups_buyer_id_fkey FOREIGN KEY (buyer_id) REFERENCES auth.users(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.order_groups
    ADD CONSTRAINT order_groups_currency_fkey FOREIGN KEY (currency) REFERENCES payments.currencies(code);

ALTER TABLE ONLY public.order_items
    ADD CONSTRAINT order_items_order_id_fkey FOREIGN KEY (order_id, order_group_id, seller_id) REFERENCES public.orders(id, order_group_id, seller_id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.order_items
    ADD CONSTRAINT order_items_product_id_fkey FOREIGN KEY (product_id, seller_id) REFERENCES public.products(id, seller_id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_order_group_id_fkey FOREIGN KEY (order_group_id) REFERENCES public.order_groups(id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_seller_id_fkey FOREIGN KEY (seller_id) REFERENCES public.sellers(id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.products
    ADD CONSTRAINT products_seller_id_fkey FOREIGN KEY (seller_id) REFERENCES public.sellers(id) ON DELETE RESTRICT;

ALTER TABLE ONLY public.seller_members
    ADD CONSTRAINT seller_members_seller_id_fkey FOREIGN KEY (seller_id) REFERENCES public.sellers(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.seller_members
    ADD CONSTRAINT seller_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE;

CREATE POLICY "Nobody can read Stripe events" ON payments.stripe_events FOR SELECT USING (false);

CREATE POLICY "Nobody can read currencies" ON payments.currencies FOR SELECT USING (false);

CREATE POLICY "Nobody can read disputes" ON payments.disputes FOR SELECT USING (false);

CREATE POLICY "Nobody can read exceptions" ON payments.exceptions FOR SELECT USING (false);

CREATE POLICY "Nobody can read expected definitions" ON payments.expected_definitions FOR SELECT USING (false);

CREATE POLICY "Nobody can read expected grants" ON payments.expected_grants FOR SELECT USING (false);

CREATE POLICY "Nobody can read invariants" ON payments.invariants FOR SELECT USING (false);

CREATE POLICY "Nobody can read metadata erasures" ON payments.metadata_erasures FOR SELECT USING (false);

CREATE POLICY "Nobody can read notes of status changes" ON payments.status_change_notes FOR SELECT USING (false);

CREATE POLICY "Nobody can read notifications" ON payments.notifications FOR SELECT USING (false);

CREATE POLICY "Nobody can read reasons" ON payments.reasons FOR SELECT USING (false);

CREATE POLICY "Nobody can read refunds" ON payments.refunds FOR SELECT USING (false);

CREATE POLICY "Nobody can read steps of disputes" ON payments.dispute_status_changes FOR SELECT USING (false);

CREATE POLICY "Nobody can read steps of refunds" ON payments.refund_status_changes FOR SELECT USING (false);

CREATE POLICY "Nobody can read the last expiry" ON payments.last_expiry FOR SELECT USING (false);

ALTER TABLE payments.currencies ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.dispute_status_changes ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.disputes ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.exceptions ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.expected_definitions ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.expected_grants ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.invariants ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.last_expiry ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.metadata_erasures ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.notifications ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.reasons ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.refund_status_changes ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.refunds ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.status_change_notes ENABLE ROW LEVEL SECURITY;

ALTER TABLE payments.stripe_events ENABLE ROW LEVEL SECURITY;

CREATE POLICY "Buyers and the seller's members can read a status change" ON public.order_status_changes FOR SELECT TO authenticated USING (((seller_id = ANY (ARRAY( SELECT m.seller_id
   FROM public.seller_members m
  WHERE (m.user_id = ( SELECT auth.uid() AS uid))))) OR (order_group_id = ANY (ARRAY( SELECT g.id
   FROM public.order_groups g
  WHERE (g.buyer_id = ( SELECT auth.uid() AS uid))
  ORDER BY g.created_at DESC)))));

CREATE POLICY "Buyers and the seller's members can read an item" ON public.order_items FOR SELECT TO authenticated USING (((seller_id = ANY (ARRAY( SELECT m.seller_id
   FROM public.seller_members m
  WHERE (m.user_id = ( SELECT auth.uid() AS uid))))) OR (order_group_id = ANY (ARRAY( SELECT g.id
   FROM public.order_groups g
  WHERE (g.buyer_id = ( SELECT auth.uid() AS uid))
  ORDER BY g.created_at DESC)))));

CREATE POLICY "Buyers and the seller's members can read an order" ON public.orders FOR SELECT TO authenticated USING (((seller_id = ANY (ARRAY( SELECT m.seller_id
   FROM public.seller_members m
  WHERE (m.user_id = ( SELECT auth.uid() AS uid))))) OR (order_group_id = ANY (ARRAY( SELECT g.id
   FROM public.order_groups g
  WHERE (g.buyer_id = ( SELECT auth.uid() AS uid))
  ORDER BY g.created_at DESC)))));

CREATE POLICY "Buyers can read their own order groups" ON public.order_groups FOR SELECT TO authenticated USING ((buyer_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "Members can read their own memberships" ON public.seller_members FOR SELECT TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));

CREATE POLICY "Members can read their own sellers" ON public.sellers FOR SELECT TO authenticated USING ((id = ANY (ARRAY( SELECT m.seller_id
   FROM public.seller_members m
  WHERE (m.user_id = ( SELECT auth.uid() AS uid))))));

CREATE POLICY "Members can read their sellers' products" ON public.products FOR SELECT TO authenticated USING ((seller_id = ANY (ARRAY( SELECT m.seller_id
   FROM public.seller_members m
  WHERE (m.user_id = ( SELECT auth.uid() AS uid))))));

CREATE POLICY "Members can read their sellers' stock movements" ON public.inventory_ledger FOR SELECT TO authenticated USING ((seller_id = ANY (ARRAY( SELECT m.seller_id
   FROM public.seller_members m
  WHERE (m.user_id = ( SELECT auth.uid() AS uid))))));

ALTER TABLE public.inventory_ledger ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.order_groups ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.order_items ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.order_status_changes ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.orders ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.products ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.seller_members ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.sellers ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON TYPE payments.judgement FROM PUBLIC;

REVOKE ALL ON TYPE payments.requested_item FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.assert_pending(p_order_group_id uuid, p_status text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.assert_representable(p_amount numeric, p_currency text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.broken_invariants() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.broken_invariants_of(p_since timestamp with time zone, p_until timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.caller() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.calling_role() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.calling_user() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.cancel_held_order_groups(p_order_group_ids uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.close_as_recorded(p_refund_id text, p_dispute_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.definitions() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.describe_dispute(p_dispute payments.disputes) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.describe_event(p_event payments.stripe_events) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.describe_order_group(p_order_group_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.describe_refund(p_refund payments.refunds) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.dispute_rank(p_status text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.exceptions_of_payment(p_event payments.stripe_events) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.find_payment(p_payment_intent_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.fit_refunds(p_payment_intent_id text, p_amount_minor bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.has_paid_another_group(p_event payments.stripe_events) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.has_room(p_refund payments.refunds, p_amount_minor bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.is_all_back(p_event payments.stripe_events) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.is_normalised(p_amount_minor bigint, p_amount numeric, p_currency text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.is_representable(p_amount numeric, p_currency payments.currencies) FROM PUBLIC;

GRANT SELECT ON TABLE public.order_groups TO authenticated;
GRANT SELECT ON TABLE public.order_groups TO service_role;

GRANT INSERT(id) ON TABLE public.order_groups TO service_role;

GRANT INSERT(buyer_id) ON TABLE public.order_groups TO service_role;

GRANT INSERT(currency) ON TABLE public.order_groups TO service_role;

GRANT INSERT(total_amount) ON TABLE public.order_groups TO service_role;

GRANT INSERT(status) ON TABLE public.order_groups TO service_role;

GRANT INSERT(expires_at) ON TABLE public.order_groups TO service_role;

REVOKE ALL ON FUNCTION payments.is_requested_group(p_group public.order_groups, p_buyer_id uuid, p_currency text, p_items payments.requested_item[], p_reserve boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.is_same_event(p_known payments.stripe_events, p_event payments.stripe_events) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.judge(p_event payments.stripe_events, p_unmatched_reason text, p_group public.order_groups) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.judge_order_group_request(p_buyer_id uuid, p_currency text, p_items payments.requested_item[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.judge_taken(p_event payments.stripe_events) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.lock_order_group(p_order_group_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.lock_order_group_of_held_child(p_order_group_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.lock_payment_intent(p_payment_intent_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.malformed_field(p_orders jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.malformed_line(p_lines jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.money_lines(p_since timestamp with time zone, p_until timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.named_order_group(p_session_metadata jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.no_verdict(p_payment jsonb, p_outcome text, p_sqlstate text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.normalise_event(p_order_group_id uuid, p_stripe_event_id text, p_stripe_event_type text, p_stripe_event_created timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_session_metadata jsonb, p_source text, p_unmatched_reason text, p_account text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.normalise_refund(p_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text, p_livemode boolean, p_source text, p_stripe_event_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.open_doors() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.own_objects() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.pay(p_event payments.stripe_events, p_orders integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.preview(p_payment jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.privilege_differences() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.read_event(p_payment jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.reconcile(p_event payments.stripe_events, p_unmatched_reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.record_definitions(p_objects text[], p_parts text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.record_dispute(p_dispute payments.disputes, p_stripe_event_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.record_refund(p_refund payments.refunds, p_stripe_event_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.refund_rank(p_status text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.requested_items(p_orders jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.reserved_pieces(p_product_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION payments.reserved_pieces(p_product_id uuid) TO authenticated;
GRANT ALL ON FUNCTION payments.reserved_pieces(p_product_id uuid) TO service_role;

REVOKE ALL ON FUNCTION payments.restore_privileges() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.returnable_items(p_order_group_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.schedule_expiry() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.set_aside(p_event payments.stripe_events, p_outcome text, p_reason text, p_expected jsonb, p_named_order_group_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.set_aside_refund_or_dispute(p_refund_id text, p_dispute_id text, p_stripe_event_id text, p_order_group_id uuid, p_payment_intent_id text, p_reason text, p_expected jsonb, p_received jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.set_aside_with(p_event payments.stripe_events, p_exception_id bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.settle_payment(p_event payments.stripe_events, p_has_paid boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.settle_refunds(p_payment_intent_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tell_dispute(p_dispute payments.disputes, p_stripe_event_id text, p_order_group_id uuid, p_payment jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_exceptions__forget_notifications() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_history__refuse_change() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_inventory_ledger__bear_seller() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_order_groups__fit_currency() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_order_groups__note_buyer() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_order_groups__stay_settled() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_order_items__find_promise() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_order_items__need_pending_group() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_order_items__stay_as_sold() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_orders__need_pending_group() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_orders__record_changes() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_orders__refund_as_owner() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_settled__start_pending() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.tg_stripe_events__lose_metadata_alone() FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.unfit_refunds(p_payment_intent_id text, p_amount_minor bigint, p_currency text) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.verdict(p_order_group_id uuid, p_event_id text, p_outcome text, p_reason text, p_orders_paid integer, p_ledger_entries integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.without_metadata(p_evidence jsonb, p_order_group_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.write_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_expires_at timestamp with time zone, p_reserved_product_ids uuid[], p_items payments.requested_item[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION payments.write_returns(p_order_item_ids uuid[], p_quantities bigint[], p_note text, p_refund_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION public.advance_order(p_order_id uuid, p_status text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.advance_order(p_order_id uuid, p_status text) TO authenticated;
GRANT ALL ON FUNCTION public.advance_order(p_order_id uuid, p_status text) TO service_role;

REVOKE ALL ON FUNCTION public.cancel_order_group(p_order_group_id uuid, p_checkout_session_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.cancel_order_group(p_order_group_id uuid, p_checkout_session_id text) TO service_role;

REVOKE ALL ON FUNCTION public.claim_exception_notifications(p_address text, p_seconds integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.claim_exception_notifications(p_address text, p_seconds integer) TO service_role;

REVOKE ALL ON FUNCTION public.claim_order_group(p_order_group_id uuid, p_buyer_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.claim_order_group(p_order_group_id uuid, p_buyer_id uuid) TO service_role;

REVOKE ALL ON FUNCTION public.create_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_orders jsonb, p_expires_at timestamp with time zone, p_reserve boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.create_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_orders jsonb, p_expires_at timestamp with time zone, p_reserve boolean) TO service_role;

REVOKE ALL ON FUNCTION public.erase_order_group_metadata(p_order_group_id uuid, p_by text, p_note text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.erase_order_group_metadata(p_order_group_id uuid, p_by text, p_note text) TO service_role;

REVOKE ALL ON FUNCTION public.expire_order_groups(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.expire_order_groups(p_limit integer) TO service_role;

REVOKE ALL ON FUNCTION public.explain_order_group(p_order_group_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.explain_order_group(p_order_group_id uuid) TO service_role;

REVOKE ALL ON FUNCTION public.find_order_groups(p_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.find_order_groups(p_id text) TO service_role;

REVOKE ALL ON FUNCTION public.finish_exception_notifications(p_address text, p_exception_ids bigint[], p_is_sent boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.finish_exception_notifications(p_address text, p_exception_ids bigint[], p_is_sent boolean) TO service_role;

REVOKE ALL ON FUNCTION public.import_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_orders jsonb, p_amount_minor bigint, p_paid_at timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_stripe_event_id text, p_session_metadata jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.import_order_group(p_order_group_id uuid, p_buyer_id uuid, p_currency text, p_orders jsonb, p_amount_minor bigint, p_paid_at timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_stripe_event_id text, p_session_metadata jsonb) TO service_role;

REVOKE ALL ON FUNCTION public.list_payment_exceptions(p_status text, p_id bigint, p_event text, p_sessions text[], p_reason text, p_limit integer, p_before timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.list_payment_exceptions(p_status text, p_id bigint, p_event text, p_sessions text[], p_reason text, p_limit integer, p_before timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION public.list_refunds_and_disputes(p_since timestamp with time zone, p_until timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.list_refunds_and_disputes(p_since timestamp with time zone, p_until timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION public.note_awaiting_funds(p_order_group_id uuid, p_checkout_session_id text, p_stripe_event_id text, p_stripe_event_created timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.note_awaiting_funds(p_order_group_id uuid, p_checkout_session_id text, p_stripe_event_id text, p_stripe_event_created timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION public.payment_lines(p_since timestamp with time zone, p_until timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.payment_lines(p_since timestamp with time zone, p_until timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION public.payment_report(p_since timestamp with time zone, p_until timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.payment_report(p_since timestamp with time zone, p_until timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION public.payments_by_mode() FROM PUBLIC;
GRANT ALL ON FUNCTION public.payments_by_mode() TO service_role;

REVOKE ALL ON FUNCTION public.preview_order_group_payments(p_payments jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.preview_order_group_payments(p_payments jsonb) TO service_role;

REVOKE ALL ON FUNCTION public.reconcile_order_group_payment(p_order_group_id uuid, p_stripe_event_id text, p_stripe_event_type text, p_stripe_event_created timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_session_metadata jsonb, p_source text, p_unmatched_reason text, p_account text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.reconcile_order_group_payment(p_order_group_id uuid, p_stripe_event_id text, p_stripe_event_type text, p_stripe_event_created timestamp with time zone, p_livemode boolean, p_checkout_session_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_session_metadata jsonb, p_source text, p_unmatched_reason text, p_account text) TO service_role;

REVOKE ALL ON FUNCTION public.reconcile_order_group_payments(p_payments jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.reconcile_order_group_payments(p_payments jsonb) TO service_role;

REVOKE ALL ON FUNCTION public.reconciliation_readiness() FROM PUBLIC;
GRANT ALL ON FUNCTION public.reconciliation_readiness() TO service_role;

REVOKE ALL ON FUNCTION public.record_dispute(p_dispute_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text, p_livemode boolean, p_source text, p_stripe_event_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_dispute(p_dispute_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text, p_livemode boolean, p_source text, p_stripe_event_id text) TO service_role;

REVOKE ALL ON FUNCTION public.record_inventory_adjustment(p_product_id uuid, p_quantity_delta integer, p_note text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_inventory_adjustment(p_product_id uuid, p_quantity_delta integer, p_note text) TO service_role;

REVOKE ALL ON FUNCTION public.record_inventory_receipt(p_product_id uuid, p_quantity integer, p_note text, p_key text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_inventory_receipt(p_product_id uuid, p_quantity integer, p_note text, p_key text) TO service_role;

REVOKE ALL ON FUNCTION public.record_refund(p_refund_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text, p_livemode boolean, p_source text, p_stripe_event_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_refund(p_refund_id text, p_payment_intent_id text, p_amount_minor bigint, p_amount numeric, p_currency text, p_status text, p_created timestamp with time zone, p_reason text, p_livemode boolean, p_source text, p_stripe_event_id text) TO service_role;

REVOKE ALL ON FUNCTION public.refund_order(p_order_id uuid, p_note text, p_return_items boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.refund_order(p_order_id uuid, p_note text, p_return_items boolean) TO service_role;

REVOKE ALL ON FUNCTION public.reopen_payment_exception(p_exception_id bigint, p_by text, p_note text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.reopen_payment_exception(p_exception_id bigint, p_by text, p_note text) TO service_role;

REVOKE ALL ON FUNCTION public.resolve_payment_exception(p_exception_id bigint, p_resolution text, p_resolved_by text, p_note text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.resolve_payment_exception(p_exception_id bigint, p_resolution text, p_resolved_by text, p_note text) TO service_role;

REVOKE ALL ON FUNCTION public.return_order_items(p_order_group_id uuid, p_lines jsonb, p_note text, p_refund_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.return_order_items(p_order_group_id uuid, p_lines jsonb, p_note text, p_refund_id text) TO service_role;

REVOKE ALL ON FUNCTION public.security_findings() FROM PUBLIC;
GRANT ALL ON FUNCTION public.security_findings() TO service_role;

GRANT SELECT ON TABLE public.inventory_ledger TO authenticated;
GRANT SELECT ON TABLE public.inventory_ledger TO service_role;

GRANT SELECT ON TABLE public.products TO authenticated;
GRANT SELECT ON TABLE public.products TO service_role;

GRANT INSERT(id) ON TABLE public.products TO service_role;

GRANT INSERT(seller_id) ON TABLE public.products TO service_role;

GRANT INSERT(sku),UPDATE(sku) ON TABLE public.products TO service_role;

GRANT INSERT(name),UPDATE(name) ON TABLE public.products TO service_role;

GRANT SELECT ON TABLE public.inventory_levels TO authenticated;
GRANT SELECT ON TABLE public.inventory_levels TO service_role;

GRANT SELECT ON TABLE public.order_items TO authenticated;
GRANT SELECT ON TABLE public.order_items TO service_role;

GRANT INSERT(id) ON TABLE public.order_items TO service_role;

GRANT INSERT(order_id) ON TABLE public.order_items TO service_role;

GRANT INSERT(product_id) ON TABLE public.order_items TO service_role;

GRANT INSERT(quantity) ON TABLE public.order_items TO service_role;

GRANT INSERT(unit_amount) ON TABLE public.order_items TO service_role;

GRANT INSERT(sku) ON TABLE public.order_items TO service_role;

GRANT INSERT(title) ON TABLE public.order_items TO service_role;

GRANT SELECT ON TABLE public.order_status_changes TO authenticated;
GRANT SELECT ON TABLE public.order_status_changes TO service_role;

GRANT SELECT ON TABLE public.orders TO authenticated;
GRANT SELECT ON TABLE public.orders TO service_role;

GRANT INSERT(id) ON TABLE public.orders TO service_role;

GRANT INSERT(order_group_id) ON TABLE public.orders TO service_role;

GRANT INSERT(seller_id) ON TABLE public.orders TO service_role;

GRANT INSERT(status),UPDATE(status) ON TABLE public.orders TO service_role;

GRANT INSERT(total_amount) ON TABLE public.orders TO service_role;

GRANT SELECT ON TABLE public.seller_members TO authenticated;
GRANT SELECT,DELETE ON TABLE public.seller_members TO service_role;

GRANT INSERT(seller_id) ON TABLE public.seller_members TO service_role;

GRANT INSERT(user_id) ON TABLE public.seller_members TO service_role;

GRANT SELECT ON TABLE public.sellers TO authenticated;
GRANT SELECT ON TABLE public.sellers TO service_role;

GRANT INSERT(id) ON TABLE public.sellers TO service_role;

GRANT INSERT(name),UPDATE(name) ON TABLE public.sellers TO service_role;
