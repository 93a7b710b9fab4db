"""The places of a migration's streams: rows of BOWLINE_SLOT, made, found, moved on and dropped by number.

Oracle keeps no log for a reader, so a slot holds nothing back: it tells from where to mine again. The row is made with
the stream's beginning (start.py), and moves on only behind what is durable in the journal. It may be older than the
journal, never newer: `Place.after` refuses that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import oracledb

from bowline_worker.bookkeeping import Backend, StreamId
from bowline_worker.contract import BowlineError, Unsafe
from bowline_worker.endpoints.base import Retention
from bowline_worker.endpoints.oracle import sessions
from bowline_worker.endpoints.oracle.beginning import Beginning, begin
from bowline_worker.endpoints.oracle.connection import code_of, connect, translated
from bowline_worker.endpoints.oracle.logminer import connect_to_mine
from bowline_worker.endpoints.oracle.logs import LogFile, LogMissing, choose
from bowline_worker.endpoints.oracle.position import Place
from bowline_worker.endpoints.oracle.segments import Note
from bowline_worker.endpoints.site import Site

_READ: Final = """
select place, segments, session_pid, session_started from bowline_slot
where migration = :migration and number_ = :number_"""
_INSERT: Final = """
insert into bowline_slot (migration, number_, orders, place, segments)
values (:migration, :number_, :orders, :place, :segments)"""
_NOTE: Final = """
update bowline_slot set segments = :segments where migration = :migration and number_ = :number_"""
_NOTES: Final = """
select segments from bowline_slot where migration = :migration and segments is not null"""
_ADVANCE: Final = """
update bowline_slot set orders = :orders, at = sys_extract_utc(systimestamp), place = :place
where migration = :migration and number_ = :number_ and orders <= :orders"""
_CLAIM: Final = """
update bowline_slot set session_pid = :pid, session_started = :started
where migration = :migration and number_ = :number_"""
_NUMBERS: Final = """
select number_, session_pid, session_started from bowline_slot where migration = :migration order by number_"""
_DROP: Final = "delete from bowline_slot where migration = :migration and number_ < :below"
_DROP_VIEWS: Final = "delete from bowline_view where migration = :migration and number_ < :below"

_IS_THERE: Final = "ORA-00001"
_NO_TABLE: Final = "ORA-00942"

_RESETLOGS: Final = "select resetlogs_change# from v$database"
_ONLINE: Final = """
select l.thread#, l.sequence#, l.first_change#, l.bytes from v$log l
where l.status in ('CURRENT', 'ACTIVE', 'INACTIVE')"""
_ARCHIVED: Final = """
select a.thread#, a.sequence#, a.first_change#, a.blocks * a.block_size
from v$archived_log a
where a.name is not null and a.archived = 'YES' and a.deleted = 'NO' and a.status = 'A'
  and a.resetlogs_change# = :resetlogs"""
_DELETED: Final = """
select a.thread#, max(a.sequence#) from v$archived_log a
where a.resetlogs_change# = :resetlogs and (a.deleted = 'YES' or a.status in ('D', 'X'))
group by a.thread#"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    place: Place
    note: Note | None  #: None: an older release made the slot
    session: Backend | None  #: of whoever mines for it, or did last


def require(connection: oracledb.Connection, site: Site, stream: StreamId) -> Slot:
    """Read the stream's slot; Unsafe where it is not there."""
    slot = find(connection, site, stream)
    if slot is None:
        raise lost(site, stream)
    return slot


def find(connection: oracledb.Connection, site: Site, stream: StreamId) -> Slot | None:
    rows = _rows(connection, _READ, migration=site.migration, number_=stream.number)
    for place, noted, pid, started in rows:
        note = Note.loads(noted) if noted else None
        return Slot(place=Place.loads(place), note=note, session=_backend(pid, started))
    return None


def lost(site: Site, stream: StreamId) -> Unsafe:
    """The error for a slot that is gone."""
    return Unsafe(
        f"{site.side} at {site.place}: the slot of stream {stream} is not there: from where to mine is not known",
        reason="SlotLost",
        hint="the stream can't be continued; start the migration anew",
    )


