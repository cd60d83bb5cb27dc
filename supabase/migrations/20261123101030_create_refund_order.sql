-- How one seller's part of a paid order group is given up.
--
-- Touches: public.refund_order(), payments.status_change_notes (append-only), which keeps why a step was taken. It moves no money:
-- the refund is Stripe's, and public.record_refund() records it. An older relay notices nothing.

create table payments.status_change_notes (
    order_group_id uuid not null,
    status_change_id bigint not null,
    note text not null,
    constraint status_change_notes_pkey primary key (order_group_id, status_change_id)
);
comment on table payments.status_change_notes is
    'Why a step of public.order_status_changes was taken, where somebody said so. Append-only, and not for buyers to read.';
comment on column payments.status_change_notes.status_change_id is
    'The step''s. No foreign key: neither the step nor the note is ever removed.';

alter table payments.status_change_notes enable row level security;
create policy "Nobody can read notes of status changes"
on payments.status_change_notes for select to public using (false);
revoke all on table payments.status_change_notes from public, anon, authenticated, service_role;

create trigger status_change_notes_is_append_only
before update or delete or truncate on payments.status_change_notes
for each statement execute function payments.tg_history__refuse_change();
alter table payments.status_change_notes enable always trigger status_change_notes_is_append_only;

-- Gives an order of a paid group up: it becomes refunded, and what is still out of its items comes back unless told otherwise.
-- The group stays paid until its money is back.
-- Called by: the shop, as service_role. Returns: an object with `outcome` (refunded, already_refunded, rejected), `reason`
-- (order_not_found, order_group_not_paid), `order_id`, `order_group_id`, `ledger_entries`; raises 22023 without a note, 25000
-- under a stricter isolation level. Locks: the order group, then the order by writing it: a member who moves it on
-- holds it alone and is waited for, and the order is refunded from where it then is.
create or replace function public.refund_order(p_order_id uuid, p_note text, p_return_items boolean default true)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_longest_note constant integer := 2000;
    v_note constant pg_catalog.text := nullif(btrim(p_note), '');
    v_order_group_id pg_catalog.uuid;
    v_group_status public.order_groups.status%type;
    v_status public.orders.status%type;
    v_outcome pg_catalog.text := 'rejected';
    v_reason pg_catalog.text;
    v_order_item_ids pg_catalog.uuid[];
    v_quantities bigint[];
    v_entries integer := 0;
begin
    if v_note is null or length(v_note) > v_longest_note then
        raise exception 'giving an order up needs a note of up to % characters: an auditor will ask why', v_longest_note
            using errcode = 'invalid_parameter_value';
    elsif current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'an order is given up under read committed: what a rival has just brought back would be overlooked'
            using errcode = 'invalid_transaction_state';
    end if;

    select o.order_group_id
    into v_order_group_id
    from public.orders as o
    where o.id = p_order_id;
    select g.status
    into v_group_status
    from public.order_groups as g
    where g.id = v_order_group_id
    for update;
    select o.status
    into v_status
    from public.orders as o
    where o.id = p_order_id;

    case
        when v_status is null then
            v_reason := 'order_not_found';
        when v_status = 'refunded' then
            v_outcome := 'already_refunded';
        when v_group_status <> 'paid' then
            v_reason := 'order_group_not_paid';
        else
            v_outcome := 'refunded';
            update public.orders as o
            set status = 'refunded'
            where o.id = p_order_id;

            insert into payments.status_change_notes (order_group_id, status_change_id, note)
            select
                c.order_group_id,
                max(c.id),
                v_note
            from public.order_status_changes as c
            where c.order_group_id = v_order_group_id and c.order_id = p_order_id
            group by c.order_group_id;

            if p_return_items is not false then
                select
                    array_agg(i.order_item_id),
                    array_agg(i.quantity)
                into v_order_item_ids, v_quantities
                from payments.returnable_items(v_order_group_id) as i
                where i.order_id = p_order_id and i.quantity > 0;
                v_entries := payments.write_returns(v_order_item_ids, v_quantities, v_note, null);
            end if;
    end case;
    return jsonb_build_object(
        'outcome', v_outcome,
        'reason', v_reason,
        'order_id', p_order_id,
        'order_group_id', v_order_group_id,
        'ledger_entries', v_entries
    );
end;
$$;
comment on function public.refund_order(uuid, text, boolean) is
    'Gives an order of a paid group up, with the reason; what is still out of its items comes back unless told otherwise. Moves no money.';
revoke execute on function public.refund_order(uuid, text, boolean) from public, anon, authenticated;
grant execute on function public.refund_order(uuid, text, boolean) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.refund_order(uuid,text,boolean)', 'service_role', 'EXECUTE');
