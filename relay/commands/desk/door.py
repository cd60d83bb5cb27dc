"""Who may come in: the desk's own path, the one-time link, the session, and the checks of every request.

Other pages in the operator's browser can send requests to 127.0.0.1 too. They cannot read the link, they send another
`Host` (a name of their own that leads here) or another `Origin`, and the session's cookie does not go with their
requests.

Browsers keep no cookies apart by port: a cookie for all of 127.0.0.1 would also go to whatever else is opened there.
So the whole desk is below a path that nobody can guess, and the cookie is for that path alone. What is below no such
path is answered as if there were no desk.
https://www.rfc-editor.org/rfc/rfc6265#section-8.5
"""

import secrets
from collections.abc import Mapping
from typing import Final

from aiohttp import web

HOST: Final = "127.0.0.1"
# A forwarded port (ssh -L) is often opened under this name.
_NAMES: Final = (HOST, "localhost")
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    # Another port is another origin, and is not told the path. With `no-referrer`, browsers would send the desk's own
    # forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
"""What every answer bears."""
FORM_KEY: Final = "key"
"""The hidden field of every form."""
_TOKEN_BYTES: Final = 32
# As many as a random UUID has; the path is in every address, and a person may have to copy it.
_PATH_BYTES: Final = 16


class Refusal(Exception):
    """The request is not answered with what it asked for. Status, title and words are for the person who sees them."""

    def __init__(self, status: int, title: str, words: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.words = words


class UsedLink(Refusal):
    """The link has let somebody in before."""

    def __init__(self) -> None:
        super().__init__(
            403,
            "This link has been used",
            "It works once. In the browser that used it, the desk is open. If that was not you, end `relay desk` "
            "with Ctrl-C at once and start it again.",
        )


class Door:
    """The path and the link of a desk on a port, and the session that it opens."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._token: str | None = secrets.token_urlsafe(_TOKEN_BYTES)
        self._used = ""
        self._session = secrets.token_urlsafe(_TOKEN_BYTES)
        self.form_key = secrets.token_hex(_TOKEN_BYTES)  # what every form must send
        self.cookie = f"relay_desk_{port}"  # ports share their cookies
        self.root = f"/{secrets.token_urlsafe(_PATH_BYTES)}"  # below it are all pages
        self.link = f"http://{HOST}:{port}{self.root}/open/{self._token}"

    def place(self, request: web.Request) -> str | None:
        """The request's path below the desk's own, such as `/exceptions`; None where it is not below it."""
        first, slash, rest = request.path[1:].partition("/")
        return slash + rest if _same(first, self.root[1:]) else None

    def enter(self, token: str, answer: web.StreamResponse) -> None:
        """Let the bearer of the link in: the answer gets the session's cookie. Raises Refusal."""
        if _same(token, self._used):
            raise UsedLink
        if self._token is None or not _same(token, self._token):
            raise Refusal(403, "This is not the link", "Use the link that `relay desk` printed, all of it.")
        self._used, self._token = self._token, None
        answer.set_cookie(self.cookie, self._session, path=self.root, httponly=True, samesite="Strict")

    def is_inside(self, request: web.Request) -> bool:
        """Whether the request bears the session's cookie. Nobody is inside before the link was used."""
        return self._token is None and _same(request.cookies.get(self.cookie, ""), self._session)

    def check_address(self, request: web.Request) -> None:
        """Raises Refusal where the request was sent to another name, as after DNS rebinding."""
        if request.host not in (f"{name}:{self._port}" for name in _NAMES):
            raise Refusal(421, "Not here", f"The desk answers at http://{HOST}:{self._port} only.")

    def check_session(self, request: web.Request) -> None:
        """Raises Refusal where the browser has not come in by the link."""
        if not self.is_inside(request):
            raise Refusal(
                403,
                "The desk is closed for this browser",
                "Open it with the link that `relay desk` printed; it works once.",
            )

    def check_origin(self, request: web.Request) -> None:
        """Raises Refusal where no page of the desk has sent the form."""
        if request.headers.get("Origin") != f"http://{request.host}":
            raise Refusal(403, "Not from this page", "The form came from another page, and nothing was done.")

    def check_form(self, form: Mapping[str, object]) -> None:
        """Raises Refusal where the form is not one that the desk has shown in this session."""
        if not _same(str(form.get(FORM_KEY, "")), self.form_key):
            raise Refusal(403, "Not from this page", "The form is not one that this desk has shown; nothing was done.")


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode())
