"""Sequences of the selected tables' schemas, those of identity columns too: they only ever move on.

In the model an identity column's sequence has the name that PostgreSQL gives it. Moving one is DDL, which belongs to
no transaction: what an aborted switch has moved stays moved, which harms nobody.

Before 18c a sequence can't be set: its increment is changed, one number is taken, and the increment is put back. A note
in the bookkeeping (kind `sequence`) is made before, so that whoever comes after a crash in between puts it back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import oracledb

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import TryAgain, Unsupported
from bowline_worker.endpoints.base import SequenceState
from bowline_worker.endpoints.oracle import made, naming
from bowline_worker.endpoints.oracle.altering import Altering
from bowline_worker.endpoints.oracle.catalog import read_tables
from bowline_worker.endpoints.oracle.connection import quote, translated
from bowline_worker.endpoints.oracle.dictionary import of_owners, records
from bowline_worker.endpoints.site import Site
from bowline_worker.model import TableName

#: Those of identity columns (ISEQ$$_) belong to their columns.
SEQUENCES: Final = """
select s.sequence_owner as owner, s.sequence_name, s.last_number, s.increment_by, s.min_value, s.max_value,
       s.cache_size, s.cycle_flag, s.order_flag, user as session_user
from all_sequences s where s.sequence_name not like 'ISEQ$$%' and s.sequence_owner in ({owners})
order by s.sequence_owner, s.sequence_name"""

IDENTITIES: Final = """
select i.owner, i.table_name, i.column_name, i.generation_type, c.default_on_null, i.sequence_name, s.last_number,
       s.increment_by, s.min_value, s.max_value, s.cache_size, s.cycle_flag, s.order_flag
from all_tab_identity_cols i
join all_sequences s on s.sequence_owner = i.owner and s.sequence_name = i.sequence_name
join all_tab_cols c on c.owner = i.owner and c.table_name = i.table_name and c.column_name = i.column_name
where i.owner in ({owners})
order by i.owner, i.table_name"""

PLACE: Final = """
select s.last_number from all_sequences s where s.sequence_owner = :owner and s.sequence_name = :name"""

#: The kind of the note of a sequence whose increment is not its own for a moment.
KIND: Final = "sequence"
#: From here on ALTER SEQUENCE has RESTART START WITH.
RESTART_VERSION: Final = 18
#: PostgreSQL's names have so many bytes.
NAME_BYTES: Final = 63

#: A sequence that is not there any more.
_GONE: Final = frozenset(("ORA-02289",))

log = logging.getLogger("bowline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The column that a sequence belongs to, as Oracle names it."""

    table: str
    column: str
    generation: str  #: as DDL says it: ALWAYS, BY DEFAULT, BY DEFAULT ON NULL


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleSequence:
    """A sequence of an application, or of one of its identity columns."""

    sequence: TableName
    owner: str
    name: str
    #: What comes next where nothing is cached; else the first number that no cache holds.
    last_number: int
    increment: int
    lowest: int
    highest: int
    cache: int
    cycles: bool
    is_ordered: bool = False
    identity: Identity | None = None

    @property
    def state(self) -> SequenceState:
        """How far it has come, numbers in caches included."""
        return SequenceState(self.last_number - self.increment, self.increment)

    @property
    def quoted(self) -> str:
        return quote(self.owner, self.name)

    @property
    def direction(self) -> int:
        return 1 if self.increment > 0 else -1

    def holds(self, number: int) -> bool:
        return self.lowest <= number <= self.highest


# --- reading --------------------------------------------------------------------------------------


def read_sequences(
    connection: oracledb.Connection, owners: Iterable[str]
) -> tuple[OracleSequence, ...]:
    """The applications' sequences in the schemas of these owners (as Oracle has them), by owner and name."""
    found = tuple(
        _sequence(naming.neutral_table(row["OWNER"], row["SEQUENCE_NAME"]), row)
        for row in of_owners(connection, SEQUENCES, sorted(set(owners)))
        if not naming.is_bowlines_own(row["OWNER"], row["SEQUENCE_NAME"], user=row["SESSION_USER"])
    )
    _refuse_collisions(found)
    return found


