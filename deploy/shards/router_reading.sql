-- What the router tells of all shards together, its sweep of claims, and who may call what. Run it after router.sql.
--
-- Each shard answers from a snapshot of its own: between them a payment may come. A shard that does not answer fails the
-- whole answer, because half of a list would be read as all of it.

begin;

-- Each row of all shards

create or replace function shards.list_payment_exceptions(
    p_status text, p_id bigint, p_event text, p_sessions text[], p_reason text, p_limit integer, p_before timestamptz
)
returns table (
    id bigint,
    stripe_event_id text,
    order_group_id uuid,
    checkout_session_id text,
    payment_intent_id text,
    reason text,
    attempts integer,
    first_seen_at timestamptz,
    last_seen_at timestamptz,
    details jsonb,
    status text,
    resolution text,
    resolved_by text,
    resolved_at timestamptz,
    note text,
    rule text
)
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.list_payment_exceptions;
$$;
create or replace function public.list_payment_exceptions(
    p_status text default 'open',
    p_id bigint default null,
    p_event text default null,
    p_sessions text[] default null,
    p_reason text default null,
    p_limit integer default null,
    p_before timestamptz default null
)
returns table (
    id bigint,
    stripe_event_id text,
    order_group_id uuid,
    checkout_session_id text,
    payment_intent_id text,
    reason text,
    attempts integer,
    first_seen_at timestamptz,
    last_seen_at timestamptz,
    details jsonb,
    status text,
    resolution text,
    resolved_by text,
    resolved_at timestamptz,
    note text,
    rule text
)
language sql
stable
security definer
set search_path = ''
as $$
    select x.*
    from shards.list_payment_exceptions(p_status, p_id, p_event, p_sessions, p_reason, p_limit, p_before) as x
    order by x.first_seen_at, x.id
    limit p_limit;
$$;

create or replace function shards.list_refunds_and_disputes(p_since timestamptz, p_until timestamptz)
returns table (
    id text,
    kind text,
    payment_intent_id text,
    order_group_id uuid,
    amount_minor bigint,
    currency text,
    status text
)
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.list_refunds_and_disputes;
$$;
-- What came before its payment lies on two shards; the row of its order group is the one that later events reach.
create or replace function public.list_refunds_and_disputes(p_since timestamptz, p_until timestamptz)
returns table (
    id text,
    kind text,
    payment_intent_id text,
    order_group_id uuid,
    amount_minor bigint,
    currency text,
    status text
)
language sql
stable
security definer
set search_path = ''
as $$
    select distinct on (m.id) m.*
    from shards.list_refunds_and_disputes(p_since, p_until) as m
    order by m.id, m.order_group_id nulls last;
$$;

create or replace function shards.payment_lines(p_since timestamptz, p_until timestamptz)
returns setof jsonb
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.payment_lines;
$$;
-- A refund that came before its payment lies on two shards, and is one line: the one that names its order group.
create or replace function public.payment_lines(p_since timestamptz, p_until timestamptz)
returns jsonb
language sql
stable
security definer
set search_path = ''
set statement_timeout = '60s'
as $$
    select coalesce(
        jsonb_agg(
            m.line
            order by
                (m.line ->> 'at')::pg_catalog.timestamptz,
                m.line ->> 'order_group_id',
                m.line ->> 'kind' desc,
                m.line ->> 'id'
        ),
        '[]'
    )
    from (
        select distinct on (l.line ->> 'kind', l.line ->> 'id', l.line ->> 'at') l.line
        from shards.payment_lines(p_since, p_until) as t (lines)
        cross join lateral jsonb_array_elements(t.lines) as l (line)
        order by l.line ->> 'kind', l.line ->> 'id', l.line ->> 'at', l.line ->> 'order_group_id' nulls last
    ) as m;
$$;

create or replace function shards.security_findings()
returns table (finding text, object text, detail text)
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.security_findings;
$$;
create or replace function public.security_findings()
returns table (finding text, object text, detail text)
language sql
stable
security definer
set search_path = ''
as $$
    select f.*
    from shards.security_findings() as f
    order by f.finding, f.object, f.detail;
$$;

-- Objects that are added up

create or replace function shards.payment_report(p_since timestamptz, p_until timestamptz)
returns setof jsonb
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.payment_report;
$$;
create or replace function shards.reconciliation_readiness()
returns setof jsonb
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.reconciliation_readiness;
$$;
create or replace function shards.payments_by_mode()
returns setof jsonb
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.payments_by_mode;
$$;
create or replace function shards.find_order_groups(p_id text)
returns setof jsonb
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.find_order_groups;
$$;
create or replace function shards.expire_order_groups(p_limit integer)
returns setof jsonb
language plproxy
as $$
    cluster 'shards';
    run on all;
    target public.expire_order_groups;
