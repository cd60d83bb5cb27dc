-- The story of an order group, for whoever asks why it is, or is not, paid.
--
-- Touches: public.explain_order_group().

-- Tells an order group's state and timeline, each entry with the rule that decided.
-- Called by: operators, as service_role. Returns: an object with `order_group` (null where there is none), `orders`,
-- `timeline` (oldest first) and `verdict`, a sentence. Money as text. Locks: nothing.
create or replace function public.explain_order_group(p_order_group_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
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
comment on function public.explain_order_group(uuid) is
    'An order group''s state and timeline, each entry with the rule that decided. Money as text.';
revoke execute on function public.explain_order_group(uuid) from public, anon, authenticated;
grant execute on function public.explain_order_group(uuid) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.explain_order_group(uuid)', 'service_role', 'EXECUTE');
