"""Finds the names that a SQL statement creates, drops, renames or moves. pglast reads it with PostgreSQL's own grammar.

Statements that a `do` block or a function builds at run time are not seen.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Literal

from pglast import ast, parse_sql
from pglast.enums import AlterTableType, ConstrType, ObjectType
from pglast.parser import ParseError

from relay.commands import terminal
from relay.commands.endings import CommandError

Kind = Literal["schema", "relation", "routine"]


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A name that can exist only once. Within a schema, tables, views, indexes, sequences and types share one
    namespace. Functions have another one; their parameters do not count here.
    """

    kind: Kind
    schema: str
    name: str

    def __str__(self) -> str:
        return self.name if self.kind == "schema" else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Creation:
    """A name that a statement creates."""

    name: Name
    table: Name
    """The table to which an index or a sequence belongs; for everything else the name itself."""
    word: str
    """The word that `alter` uses for it: table, view, index, type, function …"""


# For each statement that creates something: the attribute with the name, the kind of name, and the word for `alter`.
_MAKERS: Final[dict[type[ast.Node], tuple[str, Kind, str]]] = {
    ast.CreateStmt: ("relation", "relation", "table"),
    ast.CreateTableAsStmt: ("into", "relation", "table"),
    ast.SelectStmt: ("intoClause", "relation", "table"),
    ast.ViewStmt: ("view", "relation", "view"),
    ast.CreateSeqStmt: ("sequence", "relation", "sequence"),
    ast.CompositeTypeStmt: ("typevar", "relation", "type"),
    ast.CreateEnumStmt: ("typeName", "relation", "type"),
    ast.CreateRangeStmt: ("typeName", "relation", "type"),
    ast.CreateDomainStmt: ("domainname", "relation", "domain"),
    ast.CreateFunctionStmt: ("funcname", "routine", "function"),
    ast.CreateSchemaStmt: ("schemaname", "schema", "schema"),
}
_KINDS: Final[dict[ObjectType, Kind]] = {
    ObjectType.OBJECT_SCHEMA: "schema",
    ObjectType.OBJECT_TABLE: "relation",
    ObjectType.OBJECT_FOREIGN_TABLE: "relation",
    ObjectType.OBJECT_VIEW: "relation",
    ObjectType.OBJECT_MATVIEW: "relation",
    ObjectType.OBJECT_SEQUENCE: "relation",
    ObjectType.OBJECT_INDEX: "relation",
    ObjectType.OBJECT_TYPE: "relation",
    ObjectType.OBJECT_DOMAIN: "relation",
    ObjectType.OBJECT_FUNCTION: "routine",
    ObjectType.OBJECT_PROCEDURE: "routine",
    ObjectType.OBJECT_ROUTINE: "routine",
    ObjectType.OBJECT_AGGREGATE: "routine",
}
_SERIAL: Final = {"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"}
_KEYS: Final = {ConstrType.CONSTR_PRIMARY, ConstrType.CONSTR_UNIQUE, ConstrType.CONSTR_EXCLUSION}
_ADDING: Final = {AlterTableType.AT_AddColumn, AlterTableType.AT_AddConstraint}
_TEMPORARY: Final = "t"


@cache
def statements(text: str, file: str = "a migration") -> tuple[Any, ...]:
    """Read a script. Raises CommandError where PostgreSQL could not read it either."""
    try:
        return tuple(statement.stmt for statement in parse_sql(text))
    except ParseError as error:
        message, place = error.args
        line = text.count("\n", 0, place) + 1
        raise CommandError(terminal.clean(f"{file}, line {line}: PostgreSQL cannot read it: {message}")) from None


def _name(kind: Kind, written: Any) -> Name:
    """The name in a part of the syntax tree, which may be a string, a list of parts, or a node that contains them."""
    match written:
        case ast.IntoClause():
            return _name(kind, written.rel)
        case ast.RangeVar(schemaname=schema, relname=str() as name):
            return Name(kind, schema or "public", name)
        case (str() as name) | ast.String(sval=str() as name):
            return Name(kind, "", name)
        case ast.ObjectWithArgs():
            return _name(kind, written.objname)
        case ast.TypeName():
            return _name(kind, written.names)
    parts = [part.sval for part in written]
    return Name(kind, parts[-2] if len(parts) > 1 else "public", parts[-1])