$$;

-- Adds up lines of several shards: those that agree in the keys become one, their other fields are summed. Sums of texts,
-- which is how money is written, stay texts.
create or replace function shards.added_up(p_lines jsonb, variadic p_keys text[])
returns jsonb
language sql
immutable
set search_path = ''
as $$
    select coalesce(jsonb_agg(l.line order by l.place), '[]'::pg_catalog.jsonb)
    from (
        select
            s.key || coalesce(jsonb_object_agg(s.name, s.total) filter (where s.name is not null), '{}') as line,
            array(
                select s.key ->> k.name
                from unnest(p_keys) with ordinality as k (name, place)
                order by k.place
            ) as place
        from (
            select
                f.key,
                f.name,
                case
                    when bool_or(jsonb_typeof(f.value) = 'string')
                        then to_jsonb(sum((f.value #>> '{}')::pg_catalog.numeric)::pg_catalog.text)
                    else coalesce(to_jsonb(sum((f.value #>> '{}')::pg_catalog.numeric)), 'null')
                end as total
            from (
                select
                    (
                        select jsonb_object_agg(k.name, l.line -> k.name)
                        from unnest(p_keys) as k (name)
                    ) as key,
                    e.name,
                    e.value
                from jsonb_array_elements(p_lines) as l (line)
                left join lateral jsonb_each(l.line) as e (name, value) on e.name <> all(p_keys)
            ) as f
            group by f.key, f.name
        ) as s
        group by s.key
    ) as l;
$$;
comment on function shards.added_up(jsonb, text[]) is 'Lines of all shards, summed where their keys agree.';

-- As the function of a project, over all shards.
create or replace function public.payment_report(p_since timestamptz, p_until timestamptz)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set statement_timeout = '60s'
as $$
declare
    v_most_adjustments constant integer := 500;
    v_parts constant pg_catalog.jsonb := (
        select jsonb_object_agg(
            name,
            lines
        )
        from (
            select
                f.name,
                jsonb_agg(l.line) as lines
            from shards.payment_report(p_since, p_until) as r (report)
            cross join lateral jsonb_each(r.report) as f (name, value)
            cross join lateral jsonb_array_elements(
                case when jsonb_typeof(f.value) = 'array' then f.value else '[]' end
            ) as l (line)
            group by f.name
        ) as f
    );
begin
    return jsonb_build_object(
        'since', p_since,
        'until', p_until,
        'generated_at', now(),
        'totals', shards.added_up(v_parts -> 'totals', 'day', 'currency', 'outcome'),
        'days', shards.added_up(v_parts -> 'days', 'day'),
        'modes', shards.added_up(v_parts -> 'modes', 'mode'),
        'money', shards.added_up(v_parts -> 'money', 'currency'),
        'simulated', shards.added_up(v_parts -> 'simulated', 'currency'),
        'sellers', shards.added_up(v_parts -> 'sellers', 'seller', 'seller_id', 'currency'),
        'exceptions', (
            select coalesce(jsonb_agg(x.line order by x.line ->> 'first_seen_at', (x.line ->> 'id')::pg_catalog.int8), '[]')
            from jsonb_array_elements(v_parts -> 'exceptions') as x (line)
        ),
        -- What is oversold is a shard's own: pieces that lie in one are not sold from another.
        'stock', shards.added_up(v_parts -> 'stock', 'seller', 'sku', 'product_id', 'product'),
        'adjustments', (
            select coalesce(jsonb_agg(a.line order by a.line ->> 'at' desc), '[]')
            from (
                select a.line
                from jsonb_array_elements(v_parts -> 'adjustments') as a (line)
                order by a.line ->> 'at' desc
                limit v_most_adjustments
            ) as a
        ),
        'checks', (
            select
                jsonb_agg(
                    jsonb_build_object(
                        'name', k.name, 'claim', k.claim, 'ok', k.ok, 'faults', k.faults, 'examples', k.examples
                    )
                    order by k.place
                )
            from (
                select
                    k.line ->> 'name' as name,
                    k.line ->> 'claim' as claim,
                    bool_and((k.line -> 'ok')::pg_catalog.bool) as ok,
                    sum((k.line -> 'faults')::pg_catalog.int8) as faults,
                    jsonb_path_query_array(jsonb_agg(k.line -> 'examples' order by k.place), '$[*][*]') as examples,
                    min(k.place) as place
                from jsonb_array_elements(v_parts -> 'checks') with ordinality as k (line, place)
                group by k.line ->> 'name', k.line ->> 'claim'
            ) as k
        )
    );
end;
$$;
comment on function public.payment_report(timestamptz, timestamptz) is 'The report, over all shards.';

-- As the function of a project: the shards must agree with the router, and each must be able to reconcile.
create or replace function public.reconciliation_readiness()
returns jsonb
language sql
volatile
security definer
set search_path = ''
as $$
    select jsonb_build_object(
        'contract_version', min((r.told -> 'contract_version')::pg_catalog.int4),
        'oldest_contract_version', max((r.told -> 'oldest_contract_version')::pg_catalog.int4),
        'server_time', clock_timestamp(),
        'currencies', (array_agg(r.told -> 'currencies'))[1],
        'role', coalesce(nullif(current_setting('role', true), 'none'), session_user::pg_catalog.text),
        'can_execute', bool_and((r.told -> 'can_execute')::pg_catalog.bool),
        'anon_can_execute', bool_or((r.told -> 'anon_can_execute')::pg_catalog.bool),
        'expiry_last_ran_at', min((r.told ->> 'expiry_last_ran_at')::pg_catalog.timestamptz),
        'overdue_since', min((r.told ->> 'overdue_since')::pg_catalog.timestamptz),
        'open_exceptions', coalesce(
            (
                select jsonb_object_agg(o.reason, o.cases)
                from (
                    select
                        e.key as reason,
                        sum(e.value::pg_catalog.int8) as cases
                    from unnest(array_agg(r.told -> 'open_exceptions')) as t (told)
                    cross join lateral jsonb_each_text(t.told) as e
                    group by e.key
                ) as o
            ),
            '{}'
        ),
        'oldest_open_exception_at', min((r.told ->> 'oldest_open_exception_at')::pg_catalog.timestamptz),
        'fragile_triggers', jsonb_path_query_array(jsonb_agg(r.told -> 'fragile_triggers'), '$[*][*]')
    )
    from shards.reconciliation_readiness() as r (told);
$$;
comment on function public.reconciliation_readiness() is 'Whether all shards are ready.';

create or replace function public.payments_by_mode()
returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
    select jsonb_object_agg(m.mode, jsonb_build_object('payments', m.payments, 'last_at', m.last_at))
    from (
        select
            e.key as mode,
            sum((e.value -> 'payments')::pg_catalog.int8) as payments,
            max((e.value ->> 'last_at')::pg_catalog.timestamptz) as last_at
        from shards.payments_by_mode() as r (told)
        cross join lateral jsonb_each(r.told) as e
        group by e.key
    ) as m;
$$;

create or replace function public.find_order_groups(p_id text)
returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
    select jsonb_object_agg(f.name, f.found)
    from (
        select
            n.name,
            jsonb_path_query_array(jsonb_agg(r.told -> n.name), '$[*][*]') as found
        from shards.find_order_groups(p_id) as r (told)
        cross join (values ('order_groups'), ('exceptions'), ('refunds'), ('disputes')) as n (name)
        group by n.name
    ) as f;
$$;

create or replace function public.expire_order_groups(p_limit integer default 500)
returns jsonb
language sql
volatile
security definer
set search_path = ''
as $$
    select jsonb_build_object(
        'expired', sum((r.told -> 'expired')::pg_catalog.int8),
        'left', sum((r.told -> 'left')::pg_catalog.int8)
    )
    from shards.expire_order_groups(p_limit) as r (told);
$$;

-- Claims without a payment

-- Looks after the claims that were made before p_before: a claim whose payment is there stands for ever; one that nobody has
-- relied on for an hour, and that no payment has followed, is given up, so that the payment may yet pay another order group.
-- Called by: a scheduler, each hour, and anybody who wants to know: `select * from shards.sweep_claims()`. The payment itself
-- is found by `relay sweep`, as one that Stripe shows as paid and the database does not know.
-- Returns: a row per claim without a payment, `waiting` or `released`. Locks: on each shard in turn the claims by id.
create or replace function shards.sweep_claims(p_before timestamptz default now())
returns table (id text, order_group_id uuid, claimed_at timestamptz, state text)
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
    v_ids pg_catalog.text[];
    v_order_groups pg_catalog.uuid[];
    v_times pg_catalog.timestamptz[];
    v_paid pg_catalog.text[];
    v_free pg_catalog.text[];
begin
    select
        array_agg(c.id order by c.id),
        array_agg(c.order_group_id order by c.id),
        array_agg(c.claimed_at order by c.id)
    into v_ids, v_order_groups, v_times
    from shards.open_claims(p_before) as c;
    if v_ids is null then
        return;
    end if;
    v_paid := array(
        select p.id
        from shards.paid_claims(
            array(
                select shards.place(g.id::pg_catalog.text)
                from unnest(v_order_groups) with ordinality as g (id, place)
                order by g.place
            ),
            v_ids,
            v_order_groups
        ) as p
    );
    if v_paid <> '{}' then
        perform shards.settle_claims(
            array(
                select shards.place(p.id)
                from unnest(v_paid) with ordinality as p (id, place)
                order by p.place
            ),
            v_paid
        );
    end if;

    -- A claim that was relied on after it was read here is young again, and stays.
    v_free := array(
        select r.id
        from (
            select
                array_agg(shards.place(c.id)) as places,
                array_agg(c.id) as ids
            from unnest(v_ids) as c (id)
            where c.id <> all(v_paid)
        ) as c
        cross join lateral shards.release_claims(c.places, c.ids) as r
        where c.ids is not null
    );
    if v_free <> '{}' then
        perform shards.forget_taken(v_free);
    end if;
    return query
    select
        c.id,
        c.order_group_id,
        c.claimed_at,
        case when c.id = any(v_free) then 'released' else 'waiting' end
    from unnest(v_ids, v_order_groups, v_times) as c (id, order_group_id, claimed_at)
    where c.id <> all(v_paid)
    order by c.claimed_at, c.id;
end;
$$;
comment on function shards.sweep_claims(timestamptz) is 'Claims that no payment has followed; those older than an hour are given up.';

-- Invariants

-- Names what is broken on each shard, and what is true of all of them together only. It reads every event.
-- Called by: operators and `make shards`. Returns: one row per fault, none when all is well; `shard` is null for a fault between
-- shards. Ask it while no payment is under way: the shards' snapshots differ.
create or replace function shards.broken_invariants()
returns table (shard integer, invariant text, subject text, detail text)
language sql
volatile
security definer
set search_path = ''
as $$
    with facts as materialized (
        select f.*
        from shards.facts() as f
    ),

    cluster as (
        select count(distinct r.number) as shards
        from (
            select k.number
            from pg_catalog.pg_foreign_server as s
            cross join lateral unnest(s.srvoptions) as o (option)
            cross join lateral (select (regexp_match(o.option, '^p(\d+)='))[1] as number) as k
            where s.srvname = 'shards' and k.number is not null
        ) as r
    )

    select b.*
    from shards.broken() as b
    union all
    select
        null,
        'payment_belongs_to_one_order_group_of_all_shards',
        f.id,
        string_agg(f.order_group_id || ' on shard ' || f.shard, ', ' order by f.shard, f.order_group_id)
    from facts as f
    where f.fact = 'paid'
    group by f.id
    having count(distinct f.order_group_id) > 1
    union all
    select
        p.shard,
        'payment_has_its_claim',
        p.id,
        'it has paid ' || p.order_group_id || ', and the claim is ' || coalesce(c.order_group_id || '''s', 'missing')
    from facts as p
    left join facts as c on p.id = c.id and c.fact = 'claim'
    where p.fact = 'paid' and c.order_group_id is distinct from p.order_group_id
    union all
    select
        f.shard,
        'row_lies_on_its_shard',
        f.id,
        f.fact || ' of ' || f.order_group_id
    from facts as f
    cross join cluster as k
    where
        f.shard <> shards.place(case f.fact when 'claim' then f.id else f.order_group_id::pg_catalog.text end) % k.shards;
$$;
comment on function shards.broken_invariants() is 'What is broken on a shard, or between the shards.';

-- Who may call what: the Data API's service_role calls the functions of public, which act as `postgres`; nobody else anything.
do $owners$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid::regprocedure
        from pg_proc as p
        where
            p.pronamespace in ('public'::regnamespace, 'shards'::regnamespace)
            and not exists (
                select 1
                from pg_depend as d
                where d.objid = p.oid and d.deptype = 'e'
            )
    loop
        execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
        if v_function::text not like 'shards.connect(%' then
            execute format('alter function %s owner to postgres', v_function);
        end if;
        if v_function::text not like 'shards.%' then
            execute format('grant execute on function %s to service_role', v_function);
        end if;
    end loop;
end;
$owners$;

commit;
