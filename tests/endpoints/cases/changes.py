"""Kinds of changes: what applications and administrators do to rows."""

from __future__ import annotations

from collections.abc import Sequence

from endpoints.carried import Case, Kind


def change(
    name: str,
    make: Sequence[str],
    tables: Sequence[str],
    writes: Sequence[str],
    *,
    reads: Sequence[str] = (),
) -> Case:
    """A case whose rows of before are written as the later ones are."""
    return Case(
        kind=Kind.CHANGE, name=name, make=make, tables=tables,
        before=writes, writes=writes, reads=reads,
    )  # fmt: skip


#: Random, so that it is stored out of line and not just compressed.
_LARGE = "(select string_agg(md5(i::text || '{n}'), '') from generate_series(1, 400) i)"

CASES = (
    change(
        "unchanged values that are stored out of line",
        [
            "create table public.toasted (id int primary key, large text, also text, n int)",
            "alter table public.toasted alter large set storage external, alter also set storage external",
            "create table public.toasted_full (id int primary key, large text, n int)",
            "alter table public.toasted_full alter large set storage external",
            "alter table public.toasted_full replica identity full",
            "create table public.toasted_loose (large text, n int)",
            "alter table public.toasted_loose alter large set storage external",
            "create table public.toasted_key (large text primary key, n int)",
            "alter table public.toasted_key alter large set storage external",
        ],
        [
            '"public"."toasted"',
            '"public"."toasted_full"',
            '"public"."toasted_loose"',
            '"public"."toasted_key"',
        ],
        [
            f"insert into public.toasted select {{n}} + i, {_LARGE}, i || {_LARGE}, 0 from generate_series(1, 6) i",
            "update public.toasted set n = 1 where id = {n} + 1",
            # With the key, and folded with what is before and behind it.
            "update public.toasted set id = id + 500 where id = {n} + 2",
            "begin; update public.toasted set n = 3 where id = {n} + 3;"
            " update public.toasted set also = 'short' where id = {n} + 3;"
            " update public.toasted set id = id + 500 where id = {n} + 3;"
            " update public.toasted set n = 4 where id = {n} + 503; commit",
            "begin; update public.toasted set n = 5 where id = {n} + 4; delete from public.toasted where id = {n} + 4;"
            " insert into public.toasted values ({n} + 4, 'again', null, 0); commit",
            "begin; update public.toasted set large = large || '!' where id = {n} + 5;"
            " update public.toasted set n = 6 where id = {n} + 5; commit",
            "begin; update public.toasted set id = {n} + 700 where id = {n} + 6;"
            " update public.toasted set id = {n} + 6, n = 7 where id = {n} + 700; commit",
            f"insert into public.toasted_full values ({{n}}, {_LARGE}, 0), ({{n}} + 1, {_LARGE}, 0)",
            "update public.toasted_full set n = 1 where id = {n}",
            "update public.toasted_full set id = id + 500 where id = {n} + 1",
            f"insert into public.toasted_loose values ({_LARGE}, {{n}}), ({_LARGE}, {{n}})",
            "update public.toasted_loose set n = {n} + 1"
            " where ctid = (select min(ctid) from public.toasted_loose where n = {n})",
            "insert into public.toasted_key values ("
            "(select string_agg(md5(i::text || '{n}'), '') from generate_series(1, 70) i), 0)",
            "update public.toasted_key set n = n + 1",
        ],
    ),
    change(
        "a row of 50 MB",
        ["create table public.huge (id int primary key, v bytea, n int)"],
        ['"public"."huge"'],
        [
            "insert into public.huge select {n}, decode(repeat(md5('{n}'), 1638400), 'hex'), 0",
            "update public.huge set n = n + 1 where id = {n}",
            "delete from public.huge where id < {n}",
        ],
        reads=["select id::text, length(v)::text, md5(v), n::text from public.huge order by id"],
    ),
    change(
        "savepoints and rolled back work",
        ["create table public.undone (id int primary key, v text)"],
        ['"public"."undone"'],
        [
            "begin; insert into public.undone values ({n}, 'kept'); savepoint a;"
            " insert into public.undone values ({n} + 1, 'undone'); update public.undone set v = 'undone';"
            " savepoint b; delete from public.undone; rollback to a;"
            " insert into public.undone values ({n} + 2, 'kept'); savepoint c;"
            " update public.undone set v = 'kept too' where id = {n}; release c; commit",
            "begin; update public.undone set v = 'undone'; rollback",
            "do $$ begin insert into public.undone values ({n} + 3, 'undone'); raise exception 'x';"
            " exception when others then insert into public.undone values ({n} + 4, 'kept'); end $$",
        ],
    ),
    change(
        "TRUNCATE, also of several tables, CASCADE and RESTART IDENTITY",
        [
            "create table public.emptied (id int primary key generated by default as identity, v text)",
            "create table public.emptied_child (id int primary key, parent int references public.emptied)",
            "create table public.emptied_loose (v text)",
            "create table public.emptied_parts (id int) partition by range (id)",
            "create table public.emptied_part_1 partition of public.emptied_parts for values from (0) to (5000)",
            "create table public.emptied_part_2 partition of public.emptied_parts for values from (5000) to (9000)",
        ],
        [
            '"public"."emptied"',
            '"public"."emptied_child"',
            '"public"."emptied_loose"',
            '"public"."emptied_part_1"',
            '"public"."emptied_part_2"',
        ],
        [
            "begin; insert into public.emptied (v) values ('gone'), ('gone');"
            " truncate public.emptied restart identity cascade;"
            " insert into public.emptied (v) values ('a{n}'), ('b{n}'); commit",
            "insert into public.emptied_child select {n} + id, id from public.emptied",
            "insert into public.emptied_loose values ('a'), ('b')",
            "truncate public.emptied_loose, public.emptied_child",
            "insert into public.emptied_loose values ('c{n}'), ('c{n}')",
            "insert into public.emptied_child select {n} + 10 + id, id from public.emptied",
            "insert into public.emptied_parts values ({n}), (6000 + {n} % 7)",
            "truncate public.emptied_part_2",
            "begin; truncate public.emptied_parts; insert into public.emptied_parts values ({n} + 1), (6001); commit",
        ],
    ),
    change(
        "COPY, upserts, MERGE",
        ["create table public.merged (id int primary key, v text, n int default 0)"],
        ['"public"."merged"'],
        [
            "copy public.merged (id, v) from stdin\n{n}\ta\\tb\\\\\n1{n}\t\\N\n",
            "insert into public.merged values ({n}, 'up'), ({n} + 1, 'new')"
            " on conflict (id) do update set v = excluded.v, n = merged.n + 1",
            "insert into public.merged values ({n}, 'ignored') on conflict do nothing",
            "merge into public.merged t using (values ({n} + 1), ({n} + 2), (1{n})) s (id) on t.id = s.id"
            " when matched and t.v is null then delete when matched then update set n = 9"
            " when not matched then insert values (s.id, 'merged', 3)",
            "with gone as (delete from public.merged where id = {n} + 2 returning *)"
            " insert into public.merged select id + 7, v, n from gone",
        ],
    ),
    change(
        "one row many times in one transaction",
        ["create table public.busy (id int primary key, n int, v text)"],
        ['"public"."busy"'],
        [
            "do $$ begin for i in 1..300 loop insert into public.busy values ({n}, i, null)"
            " on conflict (id) do update set n = excluded.n; delete from public.busy where i % 7 = 0 and id = {n};"
            " end loop; insert into public.busy values ({n} + 1, 0, 'x');"
            " for i in 1..50 loop update public.busy set id = id + 1 where v = 'x'; end loop; end $$",
            "delete from public.busy where v = 'x' and id < {n}",
        ],
    ),
)
