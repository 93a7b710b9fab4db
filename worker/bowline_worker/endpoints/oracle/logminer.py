"""LogMiner as one session uses it: which logs, mined from where to where, into the rows of a step.

The session mines in CDB$ROOT, or in a database without containers; rows of other containers are left out. No bound is
given to START_LOGMNR: the files that were added are read whole, and a step is cut by address (steps.py). No ORDER BY:
it would sort everything; LogMiner gives the rows of a thread in redo order.

Inside a pluggable database no file can be added (ORA-65040): START_LOGMNR finds the logs of a range of SCNs by itself
(Utilities 19c, "Steps in a Typical LogMiner Session"). Which they must be is looked up as elsewhere, and the range is
theirs; rows of others are left out, so that a step sees of each file all or nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import oracledb

from bowline_worker.contract import TryAgain, Unsupported
from bowline_worker.endpoints.oracle.connection import (
    SETTINGS,
    code_of,
    connect,
    one_line,
    translate,
    translated,
)
from bowline_worker.endpoints.oracle.failures import Failure, classify, gone_for_good
from bowline_worker.endpoints.oracle.logrow import COLUMNS, LogRow, Xid
from bowline_worker.endpoints.oracle.logs import (
    FILES_IN_A_STEP,
    Choice,
    LogFile,
    LogMissing,
    choose,
)
from bowline_worker.endpoints.oracle.mining import Miner
from bowline_worker.endpoints.oracle.start import Start
from bowline_worker.endpoints.oracle.steps import Bound, Step
from bowline_worker.endpoints.site import Site

#: Rows that a round trip fetches.
ARRAY_ROWS: Final = 1000
#: The archiver writes a log within moments. What has not come after this is gone.
MISSING_SECONDS: Final = 60.0
#: A log is missing between those that were added.
_GAP: Final = "ORA-01291"
#: Failures in a row, each of which might pass, before they are told.
FAILURES_IN_A_ROW: Final = 20

_ORIGIN: Final = "select dbid, resetlogs_change#, current_scn from v$database"
_OPEN: Final = """\
select x.con_id, x.xidusn, x.xidslot, x.xidsqn, x.start_scn from gv$transaction x"""
_ONLINE: Final = """\
select l.thread#, l.sequence#, l.first_change#, f.member
  from v$log l join (select group#, min(member) member from v$logfile group by group#) f on f.group# = l.group#
 where l.status in ('CURRENT', 'ACTIVE', 'INACTIVE')"""
_ARCHIVED: Final = """\
select thread#, sequence#, first_change#, name
  from v$archived_log
 where name is not null and archived = 'YES' and deleted = 'NO' and status = 'A'
   and resetlogs_change# = :resetlogs and next_change# > :scn
   and dest_id in (select dest_id from v$archive_dest_status where status = 'VALID' and type = 'LOCAL')
 order by dest_id"""
#: There the server opens them itself: neither where they are matters, nor may the destinations be seen.
_ARCHIVED_INSIDE: Final = """\
select thread#, sequence#, first_change#, name
  from v$archived_log
 where archived = 'YES' and deleted = 'NO' and status = 'A'
   and resetlogs_change# = :resetlogs and next_change# > :scn"""
_THREADS: Final = "select last_redo_change# from v$thread where status = 'OPEN'"
_ADD: Final = (
    "begin dbms_logmnr.add_logfile(logfilename => :name, options => dbms_logmnr.{0}); end;"
)
_START: Final = """\
begin
  dbms_logmnr.start_logmnr(options => dbms_logmnr.dict_from_online_catalog
                                    + dbms_logmnr.no_rowid_in_stmt + dbms_logmnr.no_sql_delimiter);
end;"""
#: 0 is no bound.
_START_INSIDE: Final = """\
begin
  dbms_logmnr.start_logmnr(startscn => :first, endscn => :last, options => dbms_logmnr.dict_from_online_catalog
                                    + dbms_logmnr.no_rowid_in_stmt + dbms_logmnr.no_sql_delimiter);
end;"""
_END: Final = "begin dbms_logmnr.end_logmnr; end;"

_CONTAINER: Final = """\
select to_number(sys_context('USERENV', 'CON_ID')), sys_context('USERENV', 'CON_NAME'), u.common
  from user_users u where u.username = user"""
#: CON_ID of the root; a database without containers has none, or 0.
_ROOT: Final = 1
_TO_ROOT: Final = "alter session set container = CDB$ROOT"
#: The oldest in which a pluggable database's own user can mine in it.
MINES_INSIDE: Final = (19, 10)


@dataclass(frozen=True, slots=True)
class Origin:
    """Which database it is, which incarnation of it, and how far it is."""

    dbid: int
    resetlogs: int
    scn: int


@dataclass(frozen=True, slots=True)
class Where:
    """Where a session mines."""

    pluggable: str | None = None  #: in the root, for the rows of this container
    is_inside: bool = False  #: in a pluggable database, for its own


def connect_to_mine(site: Site) -> tuple[oracledb.Connection, Where]:
    """Open a session that can mine: in the root, unless its user is a pluggable database's own.

    Unsupported where the server is too old for that.
    """
    connection = connect(site)
    try:
        with translated(site, "could not prepare the session for LogMiner"):
            return connection, _enter_root(site, connection)
    except BaseException:
        connection.close()
        raise


def mines_inside(connection: oracledb.Connection) -> bool:
    """Tell whether a pluggable database's own user can mine in it."""
    major, update = connection.version.split(".")[:2]
    return (int(major), int(update)) >= MINES_INSIDE


def _enter_root(site: Site, connection: oracledb.Connection) -> Where:
    with connection.cursor() as cursor:
        cursor.execute(_CONTAINER)
        container, name, common = cursor.fetchone() or (None, None, "")
        if container is None or int(container) <= _ROOT:
            return Where()
        if common != "YES" and mines_inside(connection):
            return Where(is_inside=True)
        if common != "YES":
            raise Unsupported(
                f"{site.side} at {site.place}: the user is {name}'s own, and before 19.10 LogMiner reads logs in"
                f" CDB$ROOT alone: this is {connection.version}",
                reason="CommonUserNeeded",
                hint="give the migration a common user (C##...), with SET CONTAINER and"
                " CONTAINER_DATA = ALL, as `bowline grants` says",
            )
        cursor.execute(_TO_ROOT)
        # Settings are a container's own.
        pairs = " ".join(f"{setting} = '{value}'" for setting, value in SETTINGS.items())
        cursor.execute(f"alter session set {pairs}")
        return Where(pluggable=str(name))


class _OverwrittenError(Exception):
    """An online log was used again between our look at the dictionary and LogMiner's at the file."""


class LogMiner:
    """Mines for one capture, on a connection of its own. One thread."""

    def __init__(
        self,
        site: Site,
        connection: oracledb.Connection,
        owners: Sequence[str],
        *,
        where: Where = Where(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Mine the tables of these owners, in a session of `connect_to_mine`."""
        self._site, self._connection, self._clock = site, connection, clock
        self._query, self._binds = _contents(owners, where.pluggable)
        self._is_inside = where.is_inside
        self._failures = 0
        self._missing_since: float | None = None
        self._limit = FILES_IN_A_STEP
        self._chosen = Choice(())
        self._cut_at: Mapping[int, Bound] | None = (
            None  # where the last step began, if it left files for later
        )

    def origin(self) -> Origin:
        ((dbid, resetlogs, scn),) = self._rows(_ORIGIN)
        return Origin(dbid, resetlogs, scn)

    def begin(self) -> Start:
        """Fix where a stream begins, by the three reads of start.py, in their order."""
        before = self.origin().scn
        # A start of 0 or 1 is one of a transaction that has written nothing.
        listed = {Xid(*row[:4]): row[4] for row in self._rows(_OPEN) if (row[4] or 0) > 1}
        return Start(before=before, snapshot=self.origin().scn, listed=listed)

    @property
    def has_more(self) -> bool:
        """Tell whether the last step left files for the next one, which need not be waited for."""
        return self._cut_at is not None

    def mine(self, miner: Miner) -> Step | None:
        """Fetch the rows of the next step; None where it has to be tried again, a little later.

        Nothing of a step that failed is kept. Unsafe where a log is gone for good, or the database is another one;
        TryAgain where the connection is lost, or the same failure comes again and again.
        """
        try:
            step = self._step(miner)
        except LogMissing as missing:
            self._miss(missing, missing.for_good)
            return None
        except _OverwrittenError as error:
            self._fail_again(error)
            return None
        except oracledb.Error as error:
            self._failed(error)
            return None
        self._failures, self._missing_since = 0, None
        return step

    # --- one step --------------------------------------------------------------------------------

    def _step(self, miner: Miner) -> Step:
        origin = self.origin()
        miner.place.check_origin(origin.dbid, origin.resetlogs)
        # Before the files: what is committed up to there is in those that are listed after it.
        upper = self._upper(origin)
        choice = self._chosen = self._choose(miner, origin)
        if choice.end is not None:
            upper = min(upper, choice.end - 1)
        step = miner.step(max(upper, miner.least_upper))
        try:
            self._start(choice)
            self._fetch(step, choice)
        finally:
            self._end()
        self._cut_at = None if choice.end is None else dict(miner.bounds)
        return step

    def _upper(self, origin: Origin) -> int:
        """Up to which SCN all threads' redo can be had; of one thread, all that there is."""
        reached = [scn for (scn,) in self._rows(_THREADS)]
        return min(reached) - 1 if len(reached) > 1 else origin.scn

    def _choose(self, miner: Miner, origin: Origin) -> Choice:
        sequences = {thread: bound.address.sequence for thread, bound in miner.bounds.items()}
        scn = miner.place.mine_from
        # The archives last: a log that is archived in between is in both, and never in neither.
        files = [LogFile(*row) for row in self._rows(_ONLINE)]
        if not files:
            raise Unsupported(
                f"{self._site.side} at {self._site.place}: V$LOG shows no log: which redo there is can't be told",
                reason="LogsHidden",
                hint="Bowline can't capture from a database that hides its logs",
            )
        archived = _ARCHIVED_INSIDE if self._is_inside else _ARCHIVED
        files += [
            LogFile(thread, sequence, first, name, archived=True)
            for thread, sequence, first, name in self._rows(
                archived, resetlogs=origin.resetlogs, scn=scn
            )
        ]
        # In files without a row that is wanted, the cursor does not move: then more of them are read at once.
        has_stood = self._cut_at is not None and self._cut_at == miner.bounds
        self._limit = self._limit * 2 if has_stood else FILES_IN_A_STEP
        # A step that was given out in part before a restart is mined whole, whatever it takes.
        limit = len(files) if miner.least_upper else self._limit
        return choose(files, sequences=sequences, scn=scn, limit=limit)

    def _start(self, choice: Choice) -> None:
        with self._connection.cursor() as cursor:
            if self._is_inside:
                cursor.execute(_START_INSIDE, {"first": choice.first, "last": choice.beyond or 0})
                return
            for number, file in enumerate(choice.files):
                option = "addfile" if number else "new"
                cursor.execute(_ADD.format(option), {"name": file.name})
            cursor.execute(_START)

    def _fetch(self, step: Step, choice: Choice) -> None:
        chosen = choice.sequences
        with self._connection.cursor() as cursor:
            cursor.outputtypehandler = _integers
            cursor.arraysize = cursor.prefetchrows = ARRAY_ROWS
            cursor.execute(self._query, self._binds)
            while rows := cursor.fetchmany():
                for row in map(LogRow.from_row, rows):
                    if _is_of(chosen, row):
                        step.add(row)
                    elif not self._is_inside:
                        # The name was that of another log by then. Behind its rows the cursor would be past the one
                        # that was meant, which is in the archive.
                        raise _OverwrittenError(f"{row.place} is of a log that was not chosen")

    def _end(self) -> None:
        """End the session of LogMiner, if there is one; an error that is under way is not hidden by this one's."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(_END)
        except oracledb.Error:
            return

    def _rows(self, sql: str, **binds: object) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.outputtypehandler = _integers
            return list(cursor.execute(sql, binds) or ())

    # --- failures --------------------------------------------------------------------------------

    def _failed(self, error: oracledb.Error) -> None:
        code, message = code_of(error), one_line(error)
        match classify(code, message):
            case Failure.MINE_AGAIN:
                self._fail_again(error, message)
            case Failure.LOG_MISSING if code == _GAP and self._was_overwritten():
                self._fail_again(error, message)
            case Failure.LOG_MISSING:
                self._miss(error, lambda: gone_for_good(message))
            case _:
                raise translate(self._site, error, "could not mine") from error

    def _fail_again(self, error: Exception, message: str = "") -> None:
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            raise TryAgain(
                f"{self._site.side}: LogMiner fails again and again: {message or error}",
                reason="MiningFails",
            ) from error

    def _was_overwritten(self) -> bool:
        """Tell whether an online log of the last choice has gone since: then no archive is missing."""
        try:
            there = {LogFile(*row) for row in self._rows(_ONLINE)}
        except oracledb.Error:
            return False
        return any(not file.archived and file not in there for file in self._chosen.files)

    def _miss(self, error: Exception, for_good: Callable[[], Exception]) -> None:
        now = self._clock()
        self._missing_since = now if self._missing_since is None else self._missing_since
        if now - self._missing_since > MISSING_SECONDS:
            raise for_good() from error


def _is_of(chosen: Mapping[int, range], row: LogRow) -> bool:
    """Tell whether a row is of chosen files. What has no address is taken: it comes again with each step."""
    return row.address is None or row.address.sequence in chosen.get(row.thread, ())


def _contents(owners: Sequence[str], container: str | None) -> tuple[str, Mapping[str, str]]:
    """Write the query of V$LOGMNR_CONTENTS: ends of transactions, and whatever may be of these owners' tables.

    DDL of all owners: a statement on one table may exchange the rows of another, and its row names the first alone.
    """
    binds = {f"o{number}": owner for number, owner in enumerate(owners)}
    ours = f"seg_owner in ({', '.join(f':{name}' for name in binds)})"
    # Segments that were dropped since have no owner, or one that is not known.
    nameless = "seg_owner is null or seg_owner = 'UNKNOWN' or table_name is null or table_name like 'OBJ# %'"
    where = (
        f"(operation_code in (6, 7, 34, 36)"
        f" or operation_code = 5 and (info is null or info not like 'INTERNAL DDL%')"
        f" or operation_code not in (0, 5, 6, 7, 34, 36) and ({ours} or {nameless}))"
    )
    if container is not None:
        # The name is promised for START, DML, COMMIT and DDL; whose a rollback is, its SRC_CON_ID tells.
        where += " and (src_con_name = :container or src_con_name is null and operation_code in (34, 36))"
        binds["container"] = container
    return f"select {', '.join(COLUMNS)} from v$logmnr_contents where {where}", binds


def _integers(cursor: oracledb.Cursor, metadata: oracledb.FetchInfo) -> oracledb.Var | None:
    """Fetch NUMBERs as int: all that are asked for here are whole."""
    if metadata.type_code is oracledb.DB_TYPE_NUMBER:
        return cursor.var(int, arraysize=cursor.arraysize)
    return None
