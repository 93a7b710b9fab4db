"""From the redo's SQL to changes: by name, exactly, or refused with table, column and place. Without a server."""

from __future__ import annotations

import pytest

from bowline_worker.contract import Unsafe, Unsupported
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.changes import (
    Draft,
    Relation,
    relations,
)
from bowline_worker.endpoints.oracle.ddl import Effect, effect_of
from bowline_worker.endpoints.oracle.failures import gone_for_good
from bowline_worker.endpoints.oracle.kinds import OracleColumn, Refusal
from bowline_worker.endpoints.oracle.logrow import Address, Code
from bowline_worker.endpoints.oracle.reselect import Fates
from bowline_worker.endpoints.oracle.rowchange import RowChange
from bowline_worker.endpoints.oracle.signals import HEARTBEAT, SIGNAL, signal_of
from bowline_worker.endpoints.oracle.types import kind_of
from bowline_worker.model import UNCHANGED, Change, Op, Signal, SignalKind, Table, TableName

NAME = TableName("shop", "item")
ORACLE = TableName("SHOP", "ITEM")
AT = Address("0x000012.00000345.0010", 0)
WHERE = r"SHOP\.ITEM at SCN 77, RS_ID 0x000012\.00000345\.0010/0"


def column(name: str, data_type: str, **more: object) -> OracleColumn:
    return OracleColumn(table=ORACLE, name=name, data_type=data_type, **more)  # type: ignore[arg-type]


COLUMNS = (
    column("ID", "NUMBER", data_precision=9, data_scale=0, nullable=False),
    column("Name", "VARCHAR2", char_length=40, data_length=160, char_used="C"),
    column("NOTE", "CLOB"),
    column("WEIGHT", "BINARY_DOUBLE"),
    column("TWICE", "NUMBER", virtual=True),
)


def table(
    columns: tuple[OracleColumn, ...] = COLUMNS,
    key: tuple[str, ...] = ("id",),
    refusals: tuple[Refusal, ...] = (),
) -> OracleTable:
    kinds = {}
    for each in columns:
        kind = kind_of(each)
        assert not isinstance(kind, Refusal)
        name = each.name if each.name == "Name" else each.name.lower()
        kinds[name] = kind
    neutral = Table(
        name=NAME,
        columns=tuple(kind.as_column(name) for name, kind in kinds.items()),
        key=key,
        one_lane=not key,
    )
    return OracleTable(
        table=neutral, owner="SHOP", name="ITEM", kinds=kinds, segments=(), logs_all_columns=True,
        refusals=refusals,
    )  # fmt: skip


ITEM = Relation(1, table())
PLAIN = Relation(2, table(COLUMNS[:2], key=()))

_CODES = {"insert": Code.INSERT, "update": Code.UPDATE, "delete": Code.DELETE, "truncate": Code.DDL}


def row(sql: str, *reselect: str) -> RowChange:
    code = Code.LOB_WRITE if reselect else _CODES[sql.split(maxsplit=1)[0]]
    return RowChange(code, NAME, 1, "", sql, 77, AT, reselect)


def draft(sql: str, *reselect: str, relation: Relation = ITEM) -> Draft:
    return relation.read(row(sql, *reselect))


def plain(sql: str) -> Change | None:
    return draft(sql, relation=PLAIN).finished(None)


def test_an_insert_has_all_columns_by_name_and_lacks_what_the_redo_does_not_tell() -> None:
    found = draft(
        'insert into "SHOP"."ITEM"("NOTE","Name","ID","WEIGHT") values (EMPTY_CLOB(),\'it\'\'s\',\'7\',NULL)'
    )

    assert found.lacks == (2,)
    assert found.finished({2: b"long"}) == Change(
        Op.INSERT, NAME, ("id", "Name", "note", "weight"), (), None, (b"7", b"it's", b"long", None)
    )


def test_a_large_value_that_an_insert_leaves_out_is_read_again_and_not_taken_for_null() -> None:
    found = draft(
        'insert into "SHOP"."ITEM"("ID","Name","WEIGHT") values (\'7\',\'a\',\'1.5E+000\')'
    )

    assert found.lacks == (2, 3)


