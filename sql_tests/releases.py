"""What was released: the heads that existing databases may be at, and the relays that may stand in front of them."""

# ruff: noqa: T201

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from relay import __version__

REPOSITORY = Path(__file__).parent.parent
SUPABASE = REPOSITORY / "supabase"
NOT_IN_HISTORY = (
    "no commit of this clone adds release {release} to supabase/released.txt: commit it first, or fetch the whole "
    "history with `git fetch --unshallow`.\n{said}"
)


class MissingReleaseError(Exception):
    """A release cannot be had; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Head:
    """A state of the migrations: the version of the last one, and what all of them said."""

    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Release:
    """A line of released.txt, made by the commit that adds it. `name` is the relay's version."""

    name: str
    head: Head

    def __str__(self) -> str:
        return f"{self.name} {self.head.version} {self.head.sha256}"


def migrations(supabase: Path = SUPABASE) -> list[Path]:
    """The migrations of today, in their order."""
    return sorted((supabase / "migrations").glob("*.sql"))


def version_of(path: Path) -> str:
    """The version in a migration's name."""
    return path.name.partition("_")[0]


def files_up_to(version: str, supabase: Path = SUPABASE) -> list[Path]:
    """The migrations of a head."""
    return [path for path in migrations(supabase) if version_of(path) <= version]


def head_at(version: str, supabase: Path = SUPABASE) -> Head:
    """The head as the files of today say it."""
    digest = hashlib.sha256()
    for path in files_up_to(version, supabase):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return Head(version, digest.hexdigest())


def releases(supabase: Path = SUPABASE) -> list[Release]:
    """Every release, oldest first."""
    return [
        Release(name, Head(version, sha256))
        for name, version, sha256 in map(str.split, _lines((supabase / "released.txt").read_text()))
    ]


def release_of_today(supabase: Path = SUPABASE) -> Release:
    """What a release of the files of today would be."""
    return Release(__version__, head_at(version_of(migrations(supabase)[-1]), supabase))


def thawed(supabase: Path = SUPABASE) -> list[str]:
    """What is wrong with the freeze, in words; empty where every released migration is as it was released."""
    made = releases(supabase)
    found = [
        f"{release.name}: a migration up to {release.head.version} was edited, renamed, removed or slipped in"
        for release in made
        if head_at(release.head.version, supabase) != release.head
    ]
    found += [
        f"{later.name} stands below {earlier.name}, but ends at an earlier migration"
        for earlier, later in pairwise(made)
        if later.head.version < earlier.head.version
    ]
    return found


def project_at(head: Head, directory: Path) -> Path:
    """A project in the directory that holds the migrations of the head alone."""
    (directory / "supabase" / "migrations").mkdir(parents=True)
    shutil.copy(SUPABASE / "config.toml", directory / "supabase")
    for path in files_up_to(head.version):
        shutil.copy(path, directory / "supabase" / "migrations")
    return directory


# With git


def last_release(repository: Path = REPOSITORY) -> Release | None:
    """The newest release that is not the very tree of today: on the commit of a release, the one before it.

    Raises MissingReleaseError.
    """
    for release in reversed(releases(repository / "supabase")):
        compared = ("relay", "supabase/migrations")
        if _git(repository, "diff", "--quiet", _commit_of(release, repository), "--", *compared).returncode != 0:
            return release
    return None


def relay_of(release: Release, directory: Path, repository: Path = REPOSITORY) -> Path:
    """The directory, with the package `relay` of the release in it. Raises MissingReleaseError."""
    done = _git(repository, "archive", "--format=tar", _commit_of(release, repository), "relay")
    directory.mkdir(parents=True, exist_ok=True)
    # Not tarfile, whose filters Python has had since 3.11.4 only.
    subprocess.run(["tar", "-xf", "-", "-C", str(directory)], input=done.stdout, check=True)
    return directory


def _commit_of(release: Release, repository: Path) -> str:
    # Not its tag: a clone may lack the tags, and has the history.
    done = _git(repository, "log", "--reverse", "--format=%H", f"-S{release}", "--", "supabase/released.txt")
    commits = done.stdout.decode().split()
    if not commits:
        raise MissingReleaseError(NOT_IN_HISTORY.format(release=release.name, said=done.stderr.decode()))
    return commits[0]


def forgotten(repository: Path = REPOSITORY) -> list[str]:
    """Lines that released.txt had at a tag of this clone, and has no more."""
    kept = set(_lines((repository / "supabase" / "released.txt").read_text()))
    tags = _git(repository, "tag", "--list", "v*").stdout.decode().split()
    texts = (_git(repository, "show", f"{tag}:supabase/released.txt").stdout.decode() for tag in tags)
    return sorted({line for text in texts for line in _lines(text)} - kept)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=False)


if __name__ == "__main__":
    print(release_of_today())
