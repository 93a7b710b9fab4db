"""Random transactions of an application at the stand-in: interleaved, with savepoints, failed statements and LOBs."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from random import Random
from typing import Final

import oracledb

TABLES: Final = (
    "create table plain (id number(9) primary key, tag number(2) not null, name varchar2(40), price number(12,2),"
    " made date, ratio binary_double)",
    "create table noted (id number(9) primary key, tag number(2) not null, name varchar2(40), note clob, raw_ blob)",
    "create table event (tag number(2), what varchar2(40), mood char(4))",
)
TEXTS: Final = (
    None,
    "a",
    "it's",
    "''''",
    "x' and \"NAME\" = '",
    "é☃",
    "'" * 19,
    "a||b",
    "values (",
)
NOTES: Final = (None, "", "small", "'" * 5, "large " * 900, "ü" * 30)
SESSIONS: Final = 3


class Client:
    """One session. It only touches rows with its own tag, so that none waits for another's lock."""

    def __init__(self, connection: oracledb.Connection, tag: int, draw: Random) -> None:
        self._connection, self._tag, self._draw = connection, tag, draw
        self._cursor = connection.cursor()
        self._next = tag
        self._savepoint = False

    def act(self) -> None:
        """Do one thing."""
        draw = self._draw
        kinds = [self._insert] * 4 + [self._update] * 4 + [self._delete] * 2 + [self._commit] * 3
        kinds += [self._save, self._back, self._back, self._rollback, self._twice, self._many]
        draw.choice(kinds)()

    def commit(self) -> None:
        """End what is open."""
        self._connection.commit()
        self._savepoint = False

    def close(self) -> None:
        self._connection.close()

    def _insert(self) -> None:
        for _ in range(self._draw.randint(1, 3)):
            self._insert_into(self._draw.choice(("plain", "noted", "event")))

    def _insert_into(self, table: str) -> None:
        self._next += SESSIONS
        if table == "event":
            self._run(
                "insert into event values (:1, :2, :3)",
                self._tag, self._draw.choice(("one", "two")), self._draw.choice(("calm", "wild", None)),
            )  # fmt: skip
        elif table == "noted":
            self._run(
                "insert into noted values (:1, :2, :3, :4, :5)",
                self._next, self._tag, self._text(), *self._lobs(),
            )  # fmt: skip
        else:
            self._run(
                "insert into plain values (:1, :2, :3, :4, to_date(:5, 'YYYY-MM-DD HH24:MI:SS'), :6)",
                self._next, self._tag, self._text(), self._price(), self._date(), self._ratio(),
            )  # fmt: skip

    def _update(self) -> None:
        draw = self._draw
        match draw.randrange(7):
            case 0:
                self._on("plain", "name = :1, ratio = :2", self._text(), self._ratio())
            case 1:
                self._on("plain", "price = :1", self._price())
            case 2:
                self._next += SESSIONS
                self._on("plain", "id = :1", self._next)
            case 3:
                self._on("noted", "note = :1", self._lobs()[0])
            case 4:
                self._on("noted", "name = :1", self._text())
            case 5:
                self._next += SESSIONS
                self._on("noted", "id = :1, raw_ = :2", self._next, self._lobs()[1])
            case _:
                self._run(
                    "update event set mood = :1 where tag = :2 and what = :3",
                    draw.choice(("calm", "wild", None)), self._tag, draw.choice(("one", "two")),
                )  # fmt: skip

    def _on(self, table: str, sets: str, *values: object) -> None:
        row = self._some(table)
        if row is not None:
            place = len(values) + 1
            self._run(f"update {table} set {sets} where id = :{place}", *values, row)

    def _delete(self) -> None:
        table = self._draw.choice(("plain", "noted", "event"))
        if table == "event":
            self._run("delete from event where tag = :1 and rownum <= 2", self._tag)
        elif (row := self._some(table)) is not None:
            self._run(f"delete from {table} where id = :1", row)

    def _many(self) -> None:
        self._run("delete from plain where tag = :1 and mod(id, 4) = 0", self._tag)

    def _twice(self) -> None:
        """A statement that fails in its middle: what it did is taken back, and in the redo."""
        row = self._some("plain")
        if row is not None:
            statement = "insert into plain (id, tag) select id, tag from plain where tag = :1 and id >= :2 order by id"
            with suppress(oracledb.IntegrityError):
                self._run(statement, self._tag, row)

    def _save(self) -> None:
        self._run("savepoint here")
        self._savepoint = True

    def _back(self) -> None:
        if self._savepoint:
            self._run("rollback to savepoint here")

    def _commit(self) -> None:
        self.commit()

    def _rollback(self) -> None:
        self._connection.rollback()
        self._savepoint = False

    def _some(self, table: str) -> object | None:
        self._run(f"select id from {table} where tag = :1 order by id", self._tag)
        rows = self._cursor.fetchall()
        return self._draw.choice(rows)[0] if rows else None

    def _run(self, statement: str, *values: object) -> None:
        # A float is bound as NUMBER otherwise, which has no room for small ones.
        if any(isinstance(value, float) for value in values):
            sizes = [
                oracledb.DB_TYPE_BINARY_DOUBLE if isinstance(v, float) else None for v in values
            ]
            self._cursor.setinputsizes(*sizes)
        self._cursor.execute(statement, list(values))

    def _text(self) -> str | None:
        return self._draw.choice(TEXTS)

    def _lobs(self) -> tuple[oracledb.LOB | None, oracledb.LOB | None]:
        """Bound as LOBs: an empty text that is bound is NULL."""
        note, content = self._draw.choice(NOTES), self._draw.choice((None, b"", b"\x00\xff" * 4))
        make = self._connection.createlob
        return (
            None if note is None else make(oracledb.DB_TYPE_CLOB, note),
            None if content is None else make(oracledb.DB_TYPE_BLOB, content),
        )

    def _price(self) -> object:
        return self._draw.choice((None, 0, Decimal("1.25"), Decimal("-99999.5"), 1234567890))

    def _date(self) -> str | None:
        return self._draw.choice((None, "2024-02-29 23:59:58", "1999-12-31 00:00:00"))

    def _ratio(self) -> float | None:
        return self._draw.choice((None, 0.1 + 0.2, 1.5e10, -2.5e-300, 0.0, self._draw.random()))
