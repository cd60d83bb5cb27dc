"""Ids that look like Stripe's but `relay simulate` makes up; payments.money_lines() knows them by the same marks."""

import re
import secrets
from typing import Final

# Stripe writes letters and digits after the prefix, so its own ids never have this.
_MADE_UP: Final = re.compile(r"[a-z]+_(?:test_)?sim_")


def new_id(prefix: str) -> str:
    """A random id with `sim` in it."""
    return f"{prefix}_sim_{secrets.token_hex(12)}"


def is_made_up(id_: str) -> bool:
    """Whether Stripe has never had such an object."""
    return _MADE_UP.match(id_) is not None
