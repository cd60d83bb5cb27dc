"""The command line `relay`. Every command is a module with NAME, HELP, EPILOG, `add_arguments` and `run`.

Only the module of the requested command is imported, so that a server does not load the code that reads Stripe's API or
draws a report.

A command returns its exit status or raises. Only `main` turns an exception into a message and an exit status.
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
from relay.commands import env_file, output, terminal
from relay.commands.command_line import Layout, Parser, nearest
from relay.commands.endings import INTERRUPTED, NO, OK, CommandError, no_answer
from relay.config import SettingsError
from relay.core.errors import Declined, NoVerdict, RelayError

COMMANDS: Final = {
    "serve": "relay.commands.serve",
    "check": "relay.commands.check",
    "init": "relay.commands.init.command",
    "exceptions": "relay.commands.exceptions",
    "explain": "relay.commands.explain",
    "simulate": "relay.commands.simulate.command",
    "sweep": "relay.commands.sweep.command",
    "expire": "relay.commands.expire.command",
    "report": "relay.commands.report.command",
    "notify": "relay.commands.notify.command",
    "desk": "relay.commands.desk.command",
    "endpoint": "relay.commands.endpoint",
}
OPTIONS: Final = ("-h", "--help", "--version")
"""What may stand before a command."""
_LOST_OUTPUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE})
EPILOG = """\
examples:
  relay serve                        # settings come from the environment
  relay serve --env-file .env        # and from a file, as .env.example shows
  relay check --json
  relay COMMAND --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; the module `endings` lists the statuses."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal cannot show must not end a command
    try:
        try:
            status = _run(list(sys.argv[1:] if argv is None else argv))
        finally:  # argparse ends the run with SystemExit once it has printed the help
            _flush_stdout()
    except (CommandError, SettingsError, RelayError, OSError, KeyboardInterrupt) as error:
        failure = _failure_of(error)
        if failure is None:
            raise
        if isinstance(error, OSError) and error.filename is None:
            output.discard(sys.stdout)
        output.complain(str(failure))
        return failure.status
    return status


def _run(words: list[str]) -> int:
    if not words:
        _parser().print_help()
        return OK
    if not words[0].startswith("-") and words[0] not in COMMANDS:
        near = nearest(words[0], COMMANDS)
        hint = f"did you mean `relay {near}`?" if near else "`relay --help` lists them"
        raise CommandError(f"there is no command {words[0]!r}; {hint}")
    command = next((word for word in words if word in COMMANDS), None)
    if command and words[0].startswith("-") and words[0] not in OPTIONS:
        raise CommandError(f"options come after the command: relay {command} {words[0]}")
    arguments = _parser(*(name for name in COMMANDS if words[0] == name)).parse_args(words)
    env_file.load(arguments)
    status: int = arguments.run(arguments)
    return status


def _failure_of(error: BaseException) -> CommandError | None:
    """The message for the operator and the exit status; None where a traceback must be shown instead."""
    match error:
        case CommandError():
            return error
        case SettingsError():
            return CommandError(str(error))
        case Declined():
            return CommandError(terminal.clean(error), NO)  # it may quote what is stored
        case NoVerdict():
            return CommandError(no_answer(error))
        case KeyboardInterrupt():
            return CommandError("interrupted", INTERRUPTED)
        case OSError(filename=str() | os.PathLike() as path, strerror=str() as fault):
            return CommandError(f"{path}: {fault}")
        case OSError(errno=number, strerror=fault) if number in _LOST_OUTPUT:
            return CommandError(f"cannot write the output: {fault}")
    return None


def _open_closed_streams() -> None:
    """Open standard streams that were closed at the start, as /dev/null. Otherwise the first socket would get the
    number of stdout, and receive the log.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # opens with the lowest free number: this one
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _flush_stdout() -> None:
    """Write what is still buffered. Whether anybody reads it, as `head` may not, changes nothing of what was found."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        output.discard(sys.stdout)


def command_of(name: str) -> ModuleType:
    """Import and return the command's module."""
    return importlib.import_module(COMMANDS[name])


def _parser(*names: str) -> argparse.ArgumentParser:
    """The parser of the named commands; of all commands where none is named."""
    parser = Parser(
        prog="relay",
        description="Turns Stripe Checkout webhooks into paid order groups in Supabase, exactly once.",
        epilog=EPILOG,
        formatter_class=Layout,
    )
    parser.add_argument("--version", action="version", version=f"relay {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in map(command_of, names or COMMANDS):
        child = commands.add_parser(
            command.NAME,
            help=command.HELP,
            description=command.HELP,
            epilog=command.EPILOG,
            formatter_class=Layout,
        )
        command.add_arguments(child)
        env_file.add_argument(child)
        child.set_defaults(run=command.run)
    return parser
