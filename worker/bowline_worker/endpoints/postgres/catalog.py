"""What the catalogue says of the selected tables: their shapes, keys and sizes. Reads only."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import psycopg
from psycopg import IsolationLevel
from psycopg.rows import dict_row

from bowline_worker.contract import Config
from bowline_worker.endpoints.patterns import Pattern
from bowline_worker.endpoints.postgres.connection import connect, quote, translated
from bowline_worker.endpoints.postgres.made_of import made_of
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Column, Table, TableName

Db: TypeAlias = psycopg.Connection[tuple[object, ...]]
Records: TypeAlias = list[dict[str, Any]]

#: Never migrated, whatever the patterns say.
OWN_SCHEMAS = ("bowline", "pg_catalog", "information_schema")
#: A row's header and its item pointer.
ROW_OVERHEAD_BYTES = 28
#: Guessed for a value of variable length, in a table that was never analysed.
VALUE_BYTES = 24

RELATIONS = """
select c.oid::int8 as oid, n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind,
       c.relpersistence::text as persistence, c.relreplident::text as identity,
       c.relispartition as is_partition, c.relrowsecurity as row_security,
       array(select i.inhparent::int8 from pg_inherits i where i.inhrelid = c.oid) as parents,
       pg_get_userbyid(c.relowner)::text as owner,
       exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
               and d.deptype = 'e') as of_extension
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and c.relpersistence <> 't'
  and n.nspname !~ '^pg_' and n.nspname <> all (%s)"""

COLUMNS = """
select a.attrelid::int8 as oid, a.attname::text as name, tn.nspname::text as type_schema,
       t.typname::text as type_name, format_type(a.atttypid, a.atttypmod) as type_text,
       a.atttypid::int8 as type,
       a.attnotnull as not_null, a.attnum as number, a.attidentity = 'a' as identity_always, {generated} as generated
