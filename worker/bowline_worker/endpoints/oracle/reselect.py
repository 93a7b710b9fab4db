"""Values that the redo does not tell exactly: read from the tables AS OF the commit's SCN.

Every change of a row in a transaction gets the value that the row has at the transaction's end: in between nobody sees
it. The row is found by the key that it has then, so the changes of its key are followed to the end.

Where the source has no undo of that SCN any more, the row is read as it is NOW. That converges: each later change of
such a value is in the redo behind, and is read again too; a change of the key reads all such values of its row. So what
a row's newest change brings is right, whatever older ones brought, and until then the receiver has a value that is
newer than its transaction. A row that is not there now was deleted or got another key: both are in the redo behind.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, TypeAlias

import oracledb

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.changes import Draft, Relation
from bowline_worker.endpoints.oracle.connection import quote, translated
from bowline_worker.endpoints.oracle.kinds import OracleType
from bowline_worker.endpoints.oracle.logrow import Code
from bowline_worker.endpoints.oracle.rowchange import RowChange
from bowline_worker.endpoints.oracle.snapshot import (
    LONG_ROWS_AT_ONCE,
    TOO_OLD,
    FlashbackTable,
    selected,
    with_empty_lobs,
)
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Change, Op, Row, TableName, Value

log = logging.getLogger("bowline")

#: How many keys a statement names: few texts, so that the server's cache has them.
SIZES: Final = (1, 10, 100)
#: Of rows with large values so many are in memory at once.
LONG_ROWS: Final = 20
WARN_SECONDS: Final = 60.0

#: The undo is gone, or the table was changed or emptied since: it can be read as it is now.
_PAST_IS_GONE: Final = TOO_OLD | {"ORA-01466", "ORA-08103"}

#: What may be a number that the redo rounds: see numbers.py.
_LONG_NUMBER: Final = re.compile(r"'[-+.0-9E]{36}")

_CODE: Final = re.compile(r"ORA-[0-9]{5}")

#: By key, the row's values by place.
Found: TypeAlias = dict[Row, dict[int, Value]]


@dataclass(slots=True)
class Fates:
    """What one transaction does to the keys of the rows that are to be read again at its end.

    In memory are the keys that change, and those of the rows that it deletes after having written such values.
    """

    _moves: defaultdict[tuple[TableName, Row], list[tuple[int, Row]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _deleted: set[tuple[TableName, Row]] = field(default_factory=set)

    @classmethod
    def of(cls, changes: Iterable[RowChange], relations: Mapping[TableName, Relation]) -> Fates:
        """Read a transaction's changes, in their order. They are walked twice."""
        found = cls()
        written: set[TableName] = set()
        lossy = {name for name, relation in relations.items() if relation.lossy}
        lossy |= {
            change.table
            for change in changes
            if change.table not in lossy and _LONG_NUMBER.search(change.sql)
        }
        for number, change in enumerate(changes if lossy else ()):
            relation = relations.get(change.table)
            if relation is None or change.table not in lossy or change.is_truncate:
                continue
            if change.is_touch or change.code == Code.INSERT:
                written.add(change.table)
                continue
            if change.code == Code.DELETE and change.table not in written:
                continue
            old, new = relation.move(change)
            if new is None:
                found._deleted.add((change.table, old))
                continue
            written.add(change.table)
            if new != old:
                found._moves[change.table, old].append((number, new))
        return found

    def end(self, table: TableName, number: int, key: Row) -> Row:
        """The key at the transaction's end of the row that has this one behind the change of that number."""
        while moves := self._moves.get((table, key)):
            later = next((move for move in moves if move[0] > number), None)
            if later is None:
                break
            number, key = later
        return key

    def may_be_gone(self, table: TableName, key: Row) -> bool:
        """Tell whether the transaction itself took away the row that has this key at its end."""
        return (table, key) in self._deleted

    def has_moved(self, table: TableName, key: Row) -> bool:
        return (table, key) in self._moves


