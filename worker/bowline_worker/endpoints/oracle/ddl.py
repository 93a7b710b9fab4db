"""What a DDL statement does to the stream, by its words: to the table that it names, and to others beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Effect(Enum):
    EMPTIES = "empties"  #: TRUNCATE of the whole table
    NONE = "none"  #: neither rows nor columns are any different
    CHANGES = "changes"  #: anything else, and whatever is not known


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose rows a statement may change beside those of the table that its row of the redo names.

    Both are of the SQL Language Reference: `exchange_partition_subpart` of ALTER TABLE, and CASCADE of TRUNCATE TABLE,
    of TRUNCATE PARTITION and of EXCHANGE PARTITION (12.1), which takes the tables below along, by foreign keys.
    """

    partner: tuple[str | None, str] | None  #: exchanges its rows: schema (None: not said) and name
    cascades: bool  #: goes on to the tables below


NOTHING_BESIDE: Final = Reach(None, False)

#: Kept are identifiers alone, so that no text in a literal or a comment is taken for a clause.
_SKIPPED: Final = re.compile(r"""('(?:[^']|'')*')|("[^"]*")|/\*.*?\*/|--[^\n]*""", re.DOTALL)
_NAME: Final = r'("[^"]+"|[^\s."(),;]+)'
_EXCHANGE: Final = re.compile(
    rf"alter\s+table\b.*?\bexchange\s+(?:sub)?partition\b.*?\bwith\s+table\s+{_NAME}(?:\s*\.\s*{_NAME})?",
    re.DOTALL | re.IGNORECASE,
)
_CASCADE: Final = re.compile(
    r"(truncate\s+table\b|alter\s+table\b.*?\b(truncate|exchange)\s+(sub)?partitions?\b).*\bcascade\b",
    re.DOTALL | re.IGNORECASE,
)
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
        # A new partition has no rows; without VALUES it is one by hash, and takes rows from others.
        | add \s partition \s \S+ \s values \b
        | modify \s? \(? \s? [^\s,()]+ \s generated \s (always|by \s default) \s [^,]* $ )
    """,
    re.VERBOSE,
)


def effect_of(sql: str) -> Effect:
    """Tell what it does, by its words. An unknown statement changes the table: the stream must not guess.

    Constraints change no row, whatever becomes of them. But who disables or drops a key by saying that it is one
    (`disable primary key`) takes away what rows are known by.
    """
    text = " ".join(_bare(sql).lower().split())
    if _TRUNCATE.match(text):
        return Effect.EMPTIES
    return Effect.NONE if _HARMLESS.match(text) else Effect.CHANGES


def reach_of(sql: str) -> Reach:
    """Tell whose rows it changes beside the named table's, by its words."""
    text = _bare(sql).strip()
    exchange = _EXCHANGE.match(text)
    cascades = _CASCADE.match(text) is not None
    if exchange is None:
        return Reach(None, cascades) if cascades else NOTHING_BESIDE
    first, second = exchange.groups()
    partner = (None, _folded(first)) if second is None else (_folded(first), _folded(second))
    return Reach(partner, cascades)


def _bare(sql: str) -> str:
    """Take comments out, and what literals say."""
    return _SKIPPED.sub(lambda found: "''" if found[1] else found[2] or " ", sql)


def _folded(name: str) -> str:
    return name[1:-1] if name.startswith('"') else name.upper()
