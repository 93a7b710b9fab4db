"""Foreign keys that were made NOT VALID because the tables were copied at different positions: validated at the end.

By then the stream has made the rows consistent. A key that the source itself has NOT VALID stays so.
"""

from __future__ import annotations

import logging

from psycopg import errors

from bowline_worker.endpoints.postgres.catalog import Db, records
from bowline_worker.endpoints.postgres.connection import connect, one_line, quote, translated
from bowline_worker.endpoints.site import Site

#: pg_dump calls a foreign key by its table and its own name.
UNVALIDATED = """
select n.nspname, c.relname, k.conname
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
join bowline.statement s on s.name = format('%%s.%%s %%s', n.nspname, c.relname, k.conname)
where s.migration = %s and s.kind = 'FK CONSTRAINT' and s.done and s.sql !~ 'NOT VALID\\s*;?\\s*$'
    and k.contype = 'f' and not k.convalidated
order by 1, 2, 3"""

log = logging.getLogger("bowline")


def validate(site: Site) -> list[str]:
    """Validate them one by one, reading their tables while everybody writes; say which one the rows break."""
    left = []
    with translated(site, "could not validate foreign keys"), connect(site) as connection:
        for schema, table, name in _unvalidated(connection, site):
            text = f"alter table {quote(schema, table)} validate constraint {quote(name)}"
            try:
                connection.execute(text.encode())
            except errors.ForeignKeyViolation as error:
                left.append(
                    f"{site.side}: foreign key {name} of {schema}.{table} is NOT VALID: {one_line(error)}"
                )
            else:
                log.info("foreign key validated", extra={"fields": {"table": f"{schema}.{table}"}})
    return left


def _unvalidated(connection: Db, site: Site) -> list[tuple[str, str, str]]:
    if connection.execute(b"select to_regclass('bowline.statement')").fetchone() == (None,):
        return []
    return [
        (row["nspname"], row["relname"], row["conname"])
        for row in records(connection, UNVALIDATED, (site.migration,))
    ]
