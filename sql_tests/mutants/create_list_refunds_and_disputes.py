"""Faults of the migration create_list_refunds_and_disputes."""

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

FILE = "create_list_refunds_and_disputes"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "all-refunds-of-all-years",
        "refunds outside of the window are listed",
        FILE,
        "    where r.created_at between p_since and p_until or r.",
        "    where r.created_at <= p_until or r.",
        ("test_what_was_created_in_the_window_is_listed",),
    ),
    Mutant(
        "all-disputes-of-all-years",
        "disputes outside of the window are listed",
        FILE,
        "    where d.created_at between p_since and p_until or d.",
        "    where d.created_at >= p_since or d.",
        ("test_what_was_created_in_the_window_is_listed",),
    ),
    Mutant(
        "refunds-of-years-long-past",
        "a refund that says an old time is not listed when it is recorded",
        FILE,
        " or r.status_changed_at between p_since and p_until\n",
        "\n",
        ("test_what_was_recorded_in_the_window_is_listed",),
    ),
    Mutant(
        "disputes-of-years-long-past",
        "a dispute that says an old time is not listed when it is recorded",
        FILE,
        " or d.status_changed_at between p_since and p_until;\n",
        ";\n",
        ("test_what_was_recorded_in_the_window_is_listed",),
    ),
    Mutant(
        "refunds-for-signed-in-users",
        "any signed-in user may list refunds",
        FILE,
        "revoke execute on function public.list_refunds_and_disputes(timestamptz, timestamptz)"
        " from public, anon, authenticated;\n",
        "grant execute on function public.list_refunds_and_disputes(timestamptz, timestamptz) to authenticated;\n",
        ("test_privileges",),
    ),
)
