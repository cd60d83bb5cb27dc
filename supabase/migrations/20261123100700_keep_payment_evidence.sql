-- What is kept of a payment, and how its verdict is worded.
--
-- Touches: private functions in `payments`, the parts of public.reconcile_order_group_payment(). A business rejection is
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
        'source', p_event.source
    );
$$;
comment on function payments.describe_event(payments.stripe_events) is 'A payment as evidence for a person.';
revoke execute on function payments.describe_event(payments.stripe_events)
from public, anon, authenticated, service_role;

-- Keeps the evidence of an event that cannot be applied, and says so.
-- Called by: the functions below. Returns: the verdict; `resolved` where an operator has closed the case, which then
-- stays untouched. Locks: the event's exception row.
create or replace function payments.set_aside(
    p_event payments.stripe_events,
    p_outcome text,
    p_reason text,
    p_expected jsonb
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- A case that was closed because its event got applied may come back (as a collision); an operator's word is final.
    insert into payments.exceptions as x (
        stripe_event_id, order_group_id, checkout_session_id, payment_intent_id, reason, details
    )
    values (
        p_event.id,
        p_event.order_group_id,
        p_event.checkout_session_id,
        p_event.payment_intent_id,
        p_reason,
        jsonb_build_object('expected', p_expected, 'received', payments.describe_event(p_event))
    )
    on conflict (stripe_event_id) do update
        set
            attempts = x.attempts + 1,
            last_seen_at = excluded.last_seen_at,
            order_group_id = excluded.order_group_id,
            checkout_session_id = excluded.checkout_session_id,
            payment_intent_id = excluded.payment_intent_id,
            reason = excluded.reason,
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
            resolved_at = null
        where x.status = 'open' or x.resolution = 'reconciled';

    if not found then
        return payments.verdict(p_event.order_group_id, p_event.id, 'resolved');
    end if;
    return payments.verdict(p_event.order_group_id, p_event.id, p_outcome, p_reason);
end;
$$;
comment on function payments.set_aside(payments.stripe_events, text, text, jsonb) is
    'Keeps the evidence of an event that cannot be applied: one exception per event, later attempts count it up.';
revoke execute on function payments.set_aside(payments.stripe_events, text, text, jsonb)
from public, anon, authenticated, service_role;

-- Keeps an event with the case of its payment, which an operator has closed.
-- Called by: payments.reconcile(). Returns: the verdict `resolved`. Locks: the event's exception row.
create or replace function payments.set_aside_with(
    p_event payments.stripe_events,
    p_closed payments.exceptions
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_note constant payments.exceptions.note%type := 'same payment as exception ' || p_closed.id;
begin
    perform payments.set_aside(p_event, 'rejected', p_closed.reason, null);

    update payments.exceptions as x
    set
        status = p_closed.status,
        resolution = p_closed.resolution,
        resolved_by = p_closed.resolved_by,
        resolved_at = clock_timestamp(),
        note = v_note
    where x.stripe_event_id = p_event.id and x.status = 'open';

    return payments.verdict(p_event.order_group_id, p_event.id, 'resolved');
end;
$$;
comment on function payments.set_aside_with(payments.stripe_events, payments.exceptions) is
    'Keeps an event of a payment whose case is closed, closed in the same way.';
revoke execute on function payments.set_aside_with(payments.stripe_events, payments.exceptions)
from public, anon, authenticated, service_role;

-- Answers an event whose id was processed before.
-- Called by: payments.reconcile(). Returns: `replayed`, or `event_collision` where the id came with another payload.
-- Locks: nothing for a replay. What the relay derives (amount, metadata) or adds (source) is not the event's own payload:
-- a newer relay may derive it otherwise, and the sweep adds another source, without the event being another one.
create or replace function payments.answer_known_event(
    p_known payments.stripe_events,
    p_event payments.stripe_events
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if (
        p_known.type,
        p_known.created_at,
        p_known.livemode,
        p_known.order_group_id,
        p_known.checkout_session_id,
        p_known.payment_intent_id,
        p_known.amount_minor,
        p_known.currency
    ) is not distinct from (
        p_event.type,
        p_event.created_at,
        p_event.livemode,
        p_event.order_group_id,
        p_event.checkout_session_id,
        p_event.payment_intent_id,
        p_event.amount_minor,
        p_event.currency
    ) then
        return payments.verdict(p_event.order_group_id, p_event.id, 'replayed');
    end if;
    return payments.set_aside(p_event, 'rejected', 'event_collision', payments.describe_event(p_known));
end;
$$;
comment on function payments.answer_known_event(payments.stripe_events, payments.stripe_events) is
    'Replay or collision: an event id that was processed before.';
revoke execute on function payments.answer_known_event(payments.stripe_events, payments.stripe_events)
from public, anon, authenticated, service_role;

-- Tells whether this payment intent or session has paid a group other than the one it names.
-- Called by: payments.reconcile(). Returns: true or false. Locks: nothing.
create or replace function payments.has_paid_another_group(p_event payments.stripe_events)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return exists (
        select 1
        from payments.stripe_events as e
        where
            e.outcome = 'applied'
            and e.payment_intent_id = p_event.payment_intent_id
            and e.order_group_id <> p_event.order_group_id
    )
    or exists (
        select 1
        from payments.stripe_events as e
        where
            e.outcome = 'applied'
            and e.checkout_session_id = p_event.checkout_session_id
            and e.order_group_id <> p_event.order_group_id
    );
end;
$$;
comment on function payments.has_paid_another_group(payments.stripe_events) is
    'Whether this payment intent or session has paid another group.';
revoke execute on function payments.has_paid_another_group(payments.stripe_events)
from public, anon, authenticated, service_role;
