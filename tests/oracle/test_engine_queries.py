"""The stand-in's engine: queries."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from oracle.engine_rig import CLIENT, LACKS, before_23, code, new_database, rows, run, value
from oracle.standin.backend import Bind, Kind, OraError, Value
from oracle.standin.engine.database import Database
from oracle.standin.engine.relations import View
from oracle.standin.engine.session import Session


@pytest.fixture(scope="module")
def database() -> Database:
    return new_database()


@pytest.fixture(scope="module")
def session(database: Database) -> Session:
    session = database.session("APP")
    run(session, "create table d (id number primary key, name varchar2(10))")
    run(
        session,
        "create table e (id number primary key, d number, name varchar2(10), pay number(7,2), c char(4))",
    )
    for sql in (
        "insert into d select level, 'dept' || level from dual connect by level <= 3",
        "insert into e values (1, 1, 'ann', 10, 'a')",
        "insert into e values (2, 1, 'bob', 20.5, 'b')",
        "insert into e values (3, 2, 'cid', null, 'a')",
        "insert into e values (4, null, 'dan', 5, null)",
        "commit",
    ):
        run(session, sql)
    return session


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select * from d order by id desc", [(3, "dept3"), (2, "dept2"), (1, "dept1")]),
        ("select e.*, 1 x from e where id = 4", [(4, None, "dan", 5, None, 1)]),
        ("select name from e where d = 1 and pay > 10", [("bob",)]),
        ("select id from e where pay <> 10 order by 1", [(2,), (4,)]),
        ("select id from e order by pay desc", [(3,), (2,), (1,), (4,)]),
        ("select id from e order by pay desc nulls last, id", [(2,), (1,), (4,), (3,)]),
        ("select id from e where c = 'a' order by id", [(1,), (3,)]),
        ("select id from e where c = to_char('a')", []),  # VARCHAR2: 'a   ' is another
        ("select upper(name) n from e where id < 3 order by n desc", [("BOB",), ("ANN",)]),
        ("select id from e where rownum <= 2", [(1,), (2,)]),
        ("select id from e where rownum = 2", []),
        ("select id, rownum from e where name > 'b' and rownum < 3", [(2, 1), (3, 2)]),
        ("select id from e order by id offset 1 rows fetch next 2 rows only", [(2,), (3,)]),
        ("select id from e order by id fetch first 1 row only", [(1,)]),
        ("select distinct d from e order by d", [(1,), (2,), (None,)]),
        ("select count(*), count(pay), sum(pay), min(name), max(pay) from e",
         [(4, 3, Decimal("35.5"), "ann", Decimal("20.5"))]),
        ("select count(*), sum(pay) from e where id > 99", [(0, None)]),
        ("select d, count(*) n from e group by d having count(*) = 1 order by d", [(2, 1), (None, 1)]),
        ("select nvl(d, 0) + 1, avg(pay) from e group by nvl(d, 0) order by 1",
         [(1, 5), (2, Decimal("15.25")), (3, None)]),
        ("select listagg(name, ',') within group (order by id desc) from e where d = 1", [("bob,ann",)]),
        ("select count(distinct d) from e", [(2,)]),
        ("select e.name, d.name from e join d on d.id = e.d order by e.id",
         [("ann", "dept1"), ("bob", "dept1"), ("cid", "dept2")]),
        ("select e.id, d.id from e left join d on d.id = e.d where e.id > 2 order by 1", [(3, 2), (4, None)]),
        ("select e.id from e left join d on d.id = e.d where d.id is null", [(4,)]),
        ("select e.id from e left join d on d.id = e.d and d.id = 2 where d.id is null order by 1",
         [(1,), (2,), (4,)]),
        ("select a.id, b.id from e a, e b where a.d = b.d and a.id < b.id", [(1, 2)]),
        ("select count(*) from d cross join e", [(12,)]),
        ("select name from d where exists (select 1 from e where e.d = d.id) order by 1", [("dept1",), ("dept2",)]),
        ("select id from d where id not in (select d from e)", []),
        ("select id from d where id not in (select d from e where d is not null)", [(3,)]),
        ("select name, (select count(*) from e where e.d = d.id) from d order by 1",
         [("dept1", 2), ("dept2", 1), ("dept3", 0)]),
        ("select x.n from (select name n, id from e) x where x.id = 2", [("bob",)]),
        ("with w as (select id from e where id > 2) select count(*) from w", [(2,)]),
        ("select id from d union select d from e order by 1 nulls first", [(None,), (1,), (2,), (3,)]),
        ("select 1 x from dual union all select 1 from dual", [(1,), (1,)]),
        ("select id from d minus select d from e", [(3,)]),
        ("select id from d intersect select d from e order by 1", [(1,), (2,)]),
        ("select level from dual connect by level <= 3", [(1,), (2,), (3,)]),
        ("select id from app.e where app.e.id = 1", [(1,)]),
        ('select "ID" from "APP"."E" t where t."NAME" = \'cid\'', [(3,)]),
        ("select /*+ full(e) */ id -- why\n from e where id = 1", [(1,)]),
    ],
)  # fmt: skip
def test_a_query_gives_these_rows(
    session: Session, sql: str, expected: list[tuple[Value, ...]]
) -> None:
    assert rows(session, sql) == expected


#: A query without FROM, a number as a condition, VALUES, and ORA-03048 and the like for ORA-00933.
OTHERWISE_IN_23 = (
    "select id",
    "select id from e where id",
    "values (1)",
    "select id from e garbage more",
)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 1 from nope", 942),
        ("select 1 from other.e", 942),
        ("select nope from e", 904),
        ("select x.id from e", 904),
        ("select id from e, d", 918),
        ("select id", 923),
        ("select from e", 936),
        ("select id, count(*) from e", 937),
        ("select d, name from e group by d", 979),
        ("select id from e where count(*) > 1", 934),
        ("select id from e where id", 920),
        ("select id from e order by 5", 1785),
        ("select 1 from dual union select 1, 2 from dual", 1789),
        ("select id from e where id in (select id, d from e)", 913),
        ("select id from e garbage more", 933),
        pytest.param("select id from e where d(+) = 1", 3001, marks=LACKS),
        pytest.param("select id from e right join d on 1 = 1", 3001, marks=LACKS),
        pytest.param("select row_number() over (order by id) from e", 3001, marks=LACKS),
        pytest.param("select e.id from e join d using (id)", 3001, marks=LACKS),
        pytest.param("select :1 from dual", 1008, marks=CLIENT),
        ("values (1)", 900),
    ],
)
def test_a_wrong_query_is_oracles_error(session: Session, sql: str, expected: int) -> None:
    if sql in OTHERWISE_IN_23:
        before_23(session)
    assert code(session, sql) == expected


def test_an_unknown_name_tells_its_place(session: Session) -> None:
    with pytest.raises(OraError, match=r'ORA-00904: "E"\."NOPE": invalid identifier') as caught:
        run(session, "select e.nope from e")

    assert caught.value.offset == 7


def test_columns_are_described_without_values(session: Session) -> None:
    found = session.describe("select id, name n, pay, c, :x, rowid, sysdate from e")

    assert [(one.name, one.kind) for one in found] == [
        ("ID", Kind.NUMBER),
        ("N", Kind.VARCHAR2),
        ("PAY", Kind.NUMBER),
        ("C", Kind.CHAR),
        (":X", Kind.VARCHAR2),
        ("ROWID", Kind.ROWID),
        ("SYSDATE", Kind.DATE),
    ]
    assert (found[2].precision, found[2].scale) == (7, 2)
    assert found[1].size == 10


def test_a_row_is_found_by_its_rowid(session: Session) -> None:
    rowid = value(session, "select rowid from e where id = 2")

    assert rows(session, "select id from e where rowid = :1", rowid) == [(2,)]
    assert rows(session, "select id from e where rowid > :1 order by rowid", rowid) == [(3,), (4,)]
    assert isinstance(rowid, str)
    assert len(rowid) == 18


def test_a_view_is_filled_when_it_is_read(database: Database, session: Session) -> None:
    def fill(reader: Session) -> Iterator[tuple[Value, ...]]:
        yield Decimal(1), reader.user

    database.views["V$MINE"] = View.of("N number, WHO varchar2(30)", fill)

    assert rows(session, "select who from v$mine where n = 1") == [("APP",)]
    assert rows(session, "select m.who from sys.v_$mine m") == [("APP",)]


def test_a_lazy_view_fails_where_its_rows_fail(database: Database, session: Session) -> None:
    def fill(reader: Session) -> Iterator[tuple[Value, ...]]:
        yield (Decimal(1),)
        raise OraError(310, "archived log contains sequence 5; sequence 4 required")

    database.views["V$BREAKS"] = View.of("N number", fill, lazy=True)
    found = iter(session.execute("select n + 1 from v$breaks where n > :1", [_zero()], ["0"]).rows)

    assert tuple(next(found)) == (2,)
    with pytest.raises(OraError) as caught:
        next(found)
    assert caught.value.code == 310


def _zero() -> Bind:
    return Bind("1", Kind.VARCHAR2)
