-- The one function that turns a payment into a paid order group.
--
-- Touches: public.reconcile_order_group_payment(), and in `payments` its parts: normalise_event() reads the arguments,
-- judge() decides, pay() writes what a good payment changes, reconcile() takes the locks and does what was decided.
-- A business rejection is returned; only what makes a verdict impossible is raised: bad arguments (22023), lock time-out
-- (55P03), deadlock (40P01) and the like.
-- Its name, parameters and result are the contract with every relay ever deployed: they change by addition only.

-- Reads the parameters of a payment: ids without blanks around them, the currency in upper case, blank as absent, an
-- amount that is no number as none.
-- Called by: public.reconcile_order_group_payment(), payments.read_event(). Returns: the event, without
-- what only its processing tells; raises 22023 for what no relay would send. Locks: nothing.
create or replace function payments.normalise_event(
    p_order_group_id uuid,
    p_stripe_event_id text,
    p_stripe_event_type text,
    p_stripe_event_created timestamptz,
    p_livemode boolean,
    p_checkout_session_id text,
    p_payment_intent_id text,
    p_amount_minor bigint,
    p_amount numeric,
    p_currency text,
    p_session_metadata jsonb,
    p_source text,
    p_unmatched_reason text,
    p_account text
)
returns payments.stripe_events
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    -- Stripe's ids and types have 255 characters at most, its metadata 50 keys of 40 and values of 500 characters. What is
    -- kept is read by people and by their tools: https://docs.stripe.com/api/metadata
    v_longest constant integer := 255;
    v_most_metadata constant integer := 65536;  -- bytes
    v_event payments.stripe_events;
begin
    v_event.id := nullif(btrim(p_stripe_event_id), '');
    v_event.type := nullif(btrim(p_stripe_event_type), '');
    v_event.created_at := p_stripe_event_created;
    v_event.received_at := now();
    v_event.livemode := p_livemode;
    v_event.order_group_id := p_order_group_id;
    v_event.checkout_session_id := nullif(btrim(p_checkout_session_id), '');
    v_event.payment_intent_id := nullif(btrim(p_payment_intent_id), '');
    v_event.amount_minor := p_amount_minor;
    v_event.amount := case when p_amount not in ('NaN', 'Infinity', '-Infinity') then p_amount end;
    v_event.currency := nullif(upper(btrim(p_currency)), '');
    v_event.session_metadata := coalesce(p_session_metadata, '{}'::pg_catalog.jsonb);
    v_event.source := p_source;
    v_event.account := nullif(btrim(p_account), '');

    if v_event.id is null or v_event.type is null or v_event.livemode is null or v_event.checkout_session_id is null then
        raise exception 'event id, event type, livemode and checkout session id are required'
            using errcode = 'invalid_parameter_value';
    elsif greatest(
        length(v_event.id),
        length(v_event.type),
        length(v_event.checkout_session_id),
        length(v_event.payment_intent_id),
        length(v_event.account),
        length(v_event.amount::pg_catalog.text)
    ) > v_longest then
        raise exception 'ids, the event type and the amount have % characters at most', v_longest
            using errcode = 'invalid_parameter_value';
    elsif length(v_event.currency) > 3 then
        raise exception 'p_currency has 3 letters at most'
            using errcode = 'invalid_parameter_value';
    elsif octet_length(v_event.session_metadata::pg_catalog.text) > v_most_metadata then
        raise exception 'p_session_metadata has % bytes at most', v_most_metadata
            using errcode = 'invalid_parameter_value';
    elsif v_event.created_at not between '2000-01-01 00:00:00+00' and '2100-01-01 00:00:00+00' then
        raise exception 'p_stripe_event_created must lie between the years 2000 and 2100'
            using errcode = 'invalid_parameter_value';
    elsif p_source is null or p_source not in ('webhook', 'sweep', 'replay') then
        raise exception 'p_source must be webhook, sweep or replay, not %', p_source
            using errcode = 'invalid_parameter_value';
    elsif (p_order_group_id is null) <> (p_unmatched_reason is not null) then
        raise exception 'either an order group or the reason why there is none is required'
            using errcode = 'invalid_parameter_value';
    elsif p_unmatched_reason is not null then
        if not exists (
            select 1
            from payments.reasons as r
            where r.reason = p_unmatched_reason and r.outcome = 'unmatched'
        ) then
            raise exception 'p_unmatched_reason % is not known', p_unmatched_reason
                using errcode = 'invalid_parameter_value';
        end if;
    end if;
    return v_event;
