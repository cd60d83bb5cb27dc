"""Each address is told of each open exception once, whoever tells it and whenever they die."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from testkit.database import Connection, Database, scalar
from testkit.payments import reconcile
from testkit.shop import Shop

ADA, BEN = "a" * 64, "b" * 64


def set_aside(service: Connection, shop: Shop, count: int = 1) -> list[int]:
    """Exceptions that are open now, by their numbers."""
    for _ in range(count):
        assert (
            reconcile(service, shop.order_group().payment().but(amount_minor=1, amount="0.01"))["outcome"] == "rejected"
        )
    rows = service.execute("select id from public.list_payment_exceptions()").fetchall()
    return [row["id"] for row in rows]


def claim(service: Connection, address: str = ADA, seconds: int | None = 300) -> list[int]:
    found: list[dict[str, Any]] = scalar(
        service, "select public.claim_exception_notifications(%s, %s)", address, seconds
    )
    return [one["id"] for one in found]


def finish(service: Connection, ids: list[int], *, sent: bool = True, address: str = ADA) -> int:
    count: int = scalar(service, "select public.finish_exception_notifications(%s, %s, %s)", address, ids, sent)
    return count


def test_each_address_is_told_once_and_with_ids_alone(service: Connection, shop: Shop) -> None:
    ids = set_aside(service, shop, 2)

    (first, _) = scalar(service, "select public.claim_exception_notifications(%s)", ADA)
    assert first.keys() == {"id", "reason", "order_group_id", "stripe_event_id", "first_seen_at"}
    assert claim(service) == []
    assert finish(service, ids) == 2
    assert (claim(service), claim(service, BEN)) == ([], ids)

    more = set_aside(service, shop)
    assert claim(service) == [more[-1]]


def test_what_could_not_be_told_is_given_back(service: Connection, shop: Shop) -> None:
    ids = set_aside(service, shop)

    assert claim(service) == ids
    assert finish(service, ids, sent=False) == 1

    assert claim(service) == ids
    assert finish(service, ids) == 1
    assert finish(service, ids, sent=False) == 0
    assert claim(service) == []


def test_a_claim_ends_with_its_time(service: Connection, superuser: Connection, shop: Shop) -> None:
    ids = set_aside(service, shop)
    assert claim(service) == ids

    superuser.execute("update payments.notifications set claimed_until = now() - interval '1 second' where true")

    assert claim(service) == ids


def test_looking_writes_nothing(db: Database, service: Connection, shop: Shop) -> None:
    ids = set_aside(service, shop)
    before = db.snapshot()

    assert (claim(service, seconds=0), claim(service, seconds=0)) == (ids, ids)

    assert db.snapshot() == before


def test_an_exception_that_opens_again_is_told_again(service: Connection, shop: Shop) -> None:
    ids = set_aside(service, shop)
    claim(service)
    finish(service, ids)
    service.execute("select public.resolve_payment_exception(%s, 'dismissed', 'ada')", ids)
    assert claim(service) == []

    service.execute("select public.reopen_payment_exception(%s, 'ada', 'too soon')", ids)

    assert claim(service) == ids


def test_an_exception_that_closed_and_opened_again_unseen_is_told_again(service: Connection, shop: Shop) -> None:
    ids = set_aside(service, shop)
    for address in (ADA, BEN):
        claim(service, address)
        finish(service, ids, address=address)
    service.execute("select public.resolve_payment_exception(%s, 'dismissed', 'ada')", ids)
    service.execute("select public.reopen_payment_exception(%s, 'ada', 'too soon')", ids)

    assert (claim(service), claim(service, BEN)) == (ids, ids)


def test_nobody_is_remembered_of_what_is_closed(service: Connection, superuser: Connection, shop: Shop) -> None:
    ids = set_aside(service, shop, 2)
    claim(service)

    service.execute("select public.resolve_payment_exception(%s, 'dismissed', 'ada')", ids[:1])

    rows = superuser.execute("select exception_id from payments.notifications").fetchall()
    assert [row["exception_id"] for row in rows] == ids[1:]


def test_two_who_claim_at_once_share_what_is_open(db: Database, service: Connection, shop: Shop) -> None:
    ids = set_aside(service, shop, 3)
    with db.act_as("service_role", autocommit=False) as first, db.act_as("service_role") as second:
        assert claim(first) == ids

        # The second waits for the first: let go once the server says so.
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and pid = %s"
        with db.connect() as superuser, ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(claim, second)
            while not scalar(superuser, waits, second.info.backend_pid):
                assert not waiting.done()
            first.commit()
            assert waiting.result(timeout=30) == []


@pytest.mark.parametrize(
    ("address", "seconds"),
    [("", 300), ("A" * 64, 300), ("a" * 63, 300), (None, 300), (ADA, -1), (ADA, 3601), (ADA, None)],
)
def test_an_address_is_a_digest_and_a_claim_is_short(service: Connection, address: Any, seconds: Any) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        claim(service, address, seconds)


def test_a_claim_holds_no_payment_up(db: Database, service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    payment = group.payment()
    reconcile(service, payment.but(amount_minor=1, amount="0.01"))

    with db.act_as("service_role", autocommit=False) as teller:
        assert len(claim(teller)) == 1
        assert reconcile(service, payment.but(event_id="evt_right"))["outcome"] == "applied"
        teller.commit()

    assert claim(service, BEN) == []
