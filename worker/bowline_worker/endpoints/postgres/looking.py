"""What the checks of assess share: one look at one side, and findings about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bowline_worker.contract import Side
from bowline_worker.endpoints.findings import Findings
from bowline_worker.endpoints.postgres import made
from bowline_worker.endpoints.postgres.catalog import Db, Records, Selection, records, select
from bowline_worker.endpoints.site import Site


@dataclass
class Look(Findings):
    """One side, in a transaction that only reads, and the other side, if it is of this engine too."""

    site: Site
    db: Db
    other: Db | None = None

    @property
    def side(self) -> Side:
        return self.site.side

    @property
    def is_source(self) -> bool:
        return self.side is Side.SOURCE

    @property
    def is_origin(self) -> bool:
        """Tell whether changes will be streamed from here: from the target only for a way back."""
        return self.is_source or self.site.config.fallback

    @property
    def is_receiver(self) -> bool:
        return not self.is_source or self.site.config.fallback

    @property
    def user(self) -> str:
        return str(self.value("select session_user::text"))

    @cached_property
    def selection(self) -> Selection:
        return select(self.db, self.site.config)

    @cached_property
    def has_begun(self) -> bool:
        """Tell whether this migration wrote here before: what it needs, it may have already."""
        if not made.is_installed(self.db) or not self.value("select to_regclass('bowline.switch')"):
            return False
        query = "select count(*) from bowline.switch where migration = %s"
        return bool(self.value(query, self.site.migration))

    def rows(self, query: str, parameters: Any = None) -> Records:
        return records(self.db, query, parameters)

    def value(self, query: str, *parameters: Any) -> Any:
        row = self.db.execute(query.encode(), parameters or None).fetchone()
        return row[0] if row else None
