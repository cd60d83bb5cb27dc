"""Released heads of the migrations: what existing databases may be at."""

# ruff: noqa: T201

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

SUPABASE = Path(__file__).parent.parent / "supabase"
RELEASED = SUPABASE / "released.txt"
MIGRATIONS = sorted((SUPABASE / "migrations").glob("*.sql"))


@dataclass(frozen=True, slots=True)
class Head:
    """A state of the migrations: the version of the last one, and what all of them said."""

    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.version} {self.sha256}"


def head_at(version: str) -> Head:
    """The head as the files of today say it."""
    digest = hashlib.sha256()
    for path in files_up_to(version):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return Head(version, digest.hexdigest())


def released_heads() -> list[Head]:
    """Every released head, oldest first."""
    lines = RELEASED.read_text().splitlines()
    return [Head(*line.split()) for line in lines if line and not line.startswith("#")]


def files_up_to(version: str) -> list[Path]:
    """The migrations of a head."""
    return [path for path in MIGRATIONS if version_of(path) <= version]


def version_of(path: Path) -> str:
    """The version in a migration's name."""
    return path.name.partition("_")[0]


def project_at(head: Head, directory: Path) -> Path:
    """A project in the directory that holds the migrations of the head alone."""
    (directory / "supabase" / "migrations").mkdir(parents=True)
    shutil.copy(SUPABASE / "config.toml", directory / "supabase")
    for path in files_up_to(head.version):
        shutil.copy(path, directory / "supabase" / "migrations")
    return directory


if __name__ == "__main__":
    print(head_at(version_of(MIGRATIONS[-1])))
