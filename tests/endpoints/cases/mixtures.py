"""Changes that meet shapes: what each does well alone may still go wrong together."""

from __future__ import annotations

from functools import partial

from endpoints.carried import Kind, walked

change = partial(walked, Kind.CHANGE)

#: Stored out of line, and longer than an index entry may be.
_LARGE = "(select string_agg(md5(i::text || '{n}'), '') from generate_series(1, 400) i)"

CASES = (
    change(
        "rows that move between partitions with values stored out of line",
        [
            "create table public.moving (id int, part int, large text, also text,"
            " primary key (id, part)) partition by list (part)",
            "create table public.moving_1 partition of public.moving for values in (1)",
            "create table public.moving_2 partition of public.moving for values in (2)",
            "alter table public.moving_1 alter large set storage external",
            "alter table public.moving_2 alter large set storage external",
        ],
        ['"public"."moving_1"', '"public"."moving_2"'],
        [
            f"insert into public.moving select {{n}} + i, 1, {_LARGE}, i || {_LARGE} from generate_series(1, 4) i",
            "update public.moving set part = 2 where id = {n} + 1",
            "begin; update public.moving set part = 2 where id = {n} + 2;"
            " update public.moving set also = 'short' where id = {n} + 2;"
            " update public.moving set part = 1 where id = {n} + 2; commit",
            "update public.moving set id = id + 500, part = 2 where id = {n} + 3",
        ],
    ),
    change(
        "COPY, upserts, MERGE and TRUNCATE by way of a partitioned table",
        [
            "create table public.routed (id int primary key, v text) partition by range (id)",
            "create table public.routed_low partition of public.routed for values from (0) to (2500)",
            "create table public.routed_high partition of public.routed default",
        ],
        ['"public"."routed_low"', '"public"."routed_high"'],
        [
            "copy public.routed (id, v) from stdin\n{n}\ta\n9{n}\tb\n",
            "insert into public.routed values ({n}, 'c'), (8{n}, 'd')"
            " on conflict (id) do update set v = routed.v || excluded.v",
            "merge into public.routed t using (values (9{n}), (7{n}), ({n} + 1)) s (id) on t.id = s.id"
            " when matched then delete when not matched then insert values (s.id, 'm')",
            "begin; truncate only public.routed_low;"
            " insert into public.routed values ({n} + 2, 'again'), ({n} + 3, 'again');"
            " update public.routed set id = id + 50000 where id = {n} + 2; commit",
            "insert into public.routed values (20 + {n} / 1000, 'low') on conflict do nothing",
        ],
    ),
    change(
        "values out of line beside an identity that is always generated",
        [
            "create table public.numbered (id int primary key, row_no int generated always as identity,"
            " large text, v text)",
            "alter table public.numbered alter large set storage external",
            "create table public.numbered_loose (row_no int generated always as identity, large text, v int)",
            "alter table public.numbered_loose alter large set storage external",
        ],
        ['"public"."numbered"', '"public"."numbered_loose"'],
        [
            f"insert into public.numbered (id, large) select {{n}} + i, {_LARGE} from generate_series(1, 3) i",
            "update public.numbered set v = 'a' where id = {n} + 1",
            "update public.numbered set id = id + 500 where id = {n} + 2",
            "begin; update public.numbered set v = 'b', row_no = default where id = {n} + 3;"
            " update public.numbered set id = id + 500 where id = {n} + 3; commit",
            f"insert into public.numbered_loose (large, v) values ({_LARGE}, {{n}}), ({_LARGE}, {{n}})",
            "update public.numbered_loose set v = v + 1 where row_no ="
            " (select max(row_no) from public.numbered_loose)",
            "update public.numbered_loose set row_no = default where row_no ="
            " (select max(row_no) from public.numbered_loose)",
        ],
    ),
    change(
        "unique values that pass through many rows, over many transactions",
        [
            "create table public.passed (id int primary key, u int unique, w int,"
            " exclude using btree (w with =) where (w > 0))",
        ],
        ['"public"."passed"'],
        [
            "insert into public.passed select {n} + i, {n} + i, 0 from generate_series(1, 40) i",
            *(
                statement
                for at in range(1, 13)
                for statement in (
                    f"update public.passed set u = null where id = {{n}} + {at}",
                    f"update public.passed set u = {{n}} + {at}, w = {{n}} where id = {{n}} + {at} + 1",
                    f"update public.passed set w = -1 where id = {{n}} + {at} + 1",
                )
            ),
            "begin; delete from public.passed where id = {n} + 30;"
            " update public.passed set u = {n} + 30, id = {n} + 30 where id = {n} + 31;"
            " insert into public.passed values ({n} + 31, {n} + 31, {n}); commit",
        ],
    ),
    change(
        "a transaction that empties, fills and empties again what foreign keys join",
        [
            "create table public.cleared (id int primary key, v text)",
            "create table public.cleared_child (id int primary key, parent int not null"
            " references public.cleared)",
        ],
        ['"public"."cleared"', '"public"."cleared_child"'],
        [
            "begin; insert into public.cleared values ({n}, 'a'); insert into public.cleared_child values ({n}, {n});"
            " truncate public.cleared, public.cleared_child; insert into public.cleared values ({n}, 'b');"
            " insert into public.cleared_child values ({n}, {n}); savepoint s; truncate public.cleared cascade;"
            " rollback to s; update public.cleared set v = 'c'; delete from public.cleared_child;"
            " insert into public.cleared_child values ({n}, {n}), ({n} + 1, {n}); commit",
        ],
    ),
)
