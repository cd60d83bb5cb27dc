-- History is written once.
--
-- Touches: triggers on public.inventory_ledger and payments.stripe_events. They fire for everyone, the owner and
-- replication roles included (`enable always`), once per statement: a statement that matches no row is refused too.
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
before update or delete or truncate on payments.stripe_events
for each statement execute function payments.tg_history__refuse_change();
alter table payments.stripe_events enable always trigger stripe_events_is_append_only;
