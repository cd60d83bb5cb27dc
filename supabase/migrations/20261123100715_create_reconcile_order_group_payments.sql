-- Many payments in one call, for a relay whose payments wait for each other anyway.
--
-- Touches: public.reconcile_order_group_payments(), and what it shares with the preview of many payments: read_event()
-- reads one of them, no_verdict() answers for one that got none. Each payment goes through payments.reconcile(), as it
-- does alone. An older relay, which sends every payment alone, notices nothing.

-- Reads one payment of an array: an object whose keys are the parameters of reconcile_order_group_payment, with their
-- types and defaults.
-- Called by: public.reconcile_order_group_payments(), payments.preview(). Returns: the event; raises 22023 for what is
-- no object, and what the parameters' types or payments.normalise_event() raise. Locks: nothing.
create or replace function payments.read_event(p_payment jsonb)
returns payments.stripe_events
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_given pg_catalog.record;
begin
    select g.* into v_given
    from jsonb_to_record('{"p_session_metadata": {}, "p_source": "webhook"}'::pg_catalog.jsonb || p_payment) as g (
        p_order_group_id pg_catalog.uuid,
        p_stripe_event_id pg_catalog.text,
        p_stripe_event_type pg_catalog.text,
        p_stripe_event_created pg_catalog.timestamptz,
        p_livemode pg_catalog.bool,
        p_checkout_session_id pg_catalog.text,
        p_payment_intent_id pg_catalog.text,
        p_amount_minor pg_catalog.int8,
        p_amount pg_catalog.numeric,
        p_currency pg_catalog.text,
        p_session_metadata pg_catalog.jsonb,
        p_source pg_catalog.text,
        p_unmatched_reason pg_catalog.text,
        p_account pg_catalog.text
    );
    return payments.normalise_event(
        v_given.p_order_group_id,
        v_given.p_stripe_event_id,
        v_given.p_stripe_event_type,
        v_given.p_stripe_event_created,
        v_given.p_livemode,
        v_given.p_checkout_session_id,
        v_given.p_payment_intent_id,
        v_given.p_amount_minor,
        v_given.p_amount,
        v_given.p_currency,
        v_given.p_session_metadata,
        v_given.p_source,
        v_given.p_unmatched_reason,
        v_given.p_account
    );
end;
$$;
comment on function payments.read_event(jsonb) is
    'One payment of an array, with the parameters of reconcile_order_group_payment as keys, as an event.';
revoke execute on function payments.read_event(jsonb) from public, anon, authenticated, service_role;

-- Words the answer for a payment of an array that got no verdict, with its ids as they were sent: it may be unreadable.
-- Called by: public.reconcile_order_group_payments(), public.preview_order_group_payments(). Returns: the verdict's
-- object with `sqlstate`; the ids are null where the payment is no object. Locks: nothing.
create or replace function payments.no_verdict(p_payment jsonb, p_outcome text, p_sqlstate text)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return payments.verdict(null, p_payment ->> 'p_stripe_event_id', p_outcome) || jsonb_build_object(
        'order_group_id', p_payment ->> 'p_order_group_id',
        'sqlstate', p_sqlstate
    );
end;
$$;
comment on function payments.no_verdict(jsonb, text, text) is
    'The answer for a payment of an array that got no verdict, with the SQLSTATE that says why.';
revoke execute on function payments.no_verdict(jsonb, text, text) from public, anon, authenticated, service_role;

