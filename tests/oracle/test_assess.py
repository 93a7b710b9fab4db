"""What an assessment finds on an Oracle side: each fault by a database that has it, and by one that has not."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracledb
import pytest
from demo.servers import Server

from bowline_worker.contract import Connection, Engine, Finding, Severity, Side
from bowline_worker.endpoints.oracle import assess_rights, books, fence, leave
from bowline_worker.endpoints.oracle.assess import assess
from bowline_worker.endpoints.postgres import PostgresEndpoint
from bowline_worker.endpoints.site import Site
from oracle.server import only_as, real
from oracle.shown import Shown
from oracle.standin.backend import OraError, Value
from oracle.standin.engine.relations import View
from oracle.standin.engine.rights import User
from oracle.standin.engine.session import Session
from oracle.world import BOWLINE, INSIDE, world
from servers import Database

ITEM = "create table item (id number(9) primary key, name varchar2(40 char))"
LOGGED = "alter table item add supplemental log data (all) columns"
#: Of a release that does not know JSON.
NO_SUCH_TYPE = "ORA-00902"
#: What is told of any database that is not RDS.
ALWAYS = [("ArchiveRetention", "")]


class Assessed(Shown):
    """A database without a fault; each test gives it one."""

    #: What is told of it before.
    usual: Sequence[tuple[str, str]] = ALWAYS

    def assess(self, other: PostgresEndpoint | None = None, **change: Any) -> list[Finding]:
        config = self.site.config.model_copy(update={"existing_schema": True, **change})
        return assess(replace(self.site, config=config), other)

    def found(self, **change: Any) -> list[tuple[str, str]]:
        """Reasons and objects, but for what is always told."""
        found = [(finding.reason, finding.object) for finding in self.assess(**change)]
        return [each for each in found if each not in self.usual]

    def assess_reasons(self) -> list[tuple[str, str]]:
        return [(each.reason, each.object) for each in self.assess()]

    def make(self, *statements: str) -> bool:
        """Have SYS make a fault with SQL, on a server; a test shows it in the views of the stand-in by itself."""
        found = real()
        if found is None:
            return False
        try:
            found.as_sys(*statements)
        except oracledb.DatabaseError as error:
            if not (found.is_stand_in() or error.args[0].full_code == NO_SUCH_TYPE):
                raise
            pytest.skip(f"this server does not make it: {error.args[0].full_code}")
        return True

    def finding(self, reason: str, **change: Any) -> Finding:
        (finding,) = [each for each in self.assess(**change) if each.reason == reason]
        return finding

    @property
    def migrator(self) -> str:
        found = real()
        return BOWLINE[0] if found is None else found.bowline[0]

    def run_as(self, user: str, *statements: str) -> None:
        """Run as another user, who may do everything."""
        found = real()
        if found is not None and user == found.bowline[0]:
            name, password = found.bowline
            with closing(oracledb.connect(user=name, password=password, dsn=self.dsn)) as bowline:
                for statement in statements:
                    bowline.cursor().execute(statement)
            return
        session = self.stand_in.database.session(user, None)
        for statement in statements:
            session.execute(statement, [], [])
        session.close()

    def may(self, *privileges: str) -> None:
        """Take the rights of a DBA, and give these. On a server some of those of `bowline grants` are taken."""
        found = real()
        if found is not None:
            if "DBA" in privileges:
                pytest.skip("gives the migration's user all rights")
            only_as(BOWLINE[0])
            lacking = sorted((ALL_RIGHTS | {"ALTER SYSTEM"}) - set(privileges))
            found.as_sys(*(f"revoke {each} from {BOWLINE[0]}" for each in lacking))
            return
        self.stand_in.database.users[BOWLINE[0]] = User(BOWLINE[0], set(privileges))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Assessed]:
    with world(Assessed, tmp_path) as made:
        sound(made)
        yield made


def sound(made: Assessed) -> None:
    """Mend what a new database lacks. What a server lacks it does in each test: it is known before the fault."""
    made.run("alter database add supplemental log data", ITEM, LOGGED)
    if real() is not None:
        made.run("analyze table item compute statistics")
        made.usual = [*ALWAYS, *made.found()]
        return
    made.set("V$DATABASE", FORCE_LOGGING="YES")
    made.alter("ALL_TABLES", "OWNER", "SHOP", NUM_ROWS=Decimal(0), BLOCKS=Decimal(1))
    made.may("DBA", "SELECT ANY SEQUENCE", "UNLIMITED TABLESPACE")


# --- the server ----------------------------------------------------------------------------------


def test_a_database_that_has_all_is_told_nothing_but_what_it_can_not_know(here: Assessed) -> None:
    findings = here.assess()

    if real() is not None:
        assert [each for each in findings if each.severity is Severity.ERROR] == []
        return
    assert [(each.reason, each.severity) for each in findings] == [
        ("ArchiveRetention", Severity.NOTE)
    ]
    assert findings[0].side is Side.SOURCE


def test_a_server_that_can_not_be_reached_is_one_finding(here: Assessed) -> None:
    source = here.site.config.source.model_copy(update={"port": 1})

    assert [each.reason for each in here.assess(source=source)] == ["Unreachable"]


def test_a_session_that_is_lost_is_one_finding(here: Assessed) -> None:
    def lose(session: Session) -> Iterator[tuple[Value, ...]]:
        raise OraError(28, "your session has been killed")

    views = here.stand_in.database.views
    views["V$PARAMETER"] = View(views["V$PARAMETER"].columns, lose)

    assert [each.reason for each in here.assess()] == ["Unreachable"]


def test_a_check_that_an_error_of_the_server_stops_is_an_error(here: Assessed) -> None:
    def stop(session: Session) -> Iterator[tuple[Value, ...]]:
        raise OraError(1652, "unable to extend temp segment")

    views = here.stand_in.database.views
    views["ALL_LOBS"] = View(views["ALL_LOBS"].columns, stop)
    here.set("V$DATABASE", FORCE_LOGGING="NO")

    assert ("CheckFailed", "") in here.found()
    assert here.finding("CheckFailed").severity is Severity.ERROR
    assert "could not check unlogged" in here.finding("CheckFailed").message


@pytest.mark.parametrize(
    ("release", "told"),
    [
        ((11, 2, 0, 4, 0), [("VersionTooOld", "")]),
        ((12, 1, 0, 2, 0), []),
        ((23, 26, 0, 0, 0), []),
        ((24, 1, 0, 0, 0), [("VersionUnknown", "")]),
    ],
)
def test_versions_that_nothing_is_known_of_are_told(
    here: Assessed, release: tuple[int, int, int, int, int], told: list[tuple[str, str]]
) -> None:
    server = here.stand_in.server
    server._settings = replace(server._settings, release=release)

    assert here.found() == told


SETTINGS = {
    "no archives": ({"LOG_MODE": "NOARCHIVELOG"}, "NotArchiving", Severity.ERROR),
    "no supplemental logging": (
        {"SUPPLEMENTAL_LOG_DATA_MIN": "NO"},
        "SupplementalLoggingOff",
        Severity.ERROR,
    ),
    "a standby": ({"DATABASE_ROLE": "PHYSICAL STANDBY"}, "Standby", Severity.ERROR),
    "not for writing": ({"OPEN_MODE": "READ ONLY WITH APPLY"}, "Standby", Severity.ERROR),
    "nologging is heeded": ({"FORCE_LOGGING": "NO"}, "NotForceLogging", Severity.WARNING),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_what_the_database_is_set_to_is_checked(here: Assessed, case: str) -> None:
    change, reason, severity = SETTINGS[case]
    here.set("V$DATABASE", **change)

    assert here.found() == [(reason, "")]
    assert here.finding(reason).severity is severity
    assert here.finding(reason).remedy


def test_a_database_that_logs_all_columns_of_all_tables_needs_no_minimum(here: Assessed) -> None:
    here.set(
        "V$DATABASE",
        SUPPLEMENTAL_LOG_DATA_MIN="IMPLICIT",
        SUPPLEMENTAL_LOG_DATA_ALL="YES",
    )

    assert here.found() == []


def test_archives_must_go_to_a_place_of_this_machine(here: Assessed) -> None:
    here.alter("V$ARCHIVE_DEST_STATUS", "STATUS", "VALID", STATUS="DEFERRED")

    assert here.found() == [("NoArchiveDestination", "")]


def test_the_policy_of_rman_is_shown(here: Assessed) -> None:
    here.show(
        "V$RMAN_CONFIGURATION",
        NAME="ARCHIVELOG DELETION POLICY",
        VALUE="TO BACKED UP 1 TIMES TO DISK",
    )

    assert "TO BACKED UP 1 TIMES" in here.finding("ArchiveRetention").message


@pytest.mark.parametrize(("hours", "told"), [("2", True), ("0", True), ("24", False)])
def test_on_rds_the_hours_that_archives_stay_are_known(
    here: Assessed, hours: str, told: bool
) -> None:
    here.run_as(
        "RDSADMIN",
        "create table rds_configuration (name varchar2(99), value varchar2(99))",
        f"insert into rds_configuration values ('archivelog retention hours', '{hours}')",
        "commit",
    )

    warnings = [each for each in here.assess() if each.severity is Severity.WARNING]
    assert [each.reason for each in warnings] == ["ArchiveRetention"] * told
    assert all(f"for {hours} hours" in each.message for each in warnings)


def test_on_rds_hours_that_may_not_be_read_are_not_known(here: Assessed) -> None:
    here.run_as("RDSADMIN", "create table rds_configuration (name varchar2(9))")
    here.may(*RIGHTS - {"SELECT ANY TABLE"}, "EXEMPT ACCESS POLICY")
    here.run("grant select on item to bowline")

    assert here.finding("ArchiveRetention").severity is Severity.NOTE


def test_a_character_set_that_is_not_known_matters_on_the_way_back(here: Assessed) -> None:
    here.alter("NLS_DATABASE_PARAMETERS", "PARAMETER", "NLS_CHARACTERSET", VALUE="JA16SJIS")

    assert here.found() == [("UnsupportedCharacterSet", "")]
    assert here.found(fallback=False) == []


def test_another_national_character_set_is_refused(here: Assessed) -> None:
    here.alter("NLS_DATABASE_PARAMETERS", "PARAMETER", "NLS_NCHAR_CHARACTERSET", VALUE="UTF8")

    assert here.found(fallback=False) == [("UnsupportedCharacterSet", "")]


def test_sessions_of_others_that_use_the_migrations_user_are_seen(here: Assessed) -> None:
    """The fence would let them pass."""
    dsn = f"127.0.0.1:{here.stand_in.port}/SHOP"
    with closing(oracledb.connect(user=BOWLINE[0], password=BOWLINE[1], dsn=dsn)):
        assert here.found() == [("SharedUser", "")]


def test_transactions_in_doubt_are_told(here: Assessed) -> None:
    here.show("DBA_2PC_PENDING", LOCAL_TRAN_ID="1.2.3", STATE="prepared")

    assert here.found() == [("InDoubtTransactions", "")]


def test_oracle_is_a_source_whose_schema_is_made_by_hand(here: Assessed) -> None:
    assert here.found(existing_schema=False) == [("SchemaNotConverted", "")]

    config = here.site.config.model_copy(update={"existing_schema": True})
    reasons = [each.reason for each in assess(Site(config, Side.TARGET), None)]
    assert reasons[0] == "OracleTarget"


# --- what the user may do ------------------------------------------------------------------------

ALL_RIGHTS = {right.privilege for right in assess_rights.RIGHTS + assess_rights.TABLE_RIGHTS}
RIGHTS = {*ALL_RIGHTS, "CREATE SESSION", "SELECT_CATALOG_ROLE", "ALTER SYSTEM"}


@pytest.mark.parametrize("lacking", sorted(ALL_RIGHTS))
def test_each_privilege_that_is_lacking_is_named(here: Assessed, lacking: str) -> None:
    here.may(*(RIGHTS - {lacking}))

    assert here.found() == [("NotPermitted", lacking)]
    assert lacking in here.finding("NotPermitted").message


def test_the_privileges_of_the_table_suffice(here: Assessed) -> None:
    here.may(*RIGHTS)

    assert here.found() == []


def test_for_the_way_there_alone_nothing_is_written(here: Assessed) -> None:
    receiver = {"ALTER ANY TRIGGER", "ALTER ANY SEQUENCE"}
    receiver |= {f"{verb} ANY TABLE" for verb in ("INSERT", "UPDATE", "DELETE")}
    here.may(*(RIGHTS - receiver))

    assert here.found(fallback=False) == []
    assert len(here.found()) == len(receiver)


def test_privileges_on_each_table_do_as_well(here: Assessed) -> None:
    here.may(*(right for right in RIGHTS if not right.endswith("ANY TABLE")))
    here.run("grant select, flashback, alter, insert, update, delete on item to bowline")

    assert here.found() == []


def test_foreign_keys_of_tables_that_are_not_selected_are_disabled_too(here: Assessed) -> None:
    """Else a row that is deleted on the way back may be theirs to miss."""
    here.run("create table child (id number(9) primary key, item number(9) references item)")
    here.may(*(right for right in RIGHTS if not right.endswith("ANY TABLE")))
    here.run("grant select, flashback, alter, insert, update, delete on item to bowline")
    here.run("grant select on child to bowline")
    assert here.found(exclude=["shop.child"]) == [("NotPermitted", "SHOP.CHILD")]
    assert here.found(exclude=["shop.child"], fallback=False) == []

    here.run("grant alter on child to bowline")
    assert here.found(exclude=["shop.child"]) == []


def test_a_table_without_its_grant_is_not_left_behind_in_silence(here: Assessed) -> None:
    here.run("create table other (id number(9) primary key)")
    here.may(*(right for right in RIGHTS if not right.endswith("ANY TABLE")))
    here.run("grant select, flashback, alter, insert, update, delete on item to bowline")

    assert here.found() == [("TableHidden", "shop.other")]


@pytest.mark.parametrize("view", sorted({*assess_rights.CAPTURE_VIEWS, *assess_rights.FENCE_VIEWS}))
def test_each_view_that_may_not_be_read_is_named(here: Assessed, view: str) -> None:
    here.hide(view)

    assert ("NotPermitted", view) in here.found()


def test_views_that_only_make_the_copy_quicker_are_a_note(here: Assessed) -> None:
    here.hide("DBA_EXTENTS")

    assert here.found() == [("WholeTables", "DBA_EXTENTS")]
    assert here.finding("WholeTables").severity is Severity.NOTE


def test_who_may_not_run_the_package_of_log_miner_is_told(here: Assessed) -> None:
    del here.stand_in.database.procedures["DBMS_LOGMNR.END_LOGMNR"]

    assert here.found() == [("NotPermitted", "DBMS_LOGMNR")]


def test_who_may_not_end_sessions_is_warned_unless_rds_ends_them(here: Assessed) -> None:
    here.may(*(RIGHTS - {"ALTER SYSTEM"}))
    assert here.found() == [("CannotEndSessions", "ALTER SYSTEM")]
    assert here.finding("CannotEndSessions").severity is Severity.WARNING

    here.show("ALL_OBJECTS", OWNER="RDSADMIN", OBJECT_NAME="RDSADMIN_UTIL", OBJECT_TYPE="PACKAGE")
    assert here.found() == []


@pytest.mark.parametrize(("most", "told"), [(-1, False), (1000, False), (10, True)])
def test_bookkeeping_needs_room(here: Assessed, most: int, told: bool) -> None:
    here.alter(
        "USER_TS_QUOTAS",
        "TABLESPACE_NAME",
        "USERS",
        BYTES=Decimal(10),
        MAX_BYTES=Decimal(most),
    )
    here.may("DBA", "SELECT ANY SEQUENCE", "UNLIMITED TABLESPACE")
    assert here.found() == []

    here.may(*RIGHTS)
    assert here.found() == [("NoQuota", "")] * told


def test_a_user_that_owns_the_tables_passes_the_fence(here: Assessed) -> None:
    here.run_as(
        BOWLINE[0],
        "create table mine (id number(9) primary key)",
        "alter table mine add supplemental log data (all) columns",
    )
    if not here.make(f"analyze table {here.migrator}.mine compute statistics"):
        here.alter("ALL_TABLES", "OWNER", "BOWLINE", NUM_ROWS=Decimal(0))

    assert here.found(include=["bowline.*"]) == [("OwnerMigrates", "")]
    assert here.finding("OwnerMigrates", include=["bowline.*"]).severity is Severity.ERROR


def test_a_check_that_fails_leaves_the_others_their_say(here: Assessed) -> None:
    here.hide("REDACTION_POLICIES")
    here.hide("V$PARAMETER")
    here.run("create table k (name varchar2(9 char))")

    reasons = [reason for reason, _ in here.found()]
    assert reasons.count("NotPermitted") == 2
    assert "NoKey" in reasons


# --- the root of a container database ------------------------------------------------------------


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[Assessed]:
    """The migration's tables are in a pluggable database."""
    with world(Assessed, tmp_path, containers=("CDB$ROOT", "PDB1")) as made:
        sound(made)
        yield made


