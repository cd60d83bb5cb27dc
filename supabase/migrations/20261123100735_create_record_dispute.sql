-- How it is recorded that a buyer's bank asks for money back.
--
-- Touches: public.record_dispute(), and in `payments` its parts. A dispute changes no order group: an open one, and a lost one, is one
-- open exception, for a person to act. Which status it has reached follows from the statuses alone, in whatever order they arrive.

-- Orders the statuses of a dispute: an inquiry comes before a chargeback, and what has been won was lost before, if ever.
-- https://docs.stripe.com/api/disputes/object
-- Called by: public.record_dispute(), payments.record_dispute(). Returns: a number; null for an unknown status. Locks: nothing.
create or replace function payments.dispute_rank(p_status text)
returns integer
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return array_position(
        '{warning_needs_response, warning_under_review, warning_closed, needs_response, under_review, charge_refunded,
        prevented, lost, won}'::pg_catalog.text[],
        p_status
    );
end;
$$;
comment on function payments.dispute_rank(text) is 'How far a dispute with this status has come.';
revoke execute on function payments.dispute_rank(text) from public, anon, authenticated, service_role;

-- Describes a dispute for a person: what an exception keeps as evidence.
-- Called by: payments.record_dispute(), payments.tell_dispute(). Returns: an object, money as text. Locks: nothing.
create or replace function payments.describe_dispute(p_dispute payments.disputes)
returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'dispute_id', p_dispute.id,
        'payment_intent_id', p_dispute.payment_intent_id,
        'amount_minor', p_dispute.amount_minor::pg_catalog.text,
        'amount', p_dispute.amount::pg_catalog.text,
        'currency', p_dispute.currency,
        'status', p_dispute.status,
        'reason', p_dispute.reason,
        'created_at', p_dispute.created_at,
        'livemode', p_dispute.livemode,
        'source', p_dispute.source
    );
$$;
comment on function payments.describe_dispute(payments.disputes) is 'A dispute as evidence for a person.';
revoke execute on function payments.describe_dispute(payments.disputes) from public, anon, authenticated, service_role;

