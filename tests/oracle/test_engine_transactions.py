"""The stand-in's engine: transactions, locks, flashback."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from decimal import Decimal

import pytest

from oracle.engine_rig import (
    code,
    impatient,
    is_standin,
    kill_all,
    log_of,
    new_database,
    not_there,
    number,
    rows,
    run,
    settled,
    value,
    waiting,
)
from oracle.standin.backend import OraError, SessionDead
from oracle.standin.engine.database import Database
from oracle.standin.engine.session import Session
from oracle.standin.events import Action


@pytest.fixture
def database() -> Database:
    database = new_database()
    session = database.session("APP")
    run(session, "create table t (id number primary key, v varchar2(10))")
    run(session, "insert into t values (1, 'one')")
    run(session, "insert into t values (2, 'two')")
    session.commit()
    session.close()
    return database


@pytest.fixture
def one(database: Database) -> Session:
    return database.session("APP")


@pytest.fixture
def two(database: Database) -> Session:
    return database.session("APP")


@pytest.fixture
def pool(database: Database) -> Iterator[ThreadPoolExecutor]:
    """Threads; whoever still waits for a lock at the end is killed."""
    with ThreadPoolExecutor(4) as executor:
        yield executor
        kill_all(database)


def test_others_see_a_change_when_it_is_committed(one: Session, two: Session) -> None:
    run(one, "update t set v = 'new' where id = 1")
    run(one, "insert into t values (3, 'three')")

    assert rows(one, "select v from t order by id") == [("new",), ("two",), ("three",)]
    assert rows(two, "select v from t order by id") == [("one",), ("two",)]
    one.commit()
    assert rows(two, "select v from t order by id") == [("new",), ("two",), ("three",)]


def test_a_rollback_takes_all_back(database: Database, one: Session, two: Session) -> None:
    run(one, "delete from t")
    run(one, "insert into t values (1, 'again')")
    assert one.in_transaction
    one.rollback()

    assert not one.in_transaction
    assert rows(one, "select v from t order by id") == [("one",), ("two",)]
    if is_standin(database):
        assert log_of(database).ended[-1][1] is False
        assert log_of(database).actions()[-3:] == [
            (Action.INSERT, True),
            (Action.DELETE, True),
            (Action.DELETE, True),
        ]


def test_a_rollback_to_a_savepoint_takes_the_rest_back(one: Session) -> None:
    run(one, "insert into t values (3, 'x')")
    run(one, "savepoint a")
    run(one, "update t set v = 'y' where id = 3")
    run(one, "savepoint b")
    run(one, "delete from t where id < 3")
    run(one, "rollback to savepoint b")
    assert rows(one, "select v from t order by id") == [("one",), ("two",), ("y",)]
    run(one, "rollback work to a")
    assert rows(one, "select v from t where id = 3") == [("x",)]

    assert code(one, "rollback to b") == 1086
    one.commit()
    assert code(one, "rollback to a") == 1086
    assert number(one, "select count(*) from t") == 3


def test_a_rollback_to_a_savepoint_frees_the_rows_locked_since(
    one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    run(one, "savepoint a")
    run(one, "update t set v = 'x' where id = 1")
    waits = waiting(two, pool, "update t set v = 'y' where id = 1")
    run(one, "rollback to a")

    assert waits.result(10).rowcount == 1


def test_a_writer_waits_for_the_row_and_then_sees_what_was_committed(
    one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    run(one, "update t set v = v || '1' where id = 1")
    waits = waiting(two, pool, "update t set v = v || '2' where id = 1")
    one.commit()

    assert waits.result(10).rowcount == 1
    assert value(two, "select v from t where id = 1") == "one12"


def test_a_writer_of_a_deleted_row_finds_it_gone(
    one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    run(one, "delete from t where id = 1")
    waits = waiting(two, pool, "update t set v = 'x' where id = 1")
    one.commit()

    assert waits.result(10).rowcount == 0


@pytest.mark.parametrize(("commits", "expected"), [(True, 1), (False, None)])
def test_the_second_to_insert_a_key_waits_for_the_first(
    one: Session, two: Session, pool: ThreadPoolExecutor, commits: bool, expected: int | None
) -> None:
    run(one, "insert into t values (9, 'first')")
    waits = waiting(two, pool, "insert into t values (9, 'second')")
    (one.commit if commits else one.rollback)()

    error = waits.exception(10)
    assert (error.code if isinstance(error, OraError) else error) == expected


def test_a_key_is_not_free_before_its_deletion_can_not_be_taken_back(
    one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    run(one, "insert into t values (9, 'x')")
    run(one, "savepoint a")
    run(one, "delete from t where id = 9")
    waits = waiting(two, pool, "insert into t values (9, 'y')")
    run(one, "rollback to a")
    one.commit()

    error = waits.exception(10)
    assert isinstance(error, OraError)
    assert error.code == 1
    assert value(one, "select v from t where id = 9") == "x"


def test_a_key_that_was_taken_back_is_free_at_once(one: Session, two: Session) -> None:
    run(one, "savepoint a")
    run(one, "insert into t values (9, 'x')")
    assert code(impatient(two), "insert into t values (9, 'y')") == 1013
    run(one, "rollback to a")

    assert run(two, "insert into t values (9, 'y')").rowcount == 1


def test_a_child_waits_for_its_parents_fate(
    one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    run(one, "create table c (id number, p number references t)")
    run(one, "insert into t values (9, 'parent')")
    waits = waiting(two, pool, "insert into c values (1, 9)")
    one.rollback()

    error = waits.exception(10)
    assert isinstance(error, OraError)
    assert error.code == 2291


def test_a_parent_waits_for_its_childrens_fate(one: Session, two: Session) -> None:
    run(one, "create table c (id number, p number references t)")
    run(one, "insert into c values (1, 1)")

    assert code(impatient(two), "delete from t where id = 1") == 1013
    one.rollback()
    assert run(two, "delete from t where id = 1").rowcount == 1


def test_a_deadlock_is_one_statements_error(
    one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    run(one, "update t set v = 'a' where id = 1")
    run(two, "update t set v = 'b' where id = 2")
    first = waiting(one, pool, "update t set v = 'a' where id = 2")
    second = pool.submit(run, two, "update t set v = 'b' where id = 1")

    (ended,), (waits,) = wait([first, second], 30, FIRST_COMPLETED)  # whose, the server decides
    error = ended.exception()
    assert isinstance(error, OraError)
    assert error.code == 60
    stopped, row, written = (one, 1, "a") if ended is first else (two, 2, "b")
    assert value(stopped, f"select v from t where id = {row}") == written  # the transaction goes on
    stopped.rollback()
    assert waits.result(10).rowcount == 1


def test_a_cancelled_wait_leaves_the_transaction_open(one: Session, two: Session) -> None:
    run(one, "update t set v = 'x' where id = 1")
    run(two, "update t set v = 'y' where id = 2")

    assert code(impatient(two), "update t set v = 'y' where id = 1") == 1013
    assert value(two, "select v from t where id = 2") == "y"


@pytest.mark.parametrize(
    ("clause", "expected"), [("nowait", 54), ("wait 0", 54), ("wait 1", 30006)]
)
def test_a_locked_row_is_waited_for_as_long_as_asked(
    one: Session, two: Session, clause: str, expected: int
) -> None:
    assert rows(one, "select v from t where id = 1 for update") == [("one",)]

    assert code(two, f"select v from t where id = 1 for update {clause}") == expected
    assert rows(two, "select v from t where id = 2 for update nowait") == [("two",)]
    assert rows(two, "select id from t for update skip locked") == [(2,)]
    one.commit()
    assert rows(two, "select v from t where id = 1 for update nowait") == [("one",)]


@not_there("elsewhere ORA_ROWSCN is a whole block's")
def test_a_lock_alone_changes_nothing(database: Database, one: Session) -> None:
    before = value(one, "select ora_rowscn from t where id = 1")
    rows(one, "select v from t for update")
    assert one.in_transaction
    one.commit()

    assert value(one, "select ora_rowscn from t where id = 1") == before
    assert log_of(database).ended[-1][1] is True


@pytest.mark.parametrize(
    ("held", "wanted", "goes"),
    [
        ("row share", "row exclusive", True),
        ("row exclusive", "row exclusive", True),
        ("row exclusive", "share", False),
        ("share", "share", True),
        ("share", "row exclusive", False),
        ("share row exclusive", "row share", True),
        ("share row exclusive", "share", False),
        ("exclusive", "row share", False),
    ],
)
def test_table_locks_go_together_as_oracles_do(
    one: Session, two: Session, held: str, wanted: str, goes: bool
) -> None:
    run(one, f"lock table t in {held} mode")
    sql = f"lock table app.t in {wanted} mode nowait"
    if goes:
        run(two, sql)
    else:
        assert code(two, sql) == 54
    one.commit()
    run(two, sql)


def test_a_locked_table_keeps_writers_out(
    one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    run(one, "lock table t in exclusive mode")
    waits = waiting(two, pool, "insert into t values (3, 'x')")
    one.commit()

    assert waits.result(10).rowcount == 1


def test_ddl_does_not_wait_for_writers_unless_told(
    one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    run(one, "update t set v = 'x' where id = 1")
    assert code(two, "alter table t add (n number)") == 54
    run(two, "alter session set ddl_lock_timeout = 1")
    assert code(two, "truncate table t") == 54
    run(two, "alter session set ddl_lock_timeout = 30")
    waits = waiting(two, pool, "alter table t add (n number)")
    one.commit()

    waits.result(10)
    assert rows(two, "select id, v, n from t where id = 1") == [(1, "x", None)]


def test_ddl_commits_what_is_open(one: Session, two: Session) -> None:
    run(one, "insert into t values (3, 'x')")
    run(one, "create table u (id number)")

    assert not one.in_transaction
    assert number(two, "select count(*) from t") == 3


def test_a_killed_session_loses_its_transaction(
    one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    run(one, "update t set v = 'x'")
    run(two, "update t set v = v || '!' where id = 99")
    waits = waiting(two, pool, "update t set v = v || '!'")
    run(
        two.database.session("ADMIN"),
        f"alter system kill session '{one.sid},{one.serial}' immediate",
    )

    assert waits.result(10).rowcount == 2
    assert code(one, "select 1 from dual") == 28
    with pytest.raises(SessionDead):
        run(one, "select 1 from dual")
    two.commit()
    assert value(two, "select v from t where id = 1") == "one!"


def test_a_session_that_waits_can_be_killed(
    one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    run(one, "update t set v = 'x'")
    waits = waiting(two, pool, "update t set v = 'y'")
    run(
        one.database.session("ADMIN"),
        f"alter system disconnect session '{two.sid},{two.serial}' immediate",
    )

    error = waits.exception(10)
    assert isinstance(error, OraError)
    assert error.code == 28
    assert code(one, f"alter system kill session '{two.sid},1'") == 30


def test_a_closed_session_rolls_back(one: Session, two: Session) -> None:
    run(one, "delete from t")
    one.close()
    one.close()

    assert number(two, "select count(*) from t") == 2
    assert rows(two, "select sid from v$session where sid = :1", Decimal(one.sid)) == []


def test_the_past_is_read_as_of_an_scn(one: Session, two: Session) -> None:
    settled(one, "t")
    then = number(one, "select current_scn from v$database")
    run(one, "update t set v = 'new' where id = 1")
    run(one, "delete from t where id = 2")
    run(one, "insert into t values (3, 'three')")
    open_ = number(one, "select current_scn from v$database")
    one.commit()
    run(one, "update t set v = 'newer' where id = 1")

    past = "select id, v from t as of scn :1 order by id"
    assert rows(two, past, Decimal(then)) == [(1, "one"), (2, "two")]
    assert rows(one, past, Decimal(open_)) == [(1, "one"), (2, "two")]
    now = Decimal(number(two, "select current_scn from v$database"))
    assert rows(one, past, now) == [(1, "new"), (3, "three")]  # not even one's own open change
    assert rows(two, "select id from t as of scn :1 where id = 2", Decimal(then)) == [(2,)]
    assert rows(two, f"select a.v, b.v from t as of scn {then} a join t b on b.id = a.id") == [
        ("one", "new")
    ]


@not_there("elsewhere the SCN goes on by itself")
def test_a_commit_is_seen_as_of_its_own_scn(database: Database, one: Session) -> None:
    run(one, "update t set v = 'new' where id = 1")
    one.commit()
    commit = database.current_scn()
    sql = "select v from t as of scn :1 where id = 1"

    assert value(one, sql, Decimal(commit)) == "new"
    assert value(one, sql, Decimal(commit - 1)) == "one"
    assert value(one, "select ora_rowscn from t where id = 1") == commit


def test_what_can_not_be_read_any_more_is_an_error(database: Database, one: Session) -> None:
    sql = "select count(*) from t as of scn :1"
    then = database.current_scn()
    run(one, "alter table t add (n number)")
    assert code(one, sql, Decimal(then)) == 1466
    settled(one, "t")
    after = database.current_scn()
    run(one, "insert into t values (3, 'x', 1)")
    one.commit()
    assert value(one, sql, Decimal(after)) == 2
    assert code(one, sql, Decimal(database.current_scn() + 10**6)) == 8181
    assert code(one, "select count(*) from t as of scn null") == 8181
    if is_standin(database):
        database.forget_undo(after + 1)
        assert code(one, sql, Decimal(after)) == 1555
    run(one, "truncate table t")
    assert code(one, sql, Decimal(database.current_scn() - 1)) == 1466


def test_undo_may_go_while_rows_are_fetched(database: Database, one: Session) -> None:
    scn = Decimal(database.current_scn())
    found = iter(run(one, "select v from t as of scn :1 order by id", scn).rows)
    assert tuple(next(found)) == ("one",)
    database.forget_undo(int(scn) + 1)

    with pytest.raises(OraError) as caught:
        next(found)
    assert caught.value.code == 1555


def test_a_read_only_transaction_sees_one_moment(one: Session, two: Session) -> None:
    run(one, "set transaction read only")
    run(two, "delete from t")
    two.commit()

    assert number(one, "select count(*) from t") == 2
    assert code(one, "delete from t") == 1456
    one.commit()
    assert number(one, "select count(*) from t") == 0


@not_there("looks into the stand-in's redo log, and at a server that nobody else uses")
def test_transactions_are_listed_while_they_are_open(
    database: Database, one: Session, two: Session
) -> None:
    sql = "select xidusn, xidslot, xidsqn, start_scn, rawtohex(xid) from v$transaction"
    assert rows(two, sql) == []
    before = database.current_scn()
    run(one, "savepoint a")
    assert rows(two, sql) == []
    run(one, "update t set v = 'x'")

    ((usn, slot, sequence, start, raw),) = rows(two, sql)
    (xid,) = log_of(database).open
    assert (usn, slot, sequence) == xid
    assert start == before + 1
    assert isinstance(raw, str)
    assert bytes.fromhex(raw)[4:] == xid.sequence.to_bytes(4, "little")
    one.commit()
    assert rows(two, sql) == []


def test_xids_are_used_again_with_higher_sequences(database: Database, one: Session) -> None:
    for _ in range(30):
        run(one, "update t set v = 'x' where id = 1")
        one.commit()

    found = list(log_of(database).begun_of)
    slots = {xid[:2] for xid in found}
    assert len(slots) == 12
    for slot in slots:
        sequences = [xid.sequence for xid in found if xid[:2] == slot]
        assert len(sequences) > 1
        assert sequences == sorted(set(sequences))


def test_the_redo_log_is_told_who_writes(database: Database) -> None:
    session = database.session("BOB", thread=2)
    session.identify(client_identifier="bowline", module="m", schema="app")
    run(session, "update t set v = 'x' where id = 1")

    (xid,) = log_of(database).open
    assert log_of(database).begun_of[xid] == ("BOB", "bowline", 2, "CDB$ROOT")
    sql = "select username, client_identifier, module, schemaname, inst_id from gv$session where sid = :1"
    assert rows(session, sql, Decimal(session.sid)) == [("BOB", "bowline", "m", "APP", 2)]


def test_an_arrays_executions_are_one_statement(database: Database, one: Session) -> None:
    for key in (1, 2):
        run(one, "delete from t where id = :1", Decimal(key))
    run(one, "insert into t values (5, 'x')")

    numbers = [change.statement for change in log_of(database).all_written[-3:]]
    assert numbers[0] == numbers[1] != numbers[2]


def test_who_waits_does_not_wake_others_that_wait(
    database: Database, one: Session, two: Session, pool: ThreadPoolExecutor
) -> None:
    """They would go round for ever, each taking its own statement back."""
    told: list[int] = []
    run(one, "update t set v = 'x'")
    tell = database.freed.notify_all
    database.freed.notify_all = lambda: told.append(1)  # type: ignore[method-assign]
    first = waiting(two, pool, "update t set v = v || '1' where id = 1")
    second = waiting(database.session("APP"), pool, "update t set v = v || '2' where id = 2")
    assert told == []
    database.freed.notify_all = tell  # type: ignore[method-assign]
    one.commit()

    assert (first.result(10).rowcount, second.result(10).rowcount) == (1, 1)


def test_many_sessions_count_without_losing_one(
    database: Database, pool: ThreadPoolExecutor
) -> None:
    session = database.session("APP")
    run(session, "create table n (id number primary key, v number)")
    run(session, "insert into n values (1, 0)")
    session.commit()

    def add() -> None:
        worker = database.session("APP")
        for _ in range(25):
            run(worker, "update n set v = v + 1 where id = 1")
            worker.commit()
        worker.close()

    for future in [pool.submit(add) for _ in range(4)]:
        future.result(60)
    assert value(session, "select v from n") == 100
