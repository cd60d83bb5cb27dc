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
        "(p_product_id), 'receipt', p_quantity,",
        "(p_product_id), 'adjustment', p_quantity,",
        ("test_on_hand_is_the_sum",),
    ),
    Mutant(
        "receipts-by-visitors",
        "visitors may record receipts",
        FILE,
        "grant execute on function public.record_inventory_receipt(uuid, integer, text) to service_role;",
        "grant execute on function public.record_inventory_receipt(uuid, integer, text) to service_role, anon;",
        (MATRIX,),
    ),
    Mutant(
        "adjustment-note-untrimmed",
        "an adjustment's note keeps its blanks",
        FILE,
        "p_quantity_delta, btrim(p_note))",
        "p_quantity_delta, p_note)",
        ("test_note_of_a_movement_is_trimmed_and_blank_is_none",),
    ),
)
