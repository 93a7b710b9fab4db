"""The soak's shop at Oracle and at PostgreSQL: the same tables, the same transactions, told by the same words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

ORACLE_TABLES = (
    "alter database add supplemental log data",
    "create sequence account_id start with 1000",
    "create table ledger (writer number(9), n number(18), kind varchar2(40), primary key (writer, n))",
    "create table mark (writer number(9), n number(18))",
    "create table account (id number(18) primary key, code varchar2(60) unique, balance number(18) not null,"
    " opened timestamp(6) with time zone, ratio binary_double, remark varchar2(3000), national nvarchar2(900))",
    "create table line (account number(18) references account, no number(4), amount number(12,2), paid date,"
    " primary key (account, no))",
    "create table event (what varchar2(60), mood char(8))",
    "create table document (id number(18) primary key, title varchar2(100) not null, body clob, image blob)",
)
TARGET_TABLES = (
    "create schema shop authorization {application}",
    "set role {application}",
    "set search_path = shop",
    "create sequence account_id start with 1000",
    "create table ledger (writer int, n bigint, kind varchar(40), primary key (writer, n))",
    "create table mark (writer int, n bigint)",
    "create table account (id bigint primary key, code varchar(60) unique, balance bigint not null,"
    " opened timestamptz(6), ratio double precision, remark varchar(3000), national varchar(900))",
    "create table line (account bigint references account, no smallint, amount numeric(12,2), paid timestamp(0),"
    " primary key (account, no))",
    "create table event (what varchar(60), mood char(8))",
    "create table document (id bigint primary key, title varchar(100) not null, body text, image bytea)",
    "reset role",
)
ACCOUNTS, DOCUMENTS, EVENTS = 300, 60, 80
ROWS = (
    *(
        f"insert into account values ({n}, 'old {n}', 0, null, {n} / 8.0, null, null)"
        for n in range(1, ACCOUNTS + 1)
    ),
    *(f"insert into line values ({n}, 1, {n}.25, null)" for n in range(1, 140, 2)),
    *(f"insert into event values ('alike {n % 7}', 'calm')" for n in range(EVENTS)),
    *(
        f"insert into document values ({n}, 'title {n}', 'body {n}', null)"
        for n in range(1, DOCUMENTS + 1)
    ),
)
#: The rows of each table, in words that both engines find alike. A BLOB is told by its length.
WORDS: Mapping[str, tuple[str, str]] = {
    "ledger": ("select writer, n, kind from {s}ledger", "order by 1, 2"),
    "mark": ("select writer, n from {s}mark", "order by 1, 2"),
    "account": (
        "select id, code, balance, to_char({utc}, 'YYYY-MM-DD HH24:MI:SS.{micros}'), ratio, remark, national"
        " from {s}account",
        "order by 1",
    ),
    "line": (
        "select account, no, to_char(amount, 'fm9999990.00'), to_char(paid, 'YYYY-MM-DD HH24:MI:SS') from {s}line",
        "order by 1, 2",
    ),
    "event": ("select what, mood from {s}event", "order by what{bytes}, mood{bytes}"),
    # Read whole, an empty large value can't be told from none at Oracle: that it is there is told beside it.
    "document": (
        "select id, title, {body}, case when body is null then 0 else 1 end, {image},"
        " case when image is null then 0 else 1 end from {s}document",
        "order by 1",
    ),
}
ORACLE_WORDS = {
    "s": "",
    "utc": "sys_extract_utc(opened)",
    "micros": "FF6",
    "bytes": "",
    "body": "body",
    "image": "image",
}
TARGET_WORDS = {
    "s": "shop.",
    "utc": "opened at time zone 'UTC'",
    "micros": "US",
    "bytes": ' collate "C"',
    "body": "nullif(body, '')",
    "image": "nullif(image, '')",
}


def told(words: Mapping[str, str]) -> dict[str, str]:
    """The queries in the words of one engine."""
    return {name: " ".join(parts).format(**words) for name, parts in WORDS.items()}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the two."""

    s: str  #: in front of a table
    next_id: str
    instant: str  #: in front of a timestamp with time zone
    image: str  #: around hexadecimal digits
    bind: str


ORACLE = Dialect("", "account_id.nextval", "timestamp ", "hextoraw('{}')", ":1")
TARGET = Dialect("shop.", "nextval('shop.account_id')", "timestamptz ", "decode('{}', 'hex')", "%s")
Values: TypeAlias = Mapping[str, Any]
#: With the values that it binds, a list of rows: they are sent as one array.
Statement: TypeAlias = str | tuple[str, list[tuple[str]]]
Statements: TypeAlias = Callable[[Dialect, Values], list[Statement]]


def _open(d: Dialect, v: Values) -> list[Statement]:
    name = f"new {v['writer']}/{v['n']}"
    account = f"(select id from {d.s}account where code = '{name}')"
    return [
        f"insert into {d.s}account values ({d.next_id}, '{name}', 0,"
        f" {d.instant}'2024-02-29 23:59:58.{v['a'] % 10**6:06d} +00:00', {v['b'] % 1000} / 7.0, null, null)",
        *(
            f"insert into {d.s}line values ({account}, {no}, {v['a'] % 10**6}.{no}5,"
            f" date '2024-02-{1 + no:02d}')"
            for no in (1, 2)
        ),
    ]


