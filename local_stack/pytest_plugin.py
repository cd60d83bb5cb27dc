"""The fixture `stack`: one per session and worker, our own or the one that the environment describes.

And stable names for tests whose parameters are random, and an end for what hangs.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
from collections.abc import Generator, Iterator

import pytest

from local_stack.external import external_stack
from local_stack.stack import Stack
from local_stack.surface import StackSurface

# Keys, signatures and tokens: generated at run time, so they differ between the workers of one run.
RANDOM = re.compile(r"[0-9a-fA-F]{32}|eyJ")


# Where a hanging teardown is told, past the capture of what tests write.
STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Hear Ctrl-C and hang-ups again where the run was started in the background with both ignored.

    Whatever the tests start would ignore them too, and some tests send them.
    """
    config.stash[STDERR] = os.dup(2)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Keep keys and signatures out of tests' names; pytest-xdist needs the same names in every worker."""
    return argname if isinstance(val, str) and RANDOM.search(val) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Limit the teardown again. Once a test has failed, pytest lets its own limit go, and pytest-timeout's is used up;
    a fixture may then wait for ever for what the test has left behind.
    """
    seconds = float(item.config.getini("faulthandler_timeout"))
    faulthandler.dump_traceback_later(seconds, exit=True, file=item.config.stash[STDERR])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


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
def local_stack_only(stack: StackSurface) -> Iterator[Stack]:
    """A stack of our own, for tests that stop, kill or look into its parts; `stack` itself where that is one."""
    if isinstance(stack, Stack):
        yield stack
        return
    with Stack() as own:
        yield own
