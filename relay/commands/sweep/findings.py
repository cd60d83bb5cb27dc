"""What a sweep found, under the names of docs/contract.md. No I/O."""

from dataclasses import dataclass, field

from relay.commands.finding import Finding
from relay.commands.sweep_lists import SWEEP_LISTS


@dataclass(frozen=True, slots=True)
class Applied(Finding):
    """A payment that the sweep applied, or would apply. `amount` is in major units."""

    amount: str | None
    currency: str | None


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

    @property
    def applied(self) -> int:
        """How many payments were applied."""
        return len(self.applied_now)

    @property
    def lists(self) -> dict[str, list[Finding]]:
        """The lists by their names, each sorted, so that two equal runs print the same."""
        return {name: sorted(getattr(self, name), key=lambda finding: finding.place) for name in SWEEP_LISTS}
