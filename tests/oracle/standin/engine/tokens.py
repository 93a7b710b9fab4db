"""Cut Oracle's SQL into tokens, each with its place in the statement."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from oracle.standin.backend import OraError


class Sort(StrEnum):
    """What a token is."""

    WORD = "word"  #: text is in capitals
    QUOTED = "quoted"  #: text without its quotes
    STRING = "string"
    NATIONAL = "national"
    NUMBER = "number"
    BIND = "bind"  #: text without its colon, in capitals
    SIGN = "sign"
    END = "end"


class Token(NamedTuple):
    sort: Sort
    text: str
    at: int
    until: int


_PATTERN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<other>[nN]?[qQ]'(?P<open>\S))
    |(?P<string>[nN]?'(?:[^']|'')*')
    |"(?P<quoted>[^"]+)"
    |(?P<number>(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?:[dDfF](?!\w))?)
    |(?P<word>[^\W\d_][\w$#]*)
    |(?P<sign>\|\||<=|>=|<>|!=|\^=|:=|=>|\.\.|[-+*/(),.;=<>@])
    |:\s*(?P<bind>\w+)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"[": "]", "(": ")", "{": "}", "<": ">"}


def tokens(sql: str) -> list[Token]:
    """All tokens, an END last. ORA-00911 for what is none, ORA-01756 for a string without an end."""
    found: list[Token] = []
    at = 0
    while at < len(sql):
        match = _PATTERN.match(sql, at)
        if match is None:
            raise _unreadable(sql, at)
        token = _alternative(sql, match) if match["other"] else _token(match)
        at = match.end() if token is None else token.until
        if token is not None:
            found.append(token)
    found.append(Token(Sort.END, "", len(sql), len(sql)))
    return found


def _token(match: re.Match[str]) -> Token | None:
    name = match.lastgroup or ""
    if name == "skip":
        return None
    text = match[name]
    sort = Sort(name)
    if name == "string":
        if text[0] in "nN":
            sort, text = Sort.NATIONAL, text[1:]
        text = text[1:-1].replace("''", "'")
    elif name in ("word", "bind"):
        text = text.upper()
    return Token(sort, text, match.start(), match.end())


def _alternative(sql: str, match: re.Match[str]) -> Token:
    """A string of the form q'[...]'."""
    end = sql.find(_CLOSING.get(match["open"], match["open"]) + "'", match.end())
    if end < 0:
        raise OraError(1756, "quoted string not properly terminated", match.start())
    sort = Sort.NATIONAL if match["other"][0] in "nN" else Sort.STRING
    return Token(sort, sql[match.end() : end], match.start(), end + 2)


def _unreadable(sql: str, at: int) -> OraError:
    if sql[at] == "'":
        return OraError(1756, "quoted string not properly terminated", at)
    if sql.startswith("/*", at):
        return OraError(1742, "comment not terminated properly", at)
    return OraError(911, f"{sql[at]}: invalid character after position {at}", at)