def test_an_insert_that_is_gone_at_the_commit_has_what_its_columns_take() -> None:
    found = draft(
        'insert into "SHOP"."ITEM"("ID","Name","NOTE","WEIGHT")'
        " values ('7','a',EMPTY_CLOB(),'1.50000005E+010')"
    ).finished(None)

    assert found is not None
    assert found.after == (b"7", b"a", b"", b"1.50000005E+010")


def test_an_update_carries_its_key_and_what_it_sets() -> None:
    found = draft(
        'update "SHOP"."ITEM" set "Name" = NULL'
        " where \"ID\" = '7' and \"Name\" = 'a' and \"WEIGHT\" = '1.5E+000'"
    )

    assert found.lacks == ()
    change = found.finished(None)
    assert change is not None
    assert (change.key, change.before) == ((b"7",), None)
    assert change.after == (b"7", None, UNCHANGED, UNCHANGED)


def test_an_update_of_a_binary_number_lacks_it() -> None:
    found = draft(
        'update "SHOP"."ITEM" set "WEIGHT" = \'0\' where "ID" = \'7\' and "WEIGHT" = \'1\''
    )

    assert found.lacks == (3,)
    change = found.finished({3: b"1e-300"})
    assert change is not None
    assert change.after == (b"7", UNCHANGED, UNCHANGED, b"1e-300")


def test_an_update_that_in_the_end_sets_nothing_is_none() -> None:
    touched = draft('update "SHOP"."ITEM" set "NOTE" = Unsupported where "ID" = \'7\'', "NOTE")

    assert touched.lacks == (2,)
    assert touched.finished(None) is None
    assert draft('update "SHOP"."ITEM" set "ID" = \'7\' where "ID" = \'7\'').finished(None) is None


def test_a_change_of_the_key_tells_both_and_has_all_large_values_read() -> None:
    """Its row may not have been found under the old key when that was still the newest."""
    found = draft('update "SHOP"."ITEM" set "ID" = \'8\' where "ID" = \'7\' and "Name" IS NULL')

    assert (found.key, found.name, found.lacks) == ((b"7",), (b"8",), (2, 3))
    change = found.finished({2: b"x", 3: None})
    assert change is not None
    assert change.before == (b"7", None, None, None)
    assert change.after == (b"8", UNCHANGED, b"x", None)


def test_a_delete_is_known_by_its_key() -> None:
    change = draft('delete from "SHOP"."ITEM" where "ID" = \'7\' and "Name" = \'a\'').finished(None)

    assert change is not None
    assert (change.key, change.before) == ((b"7",), (b"7", None, None, None))


def test_without_a_key_the_whole_row_is_told() -> None:
    updated = plain('update "SHOP"."ITEM" set "Name" = \'b\' where "ID" = \'7\' and "Name" IS NULL')
    deleted = plain('delete from "SHOP"."ITEM" where "ID" = \'7\' and "Name" = \'b\'')

    assert updated is not None
    assert deleted is not None
    assert (updated.key, updated.before, updated.after) == ((), (b"7", None), (b"7", b"b"))
    assert (deleted.key, deleted.before) == ((), (b"7", b"b"))


def test_a_truncate_has_no_rows() -> None:
    assert plain('truncate table "SHOP"."ITEM"') == Change(Op.TRUNCATE, NAME, ("id", "Name"))


@pytest.mark.parametrize(
    ("relation", "sql", "name"),
    [
        (ITEM, 'update "SHOP"."ITEM" set "Name" = \'b\' where "Name" = \'a\'', "ID"),
        (ITEM, 'update "SHOP"."ITEM" set "Name" = \'b\'', "ID"),
        (ITEM, 'delete from "SHOP"."ITEM" where "Name" = \'a\'', "ID"),
        (ITEM, 'insert into "SHOP"."ITEM"("ID") values (\'7\')', "Name"),
        (PLAIN, 'update "SHOP"."ITEM" set "Name" = \'b\' where "Name" = \'a\'', "ID"),
        (PLAIN, 'delete from "SHOP"."ITEM" where "ID" = \'7\'', "Name"),
    ],
)
def test_a_column_that_must_be_there_is_missed_by_name(
    relation: Relation, sql: str, name: str
) -> None:
    with pytest.raises(Unsafe, match=f"{WHERE} came without its column {name}") as refused:
        draft(sql, relation=relation)

    assert refused.value.reason == "SupplementalLoggingLost"


