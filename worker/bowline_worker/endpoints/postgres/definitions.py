"""Runs one statement of a kept schema with its mark, and knows what may be left out where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors

from bowline_worker.contract import TryAgain, Unsupported
from bowline_worker.endpoints.base import Statement
from bowline_worker.endpoints.postgres.connection import one_line, translated
from bowline_worker.endpoints.site import Site

#: Index builds may meet in a deadlock with each other or with a reader; the loser tries again.
DEADLOCK_TRIES = 5

#: Left out where the target has no such role.
BY_ROLE = frozenset({"OWNER", "ACL", "DEFAULT ACL"})
#: Someone else's objects that are there already: what describes them may be beyond our rights.
SHARED = frozenset({"SCHEMA", "EXTENSION"})

EXISTS = (
    errors.DuplicateTable,
    errors.DuplicateObject,
    errors.DuplicateFunction,
    errors.DuplicateSchema,
)
#: Something that it needs is not there, or another version's words.
IMPOSSIBLE = (
    errors.UndefinedTable,
    errors.UndefinedObject,
    errors.UndefinedFunction,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
    errors.SyntaxError,
)


@dataclass(frozen=True, slots=True)
class Runner:
    """One session that runs statements; what it left out, it says."""

    site: Site
    connection: psycopg.Connection[Any]
    say: Callable[[str], None]

    def run(self, statement: Statement) -> None:
        """Run one statement with its mark; done by someone else meanwhile: nothing."""
        for attempt in range(1, DEADLOCK_TRIES + 1):
            try:
                with translated(self.site, f"{statement.kind} {statement.name}"):
                    self._once(statement)
            except TryAgain as error:
                deadlock = isinstance(error.__cause__, errors.DeadlockDetected)
                if attempt == DEADLOCK_TRIES or not deadlock:
                    raise
            else:
                return

    def _once(self, statement: Statement) -> None:
        key = [self.site.migration, statement.section, statement.ordinal]
        where = "where migration = %s and section = %s and ordinal = %s"
        try:
            with self.connection.transaction():
                row = self.connection.execute(
                    f"select done from bowline.statement {where} for update", key
                ).fetchone()
                if row is None or row[0]:
                    return
                self.connection.execute("set local check_function_bodies = off")
                self.connection.execute("set local row_security = off")
                self.connection.execute("set local xmloption = content")
                self.connection.execute("select set_config('search_path', '', true)")
                self._do(statement)
                self.connection.execute(f"update bowline.statement set done = true {where}", key)
        except EXISTS as error:
            raise Unsupported(
                f"the {self.site.side} has {statement.kind.lower()} {statement.name} already, and "
                f"not from this migration: {one_line(error)}",
                reason="ObjectExists",
                hint="drop it there if it is not needed, leave it out of spec.tables, or set "
                "spec.schema.mode: Existing if the schema was made by hand",
            ) from error
        except IMPOSSIBLE as error:
            raise Unsupported(
                f"{statement.kind.lower()} {statement.name} can't be made on the "
                f"{self.site.side}: {one_line(error)}",
                reason="SchemaNotSupported",
                hint="make what it needs on the target, or leave it out of spec.tables",
            ) from error

    def _do(self, statement: Statement) -> None:
        about = subject(statement)
        if statement.kind == "SCHEMA" and self._schema_exists(statement):
            return
        if statement.kind == "EXTENSION":
            self._extension(statement)
        elif statement.kind in BY_ROLE or about in SHARED:
            for line in _lines(statement):
                self._if_possible(statement, line, shared=about in SHARED)
        elif statement.kind == "FK CONSTRAINT":
            self._foreign_key(statement)
        else:
            self._execute(statement.sql)

    def _execute(self, text: str) -> None:
        self.connection.execute(text.encode())  # bytes: it is a script of ours, not a template

    def _schema_exists(self, statement: Statement) -> bool:
        found = self.connection.execute(
            "select 1 from pg_catalog.pg_namespace where %s = 'CREATE SCHEMA ' || "
            "pg_catalog.quote_ident(nspname) || ';'",
            [statement.sql],
        ).fetchone()
        return found is not None

    def _extension(self, statement: Statement) -> None:
        """Make it if it can be had; an object that needs it and fails says so by its own name."""
        found = self.connection.execute(
            "select 1 from pg_catalog.pg_extension where extname = %s", [statement.name]
        ).fetchone()
        if found is not None:
            return
        try:
            with self.connection.transaction():
                self._execute(statement.sql)
        except (
            errors.InsufficientPrivilege,
            errors.FeatureNotSupported,
            errors.UndefinedFile,
        ) as error:
            self.say(f"extension {statement.name} was not made: {one_line(error)}")

    def _if_possible(self, statement: Statement, line: str, *, shared: bool) -> None:
        """Run what names a role; where the role is not there, say so and leave it out."""
        try:
            with self.connection.transaction():
                self._execute(line)
        except errors.UndefinedObject as error:
            self.say(f"{statement.kind.lower()} of {statement.name} left out: {one_line(error)}")
        except errors.InsufficientPrivilege as error:
            if not shared:
                raise
            self.say(f"{statement.kind.lower()} of {statement.name} left out: {one_line(error)}")

    def _foreign_key(self, statement: Statement) -> None:
        """Make it; where tables were copied at different positions, without looking at the rows of now.

        Such rows become consistent as the stream is applied. The constraint holds for all writes from then on.
        """
        try:
            with self.connection.transaction():
                self._execute(statement.sql)
        except errors.ForeignKeyViolation:
            text = statement.sql.rstrip().removesuffix(";")
            self._execute(text if text.endswith(" NOT VALID") else f"{text} NOT VALID")
            self.say(
                f"foreign key {statement.name} was made NOT VALID, since its tables were copied at "
                "different positions: run `alter table ... validate constraint` after the cutover"
            )


def _lines(statement: Statement) -> list[str]:
    """An ACL is one statement a line, each for one role; all else is one statement."""
    if statement.kind not in ("ACL", "DEFAULT ACL"):
        return [statement.sql]
    return [line for line in statement.sql.splitlines() if line.strip()]


def subject(statement: Statement) -> str:
    """What an OWNER, ACL or COMMENT speaks of: the first word of a name like `SCHEMA shop`."""
    if statement.kind == "OWNER":
        return "SCHEMA" if statement.sql.startswith("ALTER SCHEMA ") else ""
    if statement.kind in ("ACL", "COMMENT"):
        return statement.name.split(" ")[0]
    return ""
