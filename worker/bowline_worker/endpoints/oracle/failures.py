"""What an error in the middle of mining means: mine the step again, connect again, or stop."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from bowline_worker.contract import Unsafe


class Failure(StrEnum):
    """All but the last are safe to repeat: a failed step has left nothing behind (steps.py)."""

    MINE_AGAIN = "mine again"  #: in the same way: the step is thrown away and mined anew
    LOG_MISSING = (
        "log missing"  #: the archiver may be about to write it: mine again a few times, then stop
    )
    CONNECT_AGAIN = "connect again"  #: with a growing pause
    FATAL = "fatal"


#: A log was switched or archived while it was read (310, 334, 1289), redo that is half written (1327, 1343),
#: a dictionary that is not there yet (1371), our own cancel (1013), memory of the server (4030, 4036), a session that
#: was ended or is not ready (26653, 25303), a cursor that was closed (1001).
_MINE_AGAIN: Final = frozenset(
    f"ORA-{number:05}"
    for number in (310, 334, 1289, 1327, 1343, 1371, 1013, 4030, 4036, 26653, 25303, 1001)
)
_LOG_MISSING: Final = frozenset(("ORA-01291", "ORA-01284"))
#: Redo that can't be read (353, 354, 368), privileges (1031, 942), a range that is our own mistake (1281).
_FATAL: Final = frozenset(f"ORA-{number:05}" for number in (353, 354, 368, 1031, 942, 1281))
#: Internal errors of LogMiner that pass.
_INTERNAL: Final = "ORA-00600"
_PASSING: Final = ("krvrdGetUID", "krvrdccs10", "krvrdccs30")


def classify(code: str, message: str) -> Failure:
    """Tell what to do about an error by its full code (`ORA-00310`, `DPY-4011`) and message.

    A code that nobody knows counts as a lost connection: all that is known then is that nothing of the step may be
    kept, and the caller's report names the error for as long as it lasts.
    """
    if code in _MINE_AGAIN or (code == _INTERNAL and any(each in message for each in _PASSING)):
        return Failure.MINE_AGAIN
    if code in _LOG_MISSING:
        return Failure.LOG_MISSING
    if code in _FATAL or code == _INTERNAL:
        return Failure.FATAL
    return Failure.CONNECT_AGAIN


def gone_for_good(message: str) -> Unsafe:
    """The error for a log that LogMiner has not found for so long that nobody writes it any more."""
    return Unsafe(
        f"a redo log that must be mined is not there, though the dictionary lists it: {message}",
        reason="PositionLost",
        hint="restore the archived logs that were removed (RMAN: crosscheck archivelog all, then restore archivelog),"
        " or start the migration anew with a longer retention of archived logs",
    )
