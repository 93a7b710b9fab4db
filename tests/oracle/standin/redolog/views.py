"""The V$ views of the redo log, as functions that yield rows, for an engine to register."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from oracle.standin.backend import Column, Kind, Moment, Value
from oracle.standin.redolog.files import UNBOUNDED, LogFile
from oracle.standin.redolog.miner import LogMiner
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.rows import CONTENTS, moment

Row: TypeAlias = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A view's columns, and its rows as one session's LogMiner sees them."""

    columns: Sequence[Column]
    rows: Callable[[RedoLog, LogMiner], Iterator[Row]]


def _columns(text: str) -> tuple[Column, ...]:
    """Read columns: plain names are NUMBER, `name:d` is DATE, `name:n` text of n bytes."""
    made = []
    for word in text.split():
        name, _, kind = word.partition(":")
        if not kind:
            made.append(Column(name, Kind.NUMBER, size=22))
        elif kind == "d":
            made.append(Column(name, Kind.DATE, size=7))
        else:
            made.append(Column(name, Kind.VARCHAR2, size=int(kind)))
    return tuple(made)


def _row(*values: int | str | Moment | None) -> Row:
    return tuple(Decimal(value) if isinstance(value, int) else value for value in values)


def _times(file: LogFile) -> tuple[int, Moment, int, Moment | None]:
    end = UNBOUNDED if file.next_change is None else file.next_change
    closed = None if file.next_time is None else moment(file.next_time)
    return file.first_change, moment(file.first_time), end, closed


def _contents(log: RedoLog, miner: LogMiner) -> Iterator[Row]:
    for row in miner.rows():
        yield row.values()


def _log(log: RedoLog, miner: LogMiner) -> Iterator[Row]:
    for thread in log.threads.values():
        for group in thread.groups:
            file, status = group.file, thread.status(group)
            archived = "YES" if group.archived or file is None else "NO"
            head = (group.number, thread.number, file.sequence if file else 0, 200 * 2**20, 512, 2)
            times = _times(file) if file else (0, None, 0, None)
            yield _row(*head, archived, status, *times, 0)


def _logfile(log: RedoLog, miner: LogMiner) -> Iterator[Row]:
    for thread in log.threads.values():
        for group in thread.groups:
            for member in group.members:
                yield _row(group.number, None, "ONLINE", member, "NO", 0)


def _archived_log(log: RedoLog, miner: LogMiner) -> Iterator[Row]:
    number = 0
    for thread in log.threads.values():
        for archive in thread.archives:
            number += 1
            gone = archive.status != "A"
            yield _row(
                number,
                number,
                None if gone else archive.name,
                archive.dest,
                thread.number,
                archive.file.sequence,
                log.resetlogs_change,
                moment(log.resetlogs_time),
                *_times(archive.file),
                archive.file.blocks,
                512,
                "YES",
                "YES" if gone else "NO",
                archive.status.value,
                "NO",
                "NO",
                "NO",
                0,
            )


def _log_history(log: RedoLog, miner: LogMiner) -> Iterator[Row]:
    for thread in log.threads.values():
        seen: set[int] = set()
        for archive in thread.archives:
            file = archive.file
            if file.sequence not in seen:
                seen.add(file.sequence)
                first, at, end, _ = _times(file)
                yield _row(thread.number, file.sequence, first, at, end, log.resetlogs_change, 0)


def _archive_dest_status(log: RedoLog, miner: LogMiner) -> Iterator[Row]:
    for dest in range(1, 32):
        used = dest <= log.dests
        where = f"/u0{dest}/arch" if used else None
        status = "VALID" if used else "INACTIVE"
        yield _row(dest, f"LOG_ARCHIVE_DEST_{dest}", status, "LOCAL", where, 0)


def _thread(log: RedoLog, miner: LogMiner) -> Iterator[Row]:
    for thread in log.threads.values():
        current = thread.current
        yield _row(
            thread.number,
            "OPEN",
            "PUBLIC",
            len(thread.groups),
            f"orcl{thread.number}",
            current.sequence,
            current.sequence,
            log.last_redo_change(thread.number),
            moment(log.last_time),
            0,
        )


def _logmnr_logs(log: RedoLog, miner: LogMiner) -> Iterator[Row]:
    for at, added in enumerate(miner.added, start=1):
        first, opened, end, closed = _times(added.file)
        yield _row(
            at,
            added.name,
            opened,
            closed,
            log.dbid,
            "ORCL",
            log.resetlogs_change,
            added.file.thread,
            added.file.sequence,
            first,
            end,
            0,
            None,
            "ARCHIVED" if added.file.next_change is not None else "ONLINE",
        )


#: By name; `read` locks the log.
VIEWS = {
    "V$LOGMNR_CONTENTS": View(CONTENTS, _contents),
    "V$LOGMNR_LOGS": View(
        _columns(
            "LOG_ID FILENAME:513 LOW_TIME:d HIGH_TIME:d DB_ID DB_NAME:8 RESET_SCN THREAD_ID THREAD_SQN "
            "LOW_SCN NEXT_SCN STATUS INFO:32 TYPE:8"
        ),
        _logmnr_logs,
    ),
    "V$LOG": View(
        _columns(
            "GROUP# THREAD# SEQUENCE# BYTES BLOCKSIZE MEMBERS ARCHIVED:3 STATUS:16 FIRST_CHANGE# "
            "FIRST_TIME:d NEXT_CHANGE# NEXT_TIME:d CON_ID"
        ),
        _log,
    ),
    "V$LOGFILE": View(
        _columns("GROUP# STATUS:7 TYPE:7 MEMBER:513 IS_RECOVERY_DEST_FILE:3 CON_ID"), _logfile
    ),
    "V$ARCHIVED_LOG": View(
        _columns(
            "RECID STAMP NAME:513 DEST_ID THREAD# SEQUENCE# RESETLOGS_CHANGE# RESETLOGS_TIME:d "
            "FIRST_CHANGE# FIRST_TIME:d NEXT_CHANGE# NEXT_TIME:d BLOCKS BLOCK_SIZE ARCHIVED:3 "
            "DELETED:3 STATUS:1 DICTIONARY_BEGIN:3 DICTIONARY_END:3 STANDBY_DEST:3 CON_ID"
        ),
        _archived_log,
    ),
    "V$LOG_HISTORY": View(
        _columns(
            "THREAD# SEQUENCE# FIRST_CHANGE# FIRST_TIME:d NEXT_CHANGE# RESETLOGS_CHANGE# CON_ID"
        ),
        _log_history,
    ),
    "V$ARCHIVE_DEST_STATUS": View(
        _columns("DEST_ID DEST_NAME:256 STATUS:9 TYPE:16 DESTINATION:256 CON_ID"),
        _archive_dest_status,
    ),
    "V$THREAD": View(
        _columns(
            "THREAD# STATUS:6 ENABLED:8 GROUPS INSTANCE:80 SEQUENCE# LAST_REDO_SEQUENCE# "
            "LAST_REDO_CHANGE# LAST_REDO_TIME:d CON_ID"
        ),
        _thread,
    ),
}


def read(name: str, log: RedoLog, miner: LogMiner) -> Iterator[Row]:
    """Yield the rows of a view as they are now; V$LOGMNR_CONTENTS reads on while it is fetched from."""
    view = VIEWS[name]
    if name == "V$LOGMNR_CONTENTS":
        return view.rows(log, miner)
    with log.lock:
        return iter(list(view.rows(log, miner)))
