"""Values that Oracle can't hold, on their way to it: what is written is what the comparison calls equal, or an error.

A policy that was applied by one rule and compared by another would either stop every switch, or hide a real loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import pytest
from demo.servers import Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bowline_worker.contract import NullAnswer, Unsupported, ValueAnswer, Values
from bowline_worker.endpoints.base import BucketDigest, ChangedCounts, TableBatch
from bowline_worker.endpoints.oracle import digest
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.endpoints.oracle.lane import OracleLane
from bowline_worker.endpoints.postgres import digest as of_postgresql
from bowline_worker.model import Change, Op, Table
from oracle.pair_rig import STREAM, Mixed, receiving
from oracle.test_round_trip import told_by_postgresql
from oracle.test_snapshot import new_name

BUCKETS = 8
SLOW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))

COLUMNS = (
    "id number(9) primary key, word varchar2(8 char), padded char(4 char), bytes raw(4), note clob,"
    " price number(12,2), free number, day date, moment timestamp(6), instant timestamp(6) with time zone"
)
#: Per column: values that Oracle holds, and those that it does not, with the field of the spec that is about them.
HELD: Mapping[str, Sequence[str]] = {
    "word": (" ", "a", "a'b\\", "(x),"),
    "padded": ("", "ab"),
    "bytes": ("\\x00", "\\xff01"),
    "note": ("", "long"),
    "price": ("0.00", "-12.50"),
    "free": ("0", "1.50", "-7"),
    "day": ("2026-11-24 01:02:03", "9999-12-31 23:59:59", "4712-01-01 00:00:00 BC"),
    "moment": ("2026-11-24 01:02:03.000001", "9999-12-31 23:59:59.5"),
    "instant": ("2026-11-24 01:02:03+00", "9999-12-31 23:59:59.999999+00"),
}
STRANGE: Mapping[str, Sequence[tuple[str, str]]] = {
    "word": (("", "empty_text"),),
    "bytes": (("\\x", "empty_text"),),
    "price": (("NaN", "not_a_number"),),
    "free": (
        ("NaN", "not_a_number"),
        ("Infinity", "infinite_number"),
        ("-Infinity", "infinite_number"),
    ),
    "day": (
        ("infinity", "infinite_time"),
        ("-infinity", "infinite_time"),
        ("10000-01-01 00:00:00", "outside_calendar"),
        ("4713-12-31 23:59:59 BC", "outside_calendar"),
    ),
    "moment": (
        ("infinity", "infinite_time"),
        ("294276-12-31 23:59:59.999999", "outside_calendar"),
        ("4713-12-01 00:00:00 BC", "outside_calendar"),
    ),
    "instant": (
        ("-infinity", "infinite_time"),
        ("10000-01-01 00:00:00+00", "outside_calendar"),
    ),
}
CASES = [(column, *case) for column, cases in STRANGE.items() for case in cases]
PERMISSIVE = Values(
    empty_text=ValueAnswer.NULL,
    not_a_number=NullAnswer.NULL,
    infinite_number=NullAnswer.NULL,
    infinite_time=ValueAnswer.REPLACEMENT,
    outside_calendar=ValueAnswer.REPLACEMENT,
)


@pytest.fixture(scope="module")
def mixed(pg: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    with receiving(pg, tmp_path_factory.mktemp("replaced")) as found:
        yield found


def under(mixed: Mixed, values: Values) -> Mixed:
    """The same migration with that policy."""
    return mixed.changed(values=values)


def empty_pair(mixed: Mixed, values: Values, columns: str = COLUMNS) -> tuple[Mixed, Table]:
    """A table without rows on both sides."""
    name = new_name()
    mixed.world.run(f"create table {name} ({columns})")
    of = under(mixed.only(name.lower()), values)
    of.make_targets()
    (found,) = of.tables().values()
    return of, found.table


def written(of: Mixed, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """As an application writes them into PostgreSQL."""
    with of.database.connect() as connection:
        connection.execute("set timezone to 'UTC'")
        for row in rows:
            names = ", ".join(row)
            places = ", ".join(["%s"] * len(row))
            connection.execute(
                f"insert into shop.{table.name.name} ({names}) values ({places})".encode(),
                list(row.values()),
            )


def carried(of: Mixed, table: Table) -> ChangedCounts:
    """Apply PostgreSQL's rows to Oracle; tell what was changed on the way."""
    with closing(OracleLane(of.source, STREAM)) as lane:
        lane.begin()
        lane.write(TableBatch(table=table, inserts=told_by_postgresql(of, table)))
        lane.commit()
        return lane.changed


def digests(of: Mixed, table: Table) -> tuple[Mapping[int, BucketDigest], ...]:
    return (
        digest.digests(of.source, table, BUCKETS),
        of_postgresql.digests(of.target, table, BUCKETS),
    )


def in_oracle(of: Mixed, query: str) -> list[tuple[Any, ...]]:
    with closing(connect(of.source)) as connection, connection.cursor() as cursor:
        return list(cursor.execute(query) or ())


def answers(field: str) -> list[str]:
    only_null = field in ("not_a_number", "infinite_number")
    return ["StoreNull"] if only_null else ["StoreNull", "Replacement"]


