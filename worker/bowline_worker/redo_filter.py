"""`bowline-worker redo`: statements of LogMiner in, JSON out, line by line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import BinaryIO, TypeAlias, assert_never

import click

from bowline_worker.endpoints.oracle.redo import (
    Hex,
    IntervalDs,
    IntervalYm,
    Mark,
    Redo,
    RedoError,
    RedoValue,
    Timestamp,
    TimestampLtz,
    TimestampTz,
    parse,
)

#: A value names its type: {"text": ...}, {"hex": ...}, {"empty_clob": true}.
Typed: TypeAlias = dict[str, str | bool]
_PIPE_BROKE = 141  # what a shell says of a program that SIGPIPE ended


@click.command
@click.option("--relaxed-quotes", is_flag=True, help="For MAX_STRING_SIZE = EXTENDED.")
def redo(relaxed_quotes: bool) -> None:
    """Read LogMiner's SQL_REDO from stdin, one statement a line, and print one JSON object for each.

    A line that begins with a double quote is a JSON string which holds the statement. What can't be read gives
    {"error": ..., "offset": ...}, the offset in characters of the statement, and does not change the exit code.
    """
    try:
        convert(sys.stdin.buffer, sys.stdout.buffer, relaxed_quotes=relaxed_quotes)
    except BrokenPipeError:
        # Python flushes stdout once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_PIPE_BROKE)


def convert(statements: BinaryIO, results: BinaryIO, *, relaxed_quotes: bool) -> None:
    """Answer each line as soon as it is there, so that another program can ask and wait."""
    for line in statements:
        results.write(_answer(line, relaxed_quotes=relaxed_quotes))
        results.flush()


def _answer(line: bytes, *, relaxed_quotes: bool) -> bytes:
    told: Mapping[str, object]
    try:
        told = as_json(parse(_statement(line), relaxed_quotes=relaxed_quotes))
    except RedoError as error:
        told = {"error": str(error), "offset": error.offset}
    return json.dumps(told).encode() + b"\n"


def _statement(line: bytes) -> str:
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise RedoError("expected UTF-8", len(line[: error.start].decode())) from None
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except json.JSONDecodeError as error:
        raise RedoError("expected a JSON string that holds a statement", error.pos) from None


def as_json(statement: Redo) -> dict[str, object]:
    return {
        "operation": str(statement.operation),
        "owner": statement.owner,
        "table": statement.table,
        "set": {name: _typed(value) for name, value in statement.set.items()},
        "where": {name: _typed(value) for name, value in statement.where.items()},
        "rowid": statement.rowid,
    }


def _typed(value: RedoValue) -> Typed | None:  # noqa: PLR0911 (a table of types)
    match value:
        case None:
            return None
        case str(text):
            return {"text": text}
        case Hex(data):
            return {"hex": data.hex()}
        case Timestamp(text):
            return {"timestamp": text}
        case TimestampTz(text):
            return {"timestamptz": text}
        case TimestampLtz(text):
            return {"timestampltz": text}
        case IntervalYm(text):
            return {"interval_ym": text}
        case IntervalDs(text):
            return {"interval_ds": text}
        case Mark.BIND:
            return {"unsupported": True}  # its value is in other rows
        case Mark():
            return {value.value: True}
        case _:
            assert_never(value)
