"""What is refused by name: a large object is no value, and no change of it is in any stream."""

from __future__ import annotations

from endpoints.carried import Case, How, Kind

CASES = (
    Case(
        kind=Kind.TYPE,
        name="large objects",
        make=[
            "create table public.image (id int primary key, raster oid)",
            "insert into public.image values (1, lo_from_bytea(4711, 'x'))",
        ],
        tables=['"public"."image"', "4711 of app"],
        how=How.REFUSED,
        note="unless accepted by spec.schema.acceptedIssues; their columns are carried as numbers",
        reason="LargeObjects",
    ),
)