def common(made: Assessed) -> None:
    made.alter("USER_USERS", "USERNAME", "BOWLINE", COMMON="YES")


def test_before_19_10_a_user_of_a_pluggable_database_alone_can_not_mine(plugged: Assessed) -> None:
    assert plugged.found() == [("CommonUserNeeded", "")]


def test_a_user_of_a_pluggable_database_alone_mines_inside_it(tmp_path: Path) -> None:
    with world(Assessed, tmp_path, **INSIDE) as made:
        sound(made)
        assert made.found() == []

        made.set("V$DATABASE", SUPPLEMENTAL_LOG_DATA_MIN="NO")
        assert made.found() == [("SupplementalLoggingOff", "")]


def test_a_database_that_hides_its_logs_is_no_source(tmp_path: Path) -> None:
    with world(Assessed, tmp_path, **INSIDE) as made:
        sound(made)
        log = made.stand_in.database.views["V$LOG"]
        made.stand_in.database.views["V$LOG"] = View(log.columns, lambda _: ())

        assert made.found() == [("LogsHidden", "")]


def test_a_common_user_mines_in_the_root(plugged: Assessed) -> None:
    common(plugged)

    assert plugged.found() == []


def test_redo_is_that_of_the_container_database(plugged: Assessed) -> None:
    common(plugged)
    plugged.set("V$DATABASE", LOG_MODE="NOARCHIVELOG")
    plugged.alter("V$ARCHIVE_DEST_STATUS", "STATUS", "VALID", STATUS="DEFERRED")

    assert plugged.found() == [("NotArchiving", ""), ("NoArchiveDestination", "")]


