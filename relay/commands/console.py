"""What the operators' commands share: connecting to the Data API, printing, and types of arguments."""

import argparse
import asyncio
import json
import shutil
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from relay.commands import terminal
from relay.config import Settings
from relay.data_api import records
from relay.data_api.records import Clients

Work = Callable[[Settings, Clients], Awaitable[int]]
"""What a command does with a connected Data API. It returns the exit status."""
# Digits of a number in jsonb: 131,072 before the point, https://www.postgresql.org/docs/17/datatype-numeric.html
_LONGEST_INTEGER: Final = 131_073


def run(work: Work, *, seconds: float | None = None) -> int:
    """Connect to the Data API, do the work, and return its exit status.

    `seconds` is how long one call may take; without it RELAY_RPC_TIMEOUT counts. Raises SettingsError, and what the
    work raises.
    """
    # A row that a person has written may hold such a number, and must not hide the others.
    sys.set_int_max_str_digits(_LONGEST_INTEGER)
    return asyncio.run(_connected(work, Settings.of_process(), seconds))


async def _connected(work: Work, settings: Settings, seconds: float | None) -> int:
    async with records.connect(settings, seconds=seconds) as clients:
        return await work(settings, clients)


def write_json(value: object) -> None:
    """Write one JSON value to stdout, in ASCII, so that the terminal's encoding does not matter."""
    json.dump(value, sys.stdout)
    sys.stdout.write("\n")


def fit_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table that fits the terminal. In a pipe or a file every row is one line, however long."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return terminal.table(header, rows, columns=columns)


def order_group_id(argument: str) -> str:
    """Read an argument that must be a UUID. Raises argparse.ArgumentTypeError."""
    try:
        return str(uuid.UUID(argument))
    except ValueError:
        raise argparse.ArgumentTypeError("must be an order group's id, a UUID") from None


def words(argument: str) -> str:
    """Read an argument that must be text, not blank. Raises argparse.ArgumentTypeError."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("must be UTF-8 text") from None
    if not argument.strip():
        raise argparse.ArgumentTypeError("must not be blank")
    return argument
