-- Order groups, their child orders, and the items.
--
-- Touches: public.order_groups, public.orders, public.order_items, their policies and grants. Amounts are in major
-- units, exact: `numeric` without a scale never rounds what a shop wrote, the checks refuse what no currency of Stripe
-- can express.
-- Postgres reads a check's expression anew for each statement that writes its table: hence the checks are as short as
-- their claims allow. Lists of words are constants, and a currency's form is a matter of payments.currencies.
-- The payment columns of a group are written by public.reconcile_order_group_payment() alone.

create table public.order_groups (
    id uuid not null default gen_random_uuid(),
    buyer_id uuid,
    currency text not null,
    total_amount numeric not null,
    status text not null default 'pending',
    created_at timestamptz not null default now(),
    paid_at timestamptz,
    stripe_webhook_event_id text,
    stripe_webhook_event_created_at timestamptz,
    stripe_webhook_received_at timestamptz,
    stripe_payment_intent_id text,
    stripe_checkout_session_id text,
    stripe_session_metadata jsonb,
    expires_at timestamptz,
    awaiting_funds_since timestamptz,
    awaiting_funds_session_id text,
    awaiting_funds_event_id text,
    reserved_product_ids uuid[],
    buyer_since timestamptz,
    refunded_amount numeric not null default 0,
    constraint order_groups_pkey primary key (id),
    constraint order_groups_buyer_id_fkey foreign key (buyer_id) references auth.users (id) on delete set null,
    constraint order_groups_currency_fkey foreign key (currency) references payments.currencies (code),
    constraint order_groups_stripe_webhook_event_id_key unique (stripe_webhook_event_id),
    constraint order_groups_total_amount_is_money_check check (
        total_amount <@ '[0, 1e15)'::pg_catalog.numrange and min_scale(total_amount) <= 3
    ),
    constraint order_groups_status_is_known_check check (
        status = any('{pending, paid, cancelled, refunded}')
    ),
    constraint order_groups_paid_has_its_payment_check check (
        status <> 'paid'
        or (
            paid_at is not null
            and stripe_webhook_event_id is not null
            and stripe_checkout_session_id is not null
        )
    ),
    constraint order_groups_unpaid_has_no_payment_check check (
        status = any('{paid, refunded}')
        or num_nonnulls(
            paid_at, stripe_webhook_event_id, stripe_payment_intent_id, stripe_checkout_session_id
        ) + sign(refunded_amount) = 0
    ),
    constraint order_groups_total_bounds_refunded_amount_check check (
        refunded_amount >= 0 and refunded_amount <= total_amount
    ),
    constraint order_groups_refunded_is_all_back_check check (
        (status = 'refunded') = (refunded_amount > 0 and refunded_amount = total_amount)
    ),
    constraint order_groups_buyer_has_its_time_check check (buyer_id is null or buyer_since is not null)
);
-- A buyer's own groups, newest first: the list of their purchases, and the array of the policies below.
create index order_groups_buyer_id_created_at_idx
on public.order_groups (buyer_id, created_at desc) include (id);
create index order_groups_currency_idx on public.order_groups (currency);
-- The sweep asks by session which group was paid; people ask by payment intent, and by when it was paid.
create index order_groups_stripe_checkout_session_id_idx
on public.order_groups (stripe_checkout_session_id) where stripe_checkout_session_id is not null;
create index order_groups_stripe_payment_intent_id_idx
on public.order_groups (stripe_payment_intent_id) where stripe_payment_intent_id is not null;
create index order_groups_paid_at_idx on public.order_groups (paid_at) where paid_at is not null;
-- Checkouts that nobody has paid, oldest first.
create index order_groups_pending_created_at_idx on public.order_groups (created_at) where status = 'pending';
-- Which pending groups promise a product, so that sold ones are never read. Without a list of pending entries, which each
-- reader would have to go through.
create index order_groups_reserved_product_ids_idx
on public.order_groups using gin (reserved_product_ids) with (fastupdate = off)
where status = 'pending' and reserved_product_ids is not null;
-- See orders.seller_id: a buyer's list in the order of time is read along its index.
alter table public.order_groups alter column buyer_id set (n_distinct = 300);
comment on table public.order_groups is
    'One checkout: one buyer pays once for one child order per seller. Frozen as soon as it is no longer pending.';
