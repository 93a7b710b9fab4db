"""The SQL by which lanes apply changes to one table, and the forms in which rows travel with it.

Sets come as one text array per column. A cast names the type without its modifier, so that it never cuts a value
short: the assignment to the column enforces lengths, with an error. Domains are cast to their base type for that
reason too. Operators are named with their schema, because only pg_catalog is on the search path.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.postgres.connection import copy_target, quote
from bowline_worker.model import UNCHANGED, Row, Table, Value

#: Per column its type, domains resolved, the schema of that type's own equality operator, and the kind of text that
#: its input function reads: a cast from `text` may be another function, which knows less (regclass: no `-`, no number)
#: or is the user's own.
TYPES = """
with recursive base (attnum, name, type) as (
    select a.attnum, a.attname, a.atttypid
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped
    union all
    select b.attnum, b.name, t.typbasetype from base b join pg_type t on t.oid = b.type where t.typtype = 'd')
select b.name, n.nspname, t.typname, coalesce((
    select o.nspname || '.' || p.oprname
    from pg_opclass k join pg_am m on m.oid = k.opcmethod and m.amname in ('btree', 'lsm')
    join pg_amop s on s.amopfamily = k.opcfamily and s.amopstrategy = 3
        and s.amoplefttype = t.oid and s.amoprighttype = t.oid
    join pg_operator p on p.oid = s.amopopr
    join (select oid, quote_ident(nspname) as nspname from pg_namespace) o on o.oid = p.oprnamespace
    where k.opcintype = t.oid and k.opcdefault limit 1), 'pg_catalog.='), coalesce((
    select s.name from (values (1, 'text'), (2, 'varchar'), (3, 'bpchar')) s (at, name)
    where not exists (select from pg_cast c where c.castsource = s.name::regtype and c.casttarget = t.oid
        and c.castmethod = 'f') order by s.at limit 1), 'text')
from base b join pg_type t on t.oid = b.type join pg_namespace n on n.oid = t.typnamespace
where t.typtype <> 'd' order by b.attnum"""

#: Tables whose foreign keys point here: TRUNCATE refuses while there are any, in replica role too.
REFERENCED = """
select exists (select from pg_constraint k join pg_class c on c.oid = k.confrelid
    join pg_namespace n on n.oid = c.relnamespace
    where k.contype = 'f' and k.conrelid <> k.confrelid and n.nspname = $1 and c.relname = $2)"""

#: Equality of these is equality of their text: an index may find a row of a table without a key.
EXACT = frozenset(
    ("bool", "date", "int2", "int4", "int8", "oid", "timestamp", "timestamptz", "uuid")
)

TEXT_OID = 25
NULL = b"\xff\xff\xff\xff"
_length = struct.Struct(">I").pack


@dataclass(frozen=True, slots=True)
class BaseType:
    schema: str
    name: str
    equals: str  #: with its schema
    through: str = "text"  #: what a text must be, to be cast by the type's input function

    @property
    def quoted(self) -> str:
        return quote(self.schema, self.name)


class Statements:
    """Texts for one table; `$1..` are arrays (one per key column, then one per value column) unless said otherwise."""

    def __init__(self, table: Table, types: Mapping[str, BaseType], place: str = "ctid") -> None:
        self.table = table
        self.types = types
        self.place = place  #: the column that tells one row from its equals
        self.name = quote(table.name.schema, table.name.name)
        self.names = tuple(column.name for column in table.written)
        self.columns = ", ".join(quote(name) for name in self.names)
        for name in self.names:
            if name not in types:
                raise Unsupported(
                    f"table {table.name}: column {name} is not there any more",
                    reason="SchemaChanged",
                )

    def delete(self) -> str:
        key = self.table.key
        return f"delete from only {self.name} t using {unnest(len(key))} where {self._found(key)}"

    def update(self, columns: Sequence[str]) -> str:
        """Without columns: count the rows that are there, as an update would."""
        key = self.table.key
        if not columns:
            return (
                f"select t.tableoid from only {self.name} t, {unnest(len(key))} "
                f"where {self._found(key)}"
            )
        sets = ", ".join(
            f"{quote(name)} = {self._from_text(f's.c{at}', name)}"
            for at, name in enumerate(columns, len(key))
        )
        source = unnest(len(key) + len(columns))
        return f"update only {self.name} t set {sets} from {source} where {self._found(key)}"

    def insert(self) -> str:
        values = ", ".join(self._from_text(f"s.c{at}", name) for at, name in enumerate(self.names))
        return (
            f"insert into {self.name} ({self.columns}) overriding system value "
            f"select {values} from {unnest(len(self.names))}"
        )

    def copy(self) -> str:
        return f"copy {copy_target(self.table)} from stdin"

    def fetch(self, columns: Sequence[str]) -> str:
        """Read those columns of the rows with these keys, in the order of the keys."""
        key = self.table.key
        values = ", ".join(f"t.{quote(name)}" for name in columns)
        return (
            f"select {values} from only {self.name} t, {unnest(len(key), numbered=True)} "
            f"where {self._found(key)} order by s.n"
        )

    def truncate(self, *, referenced: bool) -> str:
        # Row by row where foreign keys point here: the origin truncated those tables too, each has its own change.
        return f"delete from only {self.name}" if referenced else f"truncate only {self.name}"

    # One row each, without a key: `$1..` are single values, the row's first, then those to set.

    def find(self, before: Row) -> tuple[str, list[Value]]:
        """The place of one row that equals `before` in every column, and the parameters that say so."""
        tests, parameters = [], list[Value]()
        for name, value in zip(self.names, before, strict=True):
            column = f"f.{quote(name)}"
            if value is None:
                # A composite whose fields are all null "is null" too.
                tests.append(f"{column} is not distinct from null")
                continue
            parameters.append(value)
            wanted = self._cast(f"${len(parameters)}", name)
            kind = self.types[name]
            if kind.schema == "pg_catalog" and kind.name in EXACT:
                tests.append(f"{column} = {wanted}")
            else:
                # Text tells 1.0 from 1.00, and json, xml and points have no equality at all. It must be that of the
                # output function: a cast drops char's blanks, or is the user's own.
                tests.append(f'concat({column}) collate "C" = concat({wanted}) collate "C"')
        where = " and ".join(tests) or "true"
        return f"(select f.{self.place} from only {self.name} f where {where} limit 1)", parameters

    def delete_found(self, before: Row) -> tuple[str, list[Value]]:
        place, parameters = self.find(before)
        return f"delete from only {self.name} t where t.{self.place} = {place}", parameters

    def changes_fixed(self, before: Row, after: Row) -> bool:
        """Tell whether an identity that is always generated changes: no UPDATE can do that."""
        pairs = zip(self.table.written, before, after, strict=True)
        return any(column.identity_always and old != new for column, old, new in pairs)

    def update_found(self, before: Row, after: Row) -> tuple[str, list[Value]]:
        """Set what the change says; an identity that is always generated keeps its value, and can't be set."""
        place, parameters = self.find(before)
        sets = []
        for column, old, new in zip(self.table.written, before, after, strict=True):
            if new is UNCHANGED or (column.identity_always and old == new):
                continue
            parameters.append(new)
            value = self._cast(f"${len(parameters)}", column.name)
            sets.append(f"{quote(column.name)} = {value}")
        if not sets:
            found = f"select t.{self.place} from only {self.name} t where t.{self.place} = {place}"
            return found, parameters
        return (
            f"update only {self.name} t set {', '.join(sets)} where t.{self.place} = {place}",
            parameters,
        )

    def _found(self, key: Sequence[str]) -> str:
        return " and ".join(
            f"t.{quote(name)} operator({self.types[name].equals}) {self._from_text(f's.c{at}', name)}"
            for at, name in enumerate(key)
        )

    def _from_text(self, value: str, name: str) -> str:
        through = self.types[name].through
        return self._cast(value if through == "text" else f"{value}::pg_catalog.{through}", name)

    def _cast(self, value: str, name: str) -> str:
        return f"{value}::{self.types[name].quoted}"


