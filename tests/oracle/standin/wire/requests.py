"""Requests as the client writes them, taken apart; nothing is done here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.standin.backend import OraError, Value
from oracle.standin.wire.buffers import Reader
from oracle.standin.wire.codes import IS_ARRAY, WANTS_ROW_COUNTS, Option
from oracle.standin.wire.values import Codec, Shape

# Parts of the protocol that came with a version of its fields.
SQL_SIGNATURES = 8
CHUNK_IDS = 9
TOKENS = 18

_PARAMETERS = 13


@dataclass(frozen=True, slots=True)
class Execute:
    """An EXECUTE, up to the values of its binds."""

    options: Option
    cursor: int  #: 0: a new one
    sql: str | None  #: None: the cursor's own
    rows: int  #: to be fetched at once
    executions: int
    wants_row_counts: bool
    defines: Sequence[Shape]
    binds: Sequence[Shape]


def read_function(reader: Reader, field_version: int) -> int:
    """Read the head of a call or a notice."""
    function = reader.u8()
    reader.u8()  # a sequence number
    if field_version >= TOKENS:
        reader.varint()
    return function


def read_execute(reader: Reader, field_version: int) -> Execute:
    options, cursor = Option(reader.varint()), reader.varint()
    has_sql = reader.u8()
    reader.varint()  # its length
    reader.u8()
    reader.varint()  # how many parameters: always as below
    reader.take(2)
    reader.varint()
    rows = reader.varint()
    reader.varint()  # the longest LONG: the client wants all
    reader.u8()
    binds = reader.varint()
    reader.take(5 + 1)
    defines = reader.varint()
    _skip_registration(reader, field_version)
    sql = (reader.varbytes() or b"").decode() if has_sql else None
    parameters = [reader.varint() for _ in range(_PARAMETERS)]
    is_define = Option.DEFINE in options
    return Execute(
        options=options,
        cursor=cursor,
        sql=sql,
        rows=rows,
        executions=parameters[1],
        wants_row_counts=bool(parameters[9] & WANTS_ROW_COUNTS),
        defines=_read_shapes(reader, defines, field_version) if is_define else (),
        binds=() if is_define else _read_shapes(reader, binds, field_version),
    )


def _skip_registration(reader: Reader, field_version: int) -> None:
    """Pass over what is about notifications, row counts and signatures: nothing that is not told elsewhere, too."""
    reader.varint()
    reader.take(3)
    reader.varint()
    reader.u8()
    reader.varint()
    reader.varint()
    reader.u8()
    reader.varint()
    reader.u8()
    if field_version >= SQL_SIGNATURES:
        reader.u8()
        reader.varint()
        reader.u8()
        reader.varint()
        reader.u8()
    if field_version >= CHUNK_IDS:
        reader.u8()
        reader.varint()


def _read_shapes(reader: Reader, count: int, field_version: int) -> list[Shape]:
    return [_read_shape(reader, field_version) for _ in range(count)]


def _read_shape(reader: Reader, field_version: int) -> Shape:
    code, flags = reader.u8(), reader.u8()
    reader.take(2)  # precision and scale, always 0
    size = reader.varint()
    reader.varint()  # elements of an array
    reader.varint()  # flags of LOBs
    reader.sized()  # an object's type
    reader.varint()
    reader.varint()  # the character set
    form = reader.u8()
    reader.varint()
    if field_version >= SQL_SIGNATURES:
        reader.varint()
    return Shape(code, size, form, bool(flags & IS_ARRAY))


def read_rows(
    reader: Reader, shapes: Sequence[Shape], count: int, *, longs_after: int | None, codec: Codec
) -> list[list[Value]]:
    """Read the values of so many executions.

    In SQL what has a larger buffer than `longs_after` bytes comes after all the others of its row; in PL/SQL, None,
    everything has its place.
    """
    for shape in shapes:
        if shape.is_array:
            raise OraError(3115, "unsupported network datatype: a PL/SQL array")
    late = [
        place
        for place, shape in enumerate(shapes)
        if longs_after is not None and shape.size > longs_after
    ]
    order = [place for place in range(len(shapes)) if place not in late] + late
    rows = []
    for _ in range(count if shapes else 0):
        reader.u8()  # Message.ROW_DATA
        row: list[Value] = [None] * len(shapes)
        for place in order:
            row[place] = codec.read(reader, shapes[place])
        rows.append(row)
    return rows


#: What a client may say of itself, in the order in which the parts stand; between them are two that it never uses.
_ATTRIBUTES = ("client_identifier", "module", "action", None, "client_info", None, "dbop")


def read_end_to_end(reader: Reader) -> dict[str, str | None]:
    """Read the attributes that the client changes; None unsets one."""
    reader.take(2)
    reader.varint()
    announced = []
    for name in _ATTRIBUTES:
        is_present, size = reader.u8(), reader.varint()
        if name is None:
            reader.u8()
            reader.varint()
        elif is_present:
            announced.append((name, size))
    return {name: (reader.varbytes() or b"").decode() if size else None for name, size in announced}