comment on column public.order_groups.buyer_id is
    'Null for a guest, or once the buyer''s account is deleted. Nobody but the buyer sees the group through the Data API.';
comment on column public.order_groups.total_amount is 'Major units of `currency`; the sum of the child orders.';
comment on column public.order_groups.paid_at is 'When the payment was recorded here; null until then, never changed after.';
comment on column public.order_groups.stripe_webhook_event_id is 'The Stripe event that paid the group.';
comment on column public.order_groups.stripe_webhook_event_created_at is 'When Stripe made that event, by Stripe''s clock.';
comment on column public.order_groups.stripe_webhook_received_at is 'When that event reached the database.';
comment on column public.order_groups.stripe_session_metadata is 'The metadata of the Checkout Session, as Stripe sent it.';
comment on column public.order_groups.expires_at is 'From when on a pending group may be cancelled; null: only by hand.';
comment on column public.order_groups.awaiting_funds_since is
    'When the buyer finished a checkout whose money is under way, by Stripe''s clock: such a group does not expire.';
comment on column public.order_groups.awaiting_funds_session_id is 'The Checkout Session whose money is under way.';
comment on column public.order_groups.awaiting_funds_event_id is 'The Stripe event that said so.';
comment on column public.order_groups.reserved_product_ids is
    'The products of a group that was created with a promise of stock, else null. It only finds the group: the pieces are its items''.';
comment on column public.order_groups.buyer_since is
    'When the group got the buyer that it has or had: created_at, or when a guest''s group was claimed. Null: a guest''s.';
comment on column public.order_groups.refunded_amount is
    'Major units: what has gone back to the buyer of the payment that paid the group. The total where the group is refunded.';

create table public.orders (
    id uuid not null default gen_random_uuid(),
    order_group_id uuid not null,
    seller_id uuid not null,
    currency text not null,
    status text not null default 'pending',
    total_amount numeric not null,
    created_at timestamptz not null default now(),
    paid_at timestamptz,
    constraint orders_pkey primary key (id),
    constraint orders_order_group_id_id_seller_id_key unique (order_group_id, id, seller_id),
    constraint orders_order_group_id_fkey
    foreign key (order_group_id) references public.order_groups (id) on delete restrict,
    constraint orders_seller_id_fkey foreign key (seller_id) references public.sellers (id) on delete restrict,
    constraint orders_status_is_known_check check (
        status = any('{pending, paid, fulfilled, shipped, delivered, cancelled, refunded}')
    ),
    constraint orders_total_amount_is_money_check check (
        total_amount <@ '[0, 1e15)'::pg_catalog.numrange and min_scale(total_amount) <= 3
    ),
    constraint orders_paid_has_its_time_check check (
        paid_at is not null or status <> all('{paid, fulfilled, shipped, delivered}')
    )
)
-- An order is updated four times on its way: its next version finds room beside it.
with (fillfactor = 80);
-- The planner's measure of how much the policies below let through, three orders in a hundred: so that a seller's list in the
-- order of time is read along its index, and everybody's own rows by a bitmap. Its own count of sellers, as a product of two
-- conditions that say the same, would let it fetch and join all orders of a large seller for a page of twenty.
alter table public.orders alter column seller_id set (n_distinct = 300);
create index orders_seller_id_created_at_idx on public.orders (seller_id, created_at desc);
-- What has been paid and waits to be fulfilled, in the order of payment.
create index orders_to_fulfil_paid_at_idx on public.orders (paid_at) where status = 'paid';
comment on table public.orders is 'One seller''s part of an order group.';
comment on column public.orders.currency is
    'The group''s, filled and frozen by the database: a seller''s member cannot see the group.';
comment on column public.orders.status is
    'pending until the group is paid or cancelled; then the seller moves it on: paid, fulfilled, shipped, delivered.';
comment on column public.orders.total_amount is 'Major units of the group''s currency, shipping and discounts included.';

