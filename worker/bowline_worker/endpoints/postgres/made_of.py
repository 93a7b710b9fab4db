"""What the types that a database made itself consist of: their names alone do not say what values they hold.

An attribute of a composite that is narrower on the other side would round what it is given, without an error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import dict_row

#: A type's parts: what a domain stands for, an array's element, a range's bound, a composite's attributes.
PART = """
join pg_type t on t.oid = r.type cross join lateral (
    select 0 as at, null::name as name, t.typbasetype as of, t.typtypmod as modifier where t.typtype = 'd'
    union all
    select 0, null, t.typelem, -1 where t.typcategory = 'A' and t.typelem <> 0
    union all
    select 0, null, g.rngsubtype, -1 from pg_range g where g.rngtypid = t.oid
    union all
    select a.attnum, a.attname, a.atttypid, a.atttypmod from pg_attribute a
    where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) p"""
PARTS = f"""
with recursive reached (type) as (
    select unnest(%s::oid[])
    union
    select p.of from reached r {PART})
select t.oid::int8 as type, t.typtype::text as kind, p.name::text as name, p.of::int8 as of,
       format_type(p.of, p.modifier) as text
from reached r {PART}
order by t.oid, p.at"""


@dataclass(frozen=True, slots=True)
class Part:
    name: str  #: of an attribute
    type: int
    text: str  #: as people write it, with its modifier


@dataclass(frozen=True, slots=True)
class Made:
    kind: str  #: pg_type.typtype
    parts: tuple[Part, ...]


def made_of(
    connection: Connection[tuple[object, ...]], types: Collection[int]
) -> Mapping[int, str]:
    """Describe those of the types that are, or hold, domains and composites; the others are left out."""
    kinds: dict[int, str] = {}
    parts: defaultdict[int, list[Part]] = defaultdict(list)
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(PARTS.encode(), (sorted(types),)):
            kinds[row["type"]] = row["kind"]
            parts[row["type"]].append(Part(row["name"] or "", row["of"], row["text"]))
    known = {oid: Made(kind, tuple(parts[oid])) for oid, kind in kinds.items()}
    return {oid: text for oid in types if (text := describe(oid, known))}


def describe(oid: int, known: Mapping[int, Made]) -> str:
    """Write a type out, down to types that every server has: of those, nothing."""
    made = known.get(oid)
    if made is None:
        return ""
    written = [
        " ".join(word for word in (part.name, part.text, describe(part.type, known)) if word)
        for part in made.parts
    ]
    match made.kind:
        case "c":
            return f"({', '.join(written)})"
        case "d":
            return f"({written[0]})"
        case _:  # an array's element and a range's bound are told by its name
            return describe(made.parts[0].type, known)
