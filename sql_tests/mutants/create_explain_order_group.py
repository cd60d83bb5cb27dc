"""Faults of the migration create_explain_order_group."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "create_explain_order_group"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "story-out-of-order",
        "the timeline is not in order",
        FILE,
        "order by entry.at, entry.place, entry.id",
        "order by entry.place, entry.at, entry.id",
        ("test_explanation_tells_the_whole_story",),
    ),
    Mutant(
        "story-with-floats",
        "an order's total is a JSON number",
        FILE,
        "'total_amount', o.total_amount::pg_catalog.text",
        "'total_amount', o.total_amount",
        ("test_amounts_in_answers_are_text",),
    ),
    Mutant(
        "resolved-counts-as-open",
        "resolved exceptions are counted as open",
        FILE,
        "where x.order_group_id = p_order_group_id and x.status = 'open';",
        "where x.order_group_id = p_order_group_id;",
        ("test_explanation_tells_the_whole_story",),
    ),
    Mutant(
        "rule-is-a-word",
        "an exception is told by its word, without the rule",
        FILE,
        "'rule', r.sentence",
        "'rule', r.reason",
        ("test_explanation_tells_the_whole_story",),
    ),
    Mutant(
        "every-buyer-has-claimed",
        "a group that was made with its buyer tells of a claim",
        FILE,
        "where v_group.buyer_since <> v_group.created_at",
        "where v_group.buyer_since is not null",
        ("test_story_tells_when_a_group_was_claimed",),
    ),
    *(
        Mutant(id_, breaks, FILE, search, replace, (killer,))
        for id_, breaks, search, replace, killer in (
            (
                "story-without-why",
                "a step does not tell why it was taken",
                "'note', n.note,",
                "'note', null,",
                "test_story_of_a_group_that_went_through_everything",
            ),
            (
                "story-of-older-corrections",
                "a story tells the corrections of before the group was made",
                "                    and a.created_at >= v_group.created_at\n",
                "",
                "test_story_tells_the_last_corrections",
            ),
            (
                "story-of-all-corrections",
                "a story tells each correction of a product for ever",
                "                limit v_most_adjustments\n",
                "",
                "test_story_tells_the_last_corrections",
            ),
            (
                "story-without-refunds-of-rivals",
                "the refund of a second payment is not told",
                "inner join payments.refunds as f on x.payment_intent_id = f.payment_intent_id\n"
                "                where x.order_group_id = p_order_group_id\n",
                "inner join payments.refunds as f on x.payment_intent_id = f.payment_intent_id\n"
                "                where false\n",
                "test_refund_of_another_payment_is_told",
            ),
            (
                "story-refund-with-floats",
                "what went back of a group is a JSON number",
                "'refunded_amount', v_group.refunded_amount::pg_catalog.text",
                "'refunded_amount', v_group.refunded_amount",
                "test_story_of_a_group_that_went_through_everything",
            ),
            (
                "story-oversells-nothing",
                "an item does not tell what is missing of its product",
                "'oversold', coalesce(s.oversold, 0)",
                "'oversold', 0",
                "test_orders_and_items_of_a_story",
            ),
        )
    ),
    Mutant(
        "erasure-of-another-told",
        "a story tells the erasures of other groups",
        FILE,
        "from payments.metadata_erasures as e\n        where e.order_group_id = p_order_group_id",
        "from payments.metadata_erasures as e",
        ("test_story_tells_by_whom",),
    ),
)
