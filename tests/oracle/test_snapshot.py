"""The snapshot by flashback, through the real driver: every row once, as it was, in the texts of PostgreSQL."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import oracledb
import pytest
from demo.servers import Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bowline_worker.contract import TryAgain, Unsafe, Unsupported
from bowline_worker.endpoints.oracle.chunks import (
    Block,
    BlockRange,
    Chunk,
    Extent,
    KeyRange,
    Whole,
    block_ranges,
    condition,
    from_text,
    key_ranges,
    to_text,
)
from bowline_worker.endpoints.oracle.connection import connect, quote
from bowline_worker.endpoints.oracle.position import at_scn
from bowline_worker.endpoints.oracle.redo import Mark
from bowline_worker.endpoints.oracle.snapshot import (
    BUFFER_BYTES,
    FlashbackReader,
    FlashbackTable,
)
from bowline_worker.endpoints.oracle.types import OracleColumn, OracleType, ValueRefused
from bowline_worker.endpoints.postgres.connection import SETTINGS
from bowline_worker.endpoints.postgres.statements import copy_lines
from bowline_worker.model import Row
from oracle.standin.wire.faults import Call, When
from oracle.type_cases import CASES, supported
from oracle.world import World, world

OWNER = "SHOP"
WIDE_COLUMNS = [f"C{number}" for number in range(len(CASES))]
#: Each example has a table of its own: DDL on a table would hide its past.
NUMBERS = itertools.count(1)
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
STALE = "snapshot too old"

Keys = st.sets(
    st.one_of(
        st.integers(-40, 40).map(Decimal),
        st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal),
        st.builds(
            lambda digits, exponent: Decimal((digits < 0, tuple(map(int, str(abs(digits)))), exponent)),
            st.integers(-(10**9), 10**9).filter(bool),
            st.integers(-125, 110),
        ),
    ),
    max_size=40,
)  # fmt: skip


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(World, tmp_path_factory.mktemp("snapshot")) as found:
        yield found


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[World]:
    """A server for a test that takes something away from it."""
    with world(World, tmp_path) as found:
        yield found


def new_name() -> str:
    return f"T{next(NUMBERS)}"


def filled(here: World, columns: str, rows: Sequence[Sequence[object]]) -> str:
    """Make a table with these rows, one commit; its name."""
    name = new_name()
    here.run(f"create table {name} ({columns})")
    add(here, name, rows)
    return name


def add(here: World, name: str, rows: Sequence[Sequence[object]]) -> None:
    if rows:
        places = ", ".join(f":{place}" for place in range(1, len(rows[0]) + 1))
        with here.app.cursor() as cursor:
            cursor.executemany(f"insert into {name} values ({places})", [list(row) for row in rows])
        here.app.commit()


def described(
    here: World,
    name: str,
    key: Sequence[str] = ("ID",),
    *,
    is_index_organised: bool = False,
    estimated_rows: int = 0,
) -> FlashbackTable:
    """The table as the dictionary tells it."""
    with here.app.cursor() as cursor:
        cursor.execute(
            "select * from all_tab_cols where owner = :owner and table_name = :name order by column_id",
            [OWNER, name],
        )
        names = [each[0] for each in cursor.description]
        columns = [OracleColumn.of(dict(zip(names, row, strict=True))) for row in cursor]
    return FlashbackTable(
        owner=OWNER,
        name=name,
        types=tuple(supported(column) for column in columns if column.is_carried),
        key=tuple(key),
        is_index_organised=is_index_organised,
        estimated_rows=estimated_rows,
    )


def now(here: World) -> int:
    return here.scn()


@contextmanager
def reading(here: World, scn: int | None = None) -> Iterator[FlashbackReader]:
    """A reader as of that SCN, or of now."""
    reader = FlashbackReader(here.site, connect(here.site), now(here) if scn is None else scn)
    with closing(reader):
        yield reader


def lines(reader: FlashbackReader, table: FlashbackTable, chunk: str) -> list[bytes]:
    found = b"".join(reader.read(table, chunk)).splitlines(keepends=True)
    assert reader.rows == len(found)
    return found


def per_chunk(here: World, table: FlashbackTable, rows: int, scn: int | None = None) -> list[int]:
    """How many rows each chunk has; all rows are there, each once, and as plain numbers."""
    with reading(here, scn) as reader:
        chunks = reader.chunks(table, rows)
        found = [lines(reader, table, chunk) for chunk in chunks]
        whole = lines(reader, table, to_text(Whole()))
    assert Counter(itertools.chain(*found)) == Counter(whole)
    assert len(chunks) == len(set(chunks))
    return list(map(len, found))


def stored(here: World, name: str) -> int:
    with here.app.cursor() as cursor:
        (count,) = cursor.execute(f"select count(*) from {name}").fetchone() or (0,)
        return int(count)


# --- what is read ---------------------------------------------------------------------------------


def wide_table(here: World, texts: Sequence[Row]) -> FlashbackTable:
    """Store rows, given as the model's texts, in a table with a column of every case."""
    name = new_name()
    here.run(f"create table {name} ({', '.join(map(declared, range(len(CASES))))})")
    table = described(here, name, ())
    with closing(connect(here.site)) as connection, connection.cursor() as cursor:
        for row in texts:
            bound = [kind.to_oracle(text) for kind, text in zip(table.types, row, strict=True)]  # type: ignore[arg-type]
            places = [
                kind.bind(f":{column}", value)
                for kind, column, value in zip(table.types, WIDE_COLUMNS, bound, strict=True)
            ]
            given = {
                column: (kind, value)
                for kind, column, value in zip(table.types, WIDE_COLUMNS, bound, strict=True)
                if not isinstance(value, Mark)
            }
            cursor.setinputsizes(
                **{column: getattr(oracledb, kind.bind_type) for column, (kind, _) in given.items()}
            )
            cursor.execute(
                f"insert into {quote(OWNER, name)} values ({', '.join(places)})",
                {column: value for column, (_, value) in given.items()},
            )
        connection.commit()
    return table


