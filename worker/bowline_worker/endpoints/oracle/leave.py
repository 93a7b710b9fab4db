"""Leave: remove everything that was made in a database, each note after its object, and say what stays on purpose."""

from __future__ import annotations

from contextlib import closing
from typing import Final

import oracledb

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import Role, TryAgain
from bowline_worker.endpoints.oracle import (
    disabling,
    fence,
    made,
    sequences,
    sessions,
    slots,
    supplemental,
)
from bowline_worker.endpoints.oracle.altering import BUSY, Altering
from bowline_worker.endpoints.oracle.connection import (
    application_name,
    code_of,
    quote,
    translated,
)
from bowline_worker.endpoints.oracle.tables import durably
from bowline_worker.endpoints.oracle.triggers import own_user
from bowline_worker.endpoints.oracle.validate import validate
from bowline_worker.endpoints.site import Site, read_credentials

#: Above the number of any slot.
ALL_SLOTS: Final = 1 << 31

#: What a fence that stays needs: its flag, its gate, and the notes by which a later migration knows whose it was.
FENCE_TABLES: Final = ("BOWLINE_GATE", "BOWLINE_SWITCH", "BOWLINE_MADE")
#: In the order in which they go.
TABLES: Final = (
    "BOWLINE_VIEW", "BOWLINE_SLOT", "BOWLINE_SIGNAL", "BOWLINE_HEARTBEAT", "BOWLINE_LANE", *FENCE_TABLES
)  # fmt: skip

FOUND: Final = r"""
select t.table_name from user_tables t where t.table_name like 'BOWLINE\_%' escape '\'"""
#: All that is told of the migration but whether its fence is raised.
RESET: Final = """
update bowline_switch set attempt = 0, verdict = null, aborted = null, opened = 0, fenced = raised, fenced_at = null,
       committed_at = null, opened_at = null, reason = null, cutover_pid = null, cutover_started = null
where migration = :migration"""
#: What can't be validated is to be told by whoever ends this: its notes are the last to go.
KEEP_NOTES: Final = f"""
delete from bowline_made where migration = :migration
    and kind not in ('{fence.KIND}', '{fence.LEFT}', '{disabling.Kind.VALIDATE}')"""
FORGET_NOTES: Final = f"""
delete from bowline_made where migration = :migration and kind != '{disabling.Kind.VALIDATE}'"""
FORGET_THE_LAST: Final = f"""
delete from bowline_made where migration = :migration and kind = '{disabling.Kind.VALIDATE}'"""
DELETE: Final = "delete from {table} where migration = :migration"
#: Migrations that are not over.
IS_USED: Final = f"""
select 1 from bowline_switch s where not exists
(select 1 from bowline_made m where m.migration = s.migration and m.kind = '{fence.LEFT}')"""
IS_FENCED: Final = "select 1 from bowline_switch"
ALONE: Final = "lock table bowline_switch in exclusive mode wait 10"

_GONE: Final = frozenset(("ORA-00942",))


def cleanup(site: Site, *, keep_fence: bool) -> list[str]:
    """Remove what this migration made here; with `keep_fence` its triggers, and what they need, stay.

    Killed at any instant and run again, it goes on. The bookkeeping goes last.
    """
    slots.disarm(site, ALL_SLOTS)
    with translated(site, "could not clean up"), Altering(site) as ddl:
        there = _tables(ddl.connection)
        noted = made.read(ddl.connection, site)
    unvalidated: list[str] = []
    if "BOWLINE_LANE" in there:
        _end_lanes(site)
    if "BOWLINE_MADE" in there:
        sequences.repair(site)
        with Altering(site) as ddl:
            disabling.restore(site, ddl.connection)
            for thing in noted:
                if thing.kind == supplemental.KIND:
                    supplemental.drop(ddl, thing)
        unvalidated = validate(site)
        is_kept = keep_fence and _keep_fence(site)
    else:
        is_kept = False
    if not is_kept:
        fence.drop(site)
    with translated(site, "could not remove the bookkeeping"):
        _forget(site, is_kept=is_kept)
        _remove_tables(site)
        _forget_the_last(site)
        left = [_fence_left(site)] if is_kept else []
    return [*unvalidated, *left, _user_left(site)]


