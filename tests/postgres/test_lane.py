"""A lane's session on a real server: every form, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.contract import FencedOut, NotPermitted, Side, TryAgain, Unsupported
from bowline_worker.endpoints.base import RowConflict, RowMissing, TableBatch
from bowline_worker.endpoints.postgres import books, catalog
from bowline_worker.endpoints.postgres.lane import COPY_ROWS, PostgresLane
from bowline_worker.model import UNCHANGED, Change, Op, Row, Table, TableName
from servers import APPLICATION, Database, MakePair, Pair

STREAM = StreamId(Side.SOURCE, 0)
ROW = LaneRow(lane=0, number=0, generation=1, passed=True)

ITEM = "create table public.item (id int primary key, name text, note text)"
MANY_TYPES = """
create table public.many (
    id int primary key, b bit(4), vb varbit, v varchar(3), c char(5), n numeric, m numeric(12,4),
    f float8, r real, t timestamptz, ts timestamp(3), d date, i interval, j json, jb jsonb, x bytea,
    a int[], aa text[], u uuid, p point, net inet, bool bool, q "char", mo money, rg int4range,
    tv tsvector, twice int generated always as (id * 2) stored, dom public.short, mood public.mood,
    pair public.pair)"""
VALUES: tuple[bytes | None, ...] = (
    b"1", b"1010", b"101", b"abc", b"ab   ", b"1.10", b"12345678.1000",
    b"0.1", b"1e+10", b"2024-02-29 12:00:00.123456+00", b"2024-02-29 12:00:00.123", b"infinity",
    b"1 mon -3 days +04:05:06", b'{"a":  1, "a": 2}', b'{"a": 2}', b"\\x00ff5c",
    b"{1,NULL,3}", b'{"a\\\\b","tab\t\\"q\\"",NULL,""}', b"11111111-2222-3333-4444-555555555555",
    b"(1.5,-2)", b"10.1.2.3/8", b"t", b"z", b"$1.50", b"[1,5)", b"'a':1 'b':2", b"abc", b"so so",
    b'(1,"x, y")',
)  # fmt: skip


class Receiver:
    """A target database with one lane row, and the lane's session."""

    def __init__(self, pair: Pair) -> None:
        self.db = pair.target
        self.site = pair.site(Side.TARGET)
        books.install(self.site)
        with books.transaction(self.site) as transaction:
            transaction.put_lanes(Side.SOURCE, [ROW])
        self.lane = PostgresLane(self.site, STREAM)

    def table(self, name: str) -> Table:
        tables = {table.name: table for table in catalog.tables(self.site)}
        return tables[TableName("public", name)]

    def batch(self, name: str = "item", **sets: object) -> TableBatch:
        return TableBatch(table=self.table(name), **sets)  # type: ignore[arg-type]

    def rows(
        self, query: str = "select * from public.item order by id"
    ) -> list[tuple[object, ...]]:
        return self.db.rows(query)

    def change(self, op: Op, name: str = "item", **rows: Row | None) -> Change:
        table = self.table(name)
        columns = tuple(column.name for column in table.written)
        return Change(op, table.name, columns, **rows)  # type: ignore[arg-type]


@pytest.fixture
def receiver(pair: Pair) -> Iterator[Receiver]:
    made = Receiver(pair)
    yield made
    made.lane.close()


@pytest.fixture
def items(receiver: Receiver) -> Receiver:
    receiver.db.run(ITEM, "insert into public.item values (1, 'one', 'long'), (2, 'two', null)")
    return receiver


def write(receiver: Receiver, batch: TableBatch, form: str = "write") -> None:
    receiver.lane.begin()
    getattr(receiver.lane, form)(batch)
    receiver.lane.commit()


def wait_for_end(receiver: Receiver) -> None:
    """Wait until the lane's session is gone."""
    with books.transaction(receiver.site) as transaction:
        transaction.end_backends([receiver.lane.backend])


def one(receiver: Receiver, change: Change) -> None:
    receiver.lane.begin()
    receiver.lane.one(change, receiver.table(change.table.name))
    receiver.lane.commit()


@pytest.mark.parametrize("form", ["write", "replace"])
def test_sets_delete_update_and_insert(items: Receiver, form: str) -> None:
    items.db.run("insert into public.item values (3, 'three', 'kept')")

    write(
        items,
        items.batch(
            deletes=[(b"2",)],
            updates={("name", "note"): [(b"1", None, b"n")], ("name",): [(b"3", b"drei")]},
            inserts=[(b"4", b"", None)],
        ),
        form,
    )

    assert items.rows() == [(1, None, "n"), (3, "drei", "kept"), (4, "", None)]


