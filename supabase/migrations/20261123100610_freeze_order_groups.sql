-- An order group starts pending, and is frozen as soon as it is pending no more.
--
-- Touches: triggers on public.order_groups, payments.is_representable(), payments.assert_representable().

-- Tells whether an amount is a whole number of the least units that Stripe charges in the currency.
-- Called by: the function below, payments.judge_order_group_request(). Returns: true or false; null for no amount. Locks: nothing.
create or replace function payments.is_representable(p_amount numeric, p_currency payments.currencies)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    return (p_amount * p_currency.minor_per_major) % p_currency.minor_multiple = 0;
end;
$$;
comment on function payments.is_representable(numeric, payments.currencies) is
    'Whether Stripe can charge the amount, in major units, in the currency.';
revoke execute on function payments.is_representable(numeric, payments.currencies)
from public, anon, authenticated, service_role;

-- Refuses an amount that the currency cannot express: the buyer would pay another one, and the payment be set aside.
-- Called by: triggers on order groups and orders. Returns: nothing, or raises 23514; a currency that Stripe does not know is
-- left to the foreign key. Locks: nothing.
create or replace function payments.assert_representable(p_amount numeric, p_currency text)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if exists (
        select 1
        from payments.currencies as c
        where c.code = p_currency and not payments.is_representable(p_amount, c)
    ) then
        raise exception '% cannot express %', p_currency, p_amount
            using errcode = 'check_violation',
                constraint = 'total_amount_is_money_of_its_currency';
    end if;
end;
$$;
comment on function payments.assert_representable(numeric, text) is
    'Raises where the amount, in major units, is no whole number of the least units that Stripe charges in the currency.';
revoke execute on function payments.assert_representable(numeric, text) from public, anon, authenticated, service_role;

-- Keeps a group's total within what its currency can express, and its currency for ever: its orders bear it too. It looks at
-- the values that came to stand in the row, after every other trigger.
-- Called by: triggers on public.order_groups. Returns: nothing, or raises 23514. Locks: nothing.
create or replace function payments.tg_order_groups__fit_currency()
returns trigger
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    if tg_op = 'UPDATE' and new.currency is distinct from old.currency then
        raise exception 'the currency of order group % cannot change', old.id
            using errcode = 'check_violation', constraint = 'order_group_keeps_its_currency';
    end if;
    perform payments.assert_representable(new.total_amount, new.currency);
    return null;
end;
$$;
comment on function payments.tg_order_groups__fit_currency() is 'Totals that the group''s currency can express; a currency for ever.';
revoke execute on function payments.tg_order_groups__fit_currency() from public, anon, authenticated, service_role;

create trigger order_groups_fit_currency
after insert on public.order_groups
for each row execute function payments.tg_order_groups__fit_currency();

create trigger order_groups_still_fit_currency
after update on public.order_groups
for each row when (new.currency is distinct from old.currency or new.total_amount is distinct from old.total_amount)
execute function payments.tg_order_groups__fit_currency();

-- Notes since when a group has its buyer, so that whoever had one is known after the account is deleted.
-- Called by: trigger on public.order_groups, for new groups with a buyer. Returns: the row. Locks: nothing.
create or replace function payments.tg_order_groups__note_buyer()
returns trigger
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    new.buyer_since := new.created_at;
    return new;
end;
$$;
comment on function payments.tg_order_groups__note_buyer() is 'A group that is made with a buyer has had one ever since.';
revoke execute on function payments.tg_order_groups__note_buyer() from public, anon, authenticated, service_role;

create trigger order_groups_note_buyer
before insert on public.order_groups
for each row when (new.buyer_id is not null)
execute function payments.tg_order_groups__note_buyer();

-- Lets a row be pending only, unless the writer has the rights of the table's owner: the functions, and whoever imports
-- history. A privilege would be the wrong question: one careless `grant all` answers it for everybody.
-- Called by: triggers on insert of groups and orders, and on the status of groups. Returns: the row, or raises 42501.
-- Locks: nothing.
create or replace function payments.tg_settled__start_pending()
returns trigger
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if (tg_op = 'INSERT' or old.status = 'pending') and new.status <> 'pending' and not pg_has_role(
        current_user, (
            select c.relowner
            from pg_catalog.pg_class as c
            where c.oid = tg_relid
        ), 'usage'
    ) then
        raise exception '%.% starts as pending, and becomes % through the functions',
            tg_table_schema, tg_table_name, new.status
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end;
$$;
comment on function payments.tg_settled__start_pending() is 'Order groups and orders are pending until the functions say otherwise.';
revoke execute on function payments.tg_settled__start_pending() from public, anon, authenticated, service_role;

create trigger order_groups_start_pending
before insert or update of status on public.order_groups
for each row execute function payments.tg_settled__start_pending();

