"""The stand-in's engine: what a fence of triggers and locks stands on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from oracle.engine_rig import (
    LACKS,
    code,
    impatient,
    is_standin,
    kill_all,
    may,
    message,
    new_database,
    number,
    rows,
    run,
    value,
    waiting,
)
from oracle.standin.backend import OraError
from oracle.standin.engine.database import Database
from oracle.standin.engine.session import Session

TRIGGER = """create or replace trigger BOWLINE.FENCE_1 before insert or update or delete on SHOP.ITEM disable
declare
  function is_raised return number is
    pragma autonomous_transaction;
    found number(1);
  begin
    select raised into found from bowline_switch where migration = 'm';
    return found;
  exception
    when no_data_found then return 0;
  end is_raised;
begin
  if sys_context('USERENV', 'SESSION_USER') = 'BOWLINE' then
    return;
  end if;
  lock table bowline_gate in row share mode;
  if is_raised = 1 then
    raise_application_error(-20999, 'bowline: SHOP.ITEM does not accept writes');
  end if;
end;"""


@pytest.fixture
def database() -> Database:
    database = new_database(triggers_wait=False)
    app, ours = database.session("SHOP"), database.session("BOWLINE")
    run(app, "create table item (id number primary key, v varchar2(10))")
    run(ours, "create table bowline_gate (id number)")
    run(ours, "create table bowline_switch (migration varchar2(10), raised number(1))")
    run(ours, "insert into bowline_switch values ('m', 0)")
    run(ours, TRIGGER)
    run(ours, "alter trigger fence_1 enable")
    return database


@pytest.fixture
def app(database: Database) -> Session:
    return database.session("SHOP")


@pytest.fixture
def ours(database: Database) -> Session:
    return database.session("BOWLINE")


@pytest.fixture
def pool(database: Database) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor
        kill_all(database)


def test_a_flag_that_was_set_stops_writers_with_all_of_the_errors_lines(
    app: Session, ours: Session
) -> None:
    run(app, "insert into item values (1, 'a')")
    app.commit()
    run(ours, "update bowline_switch set raised = 1")
    ours.commit()

    text = message(app, "delete from item")
    assert text.startswith("ORA-20999: bowline: SHOP.ITEM does not accept writes\nORA-06512: at ")
    assert text.endswith("\nORA-04088: error during execution of trigger 'BOWLINE.FENCE_1'")
    assert run(ours, "insert into shop.item values (2, 'ours')").rowcount == 1


def test_a_serializable_transaction_is_stopped_by_a_flag_that_it_can_not_see(
    app: Session, ours: Session
) -> None:
    run(app, "alter session set isolation_level = serializable")
    assert number(app, "select count(*) from item") == 0
    run(app, "insert into item values (1, 'a')")
    run(ours, "update bowline_switch set raised = 1")
    ours.commit()

    assert number(app, "select raised from bowline.bowline_switch") == 0
    assert code(app, "insert into item values (2, 'a')") == 20999
    app.commit()
    assert number(app, "select raised from bowline.bowline_switch") == 1


def test_a_writer_waits_for_the_gate_and_then_reads_the_new_flag(
    app: Session, ours: Session, pool: ThreadPoolExecutor
) -> None:
    run(ours, "lock table bowline_gate in exclusive mode")
    waits = waiting(app, pool, "insert into item values (1, 'a')")
    run(ours, "lock table shop.item in share mode nowait")  # who waits in a trigger has no lock yet
    run(ours, "update bowline_switch set raised = 1")
    ours.commit()

    error = waits.exception(10)
    assert isinstance(error, OraError)
    assert error.code == 20999


def test_the_gate_is_held_by_who_writes_until_he_ends(app: Session, ours: Session) -> None:
    run(app, "update item set v = 'x' where id = 1")
    assert code(ours, "lock table bowline_gate in exclusive mode nowait") == 54
    app.commit()
    run(ours, "lock table bowline_gate in exclusive mode nowait")


def test_a_refused_statement_gives_its_locks_back(app: Session, ours: Session) -> None:
    run(ours, "update bowline_switch set raised = 1")
    ours.commit()
    run(app, "lock table item in row share mode")
    assert code(app, "insert into item values (1, 'a')") == 20999

    run(ours, "lock table bowline_gate in exclusive mode nowait")
    assert code(ours, "lock table shop.item in exclusive mode nowait") == 54


def test_a_trigger_has_its_owners_rights_without_his_roles(database: Database) -> None:
    maker, app = database.session("MAKER"), database.session("SHOP")
    run(maker, "create table seen (id number)")
    body = "create trigger t before insert on shop.item begin insert into seen values (1); end;"
    run(maker, body)
    may(database, "SHOP", "CREATE SESSION", "UNLIMITED TABLESPACE")
    assert code(app, "select * from maker.seen") == 942
    run(app, "insert into item values (1, 'a')")
    app.commit()

    assert number(maker, "select count(*) from seen") == 1
    body = """create or replace trigger t before insert on shop.item
        begin execute immediate 'insert into shop.audit_ values (1)'; end;"""
    run(maker, "create table shop.audit_ (id number)")
    run(maker, "insert into shop.audit_ values (0)")
    run(maker, body)
    text = message(app, "insert into item values (2, 'a')")
    assert text.startswith("ORA-00942")


def test_a_trigger_on_anothers_table_needs_the_right_to_make_any(database: Database) -> None:
    mine = ("CREATE SESSION", "CREATE TABLE", "UNLIMITED TABLESPACE", "CREATE TRIGGER")
    may(database, "BOWLINE", *mine)
    ours = database.session("BOWLINE")
    run(ours, "create table own (id number)")
    run(ours, "create trigger a before insert on own begin null; end;")
    body = "create trigger b before insert on shop.item begin null; end;"
    run(database.session("SHOP"), "grant select on item to bowline")

    assert code(ours, body) == 1031
    run(database.session("ADMIN"), "grant create any trigger to bowline")
    run(ours, body)


@pytest.mark.parametrize("statement", ["commit", "rollback", "execute immediate 'drop table t'"])
def test_a_trigger_can_not_end_the_transaction_that_it_runs_in(
    app: Session, statement: str
) -> None:
    run(app, "create table t (id number)")
    run(app, f"create trigger ends before insert on t begin {statement}; end;")
    assert code(app, "insert into t values (1)") == 4092


def test_an_autonomous_block_commits_alone(app: Session) -> None:
    run(app, "create table t (id number)")
    block = """
        declare
          procedure note(n number, times in number default 2) as
            pragma autonomous_transaction;
          begin
            insert into t values (n * times);
            commit;
          end;
        begin
          insert into t values (1);
          note(10);
          note(10, 3);
          rollback;
        end;"""
    run(app, block)
    assert rows(app, "select id from t order by id") == [(20,), (30,)]


def test_an_autonomous_transaction_that_is_left_open_is_rolled_back(app: Session) -> None:
    run(app, "create table t (id number)")
    block = "declare pragma autonomous_transaction; begin insert into t values (1); end;"
    assert code(app, block) == 6519
    assert not app.in_transaction
    assert number(app, "select count(*) from t") == 0


def test_an_autonomous_transaction_does_not_see_what_is_open_around_it(app: Session) -> None:
    run(app, "create table t (id number)")
    run(app, "create table counted (n number)")
    block = """
        declare
          function rows_seen return number is
            pragma autonomous_transaction;
            n number;
          begin
            select count(*) into n from t;
            return n;
          end;
        begin
          insert into t values (1);
          insert into counted select count(*) from t;
          if rows_seen = 0 then insert into counted values (0); end if;
        end;"""
    run(app, block)
    assert rows(app, "select n from counted order by n") == [(0,), (1,)]


def test_an_autonomous_transaction_that_waits_for_its_own_session_is_a_deadlock(
    app: Session,
) -> None:
    run(app, "insert into item values (1, 'a')")
    app.commit()
    block = """
        declare
          procedure again is pragma autonomous_transaction;
          begin update item set v = 'c' where id = 1; commit; end;
        begin
          update item set v = 'b' where id = 1;
          again;
        end;"""
    assert code(app, block) == 60
    assert value(app, "select v from item") == "a"


def test_a_killed_session_loses_what_is_open_around_an_autonomous_transaction(
    database: Database, app: Session, ours: Session, pool: ThreadPoolExecutor
) -> None:
    run(app, "insert into item values (1, 'a')")
    app.commit()
    run(ours, "update bowline_switch set raised = 0")
    block = """
        declare
          procedure waits is pragma autonomous_transaction;
          begin update bowline.bowline_switch set raised = 2; commit; end;
        begin
          update item set v = 'b';
          waits;
        end;"""
    future = waiting(app, pool, block)
    assert len(rows(ours, "select sid from gv$transaction join gv$session on taddr = addr")) >= 1
    run(ours, f"alter system kill session '{app.sid},{app.serial},@1' immediate")

    error = future.exception(10)
    assert isinstance(error, OraError)
    assert error.code == 28
    ours.commit()
    assert rows(ours, "select v from shop.item") == [("a",)]
    if is_standin(database):
        assert database.open_transactions() == []


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("declare n number; function f return number is begin null; end; begin n := f; end;", 6503),
        ("declare n number; function f return number is begin return 1; end; "
         "begin select f into n from dual; end;", 6550),
        ("declare e exception; begin raise e; end;", 6510),
        ("declare e exception; pragma exception_init(e, -54); begin raise e; end;", 54),
        ("declare n number; function f(a number) return number is begin return a; end; begin n := f(1, 2); end;", 6550),
        pytest.param("declare procedure p(a out number) is begin null; end; begin null; end;", 6550, marks=LACKS),
    ],
)  # fmt: skip
def test_a_wrong_program_is_an_error(app: Session, block: str, expected: int) -> None:
    assert code(app, block) == expected


def test_declared_exceptions_and_truths_do_what_they_say(app: Session) -> None:
    run(app, "create table t (code number, text varchar2(200))")
    block = """
        declare
          mine exception;
          taken exception;
          pragma exception_init(taken, -1);
          full boolean := 1 = 1;
          said number;
          words varchar2(200);
          function is_odd(n number) return boolean is begin return mod(n, 2) = 1; end;
        begin
          begin
            insert into item values (1, 'a');
            insert into item values (1, 'b');
          exception when taken then said := sqlcode; insert into t values (said, 'taken');
          end;
          begin
            raise mine;
          exception when taken then null; when mine then said := sqlcode; insert into t values (said, 'mine');
          end;
          if is_odd(3) and full and not is_odd(4) then insert into t values (3, 'odd'); end if;
          full := false;
          if full then insert into t values (9, 'never'); end if;
          begin
            raise_application_error(-20001, 'said');
          exception when others then
            if sqlcode <> -20001 then raise; end if;
            said := sqlcode;
            words := sqlerrm;
            insert into t values (said, words);
          end;
        end;"""
    run(app, block)
    found = rows(app, "select code, text from t order by code")
    assert found == [(-20001, "ORA-20001: said"), (-1, "taken"), (1, "mine"), (3, "odd")]


def test_a_name_inside_of_a_program_hides_the_one_outside_only_while_it_runs(app: Session) -> None:
    run(app, "create table t (n number)")
    block = """
        declare
          n number := 1;
          function twice(n number) return number is m number := n; begin return m * 2; end;
        begin
          n := n + twice(twice(10));
          insert into t values (n);
        end;"""
    run(app, block)
    assert rows(app, "select n from t") == [(41,)]


def test_several_tables_are_locked_at_once_or_not_at_all(
    database: Database, app: Session, ours: Session
) -> None:
    run(app, "create table other (id number)")
    run(app, "insert into other values (1)")
    lock = "lock table shop.item, shop.other in share mode nowait"
    assert code(ours, lock) == 54
    if is_standin(database):
        tables = database.containers["CDB$ROOT"].tables.values()
        assert not any(table.holders for table in tables if table.name == "ITEM")

    held = """select l.inst_id, o.object_name, l.session_id, l.locked_mode, l.oracle_username, s.serial#
              from gv$locked_object l join all_objects o on o.object_id = l.object_id
              join gv$session s on s.sid = l.session_id and s.inst_id = l.inst_id
              where l.oracle_username in ('SHOP', 'BOWLINE')"""
    assert rows(ours, held) == [(1, "OTHER", app.sid, 3, "SHOP", app.serial)]
    app.commit()
    run(ours, lock)
    mine = f"select locked_mode, xidusn from v$locked_object where session_id = {ours.sid}"
    assert sorted(rows(ours, mine)) == [(4, 0), (4, 0)]
    assert code(impatient(app), "insert into item values (1, 'a')") == 1013
    patient = app.database.session("SHOP")
    assert code(patient, "lock table item in exclusive mode wait 1") == 30006


def test_a_session_of_another_instance_is_named_with_it(database: Database) -> None:
    admin, there = database.session("ADMIN"), database.session("SHOP", thread=2)
    assert code(admin, f"alter system kill session '{there.sid},{there.serial}'") == 30
    run(admin, f"alter system kill session '{there.sid},{there.serial},@2' immediate")
    assert code(there, "select 1 from dual") == 28


def test_a_serializable_transaction_reads_one_moment_and_its_own_writing(
    app: Session, ours: Session
) -> None:
    run(app, "insert into item values (1, 'a')")
    run(app, "insert into item values (2, 'a')")
    app.commit()
    run(app, "set transaction isolation level serializable")
    run(ours, "update shop.item set v = 'b' where id = 1")
    run(ours, "insert into shop.item values (3, 'b')")
    ours.commit()
    run(app, "update item set v = 'c' where id = 2")

    assert rows(app, "select id, v from item order by id") == [(1, "a"), (2, "c")]
    assert rows(app, "select v from item where id = 2") == [("c",)]
    assert code(app, "update item set v = 'd' where id = 1") == 8177
    assert code(app, "select v from item where id = 1 for update") == 8177
    assert code(app, "set transaction isolation level read committed") == 1453
    app.commit()
    assert rows(app, "select id, v from item order by id") == [(1, "b"), (2, "c"), (3, "b")]


def test_a_serializable_writer_waits_and_then_can_not(
    app: Session, ours: Session, pool: ThreadPoolExecutor
) -> None:
    run(app, "insert into item values (1, 'a')")
    app.commit()
    run(app, "alter session set isolation_level = serializable")
    run(ours, "update shop.item set v = 'b'")
    waits = waiting(app, pool, "update item set v = 'c'")
    ours.commit()

    error = waits.exception(10)
    assert isinstance(error, OraError)
    assert error.code == 8177
    app.rollback()
    run(app, "alter session set isolation_level = read committed")
    assert number(app, "select count(*) from item where id = :1", Decimal(1)) == 1


def test_who_waits_for_a_table_is_not_overtaken(
    database: Database, app: Session, ours: Session, pool: ThreadPoolExecutor
) -> None:
    late = database.session("SHOP")
    run(app, "insert into item values (1, 'a')")
    waits = waiting(ours, pool, "lock table shop.item in share mode")
    assert code(late, "lock table item in row exclusive mode nowait") == 54
    run(late, "lock table item in row share mode nowait")  # goes with both
    late.rollback()
    behind = waiting(late, pool, "insert into item values (2, 'b')")
    app.commit()

    waits.result(10)
    assert rows(ours, "select id from shop.item") == [(1,)]
    ours.commit()
    assert behind.result(10).rowcount == 1


def test_who_has_given_up_waiting_is_in_nobodys_way(
    database: Database, app: Session, ours: Session
) -> None:
    run(app, "insert into item values (1, 'a')")
    run(ours, "lock table bowline_switch in row share mode")
    assert code(ours, "lock table shop.item in share mode wait 1") == 30006
    late = database.session("SHOP")
    run(late, "insert into item values (2, 'b')")
    assert code(impatient(ours), "lock table shop.item in share mode") == 1013
    run(late, "insert into item values (3, 'b')")


@pytest.mark.parametrize(
    "first",
    [
        "savepoint a",
        "lock table item in row share mode",
        "declare n number; begin select count(*) into n from item; end;",
    ],
)
def test_a_serializable_transaction_reads_as_of_its_first_statement_whatever_that_was(
    app: Session, ours: Session, first: str
) -> None:
    run(app, "alter session set isolation_level = serializable")
    run(app, first)
    run(ours, "insert into shop.item values (1, 'a')")
    ours.commit()

    assert number(app, "select count(*) from item") == 0
    app.commit()
    assert number(app, "select count(*) from item") == 1
