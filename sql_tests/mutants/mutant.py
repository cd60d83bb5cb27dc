"""One small fault of a migration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SUPABASE = Path(__file__).parent.parent.parent / "supabase"
MIGRATIONS = {path for folder in ("migrations", "queues") for path in (SUPABASE / folder).iterdir()}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: what it breaks, in which file, where, and how."""

    id: str
    breaks: str
    file: str
    search: str
    replace: str
    killed_by: tuple[str, ...] = ()
    argument: str = ""

    def spoil(self, text: str) -> str:
        """The file with the fault. Raises ValueError unless the place is there exactly once."""
        if text.count(self.search) != 1:
            raise ValueError(f"{self.id}: {text.count(self.search)} places in {self.file}: {self.search!r}")
        return text.replace(self.search, self.replace)


def migration(name: str) -> Path:
    """The migration of that name, whatever its version."""
    (path,) = (path for path in MIGRATIONS if path.stem.partition("_")[2] == name)
    return path
