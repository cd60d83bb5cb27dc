"""The suite as mutation.py runs it in a process of its own: until the first failure, likely killers' files first."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Thread

import pytest

HERE = Path(__file__).parent
# A difference of text kills nothing: what shall kill is behaviour, or the matrix of privileges.
LEFT_OUT = ("test_schema.py", "test_versions.py", "test_mutants.py")
PUSH_FAILED = "`supabase db push` failed"

# Third parties' modules that every run imports: a process forked with them inside starts in a third of the time.
PRELOADED = ["aiohttp", "hypothesis", "psycopg", "pytest", "pytest_postgresql.janitor", "testing.postgresql"]

OPTIONS = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
# Said of what is preloaded; none of it has assertions of ours.
QUIET = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]


@dataclass(slots=True)
class Watch:
    """A pytest plugin: puts the hinted tests first, in the order of the hints, and notes the first failure."""

    hints: tuple[str, ...]
    failed: str = ""
    report: str = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        places = {
            item: next((place for place, hint in enumerate(self.hints) if hint in item.nodeid), len(self.hints))
            for item in items
        }
        items.sort(key=lambda item: places[item])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed, self.report = report.nodeid, report.longreprtext


@dataclass(frozen=True, slots=True)
class Answer:
    """The first test that failed, or none; `trouble` says why the answer means nothing."""

    failed: str
    trouble: str


def run(hints: tuple[str, ...], settings: dict[str, str], output: str, answer: Connection) -> None:
    """Run the suite in this process, its output into a file, and send the answer; for a process that then ends."""
    Thread(target=end_with_the_runner, daemon=True).start()
    for name in [name for name in os.environ if name.startswith("PYTEST")]:
        del os.environ[name]
    os.environ.update(settings)
    handle = os.open(output, os.O_CREAT | os.O_WRONLY)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    watch = Watch(hints)
    files = [path for path in sorted(HERE.glob("test_*.py")) if path.name not in LEFT_OUT]
    likely = [path for path in files if any(names(hint, path) for hint in hints)]
    code: int | pytest.ExitCode = pytest.ExitCode.OK
    for part in (likely, [path for path in files if path not in likely]):  # few need the second
        if part and code == pytest.ExitCode.OK:
            code = pytest.main([*OPTIONS, *QUIET, *map(str, part)], plugins=[watch])
    answer.send(judge(code, watch))


def names(hint: str, path: Path) -> bool:
    """Whether the hint, a part of a test's id, may be about a test of this file."""
    test = hint.rpartition("::")[2].partition("[")[0]
    return test in path.name or test in path.read_text()


def end_with_the_runner() -> None:
    """A run that nobody waits for any more would go on for minutes."""
    runner = multiprocessing.parent_process()
    if runner is not None:
        wait([runner.sentinel])
        os._exit(1)


def judge(code: int | pytest.ExitCode, watch: Watch) -> Answer:
    """What the run says about the mutant; migrations that do not even apply say nothing."""
    if PUSH_FAILED in watch.report:
        return Answer("", watch.report[watch.report.rindex(PUSH_FAILED) :])
    if code != (pytest.ExitCode.TESTS_FAILED if watch.failed else pytest.ExitCode.OK):
        return Answer("", f"pytest ended with {code!r}")
    return Answer(watch.failed, "")
