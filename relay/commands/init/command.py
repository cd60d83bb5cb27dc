"""`relay init DIR`: copies the migrations into a Supabase project, or says what conflicts with them."""

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import relay
from relay.commands import extras, terminal
from relay.commands.endings import NO, OK, CommandError

if TYPE_CHECKING:
    from relay.commands.init.mentions import Mention
    from relay.commands.init.obstacles import Problem, ProjectDatabase

NAME: Final = "init"
HELP: Final = "copy the migrations into an existing Supabase project"
EPILOG: Final = """\
DIR is the folder that holds supabase/config.toml (`supabase init` makes one). Files keep their names, because the
Supabase CLI identifies a migration by the version in its name. Nothing is ever overwritten: where a name or a version
is taken, in the files or in the database, nothing is written, and each conflict is shown with its remedy. Running the
command again changes nothing; with a newer release it copies the migrations that this release added.

With --db-url the project's database is read too, in a read-only transaction: only the database knows what was made in
the dashboard or by code. Log in as `postgres`; the password may stay in PGPASSWORD or ~/.pgpass.

--with queues adds a migration that announces what becomes of an order group through Supabase Queues (docs/queues.md). A
project that has it gets its later ones too, also without the option.

Needs the extra `init` of this package: pglast reads the files with PostgreSQL's own grammar, and psycopg reads the
database.

examples:
  relay init .
  relay init . --dry-run --db-url postgresql://postgres@db.<ref>.supabase.co:5432/postgres
  relay init . --with queues
  relay init . --json | jq '.problems'

exit status: 0 the files are there, 1 conflicts and nothing written, 2 could not run
"""
EXTRA: Final = ("pglast", "psycopg")
# A wheel holds the migrations inside the package. In a clone they are where the Supabase CLI expects them.
_PACKAGE: Final = Path(relay.__file__).parent
_PLACES: Final = (_PACKAGE, _PACKAGE.parent / "supabase")
OPTIONS: Final = ("queues",)
"""What `--with` adds: each is a folder of migrations beside that of the others."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the project holds, what stands in the way of the migrations, and what a renaming would not reach."""

    missing: tuple[str, ...]
    present: tuple[str, ...]
    problems: "tuple[Problem, ...]"
    mentions: "tuple[Mention, ...]"
    include_all: bool | None
    database_checked: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("directory", metavar="DIR", type=Path, help="the project's folder")
    parser.add_argument(
        "--with",
        dest="options",
        action="append",
        default=[],
        choices=OPTIONS,
        help="add what not every shop needs: `queues` announces each change of an order group",
    )
    parser.add_argument("--db-url", metavar="URL", help="read the project's database too")
    parser.add_argument("--dry-run", action="store_true", help="write nothing, and say what would be written")
    parser.add_argument("--json", action="store_true", help="print one object")


def run(arguments: argparse.Namespace) -> int:
    """Find conflicts, and write all missing migrations where there are none. Raises CommandError, or OSError with the
    file's name.
    """
    extras.need("init", *EXTRA, for_what="relay init")
    project: Path = arguments.directory
    folder = project / "supabase" / "migrations"
    options = [
        name
        for name in OPTIONS
        if name in arguments.options or any((folder / file).is_file() for file in migrations(name))
    ]
    ours = migrations("migrations", *options)
    plan = _plan(ours, project, arguments.db_url)
    if not (plan.problems or arguments.dry_run):
        _write(folder, {file: ours[file] for file in plan.missing})
    if arguments.json:
        sys.stdout.write(json.dumps({**asdict(plan), "dry_run": arguments.dry_run}, indent=2) + "\n")
    else:
        sys.stdout.writelines(_refusal(plan) if plan.problems else _next_steps(plan, project, dry=arguments.dry_run))
    return NO if plan.problems else OK


def migrations(*folders: str) -> dict[str, str]:
    """The text of each migration of this release by its file name, in order: those of the folders `migrations` and
    OPTIONS that are named; without a name the former. Raises CommandError.
    """
    for place in _PLACES:
        if (place / "migrations").is_dir():
            paths = [path for folder in folders or ("migrations",) for path in (place / folder).glob("*.sql")]
            return {path.name: path.read_text(encoding="utf-8") for path in sorted(paths, key=lambda path: path.name)}
    raise CommandError("this installation holds no migrations; install the package, or run it in a clone")


def _plan(ours: Mapping[str, str], project: Path, db_url: str | None) -> Plan:
    from relay.commands.init import database, obstacles  # imported here: they need the extra's libraries

    config = project / "supabase" / "config.toml"
    if not config.is_file():
        raise CommandError(f"{project} holds no supabase/config.toml; run `supabase init` there first")
    try:
        exposed = tomllib.loads(_read(config)).get("api", {}).get("schemas")
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{config} cannot be read: {error}") from None
    theirs = {path.name: _read(path) for path in sorted((project / "supabase" / "migrations").glob("*.sql"))}
    problems = [*obstacles.judge_files(ours, theirs), *obstacles.judge_api(exposed)]
    found_there = database.read(db_url) if db_url else None
    needs_queues = any(file in ours for file in migrations("queues"))
    if found_there is not None:
        told = {(problem.subject, problem.remedy) for problem in problems}
        found = [*obstacles.judge_database(ours, theirs, found_there)]
        found += obstacles.judge_queues(found_there) if needs_queues else ()
        problems += [problem for problem in found if (problem.subject, problem.remedy) not in told]
    return Plan(
        missing=tuple(file for file in ours if file not in theirs),
        present=tuple(file for file in ours if file in theirs),
        problems=tuple(problems),
        mentions=tuple(_mentions(ours, theirs, _other_files(project), found_there)),
        include_all=obstacles.needs_include_all(ours, theirs, found_there),
        database_checked=found_there is not None,
    )


