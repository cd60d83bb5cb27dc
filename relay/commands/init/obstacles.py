"""Finds what in a project conflicts with this release's migrations, and says what to do about it. No I/O."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from relay.commands.init.mentions import Body
from relay.commands.init.sql_names import Script, clashes, created, made_as
from relay.commands.init.sql_statements import Name

_PAGE: Final = 'docs/adopting.md, "When a name is taken"'
_MAKE_ROOM: Final = (
    "Make room in a migration of your own that comes before {version}, push it, and run this again. "
    f"{_PAGE}, has each step, so that your readers notice nothing."
)
_SAY_IT_THERE: Final = (
    "It comes after {version}, so a new database would find the name taken: write the other name into that file too. "
    f"{_PAGE}, says why that is safe."
)
_OTHER_VERSION: Final = (
    "Give yours another version, and where it was pushed already run `supabase migration repair --remote` for both "
    "versions."
)
_MAY_BE_MISSING: Final = ("table", "foreign table", "view", "materialized view", "index", "sequence")
_FETCH: Final = (
    "`supabase db push --remote` refuses until it is there: get it from the repository, or with "
    "`supabase migration fetch --remote`."
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What stands in the way, where, and what to do about it."""

    subject: str
    detail: str
    remedy: str
    statement: str = ""
    """SQL that makes room, to be read before it is run."""


@dataclass(frozen=True, slots=True)
class ProjectDatabase:
    """What was read from a project's database."""

    applied: Mapping[str, str | None]
    """The migrations that have been pushed: the name of each by its version."""
    names: Mapping[Name, str]
    """Every name that is taken, and the word that `alter` uses for it: table, view, index, type …"""
    faults: tuple[str, ...]
    """Why these migrations cannot run there at all."""
    has_queues: bool
    """Whether Supabase Queues (pgmq) is there, or can be created."""
    bodies: tuple[Body, ...]
    """The texts of functions and scheduled commands, in which a name may stand."""


def version_of(file: str) -> str:
    """The version in a file name, by which the Supabase CLI identifies a migration."""
    return file.partition("_")[0]


def judge_files(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[Problem]:
    """Compare the project's migrations with ours; both are texts by file name. Raises CommandError."""
    by_version = {version_of(file): file for file in theirs if file not in ours}
    for file, text in ours.items():
        if theirs.get(file, text) != text:
            yield Problem(
                file,
                "differs from the released file of that name",
                "A migration that may have run is never edited. Move the file away, run this again, and keep your "
                "changes in a migration of your own.",
            )
        elif other := by_version.get(version_of(file)):
            yield Problem(other, f"has the version of {file}", _OTHER_VERSION)
    for clash in clashes(_scripts(ours, theirs)):
        own, other_script = (clash.first, clash.second) if clash.first.ours else (clash.second, clash.first)
        remedy = _SAY_IT_THERE if clash.first.ours else _MAKE_ROOM
        yield Problem(
            str(clash.name),
            f"is created by {other_script.file}, and by {own.file} of this release",
            remedy.format(version=version_of(next(iter(ours)))),
            "" if clash.first.ours else make_room(clash.name, made_as(other_script.text, clash.name)),
        )


def _scripts(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[Script]:
    scripts = [Script(file, text, ours=False) for file, text in theirs.items() if file not in ours]
    return scripts + [Script(file, text, ours=True) for file, text in ours.items()]


def taken_names(ours: Mapping[str, str], theirs: Mapping[str, str], database: ProjectDatabase | None) -> set[Name]:
    """The names of ours that something of the project's has. Raises CommandError."""
    taken = {clash.name for clash in clashes(_scripts(ours, theirs))}
    if database is not None:
        new = [text for file, text in ours.items() if version_of(file) not in database.applied]
        old = [text for file, text in ours.items() if version_of(file) in database.applied]
        known = set().union(*map(created, old))
        taken |= (set().union(*map(created, new)) - known) & database.names.keys()
    return taken


def make_room(name: Name, made_as: str, *, if_exists: bool = False) -> str:
    """The statement that frees a name by renaming what has it. Rows, keys, policies and triggers are kept.

    `if_exists` adds `if exists`, where PostgreSQL allows that: a new database may not have what is to be renamed,
    because no migration makes it.
    """
    quoted = ".".join(_quoted(part) for part in (name.schema, name.name) if part)
    careful = "if exists " if if_exists and made_as in _MAY_BE_MISSING else ""
    return f"alter {made_as} {careful}{quoted} rename to {_quoted(f'shop_{name.name}')};"


def _quoted(identifier: str) -> str:
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", identifier)
    return identifier if plain else '"' + identifier.replace('"', '""') + '"'


def judge_api(exposed: object) -> Iterator[Problem]:
    """Check the schemas that the project's Data API exposes."""
    if isinstance(exposed, list) and "payments" in exposed:
        yield Problem(
            "supabase/config.toml",
            "puts the schema payments into the Data API",
            "Take it out of `schemas` in [api], and out of the dashboard's exposed schemas: it holds payment evidence.",
        )


def judge_queues(database: ProjectDatabase) -> Iterator[Problem]:
    """Check what the migrations of `--with queues` need of the database."""
    if not database.has_queues:
        yield Problem(
            "the database",
            "has no Supabase Queues (the extension pgmq), and none to create",
            "Turn on Queues in the dashboard (a project whose Postgres is older than pgmq needs its upgrade first), or "
            "leave out --with queues.",
        )


def judge_database(ours: Mapping[str, str], theirs: Mapping[str, str], database: ProjectDatabase) -> Iterator[Problem]:
    """Compare what the database holds with what those of our migrations create that were not pushed yet."""
    for fault in database.faults:
        yield Problem("the database", fault, "Give the URL of the project's own database.")
    for version in sorted(database.applied.keys() - {version_of(file) for file in (*ours, *theirs)}):
        yield Problem(version, "was pushed, but the folder holds no migration of that version", _FETCH)
    known: set[Name] = set()
    for file, text in ours.items():
        version = version_of(file)
        if version not in database.applied:
            for taken in sorted((created(text) - known) & database.names.keys()):
                yield Problem(
                    str(taken),
                    f"exists in the database, and is created by {file} of this release",
                    _MAKE_ROOM.format(version=version_of(next(iter(ours)))),
                    make_room(taken, database.names[taken], if_exists=True),
                )
        elif (name := database.applied[version]) and f"{version}_{name}.sql" != file:
            yield Problem(version, f"was pushed as {name}, and is the version of {file}", _OTHER_VERSION)
        known |= created(text)


def needs_include_all(
    ours: Mapping[str, str], theirs: Mapping[str, str], database: ProjectDatabase | None
) -> bool | None:
    """Whether `supabase db push` needs --include-all, because a later version was pushed before ours.

    None where only the database could tell: the project has later migrations, which may have been pushed.
    """
    if database is not None:
        pending = [version_of(file) for file in ours if version_of(file) not in database.applied]
        return bool(pending) and max(database.applied, default="") > min(pending)
    earliest = min((version_of(file) for file in ours if file not in theirs), default=None)
    if earliest is not None and any(version_of(file) > earliest for file in theirs):
        return None
    return False
