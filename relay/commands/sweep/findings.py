"""What a sweep found, in the words of the contract. Pure, no I/O."""

from dataclasses import dataclass, field

from relay.commands.sweep_lists import SWEEP_LISTS


@dataclass(frozen=True, slots=True)
class Finding:
    """A session or an order group that needs a person."""

    checkout_session_id: str | None
    order_group_id: str | None
    reason: str


@dataclass(slots=True)
class Findings:
    """What a sweep found, and did."""

    known: int = 0
    applied: int = 0
    rejected: list[Finding] = field(default_factory=list)
    unmatched: list[Finding] = field(default_factory=list)
    failed: list[Finding] = field(default_factory=list)
    paid_here_only: list[Finding] = field(default_factory=list)

    @property
    def lists(self) -> dict[str, list[Finding]]:
        """The lists by their names in the contract, in an order that does not change from run to run."""
        return {name: sorted(getattr(self, name), key=_place) for name in SWEEP_LISTS}


def _place(finding: Finding) -> tuple[str, str, str]:
    return finding.reason, finding.checkout_session_id or "", finding.order_group_id or ""
