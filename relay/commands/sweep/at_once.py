"""Works on several things at the same time, and shows how many are done."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from relay.commands.progress import Progress

# How many calls of the database or of Stripe run at the same time: few, so that live deliveries, for which the relay
# allows 64 calls, are not delayed.
CONCURRENCY: Final = 8
# Payments are sent by few of these calls, each of which takes those that wait by then, up to 32.
PAYING_CALLS: Final = 2
PAYMENTS: Final = 64
_Thing = TypeVar("_Thing")


class AtOnce:
    """The limit that all parts of one sweep share."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.slots = asyncio.Semaphore(CONCURRENCY)

    async def each(
        self,
        what: str,
        things: list[_Thing],
        work: Callable[[_Thing], Awaitable[None]],
        *,
        slots: asyncio.Semaphore | None = None,
    ) -> None:
        """Do the work for each of the things; `what` names them in the progress. Raises what the work raises. The work
        limits its calls itself where it has `slots` of its own.
        """
        done = 0
        slots = slots or self.slots

        async def one(thing: _Thing) -> None:
            nonlocal done
            async with slots:
                await work(thing)
            self._progress(what, done := done + 1, len(things))

        await asyncio.gather(*map(one, things))
