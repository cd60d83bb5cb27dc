"""One paid session's end: known, applied, rejected or unmatched, as the database decides, or would in a dry run."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from relay.commands.sweep.findings import Finding, Findings
from relay.commands.sweep.forecast import Group, forecast
from relay.commands.sweep.order_groups import Books
from relay.commands.sweep.paid_session import Case, Judged
from relay.commands.sweep.stripe_api import Json
from relay.core.checkout import Payment
from relay.core.errors import RelayError
from relay.core.outcomes import UNMATCHED_REASONS, Outcome, Reason, Verdict
from relay.data_api.client import DataApi
from relay.data_api.connection import patiently

RECORDED_BUT_NOT_PAID: Final = "recorded_but_not_paid"
_PAID: Final = frozenset({Outcome.APPLIED, Outcome.ALREADY_PAID, Outcome.REPLAYED})


class Settlement:
    """Brings cases to their end and notes what came of them."""

    def __init__(
        self,
        data_api: DataApi,
        books: Books,
        findings: Findings,
        judge: Callable[[Json], Judged | None],
        *,
        dry_run: bool,
    ) -> None:
        self._data_api = data_api
        self._books = books
        self._findings = findings
        self._judge = judge
        self._dry_run = dry_run
        self._foretold: dict[str, Group] = {}
        """The groups that a dry run would have paid, as they would be then."""

    async def settle(self, case: Case) -> None:
        """Bring one case to its end. Whatever the database answers, the sweep goes on."""
        try:
            candidates = case.candidates(self._judge)
            is_paid = case.is_paid
            if not is_paid:
                payment, problem = candidates.pop(0)
                verdict = await self._decide(case, payment, problem)
                self._note(payment, problem, verdict)
                is_paid = verdict.outcome in _PAID
            if is_paid and not self._dry_run:
                await self._close(case, candidates)
        except RelayError as error:
            finding = Finding(case.payment.session_id, case.payment.order_group_id, error.reason)
            self._findings.failed.append(finding)

    async def _decide(self, case: Case, payment: Payment, problem: Reason | None) -> Verdict:
        """The verdict. The function is not called where its answer is foreseen and on record: that would only count the
        exception up. Raises NoVerdict or Declined.
        """
        reasons = {trouble.reason for trouble in case.open_troubles}
        if Reason.EVENT_COLLISION in reasons:
            return Verdict(Outcome.REJECTED, Reason.EVENT_COLLISION)
        if problem:
            if self._dry_run or reasons & UNMATCHED_REASONS:
                return Verdict(Outcome.UNMATCHED, problem)
        elif self._dry_run or reasons:
            foreseen = await self._foresee(payment)
            if self._dry_run or foreseen.reason in reasons:
                return foreseen
        verdict = await self._call(payment, problem)
        if verdict.outcome is Outcome.REPLAYED and payment.order_group_id:
            group = (await self._books.groups([payment.order_group_id])).get(payment.order_group_id)
            if group is None or not group.is_paid_by(payment):
                raise _Inconsistent(RECORDED_BUT_NOT_PAID)
            if difference := group.difference(payment):
                return Verdict(Outcome.REJECTED, difference)
        return verdict

    async def _foresee(self, payment: Payment) -> Verdict:
        group_id = payment.order_group_id or ""
        group = self._foretold.get(group_id) or (await self._books.groups([group_id])).get(group_id)
        orders = await self._books.orders(group_id) if group else []
        verdict = forecast(payment, group, orders, used_elsewhere=await self._books.is_used_elsewhere(payment))
        if group and verdict.outcome is Outcome.APPLIED and self._dry_run:
            self._foretold[group_id] = replace(
                group, status="paid", session_id=payment.session_id, payment_intent_id=payment.payment_intent_id
            )
        return verdict

    async def _call(self, payment: Payment, problem: Reason | None) -> Verdict:
        return await patiently(lambda: self._data_api.reconcile(payment, unmatched_reason=problem, source="sweep"))

    async def _close(self, case: Case, candidates: list[Judged]) -> None:
        """Other events of the payment were set aside; now that it has paid, have their exceptions closed too.

        But for collisions: their event is on record with another payload, so the call would only count them up.
        """
        closable = {one.event_id for one in case.open_troubles if one.reason != Reason.EVENT_COLLISION}
        for payment, problem in candidates:
            if problem is None and payment.event_id in closable:
                group_id = payment.order_group_id or ""
                group = (await self._books.groups([group_id])).get(group_id)
                if group and group.status == "paid" and group.is_settled_by(payment):
                    await self._call(payment, None)

    def _note(self, payment: Payment, problem: Reason | None, verdict: Verdict) -> None:
        findings = self._findings
        finding = Finding(payment.session_id, payment.order_group_id, verdict.reason or problem or "")
        match verdict.outcome:
            case Outcome.APPLIED:
                findings.applied += 1
            case Outcome.REJECTED:
                findings.rejected.append(finding)
            case Outcome.UNMATCHED:
                findings.unmatched.append(finding)
            case _:
                findings.known += 1


class _Inconsistent(RelayError):
    """The event is on record, but its group does not show the payment: nothing that a call could heal."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason  # type: ignore[assignment]  # the sweep's own word
