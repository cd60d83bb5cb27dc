"""What a sweep found, under the names of docs/contract.md. No I/O."""

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
    """What a sweep found: the numbers of payments that are known and that it applied, and lists of what needs a
    person.
    """

    known: int = 0
    applied: int = 0
    rejected: list[Finding] = field(default_factory=list)
    unmatched: list[Finding] = field(default_factory=list)
    failed: list[Finding] = field(default_factory=list)
    paid_here_only: list[Finding] = field(default_factory=list)

    @property
    def lists(self) -> dict[str, list[Finding]]:
        """The lists by their names, each sorted, so that two equal runs print the same."""
        return {name: sorted(getattr(self, name), key=_place) for name in SWEEP_LISTS}


def _place(finding: Finding) -> tuple[str, str, str]:
    return finding.reason, finding.checkout_session_id or "", finding.order_group_id or ""
