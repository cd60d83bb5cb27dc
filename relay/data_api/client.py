"""Calls the database functions that a delivery and the readiness checks need, within limits of time and number."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from supabase import AsyncClient

from relay.config import Settings
from relay.core.checkout import AwaitingFunds, Payment
from relay.core.errors import NoVerdict
from relay.core.lifecycle import EndedCheckout, Kind, Reversal
from relay.core.outcomes import (
    Notice,
    Reason,
    Recorded,
    Verdict,
    read_answers,
    read_cancelled,
    read_notice,
    read_recorded,
    read_verdict,
)
from relay.data_api import failures
from relay.data_api.connection import open_client
from relay.data_api.parameters import Parameters, Source, parameters, recording_parameters
from relay.data_api.places import Place, Places
from relay.metrics import Metrics

FUNCTION: Final = "reconcile_order_group_payment"
PLURAL_FUNCTION: Final = "reconcile_order_group_payments"
NOTICE_FUNCTION: Final = "note_awaiting_funds"
CANCELLING_FUNCTION: Final = "cancel_order_group"
RECORDING_FUNCTIONS: Final[Mapping[Kind, str]] = {"refund": "record_refund", "dispute": "record_dispute"}
# How many calls may run at the same time, and how many deliveries may wait for one of them. If the Data API hangs, it
# holds 64 calls for RELAY_RPC_TIMEOUT. Deliveries that find the queue full are answered 500 at once, and Stripe sends
# them again. PostgREST's own pool is smaller (10 by default), so more calls would only wait there.
MAX_CALLS: Final = 64
MAX_WAITING: Final = 256
# How many calls are quick ones at the same time. Further payments wait for each other and share a transaction, which
# costs the database some 0.6 of what it costs alone. Two to four did equally well (docs/performance-tried.md).
FEW_CALLS: Final = 4
# The lifecycle route has a queue of its own, and fewer calls: refunds that hang take no place from payments.
MAX_LIFECYCLE_CALLS: Final = 8
# The share of RELAY_RPC_TIMEOUT that a delivery may wait for a free call. By default (9 s) the rest is more than the
# function's own lock_timeout (3 s).
_WAITING_SHARE: Final = 0.5
_RETRY_PAUSE_SECONDS: Final = (0.02, 0.1)
# How long payments go one by one where the database has no function for several, as that of the release before.
_ALONE_SECONDS: Final = 60.0
# The fault may be the call's, or one payment's, and not the database's.
_FAULTS_OF_THE_CALL: Final = frozenset({Reason.CONTRACT_VIOLATION, Reason.UNEXPECTED})


class DataApi:
    """Calls the functions that the webhook and the readiness checks need.

    `rpc_timeout` is how many seconds one delivery's call may take, waiting for a place and one retry included.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        rpc_timeout: float,
        metrics: Metrics,
        calls: int | None = None,
        few: int | None = None,
    ) -> None:
        self._client = client
        self._timeout = rpc_timeout
        self._metrics = metrics
        most = MAX_CALLS if calls is None else calls
        self._places = Places(self._call_together, few=min(FEW_CALLS if few is None else few, most), most=most)

    def apart(self, calls: int, *, few: int | None = None) -> "DataApi":
        """One over the same connections with a queue of its own, and with so many calls at the same time; `few` of them
        may be quick ones, without it all.
        """
        few = calls if few is None else few
        return DataApi(self._client, rpc_timeout=self._timeout, metrics=self._metrics, calls=calls, few=few)

    async def reconcile(
        self, payment: Payment, *, unmatched_reason: Reason | None = None, source: Source = "webhook"
    ) -> Verdict:
        """Let the database decide about a payment. Raises NoVerdict.

        `unmatched_reason` says why the payment names no order group; None where it names one.
        """
        sent = parameters(payment, unmatched_reason, source)
        data = await self._decision(FUNCTION, sent, may_share=True)
        verdict = read_verdict(
            data,
            event_id=payment.event_id,
            order_group_id=payment.order_group_id,
            unmatched_reason=unmatched_reason,
        )
        if verdict is None:
            raise _of_unexpected_shape(data)
        return verdict

    async def record(self, reversal: Reversal, *, source: Source = "webhook") -> Recorded:
        """Have the database record a refund or a dispute. Raises NoVerdict."""
        data = await self._decision(RECORDING_FUNCTIONS[reversal.kind], recording_parameters(reversal, source))
        recorded = read_recorded(data, key=f"{reversal.kind}_id", reversal_id=reversal.id)
        if recorded is None:
            raise _of_unexpected_shape(data)
        return recorded

    async def cancel(self, ended: EndedCheckout) -> Verdict:
        """Have the database cancel the order group of a checkout that has ended, where it still waits for it. Raises
        NoVerdict.
        """
        data = await self._decision(
            CANCELLING_FUNCTION,
            {"p_order_group_id": ended.order_group_id, "p_checkout_session_id": ended.session_id},
        )
        verdict = read_cancelled(data, order_group_id=ended.order_group_id)
        if verdict is None:
            raise _of_unexpected_shape(data)
        return verdict

    async def note_awaiting_funds(self, awaited: AwaitingFunds) -> Notice:
        """Have the database note that an order group's money is under way. Raises NoVerdict."""
        data = await self._within_bounds(
            NOTICE_FUNCTION,
            {
                "p_order_group_id": awaited.order_group_id,
                "p_checkout_session_id": awaited.session_id,
                "p_stripe_event_id": awaited.event_id,
                "p_stripe_event_created": awaited.event_created,
            },
        )
        notice = read_notice(data, order_group_id=awaited.order_group_id)
        if notice is None:
            raise _of_unexpected_shape(data)
        return notice

    async def readiness(self, seconds: float) -> object:
        """Call `reconciliation_readiness` and return its answer, within that many `seconds`. Raises NoVerdict.

        The call takes no place, so that it is also answered while all places are taken.
        """
        return await self._ask("reconciliation_readiness", {}, seconds)

    async def find_out_sharing(self, seconds: float) -> bool:
        """Whether the database takes several payments in one call: it is sent none. Payments that wait go together or
        one by one from now on. Raises NoVerdict where it gave no answer within that many `seconds`.
        """
        try:
            self._share(await self._ask(PLURAL_FUNCTION, {"p_payments": []}, seconds) == [])
        except NoVerdict as failure:
            if failure.reason is not Reason.CONTRACT_VIOLATION:
                raise
            self._share(False)
        return self._places.shares

    async def _ask(self, function: str, parameters: dict[str, object], seconds: float) -> object:
        try:
            async with asyncio.timeout(seconds):
                return await self._call(function, parameters)
        except TimeoutError:
            raise NoVerdict(Reason.TIMEOUT, "no answer in time") from None

    def _share(self, shares: bool) -> None:
        self._places.shares_from = 0.0 if shares else time.monotonic() + _ALONE_SECONDS

    async def _decision(self, function: str, parameters: Parameters, *, may_share: bool = False) -> object:
        """The answer of a function that decides about a delivery; how long it takes is measured. Raises NoVerdict."""
        started = time.perf_counter()
        try:
            return await self._within_bounds(function, parameters, may_share=may_share)
        finally:
            self._metrics.rpc_seconds.observe(time.perf_counter() - started)

    async def _within_bounds(self, function: str, parameters: Parameters, *, may_share: bool = False) -> object:
        """The answer, out of a call of its own where a place is free. Raises NoVerdict."""
        try:
            async with asyncio.timeout(self._timeout):
                turn = self._places.take() or await self._wait(parameters if may_share else None)
                if isinstance(turn, Place):
                    with turn:
                        return await self._call(function, parameters)
                answer = await turn
                if isinstance(answer, NoVerdict):
                    return await self._alone_after(answer, function, parameters)
                return answer
        except TimeoutError:
            # The transaction may still run and commit. The next delivery of the event finds out.
            raise NoVerdict(Reason.TIMEOUT, "no answer in time") from None

    async def _wait(self, payment: Parameters | None) -> "Place | asyncio.Future[object]":
        """Wait for a place, but leave enough time for the call itself. Raises NoVerdict."""
        if len(self._places.waiting) >= MAX_WAITING:
            raise NoVerdict(Reason.DATABASE_UNAVAILABLE, "too many deliveries wait for the Data API")
        self._metrics.rpcs_waiting.inc()
        try:
            async with asyncio.timeout(self._timeout * _WAITING_SHARE):
                return await self._places.wait(payment)
        except TimeoutError:
            raise NoVerdict(Reason.DATABASE_UNAVAILABLE, "no free call to the Data API in time") from None
        finally:
            self._metrics.rpcs_waiting.dec()

    async def _call_together(self, payments: list[Parameters]) -> list[object]:
        """Call once for several payments. Returns an answer or a NoVerdict for each."""
        try:
            data = await self._attempt(PLURAL_FUNCTION, {"p_payments": payments})
            answers = read_answers(data, payments)
            if answers is None:
                raise _of_unexpected_shape(data)
        except NoVerdict as failure:
            if failure.reason is Reason.CONTRACT_VIOLATION:
                self._share(False)
            failure.retryable |= failure.reason in _FAULTS_OF_THE_CALL
            return [failure] * len(payments)
        except Exception as error:  # a fault of the relay itself must not leave those who share the call waiting
            return [failures.from_exception(error)] * len(payments)
        return [failures.from_member(answer) or answer for answer in answers]

    async def _alone_after(self, failure: NoVerdict, function: str, parameters: Parameters) -> object:
        """Send a payment alone that got no verdict in a call that it shared, where this may help. Raises NoVerdict.

        It is deferred because somebody holds a lock; or the call's fault may be another payment's; or the connection
        was lost. It is safe, because nothing happened, or the payment was committed and the answer is `replayed`. A
        database that is down or full gets no second call: each payment makes two calls at most, as alone, and where all
        places are taken the failure stands.
        """
        place = self._places.take_beside() if failure.retryable else None
        if place is None:
            raise failure
        self._metrics.rpc_retries.labels(failure.reason).inc()
        with place:
            if failure.reason is not Reason.LOCK_TIMEOUT:
                await asyncio.sleep(random.uniform(*_RETRY_PAUSE_SECONDS))  # noqa: S311  not for secrets
            return await self._attempt(function, parameters)

    async def _call(self, function: str, parameters: dict[str, object]) -> object:
        """Call, and call once more where relay.data_api.failures says that this is safe. The caller limits the time.
        Raises NoVerdict.
        """
        try:
            return await self._attempt(function, parameters)
        except NoVerdict as failure:
            if not failure.retryable:
                raise
            self._metrics.rpc_retries.labels(failure.reason).inc()
        await asyncio.sleep(random.uniform(*_RETRY_PAUSE_SECONDS))  # noqa: S311  not for secrets
        return await self._attempt(function, parameters)

    async def _attempt(self, function: str, parameters: dict[str, Any]) -> object:
        if function == FUNCTION:
            self._metrics.payments_per_call.observe(1)
        elif function == PLURAL_FUNCTION and (payments := parameters["p_payments"]):
            self._metrics.payments_per_call.observe(len(payments))
        return (await self._client.rpc(function, parameters).execute()).data


def _of_unexpected_shape(data: object) -> NoVerdict:
    return NoVerdict(Reason.CONTRACT_VIOLATION, f"an answer of unexpected shape ({type(data).__name__})")


@asynccontextmanager
async def connect(settings: Settings, metrics: Metrics) -> AsyncIterator[DataApi]:
    """Open the client that the webhook and the readiness checks use."""
    async with open_client(settings, timeout=settings.rpc_timeout) as client:
        yield DataApi(client, rpc_timeout=settings.rpc_timeout, metrics=metrics)
