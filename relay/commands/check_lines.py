"""Prints checks, for `relay check` and `relay endpoint check`."""

from collections.abc import Mapping, Sequence
from typing import Final

from relay.commands import console, output, terminal
from relay.commands.endings import NO, OK
from relay.server.readiness import Check

_RIGHTS: Final = "select payments.restore_privileges(); as postgres puts each right again"
# What to do about a check that fails, where that is the same each time; else its detail says it, for /readyz too.
_REMEDIES: Final[Mapping[str, str]] = {
    "execute_right": _RIGHTS,
    "anon_locked_out": _RIGHTS,
    "currencies": "upgrade what is behind, the database first (docs/operations.md, Upgrading)",
}


def show(checks: Sequence[Check], *, as_json: bool) -> int:
    """Print the checks, and return whether all are ok as the exit status."""
    ready = all(check.ok for check in checks)
    if as_json:
        console.write_json({"ready": ready, "checks": [check.as_dict() for check in checks]})
    else:
        output.show(tell(checks))
    return OK if ready else NO


def tell(checks: Sequence[Check]) -> str:
    """A line per check, and below each that fails what to do about it."""
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        word = ("warn" if check.is_doubtful else "ok  ") if check.ok else "FAIL"
        lines.append(f"{word}  {check.name:<{width}}  {terminal.clean(check.detail)}\n")
        if not check.ok and (remedy := _REMEDIES.get(check.name)):
            lines.append(f"{'':{width + 6}}  {remedy}\n")
    return "".join(lines)
