"""What an address is told: ids and reasons. No I/O."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from typing_extensions import TypedDict

CLAIM: Final = "claim_exception_notifications"
# Chats cut long messages off.
_MOST_LINES: Final = 20


class Row(TypedDict):
    """One exception of which an address has not been told."""

    id: int
    reason: str
    order_group_id: str | None
    stripe_event_id: str
    first_seen_at: str


def compose(rows: Sequence[Row]) -> tuple[str, str]:
    """Title and text of a message about these exceptions."""
    reasons = Counter(row["reason"] for row in rows).most_common()
    title = f"{len(rows)} need{'s' if len(rows) == 1 else ''} a person: " + ", ".join(
        reason if count == 1 else f"{reason} ({count})" for reason, count in reasons
    )
    lines = [
        f"{row['id']}: {row['reason']}, order group {row['order_group_id'] or 'unknown'}, {row['stripe_event_id']}, "
        f"since {row['first_seen_at']}"
        for row in rows[:_MOST_LINES]
    ]
    if len(rows) > _MOST_LINES:
        lines.append(f"and {len(rows) - _MOST_LINES} more")
    return title, "\n".join([*lines, "", "relay exceptions show NUMBER tells what was expected and what came."])
