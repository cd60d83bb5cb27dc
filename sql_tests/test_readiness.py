"""The database tells the relay whether the two fit each other."""

from __future__ import annotations

from typing import LiteralString
from uuid import uuid4

import pytest

from relay.server.readiness import CONTRACT_VERSION, OLDEST_DATABASE
from testkit.database import Connection, scalar
from testkit.payments import reconcile
from testkit.refunds import Dispute, record
from testkit.shop import Shop

FUNCTION: LiteralString = (
    "public.reconcile_order_group_payment(uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text,"
    " jsonb, text, text, text)"
)


def test_readiness_tells_contract_currencies_and_rights(service: Connection, superuser: Connection) -> None:
    readiness = scalar(service, "select public.reconciliation_readiness()")

    # Relay and database of one release speak the same contract, and each works with the release before.
    assert (readiness["contract_version"], readiness["oldest_contract_version"]) == (CONTRACT_VERSION, OLDEST_DATABASE)
    assert readiness["role"] == "service_role"
    assert readiness["can_execute"] is True
    assert readiness["anon_can_execute"] is False
    assert readiness["currencies"]["JPY"] == 0
    assert len(readiness["currencies"]) == scalar(superuser, "select count(*) from payments.currencies")
    assert readiness["server_time"].endswith("+00:00")


@pytest.mark.parametrize("role", ["anon", "authenticated", "public"])
def test_readiness_sees_that_the_function_is_open(service: Connection, owner: Connection, role: LiteralString) -> None:
    owner.execute("grant execute on function " + FUNCTION + " to " + role)

    assert scalar(service, "select public.reconciliation_readiness()")["anon_can_execute"] is True


def test_readiness_sees_that_the_right_is_missing(service: Connection, owner: Connection) -> None:
    owner.execute("revoke execute on function " + FUNCTION + " from service_role")

    assert scalar(service, "select public.reconciliation_readiness()")["can_execute"] is False


def test_readiness_wants_every_overload_executable(service: Connection, owner: Connection) -> None:
    owner.execute(
        "create function public.reconcile_order_group_payment(p_other text) returns jsonb language sql"
        " security definer set search_path = '' as $$ select '{}'::jsonb $$;"
        " revoke execute on function public.reconcile_order_group_payment(text) from public, service_role"
    )

    assert scalar(service, "select public.reconciliation_readiness()")["can_execute"] is False


def test_readiness_without_the_function_is_a_no(service: Connection, owner: Connection) -> None:
    owner.execute("drop function " + FUNCTION)

    readiness = scalar(service, "select public.reconciliation_readiness()")

    assert (readiness["can_execute"], readiness["anon_can_execute"]) == (False, False)


def test_readiness_names_the_shops_triggers_that_look_names_up_by_the_callers_path(
    service: Connection, owner: Connection
) -> None:
    assert scalar(service, "select public.reconciliation_readiness()")["fragile_triggers"] == []

    owner.execute(
        """
        create function public.frail() returns trigger language plpgsql as 'begin return new; end';
        create function public.pinned() returns trigger language plpgsql set search_path = public
        as 'begin return new; end';
        create table public.own (id int, note text, words tsvector);
        create trigger own before update on public.own for each row execute function public.frail();
        create trigger own_b before update on public.orders for each row execute function public.frail();
        create trigger own_a before update on public.orders for each row execute function public.frail();
        create trigger own_pinned before update on public.orders for each row execute function public.pinned();
        create trigger own_in_c before update on public.orders for each row
        execute function suppress_redundant_updates_trigger();
        create trigger own before update on payments.exceptions for each row execute function public.frail();
        create trigger own before update on public.sellers for each row execute function public.frail();
        alter table public.sellers disable trigger own
        """
    )

    assert scalar(service, "select public.reconciliation_readiness()")["fragile_triggers"] == [
        "own on payments.exceptions: public.frail()",
        "own_a on public.orders: public.frail()",
        "own_b on public.orders: public.frail()",
    ]


def test_readiness_tells_the_open_exceptions_by_reason_and_since_when_the_oldest_waits(
    service: Connection, superuser: Connection, shop: Shop
) -> None:
    def told() -> tuple[dict[str, int], str | None]:
        readiness = scalar(service, "select public.reconciliation_readiness()")
        return readiness["open_exceptions"], readiness["oldest_open_exception_at"]

    assert told() == ({}, None)

    # A dispute waits for the bank, not for a person alone.
    disputed = shop.order_group().payment()
    reconcile(service, disputed)
    assert record(service, Dispute.of(disputed))["outcome"] == "recorded"
    assert told() == ({"payment_disputed": 1}, None)

    first = shop.order_group().payment().but(amount="1.00", amount_minor=100)
    second = shop.order_group().payment().but(amount="1.00", amount_minor=100)
    other = first.but(
        order_group_id=uuid4(), event_id="evt_other", checkout_session_id="cs_other", payment_intent_id="pi_other"
    )
    for payment in (first, second, other, first):
        assert reconcile(service, payment)["outcome"] == "rejected"
    oldest, later = (
        scalar(
            superuser,
            "select to_jsonb(first_seen_at) from payments.exceptions where stripe_event_id = %s",
            one.event_id,
        )
        for one in (first, second)
    )
    assert told() == ({"amount_mismatch": 2, "order_group_not_found": 1, "payment_disputed": 1}, oldest)

    number = scalar(superuser, "select id from payments.exceptions where stripe_event_id = %s", first.event_id)
    service.execute("select public.resolve_payment_exception(%s, 'dismissed', 'ada')", [number])

    assert told() == ({"amount_mismatch": 1, "order_group_not_found": 1, "payment_disputed": 1}, later)
