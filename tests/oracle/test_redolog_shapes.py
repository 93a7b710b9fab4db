"""Rows of V$LOGMNR_CONTENTS in the shapes that real servers have shown for each kind of statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal

import pytest

from oracle.standin.backend import Kind, Moment, Value
from oracle.standin.events import Action, ColumnShape, TableShape, Written, Xid
from oracle.standin.redolog.adversities import Adversities, Chance
from oracle.standin.redolog.lines import LobLimits, lines_of
from oracle.standin.redolog.miner import LogMiner, Option
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.rows import Row
from oracle.standin.redolog.scribe import EPOCH, Scribe, Work

USUAL = Option.DICT_FROM_ONLINE_CATALOG | Option.NO_SQL_DELIMITER | Option.NO_ROWID_IN_STMT
T = TableShape(
    "S",
    "T",
    4711,
    (
        ColumnShape("ID", Kind.NUMBER, not_null=True),
        ColumnShape("V", Kind.VARCHAR2, 40),
        ColumnShape("N", Kind.NUMBER),
        ColumnShape("G", Kind.NUMBER, virtual=True),
    ),
    key=("ID",),
)
PK_ONLY = replace(T, name="P", object_id=4712, all_columns=False)
LOBS = TableShape(
    "S",
    "L",
    4713,
    (
        ColumnShape("ID", Kind.NUMBER),
        ColumnShape("NAME", Kind.VARCHAR2, 40),
        ColumnShape("C", Kind.CLOB),
        ColumnShape("NC", Kind.CLOB, national=True),
        ColumnShape("B", Kind.BLOB),
    ),
    key=("ID",),
)
ONE, SEVEN = Decimal(1), Decimal(7)
LARGE = "da'ta" * 5
REAL = "AAA4711AAEAA0000001"[:18]


class World:
    """A log, who drives it, and who reads it."""

    def __init__(self, **chances: Chance) -> None:
        self.adversities = Adversities()
        self.adversities.set(chances)
        limits = LobLimits(inline_bytes=20, piece=10)
        self.log = RedoLog(self.adversities, at=EPOCH, scn=1000, lobs=limits)
        self.db = Scribe(self.log)

    def mine(self, options: int = USUAL, start: int = 0, end: int = 0) -> list[Row]:
        miner = LogMiner(self.log)
        thread = self.log.threads[1]
        names = [a.name for a in thread.archives] + [thread.group.members[0]]
        for at, name in enumerate(dict.fromkeys(names)):
            miner.add_logfile(name, 1 if at == 0 else 3)
        miner.start(start, end, options)
        return list(miner.rows())


@pytest.fixture
def world() -> World:
    return World()


def texts(rows: Iterable[Row]) -> list[str | None]:
    return [row.sql_redo for row in rows if row.operation_code not in (6, 7, 36, 0)]


def shape(rows: Iterable[Row]) -> str:
    """Write rows as the records of real servers do: operation, kind of ROWID, and whether it is an undo."""
    done: list[str] = []
    for row in rows:
        if row.operation_code in (6, 7, 36):
            continue
        kind = "placeholder" if row.row_id == "A" * 18 else "real"
        undo = " (undo)" if row.rollback else ""
        name = f"{row.operation}{undo} [{kind}]"
        if done and row.operation == "LOB_WRITE" and done[-1].rstrip("+") == name:
            done[-1] = name + "+"
        else:
            done.append(name)
    return ", ".join(done)


def test_a_transaction_is_framed_by_start_and_commit(world: World) -> None:
    work = world.db.begin(user="APP", client="orders")
    rowid = work.insert(T, (ONE, "x", None, SEVEN))[0]
    work.commit()

    start, insert, commit = world.mine()
    assert [r.operation for r in (start, insert, commit)] == ["START", "INSERT", "COMMIT"]
    assert start.sql_redo == "set transaction read write"
    assert (start.scn, insert.scn, commit.scn) == (1001, 1002, 1003)
    assert (start.start_scn, insert.start_scn, commit.start_scn) == (1001, None, 1001)
    assert insert.row_id == rowid
    assert (insert.seg_owner, insert.table_name, insert.data_obj) == ("S", "T", 4711)
    assert (insert.xidusn, insert.xidslt, insert.xidsqn) == work.xid
    assert insert.xid == bytes([3, 0, 0, 0, 89, 2, 0, 0])
    assert (insert.username, insert.client_id) == ("APP", "orders")
    assert insert.timestamp == Moment(2024, 3, 1, 0, 16, 40)
    assert (insert.src_con_id, insert.src_con_name) == (1, "CDB$ROOT")


def test_addresses_are_fixed_width_and_rise(world: World) -> None:
    work = world.db.begin()
    for number in range(50):
        work.insert(T, (Decimal(number), "x" * 40, None, None))
    work.commit()

    addresses = [row.rs_id for row in world.mine()]
    assert addresses[0] == " 0x000012.00000002.0010 "
    assert addresses == sorted(addresses)
    assert len(set(addresses)) == len(addresses)
    assert {len(address) for address in addresses} == {24}


ROW: tuple[Value, ...] = (SEVEN, "it's", None, None)


@pytest.mark.parametrize(
    ("do", "text"),
    [
        (
            lambda work, table, rowid: work.insert(table, (ONE, None, Decimal("-.5"), ONE)),
            """insert into "S"."{}"("ID","V","N") values ('1',NULL,'-.5')""",
        ),
        (
            lambda work, table, rowid: work.delete(table, rowid),
            """delete from "S"."{}" where "ID" = '7' and "V" = 'it''s' and "N" IS NULL""",
        ),
    ],
)
@pytest.mark.parametrize("table", [T, PK_ONLY], ids=["all columns", "primary key"])
def test_an_insert_and_a_delete_have_all_columns_under_any_logging(
    world: World, table: TableShape, do: Callable[[Work, TableShape, str], object], text: str
) -> None:
    work = world.db.begin()
    rowid = work.insert(table, ROW)[0]
    do(work, table, rowid)

    assert texts(world.mine())[-1] == text.format(table.name)


@pytest.mark.parametrize(
    ("table", "where"),
    [
        (T, """"ID" = '7' and "V" = 'it''s' and "N" IS NULL"""),
        (PK_ONLY, """"ID" = '7' and "N" IS NULL"""),
    ],
    ids=["all columns", "primary key"],
)
def test_an_update_names_its_row_by_what_supplemental_logging_knows(
    world: World, table: TableShape, where: str
) -> None:
    work = world.db.begin()
    rowid = work.insert(table, ROW)[0]
    work.update(table, rowid, N=ONE)

    assert texts(world.mine())[-1] == f'update "S"."{table.name}" set "N" = \'1\' where {where}'


def test_an_update_to_the_same_values_is_in_the_redo_as_well(world: World) -> None:
    work = world.db.begin()
    rowid = work.insert(PK_ONLY, ROW)[0]
    work.update(PK_ONLY, rowid)

    assert texts(world.mine())[-1] == """update "S"."P" set "ID" = '7' where "ID" = '7'"""


def test_options_add_a_delimiter_and_the_rowid(world: World) -> None:
    work = world.db.begin()
    rowid = work.insert(T, ROW)[0]
    work.update(T, rowid, V="a")

    text = texts(world.mine(Option.DICT_FROM_ONLINE_CATALOG))[-1]
    assert text is not None
    assert text.endswith(f""""N" IS NULL and ROWID = '{rowid}';""")


def test_a_savepoint_is_rolled_back_newest_first_in_the_recorded_shapes(world: World) -> None:
    # Recorded: insert 10, savepoint, insert 11, update 10, delete 1, rollback to savepoint, insert 12, commit.
    before = world.db.begin()
    (first,) = before.insert(T, (ONE, "one", None, None))
    before.commit()
    work = world.db.begin()
    (ten,) = work.insert(T, (Decimal(10), "ten", None, None))
    mark = work.savepoint()
    (eleven,) = work.insert(T, (Decimal(11), "eleven", None, None))
    work.update(T, ten, V="changed")
    work.delete(T, first)
    work.rollback_to(mark)
    work.insert(T, (Decimal(12), "twelve", None, None))
    work.commit()

    undone = [row for row in world.mine() if row.rollback]
    assert [(row.sql_redo, row.row_id) for row in undone] == [
        ("""insert into "S"."T"("ID","V","N") values ('1','one',NULL)""", first),
        ("""update "S"."T" set "V" = 'ten'""", ten),
        (f"""delete from "S"."T" where ROWID = '{eleven}'""", eleven),
    ]


def test_a_rollback_takes_everything_back_and_then_says_so(world: World) -> None:
    work = world.db.begin()
    work.insert(T, ROW)
    work.rollback()

    assert [(row.operation, row.rollback) for row in world.mine()] == [
        ("START", 0),
        ("INSERT", 0),
        ("DELETE", 1),
        ("ROLLBACK", 0),
    ]


def lob_row(number: Decimal = SEVEN, **values: Value) -> tuple[Value, ...]:
    return tuple({"ID": number, "NAME": "n", "C": None, "NC": None, "B": None, **values}.values())


INTERNAL, WRITES = "INTERNAL [placeholder]", "LOB_WRITE [placeholder]+"
TRIM, INSERT = "LOB_TRIM [placeholder]", "INSERT [placeholder]"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (lob_row(C="short", NC="short", B=b"short"), [INSERT, "UPDATE [real]"]),
        (
            lob_row(C=LARGE, NC=LARGE, B=bytes(30)),
            [INSERT, INTERNAL, WRITES, INTERNAL, WRITES, INTERNAL, WRITES],
        ),
        (lob_row(C=LARGE), [INSERT, INTERNAL, WRITES, "UPDATE [real]"]),
        (lob_row(), [INSERT, "UPDATE [real]"]),
        (lob_row(C="", NC="", B=b""), [INSERT]),
    ],
    ids=["01 small", "02 large", "03 one large", "all NULL", "all empty"],
)
def test_an_insert_of_lobs_has_the_recorded_rows(
    world: World, row: tuple[Value, ...], expected: list[str]
) -> None:
    world.db.begin().insert(LOBS, row)

    assert shape(world.mine()) == ", ".join(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"C": "other"}, ["UPDATE [real]"]),
        ({"C": LARGE}, [INTERNAL, WRITES, TRIM]),
        ({"NAME": "m", "C": LARGE}, ["UPDATE [placeholder]", INTERNAL, WRITES, TRIM]),
        ({"NC": LARGE}, ["UPDATE [placeholder]", INTERNAL, WRITES]),
        ({"NAME": "m"}, ["UPDATE [real]"]),
        ({"C": ""}, ["UPDATE [real]"]),
        ({"C": None}, ["UPDATE [real]"]),
    ],
    ids=["06", "07", "08", "09 was NULL", "11", "19", "20"],
)
def test_an_update_of_lobs_has_the_recorded_rows(
    world: World, values: dict[str, Value], expected: list[str]
) -> None:
    work = world.db.begin()
    (rowid,) = work.insert(LOBS, lob_row(C="base"))
    first = len(world.mine())
    work.update_columns(LOBS, rowid, values)

    assert shape(world.mine()[first:]) == ", ".join(expected)


def test_a_delete_of_lobs_names_the_row_without_them(world: World) -> None:
    work = world.db.begin()
    (rowid,) = work.insert(LOBS, lob_row(C="base"))
    work.delete(LOBS, rowid)

    row = world.mine()[-1]
    assert row.sql_redo == """delete from "S"."L" where "ID" = '7' and "NAME" = 'n'"""
    assert row.row_id == rowid


def test_small_and_null_lobs_follow_their_insert_in_an_update(world: World) -> None:
    world.db.begin().insert(LOBS, lob_row(C="short", B=b"\xca\xfe"))

    assert texts(world.mine()) == [
        """insert into "S"."L"("ID","NAME","C","NC","B") values ('7','n',EMPTY_CLOB(),EMPTY_CLOB(),EMPTY_BLOB())""",
        """update "S"."L" set "C" = 'short', "NC" = NULL, "B" = HEXTORAW('cafe') where "ID" = '7' and "NAME" = 'n'""",
    ]


BLOCK = (
    "DECLARE \n loc_c CLOB; \n buf_c VARCHAR2(6162); \n loc_b BLOB; \n buf_b RAW(6162); \n loc_nc NCLOB; \n"
    " buf_nc NVARCHAR2(6162); \n e_len NUMBER; \nBEGIN\n"
)


def test_a_large_lob_is_written_in_pieces_by_blocks(world: World) -> None:
    work = world.db.begin()
    (rowid,) = work.insert(LOBS, lob_row(C="base"))
    work.update(LOBS, rowid, C="da'ta, eleven")

    select = (
        """ select "C" into loc_c from "S"."L" where "ID" = '7' and "NAME" = 'n' for update;\n\n"""
    )
    calls = [
        " buf_c := 'da''ta, ele'; \n  dbms_lob.write(loc_c, 10, 1, buf_c);\n",
        " buf_c := 'ven'; \n  dbms_lob.write(loc_c, 3, 11, buf_c);\n",
        "  dbms_lob.trim(loc_c, 13);\n",
    ]
    rows = [row for row in world.mine() if row.operation_code in (10, 11)]
    assert [row.sql_redo for row in rows] == [f"{BLOCK}{select}{call}END;\n\n" for call in calls]
    assert {(row.status, row.info) for row in rows} == {(2, "LOB sql_redo not re-executable")}


@pytest.mark.parametrize(
    ("name", "value", "call"),
    [
        (
            "NC",
            LARGE[:12],
            " buf_nc := 'da''tada''ta'; \n  dbms_lob.write(loc_nc, 10, 1, buf_nc);\n",
        ),
        (
            "B",
            b"\xca\xfe" * 11,
            f" buf_b := HEXTORAW('{'cafe' * 5}'); \n  dbms_lob.write(loc_b, 10, 1, buf_b);\n",
        ),
    ],
)
def test_national_and_binary_lobs_have_variables_of_their_own(
    world: World, name: str, value: Value, call: str
) -> None:
    work = world.db.begin()
    (rowid,) = work.insert(LOBS, lob_row())
    work.update_columns(LOBS, rowid, {name: value})

    first = next(row for row in world.mine() if row.operation_code == 10)
    assert first.sql_redo is not None
    assert call in first.sql_redo


def test_characters_beyond_the_first_plane_count_once(world: World) -> None:
    lines = lines_of(
        Written(
            Xid(1, 1, 1), 1, EPOCH, Action.INSERT, LOBS, REAL, None, lob_row(C="\U0001f600" * 15)
        ),
        LobLimits(inline_bytes=20, piece=10),
    )

    calls = [line.lob for line in lines if line.lob]
    assert [(call.offset, len(call.piece or "")) for call in calls] == [(1, 10), (11, 5)]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"C": LARGE}, """update "S"."L" set "C" = 'base'"""),
        ({"NAME": "m", "C": LARGE}, """update "S"."L" set "NAME" = 'n', "C" = 'base'"""),
        ({"NC": LARGE}, """update "S"."L" set "NC" = NULL"""),
        ({"B": b"x"}, """update "S"."L" set "B" = EMPTY_BLOB()"""),
    ],
)
def test_an_undo_names_the_real_rowid_of_a_change_that_had_none(
    world: World, values: dict[str, Value], text: str
) -> None:
    work = world.db.begin()
    (rowid,) = work.insert(LOBS, lob_row(C="base", B=bytes(99)))
    mark = work.savepoint()
    work.update_columns(LOBS, rowid, values)
    work.rollback_to(mark)

    undo = world.mine()[-1]
    assert (undo.sql_redo, undo.row_id, undo.rollback) == (text, rowid, 1)
    assert world.adversities.fired["undo_of_placeholder"] == any(
        value == LARGE for value in values.values()
    )


def test_an_undone_delete_of_lobs_comes_back_with_empty_ones(world: World) -> None:
    work = world.db.begin()
    (rowid,) = work.insert(LOBS, lob_row(C="base"))
    mark = work.savepoint()
    work.delete(LOBS, rowid)
    work.rollback_to(mark)

    undo = world.mine()[-1]
    assert undo.row_id == rowid
    assert undo.sql_redo == (
        """insert into "S"."L"("ID","NAME","C","NC","B") values ('7','n',EMPTY_CLOB(),EMPTY_CLOB(),EMPTY_BLOB())"""
    )


def test_an_update_of_a_long_has_status_2_without_a_reason(world: World) -> None:
    table = TableShape(
        "S", "LG", 4714, (ColumnShape("ID", Kind.NUMBER), ColumnShape("X", Kind.LONG)), key=("ID",)
    )
    work = world.db.begin()
    (rowid,) = work.insert(table, (ONE, "old"))
    work.update(table, rowid, X="new")

    row = world.mine()[-1]
    assert (row.status, row.info) == (2, None)
    assert row.sql_redo == """update "S"."LG" set "X" = 'new' where "ID" = '1'"""


def test_tables_of_unknown_types_come_as_unsupported(world: World) -> None:
    world.log.unsupported("S", "T")
    work = world.db.begin()
    work.insert(T, ROW)
    work.rollback()

    rows = [row for row in world.mine() if row.operation_code == 255]
    assert [(r.operation, r.status, r.sql_redo, r.rollback) for r in rows] == [
        ("UNSUPPORTED", 2, "Unsupported", 0),
        ("UNSUPPORTED", 2, "Unsupported", 1),
    ]


def test_temporary_tables_have_no_statements(world: World) -> None:
    world.log.temporary("S", "T")
    world.db.begin().insert(T, ROW)

    assert texts(world.mine()) == ["/* No SQL_REDO for temporary tables */"]


def test_rows_from_before_a_ddl_lose_the_names_of_their_columns(world: World) -> None:
    work = world.db.begin()
    (rowid,) = work.insert(T, (ONE, "é", None, None))
    work.update(T, rowid, V="a")
    work.commit()
    wider = replace(T, columns=(*T.columns, ColumnShape("X", Kind.DATE)), version=2)
    world.db.define('alter table "S"."T" add x date', wider)
    after = world.db.begin()
    after.insert(wider, (SEVEN, None, None, None, None))

    rows = [row for row in world.mine() if row.operation_code in (1, 3, 5)]
    assert [(row.status, row.sql_redo) for row in rows] == [
        (
            2,
            """insert into "S"."T"("COL 1","COL 2","COL 3") values (HEXTORAW('c102'),HEXTORAW('c3a9'),NULL)""",
        ),
        (
            2,
            """update "S"."T" set "COL 2" = HEXTORAW('61') where "COL 1" = HEXTORAW('c102') """
            """and "COL 2" = HEXTORAW('c3a9') and "COL 3" IS NULL""",
        ),
        (0, 'alter table "S"."T" add x date'),
        (0, """insert into "S"."T"("ID","V","N","X") values ('7',NULL,NULL,NULL)"""),
    ]
    assert [row.info for row in rows][1:3] == [
        "Dictionary Version Mismatch",
        "USER DDL (PlSql=0 RecDep=0)",
    ]
    assert [row.data_objv for row in rows] == [1, 1, 2, 2]


def test_rows_of_a_renamed_table_have_its_new_name(world: World) -> None:
    world.db.begin().insert(T, (ONE, None, None, None))
    world.db.define('alter table "S"."T" rename to U', replace(T, name="U", version=2))

    assert texts(world.mine())[0] == """insert into "S"."U"("ID","V","N") values ('1',NULL,NULL)"""


def test_rows_of_a_dropped_table_lose_its_name(world: World) -> None:
    world.db.begin().insert(T, (ONE, None, None, None))
    world.db.define('drop table "S"."T" purge', None)

    insert = world.mine()[1]
    assert (insert.seg_owner, insert.table_name, insert.data_obj) == ("UNKNOWN", "OBJ# 4711", 4711)
    assert insert.sql_redo == (
        """insert into "UNKNOWN"."OBJ# 4711"("COL 1","COL 2","COL 3") values (HEXTORAW('c102'),NULL,NULL)"""
    )
    assert (insert.status, insert.info) == (2, "Dictionary Version Mismatch")


def test_a_recycled_table_keeps_its_columns_under_another_name() -> None:
    world = World(recycle_bin="always")
    world.db.begin().insert(T, (ONE, None, None, None))
    world.db.define("drop table s.t", None)

    insert, ddl = (row for row in world.mine() if row.operation_code in (1, 5))
    assert insert.sql_redo is not None
    assert insert.sql_redo.startswith('insert into "S"."BIN$')
    assert insert.sql_redo.endswith("""==$0"("ID","V","N") values ('1',NULL,NULL)""")
    assert (ddl.seg_owner, ddl.table_name, ddl.sql_redo) == ("S", "T", "drop table s.t")


