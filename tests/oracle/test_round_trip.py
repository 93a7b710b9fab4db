"""Any value of any type that is carried: copied from Oracle, told by PostgreSQL, and written into Oracle again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from demo.servers import Server
from hypothesis import HealthCheck, given, settings

from bowline_worker.endpoints.base import TableBatch
from bowline_worker.endpoints.oracle.lane import OracleLane
from bowline_worker.endpoints.oracle.snapshot import FlashbackTable
from bowline_worker.endpoints.postgres.connection import SETTINGS
from bowline_worker.endpoints.postgres.connection import quote as quoted
from bowline_worker.model import Row, Table
from oracle.pair_rig import STREAM, Mixed, receiving
from oracle.test_snapshot import reading, wide_rows, wide_table

SLOW = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def mixed(pg: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    with receiving(pg, tmp_path_factory.mktemp("round")) as found:
        yield found


@SLOW
@given(rows=wide_rows())
def test_every_value_comes_back_as_it_was(mixed: Mixed, rows: list[Row]) -> None:
    source = wide_table(mixed.world, rows)
    of = mixed.only(source.name.lower())
    of.make_targets()
    of.copy()
    (there,) = of.tables().values()
    told = told_by_postgresql(of, there.table)
    back = wide_table(mixed.world, [])
    (here,) = mixed.only(back.name.lower()).tables().values()

    with closing(OracleLane(mixed.only(back.name.lower()).source, STREAM)) as lane:
        lane.begin()
        lane.write(TableBatch(table=here.table, inserts=told))
        lane.commit()

    assert content(mixed, back) == content(mixed, source)
    assert len(told) == len(rows)


def told_by_postgresql(mixed: Mixed, table: Table) -> list[Row]:
    """The rows in the text that its stream tells them in: that of the types' output functions."""
    columns = ", ".join(quoted(column.name) for column in table.written)
    name = quoted(table.name.schema, table.name.name)
    with mixed.database.connect() as connection, connection.cursor() as cursor:
        for setting, value in SETTINGS.items():
            cursor.execute("select set_config(%s, %s, false)", [setting, value])
        with cursor.copy(f"copy {name} ({columns}) to stdout".encode()) as copy:
            return [
                tuple(None if value is None else str(value).encode() for value in row)
                for row in copy.rows()
            ]


def content(mixed: Mixed, table: FlashbackTable) -> list[bytes]:
    with reading(mixed.world) as reader:
        return sorted(
            line
            for chunk in reader.chunks(table, 1000)
            for line in b"".join(reader.read(table, chunk)).splitlines(keepends=True)
        )