end;
$$;
comment on function payments.normalise_event(
    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text
) is 'The parameters of reconcile_order_group_payment as an event. Amounts in minor and in major units.';
revoke execute on function payments.normalise_event(
    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text
) from public, anon, authenticated, service_role;

-- Tells whether what came under a known event id is the event that was processed under it.
-- Called by: payments.judge(), payments.reconcile(). Returns: true for a replay, false for a collision. Locks: nothing.
-- What the relay derives (amount, metadata) or adds (source) is not the event's own payload: a newer relay may derive it
-- otherwise, and the sweep adds another source, without the event being another one.
create or replace function payments.is_same_event(
    p_known payments.stripe_events,
    p_event payments.stripe_events
)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return (
        p_known.type,
        p_known.created_at,
        p_known.livemode,
        p_known.order_group_id,
        p_known.checkout_session_id,
        p_known.payment_intent_id,
        p_known.amount_minor,
        p_known.currency,
        p_known.account
    ) is not distinct from (
        p_event.type,
        p_event.created_at,
        p_event.livemode,
        p_event.order_group_id,
        p_event.checkout_session_id,
        p_event.payment_intent_id,
        p_event.amount_minor,
        p_event.currency,
        p_event.account
    );
end;
$$;
comment on function payments.is_same_event(payments.stripe_events, payments.stripe_events) is
    'Replay or collision: whether a known event id came with the payload that was processed under it.';
revoke execute on function payments.is_same_event(payments.stripe_events, payments.stripe_events)
from public, anon, authenticated, service_role;

-- Tells whether this payment intent or session has paid a group other than the one it names.
-- Called by: payments.judge(), payments.judge_taken(). Returns: true or false. Locks: nothing.
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

-- Finds the exceptions of a payment: of this event, and of the others of its session or payment intent. What another
-- account was paid is other money, whatever ids it bears; the payment's refunds and disputes are other matters.
-- Called by: payments.judge(), payments.reconcile(). Returns: rows of payments.exceptions. Locks: nothing.
create or replace function payments.exceptions_of_payment(p_event payments.stripe_events)
returns setof payments.exceptions
language plpgsql
stable
security invoker
set search_path = ''
rows 10
as $$
begin
    return query
    select x.*
    from payments.exceptions as x
    where
        x.stripe_event_id = p_event.id
        or (
            (
                x.checkout_session_id = p_event.checkout_session_id
                or x.payment_intent_id = p_event.payment_intent_id
            )
            and (
                x.reason <> 'foreign_account'
                or x.details -> 'received' ->> 'account' = p_event.account
            )
            and num_nonnulls(x.refund_id, x.dispute_id) = 0
        );
end;
$$;
comment on function payments.exceptions_of_payment(payments.stripe_events) is
    'The exceptions of this event and of the other events of its payment.';
revoke execute on function payments.exceptions_of_payment(payments.stripe_events)
from public, anon, authenticated, service_role;

create type payments.judgement as (
    outcome text,
    reason text,
    orders integer,
    exception_id bigint,
    refunded_exception_id bigint,
    has_exceptions boolean,
    is_known boolean,
    has_refunds boolean,
    is_sent_back boolean
);
comment on type payments.judgement is 'What payments.judge() says about a payment.';
comment on column payments.judgement.orders is 'How many orders the group has.';
comment on column payments.judgement.exception_id is 'The exception of this event, open or closed; null where it has none.';
comment on column payments.judgement.refunded_exception_id is
    'The first exception of this payment, of another event, that was closed as refunded; null where there is none.';
comment on column payments.judgement.has_exceptions is
    'Exceptions of this event, or of another one of its session or payment intent, are kept.';
comment on column payments.judgement.is_known is
    'This payment has paid the group that it was judged with, for this very amount and currency; null counts as false.';
comment on column payments.judgement.has_refunds is 'Refunds or disputes of this payment are recorded.';
comment on column payments.judgement.is_sent_back is
    'Stripe has sent all of this payment''s money back, and it has paid nothing: what is resolved for it keeps the reason. Null counts as false.';
