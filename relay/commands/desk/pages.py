"""The pages that only show."""

import argparse
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web

from relay.commands import answers, any_id, sweep_lists, terminal, window
from relay.commands.desk import evidence, listing, story
from relay.commands.desk.door import Refusal
from relay.commands.desk.listing import PAGE, Filter
from relay.commands.desk.remedies import REMEDIES
from relay.commands.desk.search import search
from relay.commands.desk.view import Desk, View
from relay.commands.endings import CommandError
from relay.commands.exception_rows import FUNCTION, ListedException, fetch_one, number_of, without_metadata
from relay.commands.report_page import page, reading
from relay.commands.report_page.figures import Facts
from relay.data_api.records import Condition, Row

STOCK_PAGE: Final = 100  # products
# One answer of the Data API has no more rows (Supabase's default). Of more open exceptions only that is said.
MOST_COUNTED: Final = 1000
_SAID: Final = {"resolved": "is resolved", "reopened": "is open again"}
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({"resolution": "", "note": ""})
# What a sweep tells of a payment that it applied; a sweep of an older release tells none.
_APPLIED: Final = frozenset({"amount", "currency", "checkout_session_id", "order_group_id"})
_PARTS: Final = ("summary", "totals", "sellers", "stock", "adjustments", "checks")


class Pages:
    """The handlers. Each raises Refusal, NoVerdict or Declined."""

    def __init__(self, desk: Desk, view: View) -> None:
        self._desk = desk
        self._view = view
        self._records = desk.records

    async def home(self, _: web.Request) -> web.Response:
        """The exceptions are what the desk is for."""
        raise web.HTTPSeeOther("/exceptions")

    async def exceptions(self, request: web.Request) -> web.Response:
        """The list, a page of it."""
        return await self.show_list(request, Filter.of(request.query))

    async def show_list(
        self,
        request: web.Request,
        asked: Filter,
        *,
        problems: Sequence[str] = (),
        said: Mapping[str, str] = _NOTHING,
        ticked: Sequence[int] = (),
    ) -> web.Response:
        """A page of the list. `problems` say why nothing was done, `said` and `ticked` are what the operator sent."""
        rows = await self._listed(asked, PAGE + 1)
        counts = await self._open_by_reason()
        return self._view.page(
            request,
            "exceptions.html",
            status=400 if problems else 200,
            filter=asked,
            rows=rows[:PAGE],
            following=rows[PAGE - 1]["id"] if len(rows) > PAGE else None,
            counts=counts,
            is_capped=sum(counts.values()) >= MOST_COUNTED,
            most_counted=MOST_COUNTED,
            listing=listing,
            problems=problems,
            said=said,
            ticked=ticked,
        )

    async def all_of_them(self, request: web.Request) -> web.Response:
        """How many open ones the filter finds, and the form that resolves them."""
        return await self.show_all(request, Filter.of(request.query))

    async def show_all(
        self, request: web.Request, asked: Filter, *, problems: Sequence[str] = (), said: Mapping[str, str] = _NOTHING
    ) -> web.Response:
        """The page of `all_of_them`; `problems` and `said` are as in `show_list`."""
        asked = replace(asked, status="open", after=None)
        ids = await self.ids_of(asked)
        return self._view.page(
            request,
            "all.html",
            status=400 if problems else 200,
            filter=asked,
            listing=listing,
            count=len(ids),
            upto=max(ids, default=0),
            problems=problems,
            said=said,
        )

    async def ids_of(self, asked: Filter, upto: int | None = None) -> list[int]:
        """The numbers of all exceptions that the filter finds."""
        conditions = asked.conditions(datetime.now(UTC))
        if upto is not None:
            conditions.append(("id", "lte", str(upto)))
        rows = await self._records.rows(FUNCTION, "id", *conditions, parameters=asked.parameters)
        return [int(row["id"]) for row in rows]

    async def exception(self, request: web.Request) -> web.Response:
        """One exception, as it is now."""
        said = _SAID.get(request.query.get("said", ""))
        return await self.show(request, int(request.match_info["id"]), done=said)

    async def show(
        self,
        request: web.Request,
        id_: int,
        *,
        status: int = 200,
        done: str | None = None,
        problems: Sequence[str] = (),
        said: Mapping[str, str] = _NOTHING,
    ) -> web.Response:
        """The page of an exception; `problems` and `said` are as in `show_list`."""
        found = await fetch_one(self._records, id_)
        if found is None:
            raise Refusal(404, f"There is no exception {id_}", "Its number may be mistyped.")
        row: ListedException = without_metadata(found)
        group = row["order_group_id"] or _named_group(row)
        told = await self._story(group) if group else None
        return self._view.page(
            request,
            "exception.html",
            status=status,
            row=row,
            lines=evidence.compare(row),
            remedy=REMEDIES.get(row["reason"]),
            group=group,
            story=told,
            steps=story.steps(told) if told else [],
            history=_history(row),
            following=await self._next_open(id_),
            done=done,
            problems=problems,
            said=said,
        )

    async def search(self, request: web.Request) -> web.Response:
        """What the id is about; its page at once where one page tells all of it."""
        text = request.query.get("q", "").strip()
        found = await search(self._records, text)
        if found.place is not None:
            raise web.HTTPSeeOther(found.place)
        return self._view.page(request, "search.html", text=text, found=found, nobodys=any_id.NOBODYS)

    async def group(self, request: web.Request) -> web.Response:
        """The story of an order group."""
        try:
            id_ = str(uuid.UUID(request.match_info["id"]))
        except ValueError:
            raise Refusal(404, "There is no such order group", "An order group's id is a UUID.") from None
        told = await self._story(id_)
        status = 200 if told["order_group"] or told["timeline"] else 404
        return self._view.page(request, "group.html", status=status, story=told, steps=story.steps(told), id=id_)

    async def stock(self, request: web.Request) -> web.Response:
        """What is on hand, the least available first."""
        seller = request.query.get("seller", "")
        page_number = min(number_of(request.query.get("page", "")) or 1, 10_000)
        conditions: list[Condition] = []
        if seller:
            try:
                conditions.append(("seller_id", "eq", str(uuid.UUID(seller))))
            except ValueError:
                raise Refusal(404, "There is no such seller", "A seller's id is a UUID.") from None
        rows = await self._records.some(
            "inventory_levels",
            "product_id,seller_id,sku,name,on_hand,reserved,available",
            *conditions,
            order=[("available", False), ("product_id", False)],
            limit=STOCK_PAGE + 1,
            offset=(page_number - 1) * STOCK_PAGE,
        )
        sellers = await self._sellers({row["seller_id"] for row in rows})
        return self._view.page(
            request,
            "stock.html",
            rows=rows[:STOCK_PAGE],
            sellers=sellers,
            seller=seller,
            page_number=page_number,
            is_last=len(rows) <= STOCK_PAGE,
        )

    async def sweep(self, request: web.Request) -> web.Response:
        """What the last sweep left, read anew each time: a scheduler may write the file."""
        path, found, fault, written = self._desk.sweep, None, "", ""
        if path is not None:
            try:
                found = sweep_lists.read_file(path)
                written = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()
            except (CommandError, OSError) as error:
                fault = str(error)
        applied = [one for one in _list((found or {}).get("applied_now")) if one.keys() >= _APPLIED]
        return self._view.page(
            request,
            "sweep.html",
            path=path,
            found=found,
            fault=fault,
            written=written,
            sweeps=sweep_lists,
            applied=applied,
        )

    async def report(self, request: web.Request) -> web.Response:
        """The figures of a window, once one is asked for."""
        texts = {name: request.query.get(name, "").strip() for name in ("since", "until")}
        today = datetime.now(UTC).date()
        shown = {"since": texts["since"] or str(today - timedelta(days=7)), "until": texts["until"]}
        if not texts["since"]:
            return self._view.page(request, "report.html", shown=shown, parts=None, problem="", report=None)
        try:
            since, until = (window.instant(text) if text else datetime.now(UTC) for text in texts.values())
            if since >= until:
                raise argparse.ArgumentTypeError("the window must begin before it ends")
        except argparse.ArgumentTypeError as error:
            return self._view.page(
                request, "report.html", status=400, shown=shown, parts=None, problem=str(error), report=None
            )
        found = await reading.fetch(self._records, since, until)
        parts = page.parts(Facts(found, mode="live" if self._desk.livemode else "test"), *_PARTS)
        return self._view.page(request, "report.html", shown=shown, parts=parts, problem="", report=found)

    async def _listed(self, asked: Filter, limit: int) -> list[ListedException]:
        rows = await self._records.some(
            FUNCTION,
            "*",
            *asked.conditions(datetime.now(UTC)),
            order=asked.ordering,
            limit=limit,
            parameters=asked.parameters,
        )
        read: list[ListedException] = without_metadata(answers.read(list[ListedException], rows, of=FUNCTION))
        return read

    async def _open_by_reason(self) -> dict[str, int]:
        """How many are open, by reason; MOST_COUNTED in all means that or more."""
        rows = await self._records.some(
            FUNCTION, "id,reason", order=[("id", False)], limit=MOST_COUNTED, parameters={"p_status": "open"}
        )
        counts: dict[str, int] = {}
        for row in rows:
            counts[str(row.get("reason"))] = counts.get(str(row.get("reason")), 0) + 1
        return counts

    async def _next_open(self, id_: int) -> int | None:
        rows = await self._records.some(
            FUNCTION, "id", ("id", "gt", str(id_)), order=[("id", False)], limit=1, parameters={"p_status": "open"}
        )
        return int(rows[0]["id"]) if rows else None

    async def _story(self, group: str) -> dict[str, Any]:
        answer = await self._records.call("explain_order_group", {"p_order_group_id": group})
        return without_metadata(answers.read(story.Story, answer, of="explain_order_group"))  # type: ignore[no-any-return]

    async def _sellers(self, ids: set[str]) -> dict[str, str]:
        """The names of sellers by their ids."""
        if not ids:
            return {}
        rows: list[Row] = await self._records.rows("sellers", "id,name", ("id", "in", f"({','.join(sorted(ids))})"))
        return {str(row["id"]): str(row["name"]) for row in rows}


def _named_group(row: ListedException) -> str | None:
    """The group that another account's session has named; it is no group of the exception's own."""
    named = row["details"].get("named_order_group_id") if isinstance(row["details"], dict) else None
    try:
        return str(uuid.UUID(named)) if isinstance(named, str) else None
    except ValueError:
        return None


def _history(row: ListedException) -> list[str]:
    """What was said and known of it before, as sentences."""
    details = row["details"] if isinstance(row["details"], dict) else {}
    parts = {name: _list(details.get(name)) for name in ("earlier", "reopened")}
    told = [
        f"Until {terminal.when(one.get('until'))} the reason was {str(one.get('reason')).replace('_', ' ')}."
        for one in parts["earlier"]
    ]
    told += [
        f"{one.get('resolved_by')} had called it {str(one.get('resolution')).replace('_', ' ')} ({one.get('note')}); "
        f"{one.get('reopened_by')} reopened it at {terminal.when(one.get('reopened_at'))}: {one.get('reopened_note')}"
        for one in parts["reopened"]
    ]
    return told


def _list(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none where the value is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
