"""Which exceptions a list shows: the filter that its address holds, and its pages. No I/O.

A page begins after an exception's number, not at a count of rows: rows that are resolved meanwhile move nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from relay.commands.desk.remedies import REMEDIES
from relay.commands.exception_rows import number_of
from relay.data_api.records import Condition, Order

PAGE: Final = 50  # exceptions
STATUSES: Final = {"open": "open", "resolved": "resolved", "all": "all"}
REASONS: Final = sorted(REMEDIES)
AGES: Final[Mapping[str, tuple[str, timedelta | None, timedelta | None]]] = {
    "": ("any time", None, None),
    "new": ("less than a day", None, timedelta(days=1)),
    "1": ("a day or longer", timedelta(days=1), None),
    "3": ("3 days or longer", timedelta(days=3), None),
    "7": ("7 days or longer", timedelta(days=7), None),
    "30": ("30 days or longer", timedelta(days=30), None),
}
"""By its word in the address: the label, and for how long an exception is there at least and at most."""
ORDERS: Final = {"": "oldest first", "new": "newest first"}


@dataclass(frozen=True, slots=True)
class Filter:
    """What the address of a list asks for."""

    status: str = "open"
    reason: str = ""
    age: str = ""
    order: str = ""
    after: int | None = None
    """The last exception of the page before; None on the first page."""

    @classmethod
    def of(cls, query: Mapping[str, Any]) -> "Filter":
        """Read it from an address or a form; a word that no list has counts as absent."""

        def one_of(name: str, words: Any, default: str) -> str:
            return word if (word := str(query.get(name, default))) in words else default

        return cls(
            status=one_of("status", STATUSES, "open"),
            reason=one_of("reason", REASONS, ""),
            age=one_of("age", AGES, ""),
            order=one_of("order", ORDERS, ""),
            after=number_of(str(query.get("after", ""))),
        )

    @property
    def is_narrow(self) -> bool:
        """Whether anything is left out."""
        return bool(self.reason or self.age) or self.status != "open"

    @property
    def fields(self) -> dict[str, str]:
        """What is not a default, by its name in the address."""
        found = {"status": self.status, "reason": self.reason, "age": self.age, "order": self.order}
        return {name: word for name, word in found.items() if word != getattr(Filter(), name)}

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of `list_payment_exceptions`."""
        return {"p_status": self.status, **({"p_reason": self.reason} if self.reason else {})}

    @property
    def ordering(self) -> list[Order]:
        """By number, which is the order in which they were first seen."""
        return [("id", self.order == "new")]

    def conditions(self, now: datetime) -> list[Condition]:
        """What is asked for beside the parameters."""
        _, at_least, at_most = AGES[self.age]
        found: list[Condition] = []
        if at_least:
            found.append(("first_seen_at", "lte", (now - at_least).isoformat()))
        if at_most:
            found.append(("first_seen_at", "gt", (now - at_most).isoformat()))
        if self.after is not None:
            found.append(("id", "lt" if self.order == "new" else "gt", str(self.after)))
        return found

    def address(self, path: str = "/exceptions", *, after: int | None = None) -> str:
        """The address of the page that begins after an exception; of the first page without one."""
        fields = self.fields | ({"after": str(after)} if after is not None else {})
        return path + (f"?{urlencode(fields)}" if fields else "")

    def first_page(self) -> "Filter":
        """The same filter, from its beginning."""
        return replace(self, after=None)
