"""Races whose every step is chosen: rivals are held at named points and let go when the server says that they wait.

A rival is a session with a thread of its own. It is held by its own open transaction (it has acted, but not ended), by
another session's lock, or by `hold_at`: a test-only trigger that wants an advisory lock which the database holds.
Nothing sleeps: `until_waiting` asks pg_blocking_pids() and waits for the rival's answer in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any, Literal, LiteralString
from uuid import UUID

import psycopg
from psycopg import IsolationLevel

from sql_tests.actions import (
    LOCK_TIMEOUT,
    SERIALIZATION_FAILURE,
    Action,
    Actor,
    Expire,
    Note,
    Pay,
    PayTogether,
    attempt,
)
from sql_tests.model import Model
from testkit.database import Connection, Database, Row, scalar
from testkit.invariants import broken_invariants
from testkit.shop import Shop, open_shop

End = Literal["commit", "rollback"]
ENDS: tuple[End, End] = ("commit", "rollback")
ISOLATIONS = (IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE)
PATIENCE = 30.0  # seconds until a rival that neither answers nor waits is a fault of the test
LOOK_AGAIN = 0.005  # seconds between two looks at the server

# Where a rival can be held inside a call, by name: the trigger that holds it.
HOLDING_POINTS: dict[str, LiteralString] = {
    "recording the event": "before insert on payments.stripe_events for each row",
    "keeping an exception": "before insert on payments.exceptions for each row",
    "marking the group paid": "before update on public.order_groups for each row",
    "committing an item": "after insert on public.inventory_ledger for each row",
}
HOLD_KEY = 4242
REPLAN_AFTER = 50  # races; the tables have grown since, and the invariants are joins over all of them
LOST = {LOCK_TIMEOUT, SERIALIZATION_FAILURE}

__all__ = ["ENDS", "ISOLATIONS", "End", "RaceDatabase", "Rival"]


class Rival:
    """One session, with a thread that runs its calls."""

    isolation: IsolationLevel

    def __init__(self, connection: Connection, observer: Connection, actor: Actor) -> None:
        connection.autocommit = False
        self.connection = connection
        self.pid = connection.info.backend_pid
        self.actor = actor
        self._observer = observer
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._call: Future[Any] | None = None

    def isolate(self, isolation: IsolationLevel) -> None:
        self.isolation = isolation
        self.connection.isolation_level = isolation

    def start(self, act: Callable[[Connection], Any]) -> None:
        """Begins a call in the rival's transaction and does not wait for its answer."""
        assert self._call is None or self._call.done()
        self._call = self._thread.submit(act, self.connection)

    def act(self, action: Action) -> None:
        self.start(lambda connection: attempt(connection, action))

    def answer(self) -> Any:
        """The answer of the call that was begun last; waits for it."""
        assert self._call is not None
        return self._call.result(timeout=PATIENCE)

    def blockers(self) -> list[int]:
        """The sessions that this one waits for, as the server says."""
        pids: list[int] = scalar(self._observer, "select pg_blocking_pids(%s)", self.pid)
        return pids

    def is_busy(self) -> bool:
        return self._call is not None and not self._call.done()

    def until_waiting_or_done(self) -> bool:
        """True once the server says that the call waits for somebody; False once it has answered."""
        assert self._call is not None
        deadline = monotonic() + PATIENCE
        while not self._call.done():
            if self.blockers():
                return True
            assert monotonic() < deadline, "the rival neither waits nor answers"
            wait([self._call], timeout=LOOK_AGAIN)
        return False

    def until_waiting_for(self, other: Rival | int) -> None:
        pid = other if isinstance(other, int) else other.pid
        assert self.until_waiting_or_done(), f"it answered at once: {self.answer()}"
        assert pid in self.blockers(), f"it waits for {self.blockers()}, not for {pid}"

    def begin(self) -> None:
        """Opens the transaction and, where the isolation keeps one, takes its snapshot."""
        self.connection.execute("select 1")

    def end(self, end: End) -> str:
        """Ends the transaction; the SQLSTATE where the server refuses the commit (40001 under serializable)."""
        try:
            self.connection.commit() if end == "commit" else self.connection.rollback()
        except psycopg.Error as error:
            self.connection.rollback()
            return error.sqlstate or "connection lost"
        return end

    def leave(self) -> None:
        if self.is_busy():
            self._observer.execute("select pg_terminate_backend(%s)", [self.pid])
        self._thread.shutdown()
        self.connection.close()


