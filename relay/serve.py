"""`relay serve`: listen, and stop without losing a delivery."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from typing import Final

from aiohttp import web

from relay.app import READINESS, TELEMETRY, WEBHOOK, make_app
from relay.config import Settings
from relay.connections import Runner
from relay.telemetry import LibraryLog, Log

NAME: Final = "serve"
HELP: Final = "listen for Stripe's webhook"
EPILOG: Final = """\
examples:
  relay serve
  RELAY_PORT=9000 RELAY_LOG_LEVEL=debug relay serve

SIGTERM or SIGINT: /readyz answers 503, deliveries in hand are finished, then exit. A second signal ends at once.
exit status: 0 stopped as asked, 1 cannot listen, 2 settings missing or wrong
"""
# How long new connections are still taken while the deliveries in hand are finished. No longer than a body may
# take to arrive: what has arrived by then only needs its RPC.
LISTEN_ON_SECONDS: Final = 10.0
# Longer than any RPC (RELAY_RPC_TIMEOUT is below ten seconds). Together with the above it stays below the 30 seconds
# that orchestrators wait before they kill.
FINISH_SECONDS: Final = 12.0
_BACKLOG: Final = 1024


def add_arguments(_: argparse.ArgumentParser) -> None:
    """`serve` takes its settings from the environment only."""


def run(_: argparse.Namespace) -> int:
    """Serve until a signal comes. Raises SettingsError."""
    settings = Settings.from_env(os.environ, now=time.time())
    log = Log(settings.log_level)
    logging.basicConfig(handlers=[LibraryLog(log)], level=logging.WARNING, force=True)
    return asyncio.run(_serve(settings, log))


async def _serve(settings: Settings, log: Log) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _first_signal, loop, stop)
    app = make_app(settings, log=log)
    runner = Runner(app, refuse=app[WEBHOOK].refuse_unparsable, shutdown_timeout=FINISH_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            sys.stderr.write(f"relay: cannot listen on {settings.host}:{settings.port}: {reason}\n")
            return 1
        app[TELEMETRY].log.write("info", f"Listening on {site.name}")
        await stop.wait()
        app[READINESS].draining = True
        log.write("info", "Stopping: not ready any more, finishing the deliveries in hand")
        # The socket stays open meanwhile: balancers that have not noticed yet lose nothing, and a body that
        # is still coming in comes in.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTEN_ON_SECONDS):
                await app[WEBHOOK].idle.wait()
    finally:
        await runner.cleanup()
    log.write("info", "Stopped")
    return 0


def _first_signal(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Begin to stop, and give the next signal its default effect: to end the process at once."""
    stop.set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
