"""The pages that stand in for Stripe's own: where a buyer pays a session, and where the bank has its say later.

Each button does to the session what would happen at Stripe, and hands the event over to whoever sends it.
"""

from __future__ import annotations

import html
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from relay.core.currency import format_amount, to_major
from testkit.stripe_api_server import StripeServer
from testkit.stripe_events import COMPLETED, FAILED, SUCCEEDED, Json, new_id

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,"><title>{title}</title><style>
body {{ max-width: 28rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
form {{ display: grid; gap: .75rem; }} button {{ font: inherit; padding: .75rem; }}
.amount {{ font-size: 2rem; margin: 0; }}
</style></head><body><p><small>This page stands in for Stripe's. No money moves.</small></p>
<h1>{title}</h1>{body}</body></html>"""


def _page(title: str, body: str, *, status: int = 200) -> web.Response:
    return web.Response(status=status, text=PAGE.format(title=title, body=body), content_type="text/html")


def _amount(session: Json) -> str:
    currency = session["currency"].upper()
    return format_amount(to_major(session["amount_total"], currency), currency)


def _form(action: str, **buttons: str) -> str:
    made = "".join(f'<button name="do" value="{do}">{label}</button>' for do, label in buttons.items())
    return f'<form method="post" action="{html.escape(action)}">{made}</form>'


class PayPage:
    """Adds its pages to the account's server, which must not listen yet. `send` delivers an event to the relay."""

    def __init__(self, account: StripeServer, send: Callable[[Json], Awaitable[None]]) -> None:
        self._account = account
        self._send = send
        account.pages += [
            web.get("/c/pay/{id}", self.show),
            web.post("/c/pay/{id}", self.pay),
            web.get("/c/bank", self.bank),
            web.post("/c/bank/{id}", self.bank_answers),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """What the buyer sees."""
        session = self._session(request)
        if session["status"] == "open" and session["expires_at"] <= time.time():
            session["status"] = "expired"
        if session["status"] != "open":
            return _page("This page is closed", f"<p>Its session is {session['status']}.</p>", status=410)
        amount = f"<p class='amount'>{_amount(session)}</p>"
        buttons = {"card": "Pay by card", "debit": "Pay by bank debit", "leave": "Back to the shop, without paying"}
        return _page("Pay", amount + _form(request.path, **buttons))

    async def pay(self, request: web.Request) -> web.StreamResponse:
        """A button was pressed; like Stripe, it sends the event before it sends the buyer back."""
        session, how = self._session(request), (await request.post())["do"]
        if session["status"] != "open":
            return _page("This page is closed", f"<p>Its session is {session['status']}.</p>", status=410)
        if how == "leave":
            raise web.HTTPSeeOther(session["cancel_url"])
        paid = "paid" if how == "card" else "unpaid"
        session |= {"status": "complete", "payment_status": paid, "payment_intent": new_id("pi"), "url": None}
        await self._happens(session, COMPLETED)
        raise web.HTTPSeeOther(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))

    async def bank(self, _: web.Request) -> web.Response:
        """The bank debits that are under way."""
        debits = [
            one for one in self._account.sessions if (one["status"], one["payment_status"]) == ("complete", "unpaid")
        ]
        forms = [
            f"<h2>{_amount(one)}</h2>"
            + _form(f"/c/bank/{one['id']}", succeed="The money has come", fail="The debit failed")
            for one in debits
        ]
        return _page("The bank", "".join(forms) or "<p>No debit is under way.</p>")

    async def bank_answers(self, request: web.Request) -> web.Response:
        """Days later: the money has come, or never will."""
        session = self._session(request)
        if (await request.post())["do"] == "succeed":
            session["payment_status"] = "paid"
            await self._happens(session, SUCCEEDED)
        else:
            self._account.sessions.remove(session)
            await self._happens(session, FAILED)
        raise web.HTTPSeeOther("/c/bank")

    async def _happens(self, session: Json, kind: str) -> None:
        await self._send(self._account.event(session, kind, after=int(time.time()) - session["created"]))

    def _session(self, request: web.Request) -> dict[str, Any]:
        for session in self._account.sessions:
            if session["id"] == request.match_info["id"]:
                return session
        raise web.HTTPNotFound
