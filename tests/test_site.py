"""The documents as a site: it holds all of them, shows them as GitHub does, and is not built with a dead link."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.documented import PAGES, ROOT

COMPARED = {
    "a",
    "blockquote",
    "code",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "img",
    "li",
    "ol",
    "pre",
    "strong",
    "table",
    "td",
    "ul",
}


IN_THE_NAVIGATION = [
    ROOT / name for name in re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
]


class Tags(HTMLParser):
    """How often each tag stands in the text, without what the theme adds."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = self._inside or tag == "article"
        if self._inside and tag in COMPARED and ("class", "headerlink") not in attrs:
            self.counted[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "article"


def tags(html: str) -> Counter[str]:
    parser = Tags()
    parser.feed(html)
    return parser.counted


def place_of(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix(".html").as_posix().replace("README.html", "index.html")


def build(clone: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    return subprocess.run(
        command, cwd=clone, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(ROOT, target)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_the_same_parts_as_on_github(site: Path, page: Path) -> None:
    as_on_github = MarkdownIt("commonmark").enable("table").render(page.read_text())

    shown = (site / place_of(page)).read_text()

    assert tags(shown) == tags(f"<article>{as_on_github}</article>")


def test_the_search_knows_every_page_and_no_generated_table(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}

    assert found == {place_of(page) for page in IN_THE_NAVIGATION}
    assert set(PAGES) <= set(IN_THE_NAVIGATION)


@pytest.mark.parametrize("link", ["docs/nothing.md", "docs/stock.md#nothing", "deploy/nothing.conf"])
def test_a_dead_link_ends_the_build(tmp_path: Path, link: str) -> None:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    for name in names:
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "README.md").open("a") as page:
        page.write(f"[dead]({link})\n")

    done = build(tmp_path, tmp_path / "site")

    assert (done.returncode, link.partition("#")[0] in done.stderr) == (1, True)
