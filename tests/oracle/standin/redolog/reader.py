"""A reader of the log by the rules of the facts, each of which can be left out: to show what happens then.

It shares nothing with the product, nor with the log but the views and DBMS_LOGMNR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from oracle.standin.backend import OraError, Value
from oracle.standin.redolog.miner import ADDFILE, NEW, LogMiner, Option
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.rows import Row
from oracle.standin.redolog.scanning import Statement, lob_image, parse
from oracle.standin.redolog.scribe import Scribe
from oracle.standin.redolog.views import VIEWS, read

USUAL = Option.DICT_FROM_ONLINE_CATALOG | Option.NO_SQL_DELIMITER | Option.NO_ROWID_IN_STMT
PLACEHOLDER, NO_ADDRESS = "A" * 18, "0x000000.00000000.0000"
INSERT, DELETE, UPDATE, START, COMMIT, LOB_WRITE, LOB_TRIM, ROLLBACK = 1, 2, 3, 6, 7, 10, 11, 36
#: The step is mined again.
NO_FILE = 1284
AGAIN = (310, NO_FILE, 1289, 1291)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a reader minds; each is one that some reader has not minded."""

    reads_by_address: bool = True  #: else what is above the last step's SCN
    stops_at_bound: bool = (
        True  #: else it takes what is below the bound from behind what is above it
    )
    discards_failed_steps: bool = True  #: else ORA-00310 is the end of the redo
    minds_gaps: bool = True  #: else it mines whatever logs there are
    minds_missing_files: bool = True  #: else it begins behind what can't be opened
    joins_parts: bool = True
    keeps_equal_addresses: bool = True  #: else RS_ID and SSN tell rows apart
    undoes: bool = True
    undoes_placeholders: bool = True  #: else by ROW_ID alone
    resolves_partial_xids: bool = True
    cursor_per_thread: bool = True
    zero_is_no_address: bool = True
    commits_by_address: bool = True  #: else a commit below the last commit's SCN was there before
    keys_by_sequence: bool = True  #: else a transaction is its undo slot
    opens_at_any_row: bool = True  #: else only at a START
    keeps_equal_scns: bool = True  #: else the SCN, the table and the operation tell changes apart
    reads_all_online: bool = True  #: else the current log and archives
    reads_all_threads: bool = True


@dataclass
class Change:
    """A change as the rows tell it; only columns that are no LOBs count."""

    op: int
    table: str
    rowid: str | None  #: None: it came with the placeholder
    before: Mapping[str, str | None] | None
    after: Mapping[str, str | None] | None
    touches_lob: bool = False
    awaits_locator: bool = False
    is_written: bool = False  #: its LOB


class Emitted(NamedTuple):
    """A committed transaction."""

    xid: tuple[int, ...]
    scn: int
    changes: list[Change]


class GapError(Exception):
    """Redo that is needed is gone."""


Cursor = tuple[str, int]


