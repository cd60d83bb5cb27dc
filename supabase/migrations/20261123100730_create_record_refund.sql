-- How money that went back is recorded.
--
-- Touches: public.record_refund(), and in `payments` its parts. A refund changes only the order group whose payment it belongs to;
-- goods are another fact (public.return_order_items()). Which status a refund has reached follows from the statuses alone, in
-- whatever order they arrive.

-- Reads the parameters of a refund or a dispute, as payments.normalise_event() does those of a payment.
-- Called by: public.record_refund(), public.record_dispute(). Returns: the row that would be recorded; raises 22023 for what no
-- relay would send. Locks: nothing. Amounts in minor and in major units; one that is no number is none.
create or replace function payments.normalise_refund(
    p_id text,
    p_payment_intent_id text,
    p_amount_minor bigint,
    p_amount numeric,
    p_currency text,
    p_status text,
    p_created timestamptz,
    p_reason text,
    p_livemode boolean,
    p_source text,
    p_stripe_event_id text
)
returns payments.refunds
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_longest constant integer := 255;
    v_refund payments.refunds;
begin
    v_refund.id := nullif(btrim(p_id), '');
    v_refund.payment_intent_id := nullif(btrim(p_payment_intent_id), '');
    v_refund.amount_minor := p_amount_minor;
    v_refund.amount := case when p_amount not in ('NaN', 'Infinity', '-Infinity') then p_amount end;
    v_refund.currency := nullif(upper(btrim(p_currency)), '');
    v_refund.status := p_status;
    v_refund.reason := nullif(btrim(p_reason), '');
    v_refund.created_at := p_created;
    v_refund.livemode := p_livemode;
    v_refund.source := p_source;

    if num_nulls(
        v_refund.id,
        v_refund.payment_intent_id,
        v_refund.amount_minor,
        v_refund.currency,
        v_refund.status,
        v_refund.created_at,
        v_refund.livemode
    ) > 0 then
        raise exception 'id, payment intent, amount in minor units, currency, status, creation and livemode are required'
            using errcode = 'invalid_parameter_value';
    elsif v_refund.amount_minor <= 0 then
        raise exception 'p_amount_minor must be positive, not %', v_refund.amount_minor
            using errcode = 'invalid_parameter_value';
    elsif greatest(
        length(v_refund.id),
        length(v_refund.payment_intent_id),
        length(v_refund.reason),
        length(v_refund.amount::pg_catalog.text),
        length(p_stripe_event_id)
    ) > v_longest then
        raise exception 'ids, the reason and the amount have % characters at most', v_longest
            using errcode = 'invalid_parameter_value';
    elsif length(v_refund.currency) > 3 then
        raise exception 'p_currency has 3 letters at most'
            using errcode = 'invalid_parameter_value';
    elsif v_refund.created_at not between '2000-01-01 00:00:00+00' and '2100-01-01 00:00:00+00' then
        raise exception 'p_created must lie between the years 2000 and 2100'
            using errcode = 'invalid_parameter_value';
    elsif p_source is null or p_source not in ('webhook', 'sweep', 'replay') then
        raise exception 'p_source must be webhook, sweep or replay, not %', p_source
            using errcode = 'invalid_parameter_value';
    end if;
    return v_refund;
end;
$$;
comment on function payments.normalise_refund(text, text, bigint, numeric, text, text, timestamptz, text, boolean, text, text) is
    'The parameters of record_refund and record_dispute as a row. Amounts in minor and in major units.';
revoke execute on function payments.normalise_refund(
    text, text, bigint, numeric, text, text, timestamptz, text, boolean, text, text
) from public, anon, authenticated, service_role;

-- Tells whether the amount in major units is the one in minor units, in the currency.
-- Called by: payments.record_refund(), payments.record_dispute(). Returns: true or false. Locks: nothing.
create or replace function payments.is_normalised(p_amount_minor bigint, p_amount numeric, p_currency text)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return exists (
        select 1
        from payments.currencies as c
        where
            c.code = p_currency
            and p_amount * c.minor_per_major = p_amount_minor
            and p_amount_minor % c.minor_multiple = 0
    );
