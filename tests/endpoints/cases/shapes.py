"""Shapes of tables: how many columns, partitions, parents; what identifies a row."""

from __future__ import annotations

from functools import partial

from endpoints.carried import Case, How, Kind, walked

shape = partial(walked, Kind.SHAPE)


#: PostgreSQL's most: narrow ones, so that a row fits its page.
MANY = 1600
_MANY_COLUMNS = ", ".join(f"c{at} smallint" for at in range(1, MANY))
_MANY_VALUES = ", ".join(["7"] * (MANY - 1))

CASES = (
    shape(
        "1,600 columns",
        [f"create table public.many (id int primary key, {_MANY_COLUMNS})"],
        ['"public"."many"'],
        [
            f"insert into public.many values ({{n}}, {_MANY_VALUES}), ({{n}} + 1, {_MANY_VALUES})",
            "insert into public.many (id, c1599) values ({n} + 2, 1)",
            "update public.many set c1 = 1, c800 = null, c1599 = 9 where id = {n}",
            "update public.many set id = id + 500 where id = {n} + 1",
            "update public.many set "
            + ", ".join(f"c{at} = 8" for at in range(1, MANY))
            + " where id = {n} + 2",
        ],
    ),
    shape(
        "tables without columns",
        [
            "create table public.nothing ()",
            "create table public.nothing_left (gone int)",
            "alter table public.nothing_left drop gone",
            "create table public.nothing_written (made int generated always as (7) stored)",
        ],
        ['"public"."nothing"', '"public"."nothing_left"', '"public"."nothing_written"'],
        [
            "begin; insert into public.nothing default values; insert into public.nothing default values;"
            " insert into public.nothing default values; commit",
            "delete from public.nothing where ctid = (select min(ctid) from public.nothing)",
            "insert into public.nothing_left default values",
            "insert into public.nothing_written default values",
        ],
        reads=[
            "select count(*)::text from public.nothing",
            "select count(*)::text from public.nothing_left",
            "select count(*)::text, sum(made)::text from public.nothing_written",
        ],
    ),
    shape(
        "a generated column in the key",
        [
            "create table public.keyed_by (n int, id int generated always as (n * 2) stored primary key, v text)",
        ],
        ['"public"."keyed_by"'],
        [
            "insert into public.keyed_by (n, v) values ({n}, 'a'), ({n} + 1, 'b'), ({n} + 2, 'c')",
            "update public.keyed_by set v = 'd' where n = {n}",
            "update public.keyed_by set n = n + 500 where n = {n} + 1",
            "delete from public.keyed_by where n = {n} + 2",
        ],
        note="a row is found by all its columns; version 18 refuses that: GeneratedWithoutKey",
    ),
    shape(
        "dropped columns, and columns in another order",
        [
            "create table public.dropped (a int, id int primary key, b text, c numeric)",
            "alter table public.dropped drop a, add d text default 'later', drop c, add a bigint",
        ],
        ['"public"."dropped"'],
        [
            "insert into public.dropped values ({n}, 'b', 'd', {n}), ({n} + 1, null, default, 7)",
            "update public.dropped set a = -a where id = {n}",
            "insert into public.dropped (id) values ({n} + 2)",
            "delete from public.dropped where id = {n} + 1",
        ],
    ),
    shape(
        "a table without a key, duplicates kept",
        [
            "create table public.loose (a int, b text, c json)",
            "create table public.loose_full (id int primary key, b text)",
            "alter table public.loose_full replica identity full",
        ],
        ['"public"."loose"', '"public"."loose_full"'],
        [
            "insert into public.loose values ({n}, 'x', '[1]'), ({n}, 'x', '[1]'), ({n}, 'x', '[1]'),"
            " (null, null, null), (null, null, null)",
            "delete from public.loose where ctid = (select min(ctid) from public.loose where a = {n})",
            "update public.loose set b = b || '!' where a = {n}",
            "update public.loose set a = {n} + 1 where ctid = (select max(ctid) from public.loose where a is null)",
            "insert into public.loose_full values ({n}, 'x'), ({n} + 1, null)",
            "update public.loose_full set id = id + 500, b = null where id = {n}",
        ],
        note="a row is found by all its columns, which is slow",
    ),
    shape(
        "replica identity using an index",
        [
            "create table public.by_index (id int primary key, code text not null, n int not null, v text)",
            "create unique index by_index_code on public.by_index (n, code)",
            "alter table public.by_index replica identity using index by_index_code",
        ],
        ['"public"."by_index"'],
        [
            "insert into public.by_index values ({n}, 'a', 1, 'x'), ({n} + 1, 'b{n}', 1, 'y'), ({n} + 2, 'c', {n}, 'z')"
            " on conflict do nothing",
            "update public.by_index set v = 'w' where id = {n} + 1",
            "update public.by_index set code = code || '!' where id = {n} + 2",
            "update public.by_index set id = id + 500 where id = {n} + 2",
            "delete from public.by_index where id = {n} + 1",
        ],
    ),
    shape(
        "partitions by range, list and hash, of several levels, in other schemas",
        [
            "create schema elsewhere",
            "create table public.parted (at date, region text, id int, v text,"
            " primary key (at, region, id)) partition by range (at)",
            "create table public.parted_old partition of public.parted"
            " for values from (minvalue) to ('2020-01-01') partition by list (region)",
            "create table elsewhere.parted_old_eu partition of public.parted_old for values in ('eu', 'uk')",
            "create table public.parted_old_rest partition of public.parted_old default",
            "create table public.parted_new partition of public.parted"
            " for values from ('2020-01-01') to ('2030-01-01') partition by hash (id)",
            "create table public.parted_new_0 partition of public.parted_new for values with (modulus 2, remainder 0)",
            # Its columns come in another order than its parent's.
            "create table elsewhere.parted_new_1 (v text, id int not null, region text not null, at date not null)",
            "alter table public.parted_new attach partition elsewhere.parted_new_1"
            " for values with (modulus 2, remainder 1)",
            "create table public.parted_default partition of public.parted default",
        ],
        [
            '"elsewhere"."parted_old_eu"',
            '"public"."parted_old_rest"',
            '"public"."parted_new_0"',
            '"elsewhere"."parted_new_1"',
            '"public"."parted_default"',
        ],
        [
            "insert into public.parted select d, r, {n} + i, 'v' from generate_series(1, 6) i,"
            " unnest(array['eu', 'us']) r, unnest(array['2019-05-05', '2024-05-05', '2031-05-05']::date[]) d",
            "update public.parted set v = 'changed' where id = {n} + 1",
            # Rows move between partitions of all levels.
            "update public.parted set at = '2024-01-01' where id = {n} + 2 and at < '2020-01-01'",
            "update public.parted set region = 'us{n}' where id = {n} + 3 and region = 'eu'",
            "begin; update public.parted set at = '2031-01-01' where id = {n} + 4 and at = '2024-05-05';"
            " update public.parted set at = '2018-01-01' where id = {n} + 4 and at = '2031-01-01'; commit",
            "delete from public.parted where id = {n} + 5",
        ],
    ),
    shape(
        "partitions without a key",
        [
            "create table public.parted_loose (at int, v text) partition by range (at)",
            "create table public.parted_loose_1 partition of public.parted_loose for values from (0) to (10)",
            "create table public.parted_loose_2 partition of public.parted_loose for values from (10) to (20)",
        ],
        ['"public"."parted_loose_1"', '"public"."parted_loose_2"'],
        [
            "insert into public.parted_loose values (1, 'a{n}'), (1, 'a{n}'), (11, 'b'), (2, null), (12, 'c')",
            "update public.parted_loose set at = 15"
            " where v = 'a{n}' and ctid = (select min(ctid) from public.parted_loose_1 where v = 'a{n}')",
            "delete from public.parted_loose where v is null",
        ],
    ),
    shape(
        "inheritance",
        [
            "create table public.base (id int primary key, v text)",
            "create table public.derived (more text, primary key (id)) inherits (public.base)",
            "create table public.derived_twice (yet int) inherits (public.derived)",
        ],
        ['"public"."base"', '"public"."derived"', '"public"."derived_twice"'],
        [
            "insert into public.base values ({n}, 'a'), ({n} + 1, 'b')",
            "insert into public.derived values ({n}, 'a', 'm'), ({n} + 2, 'b', 'n')",
            "insert into public.derived_twice values ({n}, 'a', 'm', 1), ({n}, 'a', 'm', 1)",
            "update public.base set v = 'c' where id = {n}",
            "delete from public.base where id = {n} + 2",
        ],
        reads=[
            f'select t::text from only public.{name} t order by t::text collate "C"'
            for name in ("base", "derived", "derived_twice")
        ],
        note="each table is migrated for itself; select all of them",
    ),
    shape(
        "storage parameters, column privileges, comments",
        [
            "create table public.stored (id int primary key, v text) with (fillfactor = 50, autovacuum_enabled = off)",
            "alter table public.stored alter v set storage external",
            "alter table public.stored alter v set statistics 7",
            "comment on column public.stored.v is 'it''s \"told\"'",
            "grant select (id) on public.stored to public",
        ],
        ['"public"."stored"'],
        ["insert into public.stored values ({n}, repeat('x', 5000))"],
        reads=[
            "select t::text from public.stored t order by id",
            "select reloptions::text from pg_class where oid = 'public.stored'::regclass",
            "select attstorage::text, attstattarget::text, attacl::text from pg_attribute"
            " where attrelid = 'public.stored'::regclass and attnum > 0 order by attnum",
            "select col_description('public.stored'::regclass, 2)",
        ],
    ),
    shape(
        "views and materialized views",
        [
            "create table public.seen (id int primary key, v text)",
            "create view public.seen_some as select id, upper(v) from public.seen where id > 5",
            "create materialized view public.seen_all as select count(*) from public.seen",
            "create unique index on public.seen_all (count)",
        ],
        ['"public"."seen"'],
        ["insert into public.seen values ({n} + 7, 'a')"],
        reads=[
            "select t::text from public.seen t order by id",
            "select t::text from public.seen_some t order by id",
            "select pg_get_viewdef('public.seen_all'::regclass)",
            "select relispopulated::text from pg_class where oid = 'public.seen_all'::regclass",
        ],
        note="a materialized view is refreshed once, when the rows are copied",
    ),
    Case(
        kind=Kind.SHAPE,
        name="unlogged tables",
        make=["create unlogged table public.scratch (id int primary key)"],
        tables=['"public"."scratch"'],
        how=How.REFUSED,
        note="their changes are in no log; copied once where spec.schema.acceptedIssues has Unlogged",
        reason="Unlogged",
    ),
)