def arm(site: Site, stream: StreamId) -> None:
    """Make the stream's slot if it is not there, and drop this migration's slots of lower numbers here.

    Its stream begins before this returns. Dying at any instant leaves a slot that the next one finds, or none.
    """
    with (
        translated(site, "could not make a slot"),
        closing(connect(site)) as connection,
    ):
        if find(connection, site, stream) is None:
            insert(connection, site, stream, begin(site))
            connection.commit()
    disarm(site, stream.number)


def insert(
    connection: oracledb.Connection, site: Site, stream: StreamId, beginning: Beginning
) -> bool:
    """Enter a slot; False where another one did at the same time. The caller commits."""
    place = beginning.place
    try:
        _execute(
            connection, _INSERT, place=place.dumps(), segments=beginning.note.dumps(),
            migration=site.migration, number_=stream.number, orders=place.position.order,
        )  # fmt: skip
    except oracledb.DatabaseError as error:
        if code_of(error) != _IS_THERE:
            raise
        return False
    return True


def advance(connection: oracledb.Connection, site: Site, stream: StreamId, place: Place) -> None:
    """Let the stream go on from there next time, and commit; an older place changes nothing. Unsafe without a slot."""
    with translated(site, f"could not keep the place of stream {stream}"):
        changed = _execute(
            connection, _ADVANCE, place=place.dumps(),
            migration=site.migration, number_=stream.number, orders=place.position.order,
        )  # fmt: skip
        connection.commit()
        if not changed and find(connection, site, stream) is None:
            raise lost(site, stream)


def keep_note(connection: oracledb.Connection, site: Site, stream: StreamId, note: Note) -> None:
    """Keep what the tables' segments were found to be, and commit. Unsafe without a slot."""
    changed = _execute(
        connection, _NOTE, segments=note.dumps(), migration=site.migration, number_=stream.number
    )
    connection.commit()
    if not changed:
        raise lost(site, stream)


def notes(connection: oracledb.Connection, site: Site) -> list[Note]:
    """What is noted with this migration's slots here; the caller's transaction goes on."""
    found = _rows(connection, _NOTES, migration=site.migration)
    return [Note.loads(noted) for (noted,) in found]


def claim(connection: oracledb.Connection, site: Site, stream: StreamId, session: Backend) -> None:
    """Record who mines for the slot from now on, and commit: whoever comes next ends it first."""
    changed = _execute(
        connection, _CLAIM,
        migration=site.migration, number_=stream.number, pid=session.pid, started=session.started,
    )  # fmt: skip
    connection.commit()
    if not changed:
        raise lost(site, stream)


def disarm(site: Site, below: int) -> None:
    """Drop this migration's slots here whose number is lower, and their views, ending whoever mines for them."""
    with (
        _unless_missing(),
        translated(site, "could not drop a slot"),
        closing(connect(site)) as connection,
    ):
        found = _rows(connection, _NUMBERS, migration=site.migration)
        readers = [_backend(pid, started) for number, pid, started in found if int(number) < below]
        # Ended first: nobody moves on what is not there any more.
        end(site, [reader for reader in readers if reader is not None])
        for statement in (_DROP, _DROP_VIEWS):
            _execute(connection, statement, migration=site.migration, below=below)
        connection.commit()


def end(site: Site, readers: Iterable[Backend]) -> None:
    """End sessions that mine, where they still do; they may be in another container than ours."""
    wanted = list(readers)
    if wanted:
        connection, _ = connect_to_mine(site)
        with closing(connection):
            sessions.end_backends(connection, wanted)


def slots(site: Site) -> list[int]:
    """The numbers of this migration's slots in this database."""
    with (
        _unless_missing(),
        translated(site, "could not read the slots"),
        closing(connect(site)) as connection,
    ):
        return [int(row[0]) for row in _rows(connection, _NUMBERS, migration=site.migration)]
    return []


