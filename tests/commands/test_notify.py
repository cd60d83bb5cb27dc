"""`relay notify` against a real mail server, a real web hook's receiver, and a real project."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from testkit import mail_server
from testkit.command_line import Ended
from testkit.mail_server import MailServer
from testkit.payments import reconcile
from testkit.project import Project

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def nothing_is_open(project: Project) -> None:
    """What other tests have left is closed."""
    project.superuser.execute(
        "select public.resolve_payment_exception(id, 'dismissed', 'ada', 'another test')"
        " from public.list_payment_exceptions()"
    )


@pytest.fixture
async def mails(anyio_backend: str) -> AsyncIterator[MailServer]:
    assert anyio_backend == "asyncio"
    async with mail_server.listening() as server:
        yield server


class Hook:
    """A receiver of web hooks, with what it got."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[dict[str, Any]] = []
        self.status = 200

    async def handle(self, request: web.Request) -> web.Response:
        if self.status == 200:
            self.got.append(await request.json())
        return web.Response(status=self.status)


@pytest.fixture
async def hook(anyio_backend: str) -> AsyncIterator[Hook]:
    assert anyio_backend == "asyncio"
    hook = Hook()
    app = web.Application()
    app.router.add_post("/hook", hook.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = site.name.replace("http://", "json://") + "/hook"
    yield hook
    await runner.cleanup()


def open_exceptions(project: Project, count: int = 1) -> list[int]:
    """Payments that do not fit; their exceptions' numbers."""
    events = []
    for _ in range(count):
        payment = project.shop.order_group().payment().but(amount_minor=1, amount="0.01")
        assert reconcile(project.shop.service, payment)["outcome"] == "rejected"
        events.append(payment.event_id)
    rows = project.query("select id from payments.exceptions where stripe_event_id = any(%s) order by id", events)
    return [row["id"] for row in rows]


async def notify(project: Project, *arguments: str, **env: str) -> tuple[Ended, list[tuple[list[int], list[int]]]]:
    """The command's end, and what each address was told, and could not be told."""
    ended = await project.relay("notify", "--json", *arguments, **env)
    answer = json.loads(ended.output) if ended.output else {"addresses": []}
    return ended, [(one["told"], one["failed"]) for one in answer["addresses"]]


async def test_each_address_is_told_once_of_what_is_newly_open(project: Project, mails: MailServer, hook: Hook) -> None:
    mailbox = f"mailto://{mails.host}:{mails.port}?from=relay@example.com&to=oncall@example.com&mode=insecure"
    ids = open_exceptions(project, 2)

    ended, told = await notify(project, "--to", "env:ONCALL", hook.url, ONCALL=mailbox)
    assert (ended.status, ended.errors, told) == (0, "", [(ids, []), (ids, [])])
    ended, told = await notify(project, "--to", hook.url, "--to", mailbox)
    assert (ended.status, told) == (0, [([], []), ([], [])])
    (later,) = open_exceptions(project)
    ended, told = await notify(project, "--to", hook.url)
    assert (ended.status, told) == (0, [([later], [])])

    (mail,) = mails.mails
    assert mail["To"] is not None
    assert "2 need a person: amount_mismatch (2)" in str(mail["Subject"])
    assert [message["title"] for message in hook.got] == [
        "2 need a person: amount_mismatch (2)",
        "1 needs a person: amount_mismatch",
    ]
    assert all(f"{number}: amount_mismatch" in hook.got[0]["message"] for number in ids)
    said = ended.output + ended.errors
    assert hook.url not in said
    assert [
        row["address"] for row in project.query("select address from payments.notifications") if "/" in row["address"]
    ] == []


async def test_an_address_that_cannot_be_told_is_told_later_and_holds_up_no_other(
    project: Project, mails: MailServer, hook: Hook
) -> None:
    mailbox = f"mailto://{mails.host}:{mails.port}?from=relay@example.com&to=oncall@example.com&mode=insecure"
    ids = open_exceptions(project)
    hook.status = 500

    ended, told = await notify(project, "--to", hook.url, mailbox)
    assert (ended.status, told) == (1, [([], ids), (ids, [])])
    assert hook.url not in ended.output + ended.errors
    hook.status = 200
    ended, told = await notify(project, "--to", hook.url, mailbox)

    assert (ended.status, told) == (0, [(ids, []), ([], [])])
    assert (len(hook.got), len(mails.mails)) == (1, 1)


async def test_two_schedulers_at_once_tell_an_address_once(project: Project, hook: Hook) -> None:
    ids = open_exceptions(project, 3)

    both = await asyncio.gather(*(notify(project, "--to", hook.url) for _ in range(2)))

    assert sorted(number for _, told in both for number in told[0][0]) == ids
    assert len(hook.got) == 1


async def test_a_dry_run_tells_nobody_and_remembers_nothing(project: Project, hook: Hook) -> None:
    ids = open_exceptions(project)
    before = project.snapshot()

    ended, told = await notify(project, "--dry-run", "--to", hook.url)

    assert (ended.status, told, hook.got) == (1, [(ids, [])], [])
    assert project.snapshot() == before
    assert f"1 (json)  {ids[0]}" in (await project.relay("notify", "--dry-run", "--to", hook.url)).output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "nonsense"), "address 1: apprise cannot read it"),
        (("--to", "env:NOBODY_SET_THIS"), "the variable NOBODY_SET_THIS is not set"),
        (("--to", "json://127.0.0.1/a", "json://127.0.0.1/a"), "names the same address twice"),
    ],
)
async def test_an_address_that_cannot_be_read_ends_the_run_before_anybody_is_told(
    project: Project, arguments: tuple[str, ...], words: str
) -> None:
    ended = await project.relay("notify", *arguments)

    assert (ended.status, ended.output) == (2, "")
    assert words in ended.errors
