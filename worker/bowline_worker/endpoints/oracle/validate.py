"""Foreign keys that were disabled for a stream, and validated before: validated again at the end.

By then the stream has made the rows consistent. What the rows break stays as it is, enforced for new rows only.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import oracledb

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import BowlineError
from bowline_worker.endpoints.oracle import made
from bowline_worker.endpoints.oracle.altering import Altering
from bowline_worker.endpoints.oracle.connection import code_of, quote, translated
from bowline_worker.endpoints.oracle.dictionary import records
from bowline_worker.endpoints.oracle.disabling import VALIDATED, Kind, constraint, names_in
from bowline_worker.endpoints.site import Site

#: Rows that are named.
SHOWN: Final = 5
_PARENTS_MISSING: Final = "ORA-02298"
_GONE: Final = frozenset(("ORA-00942", "ORA-02430"))

COLUMNS: Final = """
select k.column_name from all_cons_columns k
where k.owner = :owner and k.constraint_name = :name order by k.position"""
KEY: Final = """
select k.column_name from all_constraints c
join all_cons_columns k on k.owner = c.owner and k.constraint_name = c.constraint_name
where c.owner = :owner and c.table_name = :name and c.constraint_type = 'P' order by k.position"""
PARENT: Final = """
select c.owner, c.table_name from all_constraints c
where c.owner = :owner and c.constraint_name = :name"""

log = logging.getLogger("bowline")


def validate(site: Site) -> list[str]:
    """Validate them one by one, while everybody writes; say which one the rows break, and which rows those are."""
    with translated(site, "could not validate foreign keys"), Altering(site) as ddl:
        notes = [thing for thing in made.read(ddl.connection, site) if thing.kind == Kind.VALIDATE]
        found = (_validate(site, ddl, thing) for thing in notes)
        return [left for left in found if left]


def _validate(site: Site, ddl: Altering, thing: MadeObject) -> str:
    """Validate one, and forget its note; what is told where it can't be."""
    row = constraint(ddl.connection, thing.name)
    if row is not None and row["STATUS"] == "ENABLED" and row["VALIDATED"] != VALIDATED:
        _, name = names_in(thing.name)
        table = quote(row["OWNER"], row["TABLE_NAME"])
        shown = f"foreign key {name} of {row['OWNER']}.{row['TABLE_NAME']}"
        statement = f"alter table {table} modify constraint {quote(name)} validate"
        try:
            ddl.run(statement, f"could not validate {shown}", done=_GONE)
        except BowlineError as error:
            cause = error.__cause__
            if not isinstance(cause, oracledb.Error) or code_of(cause) != _PARENTS_MISSING:
                raise
            return f"{site.side}: {shown} is NOVALIDATE: {_orphans(ddl.connection, row)}"
        log.info("foreign key validated", extra={"fields": {"constraint": thing.name}})
    ddl.forget(thing.kind, thing.name)
    return ""


def _orphans(connection: oracledb.Connection, row: dict[str, Any]) -> str:
    """How many rows have no parent, and which are the first."""
    own = _columns(connection, row["OWNER"], row["CONSTRAINT_NAME"])
    parents = _columns(connection, row["R_OWNER"], row["R_CONSTRAINT_NAME"])
    (parent,) = records(
        connection, PARENT, {"owner": row["R_OWNER"], "name": row["R_CONSTRAINT_NAME"]}
    )
    pairs = [
        (quote("c", mine), quote("p", theirs)) for mine, theirs in zip(own, parents, strict=True)
    ]
    whole = " and ".join(f"{mine} is not null" for mine, _ in pairs)
    same = " and ".join(f"{theirs} = {mine}" for mine, theirs in pairs)
    source = (
        f'from {quote(row["OWNER"], row["TABLE_NAME"])} "c" where {whole} and not exists'
        f' (select 1 from {quote(parent["OWNER"], parent["TABLE_NAME"])} "p" where {same})'
    )
    (counted,) = records(connection, f"select count(*) as found {source}")
    return f"{counted['FOUND']} rows have no parent, {_first(connection, row, source)}"


def _first(connection: oracledb.Connection, row: dict[str, Any], source: str) -> str:
    """The primary keys of the first rows, or their ROWIDs where there is none."""
    binds = {"owner": row["OWNER"], "name": row["TABLE_NAME"]}
    key = [found["COLUMN_NAME"] for found in records(connection, KEY, binds)]
    wanted = ", ".join(quote("c", name) for name in key) or 'rowidtochar("c".rowid) as "row id"'
    found = records(connection, f"select {wanted} {source} and rownum <= {SHOWN}")
    shown = (", ".join(f"{name} {value}" for name, value in one.items()) for one in found)
    return f"the first with {'; '.join(shown)}"


def _columns(connection: oracledb.Connection, owner: str, name: str) -> list[str]:
    found = records(connection, COLUMNS, {"owner": owner, "name": name})
    return [row["COLUMN_NAME"] for row in found]
