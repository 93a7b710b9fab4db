"""The log under the engine: SQL in, rows of V$LOGMNR_CONTENTS out, by the statements of a capture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest

from oracle.standin.backend import OraError, Value
from oracle.standin.engine.database import Database
from oracle.standin.engine.session import Session
from oracle.standin.redolog.adversities import Adversities, Chance
from oracle.standin.redolog.glue import attach
from oracle.standin.redolog.redolog import RedoLog

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
COLUMNS = "operation, sql_redo, csf, rollback, row_id, seg_owner, table_name, rs_id, ssn, scn"


class Site:
    """A database with its log, and two sessions of it."""

    def __init__(self, **chances: Chance) -> None:
        self.adversities = Adversities()
        self.adversities.set(chances)
        seconds = count()
        self.log = RedoLog(self.adversities, at=NOON, scn=1)
        self.database = Database(self.log, clock=lambda: NOON + timedelta(seconds=next(seconds)))
        attach(self.log, self.database)
        self.app, self.miner = self.database.session("S"), self.database.session("MINER")
        run(
            self.app,
            "create table t (id number(9) primary key, v varchar2(20), d date, c clob)",
            "alter table t add supplemental log data (all) columns",
        )

    def start(self) -> None:
        (member,) = run(
            self.miner,
            "alter session set nls_date_format = 'YYYY-MM-DD HH24:MI:SS'",
            """select min(f.member) from v$log l, v$logfile f
               where l.group# = f.group# and l.status = 'CURRENT'""",
        )[0]
        run(
            self.miner,
            f"begin dbms_logmnr.add_logfile('{member!s}', dbms_logmnr.new); end;",
            """begin dbms_logmnr.start_logmnr(startscn => 1, options => dbms_logmnr.dict_from_online_catalog
               + dbms_logmnr.no_sql_delimiter + dbms_logmnr.no_rowid_in_stmt); end;""",
        )

    def mined(self) -> list[Sequence[Value]]:
        self.start()
        found = f"select {COLUMNS} from v$logmnr_contents where seg_owner = 'S' or operation = 'ROLLBACK'"
        return [row for row in run(self.miner, found) if row[0] != "DDL"]


def run(session: Session, *statements: str) -> list[Sequence[Value]]:
    """Execute, and give the rows of the last."""
    rows: list[Sequence[Value]] = []
    for statement in statements:
        rows = list(session.execute(statement, (), ()).rows)
    return rows


def test_a_capture_sees_what_was_executed() -> None:
    site = Site()
    run(
        site.app,
        "insert into t values (7, 'it''s', date '2024-02-29', null)",
        "commit",
        "update t set v = null where id = 7",
        "delete from t",
        "rollback",
    )

    where = """"ID" = '7' and "V" {} and "D" = TO_DATE('2024-02-29 00:00:00', 'YYYY-MM-DD HH24:MI:SS')"""
    date = "TO_DATE('2024-02-29 00:00:00', 'YYYY-MM-DD HH24:MI:SS')"
    known = where.format("= 'it''s'")
    assert [(row[0], row[1], row[3]) for row in site.mined()] == [
        (
            "INSERT",
            f"""insert into "S"."T"("ID","V","D","C") values ('7','it''s',{date},EMPTY_CLOB())""",
            0,
        ),
        ("UPDATE", f"""update "S"."T" set "C" = NULL where {known}""", 0),
        ("UPDATE", f"""update "S"."T" set "V" = NULL where {known}""", 0),
        ("DELETE", f"""delete from "S"."T" where {where.format("IS NULL")}""", 0),
        (
            "INSERT",
            f"""insert into "S"."T"("ID","V","D","C") values ('7',NULL,{date},EMPTY_CLOB())""",
            1,
        ),
        ("UPDATE", """update "S"."T" set "V" = 'it''s'""", 1),
        ("ROLLBACK", "rollback", 0),
    ]


def test_a_failed_statement_is_taken_back_in_the_redo() -> None:
    site = Site()
    run(site.app, "insert into t (id) values (2)", "commit")
    with pytest.raises(OraError, match="ORA-00001"):
        run(site.app, "insert into t (id) select level from dual connect by level <= 2")

    rows = site.mined()
    inserted = [row for row in rows if row[0] == "INSERT"]
    undone = [str(row[1]) for row in rows if row[3] == 1]
    assert len(undone) == len(inserted) - 1 > 0
    assert all(text.startswith("""delete from "S"."T" where ROWID = 'AAA""") for text in undone)


def test_a_switch_by_sql_gives_an_archive() -> None:
    site = Site()
    run(site.app, "alter system switch logfile")

    rows = run(site.miner, "select sequence#, status, deleted from v$archived_log order by 1")
    assert rows == [(Decimal(18), "A", "NO")]
    assert run(site.miner, "select sequence# from v$log where status = 'CURRENT'") == [
        (Decimal(19),)
    ]


def test_an_overwritten_log_fails_the_fetch_and_not_the_query() -> None:
    site = Site()
    run(site.app, "insert into t (id) values (1)", "insert into t (id) values (2)", "commit")
    site.start()
    rows = iter(site.miner.execute("select scn from v$logmnr_contents", (), ()).rows)
    next(rows)
    site.log.overwrite(1)

    with pytest.raises(OraError, match="ORA-00310"):
        list(rows)


def test_sessions_have_lists_of_their_own() -> None:
    site = Site()
    site.start()

    with pytest.raises(OraError, match="ORA-01306"):
        run(site.app, "select * from v$logmnr_contents")
    with pytest.raises(OraError, match="ORA-01307"):
        run(site.app, "begin dbms_logmnr.end_logmnr; end;")
    run(site.miner, "begin dbms_logmnr.end_logmnr(); end;")


def test_a_number_that_is_none_is_an_error() -> None:
    with pytest.raises(OraError, match="ORA-06502"):
        run(Site().miner, "begin dbms_logmnr.start_logmnr(startscn => 'x'); end;")
    with pytest.raises(OraError, match="ORA-03001: unimplemented feature: STARTTIME"):
        run(Site().miner, "begin dbms_logmnr.start_logmnr(starttime => sysdate); end;")