revoke all on type payments.judgement from public, anon, authenticated, service_role;

-- Judges one payment with the order group that it names. The steps, first match wins:
--   replayed       the event was processed before;
--   resolved       an operator has closed the exception of this event, and that is final;
--   rejected       another event was processed under this id (event_collision);
--   unmatched      the event names no group;
--   rejected       the first reason that the group, the amount or the payment's past gives;
--   already_paid   the group is paid, then by this payment;
--   resolved       an operator has sent this payment's money back, whichever of its events comes now;
--   applied        the payment is good, and the group waits for it.
-- Where that would be unmatched, rejected or applied, but Stripe has sent all of its money back, and it has paid nothing, it is
-- resolved: as payment_refunded if it was good.
-- Where that would be unmatched or rejected, but the exception of this event was closed because another event of the
-- payment was applied, it is resolved: the money has paid.
-- It never looks at session_metadata: RELAY_METADATA_KEYS and an erasure empty them, so a rule that needs them is decided in
-- relay/core/checkout.py and sent as a parameter.
-- Called by: payments.reconcile() under the locks, payments.preview() without any. Returns: the judgement. Locks: nothing.
-- What nearly every payment asks for is found in one statement: one each would take longer than what it finds.
create or replace function payments.judge(
    p_event payments.stripe_events,
    p_unmatched_reason text,
    p_group public.order_groups
)
returns payments.judgement
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_found pg_catalog.record;
    v_is_closed boolean;
    v_has_paid boolean;
    v_paid_by_it boolean;
    v_judgement payments.judgement;
