"""Addresses in Stripe's dashboard. No I/O."""

import re
from typing import Final
from urllib.parse import quote

from relay.commands.made_up_ids import is_made_up

_DASHBOARD: Final = "https://dashboard.stripe.com"
_ID: Final = re.compile(r"(evt|pi|cs|re|dp|du|ch|py)_[A-Za-z0-9_]{6,250}")
_PLACES: Final = {"evt": "events", "pi": "payments", "ch": "payments", "py": "payments"}


def dashboard(id_: object, *, livemode: bool) -> str | None:
    """Where Stripe's dashboard shows the object, by search where it has no page of a known address; None for what is no
    id of Stripe's.
    """
    match = _ID.fullmatch(id_) if isinstance(id_, str) else None
    if match is None or is_made_up(match[0]):
        return None
    base = _DASHBOARD if livemode else f"{_DASHBOARD}/test"
    place = _PLACES.get(match[1])
    return f"{base}/{place}/{match[0]}" if place else f"{base}/search?query={quote(match[0])}"
