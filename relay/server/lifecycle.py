"""The lifecycle route: what becomes of an order group after its payment, and of a checkout that ends without one.

It is a route of its own, for an endpoint of its own at Stripe, so that no fault here can have Stripe switch off the
endpoint of the payments.
"""

from typing import Final

from relay.config import Settings
from relay.core import lifecycle
from relay.core.checkout import Ignored
from relay.core.event import Event
from relay.core.lifecycle import EndedCheckout, Reversal
from relay.core.outcomes import Outcome, Verdict
from relay.data_api.client import DataApi
from relay.server.deliveries import Route
from relay.server.telemetry import Delivery
from relay.server.webhook import rules_of

PATH: Final = "/api/stripe/lifecycle"


def route(settings: Settings, data_api: DataApi) -> Route:
    """The lifecycle route. It has no secrets, and is not to be served, where no setting names them."""
    return Route(settings.stripe_lifecycle_webhook_secrets, Lifecycle(settings, data_api).decide, is_lifecycle=True)


class Lifecycle:
    """Decides about refunds, disputes, and checkouts that have ended."""

    def __init__(self, settings: Settings, data_api: DataApi) -> None:
        self._rules = rules_of(settings)
        self._data_api = data_api

    async def decide(self, event: Event, delivery: Delivery) -> Verdict:
        """The verdict about one event. Raises RelayError."""
        match lifecycle.judge(event, self._rules):
            case Ignored(reason=reason, session_id=session_id):
                delivery.checkout_session_id = session_id
                return Verdict(Outcome.IGNORED, reason)
            case EndedCheckout() as ended:
                delivery.checkout_session_id, delivery.order_group_id = ended.session_id, ended.order_group_id
                return await self._data_api.cancel(ended)
            case Reversal() as reversal:
                recorded = await self._data_api.record(reversal)
                delivery.order_group_id = recorded.order_group_id
                return recorded.verdict