@pytest.mark.parametrize("form", ["write", "replace"])
@pytest.mark.parametrize(
    "sets",
    [
        {"deletes": [(b"1",), (b"9",)]},
        {"updates": {("name",): [(b"1", b"a"), (b"9", b"b")]}},
        {"updates": {(): [(b"9",)]}},
    ],
    ids=["delete", "update", "an update of nothing"],
)
def test_a_row_that_is_not_there_is_never_silent(
    items: Receiver, form: str, sets: dict[str, Any]
) -> None:
    items.lane.begin()

    with pytest.raises(RowMissing, match=r"public\.item.* 1 of 2|0 of 1"):
        getattr(items.lane, form)(items.batch(**sets))

    items.lane.rollback()
    assert items.rows() == [(1, "one", "long"), (2, "two", None)]


@pytest.mark.parametrize("rows", [1, COPY_ROWS + 1], ids=["arrays", "copy"])
def test_every_type_arrives_with_every_digit(receiver: Receiver, rows: int) -> None:
    receiver.db.run(
        "create domain public.short as varchar(3)",
        "create type public.mood as enum ('fine', 'so so')",
        "create type public.pair as (a int, b text)",
        MANY_TYPES,
    )
    images = [(b"%d" % number, *VALUES[1:]) for number in range(1, rows + 1)]
    empty = (b"0", *(None for _ in VALUES[1:]))

    write(receiver, receiver.batch("many", inserts=[*images, empty]))
    names = [column.name for column in receiver.table("many").written]
    write(receiver, receiver.batch("many", updates={tuple(names[1:]): [images[0], empty]}))
    write(receiver, receiver.batch("many", updates={("v",): [(*images[0][:1], b"xyz")]}), "replace")

    columns = ", ".join(f'"{name}"' for name in names)
    with receiver.db.connect() as connection:
        connection.execute(
            "set timezone = 'UTC'; set lc_monetary = 'C'; set extra_float_digits = 3"
        )
        with connection.cursor().copy(
            f"copy (select {columns} from public.many where id < 2 order by id) to stdout".encode()
        ) as copy:
            found = list(copy.rows())
    expected = list(images[0])
    expected[names.index("v")] = b"xyz"
    assert found[0][1:] == (None,) * (len(names) - 1)
    assert found[1] == tuple(None if value is None else value.decode() for value in expected)


def test_text_is_copied_as_it_is(receiver: Receiver) -> None:
    receiver.db.run(ITEM)
    odd = [
        b"\\N",
        b"\\.",
        b"a\tb",
        b"a\nb",
        b"a\r\nb",
        b"\\",
        b"",
        b"\xc3\xa9",
        b"\\t",
        b"NULL",
        b"\x01",
    ]
    rows = [(b"%d" % number, odd[number % len(odd)], None) for number in range(COPY_ROWS)]

    write(receiver, receiver.batch(inserts=rows))

    found = receiver.rows("select name from public.item order by id")
    assert [name for (name,) in found] == [row[1].decode() for row in rows]


@pytest.mark.parametrize("rows", [1, COPY_ROWS], ids=["arrays", "copy"])
@pytest.mark.parametrize("type_name", ["varchar(3)", "char(3)", "bit(3)", "public.short"])
def test_a_value_that_does_not_fit_is_refused_never_cut(
    receiver: Receiver, type_name: str, rows: int
) -> None:
    receiver.db.run(
        "create domain public.short as varchar(3)",
        f"create table public.narrow (id int primary key, v {type_name})",
    )
    receiver.lane.begin()

    with pytest.raises(RowConflict) as refused:
        receiver.lane.write(
            receiver.batch("narrow", inserts=[(b"%d" % n, b"10101") for n in range(rows)])
        )

    receiver.lane.rollback()
    assert "10101" not in str(refused.value)


def test_a_byte_that_is_no_text_is_refused_never_changed(receiver: Receiver) -> None:
    receiver.db.run('create table public.byte (id int primary key, v "char")')
    receiver.lane.begin()

    with pytest.raises(RowConflict, match="CharacterNotInRepertoire"):
        receiver.lane.write(receiver.batch("byte", inserts=[(b"1", b"\xff")]))

    receiver.lane.rollback()


def test_a_wrong_value_is_never_shown(items: Receiver) -> None:
    items.lane.begin()

    with pytest.raises(RowConflict, match="InvalidTextRepresentation") as refused:
        items.lane.write(items.batch(inserts=[(b"secret", None, None)]))

    items.lane.rollback()
    assert "secret" not in str(refused.value)


