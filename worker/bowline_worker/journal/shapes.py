"""The shapes that the origin's tables had when the stream began: changes are only valid while they stay."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from bowline_worker.contract import Unsafe, Unsupported
from bowline_worker.journal.store import DirectoryStore
from bowline_worker.model import Column, Table, TableName

FINGERPRINT = "fingerprint"

#: Per table, as text, each column's name and its type with what else matters.
Shapes: TypeAlias = dict[str, dict[str, str]]
#: In a table's place for a column of no name: what it is a partition of.
PARENT = ""
#: Likewise: which table it is, whatever its name.
IDENTITY = "*"


def remember(
    directory: Path,
    fingerprint: str,
    shapes: Mapping[TableName, Sequence[Column]],
    tables: Iterable[Table] = (),
) -> None:
    """Store them durably, once: at the first start of a stream."""
    store = DirectoryStore(directory)
    store.create()
    content = {"fingerprint": fingerprint, "tables": describe(shapes, tables, own=True)}
    store.replace(FINGERPRINT, json.dumps(content, indent=1).encode(), durable=True)


def remembered(directory: Path) -> tuple[str, Shapes] | None:
    """Read what was stored; None: the stream has not begun."""
    content = DirectoryStore(directory).read_small(FINGERPRINT)
    if content is None:
        return None
    try:
        stored = json.loads(content)
        return stored["fingerprint"], stored["tables"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unsafe(
            f"{directory / FINGERPRINT} is damaged: {type(error).__name__}", reason="JournalDamaged"
        ) from error


def describe(
    shapes: Mapping[TableName, Sequence[Column]], tables: Iterable[Table] = (), *, own: bool = False
) -> Shapes:
    """Put shapes, and what the tables are partitions of, in the form that is stored and compared.

    `own`: with the engine's numbers, which are not the other side's.
    """
    found = {
        str(table): {column.name: _column(column, own=own) for column in columns}
        for table, columns in shapes.items()
    }
    for table in tables:
        if str(table.name) not in found:
            continue
        if table.parent is not None:
            found[str(table.name)][PARENT] = f"a partition of {table.parent}"
        if own:
            found[str(table.name)][IDENTITY] = table.identity
    return found


def _column(column: Column, *, own: bool) -> str:
    words = [
        f"column {column.number}," if own else "",
        column.whole_type,
        "not null" if column.not_null else "",
        "generated" if column.generated else "",
        "identity always" if column.identity_always else "",
    ]
    return " ".join(word for word in words if word)


def differences(before: Shapes, now: Shapes) -> list[str]:
    """Say what changed, table by table."""
    found = []
    for table in sorted(before.keys() | now.keys()):
        if table not in now:
            found.append(f"{table} is gone (or no longer a table of its own)")
        elif table not in before:
            found.append(f"{table} is new")
        else:
            old, new = dict(before[table]), dict(now[table])
            if old.pop(IDENTITY, None) != new.pop(IDENTITY, None):
                found.append(f"{table} is another table than it was")
            was, is_now = (of.pop(PARENT, "a table of its own") for of in (old, new))
            if was != is_now:
                found.append(f"{table} was {was}, is {is_now}")
            found += [f"{table}.{name} is gone" for name in old if name not in new]
            found += [f"{table}.{name} is new" for name in new if name not in old]
            found += [
                f"{table}.{name} was {old[name]}, is {new[name]}"
                for name in old
                if name in new and old[name] != new[name]
            ]
            if not found and list(old) != list(new):
                found.append(f"{table} has its columns in another order")
    return found


def schema_changed(before: Shapes, now: Shapes) -> Unsupported:
    """Make the error that names tables and columns, and what to do."""
    found = differences(before, now) or ["partitions, or something that was changed back meanwhile"]
    more = f", and {len(found) - 5} more" if len(found) > 5 else ""
    return Unsupported(
        f"the schema of migrated tables changed while streaming: {'; '.join(found[:5])}{more}",
        reason="SchemaChanged",
        hint="put the schema back as it was and start again, or ask for Complete and migrate anew",
    )
