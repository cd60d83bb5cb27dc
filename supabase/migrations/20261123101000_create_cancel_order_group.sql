-- How a checkout that nobody paid is given up.
--
-- Touches: public.cancel_order_group(), payments.cancel_held_order_groups(), which is what cancelling means wherever it is
-- done. A payment that arrives later is kept as an exception and never revives the group.

-- Cancels pending order groups with their orders.
-- Called by: public.cancel_order_group(), public.expire_order_groups(), who hold the groups' locks and have seen that the
-- groups are pending. Returns: the number of orders. Locks: the orders by id.
create or replace function payments.cancel_held_order_groups(p_order_group_ids uuid[])
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_orders integer;
begin
    perform o.id
    from public.orders as o
    where o.order_group_id = any(p_order_group_ids)
    order by o.id
    for update;

    -- The groups first: an order follows its group, and its trigger looks.
    update public.order_groups as g
    set status = 'cancelled'
    where g.id = any(p_order_group_ids);

    update public.orders as o
    set status = 'cancelled'
    where o.order_group_id = any(p_order_group_ids);
    get diagnostics v_orders = row_count;
    return v_orders;
end;
$$;
comment on function payments.cancel_held_order_groups(uuid[]) is
    'Cancels pending order groups, whose locks the caller holds, with their orders.';
revoke execute on function payments.cancel_held_order_groups(uuid[]) from public, anon, authenticated, service_role;

-- Cancels a pending order group with its orders; with a session, only where it awaits the funds of no other one.
-- Called by: the shop, and the relay for a Checkout Session that has ended, as service_role. Returns: an object with
-- `outcome` (cancelled, already_cancelled, rejected), `reason` (order_group_not_found, order_group_not_pending,
-- order_group_awaits_another_session), `order_group_id`, `orders_cancelled`. Losing the race against a payment is an
-- expected result, so it is returned. Locks: the order group, then its orders by id.
create or replace function public.cancel_order_group(p_order_group_id uuid, p_checkout_session_id text default null)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_status public.order_groups.status%type;
    v_awaited_session_id public.order_groups.awaiting_funds_session_id%type;
    v_session_id constant pg_catalog.text := nullif(btrim(p_checkout_session_id), '');
    v_orders_cancelled integer := 0;
    v_outcome pg_catalog.text := 'rejected';
    v_reason pg_catalog.text;
begin
    select
        g.status,
        g.awaiting_funds_session_id
    into v_status, v_awaited_session_id
    from public.order_groups as g
    where g.id = p_order_group_id
    for update;

    case
        when v_status is null then
            v_reason := 'order_group_not_found';
        when v_status = 'cancelled' then
            v_outcome := 'already_cancelled';
        when v_status <> 'pending' then
            v_reason := 'order_group_not_pending';
        when v_awaited_session_id <> v_session_id then
            v_reason := 'order_group_awaits_another_session';
        else
            v_outcome := 'cancelled';
            v_orders_cancelled := payments.cancel_held_order_groups(array[p_order_group_id]);
    end case;
    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'order_group_id', p_order_group_id,
        'orders_cancelled', v_orders_cancelled
    );
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'the order group was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;
comment on function public.cancel_order_group(uuid, text) is
    'Cancels a pending order group with its orders; a paid one is left alone and the answer says so.';
revoke execute on function public.cancel_order_group(uuid, text) from public, anon, authenticated;
grant execute on function public.cancel_order_group(uuid, text) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.cancel_order_group(uuid,text)', 'service_role', 'EXECUTE');
