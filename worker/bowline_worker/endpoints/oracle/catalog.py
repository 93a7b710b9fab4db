"""What Oracle's dictionary says of the selected tables: their shapes, keys, segments and sizes."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import oracledb

from bowline_worker.endpoints.oracle import naming
from bowline_worker.endpoints.oracle.connection import quote
from bowline_worker.endpoints.oracle.dictionary import (
    ALL_LOGGED,
    COLUMNS,
    CONSTRAINTS,
    IDENTITIES,
    INDEXES,
    LOGGED,
    OBJECTS,
    TABLES,
    TOPS,
    Place,
    Records,
    by_table,
    of_owners,
    reading,
    records,
)
from bowline_worker.endpoints.oracle.keys import find_key, has_one_text, rules_of
from bowline_worker.endpoints.oracle.selection import Selection
from bowline_worker.endpoints.oracle.types import (
    OracleColumn,
    OracleType,
    Refusal,
    Terms,
    kind_of,
)
from bowline_worker.endpoints.patterns import Pattern
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Column, Table, TableName

#: Oracle's default for a tablespace: ALL_TABLES counts in blocks and does not say how large they are.
BLOCK_BYTES: Final = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A place of a table's rows: the table itself, a partition, or what holds an index-organised table."""

    kind: str  #: OBJECT_TYPE: TABLE, TABLE PARTITION, TABLE SUBPARTITION, or INDEX and so on
    name: str  #: of the partition, else of the table or index
    object_id: int  #: DATA_OBJ# of its rows in the redo
    data_object_id: int | None  #: as ROWIDs hold it; None: its partitions have the rows


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleTable:
    """A selected table, in the model's words and in Oracle's. Its partitions are segments of the one table."""

    #: Without refused columns. Columns have no `number`: Oracle counts them anew after a drop, even that of an index
    #: on an expression, which is a hidden column.
    table: Table
    owner: str
    name: str
    kinds: Mapping[str, OracleType]  #: by the columns' names in the model, in their order
    segments: tuple[Segment, ...]
    overflow: tuple[Segment, ...] = ()  #: where an index-organised table keeps what did not fit
    logs_all_columns: bool  #: by supplemental logging, of the table or of the whole database
    refusals: tuple[Refusal, ...] = ()  #: not empty: the table can't be migrated

    @property
    def quoted(self) -> str:
        return quote(self.owner, self.name)

    @property
    def shape(self) -> tuple[Column, ...]:
        """All columns, refused ones behind the others and with Oracle's type."""
        return self.table.columns + tuple(_as_refused(refusal.column) for refusal in self.refusals)

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns' names in the model, by Oracle's."""
        return {kind.column.name: name for name, kind in self.kinds.items()}


def tables(site: Site, *, terms: Terms | None = None) -> tuple[OracleTable, ...]:
    """The selected tables of one side, by name."""
    with reading(site) as connection:
        return read_tables(connection, site.config.include, site.config.exclude, terms=terms)


def read_tables(
    connection: oracledb.Connection,
    include: Sequence[str],
    exclude: Sequence[str],
    *,
    terms: Terms | None = None,
) -> tuple[OracleTable, ...]:
    """The selected tables as this transaction sees them, by name.

    The patterns match the model's names, and Oracle's as well. Unsupported where two names would become one.
    """
    rows = records(connection, TABLES)
    selected = _select(rows, include, exclude)
    naming.refuse_collisions(
        "tables", ((_shown(place), str(_neutral(place))) for place in selected)
    )
    dictionary = _Dictionary(connection, selected, terms or Terms())
    for row in rows:
        if row["IOT_TYPE"] == "IOT_OVERFLOW":
            dictionary.overflow_of[row["OWNER"], row["IOT_NAME"]].append(row["TABLE_NAME"])
    # Dropped since the tables were read, where the transaction sees what others commit: no columns.
    found = (dictionary.table(place, row) for place, row in selected.items())
    return tuple(sorted((one for one in found if one is not None), key=_by_name))


def fingerprint(tables: Iterable[OracleTable], *, own: bool = False) -> str:
    """Digest names, columns and types, as PostgreSQL's side does: equal shapes have one digest on both.

    Oracle's partitions are no part of it, for it may add some by itself (INTERVAL), and rows are told by the table's
    name. `own` adds what only Oracle knows: which object a table is, and how its columns are declared; and by
    which columns a stream from here tells rows apart, since a constraint that is dropped by its name changes no row.
    """
    content = [
        [
            str(one.table.name),
            [],
            [[column.name, column.type_text, column.generated] for column in one.shape],
            [one.table.identity, list(one.table.key), *_declared(one)] if own else [],
        ]
        for one in sorted(tables, key=_by_name)
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def shapes(tables: Iterable[OracleTable]) -> Mapping[TableName, Sequence[Column]]:
    """What the fingerprint is made of, to say what changed."""
    return {one.table.name: one.shape for one in tables}


def selection(tables: Iterable[OracleTable]) -> Selection:
    """What the miner knows the tables' rows by.

    Ids are OBJECT_IDs: a partition that was exchanged keeps its own, and takes the DATA_OBJECT_ID of the other table.
    Rows of an index-organised table may be named by the table and its index, with a comma.
    """
    names: dict[tuple[str, str], TableName] = {}
    objects: dict[int, TableName] = {}
    for one in tables:
        names[one.owner, one.name] = one.table.name
        for segment in one.segments + one.overflow:
            objects[segment.object_id] = one.table.name
            if segment.kind == "INDEX":
                names[one.owner, f"{one.name},{segment.name}"] = one.table.name
    return Selection(tables=names, objects=objects)


class _Dictionary:
    """The dictionary's rows of the selected tables' owners, by table."""

    def __init__(
        self, connection: oracledb.Connection, selected: Iterable[Place], terms: Terms
    ) -> None:
        self._terms = terms
        self.overflow_of: defaultdict[Place, list[str]] = defaultdict(list)
        places = list(selected)
        owners = sorted({owner for owner, _ in places})

        def read(query: str) -> defaultdict[Place, Records]:
            return by_table(of_owners(connection, query, owners))

        self._columns = read(COLUMNS)
        self._identities = read(IDENTITIES)
        self._constraints = read(CONSTRAINTS)
        self._indexes = read(INDEXES)
        self._objects = read(OBJECTS)
        self._tops = read(TOPS)
        self._logged = read(LOGGED)
        ((everything,),) = (row.values() for row in records(connection, ALL_LOGGED))
        self._logs_everything = everything == "YES"

    def table(self, place: Place, row: Mapping[str, Any]) -> OracleTable | None:
        """Put one table together from its row of TABLES; None: it has no columns any more."""
        kinds, refusals = self._kinds(place)
        if not kinds and not refusals:
            return None
        rules = rules_of(self._indexes[place], self._constraints[place])
        by_oracle = {kind.column.name: kind for kind in kinds.values()}
        rule = find_key(rules, by_oracle)
        key = rule.columns if rule else ()
        segments = [_segment(found) for found in self._objects[place]]
        identity = next((str(one.object_id) for one in segments if one.kind == "TABLE"), "")
        table = Table(
            name=_neutral(place),
            columns=tuple(kind.as_column(name) for name, kind in kinds.items()),
            key=tuple(naming.neutral(name) for name in key),
            one_lane=rule is None
            or len(rules) > 1
            or not all(has_one_text(by_oracle[name]) for name in key),
            estimated_rows=row["NUM_ROWS"] or 0,
            estimated_bytes=(row["BLOCKS"] or 0) * BLOCK_BYTES,
            identity=identity,
        )
        return OracleTable(
            table=table,
            owner=place[0],
            name=place[1],
            kinds=kinds,
            segments=(*segments, *(_segment(found) for found in self._tops[place])),
            overflow=tuple(
                _segment(found)
                for name in self.overflow_of[place]
                for found in self._objects[place[0], name]
            ),
            logs_all_columns=self._logs_everything or bool(self._logged[place]),
            refusals=tuple(refusals),
        )

    def _kinds(self, place: Place) -> tuple[dict[str, OracleType], list[Refusal]]:
        """The types of the columns that have one, by the model's names, and why others have none."""
        identities = {row["COLUMN_NAME"]: row["GENERATION_TYPE"] for row in self._identities[place]}
        kinds: dict[str, OracleType] = {}
        refusals: list[Refusal] = []
        names = []
        for row in self._columns[place]:
            name = row["COLUMN_NAME"]
            column = OracleColumn.of({**row, "GENERATION_TYPE": identities.get(name)})
            if naming.is_unused(name) or (column.hidden and not column.user_generated):
                continue
            names.append(name)
            found = kind_of(column, self._terms)
            if isinstance(found, Refusal):
                refusals.append(found)
            else:
                kinds[naming.neutral(name)] = found
        naming.refuse_collisions(
            f"columns of {_shown(place)}", ((name, naming.neutral(name)) for name in names)
        )
        return kinds, refusals


