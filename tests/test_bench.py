"""The bench measures what it says: its callers, its deliveries, and the pages of its results."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench import open_loop, results
from bench.callers import press
from bench.deliveries import Deliveries, payload_of
from bench.open_loop import offer
from bench.stub_data_api import answer_to
from relay.core.checkout import Payment, Rules, judge
from relay.core.event import read_event
from relay.core.outcomes import Outcome, Verdict, read_verdict
from relay.data_api.parameters import parameters
from relay.server.signature import verify
from testkit.stripe_events import WEBHOOK_SECRET

pytestmark = pytest.mark.anyio

RESULTS = Path(results.__file__).with_name("results")
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Answers = Callable[[int], bytes]


@asynccontextmanager
async def server(answers: Answers) -> AsyncIterator[int]:
    """Answers each request with what is made of its number; with nothing it hangs up."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while await reader.read(1024):
            count += 1
            if not (answer := answers(count)):
                break
            # In two pieces, as a network may.
            writer.write(answer[:25])
            await writer.drain()
            writer.write(answer[25:])
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def requests() -> bytes:
    return b"POST / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("answer", [SIZED + b'"applied"', CHUNKED + b'9\r\n"applied"\r\n0\r\n\r\n'])
async def test_right_answers_are_counted_with_their_latency(answer: bytes) -> None:
    async with server(lambda _: answer) as port:
        load = await press(port, requests, callers=3, requests=30)

    assert (len(load.latencies), load.wrong) == (30, [])
    assert 0 < load.percentile(50) <= load.percentile(99)
    assert load.per_second == 30 / load.seconds


async def the_rest() -> None:
    """The server sees that its callers have gone."""
    await asyncio.gather(*(task for task in asyncio.all_tasks() if "serve" in repr(task.get_coro())))


async def test_open_loop_counts_from_the_moment_at_which_a_delivery_was_to_be_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One connection, whose first answer comes when all others are long due: each of them has waited nearly as long."""
    monkeypatch.setattr(open_loop, "CONNECTIONS", 1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        await asyncio.sleep(0.5)
        writer.write(SIZED + b'"applied"')
        while await reader.read(1024):
            writer.write(SIZED + b'"applied"')
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        load = await offer(listening.sockets[0].getsockname()[1], requests, rate=500, seconds=0.02)
        await the_rest()

    assert (len(load.latencies), load.wrong) == (10, [])
    assert all(latency > load.latencies[0] / 2 for latency in load.latencies)


async def test_open_loop_ends_with_what_was_wrong_where_a_server_hangs_up() -> None:
    async with server(lambda number: b"" if number == 5 else SIZED + b'"applied"') as port:
        load = await offer(port, requests, rate=100, seconds=0.1)
        await the_rest()

    assert [why for why in load.wrong if "connection lost" in why] != []


async def test_wrong_answers_and_broken_connections_are_not_counted_as_right() -> None:
    async with server(lambda number: [SIZED + b'"applied"', SIZED + b'"refused"', b""][number % 3]) as port:
        load = await press(port, requests, callers=1, requests=9)

    assert len(load.latencies) == 0
    assert "refused" in load.wrong[0]
    assert "connection lost" in load.wrong[1]


def payment_in(body: bytes) -> Payment:
    decision = judge(read_event(body.decode()), Rules(livemode=False))
    assert isinstance(decision, Payment)
    return decision


def test_each_delivery_is_signed_and_a_payment_of_its_own() -> None:
    deliveries = Deliveries(WEBHOOK_SECRET, host="relay")
    payments = []
    for _ in range(3):
        head, _, body = deliveries.new().partition(b"\r\n\r\n")
        headers = [line.partition(b": ")[2].decode() for line in head.splitlines() if line.startswith(b"Stripe-Sig")]
        verify(body, headers, secrets=(WEBHOOK_SECRET,), now=time.time(), tolerance=300)
        payments.append(payment_in(body))

    for what in ("event_id", "session_id", "payment_intent_id", "order_group_id"):
        assert len({getattr(payment, what) for payment in payments}) == 3


def test_call_that_is_posted_straight_is_the_one_that_the_relay_makes() -> None:
    body = Deliveries(WEBHOOK_SECRET, host="relay").body()

    posted = json.loads(payload_of(body))

    assert posted == parameters(payment_in(body), None, "webhook")


def test_stub_answers_as_the_functions_would() -> None:
    body = Deliveries(WEBHOOK_SECRET, host="relay").body()
    payment, call = payment_in(body), payload_of(body)

    alone = content_of(answer_to(call))
    together = content_of(answer_to(b'{"p_payments": [%s, %s]}' % (call, call)))

    verdict = read_verdict(
        alone,
        event_id=payment.event_id,
        order_group_id=payment.order_group_id,
        unmatched_reason=None,
    )
    assert verdict == Verdict(Outcome.APPLIED)
    assert together == [alone, alone]


def content_of(answer: bytes) -> object:
    """The JSON of an answer whose body is one chunk."""
    return json.loads(answer.partition(b"\r\n\r\n")[2].split(b"\r\n")[1])


@pytest.mark.parametrize("folder", sorted(RESULTS.iterdir()), ids=lambda folder: folder.name)
def test_page_of_a_kept_run_says_what_its_figures_say(folder: Path) -> None:
    run = json.loads((folder / "figures.json").read_text())

    assert (folder / "README.md").read_text() == results.markdown(run)
    assert run["date"] == folder.name
