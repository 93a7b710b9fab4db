"""How time and memory grow: rows, tables, changes, and one huge transaction. Bowline alone; nothing has a peer here."""

from __future__ import annotations

import time

from bench.arena import create, wait_for, wal_position
from bench.backlog import last_transaction
from bench.product import Product
from bench.rounds import Extra, Setting
from bench.snapshot import COPIED
from bowline_worker.contract import Role
from servers import Database

ROWS = (1_000_000, 10_000_000, 50_000_000)
TABLES = (1, 100, 1000)
CHANGES = (200_000, 2_000_000)
HUGE_ROWS = 1_000_000
#: Of one role, while it carries that transaction.
HUGE_MIB = 300.0
SECONDS = 900.0


def copied(setting: Setting, source: Database, target: Database) -> tuple[float, float, Product]:
    """Seconds from assess to the last row, and the peak of the snapshot role."""
    product = Product.between(setting.arena, source, target)
    start = time.monotonic()
    for role in (Role.ASSESS, Role.SCHEMA, Role.PREPARE):
        product.run(role, SECONDS)
    with product.capturing():
        worker = product.road.start(Role.SNAPSHOT)
        with target.connect() as look:

            def is_copied() -> bool:
                product.check(worker)
                return look.execute(COPIED).fetchone() == (True,)

            seconds = wait_for("all rows are copied", is_copied, SECONDS, 0.05) - start
        cost = product.cost(worker)
        worker.kill()
    return seconds, cost.peak_mib, product


def rows(setting: Setting, extra: Extra) -> None:
    for count in ROWS:
        wanted = int(count * setting.size)
        source, target = (
            create(server, "g_rows") for server in (setting.arena.source, setting.arena.target)
        )
        source.run(
            "create table t (id bigint, a int, b int)",
            f"insert into t select i, i % 100, i % 7 from generate_series(1, {wanted}) i",
            "vacuum analyze",
        )
        seconds, peak, product = copied(setting, source, target)
        product.forget()
        extra.rows.append(
            (f"{wanted:,}", f"{seconds:.1f}", f"{wanted / seconds:,.0f}", f"{peak:.0f}")
        )
        drop(setting, "g_rows")
        setting.publish()


def tables(setting: Setting, extra: Extra) -> None:
    for count in TABLES:
        wanted = max(1, int(count * min(1.0, setting.size)))
        source, target = (
            create(server, "g_tables") for server in (setting.arena.source, setting.arena.target)
        )
        source.run(
            f"do $$ begin for i in 1..{wanted} loop execute format('create table t_%s as "
            "select i as id, md5(i::text) as a from generate_series(1, 100) i', i); "
            "execute format('alter table t_%s add primary key (id)', i); end loop; end $$",
            "analyze",
        )
        seconds, peak, product = copied(setting, source, target)
        product.forget()
        extra.rows.append((f"{wanted:,}", f"{seconds:.1f}", f"{peak:.0f}"))
        drop(setting, "g_tables")
        setting.publish()


def memory(setting: Setting, extra: Extra) -> None:
    """Peaks of capture and apply: a backlog, ten times as much, and one transaction of a million rows."""
    source, target = (
        create(server, "g_memory") for server in (setting.arena.source, setting.arena.target)
    )
    huge = int(HUGE_ROWS * setting.size)
    source.run(
        "create table t (id bigint primary key, a int, b text)",
        f"insert into t select i, 0, md5(i::text) from generate_series(1, {huge}) i",
        "vacuum analyze",
    )
    product = Product.between(setting.arena, source, target)
    try:
        product.prepare()
        for count in CHANGES:
            wanted = max(1, int(count * setting.size) // 100)
            peaks = stream(
                product,
                f"do $$ begin for n in 1..{wanted} loop update t set a = a + 1 where id between "
                f"1 + n * 97 % {max(1, huge - 100)} and 100 + n * 97 % {max(1, huge - 100)}; commit; end loop; end $$",
            )
            extra.rows.append((f"{wanted * 100:,} changes", *peaks))
            setting.publish()
        peaks = stream(product, "update t set a = a + 1")
        extra.rows.append((f"one transaction of {huge:,} rows", *peaks))
        worst = max(float(each) for each in peaks[:2])
        if worst > HUGE_MIB:
            raise AssertionError(
                f"{worst:.0f} MiB for one transaction, at most {HUGE_MIB:.0f} are allowed"
            )
    finally:
        product.close()
        drop(setting, "g_memory")


def stream(product: Product, statement: str) -> tuple[str, str, str]:
    """Do it at the source while capture and apply run, until it is applied."""
    start = time.monotonic()
    with product.capturing() as capture, product.applying() as apply:
        product.source.run(statement)
        position = wal_position(product.source)
        last_transaction(product.source)

        def journalled() -> bool:
            product.check(capture)
            return product.journal_end()[1] > position

        wait_for("the journal has it", journalled, SECONDS, 0.1)
        block, _ = product.journal_end()

        def applied() -> bool:
            product.check(apply)
            return bool(
                product.target.value(
                    "select min(block) >= %s from bowline.lane where number = 0", block
                )
            )

        wait_for("it is applied", applied, SECONDS, 0.1)
        peaks = [product.cost(worker).peak_mib for worker in (capture, apply)]
    return f"{peaks[0]:.0f}", f"{peaks[1]:.0f}", f"{time.monotonic() - start:.1f}"


def drop(setting: Setting, name: str) -> None:
    setting.arena.source.drop_database(name)
    setting.arena.target.drop_database(name)


def measure(setting: Setting) -> None:
    parts = (
        (
            "memory",
            memory,
            Extra(
                title="Memory of the stream's roles, at their peak",
                columns=("work", "capture, MiB", "apply, MiB", "seconds"),
            ),
        ),
        (
            "tables",
            tables,
            Extra(
                title="Time by tables, of 100 rows each: assess to copied",
                columns=("tables", "seconds", "snapshot's peak, MiB"),
            ),
        ),
        (
            "rows",
            rows,
            Extra(
                title="Time by rows: assess to copied",
                columns=("rows", "seconds", "rows/s", "snapshot's peak, MiB"),
            ),
        ),
    )
    for name, step, extra in parts:
        if not setting.wants("growth", name):
            continue
        setting.tables.append(extra)
        with setting.alone(f"growth: {name}"):
            step(setting, extra)
