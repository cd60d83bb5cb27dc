"""Reconciles paid sessions that the database has not settled. A dry run only asks how the database would decide."""

from collections.abc import Iterable, Mapping
from typing import Final

from relay.commands.finding import Finding
from relay.commands.preview import PreviewedAnswer, preview
from relay.commands.sendable import Sendable, payment_of, reason_of
from relay.commands.sweep.at_once import CONCURRENCY, PAYING_CALLS, AtOnce
from relay.commands.sweep.findings import Applied, Findings
from relay.commands.sweep.paid_session import PaidSession
from relay.core.checkout import Payment, Rules
from relay.core.errors import RelayError
from relay.core.outcomes import Outcome, Reason, Verdict
from relay.data_api.connection import with_retries
from relay.data_api.records import Clients

RECORDED_BUT_NOT_PAID: Final = "recorded_but_not_paid"
_PAID: Final = frozenset({Outcome.APPLIED, Outcome.ALREADY_PAID, Outcome.REPLAYED})
_MONEY_DIFFERS: Final = frozenset({Reason.CURRENCY_MISMATCH, Reason.AMOUNT_MISMATCH})

Prepared = tuple[PaidSession, PreviewedAnswer, list[Sendable]]
"""A session, the previewed answer to the best thing to send for it, and everything that could be sent, best first."""


class Reconciling:
    """Sends the payments of sessions to the database, and records the results as findings."""

    def __init__(
        self,
        clients: Clients,
        findings: Findings,
        at_once: AtOnce,
        *,
        rules: Rules,
        dry_run: bool,
        back: Mapping[str, int],
    ) -> None:
        self._clients = clients
        self._data_api = clients.data_api.apart(CONCURRENCY, few=PAYING_CALLS)
        self._at_once = at_once
        self._findings = findings
        self._rules = rules
        self._dry_run = dry_run
        self._back = back

    async def prepare(self, sessions: Iterable[PaidSession]) -> list[list[Prepared]]:
        """Choose what to send for each session, and ask for the previewed answers. Returns one list per order group,
        with the oldest session first, so that of two payments always the same one pays. Raises NoVerdict or Declined.
        """
        ordered = sorted(sessions, key=lambda one: (one.session.get("created", 0), one.payment.session_id))
        sendables = [one.sendables(self._rules) for one in ordered]
        previewed = await preview(self._clients.records, [best for best, *_ in sendables])
        groups: dict[str, list[Prepared]] = {}
        for prepared in zip(ordered, previewed, sendables, strict=True):
            payment = prepared[0].payment
            groups.setdefault(payment.order_group_id or payment.session_id, []).append(prepared)
        return list(groups.values())

    async def reconcile(self, sessions_of_one_group: list[Prepared]) -> None:
        """Reconcile the sessions one after another. A failure becomes a finding, and the sweep goes on."""
        payer: Payment | None = None
        for session, previewed, sendables in sessions_of_one_group:
            try:
                if not session.previewed.is_known:
                    decision = sendables.pop(0)
                    verdict = await self._decide(session, decision, previewed)
                    if verdict and self._dry_run and self._is_all_back(payment_of(decision)):
                        verdict = Verdict(Outcome.RESOLVED)
                    if verdict and self._dry_run and verdict.outcome is Outcome.APPLIED:
                        verdict = _verdict_after(payment_of(decision), payer)
                        payer = payer or payment_of(decision)
                    self._record(payment_of(decision), verdict)
                    if verdict is None or verdict.outcome not in _PAID:
                        continue
                if session.exceptions and not self._dry_run:
                    await self._close(session, sendables)
            except RelayError as error:
                finding = Finding(session.payment.session_id, session.payment.order_group_id, error.reason)
                self._findings.failed.append(finding)

    def _is_all_back(self, payment: Payment) -> bool:
        """Whether refunds that a dry run does not record have sent all of the payment's money back."""
        return bool(payment.amount_minor) and self._back.get(payment.payment_intent_id or "") == payment.amount_minor

    async def _decide(self, session: PaidSession, decision: Sendable, previewed: PreviewedAnswer) -> Verdict | None:
        """The verdict; None where the event is recorded but its order group does not show the payment.

        A rejection that is recorded already is not sent again, which would only raise its `attempts`. Raises NoVerdict
        or Declined.
        """
        if previewed.verdict.outcome is Outcome.REPLAYED:
            if previewed.is_known:  # a delivery has reconciled it meanwhile
                return previewed.verdict
            return session.previewed.verdict if session.previewed.verdict.reason in _MONEY_DIFFERS else None
        if self._dry_run or previewed.is_on_record:
            return previewed.verdict
        return await self._send(decision)

    async def _send(self, decision: Sendable) -> Verdict:
        payment, reason = payment_of(decision), reason_of(decision)
        return await with_retries(lambda: self._data_api.reconcile(payment, unmatched_reason=reason, source="sweep"))

    async def _close(self, session: PaidSession, others: list[Sendable]) -> None:
        """Send the other events of a payment that has paid, so that the database closes their exceptions too. Raises
        NoVerdict or Declined.
        """
        closable = {exception.event_id for exception in session.exceptions if exception.may_close}
        waiting = [decision for decision in others if payment_of(decision).event_id in closable]
        async with self._at_once.slots:
            answers = await preview(self._clients.records, waiting)
        for decision, previewed in zip(waiting, answers, strict=True):
            if previewed.verdict.outcome is Outcome.ALREADY_PAID:
                await self._send(decision)

    def _record(self, payment: Payment, verdict: Verdict | None) -> None:
        findings = self._findings
        reason = (verdict.reason or "") if verdict else RECORDED_BUT_NOT_PAID
        finding = Finding(payment.session_id, payment.order_group_id, reason)
        match verdict and verdict.outcome:
            case Outcome.APPLIED:
                findings.applied_now.append(
                    Applied(payment.session_id, payment.order_group_id, reason, payment.amount, payment.currency)
                )
            case Outcome.REJECTED:
                findings.rejected.append(finding)
            case Outcome.UNMATCHED:
                findings.unmatched.append(finding)
            case Outcome.FAILED | None:
                findings.failed.append(finding)
            case _:
                findings.known += 1


def _verdict_after(payment: Payment, payer: Payment | None) -> Verdict:
    """The verdict, in a dry run, about a payment that alone would be applied, where `payer` would pay its group
    first.
    """
    if payer is None:
        return Verdict(Outcome.APPLIED)
    intent = payment.payment_intent_id
    if payment.session_id == payer.session_id or (intent is not None and intent == payer.payment_intent_id):
        return Verdict(Outcome.ALREADY_PAID)
    return Verdict(Outcome.REJECTED, Reason.DUPLICATE_PAYMENT)
