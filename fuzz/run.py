"""Fires cases at a relay and judges what comes back."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fuzz.case import Case, on_lifecycle
from fuzz.hostile import Hostile
from fuzz.judge import problem_of, problem_of_call
from fuzz.payloads import Payloads, lifecycle, payment, untouched
from relay.config import VARIABLES
from testkit.data_api_server import DataApi
from testkit.relay_log import faults_in
from testkit.relay_process import RelayProcess, relay_serve
from testkit.relay_under_test import environ
from testkit.wire import Answer, connected

CONNECTIONS = 16
PIPELINE = 24
WARM_SHARE = 4
# The code before an event is decided is the same for both routes.
LIFECYCLE_SHARE = 5
# A case is shown whole enough to be understood, and can be had whole with --only.
SHOWN_BYTES = 300
SHOWN_PROBLEMS = 20
# How long a sender who has sent something unfinished waits for an answer before hanging up.
UNFINISHED_SECONDS = 0.05


@dataclass(slots=True)
class Report:
    """What a run has seen."""

    seed: int
    sent: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    shared: int = 0
    """How many of them took several payments."""
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    grown_bytes: int = 0
    """How much the relay's memory has grown, at most, after the first part of a phase."""

    def as_dict(self) -> dict[str, object]:
        """For programs."""
        return {
            "seed": self.seed,
            "sent": dict(sorted(self.sent.items())),
            "answers": dict(sorted(self.answers.items())),
            "data_api_calls": self.calls,
            "shared_calls": self.shared,
            "seconds": round(self.seconds, 1),
            "memory_grown_bytes": self.grown_bytes,
            "problems": self.problems[:SHOWN_PROBLEMS],
        }


class Phase:
    """Sends numbered cases over several connections, and judges what comes back."""

    def __init__(self, report: Report, relay: RelayProcess, data_api: DataApi) -> None:
        self._report = report
        self._relay = relay
        self._data_api = data_api

    async def fire(self, kind: str, numbers: range, make: Callable[[random.Random], Case]) -> None:
        """Send the cases of these numbers. Each has a generator of its own, so that one can be repeated alone."""
        cases = ((number, make(random_of(self._report.seed, kind, number))) for number in numbers)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONNECTIONS, len(numbers))):
                group.create_task(self._send_all(kind, cases))

    async def _send_all(self, kind: str, cases: Iterator[tuple[int, Case]]) -> None:
        waiting: list[tuple[int, Case]] = []
        for number, case in cases:
            self._report.sent[case.kind] += 1
            if case.alone:
                await self._send_alone(kind, number, case)
            else:
                waiting.append((number, case))
            if len(waiting) == PIPELINE:
                await self._send_pipelined(kind, waiting)
                waiting = []
            if len(self._report.problems) > SHOWN_PROBLEMS or not self._relay.running:
                return
        await self._send_pipelined(kind, waiting)

    async def _send_pipelined(self, kind: str, cases: Sequence[tuple[int, Case]]) -> None:
        """All at once on one connection; the answers come in their order. What has been cut off is sent again."""
        remaining = list(cases)
        while remaining:
            async with connected(self._relay.port) as wire:
                for _, case in remaining:
                    wire.send(case.content)
                await wire.flush()
                answered = 0
                for number, case in remaining:
                    try:
                        answer = await wire.answer(bodiless=case.bodiless)
                    except TimeoutError:
                        self._complain(kind, number, case, "no answer in time")
                        answered += 1
                        break
                    if answer is None:
                        if not answered:
                            self._complain(kind, number, case, "no answer")
                            answered += 1
                        break
                    self._judge(kind, number, case, answer)
                    answered += 1
            remaining = remaining[answered:]
            self._look_at_calls()

    async def _send_alone(self, kind: str, number: int, case: Case) -> None:
        async with connected(self._relay.port) as wire:
            wire.send(case.content)
            await wire.flush()
            try:
                if case.whole:
                    answer = await wire.answer(bodiless=case.bodiless)
                    if answer is None:
                        self._complain(kind, number, case, "no answer")
                else:
                    waiting = asyncio.ensure_future(wire.answer())
                    await asyncio.wait([waiting], timeout=UNFINISHED_SECONDS)
                    wire.hang_up()
                    answer = await waiting
                while answer is not None:
                    self._judge(kind, number, case, answer)
                    if case.whole:
                        break
                    answer = await wire.answer()
            except TimeoutError:
                self._complain(kind, number, case, "the connection stays open")
        self._look_at_calls()

    def _judge(self, kind: str, number: int, case: Case, answer: Answer) -> None:
        try:
            body = json.loads(answer.body)
            ended = f"{answer.status} {body['outcome']} {body['reason']}"
        except (ValueError, TypeError, KeyError):
            ended = str(answer.status)
        self._report.answers[ended] += 1
        if problem := problem_of(case, answer):
            self._complain(kind, number, case, f"{problem}: {answer.body[:SHOWN_BYTES]!r}")

    def _look_at_calls(self) -> None:
        """Judge what has reached the Data API since, and forget it."""
        for call in self._data_api.calls:
            self._report.calls += 1
            self._report.shared += len(call.alone) > 1
            for each in call.alone:
                if problem := problem_of_call(each.path, each.parameters):
                    self._report.problems.append(
                        f"the Data API was called with an odd {problem}: {each.parameters!r}"[:2000]
                    )
        self._data_api.calls.clear()

    def _complain(self, kind: str, number: int, case: Case, problem: str) -> None:
        shown = repr(case.content[:SHOWN_BYTES])
        self._report.problems.append(
            f"--seed {self._report.seed} --only {kind}:{number} ({case.kind}): {problem}\n  {shown}"
        )


