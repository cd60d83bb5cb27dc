"""The preview of payments, and the function held to it: what was foretold is literally what is then answered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import psycopg

from testkit import payments as unforetold
from testkit.database import Connection, Row, scalar
from testkit.payments import Payment, element

FLAGS = ("is_known", "is_on_record", "resolved")


def preview(connection: Connection, payments: Iterable[Payment | Any]) -> list[Row]:
    """The function's foretold answers, asked in a read-only transaction as the Data API does; what is no payment is
    sent as it is.
    """
    sent = [element(payment) if isinstance(payment, Payment) else payment for payment in payments]
    with connection.transaction():
        connection.execute("set transaction read only")
        answers: list[Row] = scalar(
            connection, "select public.preview_order_group_payments(%s)", json.dumps(sent, default=str)
        )
    return answers


def verdict_of(told: Row) -> Row:
    """What a preview says about the function's answer, without what it says beside."""
    return {key: value for key, value in told.items() if key not in FLAGS}


def reconcile(connection: Connection, payment: Payment) -> Row:
    """Calls the function, and asserts that the preview has told its answer, or its error."""
    (told,) = preview(connection, [payment])
    try:
        verdict = unforetold.reconcile(connection, payment)
    except psycopg.Error as error:
        if told["outcome"] == "failed" and told["sqlstate"] != error.sqlstate:
            raise AssertionError(f"{told['sqlstate']} was told") from error
        raise
    assert verdict_of(told) == verdict
    return verdict
