"""What must not stand in a relay's log, whatever was delivered."""

from __future__ import annotations

import json
from pathlib import Path


def faults_in(log: Path) -> list[str]:
    """The lines that are no JSON, not ASCII, or tell of a fault of the relay's own."""
    lines = log.read_bytes().splitlines()
    return [f"log: {fault}: {line[:200]!r}" for line in lines if (fault := _fault(line))]


def _fault(raw: bytes) -> str | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return "no JSON"
    if not raw.isascii():
        return "not ASCII"
    if line["reason"] == "unexpected" or (line["outcome"] is None and line["level"] in ("warning", "error")):
        return f"a fault of the relay's own, {line['message']}"
    return None
