"""Compares both sides and the writers' ledger with code of its own: nothing of the product's is imported.

Every row of every table is read as COPY text on both sides, sorted, and compared byte by byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import psycopg
from psycopg import sql

from demo.record import Operation, Outcome, Record

#: Text forms must not hang on what a role or a database sets.
OPTIONS = (
    "-c datestyle=ISO -c timezone=UTC -c intervalstyle=postgres -c extra_float_digits=3 "
    "-c bytea_output=hex -c search_path=pg_catalog"
)
TABLES = """
select n.nspname, c.relname,
    array(select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
          and not a.attisdropped order by a.attname collate "C")
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname = any(%s) order by 1, 2"""
#: Sequences that feed a column, with that column; and those that don't.
SEQUENCES = """
select n.nspname, s.relname, t.relname, a.attname
from pg_class s join pg_namespace n on n.oid = s.relnamespace
    left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.oid and d.deptype in ('a', 'i')
    left join pg_class t on t.oid = d.refobjid
    left join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
where s.relkind = 'S' and n.nspname = any(%s) order by 1, 2"""
#: Differences named for each claim.
NAMED = 3


@dataclass
class Verdict:
    """What was looked at, and what was wrong with it; nothing wrong: it held."""

    claim: str
    seen: str = ""
    wrong: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        return not self.wrong


@dataclass
class Counts:
    """Rows of a table on each side."""

    table: str
    source: int
    target: int


def compare_rows(
    source: str, target: str, schemas: Sequence[str] = ("public",)
) -> tuple[Verdict, list[Counts]]:
    """Compare every row of every table of these schemas."""
    verdict = Verdict("every row of every table is the same on both sides")
    here, there = (_tables(dsn, schemas) for dsn in (source, target))
    for name in here.keys() ^ there.keys():
        verdict.wrong.append(f"{'.'.join(name)} is on one side only")
    counts: list[Counts] = []
    with ThreadPoolExecutor(2) as pool:
        for name in sorted(here.keys() & there.keys()):
            table = ".".join(name)
            if here[name] != there[name]:
                verdict.wrong.append(f"{table} has other columns on the other side")
                continue
            one, other = pool.map(_rows, (source, target), (name,) * 2, (here[name],) * 2)
            counts.append(Counts(table, len(one), len(other)))
            if one != other:
                verdict.wrong.append(f"{table}: {_first_difference(one, other)}")
    verdict.seen = f"{sum(each.source for each in counts)} rows, {len(counts)} tables"
    return verdict, counts


def _tables(dsn: str, schemas: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    with psycopg.connect(dsn, options=OPTIONS) as connection:
        rows = connection.execute(TABLES.encode(), [list(schemas)]).fetchall()
    return {(schema, name): columns for schema, name, columns in rows}


def _rows(dsn: str, name: tuple[str, str], columns: Sequence[str]) -> list[bytes]:
    query = sql.SQL("copy (select {} from only {}) to stdout").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(*name)
    )
    with (
        psycopg.connect(dsn, options=OPTIONS) as connection,
        connection.cursor() as cursor,
        cursor.copy(query) as copy,
    ):
        rows = [bytes(row) for row in copy]
    rows.sort()
    return rows


def _first_difference(one: Sequence[bytes], other: Sequence[bytes]) -> str:
    at, (a, b) = next(
        (at, pair) for at, pair in enumerate(zip_longest(one, other)) if pair[0] != pair[1]
    )
    return f"{len(one)} and {len(other)} rows; row {at + 1}: {a!r:.120} and {b!r:.120}"


def check_record(
    record: Record, ledgers: Mapping[str, Mapping[tuple[int, int], int]]
) -> list[Verdict]:
    """Compare what the writers were told with what is in the table `ledger` of each side."""
    visible = {side: set(ledger) for side, ledger in ledgers.items()}
    everywhere = set.intersection(*visible.values())
    somewhere = set.union(*visible.values())
    ok, unknown = record.of(Outcome.OK), record.of(Outcome.UNKNOWN)
    refused = record.of(Outcome.FAILED, Outcome.ROLLED_BACK)
    return [
        Verdict(
            "each acknowledged transaction is on both sides",
            f"{len(ok)} acknowledged",
            _named(each for each in ok if (each.writer, each.n) not in everywhere),
        ),
        Verdict(
            "its rows are there once",
            f"{len(somewhere)} transactions",
            [
                f"{side}: {key} is there {times} times"
                for side, ledger in ledgers.items()
                for key, times in ledger.items()
                if times != 1
            ][:NAMED],
        ),
        Verdict(
            "no failed or rolled-back transaction is anywhere",
            f"{len(refused)} failed or rolled back",
            _named(each for each in refused if (each.writer, each.n) in somewhere),
        ),
        Verdict(
            "no transaction is there that nobody sent",
            f"{len(record.operations)} sent",
            [f"{key} is in a ledger" for key in sorted(somewhere - record.operations.keys())][
                :NAMED
            ],
        ),
        Verdict(
            "a transaction whose answer was lost is on both sides or on none",
            f"{len(unknown)} lost answers",
            _named(
                each
                for each in unknown
                if (each.writer, each.n) in somewhere and (each.writer, each.n) not in everywhere
            ),
        ),
    ]


def check_single_writer(record: Record, expected: Sequence[str]) -> Verdict:
    """See that the acknowledged transactions change sides as often as was asked for, and never overlap."""
    switches = record.switches()
    sides = [*(switch.old for switch in switches[:1]), *(switch.new for switch in switches)]
    verdict = Verdict(
        "never did both sides take writes", f"{len(switches)} switches: {' -> '.join(sides)}"
    )
    if sides != list(expected):
        verdict.wrong.append(f"expected {' -> '.join(expected)}")
    return verdict


def check_sequences(dsn: str, schemas: Sequence[str] = ("public",)) -> Verdict:
    """See that the next value of each sequence is beyond all that are in use. Uses up one value of each."""
    verdict = Verdict("the next value of each sequence is free")
    with psycopg.connect(dsn, options=OPTIONS, autocommit=True) as connection:
        found = connection.execute(SEQUENCES.encode(), [list(schemas)]).fetchall()
        for schema, name, owner, owned in found:
            table, column = (owner, owned) if owner else FED_BY_DEFAULT.get(name, ("", ""))
            if not table:
                continue
            highest = _value(
                connection,
                sql.SQL("select coalesce(max({}), 0) from {}").format(
                    sql.Identifier(column), sql.Identifier(schema, table)
                ),
            )
            following = _value(
                connection,
                sql.SQL("select nextval({}::regclass)").format(
                    sql.Literal(sql.Identifier(schema, name).as_string(connection))
                ),
            )
            if following <= highest:
                verdict.wrong.append(f"{name} gives {following}, and {highest} is in use")
    verdict.seen = f"{len(found)} sequences"
    return verdict


#: Sequences that no column owns.
FED_BY_DEFAULT = {"order_number": ("orders", "id"), "invoice_number": ("orders", "invoice")}


def ledger_of(dsn: str) -> dict[tuple[int, int], int]:
    """The table `ledger`: how often each transaction's row is there."""
    with psycopg.connect(dsn, options=OPTIONS) as connection:
        rows = connection.execute(
            "select writer, n, count(*) from public.ledger group by 1, 2"
        ).fetchall()
    return {(writer, n): times for writer, n, times in rows}


def _named(operations: Any) -> list[str]:
    found: list[Operation] = list(operations)
    return [
        f"writer {each.writer} number {each.n} ({each.op}, {each.side})" for each in found[:NAMED]
    ] + ([f"and {len(found) - NAMED} more"] if len(found) > NAMED else [])


def _value(connection: psycopg.Connection[Any], query: sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
