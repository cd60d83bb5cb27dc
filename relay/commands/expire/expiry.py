"""Ends the checkouts of order groups that are due.

Stripe is asked first, because only there it can be seen whether a buyer has paid. An open session is expired, so that
nobody can pay it any more, and only then the group is cancelled. A group whose money has come, or is under way, is left
alone, unless the database says that the payment is settled: it was set aside, and its money has gone another way.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final

from typing_extensions import TypedDict

from relay.commands import answers
from relay.commands.expire.due_groups import DueGroup, due_groups
from relay.commands.expire.findings import Findings
from relay.commands.finding import Finding
from relay.commands.preview import preview
from relay.commands.progress import Progress
from relay.commands.sendable import event_of, judge_all
from relay.commands.stripe_api import Json, StripeApi
from relay.core import checkout
from relay.core.checkout import Rules
from relay.core.errors import NoVerdict, RelayError
from relay.core.outcomes import Reason
from relay.data_api.connection import with_retries
from relay.data_api.records import Records

FUNCTION: Final = "cancel_order_group"
SESSION_PAID: Final = "session_paid"
SESSION_AWAITS_FUNDS: Final = "session_awaits_funds"
# How many groups are dealt with at the same time: few, so that live deliveries are not delayed.
CONCURRENCY: Final = 8
# A shop may make the session before it stores the group.
_SESSION_BEFORE_GROUP: Final = timedelta(days=1)
_COMPLETE: Final = "complete"
_CANCELLED: Final = "cancelled"
_SETTLED: Final = frozenset({"already_cancelled", "rejected"})


class _Answer(TypedDict):
    outcome: str


class Expiry:
    """One run. `older_than` is the age from which a group is due whatever its `expires_at`; None where only that
    counts.
    """

    def __init__(
        self,
        stripe: StripeApi,
        records: Records,
        *,
        rules: Rules,
        now: datetime,
        older_than: timedelta | None,
        dry_run: bool,
        progress: Progress,
    ) -> None:
        self._stripe = stripe
        self._records = records
        self._rules = rules
        self._now = now
        self._created_before = None if older_than is None else now - older_than
        self._dry_run = dry_run
        self._progress = progress
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._findings = Findings()

    async def run(self) -> Findings:
        """Run the expiry. Raises StripeUnavailable, NoVerdict or Declined where it is not known what is due or paid."""
        groups = await due_groups(self._records, now=self._now, created_before=self._created_before)
        if groups:
            sessions = await self._sessions_of(groups)
            self._progress("order groups", 0, len(groups))
            await asyncio.gather(*(self._end(group, sessions[group.id], len(groups)) for group in groups))
        return self._findings

    async def _sessions_of(self, groups: list[DueGroup]) -> dict[str, list[Json]]:
        """The open and complete sessions that name the groups.

        The open ones are listed first, so that a session which is completed meanwhile is in one of the lists at least.
        """
        found: dict[str, list[Json]] = {group.id: [] for group in groups}
        oldest = groups[0].created_at - _SESSION_BEFORE_GROUP
        listed = 0
        for pages in (self._stripe.open_sessions(), self._stripe.sessions(int(oldest.timestamp()))):
            async for page in pages:
                for session in page:
                    group_id, _ = checkout.reference(session)
                    if group_id in found and session.get("mode") == "payment":
                        found[group_id].append(session)
                self._progress("sessions", listed := listed + len(page), None)
        return found

    async def _end(self, group: DueGroup, sessions: list[Json], total: int) -> None:
        async with self._slots:
            try:
                await self._settle(group, sessions)
            except RelayError as error:
                self._findings.failed.append(Finding(None, group.id, error.reason))
        findings = self._findings
        done = findings.expired + findings.settled + len(findings.left) + len(findings.failed)
        self._progress("order groups", done, total)

    async def _settle(self, group: DueGroup, sessions: list[Json]) -> None:
        """Expire the sessions and cancel the group. Raises StripeUnavailable, NoVerdict or Declined."""
        left = await self._kept_by([one for one in sessions if one["status"] == _COMPLETE], group)
        for session in () if left else [one for one in sessions if one["status"] != _COMPLETE]:
            ended = session if self._dry_run else await self._stripe.expire(session["id"])
            if ended["status"] != _COMPLETE:
                self._findings.sessions_expired += 1
            elif left := await self._kept_by([ended], group):  # the buyer was faster
                break
        if left:
            self._findings.left.append(left)
        elif self._dry_run or await self._cancel(group):
            self._findings.expired += 1
        else:
            self._findings.settled += 1

    async def _kept_by(self, complete: list[Json], group: DueGroup) -> Finding | None:
        """The first of these sessions that keeps the group, whose money has come or is under way; None where none does.
        The visitor of a Payment Link cannot hold up a group without paying. Raises NoVerdict or Declined.
        """
        for session in complete:
            if session.get("payment_status") != "unpaid":
                if not await self._is_settled(session):
                    return Finding(session["id"], group.id, SESSION_PAID)
            elif checkout.is_named_by_the_shop(session):
                return Finding(session["id"], group.id, SESSION_AWAITS_FUNDS)
        return None

    async def _is_settled(self, session: Json) -> bool:
        """Whether the database knows what became of a paid session's money. Raises NoVerdict or Declined."""
        told = await preview(self._records, judge_all([event_of(session).body], self._rules))
        return any(answer.is_settled for answer in told)

    async def _cancel(self, group: DueGroup) -> bool:
        """Whether the group was cancelled, and not paid or cancelled by somebody else. Raises NoVerdict or Declined."""
        told = await with_retries(lambda: self._records.call(FUNCTION, {"p_order_group_id": group.id}))
        outcome = answers.read(_Answer, told, of=FUNCTION)["outcome"]
        if outcome != _CANCELLED and outcome not in _SETTLED:
            raise NoVerdict(Reason.CONTRACT_VIOLATION, f"{FUNCTION}: an unknown outcome")
        return outcome == _CANCELLED
