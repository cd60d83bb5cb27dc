-- What an id is about, whatever kind of id it is.
--
-- Touches: public.find_order_groups(). Whoever has one id of a payment, from Stripe's dashboard, a log or a buyer, gets to the
-- story of its order group. An older relay notices nothing.

-- Finds the order groups and exceptions that an id is about: of an order group, order or item, a payment intent, Checkout
-- Session, event, refund or dispute, or an exception's number.
-- Called by: `relay explain`, as service_role. Returns: an object with `order_groups` and `exceptions`, arrays of ids, and what is
-- recorded under this id itself, or under this payment intent, as `refunds` and `disputes`; all are empty where nothing has it. A
-- group that a payment only named is among the first where it exists. Locks: nothing.
create or replace function public.find_order_groups(p_id text)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set random_page_cost = 1.1
as $$
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
$$;
comment on function public.find_order_groups(text) is
    'The order groups and exceptions that an id is about: Stripe''s ids, our own, or an exception''s number.';
revoke execute on function public.find_order_groups(text) from public, anon, authenticated;
grant execute on function public.find_order_groups(text) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.find_order_groups(text)', 'service_role', 'EXECUTE');