from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_namespace tn on tn.oid = t.typnamespace
where a.attrelid = any (%s::oid[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum"""

#: Whatever makes rows collide. A unique index that is not valid yet refuses rows all the same.
INDEXES = """
select i.indrelid::int8 as oid, i.indexrelid::int8 as index, c.relname::text as name,
       i.indisprimary as is_primary, i.indisreplident as is_identity,
       i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null
           and i.indexprs is null as is_usable,
       array(select a.attname::text
             from unnest(i.indkey) with ordinality k (attnum, at)
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
             where k.at <= i.indnkeyatts order by k.at) as columns
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = any (%s::oid[]) and (i.indisunique or i.indisexclusion)
order by i.indrelid, i.indexrelid"""

#: Columns whose equal values may differ as text: of another type than these, or of a collation that calls more equal.
#: Those of a numeric have one text only where its scale is fixed, else 1.0 equals 1.00; so it is with char's blanks.
MANY_TEXTS = """
with recursive base (type, now, modifier) as (
    select oid, oid, typtypmod from pg_type
    union all
    select b.type, t.typbasetype, greatest(b.modifier, t.typtypmod) from base b join pg_type t on t.oid = b.now
    where t.typtype = 'd')
select a.attrelid::int8 as oid, a.attname::text as name
from pg_attribute a
join base b on b.type = a.atttypid
join pg_type t on t.oid = b.now and t.typtype <> 'd'
left join pg_collation c on c.oid = a.attcollation
where a.attrelid = any (%s::oid[]) and a.attnum > 0 and not a.attisdropped
  and (t.typtype not in ('b', 'e') or coalesce(to_jsonb(c) ->> 'collisdeterministic', 'true') = 'false'
       or t.typtype = 'b' and case
           when t.oid in ('numeric'::regtype, 'bpchar'::regtype) then greatest(a.atttypmod, b.modifier) < 0
           else t.oid <> all ('{bool,bytea,"char",name,int2,int4,int8,oid,text,varchar,date,time,
               timestamp,timestamptz,uuid,inet,cidr,macaddr,macaddr8,bit,varbit,pg_lsn}'::regtype[]) end)"""

#: reltuples belongs to relpages, as for the planner; the size is that of now.
SIZES = """
select c.oid::int8 as oid, c.reltuples::float8 as tuples, c.relpages as pages,
       coalesce(pg_relation_size(c.oid), 0) as heap_bytes, coalesce(pg_table_size(c.oid), 0) as bytes,
       current_setting('block_size')::int as page_bytes,
       (select coalesce(sum(case when a.attlen > 0 then a.attlen else %(value)s end), 0)
        from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)::int8 as width
from pg_class c where c.oid = any (%(oids)s::oid[])"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table, a partition or a partitioned parent, as pg_class has it."""

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    identity: str  #: relreplident: d(efault), n(othing), f(ull), i(ndex)
    is_partition: bool
    row_security: bool
    parents: tuple[int, ...]
    owner: str
    of_extension: bool

    @property
    def table(self) -> TableName:
        return TableName(self.schema, self.name)

    @property
    def quoted(self) -> str:
        return quote(self.schema, self.name)

    @property
    def is_leaf(self) -> bool:
        return self.kind == "r"


class Selection:
    """The relations of a database, and which of them the patterns select."""

    def __init__(
        self, relations: Iterable[Relation], include: Sequence[str], exclude: Sequence[str]
    ) -> None:
        self.by_oid = {relation.oid: relation for relation in relations}
        self._include = [Pattern(text) for text in include]
        self._exclude = [Pattern(text) for text in exclude]

    def ancestors(self, relation: Relation, *, partitions_only: bool = False) -> list[Relation]:
        """All parents, at all levels, by partitioning or by inheritance."""
        found: dict[int, Relation] = {}
        wanted = [relation]
        while wanted:
            child = wanted.pop()
            if partitions_only and not child.is_partition:
                continue
            for oid in child.parents:
                if oid in self.by_oid and oid not in found:
                    found[oid] = self.by_oid[oid]
                    wanted.append(self.by_oid[oid])
        return list(found.values())

    def is_selected(self, relation: Relation) -> bool:
        """Tell whether the patterns select it, by its own name or by that of a table it is a partition of."""
        names = [
            relation.table,
            *(above.table for above in self.ancestors(relation, partitions_only=True)),
        ]
        if any(pattern.matches(name) for pattern in self._exclude for name in names):
            return False
        return any(pattern.matches(name) for pattern in self._include for name in names)

    @cached_property
    def leaves(self) -> list[Relation]:
        """Selected relations that hold rows, by name. What extensions made is theirs."""
        return sorted(
            (
                relation
                for relation in self.by_oid.values()
                if relation.is_leaf and not relation.of_extension and self.is_selected(relation)
            ),
            key=_by_name,
        )

    @cached_property
    def fenced(self) -> list[Relation]:
        """What a fence must stand on: the leaves, selected parents, and all through which leaves are written.

        A statement on a parent fires the parent's statement triggers alone.
        """
        found = {leaf.oid: leaf for leaf in self.leaves}
        for leaf in self.leaves:
            found.update((above.oid, above) for above in self.ancestors(leaf))
        for relation in self.by_oid.values():
            if not relation.is_leaf and not relation.of_extension and self.is_selected(relation):
                found[relation.oid] = relation
        return sorted(found.values(), key=_by_name)


def _by_name(relation: Relation) -> tuple[str, str]:
    return relation.schema, relation.name


def tables(site: Site) -> tuple[Table, ...]:
    """The selected leaf tables, by name."""
    with translated(site, "could not read the catalogue"), _reading(site) as connection:
        return read_tables(connection, site.config)


def shapes(site: Site) -> Mapping[TableName, Sequence[Column]]:
    """The selected leaf tables' columns: what the fingerprint is made of."""
    with translated(site, "could not read the catalogue"), _reading(site) as connection:
        leaves = select(connection, site.config).leaves
        columns = _columns(connection, leaves)
        return {leaf.table: columns[leaf.oid] for leaf in leaves}


def fingerprint(site: Site, *, own: bool = False) -> str:
    """Digest names, columns, types and partition parents: whatever DDL could break the stream or the target by.

    Neither keys, NOT NULL nor defaults are part of it: rows keep their form without them. `own` adds the numbers of
    tables and columns: one that was swapped, or dropped and made again, has other rows under the old name.
    """
    with translated(site, "could not read the catalogue"), _reading(site) as connection:
        selection = select(connection, site.config)
        columns = _columns(connection, selection.leaves)
    shape = [
        [
            str(leaf.table),
            sorted(str(above.table) for above in selection.ancestors(leaf)),
            [[c.name, c.whole_type, c.generated] for c in columns[leaf.oid]],
            [leaf.oid, *(c.number for c in columns[leaf.oid])] if own else [],
        ]
        for leaf in selection.leaves
    ]
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()


def select(connection: Db, config: Config) -> Selection:
    """Read the relations of the database, as this transaction sees them."""
    rows = records(connection, RELATIONS, (list(OWN_SCHEMAS),))
    relations = [Relation(**{**row, "parents": tuple(row["parents"])}) for row in rows]
    return Selection(relations, config.include, config.exclude)


def read_tables(connection: Db, config: Config) -> tuple[Table, ...]:
    """The selected leaf tables, as this transaction sees them."""
    selection = select(connection, config)
    leaves = selection.leaves
    oids = [leaf.oid for leaf in leaves]
    columns = _columns(connection, leaves)
    indexes: defaultdict[int, Records] = defaultdict(list)
    for row in records(connection, INDEXES, (oids,)):
        indexes[row["oid"]].append(row)
    sizes = {
        row["oid"]: row for row in records(connection, SIZES, {"oids": oids, "value": VALUE_BYTES})
    }
    many = {(row["oid"], row["name"]) for row in records(connection, MANY_TEXTS, (oids,))}
    found = []
    for leaf in leaves:
        key = find_key(leaf.identity, columns[leaf.oid], indexes[leaf.oid])
        further = len(indexes[leaf.oid]) - (1 if key else 0)
        parent = selection.by_oid.get(leaf.parents[0]) if leaf.is_partition else None
        size = sizes.get(leaf.oid)  # None: dropped since the relations were read
        found.append(
            Table(
                name=leaf.table,
                columns=columns[leaf.oid],
                key=key,
                one_lane=not key or further > 0 or any((leaf.oid, name) in many for name in key),
                estimated_rows=_estimated_rows(size) if size else 0,
                estimated_bytes=size["bytes"] if size else 0,
                parent=parent.table if parent else None,
                identity=str(leaf.oid),
                persistent=leaf.persistence == "p",
            )
        )
    return tuple(found)


def find_key(identity: str, columns: Sequence[Column], indexes: Records) -> tuple[str, ...]:
    """Choose the columns that the stream can identify rows by; () where there are none.

    PostgreSQL takes no deferrable primary key for that, and does not stream generated columns.
    """
    usable = [index for index in indexes if index["is_usable"]]
    chosen = [index for index in usable if identity == "i" and index["is_identity"]] or [
        index for index in usable if index["is_primary"]
    ]
    generated = {column.name for column in columns if column.generated}
    if not chosen or generated.intersection(chosen[0]["columns"]):
        return ()
    return tuple(chosen[0]["columns"])


def records(connection: Db, query: str, parameters: Any = None) -> Records:
    """Read rows as dictionaries."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()


def _reading(site: Site) -> Db:
    """Open a transaction in which all queries see one catalogue; closing it ends it."""
    connection = connect(site, autocommit=False)
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    return connection


def _columns(connection: Db, leaves: Sequence[Relation]) -> Mapping[int, tuple[Column, ...]]:
    # attgenerated came with version 12.
    generated = "a.attgenerated <> ''" if connection.info.server_version >= 120000 else "false"
    found: dict[int, list[Column]] = {leaf.oid: [] for leaf in leaves}
    query = COLUMNS.format(generated=generated)
    rows = records(connection, query, ([leaf.oid for leaf in leaves],))
    made = made_of(connection, {row["type"] for row in rows})
    for row in rows:
        found[row.pop("oid")].append(Column(made_of=made.get(row.pop("type"), ""), **row))
    return {oid: tuple(columns) for oid, columns in found.items()}


def _estimated_rows(size: Mapping[str, Any]) -> int:
    if size["tuples"] > 0 and size["pages"] > 0:
        return int(size["tuples"] / size["pages"] * size["heap_bytes"] / size["page_bytes"])
    return int(size["heap_bytes"] // (ROW_OVERHEAD_BYTES + size["width"]))
