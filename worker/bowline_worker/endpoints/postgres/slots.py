"""The replication slots of a migration: made, found, watched and dropped by number.

A slot is named after its migration, database and number (names.py) and noted in `bowline.made` before it is made. The
note's `before` then tells where the slot started: a slot that has moved on from there needs the journal that holds
what it gave away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg
from psycopg import errors

from bowline_worker.bookkeeping import MadeObject, StreamId
from bowline_worker.contract import NotPermitted, TryAgain, Unsafe, Unsupported
from bowline_worker.endpoints.base import Retention
from bowline_worker.endpoints.postgres import made, names
from bowline_worker.endpoints.postgres.catalog import Db, Records, records
from bowline_worker.endpoints.postgres.connection import connect, translated
from bowline_worker.endpoints.postgres.flavour import flavour_of
from bowline_worker.endpoints.postgres.frames import position_from
from bowline_worker.endpoints.postgres.nodes import nodes
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Position

KIND = "slot"

#: A consumer that does not end in this time is stuck in the kernel; a restart will look again.
END_SECONDS = 10.0
POLL_SECONDS = 0.05
#: Said to be at risk before the server's limit is reached, so that somebody can still act.
RISKY_SHARE = 0.9

# Columns that came with later versions are read through JSON.
SLOTS = """
select s.slot_name::text as name, s.plugin::text as plugin, s.database::text as database,
       s.active_pid as pid, s.confirmed_flush_lsn::text as confirmed,
       coalesce(to_jsonb(s) ->> 'wal_status', '') as wal_status,
       coalesce(to_jsonb(s) ->> 'invalidation_reason', '') as invalidated,
       coalesce(pg_wal_lsn_diff(
           case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
           s.restart_lsn), 0)::int8 as retained
from pg_replication_slots s where not s.temporary"""
# YugabyteDB has no log of the server whose end could be told.
SLOTS_OF_YUGABYTEDB = """
select s.slot_name::text as name, s.plugin::text as plugin, s.database::text as database,
       s.active_pid as pid, s.confirmed_flush_lsn::text as confirmed,
       '' as wal_status, '' as invalidated, 0::int8 as retained
from pg_replication_slots s where not s.temporary"""
KEEP_BYTES = """
select setting::int8 * 1024 * 1024 from pg_settings where name = 'max_slot_wal_keep_size'"""
END = """
select pg_terminate_backend(active_pid) from pg_replication_slots
where slot_name = %s and active_pid is not null"""
#: At a node that may be another than the consumer's, where another session may have that pid.
END_AT_NODE = """
select pg_terminate_backend(a.pid)
from pg_replication_slots s join pg_stat_activity a on a.pid = s.active_pid
where s.slot_name = %s and a.backend_type = 'walsender' and a.usename = session_user"""
STARTED = """
update bowline.made set before = %s
where migration = %s and kind = 'slot' and name = %s and before = ''"""
START_OF = """
select before from bowline.made where migration = %s and kind = 'slot' and name = %s"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    name: str
    plugin: str | None
    database: str | None
    pid: int | None  #: of the session that streams from it
    confirmed: Position | None  #: None: it is being made
    wal_status: str
    invalidated: str
    retained: int

    @property
    def is_lost(self) -> bool:
        return self.wal_status == "lost" or bool(self.invalidated)


def slot_name(site: Site, number: int) -> str:
    return names.slot(site.migration, site.connection.database, number)


def find(connection: Db, site: Site, number: int) -> Slot | None:
    """Read the slot of that number; Unsupported if another's has its name."""
    name = slot_name(site, number)
    flavour = flavour_of(connection)
    for row in _rows(connection):
        if row["name"] == name:
            if row["plugin"] != flavour.plugin or row["database"] != site.connection.database:
                raise Unsupported(
                    f"{site.side}: slot {name} is there and is not ours: plugin {row['plugin']}, "
                    f"database {row['database']}",
                    reason="ForeignSlot",
                    hint=f"drop it if nobody needs it: select pg_drop_replication_slot('{name}')",
                )
            confirmed = row.pop("confirmed")
            return Slot(confirmed=position_from(confirmed) if confirmed else None, **row)
    return None


