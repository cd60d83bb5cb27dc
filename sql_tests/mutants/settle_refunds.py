"""Faults of the migration settle_refunds."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "settle_refunds"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "payment-and-refund-pass-each-other",
        "a payment and its refund do not wait for each other",
        FILE,
        "    perform pg_advisory_xact_lock(hashtextextended(p_payment_intent_id, 1));\n",
        "    null;\n",
        (
            "test_payment_waits_for_its_refund",
            "test_refund_waits_for_its_payment",
        ),
    ),
    Mutant(
        "failed-refunds-take-room",
        "a refund that failed before the payment came leaves less room",
        FILE,
        "elsif v_refund.status not in ('failed', 'canceled') then",
        "elsif v_refund.status <> 'failed' then",
        ("test_every_order_of_these_steps",),
    ),
    Mutant(
        "last-refund-fits-first",
        "of refunds that came before their payment the last ones fit",
        FILE,
        "order by r.created_at, r.id\n    loop",
        "order by r.created_at desc, r.id\n    loop",
        ("test_refund_and_dispute_that_disagree",),
    ),
    Mutant(
        "strange-refunds-fit",
        "a refund in another currency fits its payment",
        FILE,
        "if v_refund.currency <> p_currency then",
        "if v_refund.currency = 'XXX' then",
        ("test_refund_and_dispute_that_disagree",),
    ),
    Mutant(
        "pending-refunds-are-back",
        "a payment counts as sent back while its refund is under way",
        FILE,
        "            and r.status = 'succeeded'\n            and not exists (",
        "            and not exists (",
        ("test_every_order_of_these_steps",),
    ),
    Mutant(
        "nothing-back-of-nothing",
        "a free payment counts as sent back",
        FILE,
        "return p_event.amount_minor > 0 and p_event.amount_minor = (",
        "return p_event.amount_minor = (",
        argument="a payment of nothing has no refund, whose amount is positive: the sum is null",
    ),
    Mutant(
        "closed-by-part",
        "part of a payment that went back closes its exception",
        FILE,
        "        and x.details -> 'received' ->> 'amount_minor' = v_back_minor::pg_catalog.text\n"
        "        and v_back_minor > 0;",
        "        and v_back_minor > 0;",
        ("test_refund_of_the_second_payment",),
    ),
    Mutant(
        "not-opened-again",
        "a refund that fails leaves the exception closed",
        FILE,
        "        and x.details -> 'received' ->> 'amount_minor' <> v_back_minor::pg_catalog.text;",
        "        and false;",
        ("test_refund_of_the_second_payment",),
    ),
    Mutant(
        "persons-word-opened-again",
        "a refund that fails takes an operator's word back",
        FILE,
        "        and x.resolution = 'refunded'\n        and x.resolved_by = 'stripe'\n        and x.details",
        "        and x.resolution in ('refunded', 'dismissed')\n        and x.details",
        ("test_persons_word_on_a_payment",),
    ),
    Mutant(
        "foreign-case-closed",
        "a refund closes the exception of another account's money",
        FILE,
        "            and x.reason not in ('foreign_account', 'event_collision')\n            and num_nonnulls",
        "            and num_nonnulls",
        ("test_other_accounts_exception",),
    ),
    Mutant(
        "orders-not-taken-along",
        "the orders of a refunded group stay as they are",
        FILE,
        "            where o.order_group_id = v_group_id and o.status <> 'refunded';",
        "            where o.order_group_id = v_group_id and o.status = 'pending';",
        (
            "test_order_that_was_given_up_before",
            "test_every_order_of_these_steps",
        ),
    ),
    Mutant(
        "given-up-orders-come-back",
        "a refund that fails tries to bring back what the shop gave up",
        FILE,
        "where o.id = c.order_id and o.status = 'refunded' and c.changed_by = 'record_refund';",
        "where o.id = c.order_id and o.status = 'refunded';",
        ("test_order_that_was_given_up_before",),
    ),
    Mutant(
        "set-aside-money-is-back",
        "what was set aside counts as gone back",
        FILE,
        "        and r.status = 'succeeded'\n        and r.set_aside_reason is null;",
        "        and r.status = 'succeeded';",
        ("test_refund_and_dispute_that_disagree",),
    ),
    Mutant(
        "collision-closed",
        "a collision is closed when the refund goes on",
        FILE,
        "        and x.reason not in ('refund_collision', 'dispute_collision', 'payment_disputed');",
        "        and x.reason <> 'payment_disputed';",
        ("test_known_id_of_something_else",),
    ),
    Mutant(
        "set-aside-over-a-persons-word",
        "a person's word on a refund is overwritten",
        FILE,
        "elsif v_known.status = 'resolved' and v_known.resolution <> 'reconciled' and "
        "v_known.resolved_by <> 'stripe' then",
        "elsif false then",
        (
            "test_persons_word_on_a_refund",
            "test_persons_word_on_a_dispute",
        ),
    ),
    Mutant(
        "one-event-for-two-cases",
        "two refunds of one event cannot both be kept",
        FILE,
        "when p_stripe_event_id is null or exists (",
        "when p_stripe_event_id is null or not exists (",
        (
            "test_event_that_is_another",
            "test_refund_that_does_not_fit",
        ),
    ),
)
