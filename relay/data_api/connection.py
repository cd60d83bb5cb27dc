"""Opens supabase-py's client, and repeats operators' calls that got no answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from supabase import AsyncClient, AsyncClientOptions, acreate_client

from relay.config import Settings
from relay.core.errors import NoVerdict
from relay.core.outcomes import Reason
from relay.data_api.transport import open_http

# A delivery holds the order group, two transactions were in a deadlock, the database restarts: another try may succeed.
WORTH_RETRYING: Final = frozenset({Reason.LOCK_TIMEOUT, Reason.DEADLOCK, Reason.TIMEOUT, Reason.DATABASE_UNAVAILABLE})
RETRY_PAUSES_SECONDS: Final = (0.5, 2.0)
_Answer = TypeVar("_Answer")


@asynccontextmanager
async def open_client(settings: Settings, *, timeout: float) -> AsyncIterator[AsyncClient]:  # noqa: ASYNC109  of each call
    """Open a client of the Data API. Nobody signs in with it, because a user's session would replace the service key.

    `timeout` is how many seconds connecting may take at most; the caller limits each call. `execute` of its requests
    raises NoVerdict or Declined (relay.data_api.transport), and none of supabase-py's exceptions.
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


async def with_retries(call: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Call, and call up to two times more after a pause where another try may succeed.

    A sweep may take an hour, and a moment without the database must not end it. Use this only for calls that may be
    repeated. Raises what the last call raises: NoVerdict or Declined.
    """
    for pause in RETRY_PAUSES_SECONDS:
        try:
            return await call()
        except NoVerdict as error:
            if error.reason not in WORTH_RETRYING:
                raise
        await asyncio.sleep(pause)
    return await call()
