"""A shop on a stack, and signed deliveries of its buyers' payments, for tests of relays that are other processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.rows import dict_row

from local_stack.surface import StackSurface
from testkit.shop import OrderGroup, Shop, open_shop
from testkit.stripe_events import Answer, checkout_completed, deliver, encode, sign


@contextmanager
def market(stack: StackSurface) -> Iterator[Shop]:
    """A shop whose server acts as `service_role`."""
    with (
        psycopg.connect(stack.dsn(), autocommit=True, row_factory=dict_row) as superuser,
        psycopg.connect(stack.dsn(user="authenticator"), autocommit=True, row_factory=dict_row) as service,
    ):
        service.execute("set role service_role")
        yield open_shop(superuser, service)


def paid(group: OrderGroup) -> bytes:
    """The body of the event that tells of exactly the group's total; each call is another payment."""
    minor = group.payment().amount_minor
    assert minor is not None
    return encode(checkout_completed(order_group_id=str(group.id), amount_minor=minor, currency=group.currency))


def send(url: str, body: bytes, stack: StackSurface) -> Answer:
    """One delivery of it, signed now. Raises httpx.HTTPError where no answer comes."""
    return deliver(url, body, sign(body, stack.stripe_webhook_secret))
