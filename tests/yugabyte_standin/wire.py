"""Messages of PostgreSQL's protocol, version 3: read whole, written whole."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

_LENGTH = struct.Struct(">I")
SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
CANCEL_REQUEST = 80877102


@dataclass(slots=True)
class Message:
    kind: bytes
    body: bytes

    def bytes(self) -> bytes:
        return self.kind + _LENGTH.pack(len(self.body) + 4) + self.body


class Closed(Exception):
    """The other end is gone."""


class Peer:
    """One end of a relayed connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        # A message of an exchange must not wait for the other end's acknowledgement of the one before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in = sock.makefile("rb", buffering=1 << 16)

    def startup(self) -> bytes:
        """The first message of a client, which has no type."""
        (length,) = _LENGTH.unpack(self._read(4))
        return self._read(length - 4)

    def message(self) -> Message:
        head = self._read(5)
        (length,) = _LENGTH.unpack(head[1:])
        return Message(head[:1], self._read(length - 4))

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Closed from error

    def close(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _read(self, size: int) -> bytes:
        try:
            data = bytes(self._in.read(size))
        except (OSError, ValueError) as error:
            raise Closed from error
        if len(data) < size:
            raise Closed
        return data


def startup_bytes(body: bytes) -> bytes:
    return _LENGTH.pack(len(body) + 4) + body


def strings(body: bytes, at: int = 0) -> list[str]:
    """The NUL-terminated strings from there on."""
    return [text.decode(errors="replace") for text in body[at:].split(b"\0")]


def error(sqlstate: str, message: str) -> Message:
    fields = (("S", "ERROR"), ("V", "ERROR"), ("C", sqlstate), ("M", message))
    body = b"".join(key.encode() + text.encode() + b"\0" for key, text in fields) + b"\0"
    return Message(b"E", body)
