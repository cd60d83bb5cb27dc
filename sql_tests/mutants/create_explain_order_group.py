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
    Mutant(
        "erasure-of-another-told",
        "a story tells the erasures of other groups",
        FILE,
        "from payments.metadata_erasures as e\n        where e.order_group_id = p_order_group_id",
        "from payments.metadata_erasures as e",
        ("test_story_tells_by_whom",),
    ),
)
