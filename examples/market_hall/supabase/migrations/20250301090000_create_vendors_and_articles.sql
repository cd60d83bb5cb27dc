-- The market hall: who sells what, and how much of it lies on the shelf.

create table public.vendors (
    id bigint not null generated always as identity,
    name text not null,
    constraint vendors_pkey primary key (id),
    constraint vendors_name_key unique (name)
);

create table public.vendor_staff (
    vendor_id bigint not null,
    user_id uuid not null,
    constraint vendor_staff_pkey primary key (vendor_id, user_id),
    constraint vendor_staff_vendor_id_fkey foreign key (vendor_id) references public.vendors (id) on delete cascade,
    constraint vendor_staff_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create index vendor_staff_user_id_idx on public.vendor_staff (user_id);

create table public.articles (
    id bigint not null generated always as identity,
    vendor_id bigint not null,
    number text not null,
    title text not null,
    currency text not null,
    price_minor integer not null,
    constraint articles_pkey primary key (id),
    constraint articles_vendor_id_number_key unique (vendor_id, number),
    constraint articles_vendor_id_fkey foreign key (vendor_id) references public.vendors (id),
    constraint articles_price_minor_is_not_negative_check check (price_minor >= 0)
);
comment on column public.articles.price_minor is 'As Stripe counts: cents of EUR, whole JPY.';

create table public.shelf (
    article_id bigint not null,
    pieces integer not null,
    constraint shelf_pkey primary key (article_id),
    constraint shelf_article_id_fkey foreign key (article_id) references public.articles (id) on delete cascade
);

alter table public.vendors enable row level security;
alter table public.vendor_staff enable row level security;
alter table public.articles enable row level security;
alter table public.shelf enable row level security;

revoke all on table public.vendors from anon, authenticated, service_role;
revoke all on table public.vendor_staff from anon, authenticated, service_role;
revoke all on table public.articles from anon, authenticated, service_role;
revoke all on table public.shelf from anon, authenticated, service_role;

grant select on table public.vendors to anon, authenticated;
grant select on table public.articles to anon, authenticated;
grant select on table public.vendor_staff to authenticated;
grant select, insert, update, delete on table public.vendors to service_role;
grant select, insert, update, delete on table public.vendor_staff to service_role;
grant select, insert, update, delete on table public.articles to service_role;
grant select, insert, update, delete on table public.shelf to service_role;

create policy "Everybody can read vendors" on public.vendors for select to anon, authenticated using (true);
create policy "Everybody can read articles" on public.articles for select to anon, authenticated using (true);
create policy "Staff can read their own memberships"
on public.vendor_staff
for select
to authenticated
using (user_id = (select auth.uid()));
create policy "Nobody but the back office can read the shelf" on public.shelf for select to public using (false);
