"""SQL's functions of values whose types do not matter beyond a conversion of each argument."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from oracle.standin.backend import Kind, Moment, OraError, Span, Value
from oracle.standin.engine.conversion import hex_bytes
from oracle.standin.engine.datatypes import (
    BLOB,
    CLOB,
    DATE,
    DAYS,
    NUMBER,
    RAW,
    ROWID,
    STAMP,
    STAMP_TZ,
    VARCHAR,
    WIDE,
    DataType,
    number,
)
from oracle.standin.engine.evaluation import Env
from oracle.standin.engine.rowids import rowid_text
from oracle.standin.engine.temporals import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    at_offset,
    days_in,
    instant,
    moment_of,
    months_later,
    naive,
    shifted,
)


@dataclass(frozen=True, slots=True)
class Function:
    """Arguments by letter: T text, N number, R RAW, D a DATE, Z an instant, L anything long, A as it is."""

    letters: str
    least: int
    type: DataType
    run: Callable[..., Value]  #: (env, *arguments)
    strict: bool = True  #: NULL for any NULL
    pure: bool = True


def _substr(env: Env, text: str, start: Decimal, count: Decimal | None = None) -> Value:
    first, most = int(start), None if count is None else int(count)
    if most is not None and most < 1:
        return None
    begin = first - 1 if first > 0 else len(text) + first if first < 0 else 0
    if begin < 0:
        return None
    return text[begin : None if most is None else begin + most] or None


def _instr(env: Env, text: str, part: str, start: Decimal = Decimal(1)) -> Value:
    return Decimal(text.find(part, int(start) - 1) + 1)


def _pad(text: str, size: Decimal, fill: str, *, left: bool) -> str | None:
    count = int(size)
    if count <= len(text):
        return text[: max(count, 0)] or None
    padding = (fill * count)[: count - len(text)]
    return padding + text if left else text + padding


def _unistr(env: Env, text: str) -> Value:
    units = re.sub(
        r"\\(\\|[0-9A-Fa-f]{4})",
        lambda m: "\\" if m[1] == "\\" else chr(int(m[1], 16)),
        text,
    )
    if re.search(r"(?<!\\)\\(?![\\0-9A-Fa-f])", text):
        raise OraError(30186, "'\\' must be followed by four hexdecimal characters or another '\\'")
    return units.encode("utf-16-be", "surrogatepass").decode("utf-16-be")


def _mod(env: Env, left: Decimal, right: Decimal) -> Value:
    return left if not right else number(left - right * (left / right).to_integral(ROUND_DOWN))


def _rounding(mode: str | None) -> Callable[..., Value]:
    def run(env: Env, value: Decimal, digits: Decimal = Decimal(0)) -> Value:
        return number(value.quantize(Decimal((0, (1,), -int(digits))), mode, WIDE))

    return run


def _hash(env: Env, value: Value, method: str = "SHA1") -> Value:
    known = {"MD5", "SHA1", "SHA256", "SHA384", "SHA512"}
    if method.upper() not in known:
        raise OraError(1760, "illegal argument for function")
    return hashlib.new(method.lower(), as_bytes(value)).digest()


def _ora_hash(
    env: Env, value: Value, most: Decimal = Decimal(4294967295), seed: Decimal = Decimal(0)
) -> Value:
    """Spread values evenly and always alike; the numbers are not those of Oracle, whose function is not public."""
    return Decimal(zlib.crc32(as_bytes(value), int(seed)) % (int(most) + 1))


def as_bytes(value: Value) -> bytes:
    match value:
        case None:
            return b""
        case bytes():
            return value
        case str():
            return value.encode()
        case Decimal():
            return format(value.normalize(WIDE), "f").encode()
        case _:
            return repr(value).encode()


def _numtods(env: Env, value: Decimal, unit: str) -> Value:
    units = {"DAY": DAY, "HOUR": HOUR, "MINUTE": MINUTE, "SECOND": SECOND}
    if unit.strip().upper() not in units:
        raise OraError(1760, "illegal argument for function")
    return Span(int(WIDE.multiply(value, Decimal(units[unit.strip().upper()])).to_integral_value()))


def _last_day(env: Env, value: Moment) -> Value:
    moved = days_in(value.year, value.month) - value.day
    return shifted(value, moved * DAY)


def _months_between(env: Env, left: Moment, right: Moment) -> Value:
    months = (left.year - right.year) * 12 + left.month - right.month
    ends = left.day == days_in(left.year, left.month) and right.day == days_in(
        right.year, right.month
    )
    if left.day == right.day or ends:
        return Decimal(months)
    part = instant(left) % DAY - instant(right) % DAY + (left.day - right.day) * DAY
    return number(months + Decimal(part) / (31 * DAY))


def _now(env: Env) -> Moment:
    return env.host.now


def _local(env: Env) -> Moment:
    return at_offset(env.host.now, env.host.nls.offset)


def _days(env: Env) -> Value:
    return moment_of(instant(env.host.now) // SECOND * SECOND)


def _trim(text: str) -> str | None:
    return text.strip(" ") or None


def _create_rowid(env: Env, *args: Decimal) -> Value:
    return rowid_text(*(int(arg) for arg in args[1:]))


NATIONAL = DataType(Kind.VARCHAR2, national=True)

FUNCTIONS: dict[str, Function] = {
    "LENGTH": Function("L", 1, NUMBER, lambda e, v: Decimal(len(v))),
    "LENGTHB": Function("L", 1, NUMBER, lambda e, v: Decimal(len(as_bytes(v)))),
    "DBMS_LOB.GETLENGTH": Function("L", 1, NUMBER, lambda e, v: Decimal(len(v))),
    "SUBSTR": Function("TNN", 2, VARCHAR, _substr),
    "DBMS_LOB.SUBSTR": Function(
        "TNN", 1, VARCHAR, lambda e, v, n=Decimal(32767), at=Decimal(1): _substr(e, v, at, n)
    ),
    "INSTR": Function("TTN", 2, NUMBER, _instr),
    "UPPER": Function("T", 1, VARCHAR, lambda e, v: v.upper()),
    "LOWER": Function("T", 1, VARCHAR, lambda e, v: v.lower()),
    "TRIM": Function("T", 1, VARCHAR, lambda e, v: _trim(v)),
    "RTRIM": Function("TT", 1, VARCHAR, lambda e, v, s=" ": v.rstrip(s) or None),
    "LTRIM": Function("TT", 1, VARCHAR, lambda e, v, s=" ": v.lstrip(s) or None),
    "RPAD": Function("TNT", 2, VARCHAR, lambda e, v, n, f=" ": _pad(v, n, f, left=False)),
    "LPAD": Function("TNT", 2, VARCHAR, lambda e, v, n, f=" ": _pad(v, n, f, left=True)),
    "REPLACE": Function(
        "TTT",
        2,
        VARCHAR,
        lambda e, v, a, b=None: v if not v or not a else v.replace(a, b or "") or None,
        strict=False,
    ),
    "CHR": Function("N", 1, VARCHAR, lambda e, v: chr(int(v))),
    "ASCII": Function("T", 1, NUMBER, lambda e, v: Decimal(ord(v[0]))),
    "UNISTR": Function("T", 1, NATIONAL, _unistr),
    "TO_CLOB": Function("T", 1, CLOB, lambda e, v: v),
    "TO_BLOB": Function("R", 1, BLOB, lambda e, v: v),
    "TO_NCHAR": Function("T", 1, NATIONAL, lambda e, v: v),
    "EMPTY_CLOB": Function("", 0, CLOB, lambda e: ""),
    "EMPTY_BLOB": Function("", 0, BLOB, lambda e: b""),
    "HEXTORAW": Function("T", 1, RAW, lambda e, v: hex_bytes(v)),
    "RAWTOHEX": Function("R", 1, VARCHAR, lambda e, v: v.hex().upper() or None),
    "UTL_RAW.CAST_TO_RAW": Function("T", 1, RAW, lambda e, v: v.encode()),
    "ABS": Function("N", 1, NUMBER, lambda e, v: abs(v)),
    "SIGN": Function("N", 1, NUMBER, lambda e, v: Decimal((v > 0) - (v < 0))),
    "MOD": Function("NN", 2, NUMBER, _mod),
    "FLOOR": Function("N", 1, NUMBER, lambda e, v: v.to_integral_value(ROUND_FLOOR)),
    "CEIL": Function("N", 1, NUMBER, lambda e, v: v.to_integral_value(ROUND_CEILING)),
    "ROUND": Function("NN", 1, NUMBER, _rounding("ROUND_HALF_UP")),
    "TRUNC": Function("NN", 1, NUMBER, _rounding("ROUND_DOWN")),
    "STANDARD_HASH": Function("AT", 1, RAW, _hash, strict=False),
    "ORA_HASH": Function("ANN", 1, NUMBER, _ora_hash, strict=False),
    "NUMTODSINTERVAL": Function("NT", 2, DAYS, _numtods),
    "ADD_MONTHS": Function("DN", 2, DATE, lambda e, v, n: months_later(v, int(n), clip=True)),
    "LAST_DAY": Function("D", 1, DATE, _last_day),
    "MONTHS_BETWEEN": Function("DD", 2, NUMBER, _months_between),
    "SYS_EXTRACT_UTC": Function("Z", 1, STAMP, lambda e, v: moment_of(instant(v))),
    "SYSDATE": Function("", 0, DATE, _days, pure=False),
    "CURRENT_DATE": Function(
        "",
        0,
        DATE,
        lambda e: moment_of(instant(e.host.now) // SECOND * SECOND + e.host.nls.offset * MINUTE),
        pure=False,
    ),
    "SYSTIMESTAMP": Function("", 0, STAMP_TZ, lambda e: at_offset(_now(e), 0), pure=False),
    "CURRENT_TIMESTAMP": Function("", 0, STAMP_TZ, _local, pure=False),
    "LOCALTIMESTAMP": Function("", 0, STAMP, lambda e: naive(_local(e)), pure=False),
    "USER": Function("", 0, VARCHAR, lambda e: e.host.user, pure=False),
    "SYS_GUID": Function("", 0, RAW, lambda e: e.host.random_bytes(16), pure=False),
    "SYS_CONTEXT": Function(
        "TTN", 2, VARCHAR, lambda e, space, name, size=None: e.host.context(space, name), pure=False
    ),
    "USERENV": Function("T", 1, VARCHAR, lambda e, name: e.host.context("USERENV", name)),
    "CHARTOROWID": Function("T", 1, ROWID, lambda e, v: v),
    "ROWIDTOCHAR": Function("T", 1, VARCHAR, lambda e, v: v),
    "DBMS_ROWID.ROWID_CREATE": Function("NNNNN", 5, ROWID, _create_rowid),
}


def call(function: Function, name: str, given: int) -> None:
    """Check the number of arguments."""
    if given < function.least:
        raise OraError(938, "not enough arguments for function")
    if given > len(function.letters):
        raise OraError(939, f"too many arguments for function {name}")
