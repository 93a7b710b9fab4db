"""What a database makes of rows by itself: constraints, foreign keys, triggers, rules, policies, sequences."""

from __future__ import annotations

from endpoints.cases.shapes import shape

CASES = (
    shape(
        "chains and swaps of unique values",
        [
            "create table public.swapped (id int primary key, u text unique, n int)",
            "create table public.swapped_keys (id int primary key, v text)",
        ],
        ['"public"."swapped"', '"public"."swapped_keys"'],
        [
            "insert into public.swapped select {n} + i, 'u' || ({n} + i), i from generate_series(1, 9) i",
            "insert into public.swapped_keys select {n} + i, 'v' || i from generate_series(1, 9) i",
            # Inside one transaction, by way of a free value.
            "begin; update public.swapped set u = 'free' where id = {n} + 1;"
            " update public.swapped set u = 'u' || ({n} + 1) where id = {n} + 2;"
            " update public.swapped set u = 'u' || ({n} + 2) where id = {n} + 1; commit",
            # Across several: a chain in which each takes what the one before has left.
            "update public.swapped set u = 'left{n}' where id = {n} + 3",
            "update public.swapped set u = 'u' || ({n} + 3) where id = {n} + 4",
            "update public.swapped set u = 'u' || ({n} + 4) where id = {n} + 5",
            "delete from public.swapped where id = {n} + 6",
            "insert into public.swapped values ({n} + 10, 'u' || ({n} + 6), 6)",
            "begin; delete from public.swapped where id = {n} + 7;"
            " insert into public.swapped values ({n} + 7, 'u' || ({n} + 7), 70);"
            " update public.swapped set u = null where id = {n} + 8;"
            " update public.swapped set u = 'u' || ({n} + 8) where id = {n} + 9; commit",
            # Keys change places.
            "begin; update public.swapped_keys set id = -1 where id = {n} + 1;"
            " update public.swapped_keys set id = {n} + 1 where id = {n} + 2;"
            " update public.swapped_keys set id = {n} + 2 where id = -1; commit",
            "update public.swapped_keys set id = {n} + 20 where id = {n} + 3",
            "update public.swapped_keys set id = {n} + 3, v = 'moved' where id = {n} + 4",
            "begin; delete from public.swapped_keys where id = {n} + 5;"
            " update public.swapped_keys set id = {n} + 5 where id = {n} + 6;"
            " insert into public.swapped_keys values ({n} + 6, 'new'); commit",
        ],
    ),
    shape(
        "deferrable constraints",
        [
            "create table public.deferred (id int primary key, u int unique deferrable initially deferred,"
            " parent int references public.deferred deferrable initially deferred)",
            "create table public.deferred_key (id int primary key deferrable initially immediate, v text)",
        ],
        ['"public"."deferred"', '"public"."deferred_key"'],
        [
            "insert into public.deferred values ({n}, {n}, {n} + 1), ({n} + 1, {n} + 1, {n}), ({n} + 2, {n} + 2, null)",
            "update public.deferred set u = case u when {n} then {n} + 1 else {n} end where id in ({n}, {n} + 1)",
            "begin; delete from public.deferred where id = {n};"
            " insert into public.deferred values ({n}, {n} + 1, null); commit",
            "insert into public.deferred_key values ({n}, 'a'), ({n} + 1, 'b'), ({n} + 2, 'c')",
            "update public.deferred_key set id = id + 1 where id >= {n}",
            "delete from public.deferred_key where v = 'b' and id = {n} + 2",
        ],
        note="a table whose primary key is deferrable has no key for the stream",
    ),
    shape(
        "unique indexes: partial, of expressions, with INCLUDE, NULLS NOT DISTINCT",
        [
            "create table public.indexed (id int primary key, a text, b int, c int, d int)",
            "create unique index on public.indexed (a) where b > 0",
            "create unique index on public.indexed (lower(a), b)",
            "create unique index on public.indexed (c) include (d)",
            "alter table public.indexed add constraint nulls unique nulls not distinct (d)",
        ],
        ['"public"."indexed"'],
        [
            "insert into public.indexed values ({n}, 'A{n}', 1, {n}, {n}), ({n} + 1, 'A{n}', 0, null, {n} + 1)",
            # What each index calls one value goes from row to row.
            "begin; update public.indexed set b = -1 where id = {n};"
            " update public.indexed set b = 1 where id = {n} + 1; commit",
            "begin; update public.indexed set c = null where id = {n};"
            " update public.indexed set c = {n} where id = {n} + 1; commit",
            "begin; delete from public.indexed where d is null;"
            " update public.indexed set d = null where id = {n}; commit",
            "update public.indexed set a = lower(a) where id = {n} + 1",
        ],
    ),
    shape(
        "exclusion constraints",
        [
            "create table public.booked (id int primary key, during int4range,"
            " exclude using gist (during with &&))",
        ],
        ['"public"."booked"'],
        [
            "insert into public.booked values ({n}, int4range({n}, {n} + 9)), ({n} + 1, int4range({n} + 9, {n} + 20))",
            "begin; update public.booked set during = int4range({n} + 50, {n} + 60) where id = {n} + 1;"
            " update public.booked set during = int4range({n}, {n} + 20) where id = {n}; commit",
            "begin; delete from public.booked where id = {n};"
            " insert into public.booked values ({n} + 2, int4range({n} + 3, {n} + 4)); commit",
        ],
    ),
    shape(
        "foreign keys that refer to themselves, in circles, with cascades",
        [
            "create table public.tree (id int primary key, parent int references public.tree on delete cascade)",
            "create table public.egg (id int primary key, hen int)",
            "create table public.hen (id int primary key, egg int references public.egg on update cascade)",
            "alter table public.egg add foreign key (hen) references public.hen on delete set null",
        ],
        ['"public"."tree"', '"public"."egg"', '"public"."hen"'],
        [
            "insert into public.tree values ({n}, null), ({n} + 1, {n}), ({n} + 2, {n} + 1), ({n} + 3, {n} + 3)",
            "insert into public.egg values ({n}, null), ({n} + 1, null)",
            "insert into public.hen values ({n}, {n}), ({n} + 1, {n} + 1)",
            "update public.egg set hen = id where id >= {n}",
            "delete from public.tree where id = {n} + 1",
            "update public.egg set id = id + 500 where id = {n}",
            "begin; update public.hen set egg = null where id = {n} + 1; delete from public.hen where id = {n} + 1;"
            " commit",
        ],
    ),
    shape(
        "triggers and rules",
        [
            "create table public.fired (id int primary key, v text, stamped int default 0)",
            "create table public.fired_log (at serial primary key, what text)",
            "create function public.fire() returns trigger language plpgsql as $$ begin"
            " insert into public.fired_log (what) values (tg_op || ' ' || new.id);"
            " new.stamped := new.stamped + 1; return new; end $$",
            "create trigger fire before insert or update on public.fired for each row execute function public.fire()",
            "create trigger idle before insert on public.fired for each row execute function public.fire()",
            "alter table public.fired disable trigger idle",
            "create table public.ruled (id int primary key, v text)",
            "create table public.ruled_log (id int, v text)",
            "create rule also as on insert to public.ruled do also"
            " insert into public.ruled_log values (new.id, new.v)",
            "create rule never as on delete to public.ruled do instead nothing",
        ],
        ['"public"."fired"', '"public"."fired_log"', '"public"."ruled"', '"public"."ruled_log"'],
        [
            "insert into public.fired values ({n}, 'a'), ({n} + 1, 'b')",
            "update public.fired set v = 'c' where id = {n}",
            "delete from public.fired where id = {n} + 1",
            "insert into public.ruled values ({n}, 'a')",
            "delete from public.ruled where id = {n}",
        ],
        reads=[
            *(
                f'select t::text from public.{name} t order by t::text collate "C"'
                for name in ("fired", "fired_log", "ruled", "ruled_log")
            ),
            "select tgname::text, tgenabled::text from pg_trigger where tgrelid = 'public.fired'::regclass"
            " and tgname in ('fire', 'idle') order by 1",
        ],
        note="they do not fire for rows that are streamed",
    ),
    shape(
        "row security",
        [
            "create table public.hidden (id int primary key, owner text)",
            "alter table public.hidden enable row level security",
            "create policy own on public.hidden using (owner = current_user) with check (true)",
            "create table public.hidden_all (id int primary key, v text)",
            "alter table public.hidden_all enable row level security",
            "alter table public.hidden_all force row level security",
            "create policy most on public.hidden_all using (id >= 0)",
        ],
        ['"public"."hidden"', '"public"."hidden_all"'],
        [
            "insert into public.hidden values ({n}, 'app'), ({n} + 1, 'somebody')",
            "update public.hidden set owner = 'nobody' where id = {n}",
            "insert into public.hidden_all values ({n}, 'a'), ({n} + 1, 'b')",
            "delete from public.hidden_all where id = {n}",
        ],
        note="the migration's user needs bypassrls: Assess says so",
    ),
    shape(
        "sequences: owned, shared, descending, cycled, cached, without a table",
        [
            "create sequence public.shared cache 20",
            "create sequence public.down increment -3 minvalue -100000 maxvalue -1 start -1",
            "create sequence public.round minvalue 1 maxvalue 3 cycle",
            "create sequence public.alone start 41 increment 7",
            "create table public.sequenced (id bigint primary key default nextval('public.shared'),"
            " down int unique default nextval('public.down'), round int default nextval('public.round'),"
            " alone bigint unique default nextval('public.alone'))",
            "create table public.sequenced_too (id bigint primary key default nextval('public.shared'),"
            " own smallserial unique)",
        ],
        ['"public"."sequenced"', '"public"."sequenced_too"'],
        [
            # A value that was given on one side must never be given on the other.
            "insert into public.sequenced select from generate_series(1, 5)",
            "insert into public.sequenced_too select from generate_series(1, 5)",
        ],
        reads=[
            *(
                f"select t::text from public.{name} t order by id"
                for name in ("sequenced", "sequenced_too")
            ),
            "select seqincrement::text, seqmax::text, seqmin::text, seqcache::text, seqcycle::text"
            " from pg_sequence where seqrelid in ('public.shared'::regclass, 'public.down'::regclass,"
            " 'public.round'::regclass, 'public.alone'::regclass) order by seqincrement, seqmax",
        ],
        note="they rise at a switch, and never fall",
    ),
)