def declared(number: int) -> str:
    """A case's column as DDL writes it."""
    of = CASES[number].column
    data_type = of.data_type
    match data_type:
        case "NUMBER" if of.data_scale is not None:
            precision = "*" if of.data_precision is None else of.data_precision
            data_type = f"NUMBER({precision},{of.data_scale})"
        case "FLOAT":
            data_type = f"FLOAT({of.data_precision})"
        case "VARCHAR2" | "CHAR":
            data_type += f"({of.char_length} {'BYTE' if of.char_used == 'B' else 'CHAR'})"
        case "NVARCHAR2" | "NCHAR":
            data_type += f"({of.char_length})"
        case "RAW":
            data_type += f"({of.data_length})"
    return f"{WIDE_COLUMNS[number]} {data_type}"


@st.composite
def wide_rows(draw: st.DrawFn) -> list[Row]:
    """Rows as the converters tell them, one of them without any value."""

    def text(kind: OracleType, number: int) -> bytes | None:
        case = CASES[number]
        return kind.from_driver(case.driver(draw(case.stored))) if draw(IS_THERE) else None

    kinds = [supported(case.column) for case in CASES]
    rows = [tuple(map(text, kinds, range(len(CASES)))) for _ in range(draw(st.integers(1, 4)))]
    return [*rows, (None,) * len(CASES)]


IS_THERE = st.integers(0, 9).map(bool)


@settings(SLOW, max_examples=15)
@given(rows=wide_rows())
def test_every_type_is_read_as_its_converter_says_and_as_postgresql_prints_it(
    here: World, pg: Server, rows: list[Row]
) -> None:
    table = wide_table(here, rows)
    with reading(here) as reader:
        data = b"".join(reader.read(table, to_text(Whole())))

    assert data.splitlines(keepends=True) == list(copy_lines(rows))
    assert reloaded(pg, table, data) == as_written_by_postgresql(data)


def as_written_by_postgresql(data: bytes) -> bytes:
    """COPY TO names three more characters by a letter than COPY FROM asks for."""
    for char, letter in ((b"\b", b"\\b"), (b"\f", b"\\f"), (b"\v", b"\\v")):
        data = data.replace(char, letter)
    return data


