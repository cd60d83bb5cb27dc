-- What the router is made of: the functions of a project, each sent to the shard or shards that it is about. Run it as a
-- superuser, because PL/Proxy is no trusted language, in a database with Supabase's roles and none of our migrations.
-- Then tell it where the shards are:  select shards.connect('{"host=… dbname=…", …}', 'relay_router', 'its password');
--
-- An order group lives on the shard of its id, with its orders, items, events, ledger rows and exceptions. Money that names no
-- group is kept on the shard of its payment intent, else of its session. Each call of a shard is a transaction of its own.

begin;

create extension if not exists plproxy with schema public;
create extension if not exists postgres_fdw with schema public;

create schema if not exists shards;
revoke all on schema shards from public, anon, authenticated;
grant usage, create on schema shards to postgres;

-- What a shard is chosen by: the same on every machine and in every version, as hashtext() is not.
create or replace function shards.place(p_key text)
returns integer
language sql
immutable
set search_path = ''
as $$
    select ('x' || substr(md5(p_key), 1, 8))::pg_catalog.bit(32)::pg_catalog.int4 & 2147483647;
$$;
comment on function shards.place(text) is 'A number whose last bits are the number of the key''s shard.';

-- Tells where the shards are. Called by: a superuser, once, and again whenever an address changes. `p_addresses` are libpq's
-- connection strings without user and password, by the shards' numbers; their count is a power of two, and never changes.
-- The tables that the sweep reads are views over all shards. Returns: nothing.
create or replace function shards.connect(p_addresses text[], p_user text, p_password text)
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_shards constant integer := cardinality(p_addresses);
    v_number integer;
    v_options pg_catalog.text;
begin
    if v_shards is null or v_shards & (v_shards - 1) <> 0 then
        raise exception '% shards are no power of two', v_shards
            using errcode = 'invalid_parameter_value';
    end if;
    drop view if exists public.order_groups;
    drop server if exists shards cascade;
    select string_agg(format('p%s %L', a.place - 1, a.address || ' connect_timeout=2'), ', ' order by a.place) into v_options
    from unnest(p_addresses) with ordinality as a (address, place);
    -- The Data API's statement_timeout ends the router's call, and PL/Proxy then cancels what the shards are at.
    execute format('create server shards foreign data wrapper plproxy options (%s)', v_options);
    execute format(
        'create user mapping for postgres server shards options (user %L, password %L)', p_user, p_password
    );
    grant usage on foreign server shards to postgres;

    for v_number in 0 .. v_shards - 1 loop
        execute format('drop server if exists shard_%s cascade', v_number);
        execute format('drop schema if exists shard_%s cascade', v_number);
        select string_agg(format('%s %L', split_part(o.word, '=', 1), split_part(o.word, '=', 2)), ', ') into v_options
        from unnest(string_to_array(p_addresses[v_number + 1], ' ')) as o (word)
        where o.word <> '';
        execute format('create server shard_%s foreign data wrapper postgres_fdw options (%s)', v_number, v_options);
        execute format(
            'create user mapping for current_user server shard_%s options (user %L, password %L)',
            v_number, p_user, p_password
        );
        execute format(
            'create user mapping for postgres server shard_%s options (user %L, password %L)',
            v_number, p_user, p_password
        );
        execute format('create schema shard_%s', v_number);
        execute format(
            'import foreign schema public limit to (order_groups) from server shard_%1$s into shard_%1$s', v_number
        );
        execute format('grant usage on schema shard_%s to postgres', v_number);
        execute format('grant select on shard_%s.order_groups to postgres', v_number);
    end loop;
    execute 'create view public.order_groups as ' || (
        select string_agg(format('select * from shard_%s.order_groups', n.number), ' union all ')
        from generate_series(0, v_shards - 1) as n (number)
    );
    alter view public.order_groups owner to postgres;
    revoke all on public.order_groups from public, anon, authenticated, service_role;
    grant select on public.order_groups to service_role;
end;
$$;
comment on function shards.connect(text[], text, text) is 'Tells the router where the shards are.';

-- The shards' own functions, each on the shard of a group, an id or a number, or on all of them.

