"""Compares the sessions that are paid at Stripe with the order groups that are paid in the database.

The webhook's own code judges each paid session, and the same database function reconciles it under the id of the event
that would have paid. Where Stripe has no such event (it never made one, or the event is older than 30 days), the id is
`sweep_<session id>`. Payments that the database knows are not sent, so a sweep of healthy data writes nothing, and
neither does a second sweep.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from relay.commands.finding import Finding
from relay.commands.made_up_ids import is_made_up
from relay.commands.preview import preview
from relay.commands.progress import Progress
from relay.commands.sendable import Sendable, event_of, judge, judge_all, payment_of
from relay.commands.stripe_api import Json, StripeApi
from relay.commands.sweep import order_groups
from relay.commands.sweep.at_once import PAYMENTS, AtOnce
from relay.commands.sweep.findings import Findings
from relay.commands.sweep.order_groups import OpenException, PaidGroup
from relay.commands.sweep.paid_session import PaidSession
from relay.commands.sweep.reconciling import Reconciling
from relay.commands.sweep.reversals import Reversals
from relay.core.checkout import Payment, Rules
from relay.core.errors import MalformedEvent
from relay.core.outcomes import Reason
from relay.data_api.records import Clients

SESSION_NOT_FOUND: Final = "session_not_found"
SESSION_NOT_PAID: Final = "session_not_paid"
SESSION_NAMES_ANOTHER_GROUP: Final = "session_names_another_group"


class Sweep:
    """One run over a window of time."""

    def __init__(
        self,
        stripe: StripeApi,
        clients: Clients,
        *,
        rules: Rules,
        since: datetime,
        until: datetime,
        dry_run: bool,
        progress: Progress,
    ) -> None:
        self._stripe = stripe
        self._records = clients.records
        self._rules = rules
        self._since, self._until = since, until
        self._progress = progress
        self._at_once = AtOnce(progress)
        self._listed: dict[str, str | None] = {}
        """Every session that was seen as paid, and the order group that it names."""
        self._nameless: dict[str, Payment] = {}
        """Those of them that name none."""
        self._payment_intents: set[str] = set()
        """Those of the sessions that were seen as paid."""
        self._exceptions: dict[str, list[OpenException]] = {}
        self._unsettled: dict[str, PaidSession] = {}
        self._findings = Findings()
        self._reversals = Reversals(
            stripe,
            clients,
            self._findings,
            rules=rules,
            dry_run=dry_run,
            progress=progress,
            at_once=self._at_once,
        )
        self._reconciling = Reconciling(
            clients, self._findings, self._at_once, rules=rules, dry_run=dry_run, back=self._reversals.back
        )

    async def run(self) -> Findings:
        """Run the sweep. Raises StripeUnavailable, NoVerdict or Declined where the two sides cannot be compared."""
        exceptions = await order_groups.open_exceptions(self._records)
        self._exceptions = exceptions.by_session
        await self._list_sessions()
        await self._list_events()
        await self._reversals.run(
            self._since, self._until, of_sessions=self._payment_intents, set_aside=exceptions.by_reversal
        )
        await self._reconcile()
        await self._check_paid_groups()
        return self._findings

    async def _list_sessions(self) -> None:
        self._progress("sessions", count := 0, None)
        async for page in self._stripe.sessions(int(self._since.timestamp()), int(self._until.timestamp())):
            await self._compare(page)
            self._progress("sessions", count := count + len(page), None)

    async def _list_events(self) -> None:
        """Find the events of unsettled sessions, and the sessions that were paid in the window but created
        before it.
        """
        self._progress("events", count := 0, None)
        until = int(self._until.timestamp())
        async for page in self._stripe.events(int(self._since.timestamp())):
            older: dict[str, Json] = {}
            for event in page:
                session = event.get("data", {}).get("object", {})
                is_new = session.get("id") not in self._listed and event.get("created", 0) <= until
                if is_new and judge_all([event], self._rules):
                    older.setdefault(session["id"], session)
            await self._compare(older.values())
            for event in page:
                unsettled = self._unsettled.get(event.get("data", {}).get("object", {}).get("id"))
                if unsettled:
                    unsettled.events.append(event)
            self._progress("events", count := count + len(page), None)

    async def _compare(self, sessions: Iterable[Json]) -> None:
        """Keep the sessions that are paid at Stripe and not settled in the database. One preview asks about all
        of them.
        """
        paid: dict[str, tuple[Json, Sendable]] = {}
        for session in sessions:
            try:
                decision = judge(event_of(session), self._rules)
            except MalformedEvent:
                self._findings.failed.append(Finding(session.get("id"), None, Reason.MALFORMED_EVENT))
                continue
            if decision and session["id"] not in self._listed:
                paid[session["id"]] = session, decision
        previewed = await preview(self._records, [decision for _, decision in paid.values()])
        for (session_id, (session, decision)), told in zip(paid.items(), previewed, strict=True):
            payment = payment_of(decision)
            self._listed[session_id] = payment.order_group_id
            if payment.order_group_id is None:
                self._nameless[session_id] = replace(payment, metadata={})  # the metadata may be large
            if payment.payment_intent_id:
                self._payment_intents.add(payment.payment_intent_id)
            exceptions = self._exceptions.get(session_id, [])
            if told.is_settled:
                self._findings.known += 1
            if not told.is_settled or (told.is_known and exceptions):
                self._unsettled[session_id] = PaidSession(session, decision, told, exceptions)

    async def _reconcile(self) -> None:
        groups = await self._reconciling.prepare(self._unsettled.values())
        await self._at_once.each("reconciled", groups, self._reconciling.reconcile, slots=asyncio.Semaphore(PAYMENTS))

    async def _check_paid_groups(self) -> None:
        """Compare the order groups that are paid in the database with Stripe's sessions."""
        paid_otherwise: list[Payment] = []

        async def look_at(group: PaidGroup) -> None:
            # `relay simulate` refuses a live key, so a made-up id in live mode is somebody else's.
            if group.session_id and is_made_up(group.session_id) and not self._rules.livemode:
                self._findings.simulated += 1
                return
            payment, reason = await self._paid_by(group)
            if reason:
                self._findings.paid_here_only.append(Finding(group.session_id, group.id, reason))
            elif payment:
                paid_otherwise.append(payment)

        groups = await order_groups.paid_between(self._records, self._since, self._until)
        await self._at_once.each("groups", groups, look_at)
        for payment, told in zip(paid_otherwise, await preview(self._records, paid_otherwise), strict=True):
            if not told.is_known and told.verdict.reason:
                self._findings.rejected.append(Finding(payment.session_id, payment.order_group_id, told.verdict.reason))

    async def _paid_by(self, group: PaidGroup) -> tuple[Payment | None, str | None]:
        """What Stripe has as the group's payment, where that must still be compared; and the reason where Stripe has no
        payment of the group. Raises StripeUnavailable.
        """
        if group.session_id is None:
            return None, SESSION_NOT_FOUND
        if nameless := self._nameless.get(group.session_id):
            return _as_of(group, nameless), None
        if group.session_id in self._listed:
            named = self._listed[group.session_id]
            return None, SESSION_NAMES_ANOTHER_GROUP if named != group.id else None
        session = await self._stripe.session(group.session_id)
        if session is None:
            return None, SESSION_NOT_FOUND
        try:
            decision = judge(event_of(session), self._rules)
        except MalformedEvent:
            decision = None
        if decision is None or session.get("status") != "complete":
            return None, SESSION_NOT_PAID
        named = payment_of(decision).order_group_id
        if named not in (None, group.id):
            return None, SESSION_NAMES_ANOTHER_GROUP
        return _as_of(group, payment_of(decision)), None


def _as_of(group: PaidGroup, payment: Payment) -> Payment:
    """The payment as if its session named the group that it has paid. The session may have lost its metadata since;
    what it brought must be what the group costs all the same.
    """
    return replace(payment, order_group_id=group.id)
