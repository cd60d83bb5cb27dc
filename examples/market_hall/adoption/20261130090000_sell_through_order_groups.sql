-- The market hall takes its payments through order groups.
--
-- Touches: columns that say which seller, product, order group and order item stands for which vendor, article, basket
-- and basket line; triggers that keep both sides equal; public.check_out_basket(), public.reopen_basket(). From here on
-- "paid" and "on the shelf" are read where they are decided, and written nowhere else: baskets.paid_at becomes a function,
-- shelf a view, each under its old name. Needs the migrations of the order group relay before it.
--
-- The hall's tables are small: they are locked for the moment that the push takes. A shop with millions of lines adds the
-- columns, fills them and adds the constraints in migrations of their own.
-- squawk-ignore-file adding-not-nullable-field, disallowed-unique-constraint

-- Vendors are sellers, their staff are members -------------------------------------------------------------------

alter table public.vendors add column seller_id uuid;

-- Gives a vendor its seller, and both one name.
-- Called by: trigger on vendors. Returns: the row with its seller. Locks: the seller.
create function public.tg_vendors__mirror_seller()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    new.seller_id := coalesce(new.seller_id, gen_random_uuid());
    insert into public.sellers (id, name)
    values (new.seller_id, new.name)
    on conflict (id) do update set name = excluded.name;
    return new;
end;
$$;
comment on function public.tg_vendors__mirror_seller() is 'Each vendor has a seller of the same name.';
revoke execute on function public.tg_vendors__mirror_seller() from public, anon, authenticated, service_role;

create trigger vendors_mirror_seller
before insert or update of name on public.vendors
for each row execute function public.tg_vendors__mirror_seller();

-- The trigger does for the vendors that are there what it does for those to come.
update public.vendors set name = name
where seller_id is null;
alter table public.vendors
alter column seller_id set not null,
add constraint vendors_seller_id_key unique (seller_id),
add constraint vendors_seller_id_fkey foreign key (seller_id) references public.sellers (id);

-- Lets staff see their vendor's orders and stock, as long as they are staff.
-- Called by: trigger on vendor_staff. Returns: nothing. Locks: nothing that a payment waits for.
create function public.tg_vendor_staff__mirror_members()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if tg_op <> 'INSERT' then
        delete from public.seller_members as m
        using public.vendors as v
        where v.id = old.vendor_id and m.seller_id = v.seller_id and m.user_id = old.user_id;
    end if;
    if tg_op <> 'DELETE' then
        insert into public.seller_members (seller_id, user_id)
        select
            v.seller_id,
            new.user_id
        from public.vendors as v
        where v.id = new.vendor_id;
    end if;
    return null;
end;
$$;
comment on function public.tg_vendor_staff__mirror_members() is 'A vendor''s staff are the members of its seller.';
revoke execute on function public.tg_vendor_staff__mirror_members() from public, anon, authenticated, service_role;

create trigger vendor_staff_mirror_members
after insert or update or delete on public.vendor_staff
for each row execute function public.tg_vendor_staff__mirror_members();

insert into public.seller_members (seller_id, user_id)
select
    v.seller_id,
    s.user_id
from public.vendor_staff as s
inner join public.vendors as v on s.vendor_id = v.id;

-- Articles are products -------------------------------------------------------------------------------------------

alter table public.articles add column product_id uuid;

-- Gives an article its product, and both one number and one title.
-- Called by: trigger on articles. Returns: the row with its product, or raises 23514 where it would go to another vendor:
-- what was ordered stays the product of who sold it. Locks: the product.
create function public.tg_articles__mirror_product()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    new.product_id := coalesce(new.product_id, gen_random_uuid());
    insert into public.products (id, seller_id, sku, name)
    select
        new.product_id,
        v.seller_id,
        new.number,
        new.title
    from public.vendors as v
    where v.id = new.vendor_id
    on conflict (id) do update set sku = excluded.sku, name = excluded.name
    where public.products.seller_id = excluded.seller_id;
    if not found then
        raise exception 'article % stays with its vendor', new.id
            using errcode = 'check_violation', constraint = 'articles_stay_with_their_vendor';
    end if;
    return new;
end;
$$;
comment on function public.tg_articles__mirror_product() is 'Each article has a product of its vendor''s seller.';
revoke execute on function public.tg_articles__mirror_product() from public, anon, authenticated, service_role;

create trigger articles_mirror_product
before insert or update of vendor_id, number, title on public.articles
for each row execute function public.tg_articles__mirror_product();

update public.articles set title = title
where product_id is null;
alter table public.articles
alter column product_id set not null,
add constraint articles_product_id_key unique (product_id),
add constraint articles_product_id_fkey foreign key (product_id) references public.products (id);

-- The shelf is the sum of the ledger ------------------------------------------------------------------------------

-- What was counted is handed over once, as goods that came in. Zero pieces make no entry.
select public.record_inventory_receipt(a.product_id, s.pieces, 'handed over from public.shelf')
from public.shelf as s
inner join public.articles as a on s.article_id = a.id
where s.pieces > 0;

-- squawk-ignore ban-drop-table
drop table public.shelf;

