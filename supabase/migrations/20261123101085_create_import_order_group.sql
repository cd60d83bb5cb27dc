-- How what was sold before comes in: an order group that Stripe has been paid for already.
--
-- Touches: public.import_order_group(). It writes by the functions that a checkout and a payment use, so that whatever holds for
-- these holds for history. An older relay notices nothing; the sweep finds the payment known.

-- Writes an order group of the past with its orders, items, event and ledger, or nothing.
-- Called by: a script of the shop's, as service_role. Returns: an object with `outcome` (imported, already_imported where this
-- payment has paid this very group, rejected), `reason` (those of create_order_group() and reconcile_order_group_payment();
-- order_group_differs where a group of that id was not paid by this payment; payment_resolved where the payment is on record as
-- money that went back or was dismissed), `detail`, `order_group_id`, `stripe_event_id`, `orders_paid`, `ledger_entries`; raises
-- 22023 for a payment without a mode or session, or whose time is not of the past. Locks: the new order group, which
-- nobody else sees before the commit, so that a payment's locks may come after it: the event id, the payment intent.
-- What was sold had come in before: each item's pieces are a receipt first, so that the stock stays what it is.
create or replace function public.import_order_group(
    p_order_group_id uuid,
    p_buyer_id uuid,
    p_currency text,
    p_orders jsonb,
    p_amount_minor bigint,
    p_paid_at timestamptz,
    p_livemode boolean,
    p_checkout_session_id text,
    p_payment_intent_id text,
    p_stripe_event_id text default null,
    p_session_metadata jsonb default '{}'
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
comment on function public.import_order_group(
    uuid, uuid, text, jsonb, bigint, timestamptz, boolean, text, text, text, jsonb
) is 'Writes a paid order group of the past with its orders, items, event and ledger, once, or nothing. Stock stays what it is.';
revoke execute on function public.import_order_group(
    uuid, uuid, text, jsonb, bigint, timestamptz, boolean, text, text, text, jsonb
) from public, anon, authenticated;
grant execute on function public.import_order_group(
    uuid, uuid, text, jsonb, bigint, timestamptz, boolean, text, text, text, jsonb
) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values (
    'public.import_order_group(uuid,uuid,text,jsonb,bigint,timestamp with time zone,boolean,text,text,text,jsonb)',
    'service_role',
    'EXECUTE'
);
