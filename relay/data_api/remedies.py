"""Says in plain words why the Data API gave no answer, and what to do. No I/O."""

import re
from collections.abc import Mapping
from typing import Final

from relay.core.errors import NoVerdict
from relay.core.outcomes import Reason

_MIGRATIONS: Final = "this release's migrations are not in this database: supabase db push --remote"
_KEY: Final = "SUPABASE_SERVICE_ROLE_KEY is not accepted: it belongs to another project, or was revoked"
_RIGHTS: Final = "the key's role may not do this: run `select payments.restore_privileges();` as postgres"
# What stands in a failure's detail (relay.data_api.failures): codes of PostgREST, https://docs.postgrest.org/en/v12/references/errors.html,
# SQLSTATEs, errors of the operating system, aiohttp's classes, and HTTP statuses; the first that is there says most.
_BY_CODE: Final[Mapping[str, str]] = {
    "PGRST202": _MIGRATIONS,
    "PGRST205": _MIGRATIONS,
    "42883": _MIGRATIONS,
    "42P01": f"{_MIGRATIONS}; or a trigger of yours names a table that is not there",
    "PGRST106": "the Data API does not expose the schema public: Settings, Data API, Exposed schemas",
    "PGRST002": "the Data API cannot read the database's schema: is the database up?",
    "42501": _RIGHTS,
    "25006": "the database is read-only: its disk is full, or SUPABASE_URL is a replica's",
    "ClientConnectorDNSError": "no such host: is SUPABASE_URL right? A project that was deleted has none either",
    "ClientConnectorCertificateError": (
        "the host's certificate is not trusted: is a proxy between? SSL_CERT_FILE names its authority"
    ),
    "ECONNREFUSED": "nothing listens at SUPABASE_URL",
    "ENETUNREACH": "this machine has no way to SUPABASE_URL: look at its network",
    "EHOSTUNREACH": "this machine has no way to SUPABASE_URL: look at its network",
    "401": _KEY,
    "402": "the project is restricted until its bill is paid",
    "540": "the project is paused: restore it in Supabase's dashboard",
    "404": "what answers at SUPABASE_URL is no Supabase project",
}
_BY_REASON: Final[Mapping[str, str]] = {
    Reason.DATABASE_UNAVAILABLE: "is the project up, and SUPABASE_URL right?",
    Reason.UNAUTHORIZED: _KEY,
    Reason.CONTRACT_VIOLATION: "are this release's migrations in the database, and SUPABASE_URL right?",
    Reason.TIMEOUT: "the database is slow, was asked for too much at once, or a firewall drops what is sent to it",
    Reason.LOCK_TIMEOUT: "somebody holds the order group: run it again",
    Reason.DEADLOCK: "run it again",
}


def remedy(failure: NoVerdict) -> str:
    """Why there was no answer, as far as that is known, and what to look at."""
    named = set(re.findall(r"\w+", failure.detail))
    by_code = (words for code, words in _BY_CODE.items() if code in named)
    return next(by_code, _BY_REASON.get(failure.reason, "see the project's log"))
