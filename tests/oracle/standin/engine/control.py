"""Statements that steer the session: COMMIT, savepoints, ALTER SESSION, LOCK TABLE, and ending others' sessions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oracle.standin.backend import OraError, Result
from oracle.standin.engine.conversion import offset_of
from oracle.standin.engine.masks import elements
from oracle.standin.engine.reading import unimplemented
from oracle.standin.engine.statements import Statements
from oracle.standin.engine.tokens import Sort
from oracle.standin.engine.transactions import (
    EXCLUSIVE,
    ROW_EXCLUSIVE,
    ROW_SHARE,
    SHARE,
    SHARE_ROW_EXCLUSIVE,
)

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session

_FIRST = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\(|\w+)", re.DOTALL)
_MODES = {
    "ROW SHARE": ROW_SHARE,
    "SHARE UPDATE": ROW_SHARE,
    "ROW EXCLUSIVE": ROW_EXCLUSIVE,
    "SHARE": SHARE,
    "SHARE ROW EXCLUSIVE": SHARE_ROW_EXCLUSIVE,
    "EXCLUSIVE": EXCLUSIVE,
}
_REMEMBERED_NAMES = """
    NLS_LANGUAGE NLS_TERRITORY NLS_DATE_LANGUAGE NLS_CALENDAR NLS_SORT NLS_COMP
    NLS_LENGTH_SEMANTICS DDL_LOCK_TIMEOUT OPTIMIZER_MODE PLSQL_WARNINGS ERROR_ON_OVERLAP_TIME
    COMMIT_WAIT COMMIT_LOGGING COMMIT_WRITE RECYCLEBIN SQL_TRACE STATISTICS_LEVEL PARALLEL_FORCE_LOCAL CURSOR_SHARING
    COMMIT_WAIT COMMIT_LOGGING
