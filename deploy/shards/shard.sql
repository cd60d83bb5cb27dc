-- What a shard has beyond a project's migrations. Run it on each shard as `postgres`, after them, once per release.
--
-- Touches: schema `shards` with claims, taken and the functions that the router calls; a trigger on payments.stripe_events;
-- payments.has_paid_another_group(), which hears of payments on other shards, too.
-- A claim says which order group an event, a session and a payment intent belong to, over all shards. It lies on the shard
-- of that id, so its primary key makes rivals take turns wherever their groups lie. It is made before the payment, in a transaction of its
-- own; a claim whose payment did not follow is found by shards.sweep_claims() of the router.
-- Lock order: claims by id, each with its payment intent's lock; on the group's shard the notes of `taken` by id, then what
-- payments.reconcile() locks. No call holds locks on two shards.

begin;

create schema if not exists shards;
revoke all on schema shards from public, anon, authenticated;
grant usage on schema shards to service_role;

create table if not exists shards.claims (
    id text not null,
    order_group_id uuid not null,
    claimed_at timestamptz not null,
    is_paid boolean not null default false,
    constraint claims_pkey primary key (id)
);
create index if not exists claims_open_claimed_at_idx on shards.claims (claimed_at) where not is_paid;
comment on table shards.claims is 'Which order group an event, a Checkout Session or a payment intent of this shard belongs to.';
comment on column shards.claims.claimed_at is 'When a payment last relied on it.';
comment on column shards.claims.is_paid is 'The payment was seen on its group''s shard, so that the claim stands for ever.';

create table if not exists shards.taken (
    id text not null,
    order_group_id uuid not null,
    constraint taken_pkey primary key (id)
);
comment on table shards.taken is
    'What was refused here: events, Checkout Sessions and payment intents, with the order group that holds the claim.';

alter table shards.claims enable row level security;
alter table shards.taken enable row level security;
create or replace view shards.settings as
select
    0 as number,
    1 as shards
where false;
revoke all on table shards.claims, shards.taken, shards.settings from public, anon, authenticated, service_role;

-- Makes this database one of the shards: from now on its exceptions have numbers that tell the shard.
-- Called by: the operator, as `postgres`, once. `p_shards` is a power of two. Returns: nothing; raises 22023 for a number
-- that is none of them. Locks: payments.exceptions.
create or replace function shards.become(p_number integer, p_shards integer)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if p_number not between 0 and p_shards - 1 or p_shards & (p_shards - 1) <> 0 then
        raise exception 'shard % of % is none: they count from 0, and their number is a power of two', p_number, p_shards
            using errcode = 'invalid_parameter_value';
    end if;
    execute format('create or replace view shards.settings as select %s as number, %s as shards', p_number, p_shards);
    execute format(
        'alter table payments.exceptions alter column id set increment by %s restart with %s',
        p_shards,
        (
            select (coalesce(max(x.id), 0) / p_shards + 1) * p_shards + p_number
            from payments.exceptions as x
        )
    );
    perform payments.record_definitions(array['payments.exceptions_id_seq']);
end;
$$;
comment on function shards.become(integer, integer) is 'Makes this database the shard of that number, counted from 0.';
revoke execute on function shards.become(integer, integer) from public, anon, authenticated, service_role;

-- Claims ids of this shard for order groups.
-- Called by: the router, before payments go to their groups' shards. Returns: one row per id, with the group that holds it,
-- this one or a rival; `claimed_at`, which shards.reconcile() looks at; `has_money_back`: refunds or disputes of this payment
-- intent lie here, because they came before it. Locks: per id its payment intent's lock and its claim, by id.
create or replace function shards.claim(p_ids text[], p_order_groups uuid[])
returns table (id text, order_group_id uuid, claimed_at timestamptz, has_money_back boolean)
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
as $$
declare
    v_wanted pg_catalog.record;
begin
    for v_wanted in
        select
            w.id,
            w.order_group_id
        from unnest(p_ids, p_order_groups) with ordinality as w (id, order_group_id, place)
        order by w.id collate "C", w.place
    loop
        -- A refund that comes first must either be seen here or see the claim.
        perform payments.lock_payment_intent(v_wanted.id);
        -- A payment that was paid long ago comes as a replay: its claim is not written again.
        insert into shards.claims as c (id, order_group_id, claimed_at)
        values (v_wanted.id, v_wanted.order_group_id, clock_timestamp())
        on conflict on constraint claims_pkey do update
            set claimed_at = excluded.claimed_at
            where c.order_group_id = excluded.order_group_id and not c.is_paid;
    end loop;
    return query
    select
        c.id,
        c.order_group_id,
        -- What was refused is true of now, and what was paid for ever.
        case
            when not c.is_paid and (c.id, c.order_group_id) in (
                select
                    w.id,
                    w.order_group_id
                from unnest(p_ids, p_order_groups) as w (id, order_group_id)
            ) then c.claimed_at
            else clock_timestamp()
        end,
        exists (
            select 1
            from payments.refunds as r
            where r.payment_intent_id = c.id
        )
        or exists (
            select 1
            from payments.disputes as d
            where d.payment_intent_id = c.id
        )
    from shards.claims as c
    where c.id = any(p_ids);
