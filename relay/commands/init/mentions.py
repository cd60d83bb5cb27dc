"""Finds what says a taken name as text, so that a renaming does not reach it: functions, later migrations, seeds.

In the database, views, policies, triggers and keys know a table by its number, and follow. What stands in a file is run
again in each new database, by the name that it says.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pglast import ast, parse_sql
from pglast.parser import ParseError, scan

from relay.commands.init.sql_statements import Name, creations

_DATABASE: Final = "the database"
_COMMENTS: Final = frozenset({"SQL_COMMENT", "C_COMMENT"})
_STRING: Final = "SCONST"
_DOT: Final = "ASCII_46"
_WORD: Final = re.compile(r'(?:(\w+)"?\."?)?\b(\w+)\b')


@dataclass(frozen=True, slots=True, order=True)
class Mention:
    """Something of the project's that a renaming breaks, or lets speak of our table instead of theirs."""

    place: str
    """The database, or a file and its line."""
    subject: str
    """What it is: function, view, policy …, and its name."""
    detail: str
    """What it says, or uses."""


@dataclass(frozen=True, slots=True)
class Body:
    """A function's text, or a scheduled command, as the database holds it."""

    subject: str
    text: str
    used_by: tuple[str, ...] = ()
    """The views, policies, triggers and defaults that call it."""


def in_database(taken: Collection[Name], bodies: Collection[Body]) -> Iterator[Mention]:
    """What the database holds as text, and what breaks together with it."""
    for body in bodies:
        if said := {name for name, _ in _said(body.text, taken)}:
            yield Mention(_DATABASE, body.subject, f"says {_listed(said)}")
            yield from (Mention(_DATABASE, user, f"uses {body.subject}") for user in body.used_by)


def in_earlier_migrations(taken: Collection[Name], migrations: Mapping[str, str]) -> Iterator[Mention]:
    """The functions that exist after these migrations and say a name. All else in them runs before the renaming."""
    last: dict[str, Mention | None] = {}
    for file, text in migrations.items():
        for statement, location, written in _statements(text):
            if isinstance(statement, ast.CreateFunctionStmt):
                (made,) = creations(statement)
                line = text.count("\n", 0, location) + 1
                said = {name for name, _ in _said(written, taken)}
                subject = f"{made.word} {made.name}"
                last[subject] = Mention(f"{file}, line {line}", subject, f"says {_listed(said)}") if said else None
    yield from filter(None, last.values())


def in_later_migrations(taken: Collection[Name], migrations: Mapping[str, str]) -> Iterator[Mention]:
    """The statements that would meet our table in a new database, because they run after it was made."""
    for file, text in migrations.items():
        for statement, location, written in _statements(text):
            for name, offset in _first_of_each(_said(written, taken)):
                line = text.count("\n", 0, location + offset) + 1
                yield Mention(f"{file}, line {line}", _subject(statement), f"says {name}")


def in_other_files(taken: Collection[Name], files: Mapping[str, str]) -> Iterator[Mention]:
    """The lines of seeds, schemas and tests. They are read word by word, because psql's commands may stand there."""
    for file, text in files.items():
        for name, offset in _first_of_each(_said(text, taken)):
            yield Mention(f"{file}, line {text.count(chr(10), 0, offset) + 1}", "statement", f"says {name}")


def _listed(names: Collection[Name]) -> str:
    return ", ".join(map(str, sorted(names)))


def _first_of_each(found: Iterator[tuple[Name, int]]) -> Iterator[tuple[Name, int]]:
    seen: set[Name] = set()
    for name, offset in found:
        if name not in seen:
            seen.add(name)
            yield name, offset


def _statements(text: str) -> Iterator[tuple[Any, int, str]]:
    """Each statement, where it begins, and its text. obstacles.judge_files has read the text before."""
    for raw in parse_sql(text):
        start = raw.stmt_location or 0
        end = start + raw.stmt_len if raw.stmt_len else len(text)
        yield raw.stmt, start, text[start:end]


def _subject(statement: Any) -> str:
    match statement:
        case (
            ast.CreatePolicyStmt(policy_name=str() as policy, table=ast.RangeVar() as table)
            | ast.AlterPolicyStmt(policy_name=str() as policy, table=ast.RangeVar() as table)
        ):
            return f'policy "{policy}" on {table.schemaname or "public"}.{table.relname}'
        case ast.CreateTrigStmt(trigname=str() as trigger, relation=ast.RangeVar() as table):
            return f"trigger {trigger} on {table.schemaname or 'public'}.{table.relname}"
    made = next(creations(statement), None)
    return f"{made.word} {made.name}" if made else "statement"


def _said(text: str, taken: Collection[Name]) -> Iterator[tuple[Name, int]]:
    """Each taken name that stands in a text of SQL outside of its comments, and where. A string is read as a text too:
    it may be a function's body, or what a function executes.
    """
    try:
        tokens = [token for token in scan(text) if token.name not in _COMMENTS]
    except ParseError:  # of another language, or half a statement
        for match in _WORD.finditer(text):
            yield from ((name, match.start(2)) for name in _meant(match[1], match[2], taken))
        return
    words = [text[token.start : token.end + 1] for token in tokens]
    for place, (token, word) in enumerate(zip(tokens, words, strict=True)):
        if token.name == _STRING:
            start, inner = _inside(word)
            yield from ((name, token.start + start + offset) for name, offset in _said(inner, taken))
            continue
        qualifier = words[place - 2] if place > 1 and tokens[place - 1].name == _DOT else None
        yield from ((name, token.start) for name in _meant(_plain(qualifier), _plain(word), taken))


def _inside(string: str) -> tuple[int, str]:
    """What stands between the quotes of a string, and where it begins."""
    quote = string[: string.index("$", 1) + 1] if string.startswith("$") else string[: string.index("'") + 1]
    return len(quote), string[len(quote) : -len(quote) if quote.startswith("$") else -1].replace("''", " '")


def _plain(word: str | None) -> str | None:
    if word is None:
        return None
    return word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()


def _meant(qualifier: str | None, word: str | None, taken: Collection[Name]) -> Iterator[Name]:
    """A name without its schema may be found by the search path. After another word and a dot it is a column, or
    another schema's.
    """
    for name in taken:
        if name.kind == "schema":
            if qualifier == name.name:
                yield name
        elif word == name.name and qualifier in (None, name.schema):
            yield name
