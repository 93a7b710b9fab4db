"""The fence: statement triggers by which a passive database refuses application writes."""

from __future__ import annotations

from bowline_worker.endpoints.postgres.catalog import Db
from bowline_worker.endpoints.postgres.connection import Site


def raise_fence(site: Site, connection: Db, grace: float) -> None: ...
def lower_fence(site: Site, connection: Db) -> None: ...
def gaps(site: Site, connection: Db) -> list[str]:
    return []