-- Readers find their columns as before; who counted now calls record_inventory_receipt or record_inventory_adjustment.
create view public.shelf
with (security_invoker = on) as
select
    a.id as article_id,
    l.on_hand as pieces
from public.articles as a
inner join public.inventory_levels as l on a.product_id = l.product_id;
comment on view public.shelf is 'Pieces of each article, as public.inventory_ledger sums them up.';
revoke all on table public.shelf from public, anon, authenticated, service_role;
grant select on table public.shelf to service_role;

-- A basket becomes an order group, a line an item -----------------------------------------------------------------

alter table public.baskets
add column order_group_id uuid,
add constraint baskets_order_group_id_key unique (order_group_id),
add constraint baskets_order_group_id_fkey foreign key (order_group_id) references public.order_groups (id),
add constraint baskets_currency_fkey foreign key (currency) references payments.currencies (code);
create index baskets_currency_idx on public.baskets (currency);
comment on column public.baskets.order_group_id is 'The checkout that the buyer is in, or has paid; null while the basket is open.';

alter table public.basket_lines
add column order_item_id uuid,
add constraint basket_lines_order_item_id_key unique (order_item_id),
add constraint basket_lines_order_item_id_fkey foreign key (order_item_id) references public.order_items (id);

-- Keeps the lines of a basket that is checked out as the buyer is asked to pay them.
-- Called by: trigger on basket_lines. Returns: the row, or raises 23514. Locks: the basket, so that an edit comes either
-- before the checkout, and is in it, or after it, and is refused. Never for update: see check_out_basket().
create function public.tg_basket_lines__need_open_basket()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    perform b.id
    from public.baskets as b
    where b.id in (old.basket_id, new.basket_id)
    order by b.id
    for no key update;

    if exists (
        select 1
        from public.baskets as b
        where
            b.id in (old.basket_id, new.basket_id)
            and (b.order_group_id is not null or b.paid_before_adoption_at is not null)
    ) then
        raise exception 'basket % is checked out: reopen it before its lines change', coalesce(new.basket_id, old.basket_id)
            using errcode = 'check_violation', constraint = 'basket_lines_need_open_basket';
    end if;
    return coalesce(new, old);
end;
$$;
comment on function public.tg_basket_lines__need_open_basket() is 'Lines change in open baskets only, under the basket''s lock.';
revoke execute on function public.tg_basket_lines__need_open_basket() from public, anon, authenticated, service_role;

create trigger basket_lines_need_open_basket
before insert or delete or update of basket_id, article_id, quantity, price_minor on public.basket_lines
for each row execute function public.tg_basket_lines__need_open_basket();

-- Turns an open basket into a pending order group: an order per vendor, an item per line, for exactly the lines' prices.
-- Called by: the shop's server, as service_role, before it makes the Checkout Session; again, it tells the same. Returns:
-- what create_order_group() answers, or `outcome` rejected with `reason` basket_not_found, basket_empty, basket_is_paid.
-- Locks: the basket. Not `for update`: the payment's trigger below refers to the basket while it holds the group, and
-- reopen_basket() asks for the two in the other order.
create function public.check_out_basket(p_basket_id bigint)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
as $$
declare
    v_basket public.baskets%rowtype;
    v_status text;
    v_orders jsonb;
    v_reason text;
    v_answer jsonb;
begin
    select b.*
    into v_basket
    from public.baskets as b
    where b.id = p_basket_id
    for no key update;

    select g.status
    into v_status
    from public.order_groups as g
    where g.id = v_basket.order_group_id;

    select jsonb_agg(o.vendors_part)
    into v_orders
    from (
        select
            jsonb_build_object(
                'seller_id', v.seller_id,
                'total_amount', round(sum(l.quantity * l.price_minor::numeric) / max(c.minor_per_major), max(c.exponent)),
                'items', jsonb_agg(
                    jsonb_build_object(
                        'product_id', a.product_id,
                        'quantity', l.quantity,
                        'unit_amount', round(l.price_minor::numeric / c.minor_per_major, c.exponent)
                    )
                )
            ) as vendors_part
        from public.basket_lines as l
        inner join public.articles as a on l.article_id = a.id
        inner join public.vendors as v on a.vendor_id = v.id
        inner join payments.currencies as c on c.code = v_basket.currency
        where l.basket_id = p_basket_id
        group by v.seller_id
    ) as o;

    v_reason := case
        when v_basket.id is null then 'basket_not_found'
        when v_basket.paid_before_adoption_at is not null or v_status in ('paid', 'refunded') then 'basket_is_paid'
        when v_orders is null then 'basket_empty'
    end;
    if v_reason is not null then
        return jsonb_build_object('outcome', 'rejected', 'reason', v_reason);
    end if;

    v_answer := public.create_order_group(
        case when v_status = 'pending' then v_basket.order_group_id else gen_random_uuid() end,
        v_basket.buyer_id,
        v_basket.currency,
        v_orders
    );
    if v_answer ->> 'outcome' = 'created' then
        update public.baskets as b
        set order_group_id = (v_answer ->> 'order_group_id')::uuid
        where b.id = p_basket_id;

        update public.basket_lines as l
        set order_item_id = i.id
        from public.articles as a
        inner join public.order_items as i on a.product_id = i.product_id
        where
            l.basket_id = p_basket_id
            and a.id = l.article_id
            and i.order_group_id = (v_answer ->> 'order_group_id')::uuid;
    end if;
    return v_answer;
