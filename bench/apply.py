"""Apply of a backlog, against native logical replication of the same backlog.

Ours reads the backlog from its journal, where capture has put it; native replication has it decoded by the source at
the same time, as it always does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench import peers
from bench.arena import copy, create, require_equal, uri, wait_for, wal_position
from bench.backlog import changes_in, last_transaction
from bench.figures import OURS, Bar, Result
from bench.loads import Load, loads, run
from bench.product import Product
from bench.rounds import Extra, Setting, compete
from bowline_worker.contract import Role
from road.by_hand import Worker
from servers import Database

BARS = {
    "tpcb": Bar(1.8, 2.4),
    "sysbench": Bar(1.4, 2.0),
    "tpcc": Bar(1.0, 1.4),
    "inserts": Bar(1.0, 1.5),
}
SECONDS = 300.0

#: Rounds begin where lanes are free again, a bit before the end of the process that held them.
TAKEN = "select bool_and(generation > %s) from bowline.lane where origin = 'source'"
APPLIED = "select min(block) from bowline.lane where origin = 'source'"


def copy_by_dump(source: Database, target: Database, directory: Path) -> None:
    """The same rows by the engine's own tools."""
    file = directory / f"{source.name}.dump"
    run([peers.program("pg_dump"), "-Fc", "-Z0", "-f", str(file), uri(source)])
    run([peers.program("pg_restore"), "-d", uri(target), str(file)])
    file.unlink()
    target.run("vacuum analyze")


@dataclass
class Backlog:
    """A backlog that waits in the source's log and in a journal, and targets that stand before it."""

    setting: Setting
    load: Load
    costs: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        setting, load = self.setting, self.load
        source, target = setting.arena.source, setting.arena.target
        self.source = create(source, f"b_{load.name}")
        self.directory = setting.directory
        load.prepare(self.source, self.directory)
        self.native_template = f"n_{load.name}_template"
        copy_by_dump(self.source, create(target, self.native_template), self.directory)
        peers.publish(self.source)
        self.target = create(target, f"b_{load.name}")
        self.product = Product.between(setting.arena, self.source, self.target)
        self.product.prepare()
        self.slot = peers.make_slot(self.source, f"peer_{load.name}", like=self.product.slot)
        self.empty = self.product.keep_journal("journal-empty")
        load.make_backlog(self.source, self.directory)
        self.position = wal_position(self.source)
        # Whoever has this transaction has all that came before the position.
        last_transaction(self.source)
        self.product.capture_until(self.position)
        self.full = self.product.keep_journal("journal-full")
        self.block, _ = self.product.journal_end()
        self.template = f"b_{load.name}_template"
        copy(target, self.target.name, self.template)
        self.events = changes_in(self.product)

    # --- contenders ---

    def bowline(self) -> float:
        """Apply from the journal: from the moment at which it has its lanes to the last block's commit."""
        self.target = copy(self.target.server, self.template, self.target.name)
        self.product.take_journal(self.full)
        with self.product.applying() as worker, self.target.connect() as look:
            start = self._taken(look, worker)

            def applied() -> bool:
                self.product.check(worker)
                (block,) = look.execute(APPLIED).fetchone() or (0,)
                return int(block) >= self.block

            seconds = wait_for("the backlog is applied", applied, SECONDS) - start
        self.costs.append(self.product.costs[str(Role.APPLY)].cpu)
        return self.events / seconds

    def _taken(self, look: psycopg.Connection[tuple[Any, ...]], worker: Worker) -> float:
        (before,) = look.execute("select max(abs(generation)) from bowline.lane").fetchone() or (0,)

        def taken() -> bool:
            self.product.check(worker)
            return look.execute(TAKEN, [before]).fetchone() == (True,)

        return wait_for("apply has its lanes", taken, 60)

    def native(self, *, binary: bool) -> float:
        target = copy(self.target.server, self.native_template, f"n_{self.load.name}")
        slot = peers.make_slot(self.source, f"run_{self.load.name}", like=self.slot)
        with peers.subscription(self.source, target, slot, binary=binary) as native:
            start = native.enable()
            seconds = (
                wait_for("native applies", lambda: native.remote() > self.position, SECONDS) - start
            )
        return self.events / seconds

    def verify(self) -> None:
        """The last round of each: the target has the source's rows."""
        require_equal(self.source, self.target)
        require_equal(self.source, Database(self.target.server, f"n_{self.load.name}"))

    def close(self) -> None:
        self.product.close()
        source, target = self.setting.arena.source, self.setting.arena.target
        source.drop_database(self.source.name)
        for name in (self.target.name, self.template, self.native_template, f"n_{self.load.name}"):
            target.drop_database(name)


def measure(setting: Setting) -> None:
    costs = Extra(
        title="CPU of apply's process, a change",
        columns=("workload", "changes of the backlog", "microseconds"),
    )
    setting.tables.append(costs)
    for load in loads(setting.size).values():
        if not setting.wants("apply", load.name):
            continue
        name = f"apply: {load.name}"
        with setting.part(Result(name=name, unit="changes/s", bar=BARS[load.name])) as result:
            one(setting, load, result, costs)


def one(setting: Setting, load: Load, result: Result, costs: Extra) -> None:
    backlog = Backlog(setting, load)
    try:
        compete(
            setting,
            result,
            {
                OURS: backlog.bowline,
                "native, text": lambda: backlog.native(binary=False),
                "native, binary": lambda: backlog.native(binary=True),
            },
        )
        backlog.verify()
        micro = sorted(backlog.costs)[len(backlog.costs) // 2] / backlog.events * 1e6
        costs.rows.append((load.name, f"{backlog.events:,}", f"{micro:.1f}"))
    finally:
        backlog.close()
