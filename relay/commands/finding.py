"""What a command found that compares Stripe with the database. No I/O."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A session or an order group that needs a person."""

    checkout_session_id: str | None
    order_group_id: str | None
    reason: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it stands in a sorted list, so that two equal runs print the same."""
        return self.reason, self.checkout_session_id or "", self.order_group_id or ""