def test_without_a_dictionary_nothing_has_a_name(world: World) -> None:
    world.db.begin().insert(T, (ONE, None, None, None))

    insert = world.mine(Option.NO_SQL_DELIMITER)[1]
    assert insert.table_name == "OBJ# 4711"
    assert insert.status == 2


def test_a_ddl_is_a_transaction_with_rows_of_other_owners() -> None:
    world = World(noise="always")
    world.db.define("truncate table t", T)

    rows = [row for row in world.mine() if row.xidsqn]
    assert [row.operation for row in rows] == ["START", "INTERNAL", "UPDATE", "DDL", "COMMIT"]
    assert (rows[2].seg_owner, rows[2].table_name) == ("SYS", "OBJ$")
    assert (rows[3].seg_owner, rows[3].table_name, rows[3].sql_redo) == (
        "S",
        "T",
        "truncate table t",
    )


def test_a_long_statement_is_continued_and_may_split_a_doubled_quote() -> None:
    world = World(quote_split="always")
    world.log.csf_bytes = 50
    world.db.begin().insert(T, (ONE, "ab'cd'ef'é", None, None))

    rows = world.mine()[1:]
    assert [row.csf for row in rows] == [1, 0]
    assert len({(row.rs_id, row.ssn, row.row_id) for row in rows}) == 1
    first, second = (row.sql_redo or "" for row in rows)
    assert first.endswith("'")
    assert second.startswith("'")
    assert first.count("'") % 2 == 0, (
        "a reader who takes it for whole finds an even number of quotes"
    )
    assert first + second == (
        """insert into "S"."T"("ID","V","N") values ('1','ab''cd''ef''é',NULL)"""
    )


