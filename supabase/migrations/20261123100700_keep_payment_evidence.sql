-- What is kept of a payment, and how its verdict is worded.
--
-- Touches: private functions in `payments`, parts of public.reconcile_order_group_payment(). A business rejection is
-- returned and kept as an exception row; raising it would roll its evidence back.

-- Words a verdict for the caller.
-- Called by: the functions below. Returns: the object of the contract. Locks: nothing. Like the others on the way of each
-- payment it is plpgsql, which keeps its plans: sql would be parsed and planned at every call.
create or replace function payments.verdict(
    p_order_group_id uuid,
    p_event_id text,
    p_outcome text,
    p_reason text default null,
    p_orders_paid integer default 0,
    p_ledger_entries integer default 0
)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return jsonb_build_object(
        'outcome', p_outcome,
        'reason', p_reason,
        'order_group_id', p_order_group_id,
        'stripe_event_id', p_event_id,
        'orders_paid', p_orders_paid,
        'ledger_entries', p_ledger_entries
    );
end;
$$;
comment on function payments.verdict(uuid, text, text, text, integer, integer) is
    'The answer of reconcile_order_group_payment.';
revoke execute on function payments.verdict(uuid, text, text, text, integer, integer)
from public, anon, authenticated, service_role;

-- Describes a payment for a person: what an exception keeps as evidence.
-- Called by: the functions below. Returns: an object, money as text. Locks: nothing.
create or replace function payments.describe_event(p_event payments.stripe_events)
returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'event_type', p_event.type,
        'event_created_at', p_event.created_at,
        'livemode', p_event.livemode,
        'order_group_id', p_event.order_group_id,
        'checkout_session_id', p_event.checkout_session_id,
        'payment_intent_id', p_event.payment_intent_id,
        'amount_minor', p_event.amount_minor::pg_catalog.text,
        'amount', p_event.amount::pg_catalog.text,
        'currency', p_event.currency,
        'session_metadata', p_event.session_metadata,
        'source', p_event.source,
        'account', p_event.account
    );
$$;
comment on function payments.describe_event(payments.stripe_events) is 'A payment as evidence for a person.';
revoke execute on function payments.describe_event(payments.stripe_events)
from public, anon, authenticated, service_role;

-- Describes an order group for a person: what a rejected payment was compared with.
-- Called by: payments.reconcile(). Returns: an object, money as text; null where there is no such group. Locks: nothing.
create or replace function payments.describe_order_group(p_order_group_id uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'order_group_status', g.status,
        'currency', g.currency,
        'total_amount', g.total_amount::pg_catalog.text,
        'orders', (
            select count(*)
            from public.orders as o
            where o.order_group_id = g.id
        ),
        'orders_total', (
            select sum(o.total_amount)::pg_catalog.text
            from public.orders as o
            where o.order_group_id = g.id
        ),
        'items', (
            select count(*)
            from public.order_items as i
            where i.order_group_id = g.id
        ),
        'paid_by_event_id', g.stripe_webhook_event_id,
        'paid_by_payment_intent_id', g.stripe_payment_intent_id,
        'paid_by_checkout_session_id', g.stripe_checkout_session_id
    )
    from public.order_groups as g
    where g.id = p_order_group_id;
$$;
comment on function payments.describe_order_group(uuid) is 'An order group as evidence for a person.';
revoke execute on function payments.describe_order_group(uuid)
from public, anon, authenticated, service_role;

-- Reads the order group that a session's metadata name: a UUID in hex digits, with hyphens or without.
-- Called by: payments.reconcile() and payments.without_metadata(), for a payment whose group is none of its parameters.
-- Returns: the id, or null where the metadata name none. Locks: nothing.
create or replace function payments.named_order_group(p_session_metadata jsonb)
returns uuid
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
    -- Around it may stand what the relay takes for white space, a tab for instance.
    v_digits pg_catalog.text := replace(
        regexp_replace(p_session_metadata ->> 'order_group_id', '^\s+|\s+$', '', 'g'), '-', ''
    );
begin
    return case when v_digits ~* '^[0-9a-f]{32}$' then v_digits::pg_catalog.uuid end;
