"""Checks of collations: what sorts, and what is equal, on one side and not on the other.

Order is a matter for the applications. What is equal is one for the migration: a unique index under a collation that
calls more texts equal refuses rows that the other side holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from bowline_worker.contract import Engine, Finding
from bowline_worker.endpoints.postgres.catalog import Db, records, select
from bowline_worker.endpoints.postgres.looking import Look

# Columns of the catalogue that came, or were renamed, with later versions are read through JSON.
DATABASE = """
select case coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') when 'c' then '' else 'ICU ' end
           || coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', d.datcollate::text) as "order",
       d.datctype::text as letters
from pg_database d where d.datname = current_database()"""
COLUMNS = """
with collation_ as (
    select c.oid, c.collname::text as name,
           coalesce(to_jsonb(c) ->> 'collisdeterministic', 'true')::bool as exact,
           c.collname = 'default' and c.collnamespace = 'pg_catalog'::regnamespace as is_default,
           case c.collprovider when 'i' then 'ICU ' else '' end
               || coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate::text)
               as "order"
    from pg_collation c)
select a.attrelid::int8 as oid, a.attname::text as name, c.name as "collation", c."order", c.is_default,
       c.exact and not exists (
           select from pg_index i, unnest(i.indkey::int2[], i.indcollation::oid[]) k (number, used)
           join collation_ x on x.oid = k.used and not x.exact
           where i.indrelid = a.attrelid and k.number = a.attnum and (i.indisunique or i.indisexclusion)
       ) as exact,
       exists (select from pg_index i where i.indrelid = a.attrelid and a.attnum = any (i.indkey)
               and (i.indisunique or i.indisexclusion)) as is_unique,
       t.typname = 'citext' as folds
from pg_attribute a join collation_ c on c.oid = a.attcollation join pg_type t on t.oid = a.atttypid
where a.attrelid = any (%s::oid[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collated:
    """A column as its collation has it."""

    collation: str
    order: str  #: the locale that it stands for
    is_default: bool
    exact: bool  #: equal texts are the same bytes, in every unique index too
    is_unique: bool
    folds: bool  #: of a type that compares letters by the database's rules


def databases(look: Look) -> Iterator[Finding]:
    """The collations that columns without one of their own have."""
    if look.other is None or look.is_source or _is_from_oracle(look):
        return
    (there,), (here,) = records(look.other, DATABASE), look.rows(DATABASE)
    if _same(there["order"], here["order"]):
        if not _same(there["letters"], here["letters"]):
            yield look.warning(
                "LettersDiffer",
                f"lc_ctype is {there['letters']} on the source and {here['letters']} on the target:"
                " upper and lower may answer otherwise",
                "create the target database with the source's lc_ctype",
            )
        return
    yield look.warning(
        "CollationDiffers",
        f"the database's collation is {there['order']} on the source and {here['order']} on the target:"
        " texts are sorted otherwise",
        "create the target database with the source's collation, if applications rely on its order",
    )


def columns(look: Look) -> Iterator[Finding]:
    """The collations of columns of tables that the user made."""
    is_comparable = look.other is not None and not look.is_source and not _is_from_oracle(look)
    if look.other is None or not is_comparable or not look.site.config.existing_schema:
        return
    (there_all,), (here_all,) = records(look.other, DATABASE), look.rows(DATABASE)
    same_letters = _same(there_all["letters"], here_all["letters"])
    theirs, ours = _collated(look, look.other), _collated(look, look.db)
    others: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name in theirs.keys() & ours.keys():
        there, here = theirs[name], ours[name]
        is_unique = there.is_unique or here.is_unique
        may_collide = there.exact != here.exact or (not there.exact and there.order != here.order)
        if is_unique and (may_collide or (here.folds and not same_letters)):
            yield look.error(
                "CollationDiffers",
                f"{name} is unique, and what is equal in it differs: {_named(there, there_all)} on the"
                f" source, {_named(here, here_all)} on the target",
                "give the column the source's collation; where it is the database's (citext), create the"
                " target database with the source's",
                about=name,
            )
        elif not (there.is_default and here.is_default) and not _same(
            _order(there, there_all), _order(here, here_all)
        ):
            others[_named(there, there_all), _named(here, here_all)].append(name)
    for (there_named, here_named), names in sorted(others.items()):
        more = f" and {len(names) - 1} more columns" if len(names) > 1 else ""
        yield look.warning(
            "CollationDiffers",
            f"collation of {min(names)}{more}: {there_named} on the source, {here_named} on the target:"
            " texts are sorted otherwise",
            "give the column the source's collation, if applications rely on its order",
            about=min(names),
        )


def _collated(look: Look, db: Db) -> dict[str, Collated]:
    names = {leaf.oid: str(leaf.table) for leaf in select(db, look.site.config).leaves}
    return {
        f"{names[row.pop('oid')]}.{row.pop('name')}": Collated(**row)
        for row in records(db, COLUMNS, (list(names),))
    }


def _order(column: Collated, database: dict[str, str]) -> str:
    return database["order"] if column.is_default else column.order


def _named(column: Collated, database: dict[str, str]) -> str:
    if column.is_default:
        return f"the database's ({database['order']})"
    return column.collation if column.exact else f"{column.collation} (not deterministic)"


def _same(one: str, other: str) -> bool:
    """POSIX is another name of C; a code set has several spellings."""

    def plain(locale: str) -> str:
        name = locale.casefold().replace("-", "")
        return "c" if name == "posix" else name

    return plain(one) == plain(other)


def _is_from_oracle(look: Look) -> bool:
    return look.site.config.source.engine is Engine.ORACLE


CHECKS = (databases, columns)
