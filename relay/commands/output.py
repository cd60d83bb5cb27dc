"""Writes text for people, to a terminal or to whatever else the output is."""

import os
import sys
from typing import TextIO


def show(text: str) -> None:
    """Write text for people to stdout. On a terminal it is wrapped and has colours; elsewhere it is as it is."""
    _show(text, sys.stdout)


def complain(message: str) -> None:
    """Write one line to stderr, in the form of all messages of `relay`. Where that is closed, nobody is told."""
    try:
        _show(f"relay: {message}\n", sys.stderr)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Discard what could not be written, and all that follows. Otherwise Python would report the error again when it
    closes the stream, and end with a status of its own.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _show(text: str, stream: TextIO) -> None:
    if stream.isatty():
        from relay.commands import screen  # imported here: a pipe, a file or a log does not need it

        screen.show(text, stream)
    else:
        stream.write(text)
