"""Which names migrations take, read from their text: whether two sets of files can live in one database.

A reading, not a parser: comments, strings and bodies are blanked, then the statements that create, drop, rename or
move are recognised. What a `do` block builds at run time is not seen; the database itself knows that.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["schema", "relation", "routine"]


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """What may be there only once. Tables, views, indexes, sequences and types share one space of a schema;
    functions, whatever their parameters, another."""

    kind: Kind
    schema: str
    name: str

    def __str__(self) -> str:
        return self.name if self.kind == "schema" else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Script:
    """A migration: its file name, its text, and whether it is one of ours."""

    file: str
    text: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Clash:
    """A name that both sides create: who comes first, and who then finds it taken."""

    name: Name
    first: Script
    second: Script


def clashes(scripts: Iterable[Script]) -> list[Clash]:
    """Play the scripts in the order in which `supabase db push` applies them, by file name."""
    names = _Names()
    return [
        Clash(name, first, script)
        for script in sorted(scripts, key=lambda script: script.file)
        for name, first in names.play(script)
        if first.ours is not script.ours
    ]


def created(text: str) -> set[Name]:
    """What a script leaves behind in an empty database."""
    names = _Names()
    list(names.play(Script("", text, ours=True)))
    return names.all()


def made_as(text: str, name: Name) -> str:
    """What a script creates under that name, in the word that `alter` takes: table, view, index, type, function …"""
    word = ""
    for statement in _statements(text):
        if not any(name == made for made, _ in _creations(statement)):
            continue
        match = _CREATED_AS.match(statement)
        # A statement that makes a table, or alters one, makes the indexes of its keys and its columns' sequences too.
        is_itself = match is not None and _name(name.kind, match[2]).name == name.name
        part = "sequence" if name.name.endswith("_seq") else "index"
        word = match[1].lower() if match is not None and is_itself else part
    return word or {"schema": "schema", "relation": "table", "routine": "routine"}[name.kind]


class _Names:
    """The names that exist at a moment, who made them, and which table an index belongs to."""

    def __init__(self) -> None:
        self._makers: dict[Name, Script] = {}
        self._tables: dict[Name, Name] = {}

    def all(self) -> set[Name]:
        return set(self._makers)

    def play(self, script: Script) -> Iterator[tuple[Name, Script]]:
        """Apply a script; yields each name that it wants to create although it exists, with its maker."""
        for statement in _statements(script.text):
            for name, table in _creations(statement):
                if name in self._makers:
                    yield name, self._makers[name]
                else:
                    self._makers[name] = script
                    self._tables[name] = table
            for name in _drops(statement):
                self._drop(name)
            for old, new in _moves(statement):
                self._move(old, new)

    def _move(self, old: Name, new: Name) -> None:
        """A table's indexes move with it to another schema, and keep their names when it gets another one."""
        if old not in self._makers or new in self._makers:
            return
        if old.kind == "schema":
            for name in [name for name in self._makers if name.schema == old.name]:
                self._move(name, Name(name.kind, new.name, name.name))
        for part, table in list(self._tables.items()):
            if table == old:
                moved = new if part == old else Name(part.kind, new.schema, part.name)
                del self._tables[part]
                self._makers[moved], self._tables[moved] = self._makers.pop(part), new
        if old in self._makers:  # an index, moved by itself
            self._makers[new], self._tables[new] = self._makers.pop(old), self._tables.pop(old)

    def _drop(self, gone: Name) -> None:
        """A table's indexes go with it, a schema's content with the schema."""
        for name, table in list(self._tables.items()):
            if gone in (name, table) or (gone.kind == "schema" and name.schema == gone.name):
                del self._makers[name], self._tables[name]


_BLANKED: Final = re.compile(
    r"""
      --[^\n]* | /\*.*?\*/
    | \$(?P<tag>[^\W\d]\w*|)\$ .*? \$(?P=tag)\$
    | \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*'
    | (?P<identifier>"(?:[^"]|"")*")
    """,
    re.DOTALL | re.VERBOSE,
)
_PART: Final = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_FULL: Final = rf"{_PART}(?:\s*\.\s*{_PART})?"
_RELATION: Final = r"(?:foreign table|table|materialized view|view|sequence|index|type|domain)"
_ROUTINE: Final = r"(?:function|procedure|routine|aggregate)"


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text.replace(" ", r"\s+"), re.IGNORECASE)