begin
    select
        child.orders,
        child.are_pending,
        child.have_items,
        child.total_amount,
        c.minor_per_major,
        c.minor_multiple,
        (
            select payments.is_same_event(e, p_event)
            from payments.stripe_events as e
            where e.id = p_event.id
        ) as is_replay,  -- null: no event of this id was processed
        exists (
            select 1
            from payments.exceptions as x
            where x.stripe_event_id = p_event.id
        )
        or exists (
            select 1
            from payments.exceptions as x
            where x.checkout_session_id = p_event.checkout_session_id
        )
        or exists (
            select 1
            from payments.exceptions as x
            where x.payment_intent_id = p_event.payment_intent_id
        ) as has_exceptions,
        p_unmatched_reason is distinct from 'foreign_account' and (
            exists (
                select 1
                from payments.refunds as r
                where r.payment_intent_id = p_event.payment_intent_id
            )
            or exists (
                select 1
                from payments.disputes as d
                where d.payment_intent_id = p_event.payment_intent_id
            )
        ) as has_refunds
    into v_found
    from (
        select
            count(*)::integer as orders,
            bool_and(o.status = 'pending') as are_pending,
            bool_and(exists (
                select 1
                from public.order_items as i
                where i.order_id = o.id
            )) as have_items,
            sum(o.total_amount) as total_amount
        from public.orders as o
        where o.order_group_id = p_event.order_group_id
    ) as child
    left join payments.currencies as c on c.code = p_event.currency;

    if v_found.has_exceptions then
        -- One that was closed because its event got applied comes back as a collision.
        select
            min(x.id) filter (where x.stripe_event_id = p_event.id),
            bool_or(x.resolution <> 'reconciled') filter (where x.stripe_event_id = p_event.id),
            bool_or(x.resolution = 'reconciled') filter (where x.stripe_event_id = p_event.id),
            min(x.id) filter (where x.resolution = 'refunded')
        into
            v_judgement.exception_id,
            v_is_closed,
            v_has_paid,
            v_judgement.refunded_exception_id
        from payments.exceptions_of_payment(p_event) as x;
    end if;
    v_judgement.has_exceptions := v_found.has_exceptions;
    v_judgement.has_refunds := v_found.has_refunds;

    if p_group.status in ('paid', 'refunded') then
        v_paid_by_it := p_group.stripe_checkout_session_id = p_event.checkout_session_id
            or p_group.stripe_payment_intent_id = p_event.payment_intent_id;
        v_judgement.is_known := v_paid_by_it
            and p_group.currency = p_event.currency
            and p_group.total_amount * v_found.minor_per_major = p_event.amount_minor;
    end if;
    v_judgement.orders := v_found.orders;

    if v_found.is_replay then
        v_judgement.outcome := 'replayed';
    elsif v_is_closed then
        v_judgement.outcome := 'resolved';
        v_judgement.refunded_exception_id := null;
    elsif not v_found.is_replay then
        v_judgement.outcome := 'rejected';
        v_judgement.reason := 'event_collision';
    elsif p_unmatched_reason is not null then
        v_judgement.outcome := 'unmatched';
        v_judgement.reason := p_unmatched_reason;
    else
        -- Comparisons are in minor units, by multiplication: exact. `is distinct from`, because null must never match.
        v_judgement.reason := case
            when p_group.id is null
                then 'order_group_not_found'
            -- A group that this very payment has paid knows it, also once it is refunded.
            when (p_group.status not in ('pending', 'paid') and (p_group.status = 'refunded' and v_paid_by_it) is not true)
                or (p_group.status = 'pending' and not v_found.are_pending)
                then 'order_group_not_payable'
            when v_found.have_items is not true  -- null: there are no orders
                then 'order_group_empty'
            when p_event.amount_minor is null or p_event.amount_minor < 0 or p_event.amount is null
                then 'amount_missing'
            when v_found.minor_per_major is null
                then 'currency_unsupported'
            when p_event.amount * v_found.minor_per_major is distinct from p_event.amount_minor
                or p_event.amount_minor % v_found.minor_multiple <> 0
                then 'amount_normalization_mismatch'
            when p_group.currency is distinct from p_event.currency
                then 'currency_mismatch'
            when p_group.total_amount * v_found.minor_per_major is distinct from p_event.amount_minor
                then 'amount_mismatch'
            when p_group.total_amount is distinct from v_found.total_amount
                then 'totals_inconsistent'
            when p_group.status = 'paid' and v_paid_by_it is not true
                then 'duplicate_payment'
            -- For a pending group payments.judge_taken() tells.
            when p_group.status <> 'pending' and payments.has_paid_another_group(p_event)
                then 'payment_already_used'
        end;
        v_judgement.outcome := case
            when v_judgement.reason is not null then 'rejected'
            when p_group.status <> 'pending' then 'already_paid'
            when v_judgement.refunded_exception_id is not null then 'resolved'
            else 'applied'
        end;
    end if;

    if v_has_paid and v_found.is_replay is null and v_judgement.outcome in ('unmatched', 'rejected') then
        v_judgement.outcome := 'resolved';
        v_judgement.reason := null;
        v_judgement.refunded_exception_id := null;
    elsif v_judgement.has_refunds
        and v_judgement.outcome in ('unmatched', 'rejected', 'applied')
        and v_judgement.reason is distinct from 'event_collision'
        and payments.is_all_back(p_event)
    then
        v_judgement.outcome := 'resolved';
        v_judgement.reason := coalesce(v_judgement.reason, 'payment_refunded');
        v_judgement.refunded_exception_id := null;
        v_judgement.is_sent_back := true;
    end if;
    return v_judgement;
end;
$$;
comment on function payments.judge(payments.stripe_events, text, public.order_groups) is
    'The one judgement of a payment, for the function that acts on it and for the preview.';
revoke execute on function payments.judge(payments.stripe_events, text, public.order_groups)
from public, anon, authenticated, service_role;

-- Judges what the unique indexes of stripe_events say to a payment that is otherwise good, and whose group is pending.
-- Called by: payments.reconcile() where they refused the event, payments.preview() instead of asking them. Returns: the
-- reason, or null where nothing is taken; raises XX001 where the group is pending but an event has paid it. Locks: nothing.
create or replace function payments.judge_taken(p_event payments.stripe_events)
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if payments.has_paid_another_group(p_event) then
        return 'payment_already_used';
    elsif exists (
        select 1
        from payments.stripe_events as e
        where e.outcome = 'applied' and e.order_group_id = p_event.order_group_id
    ) then
        raise exception 'order group % is pending but an event has paid it', p_event.order_group_id
            using errcode = 'data_corrupted';
    end if;
    return null;
end;
$$;
comment on function payments.judge_taken(payments.stripe_events) is
    'Why a payment that is else good cannot be applied: it, or its group, is taken.';
revoke execute on function payments.judge_taken(payments.stripe_events)
from public, anon, authenticated, service_role;

