"""What the database promises, proved against a real PostgreSQL with the surface of a hosted project."""

import pytest

# A broken invariant is shown, not only an AssertionError.
pytest.register_assert_rewrite("sql_tests.races", "sql_tests.interleavings")
