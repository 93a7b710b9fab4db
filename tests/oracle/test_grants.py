"""The printed grants: they suffice for what an assessment checks, hold nothing else, and can be taken back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import oracledb
import pytest

from bowline_operator import oracle_grants
from bowline_operator.oracle_grants import oracle_grants_sql
from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.contract import BadConfig, Finding, Side
from bowline_worker.endpoints.base import TableBatch
from bowline_worker.endpoints.oracle import assess_rights
from bowline_worker.endpoints.oracle.assess import assess
from bowline_worker.endpoints.oracle.endpoint import OracleEndpoint
from oracle.sqlplus import PASSWORD, statements
from oracle.standin.engine.session import Session
from oracle.world import BOWLINE, World, world

LOOP = re.compile(
    r"begin\s+for each_table in \((?P<query>.*)\) loop\s+"
    r"execute immediate '(?P<before>.*)' \|\| each_table\.table_name \|\| '(?P<after>.*)';\s+"
    r"end loop;\s+end;",
    re.DOTALL,
)


def run(here: World, script: str) -> None:
    """Run it as SYS."""
    session = here.stand_in.database.session("SYS", None)
    for statement in statements(script):
        for each in unrolled(session, statement.replace(PASSWORD, BOWLINE[1])):
            session.execute(each, [], [])
    session.close()


def unrolled(session: Session, statement: str) -> list[str]:
    """Do a loop's work for the stand-in, which knows none: its query, and then a statement for each row."""
    loop = LOOP.fullmatch(statement)
    if loop is None:
        return [statement]
    rows = session.execute(loop["query"], [], []).rows
    before, after = (loop[part].replace("''", "'") for part in ("before", "after"))
    names = [name for (name,) in rows if isinstance(name, str)]
    return [f"{before}{name}{after}" for name in names]


def blocked(here: World) -> list[tuple[str, str]]:
    """What an assessment has against the user."""
    config = here.site.config.model_copy(update={"existing_schema": True})
    findings: list[Finding] = assess(replace(here.site, config=config), None)
    mine = ("NotPermitted", "NoQuota", "CheckFailed", "CannotEndSessions", "TableHidden")
    return [(each.reason, each.message) for each in findings if each.reason in mine]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(World, tmp_path) as made:
        made.run("create table item (id number(9) primary key, name varchar2(40 char))")
        yield made


# --- with the assessment -------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [None, "shop"])
def test_who_has_what_is_printed_lacks_nothing(here: World, owner: str | None) -> None:
    run(here, oracle_grants_sql(Side.SOURCE, owner=owner))

    assert blocked(here) == []
    held = here.stand_in.database.users["BOWLINE"].privileges
    assert ("SELECT ANY TABLE" in held) == (owner is None)


@pytest.mark.parametrize("owner", [None, "shop"])
def test_a_migration_goes_its_way_with_what_is_printed(here: World, owner: str | None) -> None:
    here.run("create table child (id number(9) primary key, item number(9) references item)")
    here.run("create sequence numbers")
    run(here, oracle_grants_sql(Side.SOURCE, owner=owner))
    source = OracleEndpoint(here.site.config, Side.SOURCE)
    stream, back = StreamId(Side.SOURCE, 0), StreamId(Side.TARGET, 1)
    source.install()
    source.prepare_origin()
    hold = source.hold(stream)
    reader = source.reader(stream)
    for table in source.tables():
        for chunk in reader.chunks(table, 100):
            list(reader.read(table, chunk, binary=False))
    reader.close()
    hold.close()
    source.beat()
    source.capture(stream, None).close()
    assert source.unstreamed() == []

    source.prepare_receiver(fenced=False)
    with source.books() as books:
        books.put_lanes(Side.TARGET, [LaneRow(lane=0, number=1, generation=1)])
    item = {str(table.name): table for table in source.tables()}["shop.item"]
    lane = source.lane(back)
    lane.begin()
    lane.write(TableBatch(table=item, inserts=[(b"1", b"a")]))
    lane.commit()
    lane.close()
    with source.books() as books:
        books.raise_sequences(
            {name: replace(state, last=77) for name, state in books.sequences().items()}
        )
        books.restore()
    with source.books() as books:
        assert {state.last for state in books.sequences().values()} == {77}

    with source.books() as books:
        books.raise_fence(1.0)
        assert books.fence_gaps() == []
    with pytest.raises(oracledb.DatabaseError, match="ORA-20999"):
        here.run("insert into item values (2, 'b')")
    with source.books() as books:
        books.lower_fence()
    here.run("insert into item values (2, 'b')", "commit")
    source.cleanup(keep_fence=False)


