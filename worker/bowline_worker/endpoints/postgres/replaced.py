"""SQL of a value as it is in Oracle once the policy of spec.values has changed it on its way there.

A row whose value was changed is not told from its copy by this: under the policy both are the same. The same changes
are made to what is written, in Python, by the types of endpoints/oracle; test_replaced_values.py compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bowline_worker.contract import NullAnswer, ValueAnswer, Values
from bowline_worker.model import Column

TIMES: Final = frozenset(("timestamp", "timestamptz"))
#: The ends of Oracle's calendar, and the first instants behind it: what is between the last two is still in it.
FIRST: Final = "4712-01-01 00:00:00 BC"
LAST: Final = "9999-12-31 23:59:59"
BEHIND: Final = "10000-01-01 00:00:00"


def as_in_oracle(column: Column, value: str, values: Values) -> str:
    """The SQL of a column's value, `value`, as the policy would write it: most are as they were."""
    if column.empty_is_null and column.type_name in ("varchar", "text", "bytea"):
        return _filled(column, value, values)
    if column.type_name == "numeric":
        return _number(value, values)
    if column.type_name in TIMES:
        return _time(column, value, values)
    return value


def _filled(column: Column, value: str, values: Values) -> str:
    # By its length, since a collation may call other texts equal to an empty one. CHAR is never empty here: it is
    # padded.
    match values.empty_text:
        case ValueAnswer.ERROR:
            return value
        case ValueAnswer.NULL:
            return f"case when octet_length({value}) > 0 then {value} end"
    stands_for_it = (
        "decode('00', 'hex')"
        if column.type_name == "bytea"
        else _literal(values.empty_text_replacement)
    )
    return f"case when octet_length({value}) = 0 then {stands_for_it} else {value} end"


def _number(value: str, values: Values) -> str:
    gone = []
    if values.not_a_number is NullAnswer.NULL:
        gone.append("'NaN'")
    if values.infinite_number is NullAnswer.NULL:
        gone += ["'Infinity'", "'-Infinity'"]
    # As text: before version 14 a numeric could not be infinite, and the literal would be an error.
    return f"case when {value}::text not in ({', '.join(gone)}) then {value} end" if gone else value


def _time(column: Column, value: str, values: Values) -> str:
    cases = [*_infinite(column, value, values), *_outside(column, value, values)]
    return f"case {' '.join(cases)} else {value} end" if cases else value


def _infinite(column: Column, value: str, values: Values) -> Iterator[str]:
    if values.infinite_time is not ValueAnswer.ERROR:
        yield f"when {value} = 'infinity' then {_end(column, LAST, values.infinite_time)}"
        yield f"when {value} = '-infinity' then {_end(column, FIRST, values.infinite_time)}"


def _outside(column: Column, value: str, values: Values) -> Iterator[str]:
    answer = values.outside_calendar
    if answer is not ValueAnswer.ERROR:
        is_late = f"{value} >= {_instant(column, BEHIND)}"
        is_early = f"{value} < {_instant(column, FIRST)}"
        yield f"when isfinite({value}) and {is_late} then {_end(column, LAST, answer)}"
        yield f"when isfinite({value}) and {is_early} then {_end(column, FIRST, answer)}"


def _end(column: Column, moment: str, answer: ValueAnswer) -> str:
    return "null" if answer is ValueAnswer.NULL else _instant(column, moment)


def _instant(column: Column, moment: str) -> str:
    """A moment by the clock of UTC, which is that of every session of ours."""
    return f"'{moment}'::{column.type_name}"


def _literal(text: str) -> str:
    """A text in SQL, whatever the server takes a backslash for."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"
