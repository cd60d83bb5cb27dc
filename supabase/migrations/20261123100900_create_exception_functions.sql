-- What operators do with money that needs a person.
--
-- Touches: public.list_payment_exceptions(), public.resolve_payment_exception(). `payments` is not in the Data API; these
-- two are its door.

-- Lists exceptions, oldest first. A parameter that is null leaves nothing out; p_before is a time, before which the
-- exception was first seen.
-- Called by: operators, as service_role. Returns: rows, each with the rule that decided; raises 22023 for an unknown status
-- or a negative limit. Locks: nothing.
-- Planned at each call, because each of the parameters has an index that the others do not have.
create or replace function public.list_payment_exceptions(
    p_status text default 'open',
    p_id bigint default null,
    p_event text default null,
    p_sessions text[] default null,
    p_reason text default null,
    p_limit integer default null,
    p_before timestamptz default null
)
returns table (
    id bigint,
    stripe_event_id text,
    order_group_id uuid,
    checkout_session_id text,
    payment_intent_id text,
    reason text,
    attempts integer,
    first_seen_at timestamptz,
    last_seen_at timestamptz,
    details jsonb,
    status text,
    resolution text,
    resolved_by text,
    resolved_at timestamptz,
    note text,
    rule text
)
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    if p_limit < 0 then
        raise exception 'p_limit must not be negative, as % is', p_limit
            using errcode = 'invalid_parameter_value';
    elsif p_status is null or p_status not in ('open', 'resolved', 'all') then
        raise exception 'p_status must be open, resolved or all, not %', p_status
            using errcode = 'invalid_parameter_value';
    end if;
    return query
    select
        x.id,
        x.stripe_event_id,
        x.order_group_id,
        x.checkout_session_id,
        x.payment_intent_id,
        x.reason,
        x.attempts,
        x.first_seen_at,
        x.last_seen_at,
        x.details,
        x.status,
        x.resolution,
        x.resolved_by,
        x.resolved_at,
        x.note,
        r.sentence
    from payments.exceptions as x
    inner join payments.reasons as r on x.reason = r.reason
    where
        (p_status = 'all' or x.status = p_status)
        and (p_id is null or x.id = p_id)
        and (p_event is null or x.stripe_event_id = p_event)
        and (p_sessions is null or x.checkout_session_id = any(p_sessions))
        and (p_reason is null or x.reason = p_reason)
        and (p_before is null or x.first_seen_at < p_before)
    order by x.first_seen_at, x.id
    limit p_limit;
end;
$$;
comment on function public.list_payment_exceptions(text, bigint, text, text[], text, integer, timestamptz) is
    'Payment exceptions, oldest first: open, resolved or all.';
revoke execute on function public.list_payment_exceptions(text, bigint, text, text[], text, integer, timestamptz)
from public, anon, authenticated;
grant execute on function public.list_payment_exceptions(text, bigint, text, text[], text, integer, timestamptz)
to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values (
    'public.list_payment_exceptions(text,bigint,text,text[],text,integer,timestamp with time zone)',
    'service_role',
    'EXECUTE'
);

-- Closes an exception with an operator's word; Stripe's further attempts are then answered `resolved`.
-- Called by: operators, as service_role. Returns: the closed row as an object; raises 22023 for bad arguments, P0002
-- for an unknown exception, 55000 for one that is closed already, or that would say `refunded` of money that has paid an
-- order group. Locks: the order group, then the exception, so that a payment of the same event is judged either before or
-- after, never across.
create or replace function public.resolve_payment_exception(
    p_exception_id bigint,
    p_resolution text,
    p_resolved_by text,
    p_note text default null
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
    v_longest_name constant integer := 255;
    v_longest_note constant integer := 2000;
    v_exception payments.exceptions;
    v_paid pg_catalog.uuid;
begin
    if p_resolution is null or p_resolution not in ('refunded', 'fixed_by_hand', 'dismissed') then
        raise exception 'p_resolution must be refunded, fixed_by_hand or dismissed, not %', p_resolution
            using errcode = 'invalid_parameter_value';
    elsif btrim(coalesce(p_resolved_by, '')) = '' or length(p_resolved_by) > v_longest_name then
        raise exception 'p_resolved_by must say who resolves, in up to % characters', v_longest_name
            using errcode = 'invalid_parameter_value';
    elsif length(p_note) > v_longest_note then
        raise exception 'p_note has % characters at most', v_longest_note
            using errcode = 'invalid_parameter_value';
    elsif lower(btrim(p_resolved_by)) = 'stripe' then
        raise exception 'p_resolved_by must name a person: what stripe resolves, its refunds and disputes tell'
            using errcode = 'invalid_parameter_value';
    end if;

    perform payments.lock_order_group(x.order_group_id)
    from payments.exceptions as x
    where x.id = p_exception_id;

    select x.* into v_exception
    from payments.exceptions as x
    where x.id = p_exception_id
    for update;

    if v_exception.id is null then
        raise exception 'there is no payment exception %', p_exception_id
            using errcode = 'no_data_found';
    elsif v_exception.status <> 'open' then
        raise exception 'payment exception % was closed as % by % at %',
            v_exception.id, v_exception.resolution, v_exception.resolved_by, v_exception.resolved_at
            using errcode = 'object_not_in_prerequisite_state';
    elsif p_resolution = 'refunded' and v_exception.reason <> 'foreign_account' then
        select e.order_group_id into v_paid
        from payments.stripe_events as e
        where
            e.outcome = 'applied'
            and (
                e.checkout_session_id = v_exception.checkout_session_id
                or e.payment_intent_id = v_exception.payment_intent_id
            );
        if found then
            raise exception 'the payment of exception % has paid order group %: what goes back is that group''s',
                v_exception.id, v_paid
                using errcode = 'object_not_in_prerequisite_state';
        end if;
    end if;

    update payments.exceptions as x
    set
        status = 'resolved',
        resolution = p_resolution,
        resolved_by = btrim(p_resolved_by),
        resolved_at = clock_timestamp(),
        note = nullif(btrim(p_note), '')
    where x.id = v_exception.id
    returning x.* into v_exception;
    return to_jsonb(v_exception);
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'the payment exception was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;
comment on function public.resolve_payment_exception(bigint, text, text, text) is
    'Closes a payment exception: refunded, fixed_by_hand or dismissed, by whom and why.';
revoke execute on function public.resolve_payment_exception(bigint, text, text, text) from public, anon, authenticated;
grant execute on function public.resolve_payment_exception(bigint, text, text, text) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.resolve_payment_exception(bigint,text,text,text)', 'service_role', 'EXECUTE');
