-- What becomes of an order group is announced through Supabase Queues (pgmq), in the transaction that changes it.
--
-- Touches: the queue order_group_events, payments.unannounced_events, triggers on public.order_status_changes and
-- public.inventory_ledger, and the three functions by which a worker reads the queue. A message holds ids and no buyer data.
-- `relay init --with queues` brings this file. Money comes first: where the queue fails, the payment goes through, and the
-- message is kept until the queue can be read again.
-- A relay notices nothing.

do $$
begin
    if to_regprocedure('pgmq.create(text)') is not null then
        return;
    elsif not exists (select 1 from pg_catalog.pg_available_extensions as e where e.name = 'pgmq') then
        raise exception 'Supabase Queues (the extension pgmq) is not here, and order groups are announced through it'
            using errcode = 'feature_not_supported',
                hint = 'Turn on Queues in the dashboard, or take this file out of supabase/migrations.';
    end if;
    create extension pgmq;
end;
$$;

select pgmq.create('order_group_events');
-- A project may open pgmq to its clients, for queues of its own.
alter table pgmq.q_order_group_events enable row level security;
alter table pgmq.a_order_group_events enable row level security;
revoke all on table pgmq.q_order_group_events from public, anon, authenticated, service_role;
revoke all on table pgmq.a_order_group_events from public, anon, authenticated, service_role;

create table payments.unannounced_events (
    id bigint not null generated always as identity,
    message jsonb not null,
    failed_with text not null,
    failed_at timestamptz not null default clock_timestamp(),
    constraint unannounced_events_pkey primary key (id)
);
comment on table payments.unannounced_events is
    'Messages that the queue did not take when an order group changed. The next read of the queue sends them.';
comment on column payments.unannounced_events.failed_with is 'The SQLSTATE.';
alter table payments.unannounced_events enable row level security;
create policy "Nobody can read unannounced events" on payments.unannounced_events for select to public using (false);
revoke all on table payments.unannounced_events from public, anon, authenticated, service_role;
revoke all on sequence payments.unannounced_events_id_seq from public, anon, authenticated, service_role;

-- Announces one change of an order group, or keeps its message where the queue does not take it.
-- Called by: the triggers below. Returns: nothing, and raises nothing but a cancelled query: whatever is wrong with the queue,
-- also a lock that somebody holds on it, must not undo a payment, nor hold a batch of them up for a second. Locks: nothing that
-- anybody waits for.
create or replace function payments.announce(p_event text, p_order_group_id uuid, p_from_status text, p_at timestamptz)
returns void
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '20ms'
as $$
declare
    v_message pg_catalog.jsonb := jsonb_build_object(
        'event', p_event, 'order_group_id', p_order_group_id, 'from_status', p_from_status, 'at', p_at
    );
begin
    -- What pgmq.send() does, for half of what the announcement costs: that one plans its statement anew for each message.
    insert into pgmq.q_order_group_events (vt, message)
    values (clock_timestamp(), v_message);
exception
    when others then
        raise warning 'order group % is %, and the queue order_group_events did not take it: %',
            p_order_group_id, p_event, sqlerrm;
        insert into payments.unannounced_events (message, failed_with)
        values (v_message, sqlstate);
end;
$$;
comment on function payments.announce(text, uuid, text, timestamptz) is
    'Sends one message to the queue order_group_events; keeps it where that fails.';
revoke execute on function payments.announce(text, uuid, text, timestamptz)
from public, anon, authenticated, service_role;

-- Announces each step of an order group: paid, cancelled, refunded.
-- Called by: trigger on public.order_status_changes, for the group's own steps. Returns: nothing. Locks: nothing.
create or replace function payments.tg_order_status_changes__announce()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    perform payments.announce(new.to_status, new.order_group_id, new.from_status, new.changed_at);
    return null;
end;
$$;
comment on function payments.tg_order_status_changes__announce() is 'One message for each step of an order group.';
revoke execute on function payments.tg_order_status_changes__announce()
from public, anon, authenticated, service_role;

create trigger order_status_changes_announce
after insert on public.order_status_changes
for each row when (new.order_id is null)
execute function payments.tg_order_status_changes__announce();

-- Announces goods that came back: once for each statement and order group, however many items it brings.
-- Called by: trigger on public.inventory_ledger. Returns: nothing. Locks: nothing.
create or replace function payments.tg_inventory_ledger__announce_returns()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    -- Asked first, so that no payment ever waits for the join.
    if exists (select 1 from added as a where a.entry_type = 'order_return') then
        perform payments.announce('returned', r.order_group_id, null, r.created_at)
        from (
            select
                i.order_group_id,
                min(a.created_at) as created_at
            from added as a
            inner join public.order_items as i on a.order_item_id = i.id
            where a.entry_type = 'order_return'
            group by i.order_group_id
        ) as r;
    end if;
    return null;
