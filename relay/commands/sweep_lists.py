"""The lists in which `relay sweep` reports what needs a person, and the file that holds them for others to show."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from relay.commands.endings import CommandError
from relay.commands.terminal import when

SWEEP_LISTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "rejected": "rejected",
        "unmatched": "unmatched",
        "failed": "failed",
        "paid_here_only": "paid here only",
    }
)
"""The name of each list in the JSON of `relay sweep --json`, and its title for people."""


def described(sweep: Mapping[str, Any]) -> str:
    """When it ran, and over which window: ", 2026-11-23 12:00:00 UTC, over ..."; empty for the file of an older
    release.
    """
    at, swept = sweep.get("finished_at"), window(sweep)
    return f", {when(at)}{swept}" if at is not None and swept else ""


def window(sweep: Mapping[str, Any]) -> str:
    """What it swept: ", over ... to ..."; empty for the file of an older release."""
    since, until = sweep.get("since"), sweep.get("until")
    if since is None or until is None:
        return ""
    dry = ", a dry run that wrote nothing" if sweep.get("dry_run") is True else ""
    return f", over {when(since)} to {when(until)}{dry}"


def read_file(path: Path) -> dict[str, Any]:
    """Read the file that `relay sweep --json` printed. Raises CommandError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise CommandError(f"{path} is not the JSON of `relay sweep --json`") from None
    is_sweep = isinstance(found, dict) and all(type(found.get(count)) is int for count in ("known", "applied"))
    if not is_sweep or not all(_is_findings(found.get(name)) for name in SWEEP_LISTS):
        raise CommandError(f"{path} is not the JSON of `relay sweep --json`")
    sweep: dict[str, Any] = found
    return sweep


def _is_findings(value: object) -> bool:
    keys = {"checkout_session_id", "order_group_id", "reason"}
    return isinstance(value, list) and all(isinstance(one, dict) and one.keys() == keys for one in value)
