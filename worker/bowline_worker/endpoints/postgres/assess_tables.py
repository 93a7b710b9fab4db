"""Checks of what is selected: what can't be streamed, copied or fenced as it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from bowline_worker.contract import Finding
from bowline_worker.endpoints.postgres import fence, identity
from bowline_worker.endpoints.postgres.catalog import OWN_SCHEMAS, read_tables, select
from bowline_worker.endpoints.postgres.connection import quote
from bowline_worker.endpoints.postgres.flavour import flavour_of
from bowline_worker.endpoints.postgres.looking import Look

NOT_OWNED = """
select r.rolname::text as owner, count(*) as tables
from pg_class c join pg_roles r on r.oid = c.relowner
where c.oid = any (%s::oid[]) and not pg_has_role(session_user, r.oid, 'usage')
group by 1 order by 1"""
RELATIVES = """
select distinct c.oid::int8 as oid from pg_class c join pg_inherits i on c.oid in (i.inhrelid, i.inhparent)
where c.oid = any (%s::oid[]) and c.relkind = 'r' and not c.relispartition"""
HIDING = """
select c.oid::int8 as oid from pg_class c
where c.oid = any (%s::oid[]) and c.relrowsecurity and row_security_active(c.oid)"""
NEIGHBOURS = """
select n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('f', 'm') and n.nspname = any (%s) and n.nspname <> all (%s) order by 1, 2"""
ALWAYS = """
select t.tgrelid::int8 as oid, t.tgname::text as name, 'trigger' as kind from pg_trigger t
where t.tgrelid = any (%(oids)s::oid[]) and not t.tgisinternal and t.tgenabled in ('A', 'R')
  and t.tgfoid is distinct from to_regprocedure('bowline.fence()')
union all
select r.ev_class::int8, r.rulename::text, 'rule' from pg_rewrite r
where r.ev_class = any (%(oids)s::oid[]) and r.ev_enabled in ('A', 'R')
order by 1, 2"""
#: How many large objects a finding names; a database may have millions.
SHOWN = 3
LARGE_OBJECTS = f"""
select l.oid::int8 as oid, pg_get_userbyid(l.lomowner)::text as owner
from pg_largeobject_metadata l order by 1 limit {SHOWN + 1}"""
#: `lo` is a domain that the extension of that name makes.
POINTING = """
select n.nspname::text as schema, c.relname::text as name, a.attname::text as column
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
join pg_type t on t.oid = a.atttypid
where a.attrelid = any (%s::oid[]) and a.attnum > 0 and not a.attisdropped
  and (t.oid = 'oid'::regtype or t.typname = 'lo' and t.typbasetype = 'oid'::regtype)