@pytest.mark.parametrize("limit", [7, 20, 50, 4000])
def test_parts_have_at_most_so_many_bytes_and_whole_characters(world: World, limit: int) -> None:
    world.log.csf_bytes = limit
    world.db.begin().insert(T, (ONE, "\U0001f600é" * 20, None, None))

    parts = [row.sql_redo or "" for row in world.mine()[1:]]
    assert max(len(part.encode()) for part in parts) <= limit
    assert "\U0001f600é" * 20 in "".join(parts)


def test_rows_of_one_delete_share_their_address_and_their_number() -> None:
    world = World(array_deletes="always")
    work = world.db.begin()
    rowids = work.insert(T, *[(Decimal(n), None, None, None) for n in range(3)])
    work.delete(T, *rowids)

    inserts, deletes = ([row for row in world.mine() if row.operation_code == op] for op in (1, 2))
    assert len({row.rs_id for row in inserts}) == 1
    assert [row.ssn for row in inserts] == [0, 1, 2]
    assert len({row.rs_id for row in deletes}) == 1
    assert [(row.ssn, row.row_id) for row in deletes] == [(0, rowid) for rowid in rowids]
    assert len({row.scn for row in deletes}) == 1


def test_interleaved_transactions_may_have_changes_of_one_scn() -> None:
    world = World(equal_scns="always")
    one, other = world.db.begin(), world.db.begin()
    one.insert(T, (ONE, None, None, None))
    other.insert(T, (SEVEN, None, None, None))
    one.insert(T, (Decimal(8), None, None, None))

    inserts = [row for row in world.mine() if row.operation == "INSERT"]
    assert len({row.scn for row in inserts}) == 1
    assert len({row.xid for row in inserts}) == 2