-- Reconciles up to 32 payments of Stripe, each as reconcile_order_group_payment does, in one transaction.
-- Called by: the relay and the sweep, through the Data API. Returns: an array in the order of the payments, each
-- element what reconcile_order_group_payment would have answered; or `failed`, with the SQLSTATE that it would have
-- raised; or `deferred`, with the SQLSTATE, where the payment met a lock that somebody held on to (55P03), a deadlock
-- (40P01) or, under a stricter isolation, a rival's commit (40001): it is to be sent alone. Raises 22023 where the
-- payments are no array, or more than 32.
-- Each payment is a subtransaction: without a verdict its rows and its locks are undone, and those of the others stay.
-- A deferred trigger of the shop's fires at the end of its payment, or its fault would come at the commit and undo all
-- of them. 32 subtransactions, with one more in each for an announcement of supabase/queues, are the 64 of a session
-- that Postgres keeps in memory.
--
-- Locks: see payments.reconcile(), for one payment after the other, and all of them until the end. They are taken by
-- order group, so that two batches cannot wait for each other's groups, however their payments stand. A payment without
-- a group comes where the group stands that its metadata name, whose row it shares; those that name none come last, by
-- event id: `~` is behind all digits. Payments of one group are judged in the order in which they stand.
-- Some hold a part of a later payment and want the group of an earlier one: a payment, alone or in another batch, whose
-- event or payment intent names another group here, a refund that has the payment intent, an editor who has locked an
-- order and not its group. It is the batch that gives way: it waits for 50 ms, then lets go of what it has locked for
-- this one payment, and the others go on. Once it has waited in vain it waits for 1 ms at most, so that it does not
-- hold anybody up until they look for a deadlock, which they do after deadlock_timeout, one second. Should one be found
-- all the same, the payment is deferred, or its rival is rolled back whole and sent again. An expiry waits for nobody,
-- and a promise of stock locks products in a way that the ledger does not meet.
create or replace function public.reconcile_order_group_payments(p_payments jsonb)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '50ms'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_most constant integer := 32;
    -- Asked once: to set the constraints after each payment is a twentieth of what it costs. Where none begins as deferred,
    -- one that only may be is left as it is: deferred, it would no longer fail where the shop's trigger handles it.
    v_defers constant boolean := exists (
        select 1
        from pg_catalog.pg_trigger as t
        where t.tginitdeferred
    );
    v_wait pg_catalog.text := current_setting('lock_timeout');
    v_payment pg_catalog.record;
    v_answers pg_catalog.jsonb[] := '{}';
begin
    if jsonb_typeof(p_payments) is distinct from 'array' or jsonb_array_length(p_payments) > v_most then
        raise exception 'p_payments must be an array of up to % payments', v_most
            using errcode = 'invalid_parameter_value';
    end if;

    for v_payment in
        select
            p.value,
            p.place
        from jsonb_array_elements(p_payments) with ordinality as p (value, place)
        order by
            coalesce(
                translate(
                    lower(coalesce(
                        p.value ->> 'p_order_group_id',
                        p.value -> 'p_session_metadata' ->> 'order_group_id'
                    )),
                    ' {}-',
                    ''
                ),
                '~' || (p.value ->> 'p_stripe_event_id')
            ) collate "C",
            p.place
    loop
        begin
            -- A trigger of the shop's may have set it in the payment before, until the transaction ends.
            perform set_config('lock_timeout', v_wait, true);
            v_answers[v_payment.place] := payments.reconcile(
                payments.read_event(v_payment.value), v_payment.value ->> 'p_unmatched_reason'
            );
            if v_defers then
                set constraints all immediate;
                set constraints all deferred;
            end if;
        exception
            when lock_not_available or deadlock_detected or serialization_failure then
                v_answers[v_payment.place] := payments.no_verdict(v_payment.value, 'deferred', sqlstate);
                v_wait := '1ms';
            -- `others` leaves out a cancelled query, which ends the call, and a failed assertion, a fault like any other.
            when assert_failure or others then
                v_answers[v_payment.place] := payments.no_verdict(v_payment.value, 'failed', sqlstate);
        end;
    end loop;
    return to_jsonb(v_answers);
end;
$$;
comment on function public.reconcile_order_group_payments(jsonb) is
    'Reconciles up to 32 payments of Stripe in one transaction, each in a subtransaction; returns their verdicts.';
revoke execute on function public.reconcile_order_group_payments(jsonb) from public, anon, authenticated;
grant execute on function public.reconcile_order_group_payments(jsonb) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.reconcile_order_group_payments(jsonb)', 'service_role', 'EXECUTE');