-- Has a dispute of a known payment be one exception: open for as long as somebody must act, closed in the name of `stripe` once nobody
-- must. A dispute that comes when it is over already has one as well: any order of arrival ends the same.
-- Called by: payments.record_dispute(), payments.settle_payment(). Returns: nothing. Locks: the exception.
create or replace function payments.tell_dispute(
    p_dispute payments.disputes, p_stripe_event_id text, p_order_group_id uuid, p_payment jsonb
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if exists (
        select 1
        from payments.exceptions as x
        where x.dispute_id = p_dispute.id and x.reason = 'dispute_collision' and x.status = 'open'
    ) then
        return;
    end if;
    perform payments.set_aside_refund_or_dispute(
        null,
        p_dispute.id,
        p_stripe_event_id,
        p_order_group_id,
        p_dispute.payment_intent_id,
        coalesce(p_dispute.set_aside_reason, 'payment_disputed'),
        p_payment,
        payments.describe_dispute(p_dispute)
    );
    if p_dispute.set_aside_reason is null
        and p_dispute.status in ('won', 'warning_closed', 'charge_refunded', 'prevented')
    then
        update payments.exceptions as x
        set
            status = 'resolved',
            resolution = 'dismissed',
            resolved_by = 'stripe',
            resolved_at = clock_timestamp(),
            note = 'the dispute ended as ' || p_dispute.status
        where x.dispute_id = p_dispute.id and x.status = 'open';
    end if;
end;
$$;
comment on function payments.tell_dispute(payments.disputes, text, uuid, jsonb) is
    'Keeps a dispute as an exception, open where somebody must act, closed where it ended well.';
revoke execute on function payments.tell_dispute(payments.disputes, text, uuid, jsonb)
from public, anon, authenticated, service_role;

-- Judges a dispute under its locks, and records it.
-- Called by: public.record_dispute(). Returns: the verdict. Locks: the dispute's id, the payment intent, the order group that the
-- payment has paid, and the dispute's exception. Its amount is not compared with the payment's: Stripe lets them differ.
create or replace function payments.record_dispute(p_dispute payments.disputes, p_stripe_event_id text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set random_page_cost = 1.1
as $$
declare
    v_now pg_catalog.timestamptz;
    v_known payments.disputes;
    v_recorded payments.disputes;
    v_payment pg_catalog.record;
    v_outcome pg_catalog.text := 'replayed';
    v_reason pg_catalog.text;
    v_is_same boolean;
    v_expected pg_catalog.jsonb;
begin
    perform pg_advisory_xact_lock(hashtextextended(p_dispute.id, 0));
    perform payments.lock_payment_intent(p_dispute.payment_intent_id);

    select d.* into v_known
    from payments.disputes as d
    where d.id = p_dispute.id;
    select p.* into v_payment
    from payments.find_payment(p_dispute.payment_intent_id) as p;
    perform 1
    from public.order_groups as g
    where g.id = v_payment.order_group_id and v_payment.has_paid
    for update;

    v_expected := jsonb_build_object(
        'amount_minor', v_payment.amount_minor::pg_catalog.text, 'currency', v_payment.currency
    );
    v_is_same := (v_known.payment_intent_id, v_known.amount_minor, v_known.currency, v_known.livemode)
        = (p_dispute.payment_intent_id, p_dispute.amount_minor, p_dispute.currency, p_dispute.livemode);
    v_reason := case
        when not v_is_same
            then 'dispute_collision'
        when v_payment.currency <> p_dispute.currency
            then 'currency_mismatch'
        when not payments.is_normalised(p_dispute.amount_minor, p_dispute.amount, p_dispute.currency)
            then 'amount_normalization_mismatch'
    end;

    if v_is_same
        and v_known.set_aside_reason is null
        and payments.dispute_rank(p_dispute.status) <= payments.dispute_rank(v_known.status)
    then
        v_reason := null;
    elsif v_reason is not null then
        -- Where a person has closed the exception, there is nothing more to say.
        if payments.set_aside_refund_or_dispute(
            null,
            p_dispute.id,
            p_stripe_event_id,
            v_payment.order_group_id,
            p_dispute.payment_intent_id,
            v_reason,
            case
                when v_reason = 'dispute_collision' then payments.describe_dispute(v_known)
                else v_expected
            end,
            payments.describe_dispute(p_dispute)
        ) then
            v_outcome := 'rejected';
        else
            v_reason := null;
        end if;
    else
        v_outcome := 'recorded';
        v_now := clock_timestamp();
        insert into payments.disputes as d (
            id,
            payment_intent_id,
            order_group_id,
            amount_minor,
            amount,
            currency,
            status,
            reason,
            created_at,
            livemode,
            source,
            recorded_at,
            status_changed_at
        )
        values (
            p_dispute.id,
            p_dispute.payment_intent_id,
            case when v_payment.has_paid then v_payment.order_group_id end,
            p_dispute.amount_minor,
            p_dispute.amount,
            p_dispute.currency,
            p_dispute.status,
            p_dispute.reason,
            p_dispute.created_at,
            p_dispute.livemode,
            p_dispute.source,
            v_now,
            v_now
        )
        on conflict (id) do update
            set
                -- One that was set aside may come again with a status that it has left behind.
                status = case
                    when payments.dispute_rank(excluded.status) > payments.dispute_rank(d.status) then excluded.status
                    else d.status
                end,
                reason = coalesce(excluded.reason, d.reason),
                status_changed_at = excluded.status_changed_at,
                set_aside_reason = null
        returning d.* into v_recorded;

        if v_recorded.status is distinct from v_known.status then
            insert into payments.dispute_status_changes (
                dispute_id, from_status, to_status, changed_at, source, stripe_event_id
            )
            values (p_dispute.id, v_known.status, v_recorded.status, v_now, p_dispute.source, p_stripe_event_id);
        end if;

        perform payments.close_as_recorded(null, p_dispute.id);
        if v_payment.has_paid is not null then
            perform payments.tell_dispute(v_recorded, p_stripe_event_id, v_payment.order_group_id, v_expected);
        end if;
    end if;

    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'dispute_id', p_dispute.id,
        'status', coalesce(v_recorded.status, v_known.status),
        'payment_intent_id', p_dispute.payment_intent_id,
        'order_group_id', v_payment.order_group_id,
        'stripe_event_id', p_stripe_event_id
    );
end;
$$;
comment on function payments.record_dispute(payments.disputes, text) is
    'Locks, judgement and consequence of one dispute: what public.record_dispute does.';
revoke execute on function payments.record_dispute(payments.disputes, text)
from public, anon, authenticated, service_role;

-- Records a dispute of Stripe, or the status that it has reached, exactly once.
-- Called by: the relay and the sweep, through the Data API. Amounts in minor and in major units; p_created is when the dispute
-- was opened, by Stripe's clock. Returns: an object with `outcome` (recorded, replayed, rejected), `reason` (currency_mismatch,
-- amount_normalization_mismatch, dispute_collision), `dispute_id`, `status` as recorded, `payment_intent_id`, `order_group_id` of the
-- group that the payment has paid, or was meant for, and `stripe_event_id`; raises 22023 for bad arguments. Locks: see
-- payments.record_dispute(); waits 3 s at most for a lock, and raises 25000 under a stricter isolation level.
create or replace function public.record_dispute(
    p_dispute_id text,
    p_payment_intent_id text,
    p_amount_minor bigint,
    p_amount numeric,
    p_currency text,
    p_status text,
    p_created timestamptz,
    p_reason text default null,
    p_livemode boolean default true,
    p_source text default 'webhook',
    p_stripe_event_id text default null
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
    v_event_id constant pg_catalog.text := nullif(btrim(p_stripe_event_id), '');
    v_read constant payments.refunds := payments.normalise_refund(
        p_dispute_id,
        p_payment_intent_id,
        p_amount_minor,
        p_amount,
        p_currency,
        p_status,
        p_created,
        p_reason,
        p_livemode,
        p_source,
        v_event_id
    );
    v_dispute payments.disputes;
begin
    v_dispute.id := v_read.id;
    v_dispute.payment_intent_id := v_read.payment_intent_id;
    v_dispute.amount_minor := v_read.amount_minor;
    v_dispute.amount := v_read.amount;
    v_dispute.currency := v_read.currency;
    v_dispute.status := v_read.status;
    v_dispute.reason := v_read.reason;
    v_dispute.created_at := v_read.created_at;
    v_dispute.livemode := v_read.livemode;
    v_dispute.source := v_read.source;
    if payments.dispute_rank(v_dispute.status) is null then
        raise exception 'p_status is no status of a dispute: %', v_dispute.status
            using errcode = 'invalid_parameter_value';
    elsif current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'a dispute is recorded under read committed: a payment that has just come would be overlooked'
            using errcode = 'invalid_transaction_state';
    end if;
    return payments.record_dispute(v_dispute, v_event_id);
end;
$$;
comment on function public.record_dispute(
    text, text, bigint, numeric, text, text, timestamptz, text, boolean, text, text
) is 'Records a dispute of Stripe, or the status that it has reached, exactly once. Amounts in minor and in major units.';
revoke execute on function public.record_dispute(
    text, text, bigint, numeric, text, text, timestamptz, text, boolean, text, text
) from public, anon, authenticated;
grant execute on function public.record_dispute(
    text, text, bigint, numeric, text, text, timestamptz, text, boolean, text, text
) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values (
    'public.record_dispute(text,text,bigint,numeric,text,text,timestamp with time zone,text,boolean,text,text)',
    'service_role',
    'EXECUTE'
);
