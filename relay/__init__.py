"""The relay between Stripe's webhook and `public.reconcile_order_group_payment`."""

__version__ = "0.1.0"