end;
$$;
comment on function public.check_out_basket(bigint) is
    'Turns a basket into a pending order group and tells what Stripe is to charge; again, it tells the same.';
revoke execute on function public.check_out_basket(bigint) from public, anon, authenticated;
grant execute on function public.check_out_basket(bigint) to service_role;

-- Gives a checkout up, so that the buyer may change the basket.
-- Called by: the shop's server, as service_role; it then expires the Checkout Session. Returns: an object with `outcome`
-- (reopened, already_open, rejected), `reason` (basket_not_found, basket_is_paid), `order_group_id`. A payment that still
-- arrives is kept as an exception, because the group is cancelled. Locks: the basket, then the group.
create function public.reopen_basket(p_basket_id bigint)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
as $$
declare
    v_basket public.baskets%rowtype;
    v_outcome text := 'rejected';
    v_reason text;
begin
    select b.*
    into v_basket
    from public.baskets as b
    where b.id = p_basket_id
    for no key update;

    case
        when v_basket.id is null then
            v_reason := 'basket_not_found';
        when v_basket.paid_before_adoption_at is not null then
            v_reason := 'basket_is_paid';
        when v_basket.order_group_id is null then
            v_outcome := 'already_open';
        -- Whether it was paid meanwhile is decided under the group's lock, by nobody else.
        when public.cancel_order_group(v_basket.order_group_id) ->> 'outcome' = 'rejected' then
            v_reason := 'basket_is_paid';
        else
            v_outcome := 'reopened';

            update public.basket_lines as l
            set order_item_id = null
            where l.basket_id = p_basket_id;

            update public.baskets as b
            set order_group_id = null
            where b.id = p_basket_id;
    end case;
    return jsonb_build_object('outcome', v_outcome, 'reason', v_reason, 'order_group_id', v_basket.order_group_id);
end;
$$;
comment on function public.reopen_basket(bigint) is 'Cancels a basket''s pending order group and opens the basket again.';
revoke execute on function public.reopen_basket(bigint) from public, anon, authenticated;
grant execute on function public.reopen_basket(bigint) to service_role;

-- Paid is what the order group says -------------------------------------------------------------------------------

-- What was paid before stays on record, and nobody marks a basket paid any more.
-- squawk-ignore renaming-column
alter table public.baskets rename column paid_at to paid_before_adoption_at;
revoke update on table public.baskets from service_role;
comment on column public.baskets.paid_before_adoption_at is 'Of baskets without an order group. Read paid_at(baskets).';

-- When a basket was paid: `select b.paid_at from public.baskets as b`, and `?select=id,paid_at` in the Data API.
-- Called by: whoever may read the basket. Returns: null until it is paid. Locks: nothing.
create function public.paid_at(p_basket public.baskets)
returns timestamptz
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(p_basket.paid_before_adoption_at, (
        select g.paid_at
        from public.order_groups as g
        where g.id = p_basket.order_group_id
    ));
$$;
comment on function public.paid_at(public.baskets) is 'When the basket was paid, by its order group where it has one.';
revoke execute on function public.paid_at(public.baskets) from public, anon;
grant execute on function public.paid_at(public.baskets) to authenticated, service_role;

-- Whoever packs takes from here; mail and parcels have no place in a payment's transaction.
create table public.paid_baskets (
    basket_id bigint not null,
    queued_at timestamptz not null default now(),
    packed_at timestamptz,
    constraint paid_baskets_pkey primary key (basket_id),
    constraint paid_baskets_basket_id_fkey foreign key (basket_id) references public.baskets (id)
);
comment on table public.paid_baskets is 'Paid baskets, to be packed; queued in the payment''s own transaction, once.';
alter table public.paid_baskets enable row level security;
create policy "Nobody but the back office can read paid baskets"
on public.paid_baskets
for select
to public
using (false);
revoke all on table public.paid_baskets from public, anon, authenticated, service_role;
grant select, update (packed_at) on table public.paid_baskets to service_role;

-- Queues the basket of an order group that is paid.
-- Called by: trigger on order_groups, inside the payment. Returns: nothing. Locks: the basket, for key share.
create function public.tg_order_groups__queue_paid_basket()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    insert into public.paid_baskets (basket_id)
    select b.id
    from public.baskets as b
    where b.order_group_id = new.id;
    return null;
end;
$$;
comment on function public.tg_order_groups__queue_paid_basket() is 'A paid basket is queued for packing.';
revoke execute on function public.tg_order_groups__queue_paid_basket() from public, anon, authenticated, service_role;

create trigger order_groups_queue_paid_basket
after update of status on public.order_groups
for each row when (old.status = 'pending' and new.status = 'paid')
execute function public.tg_order_groups__queue_paid_basket();
