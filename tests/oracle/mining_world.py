"""A small world that makes redo: sessions, strands, logs, and what LogMiner shows of them at any moment.

It knows the rules of Oracle's redo (as recorded in the project's notes on LogMiner) and nothing of the reader:
* sessions change rows that they have locked, roll back to savepoints, commit and roll back;
* redo is made in private strands, which reach the log when the transaction ends or the strand is full, and in public
  ones, which are flushed together, one behind the other: rows in the log are not in the order of their SCNs;
* what is in the log stays where it is; threads have logs of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bowline_worker.endpoints.oracle.logrow import PLACEHOLDER_ROW_ID, Code
from oracle.mining_rows import AT, PARTIAL, T_ID, ZERO_RS_ID, Row, rs_id

KEYS = range(6)


@dataclass(eq=False)
class Record:
    """A row of redo. Those of one `group` share an address (array deletes); pieces of a statement do too."""

    thread: int
    scn: int
    number: int  #: in the order in which they were made
    code: int
    xid: tuple[int, int, int]
    pieces: list[str]
    row_id: str = ""
    undo: bool = False
    is_bare: bool = False  #: no address
    group: int = 0
    rs_id: str = ""
    ssn: int = 0

    def rows(self) -> Iterator[Row]:
        is_change = self.code in (Code.INSERT, Code.UPDATE, Code.DELETE)
        names = ("S", "T", T_ID) if is_change else (None, None, None)
        for at, piece in enumerate(self.pieces, 1):
            yield (
                self.scn, None, AT, self.thread, ZERO_RS_ID if self.is_bare else self.rs_id, self.ssn, 0,
                *self.xid, int(self.code), 0, None, int(self.undo), int(at < len(self.pieces)),
                self.row_id, *names, None, "APP", None, piece,
            )  # fmt: skip


@dataclass
class Written:
    """One change that stands so far."""

    code: int
    key: int
    before: str | None
    after: str | None
    row_id: str
    sql: str


@dataclass
class Session:
    thread: int
    number: int
    is_private: bool = False
    strand: int = 0
    sequence: int = 0
    is_open: bool = False
    changes: list[Written] = field(default_factory=list)
    savepoint: int = 0
    private: list[Record] = field(default_factory=list)

    @property
    def xid(self) -> tuple[int, int, int]:
        return (self.number, 0, self.sequence)


@dataclass(frozen=True)
class Truth:
    """A transaction as it was committed."""

    xid: tuple[int, int, int]
    scn: int
    keys: frozenset[int]
    sql: tuple[str, ...]


class World:
    def __init__(self, random: Random, *, threads: int = 1) -> None:
        self._random = random
        self.threads = range(1, threads + 1)
        #: Rows of strands that were flushed together come sorted, or as they were written.
        self._is_sorted = random.random() < 0.5
        self._sessions = [Session(1 + at % threads, at + 1) for at in range(4)]
        self._strands: dict[tuple[int, int], list[Record]] = {}
        self._log: dict[int, list[list[Record]]] = {thread: [] for thread in self.threads}
        self._block = dict.fromkeys(self.threads, 0)
        self._owner: dict[int, Session] = {}  # of a row's lock
        self._left: dict[int, tuple[int, int]] = {}  # who let go of it last: SCN and thread
        self._values: dict[int, str] = {}
        self.scn = 100
        self._numbers = 0
        self.committed: list[Truth] = []

    # --- what happens ---

    def act(self) -> None:
        session = self._random.choice(self._sessions)
        roll = self._random.random()
        if not session.is_open:
            self._begin(session)
        if roll < 0.55:
            self._change(session)
        elif roll < 0.62:
            self._delete_several(session)
        elif roll < 0.68:
            session.savepoint = len(session.changes)
        elif roll < 0.76:
            self._back_to(session, session.savepoint)
        elif roll < 0.88:
            self._commit(session)
        elif roll < 0.93:
            self._roll_back(session)
        elif roll < 0.97:
            self._flush(session.thread, partly=True)
        else:
            self._release(session)  # its private strand is full
        if self._random.random() < 0.5:
            self.scn += 1

    def finish(self) -> None:
        """End what is open, and write everything."""
        for session in self._sessions:
            if session.is_open:
                self._random.choice([self._commit, self._roll_back])(session)
        for thread in self.threads:
            self._flush(thread)

    def _begin(self, session: Session) -> None:
        session.is_open = True
        session.sequence += 1
        session.is_private = self._random.random() < 0.5
        session.strand = self._random.randrange(2)
        session.savepoint = 0
        if any(
            record.xid[:2] == session.xid[:2]
            for strand in self._strands.values()
            for record in strand
        ):
            self._flush(
                session.thread
            )  # what the slot's last transaction did is on disk before it is used again
        xid = (0, 0, 0) if self._random.random() < 0.1 else session.xid
        self._record(session, Code.START, [""], xid=xid)

    def _lock(self, session: Session, key: int) -> bool:
        owner = self._owner.get(key)
        if owner is not None and owner is not session:
            return False
        if owner is None and key in self._left:
            scn, thread = self._left[key]
            # Who sees a commit comes after it, and nothing of his is on disk before it.
            self.scn = max(self.scn, scn + 1)
            self._flush(thread)
        self._owner[key] = session
        return True

    def _change(self, session: Session) -> None:
        key = self._random.choice(KEYS)
        if not self._lock(session, key):
            return
        self._numbers += 1
        value, before = f"v''{self._numbers}", self._values.get(key)
        if before is None:
            self._write(session, Code.INSERT, key, None, value)
        elif self._random.random() < 0.6:
            self._write(session, Code.UPDATE, key, before, value)
        else:
            self._write(session, Code.DELETE, key, before, None)

    def _delete_several(self, session: Session) -> None:
        self._numbers += 1
        group = self._numbers
        for key in KEYS:
            before = self._values.get(key)
            if before is not None and self._random.random() < 0.5 and self._lock(session, key):
                self._write(session, Code.DELETE, key, before, None, group=group)

    def _write(
        self, session: Session, code: int, key: int, before: str | None, after: str | None, *, group: int = 0
    ) -> None:  # fmt: skip
        sql = _statement(code, key, before, after)
        has_placeholder = code == Code.INSERT and self._random.random() < 0.2
        row_id = PLACEHOLDER_ROW_ID if has_placeholder else _row_id(key)
        session.changes.append(Written(code, key, before, after, row_id, sql))
        self._set(key, after)
        pieces = [sql]
        if not group and self._random.random() < 0.2:
            cut = sql.index("''") + 1 if "''" in sql else len(sql) // 2
            pieces = [sql[:cut], sql[cut:]]
        self._record(session, code, pieces, row_id=row_id, group=group)

    def _back_to(self, session: Session, count: int) -> None:
        xid = session.xid
        if self._random.random() < 0.2:
            xid = (*session.xid[:2], PARTIAL)
        while len(session.changes) > count:
            last = session.changes.pop()
            self._set(last.key, last.before)
            reverse = {Code.INSERT: Code.DELETE, Code.DELETE: Code.INSERT}.get(
                Code(last.code), Code.UPDATE
            )
            sql = f"""delete from "S"."T" where ROWID = '{_row_id(last.key)}'"""
            if reverse != Code.DELETE:
                sql = _statement(reverse, last.key, None, last.before)
            self._record(session, reverse, [sql], row_id=_row_id(last.key), undo=True, xid=xid)

    def _commit(self, session: Session) -> None:
        self.scn += self._random.randrange(2)
        self._record(session, Code.COMMIT, ["commit"])
        if session.changes:
            self.committed.append(
                Truth(
                    session.xid,
                    self.scn,
                    frozenset(each.key for each in session.changes),
                    tuple(each.sql for each in session.changes),
                )
            )
        self._end(session)
        if self._random.random() < 0.7:  # the others don't wait for the log
            self._flush(session.thread, partly=True)

    def _roll_back(self, session: Session) -> None:
        self._back_to(session, 0)
        is_bare = self._random.random() < 0.2
        xid = (*session.xid[:2], PARTIAL) if self._random.random() < 0.2 else session.xid
        # What has no address shows when the log is written up to it: it is noted behind the others.
        self._record(session, Code.ROLLBACK, ["rollback"], xid=xid, is_bare=is_bare)
        self._end(session)

    def _end(self, session: Session) -> None:
        self._release(session)
        for key in [key for key, owner in self._owner.items() if owner is session]:
            del self._owner[key]
            self._left[key] = (self.scn, session.thread)
        session.is_open = False
        session.changes = []
        # The slot's next transaction does not begin in the same instant.
        self.scn += 1

    def _set(self, key: int, value: str | None) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    # --- redo ---

    def _record(self, session: Session, code: int, pieces: list[str], **more: Any) -> None:
        self._numbers += 1
        more.setdefault("xid", session.xid)
        record = Record(session.thread, self.scn, self._numbers, code, pieces=pieces, **more)
        if session.is_private:
            session.private.append(record)
            return
        if self._is_sorted and self._random.random() < 0.2:
            session.strand = 1 - session.strand
        self._strands.setdefault((session.thread, session.strand), []).append(record)

    def _release(self, session: Session) -> None:
        """A private strand goes over into a public one, late, with the SCNs of its changes."""
        strand = self._strands.setdefault((session.thread, session.strand), [])
        strand += session.private
        session.private = []
        session.is_private = False

    def _flush(self, thread: int, *, partly: bool = False) -> None:
        """Write the public strands of a thread to its log, one behind the other; or, `partly`, one of them alone."""
        strands = [key for key in self._strands if key[0] == thread]
        self._random.shuffle(strands)
        if partly and not self._is_sorted:  # else a transaction may lie in both
            strands = strands[:1]
        together = [record for key in strands for record in self._strands.pop(key)]
        group, ssn = 0, 0
        for record in together:
            if record.group and record.group == group:
                ssn = 0  # as recorded: the rows of an array delete share all of it
            elif self._random.random() < 0.3 and self._block[thread] and record is not together[0]:
                ssn += 1
            else:
                self._block[thread] += self._random.randint(1, 20)
                ssn = 0
            group = record.group
            sequence, block = divmod(self._block[thread], 200)
            record.rs_id, record.ssn = rs_id(block, 0xF0 + sequence), ssn
        if together:
            if self._is_sorted:
                together.sort(key=lambda record: (record.scn, record.number))
            self._log[thread].append(together)

    # --- what LogMiner shows ---

    def rows(self) -> list[Row]:
        """All that is in the logs now, in LogMiner's order."""
        rest = [
            [record for together in self._log[thread] for record in together]
            for thread in self.threads
        ]
        merged: list[Record] = []
        at = [0] * len(rest)
        while heads := [n for n, records in enumerate(rest) if at[n] < len(records)]:
            first = min(heads, key=lambda n: rest[n][at[n]].scn)
            merged.append(rest[first][at[first]])
            at[first] += 1
        return [row for record in merged for row in record.rows()]

    def upper(self) -> int:
        """What all threads have reached: CURRENT_SCN, or what the slowest of them has written."""
        if len(self.threads) == 1:
            return self.scn
        return min(
            max((record.scn for together in log for record in together), default=0) - 1
            for log in self._log.values()
        )


def _row_id(key: int) -> str:
    return f"AAAR3sAAEAAAACXA{key:02}"


def _statement(code: int, key: int, before: str | None, after: str | None) -> str:
    if code == Code.INSERT:
        return f"""insert into "S"."T"("ID","V") values ('{key}','{after}')"""
    if code == Code.DELETE:
        return f"""delete from "S"."T" where "ID" = '{key}' and "V" = '{before}'"""
    where = f""" where "ID" = '{key}' and "V" = '{before}'""" if before else ""
    return f"""update "S"."T" set "V" = '{after}'{where}"""
