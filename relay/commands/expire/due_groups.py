"""Reads from the database which order groups are due. Those that await funds never are."""

from dataclasses import dataclass
from datetime import datetime

from typing_extensions import TypedDict

from relay.commands import answers
from relay.commands.answers import Instant
from relay.data_api.connection import with_retries
from relay.data_api.records import Condition, Records

_TABLE = "order_groups"


class _Row(TypedDict):
    id: str
    created_at: Instant


@dataclass(frozen=True, slots=True)
class DueGroup:
    """A pending order group whose time has passed."""

    id: str
    created_at: datetime


async def due_groups(records: Records, *, now: datetime, created_before: datetime | None) -> list[DueGroup]:
    """The pending order groups whose `expires_at` has passed, and those that were created before `created_before`,
    oldest first. Raises NoVerdict or Declined.
    """
    found = await _pending(records, ("expires_at", "lte", now.isoformat()))
    if created_before is not None:
        found |= await _pending(records, ("created_at", "lte", created_before.isoformat()))
    return sorted(found.values(), key=lambda group: (group.created_at, group.id))


async def _pending(records: Records, condition: Condition) -> dict[str, DueGroup]:
    conditions = (("status", "eq", "pending"), ("awaiting_funds_since", "is", "null"), condition)
    rows = answers.read(
        list[_Row], await with_retries(lambda: records.rows(_TABLE, "id,created_at", *conditions)), of=_TABLE
    )
    return {row["id"]: DueGroup(row["id"], datetime.fromisoformat(row["created_at"])) for row in rows}
