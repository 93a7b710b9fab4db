"""Find a view by the names it goes by: DBA_, ALL_ and USER_, V$ and V_$, GV$."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from oracle.standin.backend import Value
from oracle.standin.engine.datatypes import NUMBER
from oracle.standin.engine.relations import View

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session


def view_named(session: Session, schema: str | None, name: str) -> View | None:
    """The view, or None where there is none or the user may not read it."""
    if schema not in (None, "SYS", "PUBLIC"):
        return None
    name = name.replace("V_$", "V$", 1)
    if not _allowed(session, name):
        return None
    views = session.database.views
    if name in views:
        return views[name]
    if name.startswith("GV$") and (view := views.get(name[1:])) is not None:
        return _of_instance(view)
    prefix, _, rest = name.partition("_")
    if prefix == "DBA":
        return views.get(f"ALL_{rest}")
    if prefix == "USER" and (view := views.get(f"ALL_{rest}")) is not None:
        return _own(view)
    return None


def _allowed(session: Session, name: str) -> bool:
    """V$ and DBA_ views need a right; ALL_ and USER_ are everyone's."""
    if not name.startswith(("V$", "GV$", "DBA_")):
        return True
    rights = session.database.users[session.user]
    return rights.reads_dictionary


def _of_instance(view: View) -> View:
    """The GV$ form of what all instances show alike."""

    def rows(session: Session) -> Iterator[Sequence[Value]]:
        for row in view.fill(session):
            yield (Decimal(session.thread), *row)

    return View((("INST_ID", NUMBER), *view.columns), rows, view.lazy)


def _own(view: View) -> View:
    """The USER_ form: one's own objects, without the column OWNER."""
    names = [name for name, _ in view.columns]
    owners = [one for one in ("OWNER", "TABLE_OWNER", "SEQUENCE_OWNER") if one in names]
    if not owners:
        return view
    at = names.index(owners[0])

    def rows(session: Session) -> Iterator[Sequence[Value]]:
        for row in view.fill(session):
            if row[at] == session.user:
                yield (*row[:at], *row[at + 1 :])

    return View((*view.columns[:at], *view.columns[at + 1 :]), rows)