-- Writes what a good payment changes: the group and its orders are paid, each item leaves the stock.
-- Called by: payments.reconcile(), which holds the group. Returns: the verdict `applied`; raises XX001 where what was
-- written is not what was judged: a trigger or a rule of the shop's may change rows on their way, or swallow them. Locks:
-- the orders by id, after their group: the lock order of every writer.
create or replace function payments.pay(p_event payments.stripe_events, p_orders integer)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_entries integer;
    v_is_as_judged boolean;
begin
    update public.order_groups as g
    set
        status = 'paid',
        paid_at = p_event.processed_at,
        stripe_webhook_event_id = p_event.id,
        stripe_webhook_event_created_at = p_event.created_at,
        stripe_webhook_received_at = p_event.received_at,
        stripe_payment_intent_id = p_event.payment_intent_id,
        stripe_checkout_session_id = p_event.checkout_session_id,
        stripe_session_metadata = p_event.session_metadata
    where g.id = p_event.order_group_id;

    perform o.id
    from public.orders as o
    where o.order_group_id = p_event.order_group_id
    order by o.id
    for update;

    update public.orders as o
    set
        status = 'paid',
        paid_at = p_event.processed_at
    where o.order_group_id = p_event.order_group_id;

    insert into public.inventory_ledger (
        product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id, created_at
    )
    select
        i.product_id,
        i.seller_id,
        i.id,
        'order_commit',
        -i.quantity,
        p_event.id,
        p_event.processed_at
    from public.order_items as i
    where i.order_group_id = p_event.order_group_id
    order by i.id;

    select
        l.entries,
        (
            g.status,
            g.paid_at,
            g.currency,
            g.total_amount,
            g.stripe_webhook_event_id,
            g.stripe_payment_intent_id,
            g.stripe_checkout_session_id,
            o.orders,
            o.total_amount,
            l.entries
        ) is not distinct from (
            'paid',
            p_event.processed_at,
            p_event.currency,
            p_event.amount,
            p_event.id,
            p_event.payment_intent_id,
            p_event.checkout_session_id,
            p_orders,
            p_event.amount,
            l.items
        )
    into
        v_entries,
        v_is_as_judged
    from public.order_groups as g
    cross join (
        select
            sum(o.total_amount) as total_amount,
            count(*) filter (where o.status = 'paid' and o.paid_at = p_event.processed_at)::integer as orders
        from public.orders as o
        where o.order_group_id = p_event.order_group_id
    ) as o
    cross join (
        select
            count(*)::integer as items,
            count(l.id)::integer as entries
        from public.order_items as i
        left join public.inventory_ledger as l
            on
                i.id = l.order_item_id
                and l.entry_type = 'order_commit'
                and l.stripe_webhook_event_id = p_event.id
                and i.product_id = l.product_id
                and i.quantity = -l.quantity_delta
        where i.order_group_id = p_event.order_group_id
    ) as l
    where g.id = p_event.order_group_id;

    if v_is_as_judged is not true then
        raise exception 'order group % is not written as it was judged', p_event.order_group_id
            using
                errcode = 'data_corrupted',
                hint = 'a trigger or a rule on order_groups, orders, order_items or inventory_ledger changes its rows';
    end if;
    return payments.verdict(p_event.order_group_id, p_event.id, 'applied', null, p_orders, v_entries);
end;
$$;
comment on function payments.pay(payments.stripe_events, integer) is
    'What a good payment changes: group, orders, ledger.';
revoke execute on function payments.pay(payments.stripe_events, integer)
from public, anon, authenticated, service_role;

