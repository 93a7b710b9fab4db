"""Sequences of the selected tables and their schemas: they only ever move on, each in its own direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.base import SequenceState
from bowline_worker.endpoints.postgres.catalog import OWN_SCHEMAS, Db, Records, records, select
from bowline_worker.endpoints.postgres.connection import quote
from bowline_worker.endpoints.site import Site
from bowline_worker.model import TableName

ALL = """
select c.oid::int8 as oid, n.nspname::text as schema, c.relname::text as name,
       s.seqincrement as increment, s.seqmin as lowest, s.seqmax as highest
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
where c.relpersistence <> 't' and n.nspname <> all (%(own)s)
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass
                  and d.objid = c.oid and d.deptype = 'e')"""
#: Those of selected tables (owned, of an identity column, or in a default), and those of nobody in their schemas.
SELECTED = (
    ALL
    + """
  and (exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid
               and d.refclassid = 'pg_class'::regclass and d.refobjid = any (%(tables)s::oid[])
               and d.deptype in ('a', 'i'))
       or exists (select from pg_depend d join pg_attrdef f on f.oid = d.objid
                  where d.classid = 'pg_attrdef'::regclass and f.adrelid = any (%(tables)s::oid[])
                  and d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid)
       or n.nspname = any (%(schemas)s)
          and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass
                          and d.objid = c.oid and d.refclassid = 'pg_class'::regclass
                          and d.deptype in ('a', 'i')))
order by n.nspname, c.relname"""
)


def read(site: Site, connection: Db) -> Mapping[TableName, SequenceState]:
    """Tell how far each sequence has come, values that sessions hold in their caches included."""
    selected = select(connection, site.config).fenced
    found = records(
        connection,
        SELECTED,
        {
            "own": list(OWN_SCHEMAS),
            "tables": [relation.oid for relation in selected],
            "schemas": sorted({relation.schema for relation in selected}),
        },
    )
    return {
        TableName(row["schema"], row["name"]): SequenceState(row["last"], row["increment"])
        for row in _with_values(connection, found)
    }


def raise_to(connection: Db, states: Mapping[TableName, SequenceState]) -> None:
    """Move each sequence on to that value; one that is as far or further stays.

    setval belongs to no transaction: what an aborted switch has moved stays moved, which harms nobody.
    """
    found = records(connection, ALL, {"own": list(OWN_SCHEMAS)})
    here = {TableName(row["schema"], row["name"]): row for row in found}
    if gone := sorted(str(name) for name in states if name not in here):
        raise Unsupported(
            f"sequences that the other side has are missing here: {', '.join(gone)}",
            reason="SequenceMissing",
            hint="create them",
        )
    for row in _with_values(connection, [here[name] for name in states]):
        name = TableName(row["schema"], row["name"])
        _raise_one(connection, name, row, states[name])


def _raise_one(
    connection: Db, name: TableName, row: Mapping[str, Any], wanted: SequenceState
) -> None:
    if (row["increment"] > 0) != (wanted.increment > 0):
        raise Unsupported(
            f"sequence {name} counts by {row['increment']} here and by {wanted.increment} there",
            reason="SequenceDiffers",
            hint="let both count in one direction",
        )
    direction = 1 if row["increment"] > 0 else -1
    if direction * wanted.last <= direction * row["last"]:
        return
    if direction * wanted.last > direction * (row["highest"] if direction > 0 else row["lowest"]):
        raise Unsupported(
            f"sequence {name} ends at {row['highest' if direction > 0 else 'lowest']} here"
            f" and stands at {wanted.last} there",
            reason="SequenceDiffers",
            hint="give it the same limits on both sides",
        )
    # A sequence that was set, and not used, stands one step before its first value: maybe
    # before its limit, where setval can't put it.
    is_called = row["lowest"] <= wanted.last <= row["highest"]
    value = wanted.last if is_called else (row["lowest"] if direction > 0 else row["highest"])
    connection.execute(
        b"select setval(%s::regclass, %s, %s)", (quote(name.schema, name.name), value, is_called)
    )


def _with_values(connection: Db, found: Records) -> Records:
    """Add `last` to the rows: the newest value that may have been given out."""
    if not found:
        return []
    # The relation has what pg_sequences hides: where an unused sequence was set to.
    values = " union all ".join(
        f"select {int(row['oid'])}::int8 as oid, last_value, is_called"
        f" from {quote(row['schema'], row['name'])}"
        for row in found
    )
    last = {row["oid"]: row for row in records(connection, values)}
    return [
        {
            **row,
            "last": last[row["oid"]]["last_value"]
            - (0 if last[row["oid"]]["is_called"] else row["increment"]),
        }
        for row in found
    ]
