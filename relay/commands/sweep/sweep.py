"""The sweep: what Stripe calls paid and what the database calls paid, brought together.

Each paid session is judged by the webhook's own code and reconciled by the same function under the id of the event that
would have paid; under `sweep_<session id>` where Stripe has no such event (never made, or older than 30 days). What is
known already is not sent: a sweep over healthy data, or a second one, writes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Final, TypeVar

from relay.commands.sweep.findings import Finding, Findings
from relay.commands.sweep.forecast import Group
from relay.commands.sweep.order_groups import Books
from relay.commands.sweep.paid_session import Case, Judged, event_of
from relay.commands.sweep.settlement import Settlement
from relay.commands.sweep.stripe_api import Json, StripeApi
from relay.core import checkout
from relay.core.checkout import Payment, Unmatched
from relay.core.errors import MalformedEvent
from relay.core.event import Event, usable_id
from relay.core.outcomes import Reason
from relay.data_api.records import Clients

# Calls at once, to the database or to Stripe: live deliveries come first (the relay allows itself 64).
CONCURRENCY: Final = 8

SESSION_NOT_FOUND: Final = "session_not_found"
SESSION_NOT_PAID: Final = "session_not_paid"
SESSION_NAMES_ANOTHER_GROUP: Final = "session_names_another_group"

_Thing = TypeVar("_Thing")
Progress = Callable[[str, int, int | None], None]
"""What is being done, how many are done, and of how many where that is known."""


class Sweep:
    """One run over a window of time."""

    def __init__(
        self,
        stripe: StripeApi,
        clients: Clients,
        *,
        livemode: bool,
        since: datetime,
        until: datetime,
        dry_run: bool,
        progress: Progress,
    ) -> None:
        self._stripe = stripe
        self._books = Books(clients.records)
        self._livemode = livemode
        self._since, self._until = since, until
        self._progress = progress
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._listed: dict[str, str | None] = {}
        """Every session seen as paid, and the order group that it names."""
        self._cases: dict[str, Case] = {}
        self._findings = Findings()
        self._settlement = Settlement(clients.data_api, self._books, self._findings, self._judged, dry_run=dry_run)

    async def run(self) -> Findings:
        """Sweep. Raises StripeUnavailable, NoVerdict or Declined where the two sides cannot be compared."""
        await self._list_sessions()
        await self._list_events()
        await self._reconcile()
        await self._look_back()
        return self._findings

    # Stripe's side ------------------------------------------------------------------------------------------------

    async def _list_sessions(self) -> None:
        self._progress("sessions", count := 0, None)
        async for page in self._stripe.sessions(int(self._since.timestamp()), int(self._until.timestamp())):
            await self._sort(page)
            self._progress("sessions", count := count + len(page), None)

    async def _list_events(self) -> None:
        """Find the events of the open cases, and the sessions that were paid in the window but made before it."""
        self._progress("events", count := 0, None)
        until = int(self._until.timestamp())
        async for page in self._stripe.events(int(self._since.timestamp())):
            older: dict[str, Json] = {}
            for event in page:
                session = event.get("data", {}).get("object", {})
                session_id = session.get("id")
                if session_id not in self._listed and event.get("created", 0) <= until and self._judged(event):
                    older.setdefault(session_id, session)
            await self._sort(older.values())
            for event in page:
                case = self._cases.get(event.get("data", {}).get("object", {}).get("id"))
                if case:
                    case.events.append(event)
            self._progress("events", count := count + len(page), None)

    async def _sort(self, sessions: Iterable[Json]) -> None:
        """Set aside what is paid at Stripe and not known here."""
        judged = []
        for session in sessions:
            try:
                if found := self._judge(event_of(session)):
                    judged.append((session, *found))
            except MalformedEvent:
                session_id = session.get("id")
                self._findings.failed.append(Finding(session_id, None, Reason.MALFORMED_EVENT))
        groups = await self._books.groups(payment.order_group_id for _, payment, _ in judged if payment.order_group_id)
        nameless = [payment.session_id for _, payment, problem in judged if problem]
        owners = await self._books.groups_of_sessions(nameless)
        troubles = await self._books.troubles(payment.session_id for _, payment, _ in judged)
        for session, payment, problem in judged:
            if payment.session_id in self._listed:
                continue
            self._listed[payment.session_id] = payment.order_group_id
            case = Case(session, payment, problem, troubles.get(payment.session_id, []))
            group = groups.get(payment.order_group_id or "")
            # A session that names no group any more, because its metadata were changed after it had paid one.
            is_paid = payment.session_id in owners if problem else group is not None and group.is_settled_by(payment)
            if is_paid or any(trouble.by_operator for trouble in case.troubles):
                self._findings.known += 1
                case.is_paid = group is not None and group.status == "paid" and is_paid
                if case.is_paid and case.open_troubles:
                    self._cases[payment.session_id] = case
            else:
                self._cases[payment.session_id] = case

    def _judged(self, body: Json) -> Judged | None:
        """As `_judge`, for an event of Stripe's: one that cannot be understood is none."""
        try:
            return self._judge(Event(usable_id(body.get("id")), str(body.get("type")), body))
        except MalformedEvent:
            return None

    def _judge(self, event: Event) -> Judged | None:
        """What the webhook would send to the database; None where it would send nothing. Raises MalformedEvent."""
        decision = checkout.judge(event, livemode=self._livemode)
        if isinstance(decision, Unmatched):
            return decision.payment, decision.reason
        return (decision, None) if isinstance(decision, Payment) else None

    # The database's side --------------------------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        """One group's sessions one after another, oldest first, so that which of two payments pays is no accident."""
        families: dict[str, list[Case]] = {}
        for case in self._cases.values():
            families.setdefault(case.payment.order_group_id or case.payment.session_id, []).append(case)
        done = 0

        async def reconcile_family(cases: list[Case]) -> None:
            nonlocal done
            for case in sorted(cases, key=lambda case: (case.session.get("created", 0), case.payment.session_id)):
                await self._settlement.settle(case)
            self._progress("reconciled", done := done + 1, len(families))

        await self._for_each(families.values(), reconcile_family)

    # The other direction ----------------------------------------------------------------------------------------------

    async def _look_back(self) -> None:
        """Groups that are paid here, compared with Stripe's sessions."""
        groups = await self._books.paid_between(self._since, self._until)
        done = 0

        async def look_at(group: Group) -> None:
            nonlocal done
            if reason := await self._objection(group):
                self._findings.paid_here_only.append(Finding(group.session_id, group.id, reason))
            self._progress("groups", done := done + 1, len(groups))

        await self._for_each(groups, look_at)

    async def _objection(self, group: Group) -> str | None:
        """Why Stripe does not show the group as paid; None where it does. Raises StripeUnavailable."""
        if group.session_id is None:
            return SESSION_NOT_FOUND
        if group.session_id in self._listed:
            named = self._listed[group.session_id]
            return SESSION_NAMES_ANOTHER_GROUP if named not in (None, group.id) else None
        session = await self._stripe.session(group.session_id)
        if session is None:
            return SESSION_NOT_FOUND
        try:
            found = self._judge(event_of(session))
        except MalformedEvent:
            found = None
        if found is None or session.get("status") != "complete":
            return SESSION_NOT_PAID
        payment, problem = found
        if problem is None and payment.order_group_id != group.id:
            return SESSION_NAMES_ANOTHER_GROUP
        if problem is None and (difference := group.difference(payment)):
            self._findings.rejected.append(Finding(group.session_id, group.id, difference))
        return None

    async def _for_each(self, things: Iterable[_Thing], work: Callable[[_Thing], Awaitable[None]]) -> None:
        async def one(thing: _Thing) -> None:
            async with self._slots:
                await work(thing)

        await asyncio.gather(*map(one, things))
