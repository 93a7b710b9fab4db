"""Views that an assessment asks, of things that can't be made here: all but the user's own are empty."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from oracle.standin.backend import Value
from oracle.standin.engine.relations import View

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session

Rows = Iterator[tuple[Value, ...]]

TABLESPACE = "USERS"


def _table_privileges(session: Session) -> Rows:
    """Grants of which the session's user is the grantee, or the owner of the table."""
    for user in list(session.database.users.values()):
        for privilege, owner, name in sorted(user.tables):
            if session.user in (user.name, owner):
                yield owner, user.name, owner, name, privilege, "NO", "TABLE"


def _me(session: Session) -> Rows:
    common = "YES" if session.user.startswith("C##") else "NO"
    yield session.user, TABLESPACE, common


def _quotas(session: Session) -> Rows:
    yield TABLESPACE, Decimal(0), Decimal(-1)


def _users(session: Session) -> Rows:
    for name in session.database.users:
        yield name, TABLESPACE


def _nothing(session: Session) -> Rows:
    return iter(())


_EMPTY = {
    "ALL_OBJECT_TABLES": "OWNER varchar2(128), TABLE_NAME varchar2(128), TABLE_TYPE varchar2(128), NESTED varchar2(3)",
    "ALL_XML_TABLES": "OWNER varchar2(128), TABLE_NAME varchar2(128), STORAGE_TYPE varchar2(17)",
    "ALL_POLICIES": """OBJECT_OWNER varchar2(128), OBJECT_NAME varchar2(128), POLICY_NAME varchar2(128),
        ENABLE varchar2(3), SEL varchar2(3)""",
    "REDACTION_POLICIES": """OBJECT_OWNER varchar2(128), OBJECT_NAME varchar2(128), POLICY_NAME varchar2(128),
        ENABLE varchar2(7)""",
    "ALL_LOBS": """OWNER varchar2(128), TABLE_NAME varchar2(128), COLUMN_NAME varchar2(4000),
        LOGGING varchar2(7)""",
    "ALL_TAB_PARTITIONS": """TABLE_OWNER varchar2(128), TABLE_NAME varchar2(128), PARTITION_NAME varchar2(128),
        HIGH_VALUE long, PARTITION_POSITION number, SUBPARTITION_COUNT number, LOGGING varchar2(7)""",
    "DBA_2PC_PENDING": "LOCAL_TRAN_ID varchar2(22), GLOBAL_TRAN_ID varchar2(169), STATE varchar2(16)",
    "ALL_CLUSTERS": "OWNER varchar2(128), CLUSTER_NAME varchar2(128), CLUSTER_TYPE varchar2(5)",
    "V$RMAN_CONFIGURATION": "CONF# number, NAME varchar2(65), VALUE varchar2(1025)",
}


def _undo(session: Session) -> Rows:
    """The ten minutes that run now: nothing has needed more undo than is kept anyway."""
    database = session.database
    kept = Decimal(database.instance_parameters["undo_retention"])
    yield (
        database.created,
        session.now,
        Decimal(2),
        Decimal(0),
        Decimal(0),
        Decimal(0),
        Decimal(0),
        kept,
    )


VIEWS = {name: View.of(columns, _nothing) for name, columns in _EMPTY.items()} | {
    "ALL_TAB_PRIVS": View.of(
        """GRANTOR varchar2(128), GRANTEE varchar2(128), TABLE_SCHEMA varchar2(128), TABLE_NAME varchar2(128),
        PRIVILEGE varchar2(40), GRANTABLE varchar2(3), TYPE varchar2(24)""",
        _table_privileges,
    ),
    "USER_USERS": View.of(
        "USERNAME varchar2(128), DEFAULT_TABLESPACE varchar2(30), COMMON varchar2(3)", _me
    ),
    "USER_TS_QUOTAS": View.of(
        "TABLESPACE_NAME varchar2(30), BYTES number, MAX_BYTES number", _quotas
    ),
    "V$UNDOSTAT": View.of(
        """BEGIN_TIME date, END_TIME date, UNDOTSN number, UNDOBLKS number, TXNCOUNT number, MAXQUERYLEN number,
        SSOLDERRCNT number, TUNED_UNDORETENTION number""",
        _undo,
    ),
    "DBA_USERS": View.of("USERNAME varchar2(128), DEFAULT_TABLESPACE varchar2(30)", _users),
}
