"""A hook of MkDocs: the pages that mkdocs.yml names, and whatever of the repository they lead to by links.

Each lies in the site where it lies in the repository. A link that leads to nothing fails the build (`make site`).
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's own files, and ours in the place of what lies in `docs`."""
    names, new = set[str](), set(pages_of(config.nav))
    while new:
        names |= new
        new = {linked for name in new if name.endswith(".md") for linked in links_of(name)} - names
    ours = [
        File.generated(config, name, abs_src_path=str(ROOT / name), inclusion=InclusionLevel.INCLUDED)
        for name in sorted(names)
    ]
    return Files([*(file for file in files if file.src_dir != config.docs_dir), *ours])


def pages_of(nav: Any) -> list[str]:
    """The paths that stand in the navigation, at any depth."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages_of(part)]


def links_of(page: str) -> list[str]:
    """The repository's files to which a page links, from its root."""
    targets = [((ROOT / page).parent / link).resolve() for link in LINK.findall((ROOT / page).read_text())]
    return [target.relative_to(ROOT).as_posix() for target in targets if target.is_file()]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """What is reached by links alone, such as a generated table, is not in the search."""
    if page.file.src_uri not in pages_of(config.nav):
        page.meta["search"] = {"exclude": True}
    return markdown
