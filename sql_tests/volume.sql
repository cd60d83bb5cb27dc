-- A marketplace that has been running for years: :groups paid order groups, ten times as many events and ledger rows. Beside
-- them one large seller, who has sold :large orders, and one large buyer, who has bought as often.
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
    id, buyer_id, buyer_since, currency, total_amount, status, created_at, paid_at,
    stripe_webhook_event_id, stripe_webhook_event_created_at, stripe_webhook_received_at,
    stripe_payment_intent_id, stripe_checkout_session_id, stripe_session_metadata
)
select
    md5('group' || n)::uuid, md5('user' || n / 5 + 1)::uuid, at, 'USD', 20, 'paid', at, at,
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

insert into public.orders (id, order_group_id, seller_id, currency, status, total_amount, created_at, paid_at)
select
    md5('order' || n || '-' || o)::uuid, md5('group' || n)::uuid, md5('seller' || (n * 2 + o) % (:groups / 20))::uuid,
    'USD', 'delivered', 10, at, at
from
    generate_series(1, :groups) as n,
    generate_series(0, 1) as o,
    lateral (select timestamptz '2024-01-01 00:00Z' + n * interval '1 minute' as at) as x;

insert into public.order_items (
    id, order_id, product_id, quantity, unit_amount, sku, title, order_group_id, seller_id
)
select
    md5('item' || n || '-' || o || '-' || i)::uuid, md5('order' || n || '-' || o)::uuid,
    md5('product' || (n * 2 + o) % (:groups / 20) || '-' || i)::uuid, i + 1, 1, 'SKU-' || i, 'Product ' || i,
    md5('group' || n)::uuid, md5('seller' || (n * 2 + o) % (:groups / 20))::uuid
from generate_series(1, :groups) as n, generate_series(0, 1) as o, generate_series(0, 1) as i;

insert into public.inventory_ledger (product_id, seller_id, entry_type, quantity_delta, note, created_at)
select
    md5('product' || n % (:groups / 20) || '-' || p)::uuid, md5('seller' || n % (:groups / 20))::uuid, 'receipt', 3,
    'delivery', timestamptz '2024-01-01 00:00Z'
from generate_series(1, :groups * 6 / 5) as n, generate_series(0, 4) as p;

insert into public.inventory_ledger (
    product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id, created_at
)
select
    md5('product' || (n * 2 + o) % (:groups / 20) || '-' || i)::uuid,
    md5('seller' || (n * 2 + o) % (:groups / 20))::uuid, md5('item' || n || '-' || o || '-' || i)::uuid,
    'order_commit', -(i + 1), 'evt_' || n || '_0', timestamptz '2024-01-01 00:00Z' + n * interval '1 minute'
from generate_series(1, :groups) as n, generate_series(0, 1) as o, generate_series(0, 1) as i;

-- Of one group in fifty a piece has come back on the next day.
insert into public.inventory_ledger (
    product_id, seller_id, order_item_id, entry_type, quantity_delta, note, created_at
)
select
    md5('product' || n * 2 % (:groups / 20) || '-1')::uuid, md5('seller' || n * 2 % (:groups / 20))::uuid,
    md5('item' || n || '-0-1')::uuid, 'order_return', 1, 'too small',
    timestamptz '2024-01-02 00:00Z' + n * interval '1 minute'
from generate_series(50, :groups, 50) as n;

-- Of one payment in ten a refund came to nothing, every fifth of them after it had succeeded.
insert into payments.refunds (
    id, payment_intent_id, order_group_id, amount_minor, amount, currency, status, created_at, livemode, source, recorded_at,
    status_changed_at
)
select 're_' || n, 'pi_' || n, md5('group' || n)::uuid, 100, 1, 'USD', 'failed', at, false, 'webhook', at, at
from
    generate_series(10, :groups, 10) as n,
    lateral (select timestamptz '2024-01-02 00:00Z' + n * interval '1 minute' as at) as x;

insert into payments.refund_status_changes (refund_id, from_status, to_status, changed_at, source)
select r.id, s.from_status, s.to_status, r.created_at, 'webhook'
from
    payments.refunds as r,
    lateral (
        select right(r.id, 2) in ('50', '00') as has_succeeded
    ) as x,
    lateral (
        values (true, null, 'succeeded', 1), (true, 'succeeded', 'failed', 2), (false, null, 'failed', 1)
    ) as s (has_succeeded, from_status, to_status, place)
where s.has_succeeded = x.has_succeeded
order by r.created_at, r.id, s.place;

