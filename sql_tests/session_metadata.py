"""What Checkout Sessions said about people: put into payments, found wherever it is kept, erased."""

from __future__ import annotations

from typing import Any, Final, LiteralString
from uuid import UUID

from testkit.database import Connection, Row, scalar
from testkit.payments import Payment, reconcile
from testkit.shop import OrderGroup

JENNY: Final = "jenny@example.test"
KIM: Final = "kim@example.test"
TABLES: LiteralString = (
    "select c.oid::regclass::text as name from pg_class as c where c.relkind = 'r'"
    " and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) order by 1"
)


def everything(superuser: Connection) -> dict[str, list[Any]]:
    """All rows of all tables, as JSON."""
    superuser.execute("set search_path = ''")
    found = {}
    for table in superuser.execute(TABLES).fetchall():
        query = f"select to_jsonb(t) as row from {table['name']} as t order by t::pg_catalog.text"
        found[table["name"]] = [row["row"] for row in superuser.execute(query.encode()).fetchall()]
    return found


def places(superuser: Connection, said: str) -> dict[str, int]:
    """The tables whose rows hold a text, whatever the column, and how many rows."""
    counts = {table: sum(said in str(row) for row in rows) for table, rows in everything(superuser).items()}
    return {table: count for table, count in counts.items() if count}


def pay(service: Connection, payment: Payment, outcome: str, said: str = JENNY) -> Payment:
    """Sends a payment whose session names an e-mail address; `outcome` with its reason is what it must be answered."""
    payment = payment.but(session_metadata=(payment.session_metadata or {}) | {"email": said})
    answer = reconcile(service, payment)
    assert f"{answer['outcome']} {answer['reason'] or ''}".strip() == outcome
    return payment


def erase(connection: Connection, group_id: UUID | None, by: str | None = "ada", note: str | None = "asked to") -> Row:
    answer: Row = scalar(connection, "select public.erase_order_group_metadata(%s, %s, %s)", group_id, by, note)
    return answer


def erased(group: OrderGroup, count: int) -> Row:
    """The answer of an erasure that has emptied that many rows."""
    return {"outcome": "erased", "reason": None, "order_group_id": str(group.id), "emptied": count}


def unmatched(group: OrderGroup, reason: str, named: str) -> Payment:
    """A payment without a group, whose metadata name one in this spelling."""
    account = "acct_seller" if reason == "foreign_account" else None
    return group.payment().but(
        order_group_id=None, unmatched_reason=reason, account=account, session_metadata={"order_group_id": named}
    )
