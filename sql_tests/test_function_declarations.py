"""What the functions tell the Data API about themselves, which a direct session does not notice."""

from __future__ import annotations

import pytest

from testkit.database import Connection, scalar


@pytest.mark.parametrize(
    "name",
    [
        "reconcile_order_group_payment",
        "resolve_payment_exception",
        "reopen_payment_exception",
        "cancel_order_group",
        "advance_order",
    ],
)
def test_function_that_waits_for_a_lock_gives_up_before_the_data_api_does(superuser: Connection, name: str) -> None:
    settings = scalar(superuser, "select proconfig from pg_proc where proname = %s", name)

    assert "lock_timeout=3s" in settings


@pytest.mark.parametrize(
    "name",
    [
        "reconcile_order_group_payment",
        "record_inventory_receipt",
        "record_inventory_adjustment",
        "resolve_payment_exception",
        "reopen_payment_exception",
        "cancel_order_group",
        "advance_order",
    ],
)
def test_function_that_writes_says_so_to_the_data_api(superuser: Connection, name: str) -> None:
    """PostgREST calls a function that is not volatile in a read-only transaction, which a direct session does not."""
    assert scalar(superuser, "select provolatile::text from pg_proc where proname = %s", name) == "v"


def test_function_asks_the_data_api_for_read_committed(superuser: Connection) -> None:
    """PostgREST opens the transaction with it, so what a direct session does with it shows nothing."""
    settings = scalar(superuser, "select proconfig from pg_proc where proname = 'reconcile_order_group_payment'")

    assert "default_transaction_isolation=read committed" in settings
