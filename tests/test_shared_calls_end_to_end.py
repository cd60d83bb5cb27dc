"""Payments that share a call, on real parts: each gets the answer that it would have got alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from local_stack.surface import StackSurface
from relay.data_api import client, places
from relay.server.app import TELEMETRY
from testkit.database import scalar
from testkit.invariants import broken_invariants
from testkit.polling import until
from testkit.project import Project
from testkit.relay_under_test import Answer, Relay, serving
from testkit.shop import OrderGroup, paid
from testkit.stripe_events import Json, twin

pytestmark = pytest.mark.anyio

APPLIED = (200, "applied", None)


@pytest.fixture
async def relay(stack: StackSurface, anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relay]:
    """With one place, which a call keeps however long it takes: whoever waits goes together."""
    assert anyio_backend == "asyncio"
    monkeypatch.setattr(client, "FEW_CALLS", 1)
    monkeypatch.setattr(places, "LONG_SECONDS", 3600.0)
    async with serving({**stack.env(), "RELAY_HOST": "127.0.0.1", "RELAY_PORT": "0"}) as running:
        yield running


@contextmanager
def locked(stack: StackSurface, group: OrderGroup) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Somebody who holds the group until the end, or until they roll back."""
    with psycopg.connect(stack.dsn()) as holder:
        holder.execute("select id from public.order_groups where id = %s for update", [group.id])
        yield holder
        holder.rollback()


def shown(relay: Relay, series: str) -> float | None:
    return relay.app[TELEMETRY].metrics.registry.get_sample_value(series)


def calls(relay: Relay) -> tuple[float | None, float | None]:
    """How many calls were made, and for how many payments."""
    return shown(relay, "relay_payments_per_call_count"), shown(relay, "relay_payments_per_call_sum")


class Behind:
    """Deliveries that wait behind one whose group somebody holds."""

    def __init__(self, relay: Relay, stack: StackSurface, project: Project) -> None:
        self._relay = relay
        self._stack = stack
        self._project = project
        self.sent: list[asyncio.Task[Answer]] = []

    async def send(self, first: OrderGroup, *events: Json) -> None:
        """The first one's call waits for the lock, and the events wait in their order for the relay's place."""
        self._deliver(paid(first))
        waits = "select count(*) from pg_stat_activity where usename = 'authenticator' and wait_event_type = 'Lock'"
        await until(lambda: scalar(self._project.superuser, waits) == 1)
        for event in events:
            self._deliver(event)
            await until(partial(self._are_waiting, len(self.sent) - 1))

    def _are_waiting(self, count: int) -> bool:
        return shown(self._relay, "relay_rpcs_waiting") == count

    def _deliver(self, event: Json) -> None:
        secret = self._stack.stripe_webhook_secret
        self.sent.append(asyncio.create_task(self._relay.deliver(event, secret=secret)))

    async def verdicts(self) -> list[tuple[int, str, str | None]]:
        return [(await one).verdict for one in self.sent]


@pytest.fixture
def behind(relay: Relay, stack: StackSurface, project: Project) -> Behind:
    return Behind(relay, stack, project)


def statuses(project: Project, *groups: OrderGroup) -> list[str]:
    rows = project.query(
        "select id, status from public.order_groups where id = any(%s)", [group.id for group in groups]
    )
    by_id = {row["id"]: row["status"] for row in rows}
    return [by_id[group.id] for group in groups]


async def test_each_payment_of_a_call_gets_its_own_answer(
    relay: Relay, behind: Behind, stack: StackSurface, project: Project
) -> None:
    held, *groups = (project.shop.order_group() for _ in range(5))
    first, second = paid(groups[0]), paid(groups[1])
    wrong = paid(groups[2], amount_total=1)
    nameless = paid(groups[3], metadata={})

    with locked(stack, held):
        await behind.send(held, first, second, twin(second), first, wrong, nameless)

    assert await behind.verdicts() == [
        APPLIED,
        APPLIED,
        APPLIED,
        (200, "already_paid", None),
        (200, "replayed", None),
        (500, "rejected", "amount_mismatch"),
        (200, "unmatched", "missing_reference"),
    ]
    assert calls(relay) == (2, 7)
    assert statuses(project, held, *groups) == ["paid", "paid", "paid", "pending", "pending"]
    assert broken_invariants(project.superuser) == []


async def test_a_payment_whose_group_is_held_goes_alone_and_the_others_do_not_wait(
    relay: Relay, behind: Behind, stack: StackSurface, project: Project
) -> None:
    held, before, locked_group, after = (project.shop.order_group() for _ in range(4))

    with locked(stack, locked_group):
        with locked(stack, held):
            await behind.send(held, paid(before), paid(locked_group), paid(after))
        first, second, third, fourth = behind.sent
        others = [(await one).verdict for one in (first, second, fourth)]
        assert not third.done()

    assert others == [APPLIED] * 3
    assert (await third).verdict == APPLIED
    assert calls(relay) == (3, 5)
    assert statuses(project, held, before, locked_group, after) == ["paid"] * 4


async def test_a_fault_of_the_shops_own_trigger_is_one_payments_alone(
    relay: Relay, behind: Behind, stack: StackSurface, project: Project
) -> None:
    held, before, poisoned, after = (project.shop.order_group() for _ in range(4))
    project.superuser.execute(
        f"""
        create function public.tg_shop__fail() returns trigger language plpgsql as $$
        begin
            if new.id = '{poisoned.id}' then raise exception 'no more of this'; end if;
            return new;
        end $$;
        create trigger fails before update on public.order_groups
        for each row execute function public.tg_shop__fail()
        """.encode()
    )
    try:
        with locked(stack, held):
            await behind.send(held, paid(before), paid(poisoned), paid(after))
        verdicts = await behind.verdicts()
    finally:
        project.superuser.execute("drop function public.tg_shop__fail() cascade")

    assert verdicts == [APPLIED, APPLIED, (500, "failed", "unexpected"), APPLIED]
    assert calls(relay) == (2, 4)
    assert statuses(project, held, before, poisoned, after) == ["paid", "paid", "pending", "paid"]


async def test_a_backend_that_is_killed_in_the_middle_of_a_call_leaves_nothing_half_done(
    relay: Relay, behind: Behind, stack: StackSurface, project: Project
) -> None:
    held, first, second = (project.shop.order_group() for _ in range(3))
    events = [paid(first), paid(second)]
    slow = "select pid from pg_stat_activity where usename = 'authenticator' and wait_event = 'PgSleep'"
    project.superuser.execute(
        """
        create function public.tg_shop__sleep() returns trigger language plpgsql as $$
        begin
            perform pg_sleep(60);
            return new;
        end $$;
        create trigger sleeps before insert on public.inventory_ledger
        for each statement execute function public.tg_shop__sleep()
        """
    )
    try:
        with locked(stack, held):
            await behind.send(held, *events)
            project.superuser.execute(
                "select pg_cancel_backend(pid) from pg_stat_activity"
                " where usename = 'authenticator' and wait_event_type = 'Lock'"
            )
            await until(lambda: bool(project.query(slow)))
            (row,) = project.query(slow)
            project.superuser.execute("select pg_terminate_backend(%s)", [row["pid"]])
            verdicts = await behind.verdicts()
    finally:
        project.superuser.execute("drop function public.tg_shop__sleep() cascade")

    assert [verdict[:2] for verdict in verdicts] == [(500, "failed")] * 3
    assert statuses(project, held, first, second) == ["pending"] * 3
    again = [(await relay.deliver(event, secret=stack.stripe_webhook_secret)).verdict for event in events]
    assert again == [APPLIED] * 2
