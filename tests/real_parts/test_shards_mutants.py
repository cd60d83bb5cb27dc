"""A sample of the shards' mutants is killed; `make shards-mutants` tries them all."""

from __future__ import annotations

import pytest

from sql_tests.mutants.mutant import Mutant
from tests.mutants import shards
from tests.mutants.sowing import killer_of


# Each runs a cluster of its own.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", [each for each in shards.MUTANTS if each.id in shards.SAMPLE], ids=shards.SAMPLE)
def test_a_mutant_of_the_sample_is_killed(mutant: Mutant) -> None:
    assert killer_of(mutant).startswith(mutant.killed_by)
