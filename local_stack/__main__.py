"""`python -m local_stack`: run a stack until Ctrl-C, and print what the relay needs to use it."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from local_stack.errors import StackError
from local_stack.keys import write_private
from local_stack.platform import REGIMES
from local_stack.stack import Stack


@contextlib.contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """Ends the block in order on Ctrl-C, SIGTERM and SIGHUP, also while something is still starting."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield threading.Event()
    except KeyboardInterrupt:
        print("\nStopped.", flush=True)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def env_file(stack: Stack) -> str:
    """The relay's settings, as lines of a `.env` file."""
    return "".join(f"{name}={value}\n" for name, value in stack.env().items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a stack; the exit status is 0 after Ctrl-C or SIGTERM, 2 where it could not start."""
    parser = argparse.ArgumentParser(prog="python -m local_stack", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the data there; default: throwaway")
    parser.add_argument("--regime", choices=REGIMES, default="explicit", help="default privileges: %(default)s")
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="write the relay's settings there, mode 0600")
    parser.add_argument("--port", type=int, metavar="N", help="the gateway's port; default: a free one")
    options = parser.parse_args(arguments)
    try:
        with (
            until_stopped() as stopped,
            Stack(data=options.data, regime=options.regime, port=options.port) as stack,
        ):
            settings = env_file(stack)
            if options.env_file:
                write_private(options.env_file, settings)
            print(f"# The relay's settings{f', also in {options.env_file}' if options.env_file else ''}:\n")
            print(settings)
            print(f"# The database, as the role that migrations run as:\npsql '{stack.dsn(user='postgres')}'\n")
            print("# Running. Ctrl-C stops it and removes what was throwaway.", flush=True)
            stopped.wait()
    except StackError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
