-- What is true of money and stock at every moment. No row: all is well. A row names what is broken, and its subject.
-- Written by `make schema` from payments.broken_invariants().
--
-- One statement, so that all of it is read from one snapshot; it writes nothing, and may run beside live traffic:
--     psql "$DATABASE_URL" --no-psqlrc --set ON_ERROR_STOP=1 --file sql_tests/invariants.sql
-- Run it as `postgres`, which reads past row-level security; another role would see less and report too little.
-- Each part is a join over whole tables (hash or merge), no function per row: minutes, not hours, on a big database.

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
