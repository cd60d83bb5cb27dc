-- What went back to buyers, and what their banks ask back.
--
-- Touches: payments.refunds, payments.disputes, and the append-only history of their statuses. All are private: none has a
-- policy that lets a row through, nor a grant. Rows are written by public.record_refund() and public.record_dispute().
-- One row per refund or dispute of Stripe; whose money it is, is known once its payment is.
-- An older relay notices nothing.

create table payments.refunds (
    id text not null,
    payment_intent_id text not null,
    order_group_id uuid,
    amount_minor bigint not null,
    amount numeric not null,
    currency text not null,
    status text not null,
    reason text,
    created_at timestamptz not null,
    livemode boolean not null,
    source text not null,
    recorded_at timestamptz not null,
    status_changed_at timestamptz not null,
    set_aside_reason text,
    constraint refunds_pkey primary key (id),
    constraint refunds_order_group_id_fkey
    foreign key (order_group_id) references public.order_groups (id) on delete restrict,
    constraint refunds_currency_fkey foreign key (currency) references payments.currencies (code),
    constraint refunds_set_aside_reason_fkey
    foreign key (set_aside_reason) references payments.reasons (reason) on delete restrict,
    constraint refunds_amount_is_positive_check check (amount_minor > 0 and amount > 0),
    constraint refunds_status_is_known_check check (
        status = any('{pending, requires_action, succeeded, failed, canceled}')
    ),
    constraint refunds_source_is_known_check check (source in ('webhook', 'sweep', 'replay'))
);
create index refunds_payment_intent_id_idx on payments.refunds (payment_intent_id);
create index refunds_order_group_id_idx on payments.refunds (order_group_id);
create index refunds_currency_idx on payments.refunds (currency);
create index refunds_set_aside_reason_idx on payments.refunds (set_aside_reason);
create index refunds_created_at_idx on payments.refunds (created_at);
create index refunds_status_changed_at_idx on payments.refunds (status_changed_at);

create table payments.refund_status_changes (
    id bigint not null generated always as identity,
    refund_id text not null,
    from_status text,
    to_status text not null,
    changed_at timestamptz not null,
    source text not null,
    stripe_event_id text,
    constraint refund_status_changes_pkey primary key (id),
    constraint refund_status_changes_refund_id_fkey
    foreign key (refund_id) references payments.refunds (id) on delete restrict,
    constraint refund_status_changes_is_a_step_check check (from_status is distinct from to_status)
);
create index refund_status_changes_refund_id_idx on payments.refund_status_changes (refund_id, id);
create index refund_status_changes_stripe_event_id_idx on payments.refund_status_changes (stripe_event_id);
-- Few refunds fail once they have succeeded; reports look for them by time.
create index refund_status_changes_succeeded_changed_at_idx on payments.refund_status_changes (changed_at)
where from_status = 'succeeded';

create table payments.disputes (
    id text not null,
    payment_intent_id text not null,
    order_group_id uuid,
    amount_minor bigint not null,
    amount numeric not null,
    currency text not null,
    status text not null,
    reason text,
    created_at timestamptz not null,
    livemode boolean not null,
    source text not null,
    recorded_at timestamptz not null,
    status_changed_at timestamptz not null,
    set_aside_reason text,
    constraint disputes_pkey primary key (id),
    constraint disputes_order_group_id_fkey
    foreign key (order_group_id) references public.order_groups (id) on delete restrict,
    constraint disputes_currency_fkey foreign key (currency) references payments.currencies (code),
    constraint disputes_set_aside_reason_fkey
    foreign key (set_aside_reason) references payments.reasons (reason) on delete restrict,
    constraint disputes_amount_is_positive_check check (amount_minor > 0 and amount > 0),
    constraint disputes_status_is_known_check check (
        status = any(
            '{warning_needs_response, warning_under_review, warning_closed, needs_response, under_review,
            charge_refunded, prevented, lost, won}'
        )
    ),
    constraint disputes_source_is_known_check check (source in ('webhook', 'sweep', 'replay'))
);
create index disputes_payment_intent_id_idx on payments.disputes (payment_intent_id);
create index disputes_order_group_id_idx on payments.disputes (order_group_id);
create index disputes_currency_idx on payments.disputes (currency);
create index disputes_set_aside_reason_idx on payments.disputes (set_aside_reason);
create index disputes_created_at_idx on payments.disputes (created_at);
create index disputes_status_changed_at_idx on payments.disputes (status_changed_at);

