"""How many statements of LogMiner a second are read on one core, against a tokenizer of regular expressions.

`make bench-redo`. The tokenizer is written as one would write it: one expression for all tokens, compiled once, and a
descent over the tokens; it makes the same values, which is checked on every statement before anything is timed. Both
read the same statements, in turns, and the best turn of each counts, in seconds of this process's own: what else the
machine does only makes it slower.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import click

from bowline_worker.endpoints.oracle.redo import (
    Hex,
    Operation,
    Redo,
    RedoValue,
    Timestamp,
    TimestampLtz,
    TimestampTz,
    parse,
)

RATIO = 4.0
STATEMENTS_PER_SECOND = 150_000
TURNS = 7

TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*')
      | "(?P<name>[^"]+)"
      | (?P<word>[A-Za-z_]+)
      | (?P<number>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
      | (?P<symbol>\|\||[(),.=;])
    )""",
    re.VERBOSE,
)
MOMENT = re.compile(
    r"(-?\d{4}-\d\d-\d\d) ([0-2]\d:[0-5]\d:[0-5]\d(?:\.\d{1,9})?)\.?(?: ([-+]\d\d:\d\d))?"
)
ESCAPE = re.compile(r"\\(?:\\|([0-9A-Fa-f]{4}))")
VERBS = {"insert": "into", "update": None, "delete": "from"}


def split(sql: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    for found in TOKEN.finditer(sql):
        kind = found.lastgroup
        if kind is None or found.start() != at:
            break
        at = found.end()
        tokens.append((kind, found[kind]))
    if at != len(sql):
        raise ValueError(f"no token at {at}")
    tokens += [("end", "")] * 2
    return tokens


class Tokenizer:
    """A statement as tokens, and the descent over them."""

    def __init__(self, sql: str) -> None:
        self.tokens = iter(split(sql))
        self.kind = self.token = ""
        self.advance()

    def advance(self) -> str:
        was = self.token
        self.kind, self.token = next(self.tokens)
        return was

    def has(self, token: str) -> bool:
        """Pass over a word or a symbol, if it comes next."""
        if self.token == token and self.kind in ("word", "symbol"):
            self.advance()
            return True
        return False

    def take(self, token: str) -> None:
        if not self.has(token):
            raise ValueError(f"expected {token}")

    def name(self) -> str:
        if self.kind != "name":
            raise ValueError("expected a name")
        return self.advance()

    def text(self) -> str:
        if self.kind != "text":
            raise ValueError("expected a literal")
        return self.advance()[1:-1].replace("''", "'")

    def value(self) -> RedoValue:
        value = self.operand()
        while self.has("||"):
            more = self.operand()
            if not isinstance(value, str) or not isinstance(more, str):
                raise TypeError("expected text")
            value += more
        return value

    def operand(self) -> RedoValue:
        if self.kind == "text":
            return self.text()
        if self.kind == "number":
            return self.advance()
        if self.has("NULL"):
            return None
        function = self.advance()
        self.take("(")
        operands = [self.text()]
        while self.has(","):
            operands.append(self.text())
        self.take(")")
        return FUNCTIONS[function](*operands)

    def statement(self) -> Redo:
        operation = Operation(self.token.upper())
        follows = VERBS[self.advance()]
        if follows is not None:
            self.take(follows)
        owner = self.name()
        self.take(".")
        table = self.name()
        new = self.row() if operation is Operation.INSERT else {}
        if operation is Operation.UPDATE:
            self.take("set")
            new = self.assigned()
        known, rowid = self.known() if self.has("where") else ({}, None)
        self.has(";")
        if self.kind != "end":
            raise ValueError("expected the end")
        return Redo(operation, owner, table, new, known, rowid)

    def row(self) -> dict[str, RedoValue]:
        self.take("(")
        names = [self.name()]
        while self.has(","):
            names.append(self.name())
        self.take(")")
        self.take("values")
        self.take("(")
        values = [self.value()]
        while self.has(","):
            values.append(self.value())
        self.take(")")
        return dict(zip(names, values, strict=True))

    def assigned(self) -> dict[str, RedoValue]:
        values: dict[str, RedoValue] = {}
        while not values or self.has(","):
            name = self.name()
            self.take("=")
            values[name] = self.value()
        return values

    def known(self) -> tuple[dict[str, RedoValue], str | None]:
        values: dict[str, RedoValue] = {}
        rowid = None
        while True:
            if self.has("ROWID"):
                self.take("=")
                rowid = self.text()
            else:
                name = self.name()
                if self.has("IS"):
                    self.take("NULL")
                    values[name] = None
                else:
                    self.take("=")
                    values[name] = self.value()
            if not self.has("and"):
                return values, rowid


def moment(text: str) -> tuple[str, str]:
    found = MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("expected YYYY-MM-DD HH24:MI:SS.FF")
    day, clock, offset = found.groups()
    return f"{day}T{clock}", offset or ""


def in_zone(text: str) -> TimestampTz | TimestampLtz:
    at, offset = moment(text)
    return TimestampTz(at + offset) if offset else TimestampLtz(at)


def unescaped(text: str) -> str:
    return ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "\\", text)