def read_selected(
    connection: oracledb.Connection, site: Site
) -> Mapping[TableName, OracleSequence]:
    """Those of the selected tables' schemas, and those of the selected tables' identity columns, by name."""
    config = site.config
    tables = read_tables(connection, config.include, config.exclude)
    places = {(table.owner, table.name) for table in tables}
    owners = sorted({owner for owner, _ in places})
    found = list(read_sequences(connection, owners))
    found += [
        _of_identity(row)
        for row in of_owners(connection, IDENTITIES, owners)
        if (row["OWNER"], row["TABLE_NAME"]) in places
    ]
    _refuse_collisions(found)
    return {one.sequence: one for one in found}


def read(site: Site, connection: oracledb.Connection) -> Mapping[TableName, SequenceState]:
    """Tell how far each sequence has come, values that instances hold in their caches included."""
    return {name: one.state for name, one in read_selected(connection, site).items()}


def identity_name(owner: str, table: str, column: str) -> TableName:
    """The name that PostgreSQL gives the sequence of that column: where it is too long, its longer part is cut."""
    parts = [naming.neutral(table).encode(), naming.neutral(column).encode()]
    room = NAME_BYTES - len("__seq")
    while sum(map(len, parts)) > room:
        at = 0 if len(parts[0]) > len(parts[1]) else 1
        parts[at] = parts[at][:-1]
    # What is left of a character that was cut in two goes too.
    first, second = (part.decode(errors="ignore") for part in parts)
    return TableName(naming.neutral(owner), f"{first}_{second}_seq")


def _of_identity(row: Mapping[str, Any]) -> OracleSequence:
    of_null = " ON NULL" if row["DEFAULT_ON_NULL"] == "YES" else ""
    generation = row["GENERATION_TYPE"]
    identity = Identity(
        table=row["TABLE_NAME"],
        column=row["COLUMN_NAME"],
        generation=generation if generation == "ALWAYS" else f"{generation}{of_null}",
    )
    name = identity_name(row["OWNER"], row["TABLE_NAME"], row["COLUMN_NAME"])
    return _sequence(name, row, identity)


def _sequence(
    name: TableName, row: Mapping[str, Any], identity: Identity | None = None
) -> OracleSequence:
    return OracleSequence(
        sequence=name,
        owner=row["OWNER"],
        name=row["SEQUENCE_NAME"],
        last_number=row["LAST_NUMBER"],
        increment=row["INCREMENT_BY"],
        lowest=row["MIN_VALUE"],
        highest=row["MAX_VALUE"],
        cache=row["CACHE_SIZE"],
        cycles=row["CYCLE_FLAG"] == "Y",
        is_ordered=row["ORDER_FLAG"] == "Y",
        identity=identity,
    )


def _refuse_collisions(found: Iterable[OracleSequence]) -> None:
    naming.refuse_collisions(
        "sequences", ((f"{one.owner}.{one.name}", str(one.sequence)) for one in found)
    )


# --- moving ---------------------------------------------------------------------------------------


def raise_to(site: Site, states: Mapping[TableName, SequenceState]) -> None:
    """Move each sequence on to that value; one that is as far or further stays.

    In a session of its own, for DDL commits. Nothing is moved where one of them can't be: Unsupported, with
    SequenceMissing or SequenceDiffers. TryAgain (TableBusy) where another session holds one for too long.
    """
    with translated(site, "could not move the sequences on"), Altering(site) as ddl:
        _repair(site, ddl)
        here = read_selected(ddl.connection, site)
        if gone := sorted(str(name) for name in states if name not in here):
            raise Unsupported(
                f"sequences that the other side has are missing here: {', '.join(gone)}",
                reason="SequenceMissing",
                hint="create them",
            )
        behind = [
            (here[name], wanted.last)
            for name, wanted in states.items()
            if _is_behind(here[name], wanted)
        ]
        for one, last in behind:
            _raise_one(ddl, one, last)
            fields = {"side": str(site.side), "sequence": str(one.sequence), "last": last}
            log.info("sequence moved on", extra={"fields": fields})


def repair(site: Site) -> None:
    """Give a sequence its increment back that a crash left without; it stands where it was, or where it should be."""
    with translated(site, "could not repair the sequences"), Altering(site) as ddl:
        _repair(site, ddl)


