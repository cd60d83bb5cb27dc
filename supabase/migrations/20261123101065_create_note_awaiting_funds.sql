-- A checkout that is finished while its money is still under way: a bank debit, a voucher.
--
-- Touches: public.note_awaiting_funds(). A group that awaits funds does not expire. An older relay does not call it, and
-- notices nothing.

-- Notes, once, that the money of a pending order group is under way.
-- Called by: the relay, for a completed Checkout Session whose payment_status is unpaid. Returns: an object with `outcome`
-- (noted, already_noted, ignored), `reason` of what was ignored (order_group_not_found, order_group_not_pending),
-- `order_group_id`; raises 22023 for arguments beyond the bounds of a payment's. Only `noted` writes a row. Locks: the order
-- group, for which it waits 3 s at most.
create or replace function public.note_awaiting_funds(
    p_order_group_id uuid,
    p_checkout_session_id text,
    p_stripe_event_id text,
    p_stripe_event_created timestamptz
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_longest constant integer := 255;
    v_session_id constant pg_catalog.text := nullif(btrim(p_checkout_session_id), '');
    v_event_id constant pg_catalog.text := nullif(btrim(p_stripe_event_id), '');
    v_status public.order_groups.status%type;
    v_since public.order_groups.awaiting_funds_since%type;
    v_outcome pg_catalog.text := 'ignored';
    v_reason pg_catalog.text;
begin
    if p_order_group_id is null or v_session_id is null or v_event_id is null then
        raise exception 'order group, checkout session id and event id are required'
            using errcode = 'invalid_parameter_value';
    elsif greatest(length(v_session_id), length(v_event_id)) > v_longest then
        raise exception 'ids have % characters at most', v_longest
            using errcode = 'invalid_parameter_value';
    elsif p_stripe_event_created not between '2000-01-01 00:00:00+00' and '2100-01-01 00:00:00+00' then
        raise exception 'p_stripe_event_created must lie between the years 2000 and 2100'
            using errcode = 'invalid_parameter_value';
    end if;

    select
        g.status,
        g.awaiting_funds_since
    into v_status, v_since
    from public.order_groups as g
    where g.id = p_order_group_id
    for update;

    case
        when not found then
            v_reason := 'order_group_not_found';
        when v_status <> 'pending' then
            v_reason := 'order_group_not_pending';
        when v_since is not null then
            v_outcome := 'already_noted';
        else
            v_outcome := 'noted';
            update public.order_groups as g
            set
                awaiting_funds_since = coalesce(p_stripe_event_created, clock_timestamp()),
                awaiting_funds_session_id = v_session_id,
                awaiting_funds_event_id = v_event_id
            where g.id = p_order_group_id;
    end case;
    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'order_group_id', p_order_group_id
    );
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'order group % was changed by a rival', p_order_group_id
            using errcode = 'lock_not_available';
end;
$$;
comment on function public.note_awaiting_funds(uuid, text, text, timestamptz) is
    'Notes, once, that a pending order group''s money is under way, so that it does not expire.';
revoke execute on function public.note_awaiting_funds(uuid, text, text, timestamptz) from public, anon, authenticated;
grant execute on function public.note_awaiting_funds(uuid, text, text, timestamptz) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.note_awaiting_funds(uuid,text,text,timestamp with time zone)', 'service_role', 'EXECUTE');
