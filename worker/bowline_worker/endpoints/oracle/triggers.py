"""The fence's trigger on one table: its text, and how those that stand are told from the dictionary.

It stands in the schema of the migration's user. To whoever else writes it means: share the gate until the transaction
ends, then pass if the flag is down. A fence is raised while its raiser has the gate for itself, so that nobody passes
by a flag that is about to change. The flag is read in a transaction of its own, because a serializable one would see
it as it was at its own beginning. No row for the flag is a fence that is up.

What no trigger meets: TRUNCATE and other DDL, and loads by SQL*Loader's direct path, which turns triggers off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import oracledb

from bowline_worker.contract import Side
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.connection import quote
from bowline_worker.endpoints.oracle.dictionary import Records, records
from bowline_worker.endpoints.site import Site

PREFIX: Final = "BOWLINE_FENCE_"
#: Of the errors that are the application's own to use, the one that is least likely to be in use.
REFUSED: Final = 20999

BODY: Final = """declare
    function is_lowered return number is
        pragma autonomous_transaction;
        found number;
    begin
        select count(*) into found from {switch} s where s.migration = {migration} and s.raised = 0;
        return found;
    end;
begin
    if sys_context('USERENV', 'SESSION_USER') = {user} then
        return;
    end if;
    lock table {gate} in row share mode;
    if is_lowered() = 1 then
        return;
    end if;
    raise_application_error(-{refused}, {message});
end;"""
_MIGRATION: Final = re.compile(r"s\.migration = '((?:[^']|'')*)'")
_EVENTS: Final = frozenset(("INSERT", "UPDATE", "DELETE"))

TRIGGERS: Final = r"""
select t.owner, t.trigger_name, t.trigger_type, t.triggering_event, t.table_owner, t.table_name, t.when_clause,
       t.status, t.trigger_body
from all_triggers t where t.trigger_name like 'BOWLINE\_FENCE\_%' escape '\'
order by t.table_owner, t.table_name, t.owner, t.trigger_name"""
INVALID: Final = r"""
select o.owner, o.object_name from all_objects o
where o.object_type = 'TRIGGER' and o.status <> 'VALID' and o.object_name like 'BOWLINE\_FENCE\_%' escape '\'"""
USER: Final = "select user as name from dual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The trigger as a table must have it."""

    table: OracleTable
    owner: str  #: the migration's user
    body: str

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.table.table.identity}"

    @property
    def quoted(self) -> str:
        return quote(self.owner, self.name)

    def create(self, *, enabled: bool) -> str:
        return (
            f"create or replace trigger {self.quoted} before insert or update or delete"
            f" on {self.table.quoted} {'enable' if enabled else 'disable'}\n{self.body}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A fence trigger that is there, of any migration."""

    owner: str
    name: str
    table_owner: str
    table_name: str
    body: str
    enabled: bool
    valid: bool
    is_shaped: bool  #: before all three kinds of statements, on no condition

    @property
    def quoted(self) -> str:
        return quote(self.owner, self.name)

    @property
    def migration(self) -> str:
        """Empty where the text does not tell: it is not ours."""
        found = _MIGRATION.search(self.body)
        return found[1].replace("''", "'") if found else ""

    def fits(self, wanted: Wanted) -> bool:
        return (
            self.owner == wanted.owner
            and self.name == wanted.name
            and self.valid
            and self.is_shaped
            and _stripped(self.body) == wanted.body
        )


def own_user(connection: oracledb.Connection) -> str:
    (row,) = records(connection, USER)
    return str(row["NAME"])


def wanted_on(site: Site, user: str, tables: Sequence[OracleTable]) -> list[Wanted]:
    """The triggers that the tables must have."""
    there = site.config.target if site.side is Side.SOURCE else site.config.source
    found = []
    for table in tables:
        message = (
            f"bowline: {table.owner}.{table.name} does not accept writes: migration {site.migration}"
            " has fenced this database; the primary is now, or will soon be,"
            f" {there.host}:{there.port}/{there.database}: connect there"
        )
        body = BODY.format(
            switch=quote(user, "BOWLINE_SWITCH"),
            gate=quote(user, "BOWLINE_GATE"),
            migration=_literal(site.migration),
            user=_literal(user),
            refused=REFUSED,
            message=_literal(message),
        )
        found.append(Wanted(table=table, owner=user, body=body))
    return found


def standing(connection: oracledb.Connection) -> list[Standing]:
    """All fence triggers of the database, of any migration, by table."""
    invalid = {(row["OWNER"], row["OBJECT_NAME"]) for row in records(connection, INVALID)}
    return [
        Standing(
            owner=row["OWNER"],
            name=row["TRIGGER_NAME"],
            table_owner=row["TABLE_OWNER"],
            table_name=row["TABLE_NAME"],
            body=row["TRIGGER_BODY"] or "",
            enabled=row["STATUS"] == "ENABLED",
            valid=(row["OWNER"], row["TRIGGER_NAME"]) not in invalid,
            is_shaped=row["TRIGGER_TYPE"] == "BEFORE STATEMENT"
            and set(row["TRIGGERING_EVENT"].split()) - {"OR"} == _EVENTS
            and row["WHEN_CLAUSE"] is None,
        )
        for row in _triggers(connection)
    ]


def _triggers(connection: oracledb.Connection) -> Records:
    return [row for row in records(connection, TRIGGERS) if row["TABLE_NAME"] is not None]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _stripped(body: str) -> str:
    """What the dictionary keeps may end in blanks, or in a NUL."""
    return body.strip(" \t\r\n\0")