def _pay(d: Dialect, v: Values) -> list[Statement]:
    return [f"update {d.s}account set balance = balance + 1 where id = {2 + 2 * (v['a'] % 70)}"]


def _remark(d: Dialect, v: Values) -> list[Statement]:
    """Statements that are told in several pieces, cut anywhere."""
    at = 2 + 2 * (v["a"] % 70)
    remark, national = "''" * (v["b"] % 1500 + 1), "\u00e9\u2603" * (v["a"] % 400 + 1)
    return [f"update {d.s}account set remark = '{remark}', national = '{national}' where id = {at}"]


def _swap(d: Dialect, v: Values) -> list[Statement]:
    """Two rows change their keys, one swap at a time: the last row is its lock."""
    one, other = 142 + 2 * (v["a"] % 39), 220 + 2 * (v["b"] % 39)
    key = f"update {d.s}account set id = {{}} where id = {{}}"
    return [
        f"update {d.s}account set balance = balance where id = {ACCOUNTS}",
        key.format(-1, one),
        key.format(one, other),
        key.format(other, -1),
    ]


def _event(d: Dialect, v: Values) -> list[Statement]:
    return [f"insert into {d.s}event values ('twice', 'wild')"] * 2


def _event_seen(d: Dialect, v: Values) -> list[Statement]:
    return [
        f"update {d.s}event set mood = 'seen {v['b'] % 3}' where what = 'alike {v['a'] % 7}'",
    ]


def _event_gone(d: Dialect, v: Values) -> list[Statement]:
    return [f"delete from {d.s}event where what = 'twice'"]


def _bulk(d: Dialect, v: Values) -> list[Statement]:
    rows = [(f"bulk {at % 9}",) for at in range(60)]
    return [(f"insert into {d.s}event values ({d.bind}, null)", rows)]


def _body(d: Dialect, v: Values) -> list[Statement]:
    """A large value, one that is empty of all, and one that another transaction has changed meanwhile."""
    text = ("null", f"'{'large ' * (v['b'] % 600 + 1)}'", "'it''s small'", f"'{chr(252) * 40}'")
    at = 1 + v["a"] % DOCUMENTS
    return [
        f"update {d.s}document set body = {text[v['b'] % 4]} where id = {at}",
        f"update {d.s}document set image = {d.image.format('a7' * (v['b'] % 300))} where id = {at}",
        f"update {d.s}document set title = 'title {v['n']}' where id = {at}",
    ]


def _document(d: Dialect, v: Values) -> list[Statement]:
    """A value that is too large for a literal; the row's key changes right after."""
    at = 10_000_000 * v["writer"] + v["n"]
    image = d.image.format("ff00")
    return [
        (
            f"insert into {d.s}document values ({at}, 'new', {d.bind}, {image})",
            [("it's " * (v["a"] % 4000 + 1),)],
        ),
        f"update {d.s}document set id = id + 500000000 where id = {at}",
    ]


def _close(d: Dialect, v: Values) -> list[Statement]:
    at = 1 + 2 * (v["a"] % 69)
    number = 2 * (v["n"] % 4000) + v["writer"]
    return [
        f"delete from {d.s}line where account = {at}",
        f"insert into {d.s}line values ({at}, {number}, 1, null)",
    ]


def _half(d: Dialect, v: Values) -> list[Statement]:
    """Some of it is taken back, in the middle."""
    return [
        f"insert into {d.s}event values ('kept', 'wild')",
        "savepoint s",
        f"insert into {d.s}event values ('never', 'wild')",
        f"update {d.s}account set balance = balance + 1000000 where id = {2 + 2 * (v['a'] % 70)}",
        f"delete from {d.s}document where id = {1 + v['b'] % DOCUMENTS}",
        "rollback to savepoint s",
        f"insert into {d.s}event values ('kept', 'calm')",
    ]


def _back(d: Dialect, v: Values) -> list[Statement]:
    return [f"update {d.s}account set balance = 0 where id < 20", f"delete from {d.s}event"]


def _nothing(d: Dialect, v: Values) -> list[Statement]:
    return []


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of transaction."""

    name: str
    share: int
    statements: Statements
    delta: int = 0  #: to the sum of balances
    rolls_back: bool = False
    only_streaming: bool = False


KINDS = (
    Kind("open", 30, _open),
    Kind("pay", 50, _pay, delta=1),
    Kind("remark", 8, _remark),
    Kind("swap", 8, _swap),
    Kind("event", 20, _event),
    Kind("event seen", 4, _event_seen),
    Kind("event gone", 2, _event_gone),
    Kind("bulk", 1, _bulk),
    Kind("body", 16, _body),
    Kind("document", 12, _document),
    Kind("close", 6, _close),
    Kind("half", 8, _half),
    Kind("rolled back", 4, _back, rolls_back=True),
)
STRAY = Kind("stray", 0, _nothing)
BY_NAME = {kind.name: kind for kind in (*KINDS, STRAY)}


def statements(kind: Kind, d: Dialect, v: Values) -> list[Statement]:
    """The whole transaction: its number comes first, and once."""
    return [
        f"insert into {d.s}ledger values ({v['writer']}, {v['n']}, '{kind.name}')",
        f"insert into {d.s}mark values ({v['writer']}, {v['n']})",
        *kind.statements(d, v),
    ]