def test_a_common_user_must_be_let_into_the_root(plugged: Assessed) -> None:
    common(plugged)
    plugged.may(*RIGHTS)

    assert plugged.found() == [("NotPermitted", "")]
    assert "SET CONTAINER" in plugged.finding("NotPermitted").message


def test_a_common_user_that_sees_the_root_alone_would_miss_transactions(
    plugged: Assessed,
) -> None:
    common(plugged)
    plugged.alter("V$CONTAINERS", "NAME", "PDB1", NAME="ANOTHER")

    assert plugged.found() == [("ContainerHidden", "")]
    assert "container_data = all" in plugged.finding("ContainerHidden").remedy


# --- the tables ----------------------------------------------------------------------------------


def test_a_spec_that_selects_nothing_is_refused(here: Assessed) -> None:
    assert here.found(include=["shop.item?"]) == [("NoTables", "")]


def test_names_that_would_become_one_are_one_finding(here: Assessed) -> None:
    here.run('create table "item" (id number(9) primary key)')

    assert here.found() == [("NamesCollide", "")]


#: How a server is given a column of a type, where it knows the type.
MADE = {
    "json": ["alter table shop.item add (name json)"],
    "an object type": [
        "create type shop.point as object (x number, y number)",
        "alter table shop.item add (name shop.point)",
    ],
}
KINDS = {
    "json": ({"DATA_TYPE": "JSON"}, "UnsupportedType"),
    "an object type": ({"DATA_TYPE": "POINT", "DATA_TYPE_OWNER": "SHOP"}, "UnsupportedType"),
    "unheard of": ({"DATA_TYPE": "QUBIT"}, "UnknownType"),
}


