"""What was released is frozen, and can be had again: the checks find each way to break it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sql_tests.releases import (
    REPOSITORY,
    SUPABASE,
    Head,
    MissingReleaseError,
    Release,
    forgotten,
    head_at,
    last_release,
    migrations,
    relay_of,
    release_of_today,
    releases,
    thawed,
    version_of,
)

HALFWAY = len(migrations()) // 2
LAST_RELEASED = version_of(migrations()[HALFWAY])


@pytest.fixture
def supabase(tmp_path: Path) -> Path:
    """Half of the migrations are released, the others are not yet."""
    copy = tmp_path / "supabase"
    shutil.copytree(SUPABASE, copy)
    (copy / "released.txt").write_text(f"{Release('0.9.0', head_at(LAST_RELEASED, copy))}\n")
    return copy


def test_released_migrations_of_this_tree_are_as_they_were_released() -> None:
    assert thawed() == []
    assert forgotten() == []


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


def rename(path: Path) -> None:
    path.rename(path.with_name(path.name.replace(".sql", "_again.sql")))


def redate(path: Path) -> None:
    path.rename(path.with_name(f"{int(version_of(path)) + 1}{path.name.removeprefix(version_of(path))}"))


def slip_in_after(path: Path) -> None:
    path.with_name(f"{int(version_of(path)) + 1}_add_something.sql").write_text("select 1;\n")


FIRST, LAST = 0, HALFWAY
SPOILED: dict[str, tuple[Callable[[Path], None], int]] = {
    "first one edited": (edit, FIRST),
    "last one edited": (edit, LAST),
    "first one deleted": (Path.unlink, FIRST),
    "last one deleted": (Path.unlink, LAST),
    "one renamed": (rename, FIRST + 1),
    "one dated otherwise": (redate, FIRST + 1),
    "a new one dated before the last released": (slip_in_after, LAST - 1),
}


@pytest.mark.parametrize(("spoil", "which"), SPOILED.values(), ids=SPOILED)
def test_whatever_changes_a_released_migration_is_found(
    supabase: Path, spoil: Callable[[Path], None], which: int
) -> None:
    assert thawed(supabase) == []

    spoil(migrations(supabase)[which])

    assert thawed(supabase) == [f"0.9.0: a migration up to {LAST_RELEASED} was edited, renamed, removed or slipped in"]


@pytest.mark.parametrize(("change", "which"), [(edit, LAST + 1), (Path.unlink, -1), (slip_in_after, LAST)])
def test_what_is_not_released_yet_may_still_change(supabase: Path, change: Callable[[Path], None], which: int) -> None:
    change(migrations(supabase)[which])

    assert thawed(supabase) == []


def test_releases_that_go_back_in_time_are_found(supabase: Path) -> None:
    earlier = Release("0.9.1", head_at(version_of(migrations(supabase)[0]), supabase))
    with (supabase / "released.txt").open("a") as released:
        released.write(f"{earlier}\n")

    assert thawed(supabase) == ["0.9.1 stands below 0.9.0, but ends at an earlier migration"]


def test_line_that_the_command_prints_freezes_todays_migrations(supabase: Path) -> None:
    command = [sys.executable, "-m", "sql_tests.releases"]
    line = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert line == f"{release_of_today()}\n"
    with (supabase / "released.txt").open("a") as released:
        released.write(line)
    assert thawed(supabase) == []

    edit(migrations(supabase)[-1])

    assert len(thawed(supabase)) == 1


# With git


def git(repository: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.test", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(repository), *identity, *arguments], check=True, capture_output=True)


def release(repository: Path, name: str) -> Release:
    """Commit what is there as a release, and set its tag."""
    (repository / "relay" / "__init__.py").write_text(f'__version__ = "{name}"\n')
    made = Release(name, head_at(version_of(migrations(repository / "supabase")[-1]), repository / "supabase"))
    with (repository / "supabase" / "released.txt").open("a") as released:
        released.write(f"{made}\n")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", f"Release {name}")
    git(repository, "tag", f"v{name}")
    return made


@pytest.fixture
def repository(supabase: Path) -> Path:
    """A clone of a project without any release."""
    root = supabase.parent
    (root / "relay").mkdir()
    (supabase / "released.txt").write_text("# none yet\n")
    git(root, "init", "--quiet")
    return root


def test_without_any_release_there_is_no_last_one(repository: Path) -> None:
    assert last_release(repository) is None
    assert releases(repository / "supabase") == []


def test_last_release_is_the_one_before_what_is_being_worked_on(repository: Path, tmp_path: Path) -> None:
    first = release(repository, "1.0.0")
    assert last_release(repository) is None, "the tree is the release itself"
    slip_in_after(migrations(repository / "supabase")[-1])
    second = release(repository, "1.1.0")
    assert last_release(repository) == first

    (repository / "relay" / "__init__.py").write_text("raise SystemExit\n")

    assert last_release(repository) == second
    code = relay_of(first, tmp_path / "code", repository)
    assert (code / "relay" / "__init__.py").read_text() == '__version__ = "1.0.0"\n'


def test_release_is_the_commit_that_lists_it_whatever_its_tag(repository: Path, tmp_path: Path) -> None:
    made = release(repository, "1.0.0")
    git(repository, "tag", "--delete", "v1.0.0")
    assert last_release(repository) is None

    (repository / "relay" / "__init__.py").write_text('__version__ = "1.1.0"\n')
    git(repository, "commit", "--quiet", "--all", "--message", "Go on")

    assert last_release(repository) == made
    code = relay_of(made, tmp_path / "code", repository)
    assert (code / "relay" / "__init__.py").read_text() == '__version__ = "1.0.0"\n'


def test_release_that_no_commit_lists_is_an_error_that_says_what_to_do(repository: Path, tmp_path: Path) -> None:
    made = Release("1.0.0", head_at(LAST_RELEASED, repository / "supabase"))
    (repository / "supabase" / "released.txt").write_text(f"{made}\n")

    with pytest.raises(MissingReleaseError, match=r"commit it first, or .* `git fetch --unshallow`"):
        last_release(repository)
    with pytest.raises(MissingReleaseError, match=r"commit it first, or .* `git fetch --unshallow`"):
        relay_of(made, tmp_path / "code", repository)


def test_copy_without_git_is_an_error_once_there_is_a_release(supabase: Path) -> None:
    with pytest.raises(MissingReleaseError, match="not a git repository"):
        last_release(supabase.parent)


@pytest.mark.parametrize("spoil", ["remove", "change"])
def test_line_of_a_tagged_release_that_is_gone_is_found(repository: Path, spoil: str) -> None:
    made = release(repository, "1.0.0")
    assert forgotten(repository) == []

    kept = "" if spoil == "remove" else f"{Release('1.0.0', Head(made.head.version, '0' * 64))}\n"
    (repository / "supabase" / "released.txt").write_text(kept)

    assert forgotten(repository) == [str(made)]
