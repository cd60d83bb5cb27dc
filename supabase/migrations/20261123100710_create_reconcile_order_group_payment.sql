-- The one function that turns a payment into a paid order group.
--
-- Touches: public.reconcile_order_group_payment() and payments.reconcile(), its decisions.
-- A business rejection is returned; only what makes a verdict impossible is raised: bad arguments (22023), lock time-out
-- (55P03), deadlock (40P01) and the like.
-- Its name, parameters and result are the contract with every relay ever deployed: they change by addition only.

-- Decides one payment. The order of the decisions is the contract's.
-- Called by: public.reconcile_order_group_payment(). Returns: the verdict. Locks: the event id, the order group, the
-- event's exception, the orders of a pending group by id; the unique indexes of stripe_events make rivals for one payment
-- wait for each other.
-- Its lookups are by index, which `random_page_cost` says: a session that met a table when it was small would else scan it
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
    v_known payments.stripe_events;
    v_group public.order_groups;
    v_exception payments.exceptions;
    v_refunded payments.exceptions;
    v_event payments.stripe_events := p_event;
    v_is_known boolean;
    v_has_exceptions boolean;
    v_minor_per_major integer;
    v_minor_multiple integer;
    v_orders integer;
    v_orders_are_pending boolean;
    v_orders_have_items boolean;
    v_orders_total numeric;
    v_reason pg_catalog.text;
    v_count integer;
begin
    -- 1. A replay is answered without a lock: it must stay cheap when Stripe sends a burst of them.
    select e.* into v_known
    from payments.stripe_events as e
    where e.id = p_event.id;
    if found then
        return payments.answer_known_event(v_known, p_event);
    end if;

    -- Deliveries of one event take turns even where no group's lock makes them: the group may not exist yet, or they may
    -- name different ones. Otherwise one could open an exception for what the other is applying.
    perform pg_advisory_xact_lock(hashtextextended(p_event.id, 0));

    -- 2. Everything below is judged on the row as it is under the lock.
    select g.* into v_group
    from public.order_groups as g
    where g.id = p_event.order_group_id
    for update;

    -- Everything else that the verdict asks for, in one look: a statement each would take longer than what it finds.
    select
        exists (
            select 1
            from payments.stripe_events as e
            where e.id = p_event.id
        ),
        exists (
            select 1
            from payments.exceptions as x
            where x.stripe_event_id = p_event.id
        )
        or exists (
            select 1
            from payments.exceptions as x
            where x.order_group_id = p_event.order_group_id
        ),
        c.minor_per_major,
        c.minor_multiple,
        child.orders,
        child.are_pending,
        child.have_items,
        child.total_amount
    into
        v_is_known,
        v_has_exceptions,
        v_minor_per_major,
        v_minor_multiple,
        v_orders,
        v_orders_are_pending,
        v_orders_have_items,
        v_orders_total
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

    -- The rival that held the lock may have been this very event.
    if v_is_known then
        select e.* into v_known
        from payments.stripe_events as e
        where e.id = p_event.id;
        return payments.answer_known_event(v_known, p_event);
    end if;

    if p_unmatched_reason is not null then
        return payments.set_aside(p_event, 'unmatched', p_unmatched_reason, null);
    end if;

    -- Locked, so that an operator's resolution comes either before this verdict or after it.
    if v_has_exceptions then
        select x.* into v_exception
        from payments.exceptions as x
        where x.stripe_event_id = p_event.id
        for update;
        if v_exception.status = 'resolved' then
            return payments.verdict(p_event.order_group_id, p_event.id, 'resolved');
        end if;
    end if;

    -- 3. Comparisons are in minor units, by multiplication: exact. `is distinct from`, because null must never match.
    v_reason := case
        when v_group.id is null
            then 'order_group_not_found'
        when v_group.status not in ('pending', 'paid')
            or (v_group.status = 'pending' and not v_orders_are_pending)
            then 'order_group_not_payable'
        when v_orders_have_items is not true  -- null: there are no orders
            then 'order_group_empty'
        when p_event.amount_minor is null or p_event.amount_minor < 0 or p_event.amount is null
            then 'amount_missing'
        when v_minor_per_major is null
            then 'currency_unsupported'
        when p_event.amount * v_minor_per_major is distinct from p_event.amount_minor
            or p_event.amount_minor % v_minor_multiple <> 0
            then 'amount_normalization_mismatch'
        when v_group.currency is distinct from p_event.currency
            then 'currency_mismatch'
        when v_group.total_amount * v_minor_per_major is distinct from p_event.amount_minor
            then 'amount_mismatch'
        when v_group.total_amount is distinct from v_orders_total
            then 'totals_inconsistent'
        when v_group.status = 'paid'
            and v_group.stripe_checkout_session_id is distinct from p_event.checkout_session_id
            and (v_group.stripe_payment_intent_id = p_event.payment_intent_id) is not true
            then 'duplicate_payment'
        -- For a pending group the unique indexes tell, below.
        when v_group.status = 'paid' and payments.has_paid_another_group(p_event)
            then 'payment_already_used'
    end;

    v_event.processed_at := clock_timestamp();

    -- Money that an operator has sent back pays nothing, whichever of the payment's events comes now.
    if v_has_exceptions and v_reason is null and v_group.status = 'pending' then
        select x.* into v_refunded
        from payments.exceptions as x
        where
            x.order_group_id = v_group.id
            and x.status = 'resolved'
            and x.resolution = 'refunded'
            and (
                x.checkout_session_id = p_event.checkout_session_id
                or x.payment_intent_id = p_event.payment_intent_id
            )
        order by x.id
        limit 1;
        if found then
            return payments.set_aside_with(p_event, v_refunded);
        end if;
    end if;

    if v_reason is null then
        -- 4. or 5.: the payment is good, and the group waits for it or has it.
        v_event.outcome := case v_group.status when 'paid' then 'already_paid' else 'applied' end;
        insert into payments.stripe_events
        values (v_event.*)
        on conflict do nothing;

        -- The payment has paid another group, perhaps only while we held this one's lock. The id cannot have been taken:
        -- deliveries of one event take turns.
        if not found then
            if not payments.has_paid_another_group(p_event) then
                raise exception 'order group % is % but an event has paid it', v_group.id, v_group.status
                    using errcode = 'data_corrupted';
            end if;
            v_reason := 'payment_already_used';
        end if;
    end if;

    if v_reason is not null then
        return payments.set_aside(
            p_event,
            'rejected',
            v_reason,
            case when v_group.id is not null then jsonb_build_object(
                'order_group_status', v_group.status,
                'currency', v_group.currency,
                'total_amount', v_group.total_amount::pg_catalog.text,
                'orders', v_orders,
                'orders_total', v_orders_total::pg_catalog.text,
                'items', (
                    select count(*)
                    from public.orders as o
                    inner join public.order_items as i on o.id = i.order_id
                    where o.order_group_id = v_group.id
                ),
                'paid_by_event_id', v_group.stripe_webhook_event_id,
                'paid_by_payment_intent_id', v_group.stripe_payment_intent_id,
                'paid_by_checkout_session_id', v_group.stripe_checkout_session_id
            ) end
        );
    end if;

    if v_exception.id is not null then
        update payments.exceptions as x
        set
            status = 'resolved',
            resolution = 'reconciled',
            resolved_by = 'reconcile_order_group_payment',
            resolved_at = v_event.processed_at
        where x.id = v_exception.id;
    end if;

    if v_event.outcome = 'already_paid' then
        return payments.verdict(p_event.order_group_id, p_event.id, 'already_paid');
    end if;

    update public.order_groups as g
    set
        status = 'paid',
        paid_at = v_event.processed_at,
        stripe_webhook_event_id = v_event.id,
        stripe_webhook_event_created_at = v_event.created_at,
        stripe_webhook_received_at = v_event.received_at,
        stripe_payment_intent_id = v_event.payment_intent_id,
        stripe_checkout_session_id = v_event.checkout_session_id,
        stripe_session_metadata = v_event.session_metadata
    where g.id = v_group.id;

    -- Children in one order (by id), after their group: the lock order of every writer.
    perform o.id
    from public.orders as o
    where o.order_group_id = v_group.id
    order by o.id
    for update;

    update public.orders as o
    set
        status = 'paid',
        paid_at = v_event.processed_at
    where o.order_group_id = v_group.id;

    get diagnostics v_count = row_count;
    if v_count <> v_orders then
        raise exception 'order group % has % orders but % were paid', v_group.id, v_orders, v_count
            using errcode = 'data_corrupted';
    end if;

    insert into public.inventory_ledger (
        product_id, seller_id, order_item_id, entry_type, quantity_delta, stripe_webhook_event_id, created_at
    )
    select
        i.product_id,
        i.seller_id,
        i.id,
        'order_commit',
        -i.quantity,
        v_event.id,
        v_event.processed_at
    from public.order_items as i
    where i.order_group_id = v_group.id
    order by i.id;

    get diagnostics v_count = row_count;
    return payments.verdict(p_event.order_group_id, p_event.id, 'applied', null, v_orders, v_count);