create or replace function shards.claim(p_places integer[], p_ids text[], p_order_groups uuid[])
returns table (id text, order_group_id uuid, claimed_at timestamptz, has_money_back boolean)
language plproxy
as $$
    cluster 'shards';
    split p_places, p_ids, p_order_groups;
    run on p_places;
    select c.id, c.order_group_id, c.claimed_at, c.has_money_back from shards.claim(p_ids, p_order_groups) as c;
$$;
create or replace function shards.holders(p_places integer[], p_ids text[])
returns table (id text, order_group_id uuid)
language plproxy
as $$
    cluster 'shards';
    split p_places, p_ids;
    run on p_places;
    select h.id, h.order_group_id from shards.holders(p_ids) as h;
$$;
create or replace function shards.early(p_places integer[], p_ids text[])
returns table (kind text, arguments jsonb)
language plproxy
as $$
    cluster 'shards';
    split p_places, p_ids;
    run on p_places;
    select e.kind, e.arguments from shards.early(p_ids) as e;
$$;
create or replace function shards.reconcile_alone(p_place integer, p_payment jsonb, p_claims jsonb)
returns jsonb
language plproxy
as $$
    cluster 'shards';
    run on p_place;
    select shards.reconcile_alone(p_payment, p_claims);
$$;
create or replace function shards.reconcile_together(
    p_places integer[], p_payments jsonb[], p_positions integer[], p_claims jsonb
)
returns table (at integer, answer jsonb)
language plproxy
as $$
    cluster 'shards';
    split p_places, p_payments, p_positions;
    run on p_places;
    select r.at, r.answer from shards.reconcile_together(p_payments, p_positions, p_claims) as r;
$$;
create or replace function shards.preview_together(p_places integer[], p_payments jsonb[], p_positions integer[])
returns table (at integer, answer jsonb)
language plproxy
as $$
    cluster 'shards';
    split p_places, p_payments, p_positions;
    run on p_places;
    select r.at, r.answer from shards.preview_together(p_payments, p_positions) as r;
$$;
create or replace function shards.record(p_place integer, p_kind text, p_arguments jsonb)
returns jsonb
language plproxy
as $$
    cluster 'shards';
    run on p_place;
    select shards.record(p_kind, p_arguments);
$$;
create or replace function shards.record_unclaimed(p_place integer, p_kind text, p_arguments jsonb)
returns jsonb
language plproxy
as $$
    cluster 'shards';
    run on p_place;
    select shards.record_unclaimed(p_kind, p_arguments);
$$;
create or replace function shards.open_claims(p_before timestamptz)
returns table (id text, order_group_id uuid, claimed_at timestamptz)
language plproxy
as $$
    cluster 'shards';
    run on all;
    select c.id, c.order_group_id, c.claimed_at from shards.open_claims(p_before) as c;
$$;
create or replace function shards.paid_claims(p_places integer[], p_ids text[], p_order_groups uuid[])
returns table (id text)
language plproxy
as $$
    cluster 'shards';
    split p_places, p_ids, p_order_groups;
    run on p_places;
    select c.id from shards.paid_claims(p_ids, p_order_groups) as c;
$$;
create or replace function shards.settle_claims(p_places integer[], p_ids text[])
returns table (id text)
language plproxy
as $$
    cluster 'shards';
    split p_places, p_ids;
    run on p_places;
    select c.id from shards.settle_claims(p_ids) as c;
$$;
create or replace function shards.release_claims(p_places integer[], p_ids text[])
returns table (id text)
language plproxy
as $$
    cluster 'shards';
    split p_places, p_ids;
    run on p_places;
    select c.id from shards.release_claims(p_ids) as c;
$$;
create or replace function shards.forget_taken(p_ids text[])
returns table (id text)
language plproxy
as $$
    cluster 'shards';
    run on all;
    select t.id from shards.forget_taken(p_ids) as t;
$$;
create or replace function shards.broken()
returns table (shard integer, invariant text, subject text, detail text)
language plproxy
as $$
    cluster 'shards';
    run on all;
    select b.shard, b.invariant, b.subject, b.detail from shards.broken() as b;
$$;
create or replace function shards.facts()
returns table (shard integer, fact text, id text, order_group_id uuid)
language plproxy
as $$
    cluster 'shards';
    run on all;
    select f.shard, f.fact, f.id, f.order_group_id from shards.facts() as f;