def _is_behind(one: OracleSequence, wanted: SequenceState) -> bool:
    """Tell whether it must move. Unsupported where it can't get there."""
    direction = one.direction
    if direction * wanted.increment < 0:
        raise Unsupported(
            f"sequence {one.sequence} counts by {one.increment} here and by {wanted.increment} there",
            reason="SequenceDiffers",
            hint="let both count in one direction",
        )
    if direction * wanted.last <= direction * one.state.last:
        return False
    limit = one.highest if direction > 0 else one.lowest
    if direction * wanted.last > direction * limit:
        raise Unsupported(
            f"sequence {one.sequence} ends at {limit} here and stands at {wanted.last} there",
            reason="SequenceDiffers",
            hint="give it the same limits on both sides",
        )
    return True


def _raise_one(ddl: Altering, one: OracleSequence, last: int) -> None:
    following = last + one.increment
    can_restart = int(ddl.connection.version.split(".")[0]) >= RESTART_VERSION
    if one.identity is None and not can_restart:
        _jump(ddl, one, last)
    elif one.holds(following):
        _start_with(ddl, one, following)
    elif one.holds(last):
        # Its limit was reached there: so it is here, once that number is taken.
        _start_with(ddl, one, last)
        _take(ddl, one)
    else:
        # It was never used there, and its first number here is its limit.
        _start_with(ddl, one, one.lowest if one.direction > 0 else one.highest)


def _start_with(ddl: Altering, one: OracleSequence, number: int) -> None:
    if one.identity is None:
        _alter(ddl, one, f"restart start with {number:d}")
        return
    # All is said again: it does not matter then what becomes of an option that is not named.
    identity = one.identity
    table, column = quote(one.owner, identity.table), quote(identity.column)
    ddl.run(
        f"alter table {table} modify {column} generated {identity.generation} as identity (start with {number:d}"
        f" increment by {one.increment:d} minvalue {one.lowest:d} maxvalue {one.highest:d}"
        f" {_cache(one.cache)} {'cycle' if one.cycles else 'nocycle'} {'order' if one.is_ordered else 'noorder'})",
        f"could not move the identity of {one.owner}.{identity.table} on",
    )


def _jump(ddl: Altering, one: OracleSequence, last: int) -> None:
    """Move it on by an increment that is not its own, for servers that know no RESTART."""
    note = MadeObject(kind=KIND, name=one.quoted, before=f"{one.increment} {one.cache}")
    ddl.note(note)
    own = f"increment by {one.increment:d} nocache"
    # With an increment as wide as the limits, and wider, ORA-04005.
    widest = max(one.highest - one.lowest - 1, 1)
    # What is cached is given back, and LAST_NUMBER is what comes next from here on.
    _alter(ddl, one, own)
    now = _last(ddl, one)
    # Somebody else who takes a number moves it on as well: so it is looked at again before each step.
    while (missing := one.direction * (last - now)) > 0:
        _alter(ddl, one, f"increment by {one.direction * min(missing, widest):d}")
        _take(ddl, one)
        _alter(ddl, one, own)
        before, now = now, _last(ddl, one)
        if one.direction * (now - before) <= 0:
            raise TryAgain(f"sequence {one.sequence} stays at {now}, and is to stand at {last}")
    _put_back(ddl, note)


def _repair(site: Site, ddl: Altering) -> None:
    for note in made.read(ddl.connection, site):
        if note.kind == KIND:
            _put_back(ddl, note)


def _put_back(ddl: Altering, note: MadeObject) -> None:
    increment, cache = map(int, note.before.split())
    ddl.run(
        f"alter sequence {note.name} increment by {increment:d} {_cache(cache)}",
        f"could not give sequence {note.name} its increment back",
        done=_GONE,
    )
    ddl.forget(note.kind, note.name)


def _alter(ddl: Altering, one: OracleSequence, change: str) -> None:
    ddl.run(f"alter sequence {one.quoted} {change}", f"could not move sequence {one.sequence} on")


def _cache(size: int) -> str:
    """ALL_SEQUENCES says 0 for NOCACHE, and CACHE takes no less than 2."""
    return f"cache {size:d}" if size > 1 else "nocache"


def _last(ddl: Altering, one: OracleSequence) -> int:
    """The newest number that it has given out, while nothing of it is cached and its own increment is set."""
    (row,) = records(ddl.connection, PLACE, {"owner": one.owner, "name": one.name})
    last: int = row["LAST_NUMBER"] - one.increment
    return last


def _take(ddl: Altering, one: OracleSequence) -> None:
    with ddl.connection.cursor() as cursor:
        cursor.execute(f"select {one.quoted}.nextval from dual")
        cursor.fetchall()