def require(connection: Db, site: Site, number: int) -> Slot:
    """Read the slot of that number; Unsafe where it is gone or can't be read any more."""
    slot = find(connection, site, number)
    name = slot_name(site, number)
    if slot is None:
        raise lost(site, name, "is not there")
    if slot.is_lost:
        raise lost(site, name, f"was invalidated ({slot.invalidated or 'wal_removed'})")
    return slot


def lost(site: Site, name: str, what: str) -> Unsafe:
    """The error for a slot that can't be read any more."""
    return Unsafe(
        f"{site.side}: slot {name} {what}: changes that were not read yet are lost",
        reason="SlotLost",
        hint="the stream can't be continued; raise max_slot_wal_keep_size and start the migration anew",
    )


def arm(site: Site, stream: StreamId) -> None:
    """Make the stream's slot if it is not there, and drop this migration's slots of lower numbers here.

    Dying at any instant leaves a slot that is noted; running again finds it.
    """
    number = stream.number
    with translated(site, "could not make a slot"), connect(site) as connection:
        # First: on a server without a free slot the dead ones make room.
        _drop_below(connection, site, number)
        slot = find_made(connection, site, number)
        if slot is None:
            note(connection, site, number)
            make(connection, site, number)
            slot = require(connection, site, number)
        if slot.confirmed is not None:
            note_start(connection, site, number, slot.confirmed)


def find_made(connection: Db, site: Site, number: int) -> Slot | None:
    """Read the slot; one that a session of a process that died is still making is ended, and is none."""
    slot = find(connection, site, number)
    deadline = time.monotonic() + END_SECONDS
    while slot is not None and slot.confirmed is None and not slot.is_lost:
        if time.monotonic() > deadline:
            raise TryAgain(f"{site.side}: slot {slot.name} is being made by session {slot.pid}")
        _end(site, connection, slot.name)
        time.sleep(POLL_SECONDS)
        slot = find(connection, site, number)
    return slot


def note(connection: Db, site: Site, number: int) -> None:
    """Note the slot before it is made; commits."""
    made.record(connection, site, MadeObject(kind=KIND, name=slot_name(site, number)))


def note_start(connection: Db, site: Site, number: int, start: Position) -> None:
    """Note where the slot started, once: nobody can have read from it before."""
    connection.execute(STARTED, (start.text, site.migration, slot_name(site, number)))


def start_of(connection: Db, site: Site, number: int) -> Position | None:
    """Where the slot started; None: not known."""
    row = connection.execute(START_OF, (site.migration, slot_name(site, number))).fetchone()
    return position_from(str(row[0])) if row and row[0] else None


def make(connection: Db, site: Site, number: int) -> None:
    """Make the slot. Waits for transactions that are open now; YugabyteDB and PostgreSQL alike."""
    try:
        connection.execute(
            b"select pg_create_logical_replication_slot(%s, %s)",
            (slot_name(site, number), flavour_of(connection).plugin),
        )
    except psycopg.Error as error:
        refuse(site, error)
        raise


def refuse(site: Site, error: psycopg.Error) -> None:
    """Say what to set, where a slot could not be made because of a server setting."""
    if error.sqlstate == errors.ConfigurationLimitExceeded.sqlstate:
        raise NotPermitted(
            f"{site.side}: all replication slots are in use",
            reason="NoFreeSlot",
            hint="raise max_replication_slots on the server, or drop a slot that nobody reads",
        ) from error
    if error.sqlstate == errors.ObjectNotInPrerequisiteState.sqlstate:
        raise NotPermitted(
            f"{site.side}: logical replication is off on the server",
            reason="LogicalReplicationOff",
            hint="set wal_level to logical and restart the server",
        ) from error


def disarm(site: Site, below: int) -> None:
    """Drop this migration's slots here whose number is lower, ending whoever reads them."""
    with translated(site, "could not drop a slot"), connect(site) as connection:
        _drop_below(connection, site, below)


