"""`relay serve`: listens for deliveries, and stops without losing one."""

import argparse
from typing import Final

from relay.commands import extras
from relay.commands.endings import NO, CommandError
from relay.config import Settings
from relay.server import serving, workers
from relay.server.listening import CannotListen

NAME: Final = "serve"
HELP: Final = "listen for Stripe's webhook"
EPILOG: Final = """\
examples:
  relay serve
  RELAY_PORT=9000 RELAY_LOG_LEVEL=debug relay serve
  relay serve --workers 4     # four processes on one port, with the extra `workers` installed

After SIGTERM, SIGINT or SIGHUP, /readyz answers 503, deliveries in hand are finished, and the relay exits. A second
signal ends it at once. The log is JSON; at a terminal it is a short line per delivery (`relay serve | cat` shows JSON).
exit status: 0 stopped as asked, 1 cannot listen, 2 settings missing or wrong, or no folder for the workers' files
"""
# More than the cores of any usual machine, so that a typing error does not start thousands of processes.
MOST_WORKERS: Final = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="processes that share the port (default: %(default)s)"
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MOST_WORKERS):
        raise argparse.ArgumentTypeError(f"must be a number between 1 and {MOST_WORKERS}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes, and return the exit status. Raises CommandError or SettingsError."""
    settings = Settings.of_process()
    try:
        if arguments.workers > 1:
            extras.need("workers", "gunicorn", for_what="relay serve --workers")
            workers.replace_process(settings, arguments.workers)
        return serving.serve(settings)
    except CannotListen as error:
        raise CommandError(str(error), NO) from None
    except workers.NoFolder as error:
        raise CommandError(str(error)) from None
