"""The versioned dump and the versioned invariants are what the migrations make."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from local_stack.binaries import find_bin_dir
from local_stack.platform import REGIMES, Regime
from sql_tests.schema import FILE, INVARIANTS, dump, invariants, normalise
from testkit.database import SUPERUSER, Database

REMEDY = "`make schema` writes it anew: review the difference and commit it with the migration"


@pytest.mark.parametrize("regime", REGIMES)
def test_versioned_schema_is_what_the_migrations_make(template: Callable[[Regime], Database], regime: Regime) -> None:
    made = dump(find_bin_dir(), template(regime).url(SUPERUSER))

    assert made == FILE.read_text(), REMEDY


def test_versioned_invariants_are_the_query_of_the_function(db: Database) -> None:
    assert invariants(db.url(SUPERUSER)) == INVARIANTS.read_text(), REMEDY


def test_normalising_takes_what_differs_and_leaves_the_functions_bodies() -> None:
    body = "AS $$\n-- a comment of ours\nSET x = 1;\n$$;\n"
    text = (
        "\\restrict k3y\n\n-- Dumped from database version 17.10\n\nSET lock_timeout = 0;\n\n\n\n"
        f"CREATE FUNCTION public.f() {body}\n-- Name: TABLE t; Type: ACL\n\nGRANT SELECT ON TABLE public.t TO r;\n\n"
        "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT ALL ON TABLES  TO anon;\n\\unrestrict k3y\n"
    )

    head, _, rest = normalise(text).partition("\n\n")

    assert head.startswith("-- ")
    assert rest == f"CREATE FUNCTION public.f() {body}\nGRANT SELECT ON TABLE public.t TO r;\n"
