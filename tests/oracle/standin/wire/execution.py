"""Executing and fetching: from an EXECUTE to calls of the backend, and from its results to a reply."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from oracle.standin.backend import Backend, OraError, Result, Value
from oracle.standin.wire.buffers import Reader
from oracle.standin.wire.codes import COMMIT_REEXECUTE, Message, Option
from oracle.standin.wire.cursors import Cursor, Cursors
from oracle.standin.wire.faults import Call
from oracle.standin.wire.packets import Interrupts
from oracle.standin.wire.replies import CANCELLED, NO_DATA_FOUND, Outcome, Reply, cancelled
from oracle.standin.wire.requests import Execute, read_execute, read_rows
from oracle.standin.wire.statements import Sort, read_statement
from oracle.standin.wire.values import LOB_KINDS, Codec, WriteValue
from oracle.standin.wire.zones import zone_minutes, zone_set_by

# Between rows and executions the line is looked at this often, in seconds: each time would cost a system call.
_LOOK_EVERY = 0.01


@dataclass(slots=True)
class Run:
    """What the executions of one request came to."""

    results: list[Result] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    failed: list[tuple[int, OraError]] = field(default_factory=list)
    error: OraError | None = None


class Executions:
    """What happens to the cursors of one session."""

    def __init__(
        self,
        backend: Backend,
        codec: Codec,
        interrupts: Interrupts,
        begin: Callable[[Call, str], None],
        *,
        field_version: int,
        max_string: int,
    ) -> None:
        """`begin` is told of each call when it has been read and nothing is done yet."""
        self._backend = backend
        self._codec = codec
        self._interrupts = interrupts
        self._begin = begin
        self._field_version = field_version
        self._max_string = max_string
        self._cursors = Cursors()
        self._looked = 0.0

    # The calls

    def execute(self, reader: Reader, reply: Reply) -> Outcome:
        request = read_execute(reader, self._field_version)
        if request.cursor:
            cursor = self._cursors.find(request.cursor)
            if request.sql is not None:  # DDL comes with its text each time
                cursor.statement = read_statement(request.sql)
            return self._execute(cursor, request, reader, reply)
        cursor = self._cursors.open(request.sql or "")
        try:
            return self._execute(cursor, request, reader, reply)
        except OraError:
            # The client has not learnt its number, and would never close it.
            self._cursors.close(cursor.number)
            raise

    def reexecute(self, reader: Reader, reply: Reply, *, fetch: bool) -> Outcome:
        number, count = reader.varint(), reader.varint()
        reader.varint()
        commit = bool(reader.varint() & COMMIT_REEXECUTE)
        cursor = self._cursors.find(number)
        values = self._read_values(reader, cursor, 1 if cursor.statement.is_query else count)
        self._begin(Call.EXECUTE, cursor.statement.text)
        if not cursor.statement.is_query:
            run = self._run(cursor, values, tolerant=False)
            return self._finish(cursor, run, reply, commit=commit, counts=False)
        self._query(cursor, values[0], commit=commit)
        return self._rows(cursor, count, reply) if fetch else Outcome(number)

    def fetch(self, reader: Reader, reply: Reply) -> Outcome:
        number, count = reader.varint(), reader.varint()
        cursor = self._cursors.find(number)
        self._begin(Call.FETCH, cursor.statement.text)
        return self._rows(cursor, count, reply)

    def close(self, number: int) -> None:
        self._cursors.close(number)

    # Executing

    def _execute(self, cursor: Cursor, request: Execute, reader: Reader, reply: Reply) -> Outcome:
        if Option.DEFINE in request.options:
            return self._fetch_defined(cursor, request, reply)
        if Option.EXECUTE not in request.options:
            return self._describe(cursor, reply)
        cursor.bind(request.binds, self._max_string)
        is_query = cursor.statement.is_query
        values = self._read_values(reader, cursor, 1 if is_query else request.executions)
        self._begin(Call.EXECUTE, cursor.statement.text)
        commit = Option.COMMIT in request.options
        if is_query:
            self._query(cursor, values[0], commit=commit)
            reply.described(cursor.columns)
            # Of LOBs the client first says in what form it wants them.
            has_lobs = any(column.kind in LOB_KINDS for column in cursor.columns)
            wants_rows = Option.FETCH in request.options and not has_lobs
            return self._rows(cursor, request.rows, reply) if wants_rows else Outcome(cursor.number)
        run = self._run(cursor, values, tolerant=Option.BATCH_ERRORS in request.options)
        return self._finish(cursor, run, reply, commit=commit, counts=request.wants_row_counts)

    def _read_values(self, reader: Reader, cursor: Cursor, count: int) -> list[list[Value]]:
        longest, shapes = cursor.longest, cursor.sent
        rows = read_rows(reader, shapes, count, longs_after=longest, codec=self._codec)
        return rows or [[]] * count

    def _describe(self, cursor: Cursor, reply: Reply) -> Outcome:
        """Parse only. DDL and PL/SQL are looked at when they are executed."""
        cursor.columns = self._backend.describe(cursor.statement.text)
        if cursor.statement.is_query:
            reply.described(cursor.columns)
        return Outcome(cursor.number)

    def _query(self, cursor: Cursor, values: Sequence[Value], *, commit: bool) -> None:
        text = cursor.statement.text
        result = self._backend.execute(text, cursor.binds(values), values)
        if not cursor.expect(result.columns):
            # The client reads rows as they were described. This error makes it parse the statement again.
            self._cursors.close(cursor.number)
            raise OraError(1007, "variable not in select list")
        cursor.rows = iter(result.rows)
        cursor.writers = self._column_writers(cursor)
        if commit:
            self._backend.commit()

    def _run(self, cursor: Cursor, values: list[list[Value]], *, tolerant: bool) -> Run:
        """Execute once for each row of values. The first error ends it, unless such rows are only to be told."""
        run = Run()
        text = cursor.statement.text
        for place, row in enumerate(values):
            try:
                self._look()
                result = self._backend.execute(text, cursor.binds(row), row)
            except OraError as error:
                if not tolerant or error.code == CANCELLED:
                    run.error = _placed(error, place) if len(values) > 1 else error
                    break
                run.failed.append((place, error))
                result = Result()
            run.results.append(result)
            run.counts.append(result.rowcount)
        if cursor.statement.sort is Sort.DDL and run.error is None:
            zone = zone_set_by(text)
            self._codec.zone = self._codec.zone if zone is None else zone_minutes(zone)
        return run

    def _finish(
        self, cursor: Cursor, run: Run, reply: Reply, *, commit: bool, counts: bool
    ) -> Outcome:
        """Commit, and tell what the executions came to."""
        if commit and run.error is None and not run.failed:
            self._backend.commit()
        if run.error is None:
            self._give_back(cursor, run.results, reply)
        if counts:
            reply.row_counts(run.counts)
        return Outcome(cursor.number, sum(run.counts), run.error, run.failed)

    def _give_back(self, cursor: Cursor, results: Sequence[Result], reply: Reply) -> None:
        """Write what goes into the client's variables."""
        statement, returned = cursor.statement, cursor.statement.returned
        if returned:
            writers = [self._codec.bind_writer(shape) for shape in cursor.shapes[-returned:]]
            for result in results:
                reply.u8(Message.ROW_DATA)
                for place, write in enumerate(writers):
                    reply.varint(len(result.returned))
                    for row in result.returned:
                        write(reply, row[place])
        elif statement.sort is Sort.PLSQL and cursor.shapes:
            writers = [self._codec.bind_writer(shape) for shape in cursor.shapes]
            reply.directions(len(writers))
            for result in results:
                reply.u8(Message.ROW_DATA)
                for name, write in zip(statement.names, writers, strict=True):
                    write(reply, result.out.get(name))

    # Fetching

    def _fetch_defined(self, cursor: Cursor, request: Execute, reply: Reply) -> Outcome:
        """Take the forms in which the client wants the columns, for later executions too, and begin to fetch."""
        self._begin(Call.FETCH, cursor.statement.text)
        cursor.defines = request.defines
        cursor.writers = self._column_writers(cursor)
        if Option.FETCH in request.options:
            return self._rows(cursor, request.rows, reply)
        return Outcome(cursor.number)

    def _column_writers(self, cursor: Cursor) -> list[WriteValue]:
        writers = []
        for place, column in enumerate(cursor.columns):
            kind, is_national = column.kind, column.national
            # Only LOBs are sent in another form: the client converts all else by itself.
            if kind in LOB_KINDS and cursor.defines:
                define = cursor.defines[place]
                kind, is_national = define.kind, define.is_national
            writers.append(self._codec.column_writer(kind, is_national))
        return writers

    def _rows(self, cursor: Cursor, count: int, reply: Reply) -> Outcome:
        """Write so many rows; the end is told by an error that the client takes for it."""
        if cursor.rows is None:
            raise OraError(1002, "fetch out of sequence")
        reply.row_header(count)
        for _ in range(count):
            self._look()
            try:
                row = next(cursor.rows, None)
            except OraError:
                cursor.rows = None
                raise
            if row is None:
                end = OraError(NO_DATA_FOUND, "no data found")
                return Outcome(cursor.number, error=end)
            reply.u8(Message.ROW_DATA)
            for write, value in zip(cursor.writers, row, strict=True):
                write(reply, value)
        return Outcome(cursor.number)

    def _look(self) -> None:
        """Raise the error of an interrupted call; it is looked for only now and then."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        if self._interrupts.is_set():
            raise cancelled()


def _placed(error: OraError, place: int) -> OraError:
    """An array's error tells where in the array it was, not where in the statement."""
    return OraError(error.code, error.message, place)
