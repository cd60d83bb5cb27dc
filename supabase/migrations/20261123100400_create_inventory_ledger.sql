-- Stock as a ledger: what is on hand is the sum of what happened.
--
-- Touches: public.inventory_ledger, public.inventory_levels, payments.reserved_pieces(), policies and grants. Rows are written
-- by functions alone and never changed; stock may become negative, because a payment that arrived is recorded whatever the
-- shelf says. What is promised to pending groups is counted when somebody asks, and stored nowhere.

create table public.inventory_ledger (
    id bigint not null generated always as identity,
    product_id uuid not null,
    seller_id uuid not null,
    order_item_id uuid,
    entry_type text not null,
    quantity_delta integer not null,
    stripe_webhook_event_id text,
    note text,
    created_at timestamptz not null default clock_timestamp(),
    receipt_key text,
    stripe_refund_id text,
    recorded_by text,
    constraint inventory_ledger_pkey primary key (id),
    constraint inventory_ledger_product_id_fkey
    foreign key (product_id, seller_id) references public.products (id, seller_id) on delete restrict,
    constraint inventory_ledger_order_item_id_fkey
    foreign key (order_item_id) references public.order_items (id) on delete restrict,
    constraint inventory_ledger_entry_type_is_known_check check (
        entry_type = any('{order_commit, order_return, receipt, adjustment}')
    ),
    constraint inventory_ledger_order_commit_takes_stock_check check (
        entry_type <> 'order_commit'
        or (quantity_delta < 0 and order_item_id is not null and stripe_webhook_event_id is not null)
    ),
    constraint inventory_ledger_order_return_adds_stock_check check (
        entry_type <> 'order_return' or (quantity_delta > 0 and order_item_id is not null and note is not null)
    ),
    constraint inventory_ledger_receipt_adds_stock_check check (
        entry_type <> 'receipt' or quantity_delta > 0
    ),
    constraint inventory_ledger_quantity_delta_is_not_zero_check check (quantity_delta <> 0),
    constraint inventory_ledger_only_orders_have_an_item_check check (
        order_item_id is null or entry_type = any('{order_commit, order_return}')
    ),
    constraint inventory_ledger_only_order_commit_has_an_event_check check (
        stripe_webhook_event_id is null or entry_type = 'order_commit'
    ),
    constraint inventory_ledger_only_order_return_has_a_refund_check check (
        stripe_refund_id is null or entry_type = 'order_return'
    ),
    constraint inventory_ledger_only_receipt_has_a_key_check check (receipt_key is null or entry_type = 'receipt')
);
create unique index inventory_ledger_order_commit_order_item_id_key
on public.inventory_ledger (order_item_id) where entry_type = 'order_commit';
-- What has come back: of an item, and in a report's window. A payment writes no row of these.
create index inventory_ledger_order_return_order_item_id_idx
on public.inventory_ledger (order_item_id) where entry_type = 'order_return';
create index inventory_ledger_order_return_created_at_idx
on public.inventory_ledger (created_at) where entry_type = 'order_return';
-- What people have corrected, for the report and for the story of a group whose product it is.
create index inventory_ledger_adjustment_created_at_idx
on public.inventory_ledger (created_at) where entry_type = 'adjustment';
create index inventory_ledger_adjustment_product_id_id_idx
on public.inventory_ledger (product_id, id) where entry_type = 'adjustment';
create unique index inventory_ledger_receipt_key_key
on public.inventory_ledger (receipt_key) where receipt_key is not null;
-- What is or was on hand is added up from the index alone.
create index inventory_ledger_product_id_idx
on public.inventory_ledger (product_id, seller_id) include (quantity_delta, created_at);
-- A seller's movements, the last ones first.
create index inventory_ledger_seller_id_id_idx on public.inventory_ledger (seller_id, id);
-- The report's window. Rows are added in the order of time and stay where they are: such an index costs a payment nothing.
create index inventory_ledger_created_at_idx on public.inventory_ledger using brin (created_at);
comment on table public.inventory_ledger is 'Every movement of stock, in the order it was recorded. Append-only.';
comment on column public.inventory_ledger.entry_type is
    'order_commit: sold, once per order item; order_return: sold pieces came back; receipt: goods came in; adjustment: counted, lost, broken.';
