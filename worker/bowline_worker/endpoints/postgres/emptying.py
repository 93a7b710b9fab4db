"""Emptying the tables of a target that was not empty, where the spec asks for it.

Once in a migration's life: the mark commits with the deletion, under the lock of the switch row, before a chunk is
entered or a slot is made. Whoever comes again, or second, finds the mark; rows that appear after it are refused by the
snapshot's ledger, as without this.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from psycopg import errors

from bowline_worker.contract import TryAgain, Unsupported
from bowline_worker.endpoints.postgres import books, fence, locks, made
from bowline_worker.endpoints.postgres.catalog import Db, Relation, Selection, records, select
from bowline_worker.endpoints.site import Site

MARK = "emptied"
ENTER = """
insert into bowline.mark (migration, mark) values (%s, %s) on conflict do nothing returning true"""
BEGUN = "select exists (select from bowline.copied where migration = %s) as begun"

#: A truncation would refuse, or leave their rows without what they refer to.
REFERRERS = """
select distinct r.oid::regclass::text as referrer, k.conname::text as name, k.confrelid::int8 as oid
from pg_constraint k join pg_class r on r.oid = k.conrelid
where k.contype = 'f' and k.confrelid = any (%(oids)s::oid[]) and k.conrelid <> all (%(oids)s::oid[])
order by 1, 2"""
WRITERS = """
select distinct l.relation::int8 as oid, l.pid from pg_locks l
where l.database = (select oid from pg_database where datname = current_database())
  and l.granted and l.pid is distinct from pg_backend_pid() and l.relation = any (%(oids)s::oid[])
  and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  and not exists (select from pg_stat_activity a where a.pid = l.pid
                  and (a.backend_type = 'autovacuum worker' or a.usename = session_user))
order by 1, 2"""
#: Those that are under way: one that is Complete left at most a fence, to whoever comes.
OTHERS = "select migration from bowline.switch where migration <> %s"

log = logging.getLogger("bowline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a table must not be emptied."""

    reason: str
    message: str
    remedy: str
    about: str


def with_rows(db: Db, selection: Selection) -> list[Relation]:
    """The selected tables that are not empty, by name."""
    found = []
    for leaf in selection.leaves:
        query = f"select exists (select from only {leaf.quoted})"
        if db.execute(query.encode()).fetchone() == (True,):
            found.append(leaf)
    return found


def obstacles(site: Site, db: Db, selection: Selection) -> Iterator[Obstacle]:
    """Signs that others have a share in the rows of the selected tables; reads only."""
    by_oid = {relation.oid: relation for relation in selection.fenced}
    for row in records(db, REFERRERS, {"oids": list(by_oid)}):
        name = str(by_oid[row["oid"]].table)
        yield Obstacle(
            reason="ReferencedByOthers",
            message=f"{name} can't be emptied: foreign key {row['name']} of {row['referrer']},"
            " which is not selected, refers to it",
            remedy="select that table too, or drop the foreign key",
            about=name,
        )
    for row in records(db, WRITERS, {"oids": list(by_oid)}):
        name = str(by_oid[row["oid"]].table)
        yield Obstacle(
            reason="TargetInUse",
            message=f"{name} can't be emptied: session {row['pid']} writes to it",
            remedy="end whatever writes to the target, and see that it is the right database",
            about=name,
        )
    for migration, name in sorted(_taken(site, db, selection)):
        yield Obstacle(
            reason="TableTaken",
            message=f"{name} can't be emptied: it belongs to migration {migration} too",
            remedy="complete that migration first, or exclude the table from this one",
            about=name,
        )


def _taken(site: Site, db: Db, selection: Selection) -> Iterator[tuple[str, str]]:
    """Tables that another migration, which is under way, has fenced (as it does wherever it streams from or to)."""
    if not made.is_installed(db):
        return
    others = {row["migration"] for row in records(db, OTHERS, (site.migration,))}
    by_oid = {relation.oid: relation for relation in selection.fenced}
    for oid, here in fence.standing(db).items():
        if oid in by_oid and here.migration in others:
            yield here.migration, str(by_oid[oid].table)


def empty(site: Site) -> list[str]:
    """See base.Endpoint."""
    emptied: list[str] = []
    locks.gently(site, "could not empty the target's tables", partial(_empty, site, emptied))
    if emptied:
        log.warning("emptied the target's tables", extra={"fields": {"tables": emptied}})
    return emptied


def _empty(site: Site, emptied: list[str], db: Db) -> None:
    emptied.clear()
    row = books.PostgresBooks(site, db).switch()
    if row.attempt or row.opened or _enter(site, db) is False:
        return
    if not row.fenced or (open_tables := fence.gaps(site, db)):
        what = f": {open_tables[0]}" if row.fenced else ""
        raise TryAgain(
            f"{site.side}: its tables are not emptied while applications can write to them{what}",
            reason="FenceIncomplete",
        )
    selection = select(db, site.config)
    if selection.leaves:
        names = ", ".join(f"only {leaf.quoted}" for leaf in selection.leaves)
        db.execute(f"lock table {names} in access exclusive mode".encode())
    for found in obstacles(site, db, selection):
        raise Unsupported(f"{site.side}: {found.message}", reason=found.reason, hint=found.remedy)
    full = with_rows(db, selection)
    if full:
        _delete(db, full)
    emptied += (str(leaf.table) for leaf in full)


def _enter(site: Site, db: Db) -> bool:
    """Mark it as done, once; False where it was, or where this migration has begun to copy."""
    db.execute(b"set local synchronous_commit = on")
    (copied,) = records(db, BEGUN, (site.migration,))
    is_new = db.execute(ENTER.encode(), (site.migration, MARK)).fetchone() is not None
    return is_new and not copied["begun"]


def _delete(db: Db, tables: list[Relation]) -> None:
    """All rows, without what the application's triggers would do for them."""
    db.execute(b"set local session_replication_role = replica")
    try:
        with db.transaction():
            names = ", ".join(f"only {table.quoted}" for table in tables)
            db.execute(f"truncate {names}".encode())
    except errors.FeatureNotSupported:
        # A foreign key refers to one of them from a selected table that is not among them: one that is partitioned,
        # or empty.
        for table in tables:
            db.execute(f"delete from only {table.quoted}".encode())