$$;

-- Raises PL/Proxy's own errors as what they are: a shard gave no answer (08006), which the relay tells from a fault of the
-- database. What a shard has raised comes with the shard's SQLSTATE anyway.
create or replace function shards.raise_again(p_message text)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
    if starts_with(p_message, 'PL/Proxy function ') then
        raise exception 'a shard gives no answer: %', p_message
            using errcode = 'connection_failure';
    end if;
    raise exception '%', p_message
        using errcode = 'internal_error';
end;
$$;
comment on function shards.raise_again(text) is 'Raises what a shard that gives no answer is.';

-- Chooses the answer of the shard that has the order that was asked for; where none has it, they all say the same.
create or replace function shards.of_the_one_that_has_it(p_answers jsonb[])
returns jsonb
language sql
immutable
set search_path = ''
as $$
    select a.told
    from unnest(p_answers) as a (told)
    order by a.told ->> 'reason' is not distinct from 'order_not_found'
    limit 1;
$$;
comment on function shards.of_the_one_that_has_it(jsonb[]) is 'What the shard answers that has the order.';

-- Payments

-- Reads the order group that a payment names, as the shard will. Returns: null where it names none that can be read.
create or replace function shards.named_group(p_payment jsonb)
returns uuid
language sql
immutable
set search_path = ''
as $$
    select case
        when n.digits ~ '^[0-9a-f]{32}$' then n.digits::pg_catalog.uuid
    end
    from (select translate(lower(p_payment ->> 'p_order_group_id'), '{}-', '') as digits) as n;
$$;
comment on function shards.named_group(jsonb) is 'The order group that a payment names.';

-- Chooses the shard of a payment: its group's, else its payment intent's, else its session's.
create or replace function shards.place_of(p_payment jsonb)
returns integer
language sql
immutable
set search_path = ''
as $$
    select shards.place(coalesce(
        shards.named_group(p_payment)::pg_catalog.text,
        nullif(btrim(p_payment ->> 'p_payment_intent_id'), ''),
        btrim(p_payment ->> 'p_checkout_session_id'),
        ''
    ));
$$;
comment on function shards.place_of(jsonb) is 'Where a payment belongs.';

-- Lists what has to be claimed for payments: the event, the session and the payment intent of each that names a group.
create or replace function shards.wanted(p_payments jsonb)
returns table (id text, order_group_id uuid)
language sql
immutable
set search_path = ''
as $$
    select
        i.id,
        g.order_group_id
    from jsonb_array_elements(p_payments) with ordinality as p (payment, place)
    cross join lateral shards.named_group(p.payment) as g (order_group_id)
    cross join lateral unnest(array[
        btrim(p.payment ->> 'p_stripe_event_id'),
        btrim(p.payment ->> 'p_checkout_session_id'),
        btrim(p.payment ->> 'p_payment_intent_id')
    ]) as i (id)
    where g.order_group_id is not null and i.id <> ''
    order by p.place;
$$;
comment on function shards.wanted(jsonb) is 'The ids that payments need, with the order groups that they name.';

-- Claims what payments need, and brings refunds and disputes that came before them to their groups' shards.
-- Called by: the functions below. Returns: the claims, an array for shards.note_claims(). Raises what a shard raises.
create or replace function shards.claim_for(p_payments jsonb)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_claims pg_catalog.jsonb;
    v_early pg_catalog.record;
begin
    select jsonb_agg(to_jsonb(c)) into v_claims
    from (
        select
            array_agg(shards.place(w.id)) as places,
            array_agg(w.id) as ids,
            array_agg(w.order_group_id) as order_groups
        from shards.wanted(p_payments) as w
    ) as w
    cross join lateral shards.claim(w.places, w.ids, w.order_groups) as c
    where w.ids is not null;

    for v_early in
        select
            c.order_group_id,
            e.kind,
            e.arguments
        from jsonb_to_recordset(v_claims) as c (
            id pg_catalog.text, order_group_id pg_catalog.uuid, has_money_back pg_catalog.bool
        )
        cross join lateral shards.early(array[shards.place(c.id)], array[c.id]) as e
        where c.has_money_back
    loop
        perform shards.record(shards.place(v_early.order_group_id::pg_catalog.text), v_early.kind, v_early.arguments);
    end loop;
    return coalesce(v_claims, '[]');
