"""`relay desk`: the operators' pages, for one person on this machine."""

import argparse
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from relay.commands import console, extras, output, sweep_lists
from relay.commands.desk.door import HOST, Door
from relay.commands.endings import NO, OK, CommandError
from relay.commands.report_page.reading import REPORT_SECONDS
from relay.config import Settings
from relay.data_api.records import Clients

NAME: Final = "desk"
HELP: Final = "open the operators' pages in a browser on this machine"
EPILOG: Final = """\
examples:
  relay desk --by ada
  relay desk --by ada --env-file .env --port 8901
  relay sweep --since 72h --json > sweep.json; relay desk --by ada --sweep sweep.json

Prints a link that lets one browser in, once. The pages are served to this machine alone, and the service key stays in
this process. Ctrl-C ends it. Needs the extra `desk`, and the same settings as `relay serve`; Stripe is not called.
exit status: 0 ended by Ctrl-C or a signal, 1 so ended while exceptions were being resolved, 2 could not run
"""
EXTRA: Final = ("jinja2",)
# SIGHUP comes when the terminal closes.
_ENDING: Final = ("SIGINT", "SIGTERM", "SIGHUP")
_LAST_PORT: Final = 65535
# How long an answer under way may take after the signal to end, in seconds.
_FINISH_SECONDS: Final = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="where to listen; default: a free port")
    parser.add_argument(
        "--by", type=console.words, default=os.environ.get("USER"), metavar="NAME", help="who resolves; default: $USER"
    )
    parser.add_argument(
        "--sweep", type=_sweep, metavar="FILE", help="show what a sweep left: the JSON of `relay sweep --json`"
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"must be a port, a number between 0 and {_LAST_PORT}")
    return int(text)


def _sweep(text: str) -> Path:
    """The path of a file that a sweep has written. Raises argparse.ArgumentTypeError where it is none now."""
    path = Path(text).absolute()
    try:
        sweep_lists.read_file(path)
    except CommandError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path


def run(arguments: argparse.Namespace) -> int:
    """Serve the pages until a signal comes. Raises SettingsError or CommandError."""
    extras.need("desk", *EXTRA, for_what="relay desk")
    if not (arguments.by or "").strip():
        raise CommandError("--by NAME must say who resolves")

    async def work(settings: Settings, clients: Clients) -> int:
        from relay.commands.desk.app import make_app  # imported here: they need the extra's libraries
        from relay.commands.desk.view import Desk

        with _listen(arguments.port) as listening:
            door = Door(listening.getsockname()[1])
            desk = Desk(
                records=clients.records,
                by=arguments.by.strip(),
                livemode=settings.livemode,
                project=urlsplit(settings.supabase_url).netloc,
                sweep=arguments.sweep,
                warn=output.complain,
            )
            runner = web.AppRunner(make_app(desk, door), access_log=None, shutdown_timeout=_FINISH_SECONDS)
            await runner.setup()
            try:
                await web.SockSite(runner, listening).start()
                ended = _on_signal()
                sys.stdout.write(f"{door.link}\nThe link lets one browser in, once. Ctrl-C ends the desk.\n")
                sys.stdout.flush()
                await ended.wait()
            finally:
                await runner.cleanup()
        left = [bulk for bulk in desk.bulks if await bulk.end()]
        for bulk in left:
            output.complain(
                f"ended while {len(bulk.ids):,} exceptions were being resolved, of which {bulk.done:,} are done: "
                "the list tells which are left"
            )
        return NO if left else OK

    return console.run(work, seconds=REPORT_SECONDS)


def _listen(port: int) -> socket.socket:
    """Listen on this machine's own address. Raises CommandError."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise CommandError(f"cannot listen on {HOST}:{port}: {error.strerror}") from None


def _on_signal() -> asyncio.Event:
    """Set when one of the ending signals comes."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in _ENDING:
        if name in signal.Signals.__members__:
            loop.add_signal_handler(signal.Signals[name], ended.set)
    return ended
