"""What the operators' commands share: settings, the Data API, and one exit status for each way to fail."""

import argparse
import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from relay import reconcile
from relay.config import Settings
from relay.errors import Declined, NoVerdict
from relay.metrics import Metrics
from relay.reconcile import DataApi

OK: Final = 0
REFUSED: Final = 1
"""Not found, or declined by the database."""
COULD_NOT_RUN: Final = 2
INTERRUPTED: Final = 130
"""What a shell reports for Ctrl-C."""
STATUSES: Final = "exit status: 0 done, 1 not found or declined by the database, 2 could not run"

Work = Callable[[Settings, DataApi], Awaitable[int]]


def run(work: Work, *, seconds: float | None = None, if_interrupted: str = "interrupted") -> int:
    """Do the work with a connected Data API and return its exit status; a failure is told in words, on stderr.

    `seconds` is how long a call may take, where that is not RELAY_RPC_TIMEOUT. Raises SettingsError.
    """
    settings = Settings.from_env(os.environ, now=time.time())
    try:
        status = asyncio.run(_connected(work, settings, seconds))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `| head` has seen enough; Python would complain once more when it closes the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        complain(if_interrupted)
        return INTERRUPTED
    except Declined as error:
        complain(str(error))
        return REFUSED
    except NoVerdict as error:
        complain(f"the Data API gave no answer: {error.reason} ({error.detail})")
        return COULD_NOT_RUN


async def _connected(work: Work, settings: Settings, seconds: float | None) -> int:
    async with reconcile.connect(settings, Metrics(), seconds=seconds) as data_api:
        return await work(settings, data_api)


def complain(message: str) -> None:
    """One line on stderr, as all of relay's messages look."""
    sys.stderr.write(f"relay: {message}\n")


def write_json(value: object) -> None:
    """One JSON value on stdout."""
    json.dump(value, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")


def order_group_id(text: str) -> str:
    """An argument that must be a UUID."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError("must be an order group's id, a UUID") from None
