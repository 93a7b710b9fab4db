"""The snapshot on real servers: views that outlive their holder, chunks that are copied once, and exact results."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg
import pytest

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import Role, TryAgain, Unsafe, Unsupported
from bowline_worker.endpoints.postgres import books, catalog
from bowline_worker.endpoints.postgres.connection import connect
from bowline_worker.endpoints.postgres.frames import position_at
from bowline_worker.endpoints.postgres.ledger import PostgresLedger, positions, progress
from bowline_worker.endpoints.postgres.replication import capture, slots
from bowline_worker.endpoints.postgres.snapshot import (
    PostgresHold,
    PostgresReader,
    Tables,
    hold,
    page_ranges,
    reader,
)
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Op, Table, TableName, Value
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context
from bowline_worker.roles import snapshot as role
from postgres.origin import STREAM, Reading, prepare
from servers import Database, Pair

ITEM = TableName("public", "item")
EVENT = TableName("public", "event")
TABLES = (
    "create table public.item (id int primary key, name text, note text)",
    "alter table public.item alter note set storage external",
    "create table public.event (what text, at text)",
    "alter table public.event replica identity full",
)
ROWS = (
    "insert into public.item select g, 'n' || g, repeat('x', 60) from generate_series(1, 4000) g",
    "update public.item set note = repeat('t', 5000) where id % 1000 = 0",
    "insert into public.event select 'e' || g % 1000, repeat('y', 40) from generate_series(1, 4000) g",
)
#: Rows move to other pages, keys change, values that are stored apart stay, and twins of a keyless table go.
CHURN = (
    "update public.item set name = name || '!' where id % 3 = 0",
    "update public.item set id = id + 100000 where id % 7 = 0",
    "delete from public.item where id % 5 = 0",
    "insert into public.item select g, 'new', null from generate_series(5000, 5500) g",
    "update public.event set at = 'z' where what in ('e1', 'e2')",
    "delete from public.event where ctid in (select min(ctid) from public.event group by what)",
    "insert into public.event values ('e1', 'z'), ('e1', 'z')",
)


@pytest.fixture
def sites(pair: Pair) -> tuple[Site, Site]:
    """Two tables on both sides, filled at the source."""
    pair.source.run(*TABLES, *ROWS)
    pair.target.run(*TABLES)
    return prepare(pair, "item", "event")


@pytest.fixture
def keep() -> Iterator[Callable[[Any], Any]]:
    """Close what a test opens, whatever becomes of it."""
    opened: list[Any] = []

    def add(thing: Any) -> Any:
        opened.append(thing)
        return thing

    yield add
    for thing in reversed(opened):
        thing.close()


def plan(
    reading: PostgresReader, ledger: PostgresLedger, rows: int = 500
) -> dict[TableName, Table]:
    tables = {table.name: table for table in catalog.tables(reading._site)}
    for table in tables.values():
        ledger.plan(table, reading.position, reading.chunks(table, rows))
    return tables


def copy_all(
    reading: PostgresReader, ledger: PostgresLedger, tables: dict[TableName, Table]
) -> int:
    """Copy what is left at the reader's position; the number of chunks."""
    count = 0
    while ledger.copy(reading, tables, binary=frozenset()) is not None:
        count += 1
    return count


def rows(database: Database, table: TableName) -> list[tuple[Any, ...]]:
    return sorted(database.rows(f"select * from {table}"), key=repr)


def end_session(database: Database, pid: int) -> None:
    assert database.value("select pg_terminate_backend(%s, 10000)", pid)


def pid_of(view: PostgresHold | PostgresReader) -> int:
    return view._connection.info.backend_pid


def streamed(pair: Pair, source: Site, target: Site) -> dict[TableName, list[Any]]:
    """What the target has once the stream's rule is applied to it: only what committed since a table's position."""
    since = positions(target)
    there: dict[TableName, Any] = {
        ITEM: {row[0]: row for row in text_rows(pair.target, "id::text, name, note", ITEM)},
        EVENT: Counter(text_rows(pair.target, "what, at", EVENT)),
    }
    stream = capture(source, STREAM, None)
    found = Reading(source, pair.source, stream).rest()
    stream.close()
    for transaction in found:
        for change in transaction.changes:
            if transaction.position < since[change.table]:
                continue
            if change.table == ITEM:
                apply_keyed(there[ITEM], change.op, change.key, change.after)
            else:
                apply_keyless(there[EVENT], change.before, change.after)
    return {
        ITEM: sorted(there[ITEM].values(), key=repr),
        EVENT: sorted(there[EVENT].elements(), key=repr),
    }


