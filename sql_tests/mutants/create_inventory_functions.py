"""Faults of the migration create_inventory_functions."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_inventory_functions"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "receipt-of-nothing",
        "a receipt of zero pieces fails late, in the table",
        FILE,
        "p_quantity <= 0 then",
        "p_quantity < 0 then",
        ("test_movement_without_sense_is_refused",),
    ),
    Mutant(
        "adjustment-of-nothing",
        "an adjustment of zero pieces fails late, in the table",
        FILE,
        " or p_quantity_delta = 0 then",
        " then",
        ("test_movement_without_sense_is_refused",),
    ),
    Mutant(
        "adjustment-without-why",
        "an adjustment needs no reason",
        FILE,
        "elsif btrim(coalesce(p_note, '')) = '' then",
        "elsif p_note = '?' then",
        ("test_movement_without_sense_is_refused",),
    ),
    Mutant(
        "adjustment-null-blind",
        "an adjustment's reason may be null",
        FILE,
        "elsif btrim(coalesce(p_note, '')) = '' then",
        "elsif btrim(p_note) = '' then",
        ("test_movement_without_sense_is_refused",),
    ),
    Mutant(
        "receipt-is-an-adjustment",
        "a receipt is recorded as an adjustment",
        FILE,
        "            'receipt',\n",
        "            'adjustment',\n",
        ("test_on_hand_is_the_sum",),
    ),
    Mutant(
        "receipts-by-visitors",
        "visitors may record receipts",
        FILE,
        "grant execute on function public.record_inventory_receipt(uuid, integer, text, text) to service_role;",
        "grant execute on function public.record_inventory_receipt(uuid, integer, text, text) to service_role, anon;",
        (MATRIX,),
    ),
    Mutant(
        "receipt-by-nobody",
        "a receipt does not say who recorded it",
        FILE,
        "            payments.caller()\n",
        "            null\n",
        ("test_receipts_and_adjustments_say_who_recorded_them",),
    ),
    Mutant(
        "adjustment-by-nobody",
        "an adjustment does not say who recorded it",
        FILE,
        "        btrim(p_note),\n        payments.caller()\n",
        "        btrim(p_note),\n        null\n",
        ("test_receipts_and_adjustments_say_who_recorded_them",),
    ),
    Mutant(
        "adjustment-note-untrimmed",
        "an adjustment's note keeps its blanks",
        FILE,
        "        btrim(p_note),\n",
        "        p_note,\n",
        ("test_note_of_a_movement_is_trimmed_and_blank_is_none",),
    ),
    Mutant(
        "receipt-key-of-another-product",
        "a key that stands for another product is answered as if it were this one",
        FILE,
        "if (v_entry.product_id, v_entry.quantity_delta) <> (p_product_id, p_quantity) then",
        "if v_entry.quantity_delta <> p_quantity then",
        ("test_same_key_for_other_goods_is_refused",),
    ),
    Mutant(
        "receipt-key-of-another-quantity",
        "a key that stands for another quantity is answered as if it were this one",
        FILE,
        "if (v_entry.product_id, v_entry.quantity_delta) <> (p_product_id, p_quantity) then",
        "if v_entry.product_id <> p_product_id then",
        ("test_same_key_for_other_goods_is_refused",),
    ),
    Mutant(
        "receipt-key-dropped",
        "a receipt's key is not kept",
        FILE,
        "            v_key,\n",
        "            null,\n",
        ("test_same_key_answers_the_same_entry_and_writes_nothing",),
    ),
    Mutant(
        "receipt-key-untrimmed",
        "a blank around a receipt's key makes it another one",
        FILE,
        "nullif(btrim(p_key), '')",
        "nullif(p_key, '')",
        ("test_same_key_answers_the_same_entry_and_writes_nothing",),
    ),
    Mutant(
        "receipt-key-blank",
        "a blank key is one",
        FILE,
        "nullif(btrim(p_key), '')",
        "btrim(p_key)",
        ("test_receipts_without_a_key_each_count",),
    ),
    Mutant(
        "receipt-key-longer",
        "a receipt's key may be longer",
        FILE,
        "    v_longest constant pg_catalog.int4 := 255;",
        "    v_longest constant pg_catalog.int4 := 256;",
        ("test_key_has_255_characters_at_most",),
    ),
    Mutant(
        "receipt-swallows-violations",
        "a unique violation of the shop's own is answered with no entry",
        FILE,
        "                raise;\n",
        "                return null;\n",
        ("test_unique_violation_of_a_shops_own_is_told_as_it_is",),
    ),
)
