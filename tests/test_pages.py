"""The SQL of the documents' pages runs as it is written, and does what the pages say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from local_stack.surface import StackSurface
from testkit.database import Connection
from testkit.payments import Payment, reconcile
from tests.documented import GROUP, ROOT

SEEDED = Payment(order_group_id=UUID(GROUP), amount_minor=3000, amount="30.00")


def blocks(page: str, heading: str) -> list[str]:
    """The SQL below a heading, up to the next one of its level."""
    text = (ROOT / "docs" / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def editor(stack: StackSurface) -> Iterator[Connection]:
    """The SQL editor, in a transaction that is rolled back."""
    with (
        psycopg.connect(stack.dsn(user="postgres"), row_factory=dict_row, autocommit=True) as connection,
        connection.transaction(force_rollback=True),
    ):
        yield connection


@pytest.fixture
def seeded(editor: Connection) -> Connection:
    (seed,) = blocks("dumps-and-seeds.md", "A seed")
    editor.execute(seed.encode())
    return editor


def levels(editor: Connection) -> tuple[int, int, int]:
    row = editor.execute("select * from public.inventory_levels where sku = 'T-1'").fetchone()
    assert row is not None
    return row["on_hand"], row["reserved"], row["available"]


def test_the_seeds_group_is_paid_by_the_session_of_stripe_trigger(seeded: Connection) -> None:
    assert levels(seeded) == (10, 2, 8)

    assert reconcile(seeded, SEEDED)["outcome"] == "applied"

    assert levels(seeded) == (8, 0, 8)


def test_another_total_is_the_rejection_that_local_development_names(seeded: Connection) -> None:
    assert reconcile(seeded, SEEDED.but(amount_minor=2999, amount="29.99"))["reason"] == "amount_mismatch"


def test_an_order_from_before_comes_in_once_and_the_stock_stays(seeded: Connection) -> None:
    (block,) = blocks("dumps-and-seeds.md", "Orders from before")
    statement, _, shown = block.partition("-- ")
    before = levels(seeded)

    answers = [next(iter((seeded.execute(statement.encode()).fetchone() or {}).values())) for _ in range(2)]

    assert [answer["outcome"] for answer in answers] == ["imported", "already_imported"]
    assert json.loads(shown.replace("…, ", "")).items() <= answers[0].items()
    assert levels(seeded) == before


def test_stock_shows_what_was_sold_twice_and_who_waits_for_it(seeded: Connection) -> None:
    sold_twice, waiting = blocks("stock.md", "Why a number may be negative")
    product = "90d0c700-0000-4000-8000-000000000001"
    assert "T-1" not in [row["sku"] for row in seeded.execute(sold_twice.encode()).fetchall()]
    seeded.execute("select public.record_inventory_adjustment(%s, -9, 'broken')", [product])
    # Other tests sell on this stack too, and without receipts.
    (row,) = [row for row in seeded.execute(sold_twice.encode()).fetchall() if row["sku"] == "T-1"]
    assert row == {"sku": "T-1", "name": "T-shirt", "on_hand": 1, "reserved": 2, "available": -1}

    reconcile(seeded, SEEDED)

    assert levels(seeded) == (-1, 0, -1)
    assert [row["quantity"] for row in seeded.execute(waiting.encode()).fetchall()] == [2]


def test_a_count_is_an_adjustment(seeded: Connection) -> None:
    (count,) = blocks("stock.md", "Counting")

    seeded.execute(count.encode())

    assert levels(seeded) == (8, 2, 6)


def test_the_other_mode_is_seen_where_it_has_paid(seeded: Connection) -> None:
    (other_mode,) = blocks("environments.md", "One database, one mode")
    seeds = f"{other_mode.strip().removesuffix(';')} and order_group_id = '{GROUP}'".encode()
    assert seeded.execute(seeds).fetchall() == []

    reconcile(seeded, SEEDED)

    assert len(seeded.execute(seeds).fetchall()) == 1


def test_the_trigger_of_your_own_tables_lives_with_a_payment(seeded: Connection) -> None:
    (trigger,) = blocks("your-own-tables.md", "A trigger's `search_path`")
    seeded.execute(trigger.encode())
    seeded.execute("set local search_path = ''")

    assert reconcile(seeded, SEEDED)["outcome"] == "applied"

    assert len(seeded.execute("select * from public.paid_notes").fetchall()) == 1
    assert seeded.execute("select * from public.security_findings()").fetchall() == []


@pytest.mark.parametrize("page", ["your-own-tables.md", "stock.md", "environments.md", "dumps-and-seeds.md"])
def test_no_block_of_sql_is_left_out(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)

    tried = {
        "A seed", "Why a number may be negative", "Counting", "One database, one mode", "A trigger's `search_path`",
        "A dump of the data", "Orders from before",
    }  # fmt: skip
    assert {heading for heading in headings if blocks(page, heading)} <= tried
    assert text.count("```sql") == sum(len(blocks(page, heading)) for heading in headings)
