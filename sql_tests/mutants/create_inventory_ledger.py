"""Faults of the migration create_inventory_ledger."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_inventory_ledger"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "commit-adds-stock",
        "a sale may add to the stock",
        FILE,
        "or (quantity_delta < 0 and order_item_id is not null",
        "or (order_item_id is not null",
        ("test_ledger_rows_that_contradict_themselves",),
    ),
    Mutant(
        "receipt-takes-stock",
        "a receipt may take from the stock",
        FILE,
        "entry_type <> 'receipt' or quantity_delta > 0",
        "entry_type <> 'receipt' or quantity_delta <> 0",
        ("test_ledger_rows_that_contradict_themselves",),
    ),
    Mutant(
        "receipt-of-an-item",
        "a receipt may belong to an order item",
        FILE,
        "(order_item_id is null and stripe_webhook_event_id is null)",
        "(stripe_webhook_event_id is null)",
        ("test_ledger_rows_that_contradict_themselves",),
    ),
    Mutant(
        "item-committed-twice",
        "an item may be taken from the stock twice",
        FILE,
        "create unique index inventory_ledger_order_commit_order_item_id_key",
        "create index inventory_ledger_order_commit_order_item_id_key",
        ("test_item_cannot_be_committed_twice",),
    ),
    Mutant(
        "ledger-without-policies",
        "row level security of the ledger is off",
        FILE,
        "alter table public.inventory_ledger enable row level security;\n",
        "",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "ledger-unrevoked",
        "older projects' automatic grants on the ledger stay",
        FILE,
        "revoke all on table public.inventory_ledger from public, anon, authenticated, service_role;\n",
        "",
        (f"{MATRIX}[legacy]",),
    ),
    Mutant(
        "ledger-sequence-unrevoked",
        "older projects' automatic grants on the ledger's sequence stay",
        FILE,
        "revoke all on sequence public.inventory_ledger_id_seq from public, anon, authenticated, service_role;\n",
        "",
        (f"{MATRIX}[legacy]",),
    ),
    Mutant(
        "ledger-writable",
        "service_role may write the ledger past the functions",
        FILE,
        "grant select on table public.inventory_ledger to authenticated, service_role;",
        "grant select on table public.inventory_ledger to authenticated, service_role;\n"
        "grant insert on table public.inventory_ledger to service_role;",
        ("test_leaked_service_key_cannot_rewrite_history",),
    ),
    Mutant(
        "ledger-of-everybody",
        "everybody sees all movements of stock",
        FILE,
        "on public.inventory_ledger\nfor select\nto authenticated\nusing (\n    seller_id",
        "on public.inventory_ledger\nfor select\nto authenticated\nusing (\n    true or seller_id",
        ("test_member_sees_their_sellers_part",),
    ),
    Mutant(
        "levels-past-policies",
        "the view of the levels reads with its owner's rights",
        FILE,
        "with (security_invoker = on) as",
        "with (security_invoker = off) as",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "levels-unrevoked",
        "older projects' automatic grants on the view stay",
        FILE,
        "revoke all on table public.inventory_levels from public, anon, authenticated, service_role;\n",
        "",
        (f"{MATRIX}[legacy]",),
    ),
    Mutant(
        "levels-of-moved-products",
        "a product that never moved has no level",
        FILE,
        ") as l on true;",
        ") as l on l.on_hand is not null\nwhere l.on_hand is not null;",
        ("test_product_that_never_moved",),
    ),
    Mutant(
        "levels-null",
        "a product that never moved has an unknown level",
        FILE,
        "coalesce(l.on_hand, 0)::bigint",
        "l.on_hand::bigint",
        ("test_product_that_never_moved",),
    ),
    Mutant(
        "ledger-of-another-seller",
        "a movement of stock may bear another seller than its product",
        FILE,
        "    foreign key (product_id, seller_id) references public.products (id, seller_id) on delete restrict,\n",
        "    foreign key (product_id) references public.products (id) on delete restrict,\n",
        ("inventory_ledger_product_id_fkey",),
    ),
    Mutant(
        "movements-read-whole",
        "a seller's movements of stock are read whole for the last of them",
        FILE,
        "create index inventory_ledger_seller_id_id_idx on public.inventory_ledger (seller_id, id);",
        "create index inventory_ledger_seller_id_id_idx on public.inventory_ledger (seller_id);",
        ("test_list_of_a_screen",),
    ),
)
