"""Checks of what is selected on an Oracle side: what is left out, copied slowly, fenced, or written back with care."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from bowline_worker.contract import Finding
from bowline_worker.endpoints.oracle import naming
from bowline_worker.endpoints.oracle.fence import IS_KEPT, IS_LIVE
from bowline_worker.endpoints.oracle.hidden import hidden
from bowline_worker.endpoints.oracle.looking import GRANTS, Look, listed
from bowline_worker.endpoints.oracle.triggers import PREFIX, Standing, standing

#: What a copy is assumed to do in a second, for the estimate of how long the undo must reach back. Both are low.
COPY_BYTES: Final = 20 << 20
COPY_ROWS: Final = 20_000
#: Character sets in which a character is one byte, so that bytes and characters are counted alike.
_MULTIBYTE: Final = frozenset(("AL32UTF8", "UTF8"))

#: By what it is: its query, and what becomes of it. Those of the second group would be left behind in silence.
LEFT_OUT: Final[Mapping[str, tuple[str, str]]] = {
    "Temporary": (
        "select t.owner, t.table_name from all_tables t where t.temporary = 'Y'",
        "is a temporary table: its rows are its sessions' own",
    ),
    "External": (
        "select e.owner, e.table_name from all_external_tables e",
        "is an external table: its rows are not in this database",
    ),
    "MaterializedView": (
        "select m.owner, m.container_name as table_name from all_mviews m",
        "is a materialized view: it is refreshed, not copied",
    ),
}
NOT_CARRIED: Final[Mapping[str, str]] = {
    "is an object table": "select o.owner, o.table_name from all_object_tables o",
    "is a table of XMLTYPE": "select x.owner, x.table_name from all_xml_tables x",
}
_OF_APPLICATIONS: Final = (
    "select found.owner, found.table_name from ({query}) found"
    " where found.owner in (select u.username from all_users u where u.oracle_maintained = 'N')"
    " order by found.owner, found.table_name"
)
NO_STATISTICS: Final = """
select t.owner, t.table_name from all_tables t where t.num_rows is null and t.owner in ({owners})"""
UNDO: Final = "select p.value from v$parameter p where p.name = 'undo_retention'"
CHARSET: Final = """
select n.value from nls_database_parameters n where n.parameter = 'NLS_CHARACTERSET'"""
TRIGGERS: Final = """
select t.table_owner as owner, t.table_name, t.owner as trigger_owner, t.trigger_name from all_triggers t
where t.status = 'ENABLED' and trim(t.base_object_type) = 'TABLE' and t.table_owner in ({owners})"""
DDL_TRIGGERS: Final = """
select t.owner, t.trigger_name from all_triggers t
where t.status = 'ENABLED' and trim(t.base_object_type) in ('DATABASE', 'SCHEMA')
  and (t.triggering_event like '%DDL%' or t.triggering_event like '%ALTER%'
       or t.triggering_event like '%CREATE%')"""
BY_REFERENCE: Final = """
select p.owner, p.table_name from all_part_tables p
where p.partitioning_type = 'REFERENCE' and p.owner in ({owners})"""
WITHOUT_LOCKS: Final = """
select t.owner, t.table_name from all_tables t where t.table_lock = 'DISABLED' and t.owner in ({owners})"""


def selected(look: Look) -> Iterator[Finding]:
    if not look.tables:
        patterns = ", ".join(look.site.config.include)
        yield look.error(
            "NoTables",
            f"no table is selected by {patterns}",
            "correct spec.tables; an Oracle name that nobody quoted is lower case there, of the form schema.table",
        )


def left_out(look: Look) -> Iterator[Finding]:
    """Tables that the spec names, and that have no rows to be migrated."""
    for reason, (query, then) in LEFT_OUT.items():
        for name in _wanted(look, query):
            yield look.note(reason, f"{name} {then}", about=name)
    for what, query in NOT_CARRIED.items():
        for name in _wanted(look, query):
            yield look.error(
                "UnsupportedTable",
                f"{name} {what}: it is not carried",
                "exclude it in spec.tables, and take its rows along by other means",
                about=name,
            )


def hidden_tables(look: Look) -> Iterator[Finding]:
    """Tables that the spec names, and that the user can't see: they would be left behind in silence."""
    if names := hidden(look.site, look.db):
        yield look.error(
            "TableHidden",
            f"user {look.user} does not see {len(names)} tables that spec.tables names; first: {names[0]}",
            f"{GRANTS}; or exclude them",
            about=names[0],
        )


def _wanted(look: Look, query: str) -> list[str]:
    places = look.wanted(_OF_APPLICATIONS.format(query=query))
    return [str(naming.neutral_table(*place)) for place in places]


