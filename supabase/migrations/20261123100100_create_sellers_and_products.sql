-- Who sells what.
--
-- Touches: public.sellers, public.seller_members, public.products, their policies and grants. Every privilege is
-- written out, because a new Supabase project grants nothing by itself and an old one grants everything to everybody.
-- An older relay notices nothing.

create table public.sellers (
    id uuid not null default gen_random_uuid(),
    name text not null,
    created_at timestamptz not null default now(),
    constraint sellers_pkey primary key (id),
    constraint sellers_name_is_not_blank_check check (btrim(name) <> '')
);
comment on table public.sellers is 'A shop of the marketplace. Each has its own child order in an order group.';

create table public.seller_members (
    seller_id uuid not null,
    user_id uuid not null,
    created_at timestamptz not null default now(),
    constraint seller_members_pkey primary key (user_id, seller_id),
    constraint seller_members_seller_id_fkey foreign key (seller_id) references public.sellers (id) on delete cascade,
    constraint seller_members_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create index seller_members_seller_id_idx on public.seller_members (seller_id);
comment on table public.seller_members is 'The people who may see a seller''s orders, items, products and stock.';

create table public.products (
    id uuid not null default gen_random_uuid(),
    seller_id uuid not null,
    sku text not null,
    name text not null,
    created_at timestamptz not null default now(),
    constraint products_pkey primary key (id),
    constraint products_seller_id_sku_key unique (seller_id, sku),
    constraint products_id_seller_id_key unique (id, seller_id),
    constraint products_seller_id_fkey foreign key (seller_id) references public.sellers (id) on delete restrict
);
comment on table public.products is 'What a seller sells. Stock is counted per product in public.inventory_ledger.';
comment on column public.products.sku is 'The seller''s own article number, unique within the seller.';
comment on constraint products_id_seller_id_key on public.products is
    'What the keys of items and stock refer to: whose product it is cannot change once one of them names it.';

alter table public.sellers enable row level security;
alter table public.seller_members enable row level security;
alter table public.products enable row level security;

revoke all on table public.sellers from public, anon, authenticated, service_role;
revoke all on table public.seller_members from public, anon, authenticated, service_role;
revoke all on table public.products from public, anon, authenticated, service_role;

grant select on table public.sellers to authenticated, service_role;
grant select on table public.seller_members to authenticated, service_role;
grant select on table public.products to authenticated, service_role;

grant insert (id, name) on table public.sellers to service_role;
grant insert (seller_id, user_id) on table public.seller_members to service_role;
grant insert (id, seller_id, sku, name) on table public.products to service_role;
grant update (name) on table public.sellers to service_role;
grant update (sku, name) on table public.products to service_role;
grant delete on table public.seller_members to service_role;

insert into payments.expected_grants (object, grantee, privilege)
values
('public.sellers', 'authenticated', 'SELECT'),
('public.sellers', 'service_role', 'SELECT'),
('public.seller_members', 'authenticated', 'SELECT'),
('public.seller_members', 'service_role', 'SELECT'),
('public.products', 'authenticated', 'SELECT'),
('public.products', 'service_role', 'SELECT'),
('public.seller_members', 'service_role', 'DELETE');
insert into payments.expected_grants (object, column_name, grantee, privilege)
select
    g.object,
    regexp_split_to_table(g.column_names, ', ') as column_name,
    'service_role' as grantee,
    g.privilege
from (
    values
    ('public.sellers', 'INSERT', 'id, name'),
    ('public.seller_members', 'INSERT', 'seller_id, user_id'),
    ('public.products', 'INSERT', 'id, seller_id, sku, name'),
    ('public.sellers', 'UPDATE', 'name'),
    ('public.products', 'UPDATE', 'sku, name')
) as g (object, privilege, column_names);

-- `array(select ...)` runs once per statement and leaves an indexable `= any(...)`. It is for short arrays, because each row
-- that is reached by another index is compared with one element after the other: a person belongs to a few sellers.
create policy "Members can read their own memberships"
on public.seller_members
for select
to authenticated
using (user_id = (select auth.uid()));

create policy "Members can read their own sellers"
on public.sellers
for select
to authenticated
using (
    id = any(array(
        select m.seller_id
        from public.seller_members as m
        where m.user_id = (select auth.uid())
    ))
);

create policy "Members can read their sellers' products"
on public.products
for select
to authenticated
using (
    seller_id = any(array(
        select m.seller_id
        from public.seller_members as m
        where m.user_id = (select auth.uid())
    ))
);