create table payments.dispute_status_changes (
    id bigint not null generated always as identity,
    dispute_id text not null,
    from_status text,
    to_status text not null,
    changed_at timestamptz not null,
    source text not null,
    stripe_event_id text,
    constraint dispute_status_changes_pkey primary key (id),
    constraint dispute_status_changes_dispute_id_fkey
    foreign key (dispute_id) references payments.disputes (id) on delete restrict,
    constraint dispute_status_changes_is_a_step_check check (from_status is distinct from to_status)
);
create index dispute_status_changes_dispute_id_idx on payments.dispute_status_changes (dispute_id, id);
create index dispute_status_changes_stripe_event_id_idx on payments.dispute_status_changes (stripe_event_id);

comment on table payments.refunds is 'Each refund of Stripe, once, with the status that it has reached.';
comment on column payments.refunds.id is 'Stripe''s: re_…';
comment on column payments.refunds.order_group_id is
    'The order group that the payment has paid; null while it has paid none, or where it never will.';
comment on column payments.refunds.amount_minor is 'Minor units, as Stripe sent them.';
comment on column payments.refunds.amount is 'Major units of `currency`.';
comment on column payments.refunds.reason is 'Stripe''s word for why.';
comment on column payments.refunds.created_at is 'When the refund was made, by Stripe''s clock.';
comment on column payments.refunds.source is 'What brought it first: webhook, sweep or replay.';
comment on column payments.refunds.set_aside_reason is
    'Why it does not count: its payment, which came later, does not fit. Null where it counts.';
comment on table payments.refund_status_changes is 'One row for each status that a refund has reached. Append-only.';
comment on column payments.refund_status_changes.from_status is 'Null where the refund was recorded with its status.';
comment on column payments.refund_status_changes.stripe_event_id is 'The event that brought it; null where none did.';
comment on table payments.disputes is 'Each dispute of Stripe, once, with the status that it has reached.';
comment on column payments.disputes.id is 'Stripe''s: dp_…, or du_… of old.';
comment on column payments.disputes.order_group_id is
    'The order group that the payment has paid; null while it has paid none, or where it never will.';
comment on column payments.disputes.amount_minor is 'Minor units, as Stripe sent them.';
comment on column payments.disputes.amount is 'Major units of `currency`.';
comment on column payments.disputes.reason is 'Stripe''s word for why.';
comment on column payments.disputes.created_at is 'When the dispute was opened, by Stripe''s clock.';
comment on column payments.disputes.source is 'What brought it first: webhook, sweep or replay.';
comment on column payments.disputes.set_aside_reason is
    'Why it is another''s matter: its payment, which came later, does not fit. Null where it is the payment''s.';
comment on table payments.dispute_status_changes is 'One row for each status that a dispute has reached. Append-only.';
comment on column payments.dispute_status_changes.from_status is 'Null where the dispute was recorded with its status.';
comment on column payments.dispute_status_changes.stripe_event_id is 'The event that brought it; null where none did.';

alter table payments.refunds enable row level security;
create policy "Nobody can read refunds" on payments.refunds for select to public using (false);
revoke all on table payments.refunds from public, anon, authenticated, service_role;

alter table payments.refund_status_changes enable row level security;
create policy "Nobody can read steps of refunds" on payments.refund_status_changes for select to public using (false);
revoke all on table payments.refund_status_changes from public, anon, authenticated, service_role;

alter table payments.disputes enable row level security;
create policy "Nobody can read disputes" on payments.disputes for select to public using (false);
revoke all on table payments.disputes from public, anon, authenticated, service_role;

alter table payments.dispute_status_changes enable row level security;
create policy "Nobody can read steps of disputes" on payments.dispute_status_changes for select to public using (false);
revoke all on table payments.dispute_status_changes from public, anon, authenticated, service_role;
revoke all on sequence payments.refund_status_changes_id_seq from public, anon, authenticated, service_role;
revoke all on sequence payments.dispute_status_changes_id_seq from public, anon, authenticated, service_role;