def random_of(*parts: object) -> random.Random:
    """A generator that these parts determine."""
    return random.Random("/".join(map(str, parts)))


async def run(*, seed: int, hostile: int, payloads: int, only: tuple[str, int] | None = None) -> Report:
    """A relay process between us and a Data API that counts. Hostile requests to either route first, and not one
    call may come of them; then signed oddities. `only` repeats one case."""
    report = Report(seed)
    started = time.monotonic()
    secret, lifecycle_secret = (f"whsec_{random_of(seed, what).getrandbits(128):032x}" for what in ("secret", "other"))
    tolerance = int(VARIABLES["STRIPE_WEBHOOK_TOLERANCE"])
    true_body = untouched(random_of(seed, "body"), payment)
    true_refund = untouched(random_of(seed, "body"), lifecycle)
    makers: dict[str, tuple[int, Callable[[random.Random], Case]]] = {
        "hostile": (hostile, lambda rng: Hostile(secret, int(time.time()), tolerance, true_body).case(rng)),
        "hostile-lifecycle": (
            hostile // LIFECYCLE_SHARE,
            lambda rng: on_lifecycle(Hostile(lifecycle_secret, int(time.time()), tolerance, true_refund).case(rng)),
        ),
        "signed": (payloads, lambda rng: Payloads(secret, int(time.time()), payment).case(rng)),
        "signed-lifecycle": (
            payloads,
            lambda rng: on_lifecycle(Payloads(lifecycle_secret, int(time.time()), lifecycle).case(rng)),
        ),
    }
    async with (
        DataApi(is_watched=True).listening() as data_api,
        relay_serve(
            environ(data_api.url, STRIPE_WEBHOOK_SECRET=secret, STRIPE_LIFECYCLE_WEBHOOK_SECRET=lifecycle_secret)
        ) as relay,
    ):
        phase = Phase(report, relay, data_api)
        for kind, (count, make) in makers.items():
            if only is not None:
                if only[0] == kind:
                    await phase.fire(kind, range(only[1], only[1] + 1), make)
                continue
            # The first part fills caches and pools; from then on memory must stay flat.
            await phase.fire(kind, range(count // WARM_SHARE), make)
            warm = relay.resident_bytes if relay.running else 0
            await phase.fire(kind, range(count // WARM_SHARE, count), make)
            if relay.running:
                report.grown_bytes = max(report.grown_bytes, relay.resident_bytes - warm)
            if kind.startswith("hostile") and report.calls:
                report.problems.append(f"{report.calls} calls reached the Data API though no delivery counted")
        if not relay.running:
            report.problems.append("the relay has crashed")
        await asyncio.to_thread(relay.stop)
        report.problems += faults_in(relay.log)
    report.seconds = time.monotonic() - started
    return report
