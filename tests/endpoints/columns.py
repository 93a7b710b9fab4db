"""Builds the cases of types: tables with a column of the type and one of its arrays, with a key and without."""

from __future__ import annotations

from collections.abc import Sequence

from endpoints.carried import Case, How, Kind


def column(
    name: str,
    type_name: str,
    values: Sequence[str],
    make: Sequence[str] = (),
    note: str = "",
) -> Case:
    """Values, and arrays of them, are inserted, exchanged and deleted: by a key, without one, and with nothing beside.

    Without a key every row is there twice.
    """
    short = "".join(sign if sign.isalnum() else "_" for sign in name)
    keyed, keyless, bare = (f'"public"."{sign}_{short}"' for sign in "tkh")
    found = rows(type_name, values)
    images = ", ".join(f"({{n}} + {at}, {row}, {at})" for at, row in enumerate(found))
    twice = ", ".join(f"({row}, {at}), ({row}, {at})" for at, row in enumerate(found))
    alone = ", ".join(f"(({value})::{type_name})" for value in values)
    insert = (
        f"insert into {keyed} values {images}",
        f"insert into {keyless} values {twice}",
        f"insert into {bare} values {alone}",
    )
    change = []
    for at in range(len(found)):
        other = found[(at + 1) % len(found)]
        change.append(f"update {keyed} set (v, a) = ({other}) where id = {{n}} - 1000 + {at}")
        one = f"ctid = (select min(ctid) from {keyless} where n = {at})"
        change.append(f"delete from {keyless} where {one}")
        change.append(f"update {keyless} set (v, a) = ({other}) where {one}")
    change.append(f"update {keyed} set id = id + 500 where id = {{n}} - 1000")
    second = f"ctid = (select ctid from {bare} order by ctid offset 1 limit 1)"
    change.append(f"update {bare} set v = null where {second}")
    change.append(f"delete from {bare} where {second}")
    return Case(
        kind=Kind.TYPE,
        name=f"{name}, and arrays of it",
        make=(
            *make,
            f"create table {keyed} (id int primary key, v {type_name}, a {type_name}[], n int)",
            f"create table {keyless} (v {type_name}, a {type_name}[], n int)",
            f"create table {bare} (v {type_name})",
        ),
        tables=(keyed, keyless, bare),
        before=insert,
        writes=(*insert, "; ".join(change)),
        how=How.NOTE if note else How.CARRIED,
        note=note,
    )


def rows(type_name: str, values: Sequence[str]) -> list[str]:
    """Pairs of a value and an array: with bounds, with NULLs, of two dimensions, empty, and none."""
    each = [f"({value})::{type_name}" for value in values]
    first, last = each[0], each[-1]
    arrays = [
        f"array[{', '.join(each)}, null]::{type_name}[]",
        f"('[-1:1]=' || array[{first}, null, {last}]::{type_name}[]::text)::{type_name}[]",
        f"('[0:1][3:4]=' || array[[{first}, null], [{last}, {first}]]::{type_name}[]::text)::{type_name}[]",
        f"'{{}}'::{type_name}[]",
        f"array[array[array[{last}]]]::{type_name}[]",
        f"array[null]::{type_name}[]",
    ]
    count = max(len(values), len(arrays))
    pairs = [f"{each[at % len(each)]}, {arrays[at % len(arrays)]}" for at in range(count)]
    return [*pairs, "null, null"]


def key(
    name: str,
    type_name: str,
    values: Sequence[str],
    same: tuple[str, str] | None = None,
    make: Sequence[str] = (),
) -> Case:
    """A primary key of that type: rows change, go and come back, and move to another key.

    `same` are two ways to write one key, which the type calls equal and prints otherwise: a row takes the one, then
    the other, by an update, by a delete and an insert in one transaction, and in two.
    """
    short = "".join(sign if sign.isalnum() else "_" for sign in name)
    table, pairs = f'"public"."y_{short}"', f'"public"."z_{short}"'
    each = [f"({value})::{type_name}" for value in values]
    *stay, last = each
    first = stay[0]
    writes = [
        f"insert into {table} values ({last}, {{n}})",
        f"update {table} set n = n + 1",
        f"delete from {table} where v = {first}",
        f"update {table} set v = {first}, n = {{n}} + 7 where v = {last}",
        f"begin; delete from {table} where v = {first}; insert into {table} values ({first}, {{n}} + 9);"
        f" update {table} set n = n + 1 where v = {first}; commit",
        f"insert into {pairs} select v, {{n}} + n % 100 from {table}",
        f"update {pairs} set k = -k where v = {first} and k > 0",
    ]
    if same:
        one, other = (f"({value})::{type_name}" for value in same)
        writes += [
            f"update {table} set v = {other}, n = {{n}} where v = {one}",
            f"update {table} set n = n + 1 where v = {one}",
            f"update {table} set v = {one} where v = {other}",
            f"delete from {table} where v = {other}",
            f"insert into {table} values ({other}, {{n}})",
            f"begin; delete from {table} where v = {one}; insert into {table} values ({one}, {{n}} + 3); commit",
            f"begin; update {table} set v = {other} where v = {one}; update {table} set n = 0 where v = {one};"
            f" delete from {table} where v = {one}; insert into {table} values ({one}, {{n}} + 5); commit",
        ]
    return Case(
        kind=Kind.TYPE,
        name=f"{name} as a key",
        make=(
            *make,
            f"create table {table} (v {type_name} primary key, n int)",
            f"create table {pairs} (v {type_name}, k int, primary key (v, k))",
        ),
        tables=(table, pairs),
        before=(
            f"insert into {table} values " + ", ".join(f"({v}, {at})" for at, v in enumerate(stay)),
            f"insert into {pairs} select v, n from {table}",
        ),
        writes=writes,
    )