end;
$$;
comment on function payments.is_normalised(bigint, numeric, text) is
    'Whether minor and major units agree by Stripe''s table of exponents.';
revoke execute on function payments.is_normalised(bigint, numeric, text) from public, anon, authenticated, service_role;

-- Orders the statuses of a refund: a later one outranks an earlier one, and the last two are final.
-- Called by: public.record_refund(), payments.record_refund(). Returns: a number; null for an unknown status. Locks: nothing.
create or replace function payments.refund_rank(p_status text)
returns integer
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return case p_status
        when 'pending' then 0
        when 'requires_action' then 1
        when 'succeeded' then 2
        when 'failed' then 3
        when 'canceled' then 3
    end;
end;
$$;
comment on function payments.refund_rank(text) is 'How far a refund with this status has come.';
revoke execute on function payments.refund_rank(text) from public, anon, authenticated, service_role;

-- Describes a refund for a person: what an exception keeps as evidence.
-- Called by: payments.record_refund(), payments.settle_payment(). Returns: an object, money as text. Locks: nothing.
create or replace function payments.describe_refund(p_refund payments.refunds)
returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'refund_id', p_refund.id,
        'payment_intent_id', p_refund.payment_intent_id,
        'amount_minor', p_refund.amount_minor::pg_catalog.text,
        'amount', p_refund.amount::pg_catalog.text,
        'currency', p_refund.currency,
        'status', p_refund.status,
        'reason', p_refund.reason,
        'created_at', p_refund.created_at,
        'livemode', p_refund.livemode,
        'source', p_refund.source
    );
$$;
comment on function payments.describe_refund(payments.refunds) is 'A refund as evidence for a person.';
revoke execute on function payments.describe_refund(payments.refunds) from public, anon, authenticated, service_role;

-- Judges a refund under its locks, and records it.
-- Called by: public.record_refund(). Returns: the verdict. Locks: the refund's id, the payment intent, the order group that the
-- payment has paid, the exceptions of refunds that have room now, and what payments.settle_refunds() locks.
create or replace function payments.record_refund(p_refund payments.refunds, p_stripe_event_id text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set random_page_cost = 1.1
as $$
declare
    v_now pg_catalog.timestamptz;
    v_known payments.refunds;
    v_payment pg_catalog.record;
    v_outcome pg_catalog.text := 'replayed';
    v_reason pg_catalog.text;
    v_status pg_catalog.text;
    v_is_same boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended(p_refund.id, 0));
    perform payments.lock_payment_intent(p_refund.payment_intent_id);

    select r.* into v_known
    from payments.refunds as r
    where r.id = p_refund.id;
    select p.* into v_payment
    from payments.find_payment(p_refund.payment_intent_id) as p;
    perform 1
    from public.order_groups as g
    where g.id = v_payment.order_group_id and v_payment.has_paid
    for update;

    v_is_same := (v_known.payment_intent_id, v_known.amount_minor, v_known.currency, v_known.livemode)
        = (p_refund.payment_intent_id, p_refund.amount_minor, p_refund.currency, p_refund.livemode);
    v_reason := case
        when not v_is_same
            then 'refund_collision'
        when v_payment.currency <> p_refund.currency
            then 'currency_mismatch'
        when not payments.is_normalised(p_refund.amount_minor, p_refund.amount, p_refund.currency)
            then 'amount_normalization_mismatch'
        when p_refund.status not in ('failed', 'canceled') and not payments.has_room(p_refund, v_payment.amount_minor)
            then 'exceeds_payment'
    end;

    if v_is_same
        and v_known.set_aside_reason is null
        and payments.refund_rank(p_refund.status) <= payments.refund_rank(v_known.status)
    then
        v_reason := null;
    elsif v_reason is not null then
        -- Where a person has closed the exception, there is nothing more to say.
        if payments.set_aside_refund_or_dispute(
            p_refund.id,
            null,
            p_stripe_event_id,
            v_payment.order_group_id,
            p_refund.payment_intent_id,
            v_reason,
            case
                when v_reason = 'refund_collision' then payments.describe_refund(v_known)
                else jsonb_build_object(
                    'amount_minor', v_payment.amount_minor::pg_catalog.text, 'currency', v_payment.currency
                )
            end,
            payments.describe_refund(p_refund)
        ) then
            v_outcome := 'rejected';
        else
            v_reason := null;
        end if;
    else
        v_outcome := 'recorded';
        v_now := clock_timestamp();
        insert into payments.refunds as r (
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
            p_refund.id,
            p_refund.payment_intent_id,
            case when v_payment.has_paid then v_payment.order_group_id end,
            p_refund.amount_minor,
            p_refund.amount,
            p_refund.currency,
            p_refund.status,
            p_refund.reason,
            p_refund.created_at,
            p_refund.livemode,
            p_refund.source,
            v_now,
            v_now
        )
        on conflict (id) do update
            set
                status = excluded.status,
                reason = coalesce(excluded.reason, r.reason),
                status_changed_at = excluded.status_changed_at,
                set_aside_reason = null
        returning r.status into v_status;

        if v_status is distinct from v_known.status then
            insert into payments.refund_status_changes (
                refund_id, from_status, to_status, changed_at, source, stripe_event_id
            )
            values (p_refund.id, v_known.status, v_status, v_now, p_refund.source, p_stripe_event_id);
        end if;
        perform payments.close_as_recorded(p_refund.id, null);
        if v_status in ('failed', 'canceled') then
            perform payments.fit_refunds(p_refund.payment_intent_id, v_payment.amount_minor);
        end if;
        perform payments.settle_refunds(p_refund.payment_intent_id);
    end if;

    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'refund_id', p_refund.id,
        'status', coalesce(v_status, v_known.status),
        'payment_intent_id', p_refund.payment_intent_id,
        'order_group_id', v_payment.order_group_id,
        'stripe_event_id', p_stripe_event_id
    );
