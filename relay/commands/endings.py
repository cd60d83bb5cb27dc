"""The exit statuses of commands, and the error that a command raises where it cannot do its work.

A command raises, and only relay/cli.py prints the message. It also lists the other exceptions that a command may raise.
"""

from typing import Final

from relay.core.errors import NoVerdict
from relay.data_api.remedies import remedy

OK: Final = 0
NO: Final = 1
"""The command ran, and the answer is no: not found, declined by the database, not ready, or a difference is left."""
COULD_NOT_RUN: Final = 2
"""The command could not run: wrong usage or settings, no answer, or the output cannot be written."""
INTERRUPTED: Final = 130
"""The exit status that a shell reports after Ctrl-C."""
STATUSES: Final = "exit status: 0 done, 1 not found or declined by the database, 2 could not run"


class CommandError(Exception):
    """The command cannot go on. The message is for the operator: one line without secrets. `status` is the exit
    status.
    """

    def __init__(self, message: str, status: int = COULD_NOT_RUN) -> None:
        super().__init__(message)
        self.status = status


def no_answer(failure: NoVerdict) -> str:
    """One line for the operator about a call that the Data API did not answer, and what to look at."""
    return f"the Data API gave no usable answer: {failure.reason} ({failure.detail}); {remedy(failure)}"
