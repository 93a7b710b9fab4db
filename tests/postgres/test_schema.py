"""The schema's way to the target, on real servers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from demo.servers import Server
from demo.shop import APPLICATION, OWNER
from psycopg import errors, sql

from bowline_worker.contract import BowlineError, Side, Unsupported
from bowline_worker.endpoints.base import Section, Statement
from bowline_worker.endpoints.postgres import binaries, definitions, schema
from bowline_worker.endpoints.postgres.leave import cleanup
from servers import Database, Pair

SHOP = Path(__file__).parents[2] / "demo"


@pytest.fixture(scope="module")
def shop_roles(pg: Server) -> None:
    with pg.connect() as connection:
        for role in (OWNER, APPLICATION):
            connection.execute(sql.SQL("create role {}").format(sql.Identifier(role)))


@pytest.fixture
def shop(pair: Pair, shop_roles: None) -> Pair:
    """The demo's shop, without rows, at the source."""
    with pair.source.connect() as connection:
        connection.execute(f"grant create on schema public to {OWNER}".encode())
        connection.execute(f"set role {OWNER}".encode())
        for name in ("shop.sql", "keys.sql"):
            connection.execute((SHOP / name).read_bytes())
        connection.execute("refresh materialized view best_sellers")
    return pair


def dump_of(database: Database) -> list[str]:
    """What pg_dump says of a database, without Bowline's own schema."""
    major = database.value("select current_setting('server_version_num')::int / 10000")
    script = subprocess.run(
        [
            binaries.find("pg_dump", major),
            "--schema-only",
            "--exclude-schema=bowline",
            f"--dbname={database.server.dsn(database.name)}",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [line for line in script.splitlines() if not re.match(r"\\(un)?restrict ", line)]


def migrate(pair: Pair, **change: Any) -> list[str]:
    source, target = (pair.site(side, **change) for side in Side)
    schema.store(target, schema.export(source, str(pair.directory)))
    return [
        *schema.run(target, Section.PRE_DATA, 2),
        *schema.run(target, Section.POST_DATA, 2),
    ]


def test_the_target_dumps_as_the_source_does(shop: Pair) -> None:
    notes = migrate(shop)

    assert dump_of(shop.target) == dump_of(shop.source)
    assert notes == []
    assert shop.target.value("select relispopulated from pg_class where relname = 'best_sellers'")


def test_rows_find_no_index_before_the_second_section(shop: Pair) -> None:
    source, target = (shop.site(side) for side in Side)
    schema.store(target, schema.export(source, ""))
    schema.run(target, Section.PRE_DATA, 2)

    in_public = "from pg_class where relnamespace = 'public'::regnamespace and relkind"
    tables = shop.source.value(f"select count(*) {in_public} in ('r', 'p')")
    assert shop.target.value(f"select count(*) {in_public} in ('r', 'p')") == tables
    assert shop.target.value(f"select count(*) {in_public} in ('i', 'I')") == 0


def test_a_run_that_was_killed_goes_on_where_it_was(
    shop: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = (shop.site(side) for side in Side)
    schema.store(target, schema.export(source, ""))
    schema.run(target, Section.PRE_DATA, 2)
    done = "select count(*) from bowline.statement where section = 'post-data' and done"
    made: list[str] = []

    class Killed(BaseException):
        pass

    run = definitions.Runner.run

    def run_ten(self: definitions.Runner, statement: Statement) -> None:
        if len(made) == 10:
            raise Killed
        made.append(statement.name)
        run(self, statement)

    monkeypatch.setattr(definitions.Runner, "run", run_ten)
    with pytest.raises(Killed):
        schema.run(target, Section.POST_DATA, 2)
    assert 1 <= shop.target.value(done) <= 10
    monkeypatch.undo()
    schema.store(target, [])
    schema.run(target, Section.POST_DATA, 2)
    assert dump_of(shop.target) == dump_of(shop.source)


def test_a_session_that_dies_in_a_statement_leaves_neither_it_nor_its_mark(shop: Pair) -> None:
    source, target = (shop.site(side) for side in Side)
    schema.store(target, schema.export(source, ""))
    shop.target.run(
        """create function bowline.die() returns trigger language plpgsql as $$
           begin
               if new.name like '%.documents' then perform pg_terminate_backend(pg_backend_pid()); end if;
               return new;
           end $$""",
        "create trigger die before update on bowline.statement for each row execute function bowline.die()",
    )

    with pytest.raises(BowlineError):
        schema.run(target, Section.PRE_DATA, 1)
    assert shop.target.value("select to_regclass('public.documents')") is None
    shop.target.run("drop trigger die on bowline.statement", "drop function bowline.die")
    schema.run(target, Section.PRE_DATA, 1)
    schema.run(target, Section.POST_DATA, 1)
    assert dump_of(shop.target) == dump_of(shop.source)


def test_what_is_not_selected_stays_behind(pair: Pair) -> None:
    pair.source.run(
        "create schema other",
        "create table public.wanted (id int primary key)",
        "create table public.unwanted (id serial primary key)",
        "create view public.of_unwanted as select * from public.unwanted",
        "create view public.of_view as select * from public.of_unwanted",
        "create view public.of_wanted as select * from public.wanted",
        "create table other.table_there (id int)",
    )

    migrate(pair, exclude=["public.unwanted"])
    left = pair.target.rows(
        "select relname from pg_class where relnamespace not in ('pg_catalog'::regnamespace,"
        " 'information_schema'::regnamespace, 'bowline'::regnamespace) and relkind in ('r', 'v', 'S')"
        " order by 1"
    )
    assert left == [("of_wanted",), ("wanted",)]


def test_what_a_selected_table_needs_comes_along_from_other_schemas(pair: Pair) -> None:
    pair.source.run(
        "create schema util",
        "create schema extensions",
        "create extension citext with schema extensions",
        "create type util.mood as enum ('good', 'bad')",
        "create function util.stamp() returns trigger language plpgsql as 'begin return new; end'",
        "create table util.private (id int)",
        "create table public.t (id int primary key, mood util.mood, name extensions.citext)",
        "create trigger stamp before insert on public.t for each row execute function util.stamp()",
    )

    migrate(pair)
    pair.target.run("insert into public.t values (1, 'good', 'Abc')")
    assert pair.target.value("select to_regclass('util.private')") is None


def test_a_foreign_key_to_a_table_left_behind_is_refused_before_anything_is_made(
    pair: Pair,
) -> None:
    pair.source.run(
        "create table public.parent (id int primary key)",
        "create table public.child (id int primary key, parent int references public.parent)",
    )

    with pytest.raises(Unsupported, match=r"foreign key child_parent_fkey of public\.child"):
        migrate(pair, exclude=["public.parent"])
    assert pair.target.value("select to_regclass('public.child')") is None


def test_a_table_that_was_there_before_is_refused_by_name(pair: Pair) -> None:
    pair.source.run("create table public.t (id int primary key)")
    pair.target.run("create table public.t (whole text, other text)")

    with pytest.raises(Unsupported, match=r"table public\.t already") as refused:
        migrate(pair)
    assert refused.value.reason == "ObjectExists"
    assert "Existing" in refused.value.hint


def test_an_existing_schema_is_left_as_it_is(pair: Pair) -> None:
    pair.source.run("create table public.t (id int primary key)")
    target = pair.site(Side.TARGET, existing_schema=True)
    schema.store(target, schema.export(pair.site(Side.SOURCE), ""))

    schema.run(target, Section.PRE_DATA, 1)
    assert pair.target.value("select to_regclass('public.t')") is None


def test_owners_and_rights_of_roles_that_are_not_there_are_left_out_and_told(
    pair: Pair, other_pg: Server
) -> None:
    with other_pg.database("target") as name:
        apart = Pair(
            pair.source,
            Database(other_pg, name),
            pair.migration,
            pair.directory,
            (pair.users[0], ("bowline", other_pg.password)),
        )
        with pair.source.server.connect() as connection:
            connection.execute('create role "lone Wolf"')
        pair.source.run(
            "create table public.t (id int primary key)",
            "grant select on public.t to app",
            "create table public.u (id int primary key)",
            'grant insert on public.u to "lone Wolf"',
            'alter table public.t owner to "lone Wolf"',
        )

        notes = migrate(apart)
        pair.source.run('drop owned by "lone Wolf"')
        pair.source.run('drop role "lone Wolf"')
        assert apart.target.value("select has_table_privilege('app', 'public.t', 'select')")
        assert sorted(note.split(":")[0] for note in set(notes)) == [
            "acl of TABLE public.u left out",
            "owner of public.t left out",
        ]


def test_a_foreign_key_that_the_copied_rows_break_for_now_still_holds_for_new_ones(
    pair: Pair,
) -> None:
    pair.source.run(
        "create table public.parent (id int primary key)",
        "create table public.child (id int primary key, parent int references public.parent)",
    )
    source, target = (pair.site(side) for side in Side)
    schema.store(target, schema.export(source, ""))
    schema.run(target, Section.PRE_DATA, 1)
    pair.target.run("insert into public.child values (1, 1)")

    notes = schema.run(target, Section.POST_DATA, 1)
    assert "NOT VALID" in notes[0]
    with pytest.raises(errors.ForeignKeyViolation):
        pair.target.run("insert into public.child values (2, 2)")


def test_complete_does_not_leave_a_foreign_key_not_valid_that_the_copy_made_so(pair: Pair) -> None:
    """A view that was lost in the middle of the copy left the target with another schema for ever."""
    pair.source.run(
        'create table public."a parent" (id int primary key)',
        'create table public.child (id int primary key, parent int, other int references public."a parent")',
        'alter table public.child add constraint "as it was" foreign key (parent)'
        ' references public."a parent" not valid',
        'create table public.orphan (parent int constraint "no parent" references public."a parent")',
    )
    source, target = (pair.site(side) for side in Side)
    schema.store(target, schema.export(source, ""))
    schema.run(target, Section.PRE_DATA, 1)
    pair.target.run("insert into public.child values (1, 1, 1)")
    pair.target.run("insert into public.orphan values (2)")
    schema.run(target, Section.POST_DATA, 1)
    pair.target.run('insert into public."a parent" values (1)')

    left = cleanup(target, keep_fence=False)

    valid = dict(
        pair.target.rows("select conname, convalidated from pg_constraint where contype = 'f'")
    )
    assert valid == {"child_other_fkey": True, "as it was": False, "no parent": False}
    assert [each for each in left if "NOT VALID" in each] == [
        "target: foreign key no parent of public.orphan is NOT VALID: insert or update on table"
        ' "orphan" violates foreign key constraint "no parent"'
    ]


def test_the_password_is_in_no_argument(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.source.run("create table public.t (id int primary key)")
    seen: list[str] = []
    run = subprocess.run

    def watched(command: list[str], **options: Any) -> Any:
        seen.extend(map(str, command))
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    schema.export(pair.site(Side.SOURCE), "")
    assert any("--schema-only" in word for word in seen)
    assert not any(pair.source.server.password in word for word in seen)