def of_name(connection: Db, site: Site) -> Records:
    """All slots of the server that have a name of this migration's, whoever made them."""
    database = site.connection.database
    return [
        row
        for row in _rows(connection)
        if names.slot_number(site.migration, database, row["name"]) is not None
    ]


def slots(site: Site) -> list[int]:
    """The numbers of this migration's slots in this database."""
    with translated(site, "could not read the slots"), connect(site) as connection:
        return _numbers(connection, site)


def _numbers(connection: Db, site: Site) -> list[int]:
    database = site.connection.database
    found = (
        names.slot_number(site.migration, database, row["name"])
        for row in _rows(connection)
        # What another plugin's reader made under such a name is not ours to drop.
        if row["database"] == database and row["plugin"] == flavour_of(connection).plugin
    )
    return sorted(number for number in found if number is not None)


def _drop_below(connection: Db, site: Site, below: int) -> None:
    for number in _numbers(connection, site):
        if number < below:
            drop(connection, site, slot_name(site, number))


def drop(connection: Db, site: Site, name: str) -> None:
    """Drop a slot, ending its consumer as often as one comes back; then its note."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        end_consumer(connection, site, name)
        try:
            connection.execute(b"select pg_drop_replication_slot(%s)", (name,))
        except errors.UndefinedObject:
            pass  # somebody else dropped it, or the session that made it ended
        except errors.ObjectInUse as error:
            if time.monotonic() > deadline:
                raise TryAgain(f"{site.side}: slot {name} is in use again and again") from error
            continue
        made.forget(connection, site, KIND, name)
        return


def end_consumer(connection: Db, site: Site, name: str) -> None:
    """End the session that streams from a slot, and wait until it is gone; TryAgain after a while."""
    deadline = time.monotonic() + END_SECONDS
    while _end(site, connection, name):
        if time.monotonic() > deadline:
            raise TryAgain(
                f"{site.side}: the consumer of slot {name} does not end within {END_SECONDS:g} s",
                reason="SlotBusy",
            )
        time.sleep(POLL_SECONDS)


def _end(site: Site, connection: Db, name: str) -> bool:
    """Tell the slot's consumer to end, wherever it is; False: there is none."""
    with nodes(site, connection) as there:
        if not flavour_of(connection).has_nodes:
            return bool(connection.execute(END, (name,)).fetchall())
        # All of them: nothing keeps a second consumer off a slot of YugabyteDB.
        ended = [node.db.execute(END_AT_NODE, (name,)).fetchall() for node in there]
        return any(ended)


def _rows(connection: Db) -> Records:
    return records(connection, SLOTS if flavour_of(connection).has_one_log else SLOTS_OF_YUGABYTEDB)


def retention(site: Site, stream: StreamId) -> Retention:
    """Tell how much redo the slot holds back, and whether the server may drop it."""
    with translated(site, "could not read the slot"), connect(site) as connection:
        slot = find(connection, site, stream.number)
        if slot is None or slot.confirmed is None:
            raise lost(site, slot_name(site, stream.number), "is not there")
        row = connection.execute(KEEP_BYTES.encode()).fetchone()
    keep = row[0] if row and isinstance(row[0], int) and row[0] >= 0 else None
    return Retention(
        retained_bytes=slot.retained, acknowledged=slot.confirmed, at_risk=_risk(slot, keep)
    )


def _risk(slot: Slot, keep: int | None) -> str:
    kept = f"slot {slot.name} holds back {slot.retained >> 20} MiB of WAL"
    if slot.is_lost:
        return f"slot {slot.name} was invalidated: changes that were not read yet are lost"
    if slot.wal_status == "unreserved":
        return f"{kept}, and the server drops it at the next checkpoint"
    if keep is not None and slot.retained > RISKY_SHARE * keep:
        return f"{kept}, and max_slot_wal_keep_size is {keep >> 20} MiB"
    if slot.wal_status == "extended":
        return f"{kept}, more than max_wal_size"
    return ""