def reloaded(pg: Server, table: FlashbackTable, data: bytes) -> bytes:
    """Load COPY data in a table of PostgreSQL's types, and unload it again."""
    columns = ", ".join(f'"{kind.column.name}" {kind.postgres.text}' for kind in table.types)
    with pg.connect() as connection:
        for name, value in SETTINGS.items():
            connection.execute("select set_config(%s, %s, false)", [name, value])
        connection.execute(f"create temporary table loaded ({columns})".encode())
        with connection.cursor() as cursor:
            with cursor.copy(b"copy pg_temp.loaded from stdin") as copy:
                copy.write(data)
            with cursor.copy(b"copy pg_temp.loaded to stdout") as copy:
                return b"".join(map(bytes, copy))


def test_text_that_looks_like_copy_s_own_signs_arrives_as_it_is(here: World, pg: Server) -> None:
    texts = ["\\N", "\\.", "\\", "a\tb", "a\nb", "a\r\nb", "\\t", "\x01\x7f", "é€😀", " "]
    name = filled(here, "id number primary key, word varchar2(40), long_one clob",
                  [(place, text, text) for place, text in enumerate(texts)])  # fmt: skip
    table = described(here, name)
    with reading(here) as reader:
        data = b"".join(reader.read(table, to_text(Whole())))

    assert reloaded(pg, table, data) == data
    with pg.connect() as connection, connection.cursor() as cursor:
        cursor.execute(b"create temporary table loaded (id int, word text, long_one text)")
        with cursor.copy(b"copy pg_temp.loaded from stdin") as copy:
            copy.write(data)
        found = cursor.execute(b"select word, long_one from pg_temp.loaded order by id").fetchall()
    assert found == [(text, text) for text in texts]


def test_long_lobs_come_whole_and_empty_ones_are_not_null(here: World) -> None:
    name = filled(here, "id number primary key, words clob, bytes blob", [])
    long_text, long_bytes = "ü" * 200_000, bytes(range(256)) * 1_000
    with here.app.cursor() as cursor:
        cursor.setinputsizes(None, oracledb.DB_TYPE_LONG, oracledb.DB_TYPE_LONG_RAW)
        cursor.execute(f"insert into {name} values (:1, :2, :3)", [1, long_text, long_bytes])
    here.run(f"insert into {name} values (2, empty_clob(), empty_blob())",
             f"insert into {name} values (3, null, null)", "commit")  # fmt: skip

    with reading(here) as reader:
        found = lines(reader, described(here, name), to_text(Whole()))

    assert found == list(
        copy_lines(
            [
                (b"1", long_text.encode(), b"\\x" + long_bytes.hex().encode()),
                (b"2", b"", b"\\x"),
                (b"3", None, None),
            ]
        )
    )


def test_rows_that_changed_moved_or_vanished_are_read_as_they_were(here: World) -> None:
    name = filled(here, "id number primary key, name varchar2(9)", [(n, f"was {n}") for n in range(60)])  # fmt: skip
    table, scn = described(here, name, estimated_rows=60), now(here)
    expected = sorted(f"{n}\twas {n}\n".encode() for n in range(60))
    here.run(
        f"update {name} set name = 'changed' where id < 20",
        f"delete from {name} where id between 20 and 29",
        f"insert into {name} values (25, 'again')",
        f"update {name} set id = id + 1000 where id >= 40",
        f"insert into {name} values (-5, 'new')",
        "commit",
        f"delete from {name}",  # not committed: nobody else sees it
    )

    with reading(here, scn) as reader:
        for of in (table, described(here, name, (), estimated_rows=60)):
            chunks = reader.chunks(of, 16)
            found = [line for chunk in chunks for line in lines(reader, of, chunk)]

            assert sorted(found) == expected
            assert len(chunks) >= 3
    here.run("rollback")


