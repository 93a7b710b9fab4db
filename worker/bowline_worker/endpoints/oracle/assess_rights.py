"""Checks of what the migration's user may do: what `bowline grants` gives, and what is used of it.

System privileges count by SESSION_PRIVS, so those of roles do; views count by reading them. Schema privileges of 23ai
are not looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import oracledb

from bowline_worker.contract import Finding
from bowline_worker.endpoints.oracle.connection import code_of, quote
from bowline_worker.endpoints.oracle.dictionary import Place
from bowline_worker.endpoints.oracle.looking import GRANTS, Look, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A system privilege, why it is needed, and on which side of a stream."""

    privilege: str
    purpose: str  #: completes "to ..."
    of_origin: bool = False
    of_receiver: bool = False

    def is_needed(self, look: Look) -> bool:
        return (self.of_origin and look.is_origin) or (self.of_receiver and look.is_receiver)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRight(Right):
    """One that may be had for each table instead: `verbs` are the object privileges of which any will do."""

    verbs: frozenset[str]


MINING: Final = (
    Right(privilege="LOGMINING", purpose="mine the redo", of_origin=True),
    Right(privilege="SELECT ANY TRANSACTION", purpose="read what was mined", of_origin=True),
)
RIGHTS: Final = (
    *MINING,
    Right(
        privilege="CREATE TABLE", purpose="keep the bookkeeping", of_origin=True, of_receiver=True
    ),
    Right(
        privilege="CREATE ANY TRIGGER", purpose="make the fence", of_origin=True, of_receiver=True
    ),
    Right(
        privilege="SELECT ANY SEQUENCE",
        purpose="see all sequences, which must go on behind the values that were given out",
        of_origin=True,
        of_receiver=True,
    ),
    Right(privilege="ALTER ANY SEQUENCE", purpose="raise sequences", of_receiver=True),
    Right(
        privilege="ALTER ANY TRIGGER",
        purpose="disable the application's triggers while rows come back",
        of_receiver=True,
    ),
)
_ON_A_TABLE: Final = frozenset(("SELECT", "INSERT", "UPDATE", "DELETE", "ALTER", "FLASHBACK"))
TABLE_RIGHTS: Final = (
    TableRight(
        privilege="SELECT ANY TABLE",
        verbs=frozenset(("SELECT", "READ")),
        purpose="read",
        of_origin=True,
        of_receiver=True,
    ),
    TableRight(
        privilege="FLASHBACK ANY TABLE",
        verbs=frozenset(("FLASHBACK",)),
        purpose="read as of an SCN",
        of_origin=True,
        of_receiver=True,
    ),
    TableRight(
        privilege="ALTER ANY TABLE",
        verbs=frozenset(("ALTER",)),
        purpose="log all columns of, and switch constraints of,",
        of_origin=True,
        of_receiver=True,
    ),
    TableRight(
        privilege="LOCK ANY TABLE",
        verbs=_ON_A_TABLE - {"FLASHBACK"},
        purpose="fence",
        of_origin=True,
        of_receiver=True,
    ),
    *(
        TableRight(
            privilege=f"{verb} ANY TABLE",
            verbs=frozenset((verb,)),
            purpose=f"{verb.lower()} what comes back in",
            of_receiver=True,
        )
        for verb in ("INSERT", "UPDATE", "DELETE")
    ),
)

CAPTURE_VIEWS: Final = (
    "V$DATABASE",
    "V$LOG",
    "V$LOGFILE",
    "V$ARCHIVED_LOG",
    "V$ARCHIVE_DEST_STATUS",
    "V$THREAD",
    "GV$TRANSACTION",
    "V$LOGMNR_CONTENTS",
)
FENCE_VIEWS: Final = ("GV$SESSION", "GV$TRANSACTION", "GV$LOCKED_OBJECT", "DBA_2PC_PENDING")
#: Without them tables are copied in one chunk each.
COPY_VIEWS: Final = ("DBA_EXTENTS",)

#: A view that may not be read is one that does not exist. V$LOGMNR_CONTENTS is read in a session of LogMiner alone.
_REFUSED: Final = frozenset(("ORA-00942", "ORA-01031"))
_NO_LOGMINER_SESSION: Final = frozenset(("ORA-01306", "ORA-01307"))
#: The block names a package that its user may not run (PLS-00201), or the package says so itself.
_PACKAGE_REFUSED: Final = frozenset(("ORA-06550", "ORA-01031"))
_TRY_LOGMINER: Final = "begin dbms_logmnr.end_logmnr; end;"

TABLE_PRIVILEGES: Final = """
select p.table_schema as owner, p.table_name, p.privilege from all_tab_privs p
where (p.grantee in (user, 'PUBLIC') or p.grantee in (select r.role from session_roles r))
  and p.table_schema in ({owners})"""
#: Foreign keys of tables that are not selected, to those that are: they are disabled too while rows come back.
REFERRING: Final = """
select p.owner, p.table_name, c.owner as child_owner, c.table_name as child_name
from dba_constraints c
join dba_constraints p on p.owner = c.r_owner and p.constraint_name = c.r_constraint_name
where c.constraint_type = 'R' and c.status = 'ENABLED' and p.owner in ({owners})"""
MAY_ALTER: Final = """
select count(*) from all_tab_privs p
where (p.grantee in (user, 'PUBLIC') or p.grantee in (select r.role from session_roles r))
  and p.privilege = 'ALTER' and p.table_schema = :owner and p.table_name = :name"""