end;
$$;
comment on function shards.claim_for(jsonb) is 'Claims what payments need, before they go to their shards.';

-- As the function of a project; a payment whose claim another group holds is payment_already_used.
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
as $$
declare
    v_payment constant pg_catalog.jsonb := jsonb_build_object(
        'p_order_group_id', p_order_group_id,
        'p_stripe_event_id', p_stripe_event_id,
        'p_stripe_event_type', p_stripe_event_type,
        'p_stripe_event_created', p_stripe_event_created,
        'p_livemode', p_livemode,
        'p_checkout_session_id', p_checkout_session_id,
        'p_payment_intent_id', p_payment_intent_id,
        'p_amount_minor', p_amount_minor,
        'p_amount', p_amount,
        'p_currency', p_currency,
        'p_session_metadata', p_session_metadata,
        'p_source', p_source,
        'p_unmatched_reason', p_unmatched_reason,
        'p_account', p_account
    );
begin
    return shards.reconcile_alone(
        shards.place_of(v_payment), v_payment, shards.claim_for(jsonb_build_array(v_payment))
    );
exception
    when internal_error then
        perform shards.raise_again(sqlerrm);
end;
$$;
comment on function public.reconcile_order_group_payment(
    uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text, jsonb, text, text, text
) is 'Reconciles one payment on the shard of its order group, exactly once over all shards.';

-- As the function of a project. Each shard gets its part in one transaction of its own, all of them at the same time. Where
-- one gives no answer, each payment is `deferred`: sent alone, only those fail that need that shard, and what the others
-- have committed is `replayed`.
create or replace function public.reconcile_order_group_payments(p_payments jsonb)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_most constant integer := 32;
begin
    if jsonb_typeof(p_payments) is distinct from 'array' or jsonb_array_length(p_payments) > v_most then
        raise exception 'p_payments must be an array of up to % payments', v_most
            using errcode = 'invalid_parameter_value';
    elsif p_payments = '[]' then
        return p_payments;
    end if;
    return (
        select jsonb_agg(r.answer order by r.at)
        from (
            select
                array_agg(shards.place_of(p.payment)) as places,
                array_agg(p.payment) as payments,
                array_agg(p.place::pg_catalog.int4) as positions
            from jsonb_array_elements(p_payments) with ordinality as p (payment, place)
        ) as p
        cross join shards.claim_for(p_payments) as c (claims)
        cross join lateral shards.reconcile_together(p.places, p.payments, p.positions, c.claims) as r
    );
exception
    when invalid_parameter_value then
        raise;
    when others then
        return (
            select jsonb_agg(
                jsonb_build_object(
                    'outcome', 'deferred',
                    'reason', null,
                    'order_group_id', p.payment ->> 'p_order_group_id',
                    'stripe_event_id', p.payment ->> 'p_stripe_event_id',
                    'orders_paid', 0,
                    'ledger_entries', 0,
                    'sqlstate', '55P03'
                )
                order by p.place
            )
            from jsonb_array_elements(p_payments) with ordinality as p (payment, place)
        );
end;
$$;
comment on function public.reconcile_order_group_payments(jsonb) is
    'Reconciles up to 32 payments, those of each shard in one transaction.';

-- As the function of a project. Claims are looked at, not made.
create or replace function public.preview_order_group_payments(p_payments jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    v_most constant integer := 500;
begin
    if jsonb_typeof(p_payments) is distinct from 'array' or jsonb_array_length(p_payments) > v_most then
        raise exception 'p_payments must be an array of up to % payments', v_most
            using errcode = 'invalid_parameter_value';
    elsif p_payments = '[]' then
        return p_payments;
    end if;
    return (
        with held as (
            select
                h.id,
                h.order_group_id
            from (
                select
                    array_agg(shards.place(w.id)) as places,
                    array_agg(w.id) as ids
                from shards.wanted(p_payments) as w
            ) as w
            cross join lateral shards.holders(w.places, w.ids) as h
            where w.ids is not null
        )
        select jsonb_agg(
            case
                when r.answer ->> 'outcome' = 'applied' and exists (
                    select 1
                    from shards.wanted(jsonb_build_array(p_payments -> (r.at - 1))) as w
                    inner join held as h on w.id = h.id
                    where w.order_group_id <> h.order_group_id
                ) then r.answer || '{
                    "outcome": "rejected", "reason": "payment_already_used", "orders_paid": 0, "ledger_entries": 0
                }'
                else r.answer
            end
            order by r.at
        )
        from (
            select
                array_agg(shards.place_of(p.payment)) as places,
                array_agg(p.payment) as payments,
                array_agg(p.place::pg_catalog.int4) as positions
            from jsonb_array_elements(p_payments) with ordinality as p (payment, place)
        ) as p
        cross join lateral shards.preview_together(p.places, p.payments, p.positions) as r
    );
