"""The exit statuses of commands, and the error that a command raises where it cannot do its work.

A command raises, and only relay/cli.py prints the message. It also lists the other exceptions that a command may raise.
"""

from collections.abc import Mapping
from typing import Final

from relay.core.errors import NoVerdict
from relay.core.outcomes import Reason

OK: Final = 0
NO: Final = 1
"""The command ran, and the answer is no: not found, declined by the database, not ready, or a difference is left."""
COULD_NOT_RUN: Final = 2
"""The command could not run: wrong usage or settings, no answer, or the output cannot be written."""
INTERRUPTED: Final = 130
"""The exit status that a shell reports after Ctrl-C."""
STATUSES: Final = "exit status: 0 done, 1 not found or declined by the database, 2 could not run"

_REMEDIES: Final[Mapping[Reason, str]] = {
    Reason.DATABASE_UNAVAILABLE: "is the project up, and SUPABASE_URL right?",
    Reason.UNAUTHORIZED: "is SUPABASE_SERVICE_ROLE_KEY this project's, and still valid?",
    Reason.CONTRACT_VIOLATION: "are this release's migrations in the database, and SUPABASE_URL right?",
    Reason.TIMEOUT: "the database is slow, or was asked for too much at once;",
    Reason.LOCK_TIMEOUT: "somebody holds the order group: run it again;",
    Reason.DEADLOCK: "run it again;",
}


class CommandError(Exception):
    """The command cannot go on. The message is for the operator: one line without secrets. `status` is the exit
    status.
    """

    def __init__(self, message: str, status: int = COULD_NOT_RUN) -> None:
        super().__init__(message)
        self.status = status


def no_answer(failure: NoVerdict) -> str:
    """One line for the operator about a call that the Data API did not answer, and what to look at."""
    remedy = _REMEDIES.get(failure.reason, "see the project's log;")
    return f"the Data API gave no answer: {failure.reason} ({failure.detail}); {remedy} `relay check` tells more"