def _mentions(
    ours: Mapping[str, str],
    theirs: Mapping[str, str],
    others: Mapping[str, str],
    database: "ProjectDatabase | None",
) -> "list[Mention]":
    """What says the names that are taken, as text."""
    from relay.commands.init import mentions, obstacles

    taken = obstacles.taken_names(ours, theirs, database)
    first = min(ours)
    own = {f"supabase/migrations/{file}": text for file, text in theirs.items() if file not in ours}
    later = {file: text for file, text in own.items() if Path(file).name > first}
    earlier = {file: text for file, text in own.items() if file not in later}
    found: list[Mention] = []
    if database is not None:
        # It has each function as it is now, whoever made it.
        found += mentions.in_database(taken, database.bodies)
        applied = database.applied
        earlier = {file: text for file, text in earlier.items() if obstacles.version_of(Path(file).name) not in applied}
    found += mentions.in_earlier_migrations(taken, earlier)
    return [*found, *mentions.in_later_migrations(taken, later), *mentions.in_other_files(taken, others)]


def _other_files(project: Path) -> dict[str, str]:
    """The seeds, schemas and tests of a project, by their paths in it. Folders with a dot are the CLI's own."""
    paths = sorted((project / "supabase").rglob("*.sql"))
    named = {path.relative_to(project).as_posix(): path for path in paths}
    return {
        name: _read(path)
        for name, path in named.items()
        if "/." not in name and not name.startswith("supabase/migrations/")
    }


def _read(path: Path) -> str:
    """The text of a file, with all line ends as line feeds, because git may have changed them. Raises CommandError."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8") from None


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files and overwrite none. A file that cannot be written whole is removed, so that nobody pushes half a
    migration. Raises OSError.
    """
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        path = folder / name
        file = path.open("x", encoding="utf-8", newline="\n")
        try:
            with file:
                file.write(text)
        except BaseException:
            path.unlink()
            raise


def _refusal(plan: Plan) -> Iterator[str]:
    """The problems as text. Those with the same remedy stand together, and their SQL statements are one block
    to copy.
    """
    yield f"Nothing was written; problems found: {len(plan.problems)}\n"
    by_remedy: dict[str, list[Problem]] = {}
    for problem in plan.problems:
        by_remedy.setdefault(problem.remedy, []).append(problem)
    for remedy, problems in by_remedy.items():
        yield "\n"
        yield from (f"  {terminal.clean(f'{problem.subject} {problem.detail}')}.\n" for problem in problems)
        yield f"    {remedy}\n"
        if statements := dict.fromkeys(problem.statement for problem in problems if problem.statement):
            yield "\n" + "".join(f"      {statement}\n" for statement in statements)
    if plan.mentions:
        yield (
            "\nA renaming does not reach what says the name as text. Replace functions of the database and of earlier\n"
            "migrations in the migration that makes room, after the renaming. Into all else write the new name:\n"
        )
        for one in plan.mentions:
            yield f"  {terminal.clean(f'{one.place}: {one.subject} {one.detail}')}\n"
    if plan.include_all is not False:
        yield "\nPush the migration that makes room with `supabase db push --remote --include-all`"
        yield ".\n" if plan.include_all else ", if later ones have been pushed.\n"


def _next_steps(plan: Plan, project: Path, *, dry: bool) -> Iterator[str]:
    for file in plan.missing:
        yield f"{'would write' if dry else 'wrote'}  supabase/migrations/{file}\n"
    yield f"{len(plan.present)} of {len(plan.present) + len(plan.missing)} migrations were there already.\n"
    if not plan.database_checked:
        yield "The database was not asked (--db-url does); a name that is taken there makes the push fail.\n"
    push = f"supabase db push --remote{' --include-all' if plan.include_all else ''}"
    yield f"\nNext, in {project}, with the Supabase CLI 3 or newer (CLI 2 takes the linked project without --remote):\n"
    yield f"  {push} --dry-run\n  {push}\n"
    if plan.include_all is None:
        yield (
            "  with --include-all, if migrations of yours that are later than these have been pushed already: the CLI\n"
            "  refuses to apply what is older than the last one that it applied\n"
        )
    yield "  select * from public.security_findings();   -- in the SQL editor; it must return no row\n"
    yield (
        "\nThen Stripe's endpoint, the settings and the relay, as the README goes on. Once .env is filled in:\n"
        "  relay check --env-file .env\n"
    )
