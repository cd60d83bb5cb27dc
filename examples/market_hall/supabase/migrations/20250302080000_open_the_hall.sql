-- The day of opening: two vendors, two buyers, three baskets, of which one is paid.

insert into auth.users (id, email)
values
('00000000-0000-4000-8000-00000000000a', 'ana@example.com'),
('00000000-0000-4000-8000-00000000000b', 'ben@example.com'),
('00000000-0000-4000-8000-00000000000c', 'carla@example.com');

insert into public.vendors (name)
values
('Cheese counter'),
('Bakery');

insert into public.vendor_staff (vendor_id, user_id)
select
    v.id,
    '00000000-0000-4000-8000-00000000000c' as user_id
from public.vendors as v
where v.name = 'Bakery';

insert into public.articles (vendor_id, number, title, currency, price_minor)
select
    v.id,
    a.number,
    a.title,
    a.currency,
    a.price_minor
from (
    values
    ('Cheese counter', 'C-1', 'Comté, a piece', 'EUR', 745),
    ('Cheese counter', 'C-2', 'Goat, a roll', 'EUR', 390),
    ('Cheese counter', 'C-3', 'Comté, to Japan', 'JPY', 2500),
    ('Bakery', 'B-1', 'Rye loaf', 'EUR', 520),
    ('Bakery', 'B-2', 'Crispbread, to Japan', 'JPY', 980)
) as a (vendor, number, title, currency, price_minor)
inner join public.vendors as v on a.vendor = v.name;

insert into public.shelf (article_id, pieces)
select
    a.id,
    case a.number when 'C-2' then 0 else 20 end as pieces
from public.articles as a;

insert into public.baskets (buyer_id, currency, paid_at)
values
('00000000-0000-4000-8000-00000000000a', 'EUR', '2026-05-04 09:30:00+00'),
('00000000-0000-4000-8000-00000000000a', 'EUR', null),
('00000000-0000-4000-8000-00000000000b', 'JPY', null);

insert into public.basket_lines (basket_id, article_id, quantity)
select
    b.id as basket_id,
    a.id as article_id,
    2 as quantity
from public.baskets as b
inner join public.articles as a on b.currency = a.currency;