def _select(
    rows: Records, include: Sequence[str], exclude: Sequence[str]
) -> dict[Place, dict[str, Any]]:
    places = {(row["OWNER"], row["TABLE_NAME"]): row for row in rows if _is_table(row)}
    wanted = selected(places, include, exclude)
    return {place: places[place] for place in wanted}


def selected(
    places: Iterable[Place], include: Sequence[str], exclude: Sequence[str]
) -> list[Place]:
    """Those of the tables that the patterns select, by the model's name or by Oracle's."""
    wanted, unwanted = [Pattern(text) for text in include], [Pattern(text) for text in exclude]

    def matches(patterns: Iterable[Pattern], place: Place) -> bool:
        spellings = (_neutral(place), TableName(*place))
        return any(pattern.matches(name) for pattern in patterns for name in spellings)

    return [place for place in places if matches(wanted, place) and not matches(unwanted, place)]


def _is_table(row: Mapping[str, Any]) -> bool:
    """Tell whether a row of TABLES is a table that an application made, to keep rows in."""
    owner, name = row["OWNER"], row["TABLE_NAME"]
    return (
        row["TEMPORARY"] == "N"
        and row["NESTED"] == "NO"
        and row["SECONDARY"] == "N"
        and row["DROPPED"] == "NO"
        and row["IOT_TYPE"] in (None, "IOT")
        and not naming.is_oracles_own(name)
        and not naming.is_bowlines_own(owner, name, user=row["SESSION_USER"])
    )


def _declared(table: OracleTable) -> list[list[Any]]:
    """What Oracle says of the columns beyond the type that they become."""
    known = (kind.column for kind in table.kinds.values())
    refused = (refusal.column for refusal in table.refusals)
    return [
        [of.data_type, of.data_length, of.data_precision, of.data_scale, of.char_used]
        for of in chain(known, refused)
    ]


def _as_refused(column: OracleColumn) -> Column:
    return Column(
        name=naming.neutral(column.name),
        type_schema=column.data_type_owner or "SYS",
        type_name=column.data_type,
        type_text=column.data_type,
        not_null=not column.nullable,
        generated=column.virtual,
    )


def _segment(row: Mapping[str, Any]) -> Segment:
    return Segment(
        kind=row["OBJECT_TYPE"],
        name=row["SUBOBJECT_NAME"] or row["OBJECT_NAME"],
        object_id=row["OBJECT_ID"],
        data_object_id=row["DATA_OBJECT_ID"],
    )


def _by_name(table: OracleTable) -> tuple[str, str]:
    return table.table.name.schema, table.table.name.name


def _neutral(place: Place) -> TableName:
    return naming.neutral_table(*place)


def _shown(place: Place) -> str:
    return ".".join(place)
