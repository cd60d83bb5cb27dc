"""Faults of the migration create_cancel_order_group."""

from __future__ import annotations

from sql_tests.mutants.killers import RACES, STRICTER
from sql_tests.mutants.mutant import Mutant

FILE = "create_cancel_order_group"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "type-of-the-caller",
        "a function that runs as owner looks a type up among the caller's",
        FILE,
        "    v_reason pg_catalog.text;\n",
        "    v_reason text;\n",
        ("test_caller_cannot_put_types",),
    ),
    Mutant(
        "paid-is-cancellable",
        "a paid group may be cancelled",
        FILE,
        "when v_status <> 'pending' then",
        "when v_status = 'refunded' then",
        ("test_paid_group_is_not_cancelled",),
    ),
    Mutant(
        "cancelled-twice",
        "cancelling again is an error",
        FILE,
        "        when v_status = 'cancelled' then\n            v_outcome := 'already_cancelled';\n",
        "",
        ("test_cancelling_a_pending_group",),
    ),
    Mutant(
        "unknown-group-cancelled",
        "a group that does not exist is cancelled with success",
        FILE,
        "        when v_status is null then\n            v_reason := 'order_group_not_found';\n",
        "",
        ("test_paid_group_is_not_cancelled",),
    ),
    Mutant(
        "cancelled-group-with-pending-orders",
        "the orders of a cancelled group stay pending",
        FILE,
        "    update public.orders as o\n    set status = 'cancelled'\n"
        "    where o.order_group_id = any(p_order_group_ids);\n",
        "",
        ("test_cancelling_a_pending_group",),
    ),
    Mutant(
        "cancelling-takes-orders-as-they-come",
        "whoever cancels locks the orders in the order in which they lie in the table",
        FILE,
        "    order by o.id\n    for update;\n",
        "    for update;\n",
        ("test_orders_are_locked_by_id", RACES),
    ),
    Mutant(
        "cancelling-unlocked",
        "whoever cancels judges a group that a payment may be changing",
        FILE,
        "    where g.id = p_order_group_id\n    for update;\n",
        "    where g.id = p_order_group_id;\n",
        (RACES,),
    ),
    Mutant(
        "ended-session-cancels-anothers-debit",
        "a session that has ended cancels a group that awaits the funds of another one",
        FILE,
        "        when v_awaited_session_id <> v_session_id then\n"
        "            v_reason := 'order_group_awaits_another_session';\n",
        "",
        ("test_ended_session_cancels_only",),
    ),
    Mutant(
        "ended-session-needs-a-notice",
        "a session that has ended cancels only a group whose funds are under way",
        FILE,
        "        when v_awaited_session_id <> v_session_id then\n",
        "        when v_awaited_session_id is distinct from v_session_id then\n",
        ("test_ended_session_cancels_only",),
    ),
    Mutant(
        "cancelling-waits-for-ever",
        "cancelling waits for a lock as long as the session lets it",
        FILE,
        "set lock_timeout = '3s'\n",
        "",
        ("test_each_function_is_declared_as_written",),
    ),
    Mutant(
        "cancel-order-group-serialized-away",
        "cancel_order_group answers 40001 under a stricter isolation, which PostgREST runs again for ever",
        FILE,
        "        raise exception 'the order group was changed by a rival'\n"
        "            using errcode = 'lock_not_available'",
        "        raise exception 'the order group was changed by a rival'\n"
        "            using errcode = 'serialization_failure'",
        STRICTER,
    ),
)