def test_a_commit_at_the_very_scn_is_read(here: World) -> None:
    """What committed up to the snapshot's SCN is not in the stream: it must be here."""
    name = filled(here, "id number primary key", [(1,)])

    with reading(here) as reader:
        assert lines(reader, described(here, name), to_text(Whole())) == [b"1\n"]
        # What committed at that very SCN is in the view, so it is before the position.
        assert at_scn(now(here)) < reader.position == at_scn(now(here) + 1)


# --- chunks ---------------------------------------------------------------------------------------


@SLOW
@given(keys=Keys, later=Keys, rows=st.integers(1, 50))
def test_ranges_of_a_key_are_of_the_wanted_size_and_take_each_row_once(
    here: World, keys: set[Decimal], later: set[Decimal], rows: int
) -> None:
    name = filled(here, "id number primary key", [(key,) for key in keys])
    table = described(here, name)
    whole, rest = divmod(len(keys), rows)

    assert per_chunk(here, table, rows) == ([rows] * whole + [rest] * bool(rest) or [0])

    with reading(here) as reader:
        planned = reader.chunks(table, rows)
    add(here, name, [(key,) for key in later - keys])
    with reading(here) as reader:
        found = [line for chunk in planned for line in lines(reader, table, chunk)]
    assert len(found) == len(set(found)) == len(keys | later)


@SLOW
@given(
    count=st.integers(0, 400), gone=st.integers(2, 9), rows=st.integers(1, 200), estimate=st.integers(0, 900)
)  # fmt: skip
@pytest.mark.parametrize("key", [(), ("A", "B")])
def test_ranges_of_blocks_take_each_row_once_whatever_the_statistics_say(
    here: World, key: tuple[str, ...], count: int, gone: int, rows: int, estimate: int
) -> None:
    rule = f", primary key ({', '.join(key)})" if key else ""
    name = filled(here, f"a number, b number{rule}", [(n % 7, n) for n in range(count)])
    here.run(f"delete from {name} where mod(b, {gone}) = 0", "commit")
    table = described(here, name, key, estimated_rows=estimate)

    found = per_chunk(here, table, rows)

    assert sum(found) == stored(here, name)


def test_ranges_of_blocks_are_about_as_large_as_was_asked_for(here: World) -> None:
    name = filled(here, "a varchar2(9)", [(f"row {n}",) for n in range(1000)])

    found = per_chunk(here, described(here, name, (), estimated_rows=1000), 200)

    assert sum(found) == 1000
    assert max(found) <= 220
    assert len(found) <= 6


@SLOW
@given(pairs=st.sets(st.tuples(st.integers(-5, 5), st.integers(0, 30))), rows=st.integers(1, 40))
def test_an_index_organised_table_is_split_by_its_first_key_column(
    here: World, pairs: set[tuple[int, int]], rows: int
) -> None:
    name = filled(here, "a number(9), b number(9), primary key (a, b)", sorted(pairs))
    table = described(here, name, ("A", "B"), is_index_organised=True)

    found = per_chunk(here, table, rows)

    assert sum(found) == len(pairs)
    assert (len(found) > 1) == (len(pairs) > rows)


def test_a_heap_with_a_longer_key_is_read_in_the_order_of_its_blocks(here: World) -> None:
    """Its rows lie all over the ranges of one key column: each chunk would read most of the table."""
    name = filled(here, "a number(9), b number(9), primary key (a, b)", [(n % 7, n) for n in range(300)])  # fmt: skip
    with reading(here) as reader:
        chunks = reader.chunks(described(here, name, ("A", "B"), estimated_rows=300), 100)

    assert len(chunks) > 1
    assert all(isinstance(from_text(chunk), BlockRange) for chunk in chunks)


def test_an_index_organised_table_with_a_key_of_text_is_one_chunk(here: World) -> None:
    name = filled(here, "id varchar2(9) primary key", [(f"n{n}",) for n in range(100)])

    assert per_chunk(here, described(here, name, is_index_organised=True), 10) == [100]


def test_a_key_that_was_never_validated_and_may_be_null_is_not_split_by(here: World) -> None:
    """Rows with NULL are in no range of a key."""
    name = filled(here, "id number, name varchar2(9)", [(None if n % 2 else n, "x") for n in range(100)])  # fmt: skip

    assert sum(per_chunk(here, described(here, name, ("ID",)), 10)) == 100


