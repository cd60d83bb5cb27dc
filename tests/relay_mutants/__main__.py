"""Sows each mutant into a copy of the relay and shows which test kills it: `python -m tests.relay_mutants [ID ...]`.

Exit status 1 where one survives, or does not stand in the relay as the list says.
"""

# ruff: noqa: T201

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

from tests.relay_mutants import MUTANTS
from tests.relay_mutants.sowing import killer_of


def main() -> int:
    """Try those that are named, or all, as many at once as there are cores."""
    chosen = [mutant for mutant in MUTANTS if not sys.argv[1:] or mutant.id in sys.argv[1:]]
    survivors = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        trials = {pool.submit(killer_of, mutant): mutant.id for mutant in chosen}
        for trial in as_completed(trials):
            try:
                killer = trial.result()
            except ValueError as error:
                killer = ""
                print(error, flush=True)
            print(f"{trials[trial]}: {killer or 'SURVIVED'}", flush=True)
            survivors += [] if killer else [trials[trial]]
    print(f"{len(chosen)} mutants, {len(chosen) - len(survivors)} killed", *survivors, sep="\n  ")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
