"""What the commands' tests share."""

import sys

import pytest


@pytest.fixture(autouse=True)
def same_finders(monkeypatch: pytest.MonkeyPatch) -> None:
    """pygal puts a finder into sys.meta_path that is none for this Python; every later import would warn of it."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
