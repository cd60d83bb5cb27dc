"""The market hall's own server: from a basket to Stripe's payment page, and back."""

from typing import Any

from stripe import StripeClient
from supabase import Client


class CannotCheckOut(Exception):
    """There is nothing to pay; the argument is the reason: basket_not_found, basket_empty, basket_is_paid."""


def start_checkout(shop: Client, stripe: StripeClient, basket_id: int) -> str | None:
    """The page where the buyer pays the basket. `shop` holds the service key. Raises CannotCheckOut.

    Called twice, it leads to the same session: the group is the same, and so is Stripe's idempotency key.
    """
    answer: Any = shop.rpc("check_out_basket", {"p_basket_id": basket_id}).execute().data
    if answer["outcome"] == "rejected":
        raise CannotCheckOut(answer["reason"])
    reference = {"order_group_id": answer["order_group_id"]}
    session = stripe.v1.checkout.sessions.create(
        params={
            "mode": "payment",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": answer["currency"],
                        "unit_amount": answer["amount_minor"],
                        "product_data": {"name": f"Basket {basket_id}"},
                    },
                }
            ],
            "metadata": reference,
            "payment_intent_data": {"metadata": reference},
            "success_url": "https://hall.example.com/thanks",
        },
        options={"idempotency_key": f"checkout-{answer['order_group_id']}"},
    )
    return session.url
