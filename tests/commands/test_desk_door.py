"""`relay desk` over HTTP, on a real project: who is let in, and how it begins and ends."""

import asyncio
import re
import signal
import socket
import uuid
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from testkit.desk import FORMS, WORD, Desk, desk
from testkit.exceptions import exception_of, rejected
from testkit.project import Project

pytestmark = pytest.mark.anyio

PAGES = (
    "/exceptions",
    "/exceptions?status=all&order=new",
    "/exceptions/all",
    "/search?q=evt_1",
    "/stock",
    "/sweep",
    "/report",
    "/report?since=2026-01-01",
    "/nowhere",
    "/exceptions/999999999",
    "/groups/cart-17",
    "/bulk/7",
)
STATIC = ("/static/desk.css", "/static/desk.js", "/static/desk.svg")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


async def test_the_link_opens_once_and_its_second_use_is_refused_and_told(project: Project) -> None:
    async with desk(project, enters=False) as opened:
        first = await opened.get(opened.link)
        again = await opened.get(opened.link)

        cookie = first.headers["Set-Cookie"]
        assert first.status == 200
        assert re.fullmatch(rf"relay_desk_\d+=[\w-]{{43}}; HttpOnly; Path={opened.root}; SameSite=Strict", cookie)
        assert opened.link.rpartition("/")[2] not in cookie
        assert (again.status, "Set-Cookie" in again.headers) == (403, False)
        assert "This link has been used" in again.words
        assert (await opened.get("/exceptions")).status == 200  # whoever came in first stays in
        opened.process.send_signal(signal.SIGINT)
        _, errors = await opened.process.communicate()
    assert errors == b"relay: the link was used a second time, and refused; if that was not you, press Ctrl-C\n"


async def test_a_browser_that_looks_ahead_does_not_use_the_link_up(project: Project) -> None:
    async with desk(project, enters=False) as opened:
        ahead = await opened.get(opened.link, {"Sec-Purpose": "prefetch;prerender"})
        async with opened.browser.head(opened.link) as head:  # as from a terminal that looks what a link leads to
            assert (head.status, "Set-Cookie" in head.headers) == (405, False)

        assert (ahead.status, "Set-Cookie" in ahead.headers) == (403, False)
        assert (await opened.get(opened.link)).status == 200


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("cookie", [None, "", "x", "ü"])
async def test_nobody_sees_or_does_anything_without_the_session(
    project: Project, cookie: str | None, is_open: bool
) -> None:
    rejected(project)
    before = project.snapshot()
    async with desk(project, enters=is_open) as opened, aiohttp.ClientSession() as browser:
        stranger = replace(opened, browser=browser)
        name = f"relay_desk_{opened.port}"
        headers = {} if cookie is None else {"Cookie": f"{name}={cookie}"}
        seen = [await stranger.get(path, headers) for path in ("/", *PAGES, f"{opened.url}/open/x")]
        done = [await stranger.post(path, *WORD, ("id", "1"), key="", headers=headers) for path in FORMS]

    assert {page.status for page in seen + done} == {403}
    assert [page.at for page in seen + done if "amount mismatch" in page.words] == []
    assert project.snapshot() == before


async def test_no_other_port_is_sent_the_cookie(project: Project) -> None:
    """Cookies know no ports, but a server at another one knows no path of this desk."""
    async with desk(project) as ada, desk(project, by="bob", enters=False) as bob:
        jar = ada.browser.cookie_jar
        sent = {
            path: list(jar.filter_cookies(URL(bob.origin + path)))
            for path in ("/", "/x", "/open/x", "/exceptions", f"{bob.root}/exceptions", f"{ada.root}x/exceptions")
        }
        assert [path for path, cookies in sent.items() if cookies] == []
        assert list(jar.filter_cookies(URL(f"{ada.url}/exceptions"))) == [f"relay_desk_{ada.port}"]
        assert re.fullmatch(r"/[\w-]{22}", ada.root)
        assert ada.root != bob.root


