"""Chromium, with pages at two widths that hold every script, request and sentence of the console to account."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

WIDTHS = (360, 1280)
HEIGHT = 800  # pixels

NewPage = Callable[[], Awaitable[Page]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    """The machine's own Chromium."""
    assert anyio_backend == "asyncio"
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "Chromium is not installed: make browser, as root on Debian, or apt-get install chromium"
    async with async_playwright() as playwright:
        # Without a sandbox, because the tests run as root.
        launched = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        await launched.close()


@asynccontextmanager
async def visitor(browser: Browser, width: int, *, hosts: set[str]) -> AsyncIterator[Page]:
    """A person's browser. Nothing may be written to its console, and nobody but the hosts be asked."""
    context = await browser.new_context(viewport={"width": width, "height": HEIGHT})
    page = await context.new_page()
    said: list[str] = []
    asked: set[str] = set()

    def on_console(message: ConsoleMessage) -> None:
        said.append(f"{message.type}: {message.text}")

    def on_request(request: Request) -> None:
        asked.add(urlsplit(request.url).netloc)

    page.on("console", on_console)
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    page.on("request", on_request)
    try:
        yield page
    finally:
        await context.close()
    assert said == []
    assert asked <= hosts
