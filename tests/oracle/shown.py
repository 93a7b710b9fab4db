"""A world whose dictionary shows also what the stand-in can't make itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oracle.standin.backend import Value
from oracle.standin.engine.relations import View
from oracle.standin.engine.session import Session
from oracle.world import World


class Shown(World):
    """Tests let its views tell more, or something else."""

    def show(self, view: str, **row: Value) -> None:
        """Let a view have one more row."""
        self.stand_in.database.planted.setdefault(view, []).append(row)

    def set(self, view: str, **change: Value) -> None:
        """Let a view tell something else, in each of its rows."""
        self.stand_in.database.settings.setdefault(view, {}).update(change)

    def alter(self, view: str, column: str, of: Value, **change: Value) -> None:
        """Let a view tell something else of the rows that have `of` in that column."""
        old = self.stand_in.database.views[view]
        names = [name for name, _ in old.columns]
        assert {column, *change} <= set(names)

        def fill(session: Session) -> Iterator[Sequence[Value]]:
            for values in old.fill(session):
                row = dict(zip(names, values, strict=True))
                yield tuple((row | change if row[column] == of else row).values())

        self.stand_in.database.views[view] = View(old.columns, fill)

    def hide(self, view: str) -> None:
        """Let a view not be there, as for a user who may not read it; nor its V$ form, where it is the GV$ one."""
        for name in {view, view.replace("GV$", "V$")}:
            self.stand_in.database.views.pop(name, None)
