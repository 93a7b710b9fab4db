"""Logging on: protocol and types are agreed on, the password is checked, the session gets its backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from oracle.standin.backend import Account, Backend, OraError
from oracle.standin.wire.buffers import Reader, Writer
from oracle.standin.wire.codes import AL16UTF16, AL32UTF8, Function, Message
from oracle.standin.wire.cursors import MOST_CURSORS
from oracle.standin.wire.packets import Channel, Closed
from oracle.standin.wire.replies import Outcome, Reply
from oracle.standin.wire.requests import read_function
from oracle.standin.wire.settings import EXTENDED_STRING_BYTES, Settings
from oracle.standin.wire.verifier import Verifier
from oracle.standin.wire.zones import zone_set_by

_BANNER = b"stand-in for tests\0"
_PROTOCOL_VERSION = 6

# Where capabilities stand in the arrays that both sides exchange.
_COMPILE_CAPABILITIES, _FIELD_VERSION_PLACE = 55, 7
_RUNTIME_CAPABILITIES, _EXTENDED_STRINGS_PLACE, _EXTENDED_STRINGS = 11, 6, 0x04
_FDO_BYTES, _NATIONAL_CHARSET_PLACE = 11, slice(9, 11)

# From this version of fields on, releases are packed in another way.
_NEW_RELEASES = 11

_MAX_NAME_BYTES = "128"

#: What the client tells of itself when it logs on, and how `Backend.identify` is told.
_ATTRIBUTES = {
    "AUTH_PROGRAM_NM": "program",
    "AUTH_MACHINE": "machine",
    "AUTH_TERMINAL": "terminal",
    "AUTH_PID": "process",
    "AUTH_SID": "osuser",
    "SESSION_CLIENT_DRIVER_NAME": "driver",
}

# Modes of a logon: just this, and with a password. Others are for SYSDBA and for new passwords.
_ORDINARY = 0x1 | 0x100
_SYSDBA = 0x20

_Pairs: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a client says when it asks to be let in."""

    user: str
    mode: int
    pairs: _Pairs


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who may come in: `Logon.welcome` tells the client."""

    backend: Backend
    attributes: Mapping[str, str | None]  #: what it says of itself, for `Backend.identify`
    proof: bytes  #: that the server knows the password as well
    field_version: int  #: the lower one of the two sides'


class Logon:
    """One client's way in."""

    def __init__(self, channel: Channel, reader: Reader, settings: Settings, service: str) -> None:
        self._channel = channel
        self._reader = reader
        self._settings = settings
        self._service = service
        self._field_version = settings.field_version

    def run(self) -> Admitted:
        """Go all the way up to the welcome, or raise Closed when the client was told why not."""
        self._expect(Message.PROTOCOL)
        self._agree_on_protocol()
        self._expect(Message.DATA_TYPES)
        self._agree_on_types()
        self._expect(Message.FUNCTION)
        first = self._read_auth(Function.AUTH_ONE)
        account = self._settings.account(first.user, self._service)
        verifier = Verifier(account.password if account else None)
        self._challenge(verifier)
        self._expect(Message.FUNCTION)
        second = self._read_auth(Function.AUTH_TWO)
        told = {**first.pairs, **second.pairs}
        return self._check(account, verifier, _Claim(first.user, second.mode, told))

    def _expect(self, message: Message) -> None:
        self._reader.begin()
        if self._reader.u8() != message:
            raise Closed

    def _agree_on_protocol(self) -> None:
        self._reader.u8()
        self._reader.terminated()  # the versions that the client offers
        self._reader.terminated()  # its name
        compiled = bytearray(_COMPILE_CAPABILITIES)
        compiled[_FIELD_VERSION_PLACE] = self._settings.field_version
        runtime = bytearray(_RUNTIME_CAPABILITIES)
        if self._settings.max_string == EXTENDED_STRING_BYTES:
            runtime[_EXTENDED_STRINGS_PLACE] = _EXTENDED_STRINGS
        fdo = bytearray(_FDO_BYTES)
        fdo[_NATIONAL_CHARSET_PLACE] = AL16UTF16.to_bytes(2)
        answer = Writer().u8(Message.PROTOCOL, _PROTOCOL_VERSION, 0).raw(_BANNER)
        answer.u16le(AL32UTF8).u8(1).u16le(0).u16(len(fdo)).raw(bytes(fdo))
        answer.varbytes(bytes(compiled)).varbytes(bytes(runtime))
        self._channel.send(bytes(answer.data))

    def _agree_on_types(self) -> None:
        reader = self._reader
        reader.take(5)  # character sets and flags
        compiled = reader.varbytes() or b""
        self._field_version = min(self._field_version, compiled[_FIELD_VERSION_PLACE])
        reader.varbytes()
        while reader.u16():
            reader.take(6)  # how the client wants a type converted and represented
        self._channel.send(bytes(Writer().u8(Message.DATA_TYPES).u16(0).data))

    def _read_auth(self, function: Function) -> _Claim:
        reader = self._reader
        if read_function(reader, self._field_version) != function:
            raise Closed
        has_user = reader.u8()
        reader.varint()  # the name's length
        mode = reader.varint()
        reader.u8()
        count = reader.varint()
        reader.take(2)
        user = (reader.varbytes() or b"").decode() if has_user else ""
        pairs = {}
        for _ in range(count):
            key, value = (reader.sized() or b"").decode(), (reader.sized() or b"").decode()
            reader.varint()
            pairs[key] = value.rstrip("\0")
        return _Claim(user, mode, pairs)

    def _challenge(self, verifier: Verifier) -> None:
        self._send_pairs(
            {
                "AUTH_SESSKEY": _hex(verifier.challenge()),
                "AUTH_VFR_DATA": _hex(verifier.salt),
                "AUTH_PBKDF2_CSK_SALT": _hex(verifier.key_salt),
                "AUTH_PBKDF2_VGEN_COUNT": str(verifier.HASH_ROUNDS),
                "AUTH_PBKDF2_SDER_COUNT": str(verifier.KEY_ROUNDS),
            },
            flags={"AUTH_VFR_DATA": verifier.KIND},
        )

    def _check(self, account: Account | None, verifier: Verifier, claim: _Claim) -> Admitted:
        if account is None or not _is_right(verifier, claim.pairs):
            denied = OraError(1017, "invalid credential or not authorized; logon denied")
            raise self._denied(denied)
        if claim.mode & ~(_ORDINARY | _SYSDBA) or account.is_sysdba < bool(claim.mode & _SYSDBA):
            raise self._denied(OraError(1031, "insufficient privileges"))
        if account.is_sysdba and not claim.mode & _SYSDBA:
            raise self._denied(OraError(28009, "connection as SYS should be as SYSDBA or SYSOPER"))
        try:
            backend = account.connect(self._service)
        except OraError as error:
            raise self._denied(error) from None
        return Admitted(backend, _attributes(claim.pairs), verifier.proof(), self._field_version)

    def welcome(self, admitted: Admitted, session_id: int) -> None:
        """Tell the client that it is in."""
        self._send_pairs(
            {
                "AUTH_VERSION_NO": str(self._release_number()),
                "AUTH_SESSION_ID": str(session_id),
                "AUTH_SERIAL_NUM": "1",
                "AUTH_MAX_OPEN_CURSORS": str(MOST_CURSORS),
                "AUTH_MAX_IDEN_LENGTH": _MAX_NAME_BYTES,
                "AUTH_SC_SERVICE_NAME": self._service,
                "AUTH_SC_DBUNIQUE_NAME": self._service,
                "AUTH_INSTANCENAME": self._service,
                "AUTH_SVR_RESPONSE": _hex(admitted.proof),
            }
        )

    def _denied(self, error: OraError) -> Closed:
        """Tell the client why; no markers here, since it will close the connection anyway."""
        reply = Reply(self._field_version).outcome(Outcome(error=error), in_transaction=False)
        self._channel.send(bytes(reply.data))
        return Closed()

    def _release_number(self) -> int:
        a, b, c, d, e = self._settings.release
        if self._field_version >= _NEW_RELEASES:
            return a << 24 | b << 16 | c << 12 | d << 4 | e
        return a << 24 | b << 20 | c << 12 | d << 8 | e

    def _send_pairs(self, pairs: _Pairs, flags: Mapping[str, int] | None = None) -> None:
        reply = Reply(self._field_version).u8(Message.PARAMETER).varint(len(pairs))
        for key, value in pairs.items():
            flag = (flags or {}).get(key, 0)
            reply.sized(key.encode()).sized(value.encode()).varint(flag)
        self._channel.send(bytes(reply.status(in_transaction=False).data))


def _is_right(verifier: Verifier, pairs: _Pairs) -> bool:
    try:
        session_key = bytes.fromhex(pairs["AUTH_SESSKEY"])
        password = bytes.fromhex(pairs["AUTH_PASSWORD"])
    except (KeyError, ValueError):
        return False
    return verifier.accepts(session_key, password)


def _attributes(pairs: _Pairs) -> dict[str, str | None]:
    """What the client says of itself, and the time zone that its session is to have."""
    told: dict[str, str | None] = {
        name: pairs[key] for key, name in _ATTRIBUTES.items() if key in pairs
    }
    if zone := zone_set_by(pairs.get("AUTH_ALTER_SESSION", "")):
        told["time_zone"] = zone
    return told


def _hex(data: bytes) -> str:
    return data.hex().upper()