order by 1, 2, 3"""
#: What an earlier run of this migration left: the schema it made, or rows it copied.
OURS = """
select count(*) from (
    select migration from bowline.statement union all select migration from bowline.copied
) done where migration = %s"""


def selected(look: Look) -> Iterator[Finding]:
    if look.selection.leaves or not (look.is_source or look.site.config.existing_schema):
        return
    patterns = ", ".join(look.site.config.include)
    yield look.error(
        "NoTables",
        f"no table is selected by {patterns}",
        "correct spec.tables; names are case-sensitive, of the form schema.table",
    )


def owners(look: Look) -> Iterator[Finding]:
    for row in look.rows(NOT_OWNED, ([relation.oid for relation in look.selection.fenced],)):
        yield look.error(
            "NotOwner",
            f"role {look.user} is not a member of {row['owner']}, which owns {row['tables']} tables",
            f"grant {quote(row['owner'])} to {quote(look.user)}",
            about=row["owner"],
        )


def owners_there(look: Look) -> Iterator[Finding]:
    if look.other is None or look.is_source or look.site.config.existing_schema:
        return
    wanted = {leaf.owner for leaf in select(look.other, look.site.config).leaves}
    known = {row["name"] for row in look.rows("select rolname::text as name from pg_roles")}
    for owner in sorted(wanted - known):
        yield look.warning(
            "OwnerMissing",
            f"role {owner} owns tables of the source and is not on the target",
            f"create role {quote(owner)}; otherwise the migration's user owns them",
            about=owner,
        )


def keys(look: Look) -> Iterator[Finding]:
    if not look.is_source:
        return
    for name in identity.unpublishable(look.db, look.site.config):
        yield look.error(
            "GeneratedWithoutKey",
            f"once published, {name} would refuse updates: all its columns identify a row,"
            " generated ones too",
            "add a primary key, set replica identity to default, or exclude the table",
            about=name,
        )
    for table in read_tables(look.db, look.site.config):
        if not table.key:
            yield look.note(
                "NoKey",
                f"{table.name} has no usable primary key: all its columns identify a row, which is slow",
                "add a primary key that is not deferrable",
                about=str(table.name),
            )


def no_way_back(look: Look) -> Iterator[Finding]:
    """Tables that could be copied here, and of whose rows no stream from here would tell."""
    if not look.is_origin:
        return
    tables = identity.unstreamable(look.db, look.site.config)
    if not look.is_source and not look.site.config.existing_schema and look.other is not None:
        # The tables are not here yet: they will be as they are there.
        is_blind = not flavour_of(look.db).streams_keyless
        found = read_tables(look.other, look.site.config) if is_blind else ()
        tables = [str(table.name) for table in found if not table.key]
    for name in tables:
        yield look.error(
            "KeylessUnstreamable",
            f"{name} has no primary key: no stream from this server tells of its rows,"
            " and no fall-back is possible",
            "add a primary key, exclude it, or set spec.cutover.fallback: false",
            about=name,
        )


def unlogged(look: Look) -> Iterator[Finding]:
    for leaf in look.selection.leaves if look.is_source else ():
        if leaf.persistence == "u":
            yield look.warning(
                "Unlogged",
                f"{leaf.table} is unlogged: it is copied once, and its changes are not streamed",
                "exclude it, or alter table ... set logged",
                about=str(leaf.table),
            )


def large_objects(look: Look) -> Iterator[Finding]:
    if not look.is_source:
        return
    found = look.rows(LARGE_OBJECTS)
    if not found:
        return
    named = ", ".join(f"{row['oid']} of {row['owner']}" for row in found[:SHOWN])
    more = " and others" if len(found) > SHOWN else ""
    columns = look.rows(POINTING, ([leaf.oid for leaf in look.selection.leaves],))
    pointing = ", ".join(f"{row['schema']}.{row['name']}.{row['column']}" for row in columns)
    yield look.acceptable(
        "LargeObjects",
        f"large objects are not migrated: {named}{more}"
        + (f"; columns that may point to them: {pointing}" if pointing else ""),
        "keep their content in bytea columns, or copy them by hand",
    )


def inheritance(look: Look) -> Iterator[Finding]:
    by_oid = {leaf.oid: leaf for leaf in look.selection.leaves}
    for row in look.rows(RELATIVES, (list(by_oid),)) if look.is_source else ():
        name = str(by_oid[row["oid"]].table)
        yield look.warning(
            "Inheritance",
            f"{name} takes part in inheritance: each table is migrated for itself",
            about=name,
        )


def neighbours(look: Look) -> Iterator[Finding]:
    if not look.is_source:
        return
    schemas = sorted({relation.schema for relation in look.selection.fenced})
    for row in look.rows(NEIGHBOURS, (schemas, list(OWN_SCHEMAS))):
        what, then = (
            ("ForeignTable", "is a foreign table: its rows are not in this database")
            if row["kind"] == "f"
            else ("MaterializedView", "is a materialized view: it is refreshed, not copied")
        )
        name = f"{row['schema']}.{row['name']}"
        yield look.note(what, f"{name} {then}", about=name)
    for relation in look.selection.by_oid.values():
        if relation.of_extension and relation.is_leaf and look.selection.is_selected(relation):
            yield look.note(
                "ExtensionTable",
                f"{relation.table} belongs to an extension: its rows are not migrated",
                about=str(relation.table),
            )


def hidden_rows(look: Look) -> Iterator[Finding]:
    by_oid = {leaf.oid: leaf for leaf in look.selection.leaves}
    for row in look.rows(HIDING, (list(by_oid),)):
        name = str(by_oid[row["oid"]].table)
        yield look.error(
            "RowSecurity",
            f"row security of {name} hides rows from role {look.user}",
            f"alter role {quote(look.user)} bypassrls",
            about=name,
        )


def parents(look: Look) -> Iterator[Finding]:
    if not look.is_source:
        return
    for relation in look.selection.fenced:
        if not look.selection.is_selected(relation):
            yield look.warning(
                "FenceCoversMore",
                f"{relation.table} is not selected, but selected tables are written through it:"
                " the fence will stop all writes to it",
                "select all of a partitioned table, or none",
                about=str(relation.table),
            )


def replica_triggers(look: Look) -> Iterator[Finding]:
    # The source's go with its schema to the target, which has no table yet that could be looked at.
    if not look.is_receiver and look.site.config.existing_schema:
        return
    by_oid = {relation.oid: relation for relation in look.selection.fenced}
    for row in look.rows(ALWAYS, {"oids": list(by_oid)}):
        # What it writes to a migrated table is streamed as well: there it would be twice.
        yield look.acceptable(
            "FiresForReplicatedRows",
            f"{row['kind']} {row['name']} of {by_oid[row['oid']].table} fires for rows that are streamed too",
            f"alter table ... enable {row['kind']} {quote(row['name'])}",
            about=str(by_oid[row["oid"]].table),
        )


def fence_left(look: Look) -> Iterator[Finding]:
    if not look.is_source or look.has_begun:
        return
    found: defaultdict[str, int] = defaultdict(int)
    oids = {relation.oid for relation in look.selection.fenced}
    for here in fence.standing(look.db).values():
        if here.oid in oids and not here.is_lowered:
            found[here.migration] += 1
    for migration, tables in sorted(found.items()):
        yield look.error(
            "FenceLeft",
            f"the source is fenced by migration {migration}: {tables} tables refuse writes",
            "if that migration is complete: drop schema bowline cascade",
            about=migration,
        )


def empty_target(look: Look) -> Iterator[Finding]:
    if look.is_source or not look.selection.leaves:
        return
    if look.has_begun and look.value(OURS, look.site.migration):
        return
    if not look.site.config.existing_schema:
        first = look.selection.leaves[0].table
        yield look.error(
            "TargetNotEmpty",
            f"{len(look.selection.leaves)} selected tables are on the target already; first: {first}",
            "drop them, or set spec.schema.mode: Existing",
            about=str(first),
        )
        return
    for leaf in look.selection.leaves:
        if look.value(f"select exists (select from only {leaf.quoted})"):
            yield look.error(
                "TargetNotEmpty", f"{leaf.table} has rows", "truncate it", about=str(leaf.table)
            )


CHECKS = (
    selected,
    owners,
    owners_there,
    keys,
    no_way_back,
    unlogged,
    large_objects,
    inheritance,
    neighbours,
    hidden_rows,
    parents,
    replica_triggers,
    fence_left,
    empty_target,
)
