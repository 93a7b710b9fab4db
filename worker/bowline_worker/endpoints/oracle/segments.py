"""The net under the redo: a migrated table whose segment is another one, and no TRUNCATE in the stream says why.

ALTER TABLE ... EXCHANGE PARTITION gives a table another one's rows by swapping DATA_OBJECT_IDs in the dictionary, and
no row of redo tells them. The statement itself is seen in the stream (ddl.reach_of) and stops it where it stands; what
is compared here finds whatever has the same effect by a way that is not known.

A place of rows keeps its OBJECT_ID and gets another DATA_OBJECT_ID when it is truncated, moved or exchanged. New places
come by themselves (INTERVAL) and are empty. So each place that was noted must still have the same DATA_OBJECT_ID,
unless a TRUNCATE of its table was given out since. Two looks in a row have to say so: what a dictionary shows may be
in the redo a moment later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import oracledb

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.dictionary import (
    OBJECTS,
    TOPS,
    Place,
    of_owners,
    reading,
    records,
)
from bowline_worker.endpoints.site import Site
from bowline_worker.model import TableName

#: By table, the DATA_OBJECT_ID of each place of its rows, by OBJECT_ID.
Ids: TypeAlias = Mapping[TableName, Mapping[int, int]]

_SCN: Final = "select d.current_scn from v$database d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the dictionary said."""

    scn: int  #: read after it: what it shows was committed up to there
    ids: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was last found right, and is kept with the slot."""

    scn: int  #: of the look
    since: int  #: of the one before: a TRUNCATE after it explains another segment
    ids: Ids
    barrier: int = 0  #: the attempt whose barrier was in the stream when it was made

    def dumps(self) -> str:
        ids = [
            [table.schema, table.name, sorted(places.items())]
            for table, places in sorted(self.ids.items(), key=_by_name)
        ]
        return json.dumps(
            {"scn": self.scn, "since": self.since, "barrier": self.barrier, "ids": ids}
        )

    @classmethod
    def loads(cls, text: str) -> Note:
        """Read what `dumps` made. Unsafe where it is damaged."""
        try:
            content: dict[str, Any] = json.loads(text)
            return cls(
                scn=content["scn"],
                since=content["since"],
                barrier=content["barrier"],
                ids={TableName(*name): dict(places) for *name, places in content["ids"]},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unsafe(
                f"the note of the tables' segments is damaged: {type(error).__name__}: {error}",
                reason="PositionDamaged",
                hint="whether tables were exchanged can't be told any more; start the migration anew",
            ) from error


def ids_of(tables: Iterable[OracleTable]) -> Ids:
    return {
        one.table.name: {
            segment.object_id: segment.data_object_id
            for segment in one.segments
            if segment.data_object_id is not None
        }
        for one in tables
    }


def look(site: Site, tables: Mapping[Place, TableName]) -> Look:
    """Read where those tables' rows are now: two queries, and not all that a catalogue is made of."""
    ids: dict[TableName, dict[int, int]] = {table: {} for table in tables.values()}
    owners = sorted({owner for owner, _ in tables})
    with reading(site) as connection:
        for query in (OBJECTS, TOPS):
            for row in of_owners(connection, query, owners):
                table = tables.get((row["OWNER"], row["TABLE_NAME"]))
                if table is not None and row["DATA_OBJECT_ID"] is not None:
                    ids[table][row["OBJECT_ID"]] = row["DATA_OBJECT_ID"]
        return Look(scn=current_scn(connection), ids=ids)


def current_scn(connection: oracledb.Connection) -> int:
    ((scn,),) = (row.values() for row in records(connection, _SCN))
    return int(scn)


def moved(before: Ids, now: Ids) -> list[TableName]:
    """The tables of which a place that was noted is another one now, or is gone."""
    return [
        table
        for table, places in sorted(before.items(), key=_by_name)
        if any(now.get(table, {}).get(place) != data for place, data in places.items())
    ]


def unexplained(note: Note, seen: Look, emptied: Mapping[TableName, int]) -> list[TableName]:
    """Those that moved, and were not emptied since: `emptied` has the SCN of the newest TRUNCATE, by table."""
    return [table for table in moved(note.ids, seen.ids) if emptied.get(table, 0) <= note.since]


def followed(note: Note, seen: Look) -> Note:
    """The note of a look that was right."""
    return replace(note, scn=seen.scn, since=note.scn, ids=seen.ids)


def swapped(table: TableName, note: Note, seen: Look) -> Unsafe:
    return Unsafe(
        f"{table} has other rows, and the redo does not tell them: its segment became another one between SCN"
        f" {note.since} and {seen.scn}, without a TRUNCATE of it",
        reason="SchemaChanged",
        hint="ask for Complete and migrate anew; leave EXCHANGE PARTITION and TRUNCATE ... CASCADE alone meanwhile",
    )


def _by_name(item: tuple[TableName, object]) -> str:
    return str(item[0])
