"""What a large transaction took back, and what was open before the stream began: no change of either is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import oracledb
import pytest

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle import books, logminer, openwork, slots
from bowline_worker.endpoints.oracle.rowchange import RowChange
from oracle.capture_rig import ITEM, STREAM, TABLES, Consumer, Shop, shop
from oracle.world import world

BATCH = 8
#: The statement with which the transactions are too large for memory.
MANY = "y" * 40


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path) as found:
        yield found


@pytest.fixture
def spills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put transactions aside in small batches, at a statement of the test's choice."""
    add = openwork.OpenWork.add

    def limited(
        self: openwork.OpenWork, entry: openwork.OpenTransaction, change: RowChange
    ) -> None:
        self._budget = 1 if MANY in change.sql else 1 << 40
        add(self, entry, change)

    monkeypatch.setattr(openwork, "BATCH_CHANGES", BATCH)
    monkeypatch.setattr(openwork.OpenWork, "add", limited)


@pytest.mark.parametrize("before", range(BATCH - 3, BATCH + 2))
def test_a_large_value_that_was_taken_back_takes_no_older_change_with_it(
    here: Shop, spills: None, before: int
) -> None:
    """Wherever the file begins: its write may be the newest of what was put aside."""
    consumer = Consumer(here)
    here.write("insert into item (id, name, note) values (1, 'old', 'note')")
    here.app.commit()
    consumer.until_quiet()

    with here.app.cursor() as cursor:
        cursor.executemany(
            "insert into event (what) values (:1)", [[f"e{n}"] for n in range(before)]
        )
        cursor.execute("update item set name = 'NEW' where id = 1")
        cursor.execute("savepoint s")
        large = here.app.createlob(oracledb.DB_TYPE_CLOB, "x" * 5000)
        cursor.execute("update item set note = :1 where id = 1", [large])
        cursor.execute("insert into event (what) values (:1)", [MANY])
        cursor.execute("rollback to savepoint s")
    here.app.commit()
    consumer.until_quiet()

    assert consumer.lines()[ITEM] == here.final()[ITEM]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_transaction_that_was_open_and_not_listed_is_not_given_out_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """Its first rows are neither in the snapshot nor in the stream; a restart must not forget that."""
    with world(Shop, tmp_path) as here:
        here.run(*TABLES)
        books.install(here.site)
        here.write("insert into item (id, name) values (1, 'before')")
        for number in range(3):
            here.signal("barrier", 90 + number)
        rows = logminer.LogMiner._rows
        with monkeypatch.context() as blind:
            blind.setattr(
                logminer.LogMiner,
                "_rows",
                lambda self, sql, **binds: (
                    [] if sql == logminer._OPEN else rows(self, sql, **binds)
                ),
            )
            slots.arm(here.site, STREAM)
        here.signal("barrier", 1)
        consumer = Consumer(here)
        if restarts:
            consumer.until_quiet()
        here.write("insert into item (id, name) values (2, 'after')")
        here.app.commit()

        with pytest.raises(Unsafe, match="was not among those that were open") as caught:
            consumer.until_quiet()

    assert caught.value.reason == "PositionLost"
