"""The line to one client: packets over a socket, and the exchange of markers that clears it.

An interrupt is a marker that comes while a call is at work, so it is looked for only when somebody asks: between rows
and executions by this layer, within a statement by an engine that takes long (see `Interrupts`).
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from oracle.standin.wire.codes import END_OF_FILE, Marker, PacketType

_HEADER = 8
_DATA_FLAGS = 2
_RECEIVE_BYTES = 65536
_NO_FLAGS = b"\0\0"

#: What a packet holds until both sides have agreed on more.
FIRST_PACKET_BYTES = 8192


class Closed(Exception):
    """The client is gone, or wants to be."""


class Abandoned(Exception):
    """The client has reset the line: it waits for an error now, and for no other reply."""


class Packet(NamedTuple):
    kind: int
    body: bytes

    @property
    def marker(self) -> int | None:
        return self.body[2] if self.kind == PacketType.MARKER else None


class Channel:
    """Sends and receives packets. All of it belongs to the session's thread, except `hang_up`."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._received = bytearray()
        self._held: deque[Packet] = deque()
        self._is_wide = False
        self._packet_bytes = FIRST_PACKET_BYTES
        self._is_interrupted = False
        self._awaits_reply = False
        self._is_at_end = False
        self._hung_up = threading.Event()

    def agree(self, packet_bytes: int) -> None:
        """From now on lengths have 32 bits, and packets are at most so long."""
        self._is_wide = True
        self._packet_bytes = packet_bytes

    # Sending

    def send(self, payload: bytes) -> None:
        """Send messages, over as many packets as they need."""
        room = self._packet_bytes - _HEADER - _DATA_FLAGS
        packets = [
            self._framed(PacketType.DATA, _NO_FLAGS + payload[at : at + room])
            for at in range(0, len(payload), room)
        ]
        self._awaits_reply = False
        self._socket.sendall(b"".join(packets))

    def send_packet(self, kind: PacketType, body: bytes) -> None:
        self._socket.sendall(self._framed(kind, body))

    def send_error(self, payload: bytes) -> None:
        """Break, hear the client's reset, reset, and send the error, as servers do.

        Whatever the client has sent till its reset is void, the rest of the failed request included. A client that
        has been through this with the same call skips further markers: it must not be asked again.
        """
        self._held.clear()
        if self._awaits_reply:
            self.send(payload)
            return
        self._mark(Marker.BREAK)
        while self.packet().marker != Marker.RESET:
            pass
        self.answer_reset(payload)

    def answer_reset(self, payload: bytes) -> None:
        self._is_interrupted = False
        self._mark(Marker.RESET)
        self.send(payload)

    def _mark(self, marker: Marker) -> None:
        self.send_packet(PacketType.MARKER, bytes([1, 0, marker]))

    def _framed(self, kind: PacketType, body: bytes) -> bytes:
        size = _HEADER + len(body)
        form, parts = (">IBBH", (size,)) if self._is_wide else (">HHBBH", (size, 0))
        return struct.pack(form, *parts, kind, 0, 0) + body

    # Receiving

    def receive(self, *, is_new: bool) -> bytes:
        """Wait for the payload of the next DATA packet; `is_new`: no call is being read or at work."""
        while True:
            if is_new and self._is_interrupted:
                self._break_late()
            packet = self._held.popleft() if self._held else self.packet()
            if packet.kind == PacketType.DATA:
                if packet.body[1] & END_OF_FILE or len(packet.body) == _DATA_FLAGS:
                    raise Closed
                return packet.body[_DATA_FLAGS:]
            if packet.marker == Marker.RESET:
                raise Abandoned
            # After a BREAK comes the client's RESET.
            self._is_interrupted |= packet.marker == Marker.INTERRUPT

    def _break_late(self) -> None:
        """Answer an interrupt that came when its call was over.

        A client that cancelled waits for this; one whose call had timed out has gone on, and its next request may be
        on its way already: it comes before the client's reset, and is served.
        """
        self._is_interrupted = False
        self._mark(Marker.BREAK)
        while (packet := self.packet()).marker != Marker.RESET:
            self._held.append(packet)
        if not self._held:
            raise Abandoned
        self._mark(Marker.RESET)
        self._awaits_reply = True

    def packet(self) -> Packet:
        """Wait for the next packet of whatever kind."""
        head = self._take(_HEADER)
        size = int.from_bytes(head[:4] if self._is_wide else head[:2])
        if size < _HEADER:
            raise Closed
        return Packet(head[4], self._take(size - _HEADER))

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            try:
                received = self._socket.recv(_RECEIVE_BYTES)
            except OSError as error:
                raise Closed from error
            if not received:
                raise Closed
            self._received += received
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    # Interrupts

    def is_interrupted(self, within: float = 0.0) -> bool:
        """Tell whether the client wants the call at work to end, or wait so many seconds for it to want so.

        A client that is gone interrupts nothing: the server finds out when the call is over, as Oracle does.
        """
        deadline = time.monotonic() + within
        while not self._is_interrupted and not self._is_at_end:
            left = max(0.0, deadline - time.monotonic())
            if not self._has_input(left):
                return False
            self._look()
        if not self._is_interrupted:
            self._hung_up.wait(max(0.0, deadline - time.monotonic()))
        return self._is_interrupted or self._hung_up.is_set()

    def _look(self) -> None:
        """Take in one packet: the interrupt, or something that is kept for later."""
        try:
            packet = self.packet()
        except Closed:
            self._is_at_end = True
            return
        if packet.marker == Marker.INTERRUPT:
            self._is_interrupted = True
        else:
            self._held.append(packet)

    def _has_input(self, within: float) -> bool:
        if self._received or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            return True
        return bool(self._poll.poll(within * 1000))

    def hang_up(self) -> None:
        """End the line from another thread: whoever reads finds it closed, whoever looks is interrupted."""
        self._hung_up.set()
        with suppress(OSError):  # the client may have been quicker
            # Not a TLS socket's own method, which takes the session's thread its cipher away in mid-read.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Interrupts:
    """What an engine may ask while a statement takes long: the questions of a threading.Event."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def is_set(self) -> bool:
        """Tell whether the client cancelled, its call timed out, or the server stops: OraError 1013 is the answer."""
        return self._channel.is_interrupted()

    def wait(self, timeout: float) -> bool:
        """Sleep for so many seconds, or until there is an interrupt; tell whether there is one."""
        return self._channel.is_interrupted(timeout)

    def clear(self) -> None:
        """Take note that the statement ends by it. Nothing is to be done: telling the client clears it."""
