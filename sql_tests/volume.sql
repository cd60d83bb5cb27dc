-- A marketplace that has been running for years: :groups paid order groups, ten times as many events and ledger rows.
-- For tests alone: written past triggers and foreign keys, and yet true by invariants.sql. :groups is replaced by the test.

set session_replication_role = replica;

insert into auth.users (id)
select md5('user' || n)::uuid from generate_series(1, :groups / 5) as n;

insert into public.sellers (id, name)
select md5('seller' || n)::uuid, 'Seller ' || n from generate_series(0, :groups / 20 - 1) as n;

-- A seller's member is a person who never buys.
insert into auth.users (id)
select md5('member' || n)::uuid from generate_series(0, :groups / 20 - 1) as n;

insert into public.seller_members (seller_id, user_id)
select md5('seller' || n)::uuid, md5('member' || n)::uuid from generate_series(0, :groups / 20 - 1) as n;

insert into public.products (id, seller_id, sku, name)
select md5('product' || n || '-' || p)::uuid, md5('seller' || n)::uuid, 'SKU-' || p, 'Product ' || p
from generate_series(0, :groups / 20 - 1) as n, generate_series(0, 4) as p;

insert into public.order_groups (
    id, buyer_id, currency, total_amount, status, created_at, paid_at,
    stripe_webhook_event_id, stripe_webhook_event_created_at, stripe_webhook_received_at,
    stripe_payment_intent_id, stripe_checkout_session_id, stripe_session_metadata
)
select
    md5('group' || n)::uuid, md5('user' || n / 5 + 1)::uuid, 'USD', 20, 'paid', at, at,
    'evt_' || n || '_0', at, at, 'pi_' || n, 'cs_' || n, '{}'
from generate_series(1, :groups) as n, lateral (select timestamptz '2024-01-01 00:00Z' + n * interval '1 minute' as at) as x;

insert into payments.stripe_events (
    id, type, created_at, received_at, processed_at, livemode, order_group_id, checkout_session_id, payment_intent_id,
    amount_minor, amount, currency, session_metadata, source, outcome
)
select
    'evt_' || n || '_' || e, 'checkout.session.completed', at, at, at, false, md5('group' || n)::uuid, 'cs_' || n,
    'pi_' || n, 2000, 20, 'USD', '{}', 'webhook', case e when 0 then 'applied' else 'already_paid' end
from
    generate_series(1, :groups) as n,
    generate_series(0, 9) as e,
    lateral (select timestamptz '2024-01-01 00:00Z' + n * interval '1 minute' as at) as x;

insert into public.orders (id, order_group_id, seller_id, status, total_amount, paid_at)
select
    md5('order' || n || '-' || o)::uuid, md5('group' || n)::uuid, md5('seller' || (n * 2 + o) % (:groups / 20))::uuid,
    'delivered', 10, timestamptz '2024-01-01 00:00Z' + n * interval '1 minute'
from generate_series(1, :groups) as n, generate_series(0, 1) as o;

insert into public.order_items (id, order_id, product_id, quantity, unit_amount)
select
    md5('item' || n || '-' || o || '-' || i)::uuid, md5('order' || n || '-' || o)::uuid,
    md5('product' || (n * 2 + o) % (:groups / 20) || '-' || i)::uuid, i + 1, 1
from generate_series(1, :groups) as n, generate_series(0, 1) as o, generate_series(0, 1) as i;

insert into public.inventory_ledger (product_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id)
select
    md5('product' || (n * 2 + o) % (:groups / 20) || '-' || i)::uuid, md5('item' || n || '-' || o || '-' || i)::uuid,
    'order_commit', -(i + 1), 'evt_' || n || '_0'
from generate_series(1, :groups) as n, generate_series(0, 1) as o, generate_series(0, 1) as i;

insert into public.inventory_ledger (product_id, entry_type, quantity_delta, note)
select md5('product' || n % (:groups / 20) || '-' || p)::uuid, 'receipt', 3, 'delivery'
from generate_series(1, :groups * 6 / 5) as n, generate_series(0, 4) as p;

insert into payments.exceptions (stripe_event_id, order_group_id, checkout_session_id, reason, details)
select 'evt_x' || n, md5('nobody' || n)::uuid, 'cs_x' || n, 'order_group_not_found', '{}'
from generate_series(1, :groups / 2) as n;

set session_replication_role = origin;
