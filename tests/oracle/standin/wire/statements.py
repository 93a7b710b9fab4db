"""What the wire needs to know of a statement's text: its sort, the names of its binds, and which of them are returned.

The driver decides these by the same reading and does not send its answers, so both must agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

_TOKEN = re.compile(
    r"""
      (?P<silent>
          --[^\n]*
        | /\*.*?\*/
        | (?<![\w$\#]) n?q'(?: \[.*?\] | \{.*?\} | <.*?> | \(.*?\) | (?P<mark>\S).*?(?P=mark) )'
        | '(?:[^']|'')*'
      )
    | (?P<quoted> "[^"]*" )
    | :\s*(?: "(?P<exact>[^"]+)" | (?P<name>[^\W\d][\w$\#]*|\d+) )
    | (?P<word> [^\W\d][\w$\#]* )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)

_QUERY = {"SELECT", "WITH"}
_DML = {"INSERT", "UPDATE", "DELETE", "MERGE"}
_PLSQL = {"BEGIN", "DECLARE", "CALL"}
_DDL = {"CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "ANALYZE", "AUDIT", "COMMENT", "TRUNCATE"}


class Sort(Enum):
    QUERY = auto()
    DML = auto()
    PLSQL = auto()
    DDL = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Statement:
    """A text, as far as it is understood here."""

    text: str
    sort: Sort
    names: tuple[str, ...]  #: of the binds that are sent: each place, in PL/SQL each name once
    returned: int  #: so many of the last binds stand behind RETURNING ... INTO

    @property
    def is_query(self) -> bool:
        return self.sort is Sort.QUERY


@lru_cache(maxsize=1000)
def read_statement(text: str) -> Statement:
    """Read a statement's text. DDL has no binds, whatever colons a trigger's body may have."""
    words: list[str] = []
    names: list[str] = []
    returned_from: int | None = None
    for token in _TOKEN.finditer(text):
        if name := token["exact"] or (token["name"] or "").upper():
            names.append(name)
        elif token["word"]:
            words.append(token["word"].upper())
            if words[-1] == "INTO" and returned_from is None and _is_returning(words):
                returned_from = len(names)
    sort = _sort(words[0] if words else "")
    if sort is Sort.DDL:
        names.clear()
    elif sort is Sort.PLSQL:
        names = list(dict.fromkeys(names))
    if sort is not Sort.DML or returned_from is None:
        returned_from = len(names)
    return Statement(text, sort, tuple(names), len(names) - returned_from)


def _is_returning(words: list[str]) -> bool:
    return "RETURNING" in words or "RETURN" in words


def _sort(keyword: str) -> Sort:
    for keywords, sort in (
        (_QUERY, Sort.QUERY),
        (_DML, Sort.DML),
        (_PLSQL, Sort.PLSQL),
        (_DDL, Sort.DDL),
    ):
        if keyword in keywords:
            return sort
    return Sort.OTHER
