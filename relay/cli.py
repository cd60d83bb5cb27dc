"""`relay`: one module per command, each with NAME, HELP, EPILOG, add_arguments and run.

Only the module of the command that was asked for is imported: a server that runs for months need not carry what reads
Stripe's API or draws a report.
"""

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final

from relay import __version__
from relay.commands.window import WindowError
from relay.config import SettingsError

COMMANDS: Final = {
    "serve": "relay.commands.serve",
    "check": "relay.commands.check",
    "init": "relay.commands.init.command",
    "exceptions": "relay.commands.exceptions",
    "explain": "relay.commands.explain",
    "simulate": "relay.commands.simulate.command",
    "sweep": "relay.commands.sweep.command",
    "report": "relay.commands.report.command",
}
_LOST_OUTPUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
EPILOG = """\
examples:
  relay serve                 # settings come from the environment, see .env.example
  relay check --json
  relay COMMAND --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status: 2 for wrong usage or settings, else what the command says."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal cannot show must not end a command
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser(*(name for name in COMMANDS if words and words[0] == name)).parse_args(words)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except (SettingsError, WindowError) as error:
        sys.stderr.write(f"relay: {error}\n")
        return 2
    except BrokenPipeError:  # `| head` has seen enough
        _let_go_of_stdout()
        return 0
    except OSError as error:
        if error.errno not in _LOST_OUTPUT or error.filename is not None:
            raise
        _let_go_of_stdout()
        sys.stderr.write(f"relay: cannot write the output: {error.strerror}\n")
        return 2
    return status


def _let_go_of_stdout() -> None:
    """Python would complain once more when it closes the stream."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command_of(name: str) -> ModuleType:
    """The command's module."""
    return importlib.import_module(COMMANDS[name])


def _parser(*names: str) -> argparse.ArgumentParser:
    """Of these commands, or of all."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="relay",
        description="Turns Stripe Checkout webhooks into paid order groups in Supabase, exactly once.",
        epilog=EPILOG,
        formatter_class=layout,
    )
    parser.add_argument("--version", action="version", version=f"relay {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in map(command_of, names or COMMANDS):
        child = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.HELP,
            epilog=command.EPILOG,
            formatter_class=layout,
        )
        command.add_arguments(child)
        child.set_defaults(run=command.run)
    return parser
