"""The list of mutants holds, and the runner tells killed from survived and from broken; a sample of it is run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sql_tests.mutants import MUTANTS, Mutant, migration
from sql_tests.mutants.mutant import MIGRATIONS
from sql_tests.mutation import Result, table, try_mutant
from sql_tests.suite import Watch, judge
from testkit.database import SUPERUSER, Database

BY_ID = {mutant.id: mutant for mutant in MUTANTS}

# One of each kind: a currency, a grant of older projects, a policy, a lock, a rule.
SAMPLE = (
    "isk-has-fractions",
    "products-unrevoked",
    "groups-of-guests",
    "payment-takes-no-lock",
    "every-resolution-is-a-refund",
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_mutant_stands_exactly_once_in_its_migration_and_changes_it(mutant: Mutant) -> None:
    text = migration(mutant.file).read_text()

    assert mutant.spoil(text) != text


def test_mutants_have_names_and_sentences_of_their_own() -> None:
    for key in ("id", "breaks"):
        assert [name for name, count in Counter(getattr(m, key) for m in MUTANTS).items() if count > 1] == []
    assert len(MUTANTS) >= 60


def test_every_migration_has_mutants() -> None:
    assert {migration(mutant.file) for mutant in MUTANTS} == MIGRATIONS


def test_hints_name_what_exists() -> None:
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    known = " ".join(path.name + path.read_text() for path in files)

    hints = {hint.partition("[")[0] for mutant in MUTANTS for hint in mutant.killed_by}

    assert [hint for hint in sorted(hints) if hint not in known] == []


@pytest.mark.release
@pytest.mark.parametrize("name", SAMPLE)
def test_sampled_mutant_is_killed_by_a_test_that_its_hints_name(server: Database, name: str) -> None:
    result = try_mutant(BY_ID[name], server.url(SUPERUSER))

    assert result.fate == "killed", result
    assert any(hint in result.by for hint in BY_ID[name].killed_by)


def test_mutant_that_does_not_even_apply_is_broken_not_killed(server: Database) -> None:
    nonsense = Mutant(
        "nonsense",
        "no SQL",
        "create_reconcile_order_group_payment",
        "v_event.processed_at := clock_timestamp();",
        "get nothing;",
    )

    result = try_mutant(nonsense, server.url(SUPERUSER))

    assert result.fate == "broken"
    assert "syntax error" in str(result)
    assert result.is_fault


def test_survivor_is_a_fault_unless_its_survival_is_argued() -> None:
    plain, argued = (next(m for m in MUTANTS if bool(m.argument) is wanted) for wanted in (False, True))

    results = [Result(mutant, "survived", "", 1.0) for mutant in (plain, argued)]

    assert [result.is_fault for result in results] == [True, False]
    assert f"| `{plain.id}` | {plain.breaks} | SURVIVED |" in table(results)
    assert f"argued: {argued.argument}" in table(results)


def test_run_that_ended_for_another_reason_is_no_answer() -> None:
    assert judge(pytest.ExitCode.OK, Watch(())).trouble == ""
    assert judge(pytest.ExitCode.TESTS_FAILED, Watch((), failed="a test")).failed == "a test"
    assert judge(pytest.ExitCode.INTERNAL_ERROR, Watch(())).trouble
    assert judge(pytest.ExitCode.TESTS_FAILED, Watch(())).trouble
    assert judge(pytest.ExitCode.NO_TESTS_COLLECTED, Watch(())).trouble
