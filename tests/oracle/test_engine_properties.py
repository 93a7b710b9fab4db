"""The stand-in's engine: random transactions against a model that is too simple to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.engine_rig import (
    drop_others,
    impatient,
    log_of,
    new_database,
    not_there,
    rows,
    run,
    settled,
)
from oracle.server import named
from oracle.standin.backend import OraError
from oracle.standin.engine.database import Database
from oracle.standin.engine.session import Session

Rows: TypeAlias = "dict[int, int | None]"  #: None: deleted
Step: TypeAlias = "tuple[int, str, int, int]"  #: session, what, key, value

SESSIONS = 3
_KINDS = """
    insert insert update update delete shift copy merge lock
    savepoint back commit commit rollback
"""
KINDS = _KINDS.split()
STEPS = st.lists(
    st.tuples(
        st.integers(0, SESSIONS - 1),
        st.sampled_from(KINDS),
        st.integers(1, 4),
        st.integers(0, 9),
    ),
    min_size=5,
    max_size=50,
)
WAITS, DUPLICATE = 1013, 1
#: Whoever waits at a server does so for seconds.
EXAMPLES = 3 if named() else 150


@dataclass
class Work:
    """What one session has written, and locked, and not committed."""

    written: Rows = field(default_factory=dict)
    locked: set[int] = field(default_factory=set)
    moved: set[int] = field(default_factory=set)  #: keys that it has given or taken away
    savepoint: tuple[Rows, set[int], set[int]] | None = None

    def back(self) -> None:
        assert self.savepoint is not None
        written, locked, moved = self.savepoint
        self.written, self.locked, self.moved = dict(written), set(locked), set(moved)


class Model:
    """A table of a key and a number, as several transactions see it."""

    def __init__(self) -> None:
        self.committed: Rows = {}
        self.work = [Work() for _ in range(SESSIONS)]

    def seen(self, who: int) -> dict[int, int]:
        rows_ = self.committed | self.work[who].written
        return {key: found for key, found in rows_.items() if found is not None}

    def is_others(self, who: int, key: int) -> bool:
        """Tell whether another session has changed or locked this key's row."""
        return any(
            key in work.written or key in work.locked
            for at, work in enumerate(self.work)
            if at != who
        )

    def expect(self, step: Step) -> int:
        """Do what the statement should do; give the number of rows, or the error negated."""
        who, what, key, given = step
        work, seen = self.work[who], self.seen(who)
        match what:
            case "insert":
                if self._decides(who, key):
                    return -WAITS
                if key in seen:
                    return -DUPLICATE
                self._insert(work, key, given)
                return 1
            case "merge":
                if key in seen:
                    return self._change(who, [key], lambda old: given)
                if self._decides(who, key):
                    return -WAITS
                self._insert(work, key, given)
                return 1
            case "update":
                return self._change(who, [key], lambda old: given)
            case "shift":
                return self._change(who, list(seen), lambda old: old + 1)
            case "delete":
                return self._change(who, [key], lambda old: None)
            case "lock":
                if key in seen and self.is_others(who, key):
                    return -WAITS
                work.locked |= {key} & set(seen)
                return len({key} & set(seen))
            case "copy":
                return self._copy(who, key)
            case _:
                return self._control(work, what)

    def _decides(self, who: int, key: int) -> bool:
        """Tell whether another's open changes have given the key to a row or taken it away."""
        return any(key in work.moved for at, work in enumerate(self.work) if at != who)

    def _insert(self, work: Work, key: int, given: int) -> None:
        work.written[key] = given
        work.moved.add(key)

    def _change(self, who: int, keys: list[int], change: Callable[[int], int | None]) -> int:
        seen = self.seen(who)
        hit = [key for key in keys if key in seen]
        if any(self.is_others(who, key) for key in hit):
            return -WAITS
        for key in hit:
            self.work[who].written[key] = change(seen[key])
            if self.work[who].written[key] is None:
                self.work[who].moved.add(key)
        return len(hit)

    def _copy(self, who: int, key: int) -> int:
        """Insert all rows again under keys that are `key` higher: fails in the middle, or waits."""
        seen = self.seen(who)
        order = sorted(seen)
        if any(self._decides(who, one + key) for one in order):
            return -WAITS
        if any(one + key in seen for one in order):
            return -DUPLICATE
        for one in order:
            self._insert(self.work[who], one + key, seen[one])
        return len(order)

    def _control(self, work: Work, what: str) -> int:
        if what == "savepoint":
            work.savepoint = (dict(work.written), set(work.locked), set(work.moved))
        elif what == "back":
            if work.savepoint is None:
                return -1086
            work.back()
        else:
            if what == "commit":
                self.committed |= work.written
            work.written, work.locked, work.moved, work.savepoint = {}, set(), set(), None
        return 0


