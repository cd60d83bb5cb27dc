"""The lists that docs/adopting.md recommends for a shop's screens."""

from __future__ import annotations

import re

from local_stack.supabase_cli import REPOSITORY

ADOPTING = REPOSITORY / "docs" / "adopting.md"
ROW = re.compile(r"^\| ([^|]+) \| `((?:order|inventory)\w+\?[^`]+)` \|$", re.MULTILINE)


def screens() -> dict[str, str]:
    """The request to the Data API by the screen's name, `<id>` where the seller's or the order's belongs."""
    return dict(ROW.findall(ADOPTING.read_text()))
