"""Pending checkouts by the ten thousand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, LiteralString

import psycopg

SQL = Path(__file__).with_name("sql")
ORDERS = 2
ITEMS_IN_EACH = 2
MOST_A_SECOND = 3_000  # payments that PostgREST and Postgres may take
# Plans that are made for empty tables would scan them from end to end for as long as a session lives.
RECORDED = 1_000


def script(name: str) -> LiteralString:
    """One of the bench's own scripts, as psycopg wants it."""
    return (SQL / name).read_text()


class PendingGroups:
    """Ids of groups of 42.00 USD; made at once, for so many seconds of measuring, so that making them is in none."""

    def __init__(self, connection: psycopg.Connection[Any], *, seconds: float) -> None:
        count = round(seconds * MOST_A_SECOND)
        connection.execute(script("shop.sql"))
        made = connection.execute("select bench.make_groups(%s, %s, %s)", (count, ORDERS, ITEMS_IN_EACH)).fetchall()
        connection.execute("select bench.record_events(%s)", (RECORDED,))
        connection.execute("vacuum analyze")
        self._left = iter([str(row[0]) for row in made])

    def take(self) -> str:
        """One that nobody has taken."""
        group = next(self._left, None)
        if group is None:
            raise SystemExit(f"bench: more than {MOST_A_SECOND:,} payments a second: raise MOST_A_SECOND")
        return group
