-- History is written once.
--
-- Touches: triggers on public.inventory_ledger, payments.stripe_events, exceptions, refunds, disputes and their steps. They
-- fire for everyone, the owner and replication roles included (`enable always`), once per statement: a statement that matches
-- no row is refused too. Only an update of recorded events is looked at row by row.
-- An event loses its session metadata, and nothing else, where payments.metadata_erasures says so.
-- An older relay notices nothing.

-- Refuses every update, delete and truncate of a table of history.
-- Called by: triggers. Returns: never. Locks: nothing.
create or replace function payments.tg_history__refuse_change()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    raise exception '%.% is append-only: % is refused', tg_table_schema, tg_table_name, lower(tg_op)
        using errcode = 'insufficient_privilege',
            hint = 'Record a new row that corrects the old one.';
end;
$$;
comment on function payments.tg_history__refuse_change() is 'Refuses update, delete and truncate of history.';
revoke execute on function payments.tg_history__refuse_change() from public, anon, authenticated, service_role;

create trigger inventory_ledger_is_append_only
before update or delete or truncate on public.inventory_ledger
for each statement execute function payments.tg_history__refuse_change();
alter table public.inventory_ledger enable always trigger inventory_ledger_is_append_only;

create trigger stripe_events_is_append_only
before delete or truncate on payments.stripe_events
for each statement execute function payments.tg_history__refuse_change();
alter table payments.stripe_events enable always trigger stripe_events_is_append_only;

-- Refuses every update of an event but the one that empties the session metadata of a group for which that is on record.
-- Called by: trigger, after all others. Returns: nothing, or raises 42501. Locks: nothing.
-- All columns are compared as text, the shop's own included, whatever their types. Not compared are those that others make:
-- a generated column, and `updated_at`, which the shop's trigger writes.
create or replace function payments.tg_stripe_events__lose_metadata_alone()
returns trigger
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_others pg_catalog.text[] := array(
        select a.attname::pg_catalog.text
        from pg_catalog.pg_attribute as a
        where
            a.attrelid = tg_relid
            and a.attnum > 0
            and (a.attgenerated <> '' or a.attname in ('session_metadata', 'updated_at'))
    );
begin
    if new.session_metadata = '{}'
        and (to_jsonb(new) - v_others)::pg_catalog.text = (to_jsonb(old) - v_others)::pg_catalog.text
        and exists (
            select 1
            from payments.metadata_erasures as e
            where e.order_group_id = new.order_group_id
        )
    then
        return null;
    end if;
    raise exception 'payments.stripe_events is append-only: update is refused'
        using errcode = 'insufficient_privilege',
            hint = 'public.erase_order_group_metadata() empties the session metadata.';
end;
$$;
comment on function payments.tg_stripe_events__lose_metadata_alone() is
    'Refuses to change a recorded event; its session metadata are emptied where payments.metadata_erasures has its group.';
revoke execute on function payments.tg_stripe_events__lose_metadata_alone()
from public, anon, authenticated, service_role;

create trigger stripe_events_lose_metadata_alone
after update on payments.stripe_events
for each row execute function payments.tg_stripe_events__lose_metadata_alone();
alter table payments.stripe_events enable always trigger stripe_events_lose_metadata_alone;

create trigger refund_status_changes_is_append_only
before update or delete or truncate on payments.refund_status_changes
for each statement execute function payments.tg_history__refuse_change();
alter table payments.refund_status_changes enable always trigger refund_status_changes_is_append_only;

create trigger dispute_status_changes_is_append_only
before update or delete or truncate on payments.dispute_status_changes
for each statement execute function payments.tg_history__refuse_change();
alter table payments.dispute_status_changes enable always trigger dispute_status_changes_is_append_only;

create trigger exceptions_are_kept
before delete or truncate on payments.exceptions
for each statement execute function payments.tg_history__refuse_change();
alter table payments.exceptions enable always trigger exceptions_are_kept;

create trigger refunds_are_kept
before delete or truncate on payments.refunds
for each statement execute function payments.tg_history__refuse_change();
alter table payments.refunds enable always trigger refunds_are_kept;

create trigger disputes_are_kept
before delete or truncate on payments.disputes
for each statement execute function payments.tg_history__refuse_change();
alter table payments.disputes enable always trigger disputes_are_kept;