def test_a_column_that_the_table_did_not_have_is_named() -> None:
    with pytest.raises(Unsafe, match=f"{WHERE} has the column MORE") as refused:
        draft('update "SHOP"."ITEM" set "MORE" = \'b\' where "ID" = \'7\'')

    assert refused.value.reason == "SchemaChanged"


def test_columns_that_oracle_keeps_for_itself_are_left_out() -> None:
    change = draft(
        'update "SHOP"."ITEM" set "Name" = \'b\', "SYS_NC00007$" = HEXTORAW(\'00\'), "TWICE" = \'14\','
        " \"SYS_C00004_26112312:00:00$\" = 'x' where \"ID\" = '7'"
    ).finished(None)

    assert change is not None
    assert change.after == (b"7", b"b", UNCHANGED, UNCHANGED)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (row("insert nonsense"), "can't be read"),
        (RowChange(Code.DELETE, NAME, 1, "", 'update "SHOP"."ITEM" set "ID" = \'1\'', 77, AT), "operation 2"),
        (row('update "SHOP"."ITEM" set "ID" = NULL where "ID" = \'7\''), "key column ID is NULL"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_its_place(change: RowChange, what: str) -> None:
    with pytest.raises(Unsafe, match=f"{WHERE}.*{what}"):
        ITEM.read(change)


def test_a_value_that_can_t_be_carried_names_column_and_place_and_not_itself() -> None:
    with pytest.raises(Unsupported, match=rf"SHOP\.ITEM\.ID.*{WHERE}") as refused:
        draft('update "SHOP"."ITEM" set "Name" = \'b\' where "ID" = \'secret\'')

    assert refused.value.reason == "ValueRefused"
    assert "secret" not in str(refused.value)


def test_a_table_that_can_t_be_carried_is_refused_at_once() -> None:
    refusal = Refusal(
        column=column("F", "BFILE"), reason="TypeRefused", message="F is a BFILE", remedy="drop it"
    )

    with pytest.raises(Unsupported, match="F is a BFILE") as refused:
        relations([table(refusals=(refusal,))])
    assert refused.value.reason == "TypeRefused"
    with pytest.raises(Unsupported, match=r"SHOP\.ITEM has no key.*NOTE") as refused:
        relations([table(key=())])
    assert refused.value.reason == "ReselectWithoutKey"


# --- what a transaction does to its keys ---------------------------------------------------------


def fates(*statements: str) -> Fates:
    return Fates.of([row(each) for each in statements], {NAME: ITEM})


def moved(old: int, new: int) -> str:
    return f'update "SHOP"."ITEM" set "ID" = \'{new}\' where "ID" = \'{old}\''


def test_a_key_is_followed_from_its_change_to_the_end() -> None:
    found = fates(moved(1, 3), moved(2, 1), moved(3, 2), moved(1, 9))

    assert found.end(NAME, -1, (b"1",)) == (b"2",)
    assert found.end(NAME, 1, (b"1",)) == (b"9",)
    assert found.end(NAME, 0, (b"2",)) == (b"9",)
    assert found.end(NAME, 3, (b"9",)) == (b"9",)


def test_a_key_that_comes_back_to_where_it_was_is_followed_to_its_end() -> None:
    found = fates(moved(1, 2), moved(2, 1), moved(1, 2))

    assert found.end(NAME, -1, (b"1",)) == (b"2",)
    assert found.end(NAME, 1, (b"1",)) == (b"2",)


def test_a_row_that_the_transaction_deletes_may_be_gone() -> None:
    found = fates(
        'insert into "SHOP"."ITEM"("ID","Name") values (\'1\',\'a\')',
        moved(1, 2),
        'delete from "SHOP"."ITEM" where "ID" = \'2\'',
    )

    assert found.may_be_gone(NAME, found.end(NAME, 0, (b"1",)))
    assert not found.may_be_gone(NAME, (b"1",))


# --- Bowline's own rows --------------------------------------------------------------------------


def own(sql: str, name: str) -> Signal | None:
    return signal_of(row(sql), name, "default.shop")


def test_signals_are_read_from_their_rows() -> None:
    assert own(
        'insert into "B"."BOWLINE_SIGNAL"("MIGRATION","KIND","ATTEMPT")'
        " values ('default.shop','barrier','3')",
        SIGNAL,
    ) == Signal(SignalKind.BARRIER, 3, "default.shop")
    assert own(
        'insert into "B"."BOWLINE_HEARTBEAT"("MIGRATION","BEAT") values (\'default.shop\',\'1\')',
        HEARTBEAT,
    ) == Signal(SignalKind.HEARTBEAT, 1, "default.shop")
    assert own(
        'update "B"."BOWLINE_HEARTBEAT" set "BEAT" = \'2\''
        " where \"MIGRATION\" = 'default.shop' and \"BEAT\" = '1'",
        HEARTBEAT,
    ) == Signal(SignalKind.HEARTBEAT, 2, "default.shop")


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ('insert into "B"."BOWLINE_SIGNAL"("MIGRATION","KIND","ATTEMPT") values (\'x\',\'barrier\',\'3\')', SIGNAL),
        ('delete from "B"."BOWLINE_SIGNAL" where "MIGRATION" = \'default.shop\'', SIGNAL),
        ('update "B"."BOWLINE_HEARTBEAT" set "AT" = NULL where "MIGRATION" = \'default.shop\'', HEARTBEAT),
        ('truncate table "B"."BOWLINE_SIGNAL"', SIGNAL),
    ],
)  # fmt: skip
def test_rows_that_signal_nothing_to_this_migration_are_passed_over(sql: str, name: str) -> None:
    assert own(sql, name) is None


