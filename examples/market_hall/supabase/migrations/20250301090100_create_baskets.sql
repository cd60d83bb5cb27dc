-- What buyers put together and pay at once. The server marks a basket paid.

create table public.baskets (
    id bigint not null generated always as identity,
    buyer_id uuid default auth.uid(),
    currency text not null,
    created_at timestamptz not null default now(),
    paid_at timestamptz,
    constraint baskets_pkey primary key (id),
    constraint baskets_buyer_id_fkey foreign key (buyer_id) references auth.users (id) on delete set null
);
create index baskets_buyer_id_idx on public.baskets (buyer_id);

create table public.basket_lines (
    id bigint not null generated always as identity,
    basket_id bigint not null,
    article_id bigint not null,
    quantity integer not null,
    price_minor integer not null,
    constraint basket_lines_pkey primary key (id),
    constraint basket_lines_basket_id_article_id_key unique (basket_id, article_id),
    constraint basket_lines_basket_id_fkey foreign key (basket_id) references public.baskets (id) on delete cascade,
    constraint basket_lines_article_id_fkey foreign key (article_id) references public.articles (id),
    constraint basket_lines_quantity_is_sensible_check check (quantity between 1 and 999)
);
create index basket_lines_article_id_idx on public.basket_lines (article_id);
comment on column public.basket_lines.price_minor is 'Of one piece, when it was put into the basket.';

-- Buyers name the article; the price is the shop's.
create function public.tg_basket_lines__take_price()
returns trigger
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    select a.price_minor
    into new.price_minor
    from public.articles as a
    inner join public.baskets as b on a.currency = b.currency
    where a.id = new.article_id and b.id = new.basket_id;
    return new;
end;
$$;
revoke execute on function public.tg_basket_lines__take_price() from public, anon, authenticated;

create trigger basket_lines_take_price
before insert on public.basket_lines
for each row execute function public.tg_basket_lines__take_price();

alter table public.baskets enable row level security;
alter table public.basket_lines enable row level security;

revoke all on table public.baskets from anon, authenticated, service_role;
revoke all on table public.basket_lines from anon, authenticated, service_role;

grant select on table public.baskets to authenticated, service_role;
grant insert (currency) on table public.baskets to authenticated;
grant update (paid_at) on table public.baskets to service_role;
grant select, delete on table public.basket_lines to authenticated;
grant insert (basket_id, article_id, quantity) on table public.basket_lines to authenticated;
grant update (quantity) on table public.basket_lines to authenticated;
grant select on table public.basket_lines to service_role;

create policy "Buyers can read their own baskets"
on public.baskets
for select
to authenticated
using (buyer_id = (select auth.uid()));

create policy "Buyers can begin a basket"
on public.baskets
for insert
to authenticated
with check (buyer_id = (select auth.uid()));

create policy "Buyers can fill their own baskets"
on public.basket_lines
for all
to authenticated
using (
    basket_id in (
        select b.id
        from public.baskets as b
    )
);
