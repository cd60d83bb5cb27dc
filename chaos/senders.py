"""Stripe's part: sign, send, and send again until the event is taken or finally rejected."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from chaos.plan import Sent
from relay.server import lifecycle, webhook
from testkit.stripe_events import encode, sign

# Stripe gives up on an answer after about ten seconds; the relay's own limits are shorter.
PATIENCE_SECONDS = 15.0
# Stripe waits for minutes to hours; here the pauses are short, and long enough for a part to come back.
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.5
MOST_ATTEMPTS = 200


@dataclass(slots=True, eq=False)
class Attempt:
    """One POST that has no answer yet."""

    port: int
    struck_by: str | None = None


@dataclass(slots=True)
class Tally:
    """What the senders have seen."""

    attempts: int = 0
    retries: int = 0
    finished: int = 0
    no_answer: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(event id, reason) of each 500."""
    last: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Event id -> what its deliveries ended in."""
    applied: Counter[str] = field(default_factory=Counter)
    """Event id -> how many deliveries were told that it was applied."""
    struck: Counter[str] = field(default_factory=Counter)
    """Fault -> deliveries that were in flight when it struck."""
    failed: Counter[str] = field(default_factory=Counter)
    """Fault -> those of them that got no verdict."""
    problems: list[str] = field(default_factory=list)


class Senders:
    """Sends batches to relays of one's choice."""

    def __init__(
        self,
        ports: Sequence[int],
        secrets: Mapping[str, str],
        rng: random.Random,
        http: aiohttp.ClientSession,
    ) -> None:
        """`secrets` are those of the routes, by path."""
        self.tally = Tally()
        self.in_flight: set[Attempt] = set()
        self.busy = asyncio.Event()
        self.on_finished: Callable[[], None] = lambda: None
        self._ports = ports
        self._secrets = secrets
        self._rng = rng
        self._http = http

    async def send_all(self, batches: Sequence[Sequence[Sent]], *, at_once: int) -> None:
        """Every delivery to its end; `at_once` batches are under way at any time."""
        queue = iter(batches)

        async def work() -> None:
            for batch in queue:
                await asyncio.gather(*(self._deliver(sent) for sent in batch))

        await asyncio.gather(*(work() for _ in range(at_once)))

    def strike(self, fault: str, port: int | None = None) -> int:
        """Note that a fault hits what is in flight now (to that relay); returns how many."""
        hit = [attempt for attempt in self.in_flight if port is None or attempt.port == port]
        for attempt in hit:
            attempt.struck_by = attempt.struck_by or fault
        self.tally.struck[fault] += len(hit)
        return len(hit)

    async def _deliver(self, sent: Sent) -> None:
        body = encode(sent.event)
        pause = FIRST_PAUSE_SECONDS
        for number in range(MOST_ATTEMPTS):
            if number:
                self.tally.retries += 1
                await asyncio.sleep(pause * self._rng.uniform(0.5, 1.5))
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            outcome = await self._attempt(sent, body)
            if outcome is not None:
                self.tally.last[sent.id].add(outcome)
                break
        else:
            self.tally.problems.append(f"{sent.id}: no answer that ends its deliveries after {MOST_ATTEMPTS} attempts")
        self.tally.finished += 1
        self.on_finished()

    async def _attempt(self, sent: Sent, body: bytes) -> str | None:
        """The outcome where it ends the delivery, else None."""
        attempt = Attempt(self._rng.choice(self._ports))
        self.in_flight.add(attempt)
        self.busy.set()
        self.tally.attempts += 1
        path = lifecycle.PATH if sent.is_lifecycle else webhook.PATH
        headers = {"Stripe-Signature": sign(body, self._secrets[path])}
        try:
            url = f"http://127.0.0.1:{attempt.port}{path}"
            async with self._http.post(url, data=body, headers=headers) as response:
                status, content = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.tally.no_answer[type(error).__name__] += 1
            self._count_failure(attempt)
            return None
        finally:
            self.in_flight.discard(attempt)
            if not self.in_flight:
                self.busy.clear()
        return self._judge(sent, attempt, status, content)

    def _judge(self, sent: Sent, attempt: Attempt, status: int, content: bytes) -> str | None:
        answer = json.loads(content)
        outcome, reason = answer["outcome"], answer["reason"]
        self.tally.answers[f"{status} {outcome}" + (f" {reason}" if reason else "")] += 1
        if status == 500:
            self.tally.failures[sent.id, str(reason)] += 1
        if outcome == "applied":
            self.tally.applied[sent.id] += 1
        if outcome == "failed":
            self._count_failure(attempt)
            return None
        if answer["event_id"] != sent.id:
            self.tally.problems.append(f"{sent.id}: answered as {answer['event_id']}")
        if not (200 <= status < 300 or (status == 500 and outcome == "rejected")):
            self.tally.problems.append(f"{sent.id}: answered {status} {outcome} {reason}")
        return f"{outcome} {reason}" if outcome == "rejected" else str(outcome)

    def _count_failure(self, attempt: Attempt) -> None:
        if attempt.struck_by:
            self.tally.failed[attempt.struck_by] += 1
