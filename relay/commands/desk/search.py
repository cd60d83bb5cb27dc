"""Finds exceptions and order groups by any id that an operator may hold, as `relay explain` does."""

from dataclasses import dataclass, field
from typing import Final

from relay.commands import answers, any_id
from relay.commands.desk.listing import PAGE
from relay.commands.exception_rows import FUNCTION, ListedException, without_metadata
from relay.data_api.records import Records

LONGEST: Final = 255  # characters, as the database allows an id


@dataclass(frozen=True, slots=True)
class Found:
    """What an id is about: order groups, the first PAGE exceptions, and refunds and disputes in words."""

    id: str
    groups: list[str] = field(default_factory=list)
    exceptions: list[ListedException] = field(default_factory=list)
    reversals: list[str] = field(default_factory=list)

    @property
    def place(self) -> str | None:
        """The page that tells all of it; None where none does alone. An order group's page tells its refunds and
        disputes, and that of an exception tells its group's story. Whoever asks for the group itself may choose.
        """
        if not self.exceptions:
            return f"/groups/{self.groups[0]}" if len(self.groups) == 1 else None
        first, *others = self.exceptions
        is_told = self.groups == [first["order_group_id"]] or not (self.groups or self.reversals)
        return f"/exceptions/{first['id']}" if is_told and not others and self.id not in self.groups else None


async def search(records: Records, text: str) -> Found:
    """Look for whatever an id may be about. Raises NoVerdict or Declined."""
    if not text or len(text) > LONGEST or not text.isprintable():
        return Found(text)
    group = any_id.uuid_of(text)
    id_ = group or text
    found = await any_id.find(records, id_)
    # An order group's own exceptions are found by its name in them: it need not exist.
    numbers = ",".join(map(str, found["exceptions"][:PAGE]))
    rows = await records.some(
        FUNCTION,
        "*",
        ("order_group_id", "eq", group) if group else ("id", "in", f"({numbers})"),
        order=[("id", False)],
        limit=PAGE,
        parameters={"p_status": "all"},
    )
    exceptions: list[ListedException] = without_metadata(answers.read(list[ListedException], rows, of=FUNCTION))
    return Found(id_, found["order_groups"], exceptions, any_id.reversals(found, id_))
