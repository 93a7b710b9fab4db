"""The stand-in's engine: DML, what a column takes, and constraints."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oracle.engine_rig import code, is_standin, log_of, message, new_database, rows, run, value
from oracle.standin.backend import Bind, Kind, Moment, Months, Span, Value
from oracle.standin.engine.database import Database
from oracle.standin.engine.session import Session
from oracle.standin.events import Action


@pytest.fixture
def database() -> Database:
    return new_database()


@pytest.fixture
def session(database: Database) -> Session:
    return database.session("APP")


@pytest.mark.parametrize(
    ("kind", "given", "stored"),
    [
        ("number", "1.5", Decimal("1.5")),
        ("number", "'-.5'", Decimal("-0.5")),
        ("number", "1e126", 1426),
        ("number", "1e-131", 0),
        ("number(5,2)", "1.005", Decimal("1.01")),
        ("number(5,2)", "-1.005", Decimal("-1.01")),
        ("number(5,2)", "999.994", Decimal("999.99")),
        ("number(5,2)", "999.995", 1438),
        ("number(5,-2)", "1250", Decimal(1300)),
        ("number(5,-2)", "10000000", 1438),
        ("number(2,4)", "0.0099", Decimal("0.0099")),
        ("number(2,4)", "0.01", 1438),
        ("number(*,0)", "1.5", 2),
        ("integer", "-2.5", -3),
        ("float(10)", "1234.5", Decimal(1235)),
        ("number(3)", "'x'", 1722),
        ("varchar2(3)", "'abc'", "abc"),
        ("varchar2(3)", "'abcd'", 12899),
        ("varchar2(3)", "'äöü'", 12899),
        ("varchar2(3 char)", "'äöü'", "äöü"),
        ("varchar2(3)", "''", None),
        ("varchar2(3)", "12.5", 12899),
        ("nvarchar2(2)", "'😀'", "😀"),
        ("nvarchar2(2)", "'😀x'", 12899),
        ("char(3)", "'a'", "a  "),
        ("char(3 char)", "'ä'", "ä  "),
        ("char(3)", "'ä'", "ä "),
        ("nchar(3)", "'é'", "é  "),
        ("raw(2)", "'00ff'", b"\0\xff"),
        ("raw(2)", "hextoraw('00ffee')", 12899),
        ("date", "timestamp '2024-02-29 23:59:58.9'", Moment(2024, 2, 29, 23, 59, 58)),
        ("date", "'29-FEB-24'", Moment(2024, 2, 29)),
        ("timestamp(0)", "timestamp '2024-02-29 23:59:59.5'", Moment(2024, 3, 1)),
        ("timestamp(3)", "timestamp '2024-01-01 00:00:00.12349'", Moment(2024, 1, 1, nanos=123_000_000)),
        ("timestamp(9)", "timestamp '2024-01-01 00:00:00.123456789'", Moment(2024, 1, 1, nanos=123_456_789)),
        ("timestamp with time zone", "timestamp '2024-01-01 00:00:00 -03:30'", Moment(2024, 1, 1, offset=-210)),
        ("timestamp with local time zone", "timestamp '2024-01-01 00:00:00 -03:30'", Moment(2024, 1, 1, 3, 30)),
        ("interval year to month", "interval '-3-06' year to month", Months(-42)),
        ("interval year to month", "interval '100' year", 1873),
        ("interval day to second(3)", "to_dsinterval('1 00:00:00.1239')", Span(86_400_124_000_000)),
        ("interval day to second", "to_dsinterval('100 00:00:00')", 1873),
        ("binary_double", "0.1", 0.1),
        ("binary_float", "0.1", 0.10000000149011612),
        ("binary_double", "'NaN'", "nan"),
        ("binary_double", "-0", 0.0),
        ("clob", "empty_clob()", ""),
        ("clob", "''", None),
        ("clob", "'text'", "text"),
        ("blob", "hextoraw('cafe')", b"\xca\xfe"),
        ("blob", "empty_blob()", b""),
        ("date", "1", 932),
    ],
)  # fmt: skip
def test_a_column_stores_what_oracle_would(
    session: Session, kind: str, given: str, stored: Value
) -> None:
    run(session, f"create table t (c {kind})")
    sql = f"insert into t values ({given})"
    if isinstance(stored, int) and stored > 900:
        assert code(session, sql) == stored
        assert rows(session, "select c from t") == []
        return
    run(session, sql)
    found = value(session, "select c from t")
    assert (str(found) if stored == "nan" else found) == stored


def test_a_value_too_large_names_its_column_and_both_sizes(session: Session) -> None:
    run(session, "create table t (c varchar2(3 char))")

    text = 'ORA-12899: value too large for column "APP"."T"."C" (actual: 4, maximum: 3)'
    assert message(session, "insert into t values ('abcd')") == text


@pytest.fixture
def family(session: Session) -> Session:
    """A parent with two rows, and a child with one."""
    run(
        session,
        "create table p (id number constraint pk_p primary key, u varchar2(5) constraint uk_p unique)",
    )
    run(
        session,
        "create table c (id number primary key, p number constraint fk_c references p, "
        "n number not null, constraint ck_c check (n between 0 and 9))",
    )
    run(session, "insert into p values (1, 'a')")
    run(session, "insert into p values (2, null)")
    run(session, "insert into c values (1, 1, 5)")
    run(session, "commit")
    return session


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("insert into p values (1, 'z')", "ORA-00001: unique constraint (APP.PK_P) violated"),
        ("insert into p values (3, 'a')", "ORA-00001: unique constraint (APP.UK_P) violated"),
        ("update p set u = 'a' where id = 2", "ORA-00001"),
        ("insert into p (u) values ('z')", 'ORA-01400: cannot insert NULL into ("APP"."P"."ID")'),
        ("update p set id = null where id = 2", 'ORA-01407: cannot update ("APP"."P"."ID") to NULL'),
        ("insert into c values (2, 1, null)", "ORA-01400"),
        ("insert into c values (2, 1, 10)", "ORA-02290: check constraint (APP.CK_C) violated"),
        ("update c set n = -1", "ORA-02290"),
        ("insert into c values (2, 9, 1)",
         "ORA-02291: integrity constraint (APP.FK_C) violated - parent key not found"),
        ("update c set p = 9", "ORA-02291"),
        ("delete from p where id = 1", "ORA-02292: integrity constraint (APP.FK_C) violated - child record found"),
        ("update p set id = 7 where id = 1", "ORA-02292"),
        ("delete from p", "ORA-02292"),
        ("truncate table p", "ORA-02266"),
        ("insert into p values (1)", "ORA-00947"),
        ("insert into p values (1, 'a', 3)", "ORA-00913"),
        ("insert into p (id, id) values (1, 2)", "ORA-00957"),
        ("insert into p (id, nope) values (1, 2)", 'ORA-00904: "NOPE": invalid identifier'),
        ("insert into p (id) value (1)", "ORA-00926"),
        ("update p set nope = 1", "ORA-00904"),
        ("insert into nope values (1)", "ORA-00942"),
    ],
)  # fmt: skip
def test_a_violation_names_the_constraint_and_changes_nothing(
    family: Session, sql: str, expected: str
) -> None:
    before = (rows(family, "select * from p"), rows(family, "select * from c"))

    assert expected in message(family, sql)
    assert (rows(family, "select * from p"), rows(family, "select * from c")) == before


@pytest.mark.parametrize(
    "sql",
    [
        "insert into p values (3, null)",  # NULLs are not equal to each other
        "insert into c values (2, null, 1)",  # no parent is asked for
        "delete from p where id = 2",
        "update p set u = 'b' where id = 1",
    ],
)
def test_what_violates_nothing_is_done(family: Session, sql: str) -> None:
    assert run(family, sql).rowcount == 1


def test_a_check_lets_pass_what_it_can_not_tell(session: Session) -> None:
    run(session, "create table t (n number check (n > 0))")
    run(session, "insert into t values (null)")

    assert code(session, "insert into t values (0)") == 2290
    assert rows(session, "select n from t") == [(None,)]


def test_keys_are_unique_at_the_end_of_a_statement(family: Session) -> None:
    run(family, "delete from c")
    run(family, "update p set id = id + 1")
    run(family, "update p set id = 5 - id")

    assert rows(family, "select id, u from p order by id") == [(2, None), (3, "a")]


def test_a_failed_statement_is_taken_back_and_told_newest_first(
    database: Database, family: Session
) -> None:
    del log_of(database).all_written[:]
    assert (
        code(
            family, "insert into p select 4 - level, to_char(level) from dual connect by level < 4"
        )
        == 1
    )

    inserts = [(Action.INSERT, False)] * 3
    assert log_of(database).actions() == inserts + [(Action.INSERT, True)] * 3
    done = [change.rowid for change in log_of(database).all_written]
    assert done[3:] == done[2::-1]
    assert len({change.statement for change in log_of(database).all_written}) == 1


def test_a_deleted_parent_takes_its_children_along(session: Session) -> None:
    run(session, "create table p (id number primary key)")
    run(session, "create table a (id number, p number references p on delete cascade)")
    run(session, "create table b (id number, p number references p on delete set null)")
    for sql in (
        "insert into p values (1)",
        "insert into a values (1, 1)",
        "insert into b values (1, 1)",
    ):
        run(session, sql)

    assert run(session, "delete from p").rowcount == 1
    assert rows(session, "select * from a") == []
    assert rows(session, "select * from b") == [(1, None)]


def test_defaults_fill_what_is_not_given(session: Session) -> None:
    run(session, "create sequence s start with 5")
    run(
        session,
        "create table t (id number default s.nextval, a varchar2(5) default 'x', d date default sysdate, "
        "n number default on null 7 not null, v as (n * 2))",
    )
    run(session, "insert into t (a) values (null)")
    run(session, "insert into t (id, a, n) values (1, default, null)")

    assert rows(session, "select id, a, n, v from t where d is not null order by id") == [
        (1, "x", 7, 14),
        (5, None, 7, 14),
    ]
    run(session, "update t set n = 4, a = default where id = 5")
    assert rows(session, "select a, v from t where id = 5") == [("x", 8)]
    assert code(session, "insert into t (v) values (1)") == 54013
    assert code(session, "update t set v = 1") == 54017


def test_an_identity_numbers_rows_and_guards_them(session: Session) -> None:
    run(session, "create table t (id number generated always as identity, a number)")
    run(session, "insert into t (a) values (1)")
    assert code(session, "insert into t (id, a) values (9, 1)") == 32795
    assert code(session, "update t set id = 1") == 32796

    run(session, "alter table t modify id generated by default as identity")
    run(session, "insert into t (id, a) values (50, 2)")
    run(session, "alter table t modify id generated always as identity (start with limit value)")
    run(session, "insert into t (a) values (3)")
    run(session, "insert into t values (default, 4)")
    assert rows(session, "select id, a from t order by a") == [(1, 1), (50, 2), (51, 3), (52, 4)]


MERGE = (
    "merge into t using (select :1 k, :2 v from dual) s on (t.k = s.k) "
    "when matched then update set t.v = s.v when not matched then insert (k, v) values (s.k, s.v)"
)


def test_a_merge_updates_or_inserts(database: Database, session: Session) -> None:
    run(session, "create table t (k number primary key, v varchar2(5))")
    assert run(session, MERGE, Decimal(1), "a").rowcount == 1
    assert run(session, MERGE, Decimal(1), "b").rowcount == 1
    assert run(session, MERGE, Decimal(2), None).rowcount == 1

    assert rows(session, "select * from t order by k") == [(1, "b"), (2, None)]
    if is_standin(database):
        actions = [action for action, _ in log_of(database).actions()]
        assert actions == ["INSERT", "UPDATE", "INSERT"]


def test_a_merge_keeps_to_its_conditions(session: Session) -> None:
    run(session, "create table t (k number primary key, v number)")
    run(session, "create table s (k number, v number)")
    run(session, "insert into t select level, level from dual connect by level <= 3")
    run(session, "insert into s select level + 1, 10 * level from dual connect by level <= 4")
    merged = run(
        session,
        "merge into t using s on (s.k = t.k) when matched then update set v = s.v where s.k < 9 "
        "delete where t.v = 20 when not matched then insert (k, v) values (s.k, s.v) where s.k < 5",
    )

    assert merged.rowcount == 3
    assert rows(session, "select * from t order by k") == [(1, 1), (2, 10), (4, 30)]


def test_a_merge_refuses_what_is_not_clear(session: Session) -> None:
    run(session, "create table t (k number, v number)")
    run(session, "create table s (k number, v number)")
    run(session, "insert into t values (1, 1)")
    run(session, "insert into s select 1, level from dual connect by level <= 2")

    twice = "merge into t using s on (s.k = t.k) when matched then update set v = s.v"
    assert code(session, twice) == 30926
    moves = "merge into t using s on (s.k = t.k) when matched then update set k = s.v"
    assert code(session, moves) == 38104
    assert rows(session, "select * from t") == [(1, 1)]


def test_returning_gives_the_values_of_each_row(database: Database, session: Session) -> None:
    word = "return" if is_standin(database) else "returning"  # the driver knows only that
    run(session, "create table t (id number, v varchar2(5))")
    returned = [Bind("A", Kind.NUMBER, returned=True), Bind("B", Kind.VARCHAR2, returned=True)]
    given = Bind("V", Kind.VARCHAR2)
    sql = "insert into t values (1, :v) returning id, v || '!' into :a, :b"
    assert session.execute(sql, [given, *returned], ["x"]).returned == [(1, "x!")]
    run(session, "insert into t values (2, 'y')")

    sql = f"update t set v = v || v {word} v, id into :b, :a"
    found = session.execute(sql, returned[::-1], [])
    assert found.returned == [("xx", 1), ("yy", 2)]
    found = session.execute(
        "delete from t where id = 2 returning id, rowid into :a, :b", returned, []
    )
    assert [row[0] for row in found.returned] == [2]


def test_an_update_sees_the_rows_as_the_statement_began(session: Session) -> None:
    run(session, "create table t (id number, v number)")
    run(session, "insert into t select level, level from dual connect by level <= 3")
    run(session, "insert into t select id + 10, v from t")
    run(session, "update t set v = (select sum(v) from t)")

    assert rows(session, "select distinct v from t") == [(12,)]
    assert rows(session, "select count(*) from t") == [(6,)]


def test_a_char_key_is_found_without_its_blanks_only_as_char(session: Session) -> None:
    run(session, "create table t (k char(5) primary key)")
    run(session, "insert into t values ('ab')")

    assert code(session, "insert into t values ('ab   ')") == 1
    assert rows(session, "select k from t where k = 'ab'") == [("ab   ",)]
    assert rows(session, "select k from t where k = :1", "ab") == []
    assert rows(session, "select k from t where k = :1", "ab   ") == [("ab   ",)]
    assert rows(session, "select k from t where k = rpad(:1, 5)", "ab") == [("ab   ",)]


def test_an_insert_may_leave_a_lob_to_later(session: Session) -> None:
    run(session, "create table t (id number, c clob, b blob)")
    long = "x" * 10_000
    run(session, "insert into t values (1, empty_clob(), null)")
    session.execute("update t set c = :1", [Bind("1", Kind.LONG)], [long])

    assert value(session, "select c from t") == long
    assert value(session, "select length(c) from t") == 10_000
