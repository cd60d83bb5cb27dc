"""A pytest plugin of mutation.py: runs the likely killers first, and leaves word of the first failure in a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

PUSH_FAILED = "`supabase db push` failed"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests first whose ids hold one of the hints, in the order of the hints."""
    hints: list[str] = json.loads(os.environ.get("MUTATION_FIRST", "[]"))
    places = {
        item.nodeid: next((place for place, hint in enumerate(hints) if hint in item.nodeid), len(hints))
        for item in items
    }
    items.sort(key=lambda item: places[item.nodeid])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write down the test that failed; where the migrations themselves failed, that, because it kills nothing."""
    answer = Path(os.environ["MUTATION_ANSWER"])
    if report.failed and not answer.exists():
        text = report.longreprtext
        push = text[text.rindex(PUSH_FAILED) :] if PUSH_FAILED in text else ""
        answer.write_text(json.dumps({"test": report.nodeid, "push": push[-800:]}))