@dataclass
class Reader:
    """Reads in steps, as a restartable capture would."""

    log: RedoLog
    db: Scribe
    rules: Rules = field(default_factory=Rules)
    emitted: list[Emitted] = field(default_factory=list)
    open: dict[tuple[int, ...], list[Change]] = field(default_factory=dict)
    cursors: dict[int, Cursor] = field(default_factory=dict)
    bound: int = 0
    failed: int = 0
    unreadable: int = 0
    first: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        threads = self.log.threads if self.rules.reads_all_threads else [1]
        self.first = {number: self.log.threads[number].current.sequence for number in threads}

    def step(self, meanwhile: Callable[[], None] = lambda: None) -> int:
        """Mine what is new, and take it over if all of it could be read. Gives the number of rows."""
        bound = self._bound()
        meanwhile()
        staged: list[Row] = []
        if bound == self.bound and not self.rules.reads_by_address:
            return 0  # nothing can be new
        try:
            self._fetch(staged, bound, meanwhile)
        except OraError as error:
            if error.code not in AGAIN:
                raise
            self.failed += 1
            if self.rules.discards_failed_steps:
                return -1
        self._take(staged)
        self.bound = bound
        return len(staged)

    def _bound(self) -> int:
        changes = [row["LAST_REDO_CHANGE#"] for row in self._view("V$THREAD")]
        if len(self.first) == 1:
            return self.db.scn
        return min(int(str(change)) for change in changes) - 1

    def _view(self, name: str) -> list[dict[str, Value]]:
        names = [column.name for column in VIEWS[name].columns]
        rows = read(name, self.log, LogMiner(self.log))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _fetch(self, staged: list[Row], bound: int, meanwhile: Callable[[], None]) -> None:
        miner = LogMiner(self.log)
        option = NEW
        for name in self._logs():
            try:
                miner.add_logfile(name, option)
            except OraError as error:
                if error.code != NO_FILE or self.rules.minds_missing_files:
                    raise
                option = NEW  # with what was before it LogMiner would see the gap
            else:
                option = ADDFILE
        by_scn = not self.rules.reads_by_address
        miner.start(self.bound + 1 if by_scn and self.bound else 0, bound if by_scn else 0, USUAL)
        meanwhile()
        closed: set[int] = set()
        for row in miner.rows():
            if row.scn > bound:
                if self.rules.stops_at_bound:
                    closed.add(row.thread)
            elif row.thread not in closed and self._is_new(row, by_scn=by_scn):
                staged.append(row)
                if not len(staged) % 7:
                    meanwhile()

    def _logs(self) -> list[str]:
        """Choose a file for each log from the cursors on: an archive before an online log."""
        found: dict[tuple[int, int], str] = {}
        members = {row["GROUP#"]: str(row["MEMBER"]) for row in self._view("V$LOGFILE")}
        for row in self._view("V$LOG"):
            if row["STATUS"] == "CURRENT" or (
                row["STATUS"] != "UNUSED" and self.rules.reads_all_online
            ):
                found[_log(row)] = members[row["GROUP#"]]
        for row in self._view("V$ARCHIVED_LOG"):
            if row["STATUS"] == "A" and row["NAME"]:
                found[_log(row)] = str(row["NAME"])
        chosen = []
        for thread, first in self.first.items():
            cursor = self.cursors.get(thread)
            start = max(int(cursor[0][2:8], 16), first) if cursor else first
            last = max(sequence for number, sequence in found if number == thread)
            for sequence in range(start, last + 1):
                if (thread, sequence) in found:
                    chosen.append(found[thread, sequence])
                elif self.rules.minds_gaps:
                    raise GapError(f"thread {thread}: log {sequence} is gone")
                else:
                    chosen = [name for name in chosen if f"_{thread}_" not in name]
        return chosen

    def _is_new(self, row: Row, *, by_scn: bool) -> bool:
        address = row.rs_id.strip()
        if by_scn:
            return True
        if address == NO_ADDRESS and self.rules.zero_is_no_address:
            assert row.operation_code in (START, COMMIT, ROLLBACK), "a change without an address"
            return True
        cursor = self.cursors.get(row.thread if self.rules.cursor_per_thread else 0)
        return cursor is None or (address, row.ssn) > cursor

    def _take(self, staged: Sequence[Row]) -> None:
        seen: set[tuple[int, str, int]] = set()  # addresses, or what is taken for one
        text = ""
        commits: list[tuple[int, int, Emitted]] = []
        for row in staged:
            address = (row.thread, row.rs_id.strip(), row.ssn)
            if row.csf and self.rules.joins_parts:
                text += row.sql_redo or ""
                continue
            if not self.rules.keeps_equal_addresses and address in seen:
                continue
            seen.add(address)
            if not self.rules.keeps_equal_scns and row.table_name == "PLAIN":
                change = (row.operation_code, row.table_name, row.scn)
                if change in seen:
                    continue
                seen.add(change)
            whole, text = text + (row.sql_redo or ""), ""
            if address[1] != NO_ADDRESS or not self.rules.zero_is_no_address:
                self.cursors[row.thread if self.rules.cursor_per_thread else 0] = address[1:]
            try:
                self._row(row, whole, commits)
            except ValueError:
                self.unreadable += 1
        # Threads are ordered by SCN; within one, redo order is commit order for whatever depends on it.
        if len(self.first) > 1:
            commits.sort(key=lambda commit: commit[:2])
        self.emitted += [commit[2] for commit in commits]

    def _row(self, row: Row, text: str, commits: list[tuple[int, int, Emitted]]) -> None:
        op, xid = row.operation_code, self._xid(row)
        if op == COMMIT:
            changes = self.open.pop(xid, [])
            newest = self.emitted[-1].scn if self.emitted else 0
            if changes and (self.rules.commits_by_address or row.scn > newest):
                whole = (row.xidusn, row.xidslt, row.xidsqn)
                commits.append((row.scn, row.thread, Emitted(whole, row.scn, changes)))
        elif op == START and not self.rules.opens_at_any_row:
            self.open[xid] = []
        elif op == ROLLBACK:
            self.open.pop(xid, None)
        elif op in (INSERT, UPDATE, DELETE, LOB_WRITE, LOB_TRIM) and row.seg_owner == "S":
            if xid not in self.open and not self.rules.opens_at_any_row:
                return
            changes = self.open.setdefault(xid, [])
            if op in (LOB_WRITE, LOB_TRIM):
                self._lob(changes, row, text)
            elif row.rollback:
                if self.rules.undoes:
                    self._undo(changes, row)
            else:
                self._change(changes, row, parse(text, op))

    def _xid(self, row: Row) -> tuple[int, ...]:
        if not self.rules.keys_by_sequence:
            return (row.xidusn, row.xidslt)
        xid = (row.xidusn, row.xidslt, row.xidsqn)
        if row.xidsqn == 0xFFFFFFFF and self.rules.resolves_partial_xids:
            return next((known for known in self.open if known[:2] == xid[:2]), xid)
        return xid

    def _change(self, changes: list[Change], row: Row, statement: Statement) -> None:
        table, op = row.table_name or "", row.operation_code
        last = changes[-1] if changes else None
        if last and last.awaits_locator and op == UPDATE and statement.where == last.after:
            last.awaits_locator, last.is_written = False, True
            return
        rowid = None if row.row_id == PLACEHOLDER else row.row_id
        has_lob = "C" in statement.cells
        cells = {name: value for name, value in statement.cells.items() if name != "C"}
        before = None if op == INSERT else statement.where
        after = None if op == DELETE else {**statement.where, **cells}
        changes.append(Change(op, table, rowid, before, after, has_lob))
        changes[-1].awaits_locator = op == INSERT and has_lob

    def _lob(self, changes: list[Change], row: Row, text: str) -> None:
        image = lob_image(text)
        last = changes[-1] if changes else None
        if last is not None and last.rowid is None and last.after == image:
            starts = row.operation_code == LOB_WRITE and ", 1, buf_c);" in text
            if not (starts and last.is_written):
                last.touches_lob = last.is_written = True
                last.awaits_locator = False
                return
        made = Change(UPDATE, row.table_name or "", None, image, image, True)
        made.is_written = True
        changes.append(made)

    def _undo(self, changes: list[Change], row: Row) -> None:
        reversed_op = {INSERT: DELETE, DELETE: INSERT, UPDATE: UPDATE}[row.operation_code]
        last = changes[-1] if changes else None
        reverses = last is not None and (last.table, last.op) == (row.table_name, reversed_op)
        if self.rules.undoes_placeholders and reverses and last and last.rowid is None:
            changes.pop()
            return
        for at in range(len(changes) - 1, -1, -1):
            if (changes[at].table, changes[at].rowid) == (row.table_name, row.row_id):
                del changes[at]
                return


def _log(row: Mapping[str, Value]) -> tuple[int, int]:
    return int(str(row["THREAD#"])), int(str(row["SEQUENCE#"]))
