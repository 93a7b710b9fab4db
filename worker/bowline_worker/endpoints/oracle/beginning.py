"""Fix where a stream of an Oracle origin begins: in the redo, and in the dictionary."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Final

from bowline_worker.contract import TryAgain
from bowline_worker.endpoints.oracle import catalog, segments
from bowline_worker.endpoints.oracle.logminer import LogMiner, connect_to_mine
from bowline_worker.endpoints.oracle.position import Place
from bowline_worker.endpoints.oracle.segments import Note
from bowline_worker.endpoints.site import Site

#: A table whose segment changes each time while a stream's beginning is fixed is not to be waited for.
BEGINNINGS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """From where a stream begins, and where the rows of its tables were then."""

    place: Place
    note: Note


def begin(site: Site) -> Beginning:
    """Fix a place from which a stream can begin now; no table's segment changed while that was done."""
    for _ in range(BEGINNINGS):
        before = segments.ids_of(catalog.tables(site))
        place = _begin(site)
        start = place.start
        ids = segments.ids_of(catalog.tables(site))
        if not (restless := segments.moved(before, ids)):
            note = Note(scn=start.snapshot, since=start.before, ids=ids)
            return Beginning(place=place, note=note)
    raise TryAgain(
        f"{site.side}: {restless[0]} is emptied, moved or exchanged all the time: no stream can begin",
        reason="TableChanged",
    )


def _begin(site: Site) -> Place:
    connection, where = connect_to_mine(site)
    with closing(connection):
        session = LogMiner(site, connection, [], where=where)
        origin, start = session.origin(), session.begin()
    return Place(dbid=origin.dbid, resetlogs=origin.resetlogs, start=start)
