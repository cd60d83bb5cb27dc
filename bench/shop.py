"""Pending checkouts by the ten thousand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg

SQL = Path(__file__).with_name("sql")
ORDERS = 2
ITEMS_IN_EACH = 2
ENOUGH = 60_000
# Plans that are made for empty tables would scan them from end to end for as long as a session lives.
RECORDED = 1_000


def script(name: str) -> LiteralString:
    """One of the bench's own scripts, as psycopg wants it."""
    return (SQL / name).read_text()


def pending_groups(connection: psycopg.Connection[Any], count: int = ENOUGH) -> Iterator[str]:
    """Ids of groups of 42.00 USD; made at once, so that making them is in nobody's measurement."""
    connection.execute(script("shop.sql"))
    rows = connection.execute("select bench.make_groups(%s, %s, %s)", (count, ORDERS, ITEMS_IN_EACH)).fetchall()
    connection.execute("select bench.record_events(%s)", (RECORDED,))
    connection.execute("analyze")
    return iter([str(row[0]) for row in rows])
