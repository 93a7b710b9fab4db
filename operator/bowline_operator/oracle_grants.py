"""The SQL that makes, and removes, a migration's user in an Oracle database: what it needs and nothing more.

A text for SQL*Plus or SQLcl. Tests run it, and compare it with what the assessment checks.
"""

from __future__ import annotations

import re

from bowline_operator.grants import UNKNOWN_DATABASE
from bowline_worker.contract import BadConfig, Side

#: Where redo is mined: for a common user in the root too. Of LogMiner, and the dictionary with its V$ views.
CAPTURE = ("CREATE SESSION", "LOGMINING", "SELECT ANY TRANSACTION")
ROLE = "SELECT_CATALOG_ROLE"
ROOT = "SET CONTAINER"
#: Where the tables are: bookkeeping, fence, sequences. There are no such privileges on single objects.
DATABASE = (
    "CREATE TABLE",
    "CREATE ANY TRIGGER",
    "ALTER ANY TRIGGER",
    "SELECT ANY SEQUENCE",
    "ALTER ANY SEQUENCE",
)
#: On all tables of all schemas, where no owner was named; else on each of its tables.
ANY_TABLE = tuple(
    f"{verb} ANY TABLE"
    for verb in ("SELECT", "FLASHBACK", "ALTER", "LOCK", "INSERT", "UPDATE", "DELETE")
)
ON_TABLES = ("SELECT", "FLASHBACK", "ALTER", "INSERT", "UPDATE", "DELETE")
END_SESSIONS = "ALTER SYSTEM"

_COMMON = "C##"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_$#]*")
_TABLES_OF = """\
begin
    for each_table in (
        select t.table_name from dba_tables t
        where t.owner = '{owner}' and t.temporary = 'N' and t.nested = 'NO' and t.secondary = 'N' and t.dropped = 'NO'
          and (t.iot_type is null or t.iot_type = 'IOT')
          and not exists (select 1 from dba_external_tables e where e.owner = t.owner and e.table_name = t.table_name)
          and not exists (select 1 from dba_mviews m where m.owner = t.owner and m.container_name = t.table_name)
    ) loop
        execute immediate '{verb} {privileges} on {quoted_owner}."' || each_table.table_name || '" {to} {user}';
    end loop;
end;
/"""
_QUOTA = """\
declare
    place varchar2(128);
begin
    select u.default_tablespace into place from dba_users u where u.username = '{name}';
    execute immediate 'alter user {user} quota 100M on "' || place || '"';
end;
/"""


def oracle_grants_sql(
    side: Side,
    *,
    user: str = "bowline",
    owner: str | None = None,
    database: str | None = None,
    rds: bool = False,
    revoke: bool = False,
) -> str:
    """Write the text; `database` is the pluggable one, for a common user (C##...). BadConfig for the target's side.

    One user does both ways: it captures from here, and applies here what comes back.
    """
    if side is not Side.SOURCE:
        raise BadConfig(
            "Oracle can't be the target of a migration",
            hint="print the grants of --side source, with another engine's as the target",
        )
    grants = _Grants(_name(user), owner, database, rds=rds)
    return grants.revoked() if revoke else grants.granted()


