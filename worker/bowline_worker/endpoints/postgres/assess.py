"""Assess: all that stands in the way on one side, and between the two. Reads only, and never stops at the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg

from bowline_worker.contract import BowlineError, Conflict, Engine, Finding, FoundSide, Severity
from bowline_worker.endpoints.base import Endpoint
from bowline_worker.endpoints.postgres import assess_server, assess_tables, slots
from bowline_worker.endpoints.postgres.catalog import Db, records
from bowline_worker.endpoints.postgres.connection import connect, one_line, translated
from bowline_worker.endpoints.postgres.looking import Look
from bowline_worker.endpoints.site import Site

FOUND = """
select s.attempt, s.verdict, s.opened, s.fenced,
       exists (select from bowline.mark m
               where m.migration = s.migration and m.mark = 'post-data') as snapshot_complete
from bowline.switch s where s.migration = %s"""


def assess(site: Site, other: Endpoint | None) -> list[Finding]:
    """List what stands in the way here; that the server can't be reached is a finding too."""
    try:
        with ExitStack() as stack:
            here = stack.enter_context(_reading(site))
            # The other side's own assessment tells if it can't be reached.
            there_site = getattr(other, "site", None)
            there = None
            if isinstance(there_site, Site) and there_site.connection.engine is not Engine.ORACLE:
                try:
                    there = stack.enter_context(_reading(there_site))
                except BowlineError:
                    there = None
            with translated(site, "could not assess"):
                return _check(Look(site, here, there))
    except Conflict:
        raise
    except BowlineError as error:
        return [
            Finding(
                severity=Severity.ERROR,
                reason=error.reason,
                side=site.side,
                message=str(error),
                remedy=error.hint,
            )
        ]


def _check(look: Look) -> list[Finding]:
    findings: list[Finding] = []
    for check in (*assess_server.CHECKS, *assess_tables.CHECKS):
        try:
            # A check that fails must not take the others with it.
            with look.db.transaction():
                findings += check(look)
        except psycopg.errors.InsufficientPrivilege as error:
            what = check.__name__.replace("_", " ")
            findings.append(
                look.error(
                    "NotPermitted",
                    f"could not check {what}: {one_line(error)}",
                    assess_server.GRANTS,
                )
            )
    return findings


@contextmanager
def _reading(site: Site) -> Iterator[Db]:
    """Open a transaction that can't change anything."""
    with connect(site, autocommit=False) as connection:
        connection.read_only = True
        yield connection
        connection.rollback()


def found(site: Site) -> FoundSide:
    """Tell what an earlier life of this migration left here."""
    with translated(site, "could not read the bookkeeping"), connect(site) as connection:
        look = Look(site, connection)
        rows = records(connection, FOUND, (site.migration,)) if look.has_begun else []
    numbers = slots.slots(site)
    return FoundSide(installed=True, slots=numbers, **rows[0]) if rows else FoundSide(slots=numbers)