_CREATE_RELATION: Final = _pattern(
    r"create (?:or replace )?(?:unlogged |recursive )?" + _RELATION + rf" (?:if not exists )?({_FULL})"
)
_CREATE_INDEX: Final = _pattern(
    rf"create (?:unique )?index (?:concurrently )?(?:if not exists )?({_PART}) on (?:only )?({_FULL})"
)
_CREATE_ROUTINE: Final = _pattern(rf"create (?:or replace )?{_ROUTINE} ({_FULL})")
_CREATE_SCHEMA: Final = _pattern(rf"create schema (?:if not exists )?({_PART})")
_CREATED_AS: Final = _pattern(
    rf"create (?:or replace )?(?:unlogged |recursive |unique )?({_RELATION}|{_ROUTINE}|schema) (?:concurrently )?"
    rf"(?:if not exists )?({_FULL})"
)
_ALTER: Final = _pattern(rf"alter (?:{_RELATION}|{_ROUTINE}) (?:if exists )?(?:only )?({_FULL})")
_DROP: Final = _pattern(
    rf"drop (?:({_RELATION})|({_ROUTINE})|schema) (?:concurrently )?(?:if exists )?({_FULL}(?:\s*,\s*{_FULL})*)"
)
_INDEX_OF_CONSTRAINT: Final = _pattern(rf"constraint ({_PART}) (?:primary key|unique|exclude)\b")
_PRIMARY_KEY: Final = _pattern(rf"(constraint {_PART} )?primary key\b")
_COUNTING: Final = _pattern(
    rf"[(,]\s*({_PART}) (?:[^,]*\bgenerated (?:always|by default) as identity|(?:big|small)?serial[248]?)\b"
)
_RENAME_SCHEMA: Final = _pattern(rf"alter schema ({_PART}) rename to ({_PART})$")
_RENAME: Final = _pattern(rf"rename to ({_PART})$")
_RENAME_CONSTRAINT: Final = _pattern(rf"rename constraint ({_PART}) to ({_PART})$")
_SET_SCHEMA: Final = _pattern(rf"set schema ({_PART})$")
_PARAMETERS: Final = re.compile(r"\([^()]*\)")


def _statements(text: str) -> Iterator[str]:
    blanked = _BLANKED.sub(lambda match: match["identifier"] or " ", text)
    return (statement.strip() for statement in blanked.split(";"))


def _name(kind: Kind, written: str, schema: str = "public") -> Name:
    parts = [
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower() for part in re.findall(_PART, written)
    ]
    if kind == "schema":
        return Name(kind, "", parts[0])
    return Name(kind, parts[0] if len(parts) > 1 else schema, parts[-1])


def _creations(statement: str) -> Iterator[tuple[Name, Name]]:
    """Each name with the table that it belongs to, or itself."""
    if match := _CREATE_INDEX.match(statement):
        table = _name("relation", match[2])
        yield _name("relation", match[1], table.schema), table
    elif match := _CREATE_RELATION.match(statement):
        table = _name("relation", match[1])
        yield table, table
        yield from _indexes(statement, table)
        # PostgreSQL names a key that the statement does not name.
        if any(key[1] is None for key in _PRIMARY_KEY.finditer(statement)):
            yield Name("relation", table.schema, f"{table.name}_pkey"), table
        # Taken, it would get a number: the grants that name it would then be those of somebody else's sequence.
        for column in _COUNTING.finditer(statement):
            yield Name("relation", table.schema, f"{table.name}_{_name('relation', column[1]).name}_seq"), table
    elif match := _CREATE_ROUTINE.match(statement):
        routine = _name("routine", match[1])
        yield routine, routine
    elif match := _CREATE_SCHEMA.match(statement):
        schema = _name("schema", match[1])
        yield schema, schema
    elif match := _ALTER.match(statement):
        yield from _indexes(statement, _name("relation", match[1]))


def _indexes(statement: str, table: Name) -> Iterator[tuple[Name, Name]]:
    for match in _INDEX_OF_CONSTRAINT.finditer(statement):
        yield _name("relation", match[1], table.schema), table


def _drops(statement: str) -> Iterator[Name]:
    if match := _DROP.match(_PARAMETERS.sub("", statement)):
        kind: Kind = "relation" if match[1] else "routine" if match[2] else "schema"
        for written in re.findall(_FULL, match[3]):
            yield _name(kind, written)


def _moves(statement: str) -> Iterator[tuple[Name, Name]]:
    if to := _RENAME_SCHEMA.match(statement):
        yield _name("schema", to[1]), _name("schema", to[2])
    if not (match := _ALTER.match(statement)):
        return
    kind: Kind = "routine" if re.match(rf"alter\s+{_ROUTINE}\b", statement, re.IGNORECASE) else "relation"
    subject = _name(kind, match[1])
    if to := _RENAME.search(statement):
        yield subject, _name(kind, to[1], subject.schema)
    elif to := _RENAME_CONSTRAINT.search(statement):
        yield _name("relation", to[1], subject.schema), _name("relation", to[2], subject.schema)
    elif to := _SET_SCHEMA.search(statement):
        yield subject, Name(kind, _name("schema", to[1]).name, subject.name)
