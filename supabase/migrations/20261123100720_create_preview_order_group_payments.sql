-- What the function would answer to payments, without anything being written.
--
-- Touches: public.preview_order_group_payments(), and payments.preview(), which answers for one payment. They ask the
-- judgement that the function itself asks, so that no caller needs a copy of its rules.

-- Previews one payment.
-- Called by: public.preview_order_group_payments(). Returns: its element of the answer; raises what reading it raises, and
-- XX001 where the function would. Locks: nothing.
create or replace function payments.preview(p_payment jsonb)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_event payments.stripe_events := payments.read_event(p_payment);
    v_judgement payments.judgement;
    v_group public.order_groups;
    v_orders integer := 0;
    v_entries integer := 0;
    v_is_on_record boolean;
    v_is_resolved boolean;
begin
    -- A session that names no group any more, because its metadata were changed, may have paid one.
    if v_event.order_group_id is not null then
        select g.* into v_group
        from public.order_groups as g
        where g.id = v_event.order_group_id;
    else
        select g.* into v_group
        from public.order_groups as g
        where g.stripe_checkout_session_id = v_event.checkout_session_id;
    end if;
    v_judgement := payments.judge(v_event, p_payment ->> 'p_unmatched_reason', v_group);

    if v_judgement.is_sent_back then
        v_judgement.reason := null;
    elsif v_judgement.outcome = 'applied' then
        v_judgement.reason := payments.judge_taken(v_event);
        if v_judgement.reason is not null then
            v_judgement.outcome := 'rejected';
        else
            v_orders := v_judgement.orders;
            select count(*) into v_entries
            from public.order_items as i
            where i.order_group_id = v_event.order_group_id;
        end if;
    end if;

    select
        coalesce(bool_or(
            x.stripe_event_id = v_event.id and x.status = 'open' and x.reason = v_judgement.reason
        ), false),
        coalesce(bool_or(
            x.resolution <> 'reconciled' and (x.reason <> 'foreign_account' or x.stripe_event_id = v_event.id)
        ), false)
    into v_is_on_record, v_is_resolved
    from payments.exceptions as x
    where x.stripe_event_id = v_event.id or x.checkout_session_id = v_event.checkout_session_id;

    return payments.verdict(
        v_event.order_group_id,
        v_event.id,
        v_judgement.outcome,
        v_judgement.reason,
        v_orders,
        v_entries
    ) || jsonb_build_object(
        'is_known', coalesce(v_judgement.is_known, false),
        'is_on_record', v_is_on_record,
        'resolved', v_is_resolved
    );
end;
$$;
comment on function payments.preview(jsonb) is 'What reconcile_order_group_payment would answer to one payment.';
revoke execute on function payments.preview(jsonb) from public, anon, authenticated, service_role;

-- Tells what the function would answer to payments, each as if it came alone, by what is committed now.
-- Called by: the sweep, through the Data API, which opens a read-only transaction for it. Returns: an array in the order
-- of the payments, each element the function's verdict with
--   is_known      this payment has paid its group, and the money agrees: there is nothing to send;
--   is_on_record  an open exception of this event has this very reason: sending it would only count it up;
--   resolved      a person has closed an exception of this event, or of another event of its session;
-- an element that cannot be read, or that the function would raise for, is `failed` with its SQLSTATE. Raises 22023 where
-- the payments are no array, or more than 500. Locks: nothing.
create or replace function public.preview_order_group_payments(p_payments jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set random_page_cost = 1.1
as $$
declare
    v_most constant integer := 500;
    v_payments pg_catalog.jsonb := p_payments;
    v_payment pg_catalog.jsonb;
    v_answers pg_catalog.jsonb[] := '{}';
begin
    -- By GET, PostgREST hands the parameter over as the text that stands in the address.
    if jsonb_typeof(p_payments) = 'string' then
        begin
            v_payments := (p_payments #>> '{}')::pg_catalog.jsonb;
        exception
            when invalid_text_representation or untranslatable_character then
                v_payments := null;
        end;
    end if;
    if jsonb_typeof(v_payments) is distinct from 'array' or jsonb_array_length(v_payments) > v_most then
        raise exception 'p_payments must be an array of up to % payments', v_most
            using errcode = 'invalid_parameter_value';
    end if;

    for v_payment in
        select p.payment
        from jsonb_array_elements(v_payments) with ordinality as p (payment, place)
        order by p.place
    loop
        begin
            v_answers := v_answers || payments.preview(v_payment);
        exception
            when others then
                v_answers := v_answers || (
                    payments.no_verdict(v_payment, 'failed', sqlstate)
                    || '{"is_known": false, "is_on_record": false, "resolved": false}'::pg_catalog.jsonb
                );
        end;
    end loop;
    return to_jsonb(v_answers);
end;
$$;
comment on function public.preview_order_group_payments(jsonb) is
    'What reconcile_order_group_payment would answer to each of up to 500 payments now. Writes nothing.';
revoke execute on function public.preview_order_group_payments(jsonb) from public, anon, authenticated;
grant execute on function public.preview_order_group_payments(jsonb) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.preview_order_group_payments(jsonb)', 'service_role', 'EXECUTE');
