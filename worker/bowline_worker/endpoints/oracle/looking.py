"""What the checks of assess share: one look at an Oracle side, and findings about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import oracledb

from bowline_worker.contract import BowlineError, Side
from bowline_worker.endpoints.base import Endpoint
from bowline_worker.endpoints.findings import Findings
from bowline_worker.endpoints.oracle import naming
from bowline_worker.endpoints.oracle.catalog import OracleTable, read_tables, selected
from bowline_worker.endpoints.oracle.dictionary import Place, Records, of_owners, records
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Column, TableName

GRANTS: Final = "run the SQL of `bowline grants --engine oracle`"
#: Tables that a message names; it tells how many there are.
NAMED: Final = 3

_HAS_BOOKS: Final = "select count(*) from user_tables where table_name = 'BOWLINE_SWITCH'"
_HAS_ROW: Final = "select count(*) from bowline_switch where migration = :migration"


@dataclass
class Look(Findings):
    """One side, by a session whose queries see one dictionary, and the other side, if it is there."""

    site: Site
    db: oracledb.Connection
    other: Endpoint | None = None

    @property
    def is_source(self) -> bool:
        return self.site.side is Side.SOURCE

    @property
    def is_origin(self) -> bool:
        """Tell whether changes will be streamed from here: from the target only for a way back."""
        return self.is_source or self.site.config.fallback

    @property
    def is_receiver(self) -> bool:
        return not self.is_source or self.site.config.fallback

    @cached_property
    def user(self) -> str:
        return str(self.value("select user from dual"))

    @cached_property
    def privileges(self) -> frozenset[str]:
        """System privileges, those of enabled roles too."""
        found = self.rows("select p.privilege from session_privs p")
        return frozenset(row["PRIVILEGE"] for row in found)

    @cached_property
    def tables(self) -> tuple[OracleTable, ...]:
        """The selected tables. Unsupported where two names would become one."""
        return read_tables(self.db, self.site.config.include, self.site.config.exclude)

    @cached_property
    def by_place(self) -> Mapping[Place, OracleTable]:
        return {(one.owner, one.name): one for one in self.tables}

    @cached_property
    def owners(self) -> list[str]:
        return sorted({one.owner for one in self.tables})

    @cached_property
    def database(self) -> Mapping[str, Any]:
        """The row of V$DATABASE."""
        (row,) = self.rows(
            "select d.log_mode, d.supplemental_log_data_min, d.force_logging, d.open_mode,"
            " d.database_role, d.cdb from v$database d"
        )
        return row

    @cached_property
    def is_plugged(self) -> bool:
        """Tell whether this is a pluggable database: redo is that of the database which contains it."""
        inside = "select to_number(sys_context('USERENV', 'CON_ID')) as container from dual"
        return self.database["CDB"] == "YES" and int(self.value(inside)) > 1

    @cached_property
    def there(self) -> Mapping[TableName, Sequence[Column]] | None:
        """The other side's shapes; None: it can't be reached, which its own assessment tells."""
        if self.other is None:
            return None
        try:
            return self.other.shapes()
        except BowlineError:
            return None

    @cached_property
    def has_begun(self) -> bool:
        """Tell whether this migration wrote here before: what it needs, it may have already."""
        has_books = self.value(_HAS_BOOKS)
        return bool(has_books and self.value(_HAS_ROW, migration=self.site.migration))

    def wanted(self, query: str) -> list[Place]:
        """The tables of a query for OWNER and TABLE_NAME that the spec names, of whatever kind they are."""
        places = [(row["OWNER"], row["TABLE_NAME"]) for row in self.rows(query)]
        config = self.site.config
        return [
            (owner, name)
            for owner, name in selected(places, config.include, config.exclude)
            if not naming.is_oracles_own(name)
            and not naming.is_bowlines_own(owner, name, user=self.user)
        ]

    def rows(self, query: str, **binds: str) -> Records:
        return records(self.db, query, binds)

    def value(self, query: str, **binds: str) -> Any:
        found = self.rows(query, **binds)
        return next(iter(found[0].values())) if found else None

    def of_selected(self, query: str) -> list[tuple[OracleTable, dict[str, Any]]]:
        """The rows of a query with `{owners}`, OWNER and TABLE_NAME that are of selected tables."""
        found = of_owners(self.db, query, self.owners)
        places = ((self.by_place.get((row["OWNER"], row["TABLE_NAME"])), row) for row in found)
        return [(table, row) for table, row in places if table is not None]


def listed(tables: Iterable[OracleTable]) -> str:
    """Name the first of some tables, and tell how many there are."""
    names = sorted({str(one.table.name) for one in tables})
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
