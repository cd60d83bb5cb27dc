"""The lists of mutants fit what they spoil, and a sample of the relay's is killed (`make relay-mutants` tries all)."""

from __future__ import annotations

import ast

import pytest

from local_stack.supabase_cli import REPOSITORY
from sql_tests.mutants.mutant import Mutant
from tests.mutants import relay, shards
from tests.mutants.sowing import killer_of

MUTANTS = relay.MUTANTS + shards.MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.id for mutant in MUTANTS])
def test_each_mutant_has_its_place_and_its_killers(mutant: Mutant) -> None:
    text = (REPOSITORY / mutant.file).read_text()

    spoilt = mutant.spoil(text)
    assert spoilt != text
    if mutant.file.endswith(".py"):
        ast.parse(spoilt)
    assert mutant.killed_by
    for killer in mutant.killed_by:
        file, _, test = killer.partition("::")
        assert f"def {test}(" in (REPOSITORY / file).read_text() if test else (REPOSITORY / file).is_file()


def test_each_mutant_is_listed_once() -> None:
    assert len({mutant.id for mutant in MUTANTS}) == len({(each.file, each.search, each.replace) for each in MUTANTS})
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)


def test_each_part_of_the_shards_has_mutants() -> None:
    files = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "deploy/shards").glob("*.sql")}
    assert {mutant.file for mutant in shards.MUTANTS} == files


# Each runs suites of its own.
@pytest.mark.release
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.id in relay.SAMPLE], ids=relay.SAMPLE)
def test_a_mutant_of_the_sample_is_killed(mutant: Mutant) -> None:
    assert killer_of(mutant)