def test_a_rollback_may_lose_the_sequence_of_its_xid() -> None:
    world = World(partial_xid="always", zero_rs_id="always")
    work = world.db.begin()
    work.insert(T, ROW)
    work.rollback()

    rows = world.mine()
    assert [row.xidsqn == 0xFFFFFFFF for row in rows] == [False, False, True, True]
    assert {(row.xidusn, row.xidslt) for row in rows} == {work.xid[:2]}
    assert rows[-1].rs_id.strip("0x. "), "a partial XID and no address were never seen together"


def test_a_rollback_may_have_no_address() -> None:
    world = World(zero_rs_id="always")
    work = world.db.begin()
    work.insert(T, ROW)
    work.rollback()

    assert [row.rs_id == " 0x000000.00000000.0000 " for row in world.mine()] == [False] * 3 + [True]


def test_a_start_may_have_no_xid() -> None:
    world = World(zero_xid="always")
    world.db.begin().insert(T, ROW)

    start, insert = world.mine()
    assert (start.xidusn, start.xidslt, start.xidsqn) == (0, 0, 0)
    assert insert.xidsqn


def test_a_user_is_known_only_where_the_start_was_mined(world: World) -> None:
    world.db.begin(user="APP").insert(T, ROW)

    assert [row.username for row in world.mine()] == ["APP", "APP"]
    assert [row.username for row in world.mine(start=1002)] == ["UNKNOWN"]


def test_slots_are_used_again(world: World) -> None:
    for _ in range(7):
        world.db.begin().commit()

    starts = [row for row in world.mine() if row.operation == "START"]
    assert starts[0].xid[:4] == starts[6].xid[:4]
    assert starts[0].xidsqn + 1 == starts[6].xidsqn
    assert world.adversities.fired["xid_reuse"] == 1


def test_an_undo_without_a_change_is_the_engines_mistake(world: World) -> None:
    work = world.db.begin()
    change = Written(work.xid, 1010, EPOCH, Action.DELETE, T, REAL, ROW, None, undo=True)

    with pytest.raises(ValueError, match="undo of a row without a standing change: T "):
        world.log.written(change)


def test_a_row_is_read_in_the_columns_of_the_view(world: World) -> None:
    world.db.begin().insert(T, ROW)

    values = world.mine()[1].values()
    assert values[0] == Decimal(1002)
    assert isinstance(values[0], Decimal)
    assert values[5] == " 0x000012.00000002.0088 "