exception
    when internal_error then
        perform shards.raise_again(sqlerrm);
end;
$$;
comment on function public.preview_order_group_payments(jsonb) is
    'What reconcile_order_group_payment would answer to each of up to 500 payments now, on all shards.';

-- Money that goes back

-- Records a refund or dispute where its payment is: on the shard of the group that claims it, else on that of its intent.
-- Called by: the two functions below. Returns: the shard's verdict.
create or replace function shards.record_money_back(p_kind text, p_arguments jsonb)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_verdict pg_catalog.jsonb;
begin
    v_verdict := shards.record_unclaimed(
        shards.place(btrim(p_arguments ->> 'p_payment_intent_id')), p_kind, p_arguments
    );
    if v_verdict ->> 'outcome' = 'claimed' then
        return shards.record(shards.place(v_verdict ->> 'order_group_id'), p_kind, p_arguments);
    end if;
    return v_verdict;
exception
    when internal_error then
        perform shards.raise_again(sqlerrm);
end;
$$;
comment on function shards.record_money_back(text, jsonb) is 'Records a refund or dispute on the shard of its payment.';

create or replace function public.record_refund(
    p_refund_id text,
    p_payment_intent_id text,
    p_amount_minor bigint,
    p_amount numeric,
    p_currency text,
    p_status text,
    p_created timestamptz,
    p_reason text default null,
    p_livemode boolean default true,
    p_source text default 'webhook',
    p_stripe_event_id text default null
)
returns jsonb
language sql
volatile
security definer
set search_path = ''
as $$
    select shards.record_money_back('refund', jsonb_build_object(
        'id', p_refund_id,
        'p_payment_intent_id', p_payment_intent_id,
        'p_amount_minor', p_amount_minor,
        'p_amount', p_amount,
        'p_currency', p_currency,
        'p_status', p_status,
        'p_created', p_created,
        'p_reason', p_reason,
        'p_livemode', p_livemode,
        'p_source', p_source,
        'p_stripe_event_id', p_stripe_event_id
    ));
$$;
comment on function public.record_refund(
    text, text, bigint, numeric, text, text, timestamptz, text, boolean, text, text
) is 'Records a refund on the shard of its payment.';

create or replace function public.record_dispute(
    p_dispute_id text,
    p_payment_intent_id text,
    p_amount_minor bigint,
    p_amount numeric,
    p_currency text,
    p_status text,
    p_created timestamptz,
    p_reason text default null,
    p_livemode boolean default true,
    p_source text default 'webhook',
    p_stripe_event_id text default null
)
returns jsonb
language sql
volatile
security definer
set search_path = ''
as $$
    select shards.record_money_back('dispute', jsonb_build_object(
        'id', p_dispute_id,
        'p_payment_intent_id', p_payment_intent_id,
        'p_amount_minor', p_amount_minor,
        'p_amount', p_amount,
        'p_currency', p_currency,
        'p_status', p_status,
        'p_created', p_created,
        'p_reason', p_reason,
        'p_livemode', p_livemode,
        'p_source', p_source,
        'p_stripe_event_id', p_stripe_event_id
    ));
$$;
comment on function public.record_dispute(
    text, text, bigint, numeric, text, text, timestamptz, text, boolean, text, text
) is 'Records a dispute on the shard of its payment.';

-- Order groups: what begins with an order group goes to its shard.

