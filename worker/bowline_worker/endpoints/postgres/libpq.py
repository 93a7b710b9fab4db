"""Wait for libpq outside of it: within, it would keep the interpreter's lock from all other threads."""

from __future__ import annotations

import select
from typing import NoReturn

from psycopg import errors, pq


def execute(pgconn: pq.abc.PGconn, statement: str, status: pq.ExecStatus) -> pq.abc.PGresult:
    """Send a statement and return its result; any other status than the wanted one is raised as an error."""
    pgconn.send_query(statement.encode())
    flush(pgconn)
    found = result(pgconn)
    if found is None or found.status != status:
        refuse(pgconn, found)
    return found


def query(pgconn: pq.abc.PGconn, statement: str) -> list[str]:
    """Send a statement; return the first row of what it answers."""
    found = execute(pgconn, statement, pq.ExecStatus.TUPLES_OK)
    while result(pgconn) is not None:
        pass
    return [(found.get_value(0, at) or b"").decode() for at in range(found.nfields)]


def refuse(pgconn: pq.abc.PGconn, failed: pq.abc.PGresult | None) -> NoReturn:
    """Raise what the server said, with the connection ready for the next statement."""
    while result(pgconn) is not None:
        pass
    if failed is None:
        raise errors.OperationalError("the server ended the statement without a word")
    raise errors.error_from_result(failed)


def result(pgconn: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """The next result of the statement; None at its end."""
    while pgconn.is_busy():
        wait(pgconn)
    return pgconn.get_result()


def wait(pgconn: pq.abc.PGconn) -> None:
    """Wait until the server has sent something, and take it in."""
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    poll.poll()
    pgconn.consume_input()


def flush(pgconn: pq.abc.PGconn) -> None:
    """Send what is buffered."""
    while pgconn.flush():
        poll = select.poll()
        poll.register(pgconn.socket, select.POLLIN | select.POLLOUT)
        if poll.poll()[0][1] & select.POLLIN:
            # The server may wait for us to read before it reads more.
            pgconn.consume_input()
