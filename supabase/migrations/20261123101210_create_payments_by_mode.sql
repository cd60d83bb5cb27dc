-- Which of Stripe's modes has paid here.
--
-- Touches: public.payments_by_mode(), for `relay check`. A database belongs to one mode: a payment of the other one has turned
-- a real order into a paid one for nothing. An older relay notices nothing.

-- Counts the payments that were applied, by mode.
-- Called by: `relay check`, as service_role. Returns: an object with `live` and `test`, each with `payments` and the time of
-- the last one, `last_at`, null where there is none. Locks: nothing. Reads every event, so it is no part of readiness, which is
-- asked again and again.
create or replace function public.payments_by_mode()
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    return (
        select
            jsonb_object_agg(
                case m.livemode when true then 'live' else 'test' end,
                jsonb_build_object('payments', coalesce(e.payments, 0), 'last_at', e.last_at)
            )
        from unnest('{true, false}'::pg_catalog.bool[]) as m (livemode)
        left join (
            select
                s.livemode,
                count(*) as payments,
                max(s.processed_at) as last_at
            from payments.stripe_events as s
            where s.outcome = 'applied'
            group by s.livemode
        ) as e on m.livemode = e.livemode
    );
end;
$$;
comment on function public.payments_by_mode() is 'How many payments of each mode of Stripe were applied here, and when the last one was.';
revoke execute on function public.payments_by_mode() from public, anon, authenticated;
grant execute on function public.payments_by_mode() to service_role;
insert into payments.expected_grants (object, grantee, privilege)
values ('public.payments_by_mode()', 'service_role', 'EXECUTE');
