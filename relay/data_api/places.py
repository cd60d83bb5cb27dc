"""Says which delivery may call now, and which payments go together in one call. It knows no function and no HTTP.

Whoever finds a place free takes it at once and goes alone. While the few places are taken, deliveries wait in the order
in which they came, and each place that becomes free takes what has collected by then.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from relay.data_api.parameters import Parameters

CallTogether = Callable[[list[Parameters]], Coroutine[None, None, list[object]]]
"""Makes one call for several payments: an answer for each, in their order. It does not raise, except when cancelled."""

# What the database function takes in one call.
MOST_TOGETHER: Final = 32
# Characters of metadata in one call; one payment has no more (relay.core.checkout). A character is six bytes of JSON at
# most, so that the body stays below 512 KiB; proxies often take no more than 1 MiB.
MOST_METADATA: Final = 64 * 1024
# A call that takes longer waits for a lock, for up to 3 s, or hangs. It gives its place to others, so that a few of
# them do not hold everybody up.
LONG_SECONDS: Final = 0.25


class Places:
    """A few places for calls that are quick, so that those who wait share their calls; `most` counts the slow ones too.

    `waiting` are the deliveries that wait.
    """

    def __init__(self, call_together: CallTogether, *, few: int, most: int) -> None:
        self._call_together = call_together
        self._few = few
        self._most = most
        self._quick = 0
        self._out = 0
        self._calls: set[asyncio.Task[list[object]]] = set()
        self.waiting: deque[_Waiting] = deque()
        self.shares_from = 0.0
        """Until then, in monotonic seconds, those who wait go alone."""

    @property
    def shares(self) -> bool:
        """Whether those who wait may go together."""
        return time.monotonic() >= self.shares_from

    def take(self) -> "Place | None":
        """A place; None where there is none, and the delivery has to wait."""
        return Place(self, is_quick=True) if self._quick < self._few and self._out < self._most else None

    def take_beside(self) -> "Place | None":
        """A place beside the few, for a call that probably waits for a lock; None where there is none."""
        return Place(self, is_quick=False) if self._out < self._most else None

    async def wait(self, payment: Parameters | None) -> "Place | asyncio.Future[object]":
        """Wait for a place to go alone, or until a call has gone out that has the payment among others: its answer to
        be. None is a delivery that always goes alone.
        """
        waiting = _Waiting(payment, asyncio.get_running_loop().create_future())
        self.waiting.append(waiting)
        try:
            return await waiting.turn
        except asyncio.CancelledError:
            if waiting in self.waiting:
                self.waiting.remove(waiting)
            elif not waiting.turn.cancelled():  # its turn came in the same moment
                turn = waiting.turn.result()
                turn.leave() if isinstance(turn, Place) else turn.cancel()
            raise

    def count(self, *, out: int, quick: int) -> None:
        """Count calls that begin or end, and let those who wait have what is free."""
        self._out += out
        self._quick += quick
        while self.waiting and self._quick < self._few and self._out < self._most:
            together = self._next()
            if len(together) == 1:
                together[0].turn.set_result(Place(self, is_quick=True))
            elif together:
                self._share(together)

    def _next(self) -> "list[_Waiting]":
        """Who goes next: one, or several whose payments go together; nobody where those who waited have left."""
        together: list[_Waiting] = []
        metadata = 0
        while self.waiting and len(together) < MOST_TOGETHER:
            waiting = self.waiting[0]
            if waiting.turn.cancelled():  # and about to leave by itself
                self.waiting.popleft()
                continue
            metadata += _metadata_of(waiting.payment)
            if together and (not self.shares or waiting.payment is None or metadata > MOST_METADATA):
                break
            together.append(self.waiting.popleft())
            if waiting.payment is None:
                break
        return together

    def _share(self, together: "list[_Waiting]") -> None:
        """Call once for all of them. The call is nobody's own: it ends early only when all of them have left."""
        place = Place(self, is_quick=True)
        answers = [asyncio.get_running_loop().create_future() for _ in together]
        call = asyncio.create_task(self._call_together([one.payment or {} for one in together]))
        self._calls.add(call)

        def ended(_: "asyncio.Task[list[object]]") -> None:
            self._calls.discard(call)
            place.leave()
            if not call.cancelled():
                for answer, one in zip(answers, call.result(), strict=True):
                    if not answer.done():
                        answer.set_result(one)

        def left(_: "asyncio.Future[object]") -> None:
            if all(answer.cancelled() for answer in answers):
                call.cancel()

        call.add_done_callback(ended)
        for waiting, answer in zip(together, answers, strict=True):
            answer.add_done_callback(left)
            waiting.turn.set_result(answer)


class Place:
    """Leave to make one call, as a context."""

    def __init__(self, places: Places, *, is_quick: bool) -> None:
        self._places = places
        self._timer: asyncio.TimerHandle | None = None
        if is_quick:
            self._timer = asyncio.get_running_loop().call_later(LONG_SECONDS, self._be_slow)
        places.count(out=1, quick=int(is_quick))

    def _be_slow(self) -> None:
        self._timer = None
        self._places.count(out=0, quick=-1)

    def leave(self) -> None:
        """Give the place back."""
        if self._timer is None:
            self._places.count(out=-1, quick=0)
        else:
            self._timer.cancel()
            self._places.count(out=-1, quick=-1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


@dataclass(slots=True, eq=False)
class _Waiting:
    payment: Parameters | None
    turn: "asyncio.Future[Place | asyncio.Future[object]]"


def _metadata_of(payment: Parameters | None) -> int:
    """How many characters the session's metadata have."""
    metadata: Mapping[str, str] = payment["p_session_metadata"] if payment else {}
    return sum(len(key) + len(value) for key, value in metadata.items())