create or replace function public.create_order_group(
    p_order_group_id uuid,
    p_buyer_id uuid,
    p_currency text,
    p_orders jsonb,
    p_expires_at timestamptz default null,
    p_reserve boolean default false
)
returns jsonb
language plproxy
security definer
set search_path = ''
as $$
    cluster 'shards';
    run on shards.place(p_order_group_id::text);
$$;
create or replace function shards.cancel_order_group(p_order_group_id uuid, p_checkout_session_id text)
returns jsonb
language plproxy
as $$
    cluster 'shards';
    run on shards.place(p_order_group_id::text);
    target public.cancel_order_group;
$$;
create or replace function public.cancel_order_group(p_order_group_id uuid, p_checkout_session_id text default null)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    return shards.cancel_order_group(p_order_group_id, p_checkout_session_id);
exception
    when internal_error then
        perform shards.raise_again(sqlerrm);
end;
$$;
create or replace function shards.note_awaiting_funds(
    p_order_group_id uuid, p_checkout_session_id text, p_stripe_event_id text, p_stripe_event_created timestamptz
)
returns jsonb
language plproxy
as $$
    cluster 'shards';
    run on shards.place(p_order_group_id::text);
    target public.note_awaiting_funds;
$$;
create or replace function public.note_awaiting_funds(
    p_order_group_id uuid, p_checkout_session_id text, p_stripe_event_id text, p_stripe_event_created timestamptz
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    return shards.note_awaiting_funds(
        p_order_group_id, p_checkout_session_id, p_stripe_event_id, p_stripe_event_created
    );
exception
    when internal_error then
        perform shards.raise_again(sqlerrm);
end;
$$;
create or replace function public.claim_order_group(p_order_group_id uuid, p_buyer_id uuid)
returns jsonb
language plproxy
security definer
set search_path = ''
as $$
    cluster 'shards';
    run on shards.place(p_order_group_id::text);
$$;
create or replace function public.return_order_items(
    p_order_group_id uuid, p_lines jsonb, p_note text, p_refund_id text default null
)
returns jsonb
language plproxy
security definer
set search_path = ''
as $$
    cluster 'shards';
    run on shards.place(p_order_group_id::text);
$$;
create or replace function public.explain_order_group(p_order_group_id uuid)
returns jsonb
language plproxy
security definer
set search_path = ''
as $$
    cluster 'shards';
    run on shards.place(p_order_group_id::text);
$$;

-- Orders: an order's id does not say where it lies, so all shards are asked, and those that do not have it change nothing.

create or replace function shards.refund_order(p_order_id uuid, p_note text, p_return_items boolean)
returns setof jsonb
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.refund_order;
$$;
create or replace function public.refund_order(p_order_id uuid, p_note text, p_return_items boolean default true)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    return shards.of_the_one_that_has_it(array(
        select o.told
        from shards.refund_order(p_order_id, p_note, p_return_items) as o (told)
    ));
exception
    when internal_error then
        perform shards.raise_again(sqlerrm);
end;
$$;
create or replace function shards.advance_order(p_order_id uuid, p_status text)
returns setof jsonb
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.advance_order;
$$;
create or replace function public.advance_order(p_order_id uuid, p_status text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    return shards.of_the_one_that_has_it(array(
        select o.told
        from shards.advance_order(p_order_id, p_status) as o (told)
    ));
exception
    when internal_error then
        perform shards.raise_again(sqlerrm);
end;
$$;

-- Exceptions: the last digits of a number, in twos, are its shard's.

create or replace function shards.place_of_exception(p_exception_id bigint)
returns integer
language sql
immutable
set search_path = ''
as $$
    select (p_exception_id & 2147483647)::pg_catalog.int4;
$$;
comment on function shards.place_of_exception(bigint) is 'Where an exception is kept.';

create or replace function public.resolve_payment_exception(
    p_exception_id bigint, p_resolution text, p_resolved_by text, p_note text default null
)
returns jsonb
language plproxy
security definer
set search_path = ''
as $$
    cluster 'shards';
    run on shards.place_of_exception(p_exception_id);
$$;
create or replace function public.reopen_payment_exception(p_exception_id bigint, p_by text, p_note text)
returns jsonb
language plproxy
security definer
set search_path = ''
as $$
    cluster 'shards';
    run on shards.place_of_exception(p_exception_id);
$$;

commit;
