"""All interleavings of a few sessions' steps, one at a time, in an order that is given and not left to luck.

A session has three steps: open the transaction (which takes its snapshot where the isolation keeps one), call, end. A
step that has to wait stays under way while the others go on; the steps behind it follow as soon as it is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from psycopg import IsolationLevel

from sql_tests.actions import LOCK_TIMEOUT, SERIALIZATION_FAILURE, Action, Pay
from sql_tests.model import Model
from sql_tests.races import LOST, End, RaceDatabase, Rival, is_error

STEPS = 3
Schedule = tuple[int, ...]  # whose step comes next: (0, 0, 1, 0, 1, 1)


def schedules(sessions: int) -> Iterator[Schedule]:
    """Every order of the sessions' steps: 20 for two sessions, 1680 for three."""

    def extend(left: tuple[int, ...]) -> Iterator[Schedule]:
        if not any(left):
            yield ()
        for session, steps in enumerate(left):
            if steps:
                for rest in extend((*left[:session], steps - 1, *left[session + 1 :])):
                    yield (session, *rest)

    return extend((STEPS,) * sessions)


@dataclass(slots=True)
class Session:
    """One rival on its way through its three steps."""

    name: str
    action: Action
    end: End
    rival: Rival
    due: int = 0  # steps whose turn has come
    begun: int = 0
    answer: str | None = None
    ended: str | None = None
    when: dict[str, int] = field(default_factory=dict)  # step -> its place in the story

    @property
    def is_lost(self) -> bool:
        """Whether it got no verdict: what it did is undone, and it may be asked again."""
        return self.answer in LOST or self.ended in LOST

    def advance(self, story: list[str]) -> bool:
        """Begins the next step if its turn has come and nothing is under way; tells whether anything moved."""
        if self.begun == 2 and self.answer is None:
            if self.rival.until_waiting_or_done():
                return False
            self.answer = str(self.rival.answer())
            self._tell(story, "answered", self.answer)
            return True
        if self.begun == self.due:
            return False
        self.begun += 1
        if self.begun == 1:
            self.rival.begin()
            self._tell(story, "opened", "opens")
        elif self.begun == 2:
            self._tell(story, "acted", "calls")
            self.rival.act(self.action)
        else:
            self.ended = self.rival.end("rollback" if is_error(self.answer or "") else self.end)
            self._tell(story, "ended", self.ended)
        return True

    def _tell(self, story: list[str], step: str, words: str) -> None:
        self.when[step] = len(story)
        story.append(f"{self.name} {words}")


def run_interleaving(
    database: RaceDatabase,
    before: Model,
    actions: Sequence[Action],
    ends: Sequence[End],
    isolation: IsolationLevel,
    order: Schedule,
) -> str:
    """Runs one interleaving and judges it; returns the story, which names the interleaving that really happened."""
    sessions = [
        Session("ABC"[place], action, end, database.rival(isolation, action.actor))
        for place, (action, end) in enumerate(zip(actions, ends, strict=True))
    ]
    told: list[str] = []
    for turn in order:
        sessions[turn].due += 1
        while any(session.advance(told) for session in sessions):
            pass
    story = "; ".join(told)
    assert all(session.ended for session in sessions), f"nobody is left to let the others go: {story}"

    for session in sessions:
        assert not session.is_lost or may_lose(session, sessions, isolation), story
    candidates = [foretell(before, serial) for serial in serial_orders(sessions, isolation)]
    observed = before.observe(database.observer)
    assert observed in [model.world() for model in candidates if model is not None], story
    database.assert_sound()
    database.dismiss()
    return story


def may_lose(session: Session, sessions: Sequence[Session], isolation: IsolationLevel) -> bool:
    """No verdict is allowed only where a rival was in the way.

    Under read committed that is an edit that gives up its wait (55P03). Under the stricter levels a rival must have
    committed; a payment is then told 55P03 by the function, and 40001 at most by the server when it commits.
    """
    if isinstance(session.action, Pay) and session.answer == SERIALIZATION_FAILURE:
        return False
    if isolation is IsolationLevel.READ_COMMITTED:
        return session.action.actor == "postgres" and session.answer == LOCK_TIMEOUT
    return any(other.ended == "commit" for other in sessions if other is not session)


def serial_orders(sessions: Sequence[Session], isolation: IsolationLevel) -> Iterator[tuple[Session, ...]]:
    """The orders one after another that respect who had ended before whom: before its snapshot, or before its call."""
    looks = "acted" if isolation is IsolationLevel.READ_COMMITTED else "opened"
    for serial in permutations(sessions):
        if not any(
            later.when["ended"] < earlier.when[looks]
            for place, earlier in enumerate(serial)
            for later in serial[place + 1 :]
        ):
            yield serial


def foretell(before: Model, serial: Sequence[Session]) -> Model | None:
    """What the model says of this order; None where a session was told something else."""
    model = before.copy()
    for session in serial:
        if session.is_lost:
            continue
        foreseen = model if session.ended == "commit" else model.copy()
        if session.action.predict(foreseen) != session.answer:
            return None
    return model
