"""The database tells the relay whether the two fit each other."""

from __future__ import annotations

from typing import LiteralString

import pytest

from relay.server.readiness import CONTRACT_VERSION, OLDEST_DATABASE
from testkit.database import Connection, scalar

FUNCTION: LiteralString = (
    "public.reconcile_order_group_payment(uuid, text, text, timestamptz, boolean, text, text, bigint, numeric, text,"
    " jsonb, text, text)"
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
