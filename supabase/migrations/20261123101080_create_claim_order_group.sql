-- How a guest's order group gets its buyer.
--
-- Touches: public.claim_order_group(). A person who bought as a guest and signs up afterwards sees the purchase from then on.
-- Who may claim which group is the shop's to know: it calls with the service key. An older relay notices nothing.

-- Gives an order group that never had a buyer its buyer, once, whatever its status.
-- Called by: the shop, as service_role. Returns: an object with `outcome` (claimed, already_claimed where this buyer has it,
-- rejected), `reason` (order_group_not_found, buyer_not_found, order_group_has_buyer, also where the buyer's account is
-- deleted), `order_group_id`. Locks: the order group; the foreign key locks the buyer after it. Of two buyers at once one
-- gets it.
create or replace function public.claim_order_group(p_order_group_id uuid, p_buyer_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_status pg_catalog.text;
    v_buyer_id pg_catalog.uuid;
    v_buyer_since pg_catalog.timestamptz;
    v_outcome pg_catalog.text := 'rejected';
    v_reason pg_catalog.text;
    v_constraint pg_catalog.text;
begin
    v_status := payments.lock_order_group(p_order_group_id);
    select
        g.buyer_id,
        g.buyer_since
    into v_buyer_id, v_buyer_since
    from public.order_groups as g
    where g.id = p_order_group_id;

    case
        when v_status is null then
            v_reason := 'order_group_not_found';
        when p_buyer_id is null then
            v_reason := 'buyer_not_found';
        when v_buyer_id = p_buyer_id then
            v_outcome := 'already_claimed';
        when v_buyer_since is not null then
            v_reason := 'order_group_has_buyer';
        else
            -- The foreign key knows the buyer, also one whose account is being deleted at this moment.
            begin
                update public.order_groups as g
                set
                    buyer_id = p_buyer_id,
                    buyer_since = clock_timestamp()
                where g.id = p_order_group_id;
                v_outcome := 'claimed';
            exception
                when foreign_key_violation then
                    get stacked diagnostics v_constraint = constraint_name;
                    if v_constraint <> 'order_groups_buyer_id_fkey' then
                        raise;
                    end if;
                    v_reason := 'buyer_not_found';
            end;
    end case;
    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'order_group_id', p_order_group_id
    );
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'the order group was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;
comment on function public.claim_order_group(uuid, uuid) is
    'Gives a guest''s order group to its buyer, once; a group that ever had a buyer is left alone and the answer says so.';
revoke execute on function public.claim_order_group(uuid, uuid) from public, anon, authenticated;
grant execute on function public.claim_order_group(uuid, uuid) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.claim_order_group(uuid,uuid)', 'service_role', 'EXECUTE');
