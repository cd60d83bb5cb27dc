-- How a seller's member moves an order on.
--
-- Touches: public.advance_order(), the one function that a signed-in user may call. It exists so that not every shop has to
-- write this endpoint of its own, with the service key behind it. An older relay notices nothing.

-- Moves an order one step on: paid, fulfilled, shipped, delivered.
-- Called by: a member of the order's seller, as authenticated; the shop, as service_role. Returns: an object with `outcome`
-- (moved, rejected), `reason` (order_not_found, also for another seller's order; order_status_moves_forward for a status that
-- is not the next one), `order_id`, `status`, which is the order's now. Locks: the order. Two members at once take one step.
create or replace function public.advance_order(p_order_id uuid, p_status text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_status public.orders.status%type;
    v_reason pg_catalog.text;
begin
    select o.status
    into v_status
    from public.orders as o
    where
        o.id = p_order_id
        and (
            payments.calling_role() = 'service_role'
            or exists (
                select 1
                from public.seller_members as m
                where m.seller_id = o.seller_id and m.user_id::pg_catalog.text = payments.calling_user()
            )
        )
    for update;

    if not found then
        v_reason := 'order_not_found';
    elsif (v_status, p_status) in (('paid', 'fulfilled'), ('fulfilled', 'shipped'), ('shipped', 'delivered')) then
        update public.orders as o
        set status = p_status
        where o.id = p_order_id
        returning o.status into v_status;
    else
        v_reason := 'order_status_moves_forward';
    end if;
    return jsonb_build_object(
        'outcome', case when v_reason is null then 'moved' else 'rejected' end,
        'reason', v_reason,
        'order_id', p_order_id,
        'status', v_status
    );
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'the order was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;
comment on function public.advance_order(uuid, text) is
    'Moves an order one step on, for a member of its seller: fulfilled, shipped, delivered.';
revoke execute on function public.advance_order(uuid, text) from public, anon;
grant execute on function public.advance_order(uuid, text) to authenticated, service_role;
insert into payments.expected_grants (object, grantee, privilege)
values
('public.advance_order(uuid,text)', 'authenticated', 'EXECUTE'),
('public.advance_order(uuid,text)', 'service_role', 'EXECUTE');
