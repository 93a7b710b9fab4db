"""Prepare: what a stream needs besides its slot, made while applications work, each object noted first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.postgres import books, fence, identity, locks, publication
from bowline_worker.endpoints.postgres.connection import connect, translated
from bowline_worker.endpoints.postgres.leave import cleanup
from bowline_worker.endpoints.site import Site

__all__ = ["cleanup", "prepare_origin", "prepare_receiver"]


def prepare_origin(site: Site) -> None:
    """Make whatever a stream from here needs but slots. A fence that is raised stays raised.

    One table a transaction, so that an application is held up by one short lock at a time; running it again makes what
    is missing.
    """
    books.install(site)
    _make_fence(site)
    # Before the publication: a published table without an identity refuses the application's updates.
    with translated(site, "could not read the catalogue"), connect(site) as connection:
        refused = identity.unpublishable(connection, site.config)
        unstreamable = identity.unstreamable(connection, site.config)
        identities = identity.needed(connection, site.config)
    if unstreamable:
        raise Unsupported(
            f"{site.side}: {unstreamable[0]}, and {len(unstreamable) - 1} more, have no primary key: no stream"
            " from this server tells of their rows",
            reason="KeylessUnstreamable",
            hint="add a primary key, exclude the table, or do without the way back: spec.cutover.fallback: false",
        )
    if refused:
        raise Unsupported(
            f"{site.side}: once published, {refused[0]} would refuse the application's updates:"
            " all its columns identify a row, generated ones too",
            reason="GeneratedWithoutKey",
            hint="add a primary key, set replica identity to default, or exclude the table",
        )
    for new in identities:
        locks.gently(
            site,
            f"could not set the replica identity of {new.table}",
            partial(identity.change, site, new),
        )
    locks.gently(site, "could not make the publication", partial(publication.make, site))


def prepare_receiver(site: Site, *, fenced: bool) -> None:
    """Make the fence here, raised or not; refuse if it can't be raised.

    Only a side that no attempt has touched is fenced: afterwards the saga alone decides who is open.
    """
    books.install(site)
    _make_fence(site)
    if not fenced:
        with translated(site), connect(site, autocommit=False) as connection:
            fence.refuse_bypasses(site, connection)
        return
    with books.transaction(site) as here:
        row = here.switch()
        if row.opened or row.attempt:
            return
        here.raise_fence(site.config.writer_grace.total_seconds())
        here.put_switch(replace(row, fenced=True, fenced_at=row.fenced_at or datetime.now(UTC)))


def _make_fence(site: Site) -> None:
    """Make the fence's function, and its triggers, lowered, table by table."""
    with (
        translated(site, "could not make the fence"),
        connect(site, autocommit=False) as connection,
    ):
        fence.make_function(connection)
        relations = fence.missing(site, connection)
    for relation in relations:
        locks.gently(
            site,
            f"could not make the fence of {relation.table}",
            partial(fence.make_on, site, relation),
        )
