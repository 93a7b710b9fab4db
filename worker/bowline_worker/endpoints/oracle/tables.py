"""The bookkeeping tables in Oracle, in the schema of the migration's user, and how they come there.

Flags are 0 and 1, times are UTC without a zone, and text may be NULL where it is empty: Oracle has no other ''.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import oracledb

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import Unsafe, Unsupported
from bowline_worker.endpoints.oracle import made as notes
from bowline_worker.endpoints.oracle.connection import code_of, connect, translated
from bowline_worker.endpoints.site import Site

_MIGRATION: Final = "varchar2(255) not null"
_NUMBER: Final = "number(19) default 0 not null"
_FLAG: Final = "number(1) default 0 not null"
_TIME: Final = "timestamp(6)"
_NOW: Final = "timestamp(6) default sys_extract_utc(systimestamp) not null"
_STARTED: Final = "varchar2(200)"

#: One row per migration and side that this database is. `cutover_*`: the session of the cutover role here. `raised` is
#: the fence's own flag, which its triggers read: who puts the row leaves it alone. `raised_at`: when, by the server's
#: own clock, with which LAST_DDL_TIME is told too.
_SWITCH: Final = {
    "migration": _MIGRATION,
    "attempt": _NUMBER,
    "verdict": "varchar2(20)",
    "aborted": "clob",
    "opened": _NUMBER,
    "fenced": _FLAG,
    "raised": _FLAG,
    "raised_at": "date",
    "fenced_at": _TIME,
    "committed_at": _TIME,
    "opened_at": _TIME,
    "reason": "varchar2(4000)",
    "cutover_pid": "number(19)",
    "cutover_started": _STARTED,
}
#: Lane rows of the stream from `origin` into this database.
_LANE: Final = {
    "migration": _MIGRATION,
    "origin": "varchar2(10) not null",
    "lane": "number(19) not null",
    "number_": "number(19) not null",
    "generation": "number(19) not null",
    "block": _NUMBER,
    "passed": _FLAG,
    "retired": _NUMBER,
    "barrier": _NUMBER,
    "probe": _NUMBER,
    "canary": _NUMBER,
    "beat": _NUMBER,
    "events": _NUMBER,
    "discarded": _NUMBER,
    "position": "varchar2(1000)",
    "backend_pid": "number(19)",
    "backend_started": _STARTED,
}
#: Rows that travel with the stream that starts in this database. Inserted once, never changed.
_SIGNAL: Final = {
    "migration": _MIGRATION,
    "kind": "varchar2(30) not null",
    "attempt": "number(19) not null",
    "at": _NOW,
}
#: Travels too. Updated every second by capture.
_HEARTBEAT: Final = {"migration": _MIGRATION, "beat": _NUMBER, "at": _NOW}
#: Everything made in this database, recorded before it is made.
_MADE: Final = {
    "migration": _MIGRATION,
    "kind": "varchar2(30) not null",
    "name": "varchar2(600) not null",
    "before_": "varchar2(4000)",
    "at": _NOW,
}
#: A stream's place in the redo, and who reads it. `orders` is that of the place, which never goes back. `segments`:
#: where the rows of its tables were when that was last found right.
_SLOT: Final = {
    "migration": _MIGRATION,
    "number_": "number(19) not null",
    "place": "clob",
    "segments": "clob",
    "orders": "number(20) default 0 not null",
    "session_pid": "number(19)",
    "session_started": _STARTED,
    "at": _NOW,
}
#: SCNs at which the selected tables can be read.
_VIEW: Final = {
    "migration": _MIGRATION,
    "scn": "number(19) not null",
    "number_": "number(19) not null",
    "at": _NOW,
}
#: Locked as a whole: shared by applications that write, exclusively by whoever raises a fence. It has no rows.
_GATE: Final = {"nothing": "number(1)"}


def _table(name: str, columns: Mapping[str, str], *key: str) -> str:
    listed = [f"{column} {declared}" for column, declared in columns.items()]
    if key:
        listed.append(f"constraint {name}_pk primary key ({', '.join(key)})")
    return f"create table {name} ({', '.join(listed)})"


_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "BOWLINE_SWITCH": _SWITCH,
    "BOWLINE_LANE": _LANE,
    "BOWLINE_SIGNAL": _SIGNAL,
    "BOWLINE_HEARTBEAT": _HEARTBEAT,
    "BOWLINE_MADE": _MADE,
    "BOWLINE_SLOT": _SLOT,
    "BOWLINE_VIEW": _VIEW,
    "BOWLINE_GATE": _GATE,
}
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "BOWLINE_SWITCH": ("migration",),
    "BOWLINE_LANE": ("migration", "origin", "lane"),
    "BOWLINE_SIGNAL": ("migration", "kind", "attempt"),
    "BOWLINE_HEARTBEAT": ("migration",),
    "BOWLINE_MADE": ("migration", "kind", "name"),
    "BOWLINE_SLOT": ("migration", "number_"),
    "BOWLINE_VIEW": ("migration", "scn"),
    "BOWLINE_GATE": (),
}
#: DDL by name, in the order in which the tables are made; unqualified, to be run in the session of their owner.
TABLES: Final[Mapping[str, str]] = {
    name: _table(name.lower(), columns, *_KEYS[name]) for name, columns in _COLUMNS.items()
}
#: Whose rows travel: the redo must have all of their columns.
_TRAVELLING: Final = ("BOWLINE_SIGNAL", "BOWLINE_HEARTBEAT")

#: How a note of the tables themselves is called.
KIND: Final = "bookkeeping"
NAME: Final = "BOWLINE_*"

#: Commits come back when they are on disk, whatever the database's own settings say: what was decided must not be lost.
DURABLY: Final = "alter session set commit_wait = 'WAIT' commit_logging = 'IMMEDIATE'"
#: Several migrations may install at the same time, and others be at work in the tables.
WAITING_SECONDS: Final = 10
WAITING: Final = f"alter session set ddl_lock_timeout = {WAITING_SECONDS}"

FOUND: Final = """
select c.table_name, c.column_name from user_tab_columns c where c.table_name like 'BOWLINE%'"""
LOGGED: Final = """
select g.table_name from user_log_groups g
where g.log_group_type = 'ALL COLUMN LOGGING' and g.table_name like 'BOWLINE%'"""
#: Not by the error alone: an insert that fails is in the redo, and again as it is taken back.
ENTER: Final = """
insert into bowline_switch (migration) select :migration from dual
where not exists (select 1 from bowline_switch where migration = :migration)"""

_NAME_TAKEN: Final = "ORA-00955"
_ALREADY_LOGGED: Final = "ORA-32588"


def install(site: Site) -> None:
    """Make the bookkeeping tables and this migration's switch row; change nothing that is there.

    Any number may do this at the same time. Dying at any instant leaves what is found and completed the next time.
    Unsupported where a table of such a name is another's.
    """
    with (
        translated(site, "could not make the bookkeeping tables"),
        session(site) as connection,
    ):
        _refuse_others(site, connection)
        _make(connection)
        # Another may have made some of them meanwhile, and not as we would.
        _refuse_others(site, connection, complete=True)
        _log_all(connection)
        notes.once(connection, ENTER, migration=site.migration)
        notes.record(connection, site, MadeObject(kind=KIND, name=NAME))
        connection.commit()


def durably(site: Site) -> oracledb.Connection:
    """Open a session whose commits are durable when they return. Whoever opens it commits, and closes it."""
    connection = connect(site)
    try:
        with translated(site, "could not prepare the session"), connection.cursor() as cursor:
            cursor.execute(DURABLY)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def session(site: Site) -> Iterator[oracledb.Connection]:
    """Open such a session and close it, which rolls back what was not committed."""
    connection = durably(site)
    try:
        yield connection
    finally:
        # One that is lost can't be closed; what was met first is what is to be told.
        with suppress(oracledb.Error):
            connection.close()


def made(site: Site) -> list[MadeObject]:
    """What this migration made here, oldest first; [] where nothing is installed."""
    with translated(site, "could not read the bookkeeping"), session(site) as connection:
        return notes.read(connection, site)


def missing(site: Site) -> Unsafe:
    return Unsafe(
        f"the {site.side} at {site.place} has no bookkeeping of migration {site.migration}",
        reason="BookkeepingMissing",
        hint="was the database replaced, or restored from a backup? start a new migration",
    )


def _refuse_others(site: Site, connection: oracledb.Connection, *, complete: bool = False) -> None:
    found: dict[str, set[str]] = {}
    for row in notes.rows(connection, FOUND):
        found.setdefault(row["table_name"], set()).add(row["column_name"].lower())
    for name, columns in _COLUMNS.items():
        if (name in found or complete) and found.get(name) != set(columns):
            raise Unsupported(
                f"the {site.side} has {name} in the schema of its user, and it is not this product's table",
                reason="SchemaTaken",
                hint="rename or drop it, or give the migration a user of its own",
            )


def _make(connection: oracledb.Connection) -> None:
    there = {row["table_name"] for row in notes.rows(connection, FOUND)}
    for name, statement in TABLES.items():
        if name not in there:
            _define(connection, statement, _NAME_TAKEN)


def _log_all(connection: oracledb.Connection) -> None:
    logged = {row["table_name"] for row in notes.rows(connection, LOGGED)}
    for name in _TRAVELLING:
        if name not in logged:
            add = f"alter table {name.lower()} add supplemental log data (all) columns"
            _define(connection, add, _ALREADY_LOGGED)


def _define(connection: oracledb.Connection, statement: str, done: str) -> None:
    """Run DDL; `done` is the error of one that somebody else ran first."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        try:
            cursor.execute(statement)
        except oracledb.DatabaseError as error:
            if code_of(error) != done:
                raise
