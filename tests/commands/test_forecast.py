"""The sweep's forecast is the function's verdict."""

import uuid
from collections.abc import Iterator

import pytest

from local_stack.surface import StackSurface
from relay.commands.sweep import order_groups
from relay.commands.sweep.forecast import forecast
from relay.config import Settings
from relay.core import checkout, currency
from relay.core.outcomes import REJECTIONS
from relay.data_api import records
from testkit.payments import reconcile as call
from testkit.project import Project, open_project
from testkit.shop import OrderGroup

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def project(stack: StackSurface) -> Iterator[Project]:
    with open_project(stack) as opened:
        yield opened


def cancelled(project: Project) -> OrderGroup:
    group = project.shop.order_group()
    project.shop.service.execute("select public.cancel_order_group(%s)", [group.id])
    return group


async def test_the_forecast_is_the_functions_verdict(project: Project) -> None:
    """Each reason, in the function's order; the payment of each is judged by both."""
    shop = project.shop
    paid = shop.order_group()
    call(shop.service, paying := paid.payment())
    unequal = shop.order_group(total_amount=paid.total_amount + 1)
    yen, krona = shop.order_group([[(1, "100")]], currency="JPY"), shop.order_group([[(1, "100")]], currency="ISK")
    cases = {
        "order_group_not_found": paid.payment().but(order_group_id=uuid.uuid4()),
        "order_group_not_payable": cancelled(project).payment(),
        "order_group_empty": shop.order_group([], total_amount=paid.total_amount).payment(),
        "amount_missing": shop.order_group().payment().but(amount_minor=None, amount=None),
        "currency_unsupported": shop.order_group().payment().but(currency="XYZ"),
        "amount_normalization_mismatch": krona.payment().but(amount_minor=10050, amount="100.50"),
        "currency_mismatch": yen.payment().but(currency="USD", amount="1.00"),
        "amount_mismatch": shop.order_group().payment().but(amount_minor=1, amount="0.01"),
        "totals_inconsistent": unequal.payment(),
        "duplicate_payment": paying.rival(),
        "payment_already_used": shop.order_group().payment().but(payment_intent_id=paying.payment_intent_id),
        "": shop.order_group().payment(),
        None: paying.twin(),
    }
    environment = Settings.from_env(project.environment(), now=0)
    async with records.connect(environment) as clients:
        known = order_groups.Books(clients.records)
        for payment in cases.values():
            assert payment.event_id
            assert payment.checkout_session_id
            normalised = checkout.Payment(
                event_id=payment.event_id,
                event_type="checkout.session.completed",
                event_created=None,
                livemode=False,
                session_id=payment.checkout_session_id,
                payment_intent_id=payment.payment_intent_id,
                amount_minor=payment.amount_minor,
                amount=payment.amount,
                currency=currency.code_of(payment.currency),
                metadata={},
                order_group_id=str(payment.order_group_id),
            )
            group = (await known.groups([str(payment.order_group_id)])).get(str(payment.order_group_id))
            foreseen = forecast(
                normalised,
                group,
                await known.orders(str(payment.order_group_id)),
                used_elsewhere=await known.is_used_elsewhere(normalised),
            )
            verdict = call(shop.service, payment)

            assert (foreseen.outcome, foreseen.reason) == (verdict["outcome"], verdict["reason"])

    reasons = {name for name in cases if name}
    assert reasons == {str(reason) for reason in REJECTIONS} - {"event_collision"}
