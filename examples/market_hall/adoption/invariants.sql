-- What is true of the shop and its order groups at every moment. No row: all is well. The order groups' own invariants are
-- in sql_tests/invariants.sql; these are those of the binding. One statement, so that all of it is read from one snapshot:
--     psql "$DATABASE_URL" --no-psqlrc --set ON_ERROR_STOP=1 --file invariants.sql

with
line as (
    select
        l.id,
        l.basket_id,
        l.order_item_id,
        l.quantity,
        l.price_minor,
        a.product_id,
        b.order_group_id
    from public.basket_lines as l
    inner join public.articles as a on l.article_id = a.id
    inner join public.baskets as b on l.basket_id = b.id
),

item as (
    select
        i.id,
        i.order_group_id,
        i.product_id,
        i.quantity,
        i.unit_amount,
        g.status,
        c.minor_per_major
    from public.order_items as i
    inner join public.order_groups as g on i.order_group_id = g.id
    inner join payments.currencies as c on g.currency = c.code
),

checked_out as (
    select
        b.id,
        b.buyer_id,
        b.currency,
        b.order_group_id,
        sum(l.quantity * l.price_minor::bigint) as amount_minor
    from public.baskets as b
    left join public.basket_lines as l on b.id = l.basket_id
    where b.order_group_id is not null
    group by b.id
),

broken (invariant, subject, detail) as (
    select
        'live_group_has_its_basket',
        'order_group ' || g.id,
        'it is ' || g.status || ', and nobody will pack it'
    from public.order_groups as g
    left join public.baskets as b on g.id = b.order_group_id
    where g.status <> 'cancelled' and b.id is null

    union all
    select
        'basket_is_paid_one_way',
        'basket ' || b.id,
        'it was paid before the adoption, and has order group ' || b.order_group_id
    from public.baskets as b
    where b.paid_before_adoption_at is not null and b.order_group_id is not null

    union all
    select
        'basket_and_group_agree',
        'basket ' || b.id,
        b.amount_minor || ' ' || b.currency || ', order group ' || g.total_amount || ' ' || g.currency
    from checked_out as b
    inner join public.order_groups as g on b.order_group_id = g.id
    inner join payments.currencies as c on g.currency = c.code
    where
        (b.amount_minor, b.currency, b.buyer_id)
        is distinct from (g.total_amount * c.minor_per_major, g.currency, g.buyer_id)

    union all
    select
        'line_of_a_checkout_is_an_item',
        'basket_line ' || l.id,
        'order item ' || coalesce(i.id::text, 'missing')
    from line as l
    left join item as i on l.order_item_id = i.id
    where
        l.order_group_id is not null
        and (l.order_group_id, l.product_id, l.quantity, l.price_minor)
        is distinct from (i.order_group_id, i.product_id, i.quantity, i.unit_amount * i.minor_per_major)

    union all
    select
        'item_of_a_live_group_is_a_line',
        'order_item ' || i.id,
        'it is in no basket'
    from item as i
    left join line as l on i.id = l.order_item_id
    where i.status <> 'cancelled' and l.id is null

    union all
    select
        'line_of_an_open_basket_is_no_item',
        'basket_line ' || l.id,
        'it has order item ' || l.order_item_id
    from line as l
    where l.order_group_id is null and l.order_item_id is not null

    union all
    select
        'paid_line_took_its_stock_once',
        'basket_line ' || l.id,
        'ordered ' || l.quantity || ', taken ' || coalesce(string_agg((-m.quantity_delta)::text, ' and '), 'nothing')
    from line as l
    inner join item as i on l.order_item_id = i.id
    left join public.inventory_ledger as m on i.id = m.order_item_id
    where i.status in ('paid', 'refunded')
    group by l.id, l.product_id, l.quantity
    having count(*) <> 1 or bool_or((m.product_id, m.quantity_delta) is distinct from (l.product_id, -l.quantity))

    union all
    select
        'paid_basket_is_queued',
        'basket ' || b.id,
        'its order group is ' || g.status || ', in the queue: ' || (q.basket_id is not null)
    from public.baskets as b
    left join public.order_groups as g on b.order_group_id = g.id
    left join public.paid_baskets as q on b.id = q.basket_id
    where (q.basket_id is not null) is distinct from coalesce(g.status in ('paid', 'refunded'), false)

    union all
    select
        'vendor_and_seller_agree',
        'vendor ' || v.id,
        v.name || ', seller ' || coalesce(s.name, 'missing')
    from public.vendors as v
    left join public.sellers as s on v.seller_id = s.id
    where v.name is distinct from s.name

    union all
    select
        'article_and_product_agree',
        'article ' || a.id,
        'product ' || coalesce(p.id::text, 'missing')
    from public.articles as a
    inner join public.vendors as v on a.vendor_id = v.id
    left join public.products as p on a.product_id = p.id
    where (a.number, a.title, v.seller_id) is distinct from (p.sku, p.name, p.seller_id)

    union all
    select
        'staff_and_members_agree',
        'vendor ' || coalesce(s.vendor_id, m.vendor_id),
        'user ' || coalesce(s.user_id, m.user_id)
    from public.vendor_staff as s
    full join (
        select
            v.id as vendor_id,
            m.user_id
        from public.seller_members as m
        inner join public.vendors as v on m.seller_id = v.seller_id
    ) as m on s.vendor_id = m.vendor_id and s.user_id = m.user_id
    where s.vendor_id is null or m.vendor_id is null
)

select
    b.invariant,
    b.subject,
    b.detail
from broken as b
order by b.invariant, b.subject;
