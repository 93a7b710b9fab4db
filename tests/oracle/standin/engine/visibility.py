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
        return _as_set(name, views[name])
    if name.startswith("GV$") and (view := views.get(name[1:])) is not None:
        return _of_instance(_as_set(name[1:], view))
    prefix, _, rest = name.partition("_")
    all_ = f"ALL_{rest}"
    if prefix in ("DBA", "USER") and (view := views.get(all_)) is not None:
        view = _as_set(all_, view)
        return _everybodys(view) if prefix == "DBA" else _own(view)
    return None


def _as_set(name: str, view: View) -> View:
    """A view with what a test has set and planted in it, by the name that it is filled under."""
    if view.lazy:
        return view
    columns = [column for column, _ in view.columns]

    def rows(session: Session) -> Iterator[Sequence[Value]]:
        database = session.database
        wanted = {
            columns.index(key): value for key, value in database.settings.get(name, {}).items()
        }
        for row in view.fill(session):
            yield [wanted.get(at, value) for at, value in enumerate(row)] if wanted else row
        for planted in database.planted.get(name, ()):
            assert planted.keys() <= set(columns), (name, planted)
            yield [planted.get(column) for column in columns]

    return View(view.columns, rows)


def _allowed(session: Session, name: str) -> bool:
    """V$ and DBA_ views need a right; ALL_ and USER_ are everyone's."""
    if not name.startswith(("V$", "GV$", "DBA_")):
        return True
    rights = session.rights
    return rights.reads_dictionary


def _of_instance(view: View) -> View:
    """The GV$ form of what all instances show alike."""

    def rows(session: Session) -> Iterator[Sequence[Value]]:
        for row in view.fill(session):
            yield (Decimal(session.thread), *row)

    return View((("INST_ID", NUMBER), *view.columns), rows, view.lazy)


def _everybodys(view: View) -> View:
    """The DBA_ form: what SYS is shown."""

    def rows(session: Session) -> Iterator[Sequence[Value]]:
        with session.as_sys():
            return iter(list(view.fill(session)))

    return View(view.columns, rows)


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