async def test_outside_of_its_path_the_desk_tells_nothing(project: Project, ada: Desk) -> None:
    _, exception = rejected(project)
    (cookie,) = ada.browser.cookie_jar
    headers = {"Cookie": f"{cookie.key}={cookie.value}"}
    key = await ada.key()
    before = project.snapshot()
    for root in ("", "/x", ada.root + "x", ada.root[:-1], ada.root.swapcase(), "/" + ada.root):
        seen = [
            *[await ada.get(ada.origin + root + path, headers) for path in ("/", *PAGES, *STATIC, "/open/x")],
            await ada.get(f"{ada.origin}{root}/exceptions", {**headers, "Host": "attacker.example"}),
            await ada.post(f"{ada.origin}{root}/exceptions/{exception['id']}/resolve", *WORD, key=key, headers=headers),
        ]
        assert {(page.status, page.text) for page in seen} == {(404, "")}
    assert project.snapshot() == before

    assert (await ada.get("/exceptions", headers)).status == 200
    for path in ("", "/nowhere"):
        page = await ada.get(path)
        assert (page.status, "There is no such page" in page.words) == (404, True)
    assert (await ada.get("/")).at == "/exceptions"


@pytest.mark.parametrize(
    "host", ["attacker.example", "127.0.0.1", "127.0.0.1:1", "localhost", "[::1]:{port}", "0.0.0.0:{port}"]
)
async def test_another_host_is_refused_everywhere(project: Project, host: str) -> None:
    async with desk(project, enters=False) as opened:
        host = host.format(port=opened.port)
        assert {(await opened.get(path, {"Host": host})).status for path in (opened.link, *PAGES, *STATIC)} == {421}
        assert (await opened.get(opened.link)).status == 200  # the link was not used up by that
        before = project.snapshot()
        posts = [
            await opened.post(path, *WORD, key="x", headers={"Host": host, "Origin": f"http://{host}"})
            for path in FORMS[2:]
        ]

    assert {page.status for page in posts} == {421}
    assert project.snapshot() == before


@pytest.mark.parametrize(
    "origin",
    [
        "http://attacker.example",
        "null",
        "",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
    ],
)
async def test_a_form_of_another_origin_does_nothing(project: Project, ada: Desk, origin: str) -> None:
    _, exception = rejected(project)
    key = await ada.key()
    before = project.snapshot()
    origin = origin.format(port=ada.port)

    done = [
        await ada.post(
            path.replace("1", str(exception["id"])),
            *WORD,
            ("id", str(exception["id"])),
            key=key,
            headers={"Origin": origin},
        )
        for path in FORMS
    ]

    assert {page.status for page in done} == {403}
    assert project.snapshot() == before


@pytest.mark.parametrize("key", ["", "0" * 64, "ü", "\0"])
async def test_a_form_without_the_sessions_key_does_nothing(project: Project, ada: Desk, key: str) -> None:
    _, exception = rejected(project)
    before = project.snapshot()

    done = [
        await ada.post(path.replace("1", str(exception["id"])), *WORD, ("id", str(exception["id"])), key=key)
        for path in FORMS
    ]

    assert {page.status for page in done} == {403}
    assert project.snapshot() == before


async def test_every_answer_is_strict_and_holds_no_key(project: Project, ada: Desk) -> None:
    _, exception = rejected(project)
    number, group = exception["id"], exception["order_group_id"]
    answers = [
        *[
            await ada.get(path, follow=False)
            for path in ("/", *PAGES, *STATIC, f"/exceptions/{number}", f"/groups/{group}")
        ],
        await ada.get(ada.link),
        await ada.get("/exceptions", {"Host": "attacker.example"}),
        await ada.post("/exceptions", *WORD),
        await ada.post(f"/exceptions/{number}/resolve", *WORD, follow=False),
    ]
    secrets = [value for name, value in project.environment().items() if "KEY" in name or "SECRET" in name]

    assert [(page.at, page.status) for page in answers if page.headers.items() < HEADERS.items()] == []
    assert [page.at for page in answers if {name: page.headers.get(name) for name in HEADERS} != HEADERS] == []
    assert len(secrets) == 3
    assert [page.at for page in answers for secret in secrets if secret in page.text + str(page.headers)] == []
    assert {page.status for page in answers} == {200, 303, 403, 404, 405, 421}
    # What the policy forbids is not even there; a product of another test on this stack only has such a name.
    forbidden = r"<style|<[^>]*\s(style|on\w+)=|<script(?! src=)|<[^>]*javascript:"
    assert [page.at for page in answers if re.search(forbidden, page.text)] == []
    # Each page leads to the desk's own path, to Stripe's dashboard or to itself; the path is no part of the text.
    links = {link for page in answers for link in re.findall(r'(?:href="|src="|action="|url=)([^"]*)"', page.text)}
    assert {f"{ada.root}/exceptions", f"{ada.root}/static/desk.css"} <= links
    assert [one for one in links if not one.startswith((f"{ada.root}/", "https://dashboard.stripe.com/", "#"))] == []
    titles = [title for page in answers for title in re.findall("<title>.*</title>", page.text)]
    assert titles
    assert [text for text in (*titles, *(page.words for page in answers)) if ada.root[1:] in text] == []


