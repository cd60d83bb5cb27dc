"""Sows each mutant into a copy and shows which test kills it: `python -m tests.mutants relay|shards [ID ...]`.

Exit status 1 where one survives, or does not stand in its file as the list says. The shards' need LOCAL_STACK_PG_BIN
(`make shards-mutants`).
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from time import monotonic

from tests.mutants import relay, shards
from tests.mutants.sowing import killer_of

LISTS = {"relay": relay.MUTANTS, "shards": shards.MUTANTS}


def main() -> int:
    """Try those that are named, or all, as many at once as there are cores."""
    parser = argparse.ArgumentParser(description="Show which test kills each mutant.")
    parser.add_argument("list", choices=LISTS)
    parser.add_argument("ids", nargs="*", metavar="ID", help="mutants to try; all where none is named")
    options = parser.parse_args()
    listed = LISTS[options.list]
    if unknown := set(options.ids) - {mutant.id for mutant in listed}:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in listed if not options.ids or mutant.id in options.ids]

    started = monotonic()
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
    summary = f"{len(chosen)} mutants, {len(chosen) - len(survivors)} killed, in {monotonic() - started:.0f} s"
    print(summary, *survivors, sep="\n  ")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
