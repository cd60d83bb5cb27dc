"""The webhook's route: what a verified event means for a payment, and the one call of the database that follows."""

from typing import Final

from relay.config import Settings
from relay.core import checkout
from relay.core.checkout import AwaitingFunds, Ignored, Payment, Unmatched
from relay.core.errors import RelayError
from relay.core.event import Event
from relay.core.outcomes import Outcome, Reason, Verdict
from relay.data_api.client import DataApi
from relay.server.deliveries import Route, place_of
from relay.server.telemetry import Delivery, Telemetry

PATH: Final = "/api/stripe/webhook"


def rules_of(settings: Settings) -> checkout.Rules:
    """The settings that decide about events."""
    return checkout.Rules(
        livemode=settings.livemode,
        accounts=settings.stripe_accounts,
        ignores_unreferenced=settings.ignores_unreferenced,
        metadata_keys=settings.metadata_keys,
    )


def route(settings: Settings, telemetry: Telemetry, data_api: DataApi) -> Route:
    """The route of the payments."""
    return Route(settings.stripe_webhook_secrets, Webhook(settings, telemetry, data_api).decide)


class Webhook:
    """Decides about the events of payments."""

    def __init__(self, settings: Settings, telemetry: Telemetry, data_api: DataApi) -> None:
        self._rules = rules_of(settings)
        self._telemetry = telemetry
        self._data_api = data_api

    async def decide(self, event: Event, delivery: Delivery) -> Verdict:
        """The verdict about one event. Raises RelayError."""
        problem: Reason | None = None
        match checkout.judge(event, self._rules):
            case Ignored(reason=reason, session_id=session_id):
                delivery.checkout_session_id = session_id
                return Verdict(Outcome.IGNORED, reason)
            case AwaitingFunds(reason=awaited, session_id=session_id, order_group_id=order_group_id) as decision:
                delivery.checkout_session_id, delivery.order_group_id = session_id, order_group_id
                if decision.is_to_be_noted:
                    await self._note(decision, delivery)
                return Verdict(Outcome.AWAITING_FUNDS, awaited)
            case Unmatched(reason=problem, payment=payment):
                pass
            case Payment() as payment:
                pass
        delivery.checkout_session_id, delivery.order_group_id = payment.session_id, payment.order_group_id
        return await self._data_api.reconcile(payment, unmatched_reason=problem)

    async def _note(self, awaited: AwaitingFunds, delivery: Delivery) -> None:
        """Have the database note that the money is under way. The answer is decided already and does not depend on
        this: a failure is a line in the log.
        """
        outcome: str
        try:
            outcome = await self._data_api.note_awaiting_funds(awaited)
        except Exception as error:
            outcome = Outcome.FAILED
            reason, detail = (error.reason, error.detail) if isinstance(error, RelayError) else (None, "")
            self._telemetry.log.write(
                "warning",
                f"not noted that funds are under way, so that the order group may expire: {detail or place_of(error)}",
                delivery=delivery,
                reason=reason or Reason.UNEXPECTED,
            )
        self._telemetry.metrics.notices.labels(outcome).inc()