-- Has one payment judged under its locks, and does what was decided.
-- Called by: public.reconcile_order_group_payment(), public.reconcile_order_group_payments(). Returns: the verdict.
-- Locks: the event id, the payment intent, the order group, the payment's exceptions by id, the orders of a pending group
-- by id; the unique indexes of stripe_events make rivals for one payment wait for each other.
-- Its lookups are by index, which `random_page_cost` says: a session that met a table when it was small would otherwise scan it
-- for as long as it keeps its plans, and the currencies' one page always.
create or replace function payments.reconcile(p_event payments.stripe_events, p_unmatched_reason text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
set random_page_cost = 1.1
as $$
declare
    v_event payments.stripe_events;
    v_group public.order_groups;
    v_named_id pg_catalog.uuid;
    v_is_replay boolean;
    v_judgement payments.judgement;
    v_verdict pg_catalog.jsonb;
begin
    -- A replay is answered without a lock: it must stay cheap when Stripe sends a burst of them.
    select payments.is_same_event(e, p_event) into v_is_replay
    from payments.stripe_events as e
    where e.id = p_event.id;
    if v_is_replay then
        return payments.verdict(p_event.order_group_id, p_event.id, 'replayed');
    end if;

    -- Deliveries of one event take turns even where no group's lock makes them: the group may not exist yet, or they may
    -- name different ones. Otherwise one could open an exception for what the other is applying.
    perform pg_advisory_xact_lock(hashtextextended(p_event.id, 0));
    perform payments.lock_payment_intent(p_event.payment_intent_id);

    -- Everything below is judged on the row as it is under the lock.
    select g.* into v_group
    from public.order_groups as g
    where g.id = p_event.order_group_id
    for update;

    -- What was erased for an order group does not come back with a later event. One that has no group belongs to the one
    -- that its metadata name, whose lock makes it wait for an erasure.
    if p_event.order_group_id is null then
        v_named_id := payments.named_order_group(p_event.session_metadata);
        perform 1
        from public.order_groups as g
        where g.id = v_named_id
        for share;
    end if;
    if exists (
        select 1
        from payments.metadata_erasures as e
        where e.order_group_id = coalesce(p_event.order_group_id, v_named_id)
    ) then
        p_event.session_metadata := '{}';
    end if;
    v_judgement := payments.judge(p_event, p_unmatched_reason, v_group);

    -- Locked, so that an operator's resolution comes either before this verdict or after it; and before the event is
    -- inserted, because a rival that holds one of them may have to wait for that.
    if v_judgement.has_exceptions then
        perform x.id
        from payments.exceptions as x
        inner join payments.exceptions_of_payment(p_event) as mine on x.id = mine.id
        order by x.id
        for update of x;
        v_judgement := payments.judge(p_event, p_unmatched_reason, v_group);
    end if;

    if v_judgement.outcome in ('applied', 'already_paid') then
        v_event := p_event;
        v_event.outcome := v_judgement.outcome;
        v_event.processed_at := clock_timestamp();
        -- Column by column: the table may have columns of the shop's own, with defaults.
        insert into payments.stripe_events (
            id,
            type,
            created_at,
            received_at,
            processed_at,
            livemode,
            order_group_id,
            checkout_session_id,
            payment_intent_id,
            amount_minor,
            amount,
            currency,
            session_metadata,
            source,
            outcome,
            account
        )
        values (
            v_event.id,
            v_event.type,
            v_event.created_at,
            v_event.received_at,
            v_event.processed_at,
            v_event.livemode,
            v_event.order_group_id,
            v_event.checkout_session_id,
            v_event.payment_intent_id,
            v_event.amount_minor,
            v_event.amount,
            v_event.currency,
            v_event.session_metadata,
            v_event.source,
            v_event.outcome,
            v_event.account
        )
        on conflict do nothing;

        if found then
            if v_judgement.has_exceptions then
                update payments.exceptions as x
                set
                    status = 'resolved',
                    resolution = 'reconciled',
                    resolved_by = 'reconcile_order_group_payment',
                    resolved_at = v_event.processed_at,
                    note = case
                        when x.stripe_event_id <> v_event.id then 'event ' || v_event.id || ' of this payment was applied'
                    end
                from payments.exceptions_of_payment(v_event) as mine
                where
                    x.id = mine.id
                    and x.status = 'open'
                    and (x.stripe_event_id = v_event.id or v_event.outcome = 'applied');
            end if;
            if v_judgement.outcome = 'already_paid' then
                return payments.verdict(p_event.order_group_id, p_event.id, 'already_paid');
            end if;
            v_verdict := payments.pay(v_event, v_judgement.orders);
            if v_judgement.has_refunds then
                perform payments.settle_payment(v_event, true);
            end if;
            return v_verdict;
        end if;

        -- The payment has paid another group, perhaps only while we held this one's lock. The id cannot have been taken:
        -- deliveries of one event take turns.
        v_judgement.outcome := 'rejected';
        v_judgement.reason := payments.judge_taken(p_event);
        if v_judgement.reason is null then
            raise exception 'event % cannot be recorded', p_event.id
                using
                    errcode = 'data_corrupted',
                    hint = 'a trigger or a rule on payments.stripe_events keeps its rows back';
        end if;
    end if;

    if v_judgement.outcome = 'resolved' and v_judgement.refunded_exception_id is not null then
        return payments.set_aside_with(p_event, v_judgement.refunded_exception_id);
    elsif v_judgement.outcome in ('replayed', 'resolved') and v_judgement.is_sent_back is not true then
        return payments.verdict(p_event.order_group_id, p_event.id, v_judgement.outcome);
    end if;
    v_verdict := payments.set_aside(
        p_event,
        v_judgement.outcome,
        v_judgement.reason,
        case v_judgement.reason
            when 'event_collision' then (
                -- The event keeps its metadata itself; a copy would escape the erasure of its order group.
                select payments.describe_event(e) - 'session_metadata'
                from payments.stripe_events as e
                where e.id = p_event.id
            )
            else payments.describe_order_group(p_event.order_group_id)
        end,
        v_named_id
    );
    if v_judgement.has_refunds and v_judgement.reason <> 'event_collision' then
        perform payments.settle_payment(p_event, false);
    end if;
    if v_judgement.is_sent_back then
        return payments.verdict(p_event.order_group_id, p_event.id, 'resolved');
    end if;
    return v_verdict;
end;
$$;
comment on function payments.reconcile(payments.stripe_events, text) is
    'Locks, judgement and consequence of one payment: what reconcile_order_group_payment does.';
revoke execute on function payments.reconcile(payments.stripe_events, text)
from public, anon, authenticated, service_role;

-- Reconciles one payment of Stripe with one order group, exactly once.
-- Called by: the relay and the sweep, through the Data API. Returns: the verdict, an object. Locks: see
-- payments.reconcile(); waits 3 s at most for a lock, well inside the Data API's 8 s and the relay's 9 s.
-- `default_transaction_isolation` is a setting that PostgREST applies to the transaction it opens for the call: with it, a
-- project whose default is stricter still gets the row that was locked instead of a serialization failure.
create or replace function public.reconcile_order_group_payment(
    p_order_group_id uuid,
    p_stripe_event_id text,
    p_stripe_event_type text,
    p_stripe_event_created timestamptz,
    p_livemode boolean,
    p_checkout_session_id text,
    p_payment_intent_id text,
    p_amount_minor bigint,
    p_amount numeric,
    p_currency text,
    p_session_metadata jsonb default '{}',
    p_source text default 'webhook',
    p_unmatched_reason text default null,
    p_account text default null
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
    v_event payments.stripe_events := payments.normalise_event(
        p_order_group_id,
        p_stripe_event_id,
        p_stripe_event_type,
        p_stripe_event_created,
        p_livemode,
        p_checkout_session_id,
        p_payment_intent_id,
        p_amount_minor,
        p_amount,
        p_currency,
        p_session_metadata,
        p_source,
        p_unmatched_reason,
        p_account
    );
begin
    if current_setting('transaction_isolation') = 'read committed' then
        return payments.reconcile(v_event, p_unmatched_reason);
    end if;

    -- Under a stricter isolation a rival's commit shows as 40001, which PostgREST would answer by running the
    -- transaction again for ever. 55P03 tells the caller the same: nothing happened, try again.
    begin
        return payments.reconcile(v_event, p_unmatched_reason);
    exception
        when serialization_failure then
            raise exception 'order group % was changed by a rival', p_order_group_id
                using errcode = 'lock_not_available';
    end;
end;
$$;
comment on function public.reconcile_order_group_payment(
    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text
) is 'Reconciles one payment of Stripe with one order group, exactly once. Amounts in minor and in major units; returns the verdict.';
revoke execute on function public.reconcile_order_group_payment(
    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text
) from public, anon, authenticated;
grant execute on function public.reconcile_order_group_payment(
    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text
) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values (
    'public.reconcile_order_group_payment(uuid,text,text,timestamp with time zone,boolean,text,text,bigint,'
    || 'numeric,text,jsonb,text,text,text)',
    'service_role',
    'EXECUTE'
);
