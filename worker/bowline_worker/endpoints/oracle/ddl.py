"""What a DDL statement on a captured table does to its stream."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class Effect(Enum):
    EMPTIES = "empties"  #: TRUNCATE of the whole table
    NONE = "none"  #: neither rows nor columns are any different
    CHANGES = "changes"  #: anything else, and whatever is not known


_COMMENTS: Final = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_TRUNCATE: Final = re.compile(r"truncate table\b")
#: Statements on a table, or on what belongs to it, that leave its rows and columns as they are.
_HARMLESS: Final = re.compile(
    r"""(comment|grant|revoke|analyze|audit|noaudit|associate|disassociate) \b
      | (create|alter|drop) \s (or \s replace \s)? ((un|non)?editionable \s)? (unique \s|bitmap \s)?
        (index|trigger|synonym|public \s synonym|view) \b
      | alter \s table \s ("[^"]+"|[^\s."]+) (\.("[^"]+"|[^\s."]+))? \s
        ( (enable|disable) \s all \s triggers | (add|drop) \s supplemental \s log \b
        | (no)?logging \b | (no)?parallel \b | (no)?cache \b | (enable|disable) \s table \s lock \b
        | (enable|disable) \s ((no)?validate \s)? constraint \b (?! .* \b(primary|unique)\b )
        | modify \s constraint \b (?! .* \b(primary|unique)\b )
        | drop \s constraint \s \S+ (\s cascade)? $
        # A further clause may be about columns. Identity says where values come from, not what a row holds.
        | add \s (constraint \s \S+ \s)? (primary \s key|unique|foreign \s key|check) \b
          (?! .* \b(add|modify|drop|rename)\b )
        | modify \s? \(? \s? [^\s,()]+ \s generated \s (always|by \s default) \s [^,]* $ )
    """,
    re.VERBOSE,
)


def effect_of(sql: str) -> Effect:
    """Tell what it does, by its words. An unknown statement changes the table: the stream must not guess.

    Constraints change no row, whatever becomes of them. But who disables or drops a key by saying that it is one
    (`disable primary key`) takes away what rows are known by.
    """
    text = " ".join(_COMMENTS.sub(" ", sql).lower().split())
    if _TRUNCATE.match(text):
        return Effect.EMPTIES
    return Effect.NONE if _HARMLESS.match(text) else Effect.CHANGES
