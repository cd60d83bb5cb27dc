"""Compares the refunds and disputes of the window at Stripe with those on record, and records what is not known.

On record are those that were created in the window or recorded in it. Which of them Stripe's list of the window lacks,
Stripe is asked for by id: an event may come late, and a forged refund may say any time.

Only those are recorded whose payment is known here, or is among the sessions of the window: the account may sell by
other ways too, and what goes back there does not concern any order group. This comes before the payments, so that a
payment whose money has all gone back pays nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Final

from relay.commands.made_up_ids import is_made_up
from relay.commands.progress import Progress
from relay.commands.stripe_api import Json, StripeApi
from relay.commands.sweep.at_once import AtOnce
from relay.commands.sweep.findings import Findings, ReversalFinding, ReversalFindings
from relay.commands.sweep.order_groups import SetAside
from relay.commands.sweep.reversal_records import OnRecord, known_payments, on_record
from relay.core.checkout import Rules
from relay.core.errors import MalformedEvent, RelayError
from relay.core.lifecycle import KINDS, Kind, Reversal, read_reversal
from relay.core.outcomes import Outcome, Reason
from relay.data_api.connection import with_retries
from relay.data_api.records import Clients

NOT_FOUND: Final = "not_found"
STATUS_DIFFERS: Final = "status_differs"


class Reversals:
    """One comparison, over the window of a sweep."""

    def __init__(
        self,
        stripe: StripeApi,
        clients: Clients,
        findings: Findings,
        *,
        rules: Rules,
        dry_run: bool,
        progress: Progress,
        at_once: AtOnce,
    ) -> None:
        self._stripe = stripe
        self._clients = clients
        self._findings = findings
        self._rules = rules
        self._dry_run = dry_run
        self._progress = progress
        self._at_once = at_once
        self._on_record: dict[str, OnRecord] = {}
        self._set_aside: Mapping[str, SetAside] = {}
        self.back: dict[str, int] = defaultdict(int)
        """How much of each payment intent has gone back by the window's refunds, in minor units."""

    async def run(
        self, since: datetime, until: datetime, *, of_sessions: Set[str], set_aside: Mapping[str, SetAside]
    ) -> None:
        """Compare, and record. `of_sessions` are the payment intents of the window's sessions; `set_aside` are the open
        exceptions by refund or dispute. Raises StripeUnavailable, NoVerdict or Declined.
        """
        self._set_aside = set_aside
        self._on_record = await on_record(self._clients.records, since, until)
        listed: dict[str, Reversal] = {}
        for kind in KINDS:
            listed |= await self._list(kind, int(since.timestamp()), int(until.timestamp()))
        listed |= await self._ask_for([one for one in self._on_record.values() if one.id not in listed])
        for reversal in listed.values():
            if reversal.kind == "refund" and reversal.status == "succeeded":
                self.back[reversal.payment_intent_id] += reversal.amount_minor
        unknown = [one for one in listed.values() if not self._is_known(one)]
        for known in listed.values():
            self._of(known.kind).known += self._is_known(known)
        await self._record_ours(unknown, of_sessions)

    def _of(self, kind: Kind) -> ReversalFindings:
        return self._findings.reversals[kind]

    def _is_known(self, reversal: Reversal) -> bool:
        recorded = self._on_record.get(reversal.id)
        return recorded is not None and recorded.says(reversal)

    async def _list(self, kind: Kind, since: int, until: int) -> dict[str, Reversal]:
        """What Stripe has of one kind in the window, oldest first."""
        found: list[Reversal] = []
        self._progress(f"{kind}s", count := 0, None)
        async for page in self._stripe.reversals(kind, since, until):
            for stated in page:
                try:
                    reversal = self._read(kind, stated)
                except MalformedEvent:
                    finding = ReversalFinding(str(stated.get("id")), None, None, Reason.MALFORMED_EVENT)
                    self._of(kind).failed.append(finding)
                    continue
                if reversal:
                    found.append(reversal)
                else:
                    self._of(kind).ignored += 1
            self._progress(f"{kind}s", count := count + len(page), None)
        return {one.id: one for one in sorted(found, key=lambda one: (one.created, one.id))}

    def _read(self, kind: Kind, stated: Json) -> Reversal | None:
        """What Stripe says of one; None where it is of the other mode or no payment intent. Raises MalformedEvent."""
        read = read_reversal(kind, stated, livemode=self._rules.livemode, event_id=None)
        return read if isinstance(read, Reversal) else None

    async def _ask_for(self, missing: list[OnRecord]) -> dict[str, Reversal]:
        """Those that Stripe has by their ids. Each of the others becomes a finding."""
        found: dict[str, Reversal] = {}

        async def ask(recorded: OnRecord) -> None:
            findings = self._of(recorded.kind)
            stated = await self._stripe.reversal(recorded.kind, recorded.id)
            try:
                reversal = self._read(recorded.kind, stated) if stated else None
            except MalformedEvent:
                findings.failed.append(_finding_here(recorded, Reason.MALFORMED_EVENT))
                return
            if reversal and reversal.id == recorded.id:
                found[reversal.id] = reversal
            else:
                findings.here_only.append(_finding_here(recorded, NOT_FOUND))

        # `relay simulate` refuses a live key, so a made-up id in live mode is somebody else's.
        asked = [one for one in missing if self._rules.livemode or not is_made_up(one.id)]
        await self._at_once.each("asked for", asked, ask)
        return found

    async def _record_ours(self, unknown: list[Reversal], of_sessions: Set[str]) -> None:
        """Record those whose payment is ours, one payment's one after another."""
        asked = {one.payment_intent_id for one in unknown if one.id not in self._on_record} - of_sessions
        ours = of_sessions | await known_payments(self._clients.records, asked)
        by_payment: dict[str, list[Reversal]] = defaultdict(list)
        for one in unknown:
            if one.id in self._on_record or one.payment_intent_id in ours:
                by_payment[one.payment_intent_id].append(one)
            else:
                self._of(one.kind).ignored += 1
        await self._at_once.each("recorded", list(by_payment.values()), self._record_all)

    async def _record_all(self, of_one_payment: list[Reversal]) -> None:
        """Record them. What is set aside already is sent again only where something of its payment has changed, because
        sending it would raise its `attempts`. A failure becomes a finding, and the sweep goes on.
        """
        has_changed = False
        for one in of_one_payment:
            waiting = self._set_aside.get(one.id)
            if waiting and waiting.status == one.status and not has_changed:
                self._of(one.kind).rejected.append(_finding(one, waiting.order_group_id, waiting.reason))
            elif self._dry_run:
                self._of(one.kind).recorded += 1
            else:
                has_changed |= await self._record(one)

    async def _record(self, one: Reversal) -> bool:
        """Whether the database has recorded it."""
        findings = self._of(one.kind)
        try:
            recorded = await with_retries(lambda: self._clients.data_api.record(one, source="sweep"))
        except RelayError as error:
            findings.failed.append(_finding(one, None, error.reason))
            return False
        match recorded.verdict.outcome:
            case Outcome.RECORDED:
                findings.recorded += 1
                return True
            case Outcome.REJECTED:
                findings.rejected.append(_finding(one, recorded.order_group_id, str(recorded.verdict.reason)))
            case _ if before := self._on_record.get(one.id):  # it has come further here than at Stripe
                findings.here_only.append(_finding_here(before, STATUS_DIFFERS))
            case _:
                findings.known += 1
        return False


def _finding(one: Reversal, order_group_id: str | None, reason: str) -> ReversalFinding:
    return ReversalFinding(one.id, one.payment_intent_id, order_group_id, reason)


def _finding_here(recorded: OnRecord, reason: str) -> ReversalFinding:
    return ReversalFinding(recorded.id, recorded.payment_intent_id, recorded.order_group_id, reason)
