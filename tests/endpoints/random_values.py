"""Random values of PostgreSQL's types: texts, and the SQL that makes values of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from hypothesis import strategies as st

Texts = st.SearchStrategy[str]

ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
#: What texts, arrays and records quote, and what COPY does.
SIGNS = st.text(
    st.sampled_from(list("\"'\\(){}[], \t\n\r\v\f.:;=>NULnul%\x01\x7fé😀")), max_size=12
)
TEXT = st.one_of(ANY, SIGNS)
DIGITS = st.text("0123456789", min_size=1, max_size=40)
#: Between the ends that a date and a timestamp can have, in days and microseconds from 2000.
DAYS = (-2451545, 2145031948)
MICROSECONDS = (-211813488000000000, 9223371331199999999)
DAY = 86_400_000_000


@dataclass(frozen=True)
class Random:
    """A type, texts, and how SQL makes a value of the text `x`."""

    type: str
    texts: Texts
    sql: str = ""

    @property
    def value(self) -> str:
        return self.sql or f"x::{self.type}"


def integers(bits: int) -> Texts:
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1).map(str)


def floats(width: int) -> Texts:
    return st.floats(width=32 if width == 32 else 64).map(repr)


NUMERIC = st.one_of(
    st.sampled_from(["NaN", "Infinity", "-Infinity", "0", "-0.00"]),
    st.builds("{}{}.{}".format, st.sampled_from(["", "-"]), DIGITS, DIGITS),
    st.builds("{}{}e{}".format, st.sampled_from(["", "-"]), DIGITS, st.integers(-999, 999)),
)
CLOCK = st.builds(
    "{:02}:{:02}:{:02}.{:06}".format,
    *(st.integers(0, most) for most in (23, 59, 59, 999_999)),
)
ZONE = st.builds(
    "{}{:02}:{:02}:{:02}".format,
    st.sampled_from("+-"),
    *(st.integers(0, most) for most in (15, 59, 59)),
)
INTERVAL = st.builds(
    "{} months {} days {} microseconds".format,
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(-(10**17), 10**17),
)
DATE = st.integers(*DAYS).map(str)
TIMESTAMP = st.integers(*MICROSECONDS).map(str)
MOMENT = f"'2000-01-01'::{{}} + x::int8 / {DAY} * '1 day'::interval + mod(x::int8, {DAY}) * '1 us'::interval"
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(-1e300, 1e300), ANY),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(ANY, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
BITS = st.text("01", max_size=70)
NUMBER = st.floats(allow_nan=True).map(repr)
FINITE = st.floats(-1e100, 1e100).map(repr)
POINT = st.builds("({},{})".format, NUMBER, NUMBER)
LETTER = st.text(st.characters(categories=["L", "N"], max_codepoint=0x2FF), min_size=1, max_size=6)
LABELS = ["", "calm", "a b", 'q"', "it's", "ü,{}", "NULL", "back\\slash"]


def quoted(text: str) -> str:
    """An element of an array, or a field of a record."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def arrays(draw: st.DrawFn, element: Texts) -> str:
    """Of up to three dimensions, with bounds, and with NULLs."""
    sizes = draw(st.lists(st.integers(1, 3), max_size=3))
    if not sizes:
        return "{}"
    starts = [draw(st.integers(-3, 3)) for _ in sizes]

    def made(rest: Sequence[int]) -> str:
        if not rest:
            return draw(st.one_of(st.just("NULL"), element.map(quoted)))
        return "{" + ",".join(made(rest[1:]) for _ in range(rest[0])) + "}"

    bounds = "".join(f"[{low}:{low + size - 1}]" for low, size in zip(starts, sizes, strict=True))
    return f"{bounds}={made(sizes)}"


def ranges(bound: st.SearchStrategy[int]) -> Texts:
    """Of numbers, as a JSON list of its ends: ordered, each perhaps infinite."""
    ends = st.tuples(
        st.none() | bound, st.none() | bound, st.sampled_from(["[]", "()", "[)", "(]"])
    )

    def ordered(found: tuple[int | None, int | None, str]) -> str:
        low, high, form = found
        if low is not None and high is not None and low > high:
            low, high = high, low
        return json.dumps([low, high, form])

    return ends.map(ordered)


def range_sql(name: str, end: str) -> str:
    """`end` makes a bound of the text `e`."""
    low, high = (end.replace("(e)", f"(x::json ->> {at})") for at in (0, 1))
    return f"{name}({low}, {high}, x::json ->> 2)"


RECORDS = st.builds(
    "({},{},{})".format,
    st.one_of(st.just(""), NUMERIC),
    st.one_of(st.just(""), TEXT.map(quoted)),
    st.one_of(st.just(""), arrays(NUMERIC).map(quoted)),
)
MAKE = (
    "create type public.label as enum ({})".format(", ".join("'" + each.replace("'", "''") + "'" for each in LABELS)),
    "create domain public.short as varchar(9) check (value <> 'x')",
    "create type public.three as (n numeric, t text, a numeric[])",
    "create type public.float_range as range (subtype = float8)",
    "create extension hstore",
    "create extension citext",
    "create extension ltree",
)  # fmt: skip

