\set number random(1, :recorded)
select public.reconcile_order_group_payment(
    p_order_group_id => md5('old group ' || n)::uuid,
    p_stripe_event_id => 'evt_old' || n,
    p_stripe_event_type => 'checkout.session.completed',
    p_stripe_event_created => timestamptz '2025-01-01 00:00Z',
    p_livemode => false,
    p_checkout_session_id => 'cs_old' || n,
    p_payment_intent_id => 'pi_old' || n,
    p_amount_minor => 4200,
    p_amount => 42.00,
    p_currency => 'usd',
    p_session_metadata => '{}'
)
from (select :number::bigint as n) as next;
