"""Finds names that two sets of migrations both create, so that they cannot be applied to one database.

Statements that a `do` block builds at run time are not seen; only the database knows what they made.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from relay.commands.init.sql_statements import Name, creations, drops, moves, statements


@dataclass(frozen=True, slots=True)
class Script:
    """A migration: its file name, its text, and whether it is one of ours."""

    file: str
    text: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Clash:
    """A name that both sides create: the script that creates it first, and the one that then finds it taken."""

    name: Name
    first: Script
    second: Script


def clashes(scripts: Iterable[Script]) -> list[Clash]:
    """Apply the scripts to an empty set of names, in the order of `supabase db push`, and return every clash between
    the two sides. Raises CommandError.
    """
    names = _Names()
    return [
        Clash(name, first, script)
        for script in sorted(scripts, key=lambda script: script.file)
        for name, first in names.play(script)
        if first.ours is not script.ours
    ]


def created(text: str) -> set[Name]:
    """The names that exist after a script has run in an empty database. Raises CommandError."""
    names = _Names()
    list(names.play(Script("", text, ours=True)))
    return names.all()


def made_as(text: str, name: Name) -> str:
    """The word that `alter` uses for what a script creates under that name: table, view, index, type, function …"""
    words = [made.word for statement in statements(text) for made in creations(statement) if made.name == name]
    return words[-1] if words else {"schema": "schema", "relation": "table", "routine": "routine"}[name.kind]


class _Names:
    """The names that exist so far, the script that created each, and the table to which an index or sequence
    belongs.
    """

    def __init__(self) -> None:
        self._makers: dict[Name, Script] = {}
        self._tables: dict[Name, Name] = {}

    def all(self) -> set[Name]:
        return set(self._makers)

    def play(self, script: Script) -> Iterator[tuple[Name, Script]]:
        """Apply a script. Yields each name that it creates although the name exists, with the script that
        created it.
        """
        for statement in statements(script.text, script.file):
            for made in creations(statement):
                if made.name in self._makers:
                    yield made.name, self._makers[made.name]
                else:
                    self._makers[made.name] = script
                    self._tables[made.name] = made.table
            for name in drops(statement):
                self._drop(name)
            for old, new in moves(statement):
                self._move(old, new)

    def _move(self, old: Name, new: Name) -> None:
        """Rename or move one name. A table's indexes move with it to another schema, and keep their names when the
        table is renamed.
        """
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
        """Drop one name. A table's indexes are dropped with it, and a schema's content with the schema."""
        for name, table in list(self._tables.items()):
            if gone in (name, table) or (gone.kind == "schema" and name.schema == gone.name):
                del self._makers[name], self._tables[name]
