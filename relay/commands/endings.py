"""How a command ends: its exit status, and the line that says why it could not do its work.

A command raises, and relay/cli.py alone tells the person. What it may raise besides CommandError is listed there.
"""

from typing import Final

OK: Final = 0
NO: Final = 1
"""The command ran, and the answer is no: not found, declined by the database, not ready, drift is left."""
COULD_NOT_RUN: Final = 2
"""Wrong usage or settings, no answer, nothing to write to: nobody knows what the answer would have been."""
INTERRUPTED: Final = 130
"""What a shell reports for Ctrl-C."""
STATUSES: Final = "exit status: 0 done, 1 not found or declined by the database, 2 could not run"


class CommandError(Exception):
    """The command cannot go on. The message is for the operator: one line, without secrets."""

    def __init__(self, message: str, status: int = COULD_NOT_RUN) -> None:
        super().__init__(message)
        self.status = status
