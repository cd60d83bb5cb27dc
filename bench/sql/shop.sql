-- A shop with pending checkouts that are numbered, so that a script can name the next one without asking. For the bench
-- alone: written past triggers and foreign keys, and yet as the constraints want it.

create schema if not exists bench;
grant usage on schema bench to service_role;

create sequence if not exists bench.groups_made;
create sequence if not exists bench.next_group;
grant usage on sequence bench.next_group to service_role;

-- So many orders, and items in each of them; 42.00 USD in all.
create or replace function bench.make_groups(p_count integer, p_orders integer, p_items integer)
returns setof uuid
language plpgsql
volatile
security definer
set search_path = ''
set session_replication_role = 'replica'
as $$
declare
    v_first bigint := nextval('bench.groups_made');
begin
    perform setval('bench.groups_made', v_first + p_count);

    insert into public.sellers (id, name)
    select md5('seller ' || n)::uuid, 'Seller ' || n
    from generate_series(1, 100) as n
    on conflict do nothing;

    insert into public.products (id, seller_id, sku, name)
    select md5('product ' || n || ' ' || p)::uuid, md5('seller ' || n)::uuid, 'SKU-' || p, 'Product ' || p
    from generate_series(1, 100) as n, generate_series(1, 10) as p
    on conflict do nothing;

    insert into public.order_groups (id, currency, total_amount)
    select md5('group ' || n)::uuid, 'USD', 42.00
    from generate_series(v_first, v_first + p_count - 1) as n;

    insert into public.orders (id, order_group_id, seller_id, currency, total_amount)
    select
        md5('order ' || n || ' ' || o)::uuid, md5('group ' || n)::uuid, md5('seller ' || (n + o) % 100 + 1)::uuid,
        'USD', case o when 1 then 42.00 else 0 end
    from generate_series(v_first, v_first + p_count - 1) as n, generate_series(1, p_orders) as o;

    insert into public.order_items (
        order_id, product_id, quantity, unit_amount, sku, title, order_group_id, seller_id
    )
    select
        md5('order ' || n || ' ' || o)::uuid, md5('product ' || (n + o) % 100 + 1 || ' ' || i % 10 + 1)::uuid, 1, 1.00,
        'SKU-' || i % 10 + 1, 'Product', md5('group ' || n)::uuid, md5('seller ' || (n + o) % 100 + 1)::uuid
    from
        generate_series(v_first, v_first + p_count - 1) as n, generate_series(1, p_orders) as o,
        generate_series(1, p_items) as i;

    return query
    select md5('group ' || n)::uuid
    from generate_series(v_first, v_first + p_count - 1) as n;
end;
$$;

-- Groups have random-looking ids; this is the way back, for the few that are looked for.
create or replace function bench.number_of(p_id uuid)
returns bigint
language sql
stable
set search_path = ''
begin atomic
    select n
    from generate_series((select last_value from bench.groups_made) - 100, (select last_value from bench.groups_made)) as n
    where md5('group ' || n)::uuid = p_id;
end;

-- So many events that were processed long ago, those that are there already included.
create or replace function bench.record_events(p_count bigint)
returns void
language sql
volatile
set search_path = ''
set session_replication_role = 'replica'
begin atomic
    insert into payments.stripe_events (
        id, type, created_at, received_at, processed_at, livemode, order_group_id, checkout_session_id,
        payment_intent_id, amount_minor, amount, currency, session_metadata, source, outcome
    )
    select
        'evt_old' || n, 'checkout.session.completed', timestamptz '2025-01-01 00:00Z', now(), now(), false,
        md5('old group ' || n)::uuid, 'cs_old' || n, 'pi_old' || n, 4200, 42.00, 'USD', '{}', 'webhook', 'applied'
    from generate_series((select count(*) from payments.stripe_events) + 1, p_count) as n;
end;
