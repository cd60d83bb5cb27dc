"""Runs the application in this process: event loop, signals, and a stop that loses no delivery."""

import asyncio
import contextlib
import gc
import importlib.util
import logging
import signal
import sys
from typing import Final

from aiohttp import web

from relay.config import Settings, unused_proxy
from relay.server.app import CONNECTION_LIMIT, DELIVERIES, READINESS, TELEMETRY, answer_unparsable, make_app
from relay.server.connection_limit import SelectorEventLoop
from relay.server.connections import Runner
from relay.server.listening import BACKLOG, open_sockets
from relay.server.readiness import IS_THE_SAME
from relay.server.telemetry import LibraryLog, Log
from relay.server.watching import watching

# How long new connections are still accepted after the signal to stop. A body may take as long to arrive; a delivery
# that has arrived by then needs only its call of the database, for which FINISH_SECONDS is left.
LISTEN_ON_SECONDS: Final = 10.0
# Longer than any call of the database (RELAY_RPC_TIMEOUT is below ten seconds). The sum of both is below the 30 seconds
# after which orchestrators kill a process.
FINISH_SECONDS: Final = 12.0
# SIGHUP comes when the terminal closes, and stops the relay too: there are no settings to reload.
STOPPING: Final = tuple(
    signal.Signals[name] for name in ("SIGTERM", "SIGINT", "SIGHUP") if name in signal.Signals.__members__
)
# With Python's default of 700, garbage is collected several times per delivery. Reference cycles are rare and small
# here.
GARBAGE_THRESHOLD: Final = 10_000
HAS_UVLOOP: Final = importlib.util.find_spec("uvloop") is not None  # uvloop does not exist for Windows


def serve(settings: Settings) -> int:
    """Serve until a signal comes, and return the exit status. Raises CannotListen."""
    log = Log(settings.log_level)
    warn_of_settings(settings, log)
    logging.basicConfig(handlers=[LibraryLog(log)], level=logging.WARNING, force=True)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(settings, log))
    return 0


def warn_of_settings(settings: Settings, log: Log) -> None:
    """Log a warning about each setting that can be meant, but hardly is: a proxy variable that the relay does not use,
    though whoever set it expects that it does, and one webhook secret for two endpoints.
    """
    if settings.shares_webhook_secret:
        log.write("warning", f"STRIPE_WEBHOOK_SECRET and STRIPE_LIFECYCLE_WEBHOOK_SECRET name {IS_THE_SAME}")
    if name := unused_proxy(settings):
        log.write("warning", f"{name} is set and not used: the relay connects to SUPABASE_URL directly")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's event loop where uvloop is installed: it saves 8 % of the processor time per delivery
    (docs/performance-tried.md).
    """
    if HAS_UVLOOP:
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop() if sys.platform == "win32" else SelectorEventLoop()


def settle_memory() -> None:
    """Exclude all objects of the imported modules from garbage collection; a full collection would delay deliveries."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


async def _serve(settings: Settings, log: Log) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup has it ignored
            loop.add_signal_handler(number, _first_signal, loop, stop)
    app = make_app(settings, log=log)
    app.cleanup_ctx.append(watching)
    runner = Runner(app, refuse=answer_unparsable(app), limit=app[CONNECTION_LIMIT], shutdown_timeout=FINISH_SECONDS)
    await runner.setup()
    settle_memory()
    try:
        for listening in open_sockets(settings):
            site = web.SockSite(runner, listening, backlog=BACKLOG)
            await site.start()
            log.write("info", f"Listening on {site.name}")
        await stop.wait()
        await drain(app)
    finally:
        await runner.cleanup()
    log.write("info", "Stopped")


async def drain(app: web.Application) -> None:
    """Report not ready, and wait until no delivery is in hand, for LISTEN_ON_SECONDS at most.

    The socket stays open meanwhile, so that a balancer which has not noticed yet loses no request, and bodies that are
    still arriving can arrive.
    """
    app[READINESS].draining = True
    app[TELEMETRY].log.write("info", "Stopping: not ready any more, finishing the deliveries in hand")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LISTEN_ON_SECONDS):
            await app[DELIVERIES].idle.wait()


def _first_signal(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Begin to stop, and restore the default effect of the next signal, which ends the process at once."""
    stop.set()
    for number in STOPPING:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