@pytest.mark.parametrize("case", KINDS)
def test_columns_that_can_not_be_carried_are_named(here: Assessed, case: str) -> None:
    change, reason = KINDS[case]
    if not (case in MADE and here.make("alter table shop.item drop column name", *MADE[case])):
        here.alter("ALL_TAB_COLS", "COLUMN_NAME", "NAME", **change)

    assert here.found() == [(reason, "shop.item.name")]
    assert here.finding(reason).severity is Severity.ERROR
    assert here.finding(reason).remedy


def test_a_long_name_of_a_table_is_told_once_and_one_of_a_column_by_column(
    here: Assessed,
) -> None:
    table, column = "T" * 31, "C" * 31
    here.run(
        f"create table {table} (id number(9) primary key, {column} number(9), n number(9))",
        f"alter table {table} add supplemental log data (all) columns",
    )
    found = [each for each in here.found() if each[0] == "NameTooLong"]

    assert sorted(about for _, about in found) == [
        f"shop.{table.lower()}",
        f"shop.{table.lower()}.{column.lower()}",
    ]


def test_what_is_always_lost_is_told_by_column(here: Assessed) -> None:
    here.run("alter table item add (at timestamp(9))")

    assert here.found() == [("ValueLoss", "shop.item.at")]


def test_a_table_without_a_key_is_slow_and_with_a_lob_impossible(here: Assessed) -> None:
    for statement in (
        "create table slow (name varchar2(9 char))",
        "create table never (name varchar2(9 char), note clob)",
        "create table weigh (weight binary_double)",
    ):
        name = statement.split()[2]
        here.run(statement, f"alter table {name} add supplemental log data (all) columns")

    assert here.found() == [
        ("ReselectWithoutKey", "shop.never"),
        ("NoKey", "shop.slow"),
        ("ReselectWithoutKey", "shop.weigh"),
    ]
    assert here.finding("NoKey").severity is Severity.NOTE