@pytest.mark.parametrize(("column", "value", "field"), CASES)
def test_without_a_policy_a_value_that_oracle_can_t_hold_stops_the_stream_and_says_what_to_set(
    mixed: Mixed, column: str, value: str, field: str
) -> None:
    of, table = empty_pair(mixed, Values())
    written(of, table, [{"id": 1, column: value}])

    with pytest.raises(Unsupported) as refused:
        carried(of, table)

    alias = Values.model_fields[field].alias
    assert refused.value.reason == "ValueRefused"
    assert refused.value.hint.endswith(f"spec.values.{alias}")
    assert in_oracle(of, f"select id from shop.{table.name.name}") == []


@pytest.mark.parametrize(
    ("column", "value", "field", "answer"),
    [(*case, answer) for case in CASES for answer in answers(case[2])],
)
def test_a_policy_changes_the_value_counts_it_and_the_comparison_calls_it_equal(
    mixed: Mixed, column: str, value: str, field: str, answer: str
) -> None:
    values = Values.model_validate({field: answer})
    of, table = empty_pair(mixed, values)
    written(of, table, [{"id": 1, column: value}, {"id": 2, column: HELD[column][0]}])

    changed = carried(of, table)

    ((place, count),) = changed.items()
    here, there = digests(of, table)
    query = f"select id from shop.{table.name.name} where {column} is null order by id"
    assert (place[1], count) == (column.upper(), 1)
    assert in_oracle(of, query) == ([(1,)] if answer == "StoreNull" else [])
    assert here == there
    assert sum(each.rows for each in here.values()) == 2


def allowed(values: Values, column: str) -> list[str | None]:
    strange = [
        value for value, field in STRANGE.get(column, ()) if getattr(values, field) != "Error"
    ]
    return [None, *HELD[column], *strange]


@st.composite
def policies_and_rows(draw: st.DrawFn) -> tuple[Values, list[dict[str, object]]]:
    both, null = st.sampled_from(ValueAnswer), st.sampled_from(NullAnswer)
    values = Values(
        empty_text=draw(both),
        empty_text_replacement=draw(st.sampled_from([" ", "-", "'\\'", "(none)"])),
        not_a_number=draw(null),
        infinite_number=draw(null),
        infinite_time=draw(both),
        outside_calendar=draw(both),
    )
    count = draw(st.integers(1, 12))
    return values, [
        {"id": number} | {column: draw(st.sampled_from(allowed(values, column))) for column in HELD}
        for number in range(count)
    ]


@SLOW
@given(drawn=policies_and_rows())
def test_rows_that_went_to_oracle_under_any_policy_are_equal_to_what_they_were(
    mixed: Mixed, drawn: tuple[Values, list[dict[str, object]]]
) -> None:
    values, rows = drawn
    of, table = empty_pair(mixed, values)
    written(of, table, rows)

    changed = carried(of, table)
    here, there = digests(of, table)

    assert here == there
    assert changed.total() == sum(
        (value, field) in [(row[column], field)]
        for row in rows
        for column, cases in STRANGE.items()
        for value, field in cases
    )


def test_a_policy_hides_no_other_difference(mixed: Mixed) -> None:
    of, table = empty_pair(mixed, PERMISSIVE)
    written(of, table, [{"id": 1, "word": "", "note": ""}, {"id": 2, "word": "kept"}])
    carried(of, table)
    here, there = digests(of, table)
    assert here == there

    of.world.run(f"update shop.{table.name.name} set note = null where id = 1", "commit")
    here, there = digests(of, table)

    assert here != there


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ("word varchar2(9) primary key", {"word": ""}),
        ("id number(9), day date, primary key (id, day)", {"id": 1, "day": "infinity"}),
        ("free number primary key", {"free": "NaN"}),
        ("id number(9), word varchar2(9)", {"id": 1, "word": ""}),  # without a key
    ],
)
def test_by_what_rows_are_told_apart_no_policy_changes(
    mixed: Mixed, columns: str, row: dict[str, object]
) -> None:
    of, table = empty_pair(mixed, PERMISSIVE, columns)
    written(of, table, [row])

    with pytest.raises(Unsupported, match="SHOP") as refused:
        carried(of, table)

    assert "no policy changes a value by which rows are told apart" in refused.value.hint
    assert in_oracle(of, f"select 1 from shop.{table.name.name}") == []


def test_a_column_that_takes_no_null_gets_none_by_a_policy(mixed: Mixed) -> None:
    columns = "id number(9) primary key, word varchar2(9) not null"
    of, table = empty_pair(mixed, PERMISSIVE, columns)
    written(of, table, [{"id": 1, "word": ""}])

    with pytest.raises(Unsupported, match="takes no NULL"):
        carried(of, table)


def test_a_row_that_was_changed_is_found_again_and_counted_again(mixed: Mixed) -> None:
    of, table = empty_pair(mixed, PERMISSIVE, "id number(9) primary key, word varchar2(9)")
    names = ("id", "word")
    with closing(OracleLane(of.source, STREAM)) as lane:
        lane.begin()
        lane.one(Change(Op.INSERT, table.name, names, after=(b"1", b"")), table)
        lane.rollback()
        lane.begin()
        lane.one(Change(Op.INSERT, table.name, names, after=(b"1", b"")), table)
        lane.commit()
        lane.begin()
        lane.one(Change(Op.UPDATE, table.name, names, before=(b"1", b""), after=(b"1", b"")), table)
        lane.one(Change(Op.UPDATE, table.name, names, after=(b"1", b"word")), table)
        lane.commit()

    owner = f"SHOP.{table.name.name.upper()}"
    assert lane.changed == {(owner, "WORD", "empty"): 2}
    assert in_oracle(of, f"select id, word from shop.{table.name.name}") == [(1, "word")]
