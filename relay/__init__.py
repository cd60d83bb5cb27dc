"""The relay between Stripe's webhook and `public.reconcile_order_group_payment`."""

__version__ = "1.0.0"
NAME = "order-group-relay"
USER_AGENT = f"{NAME}/{__version__}"
"""The `User-Agent` header of every request to the Data API."""
