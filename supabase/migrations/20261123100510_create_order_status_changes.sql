-- What became of order groups and orders, when, and by whom.
--
-- Touches: public.order_status_changes, its policy, grants and guards, payments.caller() and its parts. Rows are written by triggers on
-- public.order_groups and public.orders, so that no writer can forget one, and never changed. No foreign keys: whatever has a
-- row is settled, and what is settled cannot be removed; a check per row would cost each payment more than it tells.
-- An older relay notices nothing.

create table public.order_status_changes (
    id bigint not null generated always as identity,
    order_group_id uuid not null,
    order_id uuid,
    seller_id uuid,
    from_status text not null,
    to_status text not null,
    changed_at timestamptz not null,
    changed_by text not null,
    constraint order_status_changes_pkey primary key (order_group_id, id),
    constraint order_status_changes_is_a_step_check check (from_status <> to_status),
    constraint order_status_changes_order_has_its_seller_check check ((order_id is null) = (seller_id is null))
);
create index order_status_changes_order_id_idx on public.order_status_changes (order_id);
create index order_status_changes_seller_id_idx on public.order_status_changes (seller_id);
-- The report's window. Rows are added in the order of time and stay where they are.
create index order_status_changes_changed_at_idx on public.order_status_changes using brin (changed_at);
-- Which orders were given up in a window: a payment writes no row of it.
create index order_status_changes_refunded_changed_at_idx
on public.order_status_changes (changed_at) where 'refunded' in (from_status, to_status);
comment on table public.order_status_changes is
    'One row for each step of an order group or order, none for its creation. Append-only.';
comment on column public.order_status_changes.order_id is 'Null for a step of the group itself.';
comment on column public.order_status_changes.seller_id is 'The order''s, whose members may read the row.';
comment on column public.order_status_changes.changed_at is 'When; for a payment its paid_at.';
comment on column public.order_status_changes.changed_by is
    'The user''s id where the call carries one, else the role; reconcile_order_group_payment for a payment.';

alter table public.order_status_changes enable row level security;
revoke all on table public.order_status_changes from public, anon, authenticated, service_role;
revoke all on sequence public.order_status_changes_id_seq from public, anon, authenticated, service_role;
grant select on table public.order_status_changes to authenticated, service_role;
insert into payments.expected_grants (object, grantee, privilege)
values
('public.order_status_changes', 'authenticated', 'SELECT'),
('public.order_status_changes', 'service_role', 'SELECT');

-- A step of the group itself has no seller: it is for whoever may read the group.
create policy "Buyers and the seller's members can read a status change"
on public.order_status_changes
for select
to authenticated
using (
    seller_id = any(array(
        select m.seller_id
        from public.seller_members as m
        where m.user_id = (select auth.uid())
    ))
    or order_group_id = any(array(
        select g.id
        from public.order_groups as g
        where g.buyer_id = (select auth.uid())
        order by g.created_at desc
    ))
);

create trigger order_status_changes_is_append_only
before update or delete or truncate on public.order_status_changes
for each statement execute function payments.tg_history__refuse_change();
alter table public.order_status_changes enable always trigger order_status_changes_is_append_only;

-- Tells the user in whose name the Data API calls.
-- Called by: payments.caller(), public.advance_order(). Returns: the token's subject, null where there is none. Locks: nothing.
-- auth.uid() tells the same, but names its types without a schema: inside a function with its owner's rights a type of the
-- caller's own would run in their stead. Nor is every issuer's subject a UUID.
create or replace function payments.calling_user()
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb ->> 'sub'
    );
end;
$$;
comment on function payments.calling_user() is 'The subject of the call''s token, null where there is none.';
revoke execute on function payments.calling_user() from public, anon, authenticated, service_role;

-- Tells the role that the session has taken on, which a function with its owner's rights does not change.
-- Called by: payments.caller(), public.advance_order(). Returns: the role's name. Locks: nothing.
create or replace function payments.calling_role()
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return coalesce(nullif(current_setting('role'), 'none'), session_user::pg_catalog.text);
end;
$$;
comment on function payments.calling_role() is 'The role that the session has taken on, else the one that logged in.';
revoke execute on function payments.calling_role() from public, anon, authenticated, service_role;

-- Tells on whose behalf the session works, whatever function it is in.
-- Called by: the triggers that write history. Returns: the user's id, else the role. Locks: nothing.
create or replace function payments.caller()
returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return coalesce(payments.calling_user(), payments.calling_role());
end;
$$;
comment on function payments.caller() is 'The user''s id where the call carries one, else the role.';
revoke execute on function payments.caller() from public, anon, authenticated, service_role;
