"""What all pages of the desk are made of, and with."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment
from markupsafe import Markup, escape

from relay.commands.desk import links
from relay.commands.desk.bulk import Bulk
from relay.commands.desk.door import FORM_KEY, Door, Refusal
from relay.commands.exception_rows import RESOLUTIONS, expected_amount, received_amount
from relay.core.currency import format_amount
from relay.data_api.records import Records

_CODE: Final = re.compile(r"`([^`]+)`")
_ID: Final = re.compile(r"[a-z]{2,5}_[A-Za-z0-9_]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")


@dataclass(slots=True)
class Desk:
    """Whose desk it is, and what it works on."""

    records: Records
    by: str
    livemode: bool
    project: str
    """The host of SUPABASE_URL."""
    sweep: Path | None
    """The file that the last sweep wrote; None where none was named."""
    warn: Callable[[str], None]
    """Writes a line to the operator's terminal."""
    bulks: list[Bulk] = field(default_factory=list)


class View:
    """Renders pages."""

    def __init__(self, desk: Desk, door: Door, environment: Environment) -> None:
        self._desk = desk
        self._door = door
        self._environment = environment
        environment.filters["prose"] = _prose
        environment.filters["short"] = _short
        environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
        environment.tests["id"] = lambda text: isinstance(text, str) and _ID.fullmatch(text) is not None
        environment.globals.update(
            desk=desk,
            root=door.root,
            dashboard=lambda id_: links.dashboard(id_, livemode=desk.livemode),
            expected_amount=expected_amount,
            received_amount=received_amount,
            format_amount=format_amount,
            resolutions=RESOLUTIONS,
            form_key_name=FORM_KEY,
        )

    def page(self, request: web.Request, name: str, *, status: int = 200, **values: Any) -> web.Response:
        """A page from its template."""
        values = {
            "at": self._door.place(request) or "",
            "inside": self._door.is_inside(request),
            "form_key": self._door.form_key,
        } | values
        text = self._environment.get_template(name).render(values)
        # Lone surrogates, which JSON may hold, have no UTF-8.
        return web.Response(
            body=text.encode("utf-8", "replace"), status=status, content_type="text/html", charset="utf-8"
        )

    def refusal(self, request: web.Request, refusal: Refusal) -> web.Response:
        """The page that says why there is no other."""
        return self.page(request, "refusal.html", status=refusal.status, refusal=refusal)


def _prose(text: str) -> Markup:
    """A sentence of the documentation: code is marked as such, and of links the words are left."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(_LINK.sub(r"\1", text)))))  # noqa: S704  escaped before


def _short(value: object, characters: int = 120) -> str:
    """The beginning of a text that may be very long."""
    text = str(value)
    return text if len(text) <= characters else text[:characters] + "\N{HORIZONTAL ELLIPSIS}"
