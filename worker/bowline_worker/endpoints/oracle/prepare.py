"""Prepare: what a stream needs besides its slot, made while applications work, each object noted first."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.oracle import books, catalog, fence, supplemental, writers
from bowline_worker.endpoints.oracle.connection import connect, translated
from bowline_worker.endpoints.oracle.leave import cleanup
from bowline_worker.endpoints.site import Site

__all__ = ["cleanup", "prepare_origin", "prepare_receiver"]

#: Refused columns that a message names; it tells how many there are.
NAMED: Final = 5


def prepare_origin(site: Site) -> None:
    """Make whatever a stream from here needs but slots. A fence that is raised stays raised.

    One table at a time, so that an application is held up by one short lock at a time; running it again makes what is
    missing.
    """
    _refuse(site)
    books.install(site)
    _make_fence(site)
    supplemental.make(site)


def prepare_receiver(site: Site, *, fenced: bool) -> None:
    """Make the fence here, raised or not; refuse if it can't be raised.

    Only a side that no attempt has touched is fenced: afterwards the saga alone decides who is open.
    """
    _refuse(site)
    books.install(site)
    _make_fence(site)
    if not fenced:
        with translated(site), closing(connect(site)) as connection:
            writers.refuse_in_doubt(site, connection)
        return
    with books.transaction(site) as here:
        row = here.switch()
        if row.opened or row.attempt:
            return
        here.raise_fence(site.config.writer_grace.total_seconds())
        here.put_switch(replace(row, fenced=True, fenced_at=row.fenced_at or datetime.now(UTC)))


def _refuse(site: Site) -> None:
    """Refuse tables with columns that can't be carried, naming them."""
    refusals = [refusal for table in catalog.tables(site) for refusal in table.refusals]
    if refusals:
        more = f"; and {len(refusals) - NAMED} more" if len(refusals) > NAMED else ""
        raise Unsupported(
            f"{site.side}: {'; '.join(each.message for each in refusals[:NAMED])}{more}",
            reason=refusals[0].reason,
            hint=refusals[0].remedy,
        )


def _make_fence(site: Site) -> None:
    """Make what is missing of it; triggers that a raise left enabled, and that was taken back, are disabled again."""
    fence.make(site)
    fence.disable_lowered(site)
