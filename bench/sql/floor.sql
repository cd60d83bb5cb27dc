-- The least that does the same writes into the same schema: tables with the same keys, foreign keys, unique indexes and
-- checks, and one function that asks no questions. No triggers, policies, privileges, verdicts or evidence: it would pay a
-- wrong amount.

create table bench.groups (like public.order_groups including all);
create table bench.orders (like public.orders including all);
create table bench.items (like public.order_items including all);
create table bench.events (like payments.stripe_events including all);
create table bench.ledger (like public.inventory_ledger including all);

alter table bench.orders add foreign key (order_group_id) references bench.groups (id);
alter table bench.items add foreign key (order_id) references bench.orders (id);
alter table bench.events add foreign key (order_group_id) references bench.groups (id);
alter table bench.ledger add foreign key (product_id) references public.products (id);
alter table bench.ledger add foreign key (order_item_id) references bench.items (id);

create function bench.pay_at_the_floor(p_number bigint)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_group bench.groups;
    v_now timestamptz := clock_timestamp();
    v_items integer;
begin
    select * into v_group from bench.groups where id = md5('group ' || p_number)::uuid for update;

    insert into bench.events (
        id, type, created_at, received_at, processed_at, livemode, order_group_id, checkout_session_id,
        payment_intent_id, amount_minor, amount, currency, session_metadata, source, outcome
    )
    values (
        'evt_' || p_number, 'checkout.session.completed', v_now, v_now, v_now, false, v_group.id, 'cs_' || p_number,
        'pi_' || p_number, 4200, 42.00, 'USD', '{}', 'webhook', 'applied'
    );

    update bench.groups
    set
        status = 'paid', paid_at = v_now, stripe_webhook_event_id = 'evt_' || p_number,
        stripe_webhook_event_created_at = v_now, stripe_webhook_received_at = v_now,
        stripe_payment_intent_id = 'pi_' || p_number, stripe_checkout_session_id = 'cs_' || p_number,
        stripe_session_metadata = '{}'
    where id = v_group.id;

    update bench.orders set status = 'paid', paid_at = v_now where order_group_id = v_group.id;

    insert into bench.ledger (
        product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id
    )
    select i.product_id, i.seller_id, i.id, 'order_commit', -i.quantity, 'evt_' || p_number
    from bench.items as i
    where i.order_group_id = v_group.id;

    get diagnostics v_items = row_count;
    return jsonb_build_object('outcome', 'applied', 'ledger_entries', v_items);
end;
$$;
