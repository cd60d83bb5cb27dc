-- An order group starts pending, and is frozen as soon as it is pending no more.
--
-- Touches: triggers on public.order_groups.

-- Lets a row start as pending only, unless the writer may update the whole table (the owner, importing history).
-- Called by: triggers on insert of groups and orders. Returns: the row. Locks: nothing.
create or replace function payments.tg_settled__start_pending()
returns trigger
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    if new.status <> 'pending' and not has_table_privilege(current_user, tg_relid, 'update') then
        raise exception '%.% starts as pending, not as %', tg_table_schema, tg_table_name, new.status
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end;
$$;
comment on function payments.tg_settled__start_pending() is 'New order groups and orders are pending.';
revoke execute on function payments.tg_settled__start_pending() from public, anon, authenticated, service_role;

create trigger order_groups_start_pending
before insert on public.order_groups
for each row execute function payments.tg_settled__start_pending();

-- Keeps a settled group as it is: paid may become refunded, a deleted buyer may be forgotten, nothing else.
-- Called by: trigger on update and delete of settled groups. Returns: the row, or raises 23514. Locks: nothing more.
create or replace function payments.tg_order_groups__stay_settled()
returns trigger
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_allowed public.order_groups := old;
begin
    if tg_op = 'UPDATE' then
        if old.status = 'paid' and new.status = 'refunded' then
            v_allowed.status := 'refunded';
        end if;
        if new.buyer_id is null then
            v_allowed.buyer_id := null;
        end if;
        if new is not distinct from v_allowed then
            return new;
        end if;
    end if;
    raise exception 'order group % is %: it cannot be changed or removed', old.id, old.status
        using errcode = 'check_violation',
            constraint = 'order_group_is_frozen_unless_pending';
end;
$$;
comment on function payments.tg_order_groups__stay_settled() is 'Settled order groups do not change.';
revoke execute on function payments.tg_order_groups__stay_settled() from public, anon, authenticated, service_role;

create trigger order_groups_stay_settled
before update or delete on public.order_groups
for each row when (old.status <> 'pending')
execute function payments.tg_order_groups__stay_settled();
