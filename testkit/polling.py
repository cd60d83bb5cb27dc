"""Waiting for what nobody announces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PAUSE_SECONDS = 0.02
# Far above what any of it takes on a busy machine.
PATIENCE_SECONDS = 60.0


async def until(holds: Callable[[], bool]) -> None:
    """Look again and again until it holds. Raises TimeoutError after PATIENCE_SECONDS."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(PAUSE_SECONDS)
