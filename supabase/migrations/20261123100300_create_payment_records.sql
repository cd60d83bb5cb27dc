-- What Stripe told us, and what could not be applied.
--
-- Touches: payments.stripe_events (append-only), payments.reasons, payments.exceptions. All are private: none has a
-- policy that lets a row through, nor a grant.
-- An event is in stripe_events once it was processed; the unique indexes are the last line against paying twice.

create table payments.stripe_events (
    id text not null,
    type text not null,
    created_at timestamptz,
    received_at timestamptz not null,
    processed_at timestamptz not null,
    livemode boolean not null,
    order_group_id uuid not null,
    checkout_session_id text not null,
    payment_intent_id text,
    amount_minor bigint not null,
    amount numeric not null,
    currency text not null,
    session_metadata jsonb not null,
    source text not null,
    outcome text not null,
    account text,
    constraint stripe_events_pkey primary key (id),
    constraint stripe_events_order_group_id_fkey
    foreign key (order_group_id) references public.order_groups (id) on delete restrict,
    constraint stripe_events_source_is_known_check check (source = any('{webhook, sweep, replay}')),
    constraint stripe_events_outcome_is_known_check check (outcome = any('{applied, already_paid}'))
);
create index stripe_events_order_group_id_idx on payments.stripe_events (order_group_id);
-- The report's windows, by our clock and by Stripe's. Events are added in the order of time and stay where they are; one that
-- came late does not widen the range of its neighbours.
create index stripe_events_processed_at_idx on payments.stripe_events using brin (processed_at);
create index stripe_events_happened_at_idx
on payments.stripe_events using brin (coalesce(created_at, processed_at) timestamptz_minmax_multi_ops);
create unique index stripe_events_applied_order_group_id_key
on payments.stripe_events (order_group_id) where outcome = 'applied';
create unique index stripe_events_applied_payment_intent_id_key
on payments.stripe_events (payment_intent_id) where outcome = 'applied';
create unique index stripe_events_applied_checkout_session_id_key
on payments.stripe_events (checkout_session_id) where outcome = 'applied';
comment on table payments.stripe_events is
    'Every event that was processed, once. Append-only. A known id is a replay and changes nothing.';
comment on column payments.stripe_events.created_at is 'When Stripe made the event, by Stripe''s clock; null where it did not say.';
comment on column payments.stripe_events.received_at is 'Start of the transaction that processed it.';
comment on column payments.stripe_events.processed_at is 'When the order group''s lock was held and the verdict fell.';
comment on column payments.stripe_events.amount_minor is 'Minor units, as Stripe sent them.';
comment on column payments.stripe_events.amount is 'Major units of `currency`.';
comment on column payments.stripe_events.source is 'webhook: Stripe''s delivery; sweep: found by the sweep; replay: sent again by hand.';
comment on column payments.stripe_events.account is
    'The Stripe account that the event names (`account`, else `context`), one of the relay''s own; null where it names none.';
comment on column payments.stripe_events.outcome is
    'applied: this event paid the group; already_paid: a twin of the event that did.';

create table payments.reasons (
    reason text not null,
    outcome text not null,
    sentence text not null,
    constraint reasons_pkey primary key (reason),
    constraint reasons_outcome_is_known_check check (outcome in ('unmatched', 'rejected', 'recorded'))
);
comment on table payments.reasons is
    'Why a payment, a refund or a dispute can become an exception. The relay knows the same words: Reason in relay/core/outcomes.py.';
comment on column payments.reasons.outcome is 'What Stripe''s event is answered while its exception is open.';
comment on column payments.reasons.sentence is 'The rule that decided, for a person.';

insert into payments.reasons (reason, outcome, sentence)
values
('missing_reference', 'unmatched', 'the session names no order group, in its metadata or as client_reference_id'),
('malformed_reference', 'unmatched', 'the session''s order group reference is not a UUID'),
('conflicting_references', 'unmatched', 'metadata and client_reference_id name different order groups'),
('foreign_account', 'unmatched', 'another Stripe account was paid: its money pays no order group here'),
('order_group_not_found', 'rejected', 'the order group that the session names does not exist'),
('order_group_not_payable', 'rejected', 'a cancelled or refunded order group is never revived by a payment'),
('order_group_empty', 'rejected', 'the group has no order, or an order has no item'),
('amount_missing', 'rejected', 'the event carries no whole, non-negative amount'),
('currency_unsupported', 'rejected', 'the currency is not in payments.currencies'),
('amount_normalization_mismatch', 'rejected', 'major and minor units disagree by Stripe''s table of exponents'),
('currency_mismatch', 'rejected', 'the payment is not in the order group''s currency'),
('amount_mismatch', 'rejected', 'the payment is not the order group''s total'),
('totals_inconsistent', 'rejected', 'the order group''s total is not the sum of its orders'),
('duplicate_payment', 'rejected', 'another payment had paid the order group: this one is owed back'),
('payment_already_used', 'rejected', 'this payment has paid another order group'),
('event_collision', 'rejected', 'the event id was processed before, with another payload'),
('payment_refunded', 'rejected', 'Stripe had sent all of the payment''s money back before it came'),
('exceeds_payment', 'rejected', 'more would go back than the payment has brought'),
('refund_collision', 'rejected', 'the refund was recorded before, of another payment, amount, currency or mode'),
('dispute_collision', 'rejected', 'the dispute was recorded before, of another payment, amount, currency or mode'),
('payment_disputed', 'recorded', 'the buyer''s bank asks for the payment''s money back');