def _end_lanes(site: Site) -> None:
    """Let no lane write any more: one whose process nobody sees would meet what is enabled again, or disable it."""
    with (
        translated(site, "could not end the lanes"),
        closing(durably(site)) as connection,
        connection.cursor() as cursor,
    ):
        sessions.end_sessions(connection, application_name(site, Role.APPLY))
        cursor.execute(DELETE.format(table="bowline_lane"), {"migration": site.migration})
        connection.commit()


def _keep_fence(site: Site) -> bool:
    """Note that what stands, stands for good; False where nothing does."""
    with translated(site, "could not read the fence"), Altering(site) as ddl:
        if not fence.of_migration(site, ddl.connection):
            return False
        ddl.note(MadeObject(kind=fence.LEFT, name=fence.LEFT))
        return True


def _forget(site: Site, *, is_kept: bool) -> None:
    """Delete this migration's rows, in one transaction: those of a fence that stays are kept, and say nothing else."""
    with closing(durably(site)) as connection, connection.cursor() as cursor:
        for table in (each for each in TABLES if each in _tables(connection)):
            if table == "BOWLINE_GATE":
                continue
            statement = DELETE.format(table=table.lower())
            if is_kept:
                kept = {"BOWLINE_SWITCH": RESET, "BOWLINE_MADE": KEEP_NOTES}
                statement = kept.get(table, statement)
            elif table == "BOWLINE_MADE":
                statement = FORGET_NOTES
            cursor.execute(statement, {"migration": site.migration})
        connection.commit()


def _remove_tables(site: Site) -> None:
    """Drop the tables with the last migration's rows, but for what a fence needs that stays.

    While they go, nobody enters a new migration. Whoever does between the last two steps finds its row gone at its
    next step, and installs again.
    """
    with closing(durably(site)) as connection, Altering(site) as ddl:
        there = _tables(connection)
        kept: tuple[str, ...] = ()
        if "BOWLINE_SWITCH" in there:
            _have_alone(site, connection)
            is_noted = "BOWLINE_MADE" in there
            if made.rows(connection, IS_USED if is_noted else IS_FENCED):
                return
            kept = FENCE_TABLES if made.rows(connection, IS_FENCED) else ()
        for table in (each for each in TABLES if each in there and each not in kept):
            if table == "BOWLINE_SWITCH":
                connection.rollback()
            _drop(ddl, table)


def _forget_the_last(site: Site) -> None:
    with closing(durably(site)) as connection, connection.cursor() as cursor:
        if "BOWLINE_MADE" in _tables(connection):
            cursor.execute(FORGET_THE_LAST, {"migration": site.migration})
            connection.commit()


def _have_alone(site: Site, connection: oracledb.Connection) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(ALONE)
    except oracledb.DatabaseError as error:
        if code_of(error) not in BUSY:
            raise
        raise TryAgain(
            f"{site.side} at {site.place}: another migration is at work in the bookkeeping",
            reason="BookkeepingLocked",
        ) from error


def _drop(ddl: Altering, table: str) -> None:
    ddl.run(f"drop table {table.lower()} purge", f"could not drop {table}", done=_GONE)


def _tables(connection: oracledb.Connection) -> frozenset[str]:
    return frozenset(row["table_name"] for row in made.rows(connection, FOUND))


def _fence_left(site: Site) -> str:
    with closing(durably(site)) as connection:
        standing = fence.of_migration(site, connection)
        user = own_user(connection)
        refusing = sum(here.enabled for here in standing) * fence.is_raised(site, connection)
    flag = quote(user, "BOWLINE_SWITCH")
    migration = site.migration.replace("'", "''")
    return (
        f"{site.side} at {site.place}: the fence: {refusing} of {len(standing)} tables refuse writes;"
        f" `update {flag} set raised = 0 where migration = '{migration}'; commit;` lets them pass,"
        f" `drop user {quote(user)} cascade` removes it"
    )


def _user_left(site: Site) -> str:
    user = read_credentials(site.connection).username
    return (
        f"{site.side} at {site.place}: the user {user}:"
        f" `bowline grants --engine oracle --side {site.side} --user {user} --revoke` prints how to remove it"
    )