class _Grants:
    def __init__(self, name: str, owner: str | None, database: str | None, *, rds: bool) -> None:
        self.name, self.user, self.rds = name, _quote(name), rds
        self.owner = None if owner is None else _name(owner)
        self.is_common = name.startswith(_COMMON)
        if self.is_common and rds:
            raise BadConfig(
                "RDS has no common users (C##...)",
                hint="make a user of the database that is migrated",
            )
        self.database = _name(database or UNKNOWN_DATABASE)

    @property
    def everywhere(self) -> str:
        return " container = all" if self.is_common else ""

    def granted(self) -> str:
        common = (ROOT,) if self.is_common else ()
        return "\n".join(
            [
                *self._head(),
                "-- The user is the migration's alone: the fence lets it pass.",
                f"accept bowline_password char prompt 'Password of {self.name}: ' hide",
                f'create user {self.user} identified by "&bowline_password"{self.everywhere};',
                "",
                "-- To mine the redo, and to read the dictionary and its V$ views.",
                f"grant {_listed((*CAPTURE, *common))}, {ROLE.lower()} to {self.user}{self.everywhere};",
                self._log_miner("grant"),
                *self._sees_containers(),
                *self._into_database(),
                "",
                "-- Bookkeeping, the fence's triggers, the application's triggers and sequences.",
                f"grant {_listed(DATABASE)} to {self.user};",
                _QUOTA.format(name=_literal(self.name), user=_literal(self.user)),
                "",
                *self._tables("grant"),
                "",
                "-- Sessions that hold up a fence longer than the grace are ended.",
                self._sessions("grant"),
                "",
                *self._settings(),
            ]
        )

    def revoked(self) -> str:
        return "\n".join(
            [
                *self._head(),
                "-- After the migration is Complete. A fence that stays, on the losing side, is made of this user's",
                "-- triggers: they refuse writes as long as the user is there, locked and without privileges.",
                f"alter user {self.user} account lock{self.everywhere};",
                *self._into_database(),
                f"revoke {_listed(DATABASE)} from {self.user};",
                *self._tables("revoke"),
                self._sessions("revoke"),
                *self._into_root(),
                f"revoke {_listed((*CAPTURE, *((ROOT,) if self.is_common else ())))}, {ROLE.lower()}"
                f" from {self.user}{self.everywhere};",
                self._log_miner("revoke"),
                "-- Where this side shall take writes again, or its fence is gone:",
                f"-- drop user {self.user} cascade;",
                "-- Supplemental logging stays; where nobody else needs it: alter database drop supplemental log data;",
                "",
            ]
        )

    def _head(self) -> list[str]:
        place = (
            f"container database, then in {_quote(self.database)}" if self.is_common else "database"
        )
        who = "the master user" if self.rds else "SYS, or another DBA"
        return [
            f"-- Oracle, the source: run in SQL*Plus or SQLcl as {who}, in the {place}",
            "",
            "whenever sqlerror exit failure",
            *self._into_root(),
        ]

    def _into_root(self) -> list[str]:
        return ["alter session set container = CDB$ROOT;"] if self.is_common else []

    def _into_database(self) -> list[str]:
        return [f"alter session set container = {_quote(self.database)};"] if self.is_common else []

    def _sees_containers(self) -> list[str]:
        if not self.is_common:
            return []
        return [
            "-- In the root it sees open transactions of the pluggable database by this alone.",
            f"alter user {self.user} set container_data = all container = current;",
        ]

    def _log_miner(self, verb: str) -> str:
        if self.rds:
            return (
                f"exec rdsadmin.rdsadmin_util.{verb}_sys_object"
                f"('DBMS_LOGMNR', '{_literal(self.name)}', 'EXECUTE')"
            )
        return f"{verb} execute on sys.dbms_logmnr {_to(verb)} {self.user}{self.everywhere};"

    def _tables(self, verb: str) -> list[str]:
        if self.owner is None:
            return [
                "-- Any table: with --owner SCHEMA, the tables of that schema alone.",
                f"{verb} {_listed(ANY_TABLE)} {_to(verb)} {self.user};",
            ]
        return [
            "-- The tables that the schema has now. Repeat it for each schema, and after a table was added.",
            _TABLES_OF.format(
                owner=_literal(self.owner),
                quoted_owner=_literal(_quote(self.owner)),
                verb=verb,
                to=_to(verb),
                privileges=_listed(ON_TABLES),
                user=_literal(self.user),
            ),
        ]

    def _sessions(self, verb: str) -> str:
        what = "execute on rdsadmin.rdsadmin_util" if self.rds else END_SESSIONS.lower()
        return f"{verb} {what} {_to(verb)} {self.user};"

    def _settings(self) -> list[str]:
        if self.rds:
            return [
                "-- Redo that tells rows. Automated backups must be on: with them the database archives its logs.",
                "exec rdsadmin.rdsadmin_util.alter_supplemental_logging('ADD')",
                "-- So long archived logs stay, which capture may need after it was away.",
                "exec rdsadmin.rdsadmin_util.set_configuration('archivelog retention hours', '24')",
                "-- Unless nothing is ever loaded by direct path: exec rdsadmin.rdsadmin_util.force_logging(true)",
                "",
            ]
        return [
            "-- Redo that tells rows. The database must archive its logs (alter database archivelog, while mounted).",
            "-- In a pluggable database: the container database must (CDB$ROOT).",
            *self._into_root(),
            "alter database add supplemental log data;",
            "-- Unless nothing is ever loaded by direct path: alter database force logging;",
            "",
        ]


def _listed(privileges: tuple[str, ...]) -> str:
    return ", ".join(privilege.lower() for privilege in privileges)


def _to(verb: str) -> str:
    return "to" if verb == "grant" else "from"


def _name(text: str) -> str:
    """A name as the dictionary has it: what would need no quotes is upper case there."""
    if '"' in text or not text:
        raise BadConfig(f"{text!r} is no name in Oracle")
    return text.upper() if _PLAIN.fullmatch(text) else text


def _quote(name: str) -> str:
    return f'"{name}"'


def _literal(text: str) -> str:
    """Write text inside quotes."""
    return text.replace("'", "''")
