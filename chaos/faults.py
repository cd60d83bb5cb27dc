"""What goes wrong, and how it comes back."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import psycopg

from chaos.ground import Ground
from chaos.proxy import Proxy
from chaos.senders import Senders
from local_stack.postgres import Postgres
from testkit.relay_process import RelayProcess
from testkit.shards import ROUTER

DELAY_SECONDS = (0.2, 0.8)
DELAYED_FOR_SECONDS = 1.0
ANSWERS_CUT = (5, 40)


class Faults:
    """Strikes the parts of a stack and its relays. What was stopped is started again beside the next faults."""

    def __init__(
        self, ground: Ground, relays: Sequence[RelayProcess], proxy: Proxy, senders: Senders, rng: random.Random
    ) -> None:
        self.struck: Counter[str] = Counter()
        self.idle = 0
        """Faults that hit nothing in flight."""
        self.kills = 0
        self._stack = ground.stack
        self._shards = ground.shards
        self._relays = relays
        self._proxy = proxy
        self._senders = senders
        self._rng = rng
        self._relay_locks = [asyncio.Lock() for _ in relays]
        self._postgres_lock = asyncio.Lock()
        self._postgrest_lock = asyncio.Lock()
        self._shard_locks = [asyncio.Lock() for _ in self._shards]
        self._recoveries: set[asyncio.Task[None]] = set()
        self._kinds: dict[str, tuple[Callable[[str], Awaitable[None]], int]] = {
            "relay killed": (self._kill_relay, 4),
            "relay told to stop": (self._stop_relay, 1),
            "backends terminated": (self._terminate_backends, 4),
            "Postgres stopped at once": (self._stop_postgres, 1),
            "PostgREST killed": (self._kill_postgrest, 1),
            "connections cut": (self._cut_connections, 3),
            "answers cut": (self._cut_answers, 3),
            "connections delayed": (self._delay_connections, 2),
            "connections dead": (self._kill_connections, 1),
        }
        if self._shards:
            self._kinds |= {
                "shard stopped at once": (self._stop_shard, 2),
                "shard's backends terminated": (self._terminate_backends_of_shard, 4),
            }

    def schedule(self, count: int) -> list[str]:
        """So many kinds of faults, each in its share, shuffled."""
        shares = [kind for kind, (_, weight) in self._kinds.items() for _ in range(weight)]
        kinds = shares * (count // len(shares)) + self._rng.sample(shares, count % len(shares))
        self._rng.shuffle(kinds)
        return kinds

    async def strike(self, kind: str) -> None:
        """Inflict one fault; what it stops comes back by itself."""
        await self._senders.busy.wait()  # a fault is worth nothing while nobody is there to be hit by it
        await self._kinds[kind][0](kind)
        self.struck[kind] += 1

    async def recovered(self) -> None:
        """Until everything runs again. Raises StartError where something does not."""
        while self._recoveries:
            await asyncio.gather(*self._recoveries)

    def _note(self, kind: str, port: int | None = None) -> None:
        if not self._senders.strike(kind, port):
            self.idle += 1

    def _recover(self, lock: asyncio.Lock, start: Callable[[], None]) -> None:
        """Start beside everything else, and give the lock back then."""

        async def recover() -> None:
            try:
                await asyncio.to_thread(start)
            finally:
                lock.release()

        task = asyncio.create_task(recover())
        self._recoveries.add(task)
        task.add_done_callback(self._recoveries.discard)

    async def _some_relay(self) -> int:
        """One that runs, its lock taken; with others left, so that the senders are not just stopped."""
        running = [number for number, lock in enumerate(self._relay_locks) if not lock.locked()]
        number = self._rng.choice(running or range(len(self._relays)))
        await self._relay_locks[number].acquire()
        return number

    async def _kill_relay(self, kind: str) -> None:
        number = await self._some_relay()
        relay = self._relays[number]
        self._note(kind, relay.port)
        self.kills += 1
        await asyncio.to_thread(relay.kill)
        self._recover(self._relay_locks[number], relay.start)

    async def _stop_relay(self, kind: str) -> None:
        number = await self._some_relay()
        relay = self._relays[number]
        self._note(kind, relay.port)

        def restart() -> None:
            relay.stop()
            relay.start()

        self._recover(self._relay_locks[number], restart)

    async def _terminate_backends(self, kind: str) -> None:
        """Those of the Data API that are at work; all of them where none is."""
        async with self._postgres_lock:
            self._note(kind)
            await asyncio.to_thread(self._terminate, self._stack.postgres, "authenticator")

    async def _terminate_backends_of_shard(self, kind: str) -> None:
        """Those of the router."""
        number = self._rng.randrange(len(self._shards))
        async with self._shard_locks[number]:
            self._note(kind)
            await asyncio.to_thread(self._terminate, self._shards[number], ROUTER)

    def _terminate(self, postgres: Postgres, user: str) -> None:
        try:
            with psycopg.connect(postgres.dsn(), autocommit=True) as superuser:
                superuser.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where usename = %(user)s"
                    " and (state <> 'idle' or not exists (select from pg_stat_activity"
                    " where usename = %(user)s and state <> 'idle'))",
                    {"user": user},
                )
        except psycopg.OperationalError as error:
            raise RuntimeError("the chaos run has lost its own session") from error

    async def _stop_postgres(self, kind: str) -> None:
        """`immediate`: no checkpoint, no good-bye; what was acknowledged must come back from the log."""
        await self._stop_at_once(kind, self._stack.postgres, self._postgres_lock)

    async def _stop_shard(self, kind: str) -> None:
        number = self._rng.randrange(len(self._shards))
        await self._stop_at_once(kind, self._shards[number], self._shard_locks[number])

    async def _stop_at_once(self, kind: str, postgres: Postgres, lock: asyncio.Lock) -> None:
        await lock.acquire()
        self._note(kind)
        pid = postgres.server_pid
        if pid is None:
            raise RuntimeError("Postgres is gone though nobody stopped it")
        os.kill(pid, signal.SIGQUIT)

        def start() -> None:
            postgres.halt()  # waits until it is gone
            postgres.start()

        self._recover(lock, start)

    async def _kill_postgrest(self, kind: str) -> None:
        await self._postgrest_lock.acquire()
        self._note(kind)
        await asyncio.to_thread(self._stack.postgrest.kill)
        self._recover(self._postgrest_lock, self._stack.postgrest.start)

    async def _cut_connections(self, kind: str) -> None:
        self._note(kind)
        self._proxy.cut_all()

    async def _cut_answers(self, kind: str) -> None:
        self._note(kind)
        self._proxy.answers_to_cut += self._rng.randint(*ANSWERS_CUT)

    async def _delay_connections(self, kind: str) -> None:
        self._note(kind)
        self._proxy.delay_seconds = self._rng.uniform(*DELAY_SECONDS)
        await asyncio.sleep(DELAYED_FOR_SECONDS)
        self._proxy.delay_seconds = 0.0

    async def _kill_connections(self, kind: str) -> None:
        self._note(kind)
        self._proxy.kill_all()