def test_a_row_that_is_there_is_a_conflict_by_its_constraint_s_name(items: Receiver) -> None:
    items.lane.begin()

    with pytest.raises(RowConflict, match="UniqueViolation item_pkey"):
        items.lane.write(items.batch(inserts=[(b"1", b"a", None)]))

    items.lane.rollback()


def test_a_deferrable_constraint_is_no_obstacle(items: Receiver) -> None:
    """Its check is a trigger, which the stream's sessions don't fire: the origin has checked it."""
    items.db.run("alter table public.item add constraint u unique (name) deferrable")

    write(items, items.batch(updates={("name",): [(b"1", b"two"), (b"2", b"one")]}))

    assert items.rows() == [(1, "two", "long"), (2, "one", None)]


def test_swapped_unique_values_need_the_form_that_always_fits(items: Receiver) -> None:
    items.db.run("create unique index on public.item (name)")
    swap = items.batch(updates={("name",): [(b"1", b"two"), (b"2", b"one")]})
    items.lane.begin()
    with pytest.raises(RowConflict):
        items.lane.write(swap)
    items.lane.rollback()

    write(items, swap, "replace")

    assert items.rows() == [(1, "two", "long"), (2, "one", None)]


def test_identities_and_generated_columns_are_kept(receiver: Receiver) -> None:
    receiver.db.run(
        "create table public.always (id int generated always as identity primary key,"
        " other int generated always as identity (start 100), v text, twice int"
        " generated always as (id * 2) stored)".replace(
            " other int generated always as identity (start 100),", " other int,"
        )
    )
    receiver.db.run(
        "create table public.fixed (id int primary key, serial int generated always as identity, v text)"
    )

    write(receiver, receiver.batch("always", inserts=[(b"7", b"8", b"a")]))
    write(receiver, receiver.batch("always", updates={("other", "v"): [(b"7", b"9", b"b")]}))
    write(receiver, receiver.batch("fixed", inserts=[(b"1", b"50", b"a")]))
    write(receiver, receiver.batch("fixed", updates={("serial", "v"): [(b"1", b"51", b"b")]}))
    one(
        receiver,
        receiver.change(
            Op.UPDATE,
            "fixed",
            key=(b"1",),
            before=(b"1", None, None),
            after=(b"2", b"52", UNCHANGED),
        ),
    )

    assert receiver.rows("select * from public.always") == [(7, 9, "b", 14)]
    assert receiver.rows("select * from public.fixed") == [(2, 52, "b")]


def test_single_changes_move_a_key_and_keep_what_was_not_logged(items: Receiver) -> None:
    one(
        items,
        items.change(
            Op.UPDATE, key=(b"1",), before=(b"1", None, None), after=(b"9", b"neun", UNCHANGED)
        ),
    )
    one(items, items.change(Op.DELETE, key=(b"2",), before=(b"2", None, None)))
    one(items, items.change(Op.INSERT, after=(b"3", None, None)))

    assert items.rows() == [(3, None, None), (9, "neun", "long")]


def test_a_single_change_without_its_row_is_never_silent(items: Receiver) -> None:
    for change in (
        items.change(Op.UPDATE, key=(b"9",), after=(b"9", b"x", UNCHANGED)),
        items.change(Op.DELETE, key=(b"9",), before=(b"9", None, None)),
    ):
        items.lane.begin()
        with pytest.raises(RowMissing):
            items.lane.one(change, items.table("item"))
        items.lane.rollback()


@pytest.fixture
def events(receiver: Receiver) -> Receiver:
    """A table without a key, with values that no operator compares, or that compare equal and differ."""
    receiver.db.run(
        "create table public.event (n numeric, j json, p point, c char(4), t text)",
        "create index on public.event (t)",
        """insert into public.event values (1.0, '{"a":1}', '(1,2)', 'x', 'same'),
           (1.00, '{"a":1}', '(1,2)', 'x', 'same'), (1.00, '{"a":1}', '(1,2)', 'x', 'same'),
           (1.00, '{"a":1}', null, 'x', 'same')""",
    )
    return receiver


SAME = (b"1.00", b'{"a":1}', b"(1,2)", b"x   ", b"same")


def test_without_a_key_one_of_the_equal_rows_goes(events: Receiver) -> None:
    one(events, events.change(Op.DELETE, "event", before=SAME))
    one(events, events.change(Op.UPDATE, "event", before=SAME, after=(*SAME[:4], b"new")))

    found = events.rows("select n::text, p::text, t from public.event order by 1, 2, 3")
    assert found == [
        ("1.0", "(1,2)", "same"),
        ("1.00", "(1,2)", "new"),
        ("1.00", None, "same"),
    ]


