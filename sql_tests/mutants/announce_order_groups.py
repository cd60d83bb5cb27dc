"""Faults of the migration announce_order_groups, which `relay init --with queues` adds."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "announce_order_groups"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "announce-each-order",
        "the steps of orders are announced as if they were the group's",
        FILE,
        "for each row when (new.order_id is null)\n",
        "for each row\n",
        ("test_each_change_of_a_group_is_one_message",),
    ),
    Mutant(
        "announce-each-item-that-comes-back",
        "goods that come back are announced once for each item",
        FILE,
        "            group by i.order_group_id\n",
        "            group by i.order_group_id, i.id\n",
        ("test_goods_that_come_back_are_one_message",),
    ),
    Mutant(
        "announce-or-fail",
        "a queue that fails undoes the payment",
        FILE,
        "        insert into payments.unannounced_events (message, failed_with)\n"
        "        values (v_message, sqlstate);\n",
        "        raise;\n",
        ("test_payment_goes_through_without_its_queue",),
    ),
    Mutant(
        "announce-or-forget",
        "what the queue did not take is forgotten",
        FILE,
        "        insert into payments.unannounced_events (message, failed_with)\n"
        "        values (v_message, sqlstate);\n",
        "        null;\n",
        ("test_payment_goes_through_without_its_queue",),
    ),
    Mutant(
        "announce-waits-long",
        "a payment waits for whoever locks the queue until its own lock_timeout",
        FILE,
        "set lock_timeout = '20ms'\n",
        "set lock_timeout = '0'\n",
        ("test_payment_does_not_wait_for_whoever_locks_the_queue",),
    ),
    Mutant(
        "read-with-callers-types",
        "a caller's own types run with the owner's rights when a message is read",
        FILE,
        "    perform set_config('search_path', 'pg_catalog, pg_temp', true);\n    return (",
        "    return (",
        ("test_types_of_the_callers_own_do_not_run",),
    ),
    Mutant(
        "announce-kept-twice",
        "two readers at once send what was kept twice, or wait for each other",
        FILE,
        "                for update skip locked\n",
        "",
        ("test_readers_send_what_was_kept_once",),
    ),
    Mutant(
        "queue-open-to-the-projects-clients",
        "clients to whom the project opens pgmq read the messages of order groups",
        FILE,
        "alter table pgmq.q_order_group_events enable row level security;\n",
        "",
        ("test_door_that_the_project_opens_for_other_queues",),
    ),
    Mutant(
        "archive-open-to-the-projects-clients",
        "clients to whom the project opens pgmq read the messages that were set aside",
        FILE,
        "alter table pgmq.a_order_group_events enable row level security;\n",
        "",
        ("test_door_that_the_project_opens_for_other_queues",),
    ),
    Mutant(
        "read-without-bounds",
        "a reader may take any number of messages for any time",
        FILE,
        "p_limit is null or p_limit not between 1 and 100 or p_seconds is null or p_seconds not between 1 and 43200",
        "false",
        ("test_reader_asks_within_bounds",),
    ),
    Mutant(
        "set-aside-deletes",
        "a message that is set aside is gone",
        FILE,
        "return pgmq.archive('order_group_events', p_id);",
        "return pgmq.delete('order_group_events', p_id);",
        ("test_message_that_is_set_aside_waits_in_the_archive",),
    ),
    Mutant(
        "read-by-anybody",
        "everybody may read the queue",
        FILE,
        "revoke execute on function public.read_order_group_events(integer, integer) from public, anon, authenticated;",
        "",
        ("test_nobody_but_the_functions_reaches_the_queue",),
    ),
)
