"""examples/notify: buyers are mailed what became of their orders, whatever happens to the worker."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from local_stack.process import GuardedProcess
from local_stack.stack import Stack
from local_stack.supabase_cli import REPOSITORY
from testkit import mail_server, queues
from testkit.database import scalar
from testkit.mail_server import MailServer, Step
from testkit.payments import reconcile
from testkit.polling import until
from testkit.project import Project, open_project
from testkit.relay_process import inherited_environment
from testkit.shop import OrderGroup

SHOP = "shop@example.com"
STEPS: tuple[Step, ...] = ("asked", "before it is taken", "after it was taken")


@pytest.fixture(scope="module")
def queued() -> Iterator[Project]:
    """A project whose database announces."""
    with Stack() as stack:
        with psycopg.connect(stack.dsn(), autocommit=True, row_factory=dict_row) as superuser:
            queues.install_pgmq(superuser)
        with psycopg.connect(stack.dsn(user="postgres"), autocommit=True, row_factory=dict_row) as owner:
            queues.announce(owner)
        with open_project(stack) as project:
            yield project


@pytest.fixture
async def mails(anyio_backend: str) -> AsyncIterator[MailServer]:
    assert anyio_backend == "asyncio"
    async with mail_server.listening() as server:
        yield server


class Worker:
    """`python examples/notify/worker.py`, started again and again."""

    def __init__(self, project: Project, mails: MailServer, log: Path, *, most_reads: int) -> None:
        self.log = log
        self._env = {
            **inherited_environment(),
            "SUPABASE_URL": project.stack.url,
            "SUPABASE_SERVICE_ROLE_KEY": project.stack.service_role_key,
            "SMTP_HOST": mails.host,
            "SMTP_PORT": str(mails.port),
            "MAIL_FROM": SHOP,
            "HIDDEN_SECONDS": "1",
            "PAUSE_SECONDS": "0.05",
            "MOST_READS": str(most_reads),
        }
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(REPOSITORY / "examples/notify/worker.py")]
        self._process = GuardedProcess(command, log=self.log, env=self._env, cwd=REPOSITORY)

    def kill(self) -> None:
        """As a crash would end it."""
        self._process.kill()


@pytest.fixture
def most_reads() -> int:
    """More than any test kills the worker."""
    return 20


@pytest.fixture
def worker(queued: Project, mails: MailServer, tmp_path: Path, most_reads: int) -> Iterator[Worker]:
    running = Worker(queued, mails, tmp_path / "worker.log", most_reads=most_reads)
    yield running
    running.kill()


def buyer_with(queued: Project, address: str) -> OrderGroup:
    """A pending group of a buyer with that address."""
    (row,) = queued.query(
        "insert into auth.users (id, email, aud, is_anonymous, created_at, updated_at)"
        " values (gen_random_uuid(), %s, 'authenticated', false, now(), now()) returning id",
        address,
    )
    return queued.shop.order_group(buyer_id=row["id"])


def is_done(queued: Project) -> bool:
    return queues.waiting(queued.superuser) == []


def archive(queued: Project) -> list[tuple[str, int]]:
    """What was set aside: the group, and how often its message was read."""
    rows = queued.query("select message ->> 'order_group_id' as id, read_ct from pgmq.a_order_group_events order by 1")
    return [(row["id"], row["read_ct"]) for row in rows]


@pytest.mark.anyio
async def test_each_change_is_one_mail_to_the_buyer_and_a_replay_is_none(
    queued: Project, mails: MailServer, worker: Worker
) -> None:
    paid, cancelled = buyer_with(queued, "ada@example.com"), buyer_with(queued, "ben@example.com")
    guest = queued.shop.order_group()
    queued.superuser.execute("update public.order_groups set buyer_id = null where id = %s", [guest.id])
    payment = paid.payment()

    for attempt in (payment, payment, payment.twin(), guest.payment()):
        reconcile(queued.shop.service, attempt)
    scalar(queued.shop.service, "select public.cancel_order_group(%s)", cancelled.id)
    await until(lambda: is_done(queued))

    found = {str(mail["To"]): (str(mail["Subject"]), mail.get_content()) for mail in mails.mails}
    assert len(mails.mails) == len(found) == 3
    assert found["ada@example.com"][0] == "Thank you: your order is paid"
    assert f"Order {paid.id}: {paid.total_amount} USD" in found["ada@example.com"][1]
    assert found["ben@example.com"][0] == "Your order was cancelled"
    assert str(guest.id) in found[SHOP][1]
    assert "@example.com" not in worker.log.read_text()


@pytest.mark.anyio
async def test_worker_that_is_killed_anywhere_loses_no_mail(
    queued: Project, mails: MailServer, worker: Worker, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(request.node.name)
    due = [chance.randrange(2 * len(STEPS)) for _ in range(6)]
    seen = 0

    def kill_sometimes(_: Step) -> None:
        nonlocal seen
        seen += 1
        if due and seen > due[0]:
            due.pop(0)
            seen = 0
            worker.kill()
            worker.start()

    mails.at = kill_sometimes
    groups = [buyer_with(queued, f"{uuid4()}@example.com") for _ in range(12)]
    for group in groups:
        reconcile(queued.shop.service, group.payment())
    await until(lambda: is_done(queued))

    assert due == []
    told = {(str(mail["Message-ID"]), mail.get_content()[6:42]) for mail in mails.mails}
    assert len({message_id for message_id, _ in told}) == len(told)
    assert {group_id for _, group_id in told} == {str(group.id) for group in groups}
    assert len(mails.mails) > len(groups)  # at least once: some were killed between the mail and its end
    assert archive(queued) == []


@pytest.mark.anyio
@pytest.mark.parametrize("most_reads", [3])
async def test_mail_that_nobody_takes_is_set_aside_and_holds_up_no_other(
    queued: Project, mails: MailServer, worker: Worker
) -> None:
    assert worker.log.exists()
    mails.at = lambda step: "550 no such mailbox" if step == "asked" and len(mails.mails) == 0 else None
    refused = queued.shop.order_group()
    reconcile(queued.shop.service, refused.payment())
    await until(lambda: archive(queued) != [])
    mails.at = lambda _: None
    taken = buyer_with(queued, "cleo@example.com")
    reconcile(queued.shop.service, taken.payment())
    await until(lambda: is_done(queued))

    assert archive(queued) == [(str(refused.id), 4)]
    assert [str(mail["To"]) for mail in mails.mails] == ["cleo@example.com"]