"""
#: Session parameters that are remembered and change nothing here.
_REMEMBERED = frozenset(_REMEMBERED_NAMES.split())


def first_word(sql: str) -> str:
    match = _FIRST.match(sql)
    if match is None:
        raise OraError(900, "invalid SQL statement")
    return match[1].upper()


def is_control(sql: str) -> bool:
    """Tell whether `run` is to run this."""
    word = first_word(sql)
    if word == "ALTER":
        return re.match(r"\s*ALTER\s+(SESSION|SYSTEM)\b", sql, re.IGNORECASE) is not None
    return word in ("COMMIT", "ROLLBACK", "SAVEPOINT", "SET", "LOCK")


def run(session: Session, sql: str) -> Result:
    reader = session.reader(sql)
    if reader.accept("COMMIT"):
        reader.accept("WORK")
        _ = reader.accept("WRITE") and reader.accept_any("WAIT", "NOWAIT", "BATCH", "IMMEDIATE")
        reader.end()
        session.end(commit=True)
    elif reader.accept("ROLLBACK"):
        _rollback(session, reader)
    elif reader.accept("SAVEPOINT"):
        name = reader.identifier()
        reader.end()
        session.started().savepoint(name)
    elif reader.accept("SET"):
        _set(session, reader)
    elif reader.accept("LOCK", "TABLE"):
        _lock(session, reader)
    elif reader.accept("ALTER", "SYSTEM"):
        _system(session, reader)
    else:
        reader.expect("ALTER", "SESSION")
        _alter(session, reader)
    return Result()


def _rollback(session: Session, reader: Statements) -> None:
    reader.accept("WORK")
    if not reader.accept("TO"):
        reader.end()
        session.end(commit=False)
        return
    reader.accept("SAVEPOINT")
    name = reader.identifier()
    reader.end()
    transaction = session.transaction
    if transaction is None:
        raise OraError(1086, f"savepoint '{name}' never established in this session or is invalid")
    mark, locks = transaction.savepoint_at(name)
    session.undo_to(mark)
    transaction.unlock_to(locks)
    session.database.freed.notify_all()


def _set(session: Session, reader: Statements) -> None:
    if not reader.accept("TRANSACTION"):
        raise unimplemented(f"SET {reader.token.text}")
    if reader.accept("READ", "ONLY"):
        _first(session)
        session.read_only_scn = session.database.scn
    elif reader.accept("NAME"):
        reader.string()
    elif reader.accept("ISOLATION", "LEVEL"):
        _first(session)
        session.isolated = reader.accept("SERIALIZABLE")
        if not session.isolated:
            reader.expect("READ", "COMMITTED")
        session.serial_scn = session.database.scn if session.isolated else None
    elif not reader.accept("READ", "WRITE"):
        raise unimplemented(f"SET TRANSACTION {reader.token.text} {reader.ahead(2).text}")
    reader.end()


def _first(session: Session) -> None:
    if session.transaction is not None or session.serial_scn is not None:
        raise OraError(1453, "SET TRANSACTION must be first statement of transaction")


def _lock(session: Session, reader: Statements) -> None:
    names = [reader.qualified()]
    while reader.sign(","):
        names.append(reader.qualified())
    reader.expect("IN")
    words: list[str] = []
    while not reader.at_words("MODE"):
        words.append(reader.identifier())
    reader.expect("MODE")
    wait = reader.waiting()
    reader.end()
    mode = _MODES.get(" ".join(words))
    if mode is None:
        raise OraError(1737, "valid modes: [ROW] SHARE, [[SHARE] ROW] EXCLUSIVE, SHARE UPDATE")
    tables = [session.table(*name) for name in names]
    for table in tables:
        session.require("LOCK", table)
    for table in tables:
        session.started().lock(table, mode, wait.wait, 30006 if wait.wait else 54)


def _system(session: Session, reader: Statements) -> None:
    if not session.rights.has("ALTER SYSTEM"):
        raise OraError(1031, "insufficient privileges")
    if not (reader.accept("KILL", "SESSION") or reader.accept("DISCONNECT", "SESSION")):
        for action in session.database.system:
            if action(session, reader.sql):
                return
        raise unimplemented(f"ALTER SYSTEM {reader.token.text}")
    named = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*(?:,\s*@(\d+)\s*)?", reader.string())
    if named is None:
        raise OraError(26, "missing or invalid session ID")
    reader.accept_any("IMMEDIATE", "NOREPLAY", "POST_TRANSACTION")
    reader.end()
    victim = session.database.sessions.get(int(named[1]))
    instance = int(named[3] or session.thread)
    if victim is None or (victim.serial, victim.thread) != (int(named[2]), instance):
        raise OraError(30, "User session ID does not exist.")
    if victim is session:
        raise OraError(27, "cannot kill current session")
    session.database.kill(victim)


def _alter(session: Session, reader: Statements) -> None:
    if not reader.accept("SET"):
        if reader.accept_any("ENABLE", "DISABLE", "FORCE", "CLOSE"):
            return  # parallel execution, resumable: nothing of it is here
        raise unimplemented(f"ALTER SESSION {reader.token.text}")
    while reader.token.sort in (Sort.WORD, Sort.QUOTED):
        name = reader.identifier()
        reader.sign("=")
        token = reader.next()
        text = token.text
        if name == "ISOLATION_LEVEL" and token.text == "READ":
            reader.expect("COMMITTED")
        if token.sort is Sort.SIGN and text == "-":
            text += reader.next().text
        _parameter(session, name, text)
    reader.end()


def _parameter(session: Session, name: str, text: str) -> None:
    nls = session.nls
    match name:
        case "NLS_DATE_FORMAT":
            elements(text)
            nls.date = text
        case "NLS_TIMESTAMP_FORMAT":
            elements(text)
            nls.timestamp = text
        case "NLS_TIMESTAMP_TZ_FORMAT":
            elements(text)
            nls.timestamp_tz = text
        case "NLS_NUMERIC_CHARACTERS":
            if len(text) != 2:
                raise OraError(
                    12705, "Cannot access NLS data files or invalid environment specified"
                )
            nls.numeric = text
        case "TIME_ZONE":
            nls.offset = offset_of(text)
        case "CURRENT_SCHEMA":
            session.schema = text
            return
        case "CONTAINER":
            _container(session, text)
            return
        case "ISOLATION_LEVEL":
            levels = {"SERIALIZABLE": True, "READ": False}
            if session.transaction is not None or text.upper() not in levels:
                raise OraError(
                    2183, "valid options: ISOLATION_LEVEL { SERIALIZABLE | READ COMMITTED }"
                )
            session.serializable = levels[text.upper()]
            return
        case _ if name not in _REMEMBERED:
            raise OraError(2248, "invalid option for ALTER SESSION")
    session.parameters[name] = text


def _container(session: Session, name: str) -> None:
    if session.transaction is not None:
        raise OraError(65023, "active transaction exists in container")
    found = session.database.containers.get(name.upper())
    if found is None:
        raise OraError(65011, f"Pluggable database {name} does not exist.")
    if not session.rights.has("SET CONTAINER"):
        raise OraError(1031, "insufficient privileges")
    session.catalog = found
