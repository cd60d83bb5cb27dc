"""The names of the lists in which `relay sweep` reports what needs a person. `relay report` shows these lists too."""

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
"""The name of each list in the JSON of `relay sweep --json`, and its title for people."""
