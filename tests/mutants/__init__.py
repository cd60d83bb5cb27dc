"""Small faults, each of which a test must notice: those of the relay, and those of the databases behind a router.

A fault stands once in its file, and `killed_by` names the tests that notice. The migrations
have theirs in sql_tests/mutants.
"""