-- Keeps what a settled group is; its currency no group changes. What has gone back follows from payments.refunds, and with it
-- whether the group is paid or refunded; a deleted buyer may be forgotten, a guest's group may be claimed by its first buyer,
-- metadata may be emptied where payments.metadata_erasures says so, nothing else. It compares the values that came to stand in
-- the row, after every other trigger; columns of the shop's own are the shop's.
-- Records each step of a group, which is one that only the table's owner takes.
-- Called by: triggers on update of order groups and on delete of settled ones. Returns: nothing, or raises 23514. Locks:
-- nothing more.
create or replace function payments.tg_order_groups__stay_settled()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_is_payment boolean;
    v_is_erasure boolean := false;
    v_is_refund boolean := false;
begin
    -- A statement of its own: who writes a column of the shop's may not read the private schema.
    if tg_op = 'UPDATE' and old.stripe_session_metadata <> '{}' and new.stripe_session_metadata = '{}' then
        v_is_erasure := exists (
            select 1
            from payments.metadata_erasures as e
            where e.order_group_id = new.id
        );
    end if;

    if tg_op = 'UPDATE' and new.refunded_amount <> old.refunded_amount then
        v_is_refund := new.refunded_amount = (
            select coalesce(sum(r.amount), 0)
            from payments.refunds as r
            where r.order_group_id = new.id and r.status = 'succeeded' and r.set_aside_reason is null
        );
    end if;

    if tg_op = 'UPDATE'
        and (
            (old.status = 'pending' and new.status = 'pending')
            or (
                (
                    new.id,
                    new.total_amount,
                    new.created_at,
                    new.expires_at,
                    new.awaiting_funds_since,
                    new.awaiting_funds_session_id,
                    new.awaiting_funds_event_id,
                    new.reserved_product_ids
                ) is not distinct from (
                    old.id,
                    old.total_amount,
                    old.created_at,
                    old.expires_at,
                    old.awaiting_funds_since,
                    old.awaiting_funds_session_id,
                    old.awaiting_funds_event_id,
                    old.reserved_product_ids
                )
                and (
                    (
                        new.buyer_since is not distinct from old.buyer_since
                        and (new.buyer_id is null or new.buyer_id is not distinct from old.buyer_id)
                    )
                    or (
                        new.status = old.status
                        and num_nulls(old.buyer_id, old.buyer_since) = 2
                        and num_nulls(new.buyer_id, new.buyer_since) = 0
                    )
                )
                and (
                    (old.status = 'pending' and new.status in ('paid', 'cancelled'))
                    or (
                        (
                            (new.status = old.status and new.refunded_amount = old.refunded_amount)
                            or (
                                old.status in ('paid', 'refunded')
                                and new.status in ('paid', 'refunded')
                                and v_is_refund
                            )
                        )
                        and (
                            new.paid_at,
                            new.stripe_webhook_event_id,
                            new.stripe_webhook_event_created_at,
                            new.stripe_webhook_received_at,
                            new.stripe_payment_intent_id,
                            new.stripe_checkout_session_id
                        ) is not distinct from (
                            old.paid_at,
                            old.stripe_webhook_event_id,
                            old.stripe_webhook_event_created_at,
                            old.stripe_webhook_received_at,
                            old.stripe_payment_intent_id,
                            old.stripe_checkout_session_id
                        )
                        and (
                            new.stripe_session_metadata is not distinct from old.stripe_session_metadata
                            or v_is_erasure
                        )
                    )
                )
            )
        )
    then
        if new.status <> old.status then
            v_is_payment := old.status = 'pending' and new.status = 'paid';
            insert into public.order_status_changes (order_group_id, from_status, to_status, changed_at, changed_by)
            values (
                new.id,
                old.status,
                new.status,
                case when v_is_payment then new.paid_at else clock_timestamp() end,
                case
                    when v_is_payment then 'reconcile_order_group_payment'
                    when old.status <> 'pending' then 'record_refund'
                    else payments.caller()
                end
            );
        end if;
        return null;
    end if;
    raise exception 'order group % is %: it cannot be changed or removed', old.id, old.status
        using errcode = 'check_violation',
            constraint = 'order_group_is_frozen_unless_pending';
end;
$$;
comment on function payments.tg_order_groups__stay_settled() is
    'Settled order groups do not change; each step of a group is recorded.';
revoke execute on function payments.tg_order_groups__stay_settled() from public, anon, authenticated, service_role;

create trigger order_groups_stay_settled
after update on public.order_groups
for each row execute function payments.tg_order_groups__stay_settled();

create trigger order_groups_stay
before delete on public.order_groups
for each row when (old.status <> 'pending')
execute function payments.tg_order_groups__stay_settled();
