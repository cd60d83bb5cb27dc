"""Faults of the migration freeze_order_items."""

from __future__ import annotations

from sql_tests.mutants.killers import FIRST, FROZEN
from sql_tests.mutants.mutant import Mutant

FILE = "freeze_order_items"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "item-changeable",
        "an item of a settled group may be changed",
        FILE,
        "            old.order_group_id, payments.lock_order_group_of_held_child(old.order_group_id)\n",
        "            old.order_group_id, 'pending'\n",
        (FROZEN,),
    ),
    *(
        Mutant(
            f"item-changeable-in-its-{column}",
            f"the {column} of an item of a settled group may be changed",
            FILE,
            f"        new.{column},\n",
            f"        old.{column},\n",
            ("test_a_shops_trigger_changes_no_settled_item",),
        )
        for column in ("quantity", "unit_amount", "sku")
    ),
    Mutant(
        "item-changeable-in-its-title",
        "the title of an item of a settled group may be changed",
        FILE,
        "        new.title\n    ) is distinct",
        "        old.title\n    ) is distinct",
        ("test_a_shops_trigger_changes_no_settled_item",),
    ),
    Mutant(
        "items-own-columns-frozen",
        "a shop cannot write columns of its own on the items of settled groups",
        FILE,
        "    if (\n        new.id,",
        "    if true or (\n        new.id,",
        ("test_a_shop_writes_its_own_columns",),
    ),
    Mutant(
        "items-fill-nothing-on-update",
        "an item that is edited may leave its order",
        FILE,
        "before insert or update or delete on public.order_items",
        "before insert or delete on public.order_items",
        ("test_children_stay_with_their_parents",),
    ),
    Mutant(
        "item-removable",
        "an item of a settled group may be deleted",
        FILE,
        "before insert or update or delete on public.order_items",
        "before insert or update on public.order_items",
        (FROZEN,),
    ),
    Mutant(
        "item-leaves-its-order",
        "an item may move to another order",
        FILE,
        "if (new.id, new.order_id) is distinct from (old.id, old.order_id) then",
        "if new.id is distinct from old.id then",
        ("test_children_stay_with_their_parents",),
    ),
    Mutant(
        "trigger-runs-as-the-shop",
        "the guard of the items runs with the shop's rights, which cannot lock a group",
        FILE,
        "returns trigger\nlanguage plpgsql\nvolatile\nsecurity definer\nset search_path = ''\nas $$\ndeclare\n"
        "    v_order_group_id pg_catalog.uuid;",
        "returns trigger\nlanguage plpgsql\nvolatile\nsecurity invoker\nset search_path = ''\nas $$\ndeclare\n"
        "    v_order_group_id pg_catalog.uuid;",
        (FIRST,),
    ),
    Mutant(
        "item-without-a-name",
        "an item has no name of its own",
        FILE,
        "            coalesce(new.title, p.name)\n",
        "            coalesce(new.title, '')\n",
        ("test_as_sold.py",),
    ),
    Mutant(
        "shop-names-nothing",
        "what the shop calls an item is overwritten by the product's name",
        FILE,
        "            coalesce(new.title, p.name)\n",
        "            p.name\n",
        ("test_item_bears_what_its_product",),
    ),
    Mutant(
        "renamed-with-another-product",
        "an item that becomes another product keeps the name of the first",
        FILE,
        "            new.title := nullif(new.title, old.title);\n",
        "",
        ("test_item_that_becomes_another_product",),
    ),
    Mutant(
        "item-chooses-its-seller",
        "the writer of an item chooses whose it is",
        FILE,
        "    new.seller_id := v_seller_id;\n",
        "    new.seller_id := coalesce(new.seller_id, v_seller_id);\n",
        ("test_what_an_item_bears",),
    ),
    Mutant(
        "item-of-an-unknown-order",
        "an item of an order that does not exist is refused without the key's name",
        FILE,
        "constraint = 'order_items_order_id_fkey'",
        "constraint = 'order_items_order'",
        ("test_constraint_refuses_what_it_is_for",),
    ),
    Mutant(
        "changed-item-is-not-promised",
        "an item that becomes another product is not promised",
        FILE,
        "set reserved_product_ids = g.reserved_product_ids || n.product_ids",
        "set reserved_product_ids = g.reserved_product_ids",
        ("test_items_that_come_later_are_promised_too",),
    ),
)
