"""The stand-in's EXCHANGE PARTITION and TRUNCATE ... CASCADE do to rows and dictionary what Oracle's manual says."""

from __future__ import annotations

import pytest

from oracle.engine_rig import code, log_of, new_database, rows, run, value
from oracle.standin.backend import OraError
from oracle.standin.engine.database import Database
from oracle.standin.engine.session import Session

#: Of a partitioned table the partition has the segment.
IDS = (
    "select max(case when object_type = 'TABLE' then object_id end), max(data_object_id) from user_objects "
    "where object_type in ('TABLE', 'TABLE PARTITION') and object_name = '{}'"
)
TABLE = "create table {} (id number, name varchar2(10), primary key (id)"
PARTITIONED = (
    " using index local) partition by range (id) (partition p values less than (maxvalue))"
)


@pytest.fixture
def database() -> Database:
    return new_database()


@pytest.fixture
def session(database: Database) -> Session:
    session = database.session("APP")
    run(session, TABLE.format("item") + ")")
    try:
        run(session, TABLE.format("stage") + PARTITIONED)
    except OraError:  # the stand-in has no partitions, and exchanges any table
        run(session, TABLE.format("stage") + ")")
    run(session, "insert into item values (1, 'one')")
    run(session, "insert into stage values (2, 'two')")
    run(session, "commit")
    return session


def test_an_exchange_swaps_rows_and_segments_and_no_identity(session: Session) -> None:
    (before,) = rows(session, IDS.format("ITEM"))
    (other,) = rows(session, IDS.format("STAGE"))

    run(session, "alter table stage exchange partition p with table item including indexes")

    assert rows(session, "select * from item") == [(2, "two")]
    assert rows(session, "select * from stage") == [(1, "one")]
    assert rows(session, IDS.format("ITEM")) == [(before[0], other[1])]
    assert rows(session, IDS.format("STAGE")) == [(other[0], before[1])]


def test_an_exchange_leaves_no_redo_but_its_statement(session: Session, database: Database) -> None:
    written = len(log_of(database).actions())

    run(session, "alter table stage exchange partition p with table item")

    assert len(log_of(database).actions()) == written
    _, table, _ = log_of(database).ddl[-1]
    assert table is not None
    assert table.name == "STAGE"


def test_keys_are_kept_apart_behind_an_exchange(session: Session) -> None:
    run(session, "alter table stage exchange partition p with table item including indexes")

    assert code(session, "insert into item values (2, 'again')") == 1
    run(session, "insert into item values (1, 'free')")
    assert value(session, "select name from item where id = 2") == "two"


def test_what_was_before_an_exchange_can_t_be_read_any_more(
    session: Session, database: Database
) -> None:
    scn = database.current_scn()

    run(session, "alter table stage exchange partition p with table item")

    assert code(session, f"select * from item as of scn {scn}") == 1466


def test_tables_of_two_forms_are_not_exchanged(session: Session) -> None:
    run(session, "create table wide (id number primary key, name varchar2(99))")

    assert code(session, "alter table stage exchange partition p with table wide") == 14097


KEY = "alter table stage add foreign key (id) references item on delete {}"


def test_a_truncate_goes_on_along_keys_that_delete_with_their_parent(session: Session) -> None:
    run(session, "delete from stage")
    run(session, KEY.format("cascade"))
    run(session, "insert into stage values (1, 'child')")
    run(session, "commit")
    (before,) = rows(session, IDS.format("STAGE"))

    assert code(session, "truncate table item") == 2266
    run(session, "truncate table item cascade")

    assert rows(session, "select * from item") == rows(session, "select * from stage") == []
    (after,) = rows(session, IDS.format("STAGE"))
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_truncate_does_not_go_on_along_other_keys(session: Session) -> None:
    run(session, "delete from stage")
    run(session, KEY.format("set null"))

    assert code(session, "truncate table item cascade") == 14705
    assert rows(session, "select id from item") == [(1,)]