def apply_keyed(
    there: dict[Value, Any], op: Op, key: tuple[Value, ...], after: tuple[Value, ...] | None
) -> None:
    """Fails where a row is missing, or there before it was inserted."""
    old = there.pop(key[0]) if op is not Op.INSERT else None
    if after is not None:
        new = tuple(
            value if value is None or isinstance(value, bytes) else (old or ())[place]
            for place, value in enumerate(after)
        )
        assert new[0] not in there
        there[new[0]] = new


def apply_keyless(there: Counter[Any], before: Any, after: Any) -> None:
    if before is not None:
        assert there[before] > 0
        there[before] -= 1
    if after is not None:
        there[after] += 1


def text_rows(database: Database, columns: str, table: TableName) -> list[Any]:
    return [
        tuple(None if value is None else value.encode() for value in row)
        for row in database.rows(f"select {columns} from {table}")
    ]


def expected(pair: Pair) -> dict[TableName, list[Any]]:
    return {
        ITEM: sorted(text_rows(pair.source, "id::text, name, note", ITEM), key=repr),
        EVENT: sorted(text_rows(pair.source, "what, at", EVENT), key=repr),
    }


def test_page_ranges_cover_every_page_and_have_no_end() -> None:
    assert page_ranges(0, 0, 100) == ["0:"]
    assert page_ranges(10, 1000, 100) == [
        *(f"{start}:{start + 1}" for start in range(9)),
        "9:",
    ]
    assert page_ranges(10, 1000, 1_000_000) == ["0:"]
    assert page_ranges(10, 10, 3) == ["0:3", "3:6", "6:9", "9:"]
    assert page_ranges(3, 0, 64) == ["0:1", "1:2", "2:"]


def test_snapshot_and_stream_together_are_exact(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, target = sites
    keep(hold(source, STREAM))
    pair.source.run(*CHURN)
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))

    tables = plan(reading, ledger)
    chunks = copy_all(reading, ledger, tables)

    assert chunks > 10
    assert ledger.unfinished() == []
    ledger.finish()
    assert streamed(pair, source, target) == expected(pair)


@pytest.mark.parametrize("at", [1, 5])
def test_a_worker_that_dies_in_a_chunk_leaves_the_others_done(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any], at: int
) -> None:
    """Its rows and its mark are gone together, and what is done is not copied again."""
    source, target = sites
    keep(hold(source, STREAM))
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))
    tables = plan(reading, ledger)
    for _ in range(at):
        ledger.copy(reading, tables, binary=frozenset())

    class Dying:
        position, rows = reading.position, 0

        def read(self, table: Table, chunk: str, *, binary: bool) -> Iterator[bytes]:
            yield from reading.read(table, chunk, binary=binary)
            end_session(pair.target, ledger._connection.info.backend_pid)
            yield b"lost\n"

        def chunks(self, table: Table, rows: int) -> list[str]:
            return []

        def close(self) -> None: ...

    with pytest.raises(TryAgain):
        ledger.copy(Dying(), tables, binary=frozenset())

    done = sum(table.chunks_done for table in progress(target).tables)
    assert done == at
    again = keep(PostgresLedger(target))
    rest = copy_all(keep(reader(source, STREAM)), again, tables)
    assert at + rest == sum(table.chunks for table in progress(target).tables)
    for name in (ITEM, EVENT):
        assert rows(pair.target, name) == rows(pair.source, name)


def test_a_view_lost_in_the_middle_is_replaced_and_the_result_is_exact(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    """Finished tables keep their rows and position; the others start again, so no row is doubled or missed."""
    source, target = sites
    first = keep(hold(source, STREAM))
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))
    tables = plan(reading, ledger)
    # The larger table is finished, of the other one some chunks are there.
    while len(ledger.unfinished()) > 1:
        ledger.copy(reading, tables, binary=frozenset())
    for _ in range(3):
        ledger.copy(reading, tables, binary=frozenset())
    (unfinished,) = ledger.unfinished()
    (finished,) = {ITEM, EVENT} - {unfinished}
    pair.source.run(*CHURN)

    for view in (first, reading):
        end_session(pair.source, pid_of(view))
    with pytest.raises(TryAgain):
        first.check()
    with pytest.raises(TryAgain) as lost:
        reader(source, STREAM)
    assert lost.value.reason == "NoSnapshot"
    renewed = keep(hold(source, STREAM))
    pair.source.run("update public.item set name = 'late' where id = 1", "vacuum public.item")
    again, later = keep(reader(source, STREAM)), keep(PostgresLedger(target))
    plan(again, later)
    copy_all(again, later, tables)

    assert renewed.position > first.position
    assert positions(target) == {finished: first.position, unfinished: renewed.position}
    assert later.unfinished() == []
    later.finish()
    assert streamed(pair, source, target) == expected(pair)
    assert slots(source) == [0]