def test_a_table_without_rows_has_one_chunk(here: World) -> None:
    for key in ((), ("ID",)):
        name = filled(here, "id number primary key", [])
        assert per_chunk(here, described(here, name, key), 10) == [0]


def test_without_the_right_to_see_extents_a_heap_is_one_chunk(alone: World) -> None:
    name = filled(alone, "a varchar2(9)", [(f"row {n}",) for n in range(300)])
    table = described(alone, name, ())

    assert len(per_chunk(alone, table, 50)) > 1

    user = alone.stand_in.database.users["BOWLINE"]
    user.privileges = {"CREATE SESSION", "SELECT ANY TABLE", "FLASHBACK ANY TABLE"}
    assert per_chunk(alone, table, 50) == [300]


def test_names_that_need_quotes_are_quoted(here: World) -> None:
    here.run('create table "Order" ("Id" number primary key, "from" varchar2(9))',
             """insert into "Order" values (1, 'here')""", "commit")  # fmt: skip

    with reading(here) as reader:
        table = described(here, "Order", ("Id",))
        assert [lines(reader, table, each) for each in reader.chunks(table, 1)] == [[b"1\there\n"]]


def test_twenty_thousand_rows_come_in_chunks_and_buffers_of_the_wanted_size(here: World) -> None:
    rows = [(n * 3 - 9_000, f"name of the row {n}", Decimal(n) / 100) for n in range(20_000)]
    name = filled(here, "id number(9) primary key, name varchar2(40), price number(12,2)", rows)
    table, found = described(here, name), 0
    with reading(here) as reader:
        for chunk in reader.chunks(table, 6_000):
            buffers = list(reader.read(table, chunk))
            found += reader.rows

            assert reader.rows <= 6_000
            assert all(BUFFER_BYTES <= len(each) < BUFFER_BYTES + 100 for each in buffers[:-1])
            assert sum(each.count(b"\n") for each in buffers) == reader.rows
    assert found == 20_000


# --- the texts of chunks, without a server --------------------------------------------------------

_BLOCKS = st.builds(Block, st.integers(0, 1023), st.integers(0, 4_000_000))
_EXTENTS = st.lists(
    st.builds(
        lambda segment, file, at, blocks: Extent(segment, Block(file, at * 64), blocks),
        st.integers(70_000, 70_002), st.integers(1, 3), st.integers(0, 40), st.integers(1, 64),
    ),
    unique_by=lambda extent: extent.start,
)  # fmt: skip
_BOUNDS = (
    st.none() | st.integers().map(Decimal) | st.decimals(allow_nan=False, allow_infinity=False)
)
_CHUNKS: st.SearchStrategy[Chunk] = st.one_of(
    st.just(Whole()),
    st.builds(KeyRange, _BOUNDS, _BOUNDS),
    st.builds(BlockRange, st.integers(1), st.none() | _BLOCKS, st.none() | _BLOCKS),
)


def holds(chunk: Chunk, segment: int, block: Block) -> bool:
    """Tell whether a block's rows are in the range, as Oracle compares ROWIDs."""
    if isinstance(chunk, Whole):
        return True
    assert isinstance(chunk, BlockRange)
    return (chunk.start is None or (segment, block) >= (chunk.segment, chunk.start)) and (
        chunk.end is None or (segment, block) < (chunk.segment, chunk.end)
    )


@given(extents=_EXTENTS, estimate=st.integers(0, 10_000), rows=st.integers(1, 5_000), other=_BLOCKS)
def test_each_block_of_a_partition_is_in_one_range(
    extents: list[Extent], estimate: int, rows: int, other: Block
) -> None:
    """Blocks that were not there when the ranges were made, too."""
    ranges = block_ranges(extents, estimate, rows)
    segments = {extent.segment for extent in extents}
    blocks = {(segment, Block(*other)) for segment in segments}
    for segment, start, count in extents:
        blocks |= {(segment, Block(start.file, start.number + each)) for each in range(count)}

    assert all(sum(holds(one, *place) for one in ranges) == 1 for place in blocks)


