"""What the desk's forms do: resolve one exception or many, and reopen."""

from dataclasses import replace
from typing import Final

from aiohttp import web

from relay.commands.desk.bulk import Bulk
from relay.commands.desk.door import Refusal
from relay.commands.desk.listing import Filter
from relay.commands.desk.pages import Pages
from relay.commands.desk.view import Desk, View
from relay.commands.exception_rows import RESOLUTIONS, fetch_one, number_of, reopen, resolve
from relay.core.errors import Declined

LONGEST_NOTE: Final = 2000  # characters
# A few are resolved while the browser waits; of many the progress is shown.
WAIT_SECONDS: Final = 1.5


class Actions:
    """The handlers. Each raises Refusal, NoVerdict or Declined."""

    def __init__(self, desk: Desk, view: View) -> None:
        self._desk = desk
        self._view = view
        self._pages = Pages(desk, view)

    async def resolve(self, request: web.Request) -> web.Response:
        """Close one exception; where somebody was faster, say who."""
        id_ = int(request.match_info["id"])
        said = await _said(request)
        problems = _problems(said, with_resolution=True)
        if problems:
            return await self._pages.show(request, id_, status=400, problems=problems, said=said)
        try:
            await resolve(self._desk.records, id_, resolution=said["resolution"], by=self._desk.by, note=said["note"])
        except Declined as error:
            return await self._pages.show(request, id_, status=409, problems=await self._why(id_, error), said=said)
        raise web.HTTPSeeOther(f"/exceptions/{id_}?said=resolved")

    async def reopen(self, request: web.Request) -> web.Response:
        """Take a person's word back."""
        id_ = int(request.match_info["id"])
        said = await _said(request)
        if problems := _problems(said, with_resolution=False):
            return await self._pages.show(request, id_, status=400, problems=problems, said=said)
        try:
            await reopen(self._desk.records, id_, by=self._desk.by, note=said["note"])
        except Declined as error:
            return await self._pages.show(request, id_, status=409, problems=[_sentence(error)], said=said)
        raise web.HTTPSeeOther(f"/exceptions/{id_}?said=reopened")

    async def resolve_many(self, request: web.Request) -> web.Response:
        """Close those that were ticked, or all that a filter finds up to a number."""
        form = await request.post()
        said = await _said(request)
        problems = _problems(said, with_resolution=True)
        asked = Filter.of({name: str(value) for name, value in form.items()})
        upto = number_of(str(form.get("upto", "")))
        ticked = [number for text in form.getall("id", []) if (number := number_of(str(text))) is not None]
        if upto is not None:
            if problems:
                return await self._pages.show_all(request, asked, problems=problems, said=said)
            ids = await self._pages.ids_of(replace(asked, status="open", after=None), upto)
        else:
            ids = list(dict.fromkeys(ticked))
            problems += [] if ids else ["Tick at least one exception."]
            if problems:
                return await self._pages.show_list(request, asked, problems=problems, said=said, ticked=ids)
        bulk = Bulk(ids, said["resolution"], self._desk.by, said["note"])
        self._desk.bulks.append(bulk)
        bulk.start(self._desk.records)
        await bulk.wait(WAIT_SECONDS)
        raise web.HTTPSeeOther(f"/bulk/{len(self._desk.bulks)}")

    async def progress(self, request: web.Request) -> web.Response:
        """How far it is; the page asks again by itself until it is over."""
        number = int(request.match_info["number"])
        if not 0 < number <= len(self._desk.bulks):
            raise Refusal(404, "There is no such page", "The desk was started anew since; what was resolved stays so.")
        return self._view.page(request, "bulk.html", bulk=self._desk.bulks[number - 1])

    async def _why(self, id_: int, error: Declined) -> list[str]:
        """The database's own sentence, after who was faster where that is the reason."""
        row = await fetch_one(self._desk.records, id_)
        if row is None or row["status"] == "open":
            return [_sentence(error)]
        word = str(row["resolution"]).replace("_", " ")
        return [f"{row['resolved_by']} was faster: it is resolved as {word}. What you sent changed nothing."]


async def _said(request: web.Request) -> dict[str, str]:
    form = await request.post()
    return {name: str(form.get(name, "")).strip() for name in ("resolution", "note")}


def _problems(said: dict[str, str], *, with_resolution: bool) -> list[str]:
    """What is wrong with a form, as sentences."""
    problems = []
    if with_resolution and said["resolution"] not in RESOLUTIONS:
        problems.append("Say what became of the money: choose a resolution.")
    if not said["note"]:
        problems.append("Write a note, for whoever asks later.")
    elif len(said["note"]) > LONGEST_NOTE:
        problems.append(f"The note is longer than {LONGEST_NOTE:,} characters.")
    elif "\0" in said["note"]:
        problems.append("The note holds a character that no text may hold.")
    return problems


def _sentence(error: Declined) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
