"""The fixture `stack`: one per session and worker, our own or the one that the environment describes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_stack.external import external_stack
from local_stack.stack import Stack
from local_stack.surface import StackSurface


@pytest.fixture(scope="session")
def stack() -> Iterator[StackSurface]:
    """A running project with the migrations applied.

    SUPABASE_DB_URL (with SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY) names a stack that runs already.
    """
    if external := external_stack():
        yield external
        return
    with Stack() as own:
        yield own


@pytest.fixture(scope="session")
def local_stack_only(stack: StackSurface) -> Stack:
    """The same stack for tests that stop, kill or look into its parts; fails on an external one."""
    if not isinstance(stack, Stack):
        pytest.fail("this test stops parts of the stack: run it without SUPABASE_DB_URL")
    return stack
