"""Move COPY's rows past libpq, in large pieces: a call per row would cost more than one server's own work.

A COPY's rows are messages `d` in either direction, so what one server sends can be sent to the other as it came. That
needs a socket that carries the protocol itself: with encryption, libpq alone knows what a byte means.

When `take` begins, libpq has sent the COPY and has read nothing of the answer. It takes the messages H, d and c off the
socket, and leaves the rest: libpq sees a command that ends with its number of rows, or with an error.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import psycopg
from psycopg import pq

from bowline_worker.endpoints.postgres.catalog import Db
from bowline_worker.model import Table

LOOK_BYTES = 256 << 10

_COPY_OUT, _DATA, _DONE = b"Hdc"
#: Notices, parameters and notifications may come between rows. They are nobody's here.
_ASIDE = b"NSA"
_HEADER = 5
_length = struct.Struct(">I").unpack_from

#: A header that came in two parts: the second one is on its way.
HEADER_SECONDS = 0.0005

ENCRYPTED = b"""
select coalesce((select encrypted from pg_stat_gssapi where pid = pg_backend_pid()), false)"""


@runtime_checkable
class Relaying(Protocol):
    """A reader of this engine's own tables."""

    def relay(self, table: Table, chunk: str, *, binary: bool) -> Iterator[bytes]:
        """As `Reader.read`, but what it yields may be `Framed`."""


class Framed(bytes):
    """Whole messages `d`, headers and all."""

    def rows(self) -> Iterator[memoryview]:
        """What is in them."""
        view, at = memoryview(self), 0
        while at < len(self):
            end = at + 1 + _length(self, at + 1)[0]
            yield view[at + _HEADER : end]
            at = end


def is_bare(connection: Db) -> bool:
    """Tell whether nothing is between the protocol and the socket. Asked outside of a COPY."""
    if connection.pgconn.ssl_in_use or connection.info.server_version < 120000:
        return False
    return connection.execute(ENCRYPTED).fetchone() == (False,)


@contextmanager
def _socket(pgconn: pq.abc.PGconn) -> Iterator[socket.socket]:
    """The connection's socket; closing ours leaves libpq's open."""
    with socket.socket(fileno=os.dup(pgconn.socket)) as peer:
        yield peer


def take(pgconn: pq.abc.PGconn) -> Iterator[Framed]:
    """Read the rows of a COPY TO STDOUT up to their end; what is not rows is left, or made, to libpq to tell."""
    with _socket(pgconn) as peer:
        poll = select.poll()
        poll.register(peer, select.POLLIN)
        view = memoryview(buffer := bytearray(LOOK_BYTES))
        while True:
            poll.poll()
            seen = peer.recv_into(view, LOOK_BYTES, socket.MSG_PEEK)
            begin, end = 0, _behind_rows(buffer, 0, seen)
            if end > seen:
                # The last message is there in part, and its length is known: no byte behind it is touched.
                peer.recv_into(view, seen)
                yield Framed(bytes(view[:seen]) + _exactly(peer, poll, end - seen))
                continue
            if end > begin:
                peer.recv_into(view, end)
                yield Framed(view[:end])
                continue
            if seen < _HEADER:
                if not seen:
                    return  # the end of the connection
                time.sleep(HEADER_SECONDS)
                continue
            if (kind := buffer[0]) not in (_COPY_OUT, _DONE) and kind not in _ASIDE:
                return
            _exactly(peer, poll, 1 + _length(buffer, 1)[0])
            if kind == _DONE:
                return


def _behind_rows(buffer: bytearray, at: int, seen: int) -> int:
    """The offset behind the rows that begin at `at`: beyond `seen` where the last one is there in part."""
    last = seen - _HEADER
    while at <= last and buffer[at] == _DATA:
        at += 1 + _length(buffer, at + 1)[0]
    return at


def _exactly(peer: socket.socket, poll: select.poll, size: int) -> bytearray:
    """So many bytes, or fewer where the connection ends: libpq will meet that end, too."""
    found = bytearray(size)
    rest = memoryview(found)
    while rest:
        poll.poll()
        if not (count := peer.recv_into(rest)):
            raise psycopg.OperationalError("the server ended the connection within a row")
        rest = rest[count:]
    return found


def give(pgconn: pq.abc.PGconn, framed: Framed) -> None:
    """Send rows into a COPY FROM STDIN. libpq must have nothing left to send."""
    with _socket(pgconn) as peer:
        poll = select.poll()
        poll.register(peer, select.POLLOUT)
        rest = memoryview(framed)
        while rest:
            try:
                rest = rest[peer.send(rest) :]
            except BlockingIOError:
                # A server that refused a row goes on reading: it throws away what comes until the end.
                poll.poll()
            except OSError as error:
                raise psycopg.OperationalError(
                    f"the connection is lost: {error.strerror}"
                ) from error
