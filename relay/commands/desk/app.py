"""The desk as an aiohttp application: routes, checks of each request, and what becomes of failures."""

import logging
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from relay.commands import html
from relay.commands.desk.actions import Actions
from relay.commands.desk.door import HEADERS, HOST, Door, Refusal, UsedLink
from relay.commands.desk.pages import Pages
from relay.commands.desk.view import Desk, View
from relay.commands.endings import no_answer
from relay.core.errors import NoVerdict

_STATIC: Final = Path(__file__).parent / "static"
_OPEN: Final = ("/static/", "/open/")
"""What is answered before anybody has come in."""
# Far above any form of the desk.
_MOST_BYTES: Final = 256 * 1024
_LOG: Final = logging.getLogger(__name__)


def make_app(desk: Desk, door: Door) -> web.Application:
    """The application behind the door."""
    view = View(desk, door, html.environment(Path(__file__).parent / "templates"))
    pages, actions = Pages(desk, view), Actions(desk, view)

    @web.middleware
    async def answer(request: web.Request, handler: Any) -> web.StreamResponse:
        """Check the request, and show what cannot be done as a page."""
        response: web.StreamResponse
        if (place := door.place(request)) is None:
            return web.Response(status=404, headers=HEADERS)
        try:
            door.check_address(request)
            if not place.startswith(_OPEN):
                door.check_session(request)
            if request.method == "POST":
                door.check_origin(request)
                door.check_form(await _form(request))
            response = await handler(request)
        except Refusal as refusal:
            if isinstance(refusal, UsedLink):
                desk.warn("the link was used a second time, and refused; if that was not you, press Ctrl-C")
            response = view.refusal(request, refusal)
        except NoVerdict as failure:
            response = view.refusal(request, Refusal(502, "The database gave no answer", no_answer(failure)))
        except web.HTTPException as error:
            response = _below(door.root, error) if error.status < 400 else view.refusal(request, _refusal_of(error))
        except Exception:
            _LOG.exception("a page could not be made")
            words = "The terminal of `relay desk` has more. Nothing else is known of it."
            response = view.refusal(request, Refusal(500, "A fault of the desk's own", words))
        response.headers.update(HEADERS)
        return response

    async def enter(request: web.Request) -> web.StreamResponse:
        """Let the bearer of the link in. A page leads on: with a redirect that began at another site, the browser would
        not send the cookie.
        """
        if "prefetch" in request.headers.get("Sec-Purpose", ""):
            raise Refusal(403, "Not yet", "Open the link, instead of looking ahead.")
        entered = view.page(request, "entered.html")
        door.enter(request.match_info["token"], entered)
        return entered

    async def static(request: web.Request) -> web.StreamResponse:
        """A file of the desk's own."""
        name = request.match_info["name"]
        if name not in {path.name for path in _STATIC.iterdir()}:
            raise web.HTTPNotFound
        return web.FileResponse(_STATIC / name)

    pages_below = web.Application()
    pages_below.add_routes(
        [
            web.get("/open/{token}", enter, allow_head=False),  # a HEAD would use the link up
            web.get("/static/{name}", static),
            web.get("/", pages.home),
            web.get("/exceptions", pages.exceptions),
            web.get("/exceptions/all", pages.all_of_them),
            web.get(r"/exceptions/{id:\d{1,18}}", pages.exception),
            web.get("/search", pages.search),
            web.get("/groups/{id}", pages.group),
            web.get("/stock", pages.stock),
            web.get("/sweep", pages.sweep),
            web.get("/report", pages.report),
            web.get(r"/bulk/{number:\d{1,6}}", actions.progress),
            web.post(r"/exceptions/{id:\d{1,18}}/resolve", actions.resolve),
            web.post(r"/exceptions/{id:\d{1,18}}/reopen", actions.reopen),
            web.post("/exceptions/resolve", actions.resolve_many),
        ]
    )
    app = web.Application(middlewares=[answer], client_max_size=_MOST_BYTES)
    app.add_subapp(door.root, pages_below)
    return app


def _below(root: str, redirect: web.HTTPException) -> web.HTTPException:
    """The handlers lead to a page by its path below the root."""
    redirect.headers["Location"] = root + redirect.headers["Location"]
    return redirect


async def _form(request: web.Request) -> Any:
    """The form that was sent. Raises Refusal where it cannot be read."""
    try:
        return await request.post()
    except ValueError:
        raise Refusal(400, "The form cannot be read", "It is no UTF-8 text; nothing was done.") from None


def _refusal_of(error: web.HTTPException) -> Refusal:
    match error.status:
        case 404:
            return Refusal(404, "There is no such page", "The address leads nowhere.")
        case 405:
            return Refusal(405, "Not in this way", "This address takes no such request.")
        case 413:
            return Refusal(413, "Too long", "The form is longer than any of the desk's; nothing was done.")
    return Refusal(error.status, error.reason, f"http://{HOST} has said so.")
