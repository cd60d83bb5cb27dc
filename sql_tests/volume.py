"""A database that is big enough for the planner to choose as in production, and how to look at its plans.

`VOLUME=full` fills 100,000 order groups, 1,000,000 events and as many ledger rows; the default is a tenth of that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import UUID

from testkit.database import Connection, Database

GROUPS = 100_000 if os.environ.get("VOLUME") == "full" else 10_000
# What the large seller has sold, and the large buyer has bought.
LARGE = GROUPS // 5
FILL = Path(__file__).with_name("volume.sql").read_text().replace(":groups", str(GROUPS)).replace(":large", str(LARGE))
# A few hundred currencies, and the sellers whom one person belongs to, may be read whole.
BIG_TABLES = {
    "order_groups",
    "orders",
    "order_items",
    "inventory_ledger",
    "order_status_changes",
    "products",
    "stripe_events",
    "exceptions",
    "refunds",
    "refund_status_changes",
}
# Their conditions are those of the lists that they are for, so that reading one from its beginning reads the list.
LISTS = {"order_groups_pending_created_at_idx", "orders_to_fulfil_paid_at_idx", "exceptions_open_first_seen_at_idx"}
Plan = dict[str, Any]


@contextmanager
def filled(database: Database) -> Iterator[Connection]:
    """The superuser's session in the filled database."""
    with database.connect() as superuser:
        superuser.execute(FILL.encode())
        superuser.execute("vacuum analyze")
        yield superuser


def key(name: str) -> UUID:
    return UUID(md5(name.encode(), usedforsecurity=False).hexdigest())


def walk(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", []):
        yield from walk(child)


def touched(plans: Iterable[Plan]) -> set[str]:
    return {node["Relation Name"] for plan in plans for node in walk(plan) if "Relation Name" in node}


def scanned(plans: Iterable[Plan]) -> set[str]:
    """The big tables that a plan reads from end to end: sequentially, or along an index without a condition on it."""
    return {
        node["Relation Name"]
        for plan in plans
        for node in walk(plan)
        if node.get("Relation Name") in BIG_TABLES
        and (
            node["Node Type"] == "Seq Scan"
            or (
                node["Node Type"] in {"Index Scan", "Index Only Scan"}
                and "Index Cond" not in node
                and node["Index Name"] not in LISTS
            )
            or any(child["Node Type"] == "Bitmap Index Scan" and "Index Cond" not in child for child in walk(node))
        )
    }
