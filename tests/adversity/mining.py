"""Bowline's miner on the stand-in's redo log: with its own choice of logs, restarts now and then, and what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random

from adversity.receiver import TABLES, Receiver, differences, truth
from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.failures import gone_for_good
from bowline_worker.endpoints.oracle.logs import LogFile, LogMissing, choose
from bowline_worker.endpoints.oracle.mining import Committed, Miner
from bowline_worker.endpoints.oracle.position import Place
from bowline_worker.endpoints.oracle.redo import parse
from bowline_worker.endpoints.oracle.selection import Selection
from bowline_worker.endpoints.oracle.start import Start
from bowline_worker.endpoints.oracle.steps import Step
from bowline_worker.model import TableName
from oracle.mining_rows import first_place
from oracle.standin.backend import Value
from oracle.standin.redolog.adversities import Adversities
from oracle.standin.redolog.lines import LobLimits
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.scribe import EPOCH, Scribe
from oracle.standin.redolog.workload import PLAIN, Workload
from oracle.test_mining_standin import CODES, SCRATCH
from oracle.test_mining_standin import Mining as MiningAsChosen

SELECTION = Selection(
    tables={(t.owner, t.name): TableName(t.owner, t.name) for t in TABLES.values()},
    objects={t.object_id: TableName(t.owner, t.name) for t in TABLES.values()},
)
FIRST_SCN = 1000
TURNS = 20
PATIENCE = 50
BEGIN = Start(before=FIRST_SCN, snapshot=FIRST_SCN, is_settled=True)


class _Applied(Miner):
    """A miner whose transactions are applied as they come."""

    def __init__(self, place: Place, receiver: Receiver, directory: Path) -> None:
        super().__init__(place, SELECTION, parse=parse, directory=directory)
        self._receiver = receiver

    def apply(self, step: Step) -> Iterator[Committed]:
        for transaction in super().apply(step):
            self._receiver.take(transaction)
            yield transaction


class Mining(MiningAsChosen):
    """A capture without a server: Bowline chooses the logs, mines and applies; it restarts now and then."""

    def __init__(self, log: RedoLog, db: Scribe, draw: Random) -> None:
        self.receiver = Receiver(db)
        self.stop: Unsafe | None = None  #: why it gave up
        self._failures = 0  #: in a row: the product waits by the clock
        super().__init__(log, db, draw)

    def _start(self) -> None:
        if self._end is None:
            self._saved = first_place(BEGIN)
        self._miner = _Applied(self._saved.after(self._end), self.receiver, SCRATCH)

    def step(self, meanwhile: Callable[[], None] = lambda: None) -> int:
        """Mine and apply; -1 where a step has to be tried again. Nothing after a stop."""
        if self.stop is not None:
            return 0
        try:
            done = super().step(meanwhile)
            self._failures = self._failures + 1 if done < 0 else 0
            if self._failures < PATIENCE:
                return done
            self.stop = gone_for_good("ORA-01284")  # nobody else fails so often here
        except LogMissing as missing:
            self.stop = missing.for_good()  # nobody restores it here
        except Unsafe as stop:
            self.stop = stop
        return 0

    def _logs(self) -> list[str]:
        """Choose as the product does; a step mines all that there is."""
        members = {row["GROUP#"]: str(row["MEMBER"]) for row in self._view("V$LOGFILE")}
        online = [row for row in self._view("V$LOG") if row["STATUS"] != "UNUSED"]
        archived = [row for row in self._view("V$ARCHIVED_LOG") if row["STATUS"] == "A"]
        files = [_file(row, members[row["GROUP#"]], archived=False) for row in online]
        files += [_file(row, str(row["NAME"]), archived=True) for row in archived]
        bounds = self._miner.bounds
        sequences = {thread: bound.address.sequence for thread, bound in bounds.items()}
        scn = self._miner.place.mine_from
        chosen = choose(files, sequences=sequences, scn=scn, limit=len(files))
        return [file.name for file in chosen.files]

    def problems(self) -> list[str]:
        """Tell what was lost, doubled or came out wrong; behind a stop nothing is lost, it is only not there yet."""
        have = [xid for xid, _, _ in self.given] + self.touching
        found = [f"doubled {xid}" for xid, count in Counter(have).items() if count > 1]
        true = {
            tuple(each.xid): (
                each.scn,
                [(CODES[c.action], c.rowid) for c in each.changes if c.table.name == PLAIN.name],
            )
            for each in self.db.committed
            if each.changes
        }
        found += [
            f"{xid} came as {scn, plain} instead of {true.get(xid)}"
            for xid, scn, plain in self.given
            if true.get(xid) != (scn, plain)
        ]
        if self.stop is None:
            found += [f"lost {xid}" for xid in sorted(true.keys() - set(have))]
        if self.orders != sorted(set(self.orders)):
            found.append("positions do not rise")
        want = truth(self.db, set(have) if self.stop else None)
        return found + self.receiver.wrong + differences(self.receiver.rows, want)


def _file(row: Mapping[str, Value], name: str, *, archived: bool) -> LogFile:
    thread, sequence, first = (
        int(str(row[column])) for column in ("THREAD#", "SEQUENCE#", "FIRST_CHANGE#")
    )
    return LogFile(thread, sequence, first, name, archived=archived)


def log_of(adversities: Adversities, *, threads: int = 1, kept_archives: int = 40) -> RedoLog:
    """Make a log of small parts: everything that has a limit meets it."""
    return RedoLog(
        adversities,
        at=EPOCH,
        scn=FIRST_SCN,
        threads=threads,
        file_bytes=40_000,
        strand_records=12,
        csf_bytes=90,
        lobs=LobLimits(inline_bytes=20, piece=10),
        kept_archives=kept_archives,
        dests=2,
    )


def mine(
    log: RedoLog, work: Workload, *, between: Callable[[int], None] = lambda turn: None
) -> Mining:
    """Mine while transactions run, and then until nothing is left; `between` is called before each turn of work."""
    draw = work.random
    mining = Mining(log, work.db, draw)
    for turn in range(TURNS):
        between(turn)
        for _ in range(draw.randint(0, 12)):
            work.act()
        mining.step(work.act)
    work.finish()
    quiet = 0
    for _ in range(200):
        quiet = quiet + 1 if mining.step() >= 0 else 0
        if quiet > 3:
            return mining
    raise AssertionError("the miner never comes to an end")
