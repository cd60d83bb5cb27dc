-- What this project promises, asked of your own database: supabase test db
--
-- Everything happens in one transaction that is rolled back. Where a trigger, a grant or a column of yours gets in the way of a
-- payment, one of these fails and says which.

begin;

create extension if not exists pgtap with schema extensions;
set local search_path = extensions, public;
select extensions.plan(14);

select extensions.is_empty(
    'select * from public.security_findings()', 'privileges, policies and functions are as they were made'
);
select extensions.is_empty('select * from payments.broken_invariants()', 'money and stock add up');

-- The cast: two who could buy, and a seller with ten pieces on the shelf.
insert into auth.users (id)
values ('00000000-0000-4000-8000-0000000000b1'), ('00000000-0000-4000-8000-0000000000b2');
insert into public.sellers (id, name)
values ('00000000-0000-4000-8000-0000000000c1', 'A seller of the tests');
insert into public.products (id, seller_id, sku, name)
values ('00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-0000000000c1', 'TEST-1', 'Bowl');

set local role service_role;
select public.record_inventory_receipt('00000000-0000-4000-8000-0000000000d1', 10, 'in');

select extensions.is(
    public.create_order_group(
        p_order_group_id => '00000000-0000-4000-8000-0000000000a1',
        p_buyer_id => '00000000-0000-4000-8000-0000000000b1',
        p_currency => 'USD',
        p_orders => '[{
            "seller_id": "00000000-0000-4000-8000-0000000000c1",
            "total_amount": "30.00",
            "items": [{"product_id": "00000000-0000-4000-8000-0000000000d1", "quantity": 2, "unit_amount": "15.00"}]
        }]',
        p_reserve => true
    ) ->> 'outcome',
    'created',
    'a basket becomes a pending order group'
);

create function pg_temp.pay(p_event_id text, p_minor bigint, p_amount numeric) returns text
language sql
set search_path = ''
as $$
    select public.reconcile_order_group_payment(
        p_order_group_id => '00000000-0000-4000-8000-0000000000a1',
        p_stripe_event_id => p_event_id,
        p_stripe_event_type => 'checkout.session.completed',
        p_stripe_event_created => now(),
        p_livemode => false,
        p_checkout_session_id => 'cs_test_pgtap',
        p_payment_intent_id => 'pi_pgtap',
        p_amount_minor => p_minor,
        p_amount => p_amount,
        p_currency => 'usd'
    ) ->> 'outcome'
$$;

select extensions.is(pg_temp.pay('evt_pgtap_1', 2999, 29.99), 'rejected', 'a wrong amount pays nothing');
select extensions.is(pg_temp.pay('evt_pgtap_2', 3000, 30.00), 'applied', 'the right amount pays the group');
select extensions.is(pg_temp.pay('evt_pgtap_2', 3000, 30.00), 'replayed', 'the same event again changes nothing');
select extensions.is(pg_temp.pay('evt_pgtap_3', 3000, 30.00), 'already_paid', 'another event of the payment neither');
select extensions.results_eq(
    $$
    select g.status, o.status, l.on_hand::bigint
    from public.order_groups as g
    inner join public.orders as o on g.id = o.order_group_id
    inner join public.inventory_levels as l on o.seller_id = l.seller_id
    where g.id = '00000000-0000-4000-8000-0000000000a1'
    $$,
    $$ values ('paid', 'paid', 8::bigint) $$,
    'group and order are paid, and two pieces have left the shelf'
);
select extensions.throws_ok(
    $$ update public.order_groups set total_amount = 1 where id = '00000000-0000-4000-8000-0000000000a1' $$,
    '42501',
    null,
    'the service key does not rewrite what was paid'
);

-- Who sees what.
set local role authenticated;
select set_config('request.jwt.claims', '{"sub": "00000000-0000-4000-8000-0000000000b1", "role": "authenticated"}', true);
select extensions.results_eq(
    'select count(*) from public.order_groups', 'values (1::bigint)', 'a buyer sees the own group'
);
select extensions.throws_ok(
    $$ select pg_temp.pay('evt_pgtap_4', 3000, 30.00) $$, '42501', null, 'a buyer does not reconcile'
);
select set_config('request.jwt.claims', '{"sub": "00000000-0000-4000-8000-0000000000b2", "role": "authenticated"}', true);
select extensions.is_empty('select * from public.order_groups', 'a stranger sees nothing');
set local role anon;
select extensions.throws_ok(
    'select * from public.order_groups', '42501', null, 'nobody sees anything without signing in'
);

reset role;
select extensions.is_empty('select * from payments.broken_invariants()', 'money and stock add up afterwards');

select * from extensions.finish();
rollback;
