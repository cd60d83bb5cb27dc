"""Parts of the ids of tests that notice many faults."""

MATRIX = "test_catalogue_holds_exactly_the_matrix"
HEALTHY = "test_healthy_database_has_no_finding"
POLICIES = "test_each_policy_lets_these_read_these_rows"
SOWN = "test_each_sown_fault_is_found"
LINTER = "test_linter_of_supabase_finds_nothing"
SPOILT = "test_spoilt_payment_is_rejected"
FIRST = "test_first_payment_marks_group"
COLLISION = "test_known_event_id_with_another_payload"
FROZEN = "test_settled_group_is_frozen"
RACES = "test_races.py"
STRICTER = ("test_whoever_sees_the_database_of_before",)
