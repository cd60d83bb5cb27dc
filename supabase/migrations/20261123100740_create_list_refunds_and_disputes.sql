-- What the sweep compares with Stripe's lists of refunds and disputes.
--
-- Touches: public.list_refunds_and_disputes(). It only reads. An older relay does not call it, and notices nothing.

-- Lists the refunds and disputes on record that were created in a window, by Stripe's clock, or whose status was last
-- recorded in it, by the database's: the first of the two is what the caller of record_refund() has said, and whoever forges
-- a refund says a year that nobody sweeps.
-- Called by: the sweep, as service_role. Returns: a row for each, money in minor units as Stripe counts; both ends belong to
-- the window. What was rejected is not on record, and not here: list_payment_exceptions() has it. What came before its payment is,
-- also where it does not fit that payment.
-- Locks: nothing.
create or replace function public.list_refunds_and_disputes(p_since timestamptz, p_until timestamptz)
returns table (
    id text,
    kind text,
    payment_intent_id text,
    order_group_id uuid,
    amount_minor bigint,
    currency text,
    status text
)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    return query
    select
        r.id,
        'refund',
        r.payment_intent_id,
        r.order_group_id,
        r.amount_minor,
        r.currency,
        r.status
    from payments.refunds as r
    where r.created_at between p_since and p_until or r.status_changed_at between p_since and p_until
    union all
    select
        d.id,
        'dispute',
        d.payment_intent_id,
        d.order_group_id,
        d.amount_minor,
        d.currency,
        d.status
    from payments.disputes as d
    where d.created_at between p_since and p_until or d.status_changed_at between p_since and p_until;
end;
$$;
comment on function public.list_refunds_and_disputes(timestamptz, timestamptz) is
    'The refunds and disputes that Stripe created in a window, or whose status was recorded in it. Amounts in minor units.';
revoke execute on function public.list_refunds_and_disputes(timestamptz, timestamptz) from public, anon, authenticated;
grant execute on function public.list_refunds_and_disputes(timestamptz, timestamptz) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values (
    'public.list_refunds_and_disputes(timestamp with time zone,timestamp with time zone)', 'service_role', 'EXECUTE'
);
