-- How an operator takes back what was said by mistake.
--
-- Touches: public.reopen_payment_exception(). An older relay notices nothing.

-- Takes an operator's resolution back; the payment is judged anew when Stripe, the sweep or a replay brings it again.
-- Called by: operators, as service_role. Returns: the open row as an object, the word that it had in `details`, `reopened`;
-- raises 22023 for bad arguments, P0002 for an unknown exception, 55000 for one that is open or was closed by its payment or by Stripe.
-- Money that was not sent back after all was not sent back for the payment's other events either: their exceptions open with it.
-- Locks: the order group, then the payment's exceptions by id.
create or replace function public.reopen_payment_exception(
    p_exception_id bigint,
    p_by text,
    p_note text
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
begin
    if btrim(coalesce(p_by, '')) = ''
        or btrim(coalesce(p_note, '')) = ''
        or length(p_by) > v_longest_name
        or length(p_note) > v_longest_note
    then
        raise exception 'p_by must say who reopens, p_note why, in up to % and % characters', v_longest_name, v_longest_note
            using errcode = 'invalid_parameter_value';
    end if;

    perform payments.lock_order_group(x.order_group_id)
    from payments.exceptions as x
    where x.id = p_exception_id;

    perform x.id
    from payments.exceptions as x
    inner join payments.exceptions as named
        on
            x.id = named.id
            or (
                num_nonnulls(x.refund_id, x.dispute_id, named.refund_id, named.dispute_id) = 0
                and (
                    x.checkout_session_id = named.checkout_session_id
                    or x.payment_intent_id = named.payment_intent_id
                )
            )
    where named.id = p_exception_id
    order by x.id
    for update of x;

    select x.* into v_exception
    from payments.exceptions as x
    where x.id = p_exception_id;

    if v_exception.id is null then
        raise exception 'there is no payment exception %', p_exception_id
            using errcode = 'no_data_found';
    elsif v_exception.status <> 'resolved' or v_exception.resolution = 'reconciled' or v_exception.resolved_by = 'stripe' then
        raise exception 'payment exception % is %: there is no operator''s word to take back',
            v_exception.id, coalesce(v_exception.resolution, v_exception.status)
            using errcode = 'object_not_in_prerequisite_state';
    end if;

    update payments.exceptions as x
    set
        status = 'open',
        resolution = null,
        resolved_by = null,
        resolved_at = null,
        note = null,
        details = x.details || jsonb_build_object(
            'reopened',
            coalesce(x.details -> 'reopened', '[]'::pg_catalog.jsonb) || jsonb_build_object(
                'resolution', x.resolution,
                'resolved_by', x.resolved_by,
                'resolved_at', x.resolved_at,
                'note', x.note,
                'reopened_by', btrim(p_by),
                'reopened_at', clock_timestamp(),
                'reopened_note', btrim(p_note)
            )
        )
    where
        x.id = v_exception.id
        or (
            v_exception.resolution = 'refunded'
            and x.resolution = 'refunded'
            and x.resolved_by <> 'stripe'
            and num_nonnulls(x.refund_id, x.dispute_id, v_exception.refund_id, v_exception.dispute_id) = 0
            and (
                x.checkout_session_id = v_exception.checkout_session_id
                or x.payment_intent_id = v_exception.payment_intent_id
            )
        );

    select x.* into v_exception
    from payments.exceptions as x
    where x.id = p_exception_id;
    return to_jsonb(v_exception);
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'the payment exception was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;
comment on function public.reopen_payment_exception(bigint, text, text) is
    'Takes an operator''s resolution of a payment exception back; the former word is kept in its details.';
revoke execute on function public.reopen_payment_exception(bigint, text, text) from public, anon, authenticated;
grant execute on function public.reopen_payment_exception(bigint, text, text) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.reopen_payment_exception(bigint,text,text)', 'service_role', 'EXECUTE');