end;
$$;
comment on function payments.tg_inventory_ledger__announce_returns() is
    'One message for the goods of an order group that one call has taken back.';
revoke execute on function payments.tg_inventory_ledger__announce_returns()
from public, anon, authenticated, service_role;

create trigger inventory_ledger_announce_returns
after insert on public.inventory_ledger
referencing new table as added
for each statement execute function payments.tg_inventory_ledger__announce_returns();

-- Reads messages of the queue order_group_events, and hides them from other readers for a while.
-- Called by: a worker, as service_role. It finishes each message, or sees it again when the time is up. What could not be
-- announced in its own transaction is sent first.
-- Returns: an array, oldest first: `id`, `reads` (how often it was read, this time included), `event`, `order_group_id`,
-- `from_status` (null for `returned`), `at`. Raises 22023. Locks: nothing that anybody waits for.
create or replace function public.read_order_group_events(p_limit integer default 10, p_seconds integer default 60)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
as $$
begin
    if p_limit is null or p_limit not between 1 and 100 or p_seconds is null or p_seconds not between 1 and 43200 then
        raise exception 'a read takes 1 to 100 messages, and hides them for 1 to 43,200 seconds'
            using errcode = 'invalid_parameter_value';
    end if;

    with taken as (
        delete from payments.unannounced_events as u
        where
            u.id = any(array(
                select k.id
                from payments.unannounced_events as k
                order by k.id
                limit p_limit
                for update skip locked
            ))
        returning u.id, u.message
    )

    insert into pgmq.q_order_group_events (vt, message)
    select
        clock_timestamp(),
        t.message
    from taken as t
    order by t.id;

    -- pgmq names its types without a schema: a caller's own come first, unless theirs is named, and last.
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
    return (
        select
            coalesce(
                jsonb_agg(
                    m.message || jsonb_build_object('id', m.msg_id, 'reads', m.read_ct) order by m.msg_id
                ),
                '[]'::pg_catalog.jsonb
            )
        from pgmq.read('order_group_events', p_seconds, p_limit) as m
    );
end;
$$;
comment on function public.read_order_group_events(integer, integer) is
    'Messages of the queue order_group_events, each hidden from other readers for so many seconds.';
revoke execute on function public.read_order_group_events(integer, integer) from public, anon, authenticated;
grant execute on function public.read_order_group_events(integer, integer) to service_role;

-- Removes a message whose work is done.
-- Called by: a worker, as service_role. Returns: whether it was there. Locks: the message's row.
create or replace function public.finish_order_group_event(p_id bigint)
returns boolean
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
as $$
begin
    -- As in public.read_order_group_events().
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
    return pgmq.delete('order_group_events', p_id);
end;
$$;
comment on function public.finish_order_group_event(bigint) is
    'Removes a message of the queue order_group_events whose work is done.';
revoke execute on function public.finish_order_group_event(bigint) from public, anon, authenticated;
grant execute on function public.finish_order_group_event(bigint) to service_role;

-- Moves a message whose work does not succeed into the queue's archive, pgmq.a_order_group_events, for a person.
-- Called by: a worker, as service_role. Returns: whether it was there. Locks: the message's row.
create or replace function public.set_aside_order_group_event(p_id bigint)
returns boolean
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
as $$
begin
    -- As in public.read_order_group_events().
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
    return pgmq.archive('order_group_events', p_id);
end;
$$;
comment on function public.set_aside_order_group_event(bigint) is
    'Moves a message of the queue order_group_events into its archive, for a person to look at.';
revoke execute on function public.set_aside_order_group_event(bigint) from public, anon, authenticated;
grant execute on function public.set_aside_order_group_event(bigint) to service_role;

insert into payments.expected_grants (object, grantee, privilege)
values
('public.read_order_group_events(integer,integer)', 'service_role', 'EXECUTE'),
('public.finish_order_group_event(bigint)', 'service_role', 'EXECUTE'),
('public.set_aside_order_group_event(bigint)', 'service_role', 'EXECUTE');

select payments.record_definitions(
    '{
        payments.unannounced_events,
        payments.unannounced_events_id_seq,
        "payments.announce(text,uuid,text,timestamp with time zone)",
        payments.tg_order_status_changes__announce(),
        payments.tg_inventory_ledger__announce_returns(),
        "public.read_order_group_events(integer,integer)",
        public.finish_order_group_event(bigint),
        public.set_aside_order_group_event(bigint),
        public.order_status_changes,
        public.inventory_ledger
    }',
    '{order_status_changes_announce, inventory_ledger_announce_returns}'
);
