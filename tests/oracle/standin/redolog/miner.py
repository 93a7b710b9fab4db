"""DBMS_LOGMNR for one session: which logs it reads, from where to where, and what goes wrong meanwhile (1.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag

from oracle.standin.backend import OraError
from oracle.standin.events import Xid
from oracle.standin.redolog.files import Archive, Group, LogFile, Origin, Record
from oracle.standin.redolog.lines import Op
from oracle.standin.redolog.nls import EXACT, Nls
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.rows import Rendering, Row
from oracle.standin.redolog.statements import Form

ROOT = "CDB$ROOT"


class Option(IntFlag):
    """Options of START_LOGMNR, and of ADD_LOGFILE."""

    NEW = 1
    COMMITTED_DATA_ONLY = 2
    SKIP_CORRUPTION = 4
    DDL_DICT_TRACKING = 8
    DICT_FROM_ONLINE_CATALOG = 16
    DICT_FROM_REDO_LOGS = 32
    NO_SQL_DELIMITER = 64
    PRINT_PRETTY_SQL = 512
    CONTINUOUS_MINE = 1024
    NO_ROWID_IN_STMT = 2048
    STRING_LITERALS_IN_STMT = 4096


#: What ADD_LOGFILE knows: dbms_logmnr.new and dbms_logmnr.addfile.
NEW, ADDFILE = 1, 3

_KNOWN = (
    Option.DICT_FROM_ONLINE_CATALOG
    | Option.NO_SQL_DELIMITER
    | Option.NO_ROWID_IN_STMT
    | Option.SKIP_CORRUPTION
)


@dataclass(frozen=True, slots=True)
class Added:
    """A log of the session's list, as its header said when it was added."""

    name: str
    file: LogFile
    place: Group | Archive

    @property
    def is_overwritten(self) -> bool:
        """Tell whether the online group holds another log by now."""
        return isinstance(self.place, Group) and self.place.file is not self.file


@dataclass(frozen=True, slots=True)
class _Range:
    start: int
    end: int | None
    rendering: Rendering

    def holds(self, scn: int) -> bool:
        return self.start <= scn and (self.end is None or scn <= self.end)


