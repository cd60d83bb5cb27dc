"""Paid sessions that are not settled here, reconciled: as the database decides, or would in a dry run."""

from collections.abc import Iterable
from typing import Final

from relay.commands.sweep.findings import Finding, Findings
from relay.commands.sweep.paid_session import PaidSession
from relay.commands.sweep.preview import Foretold, preview
from relay.commands.sweep.sendable import Sendable, payment_of, reason_of
from relay.core.checkout import Payment, Rules
from relay.core.errors import RelayError
from relay.core.outcomes import Outcome, Reason, Verdict
from relay.data_api.connection import with_retries
from relay.data_api.records import Clients

RECORDED_BUT_NOT_PAID: Final = "recorded_but_not_paid"
_PAID: Final = frozenset({Outcome.APPLIED, Outcome.ALREADY_PAID, Outcome.REPLAYED})
_MONEY_DIFFERS: Final = frozenset({Reason.CURRENCY_MISMATCH, Reason.AMOUNT_MISMATCH})

Prepared = tuple[PaidSession, Foretold, list[Sendable]]
"""A session, the answer to the best of what could be sent for it, and all that could be sent, best first."""


class Reconciling:
    """Sends what is to be sent, and notes what came of it."""

    def __init__(self, clients: Clients, findings: Findings, *, rules: Rules, dry_run: bool) -> None:
        self._clients = clients
        self._findings = findings
        self._rules = rules
        self._dry_run = dry_run

    async def prepare(self, sessions: Iterable[PaidSession]) -> list[list[Prepared]]:
        """Choose what is to be sent and ask what would be answered. The sessions of one group stand together, oldest
        first, so that which of two payments pays is no accident. Raises NoVerdict or Declined.
        """
        ordered = sorted(sessions, key=lambda one: (one.session.get("created", 0), one.payment.session_id))
        sendables = [one.sendables(self._rules) for one in ordered]
        foretold = await preview(self._clients.records, [best for best, *_ in sendables])
        groups: dict[str, list[Prepared]] = {}
        for prepared in zip(ordered, foretold, sendables, strict=True):
            payment = prepared[0].payment
            groups.setdefault(payment.order_group_id or payment.session_id, []).append(prepared)
        return list(groups.values())

    async def reconcile(self, sessions_of_one_group: list[Prepared]) -> None:
        """Reconcile them one after another. Whatever the database answers, the sweep goes on."""
        payer: Payment | None = None
        for session, foretold, sendables in sessions_of_one_group:
            try:
                if not session.foretold.is_known:
                    decision = sendables.pop(0)
                    verdict = await self._decide(session, decision, foretold)
                    if verdict and self._dry_run and verdict.outcome is Outcome.APPLIED:
                        verdict = _beside(payment_of(decision), payer)
                        payer = payer or payment_of(decision)
                    self._note(payment_of(decision), verdict)
                    if verdict is None or verdict.outcome not in _PAID:
                        continue
                if session.exceptions and not self._dry_run:
                    await self._close(session, sendables)
            except RelayError as error:
                finding = Finding(session.payment.session_id, session.payment.order_group_id, error.reason)
                self._findings.failed.append(finding)

    async def _decide(self, session: PaidSession, decision: Sendable, foretold: Foretold) -> Verdict | None:
        """The verdict; None where the event is on record but its group does not show the payment.

        A rejection that is on record is not sent again: that would only count it up. Raises NoVerdict or Declined.
        """
        if foretold.verdict.outcome is Outcome.REPLAYED:
            if foretold.is_known:  # a delivery was quicker
                return foretold.verdict
            return session.foretold.verdict if session.foretold.verdict.reason in _MONEY_DIFFERS else None
        if self._dry_run or foretold.is_on_record:
            return foretold.verdict
        return await self._send(decision)

    async def _send(self, decision: Sendable) -> Verdict:
        payment, reason = payment_of(decision), reason_of(decision)
        return await with_retries(
            lambda: self._clients.data_api.reconcile(payment, unmatched_reason=reason, source="sweep")
        )

    async def _close(self, session: PaidSession, others: list[Sendable]) -> None:
        """Other events of the payment were set aside; now that it has paid, have their exceptions closed too."""
        closable = {exception.event_id for exception in session.exceptions if exception.may_close}
        waiting = [decision for decision in others if payment_of(decision).event_id in closable]
        for decision, foretold in zip(waiting, await preview(self._clients.records, waiting), strict=True):
            if foretold.verdict.outcome is Outcome.ALREADY_PAID:
                await self._send(decision)

    def _note(self, payment: Payment, verdict: Verdict | None) -> None:
        findings = self._findings
        reason = (verdict.reason or "") if verdict else RECORDED_BUT_NOT_PAID
        finding = Finding(payment.session_id, payment.order_group_id, reason)
        match verdict and verdict.outcome:
            case Outcome.APPLIED:
                findings.applied += 1
            case Outcome.REJECTED:
                findings.rejected.append(finding)
            case Outcome.UNMATCHED:
                findings.unmatched.append(finding)
            case Outcome.FAILED | None:
                findings.failed.append(finding)
            case _:
                findings.known += 1


def _beside(payment: Payment, payer: Payment | None) -> Verdict:
    """What a payment that would be applied alone comes to, where another one of its group is applied before it."""
    if payer is None:
        return Verdict(Outcome.APPLIED)
    intent = payment.payment_intent_id
    if payment.session_id == payer.session_id or (intent is not None and intent == payer.payment_intent_id):
        return Verdict(Outcome.ALREADY_PAID)
    return Verdict(Outcome.REJECTED, Reason.DUPLICATE_PAYMENT)
