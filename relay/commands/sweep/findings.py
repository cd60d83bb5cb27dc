"""What a sweep found, under the names of docs/contract.md. No I/O."""

from dataclasses import dataclass, field

from relay.commands.finding import Finding
from relay.commands.sweep_lists import REVERSAL_LISTS, SWEEP_LISTS
from relay.core.lifecycle import KINDS, Kind


@dataclass(frozen=True, slots=True)
class Applied(Finding):
    """A payment that the sweep applied, or would apply. `amount` is in major units."""

    amount: str | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class ReversalFinding:
    """A refund or a dispute that needs a person."""

    id: str
    payment_intent_id: str | None
    order_group_id: str | None
    reason: str

    @property
    def place(self) -> tuple[str, str]:
        """Where it stands in a sorted list, so that two equal runs print the same."""
        return self.reason, self.id


@dataclass(slots=True)
class ReversalFindings:
    """What a sweep found among the refunds, or among the disputes: how many are known, how many it recorded, how many
    are of payments that do not concern us, and lists of what needs a person.
    """

    known: int = 0
    recorded: int = 0
    ignored: int = 0
    rejected: list[ReversalFinding] = field(default_factory=list)
    failed: list[ReversalFinding] = field(default_factory=list)
    here_only: list[ReversalFinding] = field(default_factory=list)

    @property
    def lists(self) -> dict[str, list[ReversalFinding]]:
        """The lists by their names, each sorted."""
        return {name: sorted(getattr(self, name), key=lambda finding: finding.place) for name in REVERSAL_LISTS}


@dataclass(slots=True)
class Findings:
    """What a sweep found: the number of payments that are known, those that it applied, the number of order groups that
    `relay simulate` has paid, and lists of what needs a person.
    """

    known: int = 0
    simulated: int = 0
    applied_now: list[Applied] = field(default_factory=list)
    rejected: list[Finding] = field(default_factory=list)
    unmatched: list[Finding] = field(default_factory=list)
    failed: list[Finding] = field(default_factory=list)
    paid_here_only: list[Finding] = field(default_factory=list)
    reversals: dict[Kind, ReversalFindings] = field(
        default_factory=lambda: {kind: ReversalFindings() for kind in KINDS}
    )

    @property
    def applied(self) -> int:
        """How many payments were applied."""
        return len(self.applied_now)

    @property
    def lists(self) -> dict[str, list[Finding]]:
        """The lists by their names, each sorted, so that two equal runs print the same."""
        return {name: sorted(getattr(self, name), key=lambda finding: finding.place) for name in SWEEP_LISTS}