def test_tables_that_do_not_log_all_columns_yet_are_counted(here: Assessed) -> None:
    here.run("create table other (id number(9) primary key)")

    assert here.found() == [("SupplementalLoggingAdded", "")]
    assert here.finding("SupplementalLoggingAdded").severity is Severity.NOTE
    assert "shop.other" in here.finding("SupplementalLoggingAdded").message


def test_clusters_periods_and_archived_rows_are_refused(here: Assessed) -> None:
    expected = [("TemporalValidity", "shop.item"), ("RowArchival", "shop.item")]
    if here.make(
        "alter table shop.item row archival", "alter table shop.item add period for valid"
    ):
        told = [each for each in here.found() if each in expected]
        assert told == expected  # no cluster: its tables have neither
        return
    here.alter("ALL_TABLES", "TABLE_NAME", "ITEM", CLUSTER_NAME="C")
    here.show("ALL_TAB_COLS", OWNER="SHOP", TABLE_NAME="ITEM", COLUMN_NAME="VALID",
              DATA_TYPE="NUMBER", HIDDEN_COLUMN="YES", VIRTUAL_COLUMN="YES",
              USER_GENERATED="NO", INTERNAL_COLUMN_ID=Decimal(8))  # fmt: skip
    here.show("ALL_TAB_COLS", OWNER="SHOP", TABLE_NAME="ITEM", COLUMN_NAME="ORA_ARCHIVE_STATE",
              DATA_TYPE="VARCHAR2", HIDDEN_COLUMN="YES", VIRTUAL_COLUMN="NO",
              USER_GENERATED="NO", INTERNAL_COLUMN_ID=Decimal(9))  # fmt: skip

    errors = [each for each in here.assess() if each.severity is Severity.ERROR]
    assert [(each.reason, each.object) for each in errors] == [
        ("UnsupportedTable", "shop.item"),
        ("TemporalValidity", "shop.item"),
        ("RowArchival", "shop.item"),
    ]
    accepted = here.finding("TemporalValidity", accepted_issues=["TemporalValidity"])
    assert accepted.severity is Severity.WARNING


def test_the_hidden_column_of_an_index_is_no_period(here: Assessed) -> None:
    if not here.make("create index shop.by_name on shop.item (upper(name))"):
        here.show("ALL_TAB_COLS", OWNER="SHOP", TABLE_NAME="ITEM", COLUMN_NAME="SYS_NC00003$",
                  DATA_TYPE="NUMBER", HIDDEN_COLUMN="YES", VIRTUAL_COLUMN="YES",
                  USER_GENERATED="NO", INTERNAL_COLUMN_ID=Decimal(8))  # fmt: skip

    assert here.found() == []


