"""Users and what they may do: a set of system privileges and roles, and grants on tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from oracle.standin.backend import OraError
from oracle.standin.engine.storage import Table

#: What SESSION_PRIVS shows of a DBA.
DBA_PRIVILEGES = (
    "ALTER ANY SEQUENCE",
    "ALTER ANY TABLE",
    "ALTER ANY TRIGGER",
    "ALTER DATABASE",
    "ALTER SESSION",
    "ALTER SYSTEM",
    "ALTER USER",
    "CREATE ANY INDEX",
    "CREATE ANY SEQUENCE",
    "CREATE ANY TABLE",
    "CREATE ANY TRIGGER",
    "CREATE SESSION",
    "CREATE SEQUENCE",
    "CREATE TABLE",
    "CREATE TRIGGER",
    "CREATE USER",
    "DELETE ANY TABLE",
    "DROP ANY TABLE",
    "DROP ANY TRIGGER",
    "DROP USER",
    "EXECUTE ANY PROCEDURE",
    "FLASHBACK ANY TABLE",
    "INSERT ANY TABLE",
    "LOCK ANY TABLE",
    "LOGMINING",
    "SELECT ANY DICTIONARY",
    "SELECT ANY SEQUENCE",
    "SELECT ANY TABLE",
    "SELECT ANY TRANSACTION",
    "SET CONTAINER",
    "UNLIMITED TABLESPACE",
    "UPDATE ANY TABLE",
)


@dataclass(slots=True)
class User:
    """A user, and what was granted."""

    name: str
    privileges: set[str] = field(default_factory=set)
    tables: set[tuple[str, str, str]] = field(default_factory=set)  #: privilege, owner, table
    password: str | None = None  #: None: nobody logs on so but by the server's own list
    locked: bool = False

    def has(self, privilege: str) -> bool:
        return "DBA" in self.privileges or privilege in self.privileges

    def without_roles(self) -> User:
        """What counts in a program that runs with its owner's rights."""
        direct = {one for one in self.privileges if one != "DBA" and not one.endswith("_ROLE")}
        return self if self.name == "SYS" else User(self.name, direct, self.tables)

    def on(self, privilege: str, owner: str, name: str) -> bool:
        if self.name == owner or self.has(f"{privilege} ANY TABLE"):
            return True
        granted = self.tables
        if privilege == "LOCK":  # any right on a table but that of reading alone
            verbs = ("SELECT", "INSERT", "UPDATE", "DELETE", "ALTER", "ALL")
            return any((verb, owner, name) in granted for verb in verbs)
        return (privilege, owner, name) in granted or ("ALL", owner, name) in granted

    @property
    def reads_dictionary(self) -> bool:
        return (
            self.has("SELECT ANY DICTIONARY")
            or "SELECT_CATALOG_ROLE" in self.privileges
            or self.name == "SYS"
        )


def require(rights: User, privilege: str, table: Table, at: int = 0) -> None:
    """ORA-01031 for a missing right on a table that can be seen, ORA-00942 on one that can't."""
    if rights.on(privilege, table.owner, table.name):
        return
    if sees(rights, table):
        raise OraError(1031, "insufficient privileges", at)
    raise OraError(942, "table or view does not exist", at)


def sees(rights: User, table: Table) -> bool:
    """Tell whether the ALL_ views show a table."""
    verbs = ("SELECT", "READ", "INSERT", "UPDATE", "DELETE", "ALTER")
    return any(rights.on(verb, table.owner, table.name) for verb in verbs)
