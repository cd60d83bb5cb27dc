"""What an expiry did and left, under the names of docs/contract.md. No I/O."""

from dataclasses import dataclass, field

from relay.commands.finding import Finding


@dataclass(slots=True)
class Findings:
    """How many order groups were cancelled, how many sessions ended, and lists of what is left."""

    expired: int = 0
    """Order groups that were cancelled; in a dry run those that would be."""
    sessions_expired: int = 0
    """Open Checkout Sessions that were ended at Stripe; in a dry run those that would be."""
    settled: int = 0
    """Order groups that somebody paid or cancelled meanwhile."""
    left: list[Finding] = field(default_factory=list)
    """Order groups whose checkout is complete at Stripe: money has come and is not settled, or is under way."""
    failed: list[Finding] = field(default_factory=list)
    """Order groups about which the database gave no answer."""