class RaceDatabase:
    """A database with a shop, an observer, and rivals that come and go. Its tests share it: keep to your own groups."""

    def __init__(self, db: Database, observer: Connection, shop: Shop) -> None:
        self.db = db
        self.observer = observer
        self.shop = shop
        self._rivals: list[Rival] = []
        self._idle: dict[Actor, list[Rival]] = {}
        self._broken: list[Row] = []
        self._raced = 0

    @classmethod
    @contextmanager
    def open(cls, db: Database) -> Iterator[RaceDatabase]:
        with db.connect() as observer, db.act_as("service_role") as service:
            _install_holding_points(observer)
            database = cls(db, observer, open_shop(observer, service))
            try:
                yield database
            finally:
                database.clear()
                for resting in database._idle.values():
                    database._rivals += resting
                database.clear()

    def rival(self, isolation: IsolationLevel, actor: Actor = "service_role", *, hold_at: str | None = None) -> Rival:
        """A session with an empty transaction; `actor` is who acts, `hold_at` where it is held once it comes there."""
        if hold_at is None and self._idle.get(actor):
            rival = self._idle[actor].pop()
        else:
            connection = self.db.act_as("service_role") if actor == "service_role" else self.db.connect(actor)
            if hold_at is not None:
                assert hold_at in HOLDING_POINTS
                connection.execute("select set_config('race.hold_at', %s, false)", [hold_at])
            rival = Rival(connection, self.observer, actor)
        rival.isolate(isolation)
        self._rivals.append(rival)
        return rival

    def dismiss(self) -> None:
        """Lets the rivals rest until they are wanted again: transactions have ended, settings are untouched."""
        while self._rivals:
            rival = self._rivals.pop()
            self._idle.setdefault(rival.actor, []).append(rival)

    def clear(self) -> None:
        """Sends the rivals away, whatever state they are in."""
        while self._rivals:
            self._rivals.pop().leave()

    @contextmanager
    def holding(self) -> Iterator[int]:
        """Holds every rival that comes to its holding point; yields the pid that they wait for."""
        with self.db.connect() as holder:
            holder.execute("select pg_advisory_lock(%s)", [HOLD_KEY])
            yield holder.info.backend_pid

    @contextmanager
    def locked_row(self, query: LiteralString, *values: Any) -> Iterator[int]:
        """A third session that holds a row lock; yields its pid."""
        with self.db.connect() as holder, holder.transaction():
            assert holder.execute(query, values).fetchone() is not None
            yield holder.info.backend_pid

    def race(
        self, first: Action, second: Action, isolation: IsolationLevel, end: End, *, given: Sequence[Action] = ()
    ) -> tuple[str, str]:
        """The first has acted and its transaction is open; the second acts and waits; then the first ends.

        Returns both answers, the second's as it stands after a retry where a stricter isolation made it lose (55P03;
        40001 where the server itself says so: to an edit, or when a serializable transaction commits). Asserts that the
        database is then as if both had come one after another, or the second alone, and that no invariant is broken.
        """
        model = self.model(first, second, *given)
        with ExitStack() as sessions:
            for action in given:
                self.alone(action, model)
            one = self.rival(isolation, first.actor)
            other = self.rival(isolation, second.actor)
            sessions.callback(self.clear)

            one.act(first)
            first_answer = one.answer()
            other.act(second)
            if not other.until_waiting_or_done():
                assert other.answer() == LOCK_TIMEOUT, f"it did not wait for the first: {other.answer()}"
            assert one.end(end) == end
            stricter = isolation is not IsolationLevel.READ_COMMITTED
            may_lose = end == "commit" and (stricter or second.actor == "postgres")
            second_answer = self.settle(other, second, may_lose=may_lose)

            foreseen = model if end == "commit" else model.copy()
            assert first_answer == first.predict(foreseen)
            model.tried |= foreseen.tried
            assert second_answer == second.predict(model)
            self.assert_as_if(model)
            self.dismiss()
        return first_answer, second_answer

    def pass_by(
        self, first: Action, second: Action, isolation: IsolationLevel, end: End, *, given: Sequence[Action] = ()
    ) -> tuple[str, str, str]:
        """The first has acted and its transaction is open; the second acts and must not wait; then both end.

        Returns three answers, the last one the second's when it acts again. Asserts that the database is then as if the
        first (where it is committed) and that last call had come one after another, and that no invariant is broken.
        """
        model = self.model(first, second, *given)
        with ExitStack() as sessions:
            for action in given:
                self.alone(action, model)
            one = self.rival(isolation, first.actor)
            other = self.rival(isolation, second.actor)
            sessions.callback(self.clear)

            one.act(first)
            first_answer = one.answer()
            other.act(second)
            assert not other.until_waiting_or_done(), "it waits for the first"
            passing_answer = other.answer()
            assert one.end(end) == end
            other.end("commit")

            assert first_answer == first.predict(model if end == "commit" else model.copy())
            last_answer = self.retry(second, isolation)
            assert last_answer == second.predict(model)
            self.assert_as_if(model)
            self.dismiss()
        return first_answer, passing_answer, last_answer

    def settle(self, rival: Rival, action: Action, *, may_lose: bool) -> str:
        """Ends the transaction after its answer; one that lost without a verdict is asked again."""
        answer: str = rival.answer()
        ended = rival.end("rollback" if is_error(answer) else "commit")
        if LOST.isdisjoint({answer, ended}):
            return answer
        assert may_lose, f"it lost ({answer}, {ended}), though nobody was in its way"
        assert answer != SERIALIZATION_FAILURE or not isinstance(action, Pay | PayTogether | Note | Expire), (
            "the functions never raise 40001"
        )
        return self.retry(action, rival.isolation)

    def retry(self, action: Action, isolation: IsolationLevel) -> str:
        """The same call again, as Stripe or the relay makes it."""
        again = self.rival(isolation, action.actor)
        again.act(action)
        answer = str(again.answer())
        assert again.end("rollback" if is_error(answer) else "commit") in ENDS
        return answer

    def alone(self, action: Action, model: Model) -> None:
        """An action with nobody beside it; the model must have foreseen its answer."""
        assert self.retry(action, IsolationLevel.READ_COMMITTED) == action.predict(model)

    def model(self, *actions: Action) -> Model:
        """The model of the groups that the actions are about, as they are now."""
        model = Model()
        self._raced += 1
        if self._raced % REPLAN_AFTER == 0:
            self.observer.execute("analyze")
        self._broken = broken_invariants(self.observer)  # a fault is reported once, by the race that brings it about
        for action in actions:
            for group_id in _group_ids(action):
                if group_id not in model.groups:
                    model.adopt(self.observer, group_id)
        return model

    def assert_as_if(self, model: Model) -> None:
        """The database shows what the model predicts, completely, and no invariant is broken."""
        self.assert_sound()
        assert model.observe(self.observer) == model.world()

    def assert_sound(self) -> None:
        """Nothing is broken that was not broken before."""
        assert [row for row in broken_invariants(self.observer) if row not in self._broken] == []