#: How a server is given a policy that is not enabled, and how it is enabled.
POLICIES = {
    "ALL_POLICIES": (
        """create function shop.all_rows (owner varchar2, name varchar2) return varchar2
        as begin return '1 = 1'; end;""",
        """begin dbms_rls.add_policy(object_schema => 'SHOP', object_name => 'ITEM', policy_name => 'P',
        function_schema => 'SHOP', policy_function => 'ALL_ROWS', enable => false); end;""",
        "begin dbms_rls.enable_policy('SHOP', 'ITEM', 'P', true); end;",
    ),
    "REDACTION_POLICIES": (
        """begin dbms_redact.add_policy(object_schema => 'SHOP', object_name => 'ITEM', policy_name => 'P',
        column_name => 'NAME', function_type => dbms_redact.full, expression => '1 = 1', enable => false); end;""",
        """begin dbms_redact.enable_policy(object_schema => 'SHOP', object_name => 'ITEM', policy_name => 'P');
        end;""",
    ),
}


@pytest.mark.parametrize(
    ("view", "reason", "exempt"),
    [
        ("ALL_POLICIES", "RowSecurity", "EXEMPT ACCESS POLICY"),
        ("REDACTION_POLICIES", "Redaction", "EXEMPT REDACTION POLICY"),
    ],
)
def test_policies_that_hide_rows_or_values_are_refused(
    here: Assessed, view: str, reason: str, exempt: str
) -> None:
    policy = {"OBJECT_OWNER": "SHOP", "OBJECT_NAME": "ITEM", "POLICY_NAME": "P"}
    *there, enabled = POLICIES[view]
    if not here.make(*there):
        here.show(view, **policy, ENABLE="NO")
    assert here.found() == []

    if not here.make(enabled):
        here.show(view, **policy, ENABLE="YES")
    assert here.found() == [(reason, "shop.item")]

    if here.make(f"grant {exempt} to {here.migrator}"):
        assert here.found() == []
        return
    here.may("DBA", "SELECT ANY SEQUENCE", "UNLIMITED TABLESPACE", exempt)
    assert here.found() == []


def test_tables_that_may_be_written_without_redo_are_named(here: Assessed) -> None:
    here.show("ALL_LOBS", OWNER="SHOP", TABLE_NAME="ITEM", COLUMN_NAME="NAME", LOGGING="NO")
    here.show("ALL_TAB_PARTITIONS", TABLE_OWNER="SHOP", TABLE_NAME="ITEM", LOGGING="NO")
    assert here.found() == []

    here.set("V$DATABASE", FORCE_LOGGING="NO")
    assert here.found() == [("NotForceLogging", ""), ("Unlogged", "shop.item")]


def test_columns_of_extended_strings_are_a_warning(here: Assessed) -> None:
    here.alter("ALL_TAB_COLS", "COLUMN_NAME", "NAME", DATA_LENGTH=Decimal(4001))

    assert here.found() == [("ExtendedStrings", "shop.item")]


APART = {
    "ALL_EXTERNAL_TABLES": [
        """create table shop.t (x varchar2(9)) organization external
        (type oracle_loader default directory data_pump_dir location ('nothing.csv'))"""
    ],
    "ALL_OBJECT_TABLES": [
        "create type shop.o as object (x number)",
        "create table shop.t of shop.o",
    ],
    "ALL_XML_TABLES": ["create table shop.t of xmltype"],
}


@pytest.mark.parametrize(
    ("view", "reason", "severity"),
    [
        ("ALL_EXTERNAL_TABLES", "External", Severity.NOTE),
        ("ALL_OBJECT_TABLES", "UnsupportedTable", Severity.ERROR),
        ("ALL_XML_TABLES", "UnsupportedTable", Severity.ERROR),
    ],
)
def test_tables_that_are_not_among_the_selected_are_told(
    here: Assessed, view: str, reason: str, severity: Severity
) -> None:
    if here.make(*APART[view]):
        assert here.found() == [(reason, "shop.t")]
    else:
        here.show(view, OWNER="SHOP", TABLE_NAME="T")
        here.show(view, OWNER="SYS", TABLE_NAME="T")
        assert here.found(include=["*.*"], exclude=["bowline.*"]) == [(reason, "shop.t")]
    assert here.finding(reason).severity is severity
    assert here.found(exclude=["shop.t"]) == []


def test_temporary_tables_and_materialized_views_are_noted(here: Assessed) -> None:
    here.run("create global temporary table basket (id number(9)) on commit delete rows")
    if not here.make("create materialized view shop.m as select id from shop.item"):
        here.show("ALL_MVIEWS", OWNER="SHOP", MVIEW_NAME="M", CONTAINER_NAME="M")

    assert here.found() == [("Temporary", "shop.basket"), ("MaterializedView", "shop.m")]


