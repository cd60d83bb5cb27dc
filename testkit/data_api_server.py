"""A small Data API on a real socket that counts its calls and misbehaves on purpose."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from relay.core.currency import EXPONENTS
from relay.server.readiness import CONTRACT_VERSION
from testkit.stripe_events import Json


@dataclass(frozen=True, slots=True)
class Call:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    parameters: Json

    @property
    def function(self) -> str:
        """The name of the function."""
        return self.path.rpartition("/")[2]

    @property
    def alone(self) -> "list[Call]":
        """The calls of its own that it stands for: one for each payment that it takes together with others."""
        if self.function != "reconcile_order_group_payments":
            return [self]
        single = self.path.removesuffix("s")
        return [Call(single, self.headers, payment) for payment in self.parameters["p_payments"]]

    @property
    def is_question(self) -> bool:
        """Whether it is one of the readiness check's."""
        return self.function == "reconciliation_readiness" or self.parameters == {"p_payments": []}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer. `body` is sent as it is when it is text, else as JSON."""

    status: int = 200
    body: object = ""
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    def as_bytes(self) -> bytes:
        body = (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()
        lines = [f"HTTP/1.1 {self.status} Whatever", f"Content-Type: {self.content_type}", *self._more()]
        if self.status != 204:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _more(self) -> list[str]:
        return [f"{name}: {value}" for name, value in self.headers]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes, and then the connection is closed."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is cut without a word."""


@dataclass(frozen=True, slots=True)
class Hang:
    """`first` is sent, and nothing else, until the server closes."""

    first: bytes = b""


@dataclass(frozen=True, slots=True)
class Wait:
    """The usual answer, but not before `released` is set."""

    released: asyncio.Event = field(default_factory=asyncio.Event)


Behaviour = Reply | Raw | Reset | Hang | Wait


class DataApi:
    """Answers with what is in `script`, one per call, and then as a healthy database would."""

    def __init__(self, *, is_watched: bool = False) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.asks: list[Call] = []
        self.is_watched = is_watched
        """Whether the relay asks by itself, as a server does: these calls are answered at once, and kept in `asks`."""
        self.script: list[Behaviour] = []
        self.always: Behaviour | None = None
        self.notice: Json = {"outcome": "noted", "reason": None}
        self.verdict: Json = {"outcome": "applied", "reason": None}
        self.members: dict[str, Json] = {}
        """By event: what a call for several payments answers for it, where that is not what it would answer alone."""
        self.recorded: Json = {"outcome": "recorded", "reason": None, "order_group_id": None}
        self.cancelled: Json = {"outcome": "cancelled", "reason": None, "orders_cancelled": 1}
        self.readiness: Json = {
            "contract_version": CONTRACT_VERSION,
            "oldest_contract_version": CONTRACT_VERSION,
            "currencies": dict(EXPONENTS),
            "can_execute": True,
            "anon_can_execute": False,
            "role": "service_role",
            "open_exceptions": {},
            "oldest_open_exception_at": None,
        }
        self.by_mode: Json = {mode: {"payments": 0, "last_at": None} for mode in ("live", "test")}
        self.arrived = asyncio.Event()
        self._handlers: set[asyncio.Task[None]] = set()

    def healthy(self, call: Call) -> Reply:
        """What the real functions answer."""
        if call.path.endswith("/reconciliation_readiness"):
            return self.healthy_readiness()
        if call.path.endswith("/payments_by_mode"):
            return Reply(body=self.by_mode)
        sent = call.parameters
        if call.path.endswith("/reconcile_order_group_payments"):
            return Reply(body=[self.member(each) for each in call.alone])
        if call.path.endswith("/note_awaiting_funds"):
            return Reply(body={"order_group_id": sent.get("p_order_group_id"), **self.notice})
        if call.path.endswith("/cancel_order_group"):
            return Reply(body={"order_group_id": sent.get("p_order_group_id"), **self.cancelled})
        for kind in ("refund", "dispute"):
            if call.path.endswith(f"/record_{kind}"):
                return Reply(body={f"{kind}_id": sent.get(f"p_{kind}_id"), **self.recorded})
        verdict = (
            {"outcome": "unmatched", "reason": sent["p_unmatched_reason"]}
            if sent.get("p_unmatched_reason")
            else self.verdict
        )
        return Reply(
            body={
                "order_group_id": sent.get("p_order_group_id"),
                "stripe_event_id": sent.get("p_stripe_event_id"),
                "orders_paid": 0,
                "ledger_entries": 0,
                **verdict,
            }
        )

    def healthy_readiness(self) -> Reply:
        """What the readiness function answers now."""
        return Reply(body={"server_time": datetime.now(UTC).isoformat(), **self.readiness})

    def member(self, call: Call) -> Json:
        """What a call for several payments answers for this one."""
        alone = self.healthy(call).body
        assert isinstance(alone, dict)
        return alone | self.members.get(call.parameters["p_stripe_event_id"], {})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            while call := await _read(reader):
                if self.is_watched and call.is_question:
                    self.asks.append(call)
                    writer.write(self.healthy(call).as_bytes())
                    await writer.drain()
                    continue
                self.calls.append(call)
                self.arrived.set()
                behaviour = self.script.pop(0) if self.script else self.always
                match behaviour:
                    case Reset():
                        writer.transport.abort()
                        return
                    case Raw(content):
                        writer.write(content)
                        return
                    case Hang(first):
                        writer.write(first)
                        await asyncio.Event().wait()
                    case Wait(released):
                        await released.wait()
                        writer.write(self.healthy(call).as_bytes())
                    case Reply():
                        writer.write(behaviour.as_bytes())
                    case None:
                        writer.write(self.healthy(call).as_bytes())
                await writer.drain()
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._handlers.discard(task)
            writer.close()

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["DataApi"]:
        """On a free port of the loopback interface."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            # Since Python 3.12.1 wait_closed() waits for every connection to end, also for one that hangs on purpose.
            for handler in self._handlers:
                handler.cancel()
            await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Call | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    request, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Call(request.split(" ")[1], headers, json.loads(body or b"{}"))