def _group_ids(action: Action) -> list[UUID]:
    """The groups that an action names; those on orders and items race with one that names their group."""
    if isinstance(action, Pay | PayTogether):
        payments = [action.payment] if isinstance(action, Pay) else action.payments
        return [payment.order_group_id for payment in payments if payment.order_group_id]
    group_id: UUID | None = getattr(action, "group_id", None)
    return [group_id] if group_id else []


def is_error(answer: str) -> bool:
    """Whether an answer is a SQLSTATE: the transaction can only be rolled back."""
    return len(answer) == 5 and answer.isalnum() and not answer.islower()


def _install_holding_points(superuser: Connection) -> None:
    """Triggers for the test alone; a session is held where its setting `race.hold_at` names the trigger."""
    superuser.execute(
        f"""
        create function public.tg_race__hold() returns trigger
        language plpgsql security definer set search_path = '' set lock_timeout = 0 as $$
        begin
            if current_setting('race.hold_at', true) = tg_argv[0] then
                perform pg_catalog.pg_advisory_xact_lock_shared({HOLD_KEY});
            end if;
            return new;
        end $$
        """.encode()
    )
    for number, (point, timing) in enumerate(HOLDING_POINTS.items()):
        superuser.execute(
            f"create trigger zz_race_{number} {timing} execute function public.tg_race__hold('{point}')".encode()
        )
