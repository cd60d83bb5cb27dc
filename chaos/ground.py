"""What a run is played on: one database, or a router before two."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from chaos.database import PRODUCTS, SELLERS, DatabaseState, add_groups, fill, look, state_of
from chaos.plan import Scenario
from local_stack.postgres import Postgres
from local_stack.stack import Stack
from testkit.invariants import broken_invariants
from testkit.shards import Cluster


class Ground:
    """One database; a context manager. Raises StackError where a part is missing."""

    def __init__(self) -> None:
        self._parts = ExitStack()
        self.stack: Stack
        self.shards: list[Postgres] = []
        """The servers behind the stack's own."""

    def __enter__(self) -> Self:
        self.stack = self._parts.enter_context(Stack())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def fill(self, scenarios: Sequence[Scenario]) -> None:
        """Sellers, products, and every scenario's groups, still pending."""
        fill(self.stack, scenarios)

    def look(self) -> DatabaseState:
        """Everything that the end is judged by."""
        return look(self.stack)


class Sharded(Ground):
    """A router before two shards. What is common to both is judged too."""

    def __enter__(self) -> Self:
        self._cluster = self._parts.enter_context(Cluster())
        self.stack, self.shards = self._cluster.stack, self._cluster.servers
        return self

    def fill(self, scenarios: Sequence[Scenario]) -> None:
        """The sellers and products on each shard, and each group on its own."""
        groups = [group for scenario in scenarios for group in scenario.groups]
        places = self._cluster.shards_of(str(group.id) for group in groups)
        for number, shop in enumerate(self._cluster.open_shops(sellers=SELLERS, products=PRODUCTS)):
            mine = [group for group, place in zip(groups, places, strict=True) if place == number]
            add_groups(shop.service, shop, mine)

    def look(self) -> DatabaseState:
        """The shards' states as one; a refund has the status that the router tells."""
        states = []
        for shard in self._cluster.shards:
            with shard.connect() as superuser, shard.connect("postgres") as owner:
                states.append(state_of(superuser, broken_invariants(owner)))
        with self._cluster.router.connect() as router:
            router.execute("select * from shards.sweep_claims()")
            across = router.execute("select * from shards.broken_invariants()").fetchall()
            reversals = router.execute(
                "select id, status from public.list_refunds_and_disputes('2000-01-01', '2100-01-01')"
            ).fetchall()
        first, second = states
        return DatabaseState(
            events=first.events | second.events,
            exceptions=first.exceptions | second.exceptions,
            groups=first.groups | second.groups,
            commits=first.commits | second.commits,
            reversals={row["id"]: row["status"] for row in reversals},
            open_disputes=first.open_disputes | second.open_disputes,
            broken_invariants=[
                *first.broken_invariants,
                *second.broken_invariants,
                # Those of each again, and those across both.
                *(f"{row['invariant']}: {row['subject']}, {row['detail']}" for row in across),
            ],
        )
