"""The connected client of supabase-py, and what becomes of a request: its data, or a classified failure.

The calls go over connections of the relay's own (relay.data_api.transport): many times cheaper than httpx's.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import httpx
from postgrest.exceptions import APIError
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from yarl import URL

from relay.config import Settings
from relay.core.errors import Declined, NoVerdict, RelayError
from relay.core.outcomes import Reason
from relay.data_api import failures, transport
from relay.data_api.http1 import Server

# Enough for a TLS handshake across a continent; a dead host is known well before the call's budget ends.
CONNECT_SECONDS: Final = 3.0
# Shorter than the idle limits of the usual proxies, so that a pooled connection is rarely a dead one.
_IDLE_SECONDS: Final = 15.0
# A group that a delivery holds, a deadlock, a database that restarts: worth another try in work that takes an hour.
WORTH_RETRYING: Final = frozenset({Reason.LOCK_TIMEOUT, Reason.DEADLOCK, Reason.TIMEOUT, Reason.DATABASE_UNAVAILABLE})
RETRY_PAUSES_SECONDS: Final = (0.5, 2.0)
_Answer = TypeVar("_Answer")


@asynccontextmanager
async def open_client(settings: Settings, *, timeout: float) -> AsyncIterator[AsyncClient]:  # noqa: ASYNC109  a setting
    """A client of the Data API of its own: never signed in as a user, which would put RLS in its way.

    `timeout` is how many seconds a call may take.
    """
    url = URL(settings.supabase_url)
    server = Server(
        url.host or "",
        url.port or 0,
        tls=httpx.create_ssl_context() if url.scheme == "https" else None,
        connect_seconds=min(CONNECT_SECONDS, timeout),
        idle_seconds=_IDLE_SECONDS,
    )
    async with server, transport.Client(server, settings.supabase_url) as http:
        yield await acreate_client(
            settings.supabase_url,
            settings.supabase_service_role_key.reveal(),
            AsyncClientOptions(
                httpx_client=http,
                auto_refresh_token=False,
                persist_session=False,
                postgrest_client_retry=False,
            ),
        )


async def execute(request: Any, *, may_decline: bool = False) -> object:
    """The data of the answer. Raises NoVerdict, or Declined where the caller can do something with it."""
    failure: RelayError
    try:
        return (await request.execute()).data
    except APIError as error:
        if may_decline and error.code in failures.DECLINING:
            failure = Declined(error.message or error.code)
        else:
            failure = failures.from_answer(error.code, transport.status.get(0))
    except Exception as error:  # classified, counted and logged; whatever it is, there is no verdict
        failure = failures.from_exception(error)
    # Not chained: the causes quote payloads and addresses.
    raise failure


async def patiently(call: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Call, and twice more after a pause where another try may help: a moment without the database shall not end a
    sweep of an hour. Only for what may be done again. Raises what the last try does: NoVerdict or Declined.
    """
    for pause in RETRY_PAUSES_SECONDS:
        try:
            return await call()
        except NoVerdict as error:
            if error.reason not in WORTH_RETRYING:
                raise
        await asyncio.sleep(pause)
    return await call()