def test_a_table_of_which_all_chunks_are_done_is_not_copied_again(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    """A worker may die between its last chunk and the note that the table is finished."""
    source, target = sites
    first = keep(hold(source, STREAM))
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))
    tables = plan(reading, ledger)
    copy_all(reading, ledger, tables)
    pair.target.run("update bowline.copied set finished = false")
    first.close()
    reading.close()
    keep(hold(source, STREAM))
    again = keep(reader(source, STREAM))

    assert again.position > reading.position
    for table in tables.values():
        assert not ledger.plan(table, again.position, again.chunks(table, 500))
    assert set(positions(target).values()) == {reading.position}
    assert ledger.unfinished() == []


def test_a_view_lives_as_long_as_any_reader(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, target = sites
    before = rows(pair.source, ITEM)
    holder = keep(hold(source, STREAM))
    one = keep(reader(source, STREAM))
    two = keep(reader(source, STREAM))
    end_session(pair.source, pid_of(holder))
    pair.source.run("delete from public.item where id < 2000")

    three = keep(reader(source, STREAM))
    one.close()
    end_session(pair.source, pid_of(two))
    four = keep(reader(source, STREAM))
    three.close()

    assert {each.position for each in (one, two, three, four)} == {holder.position}
    ledger = keep(PostgresLedger(target))
    tables = plan(four, ledger)
    copy_all(four, ledger, tables)
    assert rows(pair.target, ITEM) == before


def test_a_holder_that_comes_back_joins_what_readers_keep(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, _ = sites
    holder = keep(hold(source, STREAM))
    keep(reader(source, STREAM))
    end_session(pair.source, pid_of(holder))

    again = keep(hold(source, STREAM))

    assert again.position == holder.position
    again.check()
    assert pair.source.value("select count(*) from bowline.held") == 2


def test_a_slot_without_a_view_gets_one_of_its_own_position(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    """The process may die after the slot is made and before others could know of its view."""
    source, target = sites
    hold(source, STREAM).close()
    pair.source.run("insert into public.item values (9000, 'between', null)")

    keep(hold(source, STREAM))
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))
    copy_all(reading, ledger, plan(reading, ledger))

    assert (9000, "between", None) in rows(pair.target, ITEM)
    assert streamed(pair, source, target) == expected(pair)
    assert pair.source.value("select count(*) from pg_replication_slots where temporary") == 0


def test_the_slot_is_noted_with_its_start(
    sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, _ = sites
    holder = keep(hold(source, STREAM))

    noted = [each for each in books.made(source) if each.kind == "slot"]

    assert noted == [MadeObject(kind="slot", name=noted[0].name, before=holder.position.text)]


def test_a_name_that_came_again_is_not_taken_for_the_view(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    """After a restart of the server another program's snapshot may have the name, and the pid, that ours had."""
    source, _ = sites
    holder = keep(hold(source, STREAM))
    with pair.source.connect() as other, other.transaction():
        (name, pid) = other.execute("select pg_export_snapshot(), pg_backend_pid()").fetchone() or (
            "",
            0,
        )
        pair.source.run(
            f"update bowline.held set snapshot = '{name}', pid = {pid}, at = at - interval '1 hour'"
        )

        with pytest.raises(TryAgain) as lost:
            reader(source, STREAM)

    assert lost.value.reason == "NoSnapshot"
    assert pair.source.value("select count(*) from bowline.held") == 0
    holder.check()


def test_a_table_rewritten_before_our_lock_is_noticed(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    """An older view finds a truncated table empty, and the stream knows nothing of the rows it should have had."""
    source, _ = sites
    with connect(source) as connection, pair.source.connect() as other:
        before = Tables(source, connection)
        with other.transaction():
            other.execute("set transaction isolation level repeatable read")
            (name,) = other.execute("select pg_export_snapshot()").fetchone() or ("",)
            pair.source.run("alter table public.item alter name type varchar(50)")

            with pytest.raises(TryAgain) as refused:
                before.enter(name)

    assert refused.value.reason == "TableRewritten"


def test_a_held_table_can_be_neither_truncated_nor_altered(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, _ = sites
    keep(hold(source, STREAM))
    for statement in ("truncate public.item", "alter table public.event add more int"):
        with pair.source.connect() as application:
            application.execute("set lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                application.execute(statement.encode())
    pair.source.run("update public.item set name = 'written all the same' where id = 1")


def test_rows_that_were_there_before_are_refused(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    """A keyless table would have them twice, without a word."""
    source, target = sites
    pair.target.run("insert into public.event values ('stranger', null)")
    keep(hold(source, STREAM))
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))

    with pytest.raises(Unsupported, match=r"public\.event") as refused:
        plan(reading, ledger)

    assert refused.value.reason == "TargetNotEmpty"


def test_a_refused_value_is_named_by_its_place(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, target = sites
    pair.target.run("alter table public.item alter name type int using null")
    keep(hold(source, STREAM))
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))
    tables = plan(reading, ledger)

    with pytest.raises(Unsupported, match=r"public\.item, chunk .*column name.*22P02") as refused:
        copy_all(reading, ledger, tables)

    assert "n1" not in str(refused.value)
    # The reader is still of use: only the target's transaction failed.
    assert list(reading.read(tables[EVENT], "0:", binary=False))


def test_a_trigger_that_swallows_rows_does_not_go_unnoticed(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, target = sites
    pair.target.run(
        "create function public.swallow() returns trigger language plpgsql as"
        " $$begin if new.id = 77 then return null; end if; return new; end$$",
        "create trigger swallow before insert on public.item"
        " for each row execute function public.swallow()",
        "alter table public.item enable always trigger swallow",
    )
    keep(hold(source, STREAM))
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))
    tables = plan(reading, ledger)

    with pytest.raises(Unsafe) as refused:
        copy_all(reading, ledger, tables)

    assert refused.value.reason == "RowsDiffer"


def test_ordinary_triggers_and_foreign_keys_of_the_target_do_not_fire(
    pair: Pair, keep: Callable[[Any], Any]
) -> None:
    tables = (
        "create table public.parent (id int primary key)",
        "create table public.child (id int primary key, parent int references public.parent)",
    )
    pair.source.run(*tables, "insert into public.parent values (1)")
    pair.source.run("insert into public.child values (1, 1)")
    pair.target.run(*tables)
    source, target = prepare(pair, "parent", "child")
    first = hold(source, STREAM)
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))
    selected = plan(reading, ledger)
    # A parent that starts again is emptied though its children refer to it.
    pair.target.run("insert into public.parent values (5)")
    first.close()
    reading.close()
    keep(hold(source, STREAM))
    again = keep(reader(source, STREAM))
    plan(again, ledger)
    copy_all(again, ledger, selected)

    assert pair.target.rows("select id from public.parent") == [(1,)]
    assert pair.target.rows("select parent from public.child") == [(1,)]


def test_generated_identity_and_inherited_columns_travel_as_they_are(
    pair: Pair, keep: Callable[[Any], Any]
) -> None:
    tables = (
        'create table public."Odd ""name" (id int generated always as identity primary key,'
        ' "a b" text, twice int generated always as (id * 2) stored)',
        "create table public.base (a int)",
        "create table public.derived (b int) inherits (public.base)",
        "create table public.part (id int, primary key (id)) partition by range (id)",
        "create table public.part_1 partition of public.part for values from (0) to (100)",
    )
    pair.source.run(
        *tables,
        'insert into public."Odd ""name" ("a b") values (\'x\'), (null)',
        "insert into public.base values (1)",
        "insert into public.derived values (2, 3)",
        "insert into public.part values (5)",
    )
    pair.target.run(*tables)
    source, target = prepare(pair)
    keep(hold(source, STREAM))
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))

    selected = plan(reading, ledger)
    while ledger.copy(reading, selected, binary=frozenset(selected)):
        pass

    for query in (
        'select * from public."Odd ""name" order by 1',
        "select * from only public.base",
        "select * from public.derived",
        "select * from public.part_1",
    ):
        assert pair.target.rows(query) == pair.source.rows(query) != []


