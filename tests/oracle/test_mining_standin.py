"""The miner on the stand-in's redo log, which is written by somebody else and is adversarial on purpose."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bowline_worker.endpoints.oracle.logrow import Code, LogRow
from bowline_worker.endpoints.oracle.mining import Miner
from bowline_worker.endpoints.oracle.position import Place
from bowline_worker.endpoints.oracle.redo import parse
from bowline_worker.endpoints.oracle.selection import Selection
from bowline_worker.model import Position, TableName
from oracle.mining_rows import AT, first_place
from oracle.standin.backend import OraError
from oracle.standin.events import Action
from oracle.standin.redolog.adversities import Adversities, Chance
from oracle.standin.redolog.lines import LobLimits
from oracle.standin.redolog.miner import ADDFILE, NEW, LogMiner
from oracle.standin.redolog.reader import AGAIN, USUAL, Reader
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.rows import Row
from oracle.standin.redolog.scribe import EPOCH, Scribe
from oracle.standin.redolog.workload import PLAIN, WITH_LOB, Workload

CODES = {Action.INSERT: Code.INSERT, Action.UPDATE: Code.UPDATE, Action.DELETE: Code.DELETE}
SELECTION = Selection(
    tables={(t.owner, t.name): TableName(t.owner, t.name) for t in (PLAIN, WITH_LOB)},
    objects={t.object_id: TableName(t.owner, t.name) for t in (PLAIN, WITH_LOB)},
)
SCRATCH = Path(tempfile.gettempdir())


class Mining(Reader):
    """The stand-in's own choice of logs and bounds, with a Miner behind it that restarts now and then."""

    def __init__(self, log: RedoLog, db: Scribe, draw: Random) -> None:
        super().__init__(log, db)
        self._draw = draw
        self._end: Position | None = None
        self._saved: Place = first_place()
        self.given: list[tuple[tuple[int, ...], int, list[tuple[int, str]]]] = []
        #: Those with nothing but rows to read again, and what comes before that: all may have been taken back.
        self.touching: list[tuple[int, ...]] = []
        self.orders: list[int] = []
        self._start()

    def _start(self) -> None:
        place = self._saved.after(self._end)
        self._miner = Miner(place, SELECTION, parse=parse, directory=SCRATCH)
        self.cursors = {
            n: (resume.address.rs_id, resume.address.ssn) for n, resume in place.resume.items()
        }

    def step(self, meanwhile: Callable[[], None] = lambda: None) -> int:
        upper = max(self._bound(), self._miner.least_upper)
        meanwhile()
        step = self._miner.step(upper)
        miner = LogMiner(self.log)
        try:
            for at, name in enumerate(self._logs()):
                miner.add_logfile(name, ADDFILE if at else NEW)
            miner.start(0, 0, USUAL)
            for row in miner.rows():
                step.add(LogRow.from_row(as_selected(row)))
                if self._draw.random() < 0.01:
                    meanwhile()
        except OraError as error:
            if error.code not in AGAIN:
                raise
            self.failed += 1
            return -1
        for transaction in self._miner.apply(step):
            plain = [
                (change.code, change.row_id)
                for change in transaction.changes
                if change.table.name == PLAIN.name
            ]
            self.orders.append(transaction.position.order)
            if plain or not any(change.is_touch for change in transaction.changes):
                self.given.append((transaction.xid[1:], transaction.scn, plain))
            else:
                self.touching.append(transaction.xid[1:])
            self._end = transaction.position
            if self._draw.random() < 0.5:
                self._saved = transaction.place
            if self._draw.random() < 0.05:
                self._start()
                return -1
        self.cursors = {
            n: (resume.address.rs_id, resume.address.ssn)
            for n, resume in self._miner.place.resume.items()
        }
        return 0


def as_selected(row: Row) -> tuple[object, ...]:
    return (
        row.scn, row.start_scn, AT, row.thread, row.rs_id, row.ssn, row.src_con_id, row.xidusn, row.xidslt,
        row.xidsqn, row.operation_code, row.status, row.info, row.rollback, row.csf, row.row_id, row.seg_owner,
        row.table_name, row.data_obj, row.src_con_name, row.username, row.client_id, row.sql_redo,
    )  # fmt: skip


def run(seed: int, chance: float, threads: int) -> tuple[Scribe, Mining]:
    gone: dict[str, Chance] = {"purged_archive": "never", "missing_file": "never", "switch": 0.02}
    log = RedoLog(
        Adversities.all(seed, chance, **gone),
        at=EPOCH,
        scn=1000,
        threads=threads,
        file_bytes=40_000,
        strand_records=12,
        csf_bytes=90,
        lobs=LobLimits(inline_bytes=20, piece=10),
        kept_archives=40,
        dests=2,
    )
    db, draw = Scribe(log), Random(seed)
    work = Workload(db, draw)
    mining = Mining(log, db, draw)
    for _ in range(20):
        for _ in range(draw.randint(0, 12)):
            work.act()
        mining.step(work.act)
    work.finish()
    quiet = 0
    for _ in range(200):
        quiet = quiet + 1 if mining.step() >= 0 else 0
        if quiet > 3:
            return db, mining
    raise AssertionError("the miner never comes to an end")


@pytest.mark.parametrize("threads", [1, 2])
@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(seed=st.integers(0, 10**9), chance=st.sampled_from([0.05, 0.25, 0.6]))
def test_each_transaction_of_the_stand_in_comes_once(
    threads: int, seed: int, chance: float
) -> None:
    db, mining = run(seed, chance, threads)

    assert sorted(mining.given) == sorted(
        (
            tuple(each.xid),
            each.scn,
            [(CODES[c.action], c.rowid) for c in each.changes if c.table.name == PLAIN.name],
        )
        for each in db.committed
        if each.changes and tuple(each.xid) not in mining.touching
    )
    assert len(mining.touching) == len(set(mining.touching))
    assert mining.orders == sorted(set(mining.orders))