def test_without_a_key_a_row_with_a_null_is_found(events: Receiver) -> None:
    one(events, events.change(Op.DELETE, "event", before=(*SAME[:2], None, *SAME[3:])))

    assert events.rows("select count(*) from public.event where p is null") == [(0,)]


def test_without_a_key_a_row_that_is_not_there_is_never_silent(events: Receiver) -> None:
    events.lane.begin()

    with pytest.raises(RowMissing):
        events.lane.one(
            events.change(Op.DELETE, "event", before=(b"2", *SAME[1:])), events.table("event")
        )

    events.lane.rollback()


#: A row of a table without a key, and one that is there too and is another: it must not be taken for the first.
ALIKE = {
    "char with other blanks": ("bpchar", b"a  ", "('a'), ('a  ')"),
    "composite without values": ("public.two", None, "('(,)'), (null)"),
    "no composite at all": ("public.two", b"(,)", "(null), ('(,)')"),
    "cast to text by its owner": ("public.two", b"(1,b)", "('(1,a)'), ('(1,b)')"),
}


@pytest.mark.parametrize(("type_name", "value", "rows"), ALIKE.values(), ids=ALIKE)
def test_without_a_key_no_row_that_only_looks_alike_goes(
    receiver: Receiver, type_name: str, value: bytes | None, rows: str
) -> None:
    receiver.db.run(
        "create type public.two as (a int, b text)",
        "create function public.shown(public.two) returns text immutable language sql return ($1).a::text",
        "create cast (public.two as text) with function public.shown(public.two)",
        f"create table public.loose (v {type_name})",
        f"insert into public.loose values {rows}",
    )

    one(receiver, receiver.change(Op.DELETE, "loose", before=(value,)))

    left = receiver.rows("select concat(v), v is not distinct from null from public.loose")
    assert left != [((value or b"").decode(), value is None)]
    assert len(left) == 1


@pytest.mark.parametrize("form", ["write", "replace"])
def test_a_value_is_read_by_its_type_s_input_and_by_no_cast(receiver: Receiver, form: str) -> None:
    """A cast of text to a regclass knows neither `-` nor a number; another may be of the database's own making."""
    receiver.db.run(
        "create type public.two as (a int, b text)",
        "create function public.two(text) returns public.two language sql return row(0, 'cast')::public.two",
        "create cast (text as public.two) with function public.two(text)",
        "create table public.cast_to (id public.two primary key, v public.two, r regclass)",
        "insert into public.cast_to values ('(1,a)', null, null), ('(2,a)', null, null)",
    )

    batch = receiver.batch(
        "cast_to",
        inserts=[(b"(3,c)", b"(3,d)", b"-")],
        updates={("v", "r"): [(b"(1,a)", b"(1,b)", b"987654321")]},
        deletes=[(b"(2,a)",)],
    )
    write(receiver, batch, form)

    assert receiver.rows(
        "select concat(id), concat(v), concat(r) from public.cast_to order by 1"
    ) == [("(1,a)", "(1,b)", "987654321"), ("(3,c)", "(3,d)", "-")]


def test_truncate_empties_the_table_even_where_foreign_keys_point_to_it(items: Receiver) -> None:
    items.db.run(
        "create table public.line (id int primary key, item int references public.item)",
        "insert into public.line values (1, 1)",
    )

    one(items, Change(Op.TRUNCATE, items.table("item").name, ()))
    one(items, Change(Op.TRUNCATE, items.table("line").name, ()))

    assert items.rows() == []
    assert items.rows("select * from public.line") == []


def test_triggers_and_foreign_keys_do_not_fire(items: Receiver) -> None:
    items.db.run(
        "create table public.line (id int primary key, item int references public.item on delete cascade)",
        "create function public.no() returns trigger language plpgsql as"
        " $$ begin raise exception 'fired'; end $$",
        "create trigger no before insert or update or delete on public.line"
        " for each row execute function public.no()",
    )

    write(items, items.batch("line", inserts=[(b"1", b"77")]))

    assert items.rows("select * from public.line") == [(1, 77)]


def test_keys_of_an_extension_s_type_are_found_by_its_own_operator(receiver: Receiver) -> None:
    if not receiver.rows("select from pg_available_extensions where name = 'citext'"):
        pytest.skip("this server comes without citext")
    receiver.db.run(
        "create schema odd", "create extension citext schema odd",
        'create table public.word (w odd.citext primary key, n int)',
        "insert into public.word values ('Ab', 1)",
    )  # fmt: skip

    write(receiver, receiver.batch("word", updates={("n",): [(b"aB", b"2")]}))

    assert receiver.rows("select w::text, n from public.word") == [("Ab", 2)]