end;
$$;
comment on function payments.record_refund(payments.refunds, text) is
    'Locks, judgement and consequence of one refund: what public.record_refund does.';
revoke execute on function payments.record_refund(payments.refunds, text)
from public, anon, authenticated, service_role;

-- Records a refund of Stripe, or the status that it has reached, exactly once.
-- Called by: the relay and the sweep, through the Data API. Amounts in minor and in major units; p_created is when the refund
-- was made, by Stripe's clock. Returns: an object with `outcome` (recorded, replayed, rejected), `reason` (currency_mismatch,
-- amount_normalization_mismatch, exceeds_payment, refund_collision), `refund_id`, `status` as recorded, `payment_intent_id`,
-- `order_group_id` of the group that the payment has paid, or was meant for, and `stripe_event_id`; raises 22023 for bad arguments.
-- A refund of a payment that is not known yet is recorded, and judged when the payment comes. Locks: see payments.record_refund();
-- waits 3 s at most for a lock, and raises 25000 under a stricter isolation level.
create or replace function public.record_refund(
    p_refund_id text,
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
    v_refund payments.refunds := payments.normalise_refund(
        p_refund_id,
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
begin
    if payments.refund_rank(v_refund.status) is null then
        raise exception 'p_status must be pending, requires_action, succeeded, failed or canceled, not %', v_refund.status
            using errcode = 'invalid_parameter_value';
    elsif current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'a refund is recorded under read committed: a payment that has just come would be overlooked'
            using errcode = 'invalid_transaction_state';
    end if;
    return payments.record_refund(v_refund, v_event_id);
end;
$$;
comment on function public.record_refund(
    text, text, bigint, numeric, text, text, timestamptz, text, boolean, text, text
) is 'Records a refund of Stripe, or the status that it has reached, exactly once. Amounts in minor and in major units.';
revoke execute on function public.record_refund(
    text, text, bigint, numeric, text, text, timestamptz, text, boolean, text, text
) from public, anon, authenticated;
grant execute on function public.record_refund(
    text, text, bigint, numeric, text, text, timestamptz, text, boolean, text, text
) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values (
    'public.record_refund(text,text,bigint,numeric,text,text,timestamp with time zone,text,boolean,text,text)',
    'service_role',
    'EXECUTE'
);
