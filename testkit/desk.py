"""`relay desk` as an operator runs it, and a browser in the form of an HTTP client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from testkit.project import Project

FORMS = ("/exceptions/1/resolve", "/exceptions/1/reopen", "/exceptions/resolve")
WORD = (("resolution", "refunded"), ("note", "sent back"))
KEY = re.compile(r'name="key" value="([0-9a-f]{64})"')


@dataclass(frozen=True, slots=True)
class Page:
    """What a request was answered with; `at` is what answered in the end, below the desk's path."""

    status: int
    text: str
    headers: dict[str, str]
    at: str

    @property
    def words(self) -> str:
        """The text that a person reads, its spaces made one."""
        body = re.sub(r"<(script|style|title)\b.*?</\1>", " ", self.text, flags=re.DOTALL)
        body = re.sub(r"</?(?:a|b|bdi|code|span|time)\b[^>]*>", "", body)  # these stand within a line
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


@dataclass(frozen=True, slots=True)
class Desk:
    """A running desk, and one browser that has or has not come in."""

    process: asyncio.subprocess.Process
    link: str
    browser: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """Below which its pages are."""
        return self.link.partition("/open/")[0]

    @property
    def root(self) -> str:
        """The path of that."""
        return urlsplit(self.url).path

    @property
    def origin(self) -> str:
        """Its scheme, name and port."""
        return self.url.removesuffix(self.root)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.origin.rpartition(":")[2])

    async def get(self, path: str, headers: Mapping[str, str] | None = None, *, follow: bool = True) -> Page:
        """Look at a page."""
        async with self.browser.get(self._at(path), headers=headers, allow_redirects=follow) as answer:
            return Page(answer.status, await answer.text(), dict(answer.headers), self._below(answer.url))

    async def post(
        self,
        path: str,
        *fields: tuple[str, str],
        key: str | None = None,
        follow: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Page:
        """Send a form as the desk's own pages do; the headers say otherwise, or `key` does."""
        sent = [("key", await self.key() if key is None else key), *fields]
        said = {"Origin": self.origin, **(headers or {})}
        async with self.browser.post(self._at(path), data=sent, headers=said, allow_redirects=follow) as answer:
            return Page(answer.status, await answer.text(), dict(answer.headers), self._below(answer.url))

    async def key(self) -> str:
        """The key of the session's forms, from the list, which must not be empty."""
        found = KEY.search((await self.get("/exceptions?status=all")).text)
        assert found is not None
        return found[1]

    def _below(self, url: URL) -> str:
        return str(url.relative()).removeprefix(self.root)

    def _at(self, path: str) -> str:
        return path if path.startswith("http") else self.url + path


@asynccontextmanager
async def desk(
    project: Project, *options: str, by: str = "ada", enters: bool = True, **changes: str
) -> AsyncIterator[Desk]:
    """A desk of somebody's, with a browser that has come in by its link."""
    jar = aiohttp.CookieJar(unsafe=True)  # which keeps the cookies of addresses too
    async with (
        project.running("desk", "--by", by, *options, **changes) as process,
        aiohttp.ClientSession(cookie_jar=jar) as browser,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        link = (await process.stdout.readline()).decode().strip()
        assert link.startswith("http://127.0.0.1:"), (await process.stderr.read()).decode()
        opened = Desk(process, link, browser)
        if enters:
            assert (await opened.get(link)).status == 200
        yield opened
