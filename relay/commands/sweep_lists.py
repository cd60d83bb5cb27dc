"""The lists of what a sweep leaves for a person: `relay sweep` makes them, and `relay report` shows them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SWEEP_LISTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "rejected": "rejected",
        "unmatched": "unmatched",
        "failed": "failed",
        "paid_here_only": "paid here only",
    }
)
"""Each list's name in the JSON of `relay sweep --json`, and in words."""
