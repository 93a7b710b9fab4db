"""Joins a redo log to the engine: its views, DBMS_LOGMNR, and ALTER SYSTEM SWITCH LOGFILE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

from oracle.standin.backend import OraError, Value
from oracle.standin.engine.database import Database
from oracle.standin.engine.packages import argument
from oracle.standin.engine.relations import View
from oracle.standin.engine.session import Session
from oracle.standin.redolog.miner import ADDFILE, LogMiner, Option
from oracle.standin.redolog.nls import Nls
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.views import VIEWS, read

_LOCAL = "logminer"


def attach(log: RedoLog, database: Database) -> None:
    """Register everything; the database must have been made with this log."""
    log.containers = {name: catalog.con_id for name, catalog in database.containers.items()}
    log.dbid, log.resetlogs_change = database.dbid, database.resetlogs_scn
    for name, view in VIEWS.items():
        lazy = name == "V$LOGMNR_CONTENTS"
        database.views[name] = View.described(view.columns, _filler(log, name), lazy=lazy)
    for procedure, call in _CALLS.items():
        database.procedures[f"DBMS_LOGMNR.{procedure}"] = _procedure(log, call)
    for option in Option:
        database.constants[f"DBMS_LOGMNR.{option.name}"] = Decimal(option.value)
    database.constants["DBMS_LOGMNR.ADDFILE"] = Decimal(ADDFILE)
    database.system.append(lambda session, text: _alter_system(log, session, text))


def miner_of(log: RedoLog, session: Session) -> LogMiner:
    """Give the session's LogMiner, which lives as long as the session."""
    miner = session.local.get(_LOCAL)
    if not isinstance(miner, LogMiner):
        miner = LogMiner(log, container=session.catalog.container, nls=lambda: _nls(session))
        session.local[_LOCAL] = miner
    return miner


def _nls(session: Session) -> Nls:
    nls = session.nls
    return Nls(
        date_format=nls.date,
        timestamp_format=nls.timestamp,
        timestamp_tz_format=nls.timestamp_tz,
        numeric_characters=nls.numeric,
        zone_minutes=nls.offset,
    )


def _filler(log: RedoLog, name: str) -> Callable[[Session], Iterator[tuple[Value, ...]]]:
    return lambda session: read(name, log, miner_of(log, session))


Arguments = Callable[[int, str], Value]


def _procedure(
    log: RedoLog, call: Callable[[LogMiner, Arguments], None]
) -> Callable[[Session, Sequence[Value], Mapping[str, Value]], None]:
    def run(session: Session, positional: Sequence[Value], named: Mapping[str, Value]) -> None:
        call(miner_of(log, session), lambda place, name: argument(positional, named, place, name))

    return run


def _add_logfile(miner: LogMiner, arguments: Arguments) -> None:
    miner.add_logfile(_file(arguments), _number(arguments(1, "OPTIONS"), ADDFILE))


def _remove_logfile(miner: LogMiner, arguments: Arguments) -> None:
    miner.remove_logfile(_file(arguments))


def _start_logmnr(miner: LogMiner, arguments: Arguments) -> None:
    for place, name in ((2, "STARTTIME"), (3, "ENDTIME"), (4, "DICTFILENAME")):
        if arguments(place, name) is not None:
            raise OraError(3001, f"unimplemented feature: {name} of START_LOGMNR")
    miner.start(
        _number(arguments(0, "STARTSCN"), 0),
        _number(arguments(1, "ENDSCN"), 0),
        _number(arguments(5, "OPTIONS"), 0),
    )


def _file(arguments: Arguments) -> str:
    return str(arguments(0, "LOGFILENAME"))


def _number(value: Value, default: int) -> int:
    if value is None:
        return default
    try:
        return int(str(value))
    except ValueError:
        raise OraError(6502, "PL/SQL: numeric or value error") from None


_CALLS: dict[str, Callable[[LogMiner, Arguments], None]] = {
    "ADD_LOGFILE": _add_logfile,
    "REMOVE_LOGFILE": _remove_logfile,
    "START_LOGMNR": _start_logmnr,
    "END_LOGMNR": lambda miner, arguments: miner.end(),
}


def _alter_system(log: RedoLog, session: Session, text: str) -> bool:
    """Run what concerns logs; SWITCH LOGFILE is of the session's instance alone."""
    match text.upper().rstrip("; ").split():
        case ["ALTER", "SYSTEM", "SWITCH", "LOGFILE"]:
            log.switch_log(session.thread)
        case ["ALTER", "SYSTEM", "ARCHIVE", "LOG", "CURRENT"]:
            log.switch_log()
        case ["ALTER", "SYSTEM", "CHECKPOINT"]:
            pass
        case _:
            return False
    return True
