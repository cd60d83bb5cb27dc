"""The connected client of supabase-py, and what to do where a call gave no answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from supabase import AsyncClient, AsyncClientOptions, acreate_client

from relay.config import Settings
from relay.core.errors import NoVerdict
from relay.core.outcomes import Reason
from relay.data_api.transport import open_http

# A group that a delivery holds, a deadlock, a database that restarts: worth another try in work that takes an hour.
WORTH_RETRYING: Final = frozenset({Reason.LOCK_TIMEOUT, Reason.DEADLOCK, Reason.TIMEOUT, Reason.DATABASE_UNAVAILABLE})
RETRY_PAUSES_SECONDS: Final = (0.5, 2.0)
_Answer = TypeVar("_Answer")


@asynccontextmanager
async def open_client(settings: Settings, *, timeout: float) -> AsyncIterator[AsyncClient]:  # noqa: ASYNC109  of each call
    """A client of the Data API of its own: never signed in as a user, which would put RLS in its way.

    `timeout` is how many seconds a call may take. `execute` of its requests raises NoVerdict or Declined
    (relay.data_api.transport), and nothing of supabase-py's.
    """
    async with open_http(settings.supabase_url, timeout=timeout) as http:
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
