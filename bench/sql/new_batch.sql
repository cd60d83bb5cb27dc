select public.reconcile_order_group_payments(jsonb_agg(jsonb_build_object(
    'p_order_group_id', md5('group ' || n)::uuid,
    'p_stripe_event_id', 'evt_' || n,
    'p_stripe_event_type', 'checkout.session.completed',
    'p_stripe_event_created', timestamptz '2026-11-23 10:00Z',
    'p_livemode', false,
    'p_checkout_session_id', 'cs_' || n,
    'p_payment_intent_id', 'pi_' || n,
    'p_amount_minor', 4200,
    'p_amount', '42.00',
    'p_currency', 'usd',
    'p_session_metadata', '{}'::jsonb
)))
from (select nextval('bench.next_group') as n from generate_series(1, :size::integer)) as next;
