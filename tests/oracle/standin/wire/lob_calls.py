"""The calls on LOBs: create a temporary one, read, write, measure, trim, and free."""

from __future__ import annotations

from dataclasses import dataclass

from oracle.standin.backend import Kind, OraError
from oracle.standin.wire.buffers import Reader, Writer
from oracle.standin.wire.codes import NATIONAL, LobOperation, Message
from oracle.standin.wire.lobs import LOCATOR_BYTES, Lob, Lobs
from oracle.standin.wire.values import LOB_CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class LobCall:
    """A call as it was sent. Offsets begin at 1; for a new LOB they are its form of characters and its type."""

    operation: int
    locator: bytes
    source_offset: int
    destination_offset: int
    data: bytes | None
    amount: int | None  #: None: the answer must not have one either


def read_lob_call(reader: Reader) -> LobCall:
    has_source, source_bytes = reader.u8(), reader.varint()
    reader.u8()  # destination
    for _ in range(3):
        reader.varint()  # its length, short offsets
    has_charset = reader.u8()
    reader.take(2)
    operation = reader.varint()
    reader.take(2)
    source_offset, destination_offset = reader.varint(), reader.varint()
    has_amount = reader.u8()
    reader.take(6)
    locator = reader.take(source_bytes) if has_source else b""
    if has_charset:
        reader.varint()
    data = None
    if operation == LobOperation.WRITE:
        reader.u8()  # Message.LOB_DATA
        data = reader.varbytes() or b""
    amount = reader.varint() if has_amount else None
    return LobCall(operation, locator, source_offset, destination_offset, data, amount)


def answer_lob_call(call: LobCall, lobs: Lobs, writer: Writer) -> None:
    """Do what is asked and write the answer, but for the status that ends it."""
    if call.operation == LobOperation.CREATE_TEMPORARY:
        _create(call, lobs, writer)
        return
    lob = lobs.find(call.locator)
    amount = _do(call, lob, writer)
    writer.u8(Message.PARAMETER).raw(call.locator)
    if call.amount is not None:
        writer.varint(amount)
    if call.operation == LobOperation.IS_OPEN:
        writer.u8(int(lob.is_open))


def _create(call: LobCall, lobs: Lobs, writer: Writer) -> None:
    kind = Kind(call.destination_offset)
    is_national = call.source_offset == NATIONAL
    empty = b"" if kind is Kind.BLOB else ""
    lob = lobs.keep(kind, empty, is_national=is_national, is_temporary=True)
    writer.u8(Message.PARAMETER).raw(lob.locator).varint(lob.charset).u8(0)


def _do(call: LobCall, lob: Lob, writer: Writer) -> int:
    """Do one operation on a LOB that there is; return the amount that the answer tells."""
    amount = call.amount or 0
    match call.operation:
        case LobOperation.READ:
            data = lob.read(call.source_offset, amount)
            if data:
                writer.u8(Message.LOB_DATA).varbytes(data)
            return len(data) // lob.unit
        case LobOperation.WRITE:
            data = call.data or b""
            lob.write(call.source_offset, data)
            return len(data) // lob.unit
        case LobOperation.LENGTH:
            return lob.size
        case LobOperation.CHUNK_SIZE:
            return LOB_CHUNK_BYTES
        case LobOperation.TRIM:
            lob.trim(amount)
        case LobOperation.OPEN:
            lob.is_open = True
        case LobOperation.CLOSE:
            lob.is_open = False
        case LobOperation.IS_OPEN:
            pass
        case unknown:
            raise OraError(3115, f"unsupported operation {unknown:#x} on a LOB")
    return amount


def free_lobs(reader: Reader, lobs: Lobs) -> None:
    """Read the notice that temporary LOBs are no longer wanted, and forget them."""
    reader.u8()
    total = reader.varint()
    _skip_notice(reader)
    for _ in range(total // LOCATOR_BYTES):
        lobs.free(reader.take(LOCATOR_BYTES))


def _skip_notice(reader: Reader) -> None:
    """Pass over all that is about single LOBs, and the operation, which is always the freeing of many."""
    reader.u8()
    for _ in range(3):
        reader.varint()
    reader.take(3)
    reader.varint()  # the operation
    reader.u8()
    for _ in range(3):
        reader.varint()
    reader.u8()
    for _ in range(3):
        reader.u8()
        reader.varint()
