"""Proof that the migration's user may write rows: asked of the server before a switch rests on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import oracledb

from bowline_worker.contract import NotPermitted
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.connection import code_of, quote
from bowline_worker.endpoints.oracle.sessions import NOT_PERMITTED
from bowline_worker.endpoints.site import Site

_NOT_THERE: Final = "ORA-00942"
#: Tables that the message names.
_NAMED: Final = 3


def prove(site: Site, connection: oracledb.Connection, tables: Sequence[OracleTable]) -> None:
    """Parse, and not execute, an INSERT, an UPDATE and a DELETE of each table. NotPermitted names what is refused.

    Privileges are looked at when a statement is parsed, and triggers fire when it is executed. Other errors of a parse
    say nothing about privileges, and are passed by.
    """
    refused = [one for table in tables for one in _refused(connection, table)]
    if refused:
        shown = ", ".join(refused[:_NAMED])
        raise NotPermitted(
            f"{site.side} at {site.place}: rows could not be written back: {len(refused)} privileges are missing:"
            f" {shown}",
            hint="run the SQL of `bowline grants --engine oracle`",
        )


def _refused(connection: oracledb.Connection, table: OracleTable) -> Iterator[str]:
    for verb, statement in _statements(table):
        with connection.cursor() as cursor:
            try:
                cursor.parse(statement)
            except oracledb.DatabaseError as error:
                if code_of(error) in (NOT_PERMITTED, _NOT_THERE):
                    yield f"{verb} on {table.table.name}"


def _statements(table: OracleTable) -> Iterator[tuple[str, str]]:
    yield "delete", f"delete from {table.quoted} where 1 = 0"
    for column in list(table.columns)[:1]:
        yield "insert", f"insert into {table.quoted} ({quote(column)}) values (:1)"
        yield "update", f"update {table.quoted} set {quote(column)} = :1 where 1 = 0"
