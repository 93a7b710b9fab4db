"""What the measures of a stream share: where a backlog ends, and how much is in it."""

from __future__ import annotations

from bench.product import FORWARD, Product
from bowline_worker.journal import Reader
from servers import Database


def last_transaction(source: Database) -> None:
    """Change one row: whoever has this transaction has all that was committed before it."""
    ((table,),) = source.rows(
        "select c.oid::regclass::text from pg_class c join pg_index i on i.indrelid = c.oid and i.indisprimary "
        "where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace order by c.relpages limit 1"
    )
    ((column,),) = source.rows(
        "select quote_ident(attname) from pg_attribute where attrelid = %s::regclass and attnum > 0 "
        "order by attnum desc limit 1",
        table,
    )
    source.run(
        f"update {table} set {column} = {column} where ctid = (select ctid from {table} limit 1)"
    )


def changes_in(product: Product) -> int:
    reader = Reader(product.journal, migration=product.pair.migration, stream=FORWARD)
    try:
        return reader.end().total
    finally:
        reader.close()
