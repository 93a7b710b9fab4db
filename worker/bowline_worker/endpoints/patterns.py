"""The patterns by which a spec selects tables."""

from __future__ import annotations

import re

from bowline_worker.contract import BadConfig
from bowline_worker.model import TableName


class Pattern:
    """`schema.table` with `*` and `?`; upper and lower case differ."""

    def __init__(self, text: str) -> None:
        schema, dot, table = text.partition(".")
        if not dot or not schema or not table:
            raise BadConfig(f"spec.tables: {text!r} is not of the form schema.table")
        self._schema, self._table = (_expression(part) for part in (schema, table))

    def matches(self, name: TableName) -> bool:
        return bool(self._schema.fullmatch(name.schema) and self._table.fullmatch(name.name))


def _expression(text: str) -> re.Pattern[str]:
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(char, re.escape(char)) for char in text), re.DOTALL)
