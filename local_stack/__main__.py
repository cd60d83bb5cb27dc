"""`python -m local_stack`: run a stack until Ctrl-C, and print what the relay needs to use it."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local_stack import supabase_cli
from local_stack.errors import StackError
from local_stack.keys import write_private
from local_stack.platform import REGIMES
from local_stack.signals import signals_as_interrupt, wait_for_interrupt
from local_stack.stack import Stack


def env_lines(settings: Mapping[str, str]) -> str:
    """The relay's settings, as lines of a `.env` file."""
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def psql_command(stack: Stack) -> str:
    """A command line that opens the database, with the psql that came with the server where there is one."""
    own = stack.postgres.bin_dir / "psql"
    return shlex.join([str(own) if own.is_file() else "psql", stack.dsn(user="postgres")])


def port_number(text: str) -> int:
    """Read an argument that must be a TCP port. Raises argparse.ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**16):
        raise argparse.ArgumentTypeError("must be a number between 1 and 65535")
    return int(text)


def no_migrations(_: str) -> str:
    """What `--empty` pushes."""
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a stack; the exit status is 0 after Ctrl-C or SIGTERM, 2 where it could not start."""
    parser = argparse.ArgumentParser(prog="python -m local_stack", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep data, keys and ports there; default: throwaway")
    parser.add_argument("--regime", choices=REGIMES, default="explicit", help="default privileges: %(default)s")
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="write the relay's settings there, mode 0600")
    parser.add_argument("--port", type=port_number, metavar="N", help="the gateway's port; default: a free one")
    parser.add_argument("--empty", action="store_true", help="push no migrations: a project before the first one")
    options = parser.parse_args(arguments)
    migrate: Callable[[str], str] = no_migrations if options.empty else supabase_cli.db_push
    try:
        with (
            signals_as_interrupt(),
            Stack(data=options.data, regime=options.regime, port=options.port, migrate=migrate) as stack,
        ):
            settings = env_lines(stack.env())
            if options.env_file:
                write_private(options.env_file, settings)
            print(f"# The relay's settings{f', also in {options.env_file}' if options.env_file else ''}:\n")
            print(settings)
            print(f"# The database, as the role that migrations run as:\n{psql_command(stack)}\n")
            if options.env_file:
                file = shlex.quote(str(options.env_file))
                print(f"# A relay for it, from another terminal:\n.venv/bin/relay serve --env-file {file}\n")
            end = f"stops it and keeps {options.data}" if options.data else "removes everything; --data DIR keeps it"
            print(f"# Running. Ctrl-C {end}.", flush=True)
            wait_for_interrupt()
    except KeyboardInterrupt:
        print("\nStopped.", flush=True)
    except StackError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
