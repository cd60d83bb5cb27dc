"""What the operators' commands share: the connected Data API, what they print, and arguments that several take."""

import argparse
import asyncio
import json
import shutil
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence

from relay.commands import terminal
from relay.config import Settings
from relay.data_api import records
from relay.data_api.records import Clients

Work = Callable[[Settings, Clients], Awaitable[int]]


def run(work: Work, *, seconds: float | None = None) -> int:
    """Do the work with a connected Data API and return its exit status.

    `seconds` is how long a call may take, where that is not RELAY_RPC_TIMEOUT. Raises SettingsError, and what the work
    raises.
    """
    return asyncio.run(_connected(work, Settings.of_process(), seconds))


async def _connected(work: Work, settings: Settings, seconds: float | None) -> int:
    async with records.connect(settings, seconds=seconds) as clients:
        return await work(settings, clients)


def complain(message: str) -> None:
    """One line on stderr, as all of relay's messages look."""
    sys.stderr.write(f"relay: {message}\n")


def write_json(value: object) -> None:
    """One JSON value on stdout; ASCII, so that no terminal's encoding can spoil it."""
    json.dump(value, sys.stdout)
    sys.stdout.write("\n")


def fit_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table that fits the terminal; in a pipe one line per row, however long."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return terminal.table(header, rows, columns=columns)


def order_group_id(argument: str) -> str:
    """An argument that must be a UUID."""
    try:
        return str(uuid.UUID(argument))
    except ValueError:
        raise argparse.ArgumentTypeError("must be an order group's id, a UUID") from None


def words(argument: str) -> str:
    """An argument that must say something, in text that can be stored."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("must be UTF-8 text") from None
    if not argument.strip():
        raise argparse.ArgumentTypeError("must not be blank")
    return argument
