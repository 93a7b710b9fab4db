"""Log files and LogMiner sessions: what can be read when, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise

import pytest

from oracle.standin.backend import Kind, OraError, Value
from oracle.standin.events import ColumnShape, TableShape
from oracle.standin.redolog.adversities import NAMES, Adversities, Chance
from oracle.standin.redolog.miner import ADDFILE, NEW, LogMiner, Option
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.rows import CONTENTS, Row
from oracle.standin.redolog.scribe import EPOCH, Scribe, Work
from oracle.standin.redolog.views import VIEWS, read

USUAL = Option.DICT_FROM_ONLINE_CATALOG | Option.NO_SQL_DELIMITER | Option.NO_ROWID_IN_STMT
T = TableShape("S", "T", 7, (ColumnShape("ID", Kind.NUMBER),), key=("ID",))
IN_PDB = TableShape("S", "T", 8, (ColumnShape("ID", Kind.NUMBER),), container="PDB1")
ONLINE = "/u01/oradata/ORCL/redo01.log"


class World:
    """A log of small files, and who drives it."""

    def __init__(self, *, threads: int = 1, dests: int = 1, **chances: Chance) -> None:
        self.adversities = Adversities()
        self.adversities.set(chances)
        self.log = RedoLog(
            self.adversities,
            at=EPOCH,
            scn=1000,
            threads=threads,
            dests=dests,
            file_bytes=1500,
            containers={"CDB$ROOT": 1, "PDB1": 3},
        )
        self.db = Scribe(self.log)
        self.number = 0

    def transact(self, work: Work | None = None, *, thread: int = 1) -> None:
        now = work or self.db.begin(thread=thread)
        self.number += 1
        now.insert(T, (Decimal(self.number),))
        if work is None:
            now.commit()

    def view(self, name: str, miner: LogMiner | None = None) -> list[dict[str, Value]]:
        names = [column.name for column in VIEWS[name].columns]
        rows = read(name, self.log, miner or LogMiner(self.log))
        return [dict(zip(names, row, strict=True)) for row in rows]

    def current(self, thread: int = 1) -> str:
        return self.log.threads[thread].group.members[0]

    def mine_current(self, **bounds: int) -> LogMiner:
        miner = LogMiner(self.log)
        miner.add_logfile(self.current(), NEW)
        miner.start(options=USUAL, **bounds)
        return miner


def operations(rows: list[Row]) -> list[str]:
    return [row.operation for row in rows]


def test_a_full_log_is_switched_away_from_and_archived() -> None:
    world = World()
    for _ in range(30):
        world.transact()

    logs = {row["SEQUENCE#"]: row for row in world.view("V$LOG")}
    newest = max(logs, key=lambda sequence: Decimal(str(sequence)))
    statuses = [logs[sequence]["STATUS"] for sequence in sorted(logs, key=str)]
    assert statuses == ["INACTIVE", "ACTIVE", "CURRENT"]
    assert logs[newest]["NEXT_CHANGE#"] == 18446744073709551615
    archived = world.view("V$ARCHIVED_LOG")
    assert [row["SEQUENCE#"] for row in archived] == list(range(18, int(str(newest))))
    for one, following in pairwise(archived):
        assert one["NEXT_CHANGE#"] == following["FIRST_CHANGE#"]
    assert {row["DELETED"] for row in archived} == {"NO"}
    assert {row["STATUS"] for row in archived} == {"A"}


def test_every_record_lies_within_the_range_of_its_log() -> None:
    world = World(late_redo=0.5, equal_scns=0.5, switch=0.1)
    for _ in range(200):
        world.transact()

    for archive in world.log.threads[1].archives:
        file = archive.file
        assert file.next_change is not None
        for record in file.records:
            assert file.first_change <= record.scn < file.next_change


def test_a_group_without_a_log_is_unused() -> None:
    assert [row["STATUS"] for row in World().view("V$LOG")] == ["CURRENT", "UNUSED", "UNUSED"]


def test_each_group_has_two_members() -> None:
    members = World(threads=2).view("V$LOGFILE")

    assert len(members) == 12
    assert {row["GROUP#"] for row in members} == {1, 2, 3, 4, 5, 6}
    assert len({row["MEMBER"] for row in members}) == 12


def test_a_slow_archiver_leaves_a_log_online_until_the_next_look() -> None:
    world = World(slow_archiver="always")
    world.transact()
    world.log._switch(world.log.threads[1], world.log.last_scn + 1)
    assert world.view("V$ARCHIVED_LOG") == []
    assert [row["ARCHIVED"] for row in world.view("V$LOG")] == ["NO", "NO", "YES"]

    world.adversities.set({"slow_archiver": "never"})
    world.mine_current()

    assert [row["SEQUENCE#"] for row in world.view("V$ARCHIVED_LOG")] == [18]


def test_a_log_is_archived_before_its_group_is_used_again() -> None:
    world = World(slow_archiver="always")
    world.log.overwrite(1)
    world.log.overwrite(1)

    archived = [row["SEQUENCE#"] for row in world.view("V$ARCHIVED_LOG")]
    assert archived == [18, 19, 20, 21]


@pytest.mark.parametrize(("silently", "status", "name"), [(False, "D", False), (True, "A", True)])
def test_the_catalogue_does_not_notice_what_rm_takes_away(
    silently: bool, status: str, name: bool
) -> None:
    world = World(dests=2)
    world.transact()
    world.log.switch_log()
    path = world.log.threads[1].archives[0].name
    world.log.delete_archives(1, [18], silently=silently)

    for row in world.view("V$ARCHIVED_LOG"):
        assert row["STATUS"] == status
        assert row["DELETED"] == ("NO" if silently else "YES")
        assert (row["NAME"] is not None) is name
    with pytest.raises(OraError, match=f"ORA-01284: file {path} cannot be opened"):
        LogMiner(world.log).add_logfile(path, NEW)


def test_old_archives_go_by_themselves() -> None:
    world = World(purged_archive=0.5, missing_file=0.5)
    for _ in range(400):
        world.transact()

    archives = world.log.threads[1].archives
    newest = archives[-1].file.sequence
    kept = [a.file.sequence for a in archives if a.on_disk]
    assert set(range(newest - 6, newest + 1)) <= set(kept)
    assert world.adversities.fired["purged_archive"]
    assert world.adversities.fired["missing_file"]


# What DBMS_LOGMNR refuses


def adds_twice(miner: LogMiner) -> None:
    miner.add_logfile(ONLINE, NEW)
    miner.add_logfile(ONLINE.replace("u01", "u02"), ADDFILE)


def starts_backwards(miner: LogMiner) -> None:
    miner.add_logfile(ONLINE, NEW)
    miner.start(1010, 1009, USUAL)


def starts_before_the_logs(miner: LogMiner) -> None:
    miner.add_logfile(ONLINE, NEW)
    miner.start(999, 0, USUAL)


def reads_without_a_start(miner: LogMiner) -> None:
    miner.add_logfile(ONLINE, NEW)
    list(miner.rows())


def wants_a_dictionary_in_redo(miner: LogMiner) -> None:
    miner.add_logfile(ONLINE, NEW)
    miner.start(options=Option.DICT_FROM_REDO_LOGS)


def wants_committed_data_only(miner: LogMiner) -> None:
    miner.add_logfile(ONLINE, NEW)
    miner.start(options=USUAL | Option.COMMITTED_DATA_ONLY)


@pytest.mark.parametrize(
    ("do", "code"),
    [
        (adds_twice, 1289),
        (starts_backwards, 1281),
        (starts_before_the_logs, 1291),
        (reads_without_a_start, 1306),
        (wants_a_dictionary_in_redo, 1371),
        (wants_committed_data_only, 3001),
        (lambda miner: miner.start(0, 0, USUAL), 1292),
        (lambda miner: miner.end(), 1307),
        (lambda miner: miner.add_logfile("/nowhere.log", NEW), 1284),
        (lambda miner: miner.remove_logfile(ONLINE), 1290),
        (lambda miner: list(miner.rows()), 1306),
    ],
)
def test_a_mistake_has_the_code_of_a_real_server(
    do: Callable[[LogMiner], object], code: int
) -> None:
    with pytest.raises(OraError) as caught:
        do(LogMiner(World().log))

    assert caught.value.code == code


def test_a_gap_between_the_logs_is_a_missing_log() -> None:
    world = World()
    for _ in range(3):
        world.transact()
        world.log.switch_log()
    first, _, third = (archive.name for archive in world.log.threads[1].archives)
    miner = LogMiner(world.log)
    miner.add_logfile(first, NEW)
    miner.add_logfile(third)

    with pytest.raises(OraError, match="ORA-01291"):
        miner.start(0, 0, USUAL)


def test_a_range_beyond_a_log_that_was_switched_away_from_misses_a_log() -> None:
    world = World()
    world.transact()
    miner = LogMiner(world.log)
    miner.add_logfile(world.current(), NEW)
    world.log.switch_log()
    world.transact()

    with pytest.raises(OraError, match="ORA-01291"):
        miner.start(0, world.db.scn, USUAL)
    miner.start(0, 1003, USUAL)

    assert operations(list(miner.rows())) == ["START", "INSERT", "COMMIT"]


def test_a_start_replaces_the_range_of_the_one_before_and_ends_its_cursor() -> None:
    world = World()
    for _ in range(2):
        world.transact()
    miner = world.mine_current(start_scn=1001, end_scn=1003)
    old = miner.rows()
    next(old)
    miner.start(1004, 0, USUAL)

    assert [row.scn for row in miner.rows()] == [1004, 1005, 1006]
    with pytest.raises(OraError, match="ORA-01306"):
        next(old)


def test_rows_outside_of_the_bounds_are_not_shown() -> None:
    world = World()
    world.transact()

    assert [row.scn for row in world.mine_current(start_scn=1002, end_scn=1002).rows()] == [1002]


def test_the_logs_of_a_session_are_listed() -> None:
    world = World()
    world.transact()
    world.log.switch_log()
    miner = LogMiner(world.log)
    miner.add_logfile(world.log.threads[1].archives[0].name, NEW)
    miner.add_logfile(world.current())

    listed = [(row["THREAD_SQN"], row["LOW_SCN"]) for row in world.view("V$LOGMNR_LOGS", miner)]
    assert listed == [(18, 1000), (19, 1004)]
    miner.remove_logfile(world.current())
    assert len(world.view("V$LOGMNR_LOGS", miner)) == 1
    miner.add_logfile(world.current(), NEW)
    assert [row["THREAD_SQN"] for row in world.view("V$LOGMNR_LOGS", miner)] == [19]


# Logs that move while they are read


def test_an_online_log_that_is_overwritten_while_it_is_read_fails_the_fetch() -> None:
    world = World()
    for _ in range(3):
        world.transact()
    rows = world.mine_current().rows()
    first = [next(rows) for _ in range(4)]
    world.log.overwrite(1)

    assert operations(first) == ["START", "INSERT", "COMMIT", "START"]
    with pytest.raises(
        OraError, match="ORA-00310: archived log contains sequence 21; sequence 18 required"
    ):
        list(rows)


def test_a_log_that_is_only_switched_away_from_can_be_read_to_its_end() -> None:
    world = World()
    world.transact()
    rows = world.mine_current().rows()
    next(rows)
    world.log.switch_log()
    world.transact()

    assert operations(list(rows)) == ["INSERT", "COMMIT"]


def test_an_archive_is_not_overwritten() -> None:
    world = World()
    world.transact()
    world.log.switch_log()
    miner = LogMiner(world.log)
    miner.add_logfile(world.log.threads[1].archives[0].name, NEW)
    miner.start(0, 0, USUAL)
    rows = miner.rows()
    next(rows)
    world.log.overwrite(1)

    assert operations(list(rows)) == ["INSERT", "COMMIT"]


def test_the_adversity_overwrites_a_log_once_and_then_lets_its_archive_be_read() -> None:
    world = World(overwrite="always")
    world.transact()
    with pytest.raises(OraError, match="ORA-00310"):
        list(world.mine_current().rows())
    miner = LogMiner(world.log)
    for at, archive in enumerate(world.log.threads[1].archives):
        miner.add_logfile(archive.name, NEW if at == 0 else ADDFILE)
    miner.add_logfile(world.current())
    miner.start(0, 0, USUAL)

    assert operations(list(miner.rows())) == ["START", "INSERT", "COMMIT"]
    assert world.adversities.fired["overwrite"] == 1


def test_redo_that_comes_while_it_is_read_is_seen() -> None:
    world = World()
    world.transact()
    rows = world.mine_current().rows()
    next(rows)
    world.transact()

    assert len(list(rows)) == 5


# Late redo


def test_late_redo_comes_with_the_scns_of_its_changes() -> None:
    world = World(late_redo="always")
    work = world.db.begin()
    world.transact(work)
    world.adversities.set({"late_redo": "never"})
    world.transact()
    assert [row.scn for row in world.mine_current().rows()] == [1003, 1004, 1005]

    work.commit()

    assert [row.scn for row in world.mine_current().rows()] == [1003, 1004, 1005, 1001, 1002, 1006]


@pytest.mark.parametrize("how", ["switch", "full strand"])
def test_a_switch_and_a_full_strand_write_late_redo(how: str) -> None:
    world = World(late_redo="always")
    work = world.db.begin()
    world.transact(work)
    assert list(world.mine_current().rows()) == []

    if how == "switch":
        world.log.switch_log()
    else:
        for _ in range(50):
            world.transact(work)

    thread = world.log.threads[1]
    written = thread.archives[0].file if thread.archives else thread.current
    assert [record.scn for record in written.records][:2] == [1001, 1002]
    assert world.adversities.fired["late_redo"] == 1


def test_a_commit_may_be_written_after_a_later_one() -> None:
    world = World(late_commit="always")
    one, other = world.db.begin(), world.db.begin()
    world.transact(one)
    world.transact(other)
    one.commit()
    world.adversities.set({"late_commit": "never"})
    assert world.log.last_redo_change(1) == 1005
    other.commit()

    commits = [row.scn for row in world.mine_current().rows() if row.operation == "COMMIT"]
    assert commits == [1006]
    assert [r.scn for r in world.mine_current().rows() if r.operation == "COMMIT"] == [1006, 1005]
    assert world.log.last_redo_change(1) == 1007


def test_nothing_is_written_after_a_late_commit_that_could_rest_on_it() -> None:
    world = World(late_commit="always")
    world.transact()
    assert [row.operation for row in world.mine_current().rows()] == ["START", "INSERT"]

    world.adversities.set({"late_commit": "never"})
    world.transact()

    scns = [row.scn for row in world.mine_current().rows()]
    assert sorted(scns) == [1001, 1002, 1003, 1004, 1005, 1006]
    assert scns.index(1003) < scns.index(1005)


def test_without_late_redo_the_log_is_in_the_order_of_scns() -> None:
    world = World()
    works = [world.db.begin() for _ in range(3)]
    for at in range(20):
        world.transact(works[at % 3])
    for work in works:
        work.commit()

    scns = [record.scn for file in world.log.threads[1].archives for record in file.file.records]
    assert scns == sorted(scns)


# Threads and containers


def test_two_threads_are_merged_by_scn_and_each_keeps_its_order() -> None:
    world = World(threads=2, late_redo=0.5)
    works = [world.db.begin(thread=1 + at % 2) for at in range(6)]
    for at in range(12):
        world.transact(works[at % 6])
    for work in works:
        work.commit()
    miner = LogMiner(world.log)
    miner.add_logfile(world.current(1), NEW)
    miner.add_logfile(world.current(2))
    miner.start(0, 0, USUAL)

    rows = list(miner.rows())
    assert {row.thread for row in rows} == {1, 2}
    for thread in (1, 2):
        addresses = [row.rs_id for row in rows if row.thread == thread]
        assert addresses == sorted(addresses)
        assert addresses[0].startswith(f" 0x{17 + thread:06x}.")
    head = [row.scn for row in rows]
    assert head != sorted(head), "late redo is out of the order of SCNs"


def test_a_thread_whose_logs_were_not_added_is_silently_missing() -> None:
    world = World(threads=2)
    world.transact(thread=2)

    assert list(world.mine_current().rows()) == []


def test_a_thread_that_the_log_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="the log has no thread 2, but 1"):
        World().db.begin(thread=2)


def test_each_open_thread_tells_its_last_change() -> None:
    world = World(threads=2)
    world.transact()

    threads = world.view("V$THREAD")
    assert [row["LAST_REDO_CHANGE#"] for row in threads] == [1004, 1004]
    assert [row["STATUS"] for row in threads] == ["OPEN", "OPEN"]


def test_a_session_in_a_pdb_gets_its_logs_by_itself_and_sees_its_own_rows() -> None:
    world = World()
    world.transact()
    world.log.switch_log()
    work = world.db.begin(container="PDB1")
    work.insert(IN_PDB, (Decimal(1),))
    work.commit()
    miner = LogMiner(world.log, container="PDB1")
    with pytest.raises(OraError, match="ORA-65040"):
        miner.add_logfile(world.current(), NEW)
    with pytest.raises(OraError, match="ORA-01291"):
        miner.start(1, 0, USUAL)
    miner.start(1001, 10**9, USUAL)

    rows = list(miner.rows())
    assert operations(rows) == ["START", "INSERT", "COMMIT"]
    assert {(row.src_con_id, row.src_con_name, row.con_id) for row in rows} == {(3, "PDB1", 3)}
    assert [row["TYPE"] for row in world.view("V$LOGMNR_LOGS", miner)] == ["ARCHIVED", "ONLINE"]


def test_the_root_sees_the_rows_of_all_containers() -> None:
    world = World()
    world.transact()
    work = world.db.begin(container="PDB1")
    work.insert(IN_PDB, (Decimal(1),))

    rows = list(world.mine_current().rows())
    assert [row.src_con_name for row in rows] == ["CDB$ROOT"] * 3 + ["PDB1"] * 2
    assert {row.con_id for row in rows} == {1}


# The switches themselves


def test_the_same_seed_and_the_same_events_give_the_same_log() -> None:
    def rows() -> list[Row]:
        world = World()
        world.adversities = Adversities.all(7, 0.3, overwrite="never")
        world.log = RedoLog(world.adversities, at=EPOCH, scn=1000, file_bytes=10**9)
        world.adversities.set({"switch": "never"})
        world.db = Scribe(world.log)
        for _ in range(40):
            world.transact()
        return list(world.mine_current().rows())

    assert rows() == rows()


def test_a_log_reads_the_same_twice() -> None:
    world = World()
    world.adversities.set(dict.fromkeys(NAMES, 0.3) | {"overwrite": "never", "switch": "never"})
    work = world.db.begin()
    for _ in range(5):
        world.transact(work)
    work.rollback()

    assert list(world.mine_current().rows()) == list(world.mine_current().rows())


def test_an_adversity_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no such adversity: rain"):
        Adversities.all(1, rain="always")
    with pytest.raises(ValueError, match="no such adversity: rain"):
        Adversities().set({"rain": 0.5})


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_each_view_has_a_value_for_each_column(name: str) -> None:
    world = World(threads=2, dests=2)
    world.transact()
    world.log.switch_log()
    world.transact()
    miner = world.mine_current()

    rows = list(read(name, world.log, miner))
    assert rows
    assert {len(row) for row in rows} == {len(VIEWS[name].columns)}
    assert not [value for row in rows for value in row if isinstance(value, int | bool)]


def test_the_columns_of_the_view_are_those_of_a_row() -> None:
    assert len(CONTENTS) == len(Row._fields)
    for column, field in zip(CONTENTS, Row._fields, strict=True):
        assert column.name.lower().rstrip("#") == field