@pytest.mark.parametrize("body", [b"note=\xff", b"key=" + b"x" * 300_000])
async def test_a_form_that_no_browser_sends_does_nothing(project: Project, ada: Desk, body: bytes) -> None:
    _, exception = rejected(project)
    before = project.snapshot()
    headers = {"Origin": ada.origin, "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}

    async with ada.browser.post(
        f"{ada.url}/exceptions/{exception['id']}/resolve", data=body, headers=headers
    ) as answer:
        assert answer.status in (400, 403, 413)

    assert project.snapshot() == before


# How it begins and ends


async def test_no_answer_of_the_database_is_told_in_words_and_ends_nothing(project: Project) -> None:
    async with desk(project, SUPABASE_URL="http://127.0.0.1:9") as opened:
        for path in (
            "/exceptions",
            "/exceptions/1",
            "/search?q=1",
            "/stock",
            "/report?since=2026-01-01",
            "/groups/" + str(uuid.uuid4()),
        ):
            page = await opened.get(path)
            assert (page.status, "database_unavailable" in page.words, "SUPABASE_URL" in page.words) == (
                502,
                True,
                True,
            )
        assert (await opened.get("/sweep")).status == 200


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_it_ends_by_a_signal_with_status_0(project: Project, ending: signal.Signals) -> None:
    async with desk(project) as opened:
        opened.process.send_signal(ending)
        output, errors = await opened.process.communicate()

    assert (opened.process.returncode, errors) == (0, b"")
    assert output == b"The link lets one browser in, once. Ctrl-C ends the desk.\n"


async def test_an_end_while_exceptions_are_being_resolved_is_told(project: Project) -> None:
    (one, first), (_, second) = rejected(project), rejected(project)
    async with desk(project) as opened:
        with project.superuser.transaction():  # which holds the second one, so that the end comes in the middle
            project.query("select id from payments.exceptions where id = %s for update", second["id"])
            page = await opened.post("/exceptions/resolve", *WORD, *(("id", str(row["id"])) for row in (first, second)))
            assert "1 of 2 done. This page renews itself." in page.words
            opened.process.send_signal(signal.SIGINT)
            _, errors = await opened.process.communicate()

    assert (opened.process.returncode, errors.decode()) == (
        1,
        "relay: ended while 2 exceptions were being resolved, of which 1 are done: the list tells which are left\n",
    )
    assert exception_of(project, one)["status"] == "resolved"


async def test_it_listens_on_this_machine_alone(ada: Desk) -> None:
    port = ada.port
    for line in (Path("/proc") / str(ada.process.pid) / "net/tcp").read_text().splitlines()[1:]:
        address, state = line.split()[1], line.split()[3]
        if state == "0A" and int(address.rpartition(":")[2], 16) == port:
            assert address.startswith("0100007F:")
            return
    pytest.fail("nothing listens on the port")


async def test_what_it_cannot_do_is_status_2_in_words(project: Project, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await asyncio.gather(
            project.relay("desk", "--by", "ada", "--port", port),
            project.relay("desk"),
            project.relay("desk", "--by", " "),
            project.relay("desk", "--by", "ada", "--port", "65536"),
            project.relay("desk", "--by", "ada", "--sweep", str(tmp_path / "none.json")),
            project.relay("desk", "--by", "ada", SUPABASE_SERVICE_ROLE_KEY=""),
        )

    assert [(one.status, one.output) for one in ended] == [(2, "")] * 6
    for one, words in zip(
        ended,
        (
            f"cannot listen on 127.0.0.1:{port}",
            "--by NAME must say who resolves",
            "must not be blank",
            "must be a port",
            "cannot read",
            "SUPABASE_SERVICE_ROLE_KEY",
        ),
        strict=True,
    ):
        assert words in one.errors
