"""Resolves many exceptions with one word, one after the other, while a page shows how far it is."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from relay.commands.endings import no_answer
from relay.commands.exception_rows import resolve
from relay.core.errors import Declined, NoVerdict
from relay.data_api.records import Records

# Declined ones are told one by one, up to so many.
MOST_TOLD: Final = 100


@dataclass(slots=True)
class Bulk:
    """One such run. `declined` holds the database's sentences by the exception's number."""

    ids: Sequence[int]
    resolution: str
    by: str
    note: str
    resolved: int = 0
    declined: dict[int, str] = field(default_factory=dict)
    failure: str = ""
    """Why it ended before its end; empty where it did not."""
    task: asyncio.Task[None] | None = None

    @property
    def done(self) -> int:
        """How many have been asked for."""
        return self.resolved + len(self.declined)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return bool(self.failure) or self.done == len(self.ids)

    def start(self, records: Records) -> None:
        """Begin, in the background."""
        self.task = asyncio.create_task(self._run(records))

    async def wait(self, seconds: float) -> None:
        """Return when it is over, or after so many seconds."""
        if self.task is not None:
            await asyncio.wait([self.task], timeout=seconds)

    async def end(self) -> bool:
        """Try no more; whether some were left."""
        if self.task is None or self.is_over:
            return False
        self.task.cancel()
        await asyncio.wait([self.task])
        return not self.is_over

    async def _run(self, records: Records) -> None:
        """What is declined is kept and told; without an answer the run ends, and what was done stays."""
        for id_ in self.ids:
            try:
                await resolve(records, id_, resolution=self.resolution, by=self.by, note=self.note)
                self.resolved += 1
            except Declined as error:
                self.declined[id_] = str(error)
            except NoVerdict as error:
                self.failure = no_answer(error)
                return
