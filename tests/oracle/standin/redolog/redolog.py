"""The redo log: takes the engine's events as they happen, and lays them down as Oracle's redo would lie.

What shows of an event, and when, is decided here and stays so: whoever reads the log twice reads the same.
Never made, since the engine can't do it or its shape is not known well enough: XML documents, calls of DBMS_LOB
(WRITEAPPEND, ERASE), the rows 91 to 93 of strings beyond 4,000 bytes, MISSING_SCN, a dictionary in the redo.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from oracle.standin.events import TableShape, Written, Xid
from oracle.standin.redolog.adversities import Adversities
from oracle.standin.redolog.catalogue import Catalogue, recursive_lines
from oracle.standin.redolog.drafts import Drafts, control, ddl_line, groupable
from oracle.standin.redolog.files import ArchiveStatus, Origin, Record, Thread
from oracle.standin.redolog.lines import Line, LobLimits, Op
from oracle.standin.redolog.transactions import Transaction

#: Rows of one statement that a record can hold; up to 255 were seen.
ROWS_IN_A_RECORD = 8


class RedoLog:
    """Implements `events.Log`. Every method may be called from any thread."""

    def __init__(
        self,
        adversities: Adversities | None = None,
        *,
        at: datetime,
        scn: int = 1,
        threads: int = 1,
        groups: int = 3,
        file_bytes: int = 1_000_000,
        strand_records: int = 50,
        kept_archives: int = 8,
        dests: int = 1,
        first_sequence: int = 18,
        csf_bytes: int = 4000,
        lobs: LobLimits | None = None,
        containers: Mapping[str, int] | None = None,
        dbid: int = 1234567890,
        resetlogs_change: int = 1,
    ) -> None:
        self.lock = threading.RLock()
        self.adversities = adversities or Adversities()
        self.catalogue = Catalogue()
        self.csf_bytes = csf_bytes
        self.containers = dict(containers or {"CDB$ROOT": 1})
        self.dbid, self.dests = dbid, dests
        self.resetlogs_change, self.resetlogs_time = resetlogs_change, at
        self.threads = {
            number: Thread(number, groups, at, scn, first_sequence + number - 1, dests)
            for number in range(1, threads + 1)
        }
        self.last_scn, self.last_time = scn, at
        self._file_bytes, self._strand_records = file_bytes, strand_records
        self._kept_archives = kept_archives
        self._drafts = Drafts(self.adversities, lobs or LobLimits())
        self._open: dict[Xid, Transaction] = {}
        self._over: list[Transaction] = []  # committed, and held back
        self._ahead: Transaction | None = None  # its last record may still get rows
        self._sessions = self._ddls = 0

    # The engine's calls

    def begun(
        self,
        xid: Xid,
        scn: int,
        at: datetime,
        *,
        user: str,
        client: str | None,
        thread: int,
        container: str,
    ) -> None:
        """Open a transaction; its START row is the first of its strand."""
        with self.lock:
            if xid in self._open:
                raise ValueError(f"transaction {xid} has begun before")
            if thread not in self.threads:
                raise ValueError(f"the log has no thread {thread}, but {len(self.threads)}")
            self._advance(scn, at)
            # A slot is free again only behind the redo of the commit that freed it.
            slot = (xid.usn, xid.slot)
            self._write_held([o for o in self._over if o.origin.xid[:2] == slot])
            self._sessions += 1
            origin = Origin(xid, container, scn, user, client, self._sessions)
            late = self.adversities.wants("late_redo")
            now = self._open[xid] = Transaction(origin, self._placed(thread), late, scn)
            start = control(Op.START, "set transaction read write")
            self._add(now, scn, at, [start], self._drafts.started(xid))

    def written(self, change: Written) -> None:
        """Take a change; an undo is rendered from the change that it takes back."""
        with self.lock:
            self._advance(change.scn, change.at)
            # Whoever writes after a commit may depend on it: its redo comes first then.
            self._write_held(tuple(self._over))
            self.catalogue.learn(change.table)
            now = self._open[change.xid]
            if change.undo:
                line = self._drafts.undo(now.undone(change))
                self._drafts.disguise_undo(self._add(now, change.scn, change.at, [line]))
            else:
                now.standing.append(change)
                self._change(now, change)

    def committed(self, xid: Xid, scn: int, at: datetime) -> None:
        """End a transaction; its SCN is exactly the engine's."""
        with self.lock:
            self._advance(scn, at)
            now = self._open.pop(xid)
            if scn < self.threads[now.thread].current.first_change:
                raise ValueError(f"a commit at SCN {scn}, which a log switch has passed")
            self._add(now, scn, at, [control(Op.COMMIT, "commit")])
            now.commit_scn = scn
            if self.adversities.strikes("late_commit"):
                self._over.append(now)
                self._ahead = None
            else:
                self._flush(now)

    def rolled_back(self, xid: Xid, scn: int, at: datetime) -> None:
        """End a transaction whose changes were taken back one by one before."""
        with self.lock:
            self._advance(scn, at)
            now = self._open.pop(xid)
            record = self._add(now, scn, at, [control(Op.ROLLBACK, "rollback")])
            self._drafts.disguise_rollback(record)
            self._flush(now)

    def defined(
        self, scn: int, at: datetime, *, user: str, table: TableShape | None, owner: str, sql: str
    ) -> None:
        """Log a DDL statement as a transaction of its own, and let the catalogue know."""
        with self.lock:
            self._advance(scn, at)
            self._write_held(tuple(self._over))
            container = self.catalogue.container_of(owner, table)
            recycled = self.adversities.wants("recycle_bin")
            known = self.catalogue.define(sql, table, owner, recycled=recycled)
            if known.recycled:
                self.adversities.happened("recycle_bin")
            self._ddls += 1
            origin = Origin(Xid(0, self._ddls % 96, self._ddls), container, scn, user)
            now = Transaction(origin, min(self.threads), False, scn)
            noise = self.adversities.strikes("noise")
            for line in [
                control(Op.START, "set transaction read write"),
                *(recursive_lines(known.table) if noise else ()),
                ddl_line(sql, known.table),
                control(Op.COMMIT, "commit"),
            ]:
                self._add(now, scn, at, [line])
            self._flush(now)

    # What a test, or an administrator, can do

    def unsupported(self, owner: str, table: str) -> None:
        """Let a table's rows come as UNSUPPORTED: it has a JSON, BOOLEAN or VECTOR column (1.8)."""
        self._drafts.unsupported.add((owner, table))

    def temporary(self, owner: str, table: str) -> None:
        """Let a table's rows come without SQL: it is a temporary one (1.1)."""
        self._drafts.temporary.add((owner, table))

    def switch_log(self, thread: int | None = None) -> None:
        """ALTER SYSTEM ARCHIVE LOG CURRENT, in all threads, or SWITCH LOGFILE in one; the archiver catches up."""
        with self.lock:
            for number in [thread] if thread else list(self.threads):
                self._switch(self.threads[number], self.last_scn + 1)
            self.archive_all()

    def archive_all(self) -> None:
        """Let the archiver catch up."""
        with self.lock:
            for thread in self.threads.values():
                for group in list(thread.unarchived()):
                    thread.archive(group)

    def overwrite(self, thread: int) -> None:
        """Switch until each of a thread's online logs holds another sequence."""
        with self.lock:
            for _ in self.threads[thread].groups:
                self._switch(self.threads[thread], self.last_scn + 1)

    def delete_archives(self, thread: int, sequences: Collection[int], *, silently: bool) -> None:
        """Delete archives by RMAN, or with `rm`, which the catalogue does not notice."""
        with self.lock:
            for archive in self.threads[thread].archives:
                if archive.file.sequence in sequences:
                    archive.on_disk = False
                    if not silently:
                        archive.status = ArchiveStatus.DELETED

    def settle(self) -> None:
        """Write what does not wait, as a START_LOGMNR finds it: strands that are not late, commits held back before."""
        with self.lock:
            for now in self._open.values():
                if not now.late:
                    self._flush(now)
            self._write_held([over for over in self._over if over.seen_by_a_start])
            for now in self._over:
                now.seen_by_a_start = True
            if not self.adversities.strikes("slow_archiver"):
                self.archive_all()

    def last_redo_change(self, thread: int) -> int:
        """V$THREAD.LAST_REDO_CHANGE#: every commit of the thread below it is in its log.

        An idle instance's rises too, as LGWR writes a heartbeat every few seconds.
        """
        with self.lock:
            held = [over.commit_scn for over in self._over if over.thread == thread]
            return min([self.last_scn + 1, *(scn for scn in held if scn is not None)])

    # How records come to the log

    def _change(self, now: Transaction, change: Written) -> None:
        lines = self._drafts.lines(change)
        group = (change.statement, change.action, change.table.object_id)
        fits = bool(change.statement) and groupable(lines)
        if fits and self._grouped(now, group, lines[0]):
            return
        scn = self._drafts.shared_scn(now, change)
        for line in lines:
            self._add(now, scn, change.at, [line])
        now.group = group if fits else None

    def _grouped(self, now: Transaction, group: tuple[object, ...], line: Line) -> bool:
        """Put a further row of a statement beside the one before, where that record is not written yet."""
        if now.group != group or not now.strand or len(now.strand[-1].lines) >= ROWS_IN_A_RECORD:
            return False
        if not self.adversities.strikes("array_deletes"):
            return False
        record = now.strand[-1]
        record.lines.append(line)
        record.one_ssn = line.op is Op.DELETE
        return True

    def _add(
        self,
        now: Transaction,
        scn: int,
        at: datetime,
        lines: Sequence[Line],
        xid: Xid | None = None,
    ) -> Record:
        """Put a record at the end of a transaction's strand; if it is not late, only its last record waits there."""
        if not now.late:
            self._flush(now)
        if self._ahead is not None and self._ahead is not now:
            self._flush(self._ahead)
        self._ahead = None if now.late else now
        scn = max(scn, self.threads[now.thread].current.first_change)
        record = self._drafts.record(now.origin, xid or now.origin.xid, scn, at, lines)
        now.group, now.last_scn = None, scn
        now.strand.append(record)
        if len(now.strand) > self._strand_records:
            self._flush(now)
            now.late = False
        return record

    def _flush(self, now: Transaction) -> None:
        if now.late and len(now.strand) > 1:
            self.adversities.happened("late_redo")
        file = self.threads[now.thread].current
        for record in now.settled():
            noise = self._drafts.noise(record)
            if noise is not None:
                file.append(noise)
            file.append(record)

    def _write_held(self, held: Sequence[Transaction]) -> None:
        for now in held:
            self._over.remove(now)
            self._flush(now)

    # Log switches

    def _advance(self, scn: int, at: datetime) -> None:
        """Move on to an event's time; a full log, or a whim, is switched away from before the event.

        An event with the SCN of the one before belongs to the same statement: it stays in the log of that.
        """
        if scn > self.last_scn:
            for thread in self.threads.values():
                full = thread.current.used >= self._file_bytes
                if full or self.adversities.strikes("switch"):
                    self._switch(thread, scn)
        self.last_scn, self.last_time = max(scn, self.last_scn), at

    def _switch(self, thread: Thread, scn: int) -> None:
        # A switch binds the private strands: all redo made so far goes to the log that ends (1.5).
        self._write_held([over for over in self._over if over.thread == thread.number])
        for now in self._open.values():
            if now.thread == thread.number:
                self._flush(now)
        slow = self.adversities.strikes("slow_archiver")
        thread.switch(max(scn, thread.current.first_change), self.last_time, archive=not slow)
        oldest = thread.current.sequence - self._kept_archives
        for archive in thread.archives:
            if archive.file.sequence <= oldest and archive.on_disk:
                if self.adversities.strikes("purged_archive"):
                    archive.on_disk, archive.status = False, ArchiveStatus.DELETED
                elif self.adversities.strikes("missing_file"):
                    archive.on_disk = False

    def _placed(self, told: int) -> int:
        second = len(self.threads) > 1 and self.adversities.strikes("second_thread")
        return sorted(self.threads)[1] if second else told