FUNCTIONS: dict[str, Callable[..., RedoValue]] = {
    "HEXTORAW": lambda text: Hex(bytes.fromhex(text)),
    "TO_DATE": lambda text, _format: Timestamp(moment(text)[0]),
    "TO_TIMESTAMP": lambda text: Timestamp(moment(text)[0]),
    "TO_TIMESTAMP_TZ": in_zone,
    "UNISTR": unescaped,
}


def tokenize(sql: str) -> Redo:
    return Tokenizer(sql).statement()


@dataclass(frozen=True, slots=True)
class Load:
    name: str
    make: Callable[[random.Random, int], str]
    counts: bool = False  #: for the verdict


def order(chance: random.Random, number: int) -> dict[str, str]:
    """A row of five columns as LogMiner prints it: a number, texts, a timestamp; one in five notes is NULL."""
    note = (
        f"'note {chance.randrange(10**6)} for order {number}'" if chance.random() > 0.2 else "NULL"
    )
    at = f"2024-{chance.randrange(12) + 1:02}-{chance.randrange(28) + 1:02}"
    clock = f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}"
    return {
        "ID": f"'{number}'",
        "CUSTOMER": f"'customer {chance.randrange(10**5)}'",
        "AMOUNT": f"'{chance.randrange(10**7) / 100}'",
        "NOTE": note,
        "PLACED": f"TO_TIMESTAMP('{at} {clock}.{chance.randrange(10**6):06}000')",
    }


def insert(chance: random.Random, number: int) -> str:
    row = order(chance, number)
    names = ",".join(f'"{name}"' for name in row)
    return f'insert into "SHOP"."ORDERS"({names}) values ({",".join(row.values())});'


def known(row: dict[str, str], number: int) -> str:
    pairs = [
        f'"{name}" IS NULL' if value == "NULL" else f'"{name}" = {value}'
        for name, value in row.items()
    ]
    return " and ".join([*pairs, f"ROWID = 'AAAR3sAAEAAA{number % 10**6:06}'"])


def update(chance: random.Random, number: int) -> str:
    amount = f"""'{chance.randrange(10**7) / 100}'"""
    return f'update "SHOP"."ORDERS" set "AMOUNT" = {amount} where {known(order(chance, number), number)};'


def delete(chance: random.Random, number: int) -> str:
    return f'delete from "SHOP"."ORDERS" where {known(order(chance, number), number)};'


def quoted(chance: random.Random, number: int) -> str:
    return insert(chance, number).replace("customer ", "l''hôte d''")


def wide(chance: random.Random, number: int) -> str:
    """Any of fifteen columns may be NULL: nearly every statement has a shape of its own, the worst case."""
    values = [
        "NULL" if chance.random() < 0.5 else f"'{chance.randrange(10**6)}'" for _ in range(15)
    ]
    names = ",".join(f'"C{place}"' for place in range(15))
    return f'insert into "SHOP"."WIDE"({names}) values ({",".join(values)});'


LOADS = (
    Load("inserts of 5 columns", insert, counts=True),
    Load("updates, 5 columns known", update),
    Load("deletes, 5 columns known", delete),
    Load("inserts with doubled quotes", quoted),
    Load("inserts of ever new shapes", wide),
)


def rate(read: Callable[[str], Redo], statements: list[str]) -> float:
    began = time.process_time()
    for statement in statements:
        read(statement)
    return len(statements) / (time.process_time() - began)


def measure(load: Load, count: int) -> tuple[float, float]:
    """Statements a second: ours, and the tokenizer's."""
    chance = random.Random(5)
    statements = [load.make(chance, number) for number in range(count)]
    for statement in statements:
        if parse(statement) != tokenize(statement):
            raise SystemExit(f"the two readers do not agree on {statement}")
    ours, theirs = [], []
    for _ in range(TURNS):
        ours.append(rate(parse, statements))
        theirs.append(rate(tokenize, statements))
    return max(ours), max(theirs)


@click.command()
@click.option("--count", default=10_000, show_default=True, help="Statements of each kind.")
def main(count: int) -> None:
    """Print both rates for each kind; exit 1 if inserts are not read at least four times as fast."""
    held = True
    for load in LOADS:
        ours, theirs = measure(load, count)
        ratio = ours / theirs
        click.echo(
            f"{load.name:28} {ours:9,.0f} statements/s, tokenizer {theirs:7,.0f}, ratio {ratio:4.1f}"
        )
        if load.counts:
            held = ratio >= RATIO
            fast = "held" if ours >= STATEMENTS_PER_SECOND else "NOT on this machine, now"
            click.echo(f"  {'held ' if held else 'BROKE'} at least {RATIO:g} times the tokenizer")
            click.echo(f"  at least {STATEMENTS_PER_SECOND:,} statements/s on one core: {fast}")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