QUOTA: Final = """
select count(*) from user_ts_quotas q, user_users u
where q.tablespace_name = u.default_tablespace and (q.max_bytes = -1 or q.max_bytes > q.bytes)"""
RDS_KILL: Final = """
select count(*) from all_objects o where o.owner = 'RDSADMIN' and o.object_name = 'RDSADMIN_UTIL'"""


def system_privileges(look: Look) -> Iterator[Finding]:
    for right in RIGHTS:
        if right.is_needed(look) and right.privilege not in look.privileges:
            yield look.error(
                "NotPermitted",
                f"user {look.user} lacks {right.privilege}, to {right.purpose}",
                GRANTS,
                about=right.privilege,
            )
    if "ALTER SYSTEM" not in look.privileges and not look.value(RDS_KILL):
        yield look.warning(
            "CannotEndSessions",
            f"user {look.user} may not end sessions (ALTER SYSTEM): a writer that stays open can stop a cutover",
            GRANTS,
            about="ALTER SYSTEM",
        )


def views(look: Look) -> Iterator[Finding]:
    wanted = dict.fromkeys((*(CAPTURE_VIEWS if look.is_origin else ()), *FENCE_VIEWS))
    for view in refused(look, wanted):
        yield look.error(
            "NotPermitted", f"user {look.user} may not read {view}", GRANTS, about=view
        )
    for view in refused(look, COPY_VIEWS) if look.is_source else ():
        yield look.note(
            "WholeTables",
            f"user {look.user} may not read {view}: tables without a numeric key are copied in one chunk each",
            GRANTS,
            about=view,
        )


def refused(look: Look, names: Iterable[str]) -> Iterator[str]:
    """Those of some views that may not be read."""
    for name in names:
        try:
            look.rows(f"select 1 as one from {name} where 1 = 0")
        except oracledb.Error as error:
            if code_of(error) in _REFUSED:
                yield name
            elif code_of(error) not in _NO_LOGMINER_SESSION:
                raise


def log_miner(look: Look) -> Iterator[Finding]:
    """Ask its package to end the session that there is not: it does nothing, and says whether it may be asked."""
    if not look.is_origin:
        return
    try:
        with look.db.cursor() as cursor:
            cursor.execute(_TRY_LOGMINER)
    except oracledb.Error as error:
        if code_of(error) in _PACKAGE_REFUSED:
            yield look.error(
                "NotPermitted",
                f"user {look.user} may not run DBMS_LOGMNR",
                GRANTS,
                about="DBMS_LOGMNR",
            )
        elif code_of(error) not in _NO_LOGMINER_SESSION:
            raise


def room(look: Look) -> Iterator[Finding]:
    if "UNLIMITED TABLESPACE" in look.privileges or look.value(QUOTA):
        return
    yield look.error(
        "NoQuota",
        f"user {look.user} has no room left in its default tablespace, for the bookkeeping",
        f"alter user {quote(look.user)} quota 100M on its default tablespace",
    )


def table_privileges(look: Look) -> Iterator[Finding]:
    held: defaultdict[Place, set[str]] = defaultdict(set)
    for table, row in look.of_selected(TABLE_PRIVILEGES):
        held[table.owner, table.name].add(row["PRIVILEGE"])
    for right in TABLE_RIGHTS:
        if not right.is_needed(look) or right.privilege in look.privileges:
            continue
        lacking = [
            one
            for one in look.tables
            if one.owner != look.user and not right.verbs & held[one.owner, one.name]
        ]
        if lacking:
            yield look.error(
                "NotPermitted",
                f"user {look.user} may not {right.purpose} {len(lacking)} selected tables,"
                f" for want of {right.privilege}: {listed(lacking)}",
                f"{GRANTS}; or grant {sorted(right.verbs)[0].lower()} on each to {quote(look.user)}",
                about=right.privilege,
            )


def referring_tables(look: Look) -> Iterator[Finding]:
    if not look.is_receiver or "ALTER ANY TABLE" in look.privileges:
        return
    children = {(row["CHILD_OWNER"], row["CHILD_NAME"]) for _, row in look.of_selected(REFERRING)}
    for owner, name in sorted(children - look.by_place.keys()):
        if owner != look.user and not look.value(MAY_ALTER, owner=owner, name=name):
            yield look.error(
                "NotPermitted",
                f"user {look.user} may not disable the foreign keys of {owner}.{name}, which refer to selected tables,"
                " while rows come back",
                f"grant alter on {quote(owner, name)} to {quote(look.user)}",
                about=f"{owner}.{name}",
            )


def own_tables(look: Look) -> Iterator[Finding]:
    if own := [one for one in look.tables if one.owner == look.user]:
        yield look.acceptable(
            "OwnerMigrates",
            f"user {look.user} owns {len(own)} selected tables, and the fence lets it pass: if the application writes"
            f" as that user, both sides take its writes; {listed(own)}",
            "give the migration a user of its own; or, where nobody else logs on as that one",
        )


SERVER_CHECKS = (system_privileges, views, log_miner, room)
TABLE_CHECKS = (table_privileges, referring_tables, own_tables)