create table payments.exceptions (
    id bigint not null generated always as identity,
    stripe_event_id text not null,
    order_group_id uuid,
    checkout_session_id text,
    payment_intent_id text,
    reason text not null,
    attempts integer not null default 1,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    details jsonb not null default '{}',
    status text not null default 'open',
    resolution text,
    resolved_by text,
    resolved_at timestamptz,
    note text,
    refund_id text,
    dispute_id text,
    event_created_at timestamptz,
    constraint exceptions_pkey primary key (id),
    constraint exceptions_stripe_event_id_key unique (stripe_event_id),
    constraint exceptions_reason_fkey foreign key (reason) references payments.reasons (reason) on delete restrict,
    constraint exceptions_attempts_is_positive_check check (attempts > 0),
    constraint exceptions_status_is_known_check check (status in ('open', 'resolved')),
    constraint exceptions_resolution_is_known_check check (
        resolution in ('refunded', 'fixed_by_hand', 'dismissed', 'reconciled')
    ),
    constraint exceptions_resolved_says_how_and_by_whom_check check (
        (status = 'resolved')
        = (resolution is not null and resolved_by is not null and resolved_at is not null)
    )
);
create unique index exceptions_refund_id_key on payments.exceptions (refund_id) where refund_id is not null;
create unique index exceptions_dispute_id_key on payments.exceptions (dispute_id) where dispute_id is not null;
create index exceptions_reason_idx on payments.exceptions (reason);
create index exceptions_order_group_id_idx on payments.exceptions (order_group_id);
create index exceptions_checkout_session_id_idx on payments.exceptions (checkout_session_id);
create index exceptions_payment_intent_id_idx on payments.exceptions (payment_intent_id);
-- Whoever explains a group asks for the money of other accounts that named it.
create index exceptions_named_order_group_id_idx
on payments.exceptions ((details ->> 'named_order_group_id')) where reason = 'foreign_account';
create index exceptions_first_seen_at_idx on payments.exceptions (first_seen_at);
create index exceptions_happened_at_idx on payments.exceptions (coalesce(event_created_at, first_seen_at));
create index exceptions_open_first_seen_at_idx on payments.exceptions (first_seen_at) where status = 'open';
comment on table payments.exceptions is
    'Money that needs a person: one row per event of a payment that was rejected or names no order group, one per refund that was rejected, one per dispute.';
comment on column payments.exceptions.order_group_id is
    'What the event named; no foreign key, because it may not exist. Null where the event names none.';
comment on column payments.exceptions.stripe_event_id is
    'The event; the refund''s or dispute''s own id where no event brought it.';
comment on column payments.exceptions.refund_id is 'The refund that is the matter; null for payments and disputes.';
comment on column payments.exceptions.dispute_id is 'The dispute that is the matter; null for payments and refunds.';
comment on column payments.exceptions.attempts is 'How often Stripe, or the sweep, has brought this event.';
comment on column payments.exceptions.details is
    'What was expected and what came, amounts as text; `named_order_group_id`: the group that the metadata of an event
    without a group named; `earlier` keeps former reasons of the same event.';
comment on column payments.exceptions.event_created_at is
    'When Stripe made the event, by Stripe''s clock; null where it did not say.';
comment on column payments.exceptions.resolution is
    'refunded, fixed_by_hand, dismissed: an operator''s word, final, or Stripe''s, where resolved_by is stripe. reconciled: it was applied or recorded after all.';

alter table payments.stripe_events enable row level security;
alter table payments.reasons enable row level security;
alter table payments.exceptions enable row level security;
create policy "Nobody can read Stripe events" on payments.stripe_events for select to public using (false);
create policy "Nobody can read reasons" on payments.reasons for select to public using (false);
create policy "Nobody can read exceptions" on payments.exceptions for select to public using (false);

revoke all on table payments.stripe_events from public, anon, authenticated, service_role;
revoke all on table payments.reasons from public, anon, authenticated, service_role;
revoke all on table payments.exceptions from public, anon, authenticated, service_role;
revoke all on sequence payments.exceptions_id_seq from public, anon, authenticated, service_role;
