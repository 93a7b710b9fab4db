"""What of a database goes with the selected tables, and what must stay behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from bowline_worker.contract import Unsupported
from bowline_worker.model import TableName

USER_SCHEMA = "n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'bowline')"

#: The selected leaves, and the partitioned tables above them.
KEPT = """
with recursive kept(oid) as (
    select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
        join unnest(%s::text[], %s::text[]) as s(schema, name)
            on (s.schema, s.name) = (n.nspname, c.relname)
    union
    select i.inhparent from pg_inherits i join kept k on k.oid = i.inhrelid
)
select kept.oid::bigint, n.nspname
from kept join pg_class c using (oid) join pg_namespace n on n.oid = c.relnamespace"""

#: From one schema's objects to other schemas' objects that they need: a trigger's function, a column's type.
NEEDED = f"""
with member(classid, objid, schema) as (
    select 'pg_class'::regclass, oid, relnamespace from pg_class
    union all select 'pg_proc'::regclass, oid, pronamespace from pg_proc
    union all select 'pg_type'::regclass, oid, typnamespace from pg_type
    union all select 'pg_attrdef'::regclass, d.oid, relnamespace from pg_attrdef d join pg_class c on c.oid = adrelid
    union all select 'pg_trigger'::regclass, t.oid, relnamespace from pg_trigger t join pg_class c on c.oid = tgrelid
    union all select 'pg_rewrite'::regclass, r.oid, relnamespace from pg_rewrite r join pg_class c on c.oid = ev_class
    union all select 'pg_policy'::regclass, p.oid, relnamespace from pg_policy p join pg_class c on c.oid = polrelid
    union all select 'pg_constraint'::regclass, oid, connamespace from pg_constraint
)
select distinct m.nspname, n.nspname
from pg_depend d
    join member a on (a.classid, a.objid) = (d.classid, d.objid)
    join member b on (b.classid, b.objid) = (d.refclassid, d.refobjid)
    join pg_namespace m on m.oid = a.schema
    join pg_namespace n on n.oid = b.schema
where a.schema <> b.schema and {USER_SCHEMA} and not exists (
    select from pg_depend e where (e.classid, e.objid, e.deptype) = (d.refclassid, d.refobjid, 'e'))"""

#: Tables that are not kept, their sequences, and the views that can't be without them.
EXCLUDED = f"""
with recursive gone(oid) as (
    select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'f') and c.oid <> all(%s::bigint[]::oid[]) and {USER_SCHEMA}
    union
    select coalesce(r.ev_class, s.oid)
    from gone g
        join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = g.oid
        left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid and r.ev_class <> g.oid
        left join pg_class s on d.classid = 'pg_class'::regclass and s.oid = d.objid and s.relkind = 'S'
            and d.deptype in ('a', 'i')
    where coalesce(r.ev_class, s.oid) is not null
)
select n.nspname, c.relname from gone join pg_class c using (oid) join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(%s) order by 1, 2"""

OUTWARD_KEYS = """
select conname, conrelid::regclass::text, confrelid::regclass::text from pg_constraint
where contype = 'f' and conparentid = 0
    and conrelid = any(%s::bigint[]::oid[]) and confrelid <> all(%s::bigint[]::oid[]) order by 2, 1"""

EXTENSIONS = """
select e.extname, n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
where e.extname <> 'plpgsql' order by e.oid"""

UNPOPULATED = """
select quote_ident(n.nspname) || '.' || quote_ident(c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'm' and not c.relispopulated"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    schemas: tuple[str, ...]  #: to dump
    excluded: tuple[tuple[str, str], ...]  #: relations in them that stay behind
    unpopulated: frozenset[
        str
    ]  #: materialized views, quoted, that hold nothing at the source either


def select(connection: psycopg.Connection[Any], tables: Sequence[TableName]) -> Extent:
    """Find what to dump for these tables; Unsupported where a foreign key would point outside."""
    kept = connection.execute(
        KEPT, [[table.schema for table in tables], [table.name for table in tables]]
    ).fetchall()
    oids = [oid for oid, _ in kept]
    outward = connection.execute(OUTWARD_KEYS, [oids, oids]).fetchone()
    if outward is not None:
        key, table, other = outward
        raise Unsupported(
            f"foreign key {key} of {table} points to {other}, which is not selected",
            reason="ReferencedTableMissing",
            hint=f"add {other} to spec.tables.include, or exclude {table}",
        )
    edges = connection.execute(NEEDED.encode()).fetchall()
    schemas = closure({schema for _, schema in kept}, edges)
    excluded = connection.execute(EXCLUDED.encode(), [oids, schemas]).fetchall()
    unpopulated = connection.execute(UNPOPULATED).fetchall()
    return Extent(
        schemas=tuple(schemas),
        excluded=tuple((schema, name) for schema, name in excluded),
        unpopulated=frozenset(name for (name,) in unpopulated),
    )


def closure(schemas: set[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """Add the schemas that are needed, directly or not."""
    needed = set(schemas)
    while more := {b for a, b in edges if a in needed} - needed:
        needed |= more
    return sorted(needed)


def extensions(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """All but plpgsql, with their schemas, in the order of their making."""
    return [(name, schema) for name, schema in connection.execute(EXTENSIONS).fetchall()]
