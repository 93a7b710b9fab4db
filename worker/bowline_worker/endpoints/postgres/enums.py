"""Values of enums that the other side has and this one does not: added there while the stream was on its way."""

from __future__ import annotations

import psycopg

from bowline_worker.contract import BowlineError, Unsupported
from bowline_worker.endpoints.postgres.catalog import records
from bowline_worker.endpoints.postgres.connection import connect, translated
from bowline_worker.endpoints.site import Site

#: The server's own function that reads an enum's value: unlike the message, its name is in no language.
INPUT = "enum_in"

#: As the message writes them. The longest first: one may be the beginning of another.
TYPES = """
select format_type(t.oid, null) as name from pg_type t where t.typtype = 'e'
order by length(format_type(t.oid, null)) desc"""


def missing_value(site: Site, what: object, error: psycopg.Error) -> Unsupported | None:
    """What to tell where an enum has no such value here; None for any other error.

    Nothing is applied by halves: the stream stops before the transaction, and goes on once the type has the value. The
    order of an enum's values is the owner's to decide, so that the value is not added by us.
    """
    if error.diag.source_function != INPUT:
        return None
    said = error.diag.message_primary or ""
    name = next((known for known in _names(site) if known in said), "an enum")
    return Unsupported(
        f"{site.side}: {what}: type {name} has no such value here",
        reason="EnumValueMissing",
        hint=f"alter type {name} add value ..., as on the other side",
    )


def _names(site: Site) -> list[str]:
    """All enums. Another session: that of the error may be in a failed transaction."""
    try:
        with translated(site), connect(site) as connection:
            return [row["name"] for row in records(connection, TYPES)]
    except BowlineError:
        return []  # the error that is to be told matters more