def test_undo_must_last_as_long_as_the_copy(here: Assessed) -> None:
    here.stand_in.database.instance_parameters["undo_retention"] = "60"
    here.alter("ALL_TABLES", "TABLE_NAME", "ITEM", NUM_ROWS=Decimal(60 * 20_000 + 19_999))
    assert here.found() == []

    here.alter("ALL_TABLES", "TABLE_NAME", "ITEM", NUM_ROWS=Decimal(61 * 20_000))
    assert here.found() == [("UndoRetention", "")]
    assert "undo_retention is 60 s" in here.finding("UndoRetention").message

    here.alter("ALL_TABLES", "TABLE_NAME", "ITEM", NUM_ROWS=None)
    assert here.found() == [("NoStatistics", "")]


def test_identity_columns_are_a_warning(here: Assessed) -> None:
    here.run(
        "create table numbered (id number(9) generated always as identity primary key)",
        "alter table numbered add supplemental log data (all) columns",
    )

    assert ("IdentityColumn", "shop.numbered") in here.found()
    assert here.finding("IdentityColumn").severity is Severity.WARNING


def test_lengths_in_bytes_matter_on_the_way_back_alone(here: Assessed) -> None:
    here.run("alter table item add (city varchar2(9 byte))")

    assert here.found() == [("ByteLengths", "shop.item")]
    assert here.found(fallback=False) == []

    here.alter("NLS_DATABASE_PARAMETERS", "PARAMETER", "NLS_CHARACTERSET", VALUE="WE8ISO8859P1")
    assert here.found() == []


TRIGGER = """create or replace trigger {name} before insert on shop.item {state}
begin null; end;"""


def test_triggers_of_the_application_are_noted_for_the_way_back(here: Assessed) -> None:
    here.run(TRIGGER.format(name="audits", state=""))
    assert here.found() == [("Trigger", "shop.item")]

    here.run("alter trigger audits disable")
    assert here.found() == []


def test_tables_that_another_users_migration_has_are_refused(here: Assessed) -> None:
    fence = TRIGGER.format(name="bowline_fence_73000", state="disable")
    here.run_as("MOVER", fence.replace("null;", "/* s.migration = 'default.other' */ null;"))

    assert here.found() == [("TableTaken", "default.other")]


def test_tables_are_taken_until_the_other_migration_is_complete(here: Assessed) -> None:
    config = here.site.config.model_copy(update={"migration": "default.other"})
    other = replace(here.site, config=config)
    books.install(other)
    fence.make(other)
    assert here.found() == [("TableTaken", "default.other")]
    assert here.found(migration="default.other") == []

    here.run_as(BOWLINE[0], "delete from bowline_switch", "commit")
    assert here.found() == []


def test_a_fence_that_was_kept_is_not_opened_by_another_migration_without_a_word(
    here: Assessed,
) -> None:
    """The old primary would take writes again that nobody streams."""
    config = here.site.config.model_copy(update={"migration": "default.other"})
    other = replace(here.site, config=config)
    books.install(other)
    fence.make(other)
    with books.transaction(other) as step:
        step.raise_fence(1.0)
    leave.cleanup(other, keep_fence=True)

    assert here.found() == [("FenceKept", "default.other")]

    here.run_as(BOWLINE[0], "update bowline_switch set raised = 0", "commit")
    assert here.found() == []


def test_a_table_that_can_not_be_locked_can_not_be_fenced(here: Assessed) -> None:
    if not here.make("alter table shop.item disable table lock"):
        here.alter("ALL_TABLES", "TABLE_NAME", "ITEM", TABLE_LOCK="DISABLED")

    assert here.found() == [("FenceImpossible", "shop.item")]


BY_REFERENCE = (
    "drop table shop.item purge",
    """create table shop.whole (id number(9) primary key)
    partition by range (id) (partition p values less than (maxvalue))""",
    """create table shop.item (id number(9) primary key, whole number(9) not null,
    constraint of_whole foreign key (whole) references shop.whole) partition by reference (of_whole)""",
    "alter table shop.item add supplemental log data (all) columns",
    "analyze table shop.item compute statistics",
)


def test_a_table_that_is_partitioned_by_reference_is_refused(here: Assessed) -> None:
    """Its foreign key can't be disabled: a parent that is written anew would take its children with it."""
    if not here.make(*BY_REFERENCE):
        here.show("ALL_PART_TABLES", OWNER="SHOP", TABLE_NAME="ITEM", PARTITIONING_TYPE="REFERENCE")

    assert here.found(exclude=["shop.whole"]) == [("ReferencePartitions", "shop.item")]


def test_a_migration_that_has_begun_is_not_asked_for_its_undo(here: Assessed) -> None:
    here.stand_in.database.instance_parameters["undo_retention"] = "0"
    here.alter("ALL_TABLES", "TABLE_NAME", "ITEM", NUM_ROWS=Decimal(20_000))
    assert here.found() == [("UndoRetention", "")]

    books.install(here.site)
    assert here.found() == []


