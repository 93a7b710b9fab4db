"""By which columns a row of an Oracle table is known, and what else keeps its rows apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

from bowline_worker.endpoints.oracle.kinds import OracleType
from bowline_worker.lanes import ONE_TEXT

Record: TypeAlias = Mapping[str, Any]

#: INDEX_TYPE of indexes on plain columns. Others are on expressions, which a descending column is as well.
_PLAIN = frozenset(("NORMAL", "NORMAL/REV", "IOT - TOP"))
#: STATUS of an index that is kept up; of a partitioned one only its partitions have one.
_KEPT_UP = frozenset(("VALID", "N/A"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A unique index, or a primary or unique constraint, by which two rows can collide."""

    name: str
    columns: tuple[
        str, ...
    ]  #: by Oracle's names; of an index on expressions names that Oracle made
    is_primary: bool = False
    #: No two rows without NULL are ever equal in the columns: it is not deferrable, and also holds for old rows.
    is_certain: bool = False


def rules_of(indexes: Sequence[Record], constraints: Sequence[Record]) -> list[Rule]:
    """All rules of one table, from its rows of INDEXES and CONSTRAINTS; one that an index serves is told once."""
    unique: dict[tuple[str, str], Rule] = {}
    for place, columns in _grouped(indexes, "INDEX_OWNER", "INDEX_NAME"):
        row = columns[0]
        is_certain = row["INDEX_TYPE"] in _PLAIN and row["STATUS"] in _KEPT_UP
        unique[place] = Rule(name=place[1], columns=_names(columns), is_certain=is_certain)
    found, served = [], set()
    for place, columns in _grouped(constraints, "OWNER", "CONSTRAINT_NAME"):
        row = columns[0]
        index = (row["INDEX_OWNER"] or row["OWNER"], row["INDEX_NAME"])
        served.add(index)
        # A unique index never waits for the commit, and never took two equal rows.
        is_certain = (
            unique[index].is_certain
            if index in unique
            else row["DEFERRABLE"] == "NOT DEFERRABLE" and row["VALIDATED"] == "VALIDATED"
        )
        found.append(
            Rule(
                name=place[1],
                columns=_names(columns),
                is_primary=row["CONSTRAINT_TYPE"] == "P",
                is_certain=is_certain,
            )
        )
    return found + [rule for place, rule in unique.items() if place not in served]


def find_key(rules: Iterable[Rule], kinds: Mapping[str, OracleType]) -> Rule | None:
    """Choose what rows are known by: the primary key, else the unique columns that are fewest, then first by name.

    `kinds` are the table's columns by Oracle's names. A column that may be NULL, is computed, or can't be told exactly
    from the redo makes no key.
    """
    usable = [
        rule
        for rule in rules
        if rule.is_certain and all(_can_be_key(kinds.get(name)) for name in rule.columns)
    ]
    ranked = sorted(usable, key=lambda rule: (not rule.is_primary, len(rule.columns), rule.name))
    return ranked[0] if ranked else None


def has_one_text(kind: OracleType) -> bool:
    """Tell whether equal values have equal texts on both sides: 1.0 and 1.00 are equal as numeric without a scale."""
    name, shown = kind.postgres.name, kind.postgres.text
    if name in ("numeric", "bpchar"):
        return "(" in shown
    return name in ONE_TEXT


def _can_be_key(kind: OracleType | None) -> bool:
    return (
        kind is not None and kind.can_be_key and kind.column.is_carried and not kind.column.nullable
    )


def _grouped(
    rows: Iterable[Record], owner: str, name: str
) -> Iterable[tuple[tuple[str, str], list[Record]]]:
    def place(row: Record) -> tuple[str, str]:
        return row[owner], row[name]

    # The sort is stable: the columns stay in their order.
    return ((key, list(group)) for key, group in groupby(sorted(rows, key=place), place))


def _names(rows: Iterable[Record]) -> tuple[str, ...]:
    return tuple(row["COLUMN_NAME"] for row in rows)