def test_a_domain_is_a_key(receiver: Receiver) -> None:
    receiver.db.run(
        "create domain public.code as varchar(3) check (value <> 'bad')",
        "create domain public.deep as public.code",
        "create table public.coded (c public.deep primary key, n int)",
        "insert into public.coded values ('abc', 1)",
    )

    write(receiver, receiver.batch("coded", updates={("n",): [(b"abc", b"2")]}))

    assert receiver.rows("select * from public.coded") == [("abc", 2)]


def test_names_are_quoted(receiver: Receiver) -> None:
    receiver.db.run(
        'create schema "S p"',
        'create table public."Select ""me" ("I d" int primary key, "a\'; --" text)',
    )

    write(receiver, receiver.batch('Select "me', inserts=[(b"1", b"a")]))
    write(receiver, receiver.batch('Select "me', updates={("a'; --",): [(b"1", b"b")]}))
    one(receiver, receiver.change(Op.DELETE, 'Select "me', before=(b"1", None)))

    assert receiver.rows('select * from public."Select ""me"') == []


def test_the_key_s_index_is_used_for_a_table_that_was_empty_at_first(receiver: Receiver) -> None:
    scans = "select seq_scan from pg_stat_user_tables where relname = 'item'"
    receiver.db.run(ITEM)
    before = receiver.rows(scans)
    write(receiver, receiver.batch(inserts=[(b"1", b"a", None)]))
    write(receiver, receiver.batch(updates={("name",): [(b"1", b"b")]}))
    receiver.db.run("insert into public.item select n, 'x' from generate_series(2, 20000) n")

    write(receiver, receiver.batch(updates={("name",): [(b"777", b"b")]}))

    receiver.lane.close()  # which flushes its statistics
    wait_for_end(receiver)
    assert receiver.rows(scans) == before


def test_a_table_that_has_gone_is_a_changed_schema(items: Receiver) -> None:
    batch = items.batch(inserts=[(b"5", None, None)])
    items.db.run("drop table public.item")
    items.lane.begin()

    with pytest.raises(Unsupported) as refused:
        items.lane.write(batch)

    items.lane.rollback()
    assert refused.value.reason == "SchemaChanged"


def test_a_place_is_recorded_with_the_rows_or_not_at_all(items: Receiver) -> None:
    after = replace(ROW, block=4, events=2, barrier=3, probe=1, canary=3, position="0/1")
    items.lane.begin()
    items.lane.advance(Side.SOURCE, after, since=0)
    items.lane.write(items.batch(deletes=[(b"1",)]))
    items.lane.rollback()

    with books.transaction(items.site) as transaction:
        assert transaction.lanes(Side.SOURCE) == (ROW,)
    assert len(items.rows()) == 2

    items.lane.begin()
    items.lane.advance(Side.SOURCE, after, since=0)
    items.lane.commit()

    with books.transaction(items.site) as transaction:
        assert transaction.lanes(Side.SOURCE) == (after,)


@pytest.mark.parametrize(
    "stale",
    [{"generation": 2}, {"generation": -1}, {"number": 1}, {"lane": 1}],
    ids=["generation", "ended", "stream", "lane"],
)
def test_only_the_lane_of_this_generation_advances(items: Receiver, stale: dict[str, int]) -> None:
    items.lane.begin()

    with pytest.raises(FencedOut):
        items.lane.advance(Side.SOURCE, replace(ROW, block=1, **stale), since=0)  # type: ignore[arg-type]

    items.lane.rollback()


def test_a_session_that_was_ended_is_to_be_tried_again(items: Receiver) -> None:
    items.lane.begin()
    items.db.rows("select pg_terminate_backend(%s)", items.lane.backend.pid)

    with pytest.raises(TryAgain, match="lost the connection"):
        items.lane.commit()

    items.lane.rollback()


def test_a_user_that_may_not_silence_triggers_is_told_what_to_run(
    database: Database, pair: Pair, make_pair: MakePair
) -> None:
    password = database.server.password
    weak = make_pair(database, pair.target, users=((APPLICATION, password),) * 2)

    with pytest.raises(NotPermitted, match="session_replication_role") as refused:
        PostgresLane(weak.site(Side.TARGET), STREAM)

    assert "bowline grants" in refused.value.hint
