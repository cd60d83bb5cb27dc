"""Nobody gets in without a signature, nobody holds the relay up, and nothing makes it stumble."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core.outcomes import Outcome, Reason
from relay.server import connections, deliveries
from relay.server.app import DELIVERIES
from relay.server.webhook import PATH
from testkit.data_api_server import DataApi, Wait
from testkit.relay_under_test import KEYS, Relay, environ, serving
from testkit.stripe_events import completed, delivery, session_of, sign

HEAD = f"POST {PATH} HTTP/1.1\r\nHost: relay\r\n"


def request(body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST as it travels."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{HEAD}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Wire:
    """A raw connection to the relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, text: str | bytes) -> None:
        self.writer.write(text.encode() if isinstance(text, str) else text)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The next answer's status and JSON."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length: "))
        body = await self.reader.readexactly(int(length.removeprefix("content-length: ")))
        return int(head.split(" ")[1]), json.loads(body)


@asynccontextmanager
async def wire(relay: Relay) -> AsyncIterator[Wire]:
    host, port = relay.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


# Slow and broken senders. The limits are made short; what is awaited is that the relay closes the connection.


@pytest.mark.anyio
@pytest.mark.parametrize("sent", ["", "POST", HEAD, HEAD + "Stripe-Signature: t=1"])
async def test_a_connection_that_never_finishes_its_head_is_cut(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    async with serving(environ(data_api.url)) as relay, wire(relay) as slow:
        await slow.send(sent)

        assert await slow.reader.read() == b""


@pytest.mark.anyio
async def test_a_dripping_second_head_is_cut_though_the_first_was_good(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    async with serving(environ(data_api.url)) as relay, wire(relay) as slow:
        await slow.send("GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
        assert (await slow.answer())[0] == 200

        await slow.send("G")

        assert await slow.reader.read() == b""


@pytest.mark.anyio
async def test_an_idle_connection_outlives_the_limit_of_a_head(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    async with serving(environ(data_api.url)) as relay, wire(relay) as idle, wire(relay) as slow:
        await idle.send("GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
        assert (await idle.answer())[0] == 200
        await slow.send("G")
        assert await slow.reader.read() == b""

        await idle.send("GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")

        assert (await idle.answer())[0] == 200


@pytest.mark.anyio
async def test_a_body_that_does_not_arrive_is_408_and_the_connection_is_cut(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "BODY_SECONDS", 0.05)
    monkeypatch.setitem(connections.HANDLER_ARGS, "lingering_time", 0.05)
    async with serving(environ(data_api.url)) as relay, wire(relay) as slow:
        await slow.send(HEAD + "Content-Length: 1000\r\n\r\n{")

        status, answer = await slow.answer()

        assert (status, answer["outcome"], answer["reason"]) == (408, "refused", "request_timeout")
        assert await slow.reader.read() == b""


@pytest.mark.anyio
async def test_a_sender_who_hangs_up_in_the_body_leaves_nothing_behind(relay: Relay, data_api: DataApi) -> None:
    async with wire(relay) as gone:
        await gone.send(HEAD + "Content-Length: 1000\r\n\r\n{")
    async with wire(relay) as other:
        await other.send("GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
        assert (await other.answer())[0] == 200

    await relay.app[DELIVERIES].idle.wait()

    assert data_api.calls == []


@pytest.mark.anyio
async def test_a_sender_who_hangs_up_during_the_call_does_not_stop_the_payment(relay: Relay, data_api: DataApi) -> None:
    gate = Wait()
    data_api.script = [gate]
    body, headers = delivery(completed())
    async with wire(relay) as gone:
        await gone.send(
            HEAD + f"Stripe-Signature: {headers['Stripe-Signature']}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await gone.send(body)
        await data_api.arrived.wait()
    gate.released.set()

    await relay.app[DELIVERIES].idle.wait()

    assert [line["outcome"] for line in relay.lines] == ["applied"]


@pytest.mark.anyio
async def test_pipelined_deliveries_are_answered_in_their_order(relay: Relay) -> None:
    events = [completed(), {**completed(), "type": "customer.created"}, completed()]
    async with wire(relay) as pipe:
        for event in events:
            body, headers = delivery(event)
            signature = headers["Stripe-Signature"]
            await pipe.send(
                f"{HEAD}Stripe-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            )

        answers = [(await pipe.answer())[1] for _ in events]

    assert [answer["event_id"] for answer in answers] == [event["id"] for event in events]
    assert [answer["outcome"] for answer in answers] == ["applied", "ignored", "applied"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET\r\n\r\n",
        HEAD.encode() + b"Content-Length: x\r\n\r\n",
        HEAD.encode() + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD.encode() + b"Stripe-Signature: " + b"x" * 20_000 + b"\r\n\r\n",
        HEAD.encode() + b"X: jenny\x00rosen\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_the_same_five_keys_and_is_not_quoted(relay: Relay, garbage: bytes) -> None:
    async with wire(relay) as other:
        await other.send(garbage)

        status, answer = await other.answer()

    assert (status, answer["outcome"], answer["reason"]) == (400, "refused", "malformed_request")
    assert answer.keys() == KEYS
    assert "jenny" not in relay.output


@pytest.mark.anyio
async def test_hundreds_of_slow_connections_do_not_keep_others_from_being_served(relay: Relay) -> None:
    slow = [await asyncio.open_connection(*relay.url.removeprefix("http://").split(":")) for _ in range(300)]
    for number, (_, writer) in enumerate(slow):
        writer.write((HEAD if number % 2 else HEAD + "Content-Length: 9\r\n\r\n{").encode())

    assert (await relay.deliver(completed())).verdict == (200, "applied", None)

    for _, writer in slow:
        writer.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path", ["/", "/api/stripe/webhook//", "/api/stripe", "/api/stripe/lifecycle", "/.env", "/rest/v1/rpc/x", "//"]
)
async def test_an_unknown_path_is_404(relay: Relay, data_api: DataApi, path: str) -> None:
    assert (await relay.get(path))[0] == 404
    assert data_api.calls == []


# Anything at all, over HTTP


class RunningRelay:
    """A relay and its Data API that live as long as one property's examples."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self.data_api = DataApi()
        self._open: list[AbstractAsyncContextManager[Any]] = []
        self._runner.run(self._start())

    async def _start(self) -> None:
        await self._enter(self.data_api.listening())
        self.relay: Relay = await self._enter(serving(environ(self.data_api.url, RELAY_LOG_LEVEL="error")))

    async def _enter(self, manager: AbstractAsyncContextManager[Any]) -> Any:
        self._open.append(manager)
        return await manager.__aenter__()

    def send(self, body: bytes, headers: Mapping[str, str], method: str = "POST") -> tuple[int, str, str | None]:
        return self._runner.run(self.relay.send(body, headers, method=method)).verdict

    def send_raw(self, content: bytes) -> tuple[int, dict[str, Any]]:
        """What aiohttp's client would not send, on a connection of its own."""

        async def talk() -> tuple[int, dict[str, Any]]:
            async with wire(self.relay) as connection:
                await connection.send(content)
                return await connection.answer()

        return self._runner.run(talk())

    def close(self) -> None:
        for manager in reversed(self._open):
            self._runner.run(manager.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture
def running() -> Iterator[RunningRelay]:
    running = RunningRelay()
    yield running
    running.close()


HEADER_BYTES = st.binary(max_size=100).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b""))
SIGNATURES = st.one_of(
    HEADER_BYTES,
    st.lists(st.sampled_from([b"t=1", b"v1=", b"v0=x", b",", b"=", b"t=1795400001", b"\xff"])).map(b",".join),
    st.binary(max_size=50).map(lambda body: sign(body, "whsec_" + "0" * 32).encode()),
)
IN_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@IN_FIXTURE
@given(
    body=st.binary(max_size=2000),
    signatures=st.lists(SIGNATURES, max_size=2),
    encoding=st.sampled_from([b"", b"identity", b"gzip", b"x"]),
    method=st.sampled_from([b"POST"] * 5 + [b"PUT", b"DELETE", b"BREW"]),
)
def test_without_a_valid_signature_the_answer_is_4xx_and_the_data_api_is_never_called(
    running: RunningRelay, body: bytes, signatures: list[bytes], encoding: bytes, method: bytes
) -> None:
    lines = [b"%b %b HTTP/1.1" % (method, PATH.encode()), b"Host: relay", b"Content-Encoding: " + encoding]
    lines += [b"Stripe-Signature: " + signature for signature in signatures]
    lines += [b"Content-Length: %d" % len(body), b"", body]

    status, answer = running.send_raw(b"\r\n".join(lines))

    assert 400 <= status < 500
    assert answer.keys() == KEYS
    assert (answer["received"], answer["outcome"], answer["event_id"]) == (False, "refused", None)
    assert answer["reason"] in set(Reason)
    assert running.data_api.calls == []


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@IN_FIXTURE
@given(
    key=st.sampled_from([*sorted(completed()), *(f"session.{key}" for key in sorted(session_of(completed())))]),
    value=ANYTHING,
)
def test_with_a_valid_signature_only_the_outcomes_of_the_contract_exist(
    running: RunningRelay, key: str, value: object
) -> None:
    event = completed()
    target = session_of(event) if key.startswith("session.") else event
    target[key.removeprefix("session.")] = value

    status, outcome, reason = running.send(*delivery(event))

    assert (status, outcome) in [(200, "applied"), (200, "unmatched"), (200, "ignored"), (200, "awaiting_funds")] or (
        status,
        outcome,
        reason,
    ) == (400, "refused", "malformed_event")
    assert outcome in set(Outcome)


@IN_FIXTURE
@given(body=st.text(max_size=200) | ANYTHING.map(json.dumps))
def test_any_signed_text_is_ignored_or_malformed(running: RunningRelay, body: str) -> None:
    try:
        body.encode()
    except UnicodeEncodeError:
        return
    calls = len(running.data_api.calls)

    assert running.send(*delivery(body)) in [(200, "ignored", "event_type"), (400, "refused", "malformed_event")]
    assert len(running.data_api.calls) == calls
