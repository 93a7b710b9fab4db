"""Snapshot, against `pgcopydb copy table-data` with as many jobs, and pg_dump piped into pg_restore.

All three copy the same rows into tables that have no index but what their own way leaves there: Bowline's are made by
its schema role, the peers' by pg_dump's pre-data section. Every session of every contender commits asynchronously or
not as its program decides; a checkpoint of the target behind each copy is in nobody's time.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable

from bench import peers
from bench.arena import create, uri, wait_for
from bench.figures import OURS, Bar, Result
from bench.loads import pgbench, run
from bench.product import Product
from bench.rounds import Extra, Setting, compete
from bowline_worker.contract import Role
from road.by_hand import Worker
from servers import Database

BAR = Bar(1.2, 1.6)
JOBS = 2
SECONDS = 900.0

#: Indexes follow, in the same process: they are no part of any contender's time.
COPIED = "select exists (select from bowline.mark where mark = 'snapshot')"

#: A gigabyte and a half, in pgbench's form, per 100 of scale; and rows of many types.
SCALE = 100
MIXED = """
create table {name} (id bigint primary key, a int, b numeric(12,2), c timestamptz, d text, e uuid, f bool);
insert into {name} select i, i % 1000, i / 7.0, '2026-01-01'::timestamptz + i * interval '1 second', md5(i::text),
    md5(i::text)::uuid, i % 3 = 0 from generate_series(1, {rows}) i"""


class Copying:
    """One source, and a target that is made empty for each turn."""

    def __init__(self, setting: Setting, name: str, make: Callable[[Database], None]) -> None:
        self.setting, self.name = setting, name
        self.source = create(setting.arena.source, f"s_{name}")
        make(self.source)
        self.source.run("vacuum analyze", "checkpoint")
        self.schema = setting.directory / f"{name}-schema.sql"
        run(
            [
                peers.program("pg_dump"),
                "-s",
                "--section=pre-data",
                "-f",
                str(self.schema),
                uri(self.source),
            ]
        )
        self.rows = {
            table: self.source.value(f"select count(*) from {table}") for table in self._tables()
        }
        size = self.source.value(
            "select sum(pg_relation_size(c.oid)) from pg_class c "
            "where relkind = 'r' and relnamespace = 'public'::regnamespace"
        )
        self.megabytes = float(size) / 1e6
        self.costs: list[tuple[float, float]] = []

    def _tables(self) -> list[str]:
        found = self.source.rows(
            "select c.oid::regclass::text from pg_class c "
            "where relkind = 'r' and relnamespace = 'public'::regnamespace"
        )
        return [str(name) for (name,) in found]

    def _empty(self) -> Database:
        return create(self.setting.arena.target, f"s_{self.name}")

    def _with_schema(self) -> Database:
        target = self._empty()
        run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", str(self.schema), uri(target)])
        target.run("checkpoint")
        return target

    def _check(self, target: Database) -> None:
        for table, rows in self.rows.items():
            if (there := target.value(f"select count(*) from {table}")) != rows:
                raise AssertionError(f"{table}: {there} of {rows} rows")

    def bowline(self) -> float:
        """From the snapshot role's start, with its imports, to the moment at which its ledger has all."""
        target = self._empty()
        product = Product.between(self.setting.arena, self.source, target, parallelism=JOBS)
        try:
            for role in (Role.ASSESS, Role.SCHEMA, Role.PREPARE):
                product.run(role)
            target.run("checkpoint")
            with product.capturing() as capture:
                wait_for(
                    "the view is held",
                    lambda: self.source.value("select count(*) from bowline.held"),
                    60,
                )
                start = time.monotonic()
                worker = product.road.start(Role.SNAPSHOT)
                seconds = self._until_copied(product, worker, target) - start
                cost = product.cost(worker)
                worker.kill()
                product.check(capture)
            self.costs.append((cost.cpu, cost.peak_mib))
            self._check(target)
        finally:
            product.forget()
        return self.megabytes / seconds

    def _until_copied(self, product: Product, worker: Worker, target: Database) -> float:
        with target.connect() as look:

            def copied() -> bool:
                product.check(worker)
                return look.execute(COPIED).fetchone() == (True,)

            return wait_for("all rows are copied", copied, SECONDS, 0.02)

    def pgcopydb(self) -> float:
        target = self._with_schema()
        work = self.setting.directory / "pgcopydb"
        shutil.rmtree(work, ignore_errors=True)
        command = [peers.program("pgcopydb"), "copy", "table-data", "--dir", str(work)]
        command += ["--table-jobs", str(JOBS), "--index-jobs", str(JOBS)]
        command += ["--source", uri(self.source), "--target", uri(target)]
        start = time.monotonic()
        run(command, seconds=SECONDS)
        seconds = time.monotonic() - start
        self._check(target)
        return self.megabytes / seconds

    def dump(self) -> float:
        """One job: neither of the two can have more through a pipe."""
        target = self._with_schema()
        start = time.monotonic()
        with subprocess.Popen(
            [peers.program("pg_dump"), "-Fc", "-Z0", "--data-only", uri(self.source)],
            stdout=subprocess.PIPE,
        ) as dumping:
            subprocess.run(
                [peers.program("pg_restore"), "--data-only", "-d", uri(target)],
                stdin=dumping.stdout, check=True, timeout=SECONDS, capture_output=True,
            )  # fmt: skip
        seconds = time.monotonic() - start
        self._check(target)
        return self.megabytes / seconds

    def close(self) -> None:
        self.source.server.drop_database(self.source.name)
        self.setting.arena.target.drop_database(f"s_{self.name}")


def measure(setting: Setting) -> None:
    costs = Extra(
        title="Snapshot's process",
        columns=("data", "MB of heap", "CPU, seconds a GB", "peak memory, MiB"),
    )
    setting.tables.append(costs)
    scale = max(1, round(SCALE * setting.size))

    def tables(database: Database) -> None:
        """Many tables of one size, of several types."""
        for number in range(4):
            statement = MIXED.format(name=f"mixed_{number}", rows=int(1_500_000 * setting.size))
            database.run(statement)

    def one_table(database: Database) -> None:
        pgbench(database, "--initialize", "--quiet", f"--scale={scale}")

    for name, make in (("tables", tables), ("one_table", one_table)):
        if not setting.wants("snapshot", name):
            continue
        result = Result(name=f"snapshot: {name}", unit="MB/s", bar=BAR)
        with setting.part(result):
            copying = Copying(setting, name, make)
            try:
                result.notes.append(f"{copying.megabytes:,.0f} MB of heap, {JOBS} jobs.")
                compete(
                    setting,
                    result,
                    {
                        OURS: copying.bowline,
                        "pgcopydb copy table-data": copying.pgcopydb,
                        "pg_dump | pg_restore": copying.dump,
                    },
                )
                cpu, peak = (
                    sorted(each)[len(each) // 2] for each in zip(*copying.costs, strict=True)
                )
                costs.rows.append(
                    (
                        name,
                        f"{copying.megabytes:,.0f}",
                        f"{cpu / copying.megabytes * 1000:.2f}",
                        f"{peak:.0f}",
                    )
                )
            finally:
                copying.close()