class LogMiner:
    """One session's LogMiner. Errors are OraError, with the codes of a real server."""

    def __init__(
        self, log: RedoLog, *, container: str = ROOT, nls: Callable[[], Nls] = lambda: EXACT
    ) -> None:
        self.added: list[Added] = []
        self._log, self._container, self._nls = log, container, nls
        self._range: _Range | None = None
        self._serial = 0  # counts starts: a cursor of an older one is over

    def add_logfile(self, name: str, options: int = ADDFILE) -> None:
        """ADD_LOGFILE: NEW begins the list anew. An archive or the online log of a group, by any of its names."""
        with self._log.lock:
            if self._container != ROOT:
                raise OraError(65040, "operation not allowed from within a pluggable database")
            if options == NEW:
                self.added, self._range = [], None
            elif options != ADDFILE:
                raise OraError(1280, f"fatal LogMiner error: options {options} of ADD_LOGFILE")
            self._add(self._open(name))

    def remove_logfile(self, name: str) -> None:
        """REMOVE_LOGFILE: take a log off the list."""
        with self._log.lock:
            if name not in (added.name for added in self.added):
                raise OraError(1290, f"cannot remove unlisted log file {name}")
            self.added = [added for added in self.added if added.name != name]

    def start(self, start_scn: int = 0, end_scn: int = 0, options: int = 0) -> None:
        """START_LOGMNR: again and again without END; 0 is no bound. The options are of this start alone."""
        with self._log.lock:
            form, dictionary = self._options(Option(options))
            if end_scn and start_scn > end_scn:
                raise OraError(1281, f"SCN range specified is invalid: {start_scn} to {end_scn}")
            self._log.settle()
            if self._container != ROOT:
                self.added = []
                self._choose(start_scn, end_scn or None)
            elif not self.added:
                raise OraError(
                    1292, "no log file has been specified for the current LogMiner session"
                )
            self._check_covered(start_scn, end_scn or None)
            con_id = self._log.containers.get(self._container, 0)
            rendering = Rendering(
                log=self._log, con_id=con_id, nls=self._nls(), form=form, dictionary=dictionary
            )
            self._range = _Range(start_scn, end_scn or None, rendering)
            self._serial += 1

    def end(self) -> None:
        """END_LOGMNR: forget the list and the range."""
        with self._log.lock:
            if self._range is None and not self.added:
                raise OraError(1307, "no LogMiner session is currently active")
            self.added, self._range = [], None
            self._serial += 1

    @property
    def is_started(self) -> bool:
        """Tell whether V$LOGMNR_CONTENTS can be read."""
        return self._range is not None

    def rows(self) -> Iterator[Row]:
        """V$LOGMNR_CONTENTS: threads merged by SCN, each in its redo order. The redo is read as rows are fetched."""
        with self._log.lock:
            if self._range is None:
                raise OraError(
                    1306,
                    "dbms_logmnr.start_logmnr() must be invoked before selecting from v$logmnr_contents",
                )
            serial, now = self._serial, self._range
            readers = self._readers()
            ambush = self._ambush(readers)
        starts: set[tuple[str, Xid]] = set()
        while True:
            with self._log.lock:
                if serial != self._serial:
                    raise OraError(1306, "the LogMiner session was ended or started anew")
                if ambush is not None and ambush.is_due():
                    self._log.adversities.happened("overwrite")
                    self._log.overwrite(ambush.thread)
                    ambush = None
                rows = self._next(readers, now, starts)
            if rows is None:
                return
            yield from rows

    def _next(
        self,
        readers: list[_Reader],
        now: _Range,
        starts: set[tuple[str, Xid]],
    ) -> Sequence[Row] | None:
        ahead = [(reader.peek().scn, reader) for reader in readers if reader.has_more()]
        if not ahead:
            return None
        reader = min(ahead, key=lambda pair: (pair[0], pair[1].thread))[1]
        record = reader.take()
        if not now.holds(record.scn) or not self._is_mine(record.origin):
            return []
        transaction = (record.origin.container, record.origin.xid)
        if record.lines[0].op is Op.START:
            starts.add(transaction)
        seen = transaction in starts
        return now.rendering.rows(record, reader.thread, start_seen=seen)

    def _is_mine(self, origin: Origin) -> bool:
        return self._container in (ROOT, origin.container)

    def _readers(self) -> list[_Reader]:
        threads: dict[int, list[Added]] = {}
        for added in sorted(self.added, key=lambda added: added.file.sequence):
            threads.setdefault(added.file.thread, []).append(added)
        return [_Reader(thread, logs) for thread, logs in sorted(threads.items())]

    def _ambush(self, readers: list[_Reader]) -> _Ambush | None:
        """Choose where in an online log a fetch will be overtaken by log switches."""
        adversities = self._log.adversities
        for reader in readers:
            for added in reader.logs:
                size = len(added.file.records)
                if isinstance(added.place, Group) and size and adversities.wants("overwrite"):
                    return _Ambush(reader, added, adversities.random.randrange(size))
        return None

    def _options(self, options: Option) -> tuple[Form, bool]:
        if options & Option.DICT_FROM_REDO_LOGS:
            raise OraError(1371, "Complete LogMiner dictionary not found")
        if options & Option.CONTINUOUS_MINE:
            raise OraError(
                44609, "CONTINUOUS_MINE is desupported for use with DBMS_LOGMNR.START_LOGMNR."
            )
        if options & ~_KNOWN:
            raise OraError(3001, f"unimplemented feature: LogMiner options {options & ~_KNOWN!r}")
        form = Form(
            with_rowid=not options & Option.NO_ROWID_IN_STMT,
            delimiter="" if options & Option.NO_SQL_DELIMITER else ";",
        )
        return form, bool(options & Option.DICT_FROM_ONLINE_CATALOG)

    def _open(self, name: str) -> Added:
        for thread in self._log.threads.values():
            for group in thread.groups:
                if name in group.members and group.file is not None:
                    return Added(name, group.file, group)
            for archive in thread.archives:
                if archive.name == name and archive.on_disk:
                    return Added(name, archive.file, archive)
        raise OraError(1284, f"file {name} cannot be opened")

    def _add(self, added: Added) -> None:
        if any(other.file is added.file for other in self.added):
            raise OraError(1289, f"cannot add duplicate log file {added.name}")
        self.added.append(added)

    def _choose(self, start: int, end: int | None) -> None:
        """Choose the logs of a range, as a server does for a session inside a PDB: archives first."""
        for thread in self._log.threads.values():
            chosen: dict[int, Added] = {}
            for archive in thread.archives:
                if archive.on_disk and archive.file.sequence not in chosen:
                    chosen[archive.file.sequence] = Added(archive.name, archive.file, archive)
            for group in thread.groups:
                if group.file is not None and group.file.sequence not in chosen:
                    added = Added(group.members[0], group.file, group)
                    chosen[group.file.sequence] = added
            for _, added in sorted(chosen.items()):
                if _overlaps(added.file, start, end):
                    self._add(added)

    def _check_covered(self, start: int, end: int | None) -> None:
        """Refuse a range that begins before the logs, ends after them, or finds one missing in between."""
        threads = self._readers()
        if not threads:
            raise OraError(1291, "missing log file")
        for reader in threads:
            files = [added.file for added in reader.logs]
            sequences = [file.sequence for file in files]
            gap = sequences != list(range(sequences[0], sequences[0] + len(sequences)))
            late = bool(start) and files[0].first_change > start
            ends = files[-1].next_change
            early = end is not None and ends is not None and ends <= end
            if gap or late or early:
                raise OraError(1291, "missing log file")


@dataclass(slots=True, eq=False)
class _Reader:
    """Where a fetch stands in one thread."""

    thread: int
    logs: list[Added]
    log: int = 0
    record: int = 0

    def has_more(self) -> bool:
        while self.log < len(self.logs):
            file = self.logs[self.log].file
            if self.record < len(file.records):
                return True
            if file.next_change is None:
                return False
            self.log, self.record = self.log + 1, 0
        return False

    def peek(self) -> Record:
        return self.logs[self.log].file.records[self.record]

    def take(self) -> Record:
        added = self.logs[self.log]
        if added.is_overwritten:
            found = added.place.file.sequence if added.place.file else 0
            wanted = added.file.sequence
            raise OraError(
                310, f"archived log contains sequence {found}; sequence {wanted} required"
            )
        record = self.peek()
        self.record += 1
        return record


@dataclass(slots=True)
class _Ambush:
    """A place in an online log at which a fetch is overtaken."""

    reader: _Reader
    added: Added
    record: int

    @property
    def thread(self) -> int:
        return self.reader.thread

    def is_due(self) -> bool:
        """Tell whether the next record to be read there is this one."""
        reader = self.reader
        return (
            reader.log < len(reader.logs)
            and reader.logs[reader.log] is self.added
            and reader.record >= self.record
        )


def _overlaps(file: LogFile, start: int, end: int | None) -> bool:
    return (file.next_change is None or file.next_change > start) and (
        end is None or file.first_change <= end
    )