end;
$$;
comment on function payments.named_order_group(jsonb) is 'The order group that a session''s metadata name.';
revoke execute on function payments.named_order_group(jsonb) from public, anon, authenticated, service_role;

-- Keeps the evidence of an event that cannot be applied, and says so.
-- Called by: payments.reconcile() and the function below, never for a case that an operator has closed: the judgement
-- tells. `p_named_order_group_id` is the group that the metadata of an event without a group name; the metadata may be erased.
-- Returns: the verdict. Locks: the event's exception row.
create or replace function payments.set_aside(
    p_event payments.stripe_events,
    p_outcome text,
    p_reason text,
    p_expected jsonb,
    p_named_order_group_id uuid default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- The transaction may have begun long before it got the group's lock.
    v_now pg_catalog.timestamptz := clock_timestamp();
begin
    -- A case that was closed because its event got applied comes back as a collision.
    insert into payments.exceptions as x (
        stripe_event_id,
        order_group_id,
        checkout_session_id,
        payment_intent_id,
        reason,
        first_seen_at,
        last_seen_at,
        details,
        event_created_at
    )
    values (
        p_event.id,
        p_event.order_group_id,
        p_event.checkout_session_id,
        p_event.payment_intent_id,
        p_reason,
        v_now,
        v_now,
        jsonb_build_object('expected', p_expected, 'received', payments.describe_event(p_event))
        || case
            when p_reason = 'foreign_account' or p_named_order_group_id is not null
                then jsonb_build_object('named_order_group_id', p_named_order_group_id)
            else '{}'::pg_catalog.jsonb
        end,
        p_event.created_at
    )
    on conflict (stripe_event_id) do update
        set
            attempts = x.attempts + 1,
            last_seen_at = excluded.last_seen_at,
            order_group_id = excluded.order_group_id,
            checkout_session_id = excluded.checkout_session_id,
            payment_intent_id = excluded.payment_intent_id,
            reason = excluded.reason,
            event_created_at = excluded.event_created_at,
            details = case
                when x.reason = excluded.reason
                    and (x.details -> 'received') - 'source' = (excluded.details -> 'received') - 'source'
                    then x.details
                else excluded.details || jsonb_strip_nulls(jsonb_build_object('reopened', x.details -> 'reopened')) || jsonb_build_object(
                    'earlier',
                    coalesce(x.details -> 'earlier', '[]'::pg_catalog.jsonb) || jsonb_build_object(
                        'reason', x.reason,
                        'until', x.last_seen_at,
                        'expected', x.details -> 'expected',
                        'received', x.details -> 'received'
                    )
                )
            end,
            status = 'open',
            resolution = null,
            resolved_by = null,
            resolved_at = null,
            note = null;

    return payments.verdict(p_event.order_group_id, p_event.id, p_outcome, p_reason);
end;
$$;
comment on function payments.set_aside(payments.stripe_events, text, text, jsonb, uuid) is
    'Keeps the evidence of an event that cannot be applied: one exception per event, later attempts count it up.';
revoke execute on function payments.set_aside(payments.stripe_events, text, text, jsonb, uuid)
from public, anon, authenticated, service_role;

-- Keeps an event with the case of its payment, which an operator has closed.
-- Called by: payments.reconcile(). Returns: the verdict `resolved`. Locks: the event's exception row.
create or replace function payments.set_aside_with(p_event payments.stripe_events, p_exception_id bigint)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_closed payments.exceptions;
begin
    select x.* into v_closed
    from payments.exceptions as x
    where x.id = p_exception_id;

    perform payments.set_aside(p_event, 'rejected', v_closed.reason, null);

    update payments.exceptions as x
    set
        status = v_closed.status,
        resolution = v_closed.resolution,
        resolved_by = v_closed.resolved_by,
        resolved_at = clock_timestamp(),
        note = 'same payment as exception ' || v_closed.id
    where x.stripe_event_id = p_event.id;

    return payments.verdict(p_event.order_group_id, p_event.id, 'resolved');
end;
$$;
comment on function payments.set_aside_with(payments.stripe_events, bigint) is
    'Keeps an event of a payment whose case is closed, closed in the same way.';
revoke execute on function payments.set_aside_with(payments.stripe_events, bigint)
from public, anon, authenticated, service_role;
