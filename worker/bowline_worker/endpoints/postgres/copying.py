"""Run COPY in large buffers: a call into psycopg's own COPY per row would cost a third of the speed."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from psycopg import errors, pq

from bowline_worker.endpoints.postgres.catalog import Db
from bowline_worker.endpoints.postgres.libpq import execute, flush, refuse, result, wait
from bowline_worker.endpoints.postgres.relay import Framed, give, is_bare, take

#: Larger ones gain nothing (measured), and each worker holds two.
BUFFER_BYTES = 256 << 10


def copy_out(connection: Db, statement: str) -> Generator[bytes, None, int]:
    """Run a COPY TO STDOUT and yield its data; returns the number of rows.

    Left before its end, it closes the connection: there is no other way to leave a COPY in a transaction.
    """
    pgconn = connection.pgconn
    is_done = True
    try:
        execute(pgconn, statement, pq.ExecStatus.COPY_OUT)
        is_done = False
        parts: list[memoryview] = []
        size = 0
        while (received := pgconn.get_copy_data(1))[0] >= 0:
            count, part = received
            if not count:
                wait(pgconn)
                continue
            parts.append(part)
            size += count
            if size >= BUFFER_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
        if parts:
            yield b"".join(parts)
        is_done = True
        return _finish(pgconn)
    finally:
        if not is_done:
            connection.close()


def relay_out(connection: Db, statement: str) -> Generator[bytes, None, int]:
    """As `copy_out`, but what it yields may be `Framed`, to be given to `copy_in` as it is."""
    if not is_bare(connection):
        return (yield from copy_out(connection, statement))
    pgconn = connection.pgconn
    is_done = False
    try:
        pgconn.send_query(statement.encode())
        flush(pgconn)
        yield from take(pgconn)
        is_done = True
        return _finish(pgconn)
    finally:
        if not is_done:
            connection.close()


def copy_in(connection: Db, statement: str, buffers: Iterable[bytes]) -> int:
    """Run a COPY FROM STDIN with that data; returns the number of rows.

    An error of whoever yields the data ends the COPY as failed, and is raised.
    """
    pgconn = connection.pgconn
    passes = is_bare(connection)
    execute(pgconn, statement, pq.ExecStatus.COPY_IN)
    try:
        for buffer in buffers:
            if not isinstance(buffer, Framed):
                pgconn.put_copy_data(buffer)
                flush(pgconn)
            elif passes:
                give(pgconn, buffer)
            else:
                pgconn.put_copy_data(b"".join(buffer.rows()))
                flush(pgconn)
    except errors.Error:
        raise  # this connection's own: nothing can be sent any more
    except BaseException:
        _end(pgconn, b"the origin's rows ended early")
        while result(pgconn) is not None:
            pass
        raise
    _end(pgconn, None)
    return _finish(pgconn)


def _end(pgconn: pq.abc.PGconn, error: bytes | None) -> None:
    pgconn.put_copy_end(error)
    flush(pgconn)


def _finish(pgconn: pq.abc.PGconn) -> int:
    """Read the command's end, and the number of rows that it tells."""
    end = result(pgconn)
    if end is None or end.status != pq.ExecStatus.COMMAND_OK:
        refuse(pgconn, end)
    rows = end.command_tuples
    while result(pgconn) is not None:
        pass
    return rows or 0
