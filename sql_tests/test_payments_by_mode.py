"""`payments_by_mode()`: each applied payment counts for the mode of its event, and nothing else counts."""

from __future__ import annotations

from testkit.database import Connection, scalar
from testkit.payments import reconcile
from testkit.shop import Shop

NONE = {"payments": 0, "last_at": None}


def test_payments_are_counted_by_mode(service: Connection, superuser: Connection, shop: Shop) -> None:
    read = "select public.payments_by_mode()"
    assert scalar(service, read) == {"live": NONE, "test": NONE}
    live, test = shop.order_group().payment().but(livemode=True), shop.order_group().payment()

    reconcile(service, live)
    reconcile(service, live.twin())
    reconcile(service, test.but(amount_minor=1, amount="0.01"))
    last = "select to_jsonb(max(processed_at)) from payments.stripe_events where outcome = 'applied' and livemode = %s"

    assert scalar(service, read) == {"live": {"payments": 1, "last_at": scalar(superuser, last, True)}, "test": NONE}
    reconcile(service, test)
    assert scalar(service, read)["test"] == {"payments": 1, "last_at": scalar(superuser, last, False)}
