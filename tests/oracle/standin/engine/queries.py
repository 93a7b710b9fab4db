"""How a query's rows come to the client: at once, one by one, or locked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from oracle.standin.backend import Column, OraError, Value
from oracle.standin.engine.changes import Writer
from oracle.standin.engine.evaluation import Env
from oracle.standin.engine.planning import BlockPlan, QueryPlan
from oracle.standin.engine.transactions import ROW_SHARE, Blocked

if TYPE_CHECKING:
    from oracle.standin.engine.database import Database
    from oracle.standin.engine.session import Session


def columns(plan: QueryPlan) -> list[Column]:
    return [kind.column(name) for name, kind in plan.columns]


def kept(
    database: Database, rows: Sequence[Sequence[Value]], oldest: int
) -> Iterator[Sequence[Value]]:
    """Rows that were read at an SCN; ORA-01555 as soon as its undo is gone."""
    for row in rows:
        if oldest < database.undo_floor:
            raise too_old()
        yield row


def too_old() -> OraError:
    return OraError(
        1555, 'snapshot too old: rollback segment number 4 with name "_SYSSMU4$" too small'
    )


def lazily(session: Session, plan: QueryPlan, env: Env) -> Iterator[Sequence[Value]]:
    """Rows made while they are fetched, each under the engine's lock."""
    rows = plan.rows(env)
    while True:
        with session.database.lock:
            session.poll()
            row = next(rows, None)
        if row is None:
            return
        yield row


def locked(session: Session, plan: QueryPlan, env: Env) -> list[Sequence[Value]]:
    """FOR UPDATE: lock every row, then give them."""
    locking, block = plan.locking, plan.plan
    assert locking is not None
    assert isinstance(block, BlockPlan)
    relations = block.locked()
    for _, relation in relations:
        session.started().lock(relation.table, ROW_SHARE, locking.wait)
    writer: Writer | None = None
    rows: list[Sequence[Value]] = []
    for found in list(block.kept_envs(env)):
        targets = [
            (relation.table, relation.table.rows[str(rowid)])
            for place, relation in relations
            if (rowid := found.rows[place][relation.rowid_at]) is not None
        ]
        writer = writer or Writer(session)
        try:
            for _, row in targets:
                writer.claim(row)
        except Blocked as blocked:
            if locking.skip:
                continue
            code = 54 if locking.wait == 0 else 30006
            raise Blocked(blocked.holders, locking.wait, code) from None
        for table, row in targets:
            writer.lock_row(table, row)
        rows.append(tuple(item.run(found) for item in block.items))
    return rows
