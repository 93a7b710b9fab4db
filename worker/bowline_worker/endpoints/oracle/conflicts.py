"""What an Oracle receiver's errors mean for rows that are applied to it, told without a value of a row.

Messages of Oracle may hold values: of 23ai the violated key's, of any release what a trigger says.
"""

from __future__ import annotations

import re
from typing import Final

import oracledb

from bowline_worker.contract import BowlineError, TryAgain, Unsupported
from bowline_worker.endpoints.base import RowConflict
from bowline_worker.endpoints.oracle.connection import code_of, one_line, translate
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Table

#: Rows and values that the receiver refuses: constraints, NULL, lengths, precision, conversions, partitions.
REFUSED: Final = frozenset(
    f"ORA-{code:05d}"
    for code in (
        *(1, 1400, 1401, 1407, 2290, 2291, 2292, 12899, 1426, 1438, 1455, 1457, 1461, 1465, 1722),
        *(14400, 14401, 14402, 22835, 28115),
        *range(1800, 1900),  # dates, times and intervals
    )
)
#: Of these the first line names the constraint or the column, and nothing else of the row.
_PLACE: Final[dict[str, re.Pattern[str]]] = {
    **dict.fromkeys(
        ("ORA-00001", "ORA-01400", "ORA-01407", "ORA-02290", "ORA-02291", "ORA-02292"),
        re.compile(r"\(([^()]+)\)"),
    ),
    "ORA-12899": re.compile(r'column ("[^"]+"\."[^"]+"\."[^"]+")'),
}
#: A column that is gone, of another type, or generated; other counts of columns.
CHANGED: Final = frozenset(
    f"ORA-{code:05d}" for code in (904, 913, 932, 947, 957, 1747, 32795, 32796, 54013, 54017)
)
#: The driver itself could not send a value.
UNSENDABLE: Final = frozenset(("DPY-3002", "DPY-3013", "DPY-4003", "DPY-4004"))
#: Deferred constraints are checked by the commit, which then rolls back; the one that refused is told below it.
_ROLLED_BACK: Final = "ORA-02091"
#: RAISE_APPLICATION_ERROR.
_RAISED: Final = re.compile(r"ORA-20\d{3}")


def meant(
    site: Site, error: oracledb.Error, what: str, table: Table | None, *, is_alive: bool
) -> BowlineError | RowConflict:
    """What to raise for an error that was met while `what` was done, in a session that is alive or not."""
    code = code_of(error)
    if code in REFUSED:
        return RowConflict(f"{what}: {_refusal(one_line(error), code)}")
    if code in UNSENDABLE:
        return Unsupported(f"{what}: {code}: the driver can't send a value", reason="ValueRefused")
    if table is not None and code in CHANGED:
        return _changed(f"{site.side}: {what}: {one_line(error)}")
    if not is_alive:
        return lost(site)
    if _RAISED.fullmatch(code):
        # Triggers are disabled before a session's first row: those that are there again are so by the next one.
        return TryAgain(
            f"{site.side} at {site.place}: {what}: {code}, which a trigger of the application raised",
            reason="TriggerFired",
        )
    return translate(site, error, what)


def at_commit(site: Site, error: oracledb.Error) -> BowlineError | RowConflict:
    """What to raise where a commit failed: all but a constraint's refusal leave open whether it was done."""
    if code_of(error) != _ROLLED_BACK:
        said = f"{site.side} at {site.place}: could not commit: {one_line(error)}"
        return TryAgain(said, reason="CommitUnknown")
    for line in str(error).splitlines():
        code, colon, _ = line.partition(": ")
        if colon and code.startswith("ORA-") and code != _ROLLED_BACK:
            return RowConflict(f"at commit: {_refusal(line, code)}")
    return RowConflict(f"at commit: {_ROLLED_BACK}")


def changed(table: Table, why: str) -> Unsupported:
    return _changed(f"table {table.name}: {why}")


def _changed(said: str) -> Unsupported:
    return Unsupported(
        said,
        reason="SchemaChanged",
        hint="make the table as it was when the migration began, then start the stream again",
    )


def lost(site: Site) -> TryAgain:
    said = f"lost the connection to the {site.side} at {site.place}"
    return TryAgain(said, reason="ConnectionLost")


def _refusal(line: str, code: str) -> str:
    """The code, with the constraint or the column where the message names it."""
    pattern = _PLACE.get(code)
    found = pattern.search(line) if pattern else None
    return f"{code} {found[1]}" if found else code