def test_what_was_granted_is_taken_back(here: World) -> None:
    for owner in (None, "shop"):
        if "BOWLINE" in here.stand_in.database.users:
            del here.stand_in.database.users["BOWLINE"]
        run(here, oracle_grants_sql(Side.SOURCE, owner=owner))
        run(here, oracle_grants_sql(Side.SOURCE, owner=owner, revoke=True))

        user = here.stand_in.database.users["BOWLINE"]
        assert (user.privileges, user.tables) == (set(), set())


def test_each_privilege_that_is_checked_is_granted_and_no_other() -> None:
    checked = {right.privilege for right in assess_rights.RIGHTS}
    granted = {*oracle_grants.CAPTURE, *oracle_grants.DATABASE} - {"CREATE SESSION"}

    assert checked == granted


def test_so_are_those_on_tables_in_either_form() -> None:
    rights = assess_rights.TABLE_RIGHTS

    assert {right.privilege for right in rights} == set(oracle_grants.ANY_TABLE)
    assert all(right.verbs & set(oracle_grants.ON_TABLES) for right in rights)
    assert set(oracle_grants.ON_TABLES) <= set().union(*(right.verbs for right in rights))


# --- the text ------------------------------------------------------------------------------------


def test_a_common_user_gets_in_the_root_what_mining_needs_and_the_rest_where_the_tables_are() -> (
    None
):
    text = oracle_grants_sql(Side.SOURCE, user="c##mover", database="shoppdb")
    steps = list(statements(text))
    inside = steps.index('alter session set container = "SHOPPDB"')
    root, place = "\n".join(steps[:inside]), "\n".join(steps[inside:])

    assert steps[0] == "alter session set container = CDB$ROOT"
    assert 'create user "C##MOVER"' in root
    assert all(line.endswith("container = all") for line in root.splitlines() if "grant" in line)
    assert "set container" in root
    assert "set container_data = all" in root
    assert "any table" not in root
    assert "any trigger" in place
    assert steps[-1] == "alter database add supplemental log data"
    assert steps[-2] == "alter session set container = CDB$ROOT"


def test_a_common_user_without_the_name_of_its_database_stops_the_text() -> None:
    """Run unread, it fails before it grants anything in the wrong place."""
    text = oracle_grants_sql(Side.SOURCE, user="c##mover")

    assert 'alter session set container = "THE-DATABASE"' in text
    assert "whenever sqlerror exit failure" in text


def test_on_rds_what_is_of_sys_goes_through_its_package() -> None:
    text = oracle_grants_sql(Side.SOURCE, rds=True)
    steps = list(statements(text))

    assert (
        "begin rdsadmin.rdsadmin_util.grant_sys_object('DBMS_LOGMNR', 'BOWLINE', 'EXECUTE'); end;"
        in steps
    )
    assert any("alter_supplemental_logging('ADD')" in step for step in steps)
    assert any("'archivelog retention hours', '24'" in step for step in steps)
    assert not re.search(
        r"^(grant.* on sys\.|grant alter system|alter database)", text, re.MULTILINE
    )


def test_rds_has_no_common_users() -> None:
    with pytest.raises(BadConfig, match="common"):
        oracle_grants_sql(Side.SOURCE, user="c##mover", rds=True)


def test_a_name_that_needs_quotes_keeps_its_letters() -> None:
    text = oracle_grants_sql(Side.SOURCE, user="Mover's", owner="Shop Ltd")

    assert 'create user "Mover\'s"' in text
    assert "u.username = 'Mover''s'" in text
    assert "t.owner = 'Shop Ltd'" in text


def test_a_name_that_oracle_can_not_have_is_refused() -> None:
    with pytest.raises(BadConfig):
        oracle_grants_sql(Side.SOURCE, user='mo"ver')


def test_oracle_is_no_target() -> None:
    with pytest.raises(BadConfig, match="target"):
        oracle_grants_sql(Side.TARGET)


def test_a_user_that_was_locked_is_not_dropped_with_its_fence() -> None:
    taken = list(statements(oracle_grants_sql(Side.SOURCE, revoke=True)))

    assert 'alter user "BOWLINE" account lock' in taken
    assert not any(step.startswith("drop user") for step in taken)


def test_a_fence_that_stays_refuses_writes_without_its_users_privileges(here: World) -> None:
    run(here, oracle_grants_sql(Side.SOURCE))
    source = OracleEndpoint(here.site.config, Side.SOURCE)
    source.install()
    source.prepare_origin()
    with source.books() as books:
        books.raise_fence(1.0)
    source.cleanup(keep_fence=True)
    run(here, oracle_grants_sql(Side.SOURCE, revoke=True))

    with pytest.raises(oracledb.DatabaseError, match="ORA-20999"):
        here.run("insert into item values (2, 'b')")
