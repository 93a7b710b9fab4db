"""What of the application's must not work while a stream is applied: Oracle has no role in which it would not.

Its triggers have fired already where the change was made, its foreign keys are checked there and the lanes' order is
not theirs, and its identity columns take no values from others. They are disabled for everybody, not for a session:
each is noted with what it was, before it is changed, and put back from the notes when applications are to write here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import oracledb

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import FencedOut, TryAgain, Verdict
from bowline_worker.endpoints.oracle import made
from bowline_worker.endpoints.oracle.altering import Altering
from bowline_worker.endpoints.oracle.catalog import read_tables
from bowline_worker.endpoints.oracle.connection import quote, translated
from bowline_worker.endpoints.oracle.dictionary import Place, of_owners, records
from bowline_worker.endpoints.oracle.tables import durably, missing
from bowline_worker.endpoints.oracle.triggers import PREFIX
from bowline_worker.endpoints.site import Site


class Kind(StrEnum):
    """Of the notes. Their names are the quoted names of the objects."""

    TRIGGER = "app-trigger"
    FOREIGN_KEY = "foreign-key"  #: `before`: VALIDATED, or NOT VALIDATED
    IDENTITY = "identity"
    VALIDATE = (
        "fk-validate"  #: a foreign key that is enabled again, and is to be validated at the end
    )


VALIDATED: Final = "VALIDATED"

#: The fence's own are BOWLINE_FENCE_ and a number, whoever's migration it is.
_FENCE: Final = re.compile(rf"{PREFIX}\d+")
_NAMED: Final = re.compile(r'"([^"]*)"')

READ_VERDICT: Final = """
select s.verdict from bowline_switch s where s.migration = :migration for update wait 30"""
LIVE_LANES: Final = """
select l.lane from bowline_lane l where l.migration = :migration and l.generation > 0"""
TRIGGERS: Final = """
select t.owner, t.trigger_name, t.table_owner, t.table_name, t.status from all_triggers t
where t.table_owner in ({owners})
order by t.owner, t.trigger_name"""
#: Of others' tables too, where they refer to selected ones: a row that is deleted there may be theirs to miss.
FOREIGN_KEYS: Final = """
select c.owner, c.table_name, c.constraint_name, c.status, c.validated, p.owner as parent_owner,
       p.table_name as parent_name