class Reselect:
    """Reads the missing values of one stream's changes, on a connection of its own. One thread."""

    def __init__(
        self,
        site: Site,
        connection: oracledb.Connection,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site, self._connection, self._clock = site, connection, clock
        self.late: Counter[TableName] = Counter()  #: rows that were read as they are now
        self._untold: Counter[TableName] = Counter()
        self._warned = float("-inf")

    def finish(
        self, scn: int, drafts: Sequence[tuple[int, Draft]], fates: Fates
    ) -> list[Change | None]:
        """Finish changes of the transaction that committed at that SCN, each with its number in it.

        None for a change that has nothing left to say. LogMiner writes a row with LOBs as an INSERT of empty ones and
        UPDATEs of each: the INSERT brings what they have in the end, and an UPDATE of nothing else is left out.
        """
        wanted: dict[Relation, dict[Row, set[int]]] = {}
        told = _Told()
        ends: list[Row] = []
        left_out: set[int] = set()
        for place, (number, draft) in enumerate(drafts):
            relation, end = draft.relation, draft.key
            if draft.after is not None and relation.key:
                end = fates.end(relation.table.table.name, number, draft.name)
            if told.has(draft, end):
                left_out.add(place)
            elif draft.lacks:
                wanted.setdefault(relation, {}).setdefault(end, set()).update(draft.lacks)
            ends.append(end)
        found = {relation: self._read(scn, relation, keys) for relation, keys in wanted.items()}
        finished: list[Change | None] = []
        for place, ((_, draft), end) in enumerate(zip(drafts, ends, strict=True)):
            if place in left_out:
                finished.append(None)
            elif not draft.lacks:
                finished.append(draft.finished(None))
            else:
                rows, is_exact = found[draft.relation]
                values = rows.get(end)
                if values is None and is_exact:
                    _check_gone(draft, end, fates)
                finished.append(draft.finished(values))
        return finished

    def _read(
        self, scn: int, relation: Relation, keys: Mapping[Row, set[int]]
    ) -> tuple[Found, bool]:
        """Read rows by key; and whether all of them are as they were at the SCN."""
        places = sorted(set(chain.from_iterable(keys.values())))
        query = _Query(relation, places)
        rows: Found = {}
        is_exact = True
        wanted = list(keys)
        size = LONG_ROWS if query.table.has_long_values else SIZES[-1]
        for start in range(0, len(wanted), size):
            batch = wanted[start : start + size]
            at_commit = self._rows(query, batch, scn)
            if at_commit is None:
                is_exact = False
                self._late(relation, len(batch))
                at_commit = self._rows(query, batch, None) or {}
            rows |= at_commit
        return rows, is_exact

    def _rows(self, query: _Query, keys: Sequence[Row], scn: int | None) -> Found | None:
        """None: the tables can't be read as they were at that SCN any more."""
        when = f"as of SCN {scn}" if scn is not None else "as it is now"
        with (
            translated(self._site, f"could not read {query.relation} {when}"),
            self._connection.cursor() as cursor,
        ):
            statement, binds, sizes = query.statement(keys, scn)
            cursor.setinputsizes(**sizes)
            cursor.arraysize = cursor.prefetchrows = min(len(keys) + 1, LONG_ROWS_AT_ONCE)
            try:
                return query.read(cursor.execute(statement, binds) or ())
            except oracledb.Error as error:
                # A parallel query tells its own code first, and below it what a server of it met.
                if scn is None or _PAST_IS_GONE.isdisjoint(_CODE.findall(str(error))):
                    raise
                return None

    def _late(self, relation: Relation, rows: int) -> None:
        name = relation.table.table.name
        self.late[name] += rows
        self._untold[name] += rows
        if self._clock() - self._warned < WARN_SECONDS:
            return
        told = ", ".join(
            f"{table} ({count})" for table, count in sorted(self._untold.items(), key=str)
        )
        log.warning(
            "undo is gone: rows with large or binary values are read as they are now, and not as they were",
            extra={
                "fields": {"tables": told, "hint": "raise undo_retention above the stream's lag"}
            },
        )
        self._untold.clear()
        self._warned = self._clock()


class _Query:
    """One table's rows by key: the statement, and what its rows mean."""

    def __init__(self, relation: Relation, places: Sequence[int]) -> None:
        self.relation, self._places = relation, places
        self._keys: list[OracleType] = [relation.kinds[place] for place in relation.key]
        values = [relation.kinds[place] for place in places]
        self.table = FlashbackTable(
            owner=relation.table.owner,
            name=relation.table.name,
            types=(*self._keys, *values),
        )

    def statement(
        self, keys: Sequence[Row], scn: int | None
    ) -> tuple[str, dict[str, Any], dict[str, Any]]:
        count = next((size for size in SIZES if size >= len(keys)), len(keys))
        padded = [*keys, *[keys[-1]] * (count - len(keys))]
        binds: dict[str, Any] = {}
        sizes: dict[str, Any] = {}
        rows: list[str] = []
        for number, key in enumerate(padded):
            columns: list[str] = []
            for place, (kind, text) in enumerate(zip(self._keys, key, strict=True)):
                name = f"k{number}_{place}"
                # A key has no UNCHANGED value: changes.py saw to it.
                value = kind.to_oracle(text if isinstance(text, bytes) else None)
                binds[name] = value
                sizes[name] = getattr(oracledb, kind.bind_type)
                columns.append(f"{quote(kind.column.name)} = {kind.bind(f':{name}', value)}")
            rows.append(" and ".join(columns))
        when = ""
        if scn is not None:
            when, binds["scn"] = " as of scn :scn", scn
        # Without a condition that the optimizer takes apart, each key is looked up by the index.
        where = " or ".join(f"({row})" for row in rows)
        statement = (
            f"select {selected(self.table)} from {self.relation.table.quoted}{when} where {where}"
        )
        return statement, binds, sizes

    def read(self, fetched: Iterable[tuple[object, ...]]) -> Found:
        found: Found = {}
        lobs, types, width = self.table.lobs, self.table.types, len(self._keys)
        for row in fetched:
            values = with_empty_lobs(row, lobs) if lobs else row
            texts = [kind.from_driver(value) for kind, value in zip(types, values, strict=True)]
            found[tuple(texts[:width])] = dict(zip(self._places, texts[width:], strict=True))
        return found


class _Told:
    """Which values INSERTs bring of which rows, by the keys that these have at the end, as they are then."""

    def __init__(self) -> None:
        self._places: dict[tuple[Relation, Row], frozenset[int]] = {}

    def has(self, draft: Draft, end: Row) -> bool:
        """Tell whether a change says nothing but what was told before; take note of it else."""
        row = (draft.relation, end)
        if draft.op is Op.UPDATE and draft.before is None:
            return row in self._places and draft.sets <= self._places[row]
        if draft.op is Op.TRUNCATE:
            self._places.clear()
        elif draft.op is Op.INSERT and draft.lacks:
            self._places[row] = frozenset(draft.lacks)
        else:
            # Another row may get the key: what its changes bring is its own.
            self._places.pop(row, None)
        return False


def _check_gone(draft: Draft, end: Row, fates: Fates) -> None:
    """Unsafe where a row is not there at the commit, and the transaction did not take it away.

    A piece of a large value may be of a row whose insert was taken back; but not of one that has another key by now.
    """
    table = draft.relation.table.table.name
    if fates.may_be_gone(table, end):
        return
    if draft.is_undone or (draft.is_touch and not fates.has_moved(table, end)):
        return
    raise Unsafe(
        f"a row of {draft.where} is not there as of its transaction's commit, which did not delete it",
        reason="RowNotFound",
        hint="the migration user must see all rows (EXEMPT ACCESS POLICY); else report it",
    )
