"""Schema: brings the tables, types, functions and views to the target, without indexes until rows are there."""

from __future__ import annotations

from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.base import Section
from bowline_worker.roles import Context
from bowline_worker.saga_checks import require_equal_shapes


def run(context: Context) -> None:
    """Export, keep and run the first section; then see that every selected table is there.

    Killed at any instant and run again it goes on where it was: what was kept first is what is run.
    """
    source, target = context.source, context.target
    notes: list[str] = []
    if not context.config.existing_schema:
        context.report.update(message="exporting the schema")
        statements = source.export_schema(context.config.work_dir)
        target.store_schema(statements)
        context.report.update(message=f"running {len(statements)} statements")
        notes = list(target.run_schema(Section.PRE_DATA, context.config.parallelism) or ())
    tables = check(context)
    if context.config.existing_schema:
        require_equal_shapes(context.source, context.target)
    left_out = f"; left out: {'; '.join(notes)}" if notes else ""
    context.report.update(message=f"{tables} tables are there{left_out}")


def check(context: Context) -> int:
    """See that the target has each table with each written column; say how many there are."""
    there = {table.name: table for table in context.target.tables()}
    tables = context.source.tables()
    for table in tables:
        if table.name not in there:
            raise Unsupported(
                f"the target has no table {table.name}",
                reason="TableMissing",
                hint="make it, or leave it out of spec.tables",
            )
        columns = {column.name for column in there[table.name].written}
        missing = [column.name for column in table.written if column.name not in columns]
        if missing:
            raise Unsupported(
                f"table {table.name} of the target lacks {len(missing)} columns: "
                f"{', '.join(missing)}",
                reason="ColumnMissing",
                hint="add them to the target's table",
            )
    return len(tables)