@pytest.mark.parametrize(
    "sql",
    [
        'update "B"."BOWLINE_HEARTBEAT" set "BEAT" = \'2\'',
        'update "B"."BOWLINE_HEARTBEAT" set "BEAT" = NULL where "MIGRATION" = \'default.shop\'',
    ],
)
def test_a_heartbeat_that_can_t_be_told_is_refused(sql: str) -> None:
    with pytest.raises(Unsafe, match="BOWLINE_HEARTBEAT at SCN 77"):
        own(sql, HEARTBEAT)


# --- DDL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "alter table SHOP.ITEM disable constraint FK_1",
        'alter table "SHOP"."ITEM" enable novalidate constraint "FK_1"',
        "alter table item enable validate constraint fk_1",
        "alter table item modify constraint fk_1 validate",
        "alter table item modify constraint fk_1 enable novalidate",
        "alter table item drop constraint ck_1",
        "ALTER TABLE item ADD CONSTRAINT fk_1 FOREIGN KEY (owner) REFERENCES owner (id)",
        "alter table item add constraint ck_1 check (price > 0) novalidate",
        "alter table item add primary key (id)",
        "alter table item modify id generated by default as identity",
        "alter table item modify (id generated always as identity (start with limit value))",
        "alter table item enable all triggers",
        "comment on table item is 'x'",
        "alter table item add constraint ck_1 check (kind in ('drop', 'modify'))",
        "alter table item add partition p2 values less than (date '2025-01-01')",
        "alter table item add partition p3 values ('N', 'S') tablespace users update indexes",
    ],
)
def test_ddl_that_leaves_rows_and_columns_alone_does_not_stop_the_stream(sql: str) -> None:
    assert effect_of(sql) is Effect.NONE


@pytest.mark.parametrize(
    "sql",
    [
        "alter table item disable primary key",
        "alter table item disable primary key cascade",
        "alter table item disable unique (name)",
        "alter table item enable constraint fk_1 disable primary key",
        "alter table item drop primary key",
        "alter table item drop unique (name)",
        "alter table item modify primary key disable",
        "alter table item modify (id generated always as identity, name varchar2(99))",
        "alter table item modify name varchar2(99)",
        "alter table item add constraint ck_1 check (a > 0) add (more number)",
        "alter table item add (more number)",
        "alter table item drop column name",
        "alter table item move",
        "alter table item add partition p2",
        "alter table item split partition p1 at (5) into (partition p1, partition p2)",
        "alter table item exchange partition p1 with table stage",
        "flashback table item to scn 5",
        "alter table item drop constraint ck_1 drop column name",
    ],
)
def test_ddl_that_may_change_rows_or_what_they_are_known_by_stops_it(sql: str) -> None:
    assert effect_of(sql) is Effect.CHANGES


def test_a_log_that_stays_away_is_a_matter_for_people() -> None:
    error = gone_for_good("ORA-01284: file /arch/1.arc cannot be opened")

    assert error.reason == "PositionLost"
    assert "/arch/1.arc" in str(error)