create table public.order_items (
    id uuid not null default gen_random_uuid(),
    order_id uuid not null,
    product_id uuid not null,
    quantity integer not null,
    unit_amount numeric not null,
    sku text not null,
    title text not null,
    order_group_id uuid not null,
    seller_id uuid not null,
    constraint order_items_pkey primary key (id),
    constraint order_items_order_id_fkey
    foreign key (order_id, order_group_id, seller_id)
    references public.orders (id, order_group_id, seller_id) on delete restrict,
    constraint order_items_product_id_fkey
    foreign key (product_id, seller_id) references public.products (id, seller_id) on delete restrict,
    constraint order_items_quantity_is_positive_check check (quantity > 0),
    constraint order_items_unit_amount_is_money_check check (
        unit_amount >= 0 and unit_amount < 1e15 and min_scale(unit_amount) <= 3
    )
);
create index order_items_order_id_idx on public.order_items (order_id, order_group_id, seller_id);
create index order_items_product_id_idx on public.order_items (product_id, seller_id);
create index order_items_order_group_id_idx on public.order_items (order_group_id);
create index order_items_seller_id_idx on public.order_items (seller_id);
comment on table public.order_items is 'What was ordered. Each item of a paid order has exactly one order_commit in the ledger.';
comment on column public.order_items.unit_amount is
    'Major units of the group''s currency for one piece. Information: the payment is checked against the totals.';
comment on column public.order_items.sku is 'The product''s article number as sold; renaming the product changes nothing here.';
comment on column public.order_items.title is 'The product''s name as sold, or what the shop called it.';
comment on column public.order_items.order_group_id is 'The order''s, filled by the database: whose buyer may read the item.';
comment on column public.order_items.seller_id is
    'The order''s, filled by the database. Both foreign keys hold it, so that nobody sells another seller''s product.';

alter table public.order_groups enable row level security;
alter table public.orders enable row level security;
alter table public.order_items enable row level security;

revoke all on table public.order_groups from public, anon, authenticated, service_role;
revoke all on table public.orders from public, anon, authenticated, service_role;
revoke all on table public.order_items from public, anon, authenticated, service_role;

grant select on table public.order_groups to authenticated, service_role;
grant select on table public.orders to authenticated, service_role;
grant select on table public.order_items to authenticated, service_role;

-- No payment column is among these: a leaked key cannot write a payment, only ask for one.
grant insert (id, buyer_id, currency, total_amount, status, expires_at) on table public.order_groups to service_role;
grant insert (id, order_group_id, seller_id, total_amount, status) on table public.orders to service_role;
grant insert (id, order_id, product_id, quantity, unit_amount, sku, title) on table public.order_items to service_role;
grant update (status) on table public.orders to service_role;

insert into payments.expected_grants (object, grantee, privilege)
values
('public.order_groups', 'authenticated', 'SELECT'),
('public.order_groups', 'service_role', 'SELECT'),
('public.orders', 'authenticated', 'SELECT'),
('public.orders', 'service_role', 'SELECT'),
('public.order_items', 'authenticated', 'SELECT'),
('public.order_items', 'service_role', 'SELECT');
insert into payments.expected_grants (object, column_name, grantee, privilege)
select
    g.object,
    regexp_split_to_table(g.column_names, ', ') as column_name,
    'service_role' as grantee,
    g.privilege
from (
    values
    ('public.order_groups', 'INSERT', 'id, buyer_id, currency, total_amount, status, expires_at'),
    ('public.orders', 'INSERT', 'id, order_group_id, seller_id, total_amount, status'),
    ('public.orders', 'UPDATE', 'status'),
    ('public.order_items', 'INSERT', 'id, order_id, product_id, quantity, unit_amount, sku, title')
) as g (object, privilege, column_names);

create policy "Buyers can read their own order groups"
on public.order_groups
for select
to authenticated
using (buyer_id = (select auth.uid()));

-- Each row bears what decides who may read it, so that no policy asks about another row, and both arms have an index. A
-- buyer's groups are an array too, newest first: who reads the newest of many purchases finds them at its beginning.
create policy "Buyers and the seller's members can read an order"
on public.orders
for select
to authenticated
using (
    seller_id = any(array(
        select m.seller_id
        from public.seller_members as m
        where m.user_id = (select auth.uid())
    ))
    or order_group_id = any(array(
        select g.id
        from public.order_groups as g
        where g.buyer_id = (select auth.uid())
        order by g.created_at desc
    ))
);

create policy "Buyers and the seller's members can read an item"
on public.order_items
for select
to authenticated
using (
    seller_id = any(array(
        select m.seller_id
        from public.seller_members as m
        where m.user_id = (select auth.uid())
    ))
    or order_group_id = any(array(
        select g.id
        from public.order_groups as g
        where g.buyer_id = (select auth.uid())
        order by g.created_at desc
    ))
);