def creations(statement: Any) -> Iterator[Creation]:
    """The names that a statement creates."""
    match statement:
        case ast.IndexStmt() if statement.idxname:
            table = _name("relation", statement.relation)
            yield Creation(Name("relation", table.schema, statement.idxname), table, "index")
        case ast.AlterTableStmt():
            added = [command.def_ for command in statement.cmds or () if command.subtype in _ADDING]
            yield from _parts(_name("relation", statement.relation), added)
        case ast.CreateForeignTableStmt():
            yield from (replace(made, word="foreign table") for made in creations(statement.base))
        case ast.DefineStmt(kind=ObjectType.OBJECT_TYPE):
            yield _itself("relation", statement.defnames, "type")
        case ast.DefineStmt(kind=ObjectType.OBJECT_AGGREGATE):
            yield _itself("routine", statement.defnames, "aggregate")
        case _ if type(statement) in _MAKERS:
            place, kind, word = _MAKERS[type(statement)]
            written = getattr(statement, place)
            relation = written.rel if isinstance(written, ast.IntoClause) else written
            if relation is None or getattr(relation, "relpersistence", None) == _TEMPORARY:
                return  # a plain query, or a temporary table
            if getattr(statement, "objtype", None) == ObjectType.OBJECT_MATVIEW:
                word = "materialized view"
            yield _itself(kind, written, "procedure" if getattr(statement, "is_procedure", False) else word)
            yield from _parts(_name(kind, written), getattr(statement, "tableElts", None) or ())


def _itself(kind: Kind, written: object, word: str) -> Creation:
    name = _name(kind, written)
    return Creation(name, name, word)


def _parts(table: Name, elements: Iterable[Any]) -> Iterator[Creation]:
    """The indexes of a table's keys, and the sequences of its serial and identity columns."""
    for element in elements:
        is_column = isinstance(element, ast.ColumnDef)
        constraints = (element.constraints or ()) if is_column else (element,)
        kinds = {one.contype for one in constraints if isinstance(one, ast.Constraint)}
        if is_column and (ConstrType.CONSTR_IDENTITY in kinds or element.typeName.names[-1].sval in _SERIAL):
            # If the name were taken, PostgreSQL would add a number to it, and our grants would name the other sequence.
            yield Creation(Name("relation", table.schema, f"{table.name}_{element.colname}_seq"), table, "sequence")
        for one in constraints:
            if isinstance(one, ast.Constraint) and one.contype in _KEYS:
                # PostgreSQL names a primary key that the statement does not name.
                unnamed = f"{table.name}_pkey" if one.contype == ConstrType.CONSTR_PRIMARY else None
                if index := one.conname or unnamed:
                    yield Creation(Name("relation", table.schema, index), table, "index")


def drops(statement: Any) -> Iterator[Name]:
    """The names that a statement drops."""
    match statement:
        case ast.DropStmt(removeType=kind) if kind in _KINDS:
            yield from (_name(_KINDS[kind], written) for written in statement.objects or ())
        case ast.AlterTableStmt():
            schema = _name("relation", statement.relation).schema
            dropped = AlterTableType.AT_DropConstraint
            yield from (Name("relation", schema, one.name) for one in statement.cmds or () if one.subtype == dropped)


def moves(statement: Any) -> Iterator[tuple[Name, Name]]:
    """The names that a statement renames or moves to another schema: each old name with its new one."""
    match statement:
        case ast.RenameStmt(
            renameType=ObjectType.OBJECT_TABCONSTRAINT, relation=table, subname=str() as old, newname=str() as new
        ):
            subject = replace(_name("relation", table), name=old)
            yield subject, replace(subject, name=new)
        case ast.RenameStmt(renameType=kind, newname=str() as new) if kind in _KINDS:
            subject = _name(_KINDS[kind], statement.relation or statement.object or statement.subname)
            yield subject, replace(subject, name=new)
        case ast.AlterObjectSchemaStmt(objectType=kind, newschema=str() as new) if kind in _KINDS:
            subject = _name(_KINDS[kind], statement.relation or statement.object)
            yield subject, replace(subject, schema=new)
