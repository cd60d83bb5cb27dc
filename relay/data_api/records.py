"""Calls functions, and reads and inserts rows, for the operators' commands. The webhook does not use it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from postgrest.types import ReturnMethod
from supabase import AsyncClient

from relay.config import Settings
from relay.core.errors import NoVerdict
from relay.core.outcomes import Reason
from relay.data_api.client import DataApi
from relay.data_api.connection import open_client
from relay.metrics import Metrics

Row = dict[str, Any]
Condition = tuple[str, str, str]
"""Column, operator and value as PostgREST names them: ("status", "eq", "paid")."""
Order = tuple[str, bool]
"""A column by which rows are ordered, and whether the greatest come first."""
# The Data API may limit the rows of an answer (Supabase: 1,000 by default). A short page is therefore not taken for the
# last one; only an empty page is.
PAGE_ROWS: Final = 500


class Records:
    """Calls any function, and reads and inserts rows. `timeout` is how many seconds one request may take."""

    def __init__(self, client: AsyncClient, *, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    async def call(self, function: str, parameters: Mapping[str, object]) -> object:
        """Call a function and return its answer. Raises NoVerdict, or Declined with the function's own sentence."""
        return await self._ask(self._client.rpc(function, dict(parameters)))

    async def rows(
        self, source: str, columns: str, *conditions: Condition, parameters: Mapping[str, object] | None = None
    ) -> list[Row]:
        """All rows that meet the conditions, ordered by their `id`, which `columns` must name.

        `source` is a table, or a function where `parameters` are given. Raises NoVerdict or Declined.
        """
        found: list[Row] = []
        while True:
            request = self._selecting(source, columns, conditions, parameters)
            if found:
                request = request.gt("id", found[-1]["id"])
            page = await self._page_of(request.order("id").limit(PAGE_ROWS))
            if not all("id" in row for row in page):
                raise NoVerdict(Reason.CONTRACT_VIOLATION, "rows without their id")
            if not page:
                return found
            found += page

    async def some(
        self,
        source: str,
        columns: str,
        *conditions: Condition,
        order: Sequence[Order],
        limit: int,
        offset: int = 0,
        parameters: Mapping[str, object] | None = None,
    ) -> list[Row]:
        """The first rows in an order, `limit` at most; the Data API may have a lower limit of its own.

        `source` is as in `rows`. Raises NoVerdict or Declined.
        """
        request = self._selecting(source, columns, conditions, parameters)
        for column, descending in order:
            request = request.order(column, desc=descending)
        return await self._page_of(request.range(offset, offset + limit - 1))

    def _selecting(
        self, source: str, columns: str, conditions: Sequence[Condition], parameters: Mapping[str, object] | None
    ) -> Any:
        request: Any
        if parameters is None:
            request = self._client.table(source).select(columns)
        else:
            request = self._client.rpc(source, dict(parameters)).select(columns)
        for column, operator, value in conditions:
            request = request.filter(column, operator, value)
        return request

    async def _page_of(self, request: Any) -> list[Row]:
        page = await self._ask(request)
        if not isinstance(page, list) or not all(isinstance(row, dict) for row in page):
            raise NoVerdict(Reason.CONTRACT_VIOLATION, f"rows of unexpected shape ({type(page).__name__})")
        return page

    async def insert(self, table: str, row: Mapping[str, object]) -> None:
        """Insert a row. Raises NoVerdict or Declined."""
        await self._ask(self._client.table(table).insert(dict(row), returning=ReturnMethod.minimal))

    async def _ask(self, request: Any) -> object:
        """Send a request once. Raises NoVerdict or Declined."""
        try:
            async with asyncio.timeout(self._timeout):
                return (await request.execute()).data
        except TimeoutError:
            raise NoVerdict(Reason.TIMEOUT, "no answer in time") from None


@dataclass(frozen=True, slots=True)
class Clients:
    """Both clients of the Data API, over the same connections."""

    data_api: DataApi
    records: Records


@asynccontextmanager
async def connect(settings: Settings, *, seconds: float | None = None) -> AsyncIterator[Clients]:
    """Open the clients that the operators' commands use. `seconds` is how long one call may take; without it
    RELAY_RPC_TIMEOUT counts.
    """
    timeout = seconds or settings.rpc_timeout
    async with open_client(settings, timeout=timeout) as client:
        yield Clients(DataApi(client, rpc_timeout=timeout, metrics=Metrics()), Records(client, timeout=timeout))
