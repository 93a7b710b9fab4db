"""V$ views of the database, its sessions and transactions; those of the redo log are added by the log."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from oracle.standin.backend import Value
from oracle.standin.engine.relations import View
from oracle.standin.engine.temporals import instant, moment_of

if TYPE_CHECKING:
    from oracle.standin.engine.database import Database
    from oracle.standin.engine.session import Session
    from oracle.standin.engine.transactions import Transaction

Rows = Iterator[tuple[Value, ...]]
VERSION = "19.0.0.0.0"


def _yes(value: object) -> str:
    return "YES" if value else "NO"


def _database(session: Session) -> Rows:
    database = session.database
    groups = set(database.supplemental.values())
    yield (
        Decimal(database.dbid),
        database.name,
        database.created,
        Decimal(database.resetlogs_scn),
        database.created,
        "ARCHIVELOG",
        "READ WRITE",
        "PRIMARY",
        _yes("MINIMAL" in groups) if "MINIMAL" in groups or not groups else "IMPLICIT",
        _yes("PRIMARY KEY LOGGING" in groups),
        _yes("UNIQUE KEY LOGGING" in groups),
        _yes("FOREIGN KEY LOGGING" in groups),
        _yes("ALL COLUMN LOGGING" in groups),
        "NO",
        "NO",
        Decimal(database.current_scn()),
        "Linux x86 64-bit",
        _yes(database.is_cdb),
        Decimal(session.catalog.con_id if database.is_cdb else 0),
        database.name,
        "NO",
    )


def _instance(session: Session) -> Rows:
    database = session.database
    yield (
        Decimal(session.thread),
        f"{database.name}{session.thread}",
        "standin",
        VERSION,
        database.created,
        "OPEN",
        "NO",
        Decimal(session.thread),
        "STARTED",
        "PRIMARY_INSTANCE",
        VERSION,
        "EE",
    )


def _visible(session: Session, transaction: Transaction) -> bool:
    """The root sees all containers, another container its own alone."""
    root = next(iter(session.database.containers.values()))
    return session.catalog in (root, transaction.session.catalog)


def _transactions(session: Session, *, everywhere: bool) -> Rows:
    for one in session.database.open_transactions():
        if not _visible(session, one) or (not everywhere and one.session.thread != session.thread):
            continue
        assert one.xid is not None
        assert one.started is not None
        start = one.start_scn
        # A raw XID is stored as the machine does: little end first.
        raw = b"".join(
            part.to_bytes(size, "little") for part, size in zip(one.xid, (2, 2, 4), strict=True)
        )
        started = one.started
        yield (
            _address(one.session),
            *(Decimal(part) for part in one.xid),
            "ACTIVE",
            f"{started.month:02d}/{started.day:02d}/{started.year % 100:02d} "
            f"{started.hour:02d}:{started.minute:02d}:{started.second:02d}",
            Decimal(start % 2**32),
            Decimal(start // 2**32),
            Decimal(start),
            raw,
            _address(one.session),
            moment_of(instant(started) // 10**9 * 10**9),
            Decimal(1),
            Decimal(len(one.undo)),
            Decimal(one.session.catalog.con_id if session.database.is_cdb else 0),
            Decimal(one.session.thread),
        )


def _address(session: Session) -> bytes:
    return session.sid.to_bytes(8, "big")


def _sessions(session: Session, *, everywhere: bool) -> Rows:
    for one in list(session.database.sessions.values()):
        if not everywhere and one.thread != session.thread:
            continue
        blocker = next(iter(one.waits_for), None)
        transaction = one.transaction
        yield (
            _address(one),
            Decimal(one.sid),
            Decimal(one.serial),
            one.user,
            "KILLED" if one.killed else "ACTIVE" if one is session or blocker else "INACTIVE",
            one.schema,
            one.attributes.get("os_user"),
            one.attributes.get("machine"),
            one.attributes.get("program"),
            one.attributes.get("module"),
            one.attributes.get("action"),
            one.attributes.get("client_identifier"),
            _address(one) if transaction is not None and transaction.xid else None,
            moment_of(instant(one.logon) // 10**9 * 10**9),
            one.service,
            Decimal(blocker.session.sid) if blocker else None,
            Decimal(blocker.session.thread) if blocker else None,
            "VALID" if blocker else "NO HOLDER",
            "enq: TX - row lock contention" if blocker else "SQL*Net message from client",
            "USER",
            Decimal(one.serial),
            one.attributes.get("process"),
            Decimal(max(0, instant(session.now) - instant(one.now)) // 10**9),
            Decimal(one.catalog.con_id if session.database.is_cdb else 0),
            Decimal(one.thread),
        )


def _locked(session: Session, *, everywhere: bool) -> Rows:
    for table in list(session.catalog.tables.values()):
        for one, mode in list(table.holders.items()):
            if everywhere or one.session.thread == session.thread:
                yield (
                    *(Decimal(part) for part in one.xid or (0, 0, 0)),
                    Decimal(table.object_id),
                    Decimal(one.session.sid),
                    one.session.user,
                    one.session.attributes.get("os_user"),
                    one.session.attributes.get("process"),
                    Decimal(mode),
                    Decimal(session.catalog.con_id if session.database.is_cdb else 0),
                    Decimal(one.session.thread),
                )


def _mine(session: Session) -> Rows:
    yield Decimal(session.sid), Decimal(0), Decimal(0)


def parameters(database: Database) -> dict[str, str]:
    """What V$PARAMETER shows; tests may change it."""
    return {
        "compatible": VERSION,
        "db_name": database.name,
        "db_block_size": "8192",
        "max_string_size": database.max_string_size,
        "nls_length_semantics": "BYTE",
        "undo_retention": "900",
        "cluster_database": "FALSE",
        "enable_goldengate_replication": "FALSE",
        "recyclebin": "OFF",
        "processes": "300",
    }


def _parameters(session: Session) -> Rows:
    for number, (name, value) in enumerate(session.database.instance_parameters.items(), 1):
        yield Decimal(number), name, Decimal(2), value, value, "TRUE", "FALSE"


def _nls_database(session: Session) -> Rows:
    yield from _nls(
        {
            "NLS_CHARACTERSET": session.charsets[0],
            "NLS_NCHAR_CHARACTERSET": session.charsets[1],
            "NLS_LENGTH_SEMANTICS": "BYTE",
            "NLS_LANGUAGE": "AMERICAN",
            "NLS_TERRITORY": "AMERICA",
            "NLS_DATE_FORMAT": "DD-MON-RR",
            "NLS_SORT": "BINARY",
            "NLS_COMP": "BINARY",
            "NLS_RDBMS_VERSION": VERSION,
        }
    )


def _nls_session(session: Session) -> Rows:
    nls = session.nls
    yield from _nls(
        {
            "NLS_LANGUAGE": "AMERICAN",
            "NLS_TERRITORY": "AMERICA",
            "NLS_SORT": "BINARY",
            "NLS_COMP": "BINARY",
            "NLS_LENGTH_SEMANTICS": "BYTE",
            "NLS_DATE_FORMAT": nls.date,
            "NLS_TIMESTAMP_FORMAT": nls.timestamp,
            "NLS_TIMESTAMP_TZ_FORMAT": nls.timestamp_tz,
            "NLS_NUMERIC_CHARACTERS": nls.numeric,
        }
        | {name: value for name, value in session.parameters.items() if name.startswith("NLS_")}
    )


def _nls(found: dict[str, str]) -> Rows:
    yield from found.items()


def _containers(session: Session) -> Rows:
    for name, catalog in session.database.containers.items():
        yield Decimal(catalog.con_id), name, "READ WRITE"


def _version(session: Session) -> Rows:
    yield f"Oracle Database 19c Enterprise Edition Release {VERSION} - Production", Decimal(0)


_TRANSACTION = """ADDR raw(8), XIDUSN number, XIDSLOT number, XIDSQN number, STATUS varchar2(16),
    START_TIME varchar2(20), START_SCNB number, START_SCNW number, START_SCN number, XID raw(8), SES_ADDR raw(8),
    START_DATE date, USED_UBLK number, USED_UREC number, CON_ID number"""
_SESSION = """SADDR raw(8), SID number, SERIAL# number, USERNAME varchar2(128), STATUS varchar2(8),
    SCHEMANAME varchar2(128), OSUSER varchar2(128), MACHINE varchar2(64), PROGRAM varchar2(84), MODULE varchar2(64),
    ACTION varchar2(64), CLIENT_IDENTIFIER varchar2(64), TADDR raw(8), LOGON_TIME date, SERVICE_NAME varchar2(64),
    BLOCKING_SESSION number, BLOCKING_INSTANCE number, BLOCKING_SESSION_STATUS varchar2(11), EVENT varchar2(64),
    TYPE varchar2(10), AUDSID number, PROCESS varchar2(24), LAST_CALL_ET number, CON_ID number"""
_LOCKED = """XIDUSN number, XIDSLOT number, XIDSQN number, OBJECT_ID number, SESSION_ID number,
    ORACLE_USERNAME varchar2(128), OS_USER_NAME varchar2(128), PROCESS varchar2(24), LOCKED_MODE number,
    CON_ID number"""

VIEWS = {
    "V$DATABASE": View.of(
        """DBID number, NAME varchar2(9), CREATED date, RESETLOGS_CHANGE# number, RESETLOGS_TIME date,
        LOG_MODE varchar2(12), OPEN_MODE varchar2(20), DATABASE_ROLE varchar2(16),
        SUPPLEMENTAL_LOG_DATA_MIN varchar2(8), SUPPLEMENTAL_LOG_DATA_PK varchar2(3),
        SUPPLEMENTAL_LOG_DATA_UI varchar2(3), SUPPLEMENTAL_LOG_DATA_FK varchar2(3),
        SUPPLEMENTAL_LOG_DATA_ALL varchar2(3),
        SUPPLEMENTAL_LOG_DATA_PL varchar2(3), FORCE_LOGGING varchar2(39), CURRENT_SCN number,
        PLATFORM_NAME varchar2(101), CDB varchar2(3), CON_ID number, DB_UNIQUE_NAME varchar2(30),
        FLASHBACK_ON varchar2(18)""",
        _database,
    ),
    "V$INSTANCE": View.of(
        """INSTANCE_NUMBER number, INSTANCE_NAME varchar2(16), HOST_NAME varchar2(64), VERSION varchar2(17),
        STARTUP_TIME date, STATUS varchar2(12), PARALLEL varchar2(3), THREAD# number, ARCHIVER varchar2(7),
        INSTANCE_ROLE varchar2(18), VERSION_FULL varchar2(17), EDITION varchar2(7)""",
        _instance,
    ),
    "GV$TRANSACTION": View.of(
        f"{_TRANSACTION}, INST_ID number", lambda session: _transactions(session, everywhere=True)
    ),
    "V$TRANSACTION": View.of(
        _TRANSACTION, lambda session: (row[:-1] for row in _transactions(session, everywhere=False))
    ),
    "GV$SESSION": View.of(
        f"{_SESSION}, INST_ID number", lambda session: _sessions(session, everywhere=True)
    ),
    "V$SESSION": View.of(
        _SESSION, lambda session: (row[:-1] for row in _sessions(session, everywhere=False))
    ),
    "GV$LOCKED_OBJECT": View.of(
        f"{_LOCKED}, INST_ID number", lambda session: _locked(session, everywhere=True)
    ),
    "V$LOCKED_OBJECT": View.of(
        _LOCKED, lambda session: (row[:-1] for row in _locked(session, everywhere=False))
    ),
    "V$MYSTAT": View.of("SID number, STATISTIC# number, VALUE number", _mine),
    "V$PARAMETER": View.of(
        """NUM number, NAME varchar2(80), TYPE number, VALUE varchar2(4000), DISPLAY_VALUE varchar2(4000),
        ISDEFAULT varchar2(9), ISMODIFIED varchar2(10)""",
        _parameters,
    ),
    "V$CONTAINERS": View.of(
        "CON_ID number, NAME varchar2(128), OPEN_MODE varchar2(10)", _containers
    ),
    "V$VERSION": View.of("BANNER varchar2(80), CON_ID number", _version),
    "NLS_DATABASE_PARAMETERS": View.of(
        "PARAMETER varchar2(128), VALUE varchar2(64)", _nls_database
    ),
    "NLS_SESSION_PARAMETERS": View.of("PARAMETER varchar2(128), VALUE varchar2(64)", _nls_session),
}
