"""Classifies error answers of the Data API, and exceptions on the way to it, as reasons. No I/O."""

import re
from collections.abc import Mapping
from typing import Final

import aiohttp
import httpx
from postgrest.exceptions import APIErrorFromJSON, generate_default_error_message

from relay.core.errors import Declined, NoVerdict, errno_name
from relay.core.outcomes import Reason

# The SQLSTATEs with which a function declines an operator's request: a wrong argument, no such row, a state that does
# not allow it, a constraint. Their messages are written for the operator.
# https://www.postgresql.org/docs/17/errcodes-appendix.html
DECLINING: Final = frozenset({"22023", "22P02", "P0002", "55000", "23503", "23505", "23514"})

# The SQLSTATE or its first characters; the first match wins: https://www.postgresql.org/docs/17/errcodes-appendix.html
_SQLSTATES: Final = (
    ("57014", Reason.TIMEOUT),  # statement_timeout cancelled the call
    ("55P03", Reason.LOCK_TIMEOUT),
    ("40P01", Reason.DEADLOCK),
    ("42501", Reason.UNAUTHORIZED),
    # PostgREST answers these with 403 or 401: https://docs.postgrest.org/en/v12/references/errors.html
    ("28", Reason.UNAUTHORIZED),
    ("PT401", Reason.UNAUTHORIZED),
    ("PT403", Reason.UNAUTHORIZED),
    ("42883", Reason.CONTRACT_VIOLATION),  # the function, or one that it calls, does not exist
    ("25006", Reason.DATABASE_UNAVAILABLE),  # a replica, or a project that is read-only because its disk is full
    ("0A000", Reason.DATABASE_UNAVAILABLE),  # a replica does not support it
    ("57P", Reason.DATABASE_UNAVAILABLE),  # shutting down, starting up, terminated by the administrator
    ("08", Reason.DATABASE_UNAVAILABLE),
    ("53", Reason.DATABASE_UNAVAILABLE),
)
# https://docs.postgrest.org/en/v12/references/errors.html
_POSTGREST_CODES: Final = (
    ("PGRST106", Reason.CONTRACT_VIOLATION),  # the schema is not exposed
    ("PGRST2", Reason.CONTRACT_VIOLATION),  # function not found, or ambiguous
    ("PGRST30", Reason.UNAUTHORIZED),
)
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_SAFE_CODE = re.compile(r"[0-9A-Z]{1,12}")


class BadAnswer(Exception):
    """The answer is far too long, or compressed although the relay did not ask for that."""


# The first match wins, so a class stands before the classes that it inherits from.
_EXCEPTIONS: Final[tuple[tuple[type[BaseException], Reason], ...]] = (
    (aiohttp.ConnectionTimeoutError, Reason.DATABASE_UNAVAILABLE),  # nothing was sent
    (aiohttp.InvalidURL, Reason.CONTRACT_VIOLATION),
    (aiohttp.ClientConnectionError, Reason.DATABASE_UNAVAILABLE),  # refused, reset, DNS, TLS
    (aiohttp.ClientPayloadError, Reason.DATABASE_UNAVAILABLE),  # cut in the middle of the answer
    (aiohttp.ClientResponseError, Reason.CONTRACT_VIOLATION),  # not HTTP
    (OSError, Reason.DATABASE_UNAVAILABLE),
    (BadAnswer, Reason.CONTRACT_VIOLATION),
    # The answer is no JSON or no UTF-8, or has an integer of thousands of digits; or the host's name is not valid.
    (ValueError, Reason.CONTRACT_VIOLATION),
    (RecursionError, Reason.CONTRACT_VIOLATION),  # the answer is nested absurdly deep
)
# The connection was lost before the answer was complete. Sending once more is safe: either nothing happened, or the
# transaction was committed and the second call answers `replayed`. A time-out is not sent again: no time is left.
_LOST_CONNECTION: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, OSError)


def from_answer(answer: httpx.Response) -> NoVerdict:
    """Classify an answer that is no success; Declined where the database declined the request.

    The code in the body decides. PostgREST derives the HTTP status from that code; the status counts where the body has
    no code, as in a proxy's HTML.

    A deadlock is retryable: Postgres has rolled the whole transaction back. A lock time-out is not: the call would wait
    for the same lock again, and Stripe's own retry comes later and is more likely to succeed.

    PostgREST answers with a blank code (HTTP 400, all fields blank) where the database session ended before it could
    say why, as in an immediate shutdown of Postgres.
    """
    code, message = _words_of(answer)
    status = answer.status_code
    if code == "":
        return NoVerdict(Reason.DATABASE_UNAVAILABLE, f"blank code, HTTP {status}")
    reason = _reason_of(code or "", status)
    detail = f"{code}, HTTP {status}" if code and _SAFE_CODE.fullmatch(code) else f"HTTP {status}"
    if code in DECLINING:
        return Declined(message or code, reason=reason, detail=detail)
    return NoVerdict(reason, detail, retryable=code == "40P01")


def from_member(answer: Mapping[str, object]) -> NoVerdict | None:
    """Classify one answer of a call for several payments, by its SQLSTATE as an answer of its own would be; None where
    it has a verdict. One that is `deferred` is retryable: it waits for a lock, and may do so alone.
    """
    if answer.get("outcome") not in ("failed", "deferred"):
        return None
    code = str(answer.get("sqlstate"))
    detail = f"{code}, in a shared call" if _SAFE_CODE.fullmatch(code) else "in a shared call"
    return NoVerdict(_reason_of(code, 400), detail, retryable=answer["outcome"] == "deferred")


def _words_of(answer: httpx.Response) -> tuple[str | None, str | None]:
    """Code and message as supabase-py reads them: from PostgREST's JSON, else from the header `Proxy-Status` or the
    HTTP status.
    """
    try:
        error = APIErrorFromJSON.model_validate_json(answer.content)
    except ValueError:  # no JSON, or JSON of another shape
        default = generate_default_error_message(answer)
        return default["code"], default["message"]
    return error.code, error.message


def _reason_of(code: str, status: int) -> Reason:
    is_sqlstate = _SQLSTATE.fullmatch(code) is not None
    for prefix, reason in _SQLSTATES if is_sqlstate else _POSTGREST_CODES:
        if code.startswith(prefix):
            return reason
    if status in (401, 403):
        return Reason.UNAUTHORIZED
    if is_sqlstate:
        return Reason.UNEXPECTED
    # Supabase answers 402 while a project is restricted until its bill is paid. Some proxies answer 408 when they close
    # an idle connection (RFC 9110, 15.5.9).
    if status >= 500 or status in (402, 408, 429):
        return Reason.DATABASE_UNAVAILABLE
    if status < 400 or status == 404:  # a redirect, or a host that has no such path
        return Reason.CONTRACT_VIOLATION
    return Reason.UNEXPECTED


def from_exception(error: Exception) -> NoVerdict:
    """Classify an exception that was raised instead of an answer; most are aiohttp's."""
    retryable = isinstance(error, _LOST_CONNECTION) and not isinstance(error, TimeoutError)
    for kind, reason in _EXCEPTIONS:
        if isinstance(error, kind):
            return NoVerdict(reason, _describe(error), retryable=retryable)
    return NoVerdict(Reason.UNEXPECTED, type(error).__name__)


def _describe(error: Exception) -> str:
    """The exception's class, and the name of the operating system's error behind it."""
    behind = getattr(error, "os_error", None) or error.__cause__ or error
    return ", ".join(filter(None, (type(error).__name__, errno_name(behind))))