TYPES: Mapping[str, Random] = {
    each.type: each
    for each in (
        Random("bool", st.sampled_from(["t", "f"])),
        Random("int2", integers(16)),
        Random("int4", integers(32)),
        Random("int8", integers(64)),
        Random("numeric", NUMERIC),
        Random("numeric(9,4)", st.integers(-(10**9) + 1, 10**9 - 1).map(str), "x::numeric / 10000"),
        Random("float4", floats(32)),
        Random("float8", floats(64)),
        Random("money", integers(64), "(x::numeric / 100)::money"),
        Random("text", TEXT),
        Random("varchar(20)", TEXT),
        Random("bpchar", TEXT),
        Random("char(20)", TEXT),
        Random("name", TEXT),
        Random('"char"', st.characters(max_codepoint=127, exclude_characters="\0")),
        Random("bytea", st.binary(max_size=40).map(lambda found: "\\x" + found.hex())),
        Random("date", DATE, "'2000-01-01'::date + x::int4"),
        Random("time", CLOCK),
        Random("timetz", st.builds(str.__add__, CLOCK, ZONE)),
        Random("timestamp", TIMESTAMP, MOMENT.format("timestamp")),
        Random("timestamptz", TIMESTAMP, f"({MOMENT.format('timestamp')}) at time zone 'UTC'"),
        Random("interval", INTERVAL),
        Random("uuid", st.uuids().map(str)),
        Random("inet", st.builds("{}/{}".format, st.ip_addresses(), st.integers(0, 32))),
        Random("cidr", st.builds("{}/{}".format, st.ip_addresses(), st.integers(0, 32)), "network(x::inet)"),
        Random("macaddr", st.binary(min_size=6, max_size=6).map(bytes.hex)),
        Random("macaddr8", st.binary(min_size=8, max_size=8).map(bytes.hex)),
        Random("bit(16)", st.text("01", min_size=16, max_size=16)),
        Random("varbit", BITS),
        Random("xml", TEXT.map(lambda found: f"<a>{escape(''.join(c for c in found if c >= ' '))}</a>")),
        Random("json", st.builds(json.dumps, JSON, ensure_ascii=st.booleans(), indent=st.none() | st.just(1))),
        Random("jsonb", JSON.map(lambda found: json.dumps(found).replace("\\u0000", ""))),
        Random("text[]", arrays(TEXT)),
        Random("bpchar[]", arrays(TEXT)),
        Random("numeric[]", arrays(NUMERIC)),
        Random("float8[]", arrays(floats(64))),
        Random("bytea[]", arrays(st.binary(max_size=9).map(lambda found: "\\x" + found.hex()))),
        Random("interval[]", arrays(INTERVAL)),
        Random("box[]", st.lists(st.builds("{},{}".format, POINT, POINT), max_size=3)
               .map(lambda found: "{" + ";".join(found) + "}")),
        Random("int4range", ranges(st.integers(-99, 99)), range_sql("int4range", "(e)::int4")),
        Random("numrange", ranges(st.integers(-99, 99)), range_sql("numrange", "((e)::numeric / 7)")),
        Random("daterange", ranges(st.integers(DAYS[0], DAYS[1] - 1)),
               range_sql("daterange", "('2000-01-01'::date + (e)::int4)")),
        Random("tstzrange", ranges(st.integers(-(10**9), 10**9)),
               range_sql("tstzrange", "to_timestamp((e)::float8 / 7)")),
        Random("int4multirange", st.lists(st.integers(-50, 50), max_size=4).map(json.dumps),
               "(select coalesce(range_agg(int4range(e::int4, e::int4 + 3)), '{}')"
               " from json_array_elements_text(x::json) e)"),
        Random("public.float_range", ranges(st.integers(-99, 99)),
               range_sql("public.float_range", "((e)::float8 / 7)")),
        Random("public.label", st.sampled_from(LABELS)),
        Random("public.label[]", arrays(st.sampled_from(LABELS))),
        Random("public.short", st.text("ab '\\\"", max_size=9)),
        Random("public.three", RECORDS),
        Random("public.three[]", arrays(RECORDS)),
        Random("point", POINT),
        Random("line", st.builds("{{{},{},1.5}}".format, FINITE.filter(lambda found: abs(float(found)) > 1), FINITE)),
        Random("lseg", st.builds("[{},{}]".format, POINT, POINT)),
        Random("box", st.builds("{},{}".format, POINT, POINT)),
        Random("path", st.builds("{}{}{}".format, st.just("["), st.lists(POINT, min_size=1, max_size=4).map(",".join),
                                 st.just("]"))),
        Random("polygon", st.lists(POINT, min_size=1, max_size=4).map(lambda found: f"({','.join(found)})")),
        Random("circle", st.builds("<{},{}>".format, POINT, st.floats(0, 1e300).map(repr))),
        Random("tsvector", st.lists(TEXT.filter(bool), max_size=4).map(json.dumps),
               "(select setweight(array_to_tsvector(coalesce(array_agg(e), '{}')), 'B')"
               " from json_array_elements_text(x::json) e)"),
        Random("tsquery", st.lists(LETTER, max_size=4).map(" ".join), "phraseto_tsquery('simple', x)"),
        Random("pg_lsn", st.integers(0, (1 << 64) - 1).map(lambda found: f"{found >> 32:X}/{found & 0xFFFFFFFF:X}")),
        Random("xid8", st.integers(0, (1 << 64) - 1).map(str), "x::xid8"),
        Random("oid", st.integers(0, (1 << 32) - 1).map(str)),
        Random("public.hstore", st.dictionaries(TEXT, st.none() | TEXT, max_size=3).map(json.dumps),
               "(select coalesce(public.hstore(array_agg(e.key), array_agg(e.value)), '')"
               " from json_each_text(x::json) e)"),
        Random("public.citext", TEXT),
        Random("public.ltree", st.lists(st.text("aB_9", min_size=1, max_size=3), max_size=4).map(".".join)),
    )
}  # fmt: skip