SQL = {
    "insert": "insert into t (id, v) values (:1, :2)",
    "merge": "merge into t using (select :1 k, :2 v from dual) s on (t.id = s.k) when matched then "
    "update set t.v = s.v when not matched then insert (id, v) values (s.k, s.v)",
    "update": "update t set v = :2 where id = :1",
    "shift": "update t set v = v + 1",
    "delete": "delete from t where id = :1",
    "copy": "insert into t (id, v) select id + :1, v from t order by id",
    "savepoint": "savepoint s",
    "back": "rollback to s",
    "commit": "commit",
    "rollback": "rollback",
}


def do(session: Session, step: Step) -> int:
    """Execute a step; the number of rows, or the error negated."""
    _, what, key, given = step
    try:
        if what == "lock":
            return len(rows(session, f"select id from t where id = {key} for update"))
        sql = SQL[what].replace(":1", str(key)).replace(":2", str(given))
        return run(session, sql).rowcount
    except OraError as error:
        return -error.code


def attempt(session: Session, sql: str) -> int:
    """Execute a statement; 0 or its error."""
    try:
        run(session, sql)
    except OraError as error:
        return error.code
    return 0


def opened() -> tuple[Database, list[Session]]:
    drop_others()
    database = new_database()
    sessions = [impatient(database.session("APP")) for _ in range(SESSIONS)]
    run(sessions[0], "create table t (id number primary key, v number)")
    settled(sessions[0], "t")
    return database, sessions


def content(session: Session, sql: str) -> dict[int, int]:
    return {int(str(key)): int(str(v)) for key, v in rows(session, sql)}


def walk(steps: list[Step]) -> tuple[Database, list[tuple[int, dict[int, int]]]]:
    """Do all steps in the engine and in the model; what was committed at which SCN."""
    database, sessions = opened()
    model = Model()
    history: list[tuple[int, dict[int, int]]] = []
    for step in steps:
        expected = model.expect(step)
        assert do(sessions[step[0]], step) == expected, step
        mine = content(sessions[step[0]], "select id, v from t")
        assert mine == model.seen(step[0])
        committed = {key: v for key, v in model.committed.items() if v is not None}
        history.append((database.current_scn(), committed))
    for session in sessions:
        session.close()
    return database, history


@settings(deadline=None, max_examples=EXAMPLES)
@given(STEPS)
def test_the_past_is_what_was_committed_then(steps: list[Step]) -> None:
    database, history = walk(steps)
    reader = database.session("APP")

    for scn, committed in history:
        assert content(reader, f"select id, v from t as of scn {scn}") == committed
        for key in range(1, 5):
            found = rows(reader, f"select v from t as of scn {scn} where id = {key}")
            assert found == ([(committed[key],)] if key in committed else [])


@not_there("looks into the stand-in's redo log")
@settings(deadline=None, max_examples=EXAMPLES)
@given(STEPS)
def test_the_redo_log_leads_to_the_tables_rows(steps: list[Step]) -> None:
    """The log itself checks that each undo takes back the newest change, and each image fits the one before."""
    database, _ = walk(steps)
    reader = database.session("APP")

    assert log_of(database).open == {}
    kept = {str(rowid): (key, v) for rowid, key, v in rows(reader, "select rowid, id, v from t")}
    assert {rowid: tuple(image) for (_, rowid), image in log_of(database).rows.items()} == kept


@settings(deadline=None, max_examples=min(EXAMPLES, 50))
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=20))
def test_no_child_is_ever_without_its_parent(pairs: list[tuple[int, int]]) -> None:
    """Two sessions, one of parents and one of children, neither of which waits."""
    _database, (parents, children, third) = opened()
    run(third, "create table c (id number, t number references t)")
    for number, (what, key) in enumerate(pairs):
        for session, sql in (
            (
                parents,
                f"insert into t values ({key}, 0)"
                if what != 2
                else f"delete from t where id = {key}",
            ),
            (children, f"insert into c values ({number}, {key})" if what != 3 else "delete from c"),
        ):
            assert attempt(session, sql) in (0, 1, 1013, 2291, 2292)
            if (number + key) % 3 == 0:
                session.commit()
    parents.commit()
    children.rollback() if len(pairs) % 2 else children.commit()

    orphans = rows(third, "select c.id from c left join t on t.id = c.t where t.id is null")
    assert orphans == []


def test_the_model_can_fail() -> None:
    database, history = walk([(0, "insert", 1, 5), (0, "commit", 1, 0), (1, "update", 1, 6)])
    reader = database.session("APP")

    assert history[-1][1] == {1: 5}
    assert content(reader, "select id, v from t") == {1: 5}
    assert Decimal(history[0][0]) < history[1][0]
    assert content(reader, f"select id, v from t as of scn {history[0][0]}") == {}