end;
$$;
comment on function payments.reconcile(payments.stripe_events, text) is
    'The decisions of reconcile_order_group_payment, on the locked rows.';
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
    p_unmatched_reason text default null
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
    v_event.amount := p_amount;
    v_event.currency := nullif(upper(btrim(p_currency)), '');
    v_event.session_metadata := coalesce(p_session_metadata, '{}'::pg_catalog.jsonb);
    v_event.source := p_source;

    if v_event.id is null or v_event.type is null or v_event.livemode is null or v_event.checkout_session_id is null then
        raise exception 'event id, event type, livemode and checkout session id are required'
            using errcode = 'invalid_parameter_value';
    elsif p_source is null or p_source not in ('webhook', 'sweep', 'replay') then
        raise exception 'p_source must be webhook, sweep or replay, not %', p_source
            using errcode = 'invalid_parameter_value';
    elsif (p_order_group_id is null) <> (p_unmatched_reason is not null) then
        raise exception 'either an order group or the reason why there is none is required'
            using errcode = 'invalid_parameter_value';
    elsif p_unmatched_reason is not null and not exists (
        select 1
        from payments.reasons as r
        where r.reason = p_unmatched_reason and r.outcome = 'unmatched'
    ) then
        raise exception 'p_unmatched_reason % is not known', p_unmatched_reason
            using errcode = 'invalid_parameter_value';
    end if;

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
    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text
) is 'Reconciles one payment of Stripe with one order group, exactly once. Amounts in minor and in major units; returns the verdict.';
revoke execute on function public.reconcile_order_group_payment(
    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text
) from public, anon, authenticated;
grant execute on function public.reconcile_order_group_payment(
    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text
) to service_role;
