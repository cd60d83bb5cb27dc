"""Calls the database functions that a delivery and the readiness checks need, within limits of time and number."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Literal

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
    read_cancelled,
    read_notice,
    read_recorded,
    read_verdict,
)
from relay.data_api.connection import open_client
from relay.metrics import Metrics

FUNCTION: Final = "reconcile_order_group_payment"
NOTICE_FUNCTION: Final = "note_awaiting_funds"
CANCELLING_FUNCTION: Final = "cancel_order_group"
RECORDING_FUNCTIONS: Final[Mapping[Kind, str]] = {"refund": "record_refund", "dispute": "record_dispute"}
Source = Literal["webhook", "sweep", "replay"]
# How many calls may run at the same time, and how many deliveries may wait for one of them. If the Data API hangs, it
# holds 64 calls for RELAY_RPC_TIMEOUT. Deliveries that find the queue full are answered 500 at once, and Stripe sends
# them again. PostgREST's own pool is smaller (10 by default), so more calls would only wait there.
MAX_CALLS: Final = 64
MAX_WAITING: Final = 256
# The lifecycle route has a queue of its own, and fewer calls: refunds that hang take no place from payments.
MAX_LIFECYCLE_CALLS: Final = 8
# The share of RELAY_RPC_TIMEOUT that a delivery may wait for a free call. By default (9 s) the rest is more than the
# function's own lock_timeout (3 s).
_WAITING_SHARE: Final = 0.5
_RETRY_PAUSE_SECONDS: Final = (0.02, 0.1)


class DataApi:
    """Calls the functions that the webhook and the readiness checks need.

    `rpc_timeout` is how many seconds one call may take, waiting for a slot and one retry included.
    """

    def __init__(self, client: AsyncClient, *, rpc_timeout: float, metrics: Metrics, calls: int | None = None) -> None:
        self._client = client
        self._timeout = rpc_timeout
        self._metrics = metrics
        self._slots = asyncio.Semaphore(MAX_CALLS if calls is None else calls)
        self._waiting = 0

    def apart(self, calls: int) -> "DataApi":
        """One over the same connections with a queue of its own, and with so many calls at the same time."""
        return DataApi(self._client, rpc_timeout=self._timeout, metrics=self._metrics, calls=calls)

    async def reconcile(
        self, payment: Payment, *, unmatched_reason: Reason | None = None, source: Source = "webhook"
    ) -> Verdict:
        """Let the database decide about a payment. Raises NoVerdict.

        `unmatched_reason` says why the payment names no order group; None where it names one.
        """
        data = await self._decision(FUNCTION, parameters(payment, unmatched_reason, source))
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

        The call takes no slot, so that it is also answered while all slots are taken.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._call("reconciliation_readiness", {})
        except TimeoutError:
            raise NoVerdict(Reason.TIMEOUT, "no answer in time") from None

    async def _decision(self, function: str, parameters: dict[str, object]) -> object:
        """The answer of a function that decides about a delivery; how long it takes is measured. Raises NoVerdict."""
        started = time.perf_counter()
        try:
            return await self._within_bounds(function, parameters)
        finally:
            self._metrics.rpc_seconds.observe(time.perf_counter() - started)

    async def _within_bounds(self, function: str, parameters: dict[str, object]) -> object:
        if self._slots.locked() and self._waiting >= MAX_WAITING:
            raise NoVerdict(Reason.DATABASE_UNAVAILABLE, "too many deliveries wait for the Data API")
        try:
            async with asyncio.timeout(self._timeout):
                await (self._wait_for_slot() if self._slots.locked() else self._slots.acquire())
                try:
                    return await self._call(function, parameters)
                finally:
                    self._slots.release()
        except TimeoutError:
            # The transaction may still run and commit. The next delivery of the event finds out.
            raise NoVerdict(Reason.TIMEOUT, "no answer in time") from None

    async def _wait_for_slot(self) -> None:
        """Wait for a slot, but leave enough time for the call itself. Raises NoVerdict."""
        self._waiting += 1
        self._metrics.rpcs_waiting.inc()
        try:
            async with asyncio.timeout(self._timeout * _WAITING_SHARE):
                await self._slots.acquire()
        except TimeoutError:
            raise NoVerdict(Reason.DATABASE_UNAVAILABLE, "no free call to the Data API in time") from None
        finally:
            self._waiting -= 1
            self._metrics.rpcs_waiting.dec()

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

    async def _attempt(self, function: str, parameters: dict[str, object]) -> object:
        return (await self._client.rpc(function, parameters).execute()).data


def _of_unexpected_shape(data: object) -> NoVerdict:
    return NoVerdict(Reason.CONTRACT_VIOLATION, f"an answer of unexpected shape ({type(data).__name__})")


def parameters(payment: Payment, unmatched_reason: Reason | None, source: Source) -> dict[str, object]:
    """The parameters of `reconcile_order_group_payment` for a payment."""
    return {
        "p_order_group_id": payment.order_group_id,
        "p_stripe_event_id": payment.event_id,
        "p_stripe_event_type": payment.event_type,
        "p_stripe_event_created": payment.event_created,
        "p_livemode": payment.livemode,
        "p_checkout_session_id": payment.session_id,
        "p_payment_intent_id": payment.payment_intent_id,
        "p_amount_minor": payment.amount_minor,
        "p_amount": payment.amount,
        "p_currency": payment.currency,
        "p_session_metadata": payment.metadata,
        "p_source": source,
        "p_unmatched_reason": unmatched_reason,
        "p_account": payment.account,
    }


def recording_parameters(reversal: Reversal, source: Source) -> dict[str, object]:
    """The parameters of `record_refund` or `record_dispute`."""
    return {
        f"p_{reversal.kind}_id": reversal.id,
        "p_payment_intent_id": reversal.payment_intent_id,
        "p_amount_minor": reversal.amount_minor,
        "p_amount": reversal.amount,
        "p_currency": reversal.currency,
        "p_status": reversal.status,
        "p_created": reversal.created,
        "p_reason": reversal.reason,
        "p_livemode": reversal.livemode,
        "p_source": source,
        "p_stripe_event_id": reversal.event_id,
    }


@asynccontextmanager
async def connect(settings: Settings, metrics: Metrics) -> AsyncIterator[DataApi]:
    """Open the client that the webhook and the readiness checks use."""
    async with open_client(settings, timeout=settings.rpc_timeout) as client:
        yield DataApi(client, rpc_timeout=settings.rpc_timeout, metrics=metrics)
