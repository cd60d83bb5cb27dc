-- How what a Checkout Session said about a person is forgotten.
--
-- Touches: payments.metadata_erasures (append-only), payments.without_metadata(), public.erase_order_group_metadata(). The
-- guards of recorded events and of settled groups let these columns be emptied where a row here says so, and
-- payments.reconcile() keeps no metadata of such a group's later events. An older relay notices nothing.

create table payments.metadata_erasures (
    order_group_id uuid not null,
    erased_at timestamptz not null,
    erased_by text not null,
    note text not null,
    constraint metadata_erasures_pkey primary key (order_group_id)
);
comment on table payments.metadata_erasures is
    'The order groups whose session metadata were erased, and by whom: what comes later is not kept. Append-only.';
comment on column payments.metadata_erasures.order_group_id is
    'No foreign key: a pending group can be removed, and the word stays.';
comment on column payments.metadata_erasures.erased_at is 'When metadata of the group were erased first.';

alter table payments.metadata_erasures enable row level security;
create policy "Nobody can read metadata erasures" on payments.metadata_erasures for select to public using (false);
revoke all on table payments.metadata_erasures from public, anon, authenticated, service_role;

create trigger metadata_erasures_is_append_only
before update or delete or truncate on payments.metadata_erasures
for each statement execute function payments.tg_history__refuse_change();
alter table payments.metadata_erasures enable always trigger metadata_erasures_is_append_only;

-- Empties the metadata of an order group's payments within what an exception keeps, former reasons of its event included.
-- Called by: public.erase_order_group_metadata(), payments.broken_invariants(). Returns: the evidence, as it is where it holds
-- none. Locks: nothing. An event without an order group belongs to the one that its metadata name.
create or replace function payments.without_metadata(p_evidence jsonb, p_order_group_id uuid)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    case jsonb_typeof(p_evidence)
        when 'object' then
            if p_evidence ? 'session_metadata' and coalesce(
                p_evidence ->> 'order_group_id',
                payments.named_order_group(p_evidence -> 'session_metadata')::pg_catalog.text
            ) = p_order_group_id::pg_catalog.text then
                return p_evidence || '{"session_metadata": {}}';
            end if;
            return (
                select coalesce(
                    jsonb_object_agg(
                        part.name,
                        case part.name
                            when 'session_metadata' then part.said
                            else payments.without_metadata(part.said, p_order_group_id)
                        end
                    ),
                    '{}'
                )
                from jsonb_each(p_evidence) as part (name, said)
            );
        when 'array' then
            return (
                select coalesce(
                    jsonb_agg(payments.without_metadata(part.said, p_order_group_id) order by part.place),
                    '[]'
                )
                from jsonb_array_elements(p_evidence) with ordinality as part (said, place)
            );
        else
            return p_evidence;
    end case;
end;
$$;
comment on function payments.without_metadata(jsonb, uuid) is
    'The evidence of an exception with the session metadata of this order group''s payments emptied.';
revoke execute on function payments.without_metadata(jsonb, uuid) from public, anon, authenticated, service_role;

-- Empties the session metadata of an order group's payments wherever they are kept: in the group, its events, and the
-- exceptions of payments that named it.
-- Called by: the shop, as service_role. Returns: an object with `outcome` (erased, rejected), `reason`
-- (order_group_not_found), `order_group_id`, `emptied` (how many rows held metadata: 0 where it was called before); raises
-- 22023 unless it is told by whom and why, 25000 under a stricter isolation level. Locks: the order group, then
-- the exceptions by id.
create or replace function public.erase_order_group_metadata(p_order_group_id uuid, p_by text, p_note text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
set default_transaction_isolation = 'read committed'
as $$
declare
    v_longest_name constant integer := 255;
    v_longest_note constant integer := 2000;
    v_exceptions pg_catalog.int8[];
    v_rows integer;
    v_emptied integer := 0;
begin
    if btrim(coalesce(p_by, '')) = ''
        or btrim(coalesce(p_note, '')) = ''
        or length(p_by) > v_longest_name
        or length(p_note) > v_longest_note
    then
        raise exception 'p_by must say who erases, p_note why, in up to % and % characters', v_longest_name, v_longest_note
            using errcode = 'invalid_parameter_value';
    elsif current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'metadata are erased under read committed: what a rival has just kept would be overlooked'
            using errcode = 'invalid_transaction_state';
    elsif payments.lock_order_group(p_order_group_id) is null then
        return jsonb_build_object(
            'outcome', 'rejected',
            'reason', 'order_group_not_found',
            'order_group_id', p_order_group_id,
            'emptied', 0
        );
    end if;

    insert into payments.metadata_erasures (order_group_id, erased_at, erased_by, note)
    values (p_order_group_id, clock_timestamp(), btrim(p_by), btrim(p_note))
    on conflict (order_group_id) do nothing;
    if found then
        -- The group is written even where nothing is to be emptied: a payment under a stricter isolation that waits for
        -- its lock would otherwise not know of the row above.
        update public.order_groups as g
        set stripe_session_metadata = g.stripe_session_metadata
        where g.id = p_order_group_id;
    end if;

    update public.order_groups as g
    set stripe_session_metadata = '{}'
    where g.id = p_order_group_id and g.stripe_session_metadata <> '{}';
    get diagnostics v_rows = row_count;
    v_emptied := v_emptied + v_rows;

    update payments.stripe_events as e
    set session_metadata = '{}'
    where e.order_group_id = p_order_group_id and e.session_metadata <> '{}';
    get diagnostics v_rows = row_count;
    v_emptied := v_emptied + v_rows;

    -- Of other groups' exceptions only a collision, or a former reason of the event, can tell of this group.
    v_exceptions := array(
        select x.id
        from payments.exceptions as x
        where
            (
                x.order_group_id = p_order_group_id
                or x.details ->> 'named_order_group_id' = p_order_group_id::pg_catalog.text
                or x.reason = 'event_collision'
                or x.details ? 'earlier'
            )
            and x.details <> payments.without_metadata(x.details, p_order_group_id)
        order by x.id
        for update
    );

    update payments.exceptions as x
    set details = payments.without_metadata(x.details, p_order_group_id)
    where x.id = any(v_exceptions);
    get diagnostics v_rows = row_count;
    v_emptied := v_emptied + v_rows;

    return jsonb_build_object(
        'outcome', 'erased',
        'reason', null,
        'order_group_id', p_order_group_id,
        'emptied', v_emptied
    );
end;
$$;
comment on function public.erase_order_group_metadata(uuid, text, text) is
    'Empties the session metadata of an order group''s payments in all places, and keeps by whom and why.';
revoke execute on function public.erase_order_group_metadata(uuid, text, text) from public, anon, authenticated;
grant execute on function public.erase_order_group_metadata(uuid, text, text) to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.erase_order_group_metadata(uuid,text,text)', 'service_role', 'EXECUTE');
