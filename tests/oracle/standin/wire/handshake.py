"""How a connection begins: the client names a service, and the listener accepts or refuses."""

from __future__ import annotations

import re
import struct

from oracle.standin.wire.codes import PacketType
from oracle.standin.wire.packets import Channel, Closed
from oracle.standin.wire.settings import Settings

# 318 has 32-bit lengths and a word of capabilities, which stays 0: no fast logon, no marks at the ends of replies.
_VERSION = 318
_NO_CAPABILITIES = 0
# No native encryption or integrity; without this the client begins to negotiate them.
_NO_NETWORK_SERVICES = 0x04

_MOST_PACKET_BYTES = 65535
_LEAST_PACKET_BYTES = 512

# Places in the packets' bodies; the client counts offsets from the header, 8 bytes earlier.
_HEADER = 8
_TEXT_PLACE = slice(16, 20)
_LARGE_PACKET_PLACE = slice(50, 54)
_ACCEPT_TEXT_OFFSET = 41

_UNKNOWN_SERVICE, _UNKNOWN_SID = 12514, 12505


def agree_on_service(channel: Channel, settings: Settings) -> str:
    """Accept a connection and return its service's name, or refuse it and raise Closed."""
    packet = channel.packet()
    if packet.kind != PacketType.CONNECT:
        raise Closed
    text = _connect_text(channel, packet.body)
    wanted = _named("SERVICE_NAME", text)
    service = settings.service(wanted or _named("SID", text) or "")
    if service is None:
        _refuse(channel, _UNKNOWN_SID if wanted is None else _UNKNOWN_SERVICE)
        raise Closed
    size = int.from_bytes(packet.body[_LARGE_PACKET_PLACE])
    size = max(_LEAST_PACKET_BYTES, min(size, _MOST_PACKET_BYTES))
    _accept(channel, size)
    channel.agree(size)
    return service


def _connect_text(channel: Channel, body: bytes) -> str:
    """Read what the client asks for; a long text follows in a packet of its own."""
    size, offset = struct.unpack(">HH", body[_TEXT_PLACE])
    text = body[offset - _HEADER : offset - _HEADER + size]
    if len(text) < size:
        text = channel.packet().body[2 : 2 + size]
    return text.decode()


def _named(key: str, text: str) -> str | None:
    found = re.search(rf"\({key}\s*=\s*([^)\s]*)\s*\)", text, re.IGNORECASE)
    return found[1] if found else None


def _accept(channel: Channel, size: int) -> None:
    body = struct.pack(">HHHHH", _VERSION, 0, size, _MOST_PACKET_BYTES, 1)
    body += struct.pack(">HHBB", 0, _ACCEPT_TEXT_OFFSET, *[_NO_NETWORK_SERVICES] * 2)
    body += bytes(8) + struct.pack(">I", size)
    body += bytes(5) + struct.pack(">I", _NO_CAPABILITIES)
    channel.send_packet(PacketType.ACCEPT, body)


def _refuse(channel: Channel, code: int) -> None:
    stack = f"(ERROR_STACK=(ERROR=(CODE={code})(EMFI=4)))"
    text = f"(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR={code}){stack})".encode()
    channel.send_packet(PacketType.REFUSE, b"\x01\0" + len(text).to_bytes(2) + text)
