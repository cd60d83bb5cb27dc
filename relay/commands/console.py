"""What the operators' commands share: settings, the Data API, and one exit status for each way to fail."""

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from relay.commands import terminal
from relay.config import Settings
from relay.core.errors import Declined, NoVerdict
from relay.core.outcomes import Reason
from relay.data_api import records
from relay.data_api.records import Clients

OK: Final = 0
REFUSED: Final = 1
"""Not found, or declined by the database."""
COULD_NOT_RUN: Final = 2
INTERRUPTED: Final = 130
"""What a shell reports for Ctrl-C."""
STATUSES: Final = "exit status: 0 done, 1 not found or declined by the database, 2 could not run"
_REMEDIES: Final[Mapping[Reason, str]] = {
    Reason.DATABASE_UNAVAILABLE: "is the project up, and SUPABASE_URL right?",
    Reason.UNAUTHORIZED: "is SUPABASE_SERVICE_ROLE_KEY this project's, and still valid?",
    Reason.CONTRACT_VIOLATION: "are this release's migrations in the database, and SUPABASE_URL right?",
    Reason.TIMEOUT: "the database is slow, or was asked for too much at once;",
    Reason.LOCK_TIMEOUT: "somebody holds the order group: run it again;",
    Reason.DEADLOCK: "run it again;",
}

Work = Callable[[Settings, Clients], Awaitable[int]]


def run(work: Work, *, seconds: float | None = None, if_interrupted: str = "interrupted") -> int:
    """Do the work with a connected Data API and return its exit status; a failure is told in words, on stderr.

    `seconds` is how long a call may take, where that is not RELAY_RPC_TIMEOUT. Raises SettingsError.
    """
    settings = Settings.from_env(os.environ, now=time.time())
    try:
        return asyncio.run(_connected(work, settings, seconds))
    except KeyboardInterrupt:
        complain(if_interrupted)
        return INTERRUPTED
    except Declined as error:
        complain(str(error))
        return REFUSED
    except NoVerdict as error:
        remedy = _REMEDIES.get(error.reason, "see the project's log;")
        complain(f"the Data API gave no answer: {error.reason} ({error.detail}); {remedy} `relay check` tells more")
        return COULD_NOT_RUN


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


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table that fits the terminal; in a pipe one line a row, however long."""
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