@given(extents=_EXTENTS.filter(bool), rows=st.integers(1, 5_000))
def test_no_range_of_blocks_is_larger_than_it_should_be(extents: list[Extent], rows: int) -> None:
    blocks = [Block(e.start.file, e.start.number + n) for e in extents for n in range(e.blocks)]
    ranges = block_ranges([e._replace(segment=1) for e in extents], 10 * len(blocks), rows)
    *sizes, last = [sum(holds(one, 1, block) for block in blocks) for one in ranges]

    assert set(sizes) <= {-(-rows // 10)}
    assert 0 < last <= -(-rows // 10)


@pytest.mark.parametrize("segment", [1, 0])
def test_ranges_of_a_partition_take_no_row_of_another(here: World, segment: int) -> None:
    """Each of the two tables stands for a partition: its ranges hold its rows, and the other's ranges none."""
    names = [filled(here, "a number", [(n,) for n in range(100)]) for _ in range(2)]
    tables = [described(here, name, ()) for name in names]
    with here.app.cursor() as cursor:
        cursor.execute(
            "select o.data_object_id, e.relative_fno, e.block_id, e.blocks from dba_extents e"
            " join all_objects o on o.object_name = e.segment_name where o.object_name in (:1, :2)",
            names,
        )
        found = [tuple(map(int, row)) for row in cursor]
    extents = [Extent(at, Block(file, number), blocks) for at, file, number, blocks in found]
    ranges = block_ranges(extents, 200, 30)
    own = sorted({extent.segment for extent in extents})[segment]
    with reading(here) as reader:
        rows = {one: len(lines(reader, tables[segment], to_text(one))) for one in ranges}

    assert sum(count for one, count in rows.items() if of_segment(one) == own) == 100
    assert sum(rows.values()) == 100


def of_segment(chunk: Chunk) -> int:
    assert isinstance(chunk, BlockRange)
    return chunk.segment


@given(chunk=_CHUNKS)
def test_a_chunk_is_read_as_it_was_written(chunk: Chunk) -> None:
    assert from_text(to_text(chunk)) == chunk


@given(chunk=_CHUNKS)
def test_no_bound_is_written_into_sql(chunk: Chunk) -> None:
    where, binds = condition(chunk, '"ID"')

    assert not any(char.isdigit() for char in where.replace("rowid_create(1, ", "").replace(", 0)", ""))  # fmt: skip
    assert all(f":{name}" in where for name in binds)


def test_a_key_s_ranges_have_no_gap_and_no_first_or_last_end() -> None:
    starts = [Decimal(2), Decimal(2), Decimal(5)]

    assert key_ranges(starts) == [
        KeyRange(None, Decimal(2)),
        KeyRange(Decimal(2), Decimal(5)),
        KeyRange(Decimal(5), None),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0:12",
        "[]",
        '{"key": ["1 or 1=1", null]}',
        '{"key": ["NaN", null]}',
        '{"key": ["1"]}',
        '{"segment": "1", "blocks": [null, null]}',
        '{"segment": 1, "blocks": [[1], null]}',
        '{"segment": 1, "blocks": [["a", 1], null]}',
        '{"everything": true}',
    ],
)
def test_a_text_that_is_no_chunk_stops(text: str) -> None:
    with pytest.raises(Unsafe, match="can't be read") as caught:
        from_text(text)
    assert caught.value.reason == "ChunkDamaged"


# --- what can't be read ---------------------------------------------------------------------------


def refused(here: World, table: FlashbackTable, scn: int, rows: int = 10) -> list[TryAgain]:
    """What a user is told by each way to look at the table."""
    found: list[TryAgain] = []
    with reading(here, scn) as reader:
        for look in (
            lambda: reader.chunks(table, rows),
            lambda: list(reader.read(table, to_text(Whole()))),
        ):
            with pytest.raises(TryAgain) as caught:
                look()
            found.append(caught.value)
            assert f"could not read SHOP.{table.name} as of SCN {scn}: ORA-" in str(caught.value)
            assert caught.value.hint
    return found


def test_forgotten_undo_is_told_with_what_to_raise(here: World) -> None:
    database = here.stand_in.database  # first of all: where there is none, nothing is begun
    name = filled(here, "id number primary key", [(n,) for n in range(20)])
    table, scn = described(here, name), now(here)
    add(here, name, [(n,) for n in range(20, 30)])
    database.forget_undo(now(here))

    for error in refused(here, table, scn):
        assert error.reason == "SnapshotTooOld"
        assert "undo_retention" in error.hint
        assert STALE in str(error)


def test_undo_that_is_forgotten_while_rows_come_ends_the_chunk(here: World) -> None:
    database = here.stand_in.database  # first of all: where there is none, nothing is begun
    rows = [(n, "x" * 200) for n in range(5_000)]
    name = filled(here, "id number primary key, name varchar2(200)", rows)
    table, scn = described(here, name), now(here)
    with reading(here, scn) as reader:
        buffers = reader.read(table, to_text(Whole()))
        next(buffers)
        here.run(f"update {name} set name = 'y' where id = 4999", "commit")
        database.forget_undo(now(here))

        with pytest.raises(TryAgain, match=STALE) as caught:
            list(buffers)
        assert caught.value.reason == "SnapshotTooOld"
        assert reader.rows == 0


def test_an_scn_that_is_not_there_yet_is_told(here: World) -> None:
    table = described(here, filled(here, "id number primary key", [(1,)]))

    assert {error.reason for error in refused(here, table, now(here) + 1_000)} == {"SnapshotTooOld"}


@pytest.mark.parametrize(
    "statement",
    [
        "truncate table {0}",
        "alter table {0} add (more number default 1 not null)",
        "alter table {0} modify (name varchar2(99))",
        "alter table {0} drop column name",
        "alter table {0} rename column name to label",
    ],
)
def test_a_table_that_ddl_changed_is_not_read_as_of_before_it(here: World, statement: str) -> None:
    name = filled(here, "id number primary key, name varchar2(9)", [(1, "one"), (2, "two")])
    table, scn = described(here, name), now(here)
    here.run(statement.format(name))

    for error in refused(here, table, scn)[1:]:
        assert error.reason == "TableChanged"


def test_a_connection_that_is_lost_is_tried_again(here: World) -> None:
    server = here.stand_in.server  # first of all: where there is none, nothing is begun
    rows = [(n, "x" * 200) for n in range(3_000)]
    name = filled(here, "id number primary key, name varchar2(200)", rows)
    with reading(here) as reader:
        buffers = reader.read(described(here, name), to_text(Whole()))
        next(buffers)
        server.faults.drop(Call.FETCH, When.BEFORE)

        with pytest.raises(TryAgain, match=f"could not read {OWNER}.{name}") as caught:
            list(buffers)
        assert caught.value.reason == "Unreachable"
        assert reader.rows == 0


def test_a_character_that_postgresql_can_t_hold_is_refused_by_table_and_column(here: World) -> None:
    name = filled(here, "id number primary key, word varchar2(9)", [(1, "a\0b")])

    with reading(here) as reader, pytest.raises(ValueRefused, match=rf"{name}\.WORD"):
        list(reader.read(described(here, name), to_text(Whole())))


def test_a_table_without_a_column_is_unsupported(here: World) -> None:
    table = FlashbackTable(owner=OWNER, name="NOTHING", types=())

    with reading(here) as reader, pytest.raises(Unsupported, match=r"SHOP\.NOTHING has no column"):
        reader.chunks(table, 10)


def test_what_the_reader_can_t_do_is_a_mistake_of_its_caller(here: World) -> None:
    table = described(here, filled(here, "id number primary key", []))
    with reading(here) as reader:
        with pytest.raises(ValueError, match="binary"):
            list(reader.read(table, to_text(Whole()), binary=True))
        with pytest.raises(ValueError, match="chunks of 0 rows"):
            reader.chunks(table, 0)
