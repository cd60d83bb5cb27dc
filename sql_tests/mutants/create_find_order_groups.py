"""Faults of the migration create_find_order_groups."""

from __future__ import annotations

from sql_tests.mutants.killers import MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_find_order_groups"
FOUND = ("test_id_of_any_kind_leads_to_its_group",)

MUTANTS: tuple[Mutant, ...] = (
    *(
        Mutant(id_, breaks, FILE, search, replace, FOUND)
        for id_, breaks, search, replace in (
            (
                "found-by-no-order",
                "an order's id leads nowhere",
                "                    where o.id = v_uuid\n",
                "                    where false\n",
            ),
            (
                "found-by-no-item",
                "an item's id leads nowhere",
                "                    where i.id = v_uuid\n",
                "                    where false\n",
            ),
            (
                "found-by-no-event",
                "an event's id leads nowhere",
                "                    where e.id = v_id\n",
                "                    where false\n",
            ),
            (
                "found-by-no-refund",
                "a refund's id leads nowhere",
                "        where r.id = v_id\n        union",
                "        where false\n        union",
            ),
            (
                "found-by-no-dispute",
                "a dispute's id leads nowhere",
                "        where d.id = v_id\n        union",
                "        where false\n        union",
            ),
            (
                "found-by-no-exception",
                "an exception's number leads nowhere",
                "        where x.id = v_number\n",
                "        where false\n",
            ),
            (
                "found-without-its-exceptions",
                "the group that an exception names is not found by it",
                "                    where x.id = any(v_exceptions)\n",
                "                    where false\n",
            ),
            (
                "found-beyond-bigint",
                "digits that no exception can have are an error",
                "'^[0-9]{1,18}$'",
                "'^[0-9]+$'",
            ),
            (
                "found-as-written-alone",
                "an id with blanks around it leads nowhere",
                "btrim(p_id)",
                "p_id",
            ),
        )
    ),
    Mutant(
        "finding-for-everybody",
        "visitors and users find whose an id is",
        FILE,
        "revoke execute on function public.find_order_groups(text) from public, anon, authenticated;\n",
        "",
        (MATRIX,),
    ),
    Mutant(
        "refused-refund-unfound",
        "a refund that was rejected is found by its event alone",
        FILE,
        "        where x.refund_id = v_id\n",
        "        where false\n",
        ("test_id_of_any_kind_leads_to",),
    ),
    Mutant(
        "refused-dispute-unfound",
        "a dispute that was rejected is found by its event alone",
        FILE,
        "        where x.dispute_id = v_id\n",
        "        where false\n",
        ("test_id_of_any_kind_leads_to",),
    ),
    Mutant(
        "refund-unfound-by-its-event",
        "the event of a recorded refund leads nowhere",
        FILE,
        "inner join payments.refunds as r on c.refund_id = r.id\n        where c.stripe_event_id = v_id",
        "inner join payments.refunds as r on c.refund_id = r.id\n        where false",
        ("test_id_of_any_kind_leads_to",),
    ),
    Mutant(
        "dispute-unfound-by-its-event",
        "the event of a recorded dispute leads nowhere",
        FILE,
        "inner join payments.disputes as d on c.dispute_id = d.id\n        where c.stripe_event_id = v_id",
        "inner join payments.disputes as d on c.dispute_id = d.id\n        where false",
        ("test_id_of_any_kind_leads_to",),
    ),
)