comment on column public.inventory_ledger.seller_id is 'The product''s, whose members may read the entry.';
comment on column public.inventory_ledger.created_at is
    'When stock moved. An order_commit bears the time at which its payment was processed: money and stock have one clock.';
comment on column public.inventory_ledger.quantity_delta is 'Pieces, positive when stock grows.';
comment on column public.inventory_ledger.stripe_webhook_event_id is
    'The event that paid. No foreign key: it is written in the event''s own transaction, and a check per item would cost more than it tells.';
comment on column public.inventory_ledger.note is 'Why, for an auditor: of an adjustment and of an order_return always.';
comment on column public.inventory_ledger.stripe_refund_id is
    'The refund for which goods came back, where the shop named one. No foreign key: goods may come back before word of the money.';
comment on column public.inventory_ledger.recorded_by is
    'The user''s id where the call carries one, else the role. Null for an order_commit: its event says who paid.';
comment on column public.inventory_ledger.receipt_key is
    'The caller''s own name for a delivery of goods, under which it is recorded once: a delivery note''s number, say.';

alter table public.inventory_ledger enable row level security;
revoke all on table public.inventory_ledger from public, anon, authenticated, service_role;
revoke all on sequence public.inventory_ledger_id_seq from public, anon, authenticated, service_role;
grant select on table public.inventory_ledger to authenticated, service_role;

create policy "Members can read their sellers' stock movements"
on public.inventory_ledger
for select
to authenticated
using (
    seller_id = any(array(
        select m.seller_id
        from public.seller_members as m
        where m.user_id = (select auth.uid())
    ))
);

-- Counts the pieces of a product that pending groups were promised: groups that were created with p_reserve and have not
-- expired, or whose money is under way.
-- Called by: public.inventory_levels, so by whoever may read it. A member sees no order groups: hence it runs as its owner,
-- and tells nothing but a number. Nobody may enter its schema, so that it cannot be asked about another seller's product.
-- Returns: pieces, zero where none are promised. Locks: nothing.
create or replace function payments.reserved_pieces(p_product_id uuid)
returns bigint
language plpgsql
stable
security definer
set search_path = ''
set random_page_cost = 1.1
as $$
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
comment on function payments.reserved_pieces(uuid) is 'Pieces of a product that pending order groups were promised.';
revoke execute on function payments.reserved_pieces(uuid) from public, anon, authenticated, service_role;
grant execute on function payments.reserved_pieces(uuid) to authenticated, service_role;

-- Lateral, so that a page of the list adds up its own products and no others.
create view public.inventory_levels
with (security_invoker = on) as
select
    p.id as product_id,
    p.seller_id,
    p.sku,
    p.name,
    coalesce(l.on_hand, 0)::bigint as on_hand,
    payments.reserved_pieces(p.id) as reserved,
    coalesce(l.on_hand, 0)::bigint - payments.reserved_pieces(p.id) as available
from public.products as p
left join lateral (
    select sum(e.quantity_delta) as on_hand
    from public.inventory_ledger as e
    where e.product_id = p.id
) as l on true;
comment on view public.inventory_levels is
    'Pieces per product: on hand, promised to pending order groups, and what is left for the next one.';
revoke all on table public.inventory_levels from public, anon, authenticated, service_role;
grant select on table public.inventory_levels to authenticated, service_role;

insert into payments.expected_grants (object, grantee, privilege)
values
('public.inventory_ledger', 'authenticated', 'SELECT'),
('public.inventory_ledger', 'service_role', 'SELECT'),
('public.inventory_levels', 'authenticated', 'SELECT'),
('public.inventory_levels', 'service_role', 'SELECT'),
('payments.reserved_pieces(uuid)', 'authenticated', 'EXECUTE'),
('payments.reserved_pieces(uuid)', 'service_role', 'EXECUTE');