def test_two_workers_that_end_a_table_at_once_finish_it(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, target = sites
    keep(hold(source, STREAM))
    readings = [keep(reader(source, STREAM)) for _ in range(3)]
    ledgers = [keep(PostgresLedger(target)) for _ in range(3)]
    tables = plan(readings[0], ledgers[0], rows=200)
    start = threading.Barrier(3)
    copied: list[int] = []

    def work(number: int) -> None:
        start.wait()
        copied.append(copy_all(readings[number], ledgers[number], tables))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(copied) == sum(table.chunks for table in progress(target).tables)
    assert ledgers[0].unfinished() == []
    for name in (ITEM, EVENT):
        assert rows(pair.target, name) == rows(pair.source, name)


def test_a_table_is_not_emptied_under_a_worker_that_fills_it(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    """Its rows of the older view would stay beside those of the newer one."""
    source, target = sites
    keep(hold(source, STREAM))
    reading, ledger = keep(reader(source, STREAM)), keep(PostgresLedger(target))
    tables = plan(reading, ledger)
    under_way, go_on = threading.Event(), threading.Event()

    class Slow:
        position, rows = reading.position, 0

        def read(self, table: Table, chunk: str, *, binary: bool) -> Iterator[bytes]:
            yield from reading.read(table, chunk, binary=binary)
            self.rows = reading.rows
            under_way.set()
            go_on.wait(20)

        def chunks(self, table: Table, rows: int) -> list[str]:
            return []

        def close(self) -> None: ...

    worker = threading.Thread(target=lambda: ledger.copy(Slow(), tables, binary=frozenset()))
    worker.start()
    assert under_way.wait(10)
    newer, other = position_at(reading.position.order + 1), keep(PostgresLedger(target))
    planner = threading.Thread(
        target=lambda: [other.plan(table, newer, ["0:"]) for table in tables.values()]
    )
    planner.start()
    while not pair.target.rows(
        "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    ):
        assert planner.is_alive()
    go_on.set()
    worker.join()
    planner.join()

    assert rows(pair.target, ITEM) == rows(pair.target, EVENT) == []
    assert [(table.chunks, table.chunks_done) for table in progress(target).tables] == [(1, 0)] * 2
    assert set(positions(target).values()) == {newer}


def context(pair: Pair, **change: Any) -> Context:
    config = pair.config(Role.SNAPSHOT, chunk_rows=300, **change)
    return Context(config=config, report=Reporter(config))


def test_the_role_copies_all_and_can_be_run_again(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, _target = sites
    keep(hold(source, STREAM))
    first = context(pair)

    role.run(first)

    for name in (ITEM, EVENT):
        assert rows(pair.target, name) == rows(pair.source, name)
    told = first.report.now().snapshot
    assert told is not None
    assert (told.complete, told.post_data, told.eta_seconds) == (True, True, 0)
    assert told.rows_per_second > 0
    assert {table.name: (table.done, table.rows) for table in told.tables} == {
        "public.event": (True, 4000),
        "public.item": (True, 4000),
    }
    # Without a view, and with rows of the stream: nothing is looked at any more.
    pair.target.run("insert into public.event values ('streamed', null)")
    again = context(pair)
    role.run(again)
    assert len(rows(pair.target, EVENT)) == 4001


def test_the_role_waits_for_a_view_and_says_what_it_misses(
    pair: Pair, sites: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(role, "VIEW_SECONDS", 0.1)

    with pytest.raises(TryAgain) as missing:
        role.run(context(pair))

    assert missing.value.reason == "NoSnapshot"


def test_the_role_that_is_stopped_stops_and_goes_on_later(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, target = sites
    keep(hold(source, STREAM))
    stopped = context(pair)
    stopped.stop.set()
    role.run(stopped)
    assert not progress(target).complete

    role.run(context(pair))

    assert progress(target).post_data


def test_the_role_goes_on_after_the_view_was_lost(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    """As after a restart of the source, with writes in between, until the stream makes it exact."""
    source, target = sites
    first = keep(hold(source, STREAM))
    with closing(reader(source, STREAM)) as reading, closing(PostgresLedger(target)) as ledger:
        tables = plan(reading, ledger)
        for _ in range(8):
            ledger.copy(reading, tables, binary=frozenset())
    end_session(pair.source, pid_of(first))
    with suppress(TryAgain):
        first.check()
    pair.source.run(*CHURN)
    keep(hold(source, STREAM))

    role.run(context(pair))

    assert streamed(pair, source, target) == expected(pair)


def test_a_table_that_the_target_lacks_is_named(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    source, _ = sites
    keep(hold(source, STREAM))
    pair.target.run("drop table public.event")

    with pytest.raises(Unsupported, match=r"public\.event"):
        role.run(context(pair))


def test_a_view_that_waits_for_open_transactions_lets_other_threads_run(
    pair: Pair, sites: tuple[Site, Site], keep: Callable[[Any], Any]
) -> None:
    """The process must still answer for its status, and the application still change its tables."""
    source, _ = sites
    held: list[PostgresHold] = []
    with pair.source.connect() as writer:
        with writer.transaction():
            writer.execute("insert into public.item values (7777, 'open', null)")
            waiting = threading.Thread(target=lambda: held.append(hold(source, STREAM)))
            waiting.start()
            while not pair.source.rows("select from pg_replication_slots where active"):
                assert waiting.is_alive()
            writer.execute("alter table public.item add more int")
        waiting.join(20)

    keep(held[0]).check()