def test_a_trigger_for_ddl_is_noted(here: Assessed) -> None:
    if here.make("create trigger shop.no_ddl before ddl on database begin null; end;",
                 "create trigger shop.at_logon after logon on database begin null; end;"):  # fmt: skip
        assert here.found() == [("DdlTrigger", "SHOP.NO_DDL")]
        return
    here.show("ALL_TRIGGERS", OWNER="SEC", TRIGGER_NAME="NO_DDL", STATUS="ENABLED",
              BASE_OBJECT_TYPE="DATABASE", TRIGGERING_EVENT="DDL")  # fmt: skip
    here.show("ALL_TRIGGERS", OWNER="SEC", TRIGGER_NAME="AT_LOGON", STATUS="ENABLED",
              BASE_OBJECT_TYPE="DATABASE", TRIGGERING_EVENT="LOGON")  # fmt: skip

    assert here.found() == [("DdlTrigger", "SEC.NO_DDL")]


# --- the tables of the other side ----------------------------------------------------------------

ALIKE = "create table shop.item (id integer primary key, name character varying(40))"


def the_other(here: Assessed, database: Database, *statements: str) -> PostgresEndpoint:
    database.run("create schema shop", *statements)
    password = database.server.password
    secret = here.scratch / "other"
    secret.mkdir(exist_ok=True)
    (secret / "username").write_text("bowline")
    (secret / "password").write_text(password)
    target: Connection = database.connection(secret)
    config = here.site.config.model_copy(update={"target": target})
    assert target.engine is Engine.POSTGRESQL
    return PostgresEndpoint(config, Side.TARGET)


SHAPES = {
    "alike": ([ALIKE], []),
    "no table": ([], [("TableMissing", "shop.item")]),
    "one more": ([ALIKE, "create table shop.other (i int)"], [("TableMissing", "shop.other")]),
    "wider": (
        [ALIKE.replace("id integer", "id bigint")],
        [("TypeDiffers", "shop.item.id")],
    ),
    "without a column": (
        ["create table shop.item (id integer primary key)"],
        [("ColumnMissing", "shop.item.name")],
    ),
    "with a column more": (
        [ALIKE.replace(")", "), more int)", 1).replace("(40), more int)", "(40), more int")],
        [("ColumnMissing", "shop.item.more")],
    ),
    "in another order": (
        ["create table shop.item (name character varying(40), id integer primary key)"],
        [("ColumnsInAnotherOrder", "shop.item")],
    ),
    "computed": (
        [
            "create table shop.item (id integer primary key,"
            " name character varying(40) generated always as ('x') stored)"
        ],
        [("ColumnComputed", "shop.item.name")],
    ),
    "a partition": (
        [
            "create table shop.items (id integer, name character varying(40)) partition by list (id)",
            "create table shop.item partition of shop.items default",
        ],
        [("ShapesDiffer", "")],
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_the_tables_of_the_other_side_must_be_alike(
    here: Assessed, database: Database, case: str
) -> None:
    statements, expected = SHAPES[case]
    other = the_other(here, database, *statements)

    findings = [each for each in here.assess(other) if (each.reason, each.object) not in here.usual]
    assert [(each.reason, each.object) for each in findings] == expected
    assert all(each.severity is Severity.ERROR for each in findings)


def test_a_type_that_differs_is_told_with_the_one_that_fits(
    here: Assessed, database: Database
) -> None:
    other = the_other(here, database, ALIKE.replace("varying(40)", "varying(41)"))

    (finding,) = [each for each in here.assess(other) if each.reason == "TypeDiffers"]
    assert "must be character varying(40) for VARCHAR2" in finding.message


def test_another_side_that_is_away_is_left_to_its_own_assessment(
    here: Assessed, database: Database
) -> None:
    other = the_other(here, database)
    away = other.site.config.target.model_copy(update={"port": 1})
    gone = PostgresEndpoint(other.site.config.model_copy(update={"target": away}), Side.TARGET)

    assert [(each.reason, each.object) for each in here.assess(gone)] == here.assess_reasons()


def the_target(here: Assessed, database: Database, port: int) -> list[Finding]:
    """What a target finds whose source is an Oracle database at that port."""
    target = the_other(here, database, ALIKE)
    source = here.site.config.source.model_copy(update={"port": port})
    change = {"existing_schema": True, "source": source}
    config = target.site.config.model_copy(update=change)
    # All that it may look at is the site: the class does not matter.
    return PostgresEndpoint(config, Side.TARGET).assess(other=PostgresEndpoint(config, Side.SOURCE))


def test_postgresql_does_not_speak_to_an_oracle_side_in_its_own_language(
    here: Assessed, database: Database
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert the_target(here, database, listener.getsockname()[1]) == []

        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_target_of_oracle_holds_unicode(here: Assessed, pg: Server) -> None:
    with pg.connect() as connection:
        connection.execute(
            "create database not_unicode encoding latin1 template template0 lc_collate 'C' lc_ctype 'C'"
        )
    try:
        findings = the_target(here, Database(pg, "not_unicode"), here.stand_in.port)
    finally:
        with pg.connect() as connection:
            connection.execute("drop database not_unicode")

    assert [each.reason for each in findings] == ["EncodingDiffers"]