def retention(site: Site, stream: StreamId) -> Retention:
    """Tell how much redo lies behind the slot's place, and whether the log that it begins with is in danger.

    Nothing holds logs back for us: what is told is that the log is gone, or that it is the oldest archived one which is
    still there while older ones were deleted.
    """
    with (
        translated(site, "could not read the slot"),
        closing(connect(site)) as connection,
    ):
        place = require(connection, site, stream).place
        # Logs are the whole database's.
        logs, _ = connect_to_mine(site)
        with closing(logs):
            known = _Logs.read(logs)
    retained, risk = known.behind(place)
    return Retention(retained_bytes=retained, acknowledged=place.position, at_risk=risk)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Logs:
    """The redo logs that are there, by thread and sequence."""

    files: tuple[LogFile, ...]
    sizes: dict[tuple[int, int], int]
    deleted: dict[int, int]  #: by thread, the highest sequence that was deleted

    @classmethod
    def read(cls, connection: oracledb.Connection) -> _Logs:
        ((resetlogs,),) = _rows(connection, _RESETLOGS)
        files: list[LogFile] = []
        sizes: dict[tuple[int, int], int] = {}
        # The archives last: a log that is archived in between is in both, and never in neither.
        for query, binds in ((_ONLINE, {}), (_ARCHIVED, {"resetlogs": resetlogs})):
            for thread, sequence, first, size in _rows(connection, query, **binds):
                is_archived = query is _ARCHIVED
                if (int(thread), int(sequence)) not in sizes or not is_archived:
                    files.append(LogFile(int(thread), int(sequence), int(first), "", is_archived))
                    sizes[int(thread), int(sequence)] = int(size)
        deleted = {
            int(thread): int(sequence)
            for thread, sequence in _rows(connection, _DELETED, resetlogs=resetlogs)
        }
        return cls(files=tuple(files), sizes=sizes, deleted=deleted)

    def behind(self, place: Place) -> tuple[int, str]:
        """Bytes from the place on, and why the first of them may be dropped."""
        sequences = {thread: at.address.sequence for thread, at in place.resume.items()}
        try:
            chosen = choose(
                self.files, sequences=sequences, scn=place.mine_from, limit=len(self.files) + 1
            ).files
        except LogMissing as missing:
            return self._size(self.files), f"{missing}, and it is still to be mined"
        return self._size(chosen), self._risk(chosen)

    def _size(self, files: Iterable[LogFile]) -> int:
        return sum(self.sizes[file.thread, file.sequence] for file in files)

    def _risk(self, chosen: tuple[LogFile, ...]) -> str:
        for thread in sorted({file.thread for file in chosen}):
            first = min((file for file in chosen if file.thread == thread), key=_sequence)
            if first.archived and self.deleted.get(thread) == first.sequence - 1:
                return (
                    f"log sequence {first.sequence} of redo thread {thread} is still to be mined, and all archived"
                    " logs before it are deleted: it is the next one to go"
                )
        return ""


def _sequence(file: LogFile) -> int:
    return file.sequence


def _backend(pid: object, started: object) -> Backend | None:
    return Backend(pid=int(str(pid)), started=str(started)) if pid is not None else None


def _rows(
    connection: oracledb.Connection, query: str, **binds: object
) -> Iterator[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        return iter(list(cursor.execute(query, binds) or ()))


def _execute(connection: oracledb.Connection, statement: str, **binds: object) -> int:
    """Run a statement; place and segments, which may be long, are bound as LOBs."""
    with connection.cursor() as cursor:
        large = {name: oracledb.DB_TYPE_CLOB for name in ("place", "segments") if name in binds}
        if large:
            cursor.setinputsizes(**large)
        cursor.execute(statement, binds)
        return int(cursor.rowcount)


@contextmanager
def _unless_missing() -> Iterator[None]:
    """Pass over bookkeeping that is not there, and with it any slot."""
    try:
        yield
    except BowlineError as error:
        cause = error.__cause__
        if not isinstance(cause, oracledb.Error) or code_of(cause) != _NO_TABLE:
            raise
