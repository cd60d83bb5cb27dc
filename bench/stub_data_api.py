"""A Data API that costs next to nothing: every call of the function is answered `applied`, in PostgREST's words.

`python -m bench.stub_data_api PORT`. What a relay costs must not drown in what PostgREST and Postgres cost.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

HEADERS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\n"
    b"Server: postgrest/12.0.2\r\nContent-Range: 0-0/*\r\nContent-Profile: public\r\n"
    b"Content-Type: application/json; charset=utf-8\r\n\r\n"
)
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
RECONCILE = b"/rest/v1/rpc/reconcile_order_group_payment"


def verdict_on(payment: dict[str, object]) -> dict[str, object]:
    """What the function would return for a first, fitting payment."""
    return {
        "outcome": "applied",
        "reason": None,
        "order_group_id": payment["p_order_group_id"],
        "stripe_event_id": payment["p_stripe_event_id"],
        "orders_paid": 2,
        "ledger_entries": 5,
    }


def answer_to(body: bytes) -> bytes:
    """To a call for one payment, or for several."""
    call = json.loads(body)
    several = call.get("p_payments")
    content = json.dumps(verdict_on(call) if several is None else [verdict_on(each) for each in several]).encode()
    return HEADERS + b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._transport.write(answer_to(body) if RECONCILE in head else NOT_FOUND)


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
