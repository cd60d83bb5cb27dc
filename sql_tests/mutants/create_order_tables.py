"""Faults of the migration create_order_tables."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX, POLICIES
from sql_tests.mutants.mutant import Mutant

FILE = "create_order_tables"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "unknown-currency",
        "a group may be in a currency that Stripe does not know",
        FILE,
        "    constraint order_groups_currency_fkey foreign key (currency) references payments.currencies (code),\n",
        "",
        ("test_currencies_that_stripe_does_not_know",),
    ),
    Mutant(
        "group-total-negative",
        "a group's total may be negative",
        FILE,
        "order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0, ",
        "order_groups_total_amount_is_money_check check (\n        total_amount <@ '[-1, ",
        ("test_totals_that_no_currency_can_express",),
    ),
    Mutant(
        "group-total-unbounded",
        "a group's total may be NaN or infinite",
        FILE,
        "order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0, 1e15)'",
        "order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0,)'",
        ("test_totals_that_no_currency_can_express",),
    ),
    Mutant(
        "order-total-negative",
        "an order's total may be negative",
        FILE,
        "orders_total_amount_is_money_check check (\n        total_amount <@ '[0, ",
        "orders_total_amount_is_money_check check (\n        total_amount <@ '[-1, ",
        ("orders_total_amount_is_money_check",),
    ),
    Mutant(
        "unit-amount-too-fine",
        "an item's price may have four decimals",
        FILE,
        "min_scale(unit_amount) <= 3",
        "min_scale(unit_amount) <= 4",
        ("order_items_unit_amount_is_money_check",),
    ),
    Mutant(
        "group-status-unknown",
        "a group may have a status that nobody knows",
        FILE,
        "'{pending, paid, cancelled, refunded}'",
        "'{pending, paid, cancelled, refunded, draft}'",
        ("order_groups_status_is_known_check",),
    ),
    Mutant(
        "paid-without-a-payment",
        "a group may be paid without saying by which session",
        FILE,
        "            and stripe_webhook_event_id is not null\n            and stripe_checkout_session_id is not null\n",
        "            and stripe_webhook_event_id is not null\n",
        ("order_groups_paid_has_its_payment_check",),
    ),
    Mutant(
        "pending-with-a-payment",
        "a pending group may already have a payment intent",
        FILE,
        "            paid_at, stripe_webhook_event_id, stripe_payment_intent_id, stripe_checkout_session_id\n",
        "            paid_at, stripe_webhook_event_id, stripe_checkout_session_id\n",
        ("order_groups_unpaid_has_no_payment_check",),
    ),
    Mutant(
        "event-pays-two-groups",
        "two groups may be paid by one event",
        FILE,
        "    constraint order_groups_stripe_webhook_event_id_key unique (stripe_webhook_event_id),\n",
        "",
        ("order_groups_stripe_webhook_event_id_key",),
    ),
    Mutant(
        "paid-order-without-its-time",
        "a paid order need not say when",
        FILE,
        "status <> all('{paid, fulfilled, shipped, delivered}')",
        "status <> all('{fulfilled, shipped, delivered}')",
        ("orders_paid_has_its_time_check",),
    ),
    Mutant(
        "quantity-zero",
        "an item may have the quantity zero",
        FILE,
        "check (quantity > 0)",
        "check (quantity >= 0)",
        ("order_items_quantity_is_positive_check",),
    ),
    Mutant(
        "orders-go-with-their-group",
        "who removes a group removes its orders without a word",
        FILE,
        "foreign key (order_group_id) references public.order_groups (id) on delete restrict",
        "foreign key (order_group_id) references public.order_groups (id) on delete cascade",
        ("orders_order_group_id_fkey",),
    ),
    Mutant(
        "groups-go-with-their-buyer",
        "who deletes an account removes its order groups",
        FILE,
        "references auth.users (id) on delete set null",
        "references auth.users (id) on delete cascade",
        ("test_deleted_buyer_is_forgotten",),
    ),
    Mutant(
        "sessions-index-missing",
        "the sweep reads all groups to find a few sessions",
        FILE,
        "create index order_groups_stripe_checkout_session_id_idx\n"
        "on public.order_groups (stripe_checkout_session_id) where stripe_checkout_session_id is not null;\n",
        "",
        ("test_groups_are_found_by_their_sessions",),
    ),
    Mutant(
        "items-index-missing",
        "finding a group's items reads all items",
        FILE,
        "create index order_items_order_group_id_idx on public.order_items (order_group_id);\n",
        "",
        ("a new event",),
    ),
    Mutant(
        "groups-without-policies",
        "row level security of the order groups is off",
        FILE,
        "alter table public.order_groups enable row level security;\n",
        "",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "items-without-policies",
        "row level security of the items is off",
        FILE,
        "alter table public.order_items enable row level security;\n",
        "",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "groups-unrevoked",
        "older projects' automatic grants on the order groups stay",
        FILE,
        "revoke all on table public.order_groups from public, anon, authenticated, service_role;\n",
        "",
        (f"{MATRIX}[legacy]",),
    ),
    Mutant(
        "payment-column-writable",
        "a leaked key may insert a group with the time of a payment",
        FILE,
        "grant insert (id, buyer_id, currency, total_amount, status, expires_at) on table public.order_groups",
        "grant insert (id, buyer_id, currency, total_amount, status, expires_at, paid_at) on table public.order_groups",
        ("test_leaked_service_key_cannot_rewrite_history",),
    ),
    Mutant(
        "order-total-writable",
        "a leaked key may change an order's total",
        FILE,
        "grant update (status) on table public.orders to service_role;",
        "grant update (status, total_amount) on table public.orders to service_role;",
        (MATRIX,),
    ),
    Mutant(
        "order-status-unwritable",
        "the shop cannot move an order's status forward",
        FILE,
        "grant update (status) on table public.orders to service_role;\n",
        "",
        ("test_replay_after_fulfilment",),
    ),
    Mutant(
        "groups-of-guests",
        "who has no id sees the groups of all guests",
        FILE,
        "using (buyer_id = (select auth.uid()));",
        "using (buyer_id is not distinct from (select auth.uid()));",
        ("test_user_without_an_id_sees_nothing",),
    ),
    Mutant(
        "groups-of-everybody",
        "everybody sees all order groups",
        FILE,
        "using (buyer_id = (select auth.uid()));",
        "using (true);",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "orders-of-every-buyer",
        "the policy of the orders leaves whose groups they are to the policy of the groups",
        FILE,
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where (select auth.uid()) is not null\n",
        (POLICIES,),
    ),
    Mutant(
        "orders-of-no-member",
        "a seller's member does not see the seller's orders",
        FILE,
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id is null\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        ("test_member_sees_their_sellers_part",),
    ),
    Mutant(
        "orders-of-all-sellers",
        "a member sees every seller's orders",
        FILE,
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        'create policy "Buyers and the seller\'s members can read an order"\non public.orders\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n    ))\n    or order_group_id = any(array(\n"
        "        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        (POLICIES,),
    ),
    Mutant(
        "items-of-everybody",
        "everybody sees all items",
        FILE,
        'create policy "Buyers and the seller\'s members can read an item"\non public.order_items\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        'create policy "Buyers and the seller\'s members can read an item"\non public.order_items\nfor select\n'
        "to authenticated\nusing (\n    true or seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        ("test_member_sees_their_sellers_part",),
    ),
    Mutant(
        "items-of-no-buyer",
        "a buyer does not see the items of their orders",
        FILE,
        'create policy "Buyers and the seller\'s members can read an item"\non public.order_items\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id = (select auth.uid())\n",
        'create policy "Buyers and the seller\'s members can read an item"\non public.order_items\nfor select\n'
        "to authenticated\nusing (\n    seller_id = any(array(\n        select m.seller_id\n"
        "        from public.seller_members as m\n        where m.user_id = (select auth.uid())\n    ))\n"
        "    or order_group_id = any(array(\n        select g.id\n        from public.order_groups as g\n"
        "        where g.buyer_id is null\n",
        ("test_buyer_sees_their_own_group",),
    ),
    Mutant(
        "buyers-list-unordered",
        "a buyer's groups are read whole for the newest of them",
        FILE,
        "on public.order_groups (buyer_id, created_at desc) include (id);",
        "on public.order_groups (buyer_id) include (id);",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "sellers-list-unordered",
        "a seller's orders are read whole for the newest of them",
        FILE,
        "on public.orders (seller_id, created_at desc);",
        "on public.orders (seller_id);",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "policies-let-nothing-through",
        "the planner takes the policies for so strict that it fetches all orders for a page of twenty",
        FILE,
        "alter table public.orders alter column seller_id set (n_distinct = 300);\n",
        "",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "fulfilment-reads-all-orders",
        "what waits to be fulfilled has no index",
        FILE,
        "create index orders_to_fulfil_paid_at_idx on public.orders (paid_at) where status = 'paid';\n",
        "",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "pending-reads-all-groups",
        "pending groups by age have no index",
        FILE,
        "create index order_groups_pending_created_at_idx on public.order_groups (created_at) where "
        "status = 'pending';\n",
        "",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "paid-at-reads-all-groups",
        "groups by the time of payment have no index",
        FILE,
        "create index order_groups_paid_at_idx on public.order_groups (paid_at) where paid_at is not null;\n",
        "",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "intent-reads-all-groups",
        "a group is not found by its payment intent",
        FILE,
        "create index order_groups_stripe_payment_intent_id_idx\n"
        "on public.order_groups (stripe_payment_intent_id) where stripe_payment_intent_id is not null;\n",
        "",
        ("test_list_of_a_screen",),
    ),
    Mutant(
        "item-of-another-seller",
        "an item may be another seller's product",
        FILE,
        "    foreign key (product_id, seller_id) references public.products (id, seller_id) on delete restrict,\n",
        "    foreign key (product_id) references public.products (id) on delete restrict,\n",
        ("test_product_of_another_seller",),
    ),
    Mutant(
        "item-of-another-group",
        "an item may bear another group than its order",
        FILE,
        "    foreign key (order_id, order_group_id, seller_id)\n"
        "    references public.orders (id, order_group_id, seller_id) on delete restrict,\n",
        "    foreign key (order_id) references public.orders (id) on delete restrict,\n",
        ("order_items_order_id_fkey",),
    ),
    Mutant(
        "sku-unwritable",
        "a shop cannot say what it sold under which number",
        FILE,
        "quantity, unit_amount, sku, title) on table public.order_items",
        "quantity, unit_amount, title) on table public.order_items",
        (MATRIX,),
    ),
    Mutant(
        "group-total-at-the-bound",
        "a group's total may be a thousand million millions",
        FILE,
        "    constraint order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0, 1e15)'",
        "    constraint order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0, 1e15]'",
        ("test_bound_lets_through_what_is_just_inside_and_nothing_just_outside",),
    ),
    Mutant(
        "group-total-above-zero",
        "a group that costs nothing is refused",
        FILE,
        "    constraint order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0, 1e15)'",
        "    constraint order_groups_total_amount_is_money_check check (\n        total_amount <@ '(0, 1e15)'",
        ("test_bound_lets_through_what_is_just_inside_and_nothing_just_outside",),
    ),
    Mutant(
        "group-total-smaller-bound",
        "a group's total is bounded a thousand times lower",
        FILE,
        "    constraint order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0, 1e15)'",
        "    constraint order_groups_total_amount_is_money_check check (\n        total_amount <@ '[0, 1e12)'",
        ("test_bound_lets_through_what_is_just_inside_and_nothing_just_outside",),
    ),
    Mutant(
        "order-total-smaller-bound",
        "an order's total is bounded a thousand times lower",
        FILE,
        "    constraint orders_total_amount_is_money_check check (\n        total_amount <@ '[0, 1e15)'",
        "    constraint orders_total_amount_is_money_check check (\n        total_amount <@ '[0, 1e12)'",
        ("test_bound_lets_through_what_is_just_inside_and_nothing_just_outside",),
    ),
    Mutant(
        "group-total-of-two-decimals",
        "a group's total may have two decimals only",
        FILE,
        "    constraint order_groups_total_amount_is_money_check check (\n"
        "        total_amount <@ '[0, 1e15)'::pg_catalog.numrange and min_scale(total_amount) <= 3",
        "    constraint order_groups_total_amount_is_money_check check (\n"
        "        total_amount <@ '[0, 1e15)'::pg_catalog.numrange and min_scale(total_amount) <= 2",
        ("test_bound_lets_through_what_is_just_inside_and_nothing_just_outside",),
    ),
    Mutant(
        "unit-amount-at-the-bound",
        "an item's price may be a thousand million millions",
        FILE,
        "unit_amount >= 0 and unit_amount < 1e15",
        "unit_amount >= 0 and unit_amount <= 1e15",
        ("test_bound_lets_through_what_is_just_inside_and_nothing_just_outside",),
    ),
    Mutant(
        "unit-amount-above-zero",
        "an item may not be free",
        FILE,
        "unit_amount >= 0 and",
        "unit_amount > 0 and",
        ("test_bound_lets_through_what_is_just_inside_and_nothing_just_outside",),
    ),
    Mutant(
        "quantity-above-one",
        "an item may not be a single piece",
        FILE,
        "check (quantity > 0)",
        "check (quantity > 1)",
        ("test_bound_lets_through_what_is_just_inside_and_nothing_just_outside",),
    ),
    Mutant(
        "group-status-one-more",
        "a group may be expired",
        FILE,
        "'{pending, paid, cancelled, refunded}'",
        "'{pending, paid, cancelled, refunded, expired}'",
        ("test_words_that_columns_hold_are_these_and_no_others",),
    ),
    Mutant(
        "order-status-one-more",
        "an order may be returned",
        FILE,
        "'{pending, paid, fulfilled, shipped, delivered, cancelled, refunded}'",
        "'{pending, paid, fulfilled, shipped, delivered, cancelled, refunded, returned}'",
        ("test_words_that_columns_hold_are_these_and_no_others",),
    ),
    Mutant(
        "order-of-the-shipped-timeless",
        "a shipped order need not say when it was paid",
        FILE,
        "status <> all('{paid, fulfilled, shipped, delivered}')",
        "status <> all('{paid, fulfilled, delivered}')",
        ("test_order_says_when_it_was_paid_from_then_on",),
    ),
    Mutant(
        "refunded-needs-its-payment",
        "a refunded group may have no payment columns",
        FILE,
        "status = any('{paid, refunded}')\n        or num_nonnulls",
        "status = any('{paid}')\n        or num_nonnulls",
        ("test_group_has_the_columns_of_a_payment_when_it_was_paid_and_only_then",),
    ),
    Mutant(
        "cancelled-with-an-event",
        "a cancelled group may have the event of a payment",
        FILE,
        "            paid_at, stripe_webhook_event_id, stripe_payment_intent_id, "
        "stripe_checkout_session_id\n        ) +",
        "            paid_at, stripe_payment_intent_id, stripe_checkout_session_id\n        ) +",
        ("test_group_has_the_columns_of_a_payment_when_it_was_paid_and_only_then",),
    ),
    Mutant(
        "cancelled-with-a-session",
        "a cancelled group may have the session of a payment",
        FILE,
        "            paid_at, stripe_webhook_event_id, stripe_payment_intent_id, "
        "stripe_checkout_session_id\n        ) +",
        "            paid_at, stripe_webhook_event_id, stripe_payment_intent_id\n        ) +",
        ("test_group_has_the_columns_of_a_payment_when_it_was_paid_and_only_then",),
    ),
    Mutant(
        "unpaid-with-money-back",
        "a group that nobody paid may show money that went back",
        FILE,
        " + sign(refunded_amount) = 0",
        " = 0",
        ("test_constraint_refuses",),
    ),
    Mutant(
        "more-back-than-the-total",
        "a group may show more as refunded than its total",
        FILE,
        "refunded_amount >= 0 and refunded_amount <= total_amount",
        "refunded_amount >= 0",
        ("test_constraint_refuses",),
    ),
    Mutant(
        "less-than-nothing-back",
        "a group may show less than nothing as refunded",
        FILE,
        "refunded_amount >= 0 and refunded_amount <= total_amount",
        "refunded_amount <= total_amount",
        ("test_constraint_refuses",),
    ),
    Mutant(
        "refunded-in-part",
        "a group may be refunded though part of its money is not back",
        FILE,
        "(status = 'refunded') = (refunded_amount > 0 and refunded_amount = total_amount)",
        "status <> 'refunded' or refunded_amount > 0",
        ("test_bound_lets_through",),
    ),
    Mutant(
        "paid-though-all-is-back",
        "a group may stay paid though all of its money is back",
        FILE,
        "(status = 'refunded') = (refunded_amount > 0 and refunded_amount = total_amount)",
        "status <> 'refunded' or (refunded_amount > 0 and refunded_amount = total_amount)",
        ("test_constraint_refuses",),
    ),
    Mutant(
        "group-without-its-time",
        "a group's time of creation may be null",
        FILE,
        "    status text not null default 'pending',\n    created_at timestamptz not null default now(),\n"
        "    paid_at timestamptz,\n    stripe_webhook_event_id",
        "    status text not null default 'pending',\n    created_at timestamptz default now(),\n"
        "    paid_at timestamptz,\n    stripe_webhook_event_id",
        ("test_each_column_has_its_type_its_default_and_may_be_null_or_not",),
    ),
    Mutant(
        "order-without-its-time",
        "an order's time of creation may be null",
        FILE,
        "    total_amount numeric not null,\n    created_at timestamptz not null default now(),\n"
        "    paid_at timestamptz,\n    constraint orders_pkey",
        "    total_amount numeric not null,\n    created_at timestamptz default now(),\n"
        "    paid_at timestamptz,\n    constraint orders_pkey",
        ("test_each_column_has_its_type_its_default_and_may_be_null_or_not",),
    ),
    Mutant(
        "unit-amount-optional",
        "an item may have no price",
        FILE,
        "    unit_amount numeric not null,",
        "    unit_amount numeric,",
        ("test_each_column_has_its_type_its_default_and_may_be_null_or_not",),
    ),
    Mutant(
        "quantity-optional",
        "an item may have no quantity",
        FILE,
        "    quantity integer not null,",
        "    quantity integer,",
        ("test_each_column_has_its_type_its_default_and_may_be_null_or_not",),
    ),
    Mutant(
        "group-total-rounded",
        "a group's total is rounded to two decimals when it is written",
        FILE,
        "    total_amount numeric not null,\n    status text not null default 'pending',",
        "    total_amount numeric(17, 2) not null,\n    status text not null default 'pending',",
        ("test_each_column_has_its_type_its_default_and_may_be_null_or_not",),
    ),
    Mutant(
        "pending-index-of-all",
        "the index of pending groups holds the paid ones",
        FILE,
        "on public.order_groups (created_at) where status = 'pending'",
        "on public.order_groups (created_at) where status <> 'cancelled'",
        ("test_each_index_is_there_in_its_form",),
    ),
    Mutant(
        "fulfilment-index-by-creation",
        "what waits to be fulfilled is not found in the order of payment",
        FILE,
        "on public.orders (paid_at) where status = 'paid'",
        "on public.orders (created_at) where status = 'paid'",
        ("test_each_index_is_there_in_its_form",),
    ),
    Mutant(
        "no-room-beside-orders",
        "an order's next version finds no room beside it",
        FILE,
        "with (fillfactor = 80)",
        "with (fillfactor = 100)",
        ("test_what_the_planner_and_the_tables_are_told",),
    ),
    Mutant(
        "currency-index-missing",
        "who removes a currency reads all groups",
        FILE,
        "create index order_groups_currency_idx on public.order_groups (currency);\n",
        "",
        ("test_each_index_is_there_in_its_form",),
    ),
)
