"""The least that an aiohttp server does for a delivery: read the body, answer. `python -m bench.bare_read PORT`."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from bench.deliveries import PATH

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
    asyncio.run(_serve(int(sys.argv[1])))