from all_constraints c
join all_constraints p on p.owner = c.r_owner and p.constraint_name = c.r_constraint_name
where c.constraint_type = 'R' and (c.owner in ({owners}) or c.r_owner in ({owners}))
order by c.owner, c.constraint_name"""
#: Rows of these tables are placed by the foreign key: it can't be disabled.
BY_REFERENCE: Final = """
select p.owner, p.ref_ptn_constraint_name as name from all_part_tables p
where p.partitioning_type = 'REFERENCE' and p.owner in ({owners})"""
IDENTITIES: Final = """
select i.owner, i.table_name, i.column_name, i.generation_type from all_tab_identity_cols i
where i.owner in ({owners})
order by i.owner, i.table_name"""

_NO_TRIGGER: Final = frozenset(("ORA-04080",))
#: The table is gone; the constraint is; the column is, or is no identity any more.
_NO_CONSTRAINT: Final = frozenset(("ORA-00942", "ORA-02431", "ORA-02430"))
_NO_IDENTITY: Final = frozenset(("ORA-00942", "ORA-00904", "ORA-30673"))


@dataclass(frozen=True, slots=True)
class Switch:
    """Something to disable: its note, and the statement."""

    thing: MadeObject
    statement: str
    what: str


def disable(site: Site) -> None:
    """Disable what fires or checks on selected tables: once, before the first row is applied in a session.

    TryAgain while a switch away from this database is armed, FencedOut where no lane may apply here any more: what
    applications need would be taken from them. Killed anywhere and run again it goes on. DDL waits for those who write:
    at this time that is nobody.
    """
    with (
        translated(site, "could not disable the application's triggers and constraints"),
        closing(durably(site)) as connection,
    ):
        # Held to the end, so that no switch is armed meanwhile, nothing is restored (which is done with
        # this row locked, and after the lanes have ended), and no other lane does the same.
        found = made.rows(connection, READ_VERDICT, migration=site.migration)
        if not found:
            raise missing(site)
        if found[0]["verdict"] == Verdict.ARMED:
            raise TryAgain(
                f"{site.side} at {site.place}: a switch is under way: nothing is applied here now",
                reason="SwitchUnderWay",
            )
        if not made.rows(connection, LIVE_LANES, migration=site.migration):
            raise FencedOut(f"{site.side} at {site.place}: the lanes into this database have ended")
        tables = read_tables(connection, site.config.include, site.config.exclude)
        if wanted := list(_enabled(connection, {(one.owner, one.name) for one in tables})):
            with Altering(site, under=connection) as ddl:
                for one in wanted:
                    ddl.note(one.thing)
                    ddl.run(one.statement, one.what)
        connection.rollback()


def restore(site: Site, connection: oracledb.Connection) -> None:
    """Put back what was disabled, and nothing else; each note goes after its object is as it was.

    The DDL is in a session of its own: it holds whether or not the transaction of `connection` commits. A foreign key
    is enabled for new rows only: `validate.py` looks at the old ones, at the end. What is not there any more, or was
    enabled by somebody else, is passed by.
    """
    notes = [thing for thing in made.read(connection, site) if thing.kind in set(Kind)]
    if not any(thing.kind != Kind.VALIDATE for thing in notes):
        return
    with (
        translated(site, "could not enable the application's triggers and constraints"),
        Altering(site, under=connection) as ddl,
    ):
        for thing in notes:
            match thing.kind:
                case Kind.TRIGGER:
                    _restore_trigger(ddl, thing)
                case Kind.FOREIGN_KEY:
                    _restore_foreign_key(ddl, thing)
                case Kind.IDENTITY:
                    _restore_identity(ddl, thing)


def names_in(quoted: str) -> list[str]:
    """The parts of a quoted name."""
    return _NAMED.findall(quoted)


def is_enabled(connection: oracledb.Connection, selected: set[Place]) -> bool:
    """Tell whether something of these tables would fire or check now: made, or enabled by somebody, since `disable`."""
    return any(_enabled(connection, selected))


def _enabled(connection: oracledb.Connection, selected: set[Place]) -> Iterator[Switch]:
    owners = sorted({owner for owner, _ in selected})
    yield from _triggers(connection, owners, selected)
    yield from _foreign_keys(connection, owners, selected)
    for row in of_owners(connection, IDENTITIES, owners):
        owner, table, column = row["OWNER"], row["TABLE_NAME"], row["COLUMN_NAME"]
        if (owner, table) in selected and row["GENERATION_TYPE"] == "ALWAYS":
            yield Switch(
                MadeObject(kind=Kind.IDENTITY, name=quote(owner, table, column), before="ALWAYS"),
                f"alter table {quote(owner, table)} modify {quote(column)} generated by default as identity",
                f"could not let column {column} of {owner}.{table} take values",
            )


def _triggers(
    connection: oracledb.Connection, owners: list[str], selected: set[Place]
) -> Iterator[Switch]:
    for row in of_owners(connection, TRIGGERS, owners):
        owner, name = row["OWNER"], row["TRIGGER_NAME"]
        if (
            (row["TABLE_OWNER"], row["TABLE_NAME"]) in selected
            and row["STATUS"] == "ENABLED"
            and not _FENCE.fullmatch(name)
        ):
            yield Switch(
                MadeObject(kind=Kind.TRIGGER, name=quote(owner, name), before="ENABLED"),
                f"alter trigger {quote(owner, name)} disable",
                f"could not disable trigger {owner}.{name}",
            )


def _foreign_keys(
    connection: oracledb.Connection, owners: list[str], selected: set[Place]
) -> Iterator[Switch]:
    placing = {(row["OWNER"], row["NAME"]) for row in of_owners(connection, BY_REFERENCE, owners)}
    for row in of_owners(connection, FOREIGN_KEYS, owners):
        owner, name, table = row["OWNER"], row["CONSTRAINT_NAME"], row["TABLE_NAME"]
        ends = {(owner, table), (row["PARENT_OWNER"], row["PARENT_NAME"])}
        if not ends & selected or row["STATUS"] != "ENABLED" or (owner, name) in placing:
            continue
        yield Switch(
            MadeObject(kind=Kind.FOREIGN_KEY, name=quote(owner, name), before=row["VALIDATED"]),
            f"alter table {quote(owner, table)} disable constraint {quote(name)}",
            f"could not disable foreign key {name} of {owner}.{table}",
        )


def _restore_trigger(ddl: Altering, thing: MadeObject) -> None:
    what = f"could not enable trigger {thing.name}"
    ddl.run(f"alter trigger {thing.name} enable", what, done=_NO_TRIGGER)
    ddl.forget(thing.kind, thing.name)


def _restore_foreign_key(ddl: Altering, thing: MadeObject) -> None:
    row = constraint(ddl.connection, thing.name)
    if row is not None and row["STATUS"] == "DISABLED":
        if thing.before == VALIDATED:
            ddl.note(MadeObject(kind=Kind.VALIDATE, name=thing.name, before=thing.before))
        table, (_, name) = quote(row["OWNER"], row["TABLE_NAME"]), names_in(thing.name)
        ddl.run(
            f"alter table {table} enable novalidate constraint {quote(name)}",
            f"could not enable foreign key {name} of {row['OWNER']}.{row['TABLE_NAME']}",
            done=_NO_CONSTRAINT,
        )
    ddl.forget(thing.kind, thing.name)


def _restore_identity(ddl: Altering, thing: MadeObject) -> None:
    owner, table, column = names_in(thing.name)
    found = records(
        ddl.connection,
        "select i.generation_type from all_tab_identity_cols i"
        " where i.owner = :owner and i.table_name = :name and i.column_name = :col",
        {"owner": owner, "name": table, "col": column},
    )
    if found and found[0]["GENERATION_TYPE"] == "BY DEFAULT":
        # No START WITH LIMIT VALUE: sequences were raised before this, to values that no row has
        # yet but that were given out, and it would take this one back to the rows.
        ddl.run(
            f"alter table {quote(owner, table)} modify {quote(column)} generated always as identity",
            f"could not make column {column} of {owner}.{table} always generated again",
            done=_NO_IDENTITY,
        )
    ddl.forget(thing.kind, thing.name)


def constraint(connection: oracledb.Connection, quoted: str) -> dict[str, Any] | None:
    """What the dictionary says of a foreign key by its quoted name; None: it is not there."""
    owner, name = names_in(quoted)
    found = records(
        connection,
        "select c.owner, c.table_name, c.constraint_name, c.status, c.validated, c.r_owner, c.r_constraint_name"
        " from all_constraints c"
        " where c.constraint_type = 'R' and c.owner = :owner and c.constraint_name = :name",
        {"owner": owner, "name": name},
    )
    return found[0] if found else None