def undo(look: Look) -> Iterator[Finding]:
    """All tables are read as of one SCN: the undo must reach back to it until the last of them is copied."""
    if not look.is_source or look.has_begun:
        return
    size = sum(one.table.estimated_bytes for one in look.tables)
    rows = sum(one.table.estimated_rows for one in look.tables)
    seconds = max(size // COPY_BYTES, rows // COPY_ROWS)
    retention = int(look.value(UNDO) or 0)
    if seconds > retention:
        yield look.warning(
            "UndoRetention",
            f"the copy may take {seconds} s ({size >> 20} MiB and {rows} rows as estimated, LOBs not counted, at"
            f" {COPY_BYTES >> 20} MiB/s or {COPY_ROWS} rows/s), and undo_retention is {retention} s: it would start"
            " again at a new SCN",
            f"alter system set undo_retention = {2 * seconds}, with an undo tablespace that holds as much",
        )
    without = [table for table, _ in look.of_selected(NO_STATISTICS)]
    if without:
        yield look.note(
            "NoStatistics",
            f"{len(without)} tables have no statistics, so that nobody knows how long their copy takes:"
            f" {listed(without)}",
            "dbms_stats.gather_schema_stats",
        )


def identities(look: Look) -> Iterator[Finding]:
    for table in look.tables if look.is_origin else ():
        names = [name for name, kind in table.kinds.items() if kind.column.identity]
        if names:
            yield look.warning(
                "IdentityColumn",
                f"{table.table.name} has the identity column {names[0]}: Oracle's manual says that LogMiner does not"
                " support such tables, and yet it tells their changes",
                "compare both sides while it streams: spec.verify.request",
                about=str(table.table.name),
            )


def byte_lengths(look: Look) -> Iterator[Finding]:
    if not look.is_receiver or look.value(CHARSET) not in _MULTIBYTE:
        return
    for table in look.tables:
        names = [name for name, kind in table.kinds.items() if kind.column.char_used == "B"]
        if names:
            yield look.warning(
                "ByteLengths",
                f"{len(names)} columns of {table.table.name} are limited in bytes, on the other side in characters"
                f" ({', '.join(names[:3])}): text with other letters than English ones may not fit on the way back",
                "alter table ... modify (... char)",
                about=str(table.table.name),
            )


def triggers(look: Look) -> Iterator[Finding]:
    """Ours are left out: they are the fence's, and let the migration pass."""
    for table, row in look.of_selected(TRIGGERS) if look.is_receiver else ():
        if not row["TRIGGER_NAME"].startswith(PREFIX):
            yield look.note(
                "Trigger",
                f"trigger {row['TRIGGER_OWNER']}.{row['TRIGGER_NAME']} of {table.table.name} is disabled while rows"
                " come back: what it writes to other tables comes with them only where those are selected too",
                "select the tables that it writes to",
                about=str(table.table.name),
            )
    for row in look.rows(DDL_TRIGGERS):
        yield look.note(
            "DdlTrigger",
            f"trigger {row['OWNER']}.{row['TRIGGER_NAME']} fires for DDL: it may refuse what the migration does",
            "let it pass the migration's user",
            about=f"{row['OWNER']}.{row['TRIGGER_NAME']}",
        )


def taken(look: Look) -> Iterator[Finding]:
    """Tables of a migration that is under way, as the fence's own making would find; a completed one leaves them."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for here in standing(look.db):
        table = look.by_place.get((here.table_owner, here.table_name))
        if table is not None and here.migration and not _is_ours(look, here):
            found[here.owner, here.migration].append(str(table.table.name))
    for (owner, migration), names in sorted(found.items()):
        yield look.error(
            "TableTaken",
            f"{len(names)} selected tables belong to migration {migration}; first: {names[0]}",
            f"complete that migration first, or exclude the tables; if it is gone, drop triggers {owner}.{PREFIX}...",
            about=migration,
        )


def kept_fences(look: Look) -> Iterator[Finding]:
    """A database that a completed migration left fenced takes no writes, on purpose: to prepare it anew opens it."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for here in standing(look.db):
        table = look.by_place.get((here.table_owner, here.table_name))
        is_other = here.owner == look.user and here.migration not in ("", look.site.migration)
        if (
            table is not None
            and is_other
            and here.enabled
            and look.rows(IS_KEPT, migration=here.migration)
        ):
            found[here.migration].append(str(table.table.name))
    for migration, names in sorted(found.items()):
        yield look.error(
            "FenceKept",
            f"{len(names)} selected tables refuse writes since migration {migration} was completed, and would take"
            f" them again; first: {names[0]}",
            "accept this if applications may write here, or exclude the tables",
            about=migration,
        )


def _is_ours(look: Look, here: Standing) -> bool:
    """Tell whether this migration may take it: of another user's nothing is known but the trigger."""
    if here.owner != look.user:
        return False
    is_own = here.migration == look.site.migration
    return is_own or not look.rows(IS_LIVE, migration=here.migration)


def by_reference(look: Look) -> Iterator[Finding]:
    """Their foreign keys can't be disabled while rows come back: a deleted parent would take its children with it."""
    for table, _ in look.of_selected(BY_REFERENCE):
        yield look.error(
            "ReferencePartitions",
            f"{table.table.name} is partitioned by reference: its foreign key can't be disabled while rows come back",
            "exclude it, or partition it another way",
            about=str(table.table.name),
        )


def table_locks(look: Look) -> Iterator[Finding]:
    for table, _ in look.of_selected(WITHOUT_LOCKS):
        yield look.error(
            "FenceImpossible",
            f"{table.table.name} has its table locks disabled: a fence needs them",
            "alter table ... enable table lock",
            about=str(table.table.name),
        )


CHECKS = (
    selected,
    left_out,
    hidden_tables,
    undo,
    identities,
    byte_lengths,
    triggers,
    taken,
    kept_fences,
    by_reference,
    table_locks,
)