-- One exception in fifty is still open.
insert into payments.exceptions (
    stripe_event_id, order_group_id, checkout_session_id, reason, details, status, resolution, resolved_by, resolved_at
)
select
    'evt_x' || n, md5('nobody' || n)::uuid, 'cs_x' || n, 'order_group_not_found', '{}',
    case when is_open then 'open' else 'resolved' end, case when not is_open then 'refunded' end,
    case when not is_open then 'volume' end, case when not is_open then now() end
from generate_series(1, :groups / 2) as n, lateral (select n % 50 = 1 as is_open) as x;

insert into auth.users (id)
select md5(name)::uuid from unnest(array['large buyer', 'large seller''s member']) as name;

insert into public.sellers (id, name) values (md5('large seller')::uuid, 'Large seller');

insert into public.seller_members (seller_id, user_id)
values (md5('large seller')::uuid, md5('large seller''s member')::uuid);

insert into public.products (id, seller_id, sku, name)
select md5('large product' || p)::uuid, md5('large seller')::uuid, 'SKU-' || lpad(p::text, 4, '0'), 'Product ' || p
from generate_series(0, 999) as p;

-- Group n is the large buyer's with one order of some seller, group :large + n some buyer's with one of the large seller.
create temporary table large_order as
select
    n, n > :large as is_of_large_seller, md5('large group' || n)::uuid as order_group_id,
    md5('large order' || n)::uuid as order_id, md5('large item' || n)::uuid as order_item_id,
    md5(case when n > :large then 'user' || n % (:groups / 5) + 1 else 'large buyer' end)::uuid as buyer_id,
    md5(case when n > :large then 'large seller' else 'seller' || n % (:groups / 20) end)::uuid as seller_id,
    md5(case when n > :large then 'large product' || n % 1000 else 'product' || n % (:groups / 20) || '-0' end)::uuid
        as product_id,
    timestamptz '2024-01-01 00:00Z' + (n % :large) * (:groups / :large) * interval '1 minute' as at
from generate_series(1, 2 * :large) as n;

insert into public.order_groups (
    id, buyer_id, buyer_since, currency, total_amount, status, created_at, paid_at,
    stripe_webhook_event_id, stripe_webhook_event_created_at, stripe_webhook_received_at,
    stripe_payment_intent_id, stripe_checkout_session_id, stripe_session_metadata
)
select
    order_group_id, buyer_id, at, 'USD', 10, 'paid', at, at, 'evt_l' || n, at, at, 'pi_l' || n, 'cs_l' || n, '{}'
from large_order;

insert into payments.stripe_events (
    id, type, created_at, received_at, processed_at, livemode, order_group_id, checkout_session_id, payment_intent_id,
    amount_minor, amount, currency, session_metadata, source, outcome
)
select
    'evt_l' || n, 'checkout.session.completed', at, at, at, false, order_group_id, 'cs_l' || n, 'pi_l' || n, 1000, 10,
    'USD', '{}', 'webhook', 'applied'
from large_order;

insert into public.orders (id, order_group_id, seller_id, currency, status, total_amount, created_at, paid_at)
select order_id, order_group_id, seller_id, 'USD', 'delivered', 10, at, at from large_order;

insert into public.order_items (
    id, order_id, product_id, quantity, unit_amount, sku, title, order_group_id, seller_id
)
select order_item_id, order_id, product_id, 1, 10, 'SKU', 'Product', order_group_id, seller_id from large_order;

insert into public.inventory_ledger (
    product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id, created_at
)
select product_id, seller_id, order_item_id, 'order_commit', -1, 'evt_l' || n, at from large_order;

insert into public.order_status_changes (
    order_group_id, order_id, seller_id, from_status, to_status, changed_at, changed_by
)
select md5('group' || n)::uuid, null, null, 'pending', 'paid', timestamptz '2024-01-01 00:00Z', 'volume'
from generate_series(1, :groups) as n
union all
select order_group_id, order_id, seller_id, 'pending', 'paid', at, 'volume' from large_order;

-- Checkouts that wait, and orders that are paid and wait, one in fifty. Of the checkouts most have a day left.
insert into public.order_groups (id, currency, total_amount, created_at, expires_at)
select
    md5('waiting' || n)::uuid, 'USD', 10, timestamptz '2024-01-01 00:00Z' + n * interval '1 minute',
    case when n % 10 <> 0 then now() + interval '1 day' + n * interval '1 minute' end
from generate_series(1, :groups / 50) as n;

update public.orders set status = 'paid' where id in (select order_id from large_order where n % 50 = 0);

set session_replication_role = origin;
