"""The process around the application: its event loop, its signals, and an end that loses no delivery."""

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
from relay.server.app import READINESS, ROOM, TELEMETRY, WEBHOOK, answer_unparsable, make_app
from relay.server.connections import Runner
from relay.server.telemetry import LibraryLog, Log

# How long new connections are still taken while the deliveries in hand are finished. No longer than a body may
# take to arrive: what has arrived by then only needs its RPC.
LISTEN_ON_SECONDS: Final = 10.0
# Longer than any RPC (RELAY_RPC_TIMEOUT is below ten seconds). Together with the above it stays below the 30 seconds
# that orchestrators wait before they kill.
FINISH_SECONDS: Final = 12.0
BACKLOG: Final = 1024
# SIGHUP comes where the terminal goes; there is nothing that could be read anew.
STOPPING: Final = tuple(
    signal.Signals[name] for name in ("SIGTERM", "SIGINT", "SIGHUP") if name in signal.Signals.__members__
)
# Python's default of 700 looks for garbage several times in each delivery; cycles are rare here, and small.
GARBAGE_THRESHOLD: Final = 10_000
HAS_UVLOOP: Final = importlib.util.find_spec("uvloop") is not None  # not made for Windows


def serve(settings: Settings) -> int:
    """Serve until a signal comes; the exit status is 0, or 1 where the address cannot be listened on."""
    log = Log(settings.log_level)
    warn_of_proxy(settings, log)
    logging.basicConfig(handlers=[LibraryLog(log)], level=logging.WARNING, force=True)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(settings, log))


def warn_of_proxy(settings: Settings, log: Log) -> None:
    """Name the proxy setting that is not followed: whoever wrote it expects that it is."""
    if name := unused_proxy(settings):
        log.write("warning", f"{name} is set and not used: the relay connects to SUPABASE_URL directly")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where there is one: a tenth less processor time for each delivery (docs/performance.md)."""
    if not HAS_UVLOOP:
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def settle_memory() -> None:
    """Never look again at what was imported: a full collection would hold every delivery up for it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


async def _serve(settings: Settings, log: Log) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish
            loop.add_signal_handler(number, _first_signal, loop, stop)
    app = make_app(settings, log=log)
    runner = Runner(app, refuse=answer_unparsable(app), room=app[ROOM], shutdown_timeout=FINISH_SECONDS)
    await runner.setup()
    settle_memory()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            sys.stderr.write(f"relay: cannot listen on {settings.host}:{settings.port}: {reason}\n")
            return 1
        app[TELEMETRY].log.write("info", f"Listening on {site.name}")
        await stop.wait()
        await drain(app)
    finally:
        await runner.cleanup()
    log.write("info", "Stopped")
    return 0


async def drain(app: web.Application) -> None:
    """Be not ready, and wait until no delivery is in hand, or long enough.

    The socket stays open meanwhile: balancers that have not noticed yet lose nothing, and a body that is still coming
    in comes in.
    """
    app[READINESS].draining = True
    app[TELEMETRY].log.write("info", "Stopping: not ready any more, finishing the deliveries in hand")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LISTEN_ON_SECONDS):
            await app[WEBHOOK].idle.wait()


def _first_signal(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Begin to stop, and give the next signal its default effect: to end the process at once."""
    stop.set()
    for number in STOPPING:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
