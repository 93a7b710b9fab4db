"""Walks all cases of what is carried along one road, by real roles: there, to the target, back, and there again.

A case that stops the road is found by its tables' names in the error; it is taken out, and the others walk again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql

from bowline_worker.contract import Side, Verdict
from endpoints.carried import Case
from endpoints.content import Content, content, unequal
from road.by_hand import Ended, Road
from servers import APPLICATION, MIGRATOR, Database, Pair

#: What roles and databases prefer: none of it may reach a value.
HOSTILE = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "TimeZone": "Asia/Kathmandu",
    "search_path": "nowhere",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "xmloption": "document",
    "xmlbinary": "hex",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "client_encoding": "SQL_ASCII",
    "escape_string_warning": "off",
    "lc_messages": "C",
    "transform_null_equals": "on",
    "enable_indexscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "lc_monetary": "ja_JP.utf8",
}
#: The two sides need not prefer the same.
HOSTILE_TARGET = {"lc_monetary": "de_DE.utf8"}
#: With what an application reads and writes literals.
APPLICATIONS_OWN = {
    "DateStyle": "ISO, YMD",
    "lc_monetary": "C",
    "search_path": "public, ext",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "xmloption": "content",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "transform_null_equals": "off",
    "row_security": "on",
}
#: How a walk goes: a table of a few pages has several chunks, which several workers take.
SETTINGS: Mapping[str, Any] = {
    "parallelism": 2,
    "chunk_rows": 100,
    "include": ["*.*"],
    "budget": timedelta(minutes=10),
}

#: Hundreds of tables take their time, on a machine that has other things to do.
SECONDS = 600.0

LEGS = ("snapshot", "stream to the target", "stream back", "stream to the target again")

#: Two sides of a migration, for as long as a walk takes.
Sides = Callable[[], AbstractContextManager[Pair]]


@dataclass
class Walked:
    """What a walk has shown."""

    found: dict[tuple[str, str], Content] = field(default_factory=dict)  #: by leg and case
    unequal: Sequence[
        str
    ] = ()  #: tables whose digests differ in the end; each switch compares all tables too
    failed: dict[str, str] = field(default_factory=dict)  #: by case
    broken: str = ""  #: why it did not come to its end


class Broken(Exception):
    """The road was not walked to its end."""


def walk(sides: Sides, cases: Sequence[Case]) -> Walked:
    """Walk until nobody is to blame: all cases that are left came to the end, or one that nobody can name."""
    failed: dict[str, str] = {}
    while True:
        walked = Walked(failed=failed)
        going = [case for case in cases if case.name not in failed]
        with sides() as pair:
            road = Road(pair, dict(SETTINGS), SECONDS)
            try:
                _once(road, going, walked)
            except (Broken, Ended) as error:
                walked.broken = (
                    f"{error}\n{said(road)}"
                    if isinstance(error, Broken)
                    else said(road) or str(error)
                )
            finally:
                road.close()
        if not walked.broken:
            return walked
        blamed = [case for case in going if is_named(case, walked.broken)]
        if not blamed:
            return walked
        failed.update((case.name, walked.broken) for case in blamed)


def said(road: Road) -> str:
    """What the roles that failed had to say."""
    words = []
    for worker in road.workers:
        if worker.process.poll():
            report = worker.report()
            failure = report.failure if report else None
            words.append(f"{worker.name}: {failure.message if failure else worker.log()}")
            words += [each.message for each in report.findings] if report else []
    return "\n".join(words)


def is_named(case: Case, text: str) -> bool:
    """Tell whether a text speaks of one of the case's tables, however it quotes them."""
    plain = text.replace('"', "")
    return any(
        re.search(rf"(?<!\w){re.escape(table.replace(chr(34), ''))}(?!\w)", plain)
        for table in case.tables
    )


def _once(road: Road, cases: Sequence[Case], walked: Walked) -> None:
    pair = road.pair
    for case in cases:
        _try(walked, case, lambda case=case: make(pair.source, case))  # type: ignore[misc]
    be_hostile(pair.source)
    be_hostile(pair.target, **HOSTILE_TARGET)
    _, apply = road.to_streaming()
    look(pair, LEGS[0], cases, walked)
    write(pair.source, 1000, cases, walked)
    road.caught_up(apply)
    look(pair, LEGS[1], cases, walked)

    _switch(road, 1, Side.SOURCE)
    write(pair.target, 2000, cases, walked)
    road.caught_up(road.workers[-1])
    look(pair, LEGS[2], cases, walked)

    _switch(road, 2, Side.TARGET)
    write(pair.source, 3000, cases, walked)
    road.caught_up(road.workers[-1])
    look(pair, LEGS[3], cases, walked)
    walked.unequal = unequal(pair, SETTINGS)


def _switch(road: Road, attempt: int, loser: Side) -> None:
    """A whole switch; it compares both sides behind the fence."""
    switch = road.switch(attempt, loser)
    if switch.verdict is not Verdict.COMMITTED:
        raise Broken(f"switch {attempt}: {switch.verdict}: {switch.reason}: {switch.message}")


def make(database: Database, case: Case) -> None:
    """Make a case's objects and its first rows, as the application, which owns the database."""
    run(database, [*case.make, *case.before], 0)


def write(database: Database, number: int, cases: Iterable[Case], walked: Walked) -> None:
    for case in cases:
        _try(walked, case, lambda case=case: run(database, case.writes, number))  # type: ignore[misc]


def run(database: Database, statements: Sequence[str], number: int) -> None:
    """Run statements as the application; what follows a COPY FROM STDIN in its text is its data."""
    with as_application(database) as connection:
        for statement in statements:
            text = statement.replace("{n}", str(number))
            first, _, rest = text.partition("\n")
            if first.lower().startswith("copy ") and "from stdin" in first.lower():
                with connection.cursor().copy(first.encode()) as copy:
                    copy.write(rest)
            else:
                connection.execute(text.encode())


def as_application(database: Database) -> psycopg.Connection[tuple[object, ...]]:
    options = " ".join(
        f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in APPLICATIONS_OWN.items()
    )
    return database.connect(
        APPLICATION, database.server.password, options=options, client_encoding="UTF8"
    )


def _try(walked: Walked, case: Case, act: Callable[[], None]) -> None:
    """A case whose own SQL is refused fails for that; the others go on."""
    try:
        act()
    except psycopg.Error as error:
        walked.failed.setdefault(case.name, f"{type(error).__name__}: {error}")


def look(pair: Pair, leg: str, cases: Iterable[Case], walked: Walked) -> None:
    """Keep what both sides hold."""
    for case, found in content(pair, cases):
        walked.found[leg, case.name] = found


def be_hostile(database: Database, **other: str) -> None:
    """Set what sessions prefer here, the migration's user's and all others; what a server does not know is left out."""
    place = sql.SQL("database {}").format(sql.Identifier(database.name))
    user = sql.SQL("role {} in ").format(sql.Identifier(MIGRATOR)) + place
    with database.connect() as connection:
        for name, value in {**HOSTILE, **other}.items():
            for whose in (place, user):
                with suppress(psycopg.errors.InvalidParameterValue):
                    connection.execute(
                        sql.SQL("alter {} set {} = {}").format(whose, sql.Identifier(name), value)
                    )
