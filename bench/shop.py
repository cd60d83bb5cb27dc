"""Pending checkouts by the ten thousand."""

from __future__ import annotations

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


class PendingGroups:
    """Ids of groups of 42.00 USD, made between measurements, so that making them is in none."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._left: list[str] = []
        connection.execute(script("shop.sql"))
        self.refill()
        connection.execute("select bench.record_events(%s)", (RECORDED,))
        connection.execute("analyze")

    def refill(self) -> None:
        """Have enough for the next measurement."""
        if len(self._left) < ENOUGH:
            made = self._connection.execute(
                "select bench.make_groups(%s, %s, %s)", (ENOUGH, ORDERS, ITEMS_IN_EACH)
            ).fetchall()
            self._left += [str(row[0]) for row in made]

    def take(self) -> str:
        """One that nobody has taken."""
        if not self._left:
            raise SystemExit(f"bench: {ENOUGH:,} order groups did not last: measure for fewer seconds")
        return self._left.pop()