end;
$$;
comment on function shards.claim(text[], uuid[]) is 'Claims events, sessions and payment intents for order groups; the first comer keeps them.';
revoke execute on function shards.claim(text[], uuid[]) from public, anon, authenticated;
grant execute on function shards.claim(text[], uuid[]) to service_role;

-- Tells who holds ids of this shard.
-- Called by: the router. Returns: one row per id that is claimed. Locks: nothing.
create or replace function shards.holders(p_ids text[])
returns table (id text, order_group_id uuid)
language sql
stable
security definer
set search_path = ''
as $$
    select
        c.id,
        c.order_group_id
    from shards.claims as c
    where c.id = any(p_ids);
$$;
comment on function shards.holders(text[]) is 'The order groups that hold claims.';
revoke execute on function shards.holders(text[]) from public, anon, authenticated;
grant execute on function shards.holders(text[]) to service_role;

-- Notes which claims of payments of this shard were refused, so that the judgement knows.
-- Called by: shards.reconcile_alone(), shards.reconcile_together(), in the transaction of the payments. Returns: nothing;
-- raises 55P03 where a claim is too old to be relied on: shards.release_claims() may give it to another group, which is safe
-- because it waits for an hour. Locks: the notes, by id.
create or replace function shards.note_claims(p_payments jsonb, p_claims jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_good_for constant interval := '1 minute';
begin
    if exists (
        select 1
        from jsonb_to_recordset(p_claims) as c (claimed_at pg_catalog.timestamptz)
        where c.claimed_at < clock_timestamp() - v_good_for
    ) then
        raise exception 'the claim is more than % old', v_good_for
            using errcode = 'lock_not_available';
    end if;
    insert into shards.taken as t (id, order_group_id)
    select
        c.id,
        c.order_group_id
    from jsonb_to_recordset(p_claims) as c (id pg_catalog.text, order_group_id pg_catalog.uuid)
    where
        exists (
            select 1
            from shards.taken as t
            where t.id = c.id
        )
        or exists (
            select 1
            from jsonb_array_elements(p_payments) as p (payment)
            where
                c.id in (
                    btrim(p.payment ->> 'p_stripe_event_id'),
                    btrim(p.payment ->> 'p_checkout_session_id'),
                    btrim(p.payment ->> 'p_payment_intent_id')
                )
                and translate(lower(p.payment ->> 'p_order_group_id'), '{}-', '')
                <> replace(c.order_group_id::pg_catalog.text, '-', '')
        )
    order by c.id
    on conflict (id) do update
        set order_group_id = excluded.order_group_id
        where t.order_group_id <> excluded.order_group_id;
end;
$$;
comment on function shards.note_claims(jsonb, jsonb) is 'Notes which payments hold no claim, for the judgement.';
revoke execute on function shards.note_claims(jsonb, jsonb) from public, anon, authenticated, service_role;

-- Reconciles one payment whose claims are made, as reconcile_order_group_payment does; one whose claim was refused is
-- payment_already_used, with its exception.
-- Called by: the router. Returns: the verdict. Locks: see above.
create or replace function shards.reconcile_alone(p_payment jsonb, p_claims jsonb)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
as $$
begin
    perform shards.note_claims(jsonb_build_array(p_payment), p_claims);
    return payments.reconcile(payments.read_event(p_payment), p_payment ->> 'p_unmatched_reason');
end;
$$;
comment on function shards.reconcile_alone(jsonb, jsonb) is 'Reconciles one payment with an order group of this shard.';
revoke execute on function shards.reconcile_alone(jsonb, jsonb) from public, anon, authenticated;
grant execute on function shards.reconcile_alone(jsonb, jsonb) to service_role;

-- Reconciles those payments of an array whose groups lie here, as reconcile_order_group_payments does.
-- Called by: the router. `p_positions` are their places in the router's array. Returns: a position and an answer each.
-- Locks: see above.
create or replace function shards.reconcile_together(p_payments jsonb[], p_positions integer[], p_claims jsonb)
returns table (at integer, answer jsonb)
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    perform shards.note_claims(to_jsonb(p_payments), p_claims);
    return query
    select
        p_positions[a.place],
        a.answer
    from jsonb_array_elements(public.reconcile_order_group_payments(to_jsonb(p_payments)))
        with ordinality as a (answer, place);
end;
$$;
comment on function shards.reconcile_together(jsonb[], integer[], jsonb) is
    'Reconciles payments with order groups of this shard, in one transaction.';
revoke execute on function shards.reconcile_together(jsonb[], integer[], jsonb) from public, anon, authenticated;
grant execute on function shards.reconcile_together(jsonb[], integer[], jsonb) to service_role;

-- Previews those payments of an array whose groups lie here. Called by: the router. Returns: as above. Locks: nothing.
create or replace function shards.preview_together(p_payments jsonb[], p_positions integer[])
returns table (at integer, answer jsonb)
language sql
stable
security definer
set search_path = ''
as $$
    select
        p_positions[a.place],
        a.answer
    from jsonb_array_elements(public.preview_order_group_payments(to_jsonb(p_payments)))
        with ordinality as a (answer, place);
$$;
comment on function shards.preview_together(jsonb[], integer[]) is 'What payments of this shard would be answered now.';
revoke execute on function shards.preview_together(jsonb[], integer[]) from public, anon, authenticated;
grant execute on function shards.preview_together(jsonb[], integer[]) to service_role;

-- The judgement of a project asks whether a payment has paid another group; a shard's also asks what was refused.
do $rename$
begin
    if to_regprocedure('payments.has_paid_another_group_here(payments.stripe_events)') is null then
        alter function payments.has_paid_another_group(payments.stripe_events) rename to has_paid_another_group_here;
    end if;
end;
$rename$;

-- Tells whether this event, its session or its payment intent belongs to a group other than the one it names.
-- Called by: payments.judge(), payments.judge_taken(). Returns: true or false. Locks: nothing.
create or replace function payments.has_paid_another_group(p_event payments.stripe_events)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return exists (
        select 1
        from shards.taken as t
        where
            t.id in (p_event.id, p_event.checkout_session_id, p_event.payment_intent_id)
            and t.order_group_id <> p_event.order_group_id
    )
    or payments.has_paid_another_group_here(p_event);
end;
$$;
comment on function payments.has_paid_another_group(payments.stripe_events) is
    'Whether this payment intent or session has paid another group, on any shard.';
revoke execute on function payments.has_paid_another_group(payments.stripe_events)
from public, anon, authenticated, service_role;

-- Keeps an event out whose payment another group holds: payments.reconcile() then asks why, and sets it aside.
-- Called by: the trigger. Returns: the row, or null. Locks: nothing.
create or replace function shards.tg_stripe_events__keep_out_what_is_taken()
returns trigger
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if exists (
        select 1
        from shards.taken as t
        where
            t.id in (new.id, new.checkout_session_id, new.payment_intent_id)
            and t.order_group_id <> new.order_group_id
    ) then
        return null;
    end if;
    return new;
end;
$$;
comment on function shards.tg_stripe_events__keep_out_what_is_taken() is 'No event pays with a payment that another group holds.';
revoke execute on function shards.tg_stripe_events__keep_out_what_is_taken()
from public, anon, authenticated, service_role;
create or replace trigger keep_out_what_is_taken
before insert on payments.stripe_events
for each row execute function shards.tg_stripe_events__keep_out_what_is_taken();

-- Records a refund or dispute whose arguments come as an object. Called by: the router, below. Returns: the function's
-- verdict. Locks: see payments.record_refund().
create or replace function shards.record(p_kind text, p_arguments jsonb)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
as $$
declare
    v_given pg_catalog.record;
begin
    select g.* into v_given
    from jsonb_to_record(p_arguments) as g (
        id pg_catalog.text,
        p_payment_intent_id pg_catalog.text,
        p_amount_minor pg_catalog.int8,
        p_amount pg_catalog.numeric,
        p_currency pg_catalog.text,
        p_status pg_catalog.text,
        p_created pg_catalog.timestamptz,
        p_reason pg_catalog.text,
        p_livemode pg_catalog.bool,
        p_source pg_catalog.text,
        p_stripe_event_id pg_catalog.text
    );
    if p_kind = 'refund' then
        return public.record_refund(
            v_given.id, v_given.p_payment_intent_id, v_given.p_amount_minor, v_given.p_amount, v_given.p_currency,
            v_given.p_status, v_given.p_created, v_given.p_reason, v_given.p_livemode, v_given.p_source,
            v_given.p_stripe_event_id
        );
    end if;
    return public.record_dispute(
        v_given.id, v_given.p_payment_intent_id, v_given.p_amount_minor, v_given.p_amount, v_given.p_currency,
        v_given.p_status, v_given.p_created, v_given.p_reason, v_given.p_livemode, v_given.p_source,
        v_given.p_stripe_event_id
    );
end;
$$;
comment on function shards.record(text, jsonb) is 'Records a refund or a dispute on this shard.';
revoke execute on function shards.record(text, jsonb) from public, anon, authenticated;
grant execute on function shards.record(text, jsonb) to service_role;

-- Records a refund or dispute on the shard of its payment intent, as long as no order group holds that.
-- Called by: the router. Returns: the verdict, or `outcome` `claimed` with the group that holds it: it belongs there.
-- Locks: the payment intent, then see payments.record_refund().
create or replace function shards.record_unclaimed(p_kind text, p_arguments jsonb)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set lock_timeout = '3s'
as $$
declare
    v_intent constant pg_catalog.text := btrim(p_arguments ->> 'p_payment_intent_id');
    v_holder pg_catalog.uuid;
begin
    perform payments.lock_payment_intent(v_intent);
    select c.order_group_id into v_holder
    from shards.claims as c
    where c.id = v_intent;
    if v_holder is not null then
        return jsonb_build_object('outcome', 'claimed', 'order_group_id', v_holder);
    end if;
    return shards.record(p_kind, p_arguments);
end;
$$;
comment on function shards.record_unclaimed(text, jsonb) is 'Records money that goes back before its payment has come.';
revoke execute on function shards.record_unclaimed(text, jsonb) from public, anon, authenticated;
grant execute on function shards.record_unclaimed(text, jsonb) to service_role;

-- Lists what was recorded here of payment intents before their payments came.
-- Called by: the router, which brings it to the payment's shard. Returns: kind and arguments of shards.record(). Locks: nothing.
create or replace function shards.early(p_ids text[])
returns table (kind text, arguments jsonb)
language sql
stable
security definer
set search_path = ''
as $$
    select
        m.kind,
        jsonb_build_object(
            'id', m.id,
            'p_payment_intent_id', m.payment_intent_id,
            'p_amount_minor', m.amount_minor,
            'p_amount', m.amount,
            'p_currency', m.currency,
            'p_status', m.status,
            'p_created', m.created_at,
            'p_reason', m.reason,
            'p_livemode', m.livemode,
            'p_source', m.source
        )
    from (
        select
            'refund' as kind,
            r.id,
            r.payment_intent_id,
            r.amount_minor,
            r.amount,
            r.currency,
            r.status,
            r.created_at,
            r.reason,
            r.livemode,
            r.source
        from payments.refunds as r
        where r.payment_intent_id = any(p_ids)
        union all
        select
            'dispute',
            d.id,
            d.payment_intent_id,
            d.amount_minor,
            d.amount,
            d.currency,
            d.status,
            d.created_at,
            d.reason,
            d.livemode,
            d.source
        from payments.disputes as d
        where d.payment_intent_id = any(p_ids)
    ) as m
    order by m.created_at, m.id;
$$;
comment on function shards.early(text[]) is 'Refunds and disputes that were recorded here before their payment came.';
revoke execute on function shards.early(text[]) from public, anon, authenticated;
grant execute on function shards.early(text[]) to service_role;

-- Lists claims that no payment was seen for yet. Called by: the router's sweep. Returns: rows of claims. Locks: nothing.
create or replace function shards.open_claims(p_before timestamptz)
returns table (id text, order_group_id uuid, claimed_at timestamptz)
language sql
stable
security definer
set search_path = ''
as $$
    select
        c.id,
        c.order_group_id,
        c.claimed_at
    from shards.claims as c
    where not c.is_paid and c.claimed_at <= p_before;
$$;
comment on function shards.open_claims(timestamptz) is 'Claims that no payment was seen for yet, from before that time.';
revoke execute on function shards.open_claims(timestamptz) from public, anon, authenticated;
grant execute on function shards.open_claims(timestamptz) to service_role;

-- Tells which claims have been followed by their payment. Called by: the router's sweep, on the groups' shards.
-- Returns: the ids that have paid the group that claims them. Locks: nothing.
create or replace function shards.paid_claims(p_ids text[], p_order_groups uuid[])
returns table (id text)
language sql
stable
security definer
set search_path = ''
as $$
    select w.id
    from unnest(p_ids, p_order_groups) as w (id, order_group_id)
    inner join payments.stripe_events as e
        on
            w.order_group_id = e.order_group_id
            and (w.id = e.id or (e.outcome = 'applied' and w.id in (e.checkout_session_id, e.payment_intent_id)));
$$;
comment on function shards.paid_claims(text[], uuid[]) is 'Those of the claims whose payment is here.';
revoke execute on function shards.paid_claims(text[], uuid[]) from public, anon, authenticated;
grant execute on function shards.paid_claims(text[], uuid[]) to service_role;

-- Marks claims whose payment was seen. Called by: the router's sweep. Returns: nothing. Locks: the claims, by id.
create or replace function shards.settle_claims(p_ids text[])
returns table (id text)
language sql
volatile
security definer
set search_path = ''
as $$
    update shards.claims as c
    set is_paid = true
    where c.id in (
        select l.id
        from shards.claims as l
        where l.id = any(p_ids) and not l.is_paid
        order by l.id collate "C"
        for update
    )
    returning c.id;
$$;
comment on function shards.settle_claims(text[]) is 'Has claims stand for ever.';
revoke execute on function shards.settle_claims(text[]) from public, anon, authenticated;
grant execute on function shards.settle_claims(text[]) to service_role;

-- Gives claims up that nobody has relied on for an hour, and whose payment the router did not find afterwards.
-- Called by: the router's sweep. Returns: the ids that are free now. Locks: the claims, by id.
create or replace function shards.release_claims(p_ids text[])
returns table (id text)
language sql
volatile
security definer
set search_path = ''
as $$
    delete from shards.claims as c
    where
        not c.is_paid
        and c.claimed_at < clock_timestamp() - pg_catalog.interval '1 hour'
        and c.id in (
            select l.id
            from shards.claims as l
            where l.id = any(p_ids)
            order by l.id collate "C"
            for update
        )
    returning c.id;
$$;
comment on function shards.release_claims(text[]) is 'Gives up claims that no payment has followed for an hour.';
revoke execute on function shards.release_claims(text[]) from public, anon, authenticated;
grant execute on function shards.release_claims(text[]) to service_role;

-- Forgets that ids were refused here, because their claims were given up. Called by: the router's sweep. Returns: the ids.
-- Locks: the notes.
create or replace function shards.forget_taken(p_ids text[])
returns table (id text)
language sql
volatile
security definer
set search_path = ''
as $$
    delete from shards.taken as t
    where t.id = any(p_ids)
    returning t.id;
$$;
comment on function shards.forget_taken(text[]) is 'Forgets refusals whose claims were given up.';
revoke execute on function shards.forget_taken(text[]) from public, anon, authenticated;
grant execute on function shards.forget_taken(text[]) to service_role;

-- Names what is broken on this shard. Called by: the router. Returns: as payments.broken_invariants(), with the shard's number.
-- Locks: nothing.
create or replace function shards.broken()
returns table (shard integer, invariant text, subject text, detail text)
language sql
stable
security definer
set search_path = ''
as $$
    select
        s.number,
        b.invariant,
        b.subject,
        b.detail
    from payments.broken_invariants() as b
    cross join shards.settings as s;
$$;
comment on function shards.broken() is 'The broken invariants of this shard.';
revoke execute on function shards.broken() from public, anon, authenticated;
grant execute on function shards.broken() to service_role;

-- Lists what has paid here, for the comparison across shards. Called by: the router. Returns: a row per event that was
-- processed, per session and payment intent that has paid, and per claim. Locks: nothing.
create or replace function shards.facts()
returns table (shard integer, fact text, id text, order_group_id uuid)
language sql
stable
security definer
set search_path = ''
as $$
    select
        s.number,
        f.fact,
        f.id,
        f.order_group_id
    from (
        select
            'paid' as fact,
            i.id,
            e.order_group_id
        from payments.stripe_events as e
        cross join lateral unnest(array[e.id, e.checkout_session_id, e.payment_intent_id]) with ordinality as i (id, place)
        where i.id is not null and (i.place = 1 or e.outcome = 'applied')
        union all
        select
            'claim',
            c.id,
            c.order_group_id
        from shards.claims as c
    ) as f
    cross join shards.settings as s;
$$;
comment on function shards.facts() is 'Payments and claims of this shard, for what is true of all of them.';
revoke execute on function shards.facts() from public, anon, authenticated;
grant execute on function shards.facts() to service_role;

select payments.record_definitions(
    array[
        'payments.has_paid_another_group(payments.stripe_events)',
        'payments.has_paid_another_group_here(payments.stripe_events)',
        'payments.stripe_events'
    ],
    array['keep_out_what_is_taken']
);

commit;
