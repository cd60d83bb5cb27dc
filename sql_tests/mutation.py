"""Sows each mutant into a copy of the migrations and shows which test kills it: `python -m sql_tests.mutation`.

    python -m sql_tests.mutation                 all of them, but those whose survival is argued
    python -m sql_tests.mutation ID ...          these alone
    python -m sql_tests.mutation --argued        those too: each takes the whole suite
    python -m sql_tests.mutation --report FILE   the table as Markdown too

Exit status 1 where a mutant survives without an argument, or does not stand in the migrations as the list says.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal

from local_stack.postgres import Postgres
from local_stack.supabase_cli import REPOSITORY
from sql_tests.mutants import MUTANTS, Mutant, migration
from sql_tests.suite import PRELOADED, Answer, run

# Each run is a fork of one process that has imported what all of them need.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(PRELOADED)
PATIENCE = 900.0  # seconds for the whole suite on a busy machine; a mutant that takes longer counts as killed by that

Fate = Literal["killed", "survived", "broken"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant, by which test, after how many seconds."""

    mutant: Mutant
    fate: Fate
    by: str
    seconds: float

    @property
    def is_fault(self) -> bool:
        return self.fate == "broken" or (self.fate == "survived" and not self.mutant.argument)

    def __str__(self) -> str:
        if self.fate == "killed":
            return self.by
        if self.fate == "survived":
            return f"argued: {self.mutant.argument}" if self.mutant.argument else "SURVIVED"
        return f"BROKEN: {self.by}"


def try_mutant(mutant: Mutant, server_url: str) -> Result:
    """Push the spoilt migrations on that server, run the suite until a test fails; the likely killers come first."""
    started = monotonic()
    with spoilt_project(mutant) as project:
        settings = {"SQL_TESTS_PROJECT_DIR": str(project), "SQL_TESTS_DATABASE_URL": server_url}
        output = project / "output"
        ours, theirs = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=run, args=(mutant.killed_by, settings, str(output), theirs))
        process.start()
        theirs.close()
        try:
            answer: Answer | None = ours.recv() if ours.poll(PATIENCE) else None
        except EOFError:
            answer = Answer("", "the run died")
        process.kill()
        process.join()
        said = output.read_text()[-800:] if output.exists() else ""
    seconds = monotonic() - started
    if answer is None:
        return Result(mutant, "killed", f"no end within {PATIENCE:.0f} s", seconds)
    if answer.trouble:
        return Result(mutant, "broken", f"{answer.trouble} {said}", seconds)
    return Result(mutant, "killed" if answer.failed else "survived", answer.failed, seconds)


@contextmanager
def spoilt_project(mutant: Mutant) -> Iterator[Path]:
    """A directory with a copy of `supabase/` in which the mutant stands."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        project = Path(directory)
        shutil.copytree(REPOSITORY / "supabase", project / "supabase", ignore=shutil.ignore_patterns(".temp"))
        path = project / migration(mutant.file).relative_to(REPOSITORY)
        path.write_text(mutant.spoil(path.read_text()))
        yield project


def try_all(mutants: Iterable[Mutant], *, workers: int) -> Iterator[Result]:
    """The fate of each, as it is known; one server serves all."""
    with Postgres(max_connections=400) as postgres, ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(try_mutant, mutant, postgres.dsn()) for mutant in mutants]
        for future in as_completed(futures):
            yield future.result()


def table(results: Iterable[Result]) -> str:
    """The results as a table of Markdown, in the order of the list."""
    place = {mutant.id: number for number, mutant in enumerate(MUTANTS)}
    lines = ["| mutant | what is broken | killed by |", "| --- | --- | --- |"]
    for result in sorted(results, key=lambda result: place[result.mutant.id]):
        cells = (f"`{result.mutant.id}`", result.mutant.breaks, str(result))
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Try the mutants that are asked for, two at a time unless told otherwise."""
    parser = argparse.ArgumentParser(description="Show which test kills each mutant of the migrations.")
    parser.add_argument("ids", nargs="*", metavar="ID", help="mutants to try; all where none is named")
    parser.add_argument("--argued", action="store_true", help="try those whose survival is argued, too")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many at once; default: the cores")
    parser.add_argument("--report", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    if unknown := set(options.ids) - {mutant.id for mutant in MUTANTS}:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not options.ids or mutant.id in options.ids]

    untried = [mutant for mutant in chosen if mutant.argument and not (options.ids or options.argued)]
    tried = [mutant for mutant in chosen if mutant not in untried]

    started = monotonic()
    results = []
    for result in try_all(tried, workers=options.workers):
        results.append(result)
        print(f"[{len(results)}/{len(tried)}] {result.mutant.id}: {result} ({result.seconds:.0f} s)", flush=True)
    results += [Result(mutant, "survived", "", 0.0) for mutant in untried]
    faults = [result for result in results if result.is_fault]
    argued = sum(result.fate == "survived" and not result.is_fault for result in results)
    summary = (
        f"{len(results)} mutants: {len(results) - argued - len(faults)} killed, {argued} argued, {len(faults)} at fault"
    )
    text = table(results)
    print(f"\n{text}\n\n{summary}, in {monotonic() - started:.0f} s")
    if options.report:
        options.report.write_text(f"# Mutants\n\nWritten by `make mutants`. {summary}.\n\n{text}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
