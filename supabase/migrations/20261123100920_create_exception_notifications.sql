-- Who has been told of which open exception: `relay notify` tells each address once, from whatever machine it runs.
--
-- Touches: payments.notifications, public.claim_exception_notifications(), public.finish_exception_notifications(). The memory is
-- here and not in a file, because a scheduler's machine may be another one tomorrow, and two of them may run at once. An
-- address is kept as a digest: the URL of a chat or of a mailbox is a secret. An older relay notices nothing.

create table payments.notifications (
    exception_id bigint not null,
    address text not null,
    claimed_until timestamptz not null,
    sent_at timestamptz,
    constraint notifications_pkey primary key (exception_id, address),
    constraint notifications_address_is_a_digest_check check (address ~ '^[0-9a-f]{64}$')
);
comment on table payments.notifications is
    'Open exceptions of which an address has been told, or is being told. A row goes when its exception is closed or opened again.';
comment on column payments.notifications.exception_id is
    'No foreign key: its check would lock the exception, and a payment must wait for no message.';
comment on column payments.notifications.address is 'A digest of the address, which is a secret.';
comment on column payments.notifications.claimed_until is
    'Until then nobody else tells the address; afterwards whoever claimed it is taken for dead.';
comment on column payments.notifications.sent_at is 'Null while the address is being told.';
alter table payments.notifications enable row level security;
create policy "Nobody can read notifications" on payments.notifications for select to public using (false);
revoke all on table payments.notifications from public, anon, authenticated, service_role;

-- Forgets who has been told of an exception once it is closed, and once it is open again: that is news to everybody.
-- Called by: trigger on payments.exceptions. Returns: nothing. Locks: the exception's rows of payments.notifications, which the
-- functions below hold for no longer than they run.
create or replace function payments.tg_exceptions__forget_notifications()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    delete from payments.notifications as n
    where n.exception_id = new.id;
    return null;
end;
$$;
comment on function payments.tg_exceptions__forget_notifications() is
    'An exception that is closed or opened again is one of which nobody has been told.';
revoke execute on function payments.tg_exceptions__forget_notifications()
from public, anon, authenticated, service_role;

create trigger exceptions_forget_notifications
after update on payments.exceptions
for each row when (new.status <> old.status)
execute function payments.tg_exceptions__forget_notifications();

-- Takes open exceptions of which the address has not been told, for whoever tells it now.
-- Called by: `relay notify`, as service_role. One that was closed and opened again is newly open.
-- Returns: an array of at most 500, oldest first: `id`, `reason`, `order_group_id`, `stripe_event_id`, `first_seen_at`; ids only.
-- With p_seconds zero nothing is taken and nothing is written. Raises 22023. Locks: rows of payments.notifications alone.
create or replace function public.claim_exception_notifications(p_address text, p_seconds integer default 300)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_most constant integer := 500;
    v_ids bigint[];
begin
    if p_address is null or p_address !~ '^[0-9a-f]{64}$' or p_seconds is null or p_seconds not between 0 and 3600 then
        raise exception 'an address is the 64 hexadecimal digits of a digest, and is claimed for 0 to 3,600 seconds'
            using errcode = 'invalid_parameter_value';
    end if;

    v_ids := array(
        select x.id
        from payments.exceptions as x
        left join payments.notifications as n on x.id = n.exception_id and n.address = p_address
        where
            x.status = 'open'
            and (n.exception_id is null or (n.sent_at is null and n.claimed_until < clock_timestamp()))
        order by x.first_seen_at, x.id
        limit v_most
    );

    if p_seconds > 0 then
        -- In one order, so that two claims wait for each other and never in a circle. Who comes second finds them taken.
        with claimed as (
            insert into payments.notifications as n (exception_id, address, claimed_until)
            select
                i.id,
                p_address,
                clock_timestamp() + make_interval(secs => p_seconds)
            from unnest(v_ids) as i (id)
            order by i.id
            on conflict (exception_id, address) do update
                set claimed_until = excluded.claimed_until
                where n.sent_at is null and n.claimed_until < clock_timestamp()
            returning n.exception_id
        )

        select coalesce(array_agg(c.exception_id), '{}')
        into v_ids
        from claimed as c;
    end if;

    return (
        select
            coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'id', x.id,
                        'reason', x.reason,
                        'order_group_id', x.order_group_id,
                        'stripe_event_id', x.stripe_event_id,
                        'first_seen_at', x.first_seen_at
                    )
                    order by x.first_seen_at, x.id
                ),
                '[]'::pg_catalog.jsonb
            )
        from payments.exceptions as x
        where x.id = any(v_ids)
    );
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'a payment exception was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;
comment on function public.claim_exception_notifications(text, integer) is
    'Open exceptions of which the address has not been told, taken for so many seconds; zero only looks.';
revoke execute on function public.claim_exception_notifications(text, integer) from public, anon, authenticated;
grant execute on function public.claim_exception_notifications(text, integer) to service_role;

-- Notes that the address has been told of exceptions, or gives them back where it could not be.
-- Called by: `relay notify`, as service_role, for what it has claimed.
-- Returns: how many were noted or given back. Locks: rows of payments.notifications alone.
create or replace function public.finish_exception_notifications(
    p_address text,
    p_exception_ids bigint[],
    p_is_sent boolean
)
returns integer
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_count integer;
begin
    if p_is_sent then
        update payments.notifications as n
        set sent_at = clock_timestamp()
        where n.address = p_address and n.exception_id = any(p_exception_ids) and n.sent_at is null;
    else
        delete from payments.notifications as n
        where n.address = p_address and n.exception_id = any(p_exception_ids) and n.sent_at is null;
    end if;
    get diagnostics v_count = row_count;
    return v_count;
exception
    -- PostgREST would run the transaction again for ever. 55P03 tells the same: nothing happened, try again.
    when serialization_failure then
        raise exception 'a notification was changed by a rival'
            using errcode = 'lock_not_available';
end;
$$;
comment on function public.finish_exception_notifications(text, bigint[], boolean) is
    'Notes that an address has been told of the exceptions, or that it could not be.';
revoke execute on function public.finish_exception_notifications(text, bigint[], boolean)
from public, anon, authenticated;
grant execute on function public.finish_exception_notifications(text, bigint[], boolean) to service_role;

insert into payments.expected_grants (object, grantee, privilege)
values
('public.claim_exception_notifications(text,integer)', 'service_role', 'EXECUTE'),
('public.finish_exception_notifications(text,bigint[],boolean)', 'service_role', 'EXECUTE');
