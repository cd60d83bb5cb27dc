"""A project with a shop in it, the relay's commands as an operator runs them, and what the database holds."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_stack.supabase_cli import REPOSITORY
from local_stack.surface import StackSurface
from testkit.command_line import Ended, run, running
from testkit.database import Connection, Row, connected, past_every_guard
from testkit.shop import OrderGroup, Shop, open_shop
from testkit.snapshot import Snapshot, snapshot


@dataclass(frozen=True, slots=True)
class Project:
    """A migrated project. `superuser` looks, and plays Supabase Auth; it never reconciles."""

    stack: StackSurface
    superuser: Connection
    shop: Shop
    code: Path = REPOSITORY
    """The folder whose package `relay` runs the commands."""

    def environment(self, **changes: str) -> dict[str, str]:
        """The settings of a relay for this project."""
        return {**self.stack.env(), "RELAY_HOST": "127.0.0.1", "RELAY_PORT": "0", **changes}

    async def relay(self, *arguments: str, **changes: str) -> Ended:
        """Run a command to its end."""
        return await run(*arguments, env=self.environment(**changes), code=self.code)

    def running(self, *arguments: str, **changes: str) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
        """A command while it runs; ended with the block."""
        return running(*arguments, env=self.environment(**changes), code=self.code)

    def snapshot(self) -> Snapshot:
        """Every row, with the transaction that wrote it."""
        return snapshot(self.stack.dsn())

    def past_every_guard(self) -> AbstractContextManager[None]:
        """The superuser may write in the block what no trigger would let through."""
        return past_every_guard(self.superuser)

    def a_year_passes(self) -> None:
        """What other tests have paid and left open lies well before any window."""
        with self.past_every_guard():
            for table, column in (
                ("public.order_groups", "paid_at"),
                ("public.order_groups", "stripe_webhook_event_created_at"),
                ("public.orders", "paid_at"),
                ("public.order_status_changes", "changed_at"),
                ("public.inventory_ledger", "created_at"),
                ("payments.stripe_events", "processed_at"),
                ("payments.stripe_events", "created_at"),
                ("payments.exceptions", "first_seen_at"),
                ("payments.refunds", "created_at"),
                ("payments.refunds", "recorded_at"),
                ("payments.refunds", "status_changed_at"),
                ("payments.refund_status_changes", "changed_at"),
                ("payments.disputes", "created_at"),
                ("payments.disputes", "recorded_at"),
                ("payments.disputes", "status_changed_at"),
                ("payments.dispute_status_changes", "changed_at"),
                ("payments.exceptions", "event_created_at"),
            ):
                change = f"update {table} set {column} = {column} - interval '1 year' where {column} is not null"
                self.superuser.execute(change.encode())

    def query(self, statement: str, *values: Any) -> list[Row]:
        """What the superuser sees."""
        return self.superuser.execute(statement.encode(), values).fetchall()

    def group(self, group: OrderGroup) -> Row:
        """An order group as it is now."""
        (row,) = self.query("select * from public.order_groups where id = %s", group.id)
        return row


@contextmanager
def open_project(stack: StackSurface) -> Iterator[Project]:
    """The stack's project with sellers, products and buyers of our own."""
    with connected(stack) as (superuser, service):
        yield Project(stack, superuser, open_shop(superuser, service))
