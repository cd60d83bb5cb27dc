"""The documents' site in a real Chromium: it is searched, loads nothing from elsewhere, and fits on a phone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.async_api import Browser

from tests.browser.conftest import WIDTHS, visitor
from tests.documented import ROOT

pytestmark = pytest.mark.anyio


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site is served."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("width", WIDTHS)
async def test_a_question_leads_to_its_heading(browser: Browser, host: str, width: int) -> None:
    async with visitor(browser, width, hosts={host}) as page:
        await page.goto(f"http://{host}/index.html")
        if width < 960:
            await page.click("label[for=__search] >> visible=true")
        await page.click(".md-search__input")
        await page.keyboard.type("negative")
        found = page.locator("a.md-search-result__link", has_text="Why a number may be negative").first
        await found.click()

        await page.wait_for_url("**/docs/stock.html?h=*#why-a-number-may-be-negative")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["index", "docs/contract", "docs/going-live", "examples/storefront/index"])
async def test_no_page_is_wider_than_the_screen(browser: Browser, host: str, width: int, name: str) -> None:
    async with visitor(browser, width, hosts={host}) as page:
        await page.goto(f"http://{host}/{name}.html")

        assert await page.evaluate("document.documentElement.scrollWidth") <= width