def unnest(count: int, *, numbered: bool = False) -> str:
    arrays = ", ".join(f"${at}::text[]" for at in range(1, count + 1))
    names = [f"c{at}" for at in range(count)]
    if numbered:
        return f"unnest({arrays}) with ordinality s ({', '.join([*names, 'n'])})"
    return f"unnest({arrays}) s ({', '.join(names)})"


def arrays(rows: Sequence[Row]) -> list[bytes]:
    """Turn rows into one binary text[] per column."""
    return [_array(column) for column in zip(*rows, strict=True)]


def _array(values: Sequence[Value]) -> bytes:
    # One list of all lengths and texts: a call per value would cost more than the rest.
    parts = [
        NULL if value is None else _length(len(value)) + value
        for value in values
        if value.__class__ is bytes or value is None
    ]
    if len(parts) != len(values):
        raise TypeError("an unlogged value reached a statement")
    has_null = int(NULL in parts)
    return struct.pack(">IIIII", 1, has_null, TEXT_OID, len(values), 1) + b"".join(parts)


def copy_lines(rows: Iterable[Row]) -> Iterable[bytes]:
    """Write rows in COPY's text format."""
    for row in rows:
        nulls = row.count(None)
        texts = [b"\\N" if value is None else known(value) for value in row]
        line = b"\t".join(texts)
        # Only what the format has a meaning for is looked at value by value.
        if (
            line.count(b"\\") != nulls
            or line.count(b"\t") != len(row) - 1
            or b"\n" in line
            or b"\r" in line
        ):
            line = b"\t".join([_field(value) for value in row])
        yield line + b"\n"


def _field(value: Value) -> bytes:
    if value is None:
        return b"\\N"
    text = known(value)
    if b"\\" in text:
        text = text.replace(b"\\", b"\\\\")
    if b"\t" in text:
        text = text.replace(b"\t", b"\\t")
    if b"\n" in text:
        text = text.replace(b"\n", b"\\n")
    if b"\r" in text:
        text = text.replace(b"\r", b"\\r")
    return text


def known(value: Value) -> bytes:
    """A value that must be there: whoever passes another one has a bug, and must not write anything."""
    if not isinstance(value, bytes):
        raise TypeError("an unlogged value reached a statement")
    return value
