"""The list of the relay's mutants fits the relay, and a sample of it is killed; `make relay-mutants` tries them all."""

from __future__ import annotations

import ast

import pytest

from local_stack.supabase_cli import REPOSITORY
from sql_tests.mutants.mutant import Mutant
from tests.relay_mutants import MUTANTS, SAMPLE
from tests.relay_mutants.sowing import killer_of


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.id for mutant in MUTANTS])
def test_each_mutant_has_its_place_and_its_killers(mutant: Mutant) -> None:
    text = (REPOSITORY / "relay" / mutant.file).read_text()

    spoilt = mutant.spoil(text)
    assert spoilt != text
    ast.parse(spoilt)
    assert all((REPOSITORY / name).is_file() for name in mutant.killed_by)


def test_each_mutant_is_listed_once() -> None:
    assert len({mutant.id for mutant in MUTANTS}) == len({(each.file, each.search, each.replace) for each in MUTANTS})
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)


# Each runs suites of its own.
@pytest.mark.release
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.id in SAMPLE], ids=SAMPLE)
def test_a_mutant_of_the_sample_is_killed(mutant: Mutant) -> None:
    assert killer_of(mutant)
