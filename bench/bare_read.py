"""The least that an aiohttp server does for a delivery, on the relay's event loop: read the body, answer.

`python -m bench.bare_read PORT`."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from bench.deliveries import PATH
from relay.server.serving import new_event_loop, settle_memory

ANSWER = b'{"received": true, "outcome": "applied", "reason": null, "event_id": null, "order_group_id": null}'


async def _read(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


async def _serve(port: int) -> None:
    app = web.Application()
    app.router.add_post(PATH, _read)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        settle_memory()
        runner.run(_serve(int(sys.argv[1])))
